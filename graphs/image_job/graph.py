"""A job from its row to its last event.

    prepare ─▶ one item subgraph per item of the wave ─▶ finish ─▶ (items left? again) ─▶ end
               buy ─▶ compare ─▶ deliver ─▶ judge (look ─▶ record)

A wave is all open items; what may have ended workers goes out alone, under a later claim (`waves`). Nodes read the
database, decide, and call tools; state holds ids only. Every node may run again after a crash: the rows say what was
done, and it is not done twice. So only the job's graph keeps checkpoints, and they serve a drain; an item's subgraph
starts over and skips what its rows say is done, which costs a few reads instead of a checkpoint a step.
"""

import asyncio
import contextlib
import functools
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import msgspec
from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from graphs.heartbeat import heartbeat
from graphs.image_job import judge, prompts, purchase
from graphs.image_job.run_config import with_item_logged
from graphs.image_job.waves import next_wave
from graphs.run_lease import current_lease
from tools import images, ingest, r2
from tools.env import Env
from tools.errors import Invalid, LeaseLost, PicassoError, Unavailable
from tools.ledger import attempts, items, jobs, progress
from tools.ledger.leases import MAX_DEATHS, Lease
from tools.rows import Attempt, InputImages, Item, Job, Progression, StoredImage, derived_id, now_ms

NEAR_DUPLICATE_BITS = 4
"""Of the 64 bits of two perceptual hashes, how many may differ in the same picture."""
STEP_SECONDS = 60.0
MAX_PASSES = 5


class JobState(TypedDict):
    job_id: str
    open: list[str]
    """The items of this claim's wave that have not ended."""
    passes: int
    """How often the open items have been sent out."""


class ItemState(TypedDict):
    item_id: str
    alive: bool
    """Whether the item still has steps before it."""


class ItemOutput(TypedDict):
    """Nothing: the item's row has its result."""


async def prepare(state: JobState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Ingest the start image once, read the tips, refine the prompt per provider; then choose the items to send out.

    A job whose workers died here too often goes on with what was bought, and ends the rest.
    """
    env, lease = runtime.context, current_lease()
    job = await jobs.get(env, lease.id)
    open_items = [item for item in await jobs.items(env, job.id) if item.ended_at is None]
    if job.idle_claims > MAX_DEATHS:
        for item in open_items:
            made = await attempts.of_item(env, item.id)
            if not made or made[-1].state != "succeeded":
                await purchase.adopt_or_fail(env, lease, job, item.id, deaths=job.idle_claims)
    elif not job.metadata.refined_prompt:
        await plan(env, lease, job, open_items)
    return {"open": [item.id for item in next_wave(await jobs.items(env, job.id))], "passes": 0}


async def plan(env: Env, lease: Lease, job: Job, open_items: Sequence[Item]) -> None:
    """Store the inputs, the tips and the refined prompts of a job; items whose start image cannot be had end."""
    inputs, request = job.inputs, job.request
    if inputs is None and (request.start_image_url or request.mask_image_url or request.reference_image_urls):
        await progress.start(env, lease, open_items, "ingest")
        try:
            inputs = await ingest_inputs(env, job)
        except Invalid as error:
            for item in open_items:
                await items.fail(env, lease, item.id, "failed", "start_image_rejected", error.message)
            return
    await progress.start(env, lease, open_items, "refine")
    models = [*(item.provider for item in open_items), *(model.provider for model in job.metadata.fallback)]
    async with contextlib.AsyncExitStack() as stack:
        for item in open_items:
            await stack.enter_async_context(heartbeat(functools.partial(progress.tick, env, lease, item.id)))
        guided = await prompts.guide(env, job, list(dict.fromkeys(models)))
    before = job.metadata
    metadata = msgspec.structs.replace(guided, fallback=before.fallback, buys_nothing=before.buys_nothing)
    await jobs.plan(env, lease, metadata, inputs or InputImages())


async def ingest_inputs(env: Env, job: Job) -> InputImages:
    """The job's start image, mask and references as images of ours. Fails: Invalid, naming what is wrong with one."""

    async def take(name: str, url: str | None) -> StoredImage | None:
        return await ingest.ingest(env, job.project_id, job.id, name, url) if url else None

    references = [await take(f"reference-{n}", url) for n, url in enumerate(job.request.reference_image_urls)]
    return InputImages(
        start=await take("start", job.request.start_image_url),
        mask=await take("mask", job.request.mask_image_url),
        references=[image for image in references if image],
    )


def spread(state: JobState) -> list[Send] | Literal["finish"]:
    """One subgraph per item of the wave, side by side."""
    return _one_each(state["open"]) or "finish"


@with_item_logged
async def buy(state: ItemState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Bring the original into BUCKET, paying for it at most once; an item that ended too many workers is given up."""
    env, lease = runtime.context, current_lease()
    job, item = await jobs.get(env, lease.id), await items.take_up(env, lease, state["item_id"])
    async with heartbeat(functools.partial(progress.tick, env, lease, item.id)):
        if item.deaths > MAX_DEATHS:
            bought = await purchase.adopt_or_fail(env, lease, job, item.id, deaths=item.deaths)
        else:
            bought = await purchase.buy(env, lease, job, item.id)
    return {"alive": bought is not None}


@with_item_logged
async def compare(state: ItemState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Keep the image, or find that the job has the same picture already."""
    env, lease = runtime.context, current_lease()
    item, attempt = await _bought(env, state["item_id"])
    if item.ended_at is None and item.phash is None:
        async with r2.original_in_hand(env, str(item.original_r2_key)) as [original]:
            phash = await images.phash(env, original)
        near = NEAR_DUPLICATE_BITS if (await jobs.get(env, lease.id)).kind in ("generate", "variation") else -1
        await items.compare(env, lease, item, phash, str(attempt.bytes_sha256), near=near)
        item = await items.get(env, item.id)
    return {"alive": item.ended_at is None and item.duplicate_of is None}


@with_item_logged
async def deliver(state: ItemState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Make the delivery image public and insert the progression."""
    env, lease = runtime.context, current_lease()
    item, attempt = await _bought(env, state["item_id"])
    if item.ended_at is None and item.progression_id is None:
        async with heartbeat(functools.partial(progress.tick, env, lease, item.id)):
            progression_id = derived_id(item.id, "progression")
            async with r2.original_in_hand(env, str(item.original_r2_key)) as [original]:
                url = await images.upload_delivery(env, progression_id, original)
            row = progression_of(await jobs.get(env, lease.id), item, attempt, progression_id, url)
            if not await items.deliver(env, lease, item, row):
                await images.delete_delivery(env, progression_id)
        item = await items.get(env, item.id)
    return {"alive": item.ended_at is None}


@with_item_logged
async def isolate(state: ItemState, error: NodeError, runtime: Runtime[Env]) -> Command[Literal["finish"]]:
    """Keep one item's failure from the others. What did not answer, or not in a step's time, is tried again by
    `finish`; anything else ends the item, unless it left an image behind that was paid for: the item goes on with it.
    """
    env, lease, cause = runtime.context, current_lease(), error.error
    if isinstance(cause, LeaseLost):
        raise cause
    if not isinstance(cause, Unavailable | NodeTimeoutError):
        # Only errors of ours have a text that is safe to show.
        code, message = "internal_error", "this image could not be finished"
        if isinstance(cause, PicassoError):
            code, message = cause.code, cause.message
        job = await jobs.get(env, lease.id)
        await purchase.adopt_or_fail(env, lease, job, state["item_id"], code=code, message=message)
    return Command(goto="finish")


async def finish(state: JobState, runtime: Runtime[Env]) -> dict[str, Any]:
    """End the job once every item has ended; items of the wave that are left, by an outage or as duplicates of one that
    failed, go out again.

    Fails: Unavailable when some are still left after MAX_PASSES: the job stays open for a later claim.
    """
    sent_out = {*state["open"]}
    left = [id for id in await jobs.finish(runtime.context, current_lease()) if id in sent_out]
    if left and state["passes"] >= MAX_PASSES:
        raise Unavailable("a part that this job needs does not answer")
    if left:
        await asyncio.sleep(0.2 * 2 ** state["passes"])
    return {"open": left, "passes": state["passes"] + 1}


def again(state: JobState) -> list[Send] | Literal["__end__"]:
    """Send out the items that are left, or end."""
    return _one_each(state["open"]) or "__end__"


def _one_each(item_ids: list[str]) -> list[Send]:
    return [Send("item", {"item_id": id, "alive": True}) for id in item_ids]


def alive(state: ItemState) -> Literal["on", "__end__"]:
    """Whether the item goes on to its next step."""
    return "on" if state["alive"] else "__end__"


async def _bought(env: Env, item_id: str) -> tuple[Item, Attempt]:
    made = await attempts.of_item(env, item_id)
    return await items.get(env, item_id), next(attempt for attempt in made if attempt.state == "succeeded")


def progression_of(job: Job, item: Item, attempt: Attempt, progression_id: str, url: str) -> Progression:
    """The row of an image that was bought, compared and delivered, not judged yet."""
    facts = attempt.result or {}
    return Progression(
        id=progression_id,
        project_id=job.project_id,
        parent_progression_id=job.parent_progression_id,
        start_image_url=job.request.start_image_url,
        prompt=job.prompt,
        generated_image_url=url,
        original_image_r2_key=str(item.original_r2_key),
        ai_provider=attempt.provider,
        ai_notes=[],
        ai_tags=[],
        judgment=None,
        created_at=now_ms(),
        job_id=job.id,
        item_id=item.id,
        edge="retry" if job.retry_of else job.kind,
        variant_index=item.variant_index,
        ai_model=attempt.model,
        refined_prompt=job.metadata.refined_prompt.get(attempt.provider),
        start_image_r2_key=job.inputs.start.r2_key if job.inputs and job.inputs.start else None,
        judge_status="skipped",
        criteria=[],
        retry_suggestion=None,
        phash=item.phash,
        width=facts["width"],
        height=facts["height"],
        sha256=str(attempt.bytes_sha256),
        seed=item.seed,
        adjustments=facts["adjustments"],
        # In micro-USD: the column has its name from the contract.
        cost_usd=attempt.cost_micros or 0,
    )


def _item_builder() -> "StateGraph[ItemState, Env, ItemState, ItemOutput]":
    graph = StateGraph(ItemState, context_schema=Env, output_schema=ItemOutput)
    graph.add_node("buy", buy)
    graph.add_node("compare", compare, timeout=STEP_SECONDS)
    graph.add_node("deliver", deliver, timeout=STEP_SECONDS)
    graph.add_node("judge", judge.builder.compile(checkpointer=False))
    graph.add_edge(START, "buy")
    graph.add_conditional_edges("buy", alive, {"on": "compare", END: END})
    graph.add_conditional_edges("compare", alive, {"on": "deliver", END: END})
    graph.add_conditional_edges("deliver", alive, {"on": "judge", END: END})
    graph.add_edge("judge", END)
    return graph


builder = StateGraph(JobState, context_schema=Env)
builder.add_node("prepare", prepare)
builder.add_node("item", _item_builder().compile(checkpointer=False), error_handler=isolate)
builder.add_node("finish", finish, defer=True)
builder.add_edge(START, "prepare")
builder.add_conditional_edges("prepare", spread, ["item", "finish"])
builder.add_edge("item", "finish")
builder.add_conditional_edges("finish", again, ["item", END])
