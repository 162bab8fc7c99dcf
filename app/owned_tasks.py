"""Ending tasks: cancel them and wait until they have ended."""

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 0.2


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, repeatedly, until all have ended. Their exceptions are ignored.

    Repeatedly, because on Python 3.11 `asyncio.wait_for`, which redis-py uses to write, may lose a cancellation
    (measured: the actor's loops survived theirs in most runs against a Redis that hung).
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()
