"""The limits per provider, seen from the network: two worker processes on one PostgreSQL and one Redis."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from app.bindings.redis.provider_limiter import OPENS_AFTER, Times, open_provider_limiter
from app.bindings.workflow import JOBS_AT_ONCE
from tests.journeys.faults.test_workers import NO_JOBS, WORKER
from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.deadlines import LONG, until
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import running, start, stop

WIDTH = 2


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(delay=0.1) as wire:
        yield wire


@pytest.fixture
def shared(wire: Wire, postgres_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """One database, one Redis, one bucket for all processes."""
    folders = {"BUCKET": f"file://{tmp_path}/bucket", "IMAGES": f"file://{tmp_path}/images"}
    widths = {"PROVIDER_WIDTH": f"toy={WIDTH},sketch=8"}
    return environ(wire, DB=postgres_url, REDIS_URL=redis_url, API_KEY="k" * 40, **folders, **widths)


@asynccontextmanager
async def two_workers(home: Path, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that only serves, with two workers beside it whose data is in `one` and `two`."""
    async with running(home / "server", command=NO_JOBS, **settings) as server, AsyncExitStack() as stack:
        for name in ("one", "two"):
            stack.push_async_callback(stop, await start(home / name, WORKER, **settings))
        for name in ("one", "two"):
            await until(lambda name=name: '"ready"' in said(home / name), LONG)  # type: ignore[misc]
        yield await stack.enter_async_context(calling(server))


def said(home: Path) -> str:
    """The log of a process."""
    return (home / "serve.log").read_text()


async def status_of(client: httpx.AsyncClient, jobs: list[dict[str, Any]]) -> Counter[str]:
    """The status of each of the jobs."""
    views = [(await client.get(f"/api/jobs/{job['jobId']}")).json() for job in jobs]
    return Counter(view["status"] for view in views)


async def test_the_width_holds_over_two_workers(
    tmp_path: Path, shared: dict[str, str], postgres_url: str, wire: Wire
) -> None:
    """With PROVIDER_WIDTH toy=2 and two workers that share many jobs, the vendor never has more than two calls at once,
    and at times has two."""
    count = JOBS_AT_ONCE + 4
    # While the first calls are not answered, one worker alone cannot take all jobs.
    all_taken = asyncio.Event()
    wire.scripts["toy"] += [Answer(after=all_taken)] * WIDTH
    async with two_workers(tmp_path, **shared) as client:
        project = await new_project(client)
        jobs = await asyncio.gather(
            *(submit(client, project, providers=["toy"], prompt=f"boat {n}") for n in range(count))
        )

        async def all_run() -> bool:
            return await status_of(client, jobs) == {"running": count}

        await until(all_run)
        all_taken.set()
        for job in jobs:
            assert (await ended(client, job["jobId"]))["status"] == "complete"
    assert wire.most_in_flight["toy"] == WIDTH
    assert len(wire.of("toy")) == count
    calls = [said(tmp_path / name).count('"step": "router.send"') for name in ("one", "two")]
    assert sum(calls) == count
    assert min(calls) > 0
    assert history_checks.violations(await history_checks.read_postgres(postgres_url)) == []


@pytest.mark.soak
async def test_nobody_calls_before_the_vendor_said(tmp_path: Path, shared: dict[str, str], wire: Wire) -> None:
    """After one 429 with Retry-After neither worker calls before that time, and all images are made."""
    async with two_workers(tmp_path, **shared) as client:
        project = await new_project(client)
        wire.scripts["toy"] += [Answer("rate", retry_after="2")]
        jobs = [await submit(client, project, providers=["toy"], variants=2, prompt=f"boat {n}") for n in range(4)]
        for job in jobs:
            assert (await ended(client, job["jobId"]))["status"] == "complete"
    first, *others = wire.of("toy")
    # Calls that were in flight when the vendor answered 429 could not know of it.
    assert sum(call.at - first.at < 2 for call in others) <= WIDTH
    assert wire.most_in_flight["toy"] <= WIDTH


async def test_a_dead_vendor_slows_nobody_else(tmp_path: Path, shared: dict[str, str], wire: Wire) -> None:
    """A vendor that accepts calls and does not answer occupies only its own slots: sketches that are requested
    meanwhile are made before it has answered once."""
    answers = asyncio.Event()
    wire.scripts["toy"] += [Answer("refuse", after=answers)] * 8
    async with two_workers(tmp_path, **shared) as client:
        project = await new_project(client)
        dead = [await submit(client, project, providers=["toy"], variants=4, sessionId=f"t{n}") for n in range(2)]
        await wire.received(WIDTH)
        for n in range(5):
            job = await submit(client, project, providers=["sketch"], prompt=f"a red boat {n}", sessionId=f"s{n}")
            assert (await ended(client, job["jobId"]))["status"] == "complete"
        assert (len(wire.calls), wire.in_flight["toy"]) == (WIDTH, WIDTH)
        assert await status_of(client, dead) == {"running": len(dead)}
        answers.set()
        assert {(await ended(client, job["jobId"]))["status"] for job in dead} == {"failed"}


async def test_the_calls_to_a_dead_vendor_end_with_its_circuit(
    tmp_path: Path, shared: dict[str, str], redis_client: Redis, wire: Wire
) -> None:
    """The circuit of a vendor that never answers opens after five calls exceeded VENDOR_SECONDS, counted over both
    workers, and the remaining items end without a call."""
    wire.scripts["toy"] += [Answer("hang")] * 100
    async with two_workers(tmp_path, **{**shared, "VENDOR_SECONDS": "5"}) as client:
        project = await new_project(client)
        dead = [await submit(client, project, providers=["toy"], variants=4, sessionId=f"t{n}") for n in range(2)]
        left = [await ended(client, job["jobId"]) for job in dead]
        async with open_provider_limiter(redis_client, {"*": 1}, Times(lease=1)) as limiter:
            [circuit] = (await limiter.circuits())["toy"]
        assert circuit.failures == OPENS_AFTER
    ends = Counter(item["status"] for job in left for item in job["items"])
    calls = len(wire.of("toy"))
    assert OPENS_AFTER <= calls <= OPENS_AFTER + WIDTH - 1
    assert ends == {"uncertain": calls, "failed": 8 - calls}
