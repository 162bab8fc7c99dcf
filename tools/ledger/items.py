"""The ledger: every state a job, an item or a paid call goes through, with the event that tells of it.

A worker writes as a `Run`: the fence it was given when it claimed the job. Each change is one transaction
that opens by touching the job's row under that fence, so a worker that lost its lease writes nothing, and
changes of one job happen one after the other. Rows and events commit together; readers are woken after.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec

from tools import db
from tools.actor_emit import append
from tools.env import Env, Statements
from tools.errors import LeaseLost, Unavailable, VendorError
from tools.events import Complete, Event, Fail, Instead, Judge, Progress, Retry, Running
from tools.ledger import jobs
from tools.ledger.jobs import Identified
from tools.rows import (
    Attempt,
    Inputs,
    Item,
    ItemError,
    ItemStatus,
    Job,
    JobMetadata,
    Progression,
    ProviderModel,
    Stage,
    Verdict,
    derived_id,
    dump,
    now_ms,
)
from tools.step import correlation_id, step

CLAIM = """
UPDATE jobs SET status = 'running', fence = fence + 1, idle_claims = idle_claims + 1, lease_until = :until,
    started_at = COALESCE(started_at, :now)
WHERE id = :id AND status IN ('queued', 'running') AND lease_until <= :now RETURNING *
"""
RENEW = "UPDATE jobs SET lease_until = :until WHERE id = :id AND fence = :fence"
RELEASE = "UPDATE jobs SET lease_until = 0 WHERE id = :id AND fence = :fence"
RELEASE_ALL = "UPDATE jobs SET lease_until = 0 WHERE status IN ('queued', 'running')"
OPEN_JOBS = "SELECT id FROM jobs WHERE status IN ('queued', 'running') AND lease_until <= :now ORDER BY created_at"
TOUCH = "UPDATE jobs SET idle_claims = 0 WHERE id = :id AND fence = :fence RETURNING *"
PLAN = "UPDATE jobs SET metadata = :metadata, inputs = :inputs WHERE id = :id"
START_ITEM = """
UPDATE job_items SET status = 'running', started_at = :now WHERE id = :id AND status = 'queued' RETURNING *
"""
ADVANCE = """
UPDATE job_items SET stage = :stage, progress = CASE WHEN progress < :progress THEN :progress ELSE progress END,
    preview_url = COALESCE(CAST(:preview_url AS TEXT), preview_url)
WHERE id = :id AND status = 'running' RETURNING *
"""
ITEM = "SELECT * FROM job_items WHERE id = :id"
ITEM_ATTEMPTS = "SELECT * FROM provider_attempts WHERE item_id = :item_id ORDER BY number"
INTEND = """
INSERT INTO provider_attempts (id, project_id, job_id, item_id, number, provider, model, state, free,
                               quote_micros, price_version, created_at)
VALUES (:id, :project_id, :job_id, :item_id, :number, :provider, :model, 'intent', :free,
        :quote_micros, :price_version, :now)
ON CONFLICT (id) DO NOTHING
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
SETTLE = """
UPDATE provider_attempts SET state = :state, settled_at = :now, billed = CASE WHEN free = 1 THEN 0 ELSE :billed END,
    failure = :failure, provider_code = :provider_code, provider_status = :provider_status,
    request_id = COALESCE(CAST(:request_id AS TEXT), request_id), bytes_sha256 = :bytes_sha256, retry_at = :retry_at,
    result = COALESCE(CAST(:result AS TEXT), result),
    cost_micros = CASE WHEN free = 1 OR :billed = 0 THEN 0 ELSE COALESCE(cost_micros, quote_micros) END,
    cost_basis = CASE WHEN free = 1 THEN 'free' WHEN :billed = 0 THEN NULL ELSE COALESCE(cost_basis,
        CASE WHEN price_version IS NULL THEN 'ceiling' ELSE 'estimate' END) END
WHERE id = :id AND state IN ('intent', 'sent')
"""
CLOSE_OPEN = """
UPDATE provider_attempts SET settled_at = :now,
    billed = CASE WHEN state = 'sent' AND free = 0 THEN 1 ELSE 0 END,
    cost_micros = CASE WHEN state = 'sent' AND free = 0 THEN COALESCE(cost_micros, quote_micros) ELSE 0 END,
    cost_basis = CASE WHEN free = 1 THEN 'free' WHEN state = 'sent' THEN COALESCE(cost_basis,
        CASE WHEN price_version IS NULL THEN 'ceiling' ELSE 'estimate' END) END,
    state = CASE WHEN state = 'sent' AND free = 0 THEN 'uncertain' ELSE 'abandoned' END
WHERE item_id = :item_id AND state IN ('intent', 'sent')
"""
CLOSE_LOST = """
UPDATE provider_attempts SET settled_at = :now,
    billed = CASE WHEN state = 'sent' AND free = 0 THEN 1 ELSE 0 END,
    cost_micros = CASE WHEN state = 'sent' AND free = 0 THEN COALESCE(cost_micros, quote_micros) ELSE 0 END,
    cost_basis = CASE WHEN free = 1 THEN 'free' WHEN state = 'sent' THEN COALESCE(cost_basis,
        CASE WHEN price_version IS NULL THEN 'ceiling' ELSE 'estimate' END) END,
    state = CASE WHEN state = 'sent' AND free = 0 THEN 'uncertain' ELSE 'abandoned' END
WHERE state IN ('intent', 'sent')
  AND job_id IN (SELECT id FROM jobs WHERE ended_at IS NOT NULL AND lease_until <= :now)
"""
KEEP_ORIGINAL = "UPDATE job_items SET original_r2_key = :key WHERE id = :id"
END_ITEM = """
UPDATE job_items SET status = :status, ended_at = :now, error = :error, stage = NULL,
    progress = CASE WHEN :status IN ('complete', 'duplicate') THEN 1 ELSE progress END,
    duplicate_of = CASE WHEN :status = 'duplicate' THEN duplicate_of ELSE NULL END
WHERE id = :id AND status = 'running' RETURNING *
"""
MARK_COMPARED = """
UPDATE job_items SET phash = :phash, duplicate_of = :duplicate_of
WHERE id = :id AND status = 'running' AND phash IS NULL RETURNING *
"""
RIVALS = """
SELECT job_items.id AS id, job_items.status AS status, job_items.phash AS phash,
       provider_attempts.bytes_sha256 AS sha256
FROM job_items JOIN provider_attempts ON provider_attempts.item_id = job_items.id
WHERE job_items.job_id = :job_id AND job_items.id <> :id AND job_items.phash IS NOT NULL
  AND job_items.duplicate_of IS NULL AND job_items.status IN ('running', 'complete')
  AND provider_attempts.state = 'succeeded'
ORDER BY job_items.position
"""
WAITING = """
SELECT * FROM job_items WHERE duplicate_of = :id AND status = 'running' ORDER BY position
"""
PROMOTE = "UPDATE job_items SET duplicate_of = :keeper WHERE id = :id AND status = 'running'"
PROMOTE_FIRST = "UPDATE job_items SET duplicate_of = NULL WHERE id = :id AND status = 'running'"
ATTACH = "UPDATE job_items SET progression_id = :progression_id WHERE id = :id AND status = 'running'"
PROGRESSION = "SELECT * FROM image_progressions WHERE id = :id"
FINISH = """
UPDATE jobs SET status = :status, ended_at = :now WHERE id = :id AND status = 'running'
"""

BEGINS: dict[Stage, float] = {
    "ingest": 0.02,
    "refine": 0.05,
    "generate": 0.10,
    "store": 0.70,
    "compare": 0.75,
    "deliver": 0.80,
    "judge": 0.90,
}
"""How far an item is when a step begins. The end of one step is told as the beginning of the next."""

LONGEST_RETRY_SECONDS = 86_400.0
"""A vendor that asks for more is understood as "not today"."""

Outcome = Literal["succeeded", "failed", "refused", "uncertain", "abandoned"]


class Run(msgspec.Struct, frozen=True):
    """One worker's hold on a job. It ends when a later claim raises the fence."""

    job_id: str
    session_id: str
    fence: int


class Rival(msgspec.Struct, frozen=True):
    """A kept image of the same job that a new one may be a near-duplicate of."""

    id: str
    status: ItemStatus
    phash: str
    sha256: str


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A call about to be made: by whom, and what it may cost at most. `instead` is there when another was asked."""

    painter: ProviderModel
    free: bool
    quote_micros: int = 0
    price_version: str | None = None
    instead: Instead | None = None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What came with the bytes: `result` holds adjustments and the vendor's notes, the cost is in micro-USD."""

    request_id: str | None
    usage: dict[str, Any]
    result: dict[str, Any]
    cost_micros: int
    cost_basis: str
    price_version: str | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. A billed one costs what its arrival told, else what it was quoted at most."""

    outcome: Outcome
    billed: bool = False
    failure: str | None = None
    provider_code: str | None = None
    provider_status: int | None = None
    request_id: str | None = None
    result: dict[str, Any] | None = None
    bytes_sha256: str | None = None
    retry_at: int | None = None


class Change:
    """One open transaction of the ledger: the job's row as locked, and the events to tell at its end."""

    def __init__(self, tx: Statements, job: Job) -> None:
        self.tx, self.job = tx, job
        self.events: list[Event] = []

    def tell(self, *events: Event) -> None:
        self.events.extend(events)


@contextlib.asynccontextmanager
async def change(env: Env, run: Run) -> AsyncIterator[Change]:
    """Change a job under the run's fence; the events told are appended last, in the same transaction.

    Fails: LeaseLost when a later claim owns the job.
    """
    async with env.DB.transaction() as tx:
        job = await tx.one(TOUCH, Job, id=run.job_id, fence=run.fence)
        if job is None:
            raise LeaseLost("another worker owns this job now")
        ledger = Change(tx, job)
        yield ledger
        if ledger.events:
            await append(tx, run.session_id, ledger.events)
    if ledger.events:
        await env.PICASSO_DO.wake(run.session_id)


@step("ledger.claim")
async def claim(env: Env, job_id: str) -> Job | None:
    """Take the job for JOB_LEASE_SECONDS; None while another worker holds it, or when it has ended."""
    now = now_ms()
    return await env.DB.one(CLAIM, Job, id=job_id, now=now, until=now + _lease_ms(env))


async def renew(env: Env, run: Run) -> bool:
    """Hold the job for another JOB_LEASE_SECONDS; False when it was lost."""
    until = now_ms() + _lease_ms(env)
    return bool(await env.DB.run(RENEW, id=run.job_id, fence=run.fence, until=until))


@step("ledger.release")
async def release(env: Env, run: Run) -> None:
    """Let go of the job so that any worker may claim it at once."""
    await env.DB.run(RELEASE, id=run.job_id, fence=run.fence)


async def release_all(env: Env) -> None:
    """Forget every lease: right only where no other process can hold one (SQLite)."""
    await env.DB.run(RELEASE_ALL)


async def open_jobs(env: Env) -> list[str]:
    """Jobs that have not ended and that nobody holds."""
    return [row.id for row in await env.DB.all(OPEN_JOBS, Identified, now=now_ms())]


@step("ledger.close_lost")
async def close_lost(env: Env) -> int:
    """Settle the calls that were in flight for an ended job when its worker died; how many there were."""
    return await env.DB.run(CLOSE_LOST, now=now_ms())


@step("ledger.start_items")
async def start_items(env: Env, run: Run, items: Sequence[Item], stage: Stage) -> None:
    """Say `running` once per item that still was queued, and that `stage` begins for every running one."""
    async with change(env, run) as ledger:
        for item in items:
            if started := await ledger.tx.one(START_ITEM, Item, id=item.id, now=now_ms()):
                ledger.tell(Running(**_about(started)))
            await _advance(ledger, item.id, stage)


@step("ledger.plan")
async def plan(env: Env, run: Run, metadata: JobMetadata, inputs: Inputs) -> None:
    """Keep what `prepare` decided, so that a resumed job need not decide again."""
    async with change(env, run) as ledger:
        await ledger.tx.run(PLAN, id=run.job_id, metadata=dump(metadata), inputs=dump(inputs))


async def advance(
    env: Env, run: Run, item_id: str, stage: Stage, fraction: float = 0.0, preview_url: str | None = None
) -> None:
    """Tell that the item is in `stage`, a `fraction` (0 … 1) of it done; nothing happens once it has ended."""
    async with change(env, run) as ledger:
        await _advance(ledger, item_id, stage, fraction, preview_url)


async def tick(env: Env, run: Run, item_id: str) -> None:
    """Tell again where a running item stands."""
    async with change(env, run) as ledger:
        item = await ledger.tx.one(ITEM, Item, id=item_id)
        if item and item.status == "running" and item.stage:
            ledger.tell(_progress(item, item.stage))


async def _advance(
    ledger: Change,
    item_id: str,
    stage: Stage,
    fraction: float = 0.0,
    preview_url: str | None = None,
    instead: Instead | None = None,
) -> None:
    begin, end = BEGINS[stage], min([at for at in BEGINS.values() if at > BEGINS[stage]], default=1.0)
    progress = round(begin + (end - begin) * min(max(fraction, 0.0), 1.0), 4)
    item = await ledger.tx.one(ADVANCE, Item, id=item_id, stage=stage, progress=progress, preview_url=preview_url)
    if item:
        ledger.tell(_progress(item, stage, instead))


def _progress(item: Item, stage: Stage, instead: Instead | None = None) -> Progress:
    """Where the item stands. While it is being made, the latest preview is told each time, for those who join late."""
    preview = item.preview_url if stage == "generate" else None
    return Progress(**_about(item), progress=item.progress, stage=stage, preview_url=preview, fallback=instead)


async def item(env: Env, item_id: str) -> Item:
    found = await env.DB.one(ITEM, Item, id=item_id)
    assert found is not None
    return found


async def attempts(env: Env, item_id: str) -> list[Attempt]:
    """The item's calls so far, oldest first."""
    return await env.DB.all(ITEM_ATTEMPTS, Attempt, item_id=item_id)


@step("ledger.intend")
async def intend(env: Env, run: Run, item: Item, number: int, call: Planned) -> Attempt:
    """Write down the next call before anything else is done for it, and tell that `generate` begins."""
    attempt_id = derived_id(item.id, "attempt", number)
    async with change(env, run) as ledger:
        await ledger.tx.run(
            INTEND,
            id=attempt_id,
            project_id=ledger.job.project_id,
            job_id=item.job_id,
            item_id=item.id,
            number=number,
            provider=call.painter.provider,
            model=call.painter.model,
            free=int(call.free),
            quote_micros=call.quote_micros,
            price_version=call.price_version,
            now=now_ms(),
        )
        await _advance(ledger, item.id, "generate", instead=call.instead)
    return (await attempts(env, item.id))[-1]


@step("ledger.send")
async def send(env: Env, run: Run, attempt: Attempt) -> bool:
    """Commit `sent`: the vendor may be called now, once. False when the item has ended meanwhile."""
    async with change(env, run) as ledger:
        sent = await ledger.tx.run(SEND, id=attempt.id, item_id=attempt.item_id, now=now_ms())
        if not sent:
            await _settle(ledger.tx, attempt.id, Settlement(outcome="abandoned"))
    return bool(sent)


@step("ledger.arrive")
async def arrive(env: Env, run: Run, attempt: Attempt, arrival: Arrival) -> Attempt:
    """Keep what the vendor's answer says beside its bytes, and tell that `store` begins; the row as it now stands.

    A call that somebody settled meanwhile stays as it is.
    """
    async with change(env, run) as ledger:
        kept = await ledger.tx.one(
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
        await _advance(ledger, attempt.item_id, "store")
    return kept or attempt


@step("ledger.settle")
async def settle(env: Env, run: Run, attempt: Attempt, settlement: Settlement, original: str | None = None) -> None:
    """Write how the call ended and, with bytes, where they are kept; after a cancel too: what is bought is recorded."""
    async with change(env, run) as ledger:
        await _settle(ledger.tx, attempt.id, settlement)
        if original:
            await ledger.tx.run(KEEP_ORIGINAL, id=attempt.item_id, key=original)
        if settlement.outcome == "succeeded":
            await _advance(ledger, attempt.item_id, "compare")


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
    """The vendor's own signals, as the ledger keeps them."""
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


@step("ledger.compare")
async def compare(env: Env, run: Run, item: Item, phash: str, sha256: str, *, near: int) -> str | None:
    """Decide, once and atomically, whether the image is kept; the id of the kept one that it repeats, or None.

    `near` is the largest Hamming distance (of 64 bits) that counts as the same picture, -1 for equal bytes only.
    A duplicate of a finished image ends here; one of an unfinished image waits for that one's end.
    """
    async with change(env, run) as ledger:
        rivals = await ledger.tx.all(RIVALS, Rival, job_id=item.job_id, id=item.id)
        keeper = next((rival for rival in rivals if _same(rival, phash, sha256, near)), None)
        marked = await ledger.tx.one(
            MARK_COMPARED, Item, id=item.id, phash=phash, duplicate_of=keeper.id if keeper else None
        )
        if keeper is None:
            await _advance(ledger, item.id, "deliver")
        elif marked and keeper.status == "complete":
            await _end(ledger, item.id, "duplicate", None)
    return keeper.id if keeper else None


def _same(rival: Rival, phash: str, sha256: str, near: int) -> bool:
    return rival.sha256 == sha256 or (int(rival.phash, 16) ^ int(phash, 16)).bit_count() <= near


@step("ledger.deliver")
async def deliver(env: Env, run: Run, item: Item, progression: Progression) -> bool:
    """Insert the progression and name it in the item; False when the item has ended meanwhile."""
    async with change(env, run) as ledger:
        current = await ledger.tx.one(ITEM, Item, id=item.id)
        if current is None or current.status != "running":
            return False
        await db.insert_progression(ledger.tx, progression)
        await ledger.tx.run(ATTACH, id=item.id, progression_id=progression.id)
        await _advance(ledger, item.id, "judge")
        return True


@step("ledger.conclude")
async def conclude(
    env: Env, run: Run, item_id: str, verdict: Verdict | None, status: Literal["ok", "error", "skipped"]
) -> None:
    """Keep the verdict in the progression's row, tell it, and end the item with its image. Once ended, it is no-op."""
    async with change(env, run) as ledger:
        item = await ledger.tx.one(ITEM, Item, id=item_id)
        if item is None or item.status != "running" or item.progression_id is None:
            return
        await db.update_judgment(
            ledger.tx,
            item.progression_id,
            judge_status=status,
            judgment=verdict.judgment if verdict else None,
            notes=verdict.notes if verdict else [],
            tags=verdict.tags if verdict else [],
            criteria=verdict.criteria if verdict else [],
            retry_suggestion=verdict.retry_suggestion if verdict else None,
        )
        ledger.tell(_judged(item, verdict, status))
        await _end(ledger, item.id, "complete", None)


def _judged(item: Item, verdict: Verdict | None, status: Literal["ok", "error", "skipped"]) -> Judge:
    again = None
    if verdict and verdict.judgment == "fail":
        path = f"/api/jobs/{item.job_id}/items/{item.id}/retry"
        again = Retry("POST", path, {"useSuggestion": verdict.retry_suggestion is not None})
    return Judge(
        **_about(item),
        judgment=verdict.judgment if verdict else None,
        judge_status=status,
        notes=verdict.notes if verdict else [],
        tags=verdict.tags if verdict else [],
        criteria=verdict.criteria if verdict else [],
        progression_id=item.progression_id,
        retry_suggestion=verdict.retry_suggestion if verdict else None,
        retry=again,
    )


@step("ledger.fail_item")
async def fail_item(
    env: Env, run: Run, item_id: str, status: ItemStatus, code: str, message: str, provider_status: int | None = None
) -> None:
    """End the item without an image; the first duplicate that waited for it takes its place.

    An item that never got its turn starts and ends here. Repeating it changes nothing.
    """
    error = ItemError(
        code=code, kind=status, message=message, provider_status=provider_status, correlation_id=correlation_id()
    )
    async with change(env, run) as ledger:
        if started := await ledger.tx.one(START_ITEM, Item, id=item_id, now=now_ms()):
            ledger.tell(Running(**_about(started)))
        await _end(ledger, item_id, status, error)


async def _end(ledger: Change, item_id: str, status: ItemStatus, error: ItemError | None) -> None:
    encoded = dump(error) if error else None
    item = await ledger.tx.one(END_ITEM, Item, id=item_id, status=status, error=encoded, now=now_ms())
    if item is None:
        return
    await ledger.tx.run(CLOSE_OPEN, item_id=item.id, now=now_ms())
    ledger.tell(await _ended(ledger.tx, item))
    waiting = await ledger.tx.all(WAITING, Item, id=item.id)
    if status == "complete":
        for duplicate in waiting:
            await _end(ledger, duplicate.id, "duplicate", None)
    elif waiting:
        first, *others = waiting
        await ledger.tx.run(PROMOTE_FIRST, id=first.id)
        for other in others:
            await ledger.tx.run(PROMOTE, id=other.id, keeper=first.id)


async def _ended(tx: Statements, item: Item) -> Event:
    if item.error:
        return Fail(**_about(item), scope="item", error=item.error)
    about = item.progression_id
    if item.status == "duplicate":
        keeper = await tx.one(ITEM, Item, id=item.duplicate_of)
        about = keeper.progression_id if keeper else None
        return Complete(**_about(item), scope="item", duplicate_of=item.duplicate_of, progression_id=about)
    row = await tx.one(PROGRESSION, Progression, id=about)
    assert row is not None
    return Complete(
        **_about(item),
        scope="item",
        progression_id=row.id,
        generated_image_url=row.generated_image_url,
        judgment=row.judgment,
        adjustments=row.adjustments,
    )


@step("ledger.finish_job")
async def finish_job(env: Env, run: Run) -> list[str]:
    """End the job when all its items have ended; the ids of those that have not otherwise."""
    async with change(env, run) as ledger:
        items = await jobs.items(ledger.tx, run.job_id)
        if still := [item.id for item in items if item.ended_at is None]:
            return still
        tally = jobs.counts(items)
        status = "complete" if "complete" in tally else "failed"
        if await ledger.tx.run(FINISH, id=run.job_id, status=status, now=now_ms()):
            ledger.tell(_finished(run.job_id, status, tally))
    return []


@step("ledger.abort_job")
async def abort_job(env: Env, run: Run, code: str, message: str) -> None:
    """End every open item and the job with one error."""
    for item in await jobs.items(env.DB, run.job_id):
        if item.ended_at is None:
            await fail_item(env, run, item.id, "failed", code, message)
    await finish_job(env, run)


def _finished(job_id: str, status: str, tally: dict[str, int]) -> Event:
    if status == "complete":
        return Complete(scope="job", job_id=job_id, counts=tally)
    error = ItemError(
        code="no_image", kind="failed", message="no item ended with an image", correlation_id=correlation_id()
    )
    return Fail(scope="job", job_id=job_id, error=error, counts=tally)


def _about(item: Item) -> dict[str, Any]:
    return {
        "job_id": item.job_id,
        "item_id": item.id,
        "provider": item.provider,
        "variant_index": item.variant_index,
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lease_ms(env: Env) -> int:
    return int(env.settings.job_lease_seconds * 1000)
