"""Originals, templates and pages in BUCKET. Originals are served to the key alone."""

import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator

from tools.env import Env
from tools.errors import NotFound, Unavailable
from tools.media.memory import in_hand
from tools.rows import Count, now_ms
from tools.step import step

log = logging.getLogger("picasso.r2")

ORPHAN_SECONDS = 3600
"""Age before an object without a row may be deleted: longer than any effect takes from its put to its row."""
TEMPLATE_KEY = re.compile(r"templates/[A-Za-z0-9_-]{1,100}/[0-9a-f]{64}\.html")

HAS_PROJECT = "SELECT COUNT(*) AS n FROM projects WHERE id = :id"
HAS_JOB = "SELECT COUNT(*) AS n FROM jobs WHERE id = :id AND project_id = :project_id"
HAS_UPLOAD = "SELECT COUNT(*) AS n FROM uploads WHERE project_id = :project_id AND sha256 = :id"
HAS_VERSION = "SELECT COUNT(*) AS n FROM artifacts WHERE id = :id AND version >= :version"
HAS_PROGRESSION = """
SELECT COUNT(*) AS n FROM image_progressions WHERE original_image_r2_key = :key OR start_image_r2_key = :key
"""

PROJECT_KEY = re.compile(r"project/([^/]+)/.+")
JOB_KEY = re.compile(r"project/([^/]+)/jobs/([^/]+)/orig/.+")
UPLOAD_KEY = re.compile(r"project/([^/]+)/uploads/([^/]+)")
ARTIFACT_KEY = re.compile(r"artifacts/([^/]+)/v([0-9]{1,9})/.+")


def original_key(project_id: str, job_id: str, item: str) -> str:
    """The key of a job's original. `item` is `{provider}-{variantIndex}`, or `start`, `mask`, … for its inputs."""
    return f"project/{project_id}/jobs/{job_id}/orig/{item}"


def upload_key(project_id: str, sha256: str) -> str:
    """The key of a project's uploaded image with this SHA-256 (hex)."""
    return f"project/{project_id}/uploads/{sha256}"


@step("r2.put_original")
async def put_original(env: Env, project_id: str, job_id: str, item: str, data: bytes, mime: str) -> str:
    """Store the bytes unchanged, once, and return their key.

    Effect: BUCKET put_once at `original_key`, read back and compared.
    Fails: Conflict (`write_once`) when other bytes are there · Unavailable when BUCKET does not answer, or
    returns other bytes than were put.
    """
    key = original_key(project_id, job_id, item)
    await put_exactly(env, key, data, mime)
    return key


@step("r2.get_original")
async def get_original(env: Env, key: str) -> bytes:
    """The bytes of an original or an input image.

    Fails: NotFound · Unavailable when BUCKET does not answer.
    """
    return await env.BUCKET.get(key)


@contextlib.asynccontextmanager
async def original_in_hand(env: Env, *keys: str) -> AsyncIterator[list[bytes]]:
    """The bytes of originals or input images, as soon as IMAGE_MEMORY has room for them.

    Fails: NotFound · Unavailable when BUCKET does not answer.
    """
    size = 0
    for key in keys:
        if (stored := await env.BUCKET.head(key)) is None:
            raise NotFound("no such object")
        size += stored.size
    async with in_hand(env, size):
        yield [await get_original(env, key) for key in keys]


async def put_exactly(env: Env, key: str, data: bytes, mime: str) -> None:
    """Store the bytes once and read them back, because a transport that flips a bit reports no error.

    Effect: BUCKET put_once, and put again when it returns other bytes.
    Fails: Conflict (`write_once`) · Unavailable (`bucket_damaged` when it returns other bytes again).
    """
    await env.BUCKET.put_once(key, data, content_type=mime)
    if await env.BUCKET.get(key) != data:
        # Not deleted first: this may be the only good copy of a bought image.
        await env.BUCKET.put(key, data, content_type=mime)
        if await env.BUCKET.get(key) != data:
            raise Unavailable("the bucket did not keep the bytes it was given", code="bucket_damaged")


def is_intact(data: bytes, sha256: str) -> bool:
    """Whether the bytes have this SHA-256 (hex)."""
    return hashlib.sha256(data).hexdigest() == sha256


@step("r2.put_html")
async def put_html(env: Env, key: str, html: str) -> str:
    """Store a page and return its key.

    Effect: BUCKET put; repeating it writes the same object again.
    """
    await env.BUCKET.put(key, html.encode(), content_type="text/html; charset=utf-8")
    return key


@step("r2.get_template")
async def get_template(env: Env, key: str) -> str:
    """The HTML of a template.

    Fails: NotFound when there is none, or the key is not one of a template.
    """
    if not TEMPLATE_KEY.fullmatch(key):
        raise NotFound("no such template")
    return (await env.BUCKET.get(key)).decode()


@step("r2.sweep", idle=True)
async def sweep(env: Env, older_than: float = ORPHAN_SECONDS) -> int:
    """Delete the objects that no row names and that are older than `older_than` seconds; return how many.

    Kept: everything of a job that exists (also bought originals of failed items), uploads with a row, what a
    progression names, the published and the earlier versions of an artifact, all templates, and every key of an
    unknown form. Nothing is deleted when BUCKET has objects of a project that DB does not know: then DB is not the
    database of this BUCKET, or was created anew, and a missing row proves nothing.

    Effect: BUCKET delete.
    """
    before = now_ms() - round(older_than * 1000)
    unnamed = [
        stored.key
        for prefix in ("project/", "artifacts/")
        async for stored in env.BUCKET.list(prefix)
        if stored.modified < before and not await _is_named(env, stored.key)
    ]
    projects = {match[1] for key in unnamed if (match := PROJECT_KEY.fullmatch(key))}
    if not all([await _exists(env, HAS_PROJECT, id=project) for project in projects]):
        log.warning("BUCKET has objects of projects that DB does not know: is it the right one? Nothing is deleted")
        return 0
    swept = 0
    for key in unnamed:
        # Between the listing and now the object may have been written again and got its row.
        found = await env.BUCKET.head(key)
        if found and found.modified < before and not await _is_named(env, key):
            await env.BUCKET.delete(key)
            swept += 1
    return swept


async def _is_named(env: Env, key: str) -> bool:
    """Whether a row needs the object; True also for keys of an unknown form."""
    if found := JOB_KEY.fullmatch(key):
        named = await _exists(env, HAS_JOB, project_id=found[1], id=found[2])
    elif found := UPLOAD_KEY.fullmatch(key):
        named = await _exists(env, HAS_UPLOAD, project_id=found[1], id=found[2])
    elif found := ARTIFACT_KEY.fullmatch(key):
        named = await _exists(env, HAS_VERSION, id=found[1], version=int(found[2]))
    else:
        return True
    return named or await _exists(env, HAS_PROGRESSION, key=key)


async def _exists(env: Env, sql: str, **params: str | int) -> bool:
    count = await env.DB.one(sql, Count, **params)
    return count is not None and count.n > 0
