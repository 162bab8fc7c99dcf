"""The crew of `--workers N`: when one that died is started again, and when no more."""

from pathlib import Path

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
