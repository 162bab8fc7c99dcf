"""Scripts that Redis answers within 50 ms or does not run at all.

A caller that stops waiting would otherwise leave its command on the way: a Redis that wakes up later still carries it
out, and a message counted as lost is there after all. So each script is told by when it must have begun, on Redis's
own clock.
"""

import asyncio
import time
from collections.abc import Sequence

from redis.asyncio import Redis

from app.bindings.redis import answering
from tools.errors import Unavailable

DEADLINE_SECONDS = 0.05
BEGIN_MS = 30
"""So much of the deadline is left for the way there; the rest is for the way back."""
CLOCK_SECONDS = 60.0
AT_ONCE = 8
"""More would only make the process open connections while the deadline runs."""

# Whole milliseconds: Lua keeps them exactly, and its %.0f writes them in full.
PREAMBLE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[#ARGV]) then return 'late' end
"""


class TimelyScript:
    """A Lua script that may use `now`, Redis's time in milliseconds; the last of its ARGV is not its own."""

    def __init__(self, client: Redis, script: str) -> None:
        self._client, self._script = client, client.register_script(PREAMBLE + script)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._ahead, self._known_until = 0.0, 0.0

    async def run(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> int:
        """The script's answer, a whole number.

        Fails: Unavailable after 50 ms; then the script has not run and will not.
        """
        call = asyncio.ensure_future(self._call(keys, args))
        try:
            await asyncio.wait({call}, timeout=DEADLINE_SECONDS)
            # On a busy loop the answer may be here already, and only its reader has not had its turn.
            for _ in range(3):
                if not call.done():
                    await asyncio.sleep(0)
            if not call.done():
                raise Unavailable("Redis did not answer in time", code="redis_unavailable")
            return call.result()
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def _call(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> int:
        with answering():
            async with self._gate:
                begin = int(await self._now_ms()) + BEGIN_MS
                answer = await self._script(keys=keys, args=[*args, begin])
        if answer == b"late":
            self._known_until = 0.0
            raise Unavailable("Redis did not answer in time", code="redis_unavailable")
        return int(answer)

    async def _now_ms(self) -> float:
        """Redis's clock, rather a little behind it than ahead."""
        if time.monotonic() > self._known_until:
            seconds, micros = await self._client.time()
            self._ahead = seconds * 1000 + micros / 1000 - time.monotonic() * 1000
            self._known_until = time.monotonic() + CLOCK_SECONDS
        return time.monotonic() * 1000 + self._ahead
