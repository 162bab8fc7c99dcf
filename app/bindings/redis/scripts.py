"""The Lua scripts of `lua/`, called with their inputs by name.

A script's header names its keys and arguments (`-- KEYS: stream, dead`, `-- ARGV: group, entry`), and its caller passes
them by these names. `-- include: …` puts the text of other files before it.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from redis.asyncio import Redis

from app.bindings.redis.connection import answering

SENDING_SHARE = 0.6
"""The share of the deadline for the way to Redis; the rest is for the way back."""
BATCH_ITEMS = 500
"""Calls per batch at most."""
HEADER = re.compile(r"^-- (include|KEYS|ARGV): (.*)$", re.MULTILINE)

Input = str | bytes | int
Target = tuple[tuple[Input, ...], tuple[Input, ...]]
"""Keys and arguments that the calls of one script run share."""
Answer = list[int] | Exception


@dataclass(frozen=True)
class Lua:
    """A script with what it includes, and the names of its inputs in their order."""

    text: str
    keys: tuple[str, ...]
    args: tuple[str, ...]

    @classmethod
    def load(cls, name: str) -> Self:
        """The script `lua/<name>.lua`."""
        folder = files("app.bindings.redis") / "lua"
        text = (folder / f"{name}.lua").read_text()
        declared = {kind: tuple(names.split(", ")) for kind, names in HEADER.findall(text)}
        parts = [(folder / f"{part}.lua").read_text() for part in declared.get("include", ())]
        keys = tuple(key.partition(" ")[0] for key in declared["KEYS"])
        return cls("\n".join([*parts, text]), keys, declared["ARGV"])

    def order(self, inputs: Mapping[str, Input]) -> Target:
        """The inputs as ordered keys and arguments. Fails: TypeError for a missing or unknown name."""
        if inputs.keys() != {*self.keys, *self.args}:
            raise TypeError(f"the script's inputs are {self.keys} and {self.args}, not {tuple(inputs)}")
        return tuple(inputs[name] for name in self.keys), tuple(inputs[name] for name in self.args)


class Script:
    """A script that each call runs separately."""

    def __init__(self, client: Redis, name: str) -> None:
        self._lua = Lua.load(name)
        self._script = client.register_script(self._lua.text)

    async def run(self, **inputs: Input) -> Any:
        """Run the script and return its result. Fails: with the client's errors."""
        keys, args = self._lua.order(inputs)
        return await self._script(keys=[*keys], args=[*args])  # type: ignore[list-item]


class _Batch:
    """Calls, and the task that fetches their answers; it is cancelled when no caller waits for it any more."""

    answers: "asyncio.Task[dict[Target, Answer]]"

    def __init__(self) -> None:
        self.calls: dict[Target, list[bytes]] = {}
        self.size = 0
        self.waiting = 0


class BatchScript:
    """A script for any number of items, which Redis runs before a deadline or not at all.

    Without the deadline, the command of a caller that stopped waiting could still be executed by a Redis that stalled,
    and a message counted as lost would be stored after all. So each script gets the latest time at which it may start,
    on Redis's own clock (`deadline.lua`).

    Concurrent calls are sent as one batch: a burst of hundreds would otherwise spend the deadline in this process.
    """

    def __init__(self, client: Redis, name: str, *, seconds: float) -> None:
        self._client, self._lua, self._seconds = client, Lua.load(name), seconds
        self._open: _Batch | None = None
        self._ahead = (time.time() - time.monotonic()) * 1000
        """Redis's clock minus this process's monotonic clock, in milliseconds; updated by each answer."""

    async def run(self, item: bytes = b"", **inputs: Input) -> int:
        """The script's answer for this item.

        Fails: Unavailable after `seconds`; then the script has not run for it and will not.
        """
        target = self._lua.order(inputs)
        if self._open is None or self._open.size >= BATCH_ITEMS:
            # The batch is sent on the next pass of the event loop, with the calls made until then.
            self._open = _Batch()
            self._open.answers = asyncio.ensure_future(self._collect_answers(self._open))
        batch = self._open
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

    async def _collect_answers(self, batch: _Batch) -> dict[Target, Answer]:
        self._close(batch)
        sending = asyncio.ensure_future(self._send(batch.calls))
        try:
            await asyncio.wait({sending}, timeout=self._seconds)
            # On a busy loop the answer may have arrived already, but its reader has not run yet.
            for _ in range(5):
                if not sending.done():
                    await asyncio.sleep(0)
            if not sending.done():
                raise TimeoutError
            return sending.result()
        finally:
            await _end(sending)

    def _close(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    async def _send(self, calls: dict[Target, list[bytes]]) -> dict[Target, Answer]:
        """Send until all are answered: a script that reports itself late may only have met an adjusted clock."""
        begin, answers = (time.monotonic() + self._seconds * SENDING_SHARE) * 1000, dict[Target, Answer]()
        while left := calls.keys() - answers.keys():
            async with self._client.pipeline(transaction=False) as pipe:
                for keys, args in left:
                    latest = int(begin + self._ahead)
                    pipe.eval(self._lua.text, len(keys), *keys, *args, *calls[keys, args], latest)
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
