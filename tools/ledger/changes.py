"""One change of a leased row: the row is locked under the lease, and its events are stored in the same transaction."""

import contextlib
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import msgspec

from tools.actor_emit import append
from tools.env import Env, Statements
from tools.events import Event
from tools.ledger import leases
from tools.ledger.leases import Lease, WorkTable

Row = TypeVar("Row", bound=msgspec.Struct)


class Change(Generic[Row]):
    """An open transaction: `row` as it was locked, and the events to store at the end."""

    def __init__(self, tx: Statements, row: Row) -> None:
        self.tx, self.row = tx, row
        self.events: list[Event] = []

    def emit(self, *events: Event) -> None:
        """Store these events at the end of the transaction, for the readers of the row's session if it has one."""
        self.events.extend(events)


@contextlib.asynccontextmanager
async def open_change(env: Env, table: WorkTable[Row], lease: Lease) -> AsyncIterator[Change[Row]]:
    """Change a row and whatever belongs to it in one transaction; changes of one row happen one after the other.

    Effect: the block's statements and events together, then the session's readers are woken.
    Fails: LeaseLost when a later claim has the row.
    """
    async with env.DB.transaction() as tx:
        opened = Change(tx, await leases.lock(tx, table, lease))
        yield opened
        session_id = table.session(opened.row) if opened.events else None
        if session_id is not None:
            # Last, because sequence numbers are given out one transaction at a time.
            await append(tx, session_id, opened.events)
    if session_id is not None:
        await env.PICASSO_DO.wake(session_id)
