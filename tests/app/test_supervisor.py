"""The crew of `--workers N`: when one that died is started again, and when no more."""

import signal
from pathlib import Path

import pytest

from app.lifecycle import StopRequests, stop_signals
from app.supervisor import LONGEST_WAIT, MOST_UNREADY, STEADY_SECONDS, Losses, Parent, Supervisor


def test_what_dies_young_is_waited_for_longer_and_longer() -> None:
    """One that was ready is replaced for ever, but never more often than the waits allow; a long life makes it new."""
    losses = Losses()
    waits = [losses.count(1.0, was_ready=True) for _ in range(50)]
    assert waits[:4] == [0.25, 0.5, 1.0, 2.0] and set(waits[6:]) == {LONGEST_WAIT}
    assert losses.count(STEADY_SECONDS, was_ready=True) == 0
    assert losses.count(1.0, was_ready=True) == 0.25


def test_what_is_never_ready_is_given_up() -> None:
    """So many in a row end it; one that was ready in between begins the count anew."""
    losses = Losses()
    assert None not in [losses.count(1.0, was_ready=False) for _ in range(MOST_UNREADY - 1)]
    assert losses.count(1.0, was_ready=True) is not None
    assert [losses.count(1.0, False) is None for _ in range(MOST_UNREADY)] == [False] * (MOST_UNREADY - 1) + [True]


def refuse(home: Path, parent: Parent) -> None:
    """A process of a crew that has nothing to do."""
    parent.ready.set()
    (home / "ran").touch()
    raise SystemExit(78)


def test_one_that_refuses_ends_them_all(tmp_path: Path) -> None:
    """A process that refuses to start would refuse again: its exit code is the supervisor's, and it is not replaced."""
    assert Supervisor(refuse, (tmp_path,)).run(1) == 78
    assert (tmp_path / "ran").exists()


def test_a_hangup_ends_a_process_unless_it_was_told_to_outlive_its_terminal() -> None:
    """SIGHUP asks for a drain, as SIGTERM does; under nohup, which ignores it, it still means nothing."""
    assert stop_signals() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


HUP, TERM, INT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT


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
