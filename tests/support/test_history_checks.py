"""Each history check finds the violation that is planted for it: a check that has never failed proves nothing."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.history_checks import Left, violations


def event(seq: int, type: str, item: str | None = "i", **data: Any) -> dict[str, Any]:
    return {"session_id": "s", "seq": seq, "type": type, "job_id": "j", "item_id": item, "data": data}


GOOD = Left(
    jobs=[{"id": "j", "status": "complete", "ended_at": 9}],
    items=[{"id": "i", "job_id": "j", "status": "complete", "progression_id": "p"}],
    attempts=[{"id": "a", "item_id": "i", "state": "succeeded"}],
    progressions=[{"id": "p", "job_id": "j"}],
    events=[
        event(1, "queued"),
        event(2, "running"),
        event(3, "progress", progress=0.1),
        event(4, "progress", progress=0.5),
        event(5, "judge"),
        event(6, "complete"),
        event(7, "complete", None),
    ],
)


def test_a_good_history_has_no_violations() -> None:
    assert violations(GOOD) == []


def call(state: str) -> dict[str, Any]:
    return {"id": "b", "item_id": "i", "state": state}


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(lambda left: left.events.pop(3), id="a gap in seq"),
        pytest.param(lambda left: left.events.append(event(8, "complete")), id="a second end"),
        pytest.param(lambda left: left.events.append(event(8, "progress", progress=1.0)), id="news after the end"),
        pytest.param(lambda left: left.events[2]["data"].update(progress=0.9), id="progress falls"),
        pytest.param(lambda left: left.events[4].update(type="running"), id="a second running"),
        pytest.param(lambda left: left.items[0].update(status="running"), id="an open item"),
        pytest.param(lambda left: left.jobs[0].update(ended_at=None), id="an open job"),
        pytest.param(lambda left: left.progressions.clear(), id="an item without its row"),
        pytest.param(lambda left: left.progressions.append({"id": "q", "job_id": "j"}), id="a row without its item"),
        pytest.param(lambda left: left.attempts.append(call("sent")), id="an open call"),
        pytest.param(lambda left: left.attempts.append(call("succeeded")), id="bought twice"),
        pytest.param(lambda left: left.attempts.clear(), id="an image nobody bought"),
    ],
)
def test_planted_violations_are_found(plant: Callable[[Left], object]) -> None:
    left = copy.deepcopy(GOOD)
    plant(left)
    assert violations(left) != []
