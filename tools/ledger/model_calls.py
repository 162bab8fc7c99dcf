"""The calls to chat and vision models: one row per HTTP call, committed as `sent` before bytes leave.

Whoever inserts the row makes the call. A row that is still `sent` when its worker is gone was left behind by a crash:
the outcome is not known, so it counts as billed at its quote and the call is never made again.
"""

from typing import Any, Literal

import msgspec

from tools.env import Env
from tools.errors import Failure, LeaseLost
from tools.ledger.money import CHARGE, CHARGE_BASIS
from tools.models.prices import Basis, Quote
from tools.rows import IdRow, derived_id, dump, now_ms
from tools.step import step

Purpose = Literal["refine", "judge", "workflow", "chat"]
State = Literal["sent", "succeeded", "failed", "refused", "uncertain"]

STALE_MS = 900_000
"""No call takes as long: a row that is still `sent` was left behind by a crash."""

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
    """What calls are about. Purpose and subject name it: asking for the same again finds the calls and their answers.

    With a `fence`, only the worker whose lease on the job, or on the workflow that is the subject, has it may call.
    """

    purpose: Purpose
    subject: str
    project_id: str | None = None
    job_id: str | None = None
    item_id: str | None = None
    fence: int | None = None


class ModelCall(msgspec.Struct, frozen=True):
    """A row of `model_calls`. Costs are in micro-USD, times in UTC milliseconds."""

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


async def made(env: Env, key: CallKey) -> list[ModelCall]:
    """The calls under this key so far, oldest first."""
    return await env.DB.all(CALLS, ModelCall, purpose=key.purpose, subject=key.subject)


async def of_job(env: Env, job_id: str) -> list[ModelCall]:
    """All calls that were made for a job, oldest first."""
    return await env.DB.all(JOB_CALLS, ModelCall, job_id=job_id)


@step("model_calls.begin")
async def begin(env: Env, key: CallKey, number: int, model: str, quoted: Quote) -> ModelCall | None:
    """Commit the row of call `number` to `provider:model`: the caller may send it now, once.

    None when the row is there already: another task makes the call.
    Fails: LeaseLost when another worker has the job or workflow.
    """
    provider, _, name = model.partition(":")
    inserted = await env.DB.run(
        BEGIN,
        id=derived_id(key.purpose, key.subject, number),
        number=number,
        provider=provider,
        model=name,
        quote_micros=quoted.high,
        price_version=quoted.version,
        now=now_ms(),
        **msgspec.structs.asdict(key),
    )
    row = next((call for call in await made(env, key) if call.number == number), None)
    if row is None:
        raise LeaseLost("another worker owns this job or workflow now")
    return row if inserted else None


@step("model_calls.settle")
async def settle(env: Env, call: ModelCall, settlement: Settlement) -> None:
    """Write how the call ended. Only the task that made it may do so; what it knows also replaces an `uncertain`."""
    columns = msgspec.structs.asdict(settlement)
    for name in ("usage", "result"):
        columns[name] = dump(columns[name]) if columns[name] is not None else None
    await env.DB.run(SETTLE, **{**columns, "id": call.id, "billed": int(settlement.billed), "now": now_ms()})


@step("model_calls.settle_lost")
async def settle_lost(env: Env, call: ModelCall) -> None:
    """Settle a call that a crash left in flight: `uncertain`, billed at its quote."""
    await env.DB.run(LOSE, id=call.id, now=now_ms())


@step("model_calls.settle_stale", idle=True)
async def settle_stale(env: Env) -> int:
    """Settle the calls in flight that are too old to be answered, and count them."""
    now = now_ms()
    old = await env.DB.all(OLD, IdRow, before=now - STALE_MS)
    return sum([await env.DB.run(LOSE, id=call.id, now=now) for call in old])
