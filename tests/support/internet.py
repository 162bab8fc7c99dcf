"""The false Internet: vendors simulated over real sockets, scripted per call, counting calls and what they would bill.

A test starts `Wire()`, may queue `scripts["openai"]` entries, and reads `calls` afterwards. What a vendor's answer
looks like is defined in `tests/support/vendors/`, one module per vendor; network faults are simulated here.
"""

import asyncio
import contextlib
import importlib
import io
import json
import pkgutil
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

from multipart import MultipartParser, parse_options_header
from PIL import Image

import tests.support.vendors
from tests.support.deadlines import LONG

Fault = Literal[
    "ok",
    "hang",
    "drop",
    "drop_after",
    "truncate",
    "stall",
    "empty",
    "garbage",
    "wrong_mime",
    "refuse",
    "rate",
    "quota",
    "error",
]
"""`drop`: the connection ends without a byte of answer · `drop_after`: after the head · `truncate`: in the middle of
the body · `stall`: in the middle of the body nothing more comes · `empty`: a 200 without an image · `garbage`: bytes
that are no image where the image should be · `wrong_mime`: a page of HTML where the answer should be · the last four as
that vendor says them."""


@dataclass
class Answer:
    """How one call is answered: after `delay` seconds, by `fault`; `retry_after` is the value of that header."""

    fault: Fault = "ok"
    delay: float = 0.0
    after: asyncio.Event | None = None
    """Answer only once the test has set this."""
    retry_after: str | None = None
    status: int | None = None
    """Another status than the vendor's usual one for this fault."""
    image: bytes | None = None
    """The image to answer with, instead of one made from the request."""
    text: str | None = None
    """What a chat model says, instead of what the vendor's module makes up."""
    calls: Sequence[tuple[str, Any]] = ()
    """The tools that a chat model calls, with their arguments; a text goes out as it is."""
    finish: str | None = None
    """Why a chat model stopped, instead of what the vendor's module says."""


@dataclass
class Part:
    """One part of a multipart body."""

    name: str
    data: bytes
    filename: str | None = None
    mime: str | None = None


@dataclass
class Received:
    """One call as it arrived: vendor, loop time, and the request id of the answer.

    `body` is decoded JSON or, of a multipart body, its text fields; `parts` are all parts in order. `bill` is what the
    vendor charges for it in USD, `sent` the image bytes of the answer.
    """

    vendor: str
    at: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    parts: list[Part]
    id: str
    answered: bool = False
    bill: float = 0.0
    sent: bytes | None = None


@dataclass
class Reply:
    """An answer as it is written to the wire; `chunks` are sent one by one, each after its own delay in seconds."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    mime: str = "application/json"
    chunks: Sequence[tuple[float, bytes]] = ()


class Vendor(Protocol):
    """A simulated vendor: each module of `tests/support/vendors/` has one as `vendor`."""

    name: str
    prefix: str
    """The path below which it is played; its base URL is `wire.url + prefix`."""

    def reply(self, call: Received, answer: Answer) -> Reply:
        """The answer to one call for `ok`, `empty`, `garbage`, `refuse`, `rate`, `quota` and `error`.

        Effect: sets `call.sent` and `call.bill` when the call delivers (or bills) an image.
        """
        ...


def picture(seed: int, size: int = 64) -> bytes:
    """A small textured PNG; pictures of different seeds differ enough for a perceptual hash."""
    noise = random.Random(seed)
    coarse = Image.frombytes("RGB", (8, 8), noise.randbytes(192)).resize((size, size), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    coarse.save(out, "PNG")
    return out.getvalue()


def vendors() -> dict[str, Vendor]:
    """The vendors of `tests/support/vendors/`, by name."""
    modules = [
        importlib.import_module(f"tests.support.vendors.{m.name}")
        for m in pkgutil.iter_modules(tests.support.vendors.__path__)
    ]
    return {module.vendor.name: module.vendor for module in modules if "vendor" in vars(module)}


@dataclass
class Wire:
    """`delay` is how long an unscripted call takes. `scripts[vendor]` is the queue of answers to its next calls.

    `models` is what each vendor lists under `/models`, in OpenAI's form; None: it has no list. Such a question costs
    nothing and is none of `calls`.
    """

    delay: float = 0.0
    scripts: dict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    models: list[dict[str, Any]] | None = None
    calls: list[Received] = field(default_factory=list)
    in_flight: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    most_in_flight: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _vendors: dict[str, Vendor] = field(default_factory=vendors)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def of(self, vendor: str) -> list[Received]:
        """The calls that this vendor received."""
        return [call for call in self.calls if call.vendor == vendor]

    async def received(self, count: int, vendor: str | None = None, seconds: float = LONG) -> None:
        """Wait until that many calls have arrived. Fails: TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.of(vendor) if vendor else self.calls) >= count)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function: asyncio reports the end of a task of its own as an error when it was cancelled.
        task = asyncio.create_task(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        raw = await _read_body(reader, headers)
        url = urlsplit(target)
        vendor = max(
            (v for v in self._vendors.values() if url.path.startswith(v.prefix)),
            key=lambda v: len(v.prefix),
            default=None,
        )
        if vendor is None:
            await _write(writer, Reply(b"nobody lives here", 404, mime="text/plain"), "none")
            return
        if (method, url.path.rpartition("/")[2]) == ("GET", "models"):
            listing = Reply(json.dumps({"object": "list", "data": self.models}).encode())
            await _write(writer, Reply(b"{}", 404) if self.models is None else listing, "none")
            return
        body, parts = _decoded(headers.get("content-type", ""), raw)
        at, path = asyncio.get_running_loop().time(), url.path.removeprefix(vendor.prefix)
        call = Received(
            vendor.name, at, method, path, dict(parse_qsl(url.query)), headers, raw, body, parts,
            f"wire-{len(self.calls)}",
        )  # fmt: skip
        await self._take(call, vendor, writer)

    async def _take(self, call: Received, vendor: Vendor, writer: asyncio.StreamWriter) -> None:
        async with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        self.in_flight[vendor.name] += 1
        self.most_in_flight[vendor.name] = max(self.most_in_flight[vendor.name], self.in_flight[vendor.name])
        try:
            await self._answer(call, vendor, writer)
        finally:
            self.in_flight[vendor.name] -= 1

    async def _answer(self, call: Received, vendor: Vendor, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[vendor.name]
        answer = script.popleft() if script else Answer(delay=self.delay)
        if answer.after:
            await answer.after.wait()
        await asyncio.sleep(answer.delay)
        if answer.fault == "hang":
            await asyncio.sleep(3600)
        if answer.fault == "drop":
            return
        if answer.fault == "wrong_mime":
            reply = Reply(b"<html><body>a page, not an image</body></html>", mime="text/html")
        elif answer.fault in ("drop_after", "truncate", "stall"):
            reply = vendor.reply(call, Answer(image=answer.image, text=answer.text))
        else:
            reply = vendor.reply(call, answer)
        if answer.status:
            reply.status = answer.status
        if answer.retry_after is not None:
            reply.headers["retry-after"] = answer.retry_after
        await _write(writer, reply, call.id, answer.fault)
        call.answered = True


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return b"".join([chunk async for chunk in _chunks(reader)])
    return await reader.readexactly(int(headers.get("content-length", "0")))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")


def _decoded(content_type: str, raw: bytes) -> tuple[dict[str, Any], list[Part]]:
    mime, options = parse_options_header(content_type)
    if mime == "application/json":
        return json.loads(raw), []
    if mime != "multipart/form-data":
        return {}, []
    # All in memory: nothing would close the files that large parts are written to.
    found = MultipartParser(io.BytesIO(raw), options["boundary"], spool_limit=1 << 28, memory_limit=1 << 28)
    parts = [Part(part.name, part.raw, part.filename, part.content_type) for part in found]
    return {part.name: part.data.decode() for part in parts if part.filename is None}, parts


async def _write(writer: asyncio.StreamWriter, reply: Reply, request_id: str, fault: Fault = "ok") -> None:
    headers = {"x-request-id": request_id, "content-type": reply.mime, "connection": "close", **reply.headers}
    if not reply.chunks:
        headers["content-length"] = str(len(reply.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode())
    if fault == "drop_after":
        await writer.drain()
        return
    pieces = reply.chunks or [(0.0, reply.body)]
    if fault in ("truncate", "stall"):
        whole = b"".join(piece for _, piece in pieces)
        pieces = [(0.0, whole[: len(whole) // 2])]
    for delay, piece in pieces:
        await asyncio.sleep(delay)
        writer.write(piece)
        await writer.drain()
    if fault == "stall":
        await asyncio.sleep(3600)
