"""The console: its page and files, and the session that stands for the key on its own page and nowhere else."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from app.bindings.assets import open_assets
from app.bindings.redis.token_bucket import TokenBuckets
from app.bindings.store import open_store
from app.http import console_session
from app.http.server import settle
from app.main import Application
from app.routes.console import MEDIA, policy
from app.settings import Settings
from tests.support.asgi_client import Answer, call, running_app
from tests.support.environment import bare_env, settings
from tests.support.samples.page_site import add_image, add_project
from tests.support.servers.forked import ROOT
from tools.rows import now_ms

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
PAGE, JSON = [("Accept", "text/html")], ("Content-Type", "application/json")
OURS = [("X-Picasso-Console", "1"), ("Origin", "http://127.0.0.1:8000"), ("Host", "127.0.0.1:8000")]
VENDOR = ROOT / "templates" / "console" / "vendor"


@pytest.fixture
async def app(tmp_path: Path, redis_client: Redis) -> AsyncIterator[Application]:
    async with opened(tmp_path, redis_client) as app:
        yield app


def opened(home: Path, redis: Redis, token: str | None = None, /, **environ: str) -> Any:
    """The application over real parts, as a start with this token would make it."""
    chosen = msgspec.structs.replace(settings(home, **{"API_KEY": KEY, **environ}), console_token=token)

    def open_parts(wanted: Settings) -> Any:
        parts = {
            "ASSETS": open_assets(),
            "USER_PREFERENCES": open_store(redis),
            "PICASSO_WORKFLOW": TokenBuckets(redis),
        }
        return bare_env(home, **parts, settings=wanted)

    return running_app(chosen, bindings=open_parts)


async def sign_in(app: Application, body: dict[str, str], *headers: tuple[str, str], peer: str = "127.0.0.1") -> Answer:
    sent = [*(headers or OURS), JSON]
    return await call(app, "POST", "/console/session", sent, msgspec.json.encode(body), peer=(peer, 50000))


async def cookie(app: Application) -> tuple[str, str]:
    """The header of a browser that is signed in."""
    answer = await sign_in(app, {"key": KEY})
    assert answer.status == 200, answer
    return "Cookie", answer.headers["set-cookie"].partition(";")[0]


async def make_project(app: Application, *headers: tuple[str, str]) -> int:
    return (await call(app, "POST", "/api/projects", [*headers, JSON], b'{"name": "a"}')).status


async def test_a_browser_gets_the_page_and_others_an_index(app: Application) -> None:
    """`/` is HTML where Accept names it, and else a JSON index whose paths exist; caches are told the difference."""
    page, index = await call(app, "GET", "/", PAGE), await call(app, "GET", "/", [("Accept", "*/*")])
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'<div id="console">' in page.body
    assert (index.status, index.headers["content-type"], page.headers["vary"]) == (200, "application/json", "Accept")
    known = {re.sub(r"\{\w+(:\w+)?\}", "{}", route.path) for route in app.routes}
    paths = [index.json()[name] for name in ("docs", "schema")] + list(index.json()["routes"].values())
    assert len(paths) > 8 and {re.sub(r"\{\w+\}", "{}", path) for path in paths} <= known


async def test_the_page_runs_only_its_own_scripts(app: Application) -> None:
    """Its policy lets nothing load from elsewhere and nothing inline; no file has what the policy would block."""
    answer = await call(app, "GET", "/", PAGE)
    rules = dict(rule.strip().partition(" ")[::2] for rule in answer.headers["content-security-policy"].split(";"))
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "frame-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = answer.body.decode()
    assert not re.search(r"<style|<script(?! type=\"module\" src=\")|\son\w+=|\sstyle=|https?:", text)


async def test_images_may_come_from_where_they_are_delivered(tmp_path: Path) -> None:
    """With Cloudflare Images its host is the one other source, and only for images."""
    chosen = settings(tmp_path, IMAGES="cloudflare://account/hash", CLOUDFLARE_API_TOKEN="t" * 32)
    assert policy(chosen).count("http") == 1
    assert "img-src 'self' blob: https://imagedelivery.net;" in policy(chosen)


def served() -> list[str]:
    """The console's files that the server sends, by their path below `/console/`."""
    names = [name.removeprefix("console/") for name in open_assets().names() if name.startswith("console/")]
    return sorted(name for name in names if name.endswith(tuple(MEDIA)))


async def test_files_have_their_type_and_a_tag(app: Application) -> None:
    """Scripts and styles come with their own media type, are asked for again by tag, and nothing else is served."""
    for name in served():
        answer = await call(app, "GET", f"/console/{name}")
        media = "text/css" if name.endswith(".css") else "image/svg+xml" if name.endswith(".svg") else "text/javascript"
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, media), name
        again = await call(app, "GET", f"/console/{name}", [("If-None-Match", answer.headers["etag"])])
        assert (again.status, again.body) == (304, b""), name
    for name in ("index.html", "vendor/README.md", "vendor/htm.LICENSE", "nothing.js", "views", "../docs/page.html"):
        assert (await call(app, "GET", f"/console/{name}")).status == 404, name


def test_every_import_leads_to_a_file() -> None:
    """Modules and the page name only files that exist, by relative paths, so a proxy's path does not matter."""
    root = ROOT / "templates" / "console"
    for name in served():
        text = (root / name).read_text("utf-8")
        for found in re.findall(r"(?:from|import\()\s*\"([^\"]+)\"", text) if not name.endswith(".css") else []:
            assert found.startswith((".", "./")) and ((root / name).parent / found).is_file(), (name, found)
    page = (root / "index.html").read_text("utf-8")
    for found in re.findall(r"(?:href|src)=\"console/([^\"]+)\"", page):
        assert (root / found).is_file(), found
    table = (root / "views.js").read_text("utf-8")
    views = re.findall(r"^    name: \"([\w-]+)\"", table, re.MULTILINE)
    assert len(views) >= 3 and views == re.findall(r"import\(\"\./views/([\w-]+)\.js\"\)", table)
    assert [name for name in views if not (root / "views" / f"{name}.css").is_file()] == []


def test_vendored_files_are_those_of_their_packages() -> None:
    """Each line of the list has its file, its licence and the hash of the package's file; there is no other file."""
    listed = (VENDOR / "README.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `([\w.]+)` \| \w+ [\d.]+ \| `[\w./]+` \| `([0-9a-f]{64})` \| [\w.-]+, `([\w.]+)` \|$", listed, re.M
    )
    for name, digest, licence in rows:
        data = (VENDOR / name).read_bytes()
        if name == "hooks.mjs":
            assert data.count(b'from"./preact.mjs"') == 1
            data = data.replace(b'from"./preact.mjs"', b'from"preact"')
        assert hashlib.sha256(data).hexdigest() == digest, name
        assert (VENDOR / licence).is_file()
    there = {entry.name for entry in VENDOR.iterdir()}
    assert (
        there == {"README.md", *(name for name, _, _ in rows), *(licence for _, _, licence in rows)} and len(rows) == 3
    )


async def test_a_key_is_exchanged_for_a_cookie_that_scripts_cannot_read(app: Application, redis_client: Redis) -> None:
    """The cookie is the browser's alone, works as the key does, and Redis holds neither it nor the key."""
    assert await make_project(app, *OURS) == 401
    answer = await sign_in(app, {"key": KEY})
    value, *attributes = answer.headers["set-cookie"].split("; ")
    assert attributes == ["Path=/", f"Max-Age={console_session.SESSION_SECONDS}", "HttpOnly", "SameSite=Strict"]
    signed = ("Cookie", value)
    assert (await call(app, "GET", "/console/session", [signed])).json() == {"signedIn": True}
    assert await make_project(app, signed, *OURS) == 201
    names = await redis_client.keys("marks:*")
    assert len(names) == 1 and 0 < await redis_client.ttl(names[0]) <= console_session.SESSION_SECONDS
    secret = value.partition("=")[2].encode()
    assert secret not in names[0] and KEY.encode() not in names[0]


async def test_signing_out_ends_the_session_everywhere(app: Application) -> None:
    """After it the same cookie, copied elsewhere, is worth nothing; another session goes on."""
    signed, other = await cookie(app), await cookie(app)
    answer = await call(app, "DELETE", "/console/session", [signed, *OURS])
    assert answer.status == 200 and "Max-Age=0" in answer.headers["set-cookie"]
    assert [await make_project(app, each, *OURS) for each in (signed, other)] == [401, 201]


async def test_another_key_ends_all_sessions(tmp_path: Path, redis_client: Redis) -> None:
    """Whoever changes API_KEY shuts out every browser that the old one let in."""
    async with opened(tmp_path, redis_client) as app:
        signed = await cookie(app)
    async with opened(tmp_path, redis_client, API_KEY=KEY[::-1]) as app:
        assert await make_project(app, signed, *OURS) == 401


@pytest.mark.parametrize(
    "wrong", ["x" * len(KEY), "", KEY[:-1], "\u00e9" * 40], ids=["another", "empty", "a prefix", "not ASCII"]
)
async def test_a_wrong_key_opens_nothing(app: Application, wrong: str) -> None:
    """It is refused without a cookie, and so are other shapes of the body."""
    for body in ({"key": wrong}, {"token": wrong}, {}, {"token": KEY}):
        answer = await sign_in(app, body)
        assert answer.status == 401 and "set-cookie" not in answer.headers
    assert (await sign_in(app, {"password": KEY})).status == 400


async def test_keys_cannot_be_tried_without_end(app: Application) -> None:
    """After a burst the right key, too, has to wait."""
    answers = [(await sign_in(app, {"key": "x" * 40})).status for _ in range(40)]
    assert answers[:10] == [401] * 10 and answers[-1] == 429
    late = await sign_in(app, {"key": KEY})
    assert late.status == 429 and int(late.headers["retry-after"]) > 0


async def test_the_link_of_a_start_signs_in_once(tmp_path: Path, redis_client: Redis) -> None:
    """Its token works once, in all processes together, only on this machine, and not for the next start."""
    token = console_session.new_token()
    async with opened(tmp_path, redis_client, token) as app, opened(tmp_path / "2", redis_client, token) as second:
        assert (await sign_in(app, {"token": token}, peer="203.0.113.9")).status == 401
        proxied = [*OURS, ("X-Forwarded-For", "203.0.113.9")]
        assert (await sign_in(app, {"token": token}, *proxied)).status == 401
        assert (await sign_in(app, {"token": token[:-1]})).status == 401
        answer = await sign_in(app, {"token": token})
        assert await make_project(app, ("Cookie", answer.headers["set-cookie"].partition(";")[0]), *OURS) == 201
        assert [(await sign_in(each, {"token": token})).status for each in (app, second)] == [401, 401]
    async with opened(tmp_path, redis_client, console_session.new_token()) as app:
        assert (await sign_in(app, {"token": token})).status == 401


async def test_a_link_that_was_asked_for_signs_in_once_from_anywhere(app: Application) -> None:
    """Who has the key can have a link for a browser, on whatever machine that is; without the key there is none."""
    assert (await call(app, "POST", "/console/link", [JSON])).status == 401
    answer = await call(app, "POST", "/console/link", [("X-Api-Key", KEY)])
    link = msgspec.json.decode(answer.body, type=dict[str, Any])
    address, _, token = link["url"].partition("/#sign-in=")
    assert address == "http://127.0.0.1:8000" and now_ms() < link["expiresAt"] <= now_ms() + 600_000
    assert [(await sign_in(app, {"token": token}, peer="203.0.113.9")).status for _ in range(2)] == [200, 401]


async def test_a_late_link_signs_nobody_in(tmp_path: Path, redis_client: Redis) -> None:
    """After its day the token is worth nothing, although nobody used it."""
    late = f"1.{'a' * 32}"
    async with opened(tmp_path, redis_client, late) as app:
        assert (await sign_in(app, {"token": late})).status == 401


def test_only_a_start_on_this_machine_prints_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On loopback a start prints a link with a token of at least 128 random bits, each start another; behind an
    address of the world it prints none."""
    tokens = set()
    for start in range(2):
        settled = settle(settings(tmp_path, PORT="0"), 8123)
        said = [json.loads(line)["msg"] for line in capsys.readouterr().out.splitlines()]
        # The key is told when it is made, and then never again.
        assert [line.partition(":")[0] for line in said] == (["Console"] if start else ["API key", "Console"])
        link = re.search(r"^Console: http://127\.0\.0\.1:8123/#sign-in=(\d+\.([\w-]{22,}))", said[-1])
        assert link and link[1] == settled.console_token and link[1] in settled.secrets
        tokens.add(link[2])
    assert len(tokens) == 2
    for environ in ({"HOST": "0.0.0.0"}, {"PUBLIC_URL": "https://picasso.example"}):
        assert settle(settings(tmp_path, API_KEY=KEY, **environ), 8123).console_token is None
    assert "Console:" not in capsys.readouterr().out


FOREIGN: dict[str, list[tuple[str, str]]] = {
    "no header": [("Origin", "http://127.0.0.1:8000")],
    "another origin": [("X-Picasso-Console", "1"), ("Origin", "https://evil.example")],
    "another port": [("X-Picasso-Console", "1"), ("Origin", "http://127.0.0.1:3000")],
    "a sandboxed page": [("X-Picasso-Console", "1"), ("Origin", "null")],
    "another site": [("X-Picasso-Console", "1"), ("Sec-Fetch-Site", "cross-site")],
    "the same site": [("X-Picasso-Console", "1"), ("Sec-Fetch-Site", "same-site")],
    "another value": [("X-Picasso-Console", "true"), ("Origin", "http://127.0.0.1:8000")],
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_other_pages_cannot_use_the_cookie(app: Application, name: str) -> None:
    """A request that another page makes with the browser's cookie is refused, for writing, signing in and out."""
    signed, host = await cookie(app), ("Host", "127.0.0.1:8000")
    assert await make_project(app, signed, host, *FOREIGN[name]) == 403
    assert (await call(app, "DELETE", "/console/session", [signed, host, *FOREIGN[name]])).status == 403
    assert (await sign_in(app, {"key": KEY}, host, *FOREIGN[name])).status == 403
    assert await make_project(app, signed, *OURS) == 201


async def test_closed_reads_open_for_the_console_only(tmp_path: Path, redis_client: Redis) -> None:
    """With READS_NEED_KEY the cookie opens reads and streams for our page, not for one of another port."""
    async with opened(tmp_path, redis_client, READS_NEED_KEY="true") as app:
        signed = await cookie(app)
        assert (await call(app, "GET", "/api/projects")).status == 401
        assert (await call(app, "GET", "/api/projects", [signed, ("Sec-Fetch-Site", "same-origin")])).status == 200
        assert (await call(app, "GET", "/api/projects", [signed, ("Sec-Fetch-Site", "same-site")])).status == 403
        host, foreign = ("Host", "127.0.0.1:8000"), ("Origin", "http://127.0.0.1:3000")
        assert (await call(app, "GET", "/api/sessions/s/events", [signed, host])).status == 200
        assert (await call(app, "GET", "/api/sessions/s/events", [signed, host, foreign])).status == 403


async def test_the_cookie_belongs_to_the_public_address(tmp_path: Path, redis_client: Redis) -> None:
    """Behind https below a path the cookie is Secure and is sent only there; that origin counts as ours."""
    async with opened(tmp_path, redis_client, PUBLIC_URL="https://studio.example/picasso") as app:
        ours = [("X-Picasso-Console", "1"), ("Origin", "https://studio.example"), ("Host", "10.0.0.7:8000")]
        answer = await sign_in(app, {"key": KEY}, *ours)
        assert answer.status == 200
        assert answer.headers["set-cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")
        assert "; Path=/picasso;" in answer.headers["set-cookie"]


async def test_an_overview_has_the_newest_images_of_each_project(app: Application) -> None:
    """A card counts all images and shows the newest four; a project without any is there, too; pages follow."""
    env = app.lifecycle.env
    assert env is not None
    for project, count in (("empty", 0), ("full", 6)):
        await add_project(env, project, name=project)
        rows = [await add_image(env, project, number, prompt=f"a boat {number}") for number in range(count)]
        newest = [row.id for row in reversed(rows)][:4] if rows else []
        first = (await call(app, "GET", "/api/overview?limit=1")).json()
        assert first["items"][0]["id"] == project
        assert [cover["progressionId"] for cover in first["items"][0]["covers"]] == newest
        facts = {name: first["items"][0][name] for name in ("images", "runningJobs", "spentUsd", "budgetUsd")}
        assert facts == {"images": count, "runningJobs": 0, "spentUsd": 0.0, "budgetUsd": None}
    rest = (await call(app, "GET", f"/api/overview?limit=1&cursor={first['nextCursor']}")).json()
    assert ([card["id"] for card in rest["items"]], rest["nextCursor"]) == (["empty"], None)
    assert (await call(app, "GET", "/api/jobs/none/progressions")).status == 404
