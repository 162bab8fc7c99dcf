"""A page from its creation to the rows of its views, over real sockets."""

import asyncio
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.deadlines import LONG
from tests.support.servers.picasso import running
from tests.support.servers.valkey import Valkey

CLOUDFLARE = {
    "CF-Connecting-IP": "203.0.113.77",
    "CF-IPCountry": "NL",
    "CF-IPCity": "Utrecht",
    "User-Agent": "Reader/1.0 " + "x" * 400,
}


async def counted(client: httpx.AsyncClient, artifact: str, total: int) -> dict[str, Any]:
    """The views once there are `total` of them."""
    async with asyncio.timeout(LONG):
        while (views := (await client.get(f"/api/artifacts/{artifact}/views")).json())["total"] < total:
            await asyncio.sleep(0.2)
    return dict(views)


async def test_readers_of_a_lookbook_are_counted_and_not_kept(tmp_path: Path) -> None:
    """Every 200 and 304 is one view, HEAD is none; the proxy's headers are in the row, the address truncated."""
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        project = await new_project(client)
        await ended(client, (await submit(client, project, variants=2))["jobId"])
        made = await client.post(f"/api/projects/{project}/artifacts/lookbook", json={})
        assert made.status_code == 201, made.text
        page = f"/public/lookbook/{made.json()['public_slug']}"
        first = await client.get(page, headers=CLOUDFLARE)
        assert first.status_code == 200 and first.headers["content-type"].startswith("text/html")
        again = await client.get(page, headers={**CLOUDFLARE, "If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert (await client.head(page)).status_code == 200
        for _ in range(8):
            assert (await client.get(page)).status_code == 200
        views = await counted(client, made.json()["artifact_id"], 10)
    assert views["total"] == 10 and {"country": "NL", "views": 2} in views["byCountry"]
    assert sum(day["views"] for day in views["byDay"]) == 10
    with sqlite3.connect(tmp_path / "picasso.db") as database:
        rows = database.execute("SELECT ip_address, city, length(user_agent) FROM artifact_views WHERE country = 'NL'")
        assert rows.fetchall() == [("203.0.113.0/24", "Utrecht", 256)] * 2
    database.close()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"203.0.113.77" not in written


@pytest.mark.soak
async def test_every_view_is_counted_over_a_slow_and_a_dead_redis(
    tmp_path: Path, own_valkey: Valkey, rounds: int
) -> None:
    """Fifty readers while Redis is stopped, resumed, killed and started, and a SIGTERM while it is away: after the next
    start there is a row for every page that was answered, and not one more."""
    settings, answered = environ(REDIS_URL=own_valkey.url), 0
    async with running(tmp_path, **settings) as server, calling(server) as client:
        project = await new_project(client)
        await ended(client, (await submit(client, project))["jobId"])
        made = (await client.post(f"/api/projects/{project}/artifacts/lookbook", json={})).json()
        page, over = f"{server.url}/public/lookbook/{made['public_slug']}", asyncio.Event()

        async def read(times: int) -> None:
            nonlocal answered
            async with server.client() as reader:
                for _ in range(times):
                    status = (await reader.get(page)).status_code
                    answered += status == 200

        async def disturb() -> None:
            chance = random.Random(17)
            while not over.is_set():
                own_valkey.pause()
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                own_valkey.resume()
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                own_valkey.kill()
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                await asyncio.to_thread(own_valkey.start)

        disturbing = asyncio.create_task(disturb())
        await asyncio.gather(*(read(10 * rounds) for _ in range(50)))
        over.set()
        await disturbing
        own_valkey.pause()
        await asyncio.gather(*(read(2) for _ in range(10)))
        server.process.send_signal(signal.SIGTERM)
        # Longer than a closing queue waits, shorter than a drain.
        await asyncio.sleep(8)
        own_valkey.resume()
        await asyncio.wait_for(server.process.wait(), LONG)
        assert not [line for line in server.lines() if "messages are lost" in line["msg"]]
    assert answered == 500 * rounds + 20
    async with running(tmp_path, **settings) as server, calling(server) as client:
        views = await counted(client, made["artifact_id"], answered)
        while await own_queue_depth(client):
            await asyncio.sleep(0.2)
        views = await counted(client, made["artifact_id"], answered)
    assert views["total"] == answered


async def own_queue_depth(client: httpx.AsyncClient) -> int:
    """Messages that wait in the server's queue."""
    lines = (await client.get("/metrics")).text.splitlines()
    return round(float(next(line for line in lines if line.startswith("picasso_queue_depth ")).split()[1]))
