"""What the product adds to an item: CPU against a bare script that does the same I/O, and wall against the vendor.

    python -m tests.bench.items

The bare script makes the same transactions, BUCKET writes and image work with plain coroutines: no graph, no
checkpoints, no job engine. Both run in one process, in turn, on data directories of their own.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support" / "guests"))

from app import worker
from app.bindings import open_env
from graphs.image_job.graph import progression_of
from graphs.image_job.judge import call_key, judge_request
from tests.support.environment import settings
from tests.support.guests.still_vendor import painted
from tools import images, r2
from tools.env import Env
from tools.ledger import attempts, items, jobs, leases, progress, submissions
from tools.ledger.attempts import Planned, Settlement
from tools.ledger.leases import Lease
from tools.ledger.submissions import ItemPlan, Submission
from tools.models import chat_and_vision
from tools.rows import Count, Item, Job, JobRequest, ProviderModel, derived_id

JOBS, VARIANTS, ROUNDS = 4, 8, 3


async def submit(env: Env, n: int) -> Job:
    places = [ItemPlan("still", "still-1", v, 1000 * n + v) for v in range(VARIANTS)]
    request = JobRequest(prompt="a red boat", providers=[{"provider": "still"}], session_id=f"s{n}", variants=VARIANTS)
    job, _ = await submissions.submit(env, Submission(project_id=PROJECT, request=request, items=places))
    return job


PROJECT = "bench"
INSERT_PROJECT = "INSERT INTO projects (id, name, created_at, updated_at) VALUES ('bench', 'bench', 1, 1)"
WITHOUT_IMAGE = "SELECT COUNT(*) AS n FROM job_items WHERE status NOT IN ('complete', 'duplicate')"
OPEN = "SELECT COUNT(*) AS n FROM jobs WHERE ended_at IS NULL"


async def product(env: Env, first: int) -> None:
    """Post the jobs and let a worker run them."""
    for n in range(first, first + JOBS):
        await submit(env, n)
    async with asyncio.timeout(120):
        while (await env.DB.all(OPEN, Count))[0].n:
            # Seldom: looking is work too, and the other side has none of it.
            await asyncio.sleep(0.05)
    assert (await env.DB.all(WITHOUT_IMAGE, Count))[0].n == 0, "what failed was fast"


async def bare(env: Env, first: int) -> None:
    """The same effects without the machinery."""

    async def job_of(n: int) -> None:
        job = await submit(env, n)
        claimed = await leases.claim(env, jobs.TABLE, id=job.id)
        assert claimed
        lease = Lease(job.id, claimed.fence)
        rows = await jobs.items(env, job.id)
        await progress.start(env, lease, rows, "refine")
        await asyncio.gather(*(item_of(env, lease, claimed, item) for item in rows))
        assert await jobs.finish(env, lease) == []

    await asyncio.gather(*(job_of(n) for n in range(first, first + JOBS)))


async def item_of(env: Env, lease: Lease, job: Job, item: Item) -> None:
    attempt = await attempts.intend(
        env, lease, item, 1, Planned(model=ProviderModel(item.provider, item.model), free=False)
    )
    await attempts.send(env, lease, attempt)
    await asyncio.sleep(float(os.environ["STILL_SECONDS"]))
    data = painted(item.seed or 0)
    key = await r2.put_original(env, job.project_id, job.id, f"still-{item.variant_index}", data, "image/png")
    await progress.advance(env, lease, item.id, "store")
    seen = await images.inspect(env, data)
    facts = {
        "mime": seen.mime,
        "width": seen.width,
        "height": seen.height,
        "size": seen.size,
        "adjustments": [],
        "meta": {},
    }
    bought = Settlement(outcome="succeeded", billed=True, bytes_sha256=seen.sha256, result=facts)
    await attempts.settle(env, lease, attempt, bought, original=key)
    phash = await images.phash(env, data)
    if await items.compare(env, lease, item, phash, seen.sha256, near=4):
        return
    progression_id = derived_id(item.id, "progression")
    url = await images.upload_delivery(env, progression_id, data)
    item, [attempt] = await items.get(env, item.id), await attempts.of_item(env, item.id)
    row = progression_of(job, item, attempt, progression_id, url)
    await items.deliver(env, lease, item, row)
    verdict = await chat_and_vision.judge_image(env, "builtin", judge_request(job, row), call_key(lease, job, item))
    await items.complete(env, lease, item.id, verdict, "ok")


async def measured(env: Env, work: Callable[[Env, int], Awaitable[None]], first: int) -> tuple[float, float]:
    began, spent = time.monotonic(), cpu_of_all()
    await work(env, first)
    return time.monotonic() - began, cpu_of_all() - spent


def cpu_of_all() -> float:
    """CPU of this process and its living children (Linux: /proc)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == os.getpid() or int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def compare(seconds: float) -> None:
    os.environ["STILL_SECONDS"] = str(seconds)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        async with (
            open_env(settings(Path(one), PROVIDER_WIDTH="32")) as env,
            open_env(settings(Path(two), PROVIDER_WIDTH="32")) as plain,
        ):
            draining = asyncio.Event()
            working = asyncio.create_task(worker.run(env, env.settings, draining))  # type: ignore[arg-type]
            for each in (env, plain):
                await each.DB.run(INSERT_PROJECT)
            await product(env, 0)
            await bare(plain, 0)
            for n in range(1, ROUNDS + 1):
                wall, ours = await measured(env, product, n * JOBS)
                bare_wall, theirs = await measured(plain, bare, n * JOBS)
                items = JOBS * VARIANTS
                print(
                    f"{seconds:3.0f} s each: product {wall:5.2f} s, {1000 * ours / items:5.1f} ms CPU an item;"
                    f" bare {bare_wall:5.2f} s, {1000 * theirs / items:5.1f} ms; CPU ratio {ours / theirs:4.2f}"
                    + (
                        f"; wall / {seconds:.0f} s = {wall / seconds:4.2f} (bare {bare_wall / seconds:4.2f})"
                        if seconds
                        else ""
                    )
                )
            draining.set()
            await working


if __name__ == "__main__":
    for seconds in (0.0, 2.0):
        asyncio.run(compare(seconds))
