"""Which worker's hold on a job a node runs under: handed in by configuration, never part of the saved state."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from tools.ledger.items import Run
from tools.rows import Job
from tools.step import log_context

T = TypeVar("T")


def config_for(job: Job) -> RunnableConfig:
    """The configuration of one claim of the job: its thread, and the fence of this claim."""
    return {
        "configurable": {"thread_id": thread_of(job.id), "run": [job.id, job.session_id, job.fence]},
        "recursion_limit": 100,
    }


def run_of() -> Run:
    """The hold on the job that the node which asks is running under."""
    job_id, session_id, fence = get_config()["configurable"]["run"]
    return Run(job_id, session_id, fence)


def thread_of(job_id: str) -> str:
    return f"job:{job_id}"


def of_item(node: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Log lines written while the node runs name the item in its state."""

    @functools.wraps(node)
    async def named(state: Any, *args: Any, **kwargs: Any) -> T:
        with log_context(itemId=state["item_id"]):
            return await node(state, *args, **kwargs)

    return named
