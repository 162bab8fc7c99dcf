"""Jobs as a client sees them: submit once, look, list, cancel."""

import hashlib

import msgspec

from tools.actor_emit import append
from tools.env import Env, Statements
from tools.errors import Conflict, NotFound
from tools.events import Complete, Event, Fail, Queued
from tools.ledger import money
from tools.pages import Cursor, Page, decode, page
from tools.rows import Attempt, Inputs, Item, ItemError, Job, JobMetadata, JobRequest, derived_id, dump, new_id, now_ms
from tools.step import correlation_id, step

JOB = "SELECT * FROM jobs WHERE id = :id"
JOB_OF_KEY = "SELECT * FROM jobs WHERE idempotency_scope = :scope AND idempotency_key = :key"
JOBS = """
SELECT * FROM jobs WHERE project_id = :project_id AND (created_at < :at OR (created_at = :at AND id < :id))
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
ITEMS = "SELECT * FROM job_items WHERE job_id = :job_id ORDER BY position"
ATTEMPTS = "SELECT * FROM provider_attempts WHERE job_id = :job_id ORDER BY item_id, number"
PROJECT_EXISTS = "SELECT id FROM projects WHERE id = :id"
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
IMAGE_URLS = "SELECT id, generated_image_url AS url FROM image_progressions WHERE job_id = :job_id"


class Identified(msgspec.Struct, frozen=True):
    id: str


class ImageUrl(msgspec.Struct, frozen=True):
    id: str
    url: str


class ItemPlan(msgspec.Struct, frozen=True):
    """One item to be: which provider and model paints which variant from which seed."""

    provider: str
    model: str
    variant_index: int
    seed: int | None
    reserved_micros: int = 0


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was found possible. `scope` and `key` are both set when the caller sent an idempotency key."""

    project_id: str
    request: JobRequest
    places: list[ItemPlan]
    metadata: JobMetadata = JobMetadata()
    inputs: Inputs | None = None
    parent_progression_id: str | None = None
    retry_of: str | None = None
    scope: str | None = None
    key: str | None = None


async def submitted(
    env: Env, project_id: str, request: JobRequest, scope: str, key: str, retry_of: str | None = None
) -> Job | None:
    """The job that this very request made under the key before; None when the key is new.

    Fails: Conflict (`idempotency_mismatch`) when the key named another request.
    """
    before = await env.DB.one(JOB_OF_KEY, Job, scope=scope, key=key)
    return _same(before, _body(project_id, retry_of, request)) if before else None


def _body(project_id: str, retry_of: str | None, request: JobRequest) -> str:
    return hashlib.sha256(dump([project_id, retry_of, request]).encode()).hexdigest()


def _same(before: Job, body: str) -> Job:
    if before.body_sha256 != body:
        raise Conflict("this Idempotency-Key was used for another request", code="idempotency_mismatch")
    return before


@step("jobs.submit")
async def submit(env: Env, submission: Submission) -> tuple[Job, bool]:
    """Claim the key and store job, items and `queued` events in one transaction; `True` says that it was there before.

    Effect: rows of jobs, job_items, events; the readers of the session are woken and a worker is asked.
    Fails: NotFound for an unknown project; Conflict (`idempotency_mismatch`) when the key named another request;
    OverBudget, with nothing stored, when the project's budget does not allow what its places reserve.
    """
    body = _body(submission.project_id, submission.retry_of, submission.request)
    async with env.DB.transaction() as tx:
        job_id, replayed = await _claim_key(tx, submission, body)
        if not replayed:
            await money.reserve(tx, submission.project_id, sum(place.reserved_micros for place in submission.places))
            await _insert_items(tx, job_id, submission)
        job = await tx.one(JOB, Job, id=job_id)
    assert job is not None
    if not replayed:
        await env.PICASSO_DO.wake(job.session_id)
        await env.PICASSO_WORKFLOW.enqueue(job.id)
    return job, replayed


async def _claim_key(tx: Statements, submission: Submission, body: str) -> tuple[str, bool]:
    if not await tx.one(PROJECT_EXISTS, Identified, id=submission.project_id):
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
        body_sha256=body,
        correlation_id=correlation_id(),
        now=now_ms(),
    )
    if inserted:
        return job_id, False
    before = await tx.one(JOB_OF_KEY, Job, scope=submission.scope, key=submission.key)
    assert before is not None
    return _same(before, body).id, True


async def _insert_items(tx: Statements, job_id: str, submission: Submission) -> None:
    now = now_ms()
    ids = [derived_id(job_id, place.provider, place.variant_index) for place in submission.places]
    await tx.many(
        INSERT_ITEM,
        [
            {"id": id, "job_id": job_id, "position": position, "now": now, **msgspec.structs.asdict(place)}
            for position, (id, place) in enumerate(zip(ids, submission.places, strict=True))
        ],
    )
    queued: list[Event] = [
        Queued(job_id=job_id, item_id=id, provider=place.provider, variant_index=place.variant_index)
        for id, place in zip(ids, submission.places, strict=True)
    ]
    last = await append(tx, submission.request.session_id, queued)
    await tx.run(SET_FIRST_SEQ, id=job_id, seq=last - len(queued) + 1)


async def get(env: Env, job_id: str) -> Job:
    """The job; NotFound when there is none."""
    job = await env.DB.one(JOB, Job, id=job_id)
    if job is None:
        raise NotFound("there is no such job")
    return job


async def items(db: Statements, job_id: str) -> list[Item]:
    """The job's items in request order."""
    return await db.all(ITEMS, Item, job_id=job_id)


async def attempts(env: Env, job_id: str) -> list[Attempt]:
    """The ledger of the job."""
    return await env.DB.all(ATTEMPTS, Attempt, job_id=job_id)


async def of_project(env: Env, project_id: str, cursor: str | None, limit: int) -> Page[Job]:
    """The project's jobs, newest first; NotFound for an unknown project."""
    if not await env.DB.one(PROJECT_EXISTS, Identified, id=project_id):
        raise NotFound("there is no such project")
    after = decode(cursor)
    rows = await env.DB.all(JOBS, Job, project_id=project_id, at=after.at, id=after.id, limit=limit + 1)
    return page(rows, limit, lambda job: Cursor(job.created_at, job.id))


@step("jobs.cancel")
async def cancel(env: Env, job_id: str) -> Job:
    """End the job now: open items end `cancelled`, items whose image is already delivered end `complete`.

    Effect: items, job and their last events in one transaction. Cancelling an ended job changes nothing.
    Fails: NotFound.
    """
    job = await get(env, job_id)
    error = ItemError(
        code="cancelled", kind="cancelled", message="the job was cancelled", correlation_id=job.correlation_id
    )
    async with env.DB.transaction() as tx:
        if await tx.run(CANCEL_JOB, id=job_id, now=now_ms()):
            kept = await tx.all(KEEP_DELIVERED, Item, job_id=job_id, now=now_ms())
            urls = {row.id: row.url for row in await tx.all(IMAGE_URLS, ImageUrl, job_id=job_id)}
            ended = await tx.all(CANCEL_ITEMS, Item, job_id=job_id, now=now_ms(), error=dump(error))
            last = Fail(job_id=job_id, scope="job", error=error, counts=counts(await items(tx, job_id)))
            await append(
                tx,
                job.session_id,
                [*(completed(item, urls) for item in kept), *(failed(item, error) for item in ended), last],
            )
    await env.PICASSO_DO.wake(job.session_id)
    return await get(env, job_id)


def completed(item: Item, urls: dict[str, str]) -> Complete:
    """The end of an item whose progression stands."""
    return Complete(
        scope="item",
        job_id=item.job_id,
        item_id=item.id,
        provider=item.provider,
        variant_index=item.variant_index,
        progression_id=item.progression_id,
        generated_image_url=urls.get(item.progression_id or ""),
    )


def failed(item: Item, error: ItemError) -> Fail:
    """The end of an item without an image."""
    return Fail(
        scope="item",
        job_id=item.job_id,
        item_id=item.id,
        provider=item.provider,
        variant_index=item.variant_index,
        error=error,
    )


def counts(items: list[Item]) -> dict[str, int]:
    """How many items stand in which state; states that none is in are left out."""
    states = [item.status for item in items]
    return {state: states.count(state) for state in sorted(set(states))} | {"total": len(states)}
