"""Spans as an OpenTelemetry collector receives them."""

import asyncio
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.internet import Wire
from tests.support.servers.picasso import running


class Collector:
    """Receives spans over HTTP (OTLP, protobuf)."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def __aenter__(self) -> "Collector":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
        sent = ExportTraceServiceRequest.FromString(await reader.readexactly(length))
        self.spans += [
            span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


def said(span: Span) -> dict[str, str]:
    return {a.key: a.value.string_value for a in span.attributes if a.value.HasField("string_value")}


async def test_one_trace_from_the_request_to_the_vendor(tmp_path: Path) -> None:
    """The request that created the job, its steps, and the call with the vendor's request id are one trace, which
    contains no link of a page, no prompt and no key."""
    async with Collector() as collector, Wire() as wire:
        settings = environ(wire, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        async with running(tmp_path, **settings) as server, calling(server) as client:
            project = await new_project(client)
            job = await submit(client, project, providers=["toy"], prompt="a boat called Unmistakable")
            await ended(client, job["jobId"])
            made = (await client.post(f"/api/projects/{project}/artifacts/lookbook")).json()
            await client.get(f"/public/artifact/{made['public_slug']}")
    [call] = [span for span in collector.spans if span.name == "router.send"]
    assert said(call)["requestId"] == wire.calls[0].id and said(call)["jobId"] == job["jobId"]
    trace = {span.name: span for span in collector.spans if span.trace_id == call.trace_id}
    assert {"http", "jobs.submit", "router.send", "r2.put_original", "ledger.settle"} <= trace.keys()
    assert trace["jobs.submit"].parent_span_id == trace["http"].span_id
    text = str(collector.spans)
    assert made["public_slug"] not in text and "Unmistakable" not in text and server.key not in text
