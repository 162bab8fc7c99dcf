"""From start to end of one process: bindings are opened by a task that owns them, jobs run inside, and it all closes
again in reverse. The server answers meanwhile: dependencies may start last."""

import asyncio
import importlib
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

from app.settings import SettingError, Settings
from tools.env import Env
from tools.errors import Unavailable

log = logging.getLogger("picasso.life")
Bindings = Callable[[Settings], AbstractAsyncContextManager[Env]]
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
CLOSE_SECONDS, CANCEL_SECONDS = 3.0, 1.0
REFUSED, FAILED = 78, 1
"""Exit codes: a setting or an engine that must not be used (EX_CONFIG); anything else that nobody meant."""


class Lifecycle:
    """Where this process stands.

    `env` is there while the bindings are open. `draining` is set once, by the first signal: no new job is begun and
    streams end. `exit_code` is set when the process cannot go on.
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
        """Whether nothing is left to wait for after `draining`."""
        return self.draining.is_set() and not self._working

    def begin(self, settings: Settings, bindings: Bindings, jobs: bool) -> None:
        """Open the bindings in a task of their own, which works until `close`."""
        self._task = asyncio.create_task(self._run(settings, bindings, jobs), name="life")
        self._task.add_done_callback(self._note_end)

    def abandon(self) -> None:
        """Wait no longer for jobs that do not stop: the ledger knows how far they got."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Close the bindings; what does not end in time is cancelled."""
        self.draining.set()
        self._closing.set()
        if self._task is not None and (await asyncio.wait({self._task}, timeout=CLOSE_SECONDS))[1]:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_SECONDS)

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        setting = next((leaf for leaf in _leaves(error) if isinstance(leaf, SettingError)), None)
        if setting is not None:
            log.error("refused to start: %s", setting)
        else:
            log.error("the process cannot go on", exc_info=error)
        self.exit_code = REFUSED if setting is not None else FAILED

    async def _run(self, settings: Settings, bindings: Bindings, jobs: bool) -> None:
        """Open, work, close; open again after a while when a binding is away."""
        for wait in _waits():
            away: ExceptionGroup[Unavailable] | None = None
            try:
                async with bindings(settings) as env:
                    await self._live(env, settings, jobs)
            except* Unavailable as group:
                away = group
            if away is None or await self._is_over(wait, away):
                return

    async def _live(self, env: Env, settings: Settings, jobs: bool) -> None:
        self.env, self._working = env, jobs
        log.info("ready")
        try:
            if jobs:
                # Its graphs take seconds to import, in which the loop must go on answering.
                worker = await asyncio.to_thread(importlib.import_module, "app.worker")
                await worker.run(env, settings, self.draining)
            await self.draining.wait()
            self._working = False
            await self._closing.wait()
        finally:
            self.env, self._working = None, False

    async def _is_over(self, wait: float, away: "ExceptionGroup[Unavailable]") -> bool:
        """Wait before the next try; true when the process is to end instead."""
        reasons = "; ".join(str(leaf) for leaf in _leaves(away))
        log.warning("not ready: %s; next try in %.1f s", reasons, wait)
        try:
            async with asyncio.timeout(wait):
                await self.draining.wait()
        except TimeoutError:
            return False
        return True


def _waits() -> Iterator[float]:
    for tries in itertools.count():
        yield min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries, 10)) * random.uniform(0.8, 1.2)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
