"""Jobs: how they are read, leased to a worker, and ended. How they are created stands in `submissions`."""

import contextlib

from tools import queue
from tools.actor_emit import append
from tools.env import Env, Value
from tools.errors import NotFound, PicassoError
from tools.events import Complete, Event, Fail
from tools.ledger import item_events
from tools.ledger.changes import open_change
from tools.ledger.deaths import JOB_DIED
from tools.ledger.leases import Lease, WorkTable
from tools.pages import Cursor, Page, decode, page
from tools.rows import (
    IdRow,
    InputImages,
    Item,
    ItemError,
    Job,
    JobMetadata,
    JobStatus,
    Progression,
    derived_id,
    dump,
    now_ms,
)
from tools.step import correlation_id, step

JOB = "SELECT * FROM jobs WHERE id = :id"
JOBS = """
SELECT * FROM jobs WHERE project_id = :project_id AND (created_at < :at OR (created_at = :at AND id < :id))
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
ALL_JOBS = """
SELECT * FROM jobs WHERE (created_at < :at OR (created_at = :at AND id < :id))
    AND (CAST(:status AS TEXT) IS NULL OR status = :status)
    AND (CAST(:session_id AS TEXT) IS NULL OR session_id = :session_id)
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
ITEMS = "SELECT * FROM job_items WHERE job_id = :job_id ORDER BY position"
PROJECT_EXISTS = "SELECT id FROM projects WHERE id = :id"
CLAIM = """
UPDATE jobs SET status = 'running', fence = fence + 1, lease_until = :until,
    started_at = COALESCE(started_at, :now)
WHERE id = :id AND status IN ('queued', 'running') AND lease_until <= :now RETURNING *
"""
RENEW = "UPDATE jobs SET lease_until = :until WHERE id = :id AND fence = :fence"
LOCK = "UPDATE jobs SET fence = fence WHERE id = :id AND fence = :fence RETURNING *"
UNCLAIMED = """
SELECT id FROM jobs WHERE ended_at IS NULL AND status IN ('queued', 'running') AND lease_until <= :now
ORDER BY idle_claims, created_at
"""
EXPIRE_ALL = "UPDATE jobs SET lease_until = 1 WHERE status IN ('queued', 'running') AND lease_until > 0"
SUSPECTS = """
SELECT id FROM jobs WHERE ended_at IS NULL AND status IN ('queued', 'running') AND lease_until <= :now AND (
    idle_claims > 0
    OR EXISTS (SELECT 1 FROM job_items WHERE job_id = jobs.id AND ended_at IS NULL AND deaths > 0))
ORDER BY created_at LIMIT :limit
"""
PLAN = "UPDATE jobs SET metadata = :metadata, inputs = :inputs WHERE id = :id"
FINISH = "UPDATE jobs SET status = :status, ended_at = :now WHERE id = :id AND status = 'running'"
CANCEL_JOB = """
UPDATE jobs SET status = 'cancelled', ended_at = :now WHERE id = :id AND status IN ('queued', 'running')
"""
CANCEL_ITEMS = """
UPDATE job_items SET status = 'cancelled', ended_at = :now, error = :error, duplicate_of = NULL
WHERE job_id = :job_id AND status IN ('queued', 'running') AND progression_id IS NULL
RETURNING *
"""
KEEP_DELIVERED = """
UPDATE job_items SET status = 'complete', ended_at = :now, progress = 1
WHERE job_id = :job_id AND status = 'running' AND progression_id IS NOT NULL
RETURNING *
"""
PROGRESSIONS = "SELECT * FROM image_progressions WHERE job_id = :job_id"

TABLE = WorkTable(
    row=Job,
    claim=CLAIM,
    renew=RENEW,
    lock=LOCK,
    lost="another worker owns this job now",
    unclaimed=UNCLAIMED,
    expire_all=EXPIRE_ALL,
    died=JOB_DIED,
    session=lambda job: job.session_id,
)
"""A job is written to under its lease also after a cancel, because what was bought is recorded."""

MOST_SUSPECTS = 50


async def get(env: Env, job_id: str) -> Job:
    """The job; NotFound when there is none."""
    job = await env.DB.one(JOB, Job, id=job_id)
    if job is None:
        raise NotFound("there is no such job")
    return job


async def items(env: Env, job_id: str) -> list[Item]:
    """The job's items in request order."""
    return await env.DB.all(ITEMS, Item, job_id=job_id)


async def suspects(env: Env) -> list[str]:
    """The ids of jobs that no worker has and that may have ended workers, the oldest first, MOST_SUSPECTS at most."""
    return [row.id for row in await env.DB.all(SUSPECTS, IdRow, now=now_ms(), limit=MOST_SUSPECTS)]


async def list_page(
    env: Env,
    cursor: str | None,
    limit: int,
    *,
    project_id: str | None = None,
    status: JobStatus | None = None,
    session_id: str | None = None,
) -> Page[Job]:
    """The jobs, newest first: of one project or of all, in one state or in any, of one session or of all.

    Fails: NotFound for an unknown project · Invalid (400, `bad_cursor`).
    """
    after = decode(cursor)
    given: dict[str, Value] = {
        "at": after.at,
        "id": after.id,
        "limit": limit + 1,
        "status": status,
        "session_id": session_id,
    }
    if project_id is None:
        rows = await env.DB.all(ALL_JOBS, Job, **given)
    else:
        if not await env.DB.one(PROJECT_EXISTS, IdRow, id=project_id):
            raise NotFound("there is no such project")
        rows = await env.DB.all(JOBS, Job, project_id=project_id, **given)
    return page(rows, limit, lambda job: Cursor(job.created_at, job.id))


@step("ledger.plan")
async def plan(env: Env, lease: Lease, metadata: JobMetadata, inputs: InputImages) -> None:
    """Keep what `prepare` decided, so that a resumed job need not decide again."""
    async with open_change(env, TABLE, lease) as change:
        await change.tx.run(PLAN, id=lease.id, metadata=dump(metadata), inputs=dump(inputs))


@step("ledger.finish_job")
async def finish(env: Env, lease: Lease) -> list[str]:
    """End the job when all its items have ended; otherwise the ids of the items that have not.

    Effect: the job's row and its last event, once; then a `log` message.
    Fails: LeaseLost.
    """
    async with open_change(env, TABLE, lease) as change:
        rows = await change.tx.all(ITEMS, Item, job_id=lease.id)
        if still_open := [item.id for item in rows if item.ended_at is None]:
            return still_open
        tally = counts(rows)
        status = "complete" if "complete" in tally else "failed"
        has_ended = await change.tx.run(FINISH, id=lease.id, status=status, now=now_ms())
        if has_ended:
            change.emit(_finished(lease.id, status, tally))
    if has_ended:
        await _log_end(env, change.row, status, tally)
    return []


def _finished(job_id: str, status: str, tally: dict[str, int]) -> Event:
    if status == "complete":
        return Complete(scope="job", job_id=job_id, counts=tally)
    error = ItemError(
        code="no_image", kind="failed", message="no item ended with an image", correlation_id=correlation_id()
    )
    return Fail(scope="job", job_id=job_id, error=error, counts=tally)


@step("jobs.cancel")
async def cancel(env: Env, job_id: str) -> Job:
    """End the job now: open items end `cancelled`, items whose image is already delivered end `complete`.

    Effect: items, job and their last events in one transaction, then a `log` message. Cancelling an ended job changes
    nothing.
    Fails: NotFound.
    """
    job = await get(env, job_id)
    error = ItemError(
        code="cancelled", kind="cancelled", message="the job was cancelled", correlation_id=job.correlation_id
    )
    async with env.DB.transaction() as tx:
        has_ended = await tx.run(CANCEL_JOB, id=job_id, now=now_ms())
        if has_ended:
            kept = await tx.all(KEEP_DELIVERED, Item, job_id=job_id, now=now_ms())
            delivered = {row.id: row for row in await tx.all(PROGRESSIONS, Progression, job_id=job_id)}
            ended = await tx.all(CANCEL_ITEMS, Item, job_id=job_id, now=now_ms(), error=dump(error))
            tally = counts(await tx.all(ITEMS, Item, job_id=job_id))
            events: list[Event] = [
                *(item_events.completed(item, delivered[str(item.progression_id)]) for item in kept),
                *(item_events.failed(item, error) for item in ended),
                Fail(job_id=job_id, scope="job", error=error, counts=tally),
            ]
            await append(tx, job.session_id, events)
    if has_ended:
        await env.PICASSO_DO.wake(job.session_id)
        await _log_end(env, job, "cancelled", tally)
    return await get(env, job_id)


async def _log_end(env: Env, job: Job, status: str, tally: dict[str, int]) -> None:
    """Have the queue's consumer write one log line about the end of the job. A queue that is away costs that line."""
    payload = {
        "event": "job-ended",
        "jobId": job.id,
        "projectId": job.project_id,
        "sessionId": job.session_id,
        "status": status,
        "counts": tally,
    }
    with contextlib.suppress(PicassoError):
        await queue.send(env, queue.log_message(derived_id(job.id, "ended"), payload))


def counts(items: list[Item]) -> dict[str, int]:
    """How many items are in which state; states that none is in are left out."""
    states = [item.status for item in items]
    return {state: states.count(state) for state in sorted(set(states))} | {"total": len(states)}
