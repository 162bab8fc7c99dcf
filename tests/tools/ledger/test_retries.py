"""What is decided from the rows of calls to models: which call comes next, or that there is none."""

from typing import Any

import msgspec
import pytest

from tools.errors import Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.ledger.model_calls import ModelCall
from tools.ledger.retries import Call, Lost, Move, Stop, Taken, next_move

SENT = ModelCall(
    id="c", purpose="judge", subject="s", number=1, project_id=None, job_id=None, item_id=None, provider="openai",
    model="gpt-test", state="sent", billed=0, failure=None, provider_code=None, provider_status=None, request_id=None,
    usage=None, result=None, quote_micros=40, cost_micros=None, cost_basis=None, price_version=None, created_at=1,
    settled_at=None,
)  # fmt: skip


def row(**changed: Any) -> ModelCall:
    return msgspec.structs.replace(SENT, **changed)


def failed(failure: str, number: int = 1, status: int | None = None) -> ModelCall:
    return row(state="failed", failure=failure, number=number, provider_status=status)


def move(*made: ModelCall) -> Move:
    return next_move(list(made), tries=3, ways=3)


def test_what_was_answered_is_taken_and_what_was_lost_is_not_sent_again() -> None:
    """A success is the end, a call that a crash left in flight is given up first."""
    done = row(state="succeeded")
    assert move() == Call(1, 0)
    assert move(done) == Taken(done)
    assert move(SENT) == Lost(SENT)


def test_an_unreadable_answer_leads_to_the_next_way_and_an_outage_to_the_same() -> None:
    """The way counts what could not be read or was not accepted; the number counts everything."""
    assert move(failed("invalid", 1, 400)) == Call(2, 1)
    assert move(failed("outage")) == Call(2, 0)
    assert move(failed("rate"), failed("empty", 2)) == Call(3, 1)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ([row(state="uncertain")], Uncertain),
        ([row(state="refused", failure="refused")], Refused),
        ([failed("quota", 1, 429)], VendorFailed),
        ([failed("invalid", 1, 401)], VendorFailed),
        ([failed("invalid", 1, 404)], VendorFailed),
        ([failed("outage"), failed("rate", 2), failed("rate", 3)], Unavailable),
        ([failed("invalid"), failed("invalid", 2), failed("empty", 3)], VendorFailed),
    ],
)
def test_nothing_is_called_where_no_call_can_help(made: list[ModelCall], kind: type[VendorError]) -> None:
    """Uncertain and refused calls, used-up quotas, wrong keys, and the last try are not repeated."""
    match move(*made):
        case Stop(error):
            assert type(error) is kind and error.provider_status == made[-1].provider_status
        case other:
            raise AssertionError(other)
