"""How far an item is when a step begins, and the heartbeat that keeps a long step from being silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tools import ledger
from tools.env import Env
from tools.errors import PicassoError
from tools.ledger import Run
from tools.rows import Stage

STAGES: dict[Stage, float] = {
    "ingest": 0.02,
    "refine": 0.05,
    "generate": 0.10,
    "store": 0.70,
    "compare": 0.75,
    "deliver": 0.80,
    "judge": 0.90,
}
TICK_SECONDS = 4.0


@contextlib.asynccontextmanager
async def ticking(env: Env, run: Run, item_id: str, stage: Stage) -> AsyncIterator[None]:
    """Tell that `stage` begins, and again every few seconds while the block runs."""
    await ledger.advance(env, run, item_id, stage, STAGES[stage])
    ticks = asyncio.create_task(_tick(env, run, item_id, stage))
    try:
        yield
    finally:
        ticks.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticks


async def _tick(env: Env, run: Run, item_id: str, stage: Stage) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        # A tick that cannot be written is no reason to end the step: the step itself will find out.
        with contextlib.suppress(PicassoError):
            await ledger.advance(env, run, item_id, stage, STAGES[stage])
