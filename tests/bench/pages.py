"""Public pages a second, against a plain Litestar handler that does the same reads and the same enqueue.

python -m tests.bench.pages
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvicorn
from litestar import Litestar, get
from litestar.params import FromPath
from litestar.response import Stream

from app.bindings.bucket import Directory
from app.bindings.database import Sqlite
from app.bindings.queue import open_queue
from app.bindings.redis import find_server, open_client
from tests.journeys.calls import calling, ended, environ, new_project, submit
from tests.server import running
from tests.valkey import valkey
from tools.env import Message
from tools.rows import ArtifactRow, new_id, now_ms

SECONDS, CLIENTS, ROUNDS = 2.0, 16, 3
BY_SLUG = "SELECT * FROM artifacts WHERE public_slug = :slug"


async def serve_plain(home: Path, redis_url: str, port: int) -> None:
    """The bare side: one row, one message, one file."""
    async with (
        Sqlite.open(home / "copy.db") as db,
        Directory.open(home / "bucket") as bucket,
        open_client(redis_url) as client,
    ):
        queue = open_queue(client)

        @get("/public/lookbook/{slug:str}")
        async def page(slug: FromPath[str]) -> Stream:
            row = await db.one(BY_SLUG, ArtifactRow, slug=slug)
            assert row is not None and row.content_r2_key is not None
            seen = {"artifactId": row.id, "ip": None, "country": None, "city": None, "userAgent": None}
            await queue.send(Message(new_id(), "artifact-view", now_ms(), seen))
            chunks: AsyncIterator[bytes] = bucket.stream(row.content_r2_key)
            return Stream(chunks, media_type="text/html; charset=utf-8")

        await uvicorn.Server(uvicorn.Config(Litestar([page]), port=port, log_level="error")).serve()


async def pages_a_second(url: str) -> float:
    """CLIENTS connections, each asking again as soon as it is answered."""
    count, end = 0, time.monotonic() + SECONDS

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal count
        while time.monotonic() < end:
            assert (await client.get(url)).status_code == 200
            count += 1

    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.gather(*(ask(client) for _ in range(CLIENTS)))
    return count / SECONDS


async def compare(home: Path) -> None:
    with valkey(find_server()) as redis:
        async with running(home, **environ(REDIS_URL=redis.url)) as server, calling(server) as client:
            project = await new_project(client)
            await ended(client, (await submit(client, project, variants=4))["jobId"])
            made = (await client.post(f"/api/projects/{project}/artifacts/lookbook", json={})).json()
            (home / "copy.db").write_bytes(b"")
            await asyncio.to_thread(copy, home)
            port = server.port + 1
            plain = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.bench.pages", str(home), redis.url, str(port)
            )
            path = f"/public/lookbook/{made['public_slug']}"
            await asyncio.sleep(3)
            for _ in range(ROUNDS):
                ours = await pages_a_second(f"{server.url}{path}")
                bare = await pages_a_second(f"http://127.0.0.1:{port}{path}")
                print(f"{ours:6.0f} pages/s, bare {bare:6.0f} pages/s, ratio {ours / bare:4.2f}")
            plain.terminate()
            await plain.wait()


def copy(home: Path) -> None:
    """The database as it is now, for the bare server: one process may own the first."""
    import sqlite3

    with sqlite3.connect(home / "picasso.db") as source, sqlite3.connect(home / "copy.db") as target:
        source.backup(target)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        asyncio.run(serve_plain(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(compare(Path(folder)))
