"""The console: the owner's page at `/`, the files it loads, and its session. It uses the same API as everybody.

Other clients get an index of the API at `/`.
"""

import functools
import hashlib
from pathlib import PurePosixPath
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.http import console_session
from app.http.conditional import is_known
from app.http.console_session import COOKIE
from app.http.errors import Unauthorized, wants_html
from app.http.schemas import Body
from app.http.security import CONSOLE_HEADER, check_console_page, client_address, header_values, is_key, limit_key
from app.http.security import is_signed_in as has_session
from app.settings import Settings
from tools.env import Env
from tools.errors import Forbidden, NotFound, RateLimited
from tools.publishing.addresses import CLOUDFLARE

FOLDER = "console"
MEDIA = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""The kinds of files that the page loads; no other file of the folder is served."""
CHECKED = "no-cache"
"""Caches keep the files and ask each time whether they still hold, so that no new file meets an old one."""
SIGN_INS_PER_MINUTE, SIGN_IN_BURST = 30, 30


class Index(msgspec.Struct, frozen=True):
    """Where things are, for programs that ask at `/`; `version` is the API's, `{…}` in the paths stand for ids."""

    name: str
    version: str
    docs: str
    schema: str
    routes: dict[str, str]


INDEX = Index(
    "picasso",
    "1",
    "/docs",
    "/schema",
    {
        "projects": "/api/projects",
        "jobs": "/api/jobs",
        "images": "/api/projects/{projectId}/progressions",
        "events": "/api/stream/{sessionId}",
        "providers": "/api/providers",
        "models": "/api/models",
        "generators": "/api/generators",
        "artifacts": "/api/artifacts",
        "templates": "/api/templates",
        "health": "/healthz",
    },
)


class SignIn(Body, frozen=True):
    """The API key, or the token of the link that a start on this machine prints."""

    examples = [{"key": "the API key"}]
    key: str | None = None
    token: str | None = None


class Session(msgspec.Struct, frozen=True, rename="camel"):
    """Whether the browser that asks is signed in."""

    signed_in: bool


class Link(msgspec.Struct, frozen=True, rename="camel"):
    """An address that signs in to the console, once, until `expiresAt` (UTC milliseconds)."""

    url: str
    expires_at: int


@get("/", opt={"access": "open"}, include_in_schema=False)
async def show_console(
    request: Request[Any, Any, Any], env: NamedDependency[Env], settings: NamedDependency[Settings]
) -> Response[Any]:
    """The console for a browser, the index of the API for others."""
    if not wants_html(request.headers.get("accept", "")):
        return Response(INDEX, headers={"Vary": "Accept"}, media_type="application/json")
    page = _file(request, env, "index.html", "text/html")
    page.headers |= {"Content-Security-Policy": policy(settings), "Vary": "Accept"}
    return page


@get("/console/{path:path}", opt={"access": "open"}, include_in_schema=False)
async def read_file(path: FromPath[str], request: Request[Any, Any, Any], env: NamedDependency[Env]) -> Response[bytes]:
    """A script, style or picture of the console."""
    if (media := MEDIA.get(PurePosixPath(path).suffix)) is None:
        raise NotFound("there is nothing at this path")
    return _file(request, env, path.removeprefix("/"), media)


@get("/console/session", opt={"access": "open"}, include_in_schema=False)
async def show_session(request: Request[Any, Any, Any]) -> Session:
    """Whether the browser is signed in."""
    return Session(await has_session(request))


@post("/console/session", status_code=200, opt={"access": "open"}, include_in_schema=False)
async def sign_in(
    request: Request[Any, Any, Any],
    data: JSONBody[SignIn],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Session]:
    """Exchange the key, or the link's token, for a session cookie.

    Effect: a session in Redis; the token is used up. One of the caller's sign-ins a minute less.
    """
    if header_values(request.scope, CONSOLE_HEADER) != ["1"]:
        raise Forbidden("only the console's own page may sign in", code="not_the_console")
    check_console_page(request.scope, settings)
    address = client_address(request.scope, settings)
    bucket = f"console:{limit_key(address)}"
    wait = await env.PICASSO_WORKFLOW.take(bucket, capacity=SIGN_IN_BURST, per_minute=SIGN_INS_PER_MINUTE)
    if wait > 0:
        raise RateLimited("too many tries to sign in from this address; wait a moment", retry_after=wait)
    if data.key is not None:
        is_known_caller = is_key(data.key, settings)
    else:
        # The link that a start prints is for the person at this machine.
        here = address is None or address.is_loopback
        is_known_caller = await console_session.take_token(env, settings, data.token or "", here=here)
    if not is_known_caller:
        raise Unauthorized("this key is not the right one" if data.key is not None else "this link was used already")
    return _with_cookie(await console_session.open_session(env, settings), Session(True))


@post("/console/link", status_code=200, include_in_schema=False)
async def make_link(env: NamedDependency[Env], settings: NamedDependency[Settings]) -> Link:
    """A link that signs a browser in, once, within ten minutes; `picasso open` asks for it."""
    url, expires_at = await console_session.make_link(env, settings)
    return Link(url, expires_at)


@delete("/console/session", status_code=200, opt={"access": "open"}, include_in_schema=False)
async def sign_out(
    request: Request[Any, Any, Any], env: NamedDependency[Env], settings: NamedDependency[Settings]
) -> Response[Session]:
    """End the session. Effect: its cookie is worth nothing any more, wherever it was copied to."""
    check_console_page(request.scope, settings)
    return _with_cookie(
        await console_session.close_session(env, settings, request.cookies.get(COOKIE, "")), Session(False)
    )


handlers: list[Any] = [show_console, read_file, show_session, sign_in, make_link, sign_out]


def policy(settings: Settings) -> str:
    """The page's Content-Security-Policy: everything from here, images also from where they are delivered."""
    delivery = "" if settings.delivery_url is None else f" {CLOUDFLARE}"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:{delivery}; "
        "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _file(request: Request[Any, Any, Any], env: Env, name: str, media: str) -> Response[bytes]:
    data = env.ASSETS.read(f"{FOLDER}/{name}")
    headers = {"ETag": _tag(data), "Cache-Control": CHECKED}
    if is_known(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(b"", status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=media)


@functools.lru_cache(maxsize=256)
def _tag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'


def _with_cookie(cookie: str, session: Session) -> Response[Session]:
    return Response(session, headers={"Set-Cookie": cookie})
