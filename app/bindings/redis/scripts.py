"""Scripts that Redis answers within a short deadline or does not run at all.

A caller that stops waiting would otherwise leave its command on the way: a Redis that wakes up later still carries it
out, and a message counted as lost is there after all. So each script is told by when it must have begun, on Redis's
own clock.

Calls of one moment travel together: a burst of hundreds would else spend the deadline on this side of the socket.
"""

import asyncio
import time

from redis.asyncio import Redis

from app.bindings.redis.connection import answering

WAY_THERE = 0.6
"""So much of the deadline is left for the way there; the rest is for the way back."""
TOGETHER = 500
"""Calls that travel together at most."""

# Whole milliseconds: Lua keeps them exactly, and its %.0f writes them in full.
PREAMBLE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {now}
if now > tonumber(ARGV[#ARGV]) then return answers end
local last = #ARGV - 1
"""

Target = tuple[tuple[str, ...], tuple[int, ...]]
"""The keys and the arguments that calls have in common."""
Answer = list[int] | Exception


class _Batch:
    """Calls, and the task that gets the answers of all; it lives for as long as one caller waits for it."""

    answers: "asyncio.Task[dict[Target, Answer]]"

    def __init__(self) -> None:
        self.calls: dict[Target, list[bytes]] = {}
        self.size = 0
        self.waiting = 0


class TimelyScript:
    """A Lua script for any number of items at once.

    It finds Redis's time in milliseconds in `now`, and its items in ARGV, after its arguments, up to `last`;
    for each of them it appends a whole number to `answers`.
    """

    def __init__(self, client: Redis, script: str, *, seconds: float) -> None:
        self._seconds = seconds
        self._client, self._script = client, f"{PREAMBLE}{script}return answers"
        self._open: _Batch | None = None
        self._ahead = (time.time() - time.monotonic()) * 1000
        """How far Redis's clock is ahead of this process's, in milliseconds; each answer tells."""

    async def run(self, keys: tuple[str, ...], args: tuple[int, ...], item: bytes = b"") -> int:
        """The script's answer to this item.

        Fails: Unavailable after `seconds`; then the script has not run and will not.
        """
        batch, target = self._batch(), (keys, args)
        items = batch.calls.setdefault(target, [])
        place = len(items)
        items.append(item)
        batch.size, batch.waiting = batch.size + 1, batch.waiting + 1
        try:
            await asyncio.wait({batch.answers})
            with answering():
                answer = batch.answers.result()[target]
                if isinstance(answer, Exception):
                    raise answer
                return answer[place]
        finally:
            batch.waiting -= 1
            if not batch.waiting:
                self._close(batch)
                await _end(batch.answers)

    def _batch(self) -> _Batch:
        """The batch that has not left yet; it leaves when the loop comes round."""
        if self._open is None or self._open.size >= TOGETHER:
            self._open = _Batch()
            self._open.answers = asyncio.ensure_future(self._answers(self._open))
        return self._open

    async def _answers(self, batch: _Batch) -> dict[Target, Answer]:
        self._close(batch)
        asking = asyncio.ensure_future(self._ask(batch.calls))
        try:
            await asyncio.wait({asking}, timeout=self._seconds)
            # On a busy loop the answer may be here already, and only its reader has not had its turn.
            for _ in range(5):
                if not asking.done():
                    await asyncio.sleep(0)
            if not asking.done():
                raise TimeoutError
            return asking.result()
        finally:
            await _end(asking)

    def _close(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    async def _ask(self, calls: dict[Target, list[bytes]]) -> dict[Target, Answer]:
        """Ask until all are answered: a script that believes to be late may only have met a clock that was set."""
        begin, answers = (time.monotonic() + self._seconds * WAY_THERE) * 1000, dict[Target, Answer]()
        while left := calls.keys() - answers.keys():
            async with self._client.pipeline(transaction=False) as pipe:
                for keys, args in left:
                    latest = int(begin + self._ahead)
                    pipe.eval(self._script, len(keys), *keys, *args, *calls[keys, args], latest)
                replies: list[list[int] | Exception] = await pipe.execute(raise_on_error=False)
            for target, reply in zip(left, replies, strict=True):
                if isinstance(reply, Exception):
                    answers[target] = reply
                    continue
                self._ahead = reply[0] - time.monotonic() * 1000
                if len(reply) > 1:
                    answers[target] = reply[1:]
            if time.monotonic() * 1000 > begin and len(answers) < len(calls):
                raise TimeoutError
        return answers


async def _end(task: "asyncio.Task[dict[Target, Answer]]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
