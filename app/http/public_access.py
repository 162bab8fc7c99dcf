"""Access to public pages: which link a reader came by, and counting the view."""

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
