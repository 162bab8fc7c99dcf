"""Bytes of BUCKET as answers: whole, in part, or not once more (RFC 9110, sections 13 and 14)."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from litestar import HttpMethod, Request, Response
from litestar.response import Stream

from app.http.errors import WrongRange
from tools.env import Env
from tools.errors import NotFound

FRESH, NEVER_KEPT = "public, max-age=60, must-revalidate", "private, no-store"
REST = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
SEALED = f"default-src 'none'; {REST}"
"""The policy of an output that loads nothing."""
PLAYED = f"default-src 'none'; media-src 'self'; {REST} allow-same-origin"
"""That of a film: a browser that goes there makes a page around it, which asks for the film once more."""
SAVED = (".csv", ".json", ".py")
"""Files that a browser saves instead of showing them."""
TIMED = ("video/", "audio/")
EMBEDDED = (*TIMED, "image/", "model/")
"""Types that a page in its sandbox may load, which counts as another origin there."""
WRITTEN = ("text/", "application/json", "image/svg+xml")
"""Types in which a link is plain text."""
RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be read. `size` is in bytes, where it is known without asking BUCKET; `name` is that of a file;
    `relinked` are pieces of the content's own links, each with what stands there instead."""

    key: str
    content_type: str
    sha256: str
    policy: str | None
    size: int | None = None
    name: str | None = None
    relinked: tuple[tuple[str, str], ...] = ()

    @property
    def is_rewritten(self) -> bool:
        return self.relinked != () and self.content_type.startswith(WRITTEN)


async def answer(
    request: Request[Any, Any, Any],
    env: Env,
    content: Content,
    *,
    cached: bool,
    partial: bool,
    before: Callable[[], Awaitable[None]],
) -> Response[Any]:
    """The content under its policy. `before` is awaited before a whole content, or the word that it is unchanged, goes
    out; `cached` and `partial` say whether it may be kept, and whether a part of it may be asked for.

    Fails: NotFound when the bytes are gone · WrongRange.
    """
    headers = _headers(content, cached, partial)
    known = cached and is_known(request.headers.get("if-none-match", ""), headers["ETag"])
    if request.method == HttpMethod.HEAD:
        length = {"Content-Length": str(await _size(env, content))}
        return Response(None, status_code=304 if known else 200, headers=headers if known else headers | length)
    if known:
        await before()
        return Response(None, status_code=304, headers=headers)
    if partial and (span := await _span(request, env, content, headers.get("ETag"))) is not None:
        return await _part(env, content, headers, *span)
    opened = await _opened(_chunks(env, content))
    await before()
    return _response(opened, 200, headers)


def _headers(content: Content, cached: bool, partial: bool) -> dict[str, str]:
    headers = {
        "Cache-Control": FRESH if cached else NEVER_KEPT,
        "Content-Type": content.content_type,
        "Content-Security-Policy": content.policy or (PLAYED if content.content_type.startswith(TIMED) else SEALED),
    }
    if cached:
        headers["ETag"] = f'"{content.sha256}"' if not content.is_rewritten else f'"{content.sha256}-earlier"'
    if partial:
        headers["Accept-Ranges"] = "bytes"
    if content.name is not None:
        how = "attachment" if content.name.endswith(SAVED) else "inline"
        headers["Content-Disposition"] = f'{how}; filename="{content.name}"'
    if content.content_type.startswith(EMBEDDED):
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return headers


async def _span(
    request: Request[Any, Any, Any], env: Env, content: Content, tag: str | None
) -> tuple[int, int, int] | None:
    """First byte, end and size of the part that is asked for; None where the whole is to be sent."""
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", tag) != tag:
        return None
    size = await _size(env, content)
    if asked[3] is not None:
        first, end = max(0, size - int(asked[3])), size
    else:
        first, end = int(asked[1]), min(size, int(asked[2]) + 1 if asked[2] else size)
    if asked[1] is not None and asked[2] and int(asked[2]) < int(asked[1]):
        return None
    if first >= size or first >= end:
        raise WrongRange(size)
    return first, end, size


async def _part(env: Env, content: Content, headers: dict[str, str], first: int, end: int, size: int) -> Response[Any]:
    told = {"Content-Range": f"bytes {first}-{end - 1}/{size}", "Content-Length": str(end - first)}
    return _response(await _opened(_cut(_chunks(env, content), first, end)), 206, headers | told)


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
    for own, instead in content.relinked:
        data = data.replace(own.encode(), instead.encode())
    return data


async def _cut(chunks: AsyncIterator[bytes], first: int, end: int) -> AsyncIterator[bytes]:
    at = 0
    async for chunk in chunks:
        if (piece := chunk[max(0, first - at) : max(0, end - at)]) != b"":
            yield piece
        at += len(chunk)
        if at >= end:
            return


async def _opened(chunks: AsyncIterator[bytes]) -> bytes | AsyncIterator[bytes]:
    """All of it where it is one chunk; else the chunks, the first ones already here. So what is missing is told by
    the status, and a page of ordinary size goes out in one piece, which costs half of what a stream does."""
    first, second = await anext(chunks, b""), await anext(chunks, None)
    if second is None:
        return first

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        yield second
        async for chunk in chunks:
            yield chunk

    return all_of_it()


def _response(opened: bytes | AsyncIterator[bytes], status: int, headers: dict[str, str]) -> Response[Any]:
    if isinstance(opened, bytes):
        return Response(opened, status_code=status, headers=headers)
    return Stream(opened, status_code=status, headers=headers)


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether the client says that it has this version (weak comparison, RFC 9110 §13.1.2)."""
    return any(named.strip().removeprefix("W/") in (tag, "*") for named in if_none_match.split(","))
