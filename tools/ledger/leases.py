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
from tools.errors import LeaseLost, PicassoError
from tools.rows import IdRow, now_ms
from tools.step import step

Row = TypeVar("Row", bound=msgspec.Struct)


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
    """The ids of the rows that have not ended and are not leased, oldest first."""
    release_all: str
    session: Callable[[Row], str | None]
    """The session that reads the events of a row, if any."""


@step("leases.claim")
async def claim(env: Env, table: LeasedTable[Row], **key: str) -> Row | None:
    """Take the row for JOB_LEASE_SECONDS; None while another worker has it, or when it has ended."""
    return await env.DB.one(table.claim, table.row, **key, now=now_ms(), until=_lease_end(env))


async def claim_oldest(env: Env, table: WorkTable[Row]) -> Row | None:
    """Take the oldest row that can be claimed; None when there is none."""
    for id in await unclaimed(env, table):
        if row := await claim(env, table, id=id):
            return row
    return None


@step("leases.release")
async def release(env: Env, table: LeasedTable[Any], lease: msgspec.Struct) -> None:
    """End the lease so that any worker may claim the row at once; nothing happens when it was lost."""
    await env.DB.run(table.renew, **msgspec.structs.asdict(lease), until=0)


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
    """Renew the lease while the block runs, and release it at the end.

    Fails: LeaseLost, which cancels the block, when the lease was lost.
    """

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
        first = failed.exceptions[0]
        raise first from first.__cause__
    finally:
        with contextlib.suppress(PicassoError):
            await release(env, table, lease)


async def unclaimed(env: Env, table: WorkTable[Any]) -> list[str]:
    """The ids of the rows that have not ended and that no worker has, oldest first."""
    return [row.id for row in await env.DB.all(table.unclaimed, IdRow, now=now_ms())]


async def release_all(env: Env, table: WorkTable[Any]) -> None:
    """End every lease: right only where no other process can hold one (SQLite)."""
    await env.DB.run(table.release_all)


def _lease_end(env: Env) -> int:
    return now_ms() + int(env.settings.job_lease_seconds * 1000)
