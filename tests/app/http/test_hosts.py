"""By which names the server is reached, below which path, and what pages of other origins may do."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.http.hosts import public_origin
from app.main import Application
from app.settings import SettingError, read_settings
from tests.support.asgi_client import Answer, call, running_app
from tests.support.environment import settings

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
SITE = {
    "API_KEY": KEY,
    "PUBLIC_URL": "https://Picasso.example/made/here",
    "ALLOWED_HOSTS": "picasso.lan, *.internal",
    "CORS_ORIGINS": "https://App.example:443, http://localhost:5173",
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    async with running_app(settings(tmp_path_factory.mktemp("hosts"), **SITE)) as app:
        yield app


@pytest.mark.parametrize(
    "host",
    [
        "picasso.example", "PICASSO.example:443", "picasso.example.", "picasso.lan:8000", "a.internal", "a.b.internal",
        "localhost", "localhost:5000", "app.localhost:80", "127.0.0.1:8000", "127.8.9.1", "[::1]:8000", "[::1]",
        "192.168.1.20:8000", "[2001:db8::5]:443", "10.1.2.3:", "[::ffff:127.0.0.1]:8000",
    ],
)  # fmt: skip
async def test_its_own_names_and_every_address_are_served(app: Application, host: str) -> None:
    """PUBLIC_URL's name, loopback ones, ALLOWED_HOSTS and IP addresses, which nobody can point elsewhere."""
    for path in ("/healthz", "/api/projects", "/readyz"):
        assert (await call(app, "GET", path, {"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "internal", "picasso.example.evil.example", "xinternal", "127.0.0.1.nip.io",
     "localhost.evil.example", "notlocalhost", "2130706433", "0x7f.1", "app.example"],
)  # fmt: skip
async def test_a_foreign_name_is_misdirected(app: Application, host: str) -> None:
    """421 at every door, before the route, and the message names the setting."""
    for method, path in (("GET", "/healthz"), ("POST", "/api/projects"), ("GET", "/nowhere"), ("OPTIONS", "/")):
        answer = await call(app, method, path, {"Host": host})
        assert (answer.status, answer.json()["error"]["code"]) == (421, "misdirected")
        assert "ALLOWED_HOSTS" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "host",
    ["a b:c", "a b", "localhost:c", "localhost:70000", "localhost:0", "localhost:-1", "[::1", "::1", "[::g]:80",
     "local/host", "user@localhost", "localhost:80:80", "", " ", ".", "localhost#", "l\xf6calhost", "[fe80::1%eth0]",
     "localhost,evil.example", "localhost:0080000"],
)  # fmt: skip
async def test_a_header_that_is_no_host_is_refused(app: Application, host: str) -> None:
    """400 in the one error shape, with or without a key, and nothing unexpected in the log."""
    for headers in ({}, {"X-Api-Key": KEY}):
        answer = await call(app, "GET", "/api/projects", {"Host": host, **headers})
        assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_host")


async def test_two_hosts_are_refused_and_none_is_served(app: Application) -> None:
    """Two headers are one too many; HTTP/1.0 has none."""
    assert (await call(app, "GET", "/healthz", [("Host", "localhost"), ("Host", "localhost")])).status == 400
    assert (await call(app, "GET", "/healthz")).status == 200


@pytest.mark.parametrize("value", ["http://picasso.lan", "picasso.lan:8000", "a b", "*", "*.", "a/b", "-*.lan"])
def test_hosts_that_would_name_nothing_are_refused(value: str) -> None:
    """A setting that no Host header could match ends the start by its name."""
    with pytest.raises(SettingError, match=r"^ALLOWED_HOSTS must list host names"):
        read_settings({"ALLOWED_HOSTS": value})


def test_an_ipv6_address_may_have_its_brackets() -> None:
    """HOST and TRUSTED_PROXIES take an IPv6 address as URLs write it."""
    chosen = read_settings({"HOST": "[::1]", "TRUSTED_PROXIES": "[::1], 10.0.0.0/8, [2001:db8::]/32"})
    assert (chosen.host, chosen.public_url, public_origin(chosen)) == ("::1", *["http://[::1]:8000"] * 2)
    assert [str(network) for network in chosen.trusted_proxies] == ["::1/128", "10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200), ("/made/here/healthz", 200), ("/made/here/api/projects", 200), ("/made/here/nowhere", 404),
        ("/made/healthz", 404), ("/made/herehealthz", 404), ("/made/here/made/here/healthz", 404),
        ("/made/here", 200), ("/made/here/", 200), ("/made/here//healthz", 404), ("/made/here/../healthz", 404),
    ],
)  # fmt: skip
async def test_the_path_of_public_url_may_be_passed_on_or_stripped(app: Application, path: str, status: int) -> None:
    """Both kinds of proxy work: one that strips the path, and one that passes it on."""
    assert (await call(app, "GET", path)).status == status


async def test_a_path_like_one_of_our_own_is_no_trap(tmp_path: Path) -> None:
    """Below `/api` a proxy that strips the path and one that passes it on reach the same routes."""
    async with running_app(settings(tmp_path, API_KEY=KEY, PUBLIC_URL="https://host.example/api")) as app:
        for path in ("/api/projects", "/api/api/projects", "/api/healthz", "/healthz"):
            assert (await call(app, "GET", path)).status == 200, path


async def test_head_is_get_without_a_body(app: Application) -> None:
    """On every readable route HEAD has GET's status and headers, and Content-Length where GET has it."""
    for path in (
        "/healthz",
        "/api/knowledge",
        "/api/projects",
        "/api/providers",
        "/schema",
        "/docs",
        "/nowhere",
        "/metrics",
    ):
        got, headed = await call(app, "GET", path), await call(app, "HEAD", path)
        assert (headed.status, headed.body) == (got.status, b""), path
        assert headed.headers.get("content-type") == got.headers["content-type"], path
        assert headed.headers.get("content-length") == got.headers.get("content-length"), path
    refused = await call(app, "DELETE", "/api/projects")
    assert refused.status == 405 and refused.headers["allow"] == "GET, HEAD, POST"
    assert (await call(app, "HEAD", "/broadcast")).status == 405


def allowed_for(answer: Answer) -> str | None:
    return answer.headers.get("access-control-allow-origin")


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:5173"])
async def test_cors_holds_for_preflight_answers_and_errors(app: Application, origin: str) -> None:
    """An origin of CORS_ORIGINS, as browsers write it, may send our headers and read ours, on every status."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for path in ("/api/projects", "/api/projects/p/jobs", "/api/projects/p/uploads", "/api/stream/s"):
        preflight = await call(app, "OPTIONS", path, asked)
        assert (preflight.status, allowed_for(preflight)) == (204, origin)
        sent = preflight.headers["access-control-allow-headers"].lower().split(", ")
        assert {"content-type", "x-api-key", "idempotency-key", "last-event-id", "prefer"} <= set(sent)
    for method, path in (("GET", "/api/projects"), ("GET", "/no"), ("POST", "/api/projects"), ("PUT", "/api/projects")):
        answer = await call(app, method, path, {"Origin": origin})
        assert allowed_for(answer) == origin and answer.headers["vary"] == "Origin", (method, path)
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"etag", "retry-after", "location", "x-correlation-id", "idempotency-replayed"} <= set(exposed)


async def test_another_origin_is_told_which_setting_names_it(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """Its preflight is 403 with the setting's name, and the operator's log names the origin, once."""
    asked = {"Origin": "https://new.example", "Access-Control-Request-Method": "POST"}
    with caplog.at_level(logging.WARNING, "picasso.http"):
        for _ in range(3):
            preflight = await call(app, "OPTIONS", "/api/projects", asked)
            await call(app, "GET", "/api/projects", {"Origin": "https://new.example"})
    assert (preflight.status, preflight.json()["error"]["code"]) == (403, "cors_refused")
    assert "CORS_ORIGINS" in preflight.json()["error"]["message"] and allowed_for(preflight) is None
    assert [record.getMessage() for record in caplog.records if "https://new.example" in record.getMessage()] == [
        "a page of another origin asks for the API; CORS_ORIGINS does not name 'https://new.example'"
    ]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:5174", "https://app.example.evil"]
)
async def test_no_page_of_another_origin_reads_a_stream(app: Application, origin: str) -> None:
    """Streams refuse a foreign Origin, also while reads are open."""
    answer = await call(app, "GET", "/api/stream/s", {"Origin": origin, "Host": "localhost:8000"})
    assert (answer.status, answer.json()["error"]["code"]) == (403, "forbidden")
