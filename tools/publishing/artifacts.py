"""Artifacts: their rows, their projects, and the versions of their files in BUCKET.

A version is written whole under keys of its own before its row names it, and never changed afterwards.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from tools.actor_emit import append
from tools.db import get_project, get_projects_for_artifact
from tools.env import Env, Statements
from tools.errors import Conflict, NotFound
from tools.events import Artifact as ArtifactEvent
from tools.pages import Cursor, Page, decode, page
from tools.publishing.addresses import UP, kept, whole
from tools.rows import ArtifactRow, Progression, Project, dump, new_id, now_ms
from tools.step import step

PLACES = 16
"""Version numbers that are tried before publishing fails."""

INSERT = """
INSERT INTO artifacts (id, owner_id, title, template_r2_key, public_slug, created_at, generator_id, options, updated_at)
VALUES (:id, :owner_id, :title, :template_r2_key, :public_slug, :created_at, :generator_id, :options, :created_at)
ON CONFLICT (id) DO NOTHING
"""
JOIN_PROJECT = """
INSERT INTO project_artifacts (project_id, artifact_id) VALUES (:project_id, :artifact_id)
ON CONFLICT (project_id, artifact_id) DO NOTHING
"""
SET_CONTENT = """
UPDATE artifacts SET version = :version, title = :title, options = :options,
    unpublished_at = CASE WHEN unpublished_at IS DISTINCT FROM CAST(:known_unpublished_at AS BIGINT)
        THEN unpublished_at END,
    content_r2_key = :content_r2_key, content_type = :content_type,
    content_sha256 = :content_sha256, content_policy = :content_policy,
    template_r2_key = COALESCE(:template_r2_key, template_r2_key), updated_at = :updated_at
WHERE id = :id AND version < :version
"""
INSERT_VERSION = """
INSERT INTO artifact_versions (artifact_id, version, title, options, content_r2_key, content_type, content_sha256,
    content_policy, created_at)
SELECT id, version, title, options, content_r2_key, content_type, content_sha256, content_policy, updated_at
FROM artifacts WHERE id = :id
"""
WITHDRAW = """
UPDATE artifacts SET unpublished_at = :now, updated_at = :now
WHERE id = :id AND content_r2_key IS NOT NULL AND unpublished_at IS NULL
"""
VERSIONS = """
SELECT * FROM artifact_versions WHERE artifact_id = :artifact_id AND version < :before
ORDER BY version DESC LIMIT :limit
"""
VERSION = "SELECT * FROM artifact_versions WHERE artifact_id = :artifact_id AND version = :version"
GET = "SELECT * FROM artifacts WHERE id = :id"
BY_SLUG = """
SELECT * FROM artifacts
WHERE public_slug = :public_slug AND content_r2_key IS NOT NULL AND unpublished_at IS NULL
"""
LIST = """
SELECT * FROM artifacts WHERE (created_at < :at OR (created_at = :at AND id < :id))
AND (version > 0 OR NOT EXISTS (SELECT 1 FROM renders WHERE artifact_id = artifacts.id)
    OR EXISTS (SELECT 1 FROM renders WHERE artifact_id = artifacts.id AND ended_at IS NULL))
AND (CAST(:generator_id AS TEXT) IS NULL OR generator_id = :generator_id)
AND (CAST(:project_id AS TEXT) IS NULL OR EXISTS
    (SELECT 1 FROM project_artifacts WHERE artifact_id = artifacts.id AND project_id = :project_id))
ORDER BY created_at DESC, id DESC LIMIT :limit
"""
OWN_IMAGE = """
SELECT image_progressions.* FROM image_progressions
JOIN project_artifacts ON project_artifacts.project_id = image_progressions.project_id
WHERE generated_image_url = :url AND artifact_id = :artifact_id
ORDER BY CASE WHEN image_progressions.id = :wanted THEN 0 ELSE 1 END, image_progressions.id LIMIT 1
"""


class File(msgspec.Struct, frozen=True):
    """One file of an output, under a name of `[A-Za-z0-9._-]`.

    `policy` is the Content-Security-Policy of a file beside the index; None lets nothing load, not even its own style.
    """

    name: str
    data: bytes
    content_type: str
    policy: str | None = None


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator made. `index` is the file that the public link serves.

    `policy` is the Content-Security-Policy it is served under (None lets nothing load), `progression_ids` are the
    image versions shown, `template` is the key of the template in BUCKET, if one was used.
    """

    index: File
    policy: str | None = None
    beside: tuple[File, ...] = ()
    progression_ids: tuple[str, ...] = ()
    template: str | None = None


class FileFacts(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`size` in bytes."""

    name: str
    content_type: str
    size: int
    sha256: str
    policy: str | None = None


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`manifest.json` beside a version's files; `sha256` is the index's, `files` opens with the index."""

    generator: str | None
    template: str | None
    options: dict[str, Any]
    project_ids: list[str]
    progression_ids: list[str]
    sha256: str
    files: list[FileFacts]


class Version(msgspec.Struct, frozen=True):
    """A row of `artifact_versions`: what the artifact was when it was published for the `version`-th time."""

    artifact_id: str
    version: int
    title: str
    options: dict[str, Any]
    content_r2_key: str
    content_type: str
    content_sha256: str
    content_policy: str | None
    created_at: int


def fresh_slug() -> str:
    """192 random bits in 32 characters: the only thing that protects an unlisted page."""
    return secrets.token_urlsafe(24)


def draft(*, generator_id: str | None, title: str, owner_id: str, options: dict[str, Any]) -> ArtifactRow:
    """An artifact with a fresh id and slug that is stored nowhere yet."""
    now = now_ms()
    return ArtifactRow(
        id=new_id(),
        owner_id=owner_id,
        title=title,
        template_r2_key=None,
        content_r2_key=None,
        public_slug=fresh_slug(),
        created_at=now,
        generator_id=generator_id,
        options=options,
        version=0,
        content_type=None,
        content_sha256=None,
        content_policy=None,
        updated_at=now,
    )


def version_folder(artifact_id: str, version: int) -> str:
    """The folder in BUCKET that holds the files of one version."""
    return f"artifacts/{artifact_id}/v{version}"


async def get(env: Env, artifact_id: str) -> ArtifactRow:
    """The row of an artifact. Fails: NotFound."""
    if (row := await env.DB.one(GET, ArtifactRow, id=artifact_id)) is None:
        raise NotFound("there is no such artifact")
    return row


async def by_slug(env: Env, public_slug: str) -> ArtifactRow | None:
    """The published artifact with this slug, or None."""
    return await env.DB.one(BY_SLUG, ArtifactRow, public_slug=public_slug)


async def list_page(
    env: Env, cursor: str | None, limit: int, *, generator_id: str | None = None, project_id: str | None = None
) -> Page[ArtifactRow]:
    """Artifacts from the newest, of one kind or of any, of one project or of all; without those whose first version
    could not be made."""
    after = decode(cursor)
    chosen = {"generator_id": generator_id, "project_id": project_id}
    rows = await env.DB.all(LIST, ArtifactRow, at=after.at, id=after.id, limit=limit + 1, **chosen)
    return page(rows, limit, lambda row: Cursor(row.created_at, row.id))


async def list_versions(env: Env, artifact_id: str, cursor: str | None, limit: int) -> Page[Version]:
    """Versions from the newest."""
    before = min(decode(cursor).at, 1 << 62)
    rows = await env.DB.all(VERSIONS, Version, artifact_id=artifact_id, before=before, limit=limit + 1)
    return page(rows, limit, lambda row: Cursor(row.version, ""))


def published(artifact: ArtifactRow) -> Version:
    """The current version of a published artifact, which its public link serves."""
    assert artifact.content_r2_key is not None and artifact.content_sha256 is not None
    return Version(
        artifact_id=artifact.id,
        version=artifact.version,
        title=artifact.title,
        options=artifact.options,
        content_r2_key=artifact.content_r2_key,
        content_type=artifact.content_type or "application/octet-stream",
        content_sha256=artifact.content_sha256,
        content_policy=artifact.content_policy,
        created_at=artifact.updated_at,
    )


async def get_version(env: Env, artifact_id: str, version: int) -> Version:
    """A published version by its number. Fails: NotFound."""
    if not 0 < version < 1 << 53:
        raise NotFound("there is no such version")
    if (row := await env.DB.one(VERSION, Version, artifact_id=artifact_id, version=version)) is None:
        raise NotFound("there is no such version")
    return row


async def get_manifest(env: Env, artifact_id: str, version: int) -> Manifest:
    """The manifest of a version, read from BUCKET. Fails: NotFound."""
    written = await env.BUCKET.get(f"{version_folder(artifact_id, version)}/manifest.json")
    return msgspec.json.decode(written, type=Manifest)


async def find_file(env: Env, artifact_id: str, version: int, name: str) -> FileFacts:
    """The manifest's entry for a file beside the index of a version.

    Fails: NotFound for any other name, including `manifest.json`.
    """
    beside = (await get_manifest(env, artifact_id, version)).files[1:]
    if (found := next((file for file in beside if file.name == name), None)) is None:
        raise NotFound("there is no such file")
    return found


async def projects_of(env: Env, artifact: ArtifactRow) -> list[Project]:
    """The artifact's projects in the order of its last version; those that were added since come last."""
    projects = await get_projects_for_artifact(env, artifact.id)
    if artifact.version == 0:
        return projects
    shown = (await get_manifest(env, artifact.id, artifact.version)).project_ids
    places = {id: place for place, id in enumerate(shown)}
    return sorted(projects, key=lambda project: places.get(project.id, len(places)))


@step("artifacts.find_image")
async def find_image(env: Env, artifact_id: str, url: str, wanted: str | None = None) -> Progression | None:
    """The image of one of the artifact's projects that is delivered at this address; of several, as after a
    rollback, the one with the id `wanted`."""
    url = kept(env.settings, url)
    return await env.DB.one(OWN_IMAGE, Progression, artifact_id=artifact_id, url=url, wanted=wanted or "")


@step("artifacts.create")
async def create(env: Env, artifact: ArtifactRow, project_ids: Sequence[str]) -> None:
    """Store a draft and its projects; its page answers 404 until a version is published.

    Effect: one transaction; repeating it changes nothing.
    """
    async with env.DB.transaction() as tx:
        await store(tx, artifact, project_ids)


async def store(tx: Statements, artifact: ArtifactRow, project_ids: Sequence[str]) -> None:
    """`create` inside a transaction of the caller."""
    await tx.run(
        INSERT,
        id=artifact.id,
        owner_id=artifact.owner_id,
        title=artifact.title,
        template_r2_key=artifact.template_r2_key,
        public_slug=artifact.public_slug,
        created_at=artifact.created_at,
        generator_id=artifact.generator_id,
        options=dump(artifact.options),
    )
    await tx.many(JOIN_PROJECT, [{"project_id": id, "artifact_id": artifact.id} for id in project_ids])


@step("artifacts.associate")
async def associate(env: Env, artifact_id: str, project_ids: Sequence[str]) -> None:
    """Add projects to an artifact; those already there stay.

    Fails: NotFound naming the artifact or the project.
    """
    artifact = await get(env, artifact_id)
    for id in project_ids:
        await get_project(env, id)
    async with env.DB.transaction() as tx:
        await tx.many(JOIN_PROJECT, [{"project_id": id, "artifact_id": artifact.id} for id in project_ids])


@step("artifacts.unpublish")
async def unpublish(env: Env, artifact_id: str) -> ArtifactRow:
    """Withdraw the page and its versions: all links answer 410 until it is published again. Idempotent.

    Fails: NotFound · Conflict when no page was ever published.
    """
    await env.DB.run(WITHDRAW, id=artifact_id, now=now_ms())
    row = await get(env, artifact_id)
    if row.unpublished_at is None:
        raise Conflict("this artifact has no published page", code="not_published")
    return row


@step("artifacts.publish")
async def publish(
    env: Env,
    artifact: ArtifactRow,
    output: Output,
    project_ids: Sequence[str],
    *,
    session_id: str | None = None,
    along: Callable[[Statements, int], Awaitable[None]] | None = None,
) -> ArtifactRow:
    """Publish the output as the artifact's next version, which its public link serves from then on.

    Effect: files and manifest in BUCKET under the first free version, then one transaction: the row with title and
    options as given (a draft is stored with its projects), what `along` writes with the version's number, and the
    `artifact` event of `session_id`. A page unpublished since `artifact` was read stays unpublished.
    Fails: Conflict when a later version was published meanwhile · Unavailable.
    """
    version = await _place(env, artifact, output, project_ids)
    folder = version_folder(artifact.id, version)
    async with env.DB.transaction() as tx:
        await store(tx, artifact, project_ids)
        changed = await tx.run(
            SET_CONTENT,
            id=artifact.id,
            version=version,
            title=artifact.title,
            options=dump(artifact.options),
            content_r2_key=f"{folder}/{output.index.name}",
            content_type=output.index.content_type,
            content_sha256=hashlib.sha256(output.index.data).hexdigest(),
            content_policy=output.policy,
            template_r2_key=output.template,
            known_unpublished_at=artifact.unpublished_at,
            updated_at=max(now_ms(), artifact.created_at),
        )
        if changed:
            await tx.run(INSERT_VERSION, id=artifact.id)
        if changed and along is not None:
            await along(tx, version)
        if changed and session_id is not None:
            await append(tx, session_id, [_published(artifact)])
        row = await tx.one(GET, ArtifactRow, id=artifact.id)
    if row is None or row.version != version:
        raise Conflict("a later version was published meanwhile", code="superseded")
    if session_id is not None:
        await env.PICASSO_DO.wake(session_id)
    return row


async def _place(env: Env, artifact: ArtifactRow, output: Output, project_ids: Sequence[str]) -> int:
    """Write all files under the first free version number and return that number."""
    files = (output.index, *output.beside, _manifest_file(artifact, output, project_ids))
    for version in range(artifact.version + 1, artifact.version + 1 + PLACES):
        try:
            for file in files:
                key = f"{version_folder(artifact.id, version)}/{file.name}"
                await env.BUCKET.put_once(key, file.data, content_type=file.content_type)
        except Conflict:
            # The number is taken by a render that crashed before it wrote its row, or by one running concurrently.
            continue
        return version
    raise Conflict("too many versions are being published at once", code="superseded")


def _manifest_file(artifact: ArtifactRow, output: Output, project_ids: Sequence[str]) -> File:
    facts = [
        FileFacts(file.name, file.content_type, len(file.data), hashlib.sha256(file.data).hexdigest(), file.policy)
        for file in (output.index, *output.beside)
    ]
    written = Manifest(
        generator=artifact.generator_id,
        template=output.template,
        options=artifact.options,
        project_ids=list(project_ids),
        progression_ids=list(output.progression_ids),
        sha256=facts[0].sha256,
        files=facts,
    )
    return File("manifest.json", msgspec.json.encode(written, order="deterministic"), "application/json")


def _published(artifact: ArtifactRow) -> ArtifactEvent:
    return ArtifactEvent(
        artifact_id=artifact.id,
        stage="publish",
        progress=1.0,
        public_slug=artifact.public_slug,
        url=page_path(artifact),
    )


def public_url(env: Env, artifact: ArtifactRow) -> str:
    """The public link of an artifact; it works once a version is published."""
    return whole(env.settings, page_path(artifact))


def page_path(artifact: ArtifactRow) -> str:
    """The path of an artifact's public page."""
    return f"/public/artifact/{artifact.public_slug}"


def link_to(artifact: ArtifactRow, name: str = "") -> str:
    """The link from a published page to itself, or to a file beside its index."""
    return f"{UP}{page_path(artifact)}" + (f"/files/{name}" if name else "")
