"""What of BUCKET belongs to a project: the objects that rows name, the objects that are there, and their hashes."""

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from tools.env import Env, StoredObject
from tools.errors import NotFound
from tools.publishing.artifacts import Manifest, version_folder
from tools.rows import ArtifactRow, InputImages, StoredImage, Upload
from tools.step import step

BLOCK = 1 << 20
"""Bytes that are hashed in one go, in a thread."""
VERSIONS = "image_progressions"

BOUGHT = """
SELECT i.id, i.original_r2_key AS r2_key, a.bytes_sha256 AS sha256, a.result
FROM jobs AS j JOIN job_items AS i ON i.job_id = j.id
LEFT JOIN provider_attempts AS a ON a.item_id = i.id AND a.state = 'succeeded'
WHERE j.project_id = :project_id AND i.original_r2_key IS NOT NULL ORDER BY j.created_at, j.id, i.position
"""
INGESTED = """
SELECT id, inputs FROM jobs WHERE project_id = :project_id AND inputs IS NOT NULL ORDER BY created_at, id
"""
SHOWN = """
SELECT id, original_image_r2_key AS r2_key, sha256, start_image_r2_key FROM image_progressions
WHERE project_id = :project_id ORDER BY created_at, id
"""
UPLOADED = "SELECT * FROM uploads WHERE project_id = :project_id ORDER BY created_at, sha256"
PUBLISHED = """
SELECT a.* FROM project_artifacts AS l JOIN artifacts AS a ON a.id = l.artifact_id
WHERE l.project_id = :project_id AND a.content_r2_key IS NOT NULL ORDER BY a.created_at, a.id
"""


class NamedObject(msgspec.Struct, frozen=True):
    """A row (`table/id`) that names an object, with what it says of the bytes; None where it says nothing."""

    key: str
    row: str
    sha256: str | None = None
    size: int | None = None
    content_type: str | None = None


class Digest(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class _Bought(msgspec.Struct, frozen=True):
    id: str
    r2_key: str
    sha256: str | None
    result: dict[str, Any] | None


class _Ingested(msgspec.Struct, frozen=True):
    id: str
    inputs: InputImages


class _Shown(msgspec.Struct, frozen=True):
    id: str
    r2_key: str
    sha256: str
    start_image_r2_key: str | None


class _Facts(msgspec.Struct, frozen=True):
    """Of what an attempt kept beside its bytes: there once they were found to be an image."""

    mime: str | None = None
    size: int | None = None


@step("archive.claims")
async def named_by_rows(env: Env, project_id: str) -> list[NamedObject]:
    """What the rows of the project's jobs, image versions and uploads name."""
    bought = await env.DB.all(BOUGHT, _Bought, project_id=project_id)
    ingested = await env.DB.all(INGESTED, _Ingested, project_id=project_id)
    shown = await env.DB.all(SHOWN, _Shown, project_id=project_id)
    uploaded = await env.DB.all(UPLOADED, Upload, project_id=project_id)
    return [
        *map(_of_item, bought),
        *(_of_input(job.id, image) for job in ingested for image in _inputs(job.inputs)),
        *(claim for row in shown for claim in _of_version(row)),
        *(NamedObject(row.r2_key, f"uploads/{row.sha256}", row.sha256, row.size, row.mime) for row in uploaded),
    ]


def _of_item(row: _Bought) -> NamedObject:
    facts = msgspec.convert(row.result or {}, _Facts)
    return NamedObject(row.r2_key, f"job_items/{row.id}", row.sha256, facts.size, facts.mime)


def _inputs(inputs: InputImages) -> Iterator[StoredImage]:
    yield from filter(None, (inputs.start, inputs.mask, *inputs.references))


def _of_input(job_id: str, image: StoredImage) -> NamedObject:
    return NamedObject(image.r2_key, f"jobs/{job_id}", image.sha256, image.size, image.mime)


def _of_version(row: _Shown) -> Iterator[NamedObject]:
    yield NamedObject(row.r2_key, f"{VERSIONS}/{row.id}", row.sha256)
    if row.start_image_r2_key:
        yield NamedObject(row.start_image_r2_key, f"{VERSIONS}/{row.id}")


@step("archive.published")
async def published(env: Env, project_id: str) -> list[ArtifactRow]:
    """The project's artifacts that have a version, the oldest first."""
    return await env.DB.all(PUBLISHED, ArtifactRow, project_id=project_id)


@step("archive.content_claims")
async def named_by_artifact(env: Env, artifact: ArtifactRow) -> list[NamedObject]:
    """What an artifact's row and the manifests of its versions name.

    The manifest of an earlier version that is not there, or cannot be read, names nothing.
    """
    row, current = f"artifacts/{artifact.id}", f"{version_folder(artifact.id, artifact.version)}/manifest.json"
    found = [
        NamedObject(str(artifact.content_r2_key), row, artifact.content_sha256, None, artifact.content_type),
        NamedObject(current, row, None, None, "application/json"),
    ]
    for version in range(1, artifact.version + 1):
        folder = version_folder(artifact.id, version)
        if manifest := await _manifest(env, f"{folder}/manifest.json"):
            found.append(NamedObject(f"{folder}/manifest.json", row, None, None, "application/json"))
            found += [
                NamedObject(f"{folder}/{file.name}", row, file.sha256, file.size, file.content_type)
                for file in manifest.files
            ]
    return found


async def _manifest(env: Env, key: str) -> Manifest | None:
    try:
        return msgspec.json.decode(await env.BUCKET.get(key), type=Manifest)
    except (NotFound, msgspec.MsgspecError):
        return None


@step("archive.listed")
async def listed(env: Env, prefix: str) -> list[StoredObject]:
    """What BUCKET has under the prefix, in the order of the keys."""
    return [stored async for stored in env.BUCKET.list(prefix)]


@step("archive.digest")
async def digest(env: Env, key: str) -> Digest | None:
    """SHA-256 and size of the bytes as they lie there, read as a stream; None when they are gone."""
    hashed, size, block = hashlib.sha256(), 0, bytearray()
    try:
        async for chunk in env.BUCKET.stream(key):
            size += len(chunk)
            block += chunk
            if len(block) >= BLOCK:
                await asyncio.to_thread(hashed.update, bytes(block))
                block.clear()
    except NotFound:
        return None
    await asyncio.to_thread(hashed.update, bytes(block))
    return Digest(hashed.hexdigest(), size)
