"""The contract's general workflow: validate ─▶ process-ai ─▶ store-result ─▶ notify.

The rows say what was done, so any node may run again after a crash and does nothing twice. The model is called through
`ai.chat`, which never repeats a call that a crash left in flight; such a workflow ends `uncertain`.
"""

import asyncio
import functools
import re
from typing import Any, Literal, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from graphs.image_job.prompts import WORK
from graphs.run_lease import current_lease, leased_run
from graphs.workflow.builtin_answer import brief
from tools.env import Env
from tools.errors import Invalid, Uncertain, VendorError
from tools.ledger import model_calls, retries, workflows
from tools.ledger.leases import Lease
from tools.ledger.model_calls import CallKey
from tools.ledger.workflows import WorkflowRow
from tools.models import chat_and_vision
from tools.models.chat_and_vision import BUILTIN, CHAT_TRIES
from tools.step import retry_for

STEP_SECONDS = 60.0
NOTIFY_SECONDS = 10.0
"""How long a queue that does not answer is waited for, with the result stored; then a later claim goes on."""
WORD = re.compile(r"\w")


class WorkflowState(TypedDict):
    workflow_id: str
    alive: bool
    """Whether the workflow still has steps before it."""
    answer: str
    """The model's answer, until it is stored."""


async def validate(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Check that the task has words and that its model can be used, before anything is paid for."""
    env, lease = runtime.context, current_lease()
    row = await workflows.get(env, lease.id)
    try:
        if not WORD.search(row.task):
            raise Invalid("the task has no word in it", code="no_words")
        await chat_and_vision.check_model(env, env.DEFAULT_MODEL_REASONING)
    except Invalid as error:
        await workflows.fail(env, lease, "failed", error)
        return {"alive": False}
    await workflows.advance(env, lease, "validate")
    return {"alive": True}


async def process_ai(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Ask the reasoning model once, or the built-in rule; after a crash, take the answer that the ledger has.

    Fails: Unavailable when anything but the model does not answer: a later claim goes on.
    """
    env, lease = runtime.context, current_lease()
    row = await workflows.get(env, lease.id)
    if row.result_id:
        return {"alive": True}
    try:
        if env.DEFAULT_MODEL_REASONING == BUILTIN:
            answer = await asyncio.to_thread(brief, row.task)
        else:
            messages: list[tuple[Literal["system", "user", "assistant"], str]] = [("system", WORK), ("user", row.task)]
            answer = await chat_and_vision.chat(env, env.DEFAULT_MODEL_REASONING, messages, call_key(lease))
    except VendorError as error:
        made = await model_calls.made(env, call_key(lease))
        if not isinstance(retries.next_move(made, tries=CHAT_TRIES, ways=1), retries.Stop):
            raise
        # No further call may be made, so a later claim would end the same way.
        await workflows.fail(env, lease, "uncertain" if isinstance(error, Uncertain) else "failed", error)
        return {"alive": False}
    await workflows.advance(env, lease, "process-ai")
    return {"alive": True, "answer": answer}


def call_key(lease: Lease) -> CallKey:
    """The workflow's question to the model, which is answered once whichever worker asks it."""
    return CallKey(purpose="workflow", subject=lease.id, fence=lease.fence)


async def store_result(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Store the answer, once."""
    await workflows.store_result(runtime.context, current_lease(), state["answer"])
    return {"answer": ""}


async def notify(state: WorkflowState, runtime: Runtime[Env]) -> dict[str, Any]:
    """Announce the result, then end the workflow."""
    env, lease = runtime.context, current_lease()
    row = await workflows.get(env, lease.id)
    await retry_for(functools.partial(workflows.notify, env, row), NOTIFY_SECONDS)
    await workflows.complete(env, lease)
    return {}


def alive(state: WorkflowState) -> Literal["on", "__end__"]:
    """Whether the workflow goes on to its next step."""
    return "on" if state["alive"] else "__end__"


def config_for(row: WorkflowRow) -> RunnableConfig:
    """The configuration of one claim of the workflow."""
    return leased_run(f"workflow:{row.id}", Lease(row.id, row.fence), recursion_limit=20)


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
