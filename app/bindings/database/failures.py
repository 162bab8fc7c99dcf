"""What SQLite and PostgreSQL share: the errors that both raise, and the misuses of a transaction that both refuse.

Both raise Unavailable (`database_busy`, `database_full`, `database_damaged`, `database_unavailable`) and Violation; any
other error is a bug. Unavailable from an interrupted COMMIT or a lost connection means that the outcome is unknown, so
every write must be harmless when it is repeated.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from tools.errors import Unavailable

log = logging.getLogger("picasso.database")
CALL_SECONDS = 15.0
"""The deadline of one statement."""


def database_busy() -> Unavailable:
    """The error for a caller that got no connection in time."""
    return Unavailable("the database is busy", code="database_busy", retry_after=1.0)


def database_full() -> Unavailable:
    """The error for a write that found no room on the disk."""
    return Unavailable("the database has no room left", code="database_full")


def database_unavailable() -> Unavailable:
    """The error for a statement without an answer."""
    return Unavailable("the database did not answer", code="database_unavailable")


def database_damaged(error: Exception) -> Unavailable:
    """The error for a statement that met a damaged table or index; others may go on. Effect: a log line with what the
    database said."""
    log.error("the database is damaged, restore it from a backup: %s", error)
    return Unavailable("the database cannot read a part of its data", code="database_damaged")


def refuse_after_failure(failed: bool) -> None:
    """Fails: RuntimeError when a statement of the transaction has failed before."""
    # PostgreSQL would answer the COMMIT of a failed transaction with a silent ROLLBACK.
    if failed:
        raise RuntimeError("a statement of this transaction has failed: let its error leave the block")


class TransactionOwners:
    """The tasks that are inside a transaction. A statement of such a task outside it would wait for the task itself."""

    def __init__(self) -> None:
        self._owners: set[asyncio.Task[Any] | None] = set()

    def refuse_nested(self) -> None:
        """Fails: RuntimeError when the current task is inside a transaction."""
        if asyncio.current_task() in self._owners:
            raise RuntimeError("env.DB was used inside a transaction of the same task: use the transaction itself")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The current task counts as inside a transaction while the block runs."""
        owner = asyncio.current_task()
        self._owners.add(owner)
        try:
            yield
        finally:
            self._owners.discard(owner)
