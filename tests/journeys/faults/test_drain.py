"""SIGTERM in the middle of work: nothing new begins, running work stops at a safe point, and the next start continues
it."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support import history_checks
from tests.support.api_calls import calling, environ, new_project, submit
from tests.support.deadlines import LONG
from tests.support.internet import Wire
from tests.support.servers.picasso import Server, running


async def open_jobs_end(server: Server, seconds: float = LONG) -> None:
    async with asyncio.timeout(seconds):
        while any(job["ended_at"] is None for job in history_checks.read(server.home / "picasso.db").jobs):
            await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(signal.SIGTERM, None, id="drain", marks=pytest.mark.soak),
        pytest.param(signal.SIGHUP, None, id="the terminal is closed"),
        pytest.param(signal.SIGTERM, signal.SIGTERM, id="twice", marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, signal.SIGKILL, id="then killed"),
    ],
)
async def test_a_drain_loses_nothing(tmp_path: Path, first: signal.Signals, second: signal.Signals | None) -> None:
    """Ten jobs and twenty sockets at a signal: the process ends by itself, and after the next start all jobs end."""
    async with Wire(delay=0.4) as wire:
        async with running(tmp_path, **environ(wire)) as server, calling(server) as client:
            project = await new_project(client)
            for n in range(10):
                await submit(client, project, f"k{n}", providers=["toy", "sketch"], sessionId=f"s{n}")
            async with contextlib.AsyncExitStack() as sockets:
                url = f"ws://127.0.0.1:{server.port}/api/stream/s0"
                for _ in range(20):
                    await sockets.enter_async_context(connect(url, proxy=None))
                async with asyncio.timeout(LONG):
                    while not wire.calls:
                        await asyncio.sleep(0.02)
                server.process.send_signal(first)
                if second:
                    await asyncio.sleep(0.3)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(server.process.pid, second)
                await asyncio.wait_for(server.process.wait(), LONG)
        async with running(tmp_path, **environ(wire)) as server:
            await open_jobs_end(server)
        left = history_checks.read(tmp_path / "picasso.db")
        assert history_checks.violations(left) == []
        sent = [a for a in left.attempts if a["provider"] == "toy" and a["sent_at"] is not None]
        assert len({call.body["seed"] for call in wire.calls}) == len(wire.calls) <= len(sent)
        if second is None:
            assert {item["status"] for item in left.items} == {"complete"}
