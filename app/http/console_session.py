"""Sessions of the console: one sign-in by key or by the one-time link, then a cookie that only this server reads.

The cookie is 256 random bits. Redis keeps a digest of them under the API key, so neither its contents nor an earlier
key's sessions let anybody in.
"""

import hmac
import secrets
import time
from urllib.parse import urlsplit

from app.settings import Settings
from tools.env import Env

COOKIE = "picasso_console"
SESSION_SECONDS = 30 * 86_400
LINK_SECONDS = 86_400
"""How long the link of a start can be used."""


def new_token() -> str:
    """A token for the link that signs in: when it ends, in seconds since 1970, and 192 random bits."""
    return f"{int(time.time()) + LINK_SECONDS}.{secrets.token_urlsafe(24)}"


async def take_token(env: Env, settings: Settings, given: str) -> bool:
    """Whether this is the token of the current start and was not used before.

    Effect: the token is used up, in every process.
    Fails: Unavailable when Redis does not answer.
    """
    wanted = settings.console_token
    if wanted is None or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode()):
        return False
    if int(wanted.partition(".")[0]) < time.time():
        return False
    return await env.USER_PREFERENCES.mark(_name(settings, "token", wanted), 2 * LINK_SECONDS)


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


def _name(settings: Settings, kind: str, secret: str) -> str:
    key = settings.api_key or secrets.token_hex()
    return f"console:{hmac.digest(key.encode(), f'console/{kind}/{secret}'.encode(), 'sha256').hex()}"


def _cookie(settings: Settings, value: str, seconds: int) -> str:
    public = urlsplit(settings.public_url)
    secure = "; Secure" if public.scheme == "https" else ""
    return f"{COOKIE}={value}; Path={public.path or '/'}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
