"""Artifacts that take long, rendered in the background: one row per version, from the request to the publication.

A worker changes a row under the lease of its claim. The version is published and the row ended in one transaction.
Generators report their progress with `report_progress`, which does nothing outside a worker's render.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol

import msgspec

from tools.actor_emit import append
from tools.env import Env, Statements
from tools.errors import Conflict, Invalid, NotFound, PicassoError, RateLimited, TooLarge, Violation
from tools.events import Artifact as ArtifactEvent
from tools.events import ArtifactError
from tools.ledger import leases
from tools.ledger.changes import open_change
from tools.ledger.leases import Lease, WorkTable
from tools.publishing import artifacts
from tools.publishing.artifacts import Output
from tools.rows import ArtifactRow, Count, Project, dump, new_id, now_ms
from tools.step import correlation_id, step

Stage = Literal["collect", "render", "publish"]
Status = Literal["queued", "running", "complete", "failed"]

PREFIX = "rn-"
"""Prefix of render ids, because jobs and workflows go through PICASSO_WORKFLOW too."""
LONG = frozenset({"pdf", "video", "3d"})
"""Outputs that are always rendered in the background."""
WAIT_SECONDS = 120.0
"""How long a request waits for its artifact unless it asks for an early answer."""
SPANS: dict[Stage, tuple[float, float]] = {"collect": (0.0, 0.3), "render": (0.3, 0.95), "publish": (0.95, 1.0)}
"""The range of the total progress that each stage covers."""
SMALLEST_STEP = 0.01
"""Smaller progress is not stored."""
POLL_SECONDS = 0.25
MOST_OPEN = 200
CALLERS_ERRORS = (NotFound, Invalid, Conflict, TooLarge)
"""Errors that the caller can correct, reported as they are; any other error is reported as an internal one."""

_reporter: ContextVar[Callable[[Stage, float], Awaitable[None]] | None] = ContextVar("picasso_render", default=None)

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
CLAIM = """
UPDATE renders SET status = 'running', fence = fence + 1, lease_until = :until,
    started_at = COALESCE(started_at, :now)
WHERE id = :id AND status IN ('queued', 'running') AND lease_until <= :now RETURNING *
"""
RENEW = "UPDATE renders SET lease_until = :until WHERE id = :id AND fence = :fence"
LOCK = "UPDATE renders SET fence = fence WHERE id = :id AND fence = :fence AND status = 'running' RETURNING *"
UNCLAIMED = """
SELECT id FROM renders WHERE status IN ('queued', 'running') AND lease_until <= :now
ORDER BY idle_claims, created_at, id
"""
EXPIRE_ALL = "UPDATE renders SET lease_until = 1 WHERE status IN ('queued', 'running') AND lease_until > 0"
COUNT_DEATH = """
UPDATE renders SET idle_claims = idle_claims + 1, lease_until = 0
WHERE id = :id AND status IN ('queued', 'running') AND lease_until > 0 AND lease_until <= :now
"""
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
    """Why a render failed; `kind` is the code of one of `CALLERS_ERRORS`, or of an internal error."""

    kind: str = PicassoError.code


class RenderRow(msgspec.Struct, frozen=True):
    """A row of `renders`. `title` and `options` are those of the version to be made; `progress` runs from 0 to 1 over
    all stages and never decreases, not even after a crash."""

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


TABLE = WorkTable(
    row=RenderRow,
    claim=CLAIM,
    renew=RENEW,
    lock=LOCK,
    lost="another worker makes this now",
    unclaimed=UNCLAIMED,
    expire_all=EXPIRE_ALL,
    died=(COUNT_DEATH,),
    session=lambda render: render.session_id,
)


class Rendering(msgspec.Struct, frozen=True):
    """The state of the render of an artifact's latest version, as responses show it."""

    status: Status
    stage: Stage | None
    progress: float
    version: int | None
    error: ArtifactError | None


class Maker(Protocol):
    """A generator, as far as this module needs one."""

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
    """Make the next version: the artifact once it is published, or the render that still runs after `wait` seconds.

    Short work runs here, long work (`LONG`) in a worker; with `wait=None` everything runs in a worker and the render
    is returned at once. `artifact` is a draft or a row, with the title and options to be used.
    Fails: with the generator's error, unless the render was returned before it ended. A draft that failed is removed.
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
        kind = next((cls for cls in CALLERS_ERRORS if cls.code == render.error.kind), PicassoError)
        raise kind(render.error.message, code=render.error.code)
    return await artifacts.get(env, artifact.id) if render.status == "complete" else render


async def submit(env: Env, artifact: ArtifactRow, project_ids: Sequence[str], session_id: str | None) -> RenderRow:
    """Store the render and enqueue it for a worker.

    Effect: the draft with its projects, the render, and an event, in one transaction.
    Fails: RateLimited when `MOST_OPEN` renders are open already.
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
    """Remove a draft whose first version failed, because no response named it; any other artifact stays."""
    # A row that refers to it by now keeps it: its id is known from the session's events.
    with contextlib.suppress(Violation):
        async with env.DB.transaction() as tx:
            if await tx.run(FORGET, id=render.id):
                await tx.run(LEAVE_PROJECTS, artifact_id=render.artifact_id)
                await tx.run(FORGET_DRAFT, artifact_id=render.artifact_id)


async def get(env: Env, render_id: str) -> RenderRow:
    """The row of a render. Fails: NotFound."""
    found = await env.DB.one(RENDER, RenderRow, id=render_id)
    if found is None:
        raise NotFound("there is no such render")
    return found


async def latest(env: Env, artifact_id: str) -> Rendering | None:
    """The state of the latest version's render, or why it failed; None when no worker rendered it."""
    row = await env.DB.one(LATEST, RenderRow, artifact_id=artifact_id)
    return None if row is None else shown(row)


def shown(row: RenderRow) -> Rendering:
    """The render as responses show it."""
    return Rendering(row.status, row.stage, row.progress, row.version, row.error and _shown_error(row.error))


def _shown_error(error: ArtifactError) -> ArtifactError:
    return ArtifactError(error.code, error.message, error.correlation_id)


async def ended(env: Env, render_id: str, seconds: float) -> RenderRow:
    """The render once it has ended, or its state after that many seconds."""
    until = time.monotonic() + seconds
    # Polled, because the worker that changes the row may be in any process.
    while (row := await get(env, render_id)).ended_at is None and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
    return row


@step("renders.publish")
async def publish(env: Env, lease: Lease, artifact: ArtifactRow, output: Output, render: RenderRow) -> None:
    """Publish the version and end the render, in one transaction.

    Fails: LeaseLost, with nothing published.
    """

    async def end(tx: Statements, version: int) -> None:
        await leases.lock(tx, TABLE, lease)
        await tx.run(COMPLETE, id=lease.id, version=version, now=now_ms())

    await artifacts.publish(env, artifact, output, render.project_ids, session_id=render.session_id, along=end)


@step("renders.fail")
async def fail(env: Env, lease: Lease, error: PicassoError) -> None:
    """End the render without a version. Fails: LeaseLost."""
    kind = next((cls.code for cls in CALLERS_ERRORS if isinstance(error, cls)), PicassoError.code)
    failure = Failure(error.code, error.message, correlation_id(), kind)
    async with open_change(env, TABLE, lease) as change:
        await change.tx.run(FAIL, id=lease.id, error=dump(failure), now=now_ms())
        row = change.row
        change.emit(_event(row.artifact_id, row.stage or "collect", row.progress, _shown_error(failure)))


async def report_progress(stage: Stage, part: float) -> None:
    """Report how much of a stage is done, from 0 to 1. It has an effect only inside a worker's render.

    Fails: LeaseLost when another worker has claimed the render · Unavailable.
    """
    if (report := _reporter.get()) is not None:
        await report(stage, part)


@contextlib.contextmanager
def reporting(env: Env, lease: Lease) -> Iterator[None]:
    """Inside the block, `report_progress` stores the progress in the render's row, with one event each."""

    async def report(stage: Stage, part: float) -> None:
        first, last = SPANS[stage]
        progress = first + (last - first) * min(max(part, 0.0), 1.0)
        async with open_change(env, TABLE, lease) as change:
            row = change.row
            is_new_stage = stage != row.stage and progress >= row.progress
            if is_new_stage or progress >= row.progress + SMALLEST_STEP:
                await change.tx.run(ADVANCE, id=lease.id, stage=stage, progress=progress)
                change.emit(_event(row.artifact_id, stage, progress))

    token = _reporter.set(report)
    try:
        yield
    finally:
        _reporter.reset(token)


async def tick(env: Env, lease: Lease) -> None:
    """Append the render's last event again, as a sign of life during long work. Fails: LeaseLost."""
    async with open_change(env, TABLE, lease) as change:
        row = change.row
        change.emit(_event(row.artifact_id, row.stage or "collect", row.progress))


def _event(artifact_id: str, stage: Stage, progress: float, error: ArtifactError | None = None) -> ArtifactEvent:
    return ArtifactEvent(artifact_id=artifact_id, stage=stage, progress=round(progress, 3), error=error)
