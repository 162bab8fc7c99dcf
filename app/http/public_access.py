"""Readers of public pages: who is let in, and what is told of a reading."""

import contextlib
from typing import Any

from litestar import Request

from app.http.security import visitor
from app.settings import Settings
from tools.env import Env
from tools.errors import Forbidden, Uncertain
from tools.publishing import shares, views
from tools.publishing.shares import Admission
from tools.rows import now_ms

PASS = "picasso_pass"  # noqa: S105 - the name of a cookie


async def admit_reader(
    request: Request[Any, Any, Any], env: Env, settings: Settings, slug: str, *, beside: bool = False
) -> Admission:
    """The artifact behind a public slug, for whoever asks; `beside` is for files of its page.

    Fails: NotFound · Gone · Locked · Forbidden, when a crawler would use up a view that was meant for a person.
    """
    passes = [request.cookies[PASS]] if PASS in request.cookies else []
    admission = await shares.admit(env, slug, passes=passes, secret=settings.api_key, beside=beside)
    if admission.is_counted and views.is_crawler(visitor(request.scope, settings).user_agent):
        raise Forbidden("this link is for people", code="for_people")
    return admission


async def take_view(request: Request[Any, Any, Any], env: Env, settings: Settings, admission: Admission) -> None:
    """Effect: one of the link's views is taken where they are limited; then the reading is told to the queue.

    Fails: Gone, when another reader took the last one.
    """
    if admission.share is not None and admission.is_counted:
        await shares.consume(env, admission.share)
    who = visitor(request.scope, settings)
    ip = views.kept_ip(who.ip, settings.view_ip, settings.api_key, now_ms())
    told = views.View(admission.artifact.id, ip, who.country, who.city, who.user_agent)
    with contextlib.suppress(Uncertain):
        await views.enqueue(env, views.message(told))


def pass_cookie(page: str, value: str, seconds: int, settings: Settings) -> str:
    """What a browser keeps to open a page again without its password."""
    secure = "; Secure" if settings.public_url.startswith("https://") else ""
    return f"{PASS}={value}; Path={page}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
