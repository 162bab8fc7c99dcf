"""What is told of a job: its answers' Structs, and how they are made from rows."""

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters import router
from adapters.router import Plan
from tools.env import Env
from tools.format import to_usd
from tools.ledger import attempts, calls, jobs, money
from tools.ledger.calls import ModelCall
from tools.ledger.submissions import ItemPlan
from tools.models.prices import Quote
from tools.rows import Attempt, Item, ItemError, Job, JobRequest


class QueuedItem(msgspec.Struct, frozen=True, rename="camel"):
    item_id: str
    provider: str
    variant_index: int
    status: str


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """The 202. `stream` is where to follow the job from its first event."""

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
    """The answer to `dryRun`: nothing is bought or stored. `fits` says whether the project's budget allows it now."""

    project_id: str
    quote: JobQuote
    budget_usd: float | None
    remaining_usd: float | None
    fits: bool


class CallView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A call that somebody bills: how it ended, what the vendor said, what it cost and why that is the figure."""

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
    """A call to a chat or vision model that was made for the job: to refine its prompt or to judge an item's image."""

    purpose: str
    item_id: str | None


class ItemView(msgspec.Struct, frozen=True, rename="camel"):
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
    """What the job's calls cost so far, in `currency`. Of its billed calls, `estimated` brought no answer that tells
    and `unpriced` have no known price: they count as the highest quote and as UNPRICED_USD."""

    currency: str
    total: float
    estimated: int
    unpriced: int


class JobView(msgspec.Struct, frozen=True, rename="camel"):
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
    items, ledger = await jobs.items(env, job.id), await attempts.of_job(env, job.id)
    asked = await calls.of_job(env, job.id)
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
        items=[item_view(item, [call for call in ledger if call.item_id == item.id]) for item in items],
        model_calls=[model_call_view(call) for call in asked],
        cost=cost_of([*ledger, *asked]),
    )


def item_view(item: Item, made: list[Attempt]) -> ItemView:
    return ItemView(
        item_id=item.id,
        provider=item.provider,
        model=item.model,
        variant_index=item.variant_index,
        seed=item.seed,
        status=item.status,
        stage=item.stage,
        progress=item.progress,
        preview_url=item.preview_url,
        progression_id=item.progression_id,
        duplicate_of=item.duplicate_of,
        error=item.error,
        original_r2_key=item.original_r2_key,
        attempts=[attempt_view(call) for call in made],
    )


def attempt_view(call: Attempt) -> AttemptView:
    return AttemptView(**_call(call), sent_at=call.sent_at)


def model_call_view(call: ModelCall) -> ModelCallView:
    return ModelCallView(**_call(call), purpose=call.purpose, item_id=call.item_id)


def _call(call: Attempt | ModelCall) -> dict[str, Any]:
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
    """The sum of the billed calls, and how sure it is."""
    return Cost(
        currency="USD",
        total=to_usd(sum(call.cost_micros or 0 for call in made)),
        estimated=sum(call.cost_basis == "estimate" for call in made),
        unpriced=sum(call.cost_basis == "ceiling" for call in made),
    )


async def quoted(env: Env, project_id: str, wanted: JobRequest, planned: Plan) -> Quoted:
    standing = await money.standing(env, project_id)
    high = sum(quote.high for quote in planned.quotes)
    left = None if standing.budget is None else standing.budget - standing.spent - standing.held
    return Quoted(
        project_id=project_id,
        quote=JobQuote(
            currency="USD",
            low=to_usd(sum(quote.low for quote in planned.quotes)),
            high=to_usd(high),
            unpriced=sum(quote.basis == "ceiling" for quote in planned.quotes),
            items=[item_quote(wanted, *pair) for pair in zip(planned.places, planned.quotes, strict=True)],
        ),
        budget_usd=to_usd(standing.budget),
        remaining_usd=to_usd(left),
        fits=left is None or not high or high <= left,
    )


def item_quote(wanted: JobRequest, place: ItemPlan, quote: Quote) -> ItemQuote:
    op = router.build_op(wanted, place.model, place.seed, wanted.prompt)
    return ItemQuote(
        provider=place.provider,
        model=place.model,
        variant_index=place.variant_index,
        low=to_usd(quote.low),
        high=to_usd(quote.high),
        basis=quote.basis,
        price_version=quote.version,
        adjustments=router.providers()[place.provider].adjustments(op),
    )
