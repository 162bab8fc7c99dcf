"""The Lua scripts of `lua/`, run under their declared inputs.

A script's header names its keys and arguments (`-- KEYS: stream, dead`, `-- ARGV: group, entry`), and its caller gives
them by these names. `-- include: …` puts other files before it.
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
"""This share of the deadline is for the way to Redis; the rest is for the way back."""
BATCH_ITEMS = 500
"""Calls that travel together at most."""
HEADER = re.compile(r"^-- (include|KEYS|ARGV): (.*)$", re.MULTILINE)

Input = str | bytes | int
Target = tuple[tuple[Input, ...], tuple[Input, ...]]
"""The keys and the arguments that calls have in common."""
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
        """The given keys and arguments as the script expects them. Fails: TypeError for a name too many or too few."""
        if inputs.keys() != {*self.keys, *self.args}:
            raise TypeError(f"the script's inputs are {self.keys} and {self.args}, not {tuple(inputs)}")
        return tuple(inputs[name] for name in self.keys), tuple(inputs[name] for name in self.args)


class Script:
    """A script that is run for one caller at a time."""

    def __init__(self, client: Redis, name: str) -> None:
        self._lua = Lua.load(name)
        self._script = client.register_script(self._lua.text)

    async def run(self, **inputs: Input) -> Any:
        """What the script returns. Fails: as the client does."""
        keys, args = self._lua.order(inputs)
        return await self._script(keys=[*keys], args=[*args])  # type: ignore[list-item]


class _Batch:
    """Calls, and the task that gets the answers of all; it lives as long as one caller waits for it."""

    answers: "asyncio.Task[dict[Target, Answer]]"

    def __init__(self) -> None:
        self.calls: dict[Target, list[bytes]] = {}
        self.size = 0
        self.waiting = 0


class BatchScript:
    """A script for any number of items, which Redis runs before a deadline or not at all.

    A caller that stops waiting would otherwise leave its command on the way: a Redis that wakes up later still carries
    it out, and a message counted as lost is there after all. So each script is told by when it must have begun, on
    Redis's own clock (`deadline.lua`).

    Calls of one moment travel together: a burst of hundreds would else spend the deadline on this side of the socket.
    """

    def __init__(self, client: Redis, name: str, *, seconds: float) -> None:
        self._client, self._lua, self._seconds = client, Lua.load(name), seconds
        self._open: _Batch | None = None
        self._ahead = (time.time() - time.monotonic()) * 1000
        """How far Redis's clock is ahead of this process's, in milliseconds; each answer says."""

    async def run(self, item: bytes = b"", **inputs: Input) -> int:
        """The script's answer to this item.

        Fails: Unavailable after `seconds`; then the script has not run and will not.
        """
        target = self._lua.order(inputs)
        if self._open is None or self._open.size >= BATCH_ITEMS:
            # It leaves when the loop comes round.
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
            # On a busy loop the answer may be here already, and only its reader has not had its turn.
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
        """Send until all are answered: a script that takes itself for late may only have met a clock that was set."""
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
