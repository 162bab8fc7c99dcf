"""The lease a graph runs under: given by the run's configuration, never part of the saved state."""

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from tools.ledger.leases import Lease


def leased_run(thread_id: str, lease: Lease, *, recursion_limit: int) -> RunnableConfig:
    """The configuration of a run on this thread under one claim."""
    return {
        "configurable": {"thread_id": thread_id, "lease": [lease.id, lease.fence]},
        "recursion_limit": recursion_limit,
    }


def current_lease() -> Lease:
    """The lease under which the calling node runs."""
    return Lease(*get_config()["configurable"]["lease"])
