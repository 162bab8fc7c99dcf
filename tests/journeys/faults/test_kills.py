"""Whichever process is killed at whatever moment: every job ends without help, every item once, and nothing is bought
twice.

The server is a real process; the paid vendor is the false Internet, which outlives it and counts its calls.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.deadlines import LONG
from tests.support.internet import Wire
from tests.support.servers.picasso import Server, listening, running

ITEMS = 8


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(delay=0.25) as wire:
        yield wire


async def submit_mixed(client: httpx.AsyncClient, project: str, key: str) -> str:
    """A job of 8 items, half of them paid."""
    job = await submit(
        client, project, key, prompt=f"a red boat {key}", providers=["toy", "sketch"], variants=ITEMS // 2
    )
    return str(job["jobId"])


def checked(home: Path, wire: Wire) -> history_checks.Left:
    """Read the rows and check everything that must be true of them."""
    left = history_checks.read(home / "picasso.db")
    assert history_checks.violations(left) == []
    paid = [a for a in left.attempts if a["provider"] == "toy" and a["sent_at"] is not None]
    seeds = Counter(call.body["seed"] for call in wire.calls)
    assert len(wire.calls) <= len(paid), "the vendor was called without a row in the ledger"
    assert max(seeds.values(), default=0) <= 1, "one image was bought twice"
    return left


async def test_a_server_may_be_killed_at_any_moment(tmp_path: Path, wire: Wire, rounds: int) -> None:
    """SIGKILL of the server at random moments of a job of 8 items; after a restart the job continues without a
    request."""
    chance, job, target, kills = random.Random(7), "", "", rounds * 5
    for kill in range(kills):
        async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
            target = target or await new_project(client)
            job = await submit_mixed(client, target, f"k{kill // 2}")
            await asyncio.sleep(chance.uniform(0.02, 1.2))
            os.kill(server.process.pid, signal.SIGKILL)
    async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
        await ended(client, job)
        for status in [job["status"] for job in history_checks.read(tmp_path / "picasso.db").jobs]:
            assert status in ("complete", "running", "queued", "failed")
        async with asyncio.timeout(LONG):
            while any(job["ended_at"] is None for job in history_checks.read(tmp_path / "picasso.db").jobs):
                await asyncio.sleep(0.2)
    left = checked(tmp_path, wire)
    assert len(left.jobs) == (kills + 1) // 2
    lost = [item for item in left.items if item["status"] == "uncertain"]
    assert len(lost) <= kills * 4, "more calls in flight at a kill than the provider's width"


async def _kill_children(server: Server, of: Callable[[psutil.Process], bool]) -> int:
    victims = [child for child in psutil.Process(server.process.pid).children(recursive=True) if of(child)]
    for victim in victims:
        victim.kill()
    return len(victims)


async def test_the_image_child_may_be_killed(tmp_path: Path, wire: Wire, rounds: int) -> None:
    """SIGKILL of the process that decodes images costs time, not images."""
    chance, killed = random.Random(11), 0
    async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
        target = await new_project(client)
        for kill in range(rounds * 2):
            job = await submit_mixed(client, target, f"k{kill}")
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            killed += await _kill_children(server, lambda child: "anyio.to_process" in " ".join(child.cmdline()))
            await ended(client, job)
        alive = server.process.pid
        assert psutil.pid_exists(alive)
    left = checked(tmp_path, wire)
    assert killed >= rounds
    assert {item["status"] for item in left.items} <= {"complete", "duplicate", "failed"}


async def test_valkey_may_be_killed(tmp_path: Path, wire: Wire, rounds: int) -> None:
    """SIGKILL of the embedded Valkey during a job: its supervisor starts it again and the job ends complete."""
    chance = random.Random(13)
    async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
        target = await new_project(client)
        for kill in range(rounds * 2):
            job = await submit_mixed(client, target, f"k{kill}")
            await asyncio.sleep(chance.uniform(0.05, 0.8))
            for process in psutil.process_iter(["cmdline"]):
                line = " ".join(process.info["cmdline"] or [])
                if "valkey-server" in line and str(tmp_path) in line:
                    process.kill()
            await ended(client, job)
    left = checked(tmp_path, wire)
    assert {job["status"] for job in left.jobs} == {"complete"}
    assert len(wire.calls) == rounds * 2 * ITEMS // 2


@pytest.mark.soak
async def test_kills_into_a_claim_end_no_innocent_job(tmp_path: Path, wire: Wire, rounds: int) -> None:
    """Seven SIGKILLs, each 50 ms into the first claim, with five jobs open: left alone, all end, none `crash_loop`."""
    async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
        target = await new_project(client)
        for n in range(5):
            await submit_mixed(client, target, f"k{n}")
        os.kill(server.process.pid, signal.SIGKILL)
    for _ in range(7 * (rounds - 1)):
        async with running(tmp_path, **environ(wire)) as server:
            async with asyncio.timeout(LONG):
                while not any(line.get("step") == "leases.claim" for line in server.lines()):
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            os.kill(server.process.pid, signal.SIGKILL)
    async with running(tmp_path, **environ(wire)), asyncio.timeout(LONG):
        while any(job["ended_at"] is None for job in history_checks.read(tmp_path / "picasso.db").jobs):
            await asyncio.sleep(0.2)
    left = checked(tmp_path, wire)
    assert {item["status"] for item in left.items} <= {"complete", "duplicate", "uncertain"}


@pytest.mark.soak
async def test_an_item_that_kills_its_server_is_found(tmp_path: Path, wire: Wire) -> None:
    """One of four items kills the server that prepares its call: after at most eight deaths it has ended `crash_loop`,
    its siblings and the other job have ended, and the server lives."""
    async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
        target = await new_project(client)
        await submit_mixed(client, target, "other")
        await submit(client, target, "killer", prompt="kill the worker", providers=["toy"], variants=4, seed=0)
        await asyncio.wait_for(server.process.wait(), LONG)
    for _ in range(9):
        async with listening(tmp_path, **environ(wire)) as server, asyncio.timeout(LONG):
            while server.process.returncode is None:
                if all(job["ended_at"] for job in history_checks.read(tmp_path / "picasso.db").jobs):
                    break
                await asyncio.sleep(0.1)
            if server.process.returncode is None:
                break
    left = checked(tmp_path, wire)
    ends = {item["variant_index"]: item for item in left.items if item["job_id"] == left.jobs[1]["id"]}
    assert '"crash_loop"' in ends[1]["error"]
    assert {item["status"] for item in left.items if item["id"] != ends[1]["id"]} <= {
        "complete",
        "duplicate",
        "uncertain",
    }
