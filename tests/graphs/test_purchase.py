"""Decisions about paid calls, told as tables of ledger rows."""

from pathlib import Path

import pytest

from graphs.purchase import MAX_CALLS, MAX_CRASHES, Bought, Call, GiveUp, Move, Recover, next_move, teller, wait_before
from tests.works import working
from tools import ledger
from tools.errors import PicassoError
from tools.rows import Attempt, AttemptState


def attempt(number: int, state: AttemptState, failure: str | None = None, code: str | None = None) -> Attempt:
    return Attempt(
        id=f"a{number}",
        job_id="j",
        item_id="i",
        number=number,
        provider="toy",
        model="toy-1",
        state=state,
        free=0,
        billed=0,
        failure=failure,
        provider_code=code,
        provider_status=None,
        request_id=None,
        usage=None,
        result=None,
        bytes_sha256=None,
        cost_micros=None,
        price_version=None,
        created_at=1,
        sent_at=None,
        settled_at=None,
    )


OUTAGES = [attempt(n, "failed", "outage") for n in range(1, MAX_CALLS + 1)]
CRASHES = [attempt(n, "abandoned") for n in range(1, MAX_CRASHES + 2)]


@pytest.mark.parametrize(
    ("rows", "move"),
    [
        pytest.param([], Call(1), id="nothing was tried: call"),
        pytest.param([attempt(1, "intent")], Call(1, attempt(1, "intent")), id="an intent a crash left: send it"),
        pytest.param(
            [attempt(1, "sent")], Recover(attempt(1, "sent")), id="in flight at a crash: never call again here"
        ),
        pytest.param([attempt(1, "succeeded")], Bought(attempt(1, "succeeded")), id="bought: keep"),
        pytest.param(OUTAGES[:1], Call(2), id="an outage: call again"),
        pytest.param([attempt(1, "failed", "rate")], Call(2), id="a rate limit: call again"),
        pytest.param(
            OUTAGES, GiveUp("failed", "provider_outage", "the provider did not answer"), id="four outages: give up"
        ),
        pytest.param(
            [attempt(1, "failed", "quota")],
            GiveUp("failed", "provider_quota", "the provider's quota is used up"),
            id="a spent quota: give up",
        ),
        pytest.param(
            [attempt(1, "failed", "invalid", "image_rejected")],
            GiveUp("failed", "image_rejected", "the provider's answer held no usable image"),
            id="garbage: give up",
        ),
        pytest.param(
            [attempt(1, "refused")],
            GiveUp("refused", "refused", "the provider refused this request"),
            id="a no is a no",
        ),
        pytest.param(
            [attempt(1, "uncertain")],
            GiveUp("uncertain", "uncertain", "the call was sent but its outcome is not known"),
            id="unknown: a person decides",
        ),
        pytest.param([attempt(1, "abandoned"), *OUTAGES[:1]], Call(2), id="crashes do not count as calls"),
        pytest.param(CRASHES[:2], Call(3), id="a free call lost in a crash: make it again"),
        pytest.param(
            CRASHES,
            GiveUp("failed", "crash_loop", "the worker died each time this image was being made"),
            id="a picture that kills its worker every time: give up",
        ),
    ],
)
def test_the_ledger_alone_decides_the_next_move(rows: list[Attempt], move: Move) -> None:
    """The same rows always lead to the same move, whoever reads them."""
    assert next_move(rows) == move


async def test_progress_that_cannot_be_told_does_not_break_the_call(tmp_path: Path) -> None:
    """An error of the ledger must not pass through a vendor's call, where it would look like the vendor's own."""
    async with working(tmp_path) as work:
        await ledger.release(work.env, work.run)
        await ledger.claim(work.env, work.job.id)
        with pytest.raises(PicassoError):
            await ledger.advance(work.env, work.run, work.items[0].id, "generate", 0.5)
        await teller(work.env, work.run, work.items[0])(0.5)


async def test_an_intent_that_was_committed_is_not_an_error(tmp_path: Path) -> None:
    """A commit whose answer was lost is repeated: the same row stands, once."""
    async with working(tmp_path) as work:
        first = await ledger.intend(work.env, work.run, work.items[0], 1, free=False)
        assert await ledger.intend(work.env, work.run, work.items[0], 1, free=False) == first


def test_waits_follow_the_vendor_and_never_pass_the_cap() -> None:
    """A vendor's Retry-After is never undercut; without one the wait doubles; 120 s is the longest."""
    assert 7.0 <= wait_before(2, 7.0) <= 8.4
    assert 1.0 <= wait_before(2, None) <= 1.2
    assert 4.0 <= wait_before(4, None) <= 4.8
    assert wait_before(2, 10_000.0) == 120.0
