"""Rows for reports: a project's calls, images, jobs, items and versions, with few columns and in a fixed order.

Only reads. Money is integer micro-USD, times are UTC milliseconds.
"""

from collections.abc import Iterable

import msgspec

from tools import db
from tools.db import Knowledge
from tools.env import Env
from tools.errors import NotFound
from tools.rows import (
    AttemptState,
    Edge,
    ItemStatus,
    Job,
    JobMetadata,
    Judgment,
    Kind,
    Progression,
    Seen,
    dump,
    seen_as,
)
from tools.step import step

CALLS = """
SELECT a.provider, a.model, a.state, a.failure, a.provider_code, a.billed, a.cost_micros, a.cost_basis, a.sent_at,
    a.settled_at, i.provider AS asked_provider, i.model AS asked_model, i.status AS item_status
FROM provider_attempts AS a JOIN job_items AS i ON i.id = a.item_id
WHERE a.project_id = :project_id ORDER BY a.created_at, a.id
"""
IMAGES = """
SELECT p.id, p.ai_provider AS provider, p.ai_model AS model, p.judgment, p.coverage, p.created_at, p.job_id, j.kind
FROM image_progressions AS p LEFT JOIN jobs AS j ON j.id = p.job_id
WHERE p.project_id = :project_id AND p.edge <> 'rollback' ORDER BY p.created_at, p.id
"""
PLANS = "SELECT id, kind, metadata FROM jobs WHERE project_id = :project_id ORDER BY created_at, id"
JOBS = "SELECT * FROM jobs WHERE project_id = :project_id ORDER BY created_at, id"
NAMED_JOBS_SQLITE = "SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(:ids))"
NAMED_JOBS_POSTGRESQL = """
SELECT * FROM jobs WHERE id IN (SELECT json_array_elements_text(CAST(CAST(:ids AS TEXT) AS JSON)))
"""
NAMED_IMAGES_SQLITE = "SELECT * FROM image_progressions WHERE id IN (SELECT value FROM json_each(:ids))"
NAMED_IMAGES_POSTGRESQL = """
SELECT * FROM image_progressions WHERE id IN (SELECT json_array_elements_text(CAST(CAST(:ids AS TEXT) AS JSON)))
"""
PLACES = """
SELECT i.job_id, i.provider, i.model, i.variant_index, i.seed, i.status, i.progression_id, p.ai_provider AS painter,
    p.ai_model AS painter_model, p.sha256, p.judgment, p.coverage
FROM jobs AS j JOIN job_items AS i ON i.job_id = j.id LEFT JOIN image_progressions AS p ON p.id = i.progression_id
WHERE j.project_id = :project_id ORDER BY j.created_at, j.id, i.position
"""
VERSIONS = """
SELECT id, parent_progression_id, original_image_r2_key, sha256, edge FROM image_progressions
WHERE project_id = :project_id ORDER BY created_at, id
"""


class Call(msgspec.Struct, frozen=True):
    """A call in the ledger. `asked_provider` and `asked_model` are those of the item; a fallback made the call if they
    differ."""

    provider: str
    model: str
    state: AttemptState
    failure: str | None
    provider_code: str | None
    billed: int
    cost_micros: int | None
    cost_basis: str | None
    sent_at: int | None
    settled_at: int | None
    asked_provider: str
    asked_model: str
    item_status: ItemStatus


class Image(msgspec.Struct, frozen=True):
    """An image version and the model that made it; rollbacks are left out, since they make no new image."""

    id: str
    provider: str
    model: str | None
    judgment: Judgment | None
    coverage: float | None
    created_at: int
    job_id: str | None
    kind: Kind | None

    @property
    def seen(self) -> Seen | None:
        """The judgment as people are shown it; None without one."""
        return self.judgment and seen_as(self.judgment, self.coverage)


class Plan(msgspec.Struct, frozen=True):
    """What a job added to the prompts of its providers."""

    id: str
    kind: Kind
    metadata: JobMetadata


class ItemResult(msgspec.Struct, frozen=True):
    """An item of a job and its result; `painter` and `painter_model` made the image, if there is one."""

    job_id: str
    provider: str
    model: str
    variant_index: int
    seed: int | None
    status: ItemStatus
    progression_id: str | None
    painter: str | None
    painter_model: str | None
    sha256: str | None
    judgment: Judgment | None
    coverage: float | None

    @property
    def seen(self) -> Seen | None:
        """The judgment as people are shown it; None without one."""
        return self.judgment and seen_as(self.judgment, self.coverage)


class Version(msgspec.Struct, frozen=True):
    """A node of the lineage graph: its parent, and the key and SHA-256 of its bytes."""

    id: str
    parent_progression_id: str | None
    original_image_r2_key: str
    sha256: str
    edge: Edge


@step("reports.calls")
async def calls(env: Env, project_id: str) -> list[Call]:
    """All calls for images of the project, oldest first."""
    return await env.DB.all(CALLS, Call, project_id=project_id)


@step("reports.images")
async def images(env: Env, project_id: str) -> list[Image]:
    """The project's image versions without rollbacks, oldest first."""
    return await env.DB.all(IMAGES, Image, project_id=project_id)


@step("reports.plans")
async def plans(env: Env, project_id: str) -> list[Plan]:
    """What each of the project's jobs added to its prompts, oldest job first."""
    return await env.DB.all(PLANS, Plan, project_id=project_id)


@step("reports.jobs")
async def jobs(env: Env, project_id: str) -> list[Job]:
    """The project's jobs, oldest first."""
    return await env.DB.all(JOBS, Job, project_id=project_id)


@step("reports.named_jobs")
async def named_jobs(env: Env, ids: Iterable[str]) -> dict[str, Job]:
    """The jobs with these ids, by id; ids without a job are left out."""
    sql = NAMED_JOBS_SQLITE if env.DB.dialect == "sqlite" else NAMED_JOBS_POSTGRESQL
    return {job.id: job for job in await env.DB.all(sql, Job, ids=dump(list(ids)))}


@step("reports.named_images")
async def named_images(env: Env, ids: Iterable[str]) -> list[Progression]:
    """The image versions with these ids, in this order, without duplicates.

    Fails: NotFound when one does not exist.
    """
    sql = NAMED_IMAGES_SQLITE if env.DB.dialect == "sqlite" else NAMED_IMAGES_POSTGRESQL
    wanted = list(dict.fromkeys(ids))
    found = {row.id: row for row in await env.DB.all(sql, Progression, ids=dump(wanted))}
    if len(found) < len(wanted):
        raise NotFound("there is no such progression")
    return [found[id] for id in wanted]


@step("reports.places")
async def item_results(env: Env, project_id: str) -> list[ItemResult]:
    """The items of the project's jobs, job by job in the order of `jobs`, each in request order."""
    return await env.DB.all(PLACES, ItemResult, project_id=project_id)


@step("reports.versions")
async def versions(env: Env, project_id: str) -> list[Version]:
    """All image versions of the project, oldest first."""
    return await env.DB.all(VERSIONS, Version, project_id=project_id)


async def knowledge(env: Env) -> list[Knowledge]:
    """The whole knowledge base, ordered by key."""
    found, cursor = list[Knowledge](), None
    while True:
        page = await db.list_knowledge(env, cursor, 200)
        found += page.items
        if (cursor := page.next_cursor) is None:
            return found
