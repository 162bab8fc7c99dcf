"""The calls to chat and vision models: one row per HTTP call, committed as `sent` before bytes leave.

Whoever inserts the row makes the call. A row that is still `sent` when its worker is gone was left behind by a crash:
the outcome is not known, so it counts as billed at its quote and the call is never made again.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tools.env import Env
from tools.errors import Failure, LeaseLost, Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.ledger.money import CHARGE, CHARGE_BASIS
from tools.models.prices import Basis, Quote
from tools.rows import IdRow, derived_id, dump, now_ms
from tools.step import step

Purpose = Literal["refine", "judge", "workflow", "chat"]
State = Literal["sent", "succeeded", "failed", "refused", "uncertain"]

LOST_MS = 900_000
"""No call takes as long: a row that is still `sent` was left behind by a crash."""
FINAL_STATUS = frozenset({401, 403, 404})
"""Answers that another way of asking will not change: the key or the model is wrong."""

CALLS = "SELECT * FROM model_calls WHERE purpose = :purpose AND subject = :subject ORDER BY number"
JOB_CALLS = "SELECT * FROM model_calls WHERE job_id = :job_id ORDER BY created_at, purpose, subject, number"
BEGIN = """
INSERT INTO model_calls (id, purpose, subject, number, project_id, job_id, item_id, provider, model, state,
                         quote_micros, price_version, created_at)
SELECT :id, :purpose, :subject, CAST(:number AS BIGINT), CAST(:project_id AS TEXT), CAST(:job_id AS TEXT),
       CAST(:item_id AS TEXT), :provider, :model, 'sent', CAST(:quote_micros AS BIGINT), CAST(:price_version AS TEXT),
       CAST(:now AS BIGINT)
WHERE CAST(:fence AS BIGINT) IS NULL
   OR EXISTS (SELECT 1 FROM jobs WHERE id = CAST(:job_id AS TEXT) AND fence = CAST(:fence AS BIGINT))
   OR EXISTS (SELECT 1 FROM workflows WHERE id = :subject AND :purpose = 'workflow' AND fence = CAST(:fence AS BIGINT))
ON CONFLICT DO NOTHING
"""
SETTLE = """
UPDATE model_calls
SET state = :state, billed = :billed, failure = :failure, provider_code = :provider_code,
    provider_status = :provider_status, request_id = :request_id, usage = :usage, result = :result,
    cost_micros = :cost_micros, cost_basis = :cost_basis, price_version = :price_version, settled_at = :now
WHERE id = :id AND state IN ('sent', 'uncertain')
"""
LOSE = f"""
UPDATE model_calls
SET state = 'uncertain', billed = 1, settled_at = :now, cost_micros = {CHARGE}, cost_basis = {CHARGE_BASIS}
WHERE id = :id AND state = 'sent'
"""  # noqa: S608 (constants)
OLD = "SELECT id FROM model_calls WHERE state = 'sent' AND created_at < :before"


class CallKey(msgspec.Struct, frozen=True, kw_only=True):
    """What calls are about. Purpose and subject name it: the same errand again finds its calls and their answers.

    With a `fence`, only the worker that holds the job, or the workflow that is the subject, under it may call.
    """

    purpose: Purpose
    subject: str
    project_id: str | None = None
    job_id: str | None = None
    item_id: str | None = None
    fence: int | None = None


class ModelCall(msgspec.Struct, frozen=True):
    """A row of the ledger."""

    id: str
    purpose: Purpose
    subject: str
    number: int
    project_id: str | None
    job_id: str | None
    item_id: str | None
    provider: str
    model: str
    state: State
    billed: int
    failure: Failure | None
    provider_code: str | None
    provider_status: int | None
    request_id: str | None
    usage: dict[str, Any] | None
    result: dict[str, Any] | None
    quote_micros: int
    cost_micros: int | None
    cost_basis: Basis | None
    price_version: str | None
    created_at: int
    settled_at: int | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended and what it cost, in micro-USD."""

    state: Literal["succeeded", "failed", "refused", "uncertain"]
    billed: bool
    cost_micros: int
    cost_basis: Basis
    price_version: str | None = None
    failure: Failure | None = None
    provider_code: str | None = None
    provider_status: int | None = None
    request_id: str | None = None
    usage: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class Call:
    """Make call `number`, in the `way`-th of the ways in which the errand can be put."""

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


def next_move(calls: list[ModelCall], *, tries: int, ways: int) -> Move:
    """What to do for an errand whose calls so far, oldest first, are these.

    What could not be read or was not accepted is put in the next way; what was not answered, in the same way again.
    """
    if not calls:
        return Call(1, 0)
    last = calls[-1]
    way = sum(call.failure in ("invalid", "empty") for call in calls)
    match last.state:
        case "succeeded":
            return Taken(last)
        case "sent":
            return Lost(last)
        case "failed" if _may_be_repeated(last) and last.number < tries and way < ways:
            return Call(last.number + 1, way)
        case _:
            return Stop(error_of(last))


def _may_be_repeated(call: ModelCall) -> bool:
    return call.failure != "quota" and call.provider_status not in FINAL_STATUS


def error_of(call: ModelCall) -> VendorError:
    """What an unhappy call says, told again from its row."""
    signals: dict[str, Any] = {
        "failure": call.failure,
        "provider_code": call.provider_code,
        "provider_status": call.provider_status,
        "request_id": call.request_id,
    }
    if call.state == "uncertain":
        return Uncertain("the model was called, but its answer is not known", **signals)
    if call.state == "refused":
        return Refused("the model's vendor would not answer this", **signals)
    if call.failure == "rate":
        return Unavailable("the rate limit of the model's vendor was reached", **signals)
    if call.failure == "outage":
        return Unavailable("the model's vendor did not answer", **signals)
    if call.failure == "quota":
        return VendorFailed("the quota of the model's vendor is used up", **signals)
    if call.provider_status in (401, 403):
        return VendorFailed("the model's vendor did not accept our key", **signals)
    return VendorFailed("the model gave no answer that can be used", **signals)


async def made(env: Env, errand: CallKey) -> list[ModelCall]:
    """The errand's calls so far, oldest first."""
    return await env.DB.all(CALLS, ModelCall, purpose=errand.purpose, subject=errand.subject)


async def of_job(env: Env, job_id: str) -> list[ModelCall]:
    """All calls that were made for a job, oldest first."""
    return await env.DB.all(JOB_CALLS, ModelCall, job_id=job_id)


@step("calls.begin")
async def begin(env: Env, errand: CallKey, number: int, model: str, quoted: Quote) -> ModelCall | None:
    """Commit the row of call `number` to `provider:model`: the caller may send it now, once.

    None when the row is there already: the call is somebody else's.
    Fails: LeaseLost when another worker holds the job.
    """
    provider, _, name = model.partition(":")
    inserted = await env.DB.run(
        BEGIN,
        id=derived_id(errand.purpose, errand.subject, number),
        number=number,
        provider=provider,
        model=name,
        quote_micros=quoted.high,
        price_version=quoted.version,
        now=now_ms(),
        **msgspec.structs.asdict(errand),
    )
    row = next((call for call in await made(env, errand) if call.number == number), None)
    if row is None:
        raise LeaseLost("another worker owns this job now")
    return row if inserted else None


@step("calls.settle")
async def settle(env: Env, call: ModelCall, settlement: Settlement) -> None:
    """Write how the call ended. Only who made it may: then what it knows also stands over an `uncertain`."""
    told = msgspec.structs.asdict(settlement)
    for name in ("usage", "result"):
        told[name] = dump(told[name]) if told[name] is not None else None
    await env.DB.run(SETTLE, **{**told, "id": call.id, "billed": int(settlement.billed), "now": now_ms()})


@step("calls.lose")
async def lose(env: Env, call: ModelCall) -> None:
    """Give up a call that a crash left in flight."""
    await env.DB.run(LOSE, id=call.id, now=now_ms())


@step("calls.lose_old")
async def lose_old(env: Env) -> int:
    """Give up the calls in flight that no errand will come back for; how many there were."""
    now = now_ms()
    old = await env.DB.all(OLD, IdRow, before=now - LOST_MS)
    return sum([await env.DB.run(LOSE, id=call.id, now=now) for call in old])
