"""General workflows: a task for the reasoning model, from its row to its stored and announced result.

Every change is made under the lease of a claim. What a step writes has a derived id, so repeating a step after a crash
is the same write again.
"""

import hashlib
from typing import Literal, get_args

import msgspec

from tools import queue
from tools.env import Env, Message, Statements
from tools.errors import Conflict, NotFound, PicassoError
from tools.ledger.changes import open_change
from tools.ledger.leases import Lease, WorkTable
from tools.rows import Count, derived_id, dump, new_id, now_ms
from tools.step import correlation_id, step

Step = Literal["validate", "process-ai", "store-result", "notify"]
Status = Literal["queued", "running", "complete", "failed", "uncertain"]
Noted = Literal["first", "again", "unknown"]
"""What a `workflow-complete` message turned out to be: noted now, noted before, or of no result that exists."""

STEPS: tuple[Step, ...] = get_args(Step)
PREFIX = "wf-"
"""Begins the ids of workflows; jobs and renders go through PICASSO_WORKFLOW too."""

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
UPDATE workflows SET status = 'running', fence = fence + 1, lease_until = :until,
    started_at = COALESCE(started_at, :now)
WHERE id = :id AND status IN ('queued', 'running') AND lease_until <= :now RETURNING *
"""
RENEW = "UPDATE workflows SET lease_until = :until WHERE id = :id AND fence = :fence"
LOCK = "UPDATE workflows SET fence = fence WHERE id = :id AND fence = :fence AND status = 'running' RETURNING *"
UNCLAIMED = """
SELECT id FROM workflows WHERE status IN ('queued', 'running') AND lease_until <= :now ORDER BY idle_claims, created_at
"""
EXPIRE_ALL = "UPDATE workflows SET lease_until = 1 WHERE status IN ('queued', 'running') AND lease_until > 0"
COUNT_DEATH = """
UPDATE workflows SET idle_claims = idle_claims + 1, lease_until = 0
WHERE id = :id AND status IN ('queued', 'running') AND lease_until > 0 AND lease_until <= :now
"""
ADVANCE = "UPDATE workflows SET steps_done = :done, idle_claims = 0 WHERE id = :id AND steps_done < :done"
STORE_RESULT = """
INSERT INTO workflow_results (id, user_id, task, result, created_at) VALUES (:id, :user_id, :task, :result, :now)
ON CONFLICT (id) DO NOTHING
"""
NAME_RESULT = """
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
    """A row of `workflows`: `steps_done` of `STEPS` are done; `result_id` is set once the result is stored."""

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
    """A row of `workflow_results`."""

    id: str
    user_id: str
    task: str
    result: str
    created_at: int


MESSAGE_BYTES = 60 << 10
"""Of the 64 KiB of a queue message those that task and result may take as JSON; a task takes at most 32,002."""


class Completed(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """The payload of a `workflow-complete`: a task and its result. Of a result too long for a message only the
    beginning, marked as `resultCut`; the workflow itself has all of it. Both are missing in older messages."""

    workflow_id: str
    user_id: str
    task: str = ""
    result: str = ""
    result_cut: bool = False


TABLE = WorkTable(
    row=WorkflowRow,
    claim=CLAIM,
    renew=RENEW,
    lock=LOCK,
    lost="another worker owns this workflow now",
    unclaimed=UNCLAIMED,
    expire_all=EXPIRE_ALL,
    died=(COUNT_DEATH,),
    session=lambda row: None,
)


async def submit(env: Env, user_id: str, task: str, key: str | None) -> tuple[WorkflowRow, bool]:
    """Store the workflow and ask for a worker; `True` when the user's key named it before.

    Fails: Conflict (`idempotency_mismatch`) when the user's key was used for another task.
    """
    workflow_id = f"{PREFIX}{new_id()}"
    body_sha256 = hashlib.sha256(dump([user_id, task]).encode()).hexdigest()
    row = await _insert(env, workflow_id, user_id, task, key, body_sha256)
    if row.body_sha256 != body_sha256:
        raise Conflict("this Idempotency-Key was used for another request", code="idempotency_mismatch")
    if row.id == workflow_id:
        await env.PICASSO_WORKFLOW.enqueue(workflow_id)
    return row, row.id != workflow_id


@step("workflows.submit")
async def _insert(
    env: Env, workflow_id: str, user_id: str, task: str, key: str | None, body_sha256: str
) -> WorkflowRow:
    """The row under this id, or the one that the user's key named before. The caller makes the id, so that a
    repetition after an answer that was lost finds its own row."""
    await env.DB.run(
        INSERT,
        id=workflow_id,
        user_id=user_id,
        task=task,
        key=key,
        body_sha256=body_sha256,
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
    """The text of the result; None until it is stored."""
    stored = await env.DB.one(RESULT, WorkflowResult, id=row.result_id) if row.result_id else None
    return stored.result if stored else None


@step("workflows.advance")
async def advance(env: Env, lease: Lease, done: Step) -> None:
    """Note that a step is done; repeating it changes nothing. Fails: LeaseLost."""
    async with open_change(env, TABLE, lease) as change:
        await change.tx.run(ADVANCE, id=lease.id, done=STEPS.index(done) + 1)


@step("workflows.store_result")
async def store_result(env: Env, lease: Lease, answer: str) -> None:
    """Store the result with its task; a result that is stored already stays as it is. Fails: LeaseLost."""
    async with open_change(env, TABLE, lease) as change:
        row, result_id = change.row, derived_id(lease.id, "result")
        await change.tx.run(STORE_RESULT, id=result_id, user_id=row.user_id, task=row.task, result=answer, now=now_ms())
        await change.tx.run(NAME_RESULT, id=row.id, result_id=result_id)


def cut_to_bytes(text: str, most: int) -> str:
    """The longest beginning of the text that takes at most so many bytes as JSON."""
    fits, too_long = 0, len(text) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if len(msgspec.json.encode(text[:middle])) <= most else (fits, middle)
    return text[:fits]


async def notify(env: Env, row: WorkflowRow) -> None:
    """Announce the result.

    Effect: a `workflow-complete` in PICASSO_QUEUE; a repetition has the same id, and its consumer ignores it.
    Fails: Unavailable when the queue did not take it.
    """
    text = await result(env, row) or ""
    shown = cut_to_bytes(text, MESSAGE_BYTES - len(msgspec.json.encode(row.task)))
    payload = msgspec.to_builtins(Completed(row.id, row.user_id, row.task, shown, shown != text))
    message = Message(derived_id(row.id, "workflow-complete"), "workflow-complete", now_ms(), payload)
    await queue.send(env, message)


@step("workflows.complete")
async def complete(env: Env, lease: Lease) -> None:
    """End the workflow with its result. Fails: LeaseLost."""
    async with open_change(env, TABLE, lease) as change:
        await change.tx.run(COMPLETE, id=lease.id, now=now_ms())


@step("workflows.fail")
async def fail(env: Env, lease: Lease, status: Literal["failed", "uncertain"], error: PicassoError) -> None:
    """End the workflow without a result. Fails: LeaseLost."""
    shown = WorkflowError(error.code, error.message, correlation_id())
    async with open_change(env, TABLE, lease) as change:
        await change.tx.run(FAIL, id=lease.id, status=status, error=dump(shown), now=now_ms())


async def note(tx: Statements, message: Message) -> Noted:
    """Note that a `workflow-complete` was taken from the queue, once."""
    try:
        completed = msgspec.convert(message.payload, Completed, strict=True)
    except msgspec.ValidationError:
        return "unknown"
    if await tx.run(NOTE, id=completed.workflow_id, now=now_ms()):
        return "first"
    return "again" if await tx.one(NOTED, Count, id=completed.workflow_id) == Count(1) else "unknown"
