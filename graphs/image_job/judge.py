"""The judge: `look` at the delivered image and the prompt, then `record` the verdict in row and event."""

import functools
from typing import Any, Literal, TypedDict

import msgspec
from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from graphs.heartbeat import heartbeat
from graphs.image_job.run_config import with_item_logged
from graphs.run_lease import current_lease
from tools import db
from tools.env import Env
from tools.ledger import items, jobs, progress
from tools.ledger.leases import Lease
from tools.ledger.model_calls import CallKey
from tools.models import chat_and_vision
from tools.models.chat_and_vision import JudgeRequest
from tools.rows import Item, Job, Progression, Verdict

JUDGE_SECONDS = 30.0


class JudgeState(TypedDict):
    item_id: str
    """The item whose progression is judged."""
    verdict: dict[str, Any] | None
    judge_status: Literal["ok", "error", "skipped"]


@with_item_logged
async def look(state: JudgeState, runtime: Runtime[Env]) -> dict[str, Any]:
    """One look by the vision model or the built-in judge; after a crash, the answer that the ledger has."""
    env, lease = runtime.context, current_lease()
    item = await items.get(env, state["item_id"])
    if item.ended_at is not None or item.progression_id is None:
        return {"verdict": None, "judge_status": "skipped"}
    progression = await db.get_progression(env, item.progression_id)
    job = await jobs.get(env, item.job_id)
    async with heartbeat(functools.partial(progress.tick, env, lease, item.id)):
        verdict = await chat_and_vision.judge_image(
            env, env.DEFAULT_MODEL_VISION, judge_request(job, progression), call_key(lease, job, item)
        )
    return {"verdict": msgspec.to_builtins(verdict), "judge_status": "ok"}


def judge_request(job: Job, progression: Progression) -> JudgeRequest:
    """What the judge sees: the user's own words and the stored images, never a URL."""
    inputs = job.inputs
    return JudgeRequest(
        prompt=job.prompt,
        kind=job.kind,
        image_key=progression.original_image_r2_key,
        negative=job.request.negative_prompt,
        size=job.request.size,
        start_key=progression.start_image_r2_key,
        mask_key=inputs.mask.r2_key if inputs and inputs.mask else None,
    )


def call_key(lease: Lease, job: Job, item: Item) -> CallKey:
    """The look at an item's image, which is paid for once whichever worker takes it."""
    return CallKey(
        purpose="judge",
        subject=item.id,
        project_id=job.project_id,
        job_id=job.id,
        item_id=item.id,
        fence=lease.fence,
    )


async def give_up(state: JudgeState, error: NodeError) -> Command[Literal["record"]]:
    """A judge that fails or hangs is recorded as `error`; the image is kept without a verdict."""
    return Command(update={"verdict": None, "judge_status": "error"}, goto="record")


@with_item_logged
async def record(state: JudgeState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Store the verdict, its event and the item's end in one transaction."""
    verdict = msgspec.convert(state["verdict"], Verdict) if state["verdict"] else None
    await items.complete(runtime.context, current_lease(), state["item_id"], verdict, state["judge_status"])
    return {}


builder = StateGraph(JudgeState, context_schema=Env)
builder.add_node("look", look, timeout=JUDGE_SECONDS, error_handler=give_up)
builder.add_node("record", record)
builder.add_edge(START, "look")
builder.add_edge("look", "record")
builder.add_edge("record", END)
