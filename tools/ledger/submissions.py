"""Submitting a job: stored once with its items, `queued` events and idempotency key."""

import hashlib

import msgspec

from tools.actor_emit import append
from tools.env import Env, Statements
from tools.errors import Conflict, NotFound
from tools.events import Event, Queued
from tools.ledger import jobs, money
from tools.rows import IdRow, InputImages, Job, JobMetadata, JobRequest, derived_id, dump, new_id, now_ms
from tools.step import correlation_id, step

JOB_OF_KEY = "SELECT * FROM jobs WHERE idempotency_scope = :scope AND idempotency_key = :key"
INSERT_JOB = """
INSERT INTO jobs (id, project_id, session_id, status, prompt, kind, request, metadata, inputs, parent_progression_id,
                  retry_of, idempotency_scope, idempotency_key, body_sha256, correlation_id, created_at)
VALUES (:id, :project_id, :session_id, 'queued', :prompt, :kind, :request, :metadata, :inputs, :parent_progression_id,
        :retry_of, :scope, :key, :body_sha256, :correlation_id, :now)
ON CONFLICT (idempotency_scope, idempotency_key) DO NOTHING
"""
INSERT_ITEM = """
INSERT INTO job_items (id, job_id, position, provider, model, variant_index, seed, reserved_micros, status, created_at)
VALUES (:id, :job_id, :position, :provider, :model, :variant_index, :seed, :reserved_micros, 'queued', :now)
"""
SET_FIRST_SEQ = "UPDATE jobs SET first_seq = :seq WHERE id = :id"


class ItemPlan(msgspec.Struct, frozen=True):
    """An item to create: the provider and model, which of the variants it is, its seed, and what it may cost at
    most in micro-USD."""

    provider: str
    model: str
    variant_index: int
    seed: int | None
    reserved_micros: int = 0


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A validated request. `scope` and `key` are both set when the caller sent an idempotency key."""

    project_id: str
    request: JobRequest
    items: list[ItemPlan]
    metadata: JobMetadata = JobMetadata()
    inputs: InputImages | None = None
    parent_progression_id: str | None = None
    retry_of: str | None = None
    scope: str | None = None
    key: str | None = None


async def replayed(
    env: Env, project_id: str, request: JobRequest, scope: str, key: str, retry_of: str | None = None
) -> Job | None:
    """The job that the same request under the same key created before; None when the key is new.

    Fails: Conflict (`idempotency_mismatch`) when the key was used for another request.
    """
    before = await env.DB.one(JOB_OF_KEY, Job, scope=scope, key=key)
    return _check_same(before, _body_sha256(project_id, retry_of, request)) if before else None


@step("jobs.submit")
async def submit(env: Env, submission: Submission) -> tuple[Job, bool]:
    """Store the job, its items and `queued` events in one transaction; `True` when the key named the job before.

    Effect: rows of jobs, job_items, events; the session's readers are woken and a worker is asked for.
    Fails: NotFound for an unknown project · Conflict (`idempotency_mismatch`) when the key was used for another
    request · OverBudget, with nothing stored, when the project's budget does not cover what the items reserve.
    """
    body_sha256 = _body_sha256(submission.project_id, submission.retry_of, submission.request)
    async with env.DB.transaction() as tx:
        job_id, was_there = await _insert_job(tx, submission, body_sha256)
        if not was_there:
            await money.check_budget(tx, submission.project_id, sum(item.reserved_micros for item in submission.items))
            await _insert_items(tx, job_id, submission)
        job = await tx.one(jobs.JOB, Job, id=job_id)
    assert job is not None
    if not was_there:
        await env.PICASSO_DO.wake(job.session_id)
        await env.PICASSO_WORKFLOW.enqueue(job.id)
    return job, was_there


async def _insert_job(tx: Statements, submission: Submission, body_sha256: str) -> tuple[str, bool]:
    """The id of the new job, or of the one that has its key."""
    if not await tx.one(jobs.PROJECT_EXISTS, IdRow, id=submission.project_id):
        raise NotFound("there is no such project")
    request, job_id = submission.request, new_id()
    inserted = await tx.run(
        INSERT_JOB,
        id=job_id,
        project_id=submission.project_id,
        session_id=request.session_id,
        prompt=request.prompt,
        kind=request.kind,
        request=dump(request),
        metadata=dump(submission.metadata),
        inputs=dump(submission.inputs) if submission.inputs else None,
        parent_progression_id=submission.parent_progression_id,
        retry_of=submission.retry_of,
        scope=submission.scope,
        key=submission.key,
        body_sha256=body_sha256,
        correlation_id=correlation_id(),
        now=now_ms(),
    )
    if inserted:
        return job_id, False
    before = await tx.one(JOB_OF_KEY, Job, scope=submission.scope, key=submission.key)
    assert before is not None
    return _check_same(before, body_sha256).id, True


async def _insert_items(tx: Statements, job_id: str, submission: Submission) -> None:
    now = now_ms()
    ids = [derived_id(job_id, item.provider, item.variant_index) for item in submission.items]
    await tx.many(
        INSERT_ITEM,
        [
            {"id": id, "job_id": job_id, "position": position, "now": now, **msgspec.structs.asdict(item)}
            for position, (id, item) in enumerate(zip(ids, submission.items, strict=True))
        ],
    )
    queued: list[Event] = [
        Queued(job_id=job_id, item_id=id, provider=item.provider, variant_index=item.variant_index)
        for id, item in zip(ids, submission.items, strict=True)
    ]
    last = await append(tx, submission.request.session_id, queued)
    await tx.run(SET_FIRST_SEQ, id=job_id, seq=last - len(queued) + 1)


def _body_sha256(project_id: str, retry_of: str | None, request: JobRequest) -> str:
    return hashlib.sha256(dump([project_id, retry_of, request]).encode()).hexdigest()


def _check_same(before: Job, body_sha256: str) -> Job:
    if before.body_sha256 != body_sha256:
        raise Conflict("this Idempotency-Key was used for another request", code="idempotency_mismatch")
    return before
