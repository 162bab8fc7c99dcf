"""Tasks that somebody owns: the owner ends them and waits for it."""

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 0.2


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until they have ended. What they failed with is theirs alone: whoever cares has looked before.

    Until, because on Python 3.11 `asyncio.wait_for`, on which redis-py writes, may lose a cancellation (measured: the
    actor's loops outlived theirs in most of the tries against a Redis that hung).
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()
