"""Who gets in: the key on every route, the caller's address, and settings too weak to start with."""

import asyncio
import hashlib
import inspect
import ipaddress
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from app.http import security
from app.http.security import check_access, client_address, is_key, limit_jobs, limit_key, visitor
from app.main import Application, create_app
from app.settings import SettingError, Settings, read_settings
from tests.support.asgi_client import call, running_app
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.servers.forked import ROOT
from tests.support.servers.picasso import running
from tools.errors import Unavailable

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
BAD_KEYS: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "empty": [("X-Api-Key", "")],
    "another": [("X-Api-Key", "x" * len(KEY))],
    "a prefix": [("X-Api-Key", KEY[:-1])],
    "one more": [("X-Api-Key", KEY + "x")],
    "other case": [("X-Api-Key", KEY.upper())],
    "quoted": [("X-Api-Key", f'"{KEY}"')],
    "twice": [("X-Api-Key", KEY), ("X-Api-Key", KEY)],
    "a list": [("X-Api-Key", f"{KEY},{KEY}")],
    "not ASCII": [("X-Api-Key", "\xff" * len(KEY))],
    "very long": [("X-Api-Key", KEY * 100)],
    "as a bearer": [("Authorization", f"Bearer {KEY}")],
    "as a cookie": [("Cookie", f"X-Api-Key={KEY}; api_key={KEY}")],
    "another header": [("X-Api_Key", KEY), ("Api-Key", KEY), ("X-Forwarded-Api-Key", KEY)],
}
SAMPLES = {"str": "abcdef0123456789", "path": "a/b"}


def spellings(path: str) -> Iterator[str]:
    """The path, and thirty other ways that some server or router takes for it."""
    if path == "/":
        yield path
        return
    first, _, rest = path[1:].partition("/")
    head, _, last = path.rpartition("/")
    yield from (path, f"{path}/", f"{path}//", f"/{path}", f"//{path}", f"/{first}//{rest}", f"/./{path[1:]}")
    yield from (f"/x/../{path[1:]}", f"{path}/.", f"{path}/..", f"{path}/x/..", f"{path}.", f"{path}..", f"{path};")
    yield from (f"{path};a=b", f"/{first};a=b/{rest}", f"{head}%2f{last}", f"{head}%2F{last}", f"{head}%5c{last}")
    yield from (
        f"{path}%00",
        f"{path}%20",
        f"{path}%09",
        f"{path}%0d%0a",
        f"{path}/schema",
        f"{path}/schema/openapi.json",
    )
    yield from (path.upper(), f"/{first.upper()}/{rest}", f"%2e%2e{path}", f"/%2e{path}", f"{path}?key={KEY}")
    yield from (
        f"{path}?api_key={KEY}&X-Api-Key={KEY}",
        f"{path}/schema/openapi.json",
        f"\\{path[1:]}",
        f"{path}%c0%af",
    )
    yield f"/{f'%{ord(first[0]):02x}'}{first[1:]}/{rest}"


def sample(route: HTTPRoute) -> str:
    """A path of the route with something in its places."""
    parts = (
        part if isinstance(part, str) else SAMPLES.get(part.type.__name__, "a/b") for part in route.path_components
    )
    return "/" + "/".join(parts)


def targets(app: Application) -> Iterator[tuple[str, str]]:
    """Every method × path that must not do anything without a key, unknown paths included."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method in METHODS:
                if not is_open(route, method):
                    yield method, sample(route)
    yield from ((method, "/api/unknown") for method in METHODS)


def is_open(route: HTTPRoute, method: str) -> bool:
    method = "GET" if method == "HEAD" else method
    handlers = (handler for handler in route.route_handlers if method in handler.http_methods)
    return any(handler.opt.get("access") in ("open", "read") for handler in handlers)


def contents(home: Path) -> dict[str, str]:
    """Every file of the data directory but the database's own, and the database's rows."""
    import sqlite3

    found = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*")
        if path.is_file() and not path.name.startswith("picasso.db")
    }
    connection = sqlite3.connect(f"file:{home}/picasso.db?mode=ro", uri=True)
    found["rows"] = "\n".join(connection.iterdump())
    connection.close()
    return found


async def test_nothing_is_written_without_the_key(tmp_path: Path, rounds: int) -> None:
    """Every route × method × bad key × path spelling is answered 401, 404 or 405 and changes nothing."""
    dice = random.Random(rounds)
    async with running_app(settings(tmp_path, API_KEY=KEY)) as app:
        before, tried = contents(tmp_path), 0
        for method, path in targets(app):
            combinations = [(name, path) for name in BAD_KEYS] + [("none", spelled) for spelled in spellings(path)]
            combinations += [(dice.choice(list(BAD_KEYS)), spelled) for spelled in list(spellings(path)) * (rounds - 1)]
            for name, target in combinations:
                answer = await call(app, method, target, [*BAD_KEYS[name], ("Content-Type", "application/json")], b"{}")
                assert answer.status in (401, 404, 405), (method, target, name, answer)
                tried += 1
        assert contents(tmp_path) == before
        assert tried > 5000


async def test_reads_need_the_key_when_told_so(tmp_path: Path) -> None:
    """With READS_NEED_KEY every read below /api needs the key as well, and only the stream takes it as `?key=`."""
    async with running_app(settings(tmp_path, API_KEY=KEY, READS_NEED_KEY="true")) as app:
        reads = [
            sample(route)
            for route in app.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            if "GET" in handler.http_methods and handler.opt.get("access") != "open"
        ]
        assert len(reads) >= 8
        for path in reads:
            for name, headers in BAD_KEYS.items():
                assert (await call(app, "GET", path, headers)).status == 401, (path, name)
            if not path.startswith(security.STREAM):
                assert (await call(app, "GET", f"{path}?key={KEY}")).status == 401, path
        assert (await call(app, "GET", "/api/projects", {"X-Api-Key": KEY})).status == 200


def each_handler(app: Application) -> Iterator[tuple[str, BaseRouteHandler]]:
    for route in app.routes:
        handlers = route.route_handlers if isinstance(route, HTTPRoute) else [route.route_handler]
        yield from ((route.path, handler) for handler in handlers)


PROBES = ("/healthz", "/readyz")


async def test_every_handler_states_its_guard(tmp_path: Path) -> None:
    """Handlers have no unknown options, are behind the guard, and are open only where they must be public."""
    app = create_app(settings(tmp_path, API_KEY=KEY), jobs=False)
    for path, handler in each_handler(app):
        assert set(handler.opt) <= {"access", "body"}, (path, handler.opt)
        assert handler.opt.get("access", "read") in ("open", "read"), path
        assert handler.opt.get("body", "image") in ("image", "form"), path
        assert check_access in [inspect.unwrap(getattr(guard, "func", guard)) for guard in handler.resolve_guards()], (
            path
        )
        if handler.opt.get("access") == "open":
            open_paths = ("/public/", "/images/", "/assets/", "/schema", "/docs", "/console/")
            assert path.startswith(open_paths) or path in ("/", *PROBES), path
        if isinstance(handler, HTTPRouteHandler) and not HARMLESS.issuperset(handler.http_methods):
            assert "access" not in handler.opt or path.startswith("/public/") or path == "/console/session", path
        if path.startswith(("/api/preferences", "/_actor", "/metrics")) or path.endswith("/messages"):
            assert "access" not in handler.opt, path
        if isinstance(handler, HTTPRouteHandler):
            assert handler.resolve_request_max_body_size(), path
            assert not handler.cache, path


async def test_the_key_is_compared_in_constant_time(tmp_path: Path) -> None:
    """The time that a wrong key takes does not reveal how much of it is right."""
    chosen = settings(tmp_path, API_KEY=KEY)
    wrong = {"first": [c + KEY[1:] for c in "ABCDEFGHIJ"], "last": [KEY[:-1] + c for c in "ABCDEFGHIJ"]}
    assert is_key(KEY, chosen) and not any(is_key(key, chosen) for keys in wrong.values() for key in keys)
    assert not is_key("", settings(tmp_path)) and not is_key("None", settings(tmp_path))
    assert "compare_digest" in inspect.getsource(is_key)

    def welch() -> float:
        times: dict[str, list[int]] = {name: [] for name in wrong}
        for _ in range(20_000):
            for name in random.sample(list(wrong), 2):
                # A fresh string each time, or the measurement shows where in memory the string is.
                key = "".join(list(random.choice(wrong[name])))
                started = time.perf_counter_ns()
                is_key(key, chosen)
                times[name].append(time.perf_counter_ns() - started)
        middle = [sorted(values)[: len(values) * 9 // 10] for values in times.values()]
        spread = sum(statistics.variance(values) / len(values) for values in middle)
        first, last = map(statistics.fmean, middle)
        # On a busy machine the one group may get the better moments: a difference under 5 % is no lever either.
        return 0.0 if abs(first - last) < 0.05 * first else abs(first - last) / max(spread, 1e-12) ** 0.5

    # A noisy machine shifts one round; a comparison that leaks shifts them all.
    assert any(welch() < 4.5 for _ in range(8))


async def test_the_key_is_nowhere(tmp_path: Path) -> None:
    """Neither a right nor a wrong key gets into the database, the files, the log or a representation."""
    wrong = "a-wrong-key-" + "9876543210" * 3
    async with running(tmp_path, API_KEY=KEY) as server, server.client() as client:
        for key in (KEY, wrong):
            await client.post("/api/projects", json={"name": "a"}, headers={"X-Api-Key": key})
            await client.post("/api/projects", json={"name": 1}, headers={"X-Api-Key": key})
            await client.get(f"/api/stream/{key}/x?key={key}")
            await client.get(f"/healthz?key={key}", headers={"X-Api-Key": key})
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert KEY.encode() not in data and wrong.encode() not in data, path
    assert KEY not in repr(settings(tmp_path, API_KEY=KEY)) and KEY not in str(settings(tmp_path, API_KEY=KEY))


def scope(peer: str | None, *headers: tuple[str, str]) -> Any:
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "client": (peer, 1) if peer else None, "headers": lines}


def forged(n: int) -> Iterator[str]:
    dice = random.Random(1)
    words = [
        "garbage<script>",
        "",
        "unknown",
        "_hidden",
        "127.0.0.1:80",
        "[::1]",
        "1.2.3.4, 5.6.7.8",
        "fe80::1%eth0",
        "0x7f.1",
    ]
    yield from words
    for _ in range(n - len(words)):
        hops = [str(ipaddress.ip_address(dice.getrandbits(32))) for _ in range(dice.randint(1, 4))]
        yield ", ".join(hops)


async def test_the_caller_cannot_choose_its_address(tmp_path: Path) -> None:
    """Whatever an untrusted peer writes into forwarding headers, its address and its bucket stay the same."""
    chosen = settings(tmp_path)
    names = ("X-Forwarded-For", "CF-Connecting-IP", "X-Real-IP", "Forwarded", "True-Client-IP")
    seen = {
        limit_key(client_address(scope("203.0.113.9", *((name, value) for name in names)), chosen))
        for value in forged(500)
    }
    assert seen == {"203.0.113.9"}


BEHIND_PROXY = [
    pytest.param([("X-Forwarded-For", "198.51.100.7")], "198.51.100.7", id="one hop"),
    pytest.param([("X-Forwarded-For", "1.1.1.1, 198.51.100.7")], "198.51.100.7", id="right-most"),
    pytest.param([("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 10.0.0.2")], "198.51.100.7", id="trusted hops"),
    pytest.param([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.7")], "198.51.100.7", id="two lines"),
    pytest.param([("X-Forwarded-For", "6.6.6.6, garbage<script>")], "127.0.0.1", id="garbage ends the walk"),
    pytest.param([("X-Forwarded-For", "6.6.6.6, garbage, 10.0.0.2")], "10.0.0.2", id="garbage behind a proxy"),
    pytest.param([("X-Forwarded-For", "")], "127.0.0.1", id="empty"),
    pytest.param(
        [("CF-Connecting-IP", "198.51.100.7"), ("X-Forwarded-For", "6.6.6.6")], "198.51.100.7", id="Cloudflare"
    ),
    pytest.param([("CF-Connecting-IP", "<x>"), ("X-Forwarded-For", "198.51.100.7")], "198.51.100.7", id="no address"),
    pytest.param(
        [("CF-Connecting-IP", "6.6.6.6"), ("CF-Connecting-IP", "7.7.7.7"), ("X-Forwarded-For", "198.51.100.7")],
        "198.51.100.7",
        id="CF twice",
    ),
    pytest.param([("X-Forwarded-For", "2001:db8:1:2:3::4")], "2001:db8:1:2:3::4", id="IPv6"),
    pytest.param([("X-Forwarded-For", "::ffff:198.51.100.7")], "198.51.100.7", id="mapped"),
]


@pytest.mark.parametrize(("headers", "address"), BEHIND_PROXY)
async def test_a_trusted_proxy_is_believed(tmp_path: Path, headers: list[tuple[str, str]], address: str) -> None:
    """Behind a trusted proxy the address is its right-most untrusted hop, and only ever a parsed one."""
    chosen = settings(tmp_path, TRUSTED_PROXIES="127.0.0.1/32,10.0.0.0/8")
    assert str(client_address(scope("127.0.0.1", *headers), chosen)) == address


async def test_ipv6_is_limited_by_its_network(tmp_path: Path) -> None:
    """All addresses of one /64 share a bucket; a peer without an address has one of its own."""
    chosen = settings(tmp_path)
    buckets = {limit_key(client_address(scope(f"2001:db8:0:7::{i:x}"), chosen)) for i in range(1, 50)}
    assert buckets == {"2001:db8:0:7::/64"}
    assert limit_key(client_address(scope(None, ("X-Forwarded-For", "6.6.6.6")), chosen)) == "local"


class Bucket:
    """A token bucket that gives the test's answer, and records its calls."""

    def __init__(self, wait: float | Unavailable) -> None:
        self.wait, self.asked = wait, list[tuple[str, int, int]]()

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        self.asked.append((bucket, capacity, per_minute))
        if isinstance(self.wait, Unavailable):
            raise self.wait
        return self.wait


@pytest.mark.parametrize(
    ("wait", "status"),
    [(0.0, 200), (2.5, 429), (Unavailable("Redis did not answer"), 503)],
    ids=["room", "full", "away"],
)
async def test_job_submissions_are_limited(tmp_path: Path, wait: float | Unavailable, status: int) -> None:
    """Each address has a bucket of JOBS_PER_MINUTE with a burst of 120; full is 429, no Redis is 503."""
    bucket = Bucket(wait)

    @post("/api/limited", status_code=200)
    async def submit(request: Request[Any, Any, Any], settings: NamedDependency[Settings]) -> None:
        env: Any = SimpleNamespace(PICASSO_WORKFLOW=bucket)
        await limit_jobs(request, env, settings)

    async with running_app(settings(tmp_path, API_KEY=KEY, JOBS_PER_MINUTE="30"), more_handlers=[submit]) as app:
        answer = await call(app, "POST", "/api/limited", {"X-Api-Key": KEY}, peer=("2001:db8::9", 1))
    assert answer.status == status and bucket.asked == [("jobs:2001:db8::/64", 120, 30)]
    assert answer.headers.get("retry-after") == {429: "3", 503: "1"}.get(status)


async def test_visitors_stay_private(tmp_path: Path) -> None:
    """GPC and DNT leave no address; Cloudflare's words count only from a trusted proxy; agents are cut."""
    chosen = settings(tmp_path)
    told = [
        ("CF-IPCountry", "DE"),
        ("CF-IPCity", "K\xc3\xb6ln"),
        ("User-Agent", "a" * 999),
        ("X-Forwarded-For", "6.6.6.6"),
    ]
    near = visitor(scope("127.0.0.1", *told), chosen)
    assert (near.ip, near.country, near.city, near.user_agent) == ("6.6.6.6", "DE", "Köln", "a" * 256)
    far = visitor(scope("203.0.113.9", *told), chosen)
    assert (far.ip, far.country, far.city) == ("203.0.113.9", None, None)
    for name in ("Sec-GPC", "DNT"):
        shy = visitor(scope("127.0.0.1", *told, (name, "1")), chosen)
        assert (shy.ip, shy.country, shy.city) == (None, None, None)


WEAK = [
    pytest.param({"API_KEY": "short"}, id="short"),
    pytest.param({"API_KEY": "x" * 31}, id="31 characters"),
    pytest.param({"API_KEY": "x" * 32 + " "}, id="space at the end"),
    pytest.param({"API_KEY": "x" * 20 + " " + "x" * 20}, id="space inside"),
    pytest.param({"API_KEY": "x" * 40 + "\n"}, id="line break"),
    pytest.param({"API_KEY": " " * 40}, id="only spaces"),
    pytest.param({"API_KEY": "ü" * 40}, id="not ASCII"),
    pytest.param({"API_KEY": "changeme", "HOST": "0.0.0.0"}, id="default"),
    pytest.param({"API_KEY": "", "HOST": "0.0.0.0"}, id="empty on a public host"),
    pytest.param({"HOST": "0.0.0.0"}, id="none on a public host"),
    pytest.param({"HOST": "::"}, id="none on all of IPv6"),
    pytest.param({"CORS_ORIGINS": "*"}, id="any origin"),
    pytest.param({"CORS_ORIGINS": "https://*.example"}, id="wildcard origin"),
    pytest.param({"CORS_ORIGINS": "null"}, id="null origin"),
    pytest.param({"CORS_ORIGINS": "https://app.example/page"}, id="a page for an origin"),
    pytest.param({"CORS_ORIGINS": "https://"}, id="half an origin"),
]
UNUSABLE = [
    ("PUBLIC_URL", "http://"),
    ("PUBLIC_URL", "http://my host"),
    ("PUBLIC_URL", "https://host:port"),
    ("PUBLIC_URL", "https://host.example/?page=1"),
    ("OPENAI_BASE_URL", "localhost:1234"),
    ("GOOGLE_GEMINI_BASE_URL", "https://[half"),
    ("CLOUDFLARE_BASE_URL", "ftp://host.example"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
    ("OPENAI_API_KEY", "sk-two\nlines"),
    ("GEMINI_API_KEY", "schlüssel"),
    ("CLOUDFLARE_API_TOKEN", "a b"),
    ("AWS_SECRET_ACCESS_KEY", "a\x00b"),
]


@pytest.mark.parametrize("environ", WEAK)
async def test_weak_settings_are_refused(environ: dict[str, str]) -> None:
    """A setting too weak to start with is refused by its name."""
    with pytest.raises(SettingError, match=r"^(API_KEY|CORS_ORIGINS) "):
        read_settings(environ)


@pytest.mark.parametrize(("name", "value"), UNUSABLE)
def test_what_no_call_could_be_made_with_is_refused(name: str, value: str) -> None:
    """An address that leads nowhere, or a key that fits no header, ends the start by its name and is not repeated."""
    with pytest.raises(SettingError, match=rf"^{name} must be ") as refused:
        read_settings({name: value})
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    "setting",
    ["PROVIDER_WIDTH==8", "PROVIDER_WIDTH=openai", "PROVIDER_WIDTH=openai=0", "FETCH_ALLOW=host:99999",
     "FETCH_ALLOW=http://host:80", "FETCH_ALLOW=host", "PORT=abc", "PORT=70000"],
)  # fmt: skip
def test_what_would_be_heeded_nowhere_is_refused(setting: str) -> None:
    """The line opens with the setting's name."""
    name, _, value = setting.partition("=")
    with pytest.raises(SettingError, match=rf"^{name} must "):
        read_settings({name: value})


async def test_weak_settings_do_not_start(tmp_path: Path) -> None:
    """The process ends with exit code 78 and one line; the debug switch of the framework changes nothing."""
    environ = {"PICASSO_HOME": str(tmp_path), "API_KEY": "short", "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app", "serve"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 78 and len(done.stderr.splitlines()) == 1 and "API_KEY" in done.stderr
    async with running(tmp_path / "debug", LITESTAR_DEBUG="1") as server, server.client() as client:
        answer = await client.get("/api/projects?limit=x")
        assert answer.status_code == 400 and set(answer.json()) == {"error"}


async def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    """A damaged key file stops the start instead of guarding nothing."""
    (tmp_path / "api_key").write_text("x\n")
    with pytest.raises(SettingError, match="api_key must have at least 32"):
        security.home_key(tmp_path)


async def test_a_data_directory_that_can_hold_no_key_is_refused(tmp_path: Path) -> None:
    """One line that names the setting and the place, not an error of the system."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"^PICASSO_HOME cannot keep a key at .*: Not a directory$"):
        security.home_key(tmp_path / "file" / "home")
