"""A full Redis: the service reports it, and nothing that was stored is lost."""

import contextlib
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.bindings.redis.connection import open_client
from tests.support.api_calls import body, calling, ended, environ, new_project, submit
from tests.support.servers.picasso import running
from tests.support.servers.valkey import Valkey

ROOM = 8 << 20


async def fill(client: Redis) -> set[bytes]:
    """Write until there is no room for one more byte, and return the keys that were written."""
    for size in (64 << 10, 1 << 10, 1):
        with contextlib.suppress(ResponseError):
            for number in range(1 << 20):
                await client.set(f"filler:{size}:{number}", b"x" * size)
    return {key async for key in client.scan_iter(match="filler:*", count=1000)}


async def test_memory_pressure_is_loud(tmp_path: Path, own_valkey: Valkey) -> None:
    """With 8 MiB filled, a job is refused with 503 and Retry-After, public pages are 200, nothing is evicted;
    with room again, jobs are taken."""
    async with (
        open_client(own_valkey.url) as client,
        running(tmp_path, REDIS_URL=own_valkey.url, **environ()) as server,
        calling(server) as api,
    ):
        project = await new_project(api)
        await ended(api, (await submit(api, project))["jobId"])
        slug = (await api.post(f"/api/projects/{project}/artifacts/lookbook")).json()["public_slug"]
        await client.config_set("maxmemory", ROOM)
        kept = await fill(client)
        refused = await api.post(f"/api/projects/{project}/jobs", json=body())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "redis_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        for _ in range(5):
            assert (await api.get(f"/public/artifact/{slug}")).status_code == 200
        assert (await client.info("stats"))["evicted_keys"] == 0
        assert kept <= {key async for key in client.scan_iter(count=1000)}
        await client.config_set("maxmemory", 0)
        assert (await ended(api, (await submit(api, project))["jobId"]))["status"] == "complete"
