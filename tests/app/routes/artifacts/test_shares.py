"""Links with conditions: a password, an end, a number of views; each closed without the others."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from litestar import Request
from redis.asyncio import Redis

from app.bindings.redis.token_bucket import TokenBuckets
from app.http.security import PASSWORDS_OF_GUESSERS, PASSWORDS_OF_LINK, limit_passwords
from app.settings import Settings
from tests.support.samples.page_site import (
    KEY,
    Line,
    Outline,
    add_image,
    add_project,
    client_of,
    publish,
    site,
    small_app,
)
from tools.env import Env
from tools.errors import RateLimited
from tools.publishing import artifacts, shares
from tools.publishing.artifacts import File, Output
from tools.rows import now_ms

HTML = {"Accept": "text/html,application/xhtml+xml"}
WORD = "late harvest"
ROBOT = {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}


@asynccontextmanager
async def gallery(home: Path, **more: Any) -> AsyncIterator[tuple[Env, httpx.AsyncClient, dict[str, Any]]]:
    """A site with one published lookbook, its owner's client and its row."""
    async with site(home, **more) as (env, client):
        await add_project(env, "p", "Aurora")
        await add_image(env, "p", 1)
        yield env, client, await publish(client, "p")


async def shared(client: httpx.AsyncClient, row: dict[str, Any], **conditions: Any) -> str:
    """The path of a new link."""
    answer = await client.post(f"/api/artifacts/{row['id']}/shares", json=conditions)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"]).removeprefix("http://127.0.0.1:8000")


def stranger(env: Env, peer: str = "203.0.113.99") -> httpx.AsyncClient:
    client = client_of(small_app(env), peer=peer)
    del client.headers["X-Api-Key"]
    return client


async def code(client: httpx.AsyncClient, path: str, **headers: str) -> tuple[int, str | None]:
    answer = await client.get(path, headers=headers)
    return answer.status_code, answer.json()["error"]["code"] if answer.status_code >= 400 else None


async def unlock(client: httpx.AsyncClient, page: str, password: str) -> httpx.Response:
    return await client.post(f"{page}/password", data={"password": password})


async def test_a_link_of_its_own_can_be_closed_without_the_others(tmp_path: Path) -> None:
    """Each link shows the page, none reveals the main slug; a closed one is 410, and the others stay open."""
    async with gallery(tmp_path) as (_, client, row):
        first, second = await shared(client, row, label="Ada"), await shared(client, row)
        main = f"/public/artifact/{row['public_slug']}"
        listed = (await client.get(f"/api/artifacts/{row['id']}/shares")).json()["items"]
        assert [one["label"] for one in listed] == [None, "Ada", None]
        assert listed[0]["shareId"] == "main" and listed[0]["url"].endswith(main)
        for path in (first, second):
            page = await client.get(path)
            assert page.status_code == 200 and row["public_slug"] not in page.text
            assert page.headers["cache-control"] == "private, no-store" and "etag" not in page.headers
        for _ in range(2):
            assert (await client.delete(f"/api/artifacts/{row['id']}/shares/{listed[1]['shareId']}")).status_code == 204
        assert await code(client, first) == (410, "link_revoked")
        assert [await code(client, path) for path in (second, main)] == [(200, None)] * 2
        listed = (await client.get(f"/api/artifacts/{row['id']}/shares")).json()["items"]
        assert [one["url"].rpartition("/")[2] for one in listed] == [row["public_slug"], second.rpartition("/")[2]]


async def test_a_closed_link_takes_no_passwords(tmp_path: Path, redis_client: Redis) -> None:
    """410 before a try is counted or compared: a closed link reveals nothing about its password."""
    async with gallery(tmp_path, PICASSO_WORKFLOW=TokenBuckets(redis_client)) as (_, client, row):
        path = await shared(client, row, password=WORD)
        (link,) = (await client.get(f"/api/artifacts/{row['id']}/shares")).json()["items"][1:]
        await client.put(f"/api/artifacts/{row['id']}/shares/main", json={"password": WORD})
        assert (await unlock(client, path, WORD)).status_code == 303
        await client.delete(f"/api/artifacts/{row['id']}/shares/{link['shareId']}")
        await client.delete(f"/api/artifacts/{row['id']}/shares/main")
        for page in (path, f"/public/artifact/{row['public_slug']}"):
            for word in (WORD, "a wrong one") * 5:
                answer = await unlock(client, page, word)
                assert (answer.status_code, answer.json()["error"]["code"]) == (410, "link_revoked")


async def test_a_link_leads_to_its_own_files_alone(tmp_path: Path) -> None:
    """Where a page links its files, they are found under the link that it was opened by; old versions are not."""
    async with gallery(tmp_path) as (env, client, _):
        row = artifacts.draft(generator_id="walkthrough-reel", title="x", owner_id="x", options={})
        link = f'<a href="{artifacts.link_to(row, "data.csv")}">'.encode()
        output = Output(index=File("index.html", link, "text/html"), beside=(File("data.csv", b"1", "text/csv"),))
        await artifacts.publish(env, row, output, ["p"])
        path = await shared(client, {"id": row.id})
        assert (await client.get(path)).text == f'<a href="../..{path}/files/data.csv">'
        assert (await client.head(path)).headers["content-length"] == str(len(link))
        assert (await client.get(f"{path}/files/data.csv")).content == b"1"
        assert (await client.get(f"{path}/versions/1")).status_code == 404


async def test_a_password_is_asked_for_before_anything_is_shown(tmp_path: Path, redis_client: Redis) -> None:
    """401 with a form for browsers and a place to send it for others; the right word opens page, files and versions
    for that visitor alone, in no cache, until the password changes."""
    async with gallery(tmp_path, PICASSO_WORKFLOW=TokenBuckets(redis_client)) as (env, client, row):
        page = f"/public/artifact/{row['public_slug']}"
        main = f"/api/artifacts/{row['id']}/shares/main"
        told = await client.put(main, json={"password": WORD})
        assert (told.status_code, told.json()["shareId"], told.json()["hasPassword"]) == (200, "main", True)
        async with stranger(env) as visitor, stranger(env) as other:
            for path in (page, f"{page}/versions/1", f"{page}/files/x", f"/public/lookbook/{row['public_slug']}"):
                assert await code(visitor, path) == (401, "password_needed")
            asked = await visitor.get(page, headers=HTML)
            outline = Outline(asked.text)
            assert asked.status_code == 401 and "Aurora" not in asked.text
            assert [form["action"] for form in outline.all("form")] == [f"{page}/password"]
            policy = asked.headers["content-security-policy"]
            assert "form-action 'self'" in policy and "sandbox" not in policy and "script" not in policy
            assert asked.headers["cache-control"] == "private, no-store"
            wrong = await unlock(visitor, page, WORD + "x")
            assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "wrong_password")
            assert "set-cookie" not in wrong.headers
            right = await unlock(visitor, page, f" {WORD} ")
            assert (right.status_code, right.headers["location"]) == (303, page)
            cookie = right.headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and f"Path={page};" in cookie
            opened = await visitor.get(page)
            assert (opened.status_code, opened.headers["cache-control"]) == (200, "private, no-store")
            assert "etag" not in opened.headers and (await visitor.get(f"{page}/versions/1")).status_code == 200
            assert await code(other, page) == (401, "password_needed")
            await client.put(main, json={"password": "another one"})
            assert await code(visitor, page) == (401, "password_needed")
            await client.put(main, json={})
            assert await code(other, page) == (200, None)


async def test_passes_are_good_for_their_link_and_time_alone(tmp_path: Path, redis_client: Redis) -> None:
    """No other link's, no expired, cut, extended or invented pass opens a page."""
    async with gallery(tmp_path, PICASSO_WORKFLOW=TokenBuckets(redis_client)) as (env, client, row):
        one, two = await shared(client, row, password=WORD), await shared(client, row, password=WORD)
        async with stranger(env) as visitor:
            value = (await unlock(visitor, one, WORD)).cookies["picasso_pass"]
            until, _, signature = value.partition(".")
            assert now_ms() + 11 * 3_600_000 < int(until) <= now_ms() + shares.PASS_MS
            longer = f"{int(until) + 1}.{signature}"
            forged = ["", ".", "x", f"{until}.", f".{signature}", longer, value[:-1], value + "0", value.upper(), until]
            for cookie in [*forged, f"{'9' * 30}.{signature}", f"-1.{signature}", f"{until}.é"]:
                headers = {"Cookie": b"picasso_pass=" + cookie.encode("latin-1")}
                assert (await httpx_get(env, one, headers)).status_code == 401
            assert (await httpx_get(env, one, {"Cookie": f"picasso_pass={value}".encode()})).status_code == 200
            assert (await httpx_get(env, two, {"Cookie": f"picasso_pass={value}".encode()})).status_code == 401


async def httpx_get(env: Env, path: str, headers: dict[str, bytes]) -> httpx.Response:
    async with stranger(env) as client:
        return await client.get(path, headers=[(name.encode(), value) for name, value in headers.items()])


async def test_guessing_is_slow_and_then_stopped(tmp_path: Path, redis_client: Redis) -> None:
    """Six tries from one address, then 429 with Retry-After, also for the right password; other addresses may go on."""
    async with gallery(tmp_path, PICASSO_WORKFLOW=TokenBuckets(redis_client)) as (env, client, row):
        page = await shared(client, row, password=WORD)
        async with stranger(env) as visitor, stranger(env, "198.51.100.7") as other:
            tries = [(await unlock(visitor, page, f"guess {n}")).status_code for n in range(6)]
            assert tries == [401] * 6
            stopped = await unlock(visitor, page, WORD)
            assert stopped.status_code == 429 and int(stopped.headers["retry-after"]) >= 1
            assert (await unlock(other, page, WORD)).status_code == 303


async def test_a_page_below_a_path_keeps_to_it(tmp_path: Path, redis_client: Redis) -> None:
    """With a path in PUBLIC_URL the password's form, the redirect, the pass and the pictures all lie below it, whether
    the proxy strips it or not."""
    here = "https://picasso.example/made/here"
    given = {"environ": {"PUBLIC_URL": here}, "PICASSO_WORKFLOW": TokenBuckets(redis_client)}
    async with gallery(tmp_path, **given) as (env, client, row):
        told = await client.put(f"/api/artifacts/{row['id']}/shares/main", json={"password": WORD})
        link = told.json()["url"]
        page = link.removeprefix("https://picasso.example")
        assert page.startswith("/made/here/public/artifact/")
        for path in (page, page.removeprefix("/made/here")):
            async with client_of(small_app(env), "https://picasso.example") as visitor:
                (form,) = Outline((await visitor.get(path, headers=HTML)).text).all("form")
                assert form["action"] == f"{page}/password"
                opened = await visitor.post(f"{path}/password", data={"password": WORD})
                assert (opened.status_code, opened.headers["location"]) == (303, page)
                assert f"Path={page};" in opened.headers["set-cookie"]
                shown = await visitor.get(page)
                assert shown.status_code == 200
                assert {image["src"] for image in Outline(shown.text).all("img")} == {"../../images/p-1/public"}


async def test_a_guesser_with_many_addresses_cannot_keep_guests_out(tmp_path: Path, redis_client: Redis) -> None:
    """A link's tries are 60 in any minute; of them a third is for networks that hardly tried it yet."""
    async with gallery(tmp_path, PICASSO_WORKFLOW=TokenBuckets(redis_client)) as (env, client, row):
        counted = []
        for n in range(200):
            scope: Any = {"type": "http", "client": (f"198.51.{n % 5}.{n // 5}", 1), "headers": []}
            with contextlib.suppress(RateLimited):
                await limit_passwords(Request(scope), env, cast(Settings, env.settings), "slug")
                counted.append(n)
        assert len(counted) == PASSWORDS_OF_GUESSERS
        page = await shared(client, row, password=WORD)
        await redis_client.rename("minute:password:slug", f"minute:password:{page.rpartition('/')[2]}")
        async with stranger(env, "192.0.2.1") as guest:
            assert (await unlock(guest, page, WORD)).status_code == 303
        for n in range(100):
            scope = {"type": "http", "client": (f"203.0.{n}.1", 1), "headers": []}
            with contextlib.suppress(RateLimited):
                await limit_passwords(Request(scope), env, cast(Settings, env.settings), page.rpartition("/")[2])
                counted.append(n)
        assert len(counted) == PASSWORDS_OF_LINK - 1


@pytest.mark.parametrize(
    "content",
    [b"", b"password=", b"password=a&password=b", b"word=a", b"password=%ff%fe", b"password=" + b"x" * 201, b"\xff"],
)
async def test_a_form_that_is_none_is_refused(content: bytes, tmp_path: Path, redis_client: Redis) -> None:
    """A malformed body is 400; another type of body is 415, an unknown link 404."""
    async with gallery(tmp_path, PICASSO_WORKFLOW=TokenBuckets(redis_client)) as (_, client, row):
        page = await shared(client, row, password=WORD)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post(f"{page}/password", content=content, headers=form)
        assert answer.status_code in (400, 401), answer.text
        assert (await client.post(f"{page}/password", json={"password": WORD})).status_code == 415
        assert (await client.post("/public/artifact/nowhere/password", data={"password": WORD})).status_code == 404


def test_a_password_is_kept_as_a_salted_slow_hash() -> None:
    """Two links with one password have two hashes, of scrypt at its usual cost, compared in constant time."""
    first, second = (shares._hashed(WORD, salt) for salt in (b"a" * 16, b"b" * 16))
    assert first != second and WORD not in first
    key = hashlib.scrypt(WORD.encode(), salt=b"a" * 16, n=1 << 14, r=8, p=5, dklen=32)
    assert shares._is_password(WORD, first) and not shares._is_password(WORD + " ", first)
    assert first.partition("$")[2] and len(key) == 32


async def test_a_link_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """Open until then, 410 afterwards, with a page that explains it; a time in the past is refused."""
    async with gallery(tmp_path) as (env, client, row):
        page = await shared(client, row, expiresAt=now_ms() + 60_000)
        assert await code(client, page) == (200, None)
        await env.DB.run("UPDATE artifact_shares SET expires_at = :now", now=now_ms())
        assert await code(client, page) == (410, "link_expired")
        shown = await client.get(page, headers=HTML)
        assert shown.status_code == 410 and "expired" in shown.text and Outline(shown.text).all("h1")
        assert len((await client.get(f"/api/artifacts/{row['id']}/shares")).json()["items"]) == 1
        late = await client.post(f"/api/artifacts/{row['id']}/shares", json={"expiresAt": 1})
        assert (late.status_code, late.json()["error"]["code"]) == (422, "in_the_past")


async def test_views_are_counted_out_exactly(tmp_path: Path, database_url: str, rounds: int) -> None:
    """Of fifty at once exactly as many see the page as the link allows, the rest 410; each is one view, and neither
    HEAD, nor a part, nor a 304 gets around it."""
    async with gallery(tmp_path, database_url=database_url) as (env, client, row):
        assert isinstance(env.PICASSO_QUEUE, Line)
        for n in [7, 1] * rounds:
            page = await shared(client, row, maxViews=n)
            env.PICASSO_QUEUE.messages.clear()
            assert (await client.head(page)).status_code == 200
            headers = [{}, {"If-None-Match": "*"}, {"Range": "bytes=0-1"}]
            answers = await asyncio.gather(*(client.get(page, headers=headers[k % 3]) for k in range(50)))
            told = sorted(answer.status_code for answer in answers)
            assert told == [200] * n + [410] * (50 - n)
            assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 410} == {
                "link_used_up"
            }
            assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
            assert len(env.PICASSO_QUEUE.messages) == n
            assert (await client.head(page)).status_code == 410


async def test_the_main_link_can_be_limited_as_well(tmp_path: Path) -> None:
    """Its versions take from the same views, and a new limit begins anew."""
    async with gallery(tmp_path) as (_, client, row):
        page, main = f"/public/artifact/{row['public_slug']}", f"/api/artifacts/{row['id']}/shares/main"
        await client.put(main, json={"maxViews": 2})
        assert [await code(client, f"{page}/versions/1"), await code(client, page)] == [(200, None)] * 2
        assert await code(client, page) == (410, "link_used_up") == await code(client, f"{page}/versions/1")
        assert (await client.put(main, json={"maxViews": 3})).json()["viewsLeft"] == 3
        assert await code(client, page) == (200, None)
        listed = (await client.get(f"/api/artifacts/{row['id']}/shares")).json()["items"]
        assert [(one["shareId"], one["maxViews"], one["viewsLeft"]) for one in listed] == [("main", 3, 2)]


async def test_the_files_of_a_counted_page_load_with_it(tmp_path: Path) -> None:
    """Not before it was opened; then for an hour, also after the last view."""
    async with gallery(tmp_path) as (env, client, _):
        row = artifacts.draft(generator_id="walkthrough-reel", title="x", owner_id="x", options={})
        output = Output(index=File("index.html", b"x", "text/html"), beside=(File("a.mp4", b"12", "video/mp4"),))
        await artifacts.publish(env, row, output, ["p"])
        page = await shared(client, {"id": row.id}, maxViews=1)
        assert await code(client, f"{page}/files/a.mp4") == (410, "link_used_up")
        assert await code(client, page) == (200, None)
        assert (await client.get(f"{page}/files/a.mp4", headers={"Range": "bytes=1-"})).content == b"2"
        assert await code(client, page) == (410, "link_used_up")
        await env.DB.run("UPDATE artifact_shares SET viewed_at = viewed_at - :hour", hour=shares.FILES_MS)
        assert await code(client, f"{page}/files/a.mp4") == (410, "link_used_up")


async def test_a_preview_of_a_message_uses_up_no_view(tmp_path: Path) -> None:
    """A named crawler is sent away from a counted link, and let in everywhere else."""
    async with gallery(tmp_path) as (_, client, row):
        page = await shared(client, row, maxViews=1)
        assert await code(client, page, **ROBOT) == (403, "for_people")
        assert await code(client, f"/public/artifact/{row['public_slug']}", **ROBOT) == (200, None)
        assert await code(client, page) == (200, None)


async def test_a_closed_main_link_leaves_the_others_open(tmp_path: Path) -> None:
    """`main` is closed like any other, is listed no more, and opens again when it is set."""
    async with gallery(tmp_path) as (_, client, row):
        page, main = f"/public/artifact/{row['public_slug']}", f"/api/artifacts/{row['id']}/shares/main"
        other = await shared(client, row)
        assert (await client.delete(main)).status_code == 204
        assert [await code(client, page), await code(client, other)] == [(410, "link_revoked"), (200, None)]
        assert [
            one["url"].endswith(other) for one in (await client.get(main.removesuffix("/main"))).json()["items"]
        ] == [True]
        await client.put(main, json={})
        assert await code(client, page) == (200, None)


async def test_any_link_takes_new_conditions(tmp_path: Path) -> None:
    """Its address, label and id stay and its views begin anew; a link that was closed for good stays closed."""
    async with gallery(tmp_path) as (_, client, row):
        page = await shared(client, row, label="Ada", maxViews=1)
        shares_of = f"/api/artifacts/{row['id']}/shares"
        before = (await client.get(shares_of)).json()["items"][1]
        at = f"{shares_of}/{before['shareId']}"
        assert [await code(client, page) for _ in range(2)] == [(200, None), (410, "link_used_up")]
        changed = await client.put(at, json={"maxViews": 2})
        assert (changed.status_code, changed.json()) == (200, {**before, "maxViews": 2, "viewsLeft": 2})
        assert await code(client, page) == (200, None)
        assert (await client.get(shares_of)).json()["items"][1] == {**before, "maxViews": 2, "viewsLeft": 1}
        assert (await client.put(at, json={"password": WORD})).json()["hasPassword"] is True
        assert await code(client, page) == (401, "password_needed")
        assert (await client.put(at, json={"label": "Bo"})).status_code == 400
        assert (await client.delete(at)).status_code == 204
        assert (await client.put(at, json={})).json()["error"]["code"] == "link_revoked"
        assert await code(client, page) == (410, "link_revoked")
        for link in ("main", before["shareId"], "nowhere"):
            allowed = (await client.options(f"{shares_of}/{link}")).headers["allow"]
            assert allowed == "DELETE, PUT", link


async def test_links_are_the_owners_business(tmp_path: Path) -> None:
    """All of it needs the key; unknown artifacts and links are 404; there is an end to how many."""
    async with gallery(tmp_path) as (env, client, row):
        path = f"/api/artifacts/{row['id']}/shares"
        async with stranger(env) as visitor:
            for method, at in (("GET", path), ("POST", path), ("PUT", f"{path}/main"), ("DELETE", f"{path}/main")):
                assert (await visitor.request(method, at)).status_code == 401
        for method, at in (
            ("GET", ""),
            ("POST", ""),
            ("PUT", "/main"),
            ("DELETE", "/main"),
            ("PUT", "/x"),
            ("DELETE", "/x"),
        ):
            answer = await client.request(
                method, f"/api/artifacts/nowhere/shares{at}", json={} if method == "PUT" else None
            )
            assert answer.status_code == 404
        assert (await client.delete(f"{path}/nowhere")).status_code == 404
        assert (await client.put(f"{path}/nowhere", json={})).status_code == 404
        for bad in ({"password": "abc"}, {"maxViews": 0}, {"expiresAt": -1}, {"label": ""}, {"x": 1}):
            assert (await client.post(path, json=bad)).status_code == 400
        for _ in range(shares.MOST_LINKS):
            await shared(client, row)
        assert (await client.post(path)).json()["error"]["code"] == "too_many_links"


async def test_a_link_of_another_artifact_cannot_be_changed(tmp_path: Path) -> None:
    """A share can be addressed only under its own artifact."""
    async with gallery(tmp_path) as (_, client, row):
        other = await publish(client, "p")
        answer = await client.post(f"/api/artifacts/{row['id']}/shares")
        wrong = f"/api/artifacts/{other['id']}/shares/{answer.json()['shareId']}"
        assert (await client.delete(wrong)).status_code == 404
        assert (await client.put(wrong, json={})).status_code == 404
        assert KEY not in answer.text and "password_hash" not in answer.text
