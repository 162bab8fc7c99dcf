"""Projects, progressions and their lineage, uploads, knowledge and configurations in DB.

What belongs into somebody's transaction takes `tx` first; the rest takes `env` and is one statement or its own
transaction. `cost_usd` and `budget_micros` are integer micro-USD here.
"""

import re
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from tools import search
from tools.env import Env, Statements
from tools.errors import Invalid, NotFound, Violation
from tools.pages import Cursor, Page, decode, page
from tools.rows import (
    Count,
    Criterion,
    Judgment,
    Kind,
    Progression,
    Project,
    StoredImage,
    Tip,
    Upload,
    dump,
    new_id,
    now_ms,
    params,
)
from tools.step import step

MAX_RELATIVES = 1_000
"""Ancestors, and likewise descendants, that one answer tells of at most."""

INSERT_PROJECT = """
INSERT INTO projects (id, name, description, budget_micros, created_at, updated_at)
VALUES (:id, :name, :description, :budget_micros, :created_at, :updated_at) ON CONFLICT (id) DO NOTHING
"""
GET_PROJECT = "SELECT * FROM projects WHERE id = :id"
LIST_PROJECTS = """
SELECT * FROM projects WHERE (updated_at, id) < (:at, :id) ORDER BY updated_at DESC, id DESC LIMIT :limit
"""
PATCH_PROJECT = """
UPDATE projects SET
    name = CASE WHEN CAST(:sets_name AS BIGINT) = 1 THEN CAST(:name AS TEXT) ELSE name END,
    description = CASE WHEN CAST(:sets_description AS BIGINT) = 1 THEN CAST(:description AS TEXT) ELSE description END,
    budget_micros = CASE WHEN CAST(:sets_budget AS BIGINT) = 1 THEN CAST(:budget AS BIGINT) ELSE budget_micros END,
    updated_at = CASE WHEN CAST(:now AS BIGINT) > updated_at THEN CAST(:now AS BIGINT) ELSE updated_at END
WHERE id = :id RETURNING *
"""
TOUCH_PROJECT = """
UPDATE projects SET updated_at = CAST(:now AS BIGINT) WHERE id = :id AND updated_at < CAST(:now AS BIGINT)
"""
INSERT_PROGRESSION = """
INSERT INTO image_progressions (
    id, project_id, parent_progression_id, start_image_url, prompt, generated_image_url, original_image_r2_key,
    ai_provider, ai_notes, ai_tags, judgment, created_at, job_id, item_id, edge, variant_index, ai_model,
    refined_prompt, start_image_r2_key, judge_status, criteria, retry_suggestion, phash, width, height, sha256,
    seed, adjustments, cost_usd
) VALUES (
    :id, :project_id, :parent_progression_id, :start_image_url, :prompt, :generated_image_url, :original_image_r2_key,
    :ai_provider, :ai_notes, :ai_tags, :judgment, :created_at, :job_id, :item_id, :edge, :variant_index, :ai_model,
    :refined_prompt, :start_image_r2_key, :judge_status, :criteria, :retry_suggestion, :phash, :width, :height, :sha256,
    :seed, :adjustments, :cost_usd
) ON CONFLICT (id) DO NOTHING
"""
UPDATE_JUDGMENT = """
UPDATE image_progressions SET judge_status = :judge_status, judgment = :judgment, ai_notes = :ai_notes,
    ai_tags = :ai_tags, criteria = :criteria, retry_suggestion = :retry_suggestion
WHERE id = :id RETURNING *
"""
GET_PROGRESSION = "SELECT * FROM image_progressions WHERE id = :id"
PROJECT_PROGRESSION = "SELECT * FROM image_progressions WHERE id = :id AND project_id = :project_id"
LIST_PROGRESSIONS = """
SELECT * FROM image_progressions WHERE project_id = :project_id AND (created_at, id) < (:at, :id)
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
ANCESTORS = """
WITH RECURSIVE up (id, parent, depth) AS (
    SELECT id, parent_progression_id, 0 FROM image_progressions WHERE id = :id
    UNION ALL
    SELECT p.id, p.parent_progression_id, up.depth + 1 FROM up JOIN image_progressions AS p ON p.id = up.parent
    WHERE up.depth < :limit
)
SELECT p.* FROM up JOIN image_progressions AS p ON p.id = up.id WHERE up.depth > 0 ORDER BY up.depth
"""
DESCENDANTS = """
WITH RECURSIVE down (id, depth) AS (
    SELECT id, 1 FROM image_progressions WHERE parent_progression_id = :id
    UNION ALL
    SELECT p.id, down.depth + 1 FROM down JOIN image_progressions AS p ON p.parent_progression_id = down.id
)
SELECT p.* FROM (SELECT id, depth FROM down LIMIT :limit) AS near JOIN image_progressions AS p ON p.id = near.id
ORDER BY near.depth, p.created_at, p.id
"""
INSERT_UPLOAD = """
INSERT INTO uploads (project_id, sha256, r2_key, mime, width, height, size, created_at)
VALUES (:project_id, :sha256, :r2_key, :mime, :width, :height, :size, :created_at)
ON CONFLICT (project_id, sha256) DO NOTHING
"""
GET_UPLOAD = "SELECT * FROM uploads WHERE project_id = :project_id AND sha256 = :sha256"
TIPS = (
    "SELECT key, value FROM knowledge_base WHERE substr(key, 1, length(CAST(:prefix AS TEXT))) = CAST(:prefix AS TEXT)"
)
LIST_KNOWLEDGE = "SELECT key, value FROM knowledge_base WHERE key > :after ORDER BY key LIMIT :limit"
COUNT_TIPS = "SELECT COUNT(*) AS n FROM knowledge_base"
PUT_KNOWLEDGE = """
INSERT INTO knowledge_base (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
PROJECTS_FOR_ARTIFACT = """
SELECT p.* FROM project_artifacts AS l JOIN projects AS p ON p.id = l.project_id
WHERE l.artifact_id = :artifact_id ORDER BY p.created_at, p.id
"""
SAVE_CONFIG = """
INSERT INTO artifact_configurations (artifact_id, config_key, config_value) VALUES (:artifact_id, :key, :value)
ON CONFLICT (artifact_id, config_key) DO UPDATE SET config_value = excluded.config_value
"""
GET_CONFIG = """
SELECT config_key AS key, config_value AS value FROM artifact_configurations WHERE artifact_id = :artifact_id
"""


class ProjectChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a PATCH of a project sets; what is UNSET stays, None clears."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    budget_micros: int | UnsetType | None = UNSET


class LineageEdge(msgspec.Struct, frozen=True, kw_only=True):
    """`to` was made from `from`, in the way of `edge`."""

    from_: str = msgspec.field(name="from")
    to: str
    edge: str


class Lineage(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Ancestors from the parent to the root, descendants by generation, and the edges between all of them.

    `truncated` when there are more than `MAX_RELATIVES` of either.
    """

    progression_id: str
    ancestors: list[Progression]
    descendants: list[Progression]
    edges: list[LineageEdge]
    truncated: bool


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A start image made public: the address of its delivery image, and the facts of its bytes in BUCKET."""

    url: str
    sha256: str
    width: int
    height: int


class TipValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a knowledge row; no `kinds` means all."""

    tip: str
    kinds: list[Kind] | None = None


class Knowledge(msgspec.Struct, frozen=True):
    key: str
    value: TipValue


class _Pair(msgspec.Struct, frozen=True):
    key: str
    value: str


async def create_project(env: Env, name: str, description: str | None = None) -> Project:
    now = now_ms()
    project = Project(new_id(), name, description, None, now, now)
    await _insert_project(env, project)
    return project


@step("db.create_project")
async def _insert_project(env: Env, project: Project) -> None:
    await env.DB.run(INSERT_PROJECT, **params(project))


@step("db.get_project")
async def get_project(env: Env, project_id: str) -> Project:
    return await _project(env, project_id)


async def _project(env: Env, project_id: str) -> Project:
    if (found := await env.DB.one(GET_PROJECT, Project, id=project_id)) is None:
        raise NotFound("there is no such project")
    return found


@step("db.list_projects")
async def list_projects(env: Env, cursor: str | None, limit: int) -> Page[Project]:
    """Projects, the newest change first."""
    after = decode(cursor)
    rows = await env.DB.all(LIST_PROJECTS, Project, at=after.at, id=after.id, limit=limit + 1)
    return page(rows, limit, lambda row: Cursor(row.updated_at, row.id))


@step("db.patch_project")
async def patch_project(env: Env, project_id: str, changes: ProjectChanges) -> Project:
    name, description, budget = changes.name, changes.description, changes.budget_micros
    patched = await env.DB.one(
        PATCH_PROJECT,
        Project,
        id=project_id,
        now=now_ms(),
        sets_name=name is not UNSET,
        name=None if name is UNSET else name,
        sets_description=description is not UNSET,
        description=None if description is UNSET else description,
        sets_budget=budget is not UNSET,
        budget=None if budget is UNSET else budget,
    )
    if patched is None:
        raise NotFound("there is no such project")
    return patched


async def touch(tx: Statements, project_id: str) -> None:
    """Say that something of the project changed now; a clock that stepped back changes nothing."""
    await tx.run(TOUCH_PROJECT, id=project_id, now=now_ms())


@step("db.list_progressions")
async def list_progressions(
    env: Env,
    project_id: str,
    query: str = "",
    tags: list[str] | None = None,
    provider: str | None = None,
    judgment: Judgment | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Progression]:
    """Progressions of a project, the newest first; `query` is a substring of prompt, notes or tags in any case.

    Fails: NotFound when there is no such project.
    """
    after = decode(cursor)
    wanted = search.Filter(project_id=project_id, query=query, tags=tags or [], provider=provider, judgment=judgment)
    if wanted == search.Filter(project_id=project_id):
        rows = await env.DB.all(
            LIST_PROGRESSIONS, Progression, project_id=project_id, at=after.at, id=after.id, limit=limit + 1
        )
    else:
        rows = await search.find(env, wanted, after, limit + 1)
    if not rows:
        await _project(env, project_id)
    return page(rows, limit, lambda row: Cursor(row.created_at, row.id))


@step("db.get_progression")
async def get_progression(env: Env, progression_id: str) -> Progression:
    return await _progression(env, progression_id)


async def _progression(env: Env, progression_id: str) -> Progression:
    if (found := await env.DB.one(GET_PROGRESSION, Progression, id=progression_id)) is None:
        raise NotFound("there is no such progression")
    return found


@step("db.has_progression")
async def has_progression(env: Env, project_id: str, progression_id: str) -> bool:
    """Whether the project has this progression."""
    found = await env.DB.one(PROJECT_PROGRESSION, Progression, id=progression_id, project_id=project_id)
    return found is not None


async def insert_progression(tx: Statements, row: Progression) -> bool:
    """Store a progression with its tags and search rows; False, and nothing changed, when its id is there already."""
    if await tx.run(INSERT_PROGRESSION, **params(row)) == 0:
        return False
    await search.index(tx, row)
    await touch(tx, row.project_id)
    return True


async def update_judgment(
    tx: Statements,
    progression_id: str,
    judge_status: Literal["ok", "error", "skipped"],
    judgment: Judgment | None,
    notes: list[str],
    tags: list[str],
    criteria: list[Criterion],
    retry_suggestion: str | None,
) -> Progression:
    """Write what the judge said and make the progression found under it.

    Fails: NotFound · Violation when a judgment comes with another status than `ok`, or `ok` without one.
    """
    row = await tx.one(
        UPDATE_JUDGMENT,
        Progression,
        id=progression_id,
        judge_status=judge_status,
        judgment=judgment,
        ai_notes=dump(notes),
        ai_tags=dump(tags),
        criteria=dump(criteria),
        retry_suggestion=retry_suggestion,
    )
    if row is None:
        raise NotFound("there is no such progression")
    await search.index(tx, row)
    await touch(tx, row.project_id)
    return row


@step("db.lineage")
async def lineage(env: Env, progression_id: str) -> Lineage:
    """Where the progression came from and what was made of it."""
    middle = await _progression(env, progression_id)
    ancestors = await env.DB.all(ANCESTORS, Progression, id=progression_id, limit=MAX_RELATIVES + 1)
    descendants = await env.DB.all(DESCENDANTS, Progression, id=progression_id, limit=MAX_RELATIVES + 1)
    return _lineage(
        middle,
        ancestors[:MAX_RELATIVES],
        descendants[:MAX_RELATIVES],
        max(len(ancestors), len(descendants)) > MAX_RELATIVES,
    )


def _lineage(middle: Progression, above: list[Progression], below: list[Progression], truncated: bool) -> Lineage:
    nodes = [*reversed(above), middle, *below]
    ids = {node.id for node in nodes}
    return Lineage(
        progression_id=middle.id,
        ancestors=above,
        descendants=below,
        edges=[
            LineageEdge(from_=node.parent_progression_id, to=node.id, edge=node.edge)
            for node in nodes
            if node.parent_progression_id is not None and node.parent_progression_id in ids
        ],
        truncated=truncated,
    )


async def rollback(
    env: Env, progression_id: str, base: Literal["original", "start"], delivery: Delivery | None = None
) -> Progression:
    """A new progression whose original is the step's own, or the image that the step was made from.

    `delivery` is needed for `start`: the caller made the start image (`start_key`) public.
    Fails: NotFound · Invalid (`no_start_image`).
    """
    ancestor = await get_progression(env, progression_id)
    row = _from_original(ancestor) if base == "original" else _from_start(ancestor, delivery)
    await _insert_alone(env, row)
    return row


def start_key(row: Progression) -> str:
    """Where in BUCKET the image is that the progression was made from.

    Fails: Invalid (422, `no_start_image`).
    """
    if row.start_image_r2_key is None:
        raise Invalid("this progression was not made from a start image", code="no_start_image")
    return row.start_image_r2_key


@step("db.rollback")
async def _insert_alone(env: Env, row: Progression) -> None:
    async with env.DB.transaction() as tx:
        await insert_progression(tx, row)


def _from_original(row: Progression) -> Progression:
    return msgspec.structs.replace(
        row,
        id=new_id(),
        parent_progression_id=row.id,
        edge="rollback",
        created_at=max(now_ms(), row.created_at),
        job_id=None,
        item_id=None,
        variant_index=0,
        judge_status="skipped",
        judgment=None,
        ai_notes=[],
        criteria=[],
        retry_suggestion=None,
        adjustments=[],
        cost_usd=0,
    )


def _from_start(row: Progression, delivery: Delivery | None) -> Progression:
    key = start_key(row)
    if delivery is None:
        raise ValueError("a rollback to the start image needs its delivery image")
    return msgspec.structs.replace(
        _from_original(row),
        original_image_r2_key=key,
        generated_image_url=delivery.url,
        sha256=delivery.sha256,
        width=delivery.width,
        height=delivery.height,
        start_image_url=None,
        start_image_r2_key=None,
        ai_tags=[],
        refined_prompt=None,
        phash=None,
        seed=None,
    )


@step("db.insert_upload")
async def insert_upload(env: Env, project_id: str, image: StoredImage) -> Upload:
    """Remember an uploaded image; the same bytes again are the same upload.

    Fails: NotFound when there is no such project.
    """
    row = Upload(project_id=project_id, created_at=now_ms(), **msgspec.structs.asdict(image))
    try:
        await env.DB.run(INSERT_UPLOAD, **params(row))
    except Violation as error:
        if error.kind == "foreign_key":
            raise NotFound("there is no such project") from error
        raise
    return await _upload(env, project_id, image.sha256)


@step("db.get_upload")
async def get_upload(env: Env, project_id: str, sha256: str) -> Upload:
    return await _upload(env, project_id, sha256)


async def _upload(env: Env, project_id: str, sha256: str) -> Upload:
    if (found := await env.DB.one(GET_UPLOAD, Upload, project_id=project_id, sha256=sha256)) is None:
        raise NotFound("there is no such upload in this project")
    return found


@step("db.get_tips")
async def get_tips(env: Env, provider: str, kind: Kind) -> list[Tip]:
    """The tips for a provider that hold for this kind of operation, in order of their keys."""
    rows = await env.DB.all(TIPS, Knowledge, prefix=f"{provider}.")
    meant = [row for row in rows if row.value.kinds is None or kind in row.value.kinds]
    return [Tip(row.key, row.value.tip) for row in sorted(meant, key=lambda row: row.key)]


@step("db.list_knowledge")
async def list_knowledge(env: Env, cursor: str | None, limit: int) -> Page[Knowledge]:
    rows = await env.DB.all(LIST_KNOWLEDGE, Knowledge, after=decode(cursor).id, limit=limit + 1)
    return page(rows, limit, lambda row: Cursor(0, row.key))


async def count_tips(db: Statements) -> int:
    """How many tips the knowledge base has, for a command that has a database but no `Env`."""
    counted = await db.one(COUNT_TIPS, Count)
    return counted.n if counted is not None else 0


@step("db.put_knowledge")
async def put_knowledge(env: Env, key: str, advice: TipValue) -> Knowledge:
    """Set a tip.

    Fails: Invalid (`bad_key`) when the key is not `{provider}.{slug}`.
    """
    if not re.fullmatch(r"[a-z0-9_-]{1,64}\.[a-z0-9._-]{1,128}", key):
        raise Invalid("a key is {provider}.{slug} in lower case", code="bad_key")
    await env.DB.run(PUT_KNOWLEDGE, key=key, value=dump(advice))
    return Knowledge(key, advice)


@step("db.get_projects_for_artifact")
async def get_projects_for_artifact(env: Env, artifact_id: str) -> list[Project]:
    """The projects of an artifact, the oldest first."""
    return await env.DB.all(PROJECTS_FOR_ARTIFACT, Project, artifact_id=artifact_id)


async def get_images_for_project(env: Env, project_id: str, limit: int = 200) -> list[Progression]:
    """The newest progressions of a project, the newest first."""
    return (await list_progressions(env, project_id, limit=limit)).items


@step("db.save_config")
async def save_config(env: Env, artifact_id: str, key: str, value: str) -> None:
    """Fill one placeholder of an artifact.

    Fails: NotFound when there is no such artifact.
    """
    try:
        await env.DB.run(SAVE_CONFIG, artifact_id=artifact_id, key=key, value=value)
    except Violation as error:
        if error.kind == "foreign_key":
            raise NotFound("there is no such artifact") from error
        raise


@step("db.get_config")
async def get_config(env: Env, artifact_id: str) -> dict[str, str]:
    """What the placeholders of an artifact are filled with so far."""
    return await config(env.DB, artifact_id)


async def config(tx: Statements, artifact_id: str) -> dict[str, str]:
    """The same within somebody's transaction."""
    return {row.key: row.value for row in await tx.all(GET_CONFIG, _Pair, artifact_id=artifact_id)}
