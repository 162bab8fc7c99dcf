"""Projects, progressions and their lineage, uploads, knowledge and configurations in DB.

Functions that run inside a caller's transaction take `tx` first; the others take `env` and run one statement or a
transaction of their own. `cost_usd` and `budget_micros` are integer micro-USD here.
"""

import logging
import re
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from tools import search
from tools.env import Env, Statements
from tools.errors import Invalid, NotFound, Violation
from tools.pages import Cursor, Page, decode, page
from tools.publishing.addresses import kept, whole
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

log = logging.getLogger("picasso.db")

MAX_RELATIVES = 1_000
"""The most ancestors, and likewise descendants, in one lineage."""

INSERT_PROJECT = """
INSERT INTO projects (id, name, description, budget_micros, created_at, updated_at)
VALUES (:id, :name, :description, :budget_micros, :created_at, :updated_at) ON CONFLICT (id) DO NOTHING
"""
GET_PROJECT = "SELECT * FROM projects WHERE id = :id"
LIST_PROJECTS = """
SELECT * FROM projects WHERE (updated_at, id) < (:at, :id) AND (CAST(:part AS TEXT) IS NULL
    OR LOWER(name) LIKE LOWER(:part) ESCAPE '!' OR LOWER(description) LIKE LOWER(:part) ESCAPE '!')
ORDER BY updated_at DESC, id DESC LIMIT :limit
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
    seed, adjustments, cost_usd, coverage
) VALUES (
    :id, :project_id, :parent_progression_id, :start_image_url, :prompt, :generated_image_url, :original_image_r2_key,
    :ai_provider, :ai_notes, :ai_tags, :judgment, :created_at, :job_id, :item_id, :edge, :variant_index, :ai_model,
    :refined_prompt, :start_image_r2_key, :judge_status, :criteria, :retry_suggestion, :phash, :width, :height, :sha256,
    :seed, :adjustments, :cost_usd, :coverage
) ON CONFLICT (id) DO NOTHING
"""
UPDATE_JUDGMENT = """
UPDATE image_progressions SET judge_status = :judge_status, judgment = :judgment, ai_notes = :ai_notes,
    ai_tags = :ai_tags, criteria = :criteria, retry_suggestion = :retry_suggestion, coverage = :coverage
WHERE id = :id RETURNING *
"""
GET_PROGRESSION = "SELECT * FROM image_progressions WHERE id = :id"
PROJECT_PROGRESSION = "SELECT * FROM image_progressions WHERE id = :id AND project_id = :project_id"
LIST_PROGRESSIONS = """
SELECT * FROM image_progressions WHERE project_id = :project_id AND (created_at, id) < (:at, :id)
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
JOB_PROGRESSIONS = "SELECT * FROM image_progressions WHERE job_id = :job_id ORDER BY created_at, id"
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
LIST_KNOWLEDGE = """
SELECT key, value FROM knowledge_base WHERE key > :after
    AND (CAST(:provider AS TEXT) IS NULL OR SUBSTR(key, 1, LENGTH(:provider) + 1) = :provider || '.')
ORDER BY key LIMIT :limit
"""
BEGUN_JSON = re.compile(r'\s*(\{|\[\s*["{\[])')
COUNT_TIPS = "SELECT COUNT(*) AS n FROM knowledge_base"
PUT_KNOWLEDGE = """
INSERT INTO knowledge_base (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
PROJECTS_FOR_ARTIFACT = """
SELECT p.* FROM project_artifacts AS l JOIN projects AS p ON p.id = l.project_id
WHERE l.artifact_id = :artifact_id ORDER BY p.created_at, p.id
"""
SAVE_CONFIG = """
INSERT INTO artifact_configurations (artifact_id, config_key, config_value, progression_id)
VALUES (:artifact_id, :key, :value, :progression_id)
ON CONFLICT (artifact_id, config_key)
DO UPDATE SET config_value = excluded.config_value, progression_id = excluded.progression_id
"""
GET_CONFIG = """
SELECT config_key AS key, config_value AS value, progression_id FROM artifact_configurations
WHERE artifact_id = :artifact_id
"""


class ProjectChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to a project: UNSET leaves a field as it is, None clears it."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    budget_micros: int | UnsetType | None = UNSET


class LineageEdge(msgspec.Struct, frozen=True, kw_only=True):
    """`to` was made from `from` by the operation `edge`."""

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
    """The public URL of a start image, and SHA-256 and size in pixels of its bytes in BUCKET."""

    url: str
    sha256: str
    width: int
    height: int


class TipValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a knowledge row: a tip and the kinds of operation it is for; None means all."""

    tip: str
    kinds: list[Kind] | None = None


class Knowledge(msgspec.Struct, frozen=True):
    """A row of the knowledge base; `key` is `{provider}.{slug}`."""

    key: str
    value: TipValue


class _StoredTip(msgspec.Struct, frozen=True):
    """A row of the knowledge base as somebody may have written it with other programs."""

    key: str
    value: str


class Chosen(msgspec.Struct, frozen=True):
    """What was chosen for a placeholder; `progression_id` is the image that was meant, where the value is its address
    (stored as rows keep it):
    several images may have the same one."""

    value: str
    progression_id: str | None = None


class _Setting(msgspec.Struct, frozen=True):
    key: str
    value: str
    progression_id: str | None


async def create_project(env: Env, name: str, description: str | None = None) -> Project:
    """Store a new project without a budget and return it.

    Effect: one row; it has its id before the step, so that a retry writes the same row.
    """
    now = now_ms()
    project = Project(new_id(), name, description, None, now, now)
    await _insert_project(env, project)
    return project


@step("db.create_project")
async def _insert_project(env: Env, project: Project) -> None:
    await env.DB.run(INSERT_PROJECT, **params(project))


@step("db.get_project")
async def get_project(env: Env, project_id: str) -> Project:
    """The project.

    Fails: NotFound.
    """
    return await _project(env, project_id)


async def _project(env: Env, project_id: str) -> Project:
    if (found := await env.DB.one(GET_PROJECT, Project, id=project_id)) is None:
        raise NotFound("there is no such project")
    return found


@step("db.list_projects")
async def list_projects(env: Env, cursor: str | None, limit: int, text: str = "") -> Page[Project]:
    """Projects whose name or description contains the text, in any case of the letters A to Z; the most recently
    changed first.

    Fails: Invalid (400, `bad_cursor`).
    """
    after = decode(cursor)
    escaped = re.sub("[!%_]", r"!\g<0>", text)
    part = f"%{escaped}%" if text else None
    rows = await env.DB.all(LIST_PROJECTS, Project, at=after.at, id=after.id, part=part, limit=limit + 1)
    return page(rows, limit, lambda row: Cursor(row.updated_at, row.id))


@step("db.patch_project")
async def patch_project(env: Env, project_id: str, changes: ProjectChanges) -> Project:
    """Apply the changes and return the project as it is now.

    Fails: NotFound.
    """
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
    """Set the project's `updated_at` to now; it never goes back, even if the clock does."""
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
    """Progressions of a project, newest first; `query` is a substring of prompt, notes or tags, case-insensitive.

    Fails: NotFound when there is no such project · Invalid (400, `bad_cursor`).
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


@step("db.job_progressions")
async def job_progressions(env: Env, job_id: str) -> list[Progression]:
    """The progressions that the job has made so far, the first made first."""
    return await env.DB.all(JOB_PROGRESSIONS, Progression, job_id=job_id)


@step("db.get_progression")
async def get_progression(env: Env, progression_id: str) -> Progression:
    """The progression.

    Fails: NotFound.
    """
    return await _progression(env, progression_id)


async def _progression(env: Env, progression_id: str) -> Progression:
    if (found := await env.DB.one(GET_PROGRESSION, Progression, id=progression_id)) is None:
        raise NotFound("there is no such progression")
    return found


@step("db.has_progression")
async def has_progression(env: Env, project_id: str, progression_id: str) -> bool:
    """Whether the progression exists and belongs to the project."""
    found = await env.DB.one(PROJECT_PROGRESSION, Progression, id=progression_id, project_id=project_id)
    return found is not None


async def insert_progression(tx: Statements, row: Progression) -> bool:
    """Store a progression and index it for search; False, with nothing changed, when its id exists already."""
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
    coverage: float | None,
) -> Progression:
    """Store a verdict with the progression, index it for search, and return the row.

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
        coverage=coverage,
    )
    if row is None:
        raise NotFound("there is no such progression")
    await search.index(tx, row)
    await touch(tx, row.project_id)
    return row


@step("db.lineage")
async def lineage(env: Env, progression_id: str) -> Lineage:
    """Ancestors and descendants of the progression, at most `MAX_RELATIVES` of either.

    Fails: NotFound.
    """
    middle = await _progression(env, progression_id)
    ancestors = await env.DB.all(ANCESTORS, Progression, id=progression_id, limit=MAX_RELATIVES + 1)
    descendants = await env.DB.all(DESCENDANTS, Progression, id=progression_id, limit=MAX_RELATIVES + 1)
    above, below = ancestors[:MAX_RELATIVES], descendants[:MAX_RELATIVES]
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
        truncated=max(len(ancestors), len(descendants)) > MAX_RELATIVES,
    )


async def rollback(
    env: Env, progression_id: str, base: Literal["original", "start"], delivery: Delivery | None = None
) -> Progression:
    """Store a new progression that goes back to an earlier one and return it.

    Its original is the one of the earlier progression, or for `start` the image which that was made from. Then the
    caller has already published this image (`start_key`) and passes its `delivery`.
    Fails: NotFound · Invalid (`no_start_image`).
    """
    earlier = await get_progression(env, progression_id)
    row = msgspec.structs.replace(
        earlier,
        id=new_id(),
        parent_progression_id=earlier.id,
        edge="rollback",
        created_at=max(now_ms(), earlier.created_at),
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
        coverage=None,
    )
    if base == "start":
        key = start_key(earlier)
        if delivery is None:
            raise ValueError("a rollback to the start image needs its delivery image")
        row = msgspec.structs.replace(
            row,
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
    await _insert_rollback(env, row)
    return row


def start_key(row: Progression) -> str:
    """The key in BUCKET of the image that the progression was made from.

    Fails: Invalid (422, `no_start_image`).
    """
    if row.start_image_r2_key is None:
        raise Invalid("this progression was not made from a start image", code="no_start_image")
    return row.start_image_r2_key


@step("db.rollback")
async def _insert_rollback(env: Env, row: Progression) -> None:
    # A step of its own, so that a retry inserts a row with the same id.
    async with env.DB.transaction() as tx:
        await insert_progression(tx, row)


@step("db.insert_upload")
async def insert_upload(env: Env, project_id: str, image: StoredImage) -> Upload:
    """Store the row of an uploaded image and return it; for the same bytes it is the row that exists already.

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
    """The project's uploaded image with this SHA-256 (hex).

    Fails: NotFound.
    """
    return await _upload(env, project_id, sha256)


async def _upload(env: Env, project_id: str, sha256: str) -> Upload:
    if (found := await env.DB.one(GET_UPLOAD, Upload, project_id=project_id, sha256=sha256)) is None:
        raise NotFound("there is no such upload in this project")
    return found


@step("db.get_tips")
async def get_tips(env: Env, provider: str, kind: Kind) -> list[Tip]:
    """The tips for a provider and this kind of operation, ordered by key."""
    rows = _readable(await env.DB.all(TIPS, _StoredTip, prefix=f"{provider}."))
    relevant = [row for row in rows if row.value.kinds is None or kind in row.value.kinds]
    return [Tip(row.key, row.value.tip) for row in sorted(relevant, key=lambda row: row.key)]


@step("db.list_knowledge")
async def list_knowledge(env: Env, cursor: str | None, limit: int, provider: str | None = None) -> Page[Knowledge]:
    """The knowledge base, or its tips for one provider, ordered by key; a page has less than `limit` rows where values
    cannot be read.

    Fails: Invalid (400, `bad_cursor`).
    """
    rows = await env.DB.all(LIST_KNOWLEDGE, _StoredTip, after=decode(cursor).id, provider=provider, limit=limit + 1)
    found = page(rows, limit, lambda row: Cursor(0, row.key))
    return Page(_readable(found.items), found.next_cursor)


def _readable(rows: list[_StoredTip]) -> list[Knowledge]:
    """The rows whose values can be read. Effect: one log line for each of the others."""
    read = [(row.key, read_tip(row.value)) for row in rows]
    for key, value in read:
        if value is None:
            log.warning("the tip %s in the knowledge base cannot be read and is left out", key)
    return [Knowledge(key, value) for key, value in read if value is not None]


def read_tip(text: str) -> TipValue | None:
    """The tip that a value of the knowledge base gives, or None when it gives none.

    Our form is `{"tip", "kinds"?}`. Values that people wrote by hand are taken too: plain text, a JSON string, or an
    array of any of these that is one tip together.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        # What opens like JSON was meant to be JSON.
        return None if BEGUN_JSON.match(text) else _tip_of(text)
    return _tip_of(value)


def _tip_of(value: Any) -> TipValue | None:
    if isinstance(value, str):
        words = " ".join(value.split())
        return TipValue(words) if words else None
    if isinstance(value, list):
        parts = [_tip_of(part) for part in value]
        known = [part.tip for part in parts if part is not None and part.kinds is None]
        return TipValue(" ".join(known)) if known and len(known) == len(parts) else None
    try:
        found = msgspec.convert(value, TipValue, strict=True)
    except msgspec.ValidationError:
        return None
    return found if found.tip.strip() else None


async def count_tips(db: Statements) -> int:
    """How many tips the knowledge base has; takes a database, for a command without an `Env`."""
    counted = await db.one(COUNT_TIPS, Count)
    return counted.n if counted is not None else 0


@step("db.put_knowledge")
async def put_knowledge(env: Env, key: str, value: TipValue) -> Knowledge:
    """Store a tip under its key, in place of an earlier one, and return it.

    Fails: Invalid (`bad_key`) when the key is not `{provider}.{slug}`.
    """
    if not re.fullmatch(r"[a-z0-9_-]{1,64}\.[a-z0-9._-]{1,128}", key):
        raise Invalid("a key is {provider}.{slug} in lower case", code="bad_key")
    await env.DB.run(PUT_KNOWLEDGE, key=key, value=dump(value))
    return Knowledge(key, value)


@step("db.get_projects_for_artifact")
async def get_projects_for_artifact(env: Env, artifact_id: str) -> list[Project]:
    """The projects of an artifact, oldest first."""
    return await env.DB.all(PROJECTS_FOR_ARTIFACT, Project, artifact_id=artifact_id)


async def get_images_for_project(env: Env, project_id: str, limit: int = 200) -> list[Progression]:
    """The newest progressions of a project, newest first.

    Fails: NotFound when there is no such project.
    """
    return (await list_progressions(env, project_id, limit=limit)).items


@step("db.save_config")
async def save_config(env: Env, artifact_id: str, key: str, value: str) -> None:
    """Set the value of one placeholder of an artifact.

    Fails: NotFound when there is no such artifact.
    """
    try:
        await env.DB.run(SAVE_CONFIG, artifact_id=artifact_id, key=key, value=value, progression_id=None)
    except Violation as error:
        if error.kind == "foreign_key":
            raise NotFound("there is no such artifact") from error
        raise


@step("db.get_config")
async def get_config(env: Env, artifact_id: str) -> dict[str, str]:
    """The values of an artifact's placeholders that are set so far, by key; those of images are their addresses."""
    return {key: chosen.value for key, chosen in (await get_choices(env, artifact_id)).items()}


@step("db.get_choices")
async def get_choices(env: Env, artifact_id: str) -> dict[str, Chosen]:
    """As `get_config`, with the images that were chosen."""
    chosen = await choices(env.DB, artifact_id)
    return {key: Chosen(told(env, one), one.progression_id) for key, one in chosen.items()}


def told(env: Env, chosen: Chosen) -> str:
    """The value as people are told it: an image has a whole address."""
    return chosen.value if chosen.progression_id is None else whole(env.settings, kept(env.settings, chosen.value))


async def choices(tx: Statements, artifact_id: str) -> dict[str, Chosen]:
    """The choices as they are stored, within the caller's transaction."""
    rows = await tx.all(GET_CONFIG, _Setting, artifact_id=artifact_id)
    return {row.key: Chosen(row.value, row.progression_id) for row in rows}
