"""Prometheus metrics: steps are counted as they happen; the database and the queue are counted on request."""

import contextlib
import logging
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tools.env import Env
from tools.reports import counts

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)


class Metrics(logging.Handler):
    """The metrics of one process. It is a log handler that reads the line of each step, so that tools do not depend on
    it."""

    def __init__(self) -> None:
        super().__init__()
        self._registry = CollectorRegistry()
        self._steps = Histogram(
            "picasso_step_seconds",
            "Time of effects on bindings and vendors.",
            ("step", "outcome"),
            registry=self._registry,
            buckets=SECONDS,
        )
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
        """Record the duration of a step, and count dropped views."""
        fields = record.__dict__.get("fields")
        if not isinstance(fields, dict):
            return
        if "step" in fields and "outcome" in fields:
            self._steps.labels(fields["step"], fields["outcome"]).observe(fields["ms"] / 1000)
            if fields["outcome"] == "view_dropped":
                self._drops.inc()

    async def page(self, env: Env) -> bytes:
        """The metrics in Prometheus' text format.

        Fails: Unavailable when DB or Redis does not answer.
        """
        found = await counts.count(env)
        self._rows.clear()
        for group in found.rows:
            self._rows.labels(group.kind, group.name).set(group.n)
        self._silence.set(found.silence_ms / 1000)
        self._queued.set(await env.PICASSO_QUEUE.depth())
        self._dead.set(await env.PICASSO_QUEUE.dead_depth())
        return generate_latest(self._registry)
