"""GET requests to URLs that users choose, guarded against requests to our own network (SSRF).

The host of each hop is resolved once. If any of its addresses is not public, the whole hop is refused. The connection
goes to the checked address itself, while the TLS server name and the Host header stay those of the URL. No credentials
or cookies are sent. A caller sees the same message after the same time for every failure, so that nobody can probe
our network; the cause is in the log.
"""

import asyncio
import functools
import ipaddress
import logging
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio.to_thread
import httpx
import msgspec

from tools.env import Env
from tools.errors import Invalid, Unavailable
from tools.step import log_fields, step

log = logging.getLogger("picasso.fetch")

TOTAL_SECONDS = 10.0
"""For the whole fetch with all its hops, and the time after which every failure is reported."""
BOUGHT_SECONDS = 60.0
"""For one try to fetch an image that a vendor made."""
DNS_SECONDS = 3.0
CALL_SECONDS = 5.0
"""For connecting, and for each wait for bytes."""
HOPS = 3
DIALS = 4
"""How many addresses of one host are tried in turn."""
MAX_URL = 2048
PORTS = frozenset({80, 443})
HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "picasso", "connection": "close"}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")

# From the registries of special-purpose addresses (RFC 6890 and its updates), and cloud metadata services outside of
# them. A list of our own, because the result of `ipaddress.is_global` changes between Python's patch releases.
NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""Bytes 8 to 11 of an IPv6 address with an IPv4 address embedded in it, under any prefix."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
TransportFactory = Callable[[], httpx.AsyncBaseTransport]


class Refusal(Exception):
    """Why a URL was not fetched; for the log only."""


FAILURES = (Refusal, httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError)


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of the host, without duplicates."""
    # On a thread that may be abandoned: a resolver that hangs keeps it for longer than we wait.
    found = await anyio.to_thread.run_sync(
        functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM), abandon_on_cancel=True
    )
    return list(dict.fromkeys(str(answer[4][0]) for answer in found))


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The context of every HTTPS connection of this process: reading the authorities takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


def make_transport() -> httpx.AsyncHTTPTransport:
    """A transport without proxies, cookies or kept connections. It is given addresses, never names."""
    return httpx.AsyncHTTPTransport(verify=tls_context(), trust_env=False)


class FetchPolicy(msgspec.Struct, frozen=True):
    """What may be fetched and how the network is reached.

    `allow` has `host:port` pairs that need be neither public nor on one of `ports`; times are in seconds.
    """

    allow: frozenset[str] = frozenset()
    ports: frozenset[int] = PORTS
    seconds: float = TOTAL_SECONDS
    dns_seconds: float = DNS_SECONDS
    resolve: Resolve = resolve
    make_transport: TransportFactory = make_transport


@step("fetch.fetch")
async def fetch(env: Env, url: str, *, max_bytes: int) -> bytes:
    """GET a public http or https URL and return its body of at most `max_bytes`.

    Fails: Invalid (`fetch_rejected`), with one message for every cause, `TOTAL_SECONDS` after the start.
    """
    return await fetch_with_policy(FetchPolicy(env.settings.fetch_allow), url, max_bytes=max_bytes)


@step("fetch.bought")
async def fetch_bought(env: Env, url: str, host: str | None, *, max_bytes: int) -> bytes:
    """GET the image that a vendor answered with the address of, at most `max_bytes`.

    `host` ("name:port"), the vendor's own, need not be public. Nobody chose the address to learn about our network, so
    a failure is reported at once.
    Fails: Unavailable (`fetch_failed`), also for an empty body.
    """
    policy = FetchPolicy(env.settings.fetch_allow | ({host} if host else set()), seconds=BOUGHT_SECONDS)
    try:
        async with asyncio.timeout(policy.seconds):
            if data := await _follow(policy, url, max_bytes):
                return data
        cause = "an empty body"
    except FAILURES as error:
        cause = f"{type(error).__name__}: {error}"
    log.warning("fetch failed", extra={"fields": {**log_fields(), "step": "fetch.bought", "cause": cause[:500]}})
    raise Unavailable("the address of the image did not answer with it", code="fetch_failed")


async def fetch_with_policy(policy: FetchPolicy, url: str, *, max_bytes: int) -> bytes:
    """`fetch` by the given policy."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(policy.seconds):
            return await _follow(policy, url, max_bytes)
    except FAILURES as error:
        cause = f"{type(error).__name__}: {error}"
    log.warning("fetch refused", extra={"fields": {**log_fields(), "step": "fetch.fetch", "cause": cause[:500]}})
    await asyncio.sleep(started + policy.seconds - time.monotonic())
    raise Invalid(
        f"the address could not be fetched: it must be a public http or https address that answers within"
        f" {TOTAL_SECONDS:.0f} seconds with at most {max_bytes:,} bytes",
        code="fetch_rejected",
    )


async def _follow(policy: FetchPolicy, text: str, max_bytes: int) -> bytes:
    """Request the URL and up to `HOPS` redirects; return the body of the last answer."""
    url = check_url(policy, text)
    for _ in range(HOPS + 1):
        async with policy.make_transport() as transport:
            response = await _request(transport, url, await _resolve_checked(policy, url))
            try:
                if response.status_code not in REDIRECTS:
                    return await _read_body(response, max_bytes)
                url = next_hop(policy, url, response.headers.get("location", ""))
            finally:
                await response.aclose()
    raise Refusal(f"more than {HOPS} redirects")


def check_url(policy: FetchPolicy, text: str) -> httpx.URL:
    """Parse a URL whose characters, scheme, host and port are allowed.

    Fails: Refusal · httpx.InvalidURL.
    """
    if len(text) > MAX_URL or UNSAFE.search(text):
        raise Refusal("too long, or characters that no URL has")
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or url.userinfo or not HOST.fullmatch(_host(url)):
        raise Refusal("not a plain http or https address")
    if _port(url) not in policy.ports and not _allowed(policy, url):
        raise Refusal(f"port {_port(url)}")
    return url


def next_hop(policy: FetchPolicy, url: httpx.URL, location: str) -> httpx.URL:
    """The URL a redirect leads to, checked like the first one; never from https to http.

    Fails: Refusal · httpx.InvalidURL.
    """
    if not location or UNSAFE.search(location):
        raise Refusal("a redirect to nowhere")
    following = check_url(policy, str(url.join(location)))
    if url.scheme == "https" and following.scheme == "http":
        raise Refusal("a redirect from https to http")
    return following


def is_public(address: str) -> bool:
    """Whether the IP address is a public one on the Internet; False for text that is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in NOT_PUBLIC)
    return (
        parsed.scope_id is None
        and parsed in GLOBAL_UNICAST
        and not any(parsed in network for network in NOT_PUBLIC_6)
        and parsed.packed[8:12] not in ISATAP
    )


async def _resolve_checked(policy: FetchPolicy, url: httpx.URL) -> Sequence[str]:
    """The addresses of the URL's host to connect to; one that is not public refuses them all."""
    try:
        async with asyncio.timeout(policy.dns_seconds):
            found = await policy.resolve(_host(url), _port(url))
    except TimeoutError:
        raise Refusal("the name was not resolved in time") from None
    if not found or not (_allowed(policy, url) or all(map(is_public, found))):
        raise Refusal(f"{_host(url)} is at {', '.join(found[:8])}")
    return found[:DIALS]


async def _request(transport: httpx.AsyncBaseTransport, url: httpx.URL, addresses: Sequence[str]) -> httpx.Response:
    """Send the GET to the first of the addresses that accepts a connection."""
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), CALL_SECONDS)
    for address in addresses:
        request = httpx.Request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers={"host": url.netloc.decode("ascii"), **HEADERS},
            extensions={"sni_hostname": _host(url), "timeout": timeout},
        )
        try:
            return await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failed = error
    raise failed


async def _read_body(response: httpx.Response, max_bytes: int) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise Refusal(f"status {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal("an encoded body")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise Refusal(f"more than {max_bytes} bytes")
        # A server that sends one byte a chunk must not keep the event loop busy for a whole buffer of chunks.
        await asyncio.sleep(0)
    return bytes(body)


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _allowed(policy: FetchPolicy, url: httpx.URL) -> bool:
    return f"{_host(url)}:{_port(url)}" in policy.allow or f"[{_host(url)}]:{_port(url)}" in policy.allow
