"""Buying one image: at most one paid call at a time, each a row of the ledger, none made twice.

`next_move` decides from the ledger's rows alone, so a worker that takes over after a crash decides the same.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from adapters import router
from adapters.provider import ImageOp, InputImage, OnProgress, ProviderResult
from tools import images, ledger, r2
from tools.env import Env
from tools.errors import Invalid, NotFound, PicassoError, Refused, TooLarge, Unavailable, Uncertain, VendorError
from tools.ledger import Run, Settlement
from tools.rows import Attempt, Inputs, Item, ItemStatus, Job, StoredImage
from tools.step import patiently

MAX_CALLS = 4
MAX_CRASHES = 20
FIRST_BACKOFF_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 120.0

REASONS = {
    "outage": "the provider did not answer",
    "rate": "the provider's rate limit was reached",
    "quota": "the provider's quota is used up",
    "refused": "the provider refused this request",
    "invalid": "the provider's answer held no usable image",
    "empty": "the provider answered without an image",
}


@dataclass(frozen=True)
class Bought:
    """The original is in BUCKET."""

    attempt: Attempt


@dataclass(frozen=True)
class Call:
    """Make call `number`; `attempt` is its row when a crash left the intent behind."""

    number: int
    attempt: Attempt | None = None


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


def next_move(attempts: Sequence[Attempt]) -> Move:
    """What to do for an item whose ledger rows, oldest first, are these."""
    if not attempts:
        return Call(1)
    last = attempts[-1]
    crashes = sum(attempt.state == "abandoned" for attempt in attempts)
    match last.state:
        case "succeeded":
            return Bought(last)
        case "intent":
            return Call(last.number, last)
        case "sent":
            return Recover(last)
        case "uncertain":
            return GiveUp("uncertain", "uncertain", "the call was sent but its outcome is not known")
        case "refused":
            return GiveUp("refused", "refused", REASONS["refused"], last.provider_status)
        case "abandoned" if crashes > MAX_CRASHES:
            return GiveUp("failed", "crash_loop", "the worker died each time this image was being made")
        case "failed" if last.failure not in ("outage", "rate") or len(attempts) - crashes >= MAX_CALLS:
            return GiveUp("failed", *_reason(last), last.provider_status)
        case _:
            return Call(last.number + 1)


def _reason(attempt: Attempt) -> tuple[str, str]:
    if attempt.provider_code == "image_rejected":
        return "image_rejected", REASONS["invalid"]
    return f"provider_{attempt.failure}", REASONS[attempt.failure or "outage"]


def wait_before(number: int, retry_after: float | None) -> float:
    """Seconds to wait before call `number`: what the vendor asked for after the last one, else jittered doubling."""
    doubling = FIRST_BACKOFF_SECONDS * 2 ** (number - 2)
    wanted = retry_after if retry_after is not None else doubling
    return min(wanted * random.uniform(1.0, 1.2), LONGEST_WAIT_SECONDS)


async def buy(env: Env, run: Run, job: Job, item_id: str) -> Attempt | None:
    """Bring the item's original into BUCKET; the attempt that succeeded, or None when the item has ended."""
    retry_after: float | None = None
    while (item := await ledger.item(env, item_id)).ended_at is None:
        match next_move(await ledger.attempts(env, item_id)):
            case Bought(attempt):
                return attempt
            case Recover(attempt):
                await _recover(env, run, job, item, attempt)
            case GiveUp(status, code, message, provider_status):
                await ledger.fail_item(env, run, item_id, status, code, message, provider_status)
            case Call(number, attempt):
                if number > 1 and attempt is None:
                    await asyncio.sleep(wait_before(number, retry_after))
                retry_after = await _call(env, run, job, item, number, attempt)
    return None


async def _recover(env: Env, run: Run, job: Job, item: Item, attempt: Attempt) -> None:
    """Adopt the bytes when they reached BUCKET; else a free call counts as never made, a paid one as uncertain."""
    key = r2.original_key(job.project_id, job.id, _name(item))
    try:
        data = await env.BUCKET.get(key)
    except NotFound:
        lost = Settlement(outcome="abandoned") if attempt.free else Settlement(outcome="uncertain", billed=True)
        await ledger.settle(env, run, attempt, lost)
    else:
        await _take_in(env, run, attempt, key, ProviderResult(data=data, mime=""))


async def _call(env: Env, run: Run, job: Job, item: Item, number: int, attempt: Attempt | None) -> float | None:
    """One call to the vendor, from `intent` to its settled row. The seconds the vendor asked to wait, if it did."""
    op = await _op(env, job, item)
    async with env.PICASSO_WORKFLOW.turn(item.provider, f"{item.model}:{job.kind}"):
        attempt = attempt or await ledger.intend(env, run, item, number, free=router.providers()[item.provider].free)
        if not await ledger.send(env, run, attempt):
            return None
        try:
            result = await router.run(item.provider, op, env, teller(env, run, item))
        except VendorError as error:
            settlement = _failure(error)
            await patiently(lambda: ledger.settle(env, run, attempt, settlement))
            return error.retry_after if isinstance(error, Unavailable) else None
        key = await patiently(
            lambda: r2.put_original(env, job.project_id, job.id, _name(item), result.data, result.mime)
        )
    await ledger.advance(env, run, item.id, "store")
    await patiently(lambda: _take_in(env, run, attempt, key, result))
    return None


def _failure(error: VendorError) -> Settlement:
    match error:
        case Refused():
            return ledger.settlement_of(error, "refused", billed=False)
        case Unavailable():
            return ledger.settlement_of(error, "failed", billed=False)
        case Uncertain():
            return ledger.settlement_of(error, "uncertain", billed=True)
        case _:
            return ledger.settlement_of(error, "failed", billed=error.failure != "quota")


async def _take_in(env: Env, run: Run, attempt: Attempt, key: str, result: ProviderResult) -> None:
    """Look at bytes that are already kept, and settle the attempt by whether they are an image."""
    try:
        seen = await images.inspect(env, result.data)
    except (Invalid, TooLarge, Unavailable) as error:
        if isinstance(error, Unavailable) and error.code != "image_child":
            raise
        settlement = Settlement(outcome="failed", billed=True, failure="invalid", provider_code="image_rejected")
    else:
        settlement = Settlement(
            outcome="succeeded",
            billed=True,
            bytes_sha256=seen.sha256,
            cost_micros=0 if attempt.free else None,
            result={
                "mime": seen.mime,
                "width": seen.width,
                "height": seen.height,
                "size": seen.size,
                "adjustments": result.adjustments,
                "meta": result.provider_meta,
            },
        )
    settlement = msgspec.structs.replace(settlement, usage=result.usage, request_id=result.request_id)
    await ledger.settle(env, run, attempt, settlement, original=key)


def teller(env: Env, run: Run, item: Item) -> OnProgress:
    """`on_progress` of one call. It never fails: an error of ours inside a vendor's call would be taken for the
    vendor's own, and `Unavailable` would buy a second time.
    """

    async def tell(
        fraction: float, stage: Literal["generate"] = "generate", preview_bytes: bytes | None = None
    ) -> None:
        with contextlib.suppress(PicassoError):
            await ledger.advance(env, run, item.id, stage, fraction)

    return tell


async def _op(env: Env, job: Job, item: Item) -> ImageOp:
    inputs = job.inputs or Inputs()
    references = [await _input(env, stored) for stored in inputs.references]
    return router.build_op(
        job.request,
        item.model,
        item.seed,
        job.metadata.refined_prompt.get(item.provider, job.prompt),
        start=await _input(env, inputs.start),
        mask=await _input(env, inputs.mask),
        references=[image for image in references if image],
    )


async def _input(env: Env, stored: StoredImage | None) -> InputImage | None:
    if stored is None:
        return None
    return InputImage(await env.BUCKET.get(stored.r2_key), stored.mime, stored.width, stored.height)


def _name(item: Item) -> str:
    return f"{item.provider}-{item.variant_index}"
