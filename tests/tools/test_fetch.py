import ast
import asyncio
import ipaddress
import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.deadlines import LONG
from tests.support.files.hostile_addresses import NAMES, URLS
from tools import fetch as module
from tools.errors import Invalid
from tools.fetch import HEADERS, FetchPolicy, Refusal, check_url, fetch_with_policy, is_public, next_hop

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECONDS = 0.6
"""The total deadline of tests that fail, and thus the time after which every failure is reported."""
PATIENT = 30.0
"""The deadline of tests that succeed, on however slow a machine."""
CAP = 1 << 20


@asynccontextmanager
async def server(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a port of 127.0.0.1; its connections are closed at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(head: str, body: bytes = b"") -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return serve


def policy_for(*ports: int, seconds: float = SECONDS) -> FetchPolicy:
    return FetchPolicy(frozenset(f"127.0.0.1:{port}" for port in ports), seconds=seconds, resolve=known)


async def known(host: str, port: int) -> Sequence[str]:
    """Resolve numeric addresses with the system and names from the table: no test uses the network."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        if host.lower() not in NAMES:
            raise
        return NAMES[host.lower()]
    return [str(answer[4][0]) for answer in found]


async def refused(policy: FetchPolicy, url: str, *, max_bytes: int = CAP) -> Invalid:
    with pytest.raises(Invalid) as caught:
        await fetch_with_policy(policy, url, max_bytes=max_bytes)
    assert caught.value.code == "fetch_rejected"
    return caught.value


async def test_a_public_address_is_fetched() -> None:
    """A body with status 200 is returned, with a length or in chunks."""
    chunked = answering("HTTP/1.1 200 OK\ntransfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")
    async with server(answering("HTTP/1.1 200 OK\ncontent-length: 3", b"abc")) as plain, server(chunked) as chunks:
        for port in (plain, chunks):
            assert (
                await fetch_with_policy(
                    policy_for(port, seconds=PATIENT), f"http://127.0.0.1:{port}/a.png?b=c#d", max_bytes=3
                )
                == b"abc"
            )


async def test_no_packet_leaves_for_an_address_that_is_not_public() -> None:
    """None of over 188 URLs, with proxies in the environment, leads to a connection; the audit hook itself works."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.support.processes.fetch_connects"],
        env={**os.environ, **dict.fromkeys(proxies, "http://127.0.0.1:9"), "NO_PROXY": "", "no_proxy": ""},
        capture_output=True,
        timeout=60,
        check=True,
    )
    seen = json.loads(ended.stdout)
    assert seen["tried"] >= 188
    assert seen["connects"] == []
    assert seen["trapped"] == 0
    assert seen["fetched"] == ["127.0.0.1 ok"]


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_public(address: str) -> None:
    """Public addresses are allowed."""
    assert is_public(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_no_reserved_address_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Our own list refuses every address that the standard library calls reserved, private or local."""
    if (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
    ):
        assert not is_public(str(address))


class Recorder(httpx.AsyncBaseTransport):
    """A transport that records the address of each request and answers from a script."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.dialled: list[str] = []
        self.requests: list[httpx.Request] = []
        self.answers = list(answers)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.dialled.append(request.url.host)
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else httpx.Response(200, stream=httpx.ByteStream(b"ok"))


def moved(location: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


async def test_what_was_vetted_is_what_is_dialled(rounds: int) -> None:
    """With a resolver that changes its answers, only a checked address is connected to, and each hop resolves once."""
    asked: list[str] = []

    async def changing(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.215.14"] if len(asked) % 2 else ["127.0.0.1"]

    for _ in range(500 * rounds):
        asked.clear()
        wire = Recorder(moved("http://again.example/"))
        policy = FetchPolicy(resolve=changing, make_transport=lambda: wire, seconds=0.0001)  # noqa: B023
        with pytest.raises((Invalid, Refusal)):
            await module._follow(policy, "http://rebind.example/", CAP)
        assert asked == ["rebind.example", "again.example"]
        assert wire.dialled == ["93.184.215.14"]


@pytest.mark.parametrize(
    "answer",
    [
        ["93.184.215.14", "10.0.0.1"],
        ["10.0.0.1", "93.184.215.14"],
        ["93.184.215.14"] * 199 + ["169.254.169.254"],
        ["2606:4700::1", "::1"],
        [],
    ],
    ids=["last", "first", "of-200", "of-six", "none"],
)
async def test_one_private_answer_refuses_the_lot(answer: list[str]) -> None:
    """A name with any address that is not public is not connected to at all."""

    async def mixed(host: str, port: int) -> Sequence[str]:
        return answer

    wire = Recorder()
    await refused(FetchPolicy(resolve=mixed, make_transport=lambda: wire, seconds=0.05), "http://mixed.example/")
    assert wire.dialled == []


async def test_two_hundred_answers_are_not_two_hundred_dials() -> None:
    """Of many public addresses only a few are tried."""

    class Dead(Recorder):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await super().handle_async_request(request)
            raise httpx.ConnectError("closed")

    async def many(host: str, port: int) -> Sequence[str]:
        return [f"93.184.215.{at}" for at in range(200)]

    wire = Dead()
    await refused(FetchPolicy(resolve=many, make_transport=lambda: wire, seconds=0.5), "http://many.example/")
    assert len(wire.dialled) == module.DIALS


async def test_a_slow_resolver_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """A name that is not resolved in time is refused, and the deadline of the whole fetch is kept."""

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    wire = Recorder()
    started = asyncio.get_running_loop().time()
    with caplog.at_level(logging.WARNING, "picasso.fetch"):
        await refused(
            FetchPolicy(resolve=never, make_transport=lambda: wire, seconds=0.5, dns_seconds=0.05),
            "http://slow.example/",
        )
    assert 0.49 < asyncio.get_running_loop().time() - started < 1.5
    assert wire.dialled == [] and "not resolved in time" in caplog.records[-1].__dict__["fields"]["cause"]
    assert FetchPolicy().dns_seconds <= 3


LOCATIONS = (
    *("http://127.0.0.1:{trap}/", "http://localhost:{trap}/", "//127.0.0.1:{trap}/", "http://[::1]:{trap}/"),
    *("http://2130706433:{trap}/", "http://0x7f.1:{trap}/", "http://0:{trap}/", "http://[::ffff:127.0.0.1]:{trap}/"),
    *("http://a@127.0.0.1:{trap}/", "http://127.0.0.1:{port}@127.0.0.1:{trap}/", "\\\\127.0.0.1:{trap}\\"),
    *(
        "http:\\\\127.0.0.1:{trap}",
        "HTTP://127.0.0.1:{trap}",
        " http://127.0.0.1:{trap}/",
        "http://loop.example:{trap}/",
    ),
    *("http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "https://127.0.0.1:{trap}/", "ftp://127.0.0.1/"),
    *(
        "file:///etc/passwd",
        "gopher://127.0.0.1:{trap}/",
        "data:text/plain,x",
        "",
        "http://mixed.example/",
        "///:{trap}",
    ),
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_vetted_hop_by_hop(status: int) -> None:
    """25 Location headers with each redirect status lead to no forbidden address."""
    hits: list[int] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(1)

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readuntil(b"\r\n\r\n")
        location = locations.get(line.split()[1].decode(), "")
        writer.write(f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()

    async with server(trap) as trap_port, server(redirect) as port:
        locations = {f"/{at}": form.format(trap=trap_port, port=port) for at, form in enumerate(LOCATIONS)}
        assert len(locations) == 25
        await asyncio.gather(*(refused(policy_for(port), f"http://127.0.0.1:{port}/{at}") for at in range(25)))
    assert hits == []


async def test_redirects_end_after_three_hops() -> None:
    """Three hops are followed, also relative ones; the fourth is refused."""
    asked: list[bytes] = []

    async def chain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        left = int(asked[-1].strip(b"/"))
        head = f"302 Found\r\nlocation: {'../' * (left % 2)}{left - 1}" if left else "200 OK"
        writer.write(f"HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()

    async with server(chain) as port:
        assert (
            await fetch_with_policy(policy_for(port, seconds=PATIENT), f"http://127.0.0.1:{port}/3", max_bytes=9) == b""
        )
        assert asked == [b"/3", b"/2", b"/1", b"/0"]
        asked.clear()
        await refused(policy_for(port, seconds=1.5), f"http://127.0.0.1:{port}/30")
        assert asked == [b"/30", b"/29", b"/28", b"/27"]


def test_https_never_becomes_http() -> None:
    """A redirect from https to http is refused."""
    url = check_url(policy_for(), "https://a.example/b")
    assert str(next_hop(policy_for(), url, "c")) == "https://a.example/c"
    for location in ("http://a.example/", "http://a.example:443/", "HTTP://a.example/"):
        with pytest.raises(Refusal):
            next_hop(policy_for(), url, location)
    assert (
        str(next_hop(policy_for(), check_url(policy_for(), "http://a.example/"), "https://b.example/"))
        == "https://b.example/"
    )


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *parts: bytes) -> None:
    """The parts, then the last one again and again, one every 10 ms."""
    await reader.readuntil(b"\r\n\r\n")
    for part in parts:
        writer.write(part)
    while True:
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(parts[-1])


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, part: bytes) -> None:
    """The part again and again, as fast as it is read."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    while True:
        writer.write(part)
        await writer.drain()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    await writer.drain()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BAD_SERVERS: dict[str, Serve] = {
    "drips-header": lambda r, w: drip(r, w, OK, b"x-a: b\r\n"),
    "drips-header-letters": lambda r, w: drip(r, w, OK + b"x-a: ", b"b"),
    "drips-body": lambda r, w: drip(r, w, OK + b"content-length: 100000\r\n\r\n", b"x"),
    "drips-chunks": lambda r, w: drip(r, w, CHUNKED, b"1\r\nx\r\n"),
    "says-nothing": lambda r, w: drip(r, w, b""),
    "endless-body": lambda r, w: flood(r, w, OK + b"\r\n", bytes(65536)),
    "endless-chunks": lambda r, w: flood(r, w, CHUNKED, (b"10\r\n" + bytes(16) + b"\r\n") * 3000),
    "endless-header": lambda r, w: flood(r, w, OK + b"x-a: ", b"x" * 65536),
    "endless-headers": lambda r, w: flood(r, w, OK, b"x-a: b\r\n" * 4096),
    "endless-1xx": lambda r, w: flood(r, w, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3000),
    "length-too-long": answering("HTTP/1.1 200 OK\ncontent-length: 100", b"short"),
    "length-over-cap": lambda r, w: flood(r, w, OK + b"content-length: 99999999999\r\n\r\n", bytes(65536)),
    "encoded-body": answering("HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: 3", b"\x1f\x8b\x08"),
    "bad-chunk": answering("HTTP/1.1 200 OK\ntransfer-encoding: chunked", b"zz\r\nx"),
    "reset-in-header": lambda r, w: reset(r, w, OK),
    "reset-in-body": lambda r, w: reset(r, w, OK + b"content-length: 9\r\n\r\nx"),
    "no-http": answering("SSH-2.0-OpenSSH_9.2"),
    "half-header": answering("HTTP/1.1 200 OK\ncontent-"),
    "not-found": answering("HTTP/1.1 404 Not Found\ncontent-length: 0"),
    "part": answering("HTTP/1.1 206 Partial Content\ncontent-length: 1", b"x"),
    "redirect-to-nowhere": answering("HTTP/1.1 302 Found\ncontent-length: 0"),
    "two-lengths": answering("HTTP/1.1 200 OK\ncontent-length: 1\ncontent-length: 2", b"xx"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SERVERS)
async def test_a_bad_server_costs_a_bounded_time(name: str) -> None:
    """Whatever a server does, the fetch ends at its deadline, not before and not with the server."""
    loop = asyncio.get_running_loop()
    async with server(BAD_SERVERS[name]) as port, asyncio.timeout(LONG):
        started = loop.time()
        await refused(policy_for(port, seconds=0.25), f"http://127.0.0.1:{port}/")
        assert loop.time() - started > 0.24


@pytest.mark.parametrize("name", [name for name in BAD_SERVERS if name.startswith(("endless", "length-over"))])
async def test_a_bad_server_costs_a_bounded_memory(name: str) -> None:
    """However much a server sends, the fetch has little more than the limit in memory."""
    async with server(BAD_SERVERS[name]) as port:
        tracemalloc.start()
        try:
            await refused(policy_for(port, seconds=0.25), f"http://127.0.0.1:{port}/")
            assert tracemalloc.get_traced_memory()[1] < 3 * CAP
        finally:
            tracemalloc.stop()


async def test_all_failures_look_alike(caplog: pytest.LogCaptureFixture) -> None:
    """Closed, open, filtered, private and unknown targets give one message after one time; the log has the cause."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        filtered, closed = full.getsockname()[1], unused.getsockname()[1]
        # The queue of a listener that never accepts: further connects get no answer.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", filtered))
        async with server(answering("SSH-2.0-OpenSSH_9.2")) as opened:
            urls = [f"http://127.0.0.1:{port}/" for port in (filtered, closed, opened)]
            urls += ["http://10.0.0.1/", "http://no-such.example/", "http://169.254.169.254/", "ftp://a.example/"]
            spreads = [await spread(policy_for(filtered, closed, opened), urls) for _ in range(3)]
        for one in waiting:
            one.close()
    # The best of three, for this machine has other work too.
    assert min(spreads) <= 0.05
    causes = " ".join(str(record.__dict__["fields"]["cause"]) for record in caplog.records)
    assert len(caplog.records) == 3 * len(urls) and "10.0.0.1 is at 10.0.0.1" in causes


async def spread(policy: FetchPolicy, urls: list[str]) -> float:
    """Seconds between the first and the last of the refusals, which have equal messages."""

    async def told(url: str) -> tuple[str, float]:
        started = asyncio.get_running_loop().time()
        error = await refused(policy, url)
        assert error.detail is None and "127.0.0.1" not in error.message and "10.0.0.1" not in error.message
        return error.message, asyncio.get_running_loop().time() - started

    ends = await asyncio.gather(*map(told, urls))
    assert len({message for message, _ in ends}) == 1
    return max(seconds for _, seconds in ends) - min(seconds for _, seconds in ends)


async def test_nothing_of_ours_is_sent_along() -> None:
    """The target sees a fixed set of headers, on every hop, and no cookie it set before."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        head = b"HTTP/1.1 200 OK\r\n" if len(heard) == 2 else b"HTTP/1.1 302 Found\r\nlocation: /next\r\n"
        writer.write(head + b"set-cookie: a=b; Path=/\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with server(listen) as port:
        await fetch_with_policy(
            policy_for(port, seconds=PATIENT), f"http://127.0.0.1:{port}/first?token=secret", max_bytes=9
        )
    fixed = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    for path, request in zip(("/first?token=secret", "/next"), heard, strict=True):
        assert request.decode() == f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{fixed}\r\n"


def authority(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS context with a certificate for `name`, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(path)
    return ours, ssl.create_default_context(cafile=str(path))


async def test_the_certificate_is_checked_against_the_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Connecting to an address does not weaken TLS: the certificate must be for the name, and be trusted."""
    ours, theirs = authority(tmp_path, "images.example")

    async def local(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with server(answering("HTTP/1.1 200 OK\ncontent-length: 2", b"ok"), tls=ours) as port:
        allow = frozenset({f"images.example:{port}", f"other.example:{port}"})
        trusting = FetchPolicy(
            allow,
            seconds=PATIENT,
            resolve=local,
            make_transport=lambda: httpx.AsyncHTTPTransport(verify=theirs, trust_env=False),
        )
        assert await fetch_with_policy(trusting, f"https://images.example:{port}/", max_bytes=2) == b"ok"
        await asyncio.gather(
            refused(msgspec.structs.replace(trusting, seconds=1.5), f"https://other.example:{port}/"),
            refused(FetchPolicy(allow, seconds=1.5, resolve=local), f"https://images.example:{port}/"),
        )
    causes = [str(record.__dict__["fields"]["cause"]) for record in caplog.records]
    assert len(causes) == 2 and all("CERTIFICATE_VERIFY_FAILED" in cause for cause in causes)


def test_there_is_no_second_way_out() -> None:
    """Below `app`, only `tools/fetch.py` imports an HTTP client; adapters use the one on AI."""
    clients = {"httpx", "requests", "urllib3", "aiohttp", "httpx2", "http.client", "urllib.request"}
    allowed = {"tools/fetch.py", "tools/env.py"}
    found = {
        str(path)
        for room in ("tools", "graphs", "generators", "app/routes")
        for path in Path(room).rglob("*.py")
        if imported(path) & clients
    }
    assert found <= allowed


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


PIECES = st.sampled_from(
    (
        *("http", "https", "HTTP", "ftp", "://", ":", "/", "//", "@", "#", "?", "%", "[", "]", ".", "..", "\\", "%2e"),
        *("127.0.0.1", "8.8.8.8", "10.0.0.1", "::1", "::ffff:", "2606:4700::1", "0x7f", "0177", "1", "0", "80", "443"),
        *(
            "localhost",
            "loop.example",
            "mixed.example",
            "public.example",
            "xn--",
            "é",
            "。",
            "\u200b",
            "a b",
            "\t",
            "%00",
        ),
    )
)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://93.184.215.14#@127.0.0.1/", "93.184.215.14"),
        ("http://93.184.215.14?@127.0.0.1/", "93.184.215.14"),
        ("http://93.184.215.14/@127.0.0.1/", "93.184.215.14"),
        ("http://PUBLIC.example./", "public.example."),
    ],
)
async def test_the_host_that_is_vetted_is_the_host_that_is_told(url: str, host: str) -> None:
    """Where parsers of URLs may differ, the resolved name, the address connected to and the Host header agree."""
    wire = Recorder()

    async def public(asked: str, port: int) -> Sequence[str]:
        assert asked == host
        return ["93.184.215.14"]

    assert await fetch_with_policy(FetchPolicy(resolve=public, make_transport=lambda: wire), url, max_bytes=2) == b"ok"
    assert wire.dialled == ["93.184.215.14"] and wire.requests[0].headers["host"] == host


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.lists(PIECES, min_size=1, max_size=8).map("".join)
        | st.lists(PIECES, max_size=6).map(lambda parts: "http://" + "".join(parts))
        | st.from_regex(r"https?://[0-9a-fx.]{1,20}(:\d{1,5})?(/.*)?", fullmatch=True),
        min_size=40,
        max_size=40,
    )
)
async def test_parsers_agree(urls: list[str]) -> None:
    """For any text as a URL, only public addresses are connected to, and the only error is `fetch_rejected`."""
    wire = Recorder()

    async def resolving(host: str, port: int) -> Sequence[str]:
        return ["93.184.215.14"] if host == "public.example" else await known(host, port)

    policy = FetchPolicy(resolve=resolving, make_transport=lambda: wire, seconds=0.02)
    await asyncio.gather(*(_attempt(policy, url) for url in urls))
    assert all(map(is_public, wire.dialled))
    assert all(request.headers["host"] for request in wire.requests)


async def _attempt(policy: FetchPolicy, url: str) -> None:
    try:
        await fetch_with_policy(policy, url, max_bytes=CAP)
    except Invalid as error:
        assert error.code == "fetch_rejected"


def test_the_corpus_is_large_enough() -> None:
    """At least 188 URLs without duplicates."""
    assert len(set(URLS)) == len(URLS) >= 188
