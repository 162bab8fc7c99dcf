"""How a run of the image job is configured, and its log lines named."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import get_runtime

from graphs.run_lease import leased_run
from tools.env import Env
from tools.ledger import items
from tools.ledger.leases import Lease
from tools.rows import Job
from tools.step import log_context

T = TypeVar("T")


def config_for(job: Job) -> RunnableConfig:
    """The configuration of one claim of the job."""
    return leased_run(f"job:{job.id}", Lease(job.id, job.fence), recursion_limit=100)


def with_item_logged(node: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """Log lines written while the node runs name the item of its state (`itemId`) and its provider."""

    @functools.wraps(node)
    async def logged(state: Any, *args: Any, **kwargs: Any) -> T:
        item = await items.get(get_runtime(Env).context, state["item_id"])
        with log_context(itemId=item.id, provider=item.provider):
            return await node(state, *args, **kwargs)

    return logged
