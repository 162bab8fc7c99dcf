"""Artifacts that take long, made as durable work: a row per version to be made, from the request to the publication.

A worker writes as a `Hold`, the fence of its claim, and every change opens by touching the row under it, so a worker
that lost its lease writes nothing. A crash repeats the rendering; the version is published, and the row ended, in one
transaction, so that happens once. Generators tell how far they are with `tell`, which costs nothing elsewhere.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol

import msgspec

from tools.actor_emit import append
from tools.db import get_project
from tools.env import Env, Statements
from tools.errors import (
    Conflict,
    Invalid,
    LeaseLost,
    NotFound,
    PicassoError,
    RateLimited,
    TooLarge,
    Unavailable,
    Violation,
)
from tools.events import Artifact as ArtifactEvent
from tools.events import ArtifactError
from tools.publishing import artifacts
from tools.publishing.artifacts import Output
from tools.rows import ArtifactRow, Count, Project, dump, new_id, now_ms
from tools.step import correlation_id, step

Stage = Literal["collect", "render", "publish"]
Status = Literal["queued", "running", "complete", "failed"]

log = logging.getLogger("picasso.renders")

PREFIX = "rn-"
"""By it the id of a render is told from those of other work, where all go through PICASSO_WORKFLOW."""
LONG = frozenset({"pdf", "video", "3d"})
"""Outputs that are always made as background work."""
WAIT_SECONDS = 120.0
"""How long a request that did not ask for an early answer waits for one."""
SPANS: dict[Stage, tuple[float, float]] = {"collect": (0.0, 0.3), "render": (0.3, 0.95), "publish": (0.95, 1.0)}
"""From where to where the whole progress runs while a stage does."""
STEP = 0.01
"""Progress below it is not worth a write."""
TICK_SECONDS = 4.0
POLL_SECONDS = 0.25
MOST_OPEN = 200
ANSWERED = (NotFound, Invalid, Conflict, TooLarge)
"""What is the caller's to mend and is told as such; anything else that ended a render is ours."""
OURS = PicassoError("something went wrong on our side; the log has it under this correlation id")

_teller: ContextVar[Callable[[Stage, float], Awaitable[None]] | None] = ContextVar("picasso_render", default=None)

RENDER = "SELECT * FROM renders WHERE id = :id"
LATEST = """
SELECT renders.* FROM renders JOIN artifacts ON artifacts.id = artifact_id
WHERE artifact_id = :artifact_id
    AND (ended_at IS NULL OR renders.version = artifacts.version OR ended_at >= artifacts.updated_at)
ORDER BY renders.created_at DESC, renders.id DESC LIMIT 1
"""
INSERT = """
INSERT INTO renders (
    id, artifact_id, generator_id, title, options, project_ids, session_id, status, correlation_id, created_at
)
VALUES (:id, :artifact_id, :generator_id, :title, :options, :project_ids, :session_id, 'queued', :correlation_id, :now)
ON CONFLICT (id) DO NOTHING
"""
COUNT_OPEN = "SELECT COUNT(*) AS n FROM renders WHERE ended_at IS NULL"
CLAIM_NEXT = """
UPDATE renders SET status = 'running', fence = fence + 1, idle_claims = idle_claims + 1, lease_until = :until,
    started_at = COALESCE(started_at, :now)
WHERE id = (
    SELECT id FROM renders WHERE status IN ('queued', 'running') AND lease_until <= :now
    ORDER BY created_at, id LIMIT 1
) AND lease_until <= :now RETURNING *
"""
RENEW = "UPDATE renders SET lease_until = :until WHERE id = :id AND fence = :fence"
RELEASE = "UPDATE renders SET lease_until = 0 WHERE id = :id AND fence = :fence"
RELEASE_ALL = "UPDATE renders SET lease_until = 0 WHERE status IN ('queued', 'running')"
OPEN = "SELECT * FROM renders WHERE status IN ('queued', 'running') AND lease_until <= :now ORDER BY created_at, id"
TOUCH = "UPDATE renders SET fence = fence WHERE id = :id AND fence = :fence AND status = 'running' RETURNING *"
ADVANCE = "UPDATE renders SET stage = :stage, progress = :progress, idle_claims = 0 WHERE id = :id"
COMPLETE = """
UPDATE renders SET status = 'complete', stage = 'publish', progress = 1, version = :version, ended_at = :now
WHERE id = :id
"""
FAIL = "UPDATE renders SET status = 'failed', error = :error, ended_at = :now WHERE id = :id"
FORGET = """
DELETE FROM renders WHERE id = :id AND status = 'failed'
    AND EXISTS (SELECT 1 FROM artifacts WHERE artifacts.id = artifact_id AND artifacts.version = 0)
    AND NOT EXISTS (SELECT 1 FROM renders other WHERE other.artifact_id = renders.artifact_id AND other.id <> :id)
"""
LEAVE_PROJECTS = "DELETE FROM project_artifacts WHERE artifact_id = :artifact_id"
FORGET_DRAFT = "DELETE FROM artifacts WHERE id = :artifact_id"


class Failure(ArtifactError, frozen=True):
    """With whose fault it was, as the code of one of `ANSWERED`."""

    kind: str = PicassoError.code


class RenderRow(msgspec.Struct, frozen=True):
    """`title` and `options` are those of the version to be made. `progress` runs from 0 to 1 over all stages and never
    falls, also not after a crash."""

    id: str
    artifact_id: str
    generator_id: str
    title: str
    options: dict[str, Any]
    project_ids: list[str]
    session_id: str | None
    status: Status
    stage: Stage | None
    progress: float
    version: int | None
    error: Failure | None
    correlation_id: str
    fence: int
    idle_claims: int
    lease_until: int
    created_at: int
    started_at: int | None
    ended_at: int | None


class Rendering(msgspec.Struct, frozen=True):
    """How the making of an artifact's latest version stands or ended, as an answer shows it."""

    status: Status
    stage: Stage | None
    progress: float
    version: int | None
    error: ArtifactError | None


class Hold(msgspec.Struct, frozen=True):
    """One worker's hold on a render. It ends when a later claim raises the fence."""

    render_id: str
    fence: int


class Maker(Protocol):
    """What is needed of a generator here."""

    @property
    def output(self) -> str: ...

    async def generate(self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: Any) -> Output: ...


async def make(
    env: Env,
    artifact: ArtifactRow,
    projects: Sequence[Project],
    generator: Maker,
    options: Any,
    *,
    session_id: str | None = None,
    wait: float | None = WAIT_SECONDS,
) -> ArtifactRow | RenderRow:
    """The artifact with its next version: published at once, or by a worker, which is waited for at most `wait`
    seconds; with no `wait` everything is left to a worker. What is left is a render, which goes on by itself.

    `artifact` is a draft or a row, its `title` and `options` those that were asked for.
    Fails: what the generator says, unless a worker was not waited for; then of a draft nothing is left.
    """
    ids = [project.id for project in projects]
    if wait is not None and generator.output not in LONG:
        output = await generator.generate(env, artifact, projects, options)
        return await artifacts.publish(env, artifact, output, ids, session_id=session_id)
    render = await submit(env, artifact, ids, session_id)
    if wait is None:
        return render
    render = await ended(env, render.id, wait)
    if render.error is not None:
        await _forget(env, render)
        raise _raised(render.error)
    return await artifacts.get(env, artifact.id) if render.status == "complete" else render


async def submit(env: Env, artifact: ArtifactRow, project_ids: Sequence[str], session_id: str | None) -> RenderRow:
    """Store what is to be made and ask for a worker.

    Effect: the draft with its projects, the render, and an event, together. Fails: RateLimited when `MOST_OPEN` wait
    already.
    """
    waiting = await env.DB.one(COUNT_OPEN, Count)
    if waiting is not None and waiting.n >= MOST_OPEN:
        raise RateLimited("too many long artifacts are waiting", retry_after=30.0)
    render_id = f"{PREFIX}{new_id()}"
    render = await _insert(env, render_id, artifact, project_ids, session_id)
    await env.PICASSO_WORKFLOW.enqueue(render.id)
    return render


@step("renders.submit")
async def _insert(
    env: Env, render_id: str, artifact: ArtifactRow, project_ids: Sequence[str], session_id: str | None
) -> RenderRow:
    async with env.DB.transaction() as tx:
        await artifacts.store(tx, artifact, project_ids)
        await tx.run(
            INSERT,
            id=render_id,
            artifact_id=artifact.id,
            generator_id=artifact.generator_id,
            title=artifact.title,
            options=dump(artifact.options),
            project_ids=dump(list(project_ids)),
            session_id=session_id,
            correlation_id=correlation_id(),
            now=now_ms(),
        )
        row = await tx.one(RENDER, RenderRow, id=render_id)
        assert row is not None
        if session_id is not None:
            await append(tx, session_id, [_event(artifact.id, "collect", 0.0)])
    if session_id is not None:
        await env.PICASSO_DO.wake(session_id)
    return row


@step("renders.forget")
async def _forget(env: Env, render: RenderRow) -> None:
    """Remove the draft whose first version could not be made, for nobody was told of it; any other artifact stays."""
    # What somebody made of it meanwhile, who heard of it on the session, keeps it.
    with contextlib.suppress(Violation):
        async with env.DB.transaction() as tx:
            if await tx.run(FORGET, id=render.id):
                await tx.run(LEAVE_PROJECTS, artifact_id=render.artifact_id)
                await tx.run(FORGET_DRAFT, artifact_id=render.artifact_id)


def _raised(failure: Failure) -> PicassoError:
    """What ended a render in a worker, as an error of whoever waits for it."""
    cls = next((cls for cls in ANSWERED if cls.code == failure.kind), PicassoError)
    return cls(failure.message, code=failure.code)


async def get(env: Env, render_id: str) -> RenderRow:
    """The render; NotFound when there is none."""
    found = await env.DB.one(RENDER, RenderRow, id=render_id)
    if found is None:
        raise NotFound("there is no such render")
    return found


async def latest(env: Env, artifact_id: str) -> Rendering | None:
    """How the making of the latest version stands, or why it was given up; None where it was not left to a worker."""
    row = await env.DB.one(LATEST, RenderRow, artifact_id=artifact_id)
    return None if row is None else shown(row)


def shown(row: RenderRow) -> Rendering:
    return Rendering(row.status, row.stage, row.progress, row.version, row.error and _told(row.error))


def _told(error: ArtifactError) -> ArtifactError:
    return ArtifactError(error.code, error.message, error.correlation_id)


async def ended(env: Env, render_id: str, seconds: float) -> RenderRow:
    """The render once it has ended, or as it stands after so many seconds."""
    until = time.monotonic() + seconds
    # The row is changed by whichever process has the worker.
    while (row := await get(env, render_id)).ended_at is None and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
    return row


@step("renders.claim")
async def claim_next(env: Env) -> RenderRow | None:
    """Take the oldest render that waits for JOB_LEASE_SECONDS; None when there is none."""
    now = now_ms()
    return await env.DB.one(CLAIM_NEXT, RenderRow, now=now, until=now + _lease_ms(env))


async def renew(env: Env, hold: Hold) -> bool:
    """Hold the render for another JOB_LEASE_SECONDS; False when it was lost."""
    until = now_ms() + _lease_ms(env)
    return bool(await env.DB.run(RENEW, id=hold.render_id, fence=hold.fence, until=until))


@step("renders.release")
async def release(env: Env, hold: Hold) -> None:
    """Let go of the render so that any worker may claim it at once."""
    await env.DB.run(RELEASE, id=hold.render_id, fence=hold.fence)


async def release_all(env: Env) -> None:
    """Forget every lease: right only where no other process can hold one (SQLite)."""
    await env.DB.run(RELEASE_ALL)


async def open_renders(env: Env) -> list[str]:
    """Renders that have not ended and that nobody holds."""
    return [row.id for row in await env.DB.all(OPEN, RenderRow, now=now_ms())]


async def run(env: Env, render: RenderRow, generator: Maker, options: Any) -> None:
    """Make what the claimed render asks for and publish it, or end it with the reason why not.

    Fails: Unavailable, for a later claim to try again · LeaseLost.
    """
    hold = Hold(render.id, render.fence)
    row = _as_asked(await artifacts.get(env, render.artifact_id), render)
    projects = [await get_project(env, id) for id in render.project_ids]
    try:
        with _telling(env, hold):
            async with _ticking(env, hold):
                await tell("collect", 0.0)
                output = await generator.generate(env, row, projects, options)
                await tell("publish", 0.0)
                await _publish(env, hold, row, output, render)
    except (Unavailable, LeaseLost):
        raise
    except PicassoError as error:
        await fail(env, hold, error)
    except Exception as error:
        # A generator may be anybody's, and what it stumbles over it stumbles over again: that must not hold up others.
        log.error("a generator failed unexpectedly", exc_info=error)
        await fail(env, hold, OURS)


def _as_asked(row: ArtifactRow, render: RenderRow) -> ArtifactRow:
    """The artifact as the request knew it: a page that was taken away after it stays away."""
    known = row.unpublished_at if row.unpublished_at is None or row.unpublished_at < render.created_at else None
    return msgspec.structs.replace(row, title=render.title, options=render.options, unpublished_at=known)


async def _publish(env: Env, hold: Hold, row: ArtifactRow, output: Output, render: RenderRow) -> None:
    async def end(tx: Statements, version: int) -> None:
        await _touch(tx, hold)
        await tx.run(COMPLETE, id=hold.render_id, version=version, now=now_ms())

    await artifacts.publish(env, row, output, render.project_ids, session_id=render.session_id, along=end)


@step("renders.fail")
async def fail(env: Env, hold: Hold, error: PicassoError) -> None:
    """End the render without a version."""
    kind = next((cls.code for cls in ANSWERED if isinstance(error, cls)), PicassoError.code)
    failure = Failure(error.code, error.message, correlation_id(), kind)
    async with _held(env, hold) as (tx, row):
        await tx.run(FAIL, id=row.id, error=dump(failure), now=now_ms())
        if row.session_id is not None:
            event = _event(row.artifact_id, row.stage or "collect", row.progress, _told(failure))
            await append(tx, row.session_id, [event])
    if row.session_id is not None:
        await env.PICASSO_DO.wake(row.session_id)


async def tell(stage: Stage, part: float) -> None:
    """Say how much of a stage is done, from 0 to 1. Only what runs as background work listens.

    Fails: LeaseLost when another worker makes this by now · Unavailable.
    """
    if (teller := _teller.get()) is not None:
        await teller(stage, part)


@contextlib.contextmanager
def _telling(env: Env, hold: Hold) -> Iterator[None]:
    async def teller(stage: Stage, part: float) -> None:
        first, last = SPANS[stage]
        await _advance(env, hold, stage, first + (last - first) * min(max(part, 0.0), 1.0))

    token = _teller.set(teller)
    try:
        yield
    finally:
        _teller.reset(token)


async def _advance(env: Env, hold: Hold, stage: Stage, progress: float) -> None:
    async with _held(env, hold) as (tx, row):
        began = stage != row.stage and progress >= row.progress
        if not began and progress < row.progress + STEP:
            return
        await tx.run(ADVANCE, id=row.id, stage=stage, progress=progress)
        if row.session_id is not None:
            await append(tx, row.session_id, [_event(row.artifact_id, stage, progress)])
    if row.session_id is not None:
        await env.PICASSO_DO.wake(row.session_id)


@contextlib.asynccontextmanager
async def _ticking(env: Env, hold: Hold) -> AsyncIterator[None]:
    """Tell the session that the work goes on, every `TICK_SECONDS`."""
    ticks = asyncio.create_task(_tick(env, hold))
    try:
        yield
    finally:
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)


async def _tick(env: Env, hold: Hold) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        with contextlib.suppress(Unavailable):
            async with _held(env, hold) as (tx, row):
                if row.session_id is None:
                    return
                await append(tx, row.session_id, [_event(row.artifact_id, row.stage or "collect", row.progress)])
            await env.PICASSO_DO.wake(row.session_id)


@contextlib.asynccontextmanager
async def _held(env: Env, hold: Hold) -> AsyncIterator[tuple[Statements, RenderRow]]:
    """Change the open render under the hold's fence. Fails: LeaseLost when a later claim owns it."""
    async with env.DB.transaction() as tx:
        yield tx, await _touch(tx, hold)


async def _touch(tx: Statements, hold: Hold) -> RenderRow:
    row = await tx.one(TOUCH, RenderRow, id=hold.render_id, fence=hold.fence)
    if row is None:
        raise LeaseLost("another worker makes this now")
    return row


def _event(artifact_id: str, stage: Stage, progress: float, error: ArtifactError | None = None) -> ArtifactEvent:
    return ArtifactEvent(artifact_id=artifact_id, stage=stage, progress=round(progress, 3), error=error)


def _lease_ms(env: Env) -> int:
    return int(env.settings.job_lease_seconds * 1000)
