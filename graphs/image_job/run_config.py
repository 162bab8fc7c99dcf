"""The lease a node runs under: given by the run's configuration, never part of the saved state."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from tools.ledger.leases import Lease
from tools.rows import Job
from tools.step import log_context

T = TypeVar("T")


def config_for(job: Job) -> RunnableConfig:
    """The configuration of one claim of the job: its thread, and the lease of this claim."""
    return {
        "configurable": {"thread_id": f"job:{job.id}", "lease": [job.id, job.fence]},
        "recursion_limit": 100,
    }


def current_lease() -> Lease:
    """The lease on the job under which the calling node runs."""
    return Lease(*get_config()["configurable"]["lease"])


def with_item_logged(node: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Log lines written while the node runs name the item of its state (`itemId`)."""

    @functools.wraps(node)
    async def logged(state: Any, *args: Any, **kwargs: Any) -> T:
        with log_context(itemId=state["item_id"]):
            return await node(state, *args, **kwargs)

    return logged
