"""The end of a process, as far as its bindings have a say in it."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.bindings.queue import open_queue
from app.bindings.redis.connection import open_client
from app.lifecycle import MOST_OPEN, Lifecycle, raise_descriptor_limit
from app.settings import Settings
from tests.support.deadlines import LONG
from tests.support.environment import bare_env, settings
from tests.support.servers.valkey import Valkey
from tools.env import Env, Message
from tools.errors import Unavailable


async def test_a_drain_waits_for_messages_that_redis_has_not_taken(tmp_path: Path, own_valkey: Valkey) -> None:
    """A process that is asked to end while Redis is away goes on until the buffer is written: nothing is lost."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)

        @contextlib.asynccontextmanager
        async def bindings(settings: Settings) -> AsyncIterator[Env]:
            async with bare_env(tmp_path, PICASSO_QUEUE=queue) as env:
                yield env

        lifecycle = Lifecycle()
        lifecycle.begin(settings(tmp_path), bindings, jobs=False)
        async with asyncio.timeout(LONG):
            while lifecycle.env is None:
                await asyncio.sleep(0)
            own_valkey.pause()
            await asyncio.gather(*(queue.send_soon(Message(str(n), "log", 1, {})) for n in range(5)))
            lifecycle.draining.set()
            with pytest.raises(Unavailable):
                await queue.send(Message("never", "log", 1, {}))
            assert not lifecycle.drained
            own_valkey.resume()
            while not lifecycle.drained:
                await asyncio.sleep(0.01)
        assert await queue.depth() == 5
        await lifecycle.close()
    assert lifecycle.exit_code is None


def test_a_process_allows_itself_as_many_files_as_it_may() -> None:
    """The soft limit becomes the hard one, or MOST_OPEN; a higher one stays."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, most), hard))
    try:
        assert raise_descriptor_limit() == most == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
