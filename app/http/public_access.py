"""Access to public pages: readers, by the link they came by, and guests, who write on a page's board.

A guest is a signed cookie, created when somebody writes for the first time; readers get none. The signature keeps
cookies from being invented faster than NEW_GUESTS allows, and the database stores only a hash of the cookie.
"""

import contextlib
import hmac
import re
import secrets
from typing import Any, NamedTuple

from litestar import Request
from litestar.datastructures import Cookie

from app.http.hosts import base_path
from app.http.security import client_address, limit_key, own_origin, visitor
from app.settings import Settings
from tools.env import Env
from tools.errors import Forbidden, RateLimited, Uncertain
from tools.publishing import boards, shares, views
from tools.publishing.shares import Admission
from tools.rows import now_ms

COOKIE = "picasso_guest"
COOKIE_DAYS = 180
COOKIE_SHAPE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{32})")
PASS = "picasso_pass"  # noqa: S105 - the name of a cookie


async def admit_reader(
    request: Request[Any, Any, Any], env: Env, settings: Settings, slug: str, *, beside: bool = False
) -> Admission:
    """The artifact behind a public slug and the link's conditions; `beside` is for the files of its page.

    Fails: NotFound · Gone · Locked (a password is needed) · Forbidden, for a crawler on a link with limited views.
    """
    passes = [request.cookies[PASS]] if PASS in request.cookies else []
    admission = await shares.admit(env, slug, passes=passes, secret=settings.api_key, beside=beside)
    if admission.is_counted and views.is_crawler(visitor(request.scope, settings).user_agent):
        raise Forbidden("this link has a limited number of views and is not for crawlers", code="for_people")
    return admission


async def take_view(request: Request[Any, Any, Any], env: Env, settings: Settings, admission: Admission) -> None:
    """Count one view of a public page.

    Effect: one view less on a link that limits them; then a message in the queue of views.
    Fails: Gone, when another reader took the last view.
    """
    if admission.share is not None and admission.is_counted:
        await shares.consume(env, admission.share)
    who = visitor(request.scope, settings)
    ip = views.kept_ip(who.ip, settings.view_ip, settings.api_key, now_ms())
    view = views.View(admission.artifact.id, ip, who.country, who.city, who.user_agent)
    with contextlib.suppress(Uncertain):
        await views.enqueue(env, views.message(view))


def pass_cookie(page: str, value: str, seconds: int, settings: Settings) -> str:
    """The Set-Cookie value that lets a browser open a page again without its password, for so many seconds."""
    secure = "; Secure" if settings.public_url.startswith("https://") else ""
    return f"{PASS}={value}; Path={page}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


class Rate(NamedTuple):
    """A token bucket: how many tokens it holds, and how many a minute are added."""

    name: str
    capacity: int
    per_minute: int


NEW_GUESTS = Rate("guests", 60, 12)
WRITES_OF_ADDRESS = Rate("address", 300, 150)
WRITES_OF_GUEST = Rate("guest", 60, 60)


class Guest(NamedTuple):
    """Somebody who writes on a board: their id on this board, and the cookie to set if they are new."""

    id: str
    cookie: Cookie | None


async def admit_guest(request: Request[Any, Any, Any], env: Env, settings: Settings, artifact_id: str) -> Guest:
    """The guest who wants to write on the artifact's board.

    Effect: one token less in the buckets of the guest and of the address.
    Fails: Forbidden for a page of another origin · RateLimited · Unavailable when Redis does not answer.
    """
    if not own_origin(request.scope, settings):
        raise Forbidden("pages of this origin may not write here")
    address = limit_key(client_address(request.scope, settings))
    await take(env, WRITES_OF_ADDRESS, address)
    token, cookie = guest_token(request, settings), None
    if token is None:
        await take(env, NEW_GUESTS, address)
        token = secrets.token_urlsafe(16)
        cookie = Cookie(
            key=COOKIE,
            value=f"{token}.{_signature(token, settings)}",
            path=f"{base_path(settings)}/public/artifact",
            max_age=COOKIE_DAYS * 86_400,
            httponly=True,
            samesite="lax",
            secure=settings.public_url.startswith("https://"),
        )
    guest = Guest(boards.guest_of(artifact_id, token), cookie)
    await take(env, WRITES_OF_GUEST, guest.id)
    return guest


def guest_token(request: Request[Any, Any, Any], settings: Settings) -> str | None:
    """The 128 random bits of the caller's guest cookie; None without a cookie that was signed here."""
    shape = COOKIE_SHAPE.fullmatch(request.cookies.get(COOKIE, ""))
    if shape is None or not hmac.compare_digest(shape[2], _signature(shape[1], settings)):
        return None
    return shape[1]


def _signature(token: str, settings: Settings) -> str:
    # With another API key all guests are new: what they wrote stays, and they may write it again.
    key = settings.api_key or secrets.token_hex()
    return hmac.digest(key.encode(), f"guest/{token}".encode(), "sha256").hex()[:32]


async def take(env: Env, rate: Rate, whose: str) -> None:
    """Take one token from a bucket in Redis.

    Fails: RateLimited with the seconds to wait · Unavailable when Redis does not answer.
    """
    bucket = f"board-{rate.name}:{whose}"
    wait = await env.PICASSO_WORKFLOW.take(bucket, capacity=rate.capacity, per_minute=rate.per_minute)
    if wait > 0:
        raise RateLimited("too many requests; wait a moment", retry_after=wait)
