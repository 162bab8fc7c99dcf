"""Work of one process side by side, or one piece alone: what may be ending the process must take nothing along."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

POLITE_SECONDS = 60.0
"""How long a suspect waits for a moment without other work, before it makes new work wait."""


class Isolation:
    """The door through which all work of a process goes. `close` lets everyone who waits pass, to find it closed."""

    def __init__(self) -> None:
        self._working = 0
        self._suspect = self._barred = False
        self.closed = False
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Let nothing wait any longer."""
        self.closed = True
        self._notify()

    @contextlib.asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Run the block beside others, once nothing runs alone."""
        await self._until(lambda: not self._barred)
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            self._notify()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[Callable[[], None]]:
        """Run the block while nothing else runs; others may come in when it calls what it is given."""
        await self._until(lambda: not self._suspect)
        self._suspect = True
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLITE_SECONDS):
                    await self._until(lambda: not self._working)
            self._barred = True
            await self._until(lambda: not self._working)
            yield self._unbar
        finally:
            self._suspect = False
            self._unbar()

    def _unbar(self) -> None:
        self._barred = False
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not (self.closed or is_so()):
            await self._changed.wait()
