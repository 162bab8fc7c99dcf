"""Buying one image: at most one paid call at a time, each a row of the ledger, none made twice.

`next_move` decides from the ledger's rows alone, so a worker that takes over after a crash decides the same.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from adapters import discovery, planning, router
from adapters.answer_images import UNKNOWN
from adapters.provider import Address, ImageOp, InputImage, OnProgress, ProviderResult
from tools import images, r2
from tools.env import Env
from tools.errors import (
    Invalid,
    NotFound,
    OverBudget,
    PicassoError,
    Refused,
    TooLarge,
    Unavailable,
    Uncertain,
    VendorError,
)
from tools.events import Fallback
from tools.ledger import attempts as ledger
from tools.ledger import items, jobs, progress
from tools.ledger.attempts import WITHOUT_IMAGE, Arrival, Planned, Settlement
from tools.ledger.leases import MAX_DEATHS, Lease
from tools.ledger.retries import NOT_SOLD, NOTHING_DONE
from tools.media.memory import COPIES, in_hand
from tools.media.signatures import mime_of
from tools.models import catalog, prices
from tools.models.explanations import explain
from tools.models.prices import Charge, Quote
from tools.rows import Attempt, InputImages, Item, ItemStatus, Job, ProviderModel, StoredImage, derived_id, now_ms
from tools.step import log_context, retry_for

MAX_CALLS = 4
"""Calls to one model for one item."""
FIRST_BACKOFF_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 120.0
PREVIEW_SECONDS = 1.0
"""A preview is shown when this long has passed since the call began or the one before: quick pictures need none."""
CIRCUIT_OPEN, NO_IMAGE, ADAPTER_FAILED = "circuit_open", "image_rejected", "adapter_failed"

REASONS = {
    "outage": "the provider did not answer",
    "rate": "the provider's rate limit was reached",
    "quota": "the provider's quota is used up",
    "refused": "the provider refused this request",
    "invalid": "the provider's answer held no usable image",
    "empty": "the provider answered without an image",
}

CRASH_LOOP = "the worker died each time this image was being made"
LOOKS = 2
"""How often more than MAX_DEATHS the bytes of an item that is given up are looked at."""
REJECTED = Settlement(outcome="failed", billed=True, failure="invalid", provider_code=NO_IMAGE)
GONE = "what it was to go on with is no longer there, and the project's budget does not allow another image"
NO_ACCESS = "the provider does not accept our key, or does not let it use this model"
NOT_TAKEN = "the provider did not accept the request"


@dataclass(frozen=True)
class Bought:
    """The original is in BUCKET."""

    attempt: Attempt


@dataclass(frozen=True)
class Call:
    """Make call `number`; `attempt` is its row when a crash left the intent behind.

    `tries` counts the calls that this model was asked for already; `because` is why it is asked instead of another.
    """

    number: int
    model: ProviderModel
    attempt: Attempt | None = None
    tries: int = 0
    not_before: int = 0
    because: str | None = None


@dataclass(frozen=True)
class Recover:
    """A crash left this call in flight: its outcome is not known here."""

    attempt: Attempt


@dataclass(frozen=True)
class GiveUp:
    """End the item without an image."""

    status: ItemStatus
    code: str
    message: str
    provider_status: int | None = None


Move = Bought | Call | Recover | GiveUp


def next_move(attempts: Sequence[Attempt], models: Sequence[ProviderModel]) -> Move:
    """What to do for an item whose ledger rows, oldest first, are these and that these may paint, in turn."""
    if not attempts:
        return Call(1, models[0])
    last, tries = attempts[-1], _tries(attempts)
    match last.state:
        case "succeeded":
            return Bought(last)
        case "intent":
            return Call(last.number, _model_of(last), attempt=last)
        case "sent":
            return Recover(last)
        case "uncertain":
            message = "the call was sent but its outcome is not known"
            return GiveUp("uncertain", "uncertain", message + (_kept(last) if _answered_without_image(last) else ""))
        case "refused":
            return GiveUp("refused", "refused", REASONS["refused"], last.provider_status)
        case "failed":
            asked_wait = (last.retry_at or 0) - (last.settled_at or 0)
            # Waiting makes no sense while the circuit is open, or when the provider wants to be left alone for long.
            hopeless = last.provider_code == CIRCUIT_OPEN or asked_wait > LONGEST_WAIT_SECONDS * 1000
            if last.failure in NOTHING_DONE and tries < MAX_CALLS and not hopeless:
                return Call(last.number + 1, _model_of(last), tries=tries, not_before=last.retry_at or 0)
            after = [model for model in models[1:] if model not in map(_model_of, attempts)]
            if last.failure in NOT_SOLD and after:
                return Call(last.number + 1, after[0], because=last.failure)
            code, message = f"provider_{last.failure}", REASONS[last.failure or "outage"]
            if last.provider_code == NO_IMAGE:
                why = (last.result or {}).get("rejected")
                code, message = NO_IMAGE, f"{REASONS['invalid']}{f': {why}' if why else ''}{_kept(last)}"
            elif last.provider_code == ADAPTER_FAILED:
                code, message = ADAPTER_FAILED, "the adapter failed"
            elif last.failure == "invalid" and (last.provider_status or 0) >= 300:
                told = explain(last.provider, last.model, last.provider_code, last.provider_status)
                message = told or (NO_ACCESS if last.provider_status in (401, 403) else NOT_TAKEN)
            elif _answered_without_image(last):
                message += _kept(last)
            return GiveUp("failed", code, message, last.provider_status)
        case _:
            return Call(last.number + 1, _model_of(last), tries=tries)


def _kept(attempt: Attempt) -> str:
    """Where the bytes are that were bought and cannot be shown."""
    return f"; what it sent is kept: GET /api/jobs/{attempt.job_id}/items/{attempt.item_id}/original"


def _answered_without_image(attempt: Attempt) -> bool:
    """Whether the item's original is an answer in which there is no image."""
    return bool((attempt.result or {}).get(WITHOUT_IMAGE))


def _model_of(attempt: Attempt) -> ProviderModel:
    return ProviderModel(attempt.provider, attempt.model)


def _tries(attempts: Sequence[Attempt]) -> int:
    """How often the last model was asked; a call that a crash undid does not count."""
    return sum(_model_of(a) == _model_of(attempts[-1]) and a.state != "abandoned" for a in attempts)


def wait_before(tries: int, asked: float | None) -> float:
    """Seconds to wait before asking a model again that was asked `tries` times: never less than it `asked` for, else
    jittered doubling."""
    wanted = asked if asked is not None else FIRST_BACKOFF_SECONDS * 2 ** max(0, tries - 1)
    return min(wanted, LONGEST_WAIT_SECONDS) * random.uniform(1.0, 1.3)


async def buy(env: Env, lease: Lease, job: Job, item_id: str) -> Attempt | None:
    """Bring the item's original into BUCKET; the attempt that succeeded, or None when the item has ended."""
    while (item := await items.get(env, item_id)).ended_at is None:
        models = [ProviderModel(item.provider, item.model), *job.metadata.fallback]
        match next_move(await ledger.of_item(env, item_id), models):
            case Bought(attempt):
                return attempt
            case Recover(attempt):
                await _recover(env, lease, job, item, attempt)
            case GiveUp(status, code, message, provider_status):
                await items.fail(env, lease, item_id, status, code, message, provider_status)
            case Call(number=1, attempt=None) if await _adopt_earlier(env, lease, job, item):
                continue
            case Call() if job.metadata.buys_nothing:
                await items.fail(env, lease, item_id, "failed", OverBudget.code, GONE)
            case Call() as call:
                # A call whose intent is written already had its pause.
                if call.tries and call.attempt is None:
                    asked = (call.not_before - now_ms()) / 1000 if call.not_before else None
                    await asyncio.sleep(max(0.0, wait_before(call.tries, asked)))
                with log_context(provider=call.model.provider, model=call.model.model):
                    await _call(env, lease, job, item, call)
    return None


async def adopt_or_fail(
    env: Env,
    lease: Lease,
    job: Job,
    item_id: str,
    *,
    deaths: int = 0,
    code: str = "crash_loop",
    message: str = CRASH_LOOP,
) -> Attempt | None:
    """End an item that cannot go on, but not without what was paid for it.

    The attempt when its bytes had reached BUCKET and are an image that nothing knew of: the item goes on with it. None
    when the item has ended: `complete` if its image is delivered, `uncertain` if a call was lost, else with the code,
    naming the original if there is one.
    """
    item, made = await items.get(env, item_id), await ledger.of_item(env, item_id)
    if item.ended_at is not None:
        return None
    if made and made[-1].state == "sent":
        # Where even looking at the bytes ended workers, they are only named.
        await _recover(env, lease, job, item, made[-1], look=deaths <= MAX_DEATHS + LOOKS)
        match next_move(await ledger.of_item(env, item_id), [_model_of(made[-1])]):
            case Bought(attempt):
                return attempt
            case GiveUp(status, code, message, provider_status):
                await items.fail(env, lease, item_id, status, code, message, provider_status)
                return None
    if item.progression_id:
        await items.complete(env, lease, item_id, None, "error")
    else:
        await items.fail(env, lease, item_id, "failed", code, message)
    return None


async def _adopt_earlier(env: Env, lease: Lease, job: Job, item: Item) -> bool:
    """Whether the item has what the one that it retries had bought for the same prompt: that was given up later, or
    cancelled, but its original is there. Bytes that stand in the place of an image are not bought again for the asking,
    either: the item keeps them, too, and ends as the earlier one did. An answer without either was no purchase, unless
    an image is now at an address in it."""
    if job.retry_of is None:
        return False
    earlier = await items.get(env, job.retry_of)
    original = await ledger.original_for_retry(env, earlier, await jobs.get(env, earlier.job_id), job.prompt)
    if original is None:
        return False
    bought = original.call
    try:
        async with r2.original_in_hand(env, original.key) as [data]:
            if not original.holds_image:
                # Unless it only could not be fetched, and can be now.
                addresses = msgspec.convert((bought.result or {}).get("addresses", []), list[tuple[str, str | None]])
                if not (found := await router.fetch_image(env, [Address(*address) for address in addresses])):
                    return False
                data, bought = found, msgspec.structs.replace(bought, result=None)
            settlement = await _look(env, data, bought.result)
            mime = (settlement.result or {}).get("mime") or mime_of(data) or UNKNOWN
            key = await r2.put_original(env, job.project_id, job.id, _name(item), data, mime)
    except NotFound:
        return False
    await ledger.adopt(env, lease, item, _model_of(bought), key, settlement)
    return True


async def _recover(env: Env, lease: Lease, job: Job, item: Item, attempt: Attempt, *, look: bool = True) -> None:
    """Settle a call that a crash left in flight: the bytes are adopted when they reached BUCKET; else a free call
    counts as never made, and of a paid one nobody knows."""
    key = r2.original_key(job.project_id, job.id, _name(item))
    try:
        async with r2.original_in_hand(env, key) as [data]:
            if look:
                await _inspect_and_settle(env, lease, attempt, key, data)
            else:
                await ledger.settle(env, lease, attempt, REJECTED, original=key)
    except NotFound:
        lost = Settlement(outcome="abandoned") if attempt.free else Settlement(outcome="uncertain", billed=True)
        await ledger.settle(env, lease, attempt, lost)


async def _call(env: Env, lease: Lease, job: Job, item: Item, call: Call) -> None:
    """One call to a vendor, from `intent` to its settled row."""
    model, adapter = call.model, discovery.providers(env)[call.model.provider]
    op = _op(job, item, model)
    if job.request.strict and (changes := adapter.adjustments(op)):
        message = f"strict was asked, but the request would be changed: {', '.join(changes)}"
        await items.fail(env, lease, item.id, "failed", "adjustments_needed", message)
        return
    quoted = planning.quote(env, adapter, op)
    planned = Planned(
        model=model,
        free=adapter.free,
        quote_micros=quoted.high,
        price_version=quoted.version,
        instead=Fallback(model.provider, model.model, call.because) if call.because else None,
    )
    attempt = call.attempt or await ledger.intend(env, lease, item, call.number, planned)
    sizes = sum(stored.size for stored in _inputs(job))
    async with in_hand(env, sizes) as hold, contextlib.AsyncExitStack() as stack:
        prepared = list[Any]()
        try:
            prepared.append(await router.prepare(attempt.provider, await _with_bytes(env, job, op), env))
        except PicassoError as error:
            # Nothing has left and no slot was taken: the row ends with its item as a call that was never made.
            await items.fail(env, lease, item.id, "failed", error.code, error.message)
            return
        try:
            with hold.lent(prepared.clear):
                slot = await router.acquire(env, stack, attempt.provider, circuit=f"{attempt.model}:{job.kind}")
        except Unavailable as error:
            if error.code != CIRCUIT_OPEN:
                raise
            refused = Settlement(outcome="failed", failure="outage", provider_code=CIRCUIT_OPEN)
            await ledger.settle(env, lease, attempt, refused)
            return
        if not prepared:
            # The room was needed while this item waited in line.
            await hold.fit(COPIES * sizes)
            try:
                prepared.append(await router.prepare(attempt.provider, await _with_bytes(env, job, op), env))
            except PicassoError as error:
                await items.fail(env, lease, item.id, "failed", error.code, error.message)
                return
        if not await ledger.send(env, lease, attempt):
            return
        report = progress_reporter(env, lease, item, attempt)
        try:
            result = await router.send(attempt.provider, prepared.pop(), env, report)
        except VendorError as error:
            if error.code != ADAPTER_FAILED:  # our fault says nothing about the vendor
                slot.report(*_health(error))
            settlement, key = settlement_after(error), None
            if settlement.billed and (error.units or error.body):
                # Without an image, but not without its bill; and what it says is all that there is for it.
                attempt, key = await _store_answer(env, lease, job, item, attempt, error)
            known = attempt
            await retry_for(lambda: ledger.settle(env, lease, known, settlement, original=key))
            return
        slot.report("answered")
        await hold.fit(COPIES * len(result.data))
        attempt, key = await _store(env, lease, job, item, attempt, result)
        # The slot is for calls: others may make theirs while these bytes are looked at.
        await stack.aclose()
        await retry_for(lambda: _inspect_and_settle(env, lease, attempt, key, result.data))


async def _store_answer(
    env: Env, lease: Lease, job: Job, item: Item, attempt: Attempt, error: VendorError
) -> tuple[Attempt, str | None]:
    """Store an answer without an image, after the note that it is one, and its bill."""
    paid = _charge(env, attempt, error.units)
    arrival = Arrival(
        request_id=error.request_id,
        usage=dict(error.units),
        result={WITHOUT_IMAGE: True, "addresses": error.addresses} if error.body else {},
        cost_micros=paid.micros,
        cost_basis=paid.basis,
        price_version=paid.version,
    )
    arrived = await retry_for(lambda: ledger.arrive(env, lease, attempt, arrival))
    if not error.body:
        return arrived, None
    mime = mime_of(error.body) or UNKNOWN
    name = _name(item)
    return arrived, await retry_for(lambda: r2.put_original(env, job.project_id, job.id, name, error.body, mime))


async def _store(
    env: Env, lease: Lease, job: Job, item: Item, attempt: Attempt, result: ProviderResult
) -> tuple[Attempt, str]:
    """Store the bytes and, beside them, what came with them: neither waits for, or fails, the other."""
    paid = _charge(env, attempt, result.units)
    adjustments = list(result.adjustments)
    if attempt.provider != item.provider or attempt.model != item.model:
        adjustments.insert(0, f"painted by {attempt.provider} ({attempt.model}) instead of {item.provider}")
    arrival = Arrival(
        request_id=result.request_id,
        usage=result.usage,
        result={"adjustments": adjustments, "meta": result.provider_meta},
        cost_micros=paid.micros,
        cost_basis=paid.basis,
        price_version=paid.version,
    )
    stored, arrived = await asyncio.gather(
        retry_for(lambda: r2.put_original(env, job.project_id, job.id, _name(item), result.data, result.mime)),
        retry_for(lambda: ledger.arrive(env, lease, attempt, arrival)),
        return_exceptions=True,
    )
    for outcome in (stored, arrived):
        if isinstance(outcome, BaseException):
            raise outcome
    assert isinstance(stored, str) and isinstance(arrived, Attempt)
    return arrived, stored


def _charge(env: Env, attempt: Attempt, units: Mapping[Any, float]) -> Charge:
    """What the call cost by what its answer is billed for."""
    if attempt.free:
        return Charge(0, "free", None)
    # The quote as the row has it: prices may have changed since the call was recorded.
    quoted = Quote(0, attempt.quote_micros, attempt.price_version, "estimate" if attempt.price_version else "ceiling")
    return prices.charge(env, attempt.provider, attempt.model, units, quoted)


def _health(error: VendorError) -> tuple[Literal["answered", "outage", "rate"], float | None]:
    """What a call that brought no image says of the vendor's health."""
    match error:
        case Unavailable() if error.failure == "rate":
            return "rate", error.retry_after
        case Unavailable() | Uncertain():
            return "outage", None
        case _:
            return "answered", None


def settlement_after(error: VendorError) -> Settlement:
    """How a call that brought no image is settled."""
    match error:
        case Refused():
            return ledger.settlement_of(error, "refused", billed=False)
        case Unavailable():
            return ledger.settlement_of(error, "failed", billed=False)
        case Uncertain():
            return ledger.settlement_of(error, "uncertain", billed=True)
        case _:
            # What the vendor turned away, or sent elsewhere, costs nothing; an answer without a usable image does.
            billed = error.failure in ("invalid", "empty") and 200 <= (error.provider_status or 200) < 300
            return ledger.settlement_of(error, "failed", billed=billed)


async def _inspect_and_settle(env: Env, lease: Lease, attempt: Attempt, key: str, data: bytes) -> None:
    """Look at bytes that are already kept, and settle the attempt by whether they are an image."""
    await ledger.settle(env, lease, attempt, await _look(env, data, attempt.result), original=key)


async def _look(env: Env, data: bytes, result: dict[str, Any] | None) -> Settlement:
    """How a call is settled that brought these bytes, and what `result` says beside them."""
    told = {"adjustments": [], "meta": {}, **(result or {})}
    if told.get(WITHOUT_IMAGE):
        return Settlement(outcome="failed", billed=True, failure="empty", result=told)
    try:
        seen = await images.inspect(env, data, most=max(images.MOST_BYTES, env.settings.max_image))
    except (Invalid, TooLarge, Unavailable) as error:
        if isinstance(error, Unavailable) and error.code != "image_child":
            raise
        return msgspec.structs.replace(REJECTED, result={**told, "rejected": error.message})
    facts = {"mime": seen.mime, "width": seen.width, "height": seen.height, "size": seen.size}
    return Settlement(outcome="succeeded", billed=True, bytes_sha256=seen.sha256, result={**told, **facts})


def progress_reporter(env: Env, lease: Lease, item: Item, attempt: Attempt) -> OnProgress:
    """`on_progress` of one call. It never fails: an error of ours inside a vendor's call would be taken for the
    vendor's own, and `Unavailable` would buy a second time.
    """
    shown, previews = time.monotonic(), 0

    async def tell(
        fraction: float, stage: Literal["generate"] = "generate", preview_bytes: bytes | None = None
    ) -> None:
        nonlocal shown, previews
        with contextlib.suppress(PicassoError):
            url = None
            if preview_bytes and time.monotonic() - shown >= PREVIEW_SECONDS:
                shown, previews = time.monotonic(), previews + 1
                image_id = derived_id(attempt.id, "preview", previews)
                url = await images.upload_preview(env, image_id, item.id, preview_bytes)
            await progress.advance(env, lease, item.id, stage, fraction, url)

    return tell


def _inputs(job: Job) -> list[StoredImage]:
    """The images that a job works from."""
    inputs = job.inputs or InputImages()
    return [stored for stored in (inputs.start, inputs.mask, *inputs.references) if stored]


def _op(job: Job, item: Item, model: ProviderModel) -> ImageOp:
    """What the item asks of a model; its images have their sizes, but no bytes yet."""
    inputs = job.inputs or InputImages()
    # A seed that was drawn for one model is nothing that another could be said to drop.
    drawn = job.request.seed is None and model != ProviderModel(item.provider, item.model)
    return planning.build_op(
        job.request,
        model.model,
        None if drawn else item.seed,
        prompt_for(job, model),
        start=_without_bytes(inputs.start) if inputs.start else None,
        mask=_without_bytes(inputs.mask) if inputs.mask else None,
        references=[_without_bytes(stored) for stored in inputs.references],
    )


async def _with_bytes(env: Env, job: Job, op: ImageOp) -> ImageOp:
    """The op with the bytes of its images."""
    inputs = job.inputs or InputImages()
    return msgspec.structs.replace(
        op,
        start_image=await _input(env, inputs.start) if inputs.start else None,
        mask=await _input(env, inputs.mask) if inputs.mask else None,
        references=tuple([await _input(env, stored) for stored in inputs.references]),
    )


def prompt_for(job: Job, model: ProviderModel) -> str:
    """The refined prompt; the person's own words alone where the model has no room for the guidance after them."""
    refined = job.metadata.refined_prompt.get(model.provider, job.prompt)
    room = catalog.prompt_limit(model.provider, model.model)
    return refined if room is None or len(refined) <= room else job.prompt


async def _input(env: Env, stored: StoredImage) -> InputImage:
    return InputImage(await r2.get_original(env, stored.r2_key), stored.mime, stored.width, stored.height)


def _without_bytes(stored: StoredImage) -> InputImage:
    return InputImage(b"", stored.mime, stored.width, stored.height)


def _name(item: Item) -> str:
    return f"{item.provider}-{item.variant_index}"
