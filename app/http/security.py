"""Access control: the API key, the caller's address, rate limits, and what is recorded of a page's visitor.

Every handler needs the key, or a session of the console, unless its `opt` says `access="open"` (anyone) or
`access="read"` (a key only when READS_NEED_KEY is true). `check_access` guards the whole application, so a new route is
closed until it says otherwise. A body is JSON of at most MAX_BODY unless the `opt` says `body="image"` (a form with a
file) or `body="form"` (a form of one of our pages).
"""

import hmac
import ipaddress
import os
import re
import secrets
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import RequestEncodingType, ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import Scope

from app.http import console_session
from app.http.errors import Unauthorized, WrongMedia, wants_html
from app.http.hosts import public_origin
from app.http.rules import explained
from app.http.schemas import invalid
from app.settings import SettingError, Settings, check_key
from tools.env import Env
from tools.errors import Forbidden, RateLimited

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
CONSOLE_HEADER = b"x-picasso-console"
"""`1` in each request of the console that changes something."""
STREAM = "/api/stream/"
"""Browsers cannot set headers on these routes, so with READS_NEED_KEY the key may come as `?key=`."""
WHOLE = re.compile(r"-?[0-9]+")
JOB_BURST = 120
PASSWORDS_OF_ADDRESS, PASSWORDS_OF_LINK = 6, 60
"""Tries at a link's password in any minute, by one address and in all."""
PASSWORDS_OF_GUESSERS = 40
"""Of the link's tries those that networks may make which tried it lately; the others stay free for newcomers."""
FIRST_PASSWORDS = 3
"""A network's tries as a newcomer; it gets one back a minute."""
USER_AGENT = 256


class Visitor(msgspec.Struct, frozen=True):
    """Who opened a public page; None where it is unknown or the browser asked not to be tracked."""

    ip: str | None
    country: str | None
    city: str | None
    user_agent: str | None


async def check_access(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Litestar's guard of every route: checks the key, then the query and the body, before the handler runs.

    Fails: Unauthorized · Forbidden (a stream from a foreign Origin) · Invalid (400) · WrongMedia · TooLarge.
    """
    settings: Settings = connection.app.state.settings
    access = access_to(handler)
    may_use_query = access == "read" and connection.scope["path"].startswith(STREAM)
    # Browsers let any page open a WebSocket, and CORS does not guard it.
    if may_use_query and not known_origin(connection.scope, settings):
        raise Forbidden("pages of this origin may not read the stream: name it in CORS_ORIGINS")
    if access == "key" or (access == "read" and settings.reads_need_key):
        given = header_values(connection.scope, b"x-api-key")
        if may_use_query and not given:
            given = connection.query_params.getall("key", [])
        if (len(given) != 1 or not is_key(given[0], settings)) and (given or not await is_signed_in(connection)):
            raise Unauthorized("a valid X-Api-Key is needed")
    if isinstance(connection, Request):
        check_query(connection, handler)
        if has_body(connection.scope) and not reads_image(handler):
            wanted = RequestEncodingType.URL_ENCODED if reads_form(handler) else RequestEncodingType.JSON
            # Read here, so that the size limit also holds for handlers that ignore their body.
            if await connection.body() and connection.content_type[0] != wanted:
                raise WrongMedia(f"the body must be {wanted.value}", detail={"allowed": [wanted.value]})


async def is_signed_in(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether the request has the cookie of a session of the console, and the console's own page made it.

    Fails: Forbidden for another page's request with that cookie · Unavailable when Redis does not answer.
    """
    settings: Settings = connection.app.state.settings
    if (cookie := connection.cookies.get(console_session.COOKIE)) is None:
        return False
    check_console_page(connection.scope, settings)
    env: Env | None = connection.app.state.lifecycle.env
    return env is not None and await console_session.is_open(env, settings, cookie)


def check_console_page(scope: Scope, settings: Settings) -> None:
    """Check that a request with the console's cookie comes from the console's own page.

    A browser adds the cookie to requests of other ports of this host, too, because it counts them as the same site. So
    what changes something needs a header that other origins cannot send without a preflight, and our Origin, and a
    WebSocket, which other pages could read, our Origin.
    Fails: Forbidden (`not_the_console`).
    """
    sites = header_values(scope, b"sec-fetch-site")
    is_ours = own_origin(scope, settings) and all(site in ("same-origin", "none") for site in sites)
    if scope["type"] == ScopeType.WEBSOCKET:
        is_ours = is_ours and bool(header_values(scope, b"origin"))
    elif scope["method"] not in ("GET", "HEAD"):
        is_ours = is_ours and header_values(scope, CONSOLE_HEADER) == ["1"]
    if not is_ours:
        raise Forbidden("only the console's own page may use its session", code="not_the_console")


def access_to(handler: BaseRouteHandler) -> str:
    """Who may use the handler: `open`, `read` or `key`."""
    return str(handler.opt.get("access", "key"))


def is_key(given: str, settings: Settings) -> bool:
    """Whether this is the API key, compared in constant time."""
    wanted = settings.api_key or secrets.token_hex()
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def check_query(request: Request[Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse what Litestar would let through: unknown parameters, repeated values, the text `null` for None, `1.0` or
    `1e1` for an int.

    Unknown parameters are let through where a browser opens a page: mail programs and networks add some to links.
    Fails: Invalid (400) naming the parameter.
    """
    known = {"key"} if request.scope["path"].startswith(STREAM) else set()
    for name, field in handler.parsed_fn_signature.parameters.items():
        if not isinstance(declared := field.kwarg_definition, QueryParameter):
            continue
        shown = declared.name or name
        known.add(shown)
        if field.is_non_string_sequence:
            continue
        values = request.query_params.getall(shown, [])
        if len(values) > 1:
            raise invalid(shown, "Expected one value")
        if values == ["null"] and field.is_optional and not field.has_inner_subclass_of(str):
            raise invalid(shown, explained("Invalid value", field.annotation, "$"))
        if field.annotation in (int, int | None) and values and not WHOLE.fullmatch(values[0]):
            raise invalid(shown, "Expected `int`")
    is_page = access_to(handler) == "open" and wants_html(request.headers.get("accept", ""))
    if (
        not is_page
        and (unknown := next((name for name in request.query_params if name not in known), None)) is not None
    ):
        there_are = f"there are: {', '.join(sorted(known))}" if known else "there are none here"
        name = "".join(filter(str.isprintable, unknown))[:64]
        raise invalid(name or "query", f"Unknown query parameter; {there_are}")


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
    """Whether the request comes from no browser page or from one of ours; a guest's cookie counts only there."""
    origins = header_values(scope, b"origin")
    return not origins or (len(origins) == 1 and origins[0] in _own_origins(scope, settings))


def _own_origins(scope: Scope, settings: Settings) -> set[str]:
    hosts = header_values(scope, b"host")
    return {public_origin(settings), *(f"{scheme}://{host}" for host in hosts for scheme in ("http", "https"))}


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in order; header bytes are Latin-1."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def client_address(scope: Scope, settings: Settings) -> Address | None:
    """The caller's address: the peer's own or, behind a trusted proxy, the one that the proxy's headers give.

    These are CF-Connecting-IP, else the right-most hop of X-Forwarded-For that is not a trusted proxy itself; the
    first hop that is no address ends the search. None for a peer without an address (a unix socket).
    """
    peer = _peer(scope)
    return _forwarded_by(peer, scope, settings) if peer is not None and _trusted(peer, settings) else peer


def _peer(scope: Scope) -> Address | None:
    return _parsed(scope["client"][0]) if scope["client"] else None


def _forwarded_by(proxy: Address, scope: Scope, settings: Settings) -> Address:
    connecting = [_parsed(value) for value in header_values(scope, b"cf-connecting-ip")]
    if len(connecting) == 1 and connecting[0] is not None:
        return connecting[0]
    address = proxy
    for hop in reversed(",".join(header_values(scope, b"x-forwarded-for")).split(",")):
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
    """The caller's name in rate limits: an IPv4 address, or the /64 network of an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if address else "local"


def wide_network(address: Address | None) -> str:
    """The network that one party usually has whole: the /24 of an IPv4 address, the /48 of an IPv6 one."""
    if address is None:
        return "local"
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


async def limit_jobs(request: Request[Any, Any, Any], env: Env, settings: Settings) -> None:
    """Take one job submission: JOBS_PER_MINUTE per address, in bursts of 120.

    Effect: one token less in the caller's bucket in Redis.
    Fails: RateLimited with the seconds to wait · Unavailable when Redis does not answer.
    """
    bucket = f"jobs:{limit_key(client_address(request.scope, settings))}"
    wait = await env.PICASSO_WORKFLOW.take(bucket, capacity=JOB_BURST, per_minute=settings.jobs_per_minute)
    if wait > 0:
        raise RateLimited("too many jobs were submitted from this address", retry_after=wait)


async def limit_passwords(request: Request[Any, Any, Any], env: Env, settings: Settings, slug: str) -> None:
    """Count one try at a link's password: in any minute 6 of an address, and 60 of the link.

    What an address is refused does not count for the link. A third of the link's tries is kept for networks that hardly
    tried it yet, so that a guesser with some addresses cannot keep the owner's guests out.
    Effect: up to three counts in Redis.
    Fails: RateLimited with the seconds to wait · Unavailable when Redis does not answer.
    """
    flow, address = env.PICASSO_WORKFLOW, client_address(request.scope, settings)
    wait = await flow.take_in_minute(f"password:{slug}:{limit_key(address)}", most=PASSWORDS_OF_ADDRESS)
    if wait == 0:
        first = f"password-first:{slug}:{wide_network(address)}"
        is_new = await flow.take(first, capacity=FIRST_PASSWORDS, per_minute=1) == 0
        wait = await flow.take_in_minute(
            f"password:{slug}", most=PASSWORDS_OF_LINK if is_new else PASSWORDS_OF_GUESSERS
        )
    if wait > 0:
        raise RateLimited("too many passwords were tried from this address or for this page", retry_after=wait)


def visitor(scope: Scope, settings: Settings) -> Visitor:
    """Who opened a public page. With `Sec-GPC: 1` or `DNT: 1` address, country and city stay None."""
    agent = " ".join(header_values(scope, b"user-agent"))[:USER_AGENT] or None
    if "1" in (*header_values(scope, b"sec-gpc"), *header_values(scope, b"dnt")):
        return Visitor(None, None, None, agent)
    peer = _peer(scope)
    if peer is None or not _trusted(peer, settings):
        return Visitor(str(peer) if peer else None, None, None, agent)
    address = _forwarded_by(peer, scope, settings)
    return Visitor(str(address), _proxy_text(scope, b"cf-ipcountry", 64), _proxy_text(scope, b"cf-ipcity", 128), agent)


def _proxy_text(scope: Scope, name: bytes, length: int) -> str | None:
    """A header of the proxy, which is UTF-8, as printable text of at most `length` characters."""
    values = [value.encode("latin-1").decode("utf-8", "replace") for value in header_values(scope, name)]
    text = "".join(c for c in " ".join(values) if c.isprintable()).strip()
    return text[:length] or None


def home_key(home: Path) -> str:
    """The key of a loopback server without API_KEY, created at its first start in the file `api_key` (mode 0600).

    Fails: SettingError when the file holds no usable key or cannot be written.
    """
    path, temporary = home / "api_key", home / f".api_key.{secrets.token_hex(8)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            # Hex, because a word that begins with a dash would be taken for an option on a command line.
            file.write(secrets.token_hex(32) + "\n")
        try:
            # Fails where a key exists, so of two servers that start at once both use the same.
            os.link(temporary, path)
        except FileExistsError:
            path.chmod(0o600)
        finally:
            temporary.unlink()
        key = path.read_text("utf-8")
    except OSError as error:
        raise SettingError(f"PICASSO_HOME cannot keep a key at {home}: {error.strerror}") from error
    return check_key(key.removesuffix("\n"), "the key in the file api_key")
