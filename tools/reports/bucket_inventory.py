"""The objects of a project in BUCKET: those that rows name, those that exist, and their hashes."""

import asyncio
import hashlib
from typing import Any

import msgspec

from tools.env import Env, StoredObject
from tools.errors import NotFound
from tools.publishing.artifacts import Manifest, version_folder
from tools.rows import ArtifactRow, InputImages, Upload
from tools.step import step

BLOCK = 1 << 20
"""How many bytes are hashed at once, in a thread."""
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
    """An object that a row (`table/id`) names, and what the row says about its bytes; None where it says nothing."""

    key: str
    row: str
    sha256: str | None = None
    size: int | None = None
    content_type: str | None = None


class Digest(msgspec.Struct, frozen=True):
    """SHA-256 (hex) and size in bytes of an object."""

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
    """The part of an attempt's result that is there once its bytes were found to be an image."""

    mime: str | None = None
    size: int | None = None


@step("archive.claims")
async def named_by_rows(env: Env, project_id: str) -> list[NamedObject]:
    """The objects that the rows of the project's jobs, image versions and uploads name."""
    named: list[NamedObject] = []
    for item in await env.DB.all(BOUGHT, _Bought, project_id=project_id):
        facts = msgspec.convert(item.result or {}, _Facts)
        named.append(NamedObject(item.r2_key, f"job_items/{item.id}", item.sha256, facts.size, facts.mime))
    for job in await env.DB.all(INGESTED, _Ingested, project_id=project_id):
        for image in filter(None, (job.inputs.start, job.inputs.mask, *job.inputs.references)):
            named.append(NamedObject(image.r2_key, f"jobs/{job.id}", image.sha256, image.size, image.mime))
    for version in await env.DB.all(SHOWN, _Shown, project_id=project_id):
        row = f"{VERSIONS}/{version.id}"
        named.append(NamedObject(version.r2_key, row, version.sha256))
        if version.start_image_r2_key:
            named.append(NamedObject(version.start_image_r2_key, row))
    for upload in await env.DB.all(UPLOADED, Upload, project_id=project_id):
        named.append(NamedObject(upload.r2_key, f"uploads/{upload.sha256}", upload.sha256, upload.size, upload.mime))
    return named


@step("archive.published")
async def published(env: Env, project_id: str) -> list[ArtifactRow]:
    """The project's artifacts that have a version, oldest first."""
    return await env.DB.all(PUBLISHED, ArtifactRow, project_id=project_id)


@step("archive.content_claims")
async def named_by_artifact(env: Env, artifact: ArtifactRow) -> list[NamedObject]:
    """The objects that an artifact's row and the manifests of its versions name.

    A manifest that does not exist or cannot be read names nothing.
    """
    row, current = f"artifacts/{artifact.id}", f"{version_folder(artifact.id, artifact.version)}/manifest.json"
    found = [
        NamedObject(str(artifact.content_r2_key), row, artifact.content_sha256, None, artifact.content_type),
        NamedObject(current, row, None, None, "application/json"),
    ]
    for version in range(1, artifact.version + 1):
        folder = version_folder(artifact.id, version)
        try:
            manifest = msgspec.json.decode(await env.BUCKET.get(f"{folder}/manifest.json"), type=Manifest)
        except (NotFound, msgspec.MsgspecError):
            continue
        found.append(NamedObject(f"{folder}/manifest.json", row, None, None, "application/json"))
        found += [
            NamedObject(f"{folder}/{file.name}", row, file.sha256, file.size, file.content_type)
            for file in manifest.files
        ]
    return found


@step("archive.listed")
async def listed(env: Env, prefix: str) -> list[StoredObject]:
    """The objects in BUCKET under the prefix, in key order."""
    return [stored async for stored in env.BUCKET.list(prefix)]


@step("archive.digest")
async def digest(env: Env, key: str) -> Digest | None:
    """SHA-256 and size of the object's bytes, read as a stream; None when there is no object."""
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
