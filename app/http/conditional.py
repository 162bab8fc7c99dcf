"""Content as HTTP responses: ETag and 304, HEAD, and byte ranges (RFC 9110, sections 13 and 14)."""

import asyncio
import functools
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response
from litestar.response import Stream

from app.http.errors import WrongRange
from tools.env import Env
from tools.errors import NotFound
from tools.publishing.addresses import Place, policy_now, relinked

CACHED, NOT_CACHED = "public, max-age=60, must-revalidate", "private, no-store"
NO_FRAMES = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
SEALED = f"default-src 'none'; {NO_FRAMES}"
"""The Content-Security-Policy of content that loads nothing."""
PLAYED = f"default-src 'none'; media-src 'self'; {NO_FRAMES} allow-same-origin"
"""That of video and audio: a browser shows them in a page of its own, which requests the file again."""
SAVED = (".csv", ".json", ".py")
"""Files that a browser is to save instead of showing."""
TIMED = ("video/", "audio/")
EMBEDDED = (*TIMED, "image/", "model/")
"""Types that our sandboxed pages load; a sandbox counts as another origin."""
PAGE = "text/html"
LONG = 1 << 16
"""Contents of more bytes are relinked in a thread."""
RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Content to send. `size` in bytes if known without asking BUCKET; `name` is the file's name, if it is a file;
    `place` is where it is read from, on which its links of ours depend."""

    key: str
    content_type: str
    sha256: str
    policy: str | None
    size: int | None = None
    name: str | None = None
    place: Place

    @property
    def is_rewritten(self) -> bool:
        """Whether the content has links that depend on where it is read from."""
        return self.content_type.startswith(PAGE) or (self.place.is_file and self.content_type == "application/json")


async def respond(
    request: Request[Any, Any, Any],
    env: Env,
    content: Content,
    *,
    cached: bool,
    partial: bool,
    before: Callable[[], Awaitable[None]],
) -> Response[Any]:
    """The content as a 200, 206, 304 or the response to HEAD.

    `before` is awaited before a whole content or a 304 is sent, not before a part. `cached`: clients may cache it;
    `partial`: they may request a byte range.
    Fails: NotFound when the bytes are not in BUCKET · WrongRange.
    """
    headers = {
        "Cache-Control": CACHED if cached else NOT_CACHED,
        "Content-Type": content.content_type,
        "Content-Security-Policy": policy_now(
            env.settings, content.policy or (PLAYED if content.content_type.startswith(TIMED) else SEALED)
        ),
    }
    if cached:
        headers["ETag"] = f'"{content.sha256}{_linked_from(env, content) if content.is_rewritten else ""}"'
    if partial:
        headers["Accept-Ranges"] = "bytes"
    if content.name is not None:
        how = "attachment" if content.name.endswith(SAVED) else "inline"
        headers["Content-Disposition"] = f'{how}; filename="{content.name}"'
    if content.content_type.startswith(EMBEDDED):
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    known = cached and is_known(request.headers.get("if-none-match", ""), headers["ETag"])
    if request.method == HttpMethod.HEAD:
        length = {"Content-Length": str(await _size(env, content))}
        return Response(None, status_code=304 if known else 200, headers=headers if known else headers | length)
    if known:
        await before()
        return Response(None, status_code=304, headers=headers)
    if partial and "range" in request.headers:
        size = await _size(env, content)
        if (span := requested_span(request, size, headers.get("ETag"))) is not None:
            return await _send(cut(_chunks(env, content), *span), 206, headers | part_headers(span, size))
    return await _send(_chunks(env, content), 200, headers, before)


def respond_bytes(
    request: Request[Any, Any, Any], data: bytes, headers: Mapping[str, str], *, partial: bool = True
) -> Response[bytes]:
    """Bytes at hand as a 200, 206, 304 or the response to HEAD; `headers` have their type and their ETag.

    Fails: WrongRange.
    """
    tag = headers["ETag"]
    sent = {**headers, **({"Accept-Ranges": "bytes"} if partial else {})}
    if is_known(request.headers.get("if-none-match", ""), tag):
        return Response(b"", status_code=304, headers=sent)
    if request.method == HttpMethod.HEAD:
        return Response(b"", headers=sent | {"Content-Length": str(len(data))})
    if partial and (span := requested_span(request, len(data), tag)) is not None:
        return Response(data[slice(*span)], status_code=206, headers=sent | part_headers(span, len(data)))
    return Response(data, headers=sent)


def part_headers(span: tuple[int, int], size: int) -> dict[str, str]:
    """What a 206 says of its part."""
    first, end = span
    return {"Content-Range": f"bytes {first}-{end - 1}/{size}", "Content-Length": str(end - first)}


def requested_span(request: Request[Any, Any, Any], size: int, tag: str | None) -> tuple[int, int] | None:
    """First byte and end of the range that is asked for; None for the whole, also where what the client has is another
    version (If-Range).

    Fails: WrongRange when no byte of it exists.
    """
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.method != HttpMethod.GET or request.headers.get("if-range", tag) != tag:
        return None
    if asked[3] is not None:
        first, end = max(0, size - int(asked[3])), size
    else:
        first, end = int(asked[1]), min(size, int(asked[2]) + 1 if asked[2] else size)
        if asked[2] and int(asked[2]) < first:
            return None
    if first >= size or first >= end:
        raise WrongRange(size)
    return first, end


async def _size(env: Env, content: Content) -> int:
    if content.is_rewritten:
        return len(await _rewritten(env, content))
    if content.size is not None:
        return content.size
    if (stored := await env.BUCKET.head(content.key)) is None:
        raise NotFound("there is no such page")
    return stored.size


async def _chunks(env: Env, content: Content) -> AsyncIterator[bytes]:
    if content.is_rewritten:
        yield await _rewritten(env, content)
        return
    async for chunk in env.BUCKET.stream(content.key):
        yield chunk


async def _rewritten(env: Env, content: Content) -> bytes:
    data = await env.BUCKET.get(content.key)
    is_page = content.content_type.startswith(PAGE)
    relink = functools.partial(relinked, env.settings, data, content.place, is_page=is_page)
    return await asyncio.to_thread(relink) if len(data) > LONG else relink()


def _linked_from(env: Env, content: Content) -> str:
    """What tells apart the same content read from different places, or from a server at another address."""
    settings, place = env.settings, content.place
    read = f"{place.root} {place.page} {settings.public_url} {settings.delivery_url}"
    return f"-{hashlib.sha256(read.encode()).hexdigest()[:16]}"


async def cut(chunks: AsyncIterator[bytes], first: int, end: int) -> AsyncIterator[bytes]:
    """The bytes from `first` to before `end`."""
    at = 0
    async for chunk in chunks:
        if (piece := chunk[max(0, first - at) : max(0, end - at)]) != b"":
            yield piece
        at += len(chunk)
        if at >= end:
            return


async def _send(
    chunks: AsyncIterator[bytes],
    status: int,
    headers: dict[str, str],
    before: Callable[[], Awaitable[None]] | None = None,
) -> Response[Any]:
    """Two chunks are read first, so that missing content still gives an error status, and content of one chunk goes
    out in one piece, which costs half of what a stream does. Then `before` is awaited."""
    first, second = await anext(chunks, b""), await anext(chunks, None)
    if before is not None:
        await before()
    if second is None:
        return Response(first, status_code=status, headers=headers)

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        yield second
        async for chunk in chunks:
            yield chunk

    return Stream(all_chunks(), status_code=status, headers=headers)


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether If-None-Match names this version (weak comparison, RFC 9110 §13.1.2)."""
    return any(named.strip().removeprefix("W/") in (tag, "*") for named in if_none_match.split(","))
