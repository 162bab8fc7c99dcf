"""The contract's general workflow: validate ─▶ process-ai ─▶ store-result ─▶ notify.

What was done stands in the rows: any node may run again after a crash and does nothing twice. The model is asked
through `ai.chat`, whose ledger never makes a call again that was left in flight; such a workflow ends `uncertain`.
"""

import asyncio
import functools
import re
from typing import Any, Literal, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from graphs.image_job.prompts import WORK
from graphs.workflow.builtin_answer import brief
from tools.env import Env
from tools.errors import Invalid, Uncertain, VendorError
from tools.ledger import calls, workflows
from tools.ledger.calls import CallKey, Stop
from tools.ledger.leases import Lease
from tools.ledger.workflows import WorkflowRow
from tools.models import chat_and_vision
from tools.models.chat_and_vision import BUILTIN, CHAT_TRIES
from tools.step import retry_for

STEP_SECONDS = 60.0
NOTIFY_SECONDS = 10.0
"""How long a queue that is away is waited for, with the result stored; then another claim goes on."""
WORD = re.compile(r"\w")


class WorkflowState(TypedDict):
    workflow_id: str
    alive: bool
    """Whether there are still steps before it."""
    answer: str
    """What the model said, until it is stored."""


async def validate(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """See that the task asks for something and that its model is there, before anything is paid for."""
    env, lease = runtime.context, current_lease()
    row = await workflows.get(env, lease.id)
    try:
        check(env, row.task)
    except Invalid as error:
        await workflows.fail(env, lease, "failed", error)
        return {"alive": False}
    await workflows.advance(env, lease, "validate")
    return {"alive": True}


def check(env: Env, task: str) -> None:
    """Fails: Invalid when the task has no word in it, or the reasoning model cannot be used."""
    if not WORD.search(task):
        raise Invalid("the task has no word in it", code="no_words")
    if env.DEFAULT_MODEL_REASONING != BUILTIN:
        env.AI.chat_model(env.DEFAULT_MODEL_REASONING)


async def process_ai(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Ask the reasoning model once (or the built-in rule); after a crash, take up what it said.

    Fails: Unavailable when something else than the model is away: a later claim goes on.
    """
    env, lease = runtime.context, current_lease()
    row = await workflows.get(env, lease.id)
    if row.result_id:
        return {"alive": True}
    try:
        answer = await _answer(env, lease, row)
    except VendorError as error:
        if not await _is_final(env, lease):
            raise
        await workflows.fail(env, lease, "uncertain" if isinstance(error, Uncertain) else "failed", error)
        return {"alive": False}
    await workflows.advance(env, lease, "process-ai")
    return {"alive": True, "answer": answer}


async def _answer(env: Env, lease: Lease, row: WorkflowRow) -> str:
    if env.DEFAULT_MODEL_REASONING == BUILTIN:
        return await asyncio.to_thread(brief, row.task)
    messages: list[tuple[Literal["system", "user", "assistant"], str]] = [("system", WORK), ("user", row.task)]
    return await chat_and_vision.chat(env, env.DEFAULT_MODEL_REASONING, messages, call_key(lease))


async def _is_final(env: Env, lease: Lease) -> bool:
    """Whether the ledger says that no further call may be made, so that another claim would end the same way."""
    made = await calls.made(env, call_key(lease))
    return isinstance(calls.next_move(made, tries=CHAT_TRIES, ways=1), Stop)


def call_key(lease: Lease) -> CallKey:
    """What the workflow asks of the model: one answer, whoever gets it."""
    return CallKey(purpose="workflow", subject=lease.id, fence=lease.fence)


async def store_result(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Keep the answer, once."""
    env, lease = runtime.context, current_lease()
    await workflows.store_result(env, lease, state["answer"])
    return {"answer": ""}


async def notify(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Announce the result, then end."""
    env, lease = runtime.context, current_lease()
    row = await workflows.get(env, lease.id)
    await retry_for(functools.partial(workflows.notify, env, row), NOTIFY_SECONDS)
    await workflows.complete(env, lease)
    return {}


def alive(state: WorkflowState) -> Literal["on", "__end__"]:
    return "on" if state["alive"] else "__end__"


def config_for(row: WorkflowRow) -> RunnableConfig:
    """The configuration of one claim of the workflow: its thread, and the lease of this claim."""
    return {
        "configurable": {"thread_id": f"workflow:{row.id}", "lease": [row.id, row.fence]},
        "recursion_limit": 20,
    }


def current_lease() -> Lease:
    """The lease on the workflow under which the calling node runs."""
    return Lease(*get_config()["configurable"]["lease"])


builder = StateGraph(WorkflowState, context_schema=Env)
builder.add_node("validate", validate, timeout=STEP_SECONDS)
builder.add_node("process-ai", process_ai)
builder.add_node("store-result", store_result, timeout=STEP_SECONDS)
builder.add_node("notify", notify, timeout=STEP_SECONDS)
builder.add_edge(START, "validate")
builder.add_conditional_edges("validate", alive, {"on": "process-ai", END: END})
builder.add_conditional_edges("process-ai", alive, {"on": "store-result", END: END})
builder.add_edge("store-result", "notify")
builder.add_edge("notify", END)
