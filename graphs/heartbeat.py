"""The heartbeat of a long step: it repeats where the work stands, so that a client never sees a silent stream."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from tools.errors import PicassoError

TICK_SECONDS = 4.0


@contextlib.asynccontextmanager
async def heartbeat(tick: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `tick` every `TICK_SECONDS` while the block runs."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            # A tick that cannot be written is no reason to end the step: the step itself will find out.
            with contextlib.suppress(PicassoError):
                await tick()

    beats = asyncio.create_task(beat())
    try:
        yield
    finally:
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
