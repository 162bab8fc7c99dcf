"""Several processes on one PostgreSQL and one Redis: each job runs in one of them, once."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, events, new_project, submit
from tests.support.deadlines import LONG
from tests.support.internet import Wire
from tests.support.servers.picasso import running, start, stop

NO_JOBS = ("app", "serve", "--no-jobs")
WORKER = ("app", "worker")


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(delay=0.4) as wire:
        yield wire


@pytest.fixture
def shared(wire: Wire, postgres_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """One database, one Redis, one bucket and one public address for all processes."""
    folders = {"BUCKET": f"file://{tmp_path}/bucket", "IMAGES": f"file://{tmp_path}/images"}
    return environ(
        wire, DB=postgres_url, REDIS_URL=redis_url, API_KEY="k" * 40, PUBLIC_URL="http://studio.example", **folders
    )


async def mixed(client: httpx.AsyncClient, project: str, key: str) -> str:
    job = await submit(client, project, key, prompt=f"a red boat {key}", providers=["toy", "sketch"], variants=3)
    return str(job["jobId"])


async def checked(url: str, wire: Wire) -> history_checks.Left:
    """Read the rows from PostgreSQL and check everything that must be true of them."""
    left = await history_checks.read_postgres(url)
    assert history_checks.violations(left) == []
    seeds = Counter(call.body["seed"] for call in wire.calls)
    assert max(seeds.values(), default=0) <= 1, "one image was bought twice"
    sent = [a for a in left.attempts if a["provider"] == "toy" and a["sent_at"] is not None]
    assert len(wire.calls) <= len(sent), "the vendor was called without a row in the ledger"
    return left


async def test_every_process_shows_the_same_story(
    tmp_path: Path, shared: dict[str, str], postgres_url: str, wire: Wire
) -> None:
    """Jobs posted to two servers with one session: both return the same events with the same numbers in the same
    order."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(tmp_path / name, **shared)) for name in "ab"]
        one, two = [await stack.enter_async_context(calling(server)) for server in servers]
        project = await new_project(one)
        jobs = [await mixed(client, project, f"k{n}") for n, client in enumerate([one, two, one, two])]
        for job in jobs:
            await ended(two, job)
        story = await events(one)
        assert story == await events(two)
        assert [event["seq"] for event in story] == list(range(1, len(story) + 1))
    await checked(postgres_url, wire)


async def test_a_worker_may_be_killed_at_any_moment(
    tmp_path: Path, shared: dict[str, str], postgres_url: str, wire: Wire, rounds: int
) -> None:
    """SIGKILL of workers beside a server that only serves: the next worker continues, and nothing is bought twice."""
    chance = random.Random(3)
    async with running(tmp_path / "server", command=NO_JOBS, **shared) as server, calling(server) as client:
        project = await new_project(client)
        jobs = [await mixed(client, project, f"k{n}") for n in range(rounds * 2)]
        for n in range(rounds * 4):
            worker = await start(tmp_path / f"worker{n}", WORKER, **shared)
            await asyncio.sleep(chance.uniform(2.0, 4.0))
            worker.kill()
            await worker.wait()
        worker = await start(tmp_path / "last", WORKER, **shared)
        for job in jobs:
            await ended(client, job)
        await stop(worker)
    await checked(postgres_url, wire)


async def test_two_workers_that_take_over_run_nothing_twice(
    tmp_path: Path, shared: dict[str, str], postgres_url: str, wire: Wire
) -> None:
    """When a worker dies in the middle of a job and two start at once, one of them gets the job."""
    async with running(tmp_path / "server", command=NO_JOBS, **shared) as server, calling(server) as client:
        job = await mixed(client, await new_project(client), "k")
        first = await start(tmp_path / "first", WORKER, **shared)
        async with asyncio.timeout(LONG):
            while not wire.calls:
                await asyncio.sleep(0.02)
        first.kill()
        heirs = await asyncio.gather(*(start(tmp_path / name, WORKER, **shared) for name in ("one", "two")))
        await ended(client, job)
        for heir in heirs:
            await stop(heir)
    left = await checked(postgres_url, wire)
    assert {item["status"] for item in left.items} <= {"complete", "uncertain"}


async def test_a_worker_that_was_frozen_writes_nothing_late(
    tmp_path: Path, shared: dict[str, str], postgres_url: str, wire: Wire
) -> None:
    """SIGSTOP beyond the lease, another worker steals the job, SIGCONT: the fence refuses the late writes."""
    async with running(tmp_path / "server", command=NO_JOBS, **shared) as server, calling(server) as client:
        job = await mixed(client, await new_project(client), "k")
        frozen = await start(tmp_path / "frozen", WORKER, **shared)
        async with asyncio.timeout(LONG):
            while not wire.calls:
                await asyncio.sleep(0.02)
        os.kill(frozen.pid, signal.SIGSTOP)
        thief = await start(tmp_path / "thief", WORKER, **shared)
        await ended(client, job)
        told = await events(client)
        os.kill(frozen.pid, signal.SIGCONT)
        await stop(frozen)
        assert await events(client) == told
        await stop(thief)
    await checked(postgres_url, wire)
