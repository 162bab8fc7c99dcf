"""The judge: look at an image that is already safe, and record what was seen. It never fails an item."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import Command

from tools import ai
from tools.ai import Sight
from tools.env import Env
from tools.rows import Item, Job, Progression, Verdict
from tools.step import bound

SECONDS = 30.0
"""For one verdict, with all its tries."""

JudgeStatus = Literal["ok", "error", "skipped"]


class JudgeState(TypedDict):
    """Ids only; `look` adds the verdict as plain JSON, or None when it could not be had."""

    item_id: str
    job_id: str
    project_id: str
    progression_id: str
    verdict: NotRequired[dict[str, Any] | None]


Read = Callable[[Env, JudgeState], Awaitable[tuple[Job, Item, Progression]]]
Record = Callable[[Env, Any, Verdict | None, JudgeStatus], Awaitable[None]]
"""Env, the run that owns the job (`config["configurable"]["run"]`), the verdict, and how judging went."""


def sight_of(job: Job, progression: Progression) -> Sight:
    """What the judge is shown: the user's own words and the stored images, never a URL."""
    inputs = job.inputs
    return Sight(
        prompt=job.prompt,
        kind=job.kind,
        image_key=progression.original_image_r2_key,
        negative=job.request.negative_prompt,
        size=job.request.size,
        start_key=progression.start_image_r2_key,
        mask_key=inputs.mask.r2_key if inputs and inputs.mask else None,
    )


async def look(env: Env, job: Job, item: Item, progression: Progression) -> Verdict:
    """The verdict on a progression by the vision model that is set.

    Fails: TimeoutError after `SECONDS`; what `ai.see` fails with.
    """
    with bound(jobId=job.id, itemId=item.id, sessionId=job.session_id, provider=item.provider):
        async with asyncio.timeout(SECONDS):
            return await ai.see(env, env.DEFAULT_MODEL_VISION, sight_of(job, progression))


def judge_builder(read: Read, record: Record) -> StateGraph[JudgeState, Env]:
    """`look` → `record`, to be compiled as a node of a larger graph.

    What goes wrong in `look` is recorded as "error".
    """

    async def look_at(state: JudgeState, runtime: Runtime[Env]) -> dict[str, Any]:
        verdict = await look(runtime.context, *await read(runtime.context, state))
        return {"verdict": msgspec.to_builtins(verdict)}

    async def look_away(state: JudgeState) -> Command[Literal["record"]]:
        return Command(update={"verdict": None}, goto="record")

    async def write_down(state: JudgeState, config: RunnableConfig) -> dict[str, Any]:
        seen = state.get("verdict")
        verdict = None if seen is None else msgspec.convert(seen, Verdict)
        await record(get_runtime(Env).context, config["configurable"]["run"], verdict, "ok" if verdict else "error")
        return {}

    builder = StateGraph(JudgeState, context_schema=Env)
    builder.add_node("look", look_at, error_handler=look_away)
    builder.add_node("record", write_down)
    builder.add_edge(START, "look")
    builder.add_edge("look", "record")
    builder.add_edge("record", END)
    return builder
