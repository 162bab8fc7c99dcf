"""Links to an artifact, and the conditions that its owner set on them: a password, an end, a number of views.

The main link is the artifact's own slug; it has a row here only while it has conditions. `admit` is the one way from a
slug to an artifact.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from tools.env import Env
from tools.errors import Conflict, Gone, Locked, NotFound
from tools.publishing.artifacts import fresh_slug, get
from tools.rows import ArtifactRow, load, new_id, now_ms, params
from tools.step import step

MAIN = "main"
"""The name of the main link among an artifact's links."""
MOST_LINKS = 100
PASS_MS = 12 * 3_600_000
"""How long a visitor who gave the password needs it no more."""
FILES_MS = 3_600_000
"""How long after the last counted view the files of its page may still be loaded."""
COST, BLOCK, PARALLEL = 1 << 14, 8, 5
"""Parameters of scrypt: 16 MiB of memory and about a fifth of a second per try."""

FIND = """
SELECT artifacts.*, artifact_shares.id AS share_id, slug, label, password_hash, expires_at, max_views, views, viewed_at,
    artifact_shares.created_at AS shared_at, revoked_at
FROM artifacts LEFT JOIN artifact_shares ON artifact_shares.artifact_id = artifacts.id AND slug = :slug
WHERE content_r2_key IS NOT NULL
    AND (public_slug = :slug OR artifacts.id = (SELECT artifact_id FROM artifact_shares WHERE slug = :slug))
"""
CONSUME = """
UPDATE artifact_shares SET views = views + 1, viewed_at = :now
WHERE id = :id AND revoked_at IS NULL AND views < max_views AND (expires_at IS NULL OR expires_at > :now)
"""
INSERT = """
INSERT INTO artifact_shares (id, artifact_id, slug, label, password_hash, expires_at, max_views, views, viewed_at,
    created_at, revoked_at)
VALUES (:id, :artifact_id, :slug, :label, :password_hash, :expires_at, :max_views, :views, :viewed_at,
    :created_at, :revoked_at)
ON CONFLICT (slug) DO UPDATE SET password_hash = excluded.password_hash, expires_at = excluded.expires_at,
    max_views = excluded.max_views, views = 0, viewed_at = NULL, revoked_at = excluded.revoked_at
"""
ACTIVE = """
SELECT * FROM artifact_shares
WHERE artifact_id = :artifact_id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
    AND (max_views IS NULL OR views < max_views)
ORDER BY created_at, id LIMIT 200
"""
BY_SLUG = "SELECT * FROM artifact_shares WHERE slug = :slug"
LINK = "SELECT * FROM artifact_shares WHERE id = :id AND artifact_id = :artifact_id AND slug <> :main"
CHANGE = """
UPDATE artifact_shares SET password_hash = :password_hash, expires_at = :expires_at, max_views = :max_views, views = 0,
    viewed_at = NULL
WHERE id = :id AND revoked_at IS NULL
"""
REVOKE = "UPDATE artifact_shares SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id"
OPEN = "DELETE FROM artifact_shares WHERE slug = :slug"


class Share(msgspec.Struct, frozen=True):
    """A row of `artifact_shares`: a link and its conditions; `views` are counted where `max_views` is set."""

    id: str
    artifact_id: str
    slug: str
    label: str | None
    password_hash: str | None
    expires_at: int | None
    max_views: int | None
    views: int
    viewed_at: int | None
    created_at: int
    revoked_at: int | None


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of a link; `expires_at` in UTC milliseconds."""

    password: str | None = None
    expires_at: int | None = None
    max_views: int | None = None


class Admission(msgspec.Struct, frozen=True):
    """An artifact that may be shown. `share` is the link that was used, None for a main link without conditions."""

    artifact: ArtifactRow
    share: Share | None

    @property
    def is_counted(self) -> bool:
        """Whether each view must be counted with `consume`."""
        return self.share is not None and self.share.max_views is not None


class _Found(ArtifactRow, frozen=True, kw_only=True):
    share_id: str | None
    slug: str | None
    label: str | None
    password_hash: str | None
    expires_at: int | None
    max_views: int | None
    views: int | None
    viewed_at: int | None
    shared_at: int | None
    revoked_at: int | None


def page_path(env: Env, slug: str) -> str:
    """The path of a public page as browsers see it, which includes that of PUBLIC_URL."""
    return f"{urlsplit(env.settings.public_url).path.rstrip('/')}/public/artifact/{slug}"


@step("shares.admit")
async def admit(
    env: Env, slug: str, *, passes: Iterable[str] = (), secret: str | None = None, beside: bool = False
) -> Admission:
    """The published artifact behind a public slug, its own or a share's, if the visitor may see it.

    `passes` are the visitor's (`make_pass`), signed with `secret`. `beside` is for files of a page: they can still be
    loaded for an hour after the last view.
    Fails: NotFound · Gone (unpublished, revoked, expired, used up) · Locked, when a password is needed first.
    """
    found = await env.DB.one(FIND, _Found, slug=slug)
    if found is None:
        raise NotFound("there is no such page")
    share = _share(found)
    _check_end(found, share, now_ms(), beside)
    if share is not None and share.password_hash is not None and not _is_known(share, passes, secret):
        raise Locked("this page needs a password", detail={"unlock": f"{page_path(env, slug)}/password"})
    return Admission(load(ArtifactRow, msgspec.structs.asdict(found)), share)


@step("shares.consume")
async def consume(env: Env, share: Share) -> None:
    """Count one view of the link.

    Effect: one atomic update; of concurrent calls exactly as many succeed as views are left.
    Fails: Gone when no view is left, or the link was closed meanwhile.
    """
    if not await env.DB.run(CONSUME, id=share.id, now=now_ms()):
        raise _used_up()


@step("shares.find")
async def find(env: Env, slug: str) -> Share:
    """The active link with conditions that has this slug.

    Fails: NotFound · Gone (unpublished, revoked, expired, used up).
    """
    found = await env.DB.one(FIND, _Found, slug=slug)
    if found is None or (share := _share(found)) is None:
        raise NotFound("there is no such page")
    _check_end(found, share, now_ms(), beside=False)
    return share


@step("shares.create")
async def create(env: Env, artifact_id: str, label: str | None, conditions: Conditions) -> Share:
    """Create a link to an artifact.

    Fails: NotFound · Conflict (`too_many_links`).
    """
    artifact = await get(env, artifact_id)
    if len(await env.DB.all(ACTIVE, Share, artifact_id=artifact.id, now=now_ms())) >= MOST_LINKS:
        raise _too_many()
    share = await _made(artifact, fresh_slug(), label, conditions)
    await env.DB.run(INSERT, **params(share))
    return share


@step("shares.set_conditions")
async def set_conditions(env: Env, artifact_id: str, share_id: str, conditions: Conditions) -> Share:
    """Replace the conditions of a link, and count its views anew; it keeps its address and label.

    The main link is open again afterwards, if it was closed.
    Fails: NotFound · Gone (`link_revoked`: another link is closed for good) · Conflict (`too_many_links`).
    """
    artifact = await get(env, artifact_id)
    if share_id == MAIN:
        share = await _made(artifact, artifact.public_slug, None, conditions)
        if conditions == Conditions():
            await env.DB.run(OPEN, slug=share.slug)
        else:
            await env.DB.run(INSERT, **params(share))
        return share
    share = await _link(env, artifact, share_id)
    active = await env.DB.all(ACTIVE, Share, artifact_id=artifact.id, now=now_ms())
    if len(active) >= MOST_LINKS and share.id not in [each.id for each in active]:
        raise _too_many()
    wanted = await _made(artifact, share.slug, share.label, conditions)
    changed = msgspec.structs.replace(wanted, id=share.id, created_at=share.created_at)
    if not await env.DB.run(CHANGE, **params(changed)):
        raise _closed()
    return changed


@step("shares.close")
async def close(env: Env, artifact_id: str, share_id: str) -> None:
    """Close a link: the main one until its conditions are set anew, another one for good. Repeating it changes nothing.

    Fails: NotFound.
    """
    artifact = await get(env, artifact_id)
    if share_id == MAIN:
        closed = await _made(artifact, artifact.public_slug, None, Conditions())
        await env.DB.run(INSERT, **params(msgspec.structs.replace(closed, revoked_at=now_ms())))
    else:
        link = await _link(env, artifact, share_id)
        await env.DB.run(REVOKE, id=link.id, now=now_ms())


async def list_active(env: Env, artifact: ArtifactRow) -> list[Share]:
    """The active links of the artifact, the main one first, the others from the oldest."""
    rows = await env.DB.all(ACTIVE, Share, artifact_id=artifact.id, now=now_ms())
    main = [row for row in rows if row.slug == artifact.public_slug]
    if not main and await env.DB.one(BY_SLUG, Share, slug=artifact.public_slug) is None:
        main = [await _made(artifact, artifact.public_slug, None, Conditions())]
    return [*main, *(row for row in rows if row.slug != artifact.public_slug)]


async def unlock(share: Share, password: str) -> bool:
    """Whether this is the link's password, or the link needs none. Runs scrypt on a thread, which takes its time."""
    return share.password_hash is None or await asyncio.to_thread(_is_password, password, share.password_hash)


def make_pass(share: Share, secret: str) -> tuple[str, int]:
    """A pass that replaces the password, and its lifetime in seconds.

    It becomes invalid when the link expires, and when the link's password or the signing secret changes.
    """
    until = min(now_ms() + PASS_MS, share.expires_at or now_ms() + PASS_MS)
    return f"{until}.{_signature(share, until, secret)}", max(0, (until - now_ms()) // 1000)


def _is_known(share: Share, passes: Iterable[str], secret: str | None) -> bool:
    return secret is not None and any(_is_pass(share, given, secret) for given in passes)


def _is_pass(share: Share, given: str, secret: str) -> bool:
    until, _, signature = given.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) < 16 and int(until) > now_ms()):
        return False
    return hmac.compare_digest(signature.encode(), _signature(share, int(until), secret).encode())


def _signature(share: Share, until: int, secret: str) -> str:
    signed = f"share/{share.id}/{share.password_hash}/{until}"
    return hmac.digest(secret.encode(), signed.encode(), "sha256").hex()


def _share(found: _Found) -> Share | None:
    if found.share_id is None:
        return None
    columns = {**msgspec.structs.asdict(found), "id": found.share_id, "artifact_id": found.id}
    return load(Share, {**columns, "created_at": found.shared_at})


def _check_end(artifact: ArtifactRow, share: Share | None, now: int, beside: bool) -> None:
    if artifact.unpublished_at is not None:
        raise Gone("this page was taken down by its owner", code="unpublished")
    if share is None:
        return
    if share.revoked_at is not None:
        raise _closed()
    if share.expires_at is not None and share.expires_at <= now:
        raise Gone("this link has expired", code="link_expired")
    if share.max_views is None:
        return
    if beside and (share.viewed_at is None or share.viewed_at + FILES_MS <= now):
        raise _used_up()
    if not beside and share.views >= share.max_views:
        raise _used_up()


async def _link(env: Env, artifact: ArtifactRow, share_id: str) -> Share:
    """A link of the artifact beside the main one, also a closed one. Fails: NotFound."""
    share = await env.DB.one(LINK, Share, id=share_id, artifact_id=artifact.id, main=artifact.public_slug)
    if share is None:
        raise NotFound("there is no such link")
    return share


def _closed() -> Gone:
    return Gone("this link was closed by the owner of the page", code="link_revoked")


def _too_many() -> Conflict:
    return Conflict(f"an artifact has at most {MOST_LINKS} links; close one", code="too_many_links")


def _used_up() -> Gone:
    return Gone("this link was opened as often as its owner allowed", code="link_used_up")


async def _made(artifact: ArtifactRow, slug: str, label: str | None, conditions: Conditions) -> Share:
    password = conditions.password
    return Share(
        id=new_id(),
        artifact_id=artifact.id,
        slug=slug,
        label=label,
        password_hash=None if password is None else await asyncio.to_thread(_hashed, password, secrets.token_bytes(16)),
        expires_at=conditions.expires_at,
        max_views=conditions.max_views,
        views=0,
        viewed_at=None,
        created_at=now_ms(),
        revoked_at=None,
    )


def _hashed(password: str, salt: bytes) -> str:
    key = hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=COST, r=BLOCK, p=PARALLEL, dklen=32)
    return f"{base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _is_password(password: str, wanted: str) -> bool:
    salt = base64.b64decode(wanted.partition("$")[0])
    return hmac.compare_digest(_hashed(password, salt), wanted)
