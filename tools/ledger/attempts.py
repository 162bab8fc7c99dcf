"""The calls for images, most of them paid: each is a row that is committed before the vendor is called.

`intent` → `sent` → `succeeded`, `failed`, `refused`, `uncertain` or `abandoned`. A row that is `sent` may have been
charged whatever becomes of its worker; one that is only an `intent` has cost nothing.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from tools import r2
from tools.env import Env, Statements
from tools.errors import Unavailable, VendorError
from tools.events import Fallback
from tools.ledger import jobs, progress
from tools.ledger.changes import open_change
from tools.ledger.leases import Lease
from tools.ledger.money import CHARGE, CHARGE_BASIS
from tools.rows import Attempt, Item, ItemStatus, Job, ProviderModel, derived_id, dump, now_ms
from tools.step import step

OF_ITEM = "SELECT * FROM provider_attempts WHERE item_id = :item_id ORDER BY number"
OF_JOB = "SELECT * FROM provider_attempts WHERE job_id = :job_id ORDER BY item_id, number"
INTEND = """
INSERT INTO provider_attempts (id, project_id, job_id, item_id, number, provider, model, state, free,
                               quote_micros, price_version, created_at)
VALUES (:id, :project_id, :job_id, :item_id, :number, :provider, :model, 'intent', :free,
        :quote_micros, :price_version, :now)
ON CONFLICT (id) DO NOTHING
"""
ADOPT = """
INSERT INTO provider_attempts (id, project_id, job_id, item_id, number, provider, model, state, free, billed, usage,
                               failure, provider_code, result, bytes_sha256, cost_micros, cost_basis,
                               created_at, sent_at, settled_at)
VALUES (:id, :project_id, :job_id, :item_id, 1, :provider, :model, :state, 1, 0, '{}',
        :failure, :provider_code, :result, :bytes_sha256, 0, 'free', :now, :now, :now)
ON CONFLICT DO NOTHING
"""
SEND = """
UPDATE provider_attempts SET state = 'sent', sent_at = :now
WHERE id = :id AND state = 'intent'
  AND EXISTS (SELECT 1 FROM job_items WHERE id = :item_id AND status = 'running')
"""
ARRIVE = """
UPDATE provider_attempts SET request_id = :request_id, usage = :usage, result = :result, cost_micros = :cost_micros,
    cost_basis = :cost_basis, price_version = :price_version
WHERE id = :id AND state = 'sent' RETURNING *
"""
SETTLE = f"""
UPDATE provider_attempts SET state = :state, settled_at = :now, billed = CASE WHEN free = 1 THEN 0 ELSE :billed END,
    failure = :failure, provider_code = :provider_code, provider_status = :provider_status,
    request_id = COALESCE(CAST(:request_id AS TEXT), request_id), bytes_sha256 = :bytes_sha256, retry_at = :retry_at,
    result = COALESCE(CAST(:result AS TEXT), result),
    cost_micros = CASE WHEN free = 1 OR :billed = 0 THEN 0 ELSE {CHARGE} END,
    cost_basis = CASE WHEN free = 1 THEN 'free' WHEN :billed = 0 THEN NULL ELSE {CHARGE_BASIS} END
WHERE id = :id AND state IN ('intent', 'sent')
"""  # noqa: S608 (constants)
CLOSE = f"""
UPDATE provider_attempts SET settled_at = :now,
    billed = CASE WHEN state = 'sent' AND free = 0 THEN 1 ELSE 0 END,
    cost_micros = CASE WHEN state = 'sent' AND free = 0 THEN {CHARGE} ELSE 0 END,
    cost_basis = CASE WHEN free = 1 THEN 'free' WHEN state = 'sent' THEN {CHARGE_BASIS} END,
    state = CASE WHEN state = 'sent' AND free = 0 THEN 'uncertain' ELSE 'abandoned' END
WHERE item_id = :item_id AND state IN ('intent', 'sent')
"""  # noqa: S608 (constants)
LOST = """
SELECT job_items.id, jobs.project_id, job_items.job_id, job_items.provider, job_items.variant_index
FROM provider_attempts AS made
JOIN jobs ON jobs.id = made.job_id JOIN job_items ON job_items.id = made.item_id
WHERE made.state IN ('intent', 'sent') AND jobs.ended_at IS NOT NULL AND jobs.lease_until <= :now
"""
KEEP_ORIGINAL = "UPDATE job_items SET original_r2_key = :key, deaths = 0 WHERE id = :id"

LONGEST_RETRY_SECONDS = 86_400.0
"""A vendor that asks for a longer pause is taken to mean a day."""

WITHOUT_IMAGE = "withoutImage"
"""Set in the result of an attempt whose answer is kept although there is no image in it, nor anything in its place."""
GIVEN_UP: frozenset[ItemStatus] = frozenset({"failed", "refused", "uncertain", "cancelled"})

Outcome = Literal["succeeded", "failed", "refused", "uncertain", "abandoned"]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A call about to be made: to which model, and what it may cost at most in micro-USD. `instead` is set when the
    model is a fallback."""

    model: ProviderModel
    free: bool
    quote_micros: int = 0
    price_version: str | None = None
    instead: Fallback | None = None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What came with the bytes: `result` holds adjustments and the vendor's notes, the cost is in micro-USD."""

    request_id: str | None
    usage: dict[str, Any]
    result: dict[str, Any]
    cost_micros: int
    cost_basis: str
    price_version: str | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. A billed one costs what its arrival says, else its quote."""

    outcome: Outcome
    billed: bool = False
    failure: str | None = None
    provider_code: str | None = None
    provider_status: int | None = None
    request_id: str | None = None
    result: dict[str, Any] | None = None
    bytes_sha256: str | None = None
    retry_at: int | None = None


async def of_item(env: Env, item_id: str) -> list[Attempt]:
    """The item's attempts so far, oldest first."""
    return await env.DB.all(OF_ITEM, Attempt, item_id=item_id)


async def of_job(env: Env, job_id: str) -> list[Attempt]:
    """The job's attempts, item by item, oldest first."""
    return await env.DB.all(OF_JOB, Attempt, job_id=job_id)


class Original(NamedTuple):
    """What is in BUCKET under `key`, and the call that brought it. `holds_image`: it is an image, or what stands in the
    place of one; else a whole answer without either."""

    key: str
    call: Attempt
    holds_image: bool


async def original_for_retry(env: Env, earlier: Item, source: Job, prompt: str) -> Original | None:
    """What an item of the job `source` had bought before it was given up or cancelled, for a retry with this prompt to
    go on with; None when there is nothing."""
    made = await of_item(env, earlier.id)
    if earlier.status not in GIVEN_UP or source.prompt != prompt or not made:
        return None
    name = f"{earlier.provider}-{earlier.variant_index}"
    key = earlier.original_r2_key or r2.original_key(source.project_id, source.id, name)
    if await env.BUCKET.head(key) is None:
        return None
    return Original(key, made[-1], not (made[-1].result or {}).get(WITHOUT_IMAGE))


@step("ledger.intend")
async def intend(env: Env, lease: Lease, item: Item, number: int, call: Planned) -> Attempt:
    """Write the next call down before anything else is done for it; the item's stage is `generate`.

    Effect: the row `intent`; repeating it changes nothing.
    Fails: LeaseLost.
    """
    attempt_id = derived_id(item.id, "attempt", number)
    async with open_change(env, jobs.TABLE, lease) as change:
        await change.tx.run(
            INTEND,
            id=attempt_id,
            project_id=change.row.project_id,
            job_id=item.job_id,
            item_id=item.id,
            number=number,
            provider=call.model.provider,
            model=call.model.model,
            free=int(call.free),
            quote_micros=call.quote_micros,
            price_version=call.price_version,
            now=now_ms(),
        )
        await progress.enter(change, item.id, "generate", fallback=call.instead)
    return (await of_item(env, item.id))[-1]


@step("ledger.adopt")
async def adopt(
    env: Env, lease: Lease, item: Item, model: ProviderModel, original: str, settlement: Settlement
) -> None:
    """Give the item what was paid for under another one: its first attempt, which costs nothing. It succeeded, or
    failed when the bytes are no image.

    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        await change.tx.run(
            ADOPT,
            id=derived_id(item.id, "attempt", 1),
            project_id=change.row.project_id,
            job_id=item.job_id,
            item_id=item.id,
            provider=model.provider,
            model=model.model,
            state=settlement.outcome,
            failure=settlement.failure,
            provider_code=settlement.provider_code,
            result=dump(settlement.result),
            bytes_sha256=settlement.bytes_sha256,
            now=now_ms(),
        )
        await change.tx.run(KEEP_ORIGINAL, id=item.id, key=original)
        if settlement.outcome == "succeeded":
            await progress.enter(change, item.id, "compare")


@step("ledger.send")
async def send(env: Env, lease: Lease, attempt: Attempt) -> bool:
    """Commit `sent`: the vendor may be called now, once. False, and `abandoned`, when the item has ended meanwhile.

    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        is_sent = await change.tx.run(SEND, id=attempt.id, item_id=attempt.item_id, now=now_ms())
        if not is_sent:
            await _settle(change.tx, attempt.id, Settlement(outcome="abandoned"))
    return bool(is_sent)


@step("ledger.arrive")
async def arrive(env: Env, lease: Lease, attempt: Attempt, arrival: Arrival) -> Attempt:
    """Keep what the vendor's answer says beside its bytes, and return the row; the item's stage is `store`.

    An attempt that was settled meanwhile stays as it is.
    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        kept = await change.tx.one(
            ARRIVE,
            Attempt,
            id=attempt.id,
            request_id=arrival.request_id,
            usage=dump(arrival.usage),
            result=dump(arrival.result),
            cost_micros=arrival.cost_micros,
            cost_basis=arrival.cost_basis,
            price_version=arrival.price_version,
        )
        await progress.enter(change, attempt.item_id, "store")
    return kept or attempt


@step("ledger.settle")
async def settle(env: Env, lease: Lease, attempt: Attempt, settlement: Settlement, original: str | None = None) -> None:
    """Write how the attempt ended and, with bytes, the key of the original; also after a cancel, because what was
    bought is recorded.

    Effect: one that is settled already stays as it is.
    Fails: LeaseLost.
    """
    async with open_change(env, jobs.TABLE, lease) as change:
        await _settle(change.tx, attempt.id, settlement)
        if original:
            await change.tx.run(KEEP_ORIGINAL, id=attempt.item_id, key=original)
        if settlement.outcome == "succeeded":
            await progress.enter(change, attempt.item_id, "compare")


async def _settle(tx: Statements, attempt_id: str, settlement: Settlement) -> None:
    await tx.run(
        SETTLE,
        id=attempt_id,
        now=now_ms(),
        state=settlement.outcome,
        billed=int(settlement.billed),
        failure=settlement.failure,
        provider_code=settlement.provider_code,
        provider_status=settlement.provider_status,
        request_id=settlement.request_id,
        result=dump(settlement.result) if settlement.result else None,
        bytes_sha256=settlement.bytes_sha256,
        retry_at=settlement.retry_at,
    )


def settlement_of(error: VendorError, outcome: Outcome, *, billed: bool) -> Settlement:
    """The settlement of a call that failed: the vendor's own signals, and when it may be called again."""
    wait = error.retry_after if isinstance(error, Unavailable) else None
    return Settlement(
        outcome=outcome,
        billed=billed,
        failure=error.failure,
        provider_code=error.provider_code,
        provider_status=error.provider_status,
        request_id=error.request_id,
        retry_at=None if wait is None else now_ms() + int(min(wait, LONGEST_RETRY_SECONDS) * 1000),
    )


async def close(tx: Statements, item_id: str) -> int:
    """Settle what is open for an item that has ended, and count it: a paid call in flight is `uncertain` and billed,
    everything else `abandoned`."""
    return await tx.run(CLOSE, item_id=item_id, now=now_ms())


class _LostItem(msgspec.Struct, frozen=True):
    id: str
    project_id: str
    job_id: str
    provider: str
    variant_index: int


@step("ledger.close_lost", idle=True)
async def close_lost(env: Env) -> int:
    """Settle what a worker that died left open for jobs that have ended, and count it; where its bytes had reached
    BUCKET the item names them."""
    lost = await env.DB.all(LOST, _LostItem, now=now_ms())
    keys = {
        item.id: r2.original_key(item.project_id, item.job_id, f"{item.provider}-{item.variant_index}") for item in lost
    }
    kept = {id: key for id, key in keys.items() if await env.BUCKET.head(key) is not None}
    async with env.DB.transaction() as tx:
        for id, key in kept.items():
            await tx.run(KEEP_ORIGINAL, id=id, key=key)
        return sum([await close(tx, item.id) for item in lost])
