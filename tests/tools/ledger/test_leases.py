"""Leases that are renewed, lost and released around a block of work, on real databases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.environment import bare_env, settings
from tests.support.samples.job_states import IdleServices
from tools.env import Env
from tools.errors import LeaseLost, PicassoError
from tools.ledger import leases, workflows
from tools.ledger.leases import Lease
from tools.ledger.workflows import TABLE, WorkflowRow
from tools.rows import now_ms

DEADLINE = 120.0


@contextlib.asynccontextmanager
async def claimed(home: Path, database_url: str, lease_seconds: str) -> AsyncIterator[tuple[Env, WorkflowRow]]:
    """A workflow that this test has a lease on."""
    chosen = settings(home, JOB_LEASE_SECONDS=lease_seconds, **({"DB": database_url} if database_url else {}))
    async with bare_env(home, database_url, settings=chosen, PICASSO_WORKFLOW=IdleServices()) as env:
        submitted, _ = await workflows.submit(env, "ada", "a red boat", None)
        row = await leases.claim(env, TABLE, id=submitted.id)
        assert row is not None
        yield env, row


async def test_a_lease_is_renewed_while_the_work_lasts_and_released_after(tmp_path: Path, database_url: str) -> None:
    """`lease_until` moves on while the block runs; at its end anyone may claim the row."""
    async with claimed(tmp_path, database_url, "1") as (env, row), asyncio.timeout(DEADLINE):
        async with leases.keep(env, TABLE, Lease(row.id, row.fence)):
            while (await workflows.get(env, row.id)).lease_until <= row.lease_until:
                await asyncio.sleep(0.02)
            assert await leases.unclaimed(env, TABLE) == []
        assert await leases.unclaimed(env, TABLE) == [row.id]


async def test_work_under_a_lost_lease_is_cancelled(tmp_path: Path, database_url: str) -> None:
    """Once another worker has the row the block is cancelled, with LeaseLost, and that worker's lease stays."""
    async with claimed(tmp_path, database_url, "1") as (env, row), asyncio.timeout(DEADLINE):
        lease = Lease(row.id, row.fence)
        with pytest.raises(LeaseLost):
            async with leases.keep(env, TABLE, lease):
                await leases.release(env, TABLE, lease)
                assert await leases.claim(env, TABLE, id=row.id) is not None
                await asyncio.Event().wait()
        after = await workflows.get(env, row.id)
        assert (after.fence, after.lease_until > 0) == (row.fence + 1, True)


async def test_the_error_of_the_work_comes_out_as_it_was(tmp_path: Path) -> None:
    """Neither wrapped in a group nor without its cause, and the lease is released all the same."""
    async with claimed(tmp_path, "", "60") as (env, row):
        with pytest.raises(PicassoError, match="what happened") as raised:
            async with leases.keep(env, TABLE, Lease(row.id, row.fence)):
                raise PicassoError("what happened") from ValueError("why")
        assert isinstance(raised.value.__cause__, ValueError)
        assert await leases.unclaimed(env, TABLE) == [row.id]


async def test_the_oldest_row_is_claimed_first_and_leases_of_the_dead_can_be_ended(tmp_path: Path) -> None:
    """Of several rows the one that waits longest; `expire_all` makes leased rows claimable again."""
    async with claimed(tmp_path, "", "60") as (env, row):
        async with asyncio.timeout(DEADLINE):
            while now_ms() == row.created_at:
                await asyncio.sleep(0)
        second, _ = await workflows.submit(env, "ada", "a blue boat", None)
        found = await leases.claim_oldest(env, TABLE)
        assert found is not None and found.id == second.id
        assert await leases.claim_oldest(env, TABLE) is None
        await leases.expire_all(env, TABLE)
        again = await leases.claim_oldest(env, TABLE)
        assert again is not None and (again.id, again.fence) == (row.id, row.fence + 1)
