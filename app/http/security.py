"""Who may come in: the key, the caller's address, the rate of job submissions, and what is kept of a visitor.

Every handler needs the key unless its `opt` says `access="open"` (anyone) or `access="read"` (a key only when
READS_NEED_KEY is true). The guard stands on the whole application, so a new route is closed until it says otherwise.
A body is JSON of at most MAX_BODY unless the `opt` says `body="image"` (a form with a file) or `body="form"` (a form of
a page).
"""

import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import Scope

from app.http.errors import Unauthorized, WrongMedia
from app.http.schemas import invalid
from app.settings import SettingError, Settings, check_key
from tools.env import Env
from tools.errors import Forbidden, RateLimited

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
STREAM = "/api/stream/"
"""Browsers cannot set headers on these routes, so with READS_NEED_KEY the key may come as `?key=`."""
WHOLE = re.compile(r"-?[0-9]+")
JOB_BURST = 120
PASSWORDS_PER_MINUTE, PASSWORD_BURST = 6, 6
LINK_PASSWORDS_PER_MINUTE, LINK_PASSWORD_BURST = 60, 60
USER_AGENT = 256


class Visitor(msgspec.Struct, frozen=True):
    """What is known of someone who opened a public page; None where nothing is, or where they asked for that."""

    ip: str | None
    country: str | None
    city: str | None
    user_agent: str | None


async def check_access(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route: the key, then the body's type and size, before anything of the route runs.

    Fails: Unauthorized · Forbidden (a stream from a foreign Origin) · WrongMedia · TooLarge.
    """
    settings: Settings = connection.app.state.settings
    _check_key(connection, settings, access_to(handler))
    if isinstance(connection, Request):
        _check_query(connection, handler)
        await _check_body(connection, handler)


def access_to(handler: BaseRouteHandler) -> str:
    """Who may use the handler: `open`, `read` or `key`."""
    return str(handler.opt.get("access", "key"))


def _check_key(connection: ASGIConnection[Any, Any, Any, Any], settings: Settings, access: str) -> None:
    if access == "open" or (access == "read" and not settings.reads_need_key):
        return
    streams = access == "read" and connection.scope["path"].startswith(STREAM)
    if streams and not known_origin(connection.scope, settings):
        raise Forbidden("this origin may not read the stream")
    given = header_values(connection.scope, b"x-api-key")
    if streams and not given:
        given = connection.query_params.getall("key", [])
    if len(given) != 1 or not is_key(given[0], settings):
        raise Unauthorized("a valid X-Api-Key is needed")


def is_key(given: str, settings: Settings) -> bool:
    """Whether this is the key, in a time that does not depend on how much of it is right."""
    wanted = settings.api_key or secrets.token_hex()
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _check_query(request: Request[Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Litestar takes the last of several values, the text `null` for None, and `1.0` or `1e1` for whole numbers."""
    for name, field in handler.parsed_fn_signature.parameters.items():
        if not isinstance(stated := field.kwarg_definition, QueryParameter) or field.is_non_string_sequence:
            continue
        values = request.query_params.getall(stated.name or name, [])
        if len(values) > 1:
            raise invalid(stated.name or name, "Expected one value")
        if values == ["null"] and field.is_optional and not field.has_inner_subclass_of(str):
            raise invalid(stated.name or name, "Invalid value")
        if field.annotation in (int, int | None) and values and not WHOLE.fullmatch(values[0]):
            raise invalid(stated.name or name, "Expected `int`")


async def _check_body(request: Request[Any, Any, Any], handler: BaseRouteHandler) -> None:
    if reads_image(handler) or not has_body(request.scope):
        return
    wanted = RequestEncodingType.URL_ENCODED if reads_form(handler) else RequestEncodingType.JSON
    # Read here, so that the guard's cap holds for handlers that never look at their body.
    if await request.body() and request.content_type[0] != wanted:
        raise WrongMedia(f"the body must be {wanted.value}", detail={"allowed": [wanted.value]})


def has_body(scope: Scope) -> bool:
    """Whether the request's framing announces a body of at least one byte."""
    lengths = header_values(scope, b"content-length")
    return bool(header_values(scope, b"transfer-encoding")) or any(length.strip("0") for length in lengths)


def reads_image(handler: BaseRouteHandler) -> bool:
    """Whether the handler takes a form with an image and reads it itself; all others take JSON."""
    return handler.opt.get("body") == "image"


def reads_form(handler: BaseRouteHandler) -> bool:
    """Whether the handler takes the form of one of our own pages, and reads it itself."""
    return handler.opt.get("body") == "form"


def known_origin(scope: Scope, settings: Settings) -> bool:
    """Whether the request comes from no browser page, from one of ours, or from one in CORS_ORIGINS."""
    origins = header_values(scope, b"origin")
    known = _own_origins(scope, settings).union(settings.cors_origins)
    return not origins or (len(origins) == 1 and origins[0] in known)


def own_origin(scope: Scope, settings: Settings) -> bool:
    """Whether the request comes from no browser page or from one of ours: what a guest's cookie is good for."""
    origins = header_values(scope, b"origin")
    return not origins or (len(origins) == 1 and origins[0] in _own_origins(scope, settings))


def _own_origins(scope: Scope, settings: Settings) -> set[str]:
    hosts = header_values(scope, b"host")
    return {settings.public_url, *(f"{scheme}://{host}" for host in hosts for scheme in ("http", "https"))}


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in order; header bytes are Latin-1."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def client_address(scope: Scope, settings: Settings) -> Address | None:
    """The caller's address: the peer's own, or, behind a trusted proxy, what that proxy says of it.

    A trusted proxy is believed in CF-Connecting-IP, else in the right-most hop of X-Forwarded-For that is not a
    trusted proxy itself. Text that is no address ends the walk. None for a peer without an address (a unix socket).
    """
    peer = _peer(scope)
    return _told_by(peer, scope, settings) if peer is not None and _trusted(peer, settings) else peer


def _peer(scope: Scope) -> Address | None:
    return _parsed(scope["client"][0]) if scope["client"] else None


def _told_by(proxy: Address, scope: Scope, settings: Settings) -> Address:
    connecting = [_parsed(value) for value in header_values(scope, b"cf-connecting-ip")]
    if len(connecting) == 1 and connecting[0] is not None:
        return connecting[0]
    return _right_most(proxy, ",".join(header_values(scope, b"x-forwarded-for")).split(","), settings)


def _right_most(peer: Address, hops: Iterable[str], settings: Settings) -> Address:
    address = peer
    for hop in reversed(list(hops)):
        parsed = _parsed(hop.strip())
        if parsed is None:
            break
        address = parsed
        if not _trusted(parsed, settings):
            break
    return address


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def _trusted(address: Address, settings: Settings) -> bool:
    return any(address in network for network in settings.trusted_proxies)


def limit_key(address: Address | None) -> str:
    """What stands for the caller in a rate limit: an IPv4 address, the /64 of an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if address else "local"


async def limit_jobs(request: Request[Any, Any, Any], env: Env, settings: Settings) -> None:
    """Take one of the caller's job submissions: JOBS_PER_MINUTE per address, in bursts of 120.

    Effect: one token less in the caller's bucket in Redis.
    Fails: RateLimited with the seconds to wait · Unavailable when Redis is away.
    """
    bucket = f"jobs:{limit_key(client_address(request.scope, settings))}"
    wait = await env.PICASSO_WORKFLOW.take(bucket, capacity=JOB_BURST, per_minute=settings.jobs_per_minute)
    if wait > 0:
        raise RateLimited("too many jobs were submitted from this address", retry_after=wait)


async def limit_passwords(request: Request[Any, Any, Any], env: Env, settings: Settings, slug: str) -> None:
    """Take one of the tries at a link's password: six a minute for each address, sixty for all of them together.

    Effect: one token less in two buckets in Redis.
    Fails: RateLimited with the seconds to wait · Unavailable when Redis is away.
    """
    take, caller = env.PICASSO_WORKFLOW.take, limit_key(client_address(request.scope, settings))
    wait = await take(f"password:{slug}:{caller}", capacity=PASSWORD_BURST, per_minute=PASSWORDS_PER_MINUTE)
    if wait == 0:
        wait = await take(f"password:{slug}", capacity=LINK_PASSWORD_BURST, per_minute=LINK_PASSWORDS_PER_MINUTE)
    if wait > 0:
        raise RateLimited("too many passwords were tried; wait a little", retry_after=wait)


def visitor(scope: Scope, settings: Settings) -> Visitor:
    """Who opened a public page. With `Sec-GPC: 1` or `DNT: 1` no address, country or city is told."""
    agent = " ".join(header_values(scope, b"user-agent"))[:USER_AGENT] or None
    if "1" in (*header_values(scope, b"sec-gpc"), *header_values(scope, b"dnt")):
        return Visitor(None, None, None, agent)
    peer = _peer(scope)
    if peer is None or not _trusted(peer, settings):
        return Visitor(str(peer) if peer else None, None, None, agent)
    address = _told_by(peer, scope, settings)
    return Visitor(str(address), _said(scope, b"cf-ipcountry", 64), _said(scope, b"cf-ipcity", 128), agent)


def _said(scope: Scope, name: bytes, length: int) -> str | None:
    """A proxy's header as text of at most `length` characters; such headers are UTF-8."""
    values = [value.encode("latin-1").decode("utf-8", "replace") for value in header_values(scope, name)]
    text = "".join(c for c in " ".join(values) if c.isprintable()).strip()
    return text[:length] or None


def home_key(home: Path) -> str:
    """The key of a loopback server without API_KEY, made at its first start and kept in `api_key` (mode 0600).

    Fails: SettingError when the file holds no usable key, or none can be kept there.
    """
    try:
        return check_key(_kept_key(home).removesuffix("\n"), "the key in the file api_key")
    except OSError as error:
        raise SettingError(f"PICASSO_HOME cannot keep a key at {home}: {error.strerror}") from error


def _kept_key(home: Path) -> str:
    path = home / "api_key"
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / f".api_key.{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        # Hex, for a word that opens with a dash is taken for an option on a command line.
        file.write(secrets.token_hex(32) + "\n")
    try:
        os.link(temporary, path)
    except FileExistsError:
        path.chmod(0o600)
    finally:
        temporary.unlink()
    return path.read_text("utf-8")
