"""Workers that die: the item that ends them is found, the others and what was bought come to no harm.

A worker's death is played in this process: its tasks end where they are, and its leases stay as a kill leaves them.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from adapters import discovery
from app.bindings.images.directory import LocalImages
from app.worker import Runner
from tests.graphs.test_purchase import reaching_toy
from tests.support import history_checks
from tests.support.api_calls import GUEST_PACKAGES
from tests.support.deadlines import LONG
from tests.support.internet import Answer, Wire, picture
from tests.support.samples.job_states import TOY, Work, working
from tools.env import Bucket, Env
from tools.ledger import attempts, items, jobs, leases, submissions
from tools.ledger.attempts import Settlement
from tools.ledger.leases import MAX_DEATHS
from tools.ledger.submissions import ItemPlan, Submission
from tools.rows import Count, Item, Job, JobRequest

LEASED = "SELECT COUNT(*) AS n FROM jobs WHERE lease_until > 1"
OUT = """
SELECT COUNT(*) AS n FROM job_items JOIN jobs ON jobs.id = job_items.job_id
WHERE job_items.id = :id AND job_items.claim = jobs.fence AND job_items.ended_at IS NULL AND jobs.lease_until > 1
    AND job_items.deaths <= :most
    AND EXISTS (SELECT 1 FROM provider_attempts WHERE item_id = job_items.id)
"""
"""A worker has the item in hand and prepares its call; it does not give it up."""
BESIDE = """
SELECT COUNT(*) AS n FROM job_items JOIN jobs ON jobs.id = job_items.job_id
WHERE job_items.id <> :id AND job_items.claim = jobs.fence AND job_items.ended_at IS NULL AND jobs.lease_until = 1
"""
KILL = "UPDATE jobs SET lease_until = 1 WHERE id = :id"
STILL_LEASED = "SELECT * FROM jobs WHERE lease_until > 1"
DIED = "UPDATE jobs SET idle_claims = :deaths WHERE id = :id"


@pytest.fixture(autouse=True)
def guests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugin packages of `tests/support/guests`, as if they were installed here."""
    monkeypatch.syspath_prepend(str(GUEST_PACKAGES))
    discovery.adapters_found.cache_clear()
    yield
    discovery.adapters_found.cache_clear()


@contextlib.asynccontextmanager
async def painting(home: Path, variants: int = 1, prompt: str = "a red boat") -> AsyncIterator[tuple[Work, Wire]]:
    """A job that no worker has, everything that a worker needs, and the toy vendor."""
    async with (
        Wire() as wire,
        working(home, variants, prompt) as work,
        LocalImages.open(home / "images") as delivered,
    ):
        await leases.release(work.env, jobs.TABLE, work.lease)
        work.env = dataclasses.replace(reaching_toy(work.env, wire), IMAGES=delivered, AGENTIC_MEMORIES=InMemorySaver())
        yield work, wire


async def submit(env: Env, variants: int, *, prompt: str = "a red boat", retry_of: Item | None = None) -> Job:
    request = JobRequest(prompt=prompt, providers=[{"provider": "toy"}], session_id="s", variants=variants)
    places = [ItemPlan("toy", "toy-1", n, 100 + n) for n in range(variants)]
    submission = Submission(project_id="p", request=request, items=places, retry_of=retry_of.id if retry_of else None)
    job, _ = await submissions.submit(env, submission)
    return job


async def work_until(env: Env, ids: list[str], is_fatal: Callable[[], str] | None = None, **params: str | int) -> bool:
    """One worker takes up these jobs and works until they are done, or dies as soon as the statement counts a row;
    whether it died."""
    runner = Runner(env)
    tasks = [asyncio.create_task(runner.run(id)) for id in ids]
    async with asyncio.timeout(LONG):
        while not all(task.done() for task in tasks):
            if is_fatal and (found := await env.DB.one(is_fatal(), Count, **params)) and found.n:
                held = await env.DB.all(STILL_LEASED, Job)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for job in held:
                    await env.DB.run(KILL, id=job.id)
                return True
            await asyncio.sleep(0.002)
    for task in tasks:
        task.result()
    return False


async def all_items(env: Env, ids: list[str]) -> list[Item]:
    return [item for id in ids for item in await jobs.items(env, id)]


async def test_the_item_that_ends_its_workers_is_found_and_takes_no_other_with_it(tmp_path: Path) -> None:
    """One of four items ends each worker that takes it up: it ends `crash_loop`; its siblings and the other job end
    with images but for the calls that were in flight at the first deaths, and nothing is bought twice. Once it is a
    suspect, no other item is in its worker's hands."""
    async with painting(tmp_path, variants=4, prompt="let the second end its worker") as (work, wire):
        other = await submit(work.env, 3)
        ids, killer, died = [work.job.id, other.id], work.items[1].id, 0
        while await work_until(work.env, ids, lambda: OUT, id=killer, most=MAX_DEATHS):
            died += 1
            assert died <= MAX_DEATHS + 2, "the first death had brought it further"
            if (await items.get(work.env, killer)).deaths:
                assert await work.env.DB.all(BESIDE, Count, id=killer) == [Count(0)]
        rows = await all_items(work.env, ids)
    found = next(item for item in rows if item.id == killer)
    assert (found.status, found.error and found.error.code) == ("failed", "crash_loop")
    ends = [item.status for item in rows if item.id != killer]
    assert {*ends} <= {"complete", "uncertain"} and ends.count("complete") >= 1
    left = history_checks.read(tmp_path / "picasso.db")
    assert history_checks.violations(left) == []
    assert len({(call.body["prompt"], call.body["seed"]) for call in wire.calls}) == len(wire.calls)


async def test_seven_kills_from_outside_end_no_innocent_job(tmp_path: Path) -> None:
    """Five jobs whose worker is killed seven times as soon as it has claimed one: left alone, all end with images."""
    async with painting(tmp_path) as (work, wire):
        ids = [work.job.id, *[(await submit(work.env, 1, prompt=f"a red boat {n}")).id for n in range(4)]]
        for _ in range(7):
            assert await work_until(work.env, ids, lambda: LEASED)
        await work_until(work.env, ids)
        rows = await all_items(work.env, ids)
        assert [(item.status, item.error) for item in rows] == [("complete", None)] * 5
        assert len(wire.calls) == 5


async def test_a_job_that_ends_its_workers_before_any_item_goes_out_is_ended(tmp_path: Path) -> None:
    """Six deaths in `prepare` and no more, although each claim wrote events."""
    async with painting(tmp_path, variants=2) as (work, wire):
        for _ in range(MAX_DEATHS + 1):
            assert await work_until(work.env, [work.job.id], lambda: LEASED)
        assert not await work_until(work.env, [work.job.id])
        rows = await jobs.items(work.env, work.job.id)
        assert [item.error and item.error.code for item in rows] == ["crash_loop"] * 2
        assert (await jobs.get(work.env, work.job.id)).status == "failed" and wire.calls == []


async def test_what_was_bought_is_adopted_before_a_job_is_given_up(tmp_path: Path) -> None:
    """Of two items of a job whose workers died too often the one whose original reached BUCKET ends with its image."""
    async with painting(tmp_path, variants=2) as (work, wire):
        claimed = await leases.claim(work.env, jobs.TABLE, id=work.job.id)
        assert claimed is not None
        work.lease = leases.Lease(claimed.id, claimed.fence)
        sent = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        assert await attempts.send(work.env, work.lease, sent)
        key = f"project/p/jobs/{work.job.id}/orig/toy-0"
        await work.env.BUCKET.put_once(key, picture(1), content_type="image/png")
        await work.env.DB.run(KILL, id=work.job.id)
        await work.env.DB.run(DIED, id=work.job.id, deaths=MAX_DEATHS + 1)
        assert not await work_until(work.env, [work.job.id])
        one, two = await jobs.items(work.env, work.job.id)
        assert (one.status, one.original_r2_key, two.status) == ("complete", key, "failed") and wire.calls == []


class Stumbling:
    """A bucket that stores an original and then fails as nobody expects, once."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self.fails = bucket, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        await self._bucket.put_once(key, data, content_type=content_type)
        self.fails -= 1
        if self.fails >= 0:
            raise ZeroDivisionError


async def test_a_fault_of_ours_after_the_bytes_are_stored_costs_no_image(tmp_path: Path) -> None:
    """The item goes on with the image that was paid for, and is not bought again."""
    async with painting(tmp_path) as (work, wire):
        env = dataclasses.replace(work.env, BUCKET=cast(Any, Stumbling(work.env.BUCKET)))
        await work_until(env, [work.job.id])
        [item], [attempt] = await jobs.items(env, work.job.id), await attempts.of_item(env, work.items[0].id)
        assert (item.status, attempt.state, attempt.billed, len(wire.calls)) == ("complete", "succeeded", 1, 1)


@pytest.mark.parametrize(
    ("stored", "prompt", "bought"),
    [
        pytest.param(picture(1), "a red boat", False, id="adopted"),
        pytest.param(picture(1), "a blue boat", True, id="another prompt: bought"),
        pytest.param(b"no image", "a blue boat", True, id="bytes that are no image, another prompt: bought"),
        pytest.param(None, "a red boat", True, id="no original: bought"),
    ],
)
async def test_a_retry_adopts_the_original_that_was_paid_for(
    tmp_path: Path, stored: bytes | None, prompt: str, bought: bool
) -> None:
    """The retry of an item whose original is in BUCKET costs nothing; where that cannot serve, it buys."""
    async with painting(tmp_path) as (work, wire):
        claimed = await leases.claim(work.env, jobs.TABLE, id=work.job.id)
        assert claimed is not None
        work.lease, item = leases.Lease(claimed.id, claimed.fence), work.items[0]
        sent = await attempts.intend(work.env, work.lease, item, 1, TOY)
        assert await attempts.send(work.env, work.lease, sent)
        key = f"project/p/jobs/{work.job.id}/orig/toy-0"
        if stored is not None:
            await work.env.BUCKET.put_once(key, stored, content_type="image/png")
            lost = Settlement(outcome="failed", billed=True, failure="invalid")
            await attempts.settle(work.env, work.lease, sent, lost, original=key)
        await items.fail(work.env, work.lease, item.id, "failed", "crash_loop", "it died")
        await jobs.finish(work.env, work.lease)
        again = await submit(work.env, 1, prompt=prompt, retry_of=item)
        await work_until(work.env, [again.id])
        [made] = await jobs.items(work.env, again.id)
        [attempt] = await attempts.of_item(work.env, made.id)
        assert made.status == "complete" and len(wire.calls) == int(bought)
        assert (attempt.state, attempt.billed) == ("succeeded", int(bought))
        assert bool(attempt.cost_micros) == bought
        kept = await work.env.BUCKET.get(str(made.original_r2_key))
        assert (kept == stored) != bought and made.original_r2_key != key


async def test_a_retry_buys_again_where_the_answer_held_no_image(tmp_path: Path) -> None:
    """The answer is kept for its item, but it is nothing that the retry could go on with."""
    async with painting(tmp_path) as (work, wire):
        wire.scripts["toy"].append(Answer("empty"))
        await work_until(work.env, [work.job.id])
        [earlier] = await jobs.items(work.env, work.job.id)
        [attempt] = await attempts.of_item(work.env, earlier.id)
        assert earlier.original_r2_key and (earlier.status, attempt.billed) == ("failed", 1)
        again = await submit(work.env, 1, retry_of=earlier)
        await work_until(work.env, [again.id])
        [made] = await jobs.items(work.env, again.id)
        [attempt] = await attempts.of_item(work.env, made.id)
        assert (made.status, attempt.billed, len(wire.calls)) == ("complete", 1, 2)


async def test_a_retry_does_not_buy_again_what_came_as_no_image(tmp_path: Path) -> None:
    """The retry of an item whose bytes are no image, and the retry of that one, end as it did: they name the bytes,
    call nobody and cost nothing."""
    async with painting(tmp_path) as (work, wire):
        wire.scripts["toy"].append(Answer("garbage"))
        await work_until(work.env, [work.job.id])
        [earlier] = await jobs.items(work.env, work.job.id)
        assert earlier.error is not None and (earlier.status, earlier.error.code) == ("failed", "image_rejected")
        bytes_sent = await work.env.BUCKET.get(str(earlier.original_r2_key))
        for _ in range(2):
            again = await submit(work.env, 1, retry_of=earlier)
            await work_until(work.env, [again.id])
            [earlier] = await jobs.items(work.env, again.id)
            assert earlier.error is not None and (earlier.status, earlier.error.code) == ("failed", "image_rejected")
            assert f"GET /api/jobs/{again.id}/items/{earlier.id}/original" in earlier.error.message
            assert await work.env.BUCKET.get(str(earlier.original_r2_key)) == bytes_sent
            [attempt] = await attempts.of_item(work.env, earlier.id)
            assert (attempt.state, attempt.billed, attempt.cost_micros) == ("failed", 0, 0)
        assert len(wire.calls) == 1
