"""A backup of a server that is buying images, restored on a new data directory."""

import asyncio
import os
import signal
import threading
from pathlib import Path

from app.ops.backup import back_up, restore
from tests.journeys.faults.test_kills import checked, submit_mixed
from tests.support.api_calls import calling, ended, environ, new_project
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.internet import Wire
from tests.support.servers.picasso import running


async def test_a_job_goes_on_after_a_restore_and_buys_nothing_twice(tmp_path: Path) -> None:
    """A backup from the middle of a job of 8 items, half of them paid: the restored server ends the job without a
    request, the key and the images are the old ones, and the vendor saw no image twice."""
    async with Wire(delay=0.25) as wire:
        async with running(tmp_path / "old", **environ(wire)) as server, calling(server) as client:
            job = await submit_mixed(client, await new_project(client), "k")
            async with asyncio.timeout(LONG):
                while not wire.calls:
                    await asyncio.sleep(0.01)
            # What it would buy between the backup and its end, no backup could know.
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                await asyncio.to_thread(back_up, settings(server.home), tmp_path / "copy", threading.Event())
            finally:
                os.kill(server.process.pid, signal.SIGKILL)
            old_key = server.key
        await asyncio.to_thread(restore, settings(tmp_path / "new"), tmp_path / "copy", threading.Event())
        async with running(tmp_path / "new", **environ(wire)) as server, calling(server) as client:
            assert server.key == old_key
            await ended(client, job)
        checked(tmp_path / "new", wire)
