"""Share links to an artifact and their conditions; and the form where visitors enter a password."""

import unicodedata
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qs

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from app.http.public_access import pass_cookie
from app.http.schemas import Body, Name
from app.http.security import limit_passwords
from app.settings import Settings
from tools.env import Env
from tools.errors import Invalid, Locked
from tools.pages import Page
from tools.publishing import artifacts, shares
from tools.publishing.shares import Conditions, Share
from tools.rows import now_ms

LONGEST_PASSWORD = 200


class LinkConditions(Body, frozen=True):
    """Conditions of a link; without any it is open to everyone. `expiresAt` in UTC milliseconds."""

    examples: ClassVar[list[dict[str, Any]]] = [{"password": "late harvest"}, {}]
    password: Annotated[str, Meta(min_length=4, max_length=LONGEST_PASSWORD)] | None = None
    expires_at: Annotated[int, Meta(ge=1, le=1 << 53)] | None = None
    max_views: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None


class NewShare(LinkConditions, frozen=True):
    """A share link to create; `label` is for its owner."""

    examples: ClassVar[list[dict[str, Any]]] = [{"label": "For the client", "password": "late harvest", "maxViews": 20}]
    label: Name | None = None


class ShareView(msgspec.Struct, frozen=True, rename="camel"):
    """A link. `shareId` is `main` for the artifact's main link; views are counted only when `maxViews` limits them."""

    share_id: str
    url: str
    label: str | None
    has_password: bool
    expires_at: int | None
    max_views: int | None
    views_left: int | None
    created_at: int


@get("/api/artifacts/{artifact_id:str}/shares", tags=["artifacts"])
async def list_shares(artifact_id: FromPath[str], env: NamedDependency[Env]) -> Page[ShareView]:
    """The open links to the artifact: the main one, then the share links."""
    row = await artifacts.get(env, artifact_id)
    return Page([_view(env, row.public_slug, share) for share in await shares.list_active(env, row)], None)


@post("/api/artifacts/{artifact_id:str}/shares", tags=["artifacts"])
async def make_share(
    artifact_id: FromPath[str], env: NamedDependency[Env], data: JSONBody[NewShare | None] = None
) -> ShareView:
    """Create a share link, which can be closed without closing the others."""
    wanted = data or NewShare()
    share = await shares.create(env, artifact_id, wanted.label, _conditions(wanted))
    return _view(env, "", share)


@put("/api/artifacts/{artifact_id:str}/shares/{share_id:str}", tags=["artifacts"])
async def set_conditions(
    artifact_id: FromPath[str], share_id: FromPath[str], data: JSONBody[LinkConditions], env: NamedDependency[Env]
) -> ShareView:
    """Replace the conditions of a link, and count its views anew; its address and label stay. `main` is the artifact's
    own link, which this opens again if it was closed; another link that was closed stays closed (410)."""
    share = await shares.set_conditions(env, artifact_id, share_id, _conditions(data))
    return _view(env, share.slug if share_id == shares.MAIN else "", share)


@delete("/api/artifacts/{artifact_id:str}/shares/{share_id:str}", tags=["artifacts"])
async def close_share(artifact_id: FromPath[str], share_id: FromPath[str], env: NamedDependency[Env]) -> None:
    """Close a link; it gives 410 from now on. `main`, the artifact's own link, opens again when its conditions are set;
    any other link is closed for good. The rest stay open."""
    await shares.close(env, artifact_id, share_id)


@post(
    "/public/artifact/{slug:str}/password",
    opt={"access": "open", "body": "form"},
    status_code=303,
    tags=["public"],
)
async def unlock(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[None]:
    """Enter the password of a page; redirects to it, with a cookie that opens it for twelve hours."""
    share = await shares.find(env, slug)
    try:
        given = parse_qs((await request.body()).decode(), max_num_fields=8, keep_blank_values=True).get("password", [])
    except ValueError:
        raise Invalid("the body must be a form in UTF-8", code="bad_form", status=400) from None
    if len(given) != 1 or not 0 < len(given[0]) <= LONGEST_PASSWORD:
        message = f"password: one value of 1 to {LONGEST_PASSWORD} characters"
        raise Invalid(message, code="bad_form", status=400)
    password = unicodedata.normalize("NFC", given[0]).strip()
    await limit_passwords(request, env, settings, slug)
    page = shares.page_path(env, share.slug)
    if settings.api_key is None or not await shares.unlock(share, password):
        raise Locked(
            "that is not the password of this page", code="wrong_password", detail={"unlock": f"{page}/password"}
        )
    value, seconds = shares.make_pass(share, settings.api_key)
    cookie = pass_cookie(page, value, seconds, settings)
    return Response(None, status_code=303, headers={"Location": page, "Set-Cookie": cookie})


handlers: list[Any] = [list_shares, make_share, set_conditions, close_share, unlock]


def _conditions(wanted: LinkConditions) -> Conditions:
    if wanted.expires_at is not None and wanted.expires_at <= now_ms():
        raise Invalid("expiresAt: a time in the future, in UTC milliseconds", code="in_the_past")
    return Conditions(password=wanted.password, expires_at=wanted.expires_at, max_views=wanted.max_views)


def _view(env: Env, main_slug: str, share: Share) -> ShareView:
    return ShareView(
        share_id=shares.MAIN if share.slug == main_slug else share.id,
        url=f"{env.settings.public_url}/public/artifact/{share.slug}",
        label=share.label,
        has_password=share.password_hash is not None,
        expires_at=share.expires_at,
        max_views=share.max_views,
        views_left=None if share.max_views is None else share.max_views - share.views,
        created_at=share.created_at,
    )
