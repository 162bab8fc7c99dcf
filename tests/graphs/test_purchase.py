"""Decisions about paid calls, as tables of ledger rows."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters import discovery
from app.bindings.ai.registry import open_ai
from graphs.image_job.purchase import (
    ADAPTER_FAILED,
    CIRCUIT_OPEN,
    MAX_CALLS,
    Bought,
    Call,
    GiveUp,
    Move,
    Recover,
    buy,
    next_move,
    progress_reporter,
    settlement_after,
    wait_before,
)
from tests.support.api_calls import GUEST_PACKAGES as GUESTS
from tests.support.environment import settings
from tests.support.internet import Answer, Wire
from tests.support.samples.job_states import TOY, working
from tools.env import Env
from tools.errors import Failure, PicassoError, VendorFailed
from tools.ledger import attempts, jobs, leases, progress
from tools.rows import Attempt, AttemptState, ProviderModel

TOY_1 = ProviderModel("toy", "toy-1")


def attempt(
    number: int,
    state: AttemptState,
    failure: str | None = None,
    code: str | None = None,
    painter: ProviderModel = TOY_1,
    retry_at: int | None = None,
    status: int | None = None,
) -> Attempt:
    return Attempt(
        id=f"a{number}",
        job_id="j",
        item_id="i",
        number=number,
        provider=painter.provider,
        model=painter.model,
        state=state,
        free=0,
        billed=0,
        failure=failure,
        provider_code=code,
        provider_status=status,
        request_id=None,
        usage=None,
        result=None,
        bytes_sha256=None,
        cost_micros=None,
        price_version=None,
        created_at=1,
        sent_at=None,
        settled_at=1_000,
        project_id="p",
        quote_micros=0,
        cost_basis=None,
        retry_at=retry_at,
    )


OUTAGES = [attempt(n, "failed", "outage") for n in range(1, MAX_CALLS + 1)]
OUT = GiveUp("failed", "provider_outage", "the provider did not answer")


@pytest.mark.parametrize(
    ("rows", "move"),
    [
        pytest.param([], Call(1, TOY_1), id="nothing was tried: call"),
        pytest.param(
            [attempt(1, "intent")], Call(1, TOY_1, attempt(1, "intent")), id="an intent a crash left: send it"
        ),
        pytest.param(
            [attempt(1, "sent")], Recover(attempt(1, "sent")), id="in flight at a crash: never call again here"
        ),
        pytest.param([attempt(1, "succeeded")], Bought(attempt(1, "succeeded")), id="bought: keep"),
        pytest.param(OUTAGES[:1], Call(2, TOY_1, tries=1), id="an outage: call again"),
        pytest.param(
            [attempt(1, "failed", "rate", retry_at=6_000)],
            Call(2, TOY_1, tries=1, not_before=6_000),
            id="a rate limit: call again when the vendor said",
        ),
        pytest.param(
            [attempt(1, "failed", "rate", retry_at=200_000)],
            GiveUp("failed", "provider_rate", "the provider's rate limit was reached"),
            id="a vendor that wants more than two minutes: give up",
        ),
        pytest.param([attempt(1, "failed", "outage", CIRCUIT_OPEN)], OUT, id="an open circuit: give up at once"),
        pytest.param(OUTAGES, OUT, id="four outages: give up"),
        pytest.param(
            [attempt(1, "failed", "quota")],
            GiveUp("failed", "provider_quota", "the provider's quota is used up"),
            id="a spent quota: give up",
        ),
        pytest.param(
            [attempt(1, "failed", "invalid", "image_rejected")],
            GiveUp(
                "failed",
                "image_rejected",
                "the provider's answer held no usable image; what it sent is kept: GET /api/jobs/j/items/i/original",
            ),
            id="garbage: give up, and say where it is",
        ),
        *(
            pytest.param(
                [attempt(1, "failed", "invalid", status=status)],
                GiveUp("failed", "provider_invalid", said, status),
                id=f"turned away with {status}: it says why",
            )
            for status, said in (
                (307, "the provider did not accept the request"),
                (400, "the provider did not accept the request"),
                (401, "the provider does not accept our key, or does not let it use this model"),
                (200, "the provider's answer held no usable image"),
            )
        ),
        pytest.param(
            [attempt(1, "failed", "invalid", ADAPTER_FAILED)],
            GiveUp("failed", "adapter_failed", "the adapter failed"),
            id="the fault of a free adapter: give up, and blame no vendor",
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
        pytest.param(
            [attempt(1, "abandoned"), attempt(2, "failed", "outage")],
            Call(3, TOY_1, tries=1),
            id="crashes do not count as calls",
        ),
        pytest.param(
            [attempt(1, "abandoned"), attempt(2, "abandoned")],
            Call(3, TOY_1),
            id="a free call lost in a crash: make it again",
        ),
    ],
)
def test_the_ledger_alone_decides_the_next_move(rows: list[Attempt], move: Move) -> None:
    """The same rows always lead to the same move, whichever process reads them."""
    assert next_move(rows, [TOY_1]) == move


SPARE, LAST = ProviderModel("gemini", "g-1"), ProviderModel("workers", "w-1")


@pytest.mark.parametrize(
    ("rows", "move"),
    [
        pytest.param(OUTAGES[:2], Call(3, TOY_1, tries=2), id="the one asked is asked again first"),
        pytest.param(OUTAGES, Call(5, SPARE, because="outage"), id="four outages: the next one"),
        pytest.param([attempt(1, "failed", "quota")], Call(2, SPARE, because="quota"), id="a spent quota: at once"),
        pytest.param(
            [attempt(1, "failed", "outage", CIRCUIT_OPEN)],
            Call(2, SPARE, because="outage"),
            id="an open circuit: at once",
        ),
        pytest.param(
            [attempt(1, "failed", "rate", retry_at=200_000)], Call(2, SPARE, because="rate"), id="too long a pause"
        ),
        pytest.param(
            [*OUTAGES, attempt(5, "failed", "outage", painter=SPARE)],
            Call(6, SPARE, tries=1),
            id="the next one has its own four calls",
        ),
        pytest.param(
            [*OUTAGES, attempt(5, "failed", "quota", painter=SPARE)],
            Call(6, LAST, because="quota"),
            id="and then the one after it",
        ),
        pytest.param(
            [*OUTAGES, attempt(5, "failed", "quota", painter=SPARE), attempt(6, "failed", "quota", painter=LAST)],
            GiveUp("failed", "provider_quota", "the provider's quota is used up"),
            id="nobody is asked twice: give up",
        ),
        pytest.param(
            [attempt(1, "refused")],
            GiveUp("refused", "refused", "the provider refused this request"),
            id="a no is not carried elsewhere",
        ),
        *(
            pytest.param(
                [attempt(1, "failed", cause)], GiveUp("failed", f"provider_{cause}", said), id=f"{cause}: it was paid"
            )
            for cause, said in (
                ("invalid", "the provider's answer held no usable image"),
                ("empty", "the provider answered without an image"),
            )
        ),
        pytest.param(
            [attempt(1, "uncertain")],
            GiveUp("uncertain", "uncertain", "the call was sent but its outcome is not known"),
            id="what may have been bought is not bought elsewhere",
        ),
    ],
)
def test_another_steps_in_only_where_nothing_was_bought(rows: list[Attempt], move: Move) -> None:
    """Fallback is by cause: an outage, a rate limit, a spent quota; never after a refusal or a bill."""
    assert next_move(rows, [TOY_1, SPARE, LAST]) == move


@pytest.mark.parametrize(("status", "billed"), [(None, True), (200, True), (204, True), (307, False), (400, False)])
def test_only_an_answer_with_success_is_billed(status: int | None, billed: bool) -> None:
    """What the vendor made is charged even if we cannot use it; what it refused or redirected is not."""
    failures: tuple[Failure, ...] = ("invalid", "empty")
    for failure in failures:
        settled = settlement_after(VendorFailed("no image", failure=failure, provider_status=status))
        assert (settled.outcome, settled.billed) == ("failed", billed)


async def test_an_answer_without_an_image_costs_what_it_says(tmp_path: Path) -> None:
    """It is billed by its own count, which has no image in it, and not as the highest quote."""
    nano = ProviderModel("gemini", "gemini-nano-banana-2.1")
    async with Wire() as wire, working(tmp_path, model=nano) as work:
        chosen = settings(tmp_path, GEMINI_API_KEY="k-gemini", GOOGLE_GEMINI_BASE_URL=f"{wire.url}/gemini")
        wire.scripts["gemini"].append(Answer("empty", text="words"))
        async with open_ai(chosen) as ai:
            work.env = dataclasses.replace(work.env, AI=ai, settings=chosen)
            assert await buy(work.env, work.lease, work.job, work.items[0].id) is None
        item, [row] = await work.item(0), await attempts.of_item(work.env, work.items[0].id)
    assert item.error is not None and (item.status, item.error.code) == ("failed", "provider_empty")
    assert (row.state, row.failure, row.billed, row.cost_basis) == ("failed", "empty", 1, "usage")
    assert row.cost_micros == round(wire.calls[0].bill * 1e6) and 0 < row.cost_micros < row.quote_micros / 5


@pytest.mark.parametrize(
    ("painter", "code", "status", "said"),
    [
        (ProviderModel("openai", "gpt-image-1.5"), "model_not_found", 404, "use gpt-image-2.6-sunburst"),
        (ProviderModel("openai", "gpt-image-2"), "organization_not_verified", 403, "only verified organisations"),
        (ProviderModel("workers", "@cf/x"), "5016", 403, "licence of @cf/x"),
    ],
)
def test_a_no_that_a_person_can_mend_says_how(painter: ProviderModel, code: str, status: int, said: str) -> None:
    """The item's error names what to do, where the vendor's signals say it."""
    move = next_move([attempt(1, "failed", "invalid", code, painter, status=status)], [painter])
    assert isinstance(move, GiveUp) and said in move.message and move.provider_status == status


def reaching_toy(env: Env, wire: Wire) -> Env:
    """The same with what the toy vendor needs."""
    keys = {"TOY_URL": f"{wire.url}/toy", "TOY_KEY": "k"}
    return dataclasses.replace(env, AI=cast(Any, SimpleNamespace(keys=keys)))


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugin packages of `tests/support/guests`, as if they were installed here."""
    monkeypatch.syspath_prepend(str(GUESTS))
    discovery.adapters_found.cache_clear()
    yield
    discovery.adapters_found.cache_clear()


@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("kill the image child", "image_child"),
        ("be late", "prepare_deadline"),
        ("break", "adapter_failed"),
        ("be unfit", "unfit"),
    ],
)
async def test_what_goes_wrong_in_preparing_costs_nothing_and_is_not_the_vendors_fault(
    tmp_path: Path, prompt: str, code: str
) -> None:
    """The item fails with a reason; the vendor is not called, no slot is taken and its circuit counts no failure."""
    async with Wire() as wire, working(tmp_path, prompt=prompt) as work:
        work.env = reaching_toy(work.env, wire)
        assert await buy(work.env, work.lease, work.job, work.items[0].id) is None
        item, [row] = await work.item(0), await attempts.of_item(work.env, work.items[0].id)
    assert item.error is not None
    assert (item.status, item.error.code) == ("failed", code)
    assert (row.state, row.sent_at, row.billed, row.cost_micros) == ("abandoned", None, 0, 0)
    assert (wire.calls, work.nobody.acquired, work.nobody.reported) == ([], [], [])


@pytest.mark.usefixtures("guests")
async def test_an_intent_that_a_crash_left_is_prepared_and_sent_once(
    tmp_path: Path,
) -> None:
    """A worker that died after the intent, prepared or not, had bought nothing: the next one buys, once."""
    async with Wire() as wire, working(tmp_path) as work:
        work.env = reaching_toy(work.env, wire)
        left = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        bought = await buy(work.env, work.lease, work.job, work.items[0].id)
    assert bought is not None and (bought.id, bought.state, bought.billed) == (left.id, "succeeded", 1)
    assert len(wire.calls) == 1
    assert work.nobody.acquired == ["toy toy-1:generate"] and work.nobody.reported == ["answered"]


async def test_progress_that_cannot_be_told_does_not_break_the_call(tmp_path: Path) -> None:
    """An error of the ledger must not pass through a vendor's call, where it would look like the vendor's own."""
    async with working(tmp_path) as work:
        await leases.release(work.env, jobs.TABLE, work.lease)
        await leases.claim(work.env, jobs.TABLE, id=work.job.id)
        with pytest.raises(PicassoError):
            await progress.advance(work.env, work.lease, work.items[0].id, "generate", 0.5)
        await progress_reporter(work.env, work.lease, work.items[0], attempt(1, "sent"))(0.5)


async def test_an_intent_that_was_committed_is_not_an_error(tmp_path: Path) -> None:
    """A commit whose answer was lost is repeated: the same row stands, once."""
    async with working(tmp_path) as work:
        first = await attempts.intend(work.env, work.lease, work.items[0], 1, TOY)
        assert await attempts.intend(work.env, work.lease, work.items[0], 1, TOY) == first


def test_waits_follow_the_vendor_and_never_pass_the_cap() -> None:
    """A vendor's Retry-After is never undercut, and no two waits are alike; without one the wait doubles."""
    waits = [wait_before(1, 7.0) for _ in range(200)]
    assert min(waits) >= 7.0 and max(waits) <= 7.0 * 1.3 and max(waits) / min(waits) >= 1.2
    assert 1.0 <= wait_before(1, None) <= 1.3
    assert 4.0 <= wait_before(3, None) <= 5.2
    assert max(wait_before(1, 119.0) for _ in range(200)) <= 120.0 * 1.3
