"""From start to end of one process: bindings are opened by a task that owns them, jobs run inside, and it all closes
again in reverse. The server answers meanwhile: dependencies may start last."""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

from app.settings import SettingError, Settings
from tools import templates
from tools.env import Env
from tools.errors import Unavailable

log = logging.getLogger("picasso.life")
Bindings = Callable[[Settings], AbstractAsyncContextManager[Env]]
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
CLOSE_SECONDS = 5.0
REFUSED, FAILED = 78, 1
"""Exit codes: a setting or an engine that must not be used (EX_CONFIG); anything else that nobody meant."""


class Life:
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

    @property
    def ready(self) -> bool:
        return self.env is not None and not self.draining.is_set()

    @property
    def drained(self) -> bool:
        """Whether nothing is left to wait for after `draining`."""
        return self.draining.is_set() and not self._working

    async def run(self, settings: Settings, bindings: Bindings, jobs: bool) -> None:
        """Open, work, close; open again after a while when a binding is away.

        Fails: SettingError for what must not be used; whatever nobody meant.
        """
        for wait in _waits():
            away: ExceptionGroup[Unavailable] | None = None
            try:
                async with bindings(settings) as env:
                    await self._live(env, settings, jobs)
                    return
            except* Unavailable as group:
                away = group
            if away is None or await self._is_over(wait, away):
                return

    async def close(self, task: "asyncio.Task[None]") -> None:
        """End `run` (as `task`): wait for its bindings to close, cancel what does not end in time."""
        self.draining.set()
        self._closing.set()
        for _ in range(2):
            if (await asyncio.wait({task}, timeout=CLOSE_SECONDS))[1]:
                task.cancel()

    def note_end(self, task: "asyncio.Task[None]") -> None:
        """Keep why `run` ended, and say it in one line.

        Effect: a log line; with a traceback when it is not about a setting.
        """
        if task.cancelled() or (error := task.exception()) is None:
            return
        setting = next((leaf for leaf in _leaves(error) if isinstance(leaf, SettingError)), None)
        if setting is not None:
            log.error("refused to start: %s", setting)
        else:
            log.error("the process cannot go on", exc_info=error)
        self.exit_code = REFUSED if setting is not None else FAILED

    async def _live(self, env: Env, settings: Settings, jobs: bool) -> None:
        await templates.publish_templates(env)
        self.env, self._working = env, jobs
        log.info("ready")
        try:
            if jobs:
                from app.worker import run

                await run(env, settings, self.draining)
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
