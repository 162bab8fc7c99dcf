"""A job in a real database, advanced by the ledger to any point of its life, without a server around it."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.environment import bare_env
from tests.support.internet import picture
from tools.env import Circuit, Env, Message
from tools.ledger import attempts, items, jobs, leases, progress, submissions
from tools.ledger.attempts import Planned, Settlement
from tools.ledger.leases import Lease
from tools.ledger.submissions import ItemPlan, Submission
from tools.rows import Attempt, Item, Job, JobRequest, Progression, ProviderModel, derived_id, now_ms

TOY = Planned(
    model=ProviderModel("toy", "toy-1"), free=False, quote_micros=50_000, price_version="toy/toy-1@2026-01-01"
)
"""A call to the toy vendor that may cost five cents."""
PROJECT = "INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'works', 1, 1)"


class IdleServices:
    """A queue, an actor and a limiter that take wake-ups, jobs and messages and do nothing: the test itself is the
    worker. There is always a free slot at a vendor; `acquired` and `reported` record which were taken and how their
    calls ended."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.enqueued: list[str] = []
        self.acquired: list[str] = []
        self.reported: list[str] = []
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def wake(self, session_id: str) -> None:
        self.woken.append(session_id)

    async def enqueue(self, job_id: str) -> None:
        self.enqueued.append(job_id)

    async def work(self, run: Callable[[str], Awaitable[None]]) -> None: ...

    @contextlib.asynccontextmanager
    async def acquire(self, provider: str, circuit: str) -> AsyncIterator["IdleServices"]:
        self.acquired.append(f"{provider} {circuit}")
        yield self

    async def circuits(self) -> dict[str, list[Circuit]]:
        return {}

    def report(self, outcome: Literal["answered", "outage", "rate"], retry_after: float | None = None) -> None:
        self.reported.append(outcome)

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        return 0.0


@dataclass
class Work:
    """One claimed job of `variants` items."""

    env: Env
    job: Job
    lease: Lease
    items: list[Item]
    nobody: IdleServices

    async def item(self, n: int) -> Item:
        return await items.get(self.env, self.items[n].id)

    async def buy(self, n: int, seed: int | None = None) -> Attempt:
        """Advance item `n` to a settled purchase of a small picture; equal seeds give equal pictures."""
        item, data = self.items[n], picture(n if seed is None else seed)
        attempt = await attempts.intend(self.env, self.lease, item, 1, TOY)
        assert await attempts.send(self.env, self.lease, attempt)
        key = f"project/p/jobs/{self.job.id}/orig/toy-{n}"
        await self.env.BUCKET.put_once(key, data, content_type="image/png")
        facts = {"mime": "image/png", "width": 64, "height": 64, "size": len(data), "adjustments": [], "meta": {}}
        bought = Settlement(
            outcome="succeeded", billed=True, bytes_sha256=hashlib.sha256(data).hexdigest(), result=facts
        )
        await attempts.settle(self.env, self.lease, attempt, bought, original=key)
        return (await attempts.of_item(self.env, item.id))[-1]

    async def deliver(self, n: int) -> bool:
        from graphs.image_job.graph import progression_of

        item, [attempt] = await self.item(n), await attempts.of_item(self.env, self.items[n].id)
        row: Progression = progression_of(
            self.job, item, attempt, derived_id(item.id, "progression"), "http://x/images/i"
        )
        return await items.deliver(self.env, self.lease, item, row)


@asynccontextmanager
async def working(
    home: Path, variants: int = 1, prompt: str = "a red boat", model: ProviderModel = TOY.model
) -> AsyncIterator[Work]:
    nobody = IdleServices()
    async with bare_env(home, PICASSO_DO=nobody, PICASSO_WORKFLOW=nobody, PICASSO_QUEUE=nobody) as env:
        await env.DB.run(PROJECT)
        request = JobRequest(prompt=prompt, providers=[{"provider": model.provider}], session_id="s", variants=variants)
        places = [ItemPlan(model.provider, model.model, n, n) for n in range(variants)]
        job, _ = await submissions.submit(env, Submission(project_id="p", request=request, items=places))
        claimed = await leases.claim(env, jobs.TABLE, id=job.id)
        assert claimed is not None and claimed.lease_until > now_ms()
        lease = Lease(job.id, claimed.fence)
        rows = await jobs.items(env, job.id)
        await progress.start(env, lease, rows, "refine")
        yield Work(env, claimed, lease, rows, nobody)
