"""How signals end our processes: what a handler counts, and commands in every state, as processes of their own."""

import signal
import subprocess
import sys

import pytest

from app.signals import StopRequests, stop_signals
from tests.support.deadlines import LONG

HUP, TERM, INT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT

COMMAND = """
import asyncio, contextlib, signal, sys, threading, time
from app.signals import Interruption

def ready(text): print(text, flush=True)

async def wait(): ready("runs"); await asyncio.Event().wait()

async def block():
    ready("runs")
    # The first signal sets the alarm; it may come at any time, also before a `signal.pause` would begin.
    while not signal.getitimer(signal.ITIMER_REAL)[0]: time.sleep(0.01)
    ready("still here"); threading.Event().wait()

async def refuse():
    ready("runs")
    while True:
        with contextlib.suppress(asyncio.CancelledError): await asyncio.Event().wait()
        ready("still here")

async def leave_a_thread():
    lookup = asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    ready("runs")
    await lookup

async def run():
    with interruption.cancelling(asyncio.current_task(), within=int(sys.argv[2])):
        await {"waits": wait, "is busy": block, "refuses": refuse, "has a thread": leave_a_thread}[sys.argv[1]]()

interruption = Interruption()
with interruption.handled():
    if sys.argv[1] == "imports":
        ready("runs"); threading.Event().wait()
    asyncio.run(run())
"""


def test_a_hangup_ends_a_process_unless_it_was_told_to_outlive_its_terminal() -> None:
    """SIGHUP asks for a drain, as SIGTERM does; under nohup, which ignores it, it still means nothing."""
    assert stop_signals() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("sent", "is_forced"),
    [
        ([TERM], False),
        ([HUP, HUP, HUP], False),
        ([TERM, HUP], False),
        ([HUP, TERM], False),
        ([TERM, TERM], True),
        ([INT, TERM], True),
        ([TERM, HUP, INT], True),
    ],
)
def test_only_asking_twice_cuts_a_drain_short(sent: list[signal.Signals], is_forced: bool) -> None:
    """Any signal begins the drain; SIGHUP, which service managers send along with SIGTERM, never forces its end."""
    requests = StopRequests()
    assert not requests.is_begun
    for each in sent:
        requests.count(each)
        assert requests.is_begun
    assert requests.is_forced == is_forced


def test_a_command_ends_by_a_signal_whatever_it_is_doing() -> None:
    """One signal ends a command that waits, imports or has a thread that hangs; one that cannot be cancelled ends by
    the second signal, or by itself when its time is over. The exit code tells the first signal."""
    for state, within, sent in (
        ("waits", 600, [INT]),
        ("waits", 600, [HUP]),
        ("imports", 600, [TERM]),
        ("has a thread", 600, [INT]),
        ("is busy", 600, [INT, TERM]),
        ("refuses", 600, [TERM, INT]),
        ("refuses", 1, [INT]),
    ):
        command = subprocess.Popen(
            [sys.executable, "-c", COMMAND, state, str(within)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(INT, signal.SIG_IGN),
        )  # fmt: skip
        try:
            assert command.stdout is not None
            for number in sent:
                assert command.stdout.readline() in ("runs\n", "still here\n"), state
                command.send_signal(number)
            _, err = command.communicate(timeout=LONG)
        finally:
            command.kill()
        assert (command.returncode, err) == (128 + sent[0], "picasso: stopped\n"), (state, sent, err)
