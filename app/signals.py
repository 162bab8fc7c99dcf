"""What signals do to our processes: a server drains, a command is cancelled, and a second one never waits.

Imports little: a command is to end at any time, also while everything else is still being imported.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

SIGNALLED = 128
"""An exit code above this is the number of the signal that ended the process."""
SHOW_CURSOR = b"\x1b[?25h"


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to drain and end.

    SIGHUP is one of them (the terminal was closed), unless the process was started with it ignored, as nohup does.
    """
    given = [signal.SIGINT, signal.SIGTERM]
    return given if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*given, signal.SIGHUP]


class StopRequests:
    """The signals that a process was sent so far; counting is all that a signal's handler may do.

    Any of them begins the drain; only SIGTERM or SIGINT for the second time cuts it short. SIGHUP never does: service
    managers send it along with SIGTERM, and whoever closes a terminal asks once.
    """

    def __init__(self) -> None:
        self.is_begun = False
        self._asked = 0

    @property
    def is_forced(self) -> bool:
        """Whether the drain is to be cut short."""
        return self._asked > 1

    def count(self, sig: int) -> None:
        """Take note of a signal."""
        self.is_begun = True
        self._asked += sig != signal.SIGHUP


class Interruption:
    """How a command of the terminal ends by a signal, with the exit code 128 + its number.

    The first one cancels what runs in `cancelling`, which has some seconds to tidy up; a second one, or one at any
    other time, ends the process at once. No handler raises an exception: Python drops those that rise in a callback
    of the garbage collector or of an import, and asyncio handles no SIGINT that was ignored when the process started,
    as it is in a shell's background.
    """

    def __init__(self) -> None:
        self._requests = StopRequests()
        self._first: int = signal.SIGTERM
        self._seconds = 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Effect: the handlers of `stop_signals` are ours until the block ends."""
        before = {number: signal.signal(number, self._receive) for number in stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextlib.contextmanager
    def cancelling(self, task: "asyncio.Task[Any]", *, within: int) -> Iterator[None]:
        """Effect: a signal during the block cancels the task; if the process is there `within` so many seconds later,
        it is ended. A cancellation that came of a signal ends the process when it arrives here."""
        self._seconds = within
        for number in stop_signals():
            # The loop is woken and calls this; ours is called even while the loop is busy.
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            signal.signal(number, self._receive)
        try:
            yield
        except asyncio.CancelledError:
            if self._requests.is_begun:
                # At a normal end Python waits for its threads, and one may be looking up a name that never resolves.
                self._end()
            raise
        finally:
            self._seconds = 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            self._first = self._first if self._requests.is_begun else number
            self._requests.count(number)
            if self._seconds and not self._requests.is_forced:
                signal.signal(signal.SIGALRM, self._receive)
                signal.alarm(self._seconds)
                return
        self._end()

    def _end(self) -> NoReturn:
        with contextlib.suppress(OSError):
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), SHOW_CURSOR)
            os.write(sys.stderr.fileno(), b"picasso: stopped\n")
        os._exit(SIGNALLED + self._first)
