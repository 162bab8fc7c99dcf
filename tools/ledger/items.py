"""The items of a job from the comparison of their image to their end.

Each change is one transaction under the job's lease: the item's row, what belongs to it, and its events.
"""

from typing import Literal

import msgspec

from tools import db
from tools.env import Env
from tools.events import Event
from tools.ledger import attempts, item_events, jobs, progress
from tools.ledger.changes import Change, open_change
from tools.ledger.leases import Lease
from tools.ledger.progress import ITEM
from tools.rows import Item, ItemError, ItemStatus, Job, Progression, Verdict, dump, now_ms
from tools.step import correlation_id, step

END_ITEM = """
UPDATE job_items SET status = :status, ended_at = :now, error = :error, stage = NULL,
    progress = CASE WHEN :status IN ('complete', 'duplicate') THEN 1 ELSE progress END,
    duplicate_of = CASE WHEN :status = 'duplicate' THEN duplicate_of ELSE NULL END
WHERE id = :id AND status = 'running' RETURNING *
"""
TAKE_UP = "UPDATE job_items SET claim = :fence WHERE id = :id AND ended_at IS NULL"
SENT_OUT = "UPDATE jobs SET idle_claims = 0 WHERE id = :id AND idle_claims > 0"
MARK_COMPARED = """
UPDATE job_items SET phash = :phash, duplicate_of = :duplicate_of
WHERE id = :id AND status = 'running' AND phash IS NULL RETURNING *
"""
KEPT_IMAGES = """
SELECT job_items.id AS id, job_items.status AS status, job_items.phash AS phash,
       provider_attempts.bytes_sha256 AS sha256
FROM job_items JOIN provider_attempts ON provider_attempts.item_id = job_items.id
WHERE job_items.job_id = :job_id AND job_items.id <> :id AND job_items.phash IS NOT NULL
  AND job_items.duplicate_of IS NULL AND job_items.status IN ('running', 'complete')
  AND provider_attempts.state = 'succeeded'
ORDER BY job_items.position
"""
WAITING = "SELECT * FROM job_items WHERE duplicate_of = :id AND status = 'running' ORDER BY position"
WAIT_FOR = "UPDATE job_items SET duplicate_of = :kept WHERE id = :id AND status = 'running'"
WAIT_FOR_NONE = "UPDATE job_items SET duplicate_of = NULL WHERE id = :id AND status = 'running'"
ATTACH = "UPDATE job_items SET progression_id = :progression_id WHERE id = :id AND status = 'running'"
PROGRESSION = "SELECT * FROM image_progressions WHERE id = :id"


class KeptImage(msgspec.Struct, frozen=True):
    """An image of the same job that a new one may be a near-duplicate of."""

    id: str
    status: ItemStatus
    phash: str
    sha256: str


async def get(env: Env, item_id: str) -> Item:
    """The item, which must exist."""
    found = await env.DB.one(ITEM, Item, id=item_id)
    assert found is not None
    return found


@step("ledger.take_up")
async def take_up(env: Env, lease: Lease, item_id: str) -> Item:
    """Note that this claim works on the item from now on, and return the item: the claim's death is counted for it.

    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        await change.tx.run(TAKE_UP, id=item_id, fence=lease.fence)
        await change.tx.run(SENT_OUT, id=lease.id)
        item = await change.tx.one(ITEM, Item, id=item_id)
    assert item is not None
    return item


@step("ledger.compare")
async def compare(env: Env, lease: Lease, item: Item, phash: str, sha256: str, *, near: int) -> str | None:
    """Decide, once and atomically, whether the image is kept; the id of the kept one that it repeats, or None.

    `near` is the largest Hamming distance (of 64 bits) that counts as the same picture, -1 for equal bytes only.
    A duplicate of a finished image ends here; one of an unfinished image waits for that one's end.
    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        kept = next(
            (
                other
                for other in await change.tx.all(KEPT_IMAGES, KeptImage, job_id=item.job_id, id=item.id)
                if other.sha256 == sha256 or (int(other.phash, 16) ^ int(phash, 16)).bit_count() <= near
            ),
            None,
        )
        is_new = await change.tx.one(
            MARK_COMPARED, Item, id=item.id, phash=phash, duplicate_of=kept.id if kept else None
        )
        if kept is None:
            await progress.enter(change, item.id, "deliver")
        elif is_new and kept.status == "complete":
            await _end(change, item.id, "duplicate", None)
    return kept.id if kept else None


@step("ledger.deliver")
async def deliver(env: Env, lease: Lease, item: Item, progression: Progression) -> bool:
    """Insert the progression and name it in the item; False when the item has ended meanwhile.

    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        current = await change.tx.one(ITEM, Item, id=item.id)
        if current is None or current.status != "running":
            return False
        await db.insert_progression(change.tx, progression)
        await change.tx.run(ATTACH, id=item.id, progression_id=progression.id)
        await progress.enter(change, item.id, "judge")
        return True


@step("ledger.complete")
async def complete(
    env: Env, lease: Lease, item_id: str, verdict: Verdict | None, status: Literal["ok", "error", "skipped"]
) -> None:
    """Keep the verdict in the progression's row and end the item with its image; an ended item stays as it is.

    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        item = await change.tx.one(ITEM, Item, id=item_id)
        if item is None or item.status != "running" or item.progression_id is None:
            return
        row = await db.update_judgment(
            change.tx,
            item.progression_id,
            judge_status=status,
            judgment=verdict.judgment if verdict else None,
            notes=verdict.notes if verdict else [],
            tags=verdict.tags if verdict else [],
            criteria=verdict.criteria if verdict else [],
            retry_suggestion=verdict.retry_suggestion if verdict else None,
            coverage=verdict.coverage if verdict else None,
        )
        change.emit(item_events.judged(item, row))
        await _end(change, item.id, "complete", None)


@step("ledger.fail_item")
async def fail(
    env: Env,
    lease: Lease,
    item_id: str,
    status: ItemStatus,
    code: str,
    message: str,
    provider_status: int | None = None,
) -> None:
    """End the item without an image; the first duplicate that waited for it is kept instead.

    An item that was still queued starts and ends here. Repeating it changes nothing.
    Fails: LeaseLost.
    """
    error = ItemError(
        code=code, kind=status, message=message, provider_status=provider_status, correlation_id=correlation_id()
    )
    async with open_change(env, jobs.TABLE, lease) as change:
        await progress.run_item(change, item_id)
        await _end(change, item_id, status, error)


async def _end(change: Change[Job], item_id: str, status: ItemStatus, error: ItemError | None) -> None:
    encoded = dump(error) if error else None
    item = await change.tx.one(END_ITEM, Item, id=item_id, status=status, error=encoded, now=now_ms())
    if item is None:
        return
    await attempts.close(change.tx, item.id)
    change.emit(await _ended(change, item))
    waiting = await change.tx.all(WAITING, Item, id=item.id)
    if status == "complete":
        for duplicate in waiting:
            await _end(change, duplicate.id, "duplicate", None)
    elif waiting:
        first, *others = waiting
        await change.tx.run(WAIT_FOR_NONE, id=first.id)
        for other in others:
            await change.tx.run(WAIT_FOR, id=other.id, kept=first.id)


async def _ended(change: Change[Job], item: Item) -> Event:
    if item.error:
        return item_events.failed(item, item.error)
    if item.status == "duplicate":
        return item_events.duplicate(item, await change.tx.one(ITEM, Item, id=item.duplicate_of))
    progression = await change.tx.one(PROGRESSION, Progression, id=item.progression_id)
    assert progression is not None
    return item_events.completed(item, progression)
