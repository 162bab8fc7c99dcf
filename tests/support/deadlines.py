"""How long a test waits for an event before it gives up.

A deadline ends a test that would hang; it measures nothing. So it is longer than the slowest machine needs, and no test
asserts how long something took: that is the purpose of `tests/bench/`.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

LONG = 240.0
"""Seconds for one awaited event."""

HANG = {"VENDOR_SECONDS": "10"}
"""Settings for a vendor that never answers, where the deadline is what ends the call. What comes before the call takes
part of these seconds; all other tests have the long default."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.3
"""Seconds between two looks: few looks at what takes long, because looking takes work from what is waited for."""


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = LONG) -> None:
    """Return soon after the condition is true. Fails: TimeoutError when it is not in time."""
    pause = SHORTEST_PAUSE
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.4, LONGEST_PAUSE)
