"""Several processes that do the same: what dies is replaced, but not forever, and one signal ends them all."""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any, NamedTuple

from app.lifecycle import FAILED, REFUSED

log = logging.getLogger("picasso.crew")

END_SECONDS = 30.0
"""Each ends by itself within this after a signal, or is killed."""
STEADY_SECONDS = 60.0
"""What has lived for so long is replaced at once."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
MOST_UNREADY = 6
"""So many in a row that were never ready, and there is nothing to hope for: about ten seconds and their starts."""
TICK_SECONDS = 0.1
LAST = (0, REFUSED)
"""Exit codes of what would end the same way again."""


class Parent(NamedTuple):
    """What a process of the crew knows of the one that started it: it sets `ready` once it can serve."""

    pid: int
    ready: Event


class Member(NamedTuple):
    process: BaseProcess
    ready: Event
    began: float
    """Monotonic seconds."""


class Losses:
    """What the deaths so far say about the next start."""

    def __init__(self) -> None:
        self._brief = self._unready = 0

    def count(self, lived: float, was_ready: bool) -> float | None:
        """After one more death: how many seconds to wait with another start; None to start no more."""
        self._brief = 0 if lived >= STEADY_SECONDS else self._brief + 1
        self._unready = 0 if was_ready else self._unready + 1
        if self._unready >= MOST_UNREADY:
            return None
        return min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self._brief - 1)) if self._brief else 0.0


class Supervisor:
    """`work` is run with `args` and its `Parent`, in each process."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self._work, self._args = work, args
        self._members: list[Member] = []
        self._starts: list[float] = []
        """When those who died are to be replaced."""
        self._losses = Losses()
        self._signals = 0
        self._hopeless = False

    def run(self, count: int) -> int:
        """Work until a signal and return the exit code. One that dies is replaced; one that refuses to start, or
        ends by itself, ends them all, and so do those that never become ready."""
        before = {number: signal.signal(number, self._count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._starts = [time.monotonic()] * count
            while not (self._signals or self._hopeless or self._has_ended()):
                self._replace()
                time.sleep(TICK_SECONDS)
            return self._end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _has_ended(self) -> bool:
        return any(member.process.exitcode in LAST for member in self._members)

    def _replace(self) -> None:
        for died in [member for member in self._members if member.process.exitcode not in (None, *LAST)]:
            self._members.remove(died)
            self._mourn(died)
        due = [start for start in self._starts if start <= time.monotonic()]
        self._starts = [start for start in self._starts if start not in due]
        for _ in due:
            self._start()

    def _mourn(self, died: Member) -> None:
        code = died.process.exitcode
        wait = self._losses.count(time.monotonic() - died.began, died.ready.is_set())
        if wait is None:
            log.error("a server process ended with %s; %d in a row were never ready: giving up", code, MOST_UNREADY)
            self._hopeless = True
        else:
            log.error("a server process ended with %s and is replaced in %.1f s", code, wait)
            self._starts.append(time.monotonic() + wait)

    def _start(self) -> None:
        ready = self._spawn.Event()
        process = self._spawn.Process(target=self._work, args=(*self._args, Parent(os.getpid(), ready)))
        process.start()
        self._members.append(Member(process, ready, time.monotonic()))

    def _end(self) -> int:
        """Pass on one signal, and a second one if it comes; wait for all, and give the exit code."""
        told = 0
        until = time.monotonic() + END_SECONDS
        while alive := [member.process for member in self._members if member.process.exitcode is None]:
            if told < max(1, min(self._signals, 2)):
                told += 1
                for process in alive:
                    process.terminate()
            if time.monotonic() > until:
                for process in alive:
                    process.kill()
            time.sleep(TICK_SECONDS)
        # A process that was told to end while it was starting dies of the signal.
        codes = {member.process.exitcode or 0 for member in self._members} - {-signal.SIGTERM}
        codes |= {FAILED} if self._hopeless else set()
        return REFUSED if REFUSED in codes else max(map(abs, codes), default=0)
