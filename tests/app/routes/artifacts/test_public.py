"""Published pages over real parts: sandboxed, cached by hash, counted once, and never delayed by the counting."""

import asyncio
import base64
import contextlib
import dataclasses
import functools
import hashlib
import ipaddress
import logging
import os
import random
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from app.bindings.queue import RedisQueue, open_queue
from app.bindings.redis.connection import RedisServer, open_redis
from app.routes.artifacts import public
from tests.support.deadlines import LONG, until
from tests.support.environment import settings
from tests.support.samples.page_site import (
    Line,
    add_image,
    add_project,
    client_of,
    pages_env,
    publish,
    site,
    small_app,
)
from tools.env import Env, Message
from tools.errors import Unavailable
from tools.publishing import artifacts
from tools.publishing.views import write_views
from tools.rows import ArtifactView, Count

BOXED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "strict-transport-security": "max-age=31536000",
}
SEALED = ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "sandbox")
HTML = {"Accept": "text/html,application/xhtml+xml"}


async def made(env: Env, client: httpx.AsyncClient, images: int = 1) -> str:
    """The slug of a lookbook."""
    await add_project(env, "p", "Aurora")
    for number in range(images):
        await add_image(env, "p", number)
    return str((await publish(client, "p"))["public_slug"])


async def test_every_public_answer_is_boxed_in(tmp_path: Path) -> None:
    """200, 304, 404 and 405, GET and HEAD: nothing but the page's own style and delivery images may load, in no
    frame, with no script, form or base, and nothing is sniffed, referred to or shared."""
    async with site(tmp_path, environ={"PUBLIC_URL": "https://pages.example"}) as (env, client):
        slug = await made(env, client)
        page = await client.get(f"/public/artifact/{slug}")
        tag = {"If-None-Match": page.headers["etag"]}
        answers = [
            page,
            await client.head(f"/public/artifact/{slug}"),
            await client.get(f"/public/lookbook/{slug}", headers=tag),
            await client.head(f"/public/lookbook/{slug}", headers=tag),
            await client.get("/public/artifact/nowhere", headers=HTML),
            await client.head("/public/artifact/nowhere", headers=HTML),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 304, 304, 404, 404]
        for answer in answers:
            assert {name: answer.headers[name] for name in BOXED} == BOXED
            assert set(SEALED) <= {part.strip() for part in answer.headers["content-security-policy"].split(";")}
        style = page.text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = page.headers["content-security-policy"]
        assert f"; img-src 'self'; style-src 'sha256-{digest}'; " in policy
        for answer in (await client.get("/public/artifact/nowhere"), await client.post(f"/public/artifact/{slug}")):
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")


async def test_a_page_is_cached_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    """ETag begins with the SHA-256 of what is stored; a client that has it gets 304 without a body, HEAD gets the size
    and no body."""
    async with site(tmp_path) as (env, client):
        slug = await made(env, client)
        path = f"/public/artifact/{slug}"
        page = await client.get(path)
        tag = page.headers["etag"]
        assert page.headers["content-length"] == str(len(page.content))
        row = await artifacts.by_slug(env, slug)
        assert row is not None and tag.startswith(f'"{row.content_sha256}-')
        assert page.headers["cache-control"] == "public, max-age=60, must-revalidate"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for known in (tag, f"W/{tag}", "*", f'"x", {tag}'):
            answer = await client.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert (await client.get(path, headers={"If-None-Match": '"x"'})).status_code == 200
        head = await client.head(path)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(page.content)))


async def test_pages_that_are_not_there_cannot_be_told_apart(tmp_path: Path) -> None:
    """Unknown, malformed, unpublished, and a page of another kind under /public/lookbook: one 404."""
    async with site(tmp_path) as (env, client):
        await made(env, client)
        unpublished = artifacts.draft(generator_id="lookbook", title="x", owner_id="x", options={})
        await artifacts.create(env, unpublished, ["p"])
        other = artifacts.draft(generator_id="moodboard", title="x", owner_id="x", options={})
        file = artifacts.File("index.html", b"x", "text/html")
        await artifacts.publish(env, other, artifacts.Output(index=file), ["p"])
        assert (await client.get(f"/public/artifact/{other.public_slug}")).status_code == 200
        slugs = [unpublished.public_slug, secrets.token_urlsafe(24), "x", "%27%20OR%201=1", "%CE%A9" * 99]
        paths = [*(f"/public/artifact/{slug}" for slug in slugs), f"/public/lookbook/{other.public_slug}"]
        for accept in (HTML, {}):
            shown = set()
            for path in paths:
                answer = await client.get(path, headers=accept)
                correlation = answer.headers["x-correlation-id"]
                shown.add((answer.status_code, answer.text.replace(correlation, "")))
            assert len({status for status, _ in shown}) == 1
            assert len(shown) == 1


async def test_random_slugs_hit_nothing(tmp_path: Path, rounds: int) -> None:
    """Guesses of the right shape, near misses among them, find no page."""
    async with site(tmp_path) as (env, client):
        slug = await made(env, client)
        near = [slug[:-1] + other for other in "Aa0_-" if other != slug[-1]] + [slug.swapcase(), slug[:-1], slug + "A"]
        for guess in [*near, *(artifacts.fresh_slug() for _ in range(200 * rounds))]:
            assert (await client.get(f"/public/artifact/{guess}")).status_code == 404


async def test_a_page_whose_bytes_are_gone_is_no_view(tmp_path: Path) -> None:
    """A page that cannot be sent is not counted: its status is known before the view is queued."""
    async with site(tmp_path) as (env, client):
        slug = await made(env, client)
        artifact = await artifacts.by_slug(env, slug)
        assert artifact is not None and artifact.content_r2_key is not None
        await env.BUCKET.delete(artifact.content_r2_key)
        for method in ("GET", "HEAD"):
            assert (await client.request(method, f"/public/artifact/{slug}")).status_code == 404
        assert isinstance(env.PICASSO_QUEUE, Line)
        assert env.PICASSO_QUEUE.messages == []


async def test_originals_are_nowhere_in_public(tmp_path: Path) -> None:
    """No public answer contains an original's bytes, its key, or its location."""
    canary = secrets.token_bytes(64)
    async with site(tmp_path) as (env, client):
        slug = await made(env, client, images=3)
        artifact = await artifacts.by_slug(env, slug)
        assert artifact is not None and artifact.content_r2_key is not None and artifact.template_r2_key is not None
        originals = [f"project/p/jobs/job/orig/sketch-{n}" for n in range(3)]
        for key in originals:
            await env.BUCKET.put(key, canary, content_type="image/png")
        paths = [f"/public/{kind}/{slug}" for kind in ("artifact", "lookbook")] + ["/assets/favicon.svg"]
        inside = [
            *originals,
            artifact.content_r2_key,
            artifact.template_r2_key,
            "artifacts",
            f"{slug}/../../{originals[0]}",
        ]
        for door in (
            "/public/artifact/",
            "/public/lookbook/",
            "/assets/",
            "/assets/../",
            "/assets/%2e%2e/",
            "/public/",
        ):
            paths += [door + key for key in inside] + [door + key.replace("/", "%2F") for key in inside]
        served = 0
        for path in paths:
            answer = await client.get(path)
            served += answer.status_code == 200
            whole = answer.content + repr(sorted(answer.headers.items())).encode()
            for secret in (canary, base64.b64encode(canary), b"/orig/", str(tmp_path).encode(), b"artifacts/"):
                assert secret not in whole
        assert served == 3


@contextlib.asynccontextmanager
async def queued(home: Path, **environ: str) -> AsyncIterator[tuple[Env, RedisQueue, RedisServer]]:
    """An `Env` with a real queue on a server of its own, batches of ten or 20 ms."""
    async with open_redis(settings(home, **environ)) as server:
        queue = open_queue(server.client, window_seconds=0.02)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(queue.close)
            yield await stack.enter_async_context(pages_env(home, environ=environ, PICASSO_QUEUE=queue)), queue, server


@contextlib.asynccontextmanager
async def consuming(env: Env, queue: RedisQueue) -> AsyncIterator[None]:
    """The consumer of a worker, killed at the end of the block."""
    task = asyncio.ensure_future(queue.consume(functools.partial(write_views, env)))
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.5)


class Stutter:
    """A queue whose messages come twice, every tenth on average."""

    def __init__(self, queue: RedisQueue) -> None:
        self._queue, self._chance, self.repeated = queue, random.Random(11), 0

    async def send_soon(self, message: Message) -> None:
        await self._queue.send_soon(message)
        if self._chance.random() < 0.1:
            await self._queue.send_soon(message)
            self.repeated += 1


async def rows(env: Env) -> int:
    counted = await env.DB.one("SELECT COUNT(*) AS n FROM artifact_views", Count)
    assert counted is not None
    return counted.n


async def answers(queue: RedisQueue) -> bool:
    try:
        return await queue.depth() >= 0
    except Unavailable:
        return False


async def empty(queue: RedisQueue) -> bool:
    return await queue.depth() == 0


def drops(caplog: pytest.LogCaptureFixture) -> int:
    lines = [record.__dict__["fields"] for record in caplog.records if record.msg == "views.enqueue"]
    return sum(line["outcome"] == "view_dropped" for line in lines)


async def test_views_are_conserved(tmp_path: Path, caplog: pytest.LogCaptureFixture, rounds: int) -> None:
    """Readers served = rows, exactly: HEAD and 404 are none, duplicates are none, and neither a consumer killed again
    and again nor a killed server loses what it took, nor what it did not take at once."""
    caplog.set_level(logging.INFO, "picasso.step")
    chance = random.Random(7)
    async with queued(tmp_path) as (bare, queue, server):
        env = dataclasses.replace(bare, PICASSO_QUEUE=cast(Any, stutter := Stutter(queue)))
        client = client_of(small_app(env))
        path = f"/public/artifact/{await made(env, client)}"
        tag = {"If-None-Match": (await client.head(path)).headers["etag"]}
        served = 0
        for _ in range(6):
            async with consuming(env, queue):
                for _ in range(40 * rounds):
                    kind = chance.choice(["page", "page", "known", "head", "nowhere"])
                    if kind in ("page", "known"):
                        answer = await client.get(path, headers=tag if kind == "known" else {})
                        served += answer.status_code == (304 if kind == "known" else 200)
                    elif kind == "head":
                        await client.head(path)
                    else:
                        await client.get(path + "x")
        os.kill((await server.client.info())["process_id"], signal.SIGKILL)
        for _ in range(5):
            assert (await client.get(path)).status_code == 200
            served += 1
        await until(functools.partial(answers, queue))
        await queue.close(LONG)
        async with consuming(env, queue):
            await until(functools.partial(empty, queue))
        assert stutter.repeated > 5
        assert drops(caplog) == 0
        assert await rows(env) == served > 60


async def test_a_page_never_waits_for_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture, rounds: int) -> None:
    """With the queue's server stopped every page is 200; when it continues, every view becomes a row."""
    caplog.set_level(logging.INFO, "picasso.step")
    async with queued(tmp_path) as (env, queue, server), client_of(small_app(env)) as client:
        path = f"/public/artifact/{await made(env, client)}"
        pid = (await server.client.info())["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            pages = await asyncio.gather(*(client.get(path) for _ in range(20 * rounds)))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert {page.status_code for page in pages} == {200}
        assert drops(caplog) == 0
        await until(functools.partial(answers, queue))
        await queue.close(LONG)
        async with consuming(env, queue):
            await until(functools.partial(empty, queue))
        assert await rows(env) == 20 * rounds


DIFFERENT = {"truncated": 2, "hashed": 100, "none": 1, "full": 100}
"""Of a hundred addresses in one /24 and one /48, how many different things are kept."""


@pytest.mark.parametrize("how", DIFFERENT)
async def test_an_address_is_kept_as_told_and_nowhere_else(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred known addresses, from a proxy or from the socket, are in no file of the data directory (database,
    queue, dead letters, bucket) and in no log line, unless VIEW_IP=full."""
    caplog.set_level(logging.DEBUG)
    known = [f"203.0.113.{n}" for n in range(101, 151)] + [f"2001:db8:5:{n:x}::7a{n:x}" for n in range(101, 151)]
    async with queued(tmp_path, VIEW_IP=how) as (env, queue, server):
        app = small_app(env)
        async with client_of(app) as maker:
            path = f"/public/artifact/{await made(env, maker)}"
        for n, ip in enumerate(known):
            told = [{"CF-Connecting-IP": ip}, {"X-Forwarded-For": f"198.51.100.9, {ip}"}, {}][n % 3]
            async with client_of(app, peer="127.0.0.1" if told else ip) as client:
                assert (await client.get(path, headers={**told, "User-Agent": "x" * 400})).status_code == 200
        await queue.send_soon(Message("poison", "artifact-view", 1, {"artifactId": "nowhere"}))
        await queue.close(LONG)
        async with consuming(env, queue):
            await until(functools.partial(empty, queue))
        assert [letter.id != "" for letter in await queue.dead(9)] == [True]
        views = await env.DB.all("SELECT * FROM artifact_views", ArtifactView)
        assert len(views) == 100 and {len(view.user_agent or "") for view in views} == {256}
        assert kept([view.ip_address for view in views]) == DIFFERENT[how]
        await server.client.save()
    assert found_in(tmp_path, known) == set(known if how == "full" else [])
    assert [ip for ip in known if ip in caplog.text] == []


def kept(addresses: list[str | None]) -> int:
    """How many different values are stored; each of them has the form that its setting promises."""
    for address in filter(None, addresses):
        if "/" in address:
            assert ipaddress.ip_network(address).prefixlen in (24, 48)
    return len(set(addresses))


def found_in(folder: Path, needles: list[str]) -> set[str]:
    """Which of the texts are in some file below the folder."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return {needle for needle in needles if any(needle.encode() in content for content in contents)}


@pytest.mark.parametrize("header", [{"DNT": "1"}, {"Sec-GPC": "1"}])
async def test_who_does_not_want_to_be_followed_is_not(header: dict[str, str], tmp_path: Path) -> None:
    """The reading is counted, without address, country or city."""
    async with site(tmp_path, environ={"VIEW_IP": "full"}) as (env, client):
        slug = await made(env, client)
        await client.get(f"/public/artifact/{slug}", headers=header)
        assert isinstance(env.PICASSO_QUEUE, Line)
        (told,) = env.PICASSO_QUEUE.messages
        assert (told.payload["ip"], told.payload["country"], told.payload["city"]) == (None, None, None)


async def test_public_files_are_open_and_the_rest_of_the_templates_is_not(tmp_path: Path) -> None:
    """/assets/* serves the files of templates/public, by hash, to anyone; templates are not among them."""
    async with site(tmp_path) as (_, client):
        del client.headers["X-Api-Key"]
        icon = await client.get("/assets/favicon.svg")
        assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
        assert icon.content == Path("templates/public/favicon.svg").read_bytes()
        again = await client.get("/assets/favicon.svg", headers={"If-None-Match": icon.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for path in ("/assets/", "/assets/lookbook.html", "/assets/../lookbook.html", "/assets/%2e%2e/lookbook.html"):
            assert (await client.get(path)).status_code == 404


def test_a_file_is_saved_under_the_title_of_its_artifact() -> None:
    """In plain letters and digits, whatever a header or a disk would make of others; the kind's name where none is."""
    for title, name in {
        "Autumn at the lake": "Autumn-at-the-lake.mp4",
        "Zürich “2026”/3": "Zurich-2026-3.mp4",
        '../"x";y\r\n': "x-y.mp4",
        "秋": "walkthrough-reel.mp4",
        "a" * 200: f"{'a' * 80}.mp4",
    }.items():
        assert public.file_name(title, "walkthrough-reel.mp4") == name, title
