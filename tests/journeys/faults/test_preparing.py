"""Work before a vendor call costs nothing: a failure in it is not counted against the vendor, and a crash in it buys
nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import running


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as wire:
        yield wire


async def test_a_killed_image_child_fails_the_item_and_leaves_the_vendor_alone(tmp_path: Path, wire: Wire) -> None:
    """When the request cannot be prepared there is no call, no bill and no circuit failure, and the next item is made
    normally."""
    async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
        project = await new_project(client)
        [item] = (await ended(client, (await submit(
            client, project, providers=["toy"], fallback=["sketch"], prompt="kill the image child"
        ))["jobId"]))["items"]  # fmt: skip
        assert (item["status"], item["error"]["code"]) == ("failed", "image_child")
        assert [(a["provider"], a["state"], a["billed"]) for a in item["attempts"]] == [("toy", "abandoned", False)]
        toy = next(p for p in (await client.get("/api/providers")).json()["items"] if p["id"] == "toy")
        assert (wire.calls, toy["lanes"]) == ([], [])
        assert (await ended(client, (await submit(client, project, providers=["toy"]))["jobId"]))[
            "status"
        ] == "complete"
    assert history_checks.violations(history_checks.read(tmp_path / "picasso.db")) == []


async def test_a_crash_between_preparing_and_sending_buys_once(tmp_path: Path, wire: Wire) -> None:
    """SIGKILL while one item is prepared and waits for the slot that the other has: after the restart it is prepared
    again and bought once."""
    wire.scripts["toy"].append(Answer("hang"))
    settings = environ(wire, PROVIDER_WIDTH="toy=1")
    async with running(tmp_path, **settings) as server, calling(server) as client:
        job = await submit(client, await new_project(client), providers=["toy"], variants=2)
        async with asyncio.timeout(30):
            while sum(line.get("step") == "router.prepare" for line in server.lines()) < 2:
                await asyncio.sleep(0.02)
        await wire.received(1)
        os.kill(server.process.pid, signal.SIGKILL)
    async with running(tmp_path, **settings) as server, calling(server) as client:
        over = await ended(client, job["jobId"])
    assert sorted(item["status"] for item in over["items"]) == ["complete", "uncertain"]
    seeds = [call.body["seed"] for call in wire.calls]
    assert len(seeds) == len(set(seeds)) == 2
    assert history_checks.violations(history_checks.read(tmp_path / "picasso.db")) == []
