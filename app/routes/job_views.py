"""The JSON of jobs: response Structs, and how they are made from rows."""

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters import discovery, planning
from adapters.planning import Plan
from tools.env import Env
from tools.format import to_usd
from tools.ledger import attempts, jobs, model_calls, money
from tools.ledger.model_calls import ModelCall
from tools.publishing.addresses import whole
from tools.rows import Attempt, Item, ItemError, Job, JobRequest


class QueuedItem(msgspec.Struct, frozen=True, rename="camel"):
    """One image to be made, by one provider."""

    item_id: str
    provider: str
    variant_index: int
    status: str


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """A job that was accepted. `stream` is the path that streams its events from the first one."""

    job_id: str
    session_id: str
    status: str
    items: list[QueuedItem]
    stream: str
    project_id: str


class ItemQuote(msgspec.Struct, frozen=True, rename="camel"):
    """What one item may cost in dollars. `basis` is `free`, `estimate`, or `ceiling` when no price is known."""

    provider: str
    model: str
    variant_index: int
    low: float
    high: float
    basis: str
    price_version: str | None
    adjustments: list[str]


class JobQuote(msgspec.Struct, frozen=True, rename="camel"):
    """The sums of `items`; `unpriced` of them have no known price and count as UNPRICED_USD per call."""

    currency: str
    low: float
    high: float
    unpriced: int
    items: list[ItemQuote]


class Quoted(msgspec.Struct, frozen=True, rename="camel"):
    """The response to `dryRun`: nothing is bought or stored. `fits`: the project's budget allows the job."""

    project_id: str
    quote: JobQuote
    budget_usd: float | None
    remaining_usd: float | None
    fits: bool


class CallView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A call to a vendor: how it ended, the vendor's own codes, and what it cost on which basis."""

    number: int
    provider: str
    model: str
    state: str
    billed: bool
    failure: str | None
    provider_code: str | None
    provider_status: int | None
    request_id: str | None
    usage: dict[str, Any] | None
    cost_usd: float | None
    cost_basis: str | None
    price_version: str | None
    created_at: int
    settled_at: int | None


class AttemptView(CallView, frozen=True, rename="camel", kw_only=True):
    """A call for an image."""

    sent_at: int | None


class ModelCallView(CallView, frozen=True, rename="camel", kw_only=True):
    """A call to a chat or vision model for the job: to refine its prompt or to judge an item's image."""

    purpose: str
    item_id: str | None


class ItemView(msgspec.Struct, frozen=True, rename="camel"):
    """One image of a job: its state, and every call made for it."""

    item_id: str
    provider: str
    model: str
    variant_index: int
    seed: int | None
    status: str
    stage: str | None
    progress: float
    preview_url: str | None
    progression_id: str | None
    duplicate_of: str | None
    error: ItemError | None
    original_r2_key: str | None
    attempts: list[AttemptView]


class Cost(msgspec.Struct, frozen=True, rename="camel"):
    """What the job's calls have cost so far, in `currency`. Of the billed calls, `estimated` had a response without
    usage and count as their highest quote; `unpriced` have no known price and count as UNPRICED_USD."""

    currency: str
    total: float
    estimated: int
    unpriced: int


class JobView(msgspec.Struct, frozen=True, rename="camel"):
    """A job with its items in request order and every call that was made for them."""

    job_id: str
    project_id: str
    session_id: str
    status: str
    prompt: str
    kind: str
    created_at: int
    started_at: int | None
    ended_at: int | None
    retry_of: str | None
    parent_progression_id: str | None
    request: JobRequest
    metadata: Any
    items: list[ItemView]
    model_calls: list[ModelCallView]
    cost: Cost


async def job_view(env: Env, job: Job) -> JobView:
    """The job with its items, their calls and their cost, as they are in the database now."""
    items, image_calls = await jobs.items(env, job.id), await attempts.of_job(env, job.id)
    chat_calls = await model_calls.of_job(env, job.id)
    return JobView(
        job_id=job.id,
        project_id=job.project_id,
        session_id=job.session_id,
        status=job.status,
        prompt=job.prompt,
        kind=job.kind,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        retry_of=job.retry_of,
        parent_progression_id=job.parent_progression_id,
        request=job.request,
        metadata=job.metadata,
        items=[_item_view(env, item, [call for call in image_calls if call.item_id == item.id]) for item in items],
        model_calls=[
            ModelCallView(**_call_fields(call), purpose=call.purpose, item_id=call.item_id) for call in chat_calls
        ],
        cost=cost_of([*image_calls, *chat_calls]),
    )


def _item_view(env: Env, item: Item, attempts: list[Attempt]) -> ItemView:
    return ItemView(
        item_id=item.id,
        provider=item.provider,
        model=item.model,
        variant_index=item.variant_index,
        seed=item.seed,
        status=item.status,
        stage=item.stage,
        progress=item.progress,
        preview_url=item.preview_url and whole(env.settings, item.preview_url),
        progression_id=item.progression_id,
        duplicate_of=item.duplicate_of,
        error=item.error,
        original_r2_key=item.original_r2_key,
        attempts=[AttemptView(**_call_fields(call), sent_at=call.sent_at) for call in attempts],
    )


def _call_fields(call: Attempt | ModelCall) -> dict[str, Any]:
    return {
        "number": call.number,
        "provider": call.provider,
        "model": call.model,
        "state": call.state,
        "billed": bool(call.billed),
        "failure": call.failure,
        "provider_code": call.provider_code,
        "provider_status": call.provider_status,
        "request_id": call.request_id,
        "usage": call.usage,
        "cost_usd": to_usd(call.cost_micros),
        "cost_basis": call.cost_basis,
        "price_version": call.price_version,
        "created_at": call.created_at,
        "settled_at": call.settled_at,
    }


def cost_of(made: Sequence[Attempt | ModelCall]) -> Cost:
    """The sum of the calls' costs, and how many of them are estimated or unpriced."""
    return Cost(
        currency="USD",
        total=to_usd(sum(call.cost_micros or 0 for call in made)),
        estimated=sum(call.cost_basis == "estimate" for call in made),
        unpriced=sum(call.cost_basis == "ceiling" for call in made),
    )


async def quote_job(env: Env, project_id: str, wanted: JobRequest, planned: Plan) -> Quoted:
    """What the planned job may cost, and whether the project's budget allows it.

    Fails: NotFound when there is no such project.
    """
    state = await money.budget_state(env, project_id)
    high = sum(quote.high for quote in planned.quotes)
    left = state.remaining
    items = []
    for place, quote in zip(planned.items, planned.quotes, strict=True):
        op = planning.build_op(wanted, place.model, place.seed, wanted.prompt)
        items.append(
            ItemQuote(
                provider=place.provider,
                model=place.model,
                variant_index=place.variant_index,
                low=to_usd(quote.low),
                high=to_usd(quote.high),
                basis=quote.basis,
                price_version=quote.version,
                adjustments=discovery.providers(env)[place.provider].adjustments(op),
            )
        )
    return Quoted(
        project_id=project_id,
        quote=JobQuote(
            currency="USD",
            low=to_usd(sum(quote.low for quote in planned.quotes)),
            high=to_usd(high),
            unpriced=sum(quote.basis == "ceiling" for quote in planned.quotes),
            items=items,
        ),
        budget_usd=to_usd(state.budget),
        remaining_usd=to_usd(left),
        fits=left is None or not high or high <= left,
    )
