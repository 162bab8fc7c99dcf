"""Originals as they were bought, uploaded or fetched, for those who have the key: also bytes that cannot be shown."""

import contextlib
import hashlib
import mimetypes
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from litestar import HttpMethod, Request, Response, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from app.http.conditional import NOT_CACHED, SEALED, cut, part_headers, requested_span
from app.http.errors import WrongRange
from tools import db
from tools.env import Env
from tools.errors import NotFound
from tools.ledger import jobs
from tools.media.signatures import mime_of

READING = [HttpMethod.GET, HttpMethod.HEAD]
UNKNOWN = "application/octet-stream"
ENDINGS = {"image/jp2": ".jp2", "image/x-tga": ".tga", "image/jxl": ".jxl"}
"""Of the file names of types that not every system has in its list."""


@route("/api/progressions/{progression_id:str}/original", http_method=READING, status_code=200, tags=["progressions"])
async def read_original(
    progression_id: FromPath[str], request: Request[Any, Any, Any], env: NamedDependency[Env]
) -> Response[Any]:
    """The image as it was bought, byte for byte, as a file to save."""
    row = await db.get_progression(env, progression_id)
    return await _original(request, env, row.original_image_r2_key, row.id)


@route("/api/jobs/{job_id:str}/items/{item_id:str}/original", http_method=READING, status_code=200, tags=["jobs"])
async def read_item_original(
    job_id: FromPath[str], item_id: FromPath[str], request: Request[Any, Any, Any], env: NamedDependency[Env]
) -> Response[Any]:
    """What was bought for an item (`originalR2Key`), byte for byte, also where it could not be shown as an image."""
    await jobs.get(env, job_id)
    item = next((item for item in await jobs.items(env, job_id) if item.id == item_id), None)
    if item is None:
        raise NotFound("this job has no such item")
    if item.original_r2_key is None:
        raise NotFound("nothing was bought for this item, or it has not arrived")
    return await _original(request, env, item.original_r2_key, item.id)


async def _original(request: Request[Any, Any, Any], env: Env, key: str, name: str) -> Response[Any]:
    """The object, typed by its first bytes. Fails: NotFound."""
    if (stored := await env.BUCKET.head(key)) is None:
        raise NotFound("the original is gone")
    chunks = cast(AsyncGenerator[bytes, None], env.BUCKET.stream(key))
    first = await anext(chunks, b"")
    mime = mime_of(first) or UNKNOWN
    ending = mimetypes.guess_extension(mime) or ENDINGS.get(mime, ".bin")
    headers = {
        "Content-Type": mime,
        # What is stored under a key never changes.
        "ETag": f'"{hashlib.sha256(f"{key}/{stored.size}".encode()).hexdigest()}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{name}{ending}"',
        # Nobody has checked these bytes: a browser must not show them as a page.
        "Content-Security-Policy": SEALED,
        "Cache-Control": NOT_CACHED,
    }
    length = {"Content-Length": str(stored.size)}
    try:
        span = requested_span(request, stored.size, headers["ETag"])
    except WrongRange:
        await chunks.aclose()
        raise
    if request.method == HttpMethod.HEAD:
        await chunks.aclose()
        return Response(b"", status_code=200, headers=headers | length)

    async def whole() -> AsyncIterator[bytes]:
        async with contextlib.aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    if span is not None:
        return Stream(cut(whole(), *span), status_code=206, headers=headers | part_headers(span, stored.size))
    return Stream(whole(), status_code=200, headers=headers | length)


handlers = [read_original, read_item_original]
