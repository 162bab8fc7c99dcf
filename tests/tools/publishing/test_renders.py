"""Renders as rows: claimed under a fence, with progress that never falls, published once."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graphs import render
from tests.support.deadlines import LONG
from tests.support.environment import bare_env, settings
from tests.support.samples.job_states import IdleServices
from tests.support.samples.page_site import Silent, add_project
from tools import actor_emit
from tools.db import get_project
from tools.env import Env
from tools.errors import Invalid, LeaseLost, NotFound, RateLimited, Unavailable
from tools.events import StoredEvent
from tools.ledger import leases
from tools.ledger.leases import Lease
from tools.publishing import artifacts, renders, shares
from tools.publishing.artifacts import File, Output
from tools.publishing.renders import RenderRow
from tools.rows import ArtifactRow, Project, now_ms


class Press:
    """A generator that reports the given progress, and counts its calls."""

    output = "pdf"

    def __init__(self, *parts: float, error: Exception | None = None) -> None:
        self.parts, self.error, self.made = parts, error, 0

    async def generate(self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: Any) -> Output:
        self.made += 1
        for part in self.parts:
            await renders.report_progress("render", part)
        if self.error is not None:
            raise self.error
        return Output(index=File("index.pdf", f"{artifact.title} {artifact.options}".encode(), "application/pdf"))


@contextlib.asynccontextmanager
async def pressing(home: Path, database_url: str = "") -> AsyncIterator[Env]:
    chosen = settings(home, JOB_LEASE_SECONDS="60", **({"DB": database_url} if database_url else {}))
    async with bare_env(
        home, database_url, settings=chosen, PICASSO_DO=Silent(), PICASSO_WORKFLOW=IdleServices()
    ) as env:
        await add_project(env, "p")
        yield env


def draft(title: str = "Autumn", **options: Any) -> ArtifactRow:
    return artifacts.draft(generator_id="stakeholder-pdf", title=title, owner_id="default", options=options)


async def submitted(env: Env, new: ArtifactRow | None = None, session: str | None = "s") -> RenderRow:
    return await renders.submit(env, new or draft(), ["p"], session)


async def claimed(env: Env) -> RenderRow:
    row = await leases.claim_oldest(env, renders.TABLE)
    assert row is not None
    return row


async def told(env: Env) -> list[dict[str, Any]]:
    """The data of the session's events in order, all of which are about an artifact."""
    events: list[StoredEvent] = await actor_emit.read(env.DB, "s", 0)
    assert {event.type for event in events} == {"artifact"}
    return [msgspec.json.decode(event.data) for event in events]


async def test_a_render_goes_from_row_to_page(tmp_path: Path, database_url: str) -> None:
    """A requested render is a draft and a queued row; once made, it is a version, a complete row, and events whose
    progress never falls and ends with the link."""
    async with pressing(tmp_path, database_url) as env:
        new = draft(only="passed")
        row = await submitted(env, new)
        assert (row.status, row.progress, row.title, row.options) == ("queued", 0, "Autumn", {"only": "passed"})
        assert (await artifacts.get(env, new.id)).version == 0
        assert env.PICASSO_WORKFLOW.enqueued == [row.id]  # type: ignore[attr-defined]
        await render.run(env, await claimed(env), Press(0.25, 0.2, 0.251, 1.0), None)
        page = await artifacts.get(env, new.id)
        assert (page.version, page.content_type) == (1, "application/pdf")
        assert await env.BUCKET.get(page.content_r2_key or "") == b"Autumn {'only': 'passed'}"
        done = await renders.get(env, row.id)
        assert (done.status, done.stage, done.progress, done.version) == ("complete", "publish", 1, 1)
        shown = await renders.latest(env, new.id)
        assert shown is not None and (shown.status, shown.version) == ("complete", 1)
        events = await told(env)
        assert [event["stage"] for event in events] == ["collect", "collect", "render", "render", "publish", "publish"]
        progress = [event["progress"] for event in events]
        assert progress == sorted(progress) and progress[-1] == 1.0
        assert events[-1]["url"].endswith(f"/public/artifact/{new.public_slug}")
        assert await leases.claim_oldest(env, renders.TABLE) is None


async def test_the_oldest_is_made_first_and_by_one_alone(tmp_path: Path, database_url: str) -> None:
    """A claimed render is not given to another worker; one that was released is the next again."""
    async with pressing(tmp_path, database_url) as env:
        first, second = await submitted(env), await submitted(env)
        one, two = await claimed(env), await claimed(env)
        assert {one.id, two.id} == {first.id, second.id} and one.created_at <= two.created_at
        assert (
            await leases.claim_oldest(env, renders.TABLE) is None and await leases.unclaimed(env, renders.TABLE) == []
        )
        await leases.release(env, renders.TABLE, Lease(one.id, one.fence))
        assert await leases.unclaimed(env, renders.TABLE) == [one.id]
        again = await claimed(env)
        assert (again.id, again.fence, again.idle_claims) == (one.id, 2, 0)


async def test_who_lost_the_lease_publishes_nothing(tmp_path: Path, database_url: str) -> None:
    """Two workers make the same version: the one with the old fence cannot report progress, fail or publish, even when
    it ends last; the version is there once."""
    async with pressing(tmp_path, database_url) as env:
        new = draft()
        await submitted(env, new)
        late = await claimed(env)
        await leases.release(env, renders.TABLE, Lease(late.id, late.fence))
        owner = await claimed(env)
        with pytest.raises(LeaseLost):
            await render.run(env, late, Press(0.5), None)
        await render.run(env, owner, Press(0.5), None)
        with pytest.raises(LeaseLost):
            await render.run(env, late, Press(), None)
        with pytest.raises(LeaseLost):
            await renders.fail(env, Lease(late.id, late.fence), NotFound("x"))
        assert not await leases.renew(env, renders.TABLE, Lease(late.id, late.fence))
        assert (await artifacts.get(env, new.id)).version == 1
        assert sum("url" in event for event in await told(env)) == 1


class Thief:
    """A bucket that gives the lease to another worker when its first file is written."""

    def __init__(self, env: Env, lease: Lease) -> None:
        self._env, self._lease = env, lease
        self.owner: RenderRow | None = None

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        if self.owner is None:
            await leases.release(self._env, renders.TABLE, self._lease)
            self.owner = await claimed(self._env)
        await self._env.BUCKET.put_once(key, data, content_type=content_type)


async def test_a_lease_lost_at_the_very_end_is_noticed(tmp_path: Path) -> None:
    """The fence is checked in the transaction that publishes: taken over while its files are being put, a worker
    publishes nothing, and the new owner publishes the same version."""
    async with pressing(tmp_path) as env:
        new = draft()
        await submitted(env, new)
        late = await claimed(env)
        thief = Thief(env, Lease(late.id, late.fence))
        with pytest.raises(LeaseLost):
            await render.run(dataclasses.replace(env, BUCKET=thief), late, Press(), None)  # type: ignore[arg-type]
        assert (await artifacts.get(env, new.id)).version == 0 and thief.owner is not None
        await render.run(env, thief.owner, Press(), None)
        assert (await artifacts.get(env, new.id)).content_r2_key == f"artifacts/{new.id}/v1/index.pdf"


async def test_what_a_crash_left_is_made_again_and_told_once(tmp_path: Path) -> None:
    """Files of a render that died before its row are reused; progress continues from where it was and is not reported
    again."""
    async with pressing(tmp_path) as env:
        new = draft()
        await submitted(env, new)
        dead = await claimed(env)
        with contextlib.suppress(Unavailable):
            await render.run(env, dead, Press(0.5, error=Unavailable("away")), None)
        before = await told(env)
        output = await Press().generate(env, new, [await get_project(env, "p")], None)
        await artifacts._place(env, new, output, ["p"])
        await leases.release(env, renders.TABLE, Lease(dead.id, dead.fence), died=True)
        again = await claimed(env)
        assert again.idle_claims == 1, "new progress resets the count"
        await render.run(env, again, Press(0.2, 0.5, 0.9), None)
        row = await artifacts.get(env, new.id)
        assert (row.version, row.content_r2_key) == (1, f"artifacts/{new.id}/v1/index.pdf")
        later = [event["progress"] for event in (await told(env))[len(before) :]]
        assert later == sorted(later) and later[0] > before[-1]["progress"]


async def test_claims_without_progress_count(tmp_path: Path) -> None:
    """A render that dies at the same place each time is seen for what it is."""
    async with pressing(tmp_path) as env:
        await submitted(env)
        for _ in range(3):
            row = await claimed(env)
            with pytest.raises(Unavailable):
                await render.run(env, row, Press(0.5, error=Unavailable("away")), None)
            await leases.release(env, renders.TABLE, Lease(row.id, row.fence), died=True)
        assert (await claimed(env)).idle_claims == 3


async def test_a_failure_is_told_and_shown(tmp_path: Path, database_url: str) -> None:
    """The generator's error ends the render with its message, in the row, in the answer and on the session."""
    async with pressing(tmp_path, database_url) as env:
        new = draft()
        await submitted(env, new)
        await render.run(env, await claimed(env), Press(0.5, error=Invalid("too many", code="render_too_large")), None)
        shown = await renders.latest(env, new.id)
        assert shown is not None and shown.status == "failed" and shown.error is not None
        assert (shown.error.code, shown.error.message) == ("render_too_large", "too many")
        assert (await told(env))[-1]["error"]["code"] == "render_too_large"
        assert (await artifacts.get(env, new.id)).version == 0 and await leases.claim_oldest(env, renders.TABLE) is None


async def test_what_nobody_foresaw_ends_a_render(tmp_path: Path) -> None:
    """A generator's own bug is reported at once, without its message, and does not delay the next render."""
    async with pressing(tmp_path) as env:
        new = draft()
        await submitted(env, new)
        await render.run(env, await claimed(env), Press(0.5, error=ValueError("/secret/path")), None)
        shown = await renders.latest(env, new.id)
        assert shown is not None and shown.error is not None
        assert (shown.status, shown.error.code) == ("failed", "internal_error")
        assert "secret" not in shown.error.message and await leases.claim_oldest(env, renders.TABLE) is None


async def test_a_crash_of_a_regeneration_is_made_again(tmp_path: Path, database_url: str) -> None:
    """The next version of a published artifact survives its worker as the first one does: made again, published
    once, the version before it untouched."""
    async with pressing(tmp_path, database_url) as env:
        first = await artifacts.publish(env, draft(), await Press().generate(env, draft("One"), [], None), ["p"])
        await submitted(env, msgspec.structs.replace(first, title="Two", options={"n": 2}))
        dead = await claimed(env)
        with contextlib.suppress(Unavailable):
            await render.run(env, dead, Press(0.5, error=Unavailable("away")), None)
        await leases.release(env, renders.TABLE, Lease(dead.id, dead.fence))
        assert (await artifacts.get(env, first.id)).title == "Autumn"
        await render.run(env, await claimed(env), Press(0.2, 0.9), None)
        row = await artifacts.get(env, first.id)
        assert (row.version, row.title, row.options) == (2, "Two", {"n": 2})
        assert await env.BUCKET.get(f"artifacts/{row.id}/v1/index.pdf") == b"One {}"
        progress = [event["progress"] for event in await told(env)]
        assert progress == sorted(progress) and sum("url" in event for event in await told(env)) == 1


async def test_a_page_taken_away_while_it_waits_stays_away(tmp_path: Path) -> None:
    """A regeneration restores a page that was unpublished before the request, and not one unpublished after it."""
    async with pressing(tmp_path) as env:
        first = await artifacts.publish(env, draft(), await Press().generate(env, draft(), [], None), ["p"])
        await submitted(env, first)
        gone = await artifacts.unpublish(env, first.id)
        await render.run(env, await claimed(env), Press(), None)
        late = await artifacts.get(env, first.id)
        assert (late.version, late.unpublished_at) == (2, gone.unpublished_at)
        async with asyncio.timeout(LONG):
            while now_ms() == gone.unpublished_at:
                await asyncio.sleep(0)
        await submitted(env, late)
        await render.run(env, await claimed(env), Press(), None)
        assert (await artifacts.get(env, first.id)).unpublished_at is None


async def test_a_draft_that_somebody_uses_stays(tmp_path: Path, database_url: str) -> None:
    """A caller who waits gets the reason, and the draft is deleted, unless it was used meanwhile."""
    async with pressing(tmp_path, database_url) as env:
        projects = [await get_project(env, "p")]
        for is_used in (False, True):
            new = draft()
            async with asyncio.TaskGroup() as tasks:
                making = tasks.create_task(refused(env, new, projects))
                while not await leases.unclaimed(env, renders.TABLE):
                    await asyncio.sleep(0.01)
                if is_used:
                    await shares.create(env, new.id, None, shares.Conditions())
                row = await claimed(env)
                await render.run(env, row, Press(error=Invalid("no", code="foreign_image")), None)
            assert making.result() == "foreign_image"
            found = await env.DB.all("SELECT * FROM artifacts WHERE id = :id", ArtifactRow, id=new.id)
            assert len(found) == int(is_used)


async def refused(env: Env, new: ArtifactRow, projects: Sequence[Project]) -> str:
    with pytest.raises(Invalid) as told:
        await renders.make(env, new, projects, Press(), None)
    return told.value.code


async def test_short_work_is_done_at_once_unless_asked_otherwise(tmp_path: Path) -> None:
    """A short output needs no row; without a wait everything is left to a worker; a caller who waits gets the
    outcome."""
    async with pressing(tmp_path) as env:
        quick, page = Press(), draft()
        quick.output = "html"
        projects = [await get_project(env, "p")]
        assert await renders.make(env, page, projects, quick, None) == await artifacts.get(env, page.id)
        assert (await artifacts.get(env, page.id)).version == 1 and await renders.latest(env, page.id) is None
        left = await renders.make(env, draft(), projects, quick, None, wait=None)
        assert isinstance(left, RenderRow) and left.status == "queued" and quick.made == 1
        slow = draft()
        still = await renders.make(env, slow, projects, Press(), None, wait=0.0)
        assert isinstance(still, RenderRow) and still.status == "queued"
        assert await leases.claim_oldest(env, renders.TABLE) is not None
        await render.run(env, await claimed(env), Press(error=Invalid("no", code="foreign_image")), None)
        shown = await renders.latest(env, slow.id)
        assert shown is not None and shown.error is not None


async def test_those_who_wait_are_bounded(tmp_path: Path) -> None:
    """Beyond so many open renders the next is refused, with a time to come back, and nothing of it is left open."""
    async with pressing(tmp_path) as env:
        first = await submitted(env, session=None)
        for number in range(renders.MOST_OPEN - 1):
            await env.DB.run(COPY, id=f"rn-{number}", of=first.id)
        with pytest.raises(RateLimited):
            await submitted(env)
        await env.DB.run("DELETE FROM renders WHERE id = 'rn-0'")
        assert (await submitted(env)).status == "queued"


COPY = """
INSERT INTO renders (id, artifact_id, generator_id, title, options, project_ids, status, correlation_id, created_at)
SELECT :id, artifact_id, generator_id, title, options, project_ids, status, correlation_id, created_at
FROM renders WHERE id = :of
"""


async def test_telling_elsewhere_costs_nothing() -> None:
    """Reporting progress outside of a render does nothing."""
    await renders.report_progress("render", 0.5)
