"""General workflows: a task for the reasoning model, from its row to its stored and announced result.

A worker writes as a `Hold`, the fence of its claim, and every change opens by touching the row under it: so a worker
that lost its lease writes nothing. Whatever a step writes has a derived id, so that repeating it is the same write.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Literal, get_args

import msgspec

from tools.env import Env, Message, Statements
from tools.errors import Conflict, LeaseLost, NotFound, PicassoError
from tools.rows import Count, derived_id, dump, new_id, now_ms
from tools.step import correlation_id, step

Step = Literal["validate", "process-ai", "store-result", "notify"]
Status = Literal["queued", "running", "complete", "failed", "uncertain"]
Noted = Literal["first", "again", "unknown"]
"""Of a queue message: written down now, or before, or it tells of nothing that there is."""

STEPS: tuple[Step, ...] = get_args(Step)
PREFIX = "wf-"
"""By it the id of a workflow is told from that of a job, where both go through PICASSO_WORKFLOW."""

WORKFLOW = "SELECT * FROM workflows WHERE id = :id"
SUBMITTED = """
SELECT * FROM workflows WHERE id = :id OR (user_id = :user_id AND idempotency_key = CAST(:key AS TEXT))
"""
RESULT = "SELECT * FROM workflow_results WHERE id = :id"
INSERT = """
INSERT INTO workflows (id, user_id, task, status, idempotency_key, body_sha256, correlation_id, created_at)
VALUES (:id, :user_id, :task, 'queued', :key, :body_sha256, :correlation_id, :now)
ON CONFLICT DO NOTHING
"""
CLAIM = """
UPDATE workflows SET status = 'running', fence = fence + 1, idle_claims = idle_claims + 1, lease_until = :until,
    started_at = COALESCE(started_at, :now)
WHERE id = :id AND status IN ('queued', 'running') AND lease_until <= :now RETURNING *
"""
RENEW = "UPDATE workflows SET lease_until = :until WHERE id = :id AND fence = :fence"
RELEASE = "UPDATE workflows SET lease_until = 0 WHERE id = :id AND fence = :fence"
RELEASE_ALL = "UPDATE workflows SET lease_until = 0 WHERE status IN ('queued', 'running')"
OPEN = "SELECT * FROM workflows WHERE status IN ('queued', 'running') AND lease_until <= :now ORDER BY created_at"
TOUCH = "UPDATE workflows SET fence = fence WHERE id = :id AND fence = :fence AND status = 'running' RETURNING *"
ADVANCE = "UPDATE workflows SET steps_done = :done, idle_claims = 0 WHERE id = :id AND steps_done < :done"
STORE = """
INSERT INTO workflow_results (id, user_id, task, result, created_at) VALUES (:id, :user_id, :task, :result, :now)
ON CONFLICT (id) DO NOTHING
"""
KEEP = """
UPDATE workflows SET result_id = :result_id, steps_done = 3, idle_claims = 0 WHERE id = :id AND steps_done < 3
"""
COMPLETE = "UPDATE workflows SET status = 'complete', steps_done = 4, ended_at = :now WHERE id = :id"
FAIL = "UPDATE workflows SET status = :status, error = :error, ended_at = :now WHERE id = :id"
NOTE = """
UPDATE workflows SET notified_at = :now WHERE id = :id AND result_id IS NOT NULL AND notified_at IS NULL
"""
NOTED = "SELECT COUNT(*) AS n FROM workflows WHERE id = :id AND notified_at IS NOT NULL"


class WorkflowError(msgspec.Struct, frozen=True, rename="camel"):
    """Why a workflow ended without a result, safe to show."""

    code: str
    message: str
    correlation_id: str


class WorkflowRow(msgspec.Struct, frozen=True):
    """`steps_done` of `STEPS` are done; `result_id` is there once the result is stored."""

    id: str
    user_id: str
    task: str
    status: Status
    steps_done: int
    result_id: str | None
    error: WorkflowError | None
    idempotency_key: str | None
    body_sha256: str
    correlation_id: str
    fence: int
    idle_claims: int
    lease_until: int
    created_at: int
    started_at: int | None
    ended_at: int | None
    notified_at: int | None


class WorkflowResult(msgspec.Struct, frozen=True):
    """A row of the contract's table."""

    id: str
    user_id: str
    task: str
    result: str
    created_at: int


class Hold(msgspec.Struct, frozen=True):
    """One worker's hold on a workflow. It ends when a later claim raises the fence."""

    workflow_id: str
    fence: int


class Completed(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The payload of a `workflow-complete`."""

    workflow_id: str
    user_id: str


async def submit(env: Env, user_id: str, task: str, key: str | None) -> tuple[WorkflowRow, bool]:
    """Store the workflow and ask for a worker; `True` says that the user's key named it before.

    Fails: Conflict (`idempotency_mismatch`) when the user's key named another task.
    """
    workflow_id = f"{PREFIX}{new_id()}"
    body = hashlib.sha256(dump([user_id, task]).encode()).hexdigest()
    row = await _insert(env, workflow_id, user_id, task, key, body)
    if row.body_sha256 != body:
        raise Conflict("this Idempotency-Key was used for another request", code="idempotency_mismatch")
    if row.id == workflow_id:
        await env.PICASSO_WORKFLOW.enqueue(workflow_id)
    return row, row.id != workflow_id


@step("workflows.submit")
async def _insert(env: Env, workflow_id: str, user_id: str, task: str, key: str | None, body: str) -> WorkflowRow:
    """The row under this id, or the one that the user's key named before. The id is the caller's, so that a
    repetition after an answer that was lost finds its own row."""
    await env.DB.run(
        INSERT,
        id=workflow_id,
        user_id=user_id,
        task=task,
        key=key,
        body_sha256=body,
        correlation_id=correlation_id(),
        now=now_ms(),
    )
    row = await env.DB.one(SUBMITTED, WorkflowRow, id=workflow_id, user_id=user_id, key=key)
    assert row is not None
    return row


async def get(env: Env, workflow_id: str) -> WorkflowRow:
    """The workflow; NotFound when there is none."""
    found = await env.DB.one(WORKFLOW, WorkflowRow, id=workflow_id)
    if found is None:
        raise NotFound("there is no such workflow")
    return found


async def result(env: Env, row: WorkflowRow) -> str | None:
    """What the workflow brought, once it is stored."""
    stored = await env.DB.one(RESULT, WorkflowResult, id=row.result_id) if row.result_id else None
    return stored.result if stored else None


@step("workflows.claim")
async def claim(env: Env, workflow_id: str) -> WorkflowRow | None:
    """Take the workflow for JOB_LEASE_SECONDS; None while another worker holds it, or when it has ended."""
    now = now_ms()
    return await env.DB.one(CLAIM, WorkflowRow, id=workflow_id, now=now, until=now + _lease_ms(env))


async def renew(env: Env, hold: Hold) -> bool:
    """Hold the workflow for another JOB_LEASE_SECONDS; False when it was lost."""
    until = now_ms() + _lease_ms(env)
    return bool(await env.DB.run(RENEW, id=hold.workflow_id, fence=hold.fence, until=until))


@step("workflows.release")
async def release(env: Env, hold: Hold) -> None:
    """Let go of the workflow so that any worker may claim it at once."""
    await env.DB.run(RELEASE, id=hold.workflow_id, fence=hold.fence)


async def release_all(env: Env) -> None:
    """Forget every lease: right only where no other process can hold one (SQLite)."""
    await env.DB.run(RELEASE_ALL)


async def open_workflows(env: Env) -> list[str]:
    """Workflows that have not ended and that nobody holds."""
    return [row.id for row in await env.DB.all(OPEN, WorkflowRow, now=now_ms())]


@contextlib.asynccontextmanager
async def _held(env: Env, hold: Hold) -> AsyncIterator[tuple[Statements, WorkflowRow]]:
    """Change the open workflow under the hold's fence. Fails: LeaseLost when a later claim owns it."""
    async with env.DB.transaction() as tx:
        row = await tx.one(TOUCH, WorkflowRow, id=hold.workflow_id, fence=hold.fence)
        if row is None:
            raise LeaseLost("another worker owns this workflow now")
        yield tx, row


@step("workflows.advance")
async def advance(env: Env, hold: Hold, done: Step) -> None:
    """Note that a step is done; repeating it changes nothing."""
    async with _held(env, hold) as (tx, row):
        await tx.run(ADVANCE, id=row.id, done=STEPS.index(done) + 1)


@step("workflows.store_result")
async def store_result(env: Env, hold: Hold, answer: str) -> None:
    """Keep the result beside its task; one that is there already stays as it is."""
    async with _held(env, hold) as (tx, row):
        result_id = derived_id(row.id, "result")
        await tx.run(STORE, id=result_id, user_id=row.user_id, task=row.task, result=answer, now=now_ms())
        await tx.run(KEEP, id=row.id, result_id=result_id)


@step("workflows.notify")
async def notify(env: Env, row: WorkflowRow) -> None:
    """Announce the result.

    Effect: a `workflow-complete` in PICASSO_QUEUE; a repetition has the same id, and its consumer passes it by.
    Fails: Unavailable when the queue did not take it.
    """
    payload = msgspec.to_builtins(Completed(row.id, row.user_id))
    message = Message(derived_id(row.id, "workflow-complete"), "workflow-complete", now_ms(), payload)
    await env.PICASSO_QUEUE.send(message)


@step("workflows.complete")
async def complete(env: Env, hold: Hold) -> None:
    """End the workflow with its result."""
    async with _held(env, hold) as (tx, row):
        await tx.run(COMPLETE, id=row.id, now=now_ms())


@step("workflows.fail")
async def fail(env: Env, hold: Hold, status: Literal["failed", "uncertain"], error: PicassoError) -> None:
    """End the workflow where it stands."""
    told = WorkflowError(error.code, error.message, correlation_id())
    async with _held(env, hold) as (tx, row):
        await tx.run(FAIL, id=row.id, status=status, error=dump(told), now=now_ms())


async def note(tx: Statements, message: Message) -> Noted:
    """Write down that a `workflow-complete` was taken from the queue."""
    try:
        told = msgspec.convert(message.payload, Completed, strict=True)
    except msgspec.ValidationError:
        return "unknown"
    if await tx.run(NOTE, id=told.workflow_id, now=now_ms()):
        return "first"
    return "again" if await tx.one(NOTED, Count, id=told.workflow_id) == Count(1) else "unknown"


def _lease_ms(env: Env) -> int:
    return int(env.settings.job_lease_seconds * 1000)
