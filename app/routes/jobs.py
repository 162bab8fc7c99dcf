"""Jobs: submit, read, cancel, and retry one item."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from adapters import planning
from adapters.planning import Plan
from app.http.rules import pattern
from app.http.schemas import CLEAN, LINE, PROSE, Body, Cursor, Limit, OfProject
from app.http.security import limit_jobs
from app.routes.job_views import Accepted, JobView, QueuedItem, Quoted, job_view, quote_job
from app.settings import Settings
from graphs.image_job import prompts
from tools import db, ingest
from tools.env import Env
from tools.errors import Conflict, Invalid, NotFound, OverBudget
from tools.ledger import attempts, jobs, submissions
from tools.ledger.submissions import Submission
from tools.pages import LIMIT, Page
from tools.rows import Item, Job, JobRequest, JobStatus, Kind, Progression

MAX_ITEMS = 64
TOKEN_KEY = re.compile(r"(?![+-]?\d+(\.\d*)?$)[A-Za-z0-9_.+/~-][A-Za-z0-9_.+/~:-]{0,254}")
QUOTED_KEY = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"')
RETRYABLE = frozenset({"failed", "refused", "uncertain", "cancelled"})


Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=8000, pattern=PROSE)]
SessionId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern="^[A-Za-z0-9._:-]+$")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=LINE)]
IMAGE_REF = pattern(
    "^(https?://.+|/.*images/.+|upload:[0-9a-f]{64}|progression:[A-Za-z0-9-]{1,64})$",
    "that is https://…, http://…, upload:SHA256, progression:ID, or the address of an image here as /images/…",
)
ImageRef = Annotated[str, msgspec.Meta(max_length=2048, pattern=IMAGE_REF)]
Status = Annotated[JobStatus | None, QueryParameter(description="only jobs in this state")]
OfSession = Annotated[
    str | None,
    QueryParameter(name="sessionId", max_length=128, pattern=CLEAN, description="only jobs of this session"),
]
SIZE = pattern("^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$", "as 1024x1024: width and height of 2 to 4 digits")


class NamedModel(Body, frozen=True):
    """A provider and one of its models; without `model` its default one."""

    provider: Word
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=LINE)] | None = None


class SubmitJob(Body, frozen=True):
    """A job: one image per provider and variant. Only `prompt`, `providers` and `sessionId` are required."""

    examples = [{"prompt": "a red boat at dawn, soft light", "providers": ["sketch"], "variants": 2, "sessionId": "s1"}]
    prompt: Prompt
    providers: Annotated[list[str | NamedModel], msgspec.Meta(min_length=1, max_length=16)]
    session_id: SessionId
    variants: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    start_image_url: ImageRef | None = None
    parent_progression_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    kind: Kind | None = None
    mask_image_url: ImageRef | None = None
    reference_image_urls: Annotated[list[ImageRef], msgspec.Meta(max_length=16)] = []
    size: Annotated[str, msgspec.Meta(pattern=SIZE)] | None = None
    quality: Word | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    negative_prompt: Prompt | None = None
    strict: bool = False
    dry_run: bool = False
    fallback: Annotated[list[str | NamedModel], msgspec.Meta(max_length=8)] = []


class RetryItem(Body, frozen=True):
    """The prompt of the retry: another one, or the same one with the judge's suggestion merged in."""

    examples = [{"prompt": "a red boat at dawn, softer light"}]
    use_suggestion: bool = False
    prompt: Prompt | None = None


@post(
    "/api/projects/{project_id:str}/jobs",
    status_code=202,
    operation_id="submitJob",
    responses={200: ResponseSpec(Quoted, generate_examples=False, description="the quote, with `dryRun`")},
)
async def submit_job(
    request: Request[Any, Any, Any],
    project_id: FromPath[str],
    data: JSONBody[SubmitJob],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Accepted] | Response[Quoted]:
    """Accept a job: its rows and `queued` events are stored before the response, vendors are called after it.

    With `dryRun`, return what it may cost instead: nothing is bought or stored, and an Idempotency-Key stays unused.
    """
    await limit_jobs(request, env, settings)
    key = idempotency_key(request.headers.getall("idempotency-key", []))
    hosts = request.headers.getall("host", [])
    wanted, scope = await with_own_images(env, project_id, hosts, job_request(data)), f"project:{project_id}"
    if key and not data.dry_run and (earlier := await submissions.replayed(env, project_id, wanted, scope, key)):
        return await _accepted(env, earlier, replayed=True)
    planned = plan(env, wanted)
    if data.dry_run:
        return Response(await quote_job(env, project_id, wanted, planned), status_code=200)
    # The progression that the job builds on, named or given as its start image; both must be of this project.
    start = wanted.start_image_url or ""
    named = [wanted.parent_progression_id, start.removeprefix("progression:") if start[:12] == "progression:" else None]
    parents = [id for id in named if id]
    for id in parents:
        if not await db.has_progression(env, project_id, id):
            detail = {"progressionId": id}
            raise Invalid("this project has no such progression", code="unknown_progression", detail=detail)
    submission = Submission(
        project_id=project_id,
        request=wanted,
        items=planned.items,
        metadata=planned.metadata,
        parent_progression_id=parents[0] if parents else None,
        scope=scope if key else None,
        key=key,
    )
    return await _accept(env, submission)


@get("/api/projects/{project_id:str}/jobs", operation_id="listJobs", opt={"access": "read"})
async def list_jobs(
    project_id: FromPath[str],
    env: NamedDependency[Env],
    status: Status = None,
    session_id: OfSession = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[JobView]:
    """The project's jobs, newest first."""
    found = await jobs.list_page(env, cursor, limit, project_id=project_id, status=status, session_id=session_id)
    return Page([await job_view(env, job) for job in found.items], found.next_cursor)


@get("/api/jobs", operation_id="listAllJobs", opt={"access": "read"})
async def list_all_jobs(
    env: NamedDependency[Env],
    project_id: OfProject = None,
    status: Status = None,
    session_id: OfSession = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[JobView]:
    """The jobs of all projects, newest first."""
    found = await jobs.list_page(env, cursor, limit, project_id=project_id, status=status, session_id=session_id)
    return Page([await job_view(env, job) for job in found.items], found.next_cursor)


@get("/api/jobs/{job_id:str}", operation_id="getJob", opt={"access": "read"})
async def get_job(job_id: FromPath[str], env: NamedDependency[Env]) -> JobView:
    """The job with its items in request order and every call that was made for them."""
    return await job_view(env, await jobs.get(env, job_id))


@post("/api/jobs/{job_id:str}/cancel", status_code=200, operation_id="cancelJob")
async def cancel_job(job_id: FromPath[str], env: NamedDependency[Env]) -> JobView:
    """Cancel the job. Repeating this, or cancelling a job that has ended, changes nothing."""
    return await job_view(env, await jobs.cancel(env, job_id))


@post("/api/jobs/{job_id:str}/items/{item_id:str}/retry", status_code=202, operation_id="retryItem")
async def retry_item(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    item_id: FromPath[str],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
    data: JSONBody[RetryItem],
) -> Response[Accepted]:
    """Submit a new job of one item, for an item that ended without an image or that the judge failed."""
    await limit_jobs(request, env, settings)
    key = idempotency_key(request.headers.getall("idempotency-key", []))
    job = await jobs.get(env, job_id)
    item = next((item for item in await jobs.items(env, job_id) if item.id == item_id), None)
    if item is None:
        raise NotFound("this job has no such item")
    progression = await db.get_progression(env, item.progression_id) if item.progression_id else None
    if item.status not in RETRYABLE and not (progression and progression.judgment == "fail"):
        raise Conflict("only items without an image, or with a failed verdict, can be retried", code="not_retryable")
    wanted, scope = retry_request(job, item, data, progression), f"item:{item.id}"
    if key and (earlier := await submissions.replayed(env, job.project_id, wanted, scope, key, item.id)):
        return await _accepted(env, earlier, replayed=True)
    planned = plan(env, wanted)
    submission = Submission(
        project_id=job.project_id,
        request=wanted,
        items=planned.items,
        metadata=planned.metadata,
        inputs=job.inputs,
        parent_progression_id=progression.id if progression else job.parent_progression_id,
        retry_of=item.id,
        scope=scope if key else None,
        key=key,
    )
    try:
        return await _accept(env, submission)
    except OverBudget:
        original = await attempts.original_for_retry(env, item, job, wanted.prompt)
        if original is None or not original.holds_image:
            raise
    # It goes on with what was paid for already, so there is nothing to reserve.
    nothing = [msgspec.structs.replace(each, reserved_micros=0) for each in planned.items]
    metadata = msgspec.structs.replace(planned.metadata, buys_nothing=True)
    return await _accept(env, msgspec.structs.replace(submission, items=nothing, metadata=metadata))


def idempotency_key(values: list[str]) -> str | None:
    """The caller's Idempotency-Key, bare or quoted; None without the header.

    Fails: Invalid (400) for more than one header, and for anything but a token or a quoted string of at most 255
    characters (draft-ietf-httpapi-idempotency-key-header, which has the quoted form only).
    """
    if not values:
        return None
    if len(values) == 1:
        if quoted := QUOTED_KEY.fullmatch(values[0]):
            return quoted[1]
        if TOKEN_KEY.fullmatch(values[0]):
            return values[0]
    raise Invalid(
        "Idempotency-Key: one token or quoted string of 1 to 255 characters",
        code="bad_idempotency_key",
        status=400,
    )


def job_request(data: SubmitJob) -> JobRequest:
    """The request with its defaults filled in; the same body always gives the same request.

    Fails: Invalid (422) for combinations that no provider could serve.
    """
    kind = data.kind or ("edit" if data.start_image_url else "generate")
    if kind != "inpaint" and data.mask_image_url:
        raise Invalid(
            "maskImageUrl: only with kind `inpaint`",
            code="mask_mismatch",
            detail={"field": "maskImageUrl"},
        )
    return JobRequest(
        prompt=data.prompt,
        providers=_entries(data.providers),
        session_id=data.session_id,
        variants=data.variants,
        start_image_url=data.start_image_url,
        parent_progression_id=data.parent_progression_id,
        kind=kind,
        mask_image_url=data.mask_image_url,
        reference_image_urls=data.reference_image_urls,
        size=data.size,
        quality=data.quality,
        seed=data.seed,
        negative_prompt=data.negative_prompt,
        strict=data.strict,
        fallback=_entries(data.fallback),
    )


async def with_own_images(env: Env, project_id: str, hosts: Sequence[str], wanted: JobRequest) -> JobRequest:
    """The request with `progression:ID` for each address of a delivery image of the project: a job works from
    originals. `hosts` are the names, besides PUBLIC_URL's, that the caller knows this server by.

    Fails: Invalid (422) when there is no such image in the project.
    """

    async def named(url: str) -> str:
        return await ingest.own_name(env, project_id, url, hosts) or url

    return msgspec.structs.replace(
        wanted,
        start_image_url=wanted.start_image_url and await named(wanted.start_image_url),
        mask_image_url=wanted.mask_image_url and await named(wanted.mask_image_url),
        reference_image_urls=[await named(url) for url in wanted.reference_image_urls],
    )


def _entries(named: list[str | NamedModel]) -> list[dict[str, str]]:
    models = [NamedModel(provider=entry) if isinstance(entry, str) else entry for entry in named]
    return [{"provider": entry.provider, **({"model": entry.model} if entry.model else {})} for entry in models]


def retry_request(job: Job, item: Item, data: RetryItem, progression: Progression | None) -> JobRequest:
    """The job's request narrowed to this item, with the prompt of the retry.

    Fails: Invalid (422) when there is no suggestion to use.
    """
    prompt = data.prompt or job.prompt
    if data.use_suggestion:
        if progression is None or progression.retry_suggestion is None:
            raise Invalid(
                "the judge made no suggestion for this item",
                code="no_suggestion",
                detail={"field": "useSuggestion"},
            )
        prompt = prompts.merge_suggestion(prompt, progression.retry_suggestion)
    return msgspec.structs.replace(
        job.request, prompt=prompt, providers=[{"provider": item.provider, "model": item.model}], variants=1
    )


def plan(env: Env, wanted: JobRequest) -> Plan:
    """One item per provider and variant, with what each may cost.

    Fails: Invalid (422) from `planning.plan`, or when there are more than MAX_ITEMS.
    """
    found = planning.plan(env, wanted)
    if len(found.items) > MAX_ITEMS:
        raise Invalid(
            f"providers, variants: a job has at most {MAX_ITEMS} items",
            code="too_many_items",
            detail={"max": MAX_ITEMS},
        )
    return found


async def _accept(env: Env, submission: Submission) -> Response[Accepted]:
    return await _accepted(env, *await submissions.submit(env, submission))


async def _accepted(env: Env, job: Job, replayed: bool) -> Response[Accepted]:
    items = [QueuedItem(item.id, item.provider, item.variant_index, "queued") for item in await jobs.items(env, job.id)]
    stream = f"/api/stream/{job.session_id}?since={job.first_seq - 1}"
    body = Accepted(job.id, job.session_id, "queued", items, stream, job.project_id)
    return Response(body, status_code=202, headers={"Idempotency-Replayed": "true"} if replayed else {})


handlers = [submit_job, list_jobs, list_all_jobs, get_job, cancel_job, retry_item]
