"""PICASSO_WORKFLOW: jobs as docket tasks over Redis. A task is only a nudge: the `jobs` row is the truth."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from docket import Docket, Worker
from redis.exceptions import RedisError

from app.bindings.redis.connection import RedisServer
from app.bindings.redis.provider_limiter import ProviderLimiter, Slot, Times, open_provider_limiter
from app.bindings.redis.token_bucket import TokenBuckets
from app.settings import Settings
from tools.env import Circuit
from tools.errors import Unavailable

ENQUEUE_SECONDS = 2.0
JOBS_AT_ONCE = 32

logging.getLogger("docket").setLevel(logging.WARNING)


class DocketWorkflow:
    """Enqueues jobs by their ids and, in a worker process, runs them; the same id twice is one task."""

    def __init__(self, docket: Docket, buckets: TokenBuckets, limiter: ProviderLimiter, settings: Settings) -> None:
        self._docket, self._buckets, self._limiter, self._settings = docket, buckets, limiter, settings
        self._run: Callable[[str], Awaitable[None]] | None = None
        docket.register(self.run_job)

    async def run_job(self, job_id: str) -> None:
        """The docket task: run the job with what `work` was given."""
        assert self._run is not None
        await self._run(job_id)

    async def enqueue(self, job_id: str) -> None:
        """Ask a worker to run the job. Never fails: the next sweep finds what Redis did not take within 2 s."""
        with contextlib.suppress(RedisError, OSError, TimeoutError, Unavailable):
            async with asyncio.timeout(ENQUEUE_SECONDS):
                await self._docket.add("run_job", key=job_id)(job_id)

    async def work(self, run: Callable[[str], Awaitable[None]]) -> None:
        """Run jobs until cancelled, then wait for those that are running."""
        self._run = run
        async with Worker(
            self._docket,
            concurrency=JOBS_AT_ONCE,
            redelivery_timeout=timedelta(seconds=self._settings.job_lease_seconds),
            minimum_check_interval=timedelta(milliseconds=50),
            reconnection_delay=timedelta(seconds=0.5),
        ) as worker:
            await worker.run_forever()

    def acquire(self, provider: str, circuit: str) -> AbstractAsyncContextManager[Slot]:
        """A slot at the provider, held while the block runs. Fails: Unavailable (`circuit_open`)."""
        return self._limiter.acquire(provider, circuit)

    async def circuits(self) -> dict[str, list[Circuit]]:
        """The circuits that were used within a day, by provider. Fails: Unavailable."""
        return await self._limiter.circuits()

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        """One token from the bucket: 0.0 when granted, else seconds until the next one. Fails: Unavailable."""
        return await self._buckets.take(bucket, capacity=capacity, per_minute=per_minute)

    async def take_in_minute(self, bucket: str, *, most: int) -> float:
        """One of at most `most` tries in any minute: 0.0 when it counts, else seconds until one will. Fails:
        Unavailable."""
        return await self._buckets.take_in_minute(bucket, most=most)


@contextlib.asynccontextmanager
async def open_workflow(settings: Settings, server: RedisServer) -> AsyncIterator[DocketWorkflow]:
    """PICASSO_WORKFLOW over that Redis. Fails: Unavailable."""
    times = Times(lease=settings.job_lease_seconds)
    async with (
        Docket(name="picasso-jobs", url=server.url, execution_ttl=timedelta(minutes=1)) as docket,
        open_provider_limiter(server.client, settings.provider_width, times) as limiter,
    ):
        if settings.db.startswith("sqlite:"):
            # No other process uses that database, so slots that are held are those of one that was killed.
            await limiter.free()
        yield DocketWorkflow(docket, TokenBuckets(server.client), limiter, settings)
