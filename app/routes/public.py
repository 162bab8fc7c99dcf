"""What anyone may read: published artifacts, and the files of `templates/public/`.

A page is streamed from BUCKET under its own policy. Each 200 and 304 GET is one view, told to the queue before the
first byte; whatever becomes of that, the page is shown.
"""

import contextlib
import hashlib
import mimetypes
from collections.abc import AsyncIterator
from typing import Any

from litestar import HttpMethod, Request, Response, get, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from app.security import visitor
from app.settings import Settings
from tools import artifacts, views
from tools.env import Env
from tools.errors import NotFound, Uncertain
from tools.rows import ArtifactRow, now_ms

FRESH = "public, max-age=60, must-revalidate"
SEALED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
"""The policy of an output that loads nothing."""
READING = [HttpMethod.GET, HttpMethod.HEAD]


@route("/public/artifact/{slug:str}", http_method=READING, opt={"access": "open"}, status_code=200, tags=["public"])
async def read_artifact(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """The published version of any artifact."""
    return await _read(slug, request, env, settings, None)


@route("/public/lookbook/{slug:str}", http_method=READING, opt={"access": "open"}, status_code=200, tags=["public"])
async def read_lookbook(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """The same page, for lookbooks alone."""
    return await _read(slug, request, env, settings, "lookbook")


@get("/assets/{path:path}", opt={"access": "open"}, tags=["public"])
async def read_asset(
    path: FromPath[str], request: Request[Any, Any, Any], env: NamedDependency[Env]
) -> Response[bytes]:
    """A file of `templates/public/`."""
    data = env.ASSETS.read(f"public{path}")
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=3600", "Cross-Origin-Resource-Policy": "cross-origin"}
    if is_known(request.headers.get("if-none-match", ""), tag):
        return Response(b"", status_code=304, headers=headers)
    media = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Response(data, headers=headers, media_type=media)


handlers: list[Any] = [read_artifact, read_lookbook, read_asset]


async def _read(
    slug: str, request: Request[Any, Any, Any], env: Env, settings: Settings, only: str | None
) -> Response[Any]:
    artifact = await artifacts.by_slug(env, slug)
    if artifact is None or (only is not None and artifact.generator_id != only):
        raise NotFound("there is no such page")
    tag = f'"{artifact.content_sha256}"'
    headers = {
        "ETag": tag,
        "Cache-Control": FRESH,
        "Content-Type": artifact.content_type or "application/octet-stream",
        "Content-Security-Policy": artifact.content_policy or SEALED,
    }
    known = is_known(request.headers.get("if-none-match", ""), tag)
    if request.method == HttpMethod.HEAD:
        return await _headed(env, artifact, known, headers)
    chunks = None if known else await _opened(env, artifact)
    await _count(request, env, settings, artifact)
    return Stream(chunks, headers=headers) if chunks else Response(None, status_code=304, headers=headers)


async def _headed(env: Env, artifact: ArtifactRow, known: bool, headers: dict[str, str]) -> Response[None]:
    assert artifact.content_r2_key is not None
    if (stored := await env.BUCKET.head(artifact.content_r2_key)) is None:
        raise NotFound("there is no such page")
    length = {} if known else {"Content-Length": str(stored.size)}
    return Response(None, status_code=304 if known else 200, headers={**headers, **length})


async def _count(request: Request[Any, Any, Any], env: Env, settings: Settings, artifact: ArtifactRow) -> None:
    who = visitor(request.scope, settings)
    ip = views.kept_ip(who.ip, settings.view_ip, settings.api_key, now_ms())
    told = views.View(artifact.id, ip, who.country, who.city, who.user_agent)
    with contextlib.suppress(Uncertain):
        await views.enqueue(env, views.message(told))


async def _opened(env: Env, artifact: ArtifactRow) -> AsyncIterator[bytes]:
    """The content, its first chunk already here, so that what is missing is told by the status."""
    assert artifact.content_r2_key is not None
    chunks = env.BUCKET.stream(artifact.content_r2_key)
    first = await anext(chunks, b"")

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_it()


def is_known(if_none_match: str, tag: str) -> bool:
    """Whether the client says that it has this version (weak comparison, RFC 9110 §13.1.2)."""
    return any(named.strip().removeprefix("W/") in (tag, "*") for named in if_none_match.split(","))
