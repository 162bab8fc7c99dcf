"""One process from start to end: a task opens the bindings, runs jobs inside, and closes everything in reverse order.

The HTTP server responds meanwhile, so what it depends on may start after it.
"""

import asyncio
import contextlib
import importlib
import itertools
import logging
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

from app.settings import SettingError, Settings
from tools.env import Env
from tools.errors import Unavailable

log = logging.getLogger("picasso.lifecycle")
Bindings = Callable[[Settings], AbstractAsyncContextManager[Env]]
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
CLOSE_SECONDS, CANCEL_SECONDS = 3.0, 1.0
MOST_OPEN = 65_536
REFUSED, FAILED = 78, 1
"""Exit codes: a setting or a database that must not be used (EX_CONFIG); any other, unexpected error."""


def raise_descriptor_limit() -> int:
    """How many files and sockets this process may have open, from now on as many as it may allow itself, MOST_OPEN at
    most. Effect: its soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_OPEN if soft == resource.RLIM_INFINITY else soft


class Lifecycle:
    """The state of this process.

    `env` is set while the bindings are open. `draining` is set once, by the first signal: no new job begins and
    streams end. `exit_code` is set when the process cannot continue.
    """

    def __init__(self) -> None:
        self.env: Env | None = None
        self.draining = asyncio.Event()
        self.exit_code: int | None = None
        self._working = False
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def drained(self) -> bool:
        """Whether `draining` is set, jobs have stopped, and no message waits for the queue."""
        return self.draining.is_set() and not self._working

    def begin(self, settings: Settings, bindings: Bindings, jobs: bool) -> None:
        """Start the task that opens the bindings and, with `jobs`, runs jobs until `close`."""
        self._task = asyncio.create_task(self._run(settings, bindings, jobs), name="lifecycle")

        def note_end(task: asyncio.Task[None]) -> None:
            if task.cancelled() or (error := task.exception()) is None:
                return
            setting = next((leaf for leaf in _leaves(error) if isinstance(leaf, SettingError)), None)
            if setting is not None:
                log.error("refused to start: %s", setting)
            else:
                log.error("the process cannot go on", exc_info=error)
            self.exit_code = REFUSED if setting is not None else FAILED

        self._task.add_done_callback(note_end)

    def abandon(self) -> None:
        """Cancel jobs that do not stop in time; the ledger has recorded how far they got."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Stop jobs and close the bindings; what does not end within CLOSE_SECONDS is cancelled."""
        self.draining.set()
        self._closing.set()
        if self._task is not None and (await asyncio.wait({self._task}, timeout=CLOSE_SECONDS))[1]:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_SECONDS)

    async def _run(self, settings: Settings, bindings: Bindings, jobs: bool) -> None:
        """Open the bindings, work, close them; start over after a pause when one of them does not respond."""
        for attempt in itertools.count():
            unavailable: ExceptionGroup[Unavailable] | None = None
            try:
                async with bindings(settings) as env:
                    await self._work(env, settings, jobs)
            except* Unavailable as group:
                unavailable = group
            if unavailable is None:
                return
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 10)) * random.uniform(0.8, 1.2)
            reasons = "; ".join(str(leaf) for leaf in _leaves(unavailable))
            log.warning("not ready: %s; next try in %.1f s", reasons, wait)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.draining.wait()
                return

    async def _work(self, env: Env, settings: Settings, jobs: bool) -> None:
        self.env, self._working = env, True
        log.info("ready")
        try:
            if jobs:
                # Its graphs take seconds to import; in a thread, so that the loop goes on serving requests.
                worker = await asyncio.to_thread(importlib.import_module, "app.worker")
                await worker.run(env, settings, self.draining)
            await self.draining.wait()
            # The server still serves, so there is time for a Redis that is away to come back.
            await env.PICASSO_QUEUE.drain()
            self._working = False
            await self._closing.wait()
        finally:
            self.env, self._working = None, False


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
