"""Leases: the right to work on one row, held by one worker at a time.

A claim raises the row's fencing token (`fence`) and lasts JOB_LEASE_SECONDS unless it is renewed. Every write locks the
row under the token of its claim first (`changes.change`), so a worker that lost its lease writes nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from tools.env import Env, Statements
from tools.errors import LeaseLost, PicassoError, Unavailable
from tools.rows import IdRow, now_ms
from tools.step import step

Row = TypeVar("Row", bound=msgspec.Struct)

MAX_DEATHS = 5
"""Claims in a row that died without bringing the work further, after which it is ended: it ends its workers."""


class Lease(msgspec.Struct, frozen=True):
    """One worker's claim on a job, workflow or render. It ends when a later claim raises the fence."""

    id: str
    fence: int


@dataclass(frozen=True, kw_only=True)
class LeasedTable(Generic[Row]):
    """How the rows of one table are leased. The statements' parameters are the fields of the table's lease and, in
    UTC milliseconds, `:now` and `:until`."""

    row: type[Row]
    claim: str
    """Raises the fence of a row that is not leased, sets `lease_until`, and returns the row."""
    renew: str
    """Sets `lease_until` under the fence."""
    lock: str
    """Locks the row under the fence until the transaction ends, and returns it."""
    lost: str
    """What a worker that lost its lease reads."""


@dataclass(frozen=True, kw_only=True)
class WorkTable(LeasedTable[Row]):
    """A table of work that any worker may claim, and whose rows end."""

    unclaimed: str
    """The ids of the rows that have not ended and are not leased: the oldest first, after those that saw no death."""
    expire_all: str
    """Ends every lease as if its worker had died: `lease_until` is 1, where a release sets 0."""
    died: tuple[str, ...]
    """Counts the death of the row's last claim, and sets `lease_until` to 0. The first of the statements changes
    nothing when the claim lasts or was released; the others follow if it did change something."""
    session: Callable[[Row], str | None]
    """The session that reads the events of a row, if any."""


@step("leases.claim")
async def claim(env: Env, table: LeasedTable[Row], **key: str) -> Row | None:
    """Take the row for JOB_LEASE_SECONDS; None while another worker has it, or when it has ended."""
    if isinstance(table, WorkTable):
        await note_death(env, table, key["id"])
    return await env.DB.one(table.claim, table.row, **key, now=now_ms(), until=_lease_end(env))


async def claim_oldest(env: Env, table: WorkTable[Row]) -> Row | None:
    """Take the first of the `unclaimed` rows; None when there is none."""
    for id in await unclaimed(env, table):
        if row := await claim(env, table, id=id):
            return row
    return None


@step("leases.note_death")
async def note_death(env: Env, table: WorkTable[Any], id: str) -> None:
    """Count the death of the row's last claim, if it died, once."""
    first, *others = table.died
    async with env.DB.transaction() as tx:
        if await tx.run(first, id=id, now=now_ms()):
            for statement in others:
                await tx.run(statement, id=id)


@step("leases.release")
async def release(env: Env, table: LeasedTable[Any], lease: msgspec.Struct, *, died: bool = False) -> None:
    """End the lease so that any worker may claim the row at once; nothing happens when it was lost.

    With `died` the claim counts as one that died.
    """
    await env.DB.run(table.renew, **msgspec.structs.asdict(lease), until=int(died))


async def renew(env: Env, table: LeasedTable[Any], lease: msgspec.Struct) -> bool:
    """Keep the row for another JOB_LEASE_SECONDS; False when the lease was lost."""
    return bool(await env.DB.run(table.renew, **msgspec.structs.asdict(lease), until=_lease_end(env)))


async def lock(tx: Statements, table: LeasedTable[Row], lease: msgspec.Struct) -> Row:
    """The row, which nobody else can claim or change until `tx` ends.

    Fails: LeaseLost when a later claim has it.
    """
    row = await tx.one(table.lock, table.row, **msgspec.structs.asdict(lease))
    if row is None:
        raise LeaseLost(table.lost)
    return row


@contextlib.asynccontextmanager
async def keep(env: Env, table: LeasedTable[Any], lease: msgspec.Struct) -> AsyncIterator[None]:
    """Renew the lease while the block runs, and release it at the end; a block that fails counts as a death, unless it
    was cancelled or what it needs was Unavailable.

    Fails: LeaseLost, which cancels the block, when the lease was lost.
    """
    failure: BaseException | None = None

    async def renew_until_lost() -> None:
        is_held = True
        while is_held:
            await asyncio.sleep(env.settings.job_lease_seconds / 3)
            # A database that does not answer now may do so before the lease ends.
            with contextlib.suppress(PicassoError):
                is_held = await renew(env, table, lease)
        raise LeaseLost(table.lost)

    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(renew_until_lost())
            yield
            renewing.cancel()
    except BaseExceptionGroup as failed:
        failure = failed.exceptions[0]
        raise failure from failure.__cause__
    finally:
        died = isinstance(failure, Exception) and not isinstance(failure, Unavailable)
        with contextlib.suppress(PicassoError):
            await release(env, table, lease, died=died)


async def unclaimed(env: Env, table: WorkTable[Any]) -> list[str]:
    """The ids of the rows that have not ended and that no worker has: the oldest first, after those that saw no
    death."""
    return [row.id for row in await env.DB.all(table.unclaimed, IdRow, now=now_ms())]


async def expire_all(env: Env, table: WorkTable[Any]) -> None:
    """End every lease as that of a worker that died: right only where no other process can hold one (SQLite)."""
    await env.DB.run(table.expire_all)


def _lease_end(env: Env) -> int:
    return now_ms() + int(env.settings.job_lease_seconds * 1000)
