"""Data of an older version works under this one: on SQLite with a data directory, and on PostgreSQL.

The data was made by `tests/support/upgrade/make_upgrade_home.py`, from a server that was killed in the middle of a job.
"""

import asyncio
import contextlib
import functools
import gzip
import json
import sqlite3
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from tests.support.servers.picasso import Server, running
from tests.support.servers.postgres import Server as Postgres

Json = dict[str, Any]

STORED = Path(__file__).parents[2] / "support" / "upgrade"
SECONDS = 240.0
"""Deadline of whatever is waited for."""
ENDS = ("complete", "fail")
TERMINAL = {"complete", "failed", "refused", "duplicate", "uncertain", "cancelled"}
OLD = 3_600_000
"""Milliseconds since the crash, as the test has it."""

SQLITE_COLUMNS = """
SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'
"""
POSTGRES_COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"


@dataclass(frozen=True)
class Upgraded:
    """A server of this version on the old version's data, and the facts that are known of that data."""

    server: Server
    client: httpx.AsyncClient
    facts: Json


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Upgraded]:
    facts: Json = json.loads((STORED / "facts.json").read_text())[request.param]
    folder, environ = tmp_path_factory.mktemp("upgrade"), dict[str, Any]()
    by = time.time_ns() // 1_000_000 - OLD - facts["killedAt"]
    if request.param == "sqlite":
        home = unpack("home_v0.tar.gz", folder)
        shift_sqlite(home / "picasso.db", by)
    else:
        home = unpack("postgres_home_v0.tar.gz", folder)
        environ["DB"] = await load("postgres_v0.sql.gz", request.getfixturevalue("postgres_server"))
        await shift_postgres(environ["DB"], by)
    async with running(home, **environ) as server, server.client(**{"X-Api-Key": facts["apiKey"]}) as client:
        yield Upgraded(server, client, facts)


def unpack(name: str, folder: Path) -> Path:
    """Unpack the data directory with its modes: the embedded Redis refuses a directory that others may enter."""
    with tarfile.open(STORED / name) as archive:
        archive.extractall(folder, filter="tar")
    return folder / "home"


async def load(name: str, server: Postgres) -> str:
    """The address of a new database with the dump loaded."""
    database = "upgrade"
    await server.administer(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    async with connected(server.url(database)) as connection:
        await connection.execute(gzip.decompress((STORED / name).read_bytes()).decode())
    return server.url(database)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        yield connection
    finally:
        await connection.close()


# The stored rows grow old, but events are kept for 90 days only. So all of their times are moved by
# the same interval: the crash was an hour ago.


def shift_sqlite(database: Path, by: int) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in shifts(connection.execute(SQLITE_COLUMNS).fetchall(), by):
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)


async def shift_postgres(url: str, by: int) -> None:
    async with connected(url) as connection:
        await connection.execute("SET session_replication_role = replica")  # no triggers
        for statement in shifts([(row[0], row[1]) for row in await connection.fetch(POSTGRES_COLUMNS)], by):
            await connection.execute(statement)


def shifts(columns: Iterable[tuple[str, str]], by: int) -> list[str]:
    """One statement per table, because some of its times must not be before others."""
    tables: dict[str, list[str]] = {}
    for table, column in columns:
        if column.endswith("_at") or column in ("ts", "timestamp", "lease_until"):
            tables.setdefault(table, []).append(f"{column} = {column} + {by}")
    assert {"events", "jobs", "job_items", "artifact_views"} <= set(tables)
    return [f"UPDATE {table} SET {', '.join(moved)}" for table, moved in tables.items()]


async def test_key_project_and_preferences_are_kept(upgraded: Upgraded) -> None:
    """A key made for the old server authenticates with the new one, and what was stored under it is there."""
    facts, client = upgraded.facts, upgraded.client
    assert upgraded.server.key == facts["apiKey"]
    assert (await get(client, f"/api/projects/{facts['project']['id']}"))["name"] == facts["project"]["name"]
    assert await get(client, "/api/preferences/default") == facts["preferences"]


async def test_a_finished_job_and_its_images_still_answer(upgraded: Upgraded) -> None:
    """A finished job is reported as it ended, its images are delivered, and an original in BUCKET still matches its
    row."""
    facts, client = upgraded.facts, upgraded.client
    finished = facts["finished"]
    job = await get(client, f"/api/jobs/{finished['jobId']}")
    assert job["status"] == "complete"
    assert [item["status"] for item in job["items"]] == facts["items"][finished["jobId"]].split()
    assert [item["progressionId"] for item in job["items"]] == [image["id"] for image in finished["images"]]
    for image in finished["images"]:
        row = await get(client, f"/api/progressions/{image['id']}")
        assert urlsplit(row["generated_image_url"]).path == urlsplit(image["url"]).path
        for url in (image["url"], row["generated_image_url"]):
            picture = await client.get(urlsplit(url).path)
            assert picture.status_code == 200 and picture.headers["content-type"].startswith("image/")
            assert picture.content
    rolled = await client.post(f"/api/progressions/{finished['images'][0]['id']}/rollback", json={"base": "original"})
    assert rolled.is_success, rolled.text


async def test_old_logs_replay_without_a_gap(upgraded: Upgraded) -> None:
    """The log from 0, page by page and as a stream, has the same events under the same numbers."""
    facts, client = upgraded.facts, upgraded.client
    for session in (facts["finished"]["sessionId"], facts["card"]["sessionId"]):
        known = facts["logs"][session].split()
        streamed = await follow(client, session, functools.partial(is_number, len(known)))
        paged = (await pages(client, session))[: len(known)]
        assert [event["seq"] for event in streamed] == list(range(1, len(known) + 1))
        assert [event["type"] for event in streamed] == known
        assert paged == streamed


async def test_unfinished_jobs_end_by_themselves(upgraded: Upgraded) -> None:
    """One job was half done and one had not begun when the server was killed: each item ends once, the job last."""
    facts, client = upgraded.facts, upgraded.client
    for unfinished in facts["unfinished"]:
        job, session = unfinished["jobId"], unfinished["sessionId"]
        before, known = facts["items"][job].split(), facts["logs"][session].split()
        events = await follow(client, session, ends_job)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events[: len(known)]] == known and len(events) > len(known)
        assert await pages(client, session) == events
        told = await get(client, f"/api/jobs/{job}")
        states = [item["status"] for item in told["items"]]
        assert told["status"] == "complete" and set(states) <= TERMINAL and len(states) == len(before)
        assert all(now == then for now, then in zip(states, before, strict=True) if then in TERMINAL)
        assert "uncertain" not in states, "sketches are free and made again"
        assert sum(events[-1]["data"]["counts"].values()) == 2 * len(states), "each state's and the total"
        for item in told["items"]:
            own = [event for event in events if event["data"].get("itemId") == item["itemId"]]
            types = [event["type"] for event in own]
            assert types[:2] == ["queued", "running"] and types.count("running") == 1
            assert [type for type in types if type in ENDS] == types[-1:]
            steps = [event["data"]["progress"] for event in own if event["type"] == "progress"]
            assert steps == sorted(steps)
            if item["status"] == "complete":
                row = await get(client, f"/api/progressions/{item['progressionId']}")
                picture = await client.get(urlsplit(row["generated_image_url"]).path)
                assert picture.status_code == 200


async def test_a_published_lookbook_keeps_its_link_and_its_views(upgraded: Upgraded) -> None:
    """The published link answers 200, and views continue to be counted, including those that were still in the
    queue."""
    client, book = upgraded.client, upgraded.facts["lookbook"]
    views = book["views"] + book["unwritten"]
    await viewed(client, book, views)
    async with upgraded.server.client() as anybody:
        for _ in range(10):  # so many are written at once; fewer have to wait
            page = await anybody.get(f"/public/lookbook/{book['slug']}")
            assert page.status_code == 200
    assert all(urlsplit(image["url"]).path in page.text for image in upgraded.facts["finished"]["images"])
    await viewed(client, book, views + 10)


async def test_a_chat_goes_on_where_it_was(upgraded: Upgraded) -> None:
    """Messages and choices are still there, and the half-filled page is filled and published."""
    client, card = upgraded.client, upgraded.facts["card"]
    messages = f"/api/artifacts/{card['artifactId']}/messages?sessionId={card['sessionId']}"
    assert [[each["role"], each["text"]] for each in (await get(client, messages))["items"]] == card["messages"]
    assert (await get(client, f"/api/artifacts/{card['artifactId']}"))["configuration"] == card["configuration"]
    full = await say(client, card, "subtitle: Leaves fall")
    assert full["configuration"] == {**card["configuration"], "SUBTITLE": "Leaves fall"}
    assert full["missing"] == [] and full["publicSlug"] is None
    done = await say(client, card, "publish")
    assert done["publicSlug"] == card["slug"]
    page = await client.get(f"/public/artifact/{card['slug']}")
    assert page.status_code == 200 and f"<h1>{card['configuration']['TITLE']}</h1><p>Leaves fall</p>" in page.text
    said = (await get(client, messages))["items"]
    assert [each["role"] for each in said] == ["user", "assistant"] * 4
    assert [[each["role"], each["text"]] for each in said][: len(card["messages"])] == card["messages"]


async def get(client: httpx.AsyncClient, path: str) -> Json:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def say(client: httpx.AsyncClient, card: Json, words: str) -> Json:
    answer = await client.post(
        f"/api/artifacts/{card['artifactId']}/customize", json={"sessionId": card["sessionId"], "input": words}
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def viewed(client: httpx.AsyncClient, book: Json, times: int) -> None:
    """Return once the page has that many views; it must never have more."""
    async with asyncio.timeout(SECONDS):
        while (total := (await get(client, f"/api/artifacts/{book['artifactId']}/views"))["total"]) < times:
            await asyncio.sleep(0.05)
    assert total == times


async def pages(client: httpx.AsyncClient, session: str) -> list[Json]:
    """All events of the session, in small pages from 0 on."""
    found: list[Json] = []
    while True:
        since = found[-1]["seq"] if found else 0
        items = (await get(client, f"/api/sessions/{session}/events?since={since}&limit=7"))["items"]
        if not items:
            return found
        found += items


async def follow(client: httpx.AsyncClient, session: str, is_last: Callable[[Json], bool]) -> list[Json]:
    """The events of the session from 0 on, as they are streamed, up to the given last one."""
    found: list[Json] = []
    async with asyncio.timeout(SECONDS), client.stream("GET", f"/api/stream/{session}?since=0") as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data:") and "seq" in (event := json.loads(line.removeprefix("data:"))):
                found.append(event)
                if is_last(event):
                    return found
    raise AssertionError(f"the stream ended after {len(found)} events")


def is_number(number: int, event: Json) -> bool:
    return bool(event["seq"] == number)


def ends_job(event: Json) -> bool:
    return event["type"] in ENDS and event["data"].get("scope") == "job"
