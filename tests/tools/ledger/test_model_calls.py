"""The ledger of calls to models: each row is written once, under the caller's lease."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.support.environment import bare_env
from tests.support.samples.job_states import working
from tools.env import Env
from tools.errors import LeaseLost
from tools.ledger import jobs, leases, model_calls
from tools.ledger.model_calls import CallKey, ModelCall, Settlement
from tools.models.prices import Quote

KEY = CallKey(purpose="workflow", subject="w-1")
QUOTE = Quote(10, 40, "openai/gpt-test@2026-01-01", "estimate")
DONE = Settlement(state="succeeded", billed=True, cost_micros=25, cost_basis="usage", result={"text": "hello"})


async def begun(env: Env, key: CallKey = KEY, number: int = 1) -> ModelCall | None:
    return await model_calls.begin(env, key, number, "openai:gpt-test", QUOTE)


async def test_of_many_who_begin_one_makes_the_call(database_url: str, tmp_path: Path) -> None:
    """The row is there before anything is sent, with its quote, and only one inserts it; on both databases."""
    async with bare_env(tmp_path, database_url) as env:
        begun_by = await asyncio.gather(*(begun(env) for _ in range(8)))
        assert sum(call is not None for call in begun_by) == 1
        (call,) = await model_calls.made(env, KEY)
        assert (call.state, call.quote_micros, call.price_version) == ("sent", 40, QUOTE.version)
        assert (call.provider, call.model, call.cost_micros) == ("openai", "gpt-test", None)


async def test_a_settled_call_tells_what_came_back(database_url: str, tmp_path: Path) -> None:
    """Outcome, cost and answer are in the row, and nothing settles it again."""
    async with bare_env(tmp_path, database_url) as env:
        call = await begun(env)
        assert call is not None
        await model_calls.settle(env, call, DONE)
        await model_calls.settle(env, call, msgspec.structs.replace(DONE, cost_micros=99))
        await model_calls.settle_lost(env, call)
        (after,) = await model_calls.made(env, KEY)
        assert (after.state, after.billed, after.cost_micros, after.result) == ("succeeded", 1, 25, {"text": "hello"})
        assert after.settled_at is not None


async def test_a_lost_call_is_billed_at_its_quote_until_its_maker_knows_better(tmp_path: Path) -> None:
    """A call with unknown outcome counts at the most it can cost, until a slow worker reports the outcome after all."""
    async with bare_env(tmp_path) as env:
        call = await begun(env)
        assert call is not None
        await model_calls.settle_lost(env, call)
        (lost,) = await model_calls.made(env, KEY)
        assert (lost.state, lost.billed, lost.cost_micros, lost.cost_basis) == ("uncertain", 1, 40, "estimate")
        await model_calls.settle(env, call, DONE)
        (told,) = await model_calls.made(env, KEY)
        assert (told.state, told.cost_micros) == ("succeeded", 25)


async def test_only_old_calls_are_given_up_by_the_sweep(tmp_path: Path) -> None:
    """A call that may still be under way is left alone."""
    async with bare_env(tmp_path) as env:
        await begun(env)
        await begun(env, msgspec.structs.replace(KEY, subject="w-2"))
        assert await model_calls.settle_stale(env) == 0
        await env.DB.run("UPDATE model_calls SET created_at = 1 WHERE subject = 'w-2'")
        assert await model_calls.settle_stale(env) == 1
        assert [c.state for c in await model_calls.made(env, KEY)] == ["sent"]


async def test_a_worker_that_lost_the_job_makes_no_call(tmp_path: Path) -> None:
    """The row is inserted under the fence of the claim or not at all."""
    async with working(tmp_path) as work:
        held = CallKey(purpose="judge", subject="i", project_id="p", job_id=work.job.id, fence=work.lease.fence)
        assert await begun(work.env, held) is not None
        await leases.release(work.env, jobs.TABLE, work.lease)
        await leases.claim(work.env, jobs.TABLE, id=work.job.id)
        with pytest.raises(LeaseLost):
            await begun(work.env, held, number=2)
        assert len(await model_calls.made(work.env, held)) == 1
