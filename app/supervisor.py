"""Several identical server processes: one that dies is replaced, within limits, and one signal ends all of them."""

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
from app.signals import StopRequests, stop_signals

log = logging.getLogger("picasso.supervisor")

END_SECONDS = 30.0
"""Until a process that has not ended after a signal is killed."""
STEADY_SECONDS = 60.0
"""A process that ran this long is replaced at once."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
MOST_UNREADY = 6
"""After so many processes in a row that never became ready it gives up, about ten seconds and their starts later."""
TICK_SECONDS = 0.1
FINAL_CODES = (0, REFUSED)
"""Exit codes of processes that are not replaced, because the next one would end the same way."""


class Parent(NamedTuple):
    """The supervising process, as its children know it; a child sets `ready` once it can serve."""

    pid: int
    ready: Event


class Member(NamedTuple):
    """One of the supervised processes."""

    process: BaseProcess
    ready: Event
    began: float
    """Monotonic seconds."""


class Losses:
    """Decides from the deaths so far when, and whether, to start the next process."""

    def __init__(self) -> None:
        self._brief = self._unready = 0

    def count(self, lived: float, was_ready: bool) -> float | None:
        """Count one death. Returns the seconds to wait before the next start; None means give up."""
        self._brief = 0 if lived >= STEADY_SECONDS else self._brief + 1
        self._unready = 0 if was_ready else self._unready + 1
        if self._unready >= MOST_UNREADY:
            return None
        return min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self._brief - 1)) if self._brief else 0.0


class Supervisor:
    """Runs `work(*args, parent)` in several processes; `parent` is the `Parent` of each."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._spawn = multiprocessing.get_context("spawn")
        self._work, self._args = work, args
        self._members: list[Member] = []
        self._starts: list[float] = []
        """When processes are to be started (monotonic seconds)."""
        self._losses = Losses()
        self._requests = StopRequests()
        self._hopeless = False

    def run(self, count: int) -> int:
        """Run `count` processes until a signal and return the exit code.

        All of them are ended when one refuses to start or ends with 0, or when too many in a row never become ready.
        """

        def count_signal(sig: int, frame: FrameType | None) -> None:
            self._requests.count(sig)

        before = {number: signal.signal(number, count_signal) for number in stop_signals()}
        try:
            self._starts = [time.monotonic()] * count
            while not (self._requests.is_begun or self._hopeless):
                if any(member.process.exitcode in FINAL_CODES for member in self._members):
                    break
                self._replace_dead()
                time.sleep(TICK_SECONDS)
            return self._end_all()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _replace_dead(self) -> None:
        """Schedule a start for each process that died, and do the starts that are due."""
        for dead in [member for member in self._members if member.process.exitcode not in (None, *FINAL_CODES)]:
            self._members.remove(dead)
            code = dead.process.exitcode
            wait = self._losses.count(time.monotonic() - dead.began, dead.ready.is_set())
            if wait is None:
                log.error("a server process ended with %s; %d in a row were never ready: giving up", code, MOST_UNREADY)
                self._hopeless = True
            else:
                log.error("a server process ended with %s and is replaced in %.1f s", code, wait)
                self._starts.append(time.monotonic() + wait)
        due = [start for start in self._starts if start <= time.monotonic()]
        self._starts = [start for start in self._starts if start not in due]
        for _ in due:
            ready = self._spawn.Event()
            process = self._spawn.Process(target=self._work, args=(*self._args, Parent(os.getpid(), ready)))
            process.start()
            self._members.append(Member(process, ready, time.monotonic()))

    def _end_all(self) -> int:
        """Pass on one signal, and a second one if it comes; wait for all, and return the exit code."""
        sent = 0
        until = time.monotonic() + END_SECONDS
        while alive := [member.process for member in self._members if member.process.exitcode is None]:
            if sent < (2 if self._requests.is_forced else 1):
                sent += 1
                for process in alive:
                    process.terminate()
            if time.monotonic() > until:
                for process in alive:
                    process.kill()
            time.sleep(TICK_SECONDS)
        # A process that is terminated while it starts dies of the signal, which is no failure.
        codes = {member.process.exitcode or 0 for member in self._members} - {-signal.SIGTERM}
        codes |= {FAILED} if self._hopeless else set()
        return REFUSED if REFUSED in codes else max(map(abs, codes), default=0)
