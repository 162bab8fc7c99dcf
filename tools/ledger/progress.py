"""How far each item of a running job is: its stage and its progress from 0 to 1, which never falls."""

from collections.abc import Sequence

from tools.env import Env
from tools.events import Fallback
from tools.ledger import item_events, jobs
from tools.ledger.changes import Change, open_change
from tools.ledger.leases import Lease
from tools.rows import Item, Job, Stage, now_ms
from tools.step import step

ITEM = "SELECT * FROM job_items WHERE id = :id"
START_ITEM = """
UPDATE job_items SET status = 'running', started_at = :now WHERE id = :id AND status = 'queued' RETURNING *
"""
ADVANCE = """
UPDATE job_items SET stage = :stage, progress = CASE WHEN progress < :progress THEN :progress ELSE progress END,
    preview_url = COALESCE(CAST(:preview_url AS TEXT), preview_url)
WHERE id = :id AND status = 'running' RETURNING *
"""

BEGINS: dict[Stage, float] = {
    "ingest": 0.02,
    "refine": 0.05,
    "generate": 0.10,
    "store": 0.70,
    "compare": 0.75,
    "deliver": 0.80,
    "judge": 0.90,
}
"""The progress at which each stage begins, which is also where the one before it ends."""


@step("ledger.start_items")
async def start(env: Env, lease: Lease, items: Sequence[Item], stage: Stage) -> None:
    """Begin a stage for all these items; those that were queued are running now, with one `running` event each."""
    async with open_change(env, jobs.TABLE, lease) as change:
        for item in items:
            await run_item(change, item.id)
            await enter(change, item.id, stage)


async def advance(
    env: Env, lease: Lease, item_id: str, stage: Stage, fraction: float = 0.0, preview_url: str | None = None
) -> None:
    """Set that a `fraction` (0 … 1) of the stage is done; an item that has ended stays as it is."""
    async with open_change(env, jobs.TABLE, lease) as change:
        await enter(change, item_id, stage, fraction, preview_url)


async def tick(env: Env, lease: Lease, item_id: str) -> None:
    """Repeat the last `progress` event of a running item, so that a long stage is not silent."""
    async with open_change(env, jobs.TABLE, lease) as change:
        item = await change.tx.one(ITEM, Item, id=item_id)
        if item and item.status == "running" and item.stage:
            change.emit(item_events.progress(item, item.stage))


async def run_item(change: Change[Job], item_id: str) -> None:
    """Within a change: an item that was queued is running, and says so."""
    if started := await change.tx.one(START_ITEM, Item, id=item_id, now=now_ms()):
        change.emit(item_events.running(started))


async def enter(
    change: Change[Job],
    item_id: str,
    stage: Stage,
    fraction: float = 0.0,
    preview_url: str | None = None,
    fallback: Fallback | None = None,
) -> None:
    """Within a change: a running item is in this stage, a `fraction` of it done."""
    begin, end = BEGINS[stage], min([at for at in BEGINS.values() if at > BEGINS[stage]], default=1.0)
    progress = round(begin + (end - begin) * min(max(fraction, 0.0), 1.0), 4)
    item = await change.tx.one(ADVANCE, Item, id=item_id, stage=stage, progress=progress, preview_url=preview_url)
    if item:
        change.emit(item_events.progress(item, stage, fallback))
