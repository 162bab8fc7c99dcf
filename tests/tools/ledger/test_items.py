"""The ledger's transitions, on a real database."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.support import history_checks
from tests.support.samples.job_states import TOY, IdleServices, working
from tools.env import Message
from tools.errors import LeaseLost, Unavailable
from tools.ledger import attempts, items, jobs, leases, progress
from tools.ledger.attempts import Settlement


async def test_only_one_worker_holds_a_job(tmp_path: Path) -> None:
    """While the lease lasts no other worker can claim the job; once it is released the next claim has a higher
    fence."""
    async with working(tmp_path) as work:
        assert await leases.claim(work.env, jobs.TABLE, id=work.job.id) is None
        await leases.release(work.env, jobs.TABLE, work.lease)
        claimed = await leases.claim(work.env, jobs.TABLE, id=work.job.id)
        assert claimed is not None and claimed.fence == work.lease.fence + 1


async def test_a_lost_lease_writes_nothing(tmp_path: Path) -> None:
    """After another claim every change of the old run is refused and leaves no event."""
    async with working(tmp_path) as work:
        attempt = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        await leases.release(work.env, jobs.TABLE, work.lease)
        await leases.claim(work.env, jobs.TABLE, id=work.job.id)
        before = history_checks.read(tmp_path / "picasso.db")
        for late in (
            attempts.send(work.env, work.lease, attempt),
            progress.advance(work.env, work.lease, work.items[0].id, "generate", 0.5),
            items.fail(work.env, work.lease, work.items[0].id, "failed", "x", "x"),
            jobs.finish(work.env, work.lease),
        ):
            with pytest.raises(LeaseLost):
                await late
        assert history_checks.read(tmp_path / "picasso.db") == before


async def test_an_item_ends_once(tmp_path: Path) -> None:
    """A second end of any kind changes nothing and sends no event."""
    async with working(tmp_path) as work:
        item = work.items[0].id
        await items.fail(work.env, work.lease, item, "refused", "refused", "no")
        await items.fail(work.env, work.lease, item, "failed", "later", "later")
        await items.complete(work.env, work.lease, item, None, "skipped")
        await jobs.finish(work.env, work.lease)
        await jobs.finish(work.env, work.lease)
    left = history_checks.read(tmp_path / "picasso.db")
    assert (left.items[0]["status"], left.jobs[0]["status"]) == ("refused", "failed")
    assert [e["type"] for e in left.events if e["type"] in ("fail", "complete")] == ["fail", "fail"]


async def test_near_duplicates_are_decided_once_and_atomically(tmp_path: Path) -> None:
    """Of images compared at the same moment one is kept; repeating the decision gives the same answer."""
    async with working(tmp_path, variants=4) as work:
        bought = [await work.buy(n, seed=1) for n in range(4)]
        rows = [await work.item(n) for n in range(4)]

        async def compare(n: int) -> str | None:
            return await items.compare(work.env, work.lease, rows[n], "0" * 16, str(bought[n].bytes_sha256), near=4)

        first = await asyncio.gather(*(compare(n) for n in range(4)))
        kept = [n for n in range(4) if first[n] is None]
        assert len(kept) == 1
        again = [(await work.item(n)).duplicate_of for n in range(4)]
        assert again == [None if n in kept else rows[kept[0]].id for n in range(4)]


async def test_a_duplicate_takes_the_place_of_a_kept_image_that_fails(tmp_path: Path) -> None:
    """Duplicates wait for the kept image's end: if it fails, the first of them takes its place, the others wait for
    that one."""
    async with working(tmp_path, variants=3) as work:
        for n in range(3):
            bought = await work.buy(n, seed=1)
            item = await work.item(n)
            await items.compare(work.env, work.lease, item, "0" * 16, str(bought.bytes_sha256), near=4)
        kept, first, second = work.items
        await items.fail(work.env, work.lease, kept.id, "failed", "image_rejected", "no")
        assert [(await work.item(n)).duplicate_of for n in (1, 2)] == [None, first.id]
        assert await jobs.finish(work.env, work.lease) == [first.id, second.id]
        assert await work.deliver(1)
        await items.complete(work.env, work.lease, first.id, None, "skipped")
        assert await jobs.finish(work.env, work.lease) == []
    left = history_checks.read(tmp_path / "picasso.db")
    assert [item["status"] for item in left.items] == ["failed", "complete", "duplicate"]
    assert history_checks.violations(left) == []


async def test_what_was_bought_is_recorded_after_a_cancel(tmp_path: Path) -> None:
    """Bytes that arrive after the cancel are stored and billed; the item stays cancelled, and no event is sent."""
    async with working(tmp_path) as work:
        attempt = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        assert await attempts.send(work.env, work.lease, attempt)
        assert (await jobs.cancel(work.env, work.job.id)).status == "cancelled"
        told = len(history_checks.read(tmp_path / "picasso.db").events)
        bought = Settlement(outcome="succeeded", billed=True, bytes_sha256="0" * 64)
        await attempts.settle(work.env, work.lease, attempt, bought, original="project/p/jobs/j/orig/toy-0")
    left = history_checks.read(tmp_path / "picasso.db")
    assert (left.items[0]["status"], left.items[0]["original_r2_key"]) == ("cancelled", "project/p/jobs/j/orig/toy-0")
    assert left.attempts[0]["billed"] == 1 and len(left.events) == told


async def test_progress_is_told_in_plain_numbers(tmp_path: Path) -> None:
    """No event reports a fraction such as 0.33999999999999997."""
    async with working(tmp_path) as work:
        await progress.advance(work.env, work.lease, work.items[0].id, "generate", 0.4)
        assert (await work.item(0)).progress == 0.34
    assert history_checks.read(tmp_path / "picasso.db").events[-1]["data"]["progress"] == 0.34


async def test_a_cancelled_item_is_never_sent(tmp_path: Path) -> None:
    """`sent` is refused once the item has ended, and the intent is closed."""
    async with working(tmp_path) as work:
        attempt = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        await jobs.cancel(work.env, work.job.id)
        assert not await attempts.send(work.env, work.lease, attempt)
    assert history_checks.read(tmp_path / "picasso.db").attempts[0]["state"] == "abandoned"


async def test_no_call_stays_open_behind_an_ended_item(tmp_path: Path) -> None:
    """An item that is ended with its call in flight leaves it `uncertain`; one only intended is abandoned."""
    async with working(tmp_path, variants=2) as work:
        sent = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        assert await attempts.send(work.env, work.lease, sent)
        await attempts.intend(work.env, work.lease, work.items[1], 1, TOY)
        for item in work.items:
            await items.fail(work.env, work.lease, item.id, "failed", "crash_loop", "no progress")
        assert await jobs.finish(work.env, work.lease) == []
    left = history_checks.read(tmp_path / "picasso.db")
    assert {(a["state"], a["billed"]) for a in left.attempts} == {("uncertain", 1), ("abandoned", 0)}
    assert history_checks.violations(left) == []


async def test_a_call_of_a_cancelled_job_is_settled_when_its_worker_died(tmp_path: Path) -> None:
    """Cancelled with a call in flight, then the worker dies: the sweep settles it, not before its lease is over."""
    async with working(tmp_path) as work:
        attempt = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        assert await attempts.send(work.env, work.lease, attempt)
        await jobs.cancel(work.env, work.job.id)
        assert await attempts.close_lost(work.env) == 0
        await leases.release(work.env, jobs.TABLE, work.lease)
        key = f"project/p/jobs/{work.job.id}/orig/toy-0"
        await work.env.BUCKET.put_once(key, b"bytes", content_type="image/png")
        assert await attempts.close_lost(work.env) == 1
        assert (await work.item(0)).original_r2_key == key, "what was bought is named"
    assert history_checks.read(tmp_path / "picasso.db").attempts[0]["state"] == "uncertain"


async def test_the_end_of_a_job_is_one_log_message(tmp_path: Path) -> None:
    """Finished or cancelled, however often: one `log` message with the status and the counts."""
    async with working(tmp_path) as work:
        queue: Any = work.env.PICASSO_QUEUE
        assert await jobs.finish(work.env, work.lease) == [work.items[0].id] and queue.messages == []
        await items.fail(work.env, work.lease, work.items[0].id, "refused", "refused", "no")
        await jobs.finish(work.env, work.lease)
        await jobs.finish(work.env, work.lease)
        await jobs.cancel(work.env, work.job.id)
        [message] = queue.messages
        assert message.type == "log"
        assert message.payload == {
            "event": "job-ended",
            "jobId": work.job.id,
            "projectId": "p",
            "sessionId": "s",
            "status": "failed",
            "counts": {"refused": 1, "total": 1},
        }


class Away(IdleServices):
    """A queue that does not answer."""

    async def send(self, message: Message) -> None:
        raise Unavailable("the queue is full")


async def test_a_queue_that_is_away_does_not_hold_up_a_job(tmp_path: Path) -> None:
    """The job ends, and its event is stored, without the log message."""
    async with working(tmp_path) as work:
        env = dataclasses.replace(work.env, PICASSO_QUEUE=Away())  # type: ignore[arg-type]
        await jobs.cancel(env, work.job.id)
        assert (await jobs.get(env, work.job.id)).status == "cancelled"
    assert history_checks.read(tmp_path / "picasso.db").events[-1]["type"] == "fail"
