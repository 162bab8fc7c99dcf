"""The event log: numbers without gaps, cursors, events posted by clients, and retention."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.environment import bare_env
from tools import actor_emit
from tools.env import Env, Statements
from tools.errors import Conflict, Gone, Invalid, NotFound, TooLarge
from tools.events import Complete, Event, PostedEvent, Progress, Queued, data_text
from tools.rows import now_ms

DAY = 86_400_000


class Silent:
    async def wake(self, session_id: str) -> None: ...


@pytest.fixture
async def env(tmp_path: Path, database_url: str) -> AsyncIterator[Env]:
    async with bare_env(tmp_path, database_url, PICASSO_DO=Silent()) as env:
        yield env


def step(progress: float = 0.5) -> Progress:
    return Progress(progress=progress, stage="generate")


async def seqs(env: Env, session_id: str, since: int = 0) -> list[int]:
    return [event.seq for event in await actor_emit.read(env.DB, session_id, since)]


PROJECT = "INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'p', 1, 1)"
JOB = """
INSERT INTO jobs (id, project_id, session_id, status, prompt, kind, request, body_sha256, correlation_id, created_at)
VALUES (:id, 'p', :session_id, 'queued', 'x', 'generate', '{}',
'0000000000000000000000000000000000000000000000000000000000000000', 'c', 1)
"""
ITEM = """
INSERT INTO job_items (id, job_id, position, provider, model, variant_index, status, created_at)
VALUES (:id, :job_id, 0, 'sketch', 'sketch', 0, 'queued', 1)
"""
END = "UPDATE jobs SET status = 'cancelled', ended_at = 2 WHERE id = :id"


async def add_job(tx: Statements, job_id: str, session_id: str) -> None:
    await tx.run(JOB, id=job_id, session_id=session_id)
    await tx.run(ITEM, id=f"{job_id}-i", job_id=job_id)


async def append_at(tx: Statements, session_id: str, events: list[tuple[Event, int]]) -> None:
    """Store events under their next numbers with the times given."""
    known = await tx.one(actor_emit.NEXT_SEQ, actor_emit.Session, session_id=session_id, n=len(events))
    assert known is not None
    for seq, (event, ts) in enumerate(events, known.seq - len(events) + 1):
        named = {"type": event.type, "job_id": event.job_id, "item_id": event.item_id, "data": data_text(event)}
        await tx.run(actor_emit.APPEND, session_id=session_id, seq=seq, ts=ts, **named)


class RolledBack(Exception):
    pass


async def test_concurrent_emitters_leave_no_gap(env: Env, rounds: int) -> None:
    """Concurrent emits are numbered 1, 2, 3 …, and a transaction that is rolled back leaves neither event nor gap."""

    async def work(worker: int) -> int:
        chance, kept = random.Random(worker), 0
        for _ in range(12 * rounds):
            n, fails = chance.randint(1, 3), chance.random() < 0.3
            try:
                async with env.DB.transaction() as tx:
                    await actor_emit.append(tx, "s", [step()] * n)
                    if fails:
                        raise RolledBack
                kept += n
            except RolledBack:
                continue
        return kept

    kept = sum(await asyncio.gather(*(work(worker) for worker in range(8))))
    known = await actor_emit.session(env.DB, "s")
    assert known.seq == kept
    found: list[int] = []
    while len(found) < kept:
        found += await seqs(env, "s", len(found))
    assert found == list(range(1, kept + 1))


async def test_a_reader_never_sees_a_number_before_the_one_below_it(env: Env) -> None:
    """During concurrent emits, the readable events are always 1 … n without a gap."""
    emitting = asyncio.gather(*(actor_emit.emit(env, "s", step()) for _ in range(60)))
    seen: list[int] = []
    while len(seen) < 60:
        more = await seqs(env, "s", len(seen))
        seen += more
        assert seen == list(range(1, len(seen) + 1))
    await emitting


async def test_a_cursor_from_nowhere_is_refused(env: Env) -> None:
    """A cursor outside of the log is refused, and the error names the valid range."""
    await actor_emit.emit(env, "s", step())
    for since in (-1, 2, 1 << 40, (1 << 63) - 1):
        with pytest.raises(Gone) as refused:
            await actor_emit.read(env.DB, "s", since)
        assert refused.value.code == "cursor_expired"
        assert refused.value.detail == {"first": 0, "last": 1}


async def test_sessions_that_differ_in_case_are_two(env: Env) -> None:
    """Session ids that differ in case are different sessions."""
    assert [await actor_emit.emit(env, name, step()) for name in ("abc", "ABC", "abc")] == [1, 1, 2]


async def test_a_page_is_bounded_in_bytes(env: Env) -> None:
    """However large its events are, one page has about half a megabyte, at least one event and no gap."""
    big = PostedEvent("agent", {"text": "x" * 60_000})
    for _ in range(3):
        async with env.DB.transaction() as tx:
            await actor_emit.append(tx, "s", [big] * 8)
    first = await seqs(env, "s")
    assert first == list(range(1, 10))
    assert await seqs(env, "s", 9) == list(range(10, 19))


async def test_the_inbox_cannot_speak_for_a_job(env: Env) -> None:
    """A posted event that names an existing job or item is refused and not stored; one that names none is stored
    without a job."""
    await env.DB.run(PROJECT)
    await add_job(env.DB, "j", "s")
    for named in ({"jobId": "j"}, {"itemId": "j-i"}, {"jobId": "other", "itemId": "j-i"}):
        with pytest.raises(Conflict):
            await actor_emit.post(env, "s", "complete", {"scope": "item", **named})
    assert await actor_emit.session(env.DB, "s") == actor_emit.Session("s", 0, 0)
    assert await actor_emit.post(env, "s", "complete", {"scope": "item", "jobId": "unknown", "itemId": 7}) == 1
    (stored,) = await actor_emit.read(env.DB, "s", 0)
    assert (stored.type, stored.job_id, stored.item_id) == ("complete", None, None)


async def test_the_inbox_refuses(env: Env) -> None:
    """Unknown types, control frames and data over 64 KiB are refused, and nothing is stored."""
    for kind in ("caught-up", "Complete", "", "agent "):
        with pytest.raises(Invalid) as unknown:
            await actor_emit.post(env, "s", kind, {})
        assert unknown.value.status == 400
    with pytest.raises(TooLarge):
        await actor_emit.post(env, "s", "agent", {"x": "y" * (64 << 10)})
    assert (await actor_emit.session(env.DB, "s")).seq == 0


async def test_what_others_send_survives_as_it_was(env: Env) -> None:
    """Any JSON is read back as it was sent, including NUL."""
    data = {"text": "a\x00b\n\u2028é", "n": [1.5, None, {"deep": True}], "jobId": "\x00"}
    await actor_emit.post(env, "s", "agent", data)
    (stored,) = await actor_emit.read(env.DB, "s", 0)
    assert json.loads(stored.data) == data


async def test_a_jobs_events_are_read_by_job(env: Env) -> None:
    """A job's page has its own events only, in order, under the session's numbers."""
    await env.DB.run(PROJECT)
    for name in ("a", "b"):
        async with env.DB.transaction() as tx:
            await add_job(tx, name, "s")
            await actor_emit.append(tx, "s", [Queued(job_id=name, item_id=f"{name}-i")] * 2)
    assert [event.seq for event in await actor_emit.read_job(env.DB, "b", 0, 10)] == [3, 4]
    assert [event.seq for event in await actor_emit.read_job(env.DB, "b", 3, 10)] == [4]
    with pytest.raises(Gone):
        await actor_emit.read_job(env.DB, "b", 5, 10)
    with pytest.raises(NotFound):
        await actor_emit.read_job(env.DB, "c", 0, 10)


async def test_retention_forgets_old_prefixes_only(env: Env) -> None:
    """Events older than the limit go from sessions whose jobs have ended, from the front, and a cursor before them is
    refused from then on."""
    await env.DB.run(PROJECT)
    await add_job(env.DB, "open", "busy")
    await add_job(env.DB, "ended", "idle")
    await env.DB.run(END, id="ended")
    now = now_ms()
    for name in ("busy", "idle"):
        await append_at(env.DB, name, [(step(), now - 2 * DAY if i < 3 else now) for i in range(5)])
    assert await actor_emit.prune(env, now - DAY) == 3
    assert await actor_emit.prune(env, now - DAY) == 0
    assert await seqs(env, "idle", 3) == [4, 5]
    assert await seqs(env, "busy") == [1, 2, 3, 4, 5]
    for since in (0, 2):
        with pytest.raises(Gone):
            await actor_emit.read(env.DB, "idle", since)
    assert await actor_emit.emit(env, "idle", step()) == 6


async def test_retention_stops_at_the_first_young_event(env: Env) -> None:
    """An old event after a newer one stays, because the rest of a log has no gap."""
    await append_at(env.DB, "s", [(step(), ts) for ts in (1, 1, 5, 1)])
    assert await actor_emit.prune(env, 3) == 2
    assert await seqs(env, "s", 2) == [3, 4]


async def test_numbers_go_on_after_all_was_forgotten(env: Env) -> None:
    """A log longer than one batch is deleted completely, and the next event has the next number."""
    n = actor_emit.PRUNED_ROWS + 10
    async with env.DB.transaction() as tx:
        await actor_emit.append(tx, "s", [step()] * n)
    assert await actor_emit.prune(env, now_ms() + DAY) == n
    assert await actor_emit.session(env.DB, "s") == actor_emit.Session("s", n, n)
    assert await actor_emit.emit(env, "s", step()) == n + 1


async def test_a_job_in_an_old_session_can_be_read_from_its_start(env: Env) -> None:
    """Retention of a session's older events does not expire the log of a job that is complete; a log that has lost
    events reports it."""
    await env.DB.run(PROJECT)
    for name, ts in (("old", 1), ("new", 9)):
        await add_job(env.DB, name, "s")
        await env.DB.run(END, id=name)
        first, last = Queued(job_id=name, item_id=f"{name}-i"), Complete(job_id=name, scope="job")
        await append_at(env.DB, "s", [(first, ts), (last, 9)])
    assert await actor_emit.prune(env, 2) == 1
    assert [event.seq for event in await actor_emit.read_job(env.DB, "new", 0, 10)] == [3, 4]
    assert [event.seq for event in await actor_emit.read_job(env.DB, "old", 1, 10)] == [2]
    with pytest.raises(Gone):
        await actor_emit.read_job(env.DB, "old", 0, 10)
