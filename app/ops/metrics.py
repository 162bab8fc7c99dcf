"""Prometheus metrics: requests and steps are counted as they happen; the database, the queue and the disks on request.

Times are sums and counts, of which averages can be made. Only vendors' calls have a histogram: how slow the slowest
are decides how a deadline is set.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.ops.disk import free_bytes
from app.settings import Settings
from tools.env import Env
from tools.format import to_usd
from tools.reports import counts

CONTENT_TYPE = CONTENT_TYPE_LATEST
VENDOR_CALL = "router.send"
"""The step that is one call to a vendor."""
SECONDS = (0.5, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)


class Metrics(logging.Handler):
    """The metrics of one process. It is a log handler that reads the line of each step, so that tools do not depend on
    it."""

    def __init__(self) -> None:
        super().__init__()
        self._registry = CollectorRegistry()
        # Else each counter has a second line with the time of its first event.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._requests = Summary(
            "picasso_http_seconds",
            "Time of requests by route, the whole length of streams included.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._steps = Summary(
            "picasso_step_seconds",
            "Time of effects on bindings and vendors.",
            ("step", "outcome"),
            registry=self._registry,
        )
        self._calls = Histogram(
            "picasso_vendor_call_seconds",
            "Time of calls to image vendors.",
            ("provider",),
            registry=self._registry,
            buckets=SECONDS,
        )
        self._spent = Gauge("picasso_spent_usd", "Spent so far, in dollars.", ("provider",), registry=self._registry)
        self._free = Gauge("picasso_disk_free_bytes", "Free on its disk.", ("setting",), registry=self._registry)
        self._drops = Counter("picasso_view_drops", "Views that could not be queued.", registry=self._registry)
        self._rows = Gauge("picasso_rows", "Rows by table and status.", ("table", "status"), registry=self._registry)
        self._silence = Gauge(
            "picasso_event_lag_seconds",
            "Longest time since the last event of an open job.",
            registry=self._registry,
        )
        self._queued = Gauge("picasso_queue_depth", "Messages not handled yet.", registry=self._registry)
        self._dead = Gauge("picasso_dead_letters", "Messages given up.", registry=self._registry)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count the steps of this process while the block runs."""
        steps = logging.getLogger("picasso")
        steps.addHandler(self)
        try:
            yield
        finally:
            steps.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Record the duration of a request or a step, and count dropped views."""
        fields = record.__dict__.get("fields")
        if not isinstance(fields, dict):
            return
        if "route" in fields and "status" in fields:
            # What a client calls its method is its own text; a route has a few.
            method = fields["method"] if fields["route"] != "-" else "-"
            self._requests.labels(method, fields["route"], fields["status"]).observe(fields["ms"] / 1000)
        if "step" in fields and "outcome" in fields:
            self._steps.labels(fields["step"], fields["outcome"]).observe(fields["ms"] / 1000)
            if fields["step"] == VENDOR_CALL:
                self._calls.labels(fields.get("provider", "-")).observe(fields["ms"] / 1000)
            if fields["outcome"] == "view_dropped":
                self._drops.inc()

    async def page(self, env: Env, settings: Settings) -> bytes:
        """The metrics in Prometheus' text format.

        Fails: Unavailable when DB or Redis does not answer.
        """
        found = await counts.count(env)
        self._rows.clear()
        for group in found.rows:
            self._rows.labels(group.kind, group.name).set(group.n)
        self._spent.clear()
        for spending in found.spent:
            self._spent.labels(spending.name).set(to_usd(spending.micros))
        for name, free in (await asyncio.to_thread(free_bytes, settings)).items():
            self._free.labels(name).set(free)
        self._silence.set(found.silence_ms / 1000)
        self._queued.set(await env.PICASSO_QUEUE.depth())
        self._dead.set(await env.PICASSO_QUEUE.dead_depth())
        return generate_latest(self._registry)
