"""Sessions of the console: one sign-in by key or by the one-time link, then a cookie that only this server reads.

The cookie is 256 random bits. Redis keeps a digest of them under the API key, so neither its contents nor an earlier
key's sessions let anybody in.
"""

import hmac
import re
import secrets
import time
from urllib.parse import urlsplit

from app.settings import Settings
from tools.env import Env

COOKIE = "picasso_console"
SESSION_SECONDS = 30 * 86_400
LINK_SECONDS = 86_400
"""How long the link of a start can be used."""
ASKED_LINK_SECONDS = 600
"""How long a link can be used that was asked for with the key."""
TOKEN = re.compile(r"[0-9]{1,12}\.[A-Za-z0-9_-]{32}")


def new_token(seconds: int = LINK_SECONDS) -> str:
    """A token for the link that signs in: when it ends, in seconds since 1970, and 192 random bits."""
    return f"{int(time.time()) + seconds}.{secrets.token_urlsafe(24)}"


async def make_link(env: Env, settings: Settings) -> tuple[str, int]:
    """A link to the console that signs in, once, and when it ends in UTC milliseconds.

    Effect: a mark in Redis for ASKED_LINK_SECONDS.
    Fails: Unavailable when Redis does not answer.
    """
    token = new_token(ASKED_LINK_SECONDS)
    await env.USER_PREFERENCES.mark(_name(settings, "link", token), ASKED_LINK_SECONDS)
    return link_to(settings.public_url, token), _ends_at(token) * 1000


def link_to(public_url: str, token: str) -> str:
    """The address that signs in with the token, which stands in the part that browsers keep to themselves."""
    return f"{public_url}/#sign-in={token}"


async def take_token(env: Env, settings: Settings, given: str, *, here: bool) -> bool:
    """Whether this is a token that nobody has used yet: that of the current start, for a browser `here` on this
    machine, or one that was asked for with the key.

    Effect: the token is used up, in every process.
    Fails: Unavailable when Redis does not answer.
    """
    if not TOKEN.fullmatch(given) or _ends_at(given) < time.time():
        return False
    wanted = settings.console_token
    is_of_the_start = here and wanted is not None and hmac.compare_digest(given, wanted)
    if not is_of_the_start and not await env.USER_PREFERENCES.is_marked(_name(settings, "link", given)):
        return False
    return await env.USER_PREFERENCES.mark(_name(settings, "token", given), 2 * LINK_SECONDS)


async def open_session(env: Env, settings: Settings) -> str:
    """Begin a session and return the Set-Cookie value that belongs to it.

    Effect: a mark in Redis for SESSION_SECONDS.
    Fails: Unavailable when Redis does not answer.
    """
    session = secrets.token_urlsafe(32)
    await env.USER_PREFERENCES.mark(_name(settings, "session", session), SESSION_SECONDS)
    return _cookie(settings, session, SESSION_SECONDS)


async def is_open(env: Env, settings: Settings, cookie: str) -> bool:
    """Whether the cookie belongs to a session that has neither ended nor been closed.

    Fails: Unavailable when Redis does not answer.
    """
    return await env.USER_PREFERENCES.is_marked(_name(settings, "session", cookie))


async def close_session(env: Env, settings: Settings, cookie: str) -> str:
    """End the session and return the Set-Cookie value that removes its cookie.

    Effect: the session's mark in Redis is gone.
    Fails: Unavailable when Redis does not answer.
    """
    await env.USER_PREFERENCES.unmark(_name(settings, "session", cookie))
    return _cookie(settings, "", 0)


def _ends_at(token: str) -> int:
    return int(token.partition(".")[0])


def _name(settings: Settings, kind: str, secret: str) -> str:
    key = settings.api_key or secrets.token_hex()
    return f"console:{hmac.digest(key.encode(), f'console/{kind}/{secret}'.encode(), 'sha256').hex()}"


def _cookie(settings: Settings, value: str, seconds: int) -> str:
    public = urlsplit(settings.public_url)
    secure = "; Secure" if public.scheme == "https" else ""
    return f"{COOKIE}={value}; Path={public.path or '/'}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
