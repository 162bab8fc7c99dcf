"""The heartbeat that keeps a long step from being silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tools.env import Env
from tools.errors import PicassoError
from tools.ledger import items
from tools.ledger.items import Run

TICK_SECONDS = 4.0


@contextlib.asynccontextmanager
async def ticking(env: Env, run: Run, item_id: str) -> AsyncIterator[None]:
    """Tell every few seconds, while the block runs, where the item still is."""
    ticks = asyncio.create_task(_tick(env, run, item_id))
    try:
        yield
    finally:
        ticks.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticks


async def _tick(env: Env, run: Run, item_id: str) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        # A tick that cannot be written is no reason to end the step: the step itself will find out.
        with contextlib.suppress(PicassoError):
            await items.tick(env, run, item_id)
