"""Which calls may be made again, decided from their rows alone.

Pure functions, and the only decisions in this room: both kinds of calls share the rules, and the calls to chat and
vision models are repeated by tools/models/chat_and_vision.py, which may not import from graphs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.errors import Failure, Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.ledger.model_calls import ModelCall
from tools.models.explanations import explain

NOTHING_DONE: frozenset[Failure | None] = frozenset({"outage", "rate"})
"""The vendor did nothing: the same call may be made again."""
NOT_SOLD: frozenset[Failure | None] = NOTHING_DONE | {"quota"}
"""Nothing was bought and nothing was refused: another provider may be called instead."""
NOT_USABLE: frozenset[Failure | None] = frozenset({"invalid", "empty"})
"""The answer could not be used, or the question was not accepted: the same question in another form may do."""
FINAL_STATUS = frozenset({401, 403, 404})
"""Answers that no repetition changes: the key or the model is wrong."""


@dataclass(frozen=True)
class Call:
    """Make call `number`, in form `way` of the forms that the question has (from 0)."""

    number: int
    way: int


@dataclass(frozen=True)
class Taken:
    """A call brought an answer that can be used."""

    call: ModelCall


@dataclass(frozen=True)
class Lost:
    """A crash left this call in flight."""

    call: ModelCall


@dataclass(frozen=True)
class Stop:
    """No further call is made."""

    error: VendorError


Move = Call | Taken | Lost | Stop


def next_move(made: Sequence[ModelCall], *, tries: int, ways: int) -> Move:
    """What to do next for a question whose calls so far, oldest first, are these; it has `ways` forms.

    A call that did nothing is made again as it was; after one that brought nothing usable the next form is used.
    """
    if not made:
        return Call(1, 0)
    last = made[-1]
    way = sum(call.failure in NOT_USABLE for call in made)
    may_help = last.failure in NOTHING_DONE | NOT_USABLE and last.provider_status not in FINAL_STATUS
    match last.state:
        case "succeeded":
            return Taken(last)
        case "sent":
            return Lost(last)
        case "failed" if may_help and last.number < tries and way < ways:
            return Call(last.number + 1, way)
        case _:
            return Stop(error_of(last))


def error_of(call: ModelCall) -> VendorError:
    """The error of a call that failed, made again from its row."""
    signals: dict[str, Any] = {
        "failure": call.failure,
        "provider_code": call.provider_code,
        "provider_status": call.provider_status,
        "request_id": call.request_id,
    }
    match call.state, call.failure:
        case "uncertain", _:
            return Uncertain("the model was called, but its answer is not known", **signals)
        case "refused", _:
            return Refused("the model's vendor would not answer this", **signals)
        case _, "rate":
            return Unavailable("the rate limit of the model's vendor was reached", **signals)
        case _, "outage":
            return Unavailable("the model's vendor did not answer", **signals)
        case _, "quota":
            return VendorFailed("the quota of the model's vendor is used up", **signals)
    if told := explain(call.provider, call.model, call.provider_code, call.provider_status):
        return VendorFailed(told, **signals)
    if call.provider_status in (401, 403):
        return VendorFailed("the model's vendor did not accept our key", **signals)
    return VendorFailed("the model gave no answer that can be used", **signals)
