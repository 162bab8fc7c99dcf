"""Public pages: published artifacts with their files and versions, and the files of `templates/public/`.

A page is streamed from BUCKET with its own Content-Security-Policy. Each GET with 200 or 304 is one view, which is
queued before the first byte; if queueing fails, the page is sent all the same. Pages behind a link with conditions are
never cached. On a page behind a share link, that link replaces the main one, which might outlive it.
"""

import hashlib
import mimetypes
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Any

from litestar import HttpMethod, Request, Response, get, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.http.conditional import Content, respond, respond_bytes
from app.http.public_access import admit_reader, take_view
from app.settings import Settings
from tools.env import Env
from tools.errors import NotFound
from tools.publishing import artifacts
from tools.publishing.addresses import Place
from tools.publishing.shares import Admission

NAMED = (".pdf", ".mp4", ".glb", ".csv")
"""Suffixes of files that browsers save, which would otherwise get the slug as their name."""
READING = [HttpMethod.GET, HttpMethod.HEAD]


@route("/public/artifact/{slug:str}", http_method=READING, opt={"access": "open"}, status_code=200, tags=["public"])
async def read_artifact(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """The published version of any artifact."""
    return await _read_index(slug, request, env, settings)


@route("/public/lookbook/{slug:str}", http_method=READING, opt={"access": "open"}, status_code=200, tags=["public"])
async def read_lookbook(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """The published version of a lookbook; 404 for other artifacts."""
    return await _read_index(slug, request, env, settings, only="lookbook")


@route(
    "/public/artifact/{slug:str}/versions/{version:int}",
    http_method=READING,
    opt={"access": "open"},
    status_code=200,
    tags=["public"],
)
async def read_version(
    slug: FromPath[str],
    version: FromPath[int],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """One version. Only the main link leads to versions; share links show what is published now. The console shows it
    beside the form that changes it, so it may stand in a frame of its own origin."""
    return await _read_index(slug, request, env, settings, version=version)


@route(
    "/public/artifact/{slug:str}/files/{name:str}",
    http_method=READING,
    opt={"access": "open"},
    status_code=200,
    tags=["public"],
)
async def read_file(
    slug: FromPath[str],
    name: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """A file beside the published page."""
    return await _read_file(slug, name, request, env, settings)


@route(
    "/public/artifact/{slug:str}/versions/{version:int}/files/{name:str}",
    http_method=READING,
    opt={"access": "open"},
    status_code=200,
    tags=["public"],
)
async def read_version_file(
    slug: FromPath[str],
    version: FromPath[int],
    name: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """A file beside an earlier version."""
    return await _read_file(slug, name, request, env, settings, version=version)


@get("/assets/{path:path}", opt={"access": "open"}, tags=["public"])
async def read_asset(
    path: FromPath[str], request: Request[Any, Any, Any], env: NamedDependency[Env]
) -> Response[bytes]:
    """A file of `templates/public/`."""
    data = env.ASSETS.read(f"public{path}")
    headers = {
        "Content-Type": mimetypes.guess_type(path)[0] or "application/octet-stream",
        "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
        "Cache-Control": "public, max-age=3600",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return respond_bytes(request, data, headers)


handlers: list[Any] = [read_artifact, read_lookbook, read_version, read_file, read_version_file, read_asset]


async def _read_index(
    slug: str,
    request: Request[Any, Any, Any],
    env: Env,
    settings: Settings,
    *,
    only: str | None = None,
    version: int | None = None,
) -> Response[Any]:
    admission = await admit_reader(request, env, settings, slug)
    artifact = admission.artifact
    if only is not None and artifact.generator_id != only:
        raise NotFound("there is no such page")
    chosen = await _version(env, admission, slug, version)
    suffix = PurePosixPath(chosen.content_r2_key).suffix
    content = Content(
        key=chosen.content_r2_key,
        content_type=chosen.content_type,
        sha256=chosen.content_sha256,
        policy=chosen.content_policy if version is None else _framed(chosen.content_policy),
        name=file_name(chosen.title, f"{artifact.generator_id}{suffix}") if suffix in NAMED else None,
        place=Place(slug=artifact.public_slug, link=slug, version=version),
    )

    async def count_view() -> None:
        if version is None or admission.is_counted:
            await take_view(request, env, settings, admission)

    cached, partial = admission.share is None, not admission.is_counted
    return await respond(request, env, content, cached=cached, partial=partial, before=count_view)


async def _read_file(
    slug: str, name: str, request: Request[Any, Any, Any], env: Env, settings: Settings, *, version: int | None = None
) -> Response[Any]:
    admission = await admit_reader(request, env, settings, slug, beside=True)
    artifact = admission.artifact
    chosen = await _version(env, admission, slug, version)
    file = await artifacts.find_file(env, artifact.id, chosen.version, name)
    content = Content(
        key=f"{artifacts.version_folder(artifact.id, chosen.version)}/{file.name}",
        content_type=file.content_type,
        sha256=file.sha256,
        policy=file.policy,
        size=file.size,
        name=file.name,
        place=Place(slug=artifact.public_slug, link=slug, version=version, is_file=True),
    )

    async def count_nothing() -> None:
        """A file beside a page is no view."""

    return await respond(request, env, content, cached=admission.share is None, partial=True, before=count_nothing)


def file_name(title: str, otherwise: str) -> str:
    """The name under which a reader saves the file: the artifact's title with the suffix of `otherwise`, which is the
    name where the title has no plain letter or digit."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Za-z0-9]+", plain)
    return f"{'-'.join(words)[:80].rstrip('-')}{PurePosixPath(otherwise).suffix}" if words else otherwise


async def _version(env: Env, admission: Admission, slug: str, version: int | None) -> artifacts.Version:
    """The requested version, or the published one."""
    artifact = admission.artifact
    if version is None:
        return artifacts.published(artifact)
    if slug != artifact.public_slug:
        raise NotFound("there is no such page")
    return await artifacts.get_version(env, artifact.id, version)


def _framed(policy: str | None) -> str | None:
    """The policy of a sandboxed page, except that pages of its own origin may frame it."""
    if policy is None or "sandbox" not in policy:
        return policy
    return policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
