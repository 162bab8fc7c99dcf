"""OpenTelemetry: each step is a span, if OTEL_EXPORTER_OTLP_ENDPOINT says where to send them.

All spans of one correlation id are one trace, from the request that submitted a job to the calls of vendors in any
process: the trace's id is derived from the correlation id, so no context has to be passed on.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from app.settings import SettingError, Settings
from tools.step import log_fields, use_spans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

FLUSH_MS = 5_000
SetAttributes = Callable[[Mapping[str, Any]], None]


class Traces:
    """The spans of one process. Without an endpoint there are none, and OpenTelemetry is not imported."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    @contextlib.asynccontextmanager
    async def sending(self, settings: Settings) -> AsyncIterator[None]:
        """Send the spans of this block, from a thread of the library with a bounded queue; at the end, what is left is
        sent within FLUSH_MS.

        Fails: SettingError when the extra is not installed.
        """
        if settings.otlp_endpoint is None:
            yield
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise SettingError(
                "OTEL_EXPORTER_OTLP_ENDPOINT needs the extra `otel`: pip install 'picasso-backend[otel]'"
            ) from None
        provider = TracerProvider(resource=Resource.create({"service.name": "picasso"}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint}/v1/traces", timeout=FLUSH_MS / 1000)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = provider.get_tracer("picasso")
        try:
            with self.watching():
                yield
        finally:
            self._tracer = None
            await asyncio.to_thread(provider.force_flush, FLUSH_MS)
            await asyncio.to_thread(provider.shutdown)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Create spans for the steps in this block and in tasks that are started there."""
        if self._tracer is None:
            yield
        else:
            with use_spans(self.span):
                yield

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[SetAttributes]:
        """One span. Yields a function that sets its attributes."""
        if self._tracer is None:
            yield lambda fields: None
            return
        with self._tracer.start_as_current_span(name, context=_parent(), record_exception=False) as span:
            yield lambda fields: span.set_attributes({k: v for k, v in fields.items() if v is not None})


def _parent() -> "Context | None":
    """The root of the correlation id's trace, a span that is never sent; None inside of another span."""
    from opentelemetry import trace

    if trace.get_current_span().get_span_context().is_valid or "correlationId" not in log_fields():
        return None
    digest = hashlib.sha256(str(log_fields()["correlationId"]).encode()).digest()
    root = trace.SpanContext(
        trace_id=int.from_bytes(digest[:16]),
        span_id=int.from_bytes(digest[16:24]),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(root))
