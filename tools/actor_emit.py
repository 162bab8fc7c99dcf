"""The event log: gapless, per session, written in the transaction that changes the state it tells of."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tools.env import Env, Statements
from tools.errors import Conflict, Gone, Invalid, NotFound, TooLarge
from tools.events import TYPES, Event, PostedEvent, StoredEvent, data_text
from tools.rows import Count, now_ms
from tools.step import step

SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
POSTED_BYTES = 64 << 10
PAGE_ROWS, PAGE_CHARACTERS = 500, 512 << 10
PRUNED_ROWS, PRUNED_SESSIONS = 2000, 100

NEXT_SEQ = """
INSERT INTO sessions (id, seq) VALUES (:session_id, :n)
ON CONFLICT (id) DO UPDATE SET seq = sessions.seq + excluded.seq
RETURNING id, seq, pruned
"""
APPEND = """
INSERT INTO events (session_id, seq, ts, type, job_id, item_id, data)
VALUES (:session_id, :seq, :ts, :type, :job_id, :item_id, :data)
"""
SESSION = "SELECT id, seq, pruned FROM sessions WHERE id = :session_id"
SESSION_OF_JOB = """
SELECT sessions.id, sessions.seq, sessions.pruned
FROM jobs JOIN sessions ON sessions.id = jobs.session_id WHERE jobs.id = :job_id
"""
READ = """
SELECT session_id, seq, ts, type, job_id, item_id, data FROM (
    SELECT page.*, SUM(LENGTH(data)) OVER (ORDER BY seq) - LENGTH(data) AS ahead FROM (
        SELECT session_id, seq, ts, type, job_id, item_id, data FROM events
        WHERE session_id = :session_id AND seq > :since ORDER BY seq LIMIT :limit
    ) AS page
) AS sized WHERE ahead < :characters ORDER BY seq
"""
READ_JOB = """
SELECT session_id, seq, ts, type, job_id, item_id, data FROM events
WHERE job_id = :job_id AND seq > :since ORDER BY seq LIMIT :limit
"""
NAMED = """
SELECT (SELECT COUNT(*) FROM jobs WHERE id = :job_id) + (SELECT COUNT(*) FROM job_items WHERE id = :item_id) AS n
"""
OUTLIVED = """
SELECT s.id, s.pruned, COALESCE(
    (SELECT MIN(young.seq) - 1 FROM events AS young
     WHERE young.session_id = s.id AND young.seq > s.pruned AND young.ts >= :before), s.seq) AS seq
FROM sessions AS s WHERE s.id IN (
    SELECT old.session_id FROM events AS old WHERE old.ts < :before
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.session_id = old.session_id AND jobs.ended_at IS NULL)
    GROUP BY old.session_id ORDER BY old.session_id LIMIT :limit
)
"""
FORGET = "UPDATE sessions SET pruned = :up_to WHERE id = :session_id AND pruned < :up_to"
DELETE = "DELETE FROM events WHERE session_id = :session_id AND seq <= :up_to"


class Session(msgspec.Struct, frozen=True):
    """`seq` is the last number given out (0: none), `pruned` the last one no longer kept."""

    id: str
    seq: int
    pruned: int


async def append(tx: Statements, session_id: str, events: Sequence[Event | PostedEvent]) -> int:
    """Give the events the next numbers of their session and store them; the last number is returned.

    Call it last in a transaction: the session's row stays locked until the commit, and that is what keeps
    numbers and commits in the same order. Wake the readers after the commit.
    """
    session = await tx.one(NEXT_SEQ, Session, session_id=session_id, n=len(events))
    assert session is not None
    first, ts = session.seq - len(events) + 1, now_ms()
    await tx.many(
        APPEND,
        [
            {
                "session_id": session_id,
                "seq": first + i,
                "ts": ts,
                "type": event.type,
                "job_id": event.job_id,
                "item_id": event.item_id,
                "data": data_text(event),
            }
            for i, event in enumerate(events)
        ],
    )
    return session.seq


@step("actor_emit.emit")
async def emit(env: Env, session_id: str, event: Event) -> int:
    """Store one event on its own, wake the readers and return its `seq`. Not for job states: the ledger tells those."""
    async with env.DB.transaction() as tx:
        seq = await append(tx, session_id, [event])
    await env.PICASSO_DO.wake(session_id)
    return seq


@step("actor_emit.post")
async def post(env: Env, session_id: str, kind: str, data: dict[str, Any]) -> int:
    """Store an event that came from outside, wake the readers and return its `seq`.

    Fails: Invalid (400) for an unknown type · TooLarge · Conflict when `data` names an existing job or item,
    whose states only the ledger may tell.
    """
    if kind not in TYPES:
        raise Invalid("unknown event type", code="unknown_type", status=400, detail={"allowed": sorted(TYPES)})
    event = PostedEvent(kind, data)
    if len(data_text(event).encode()) > POSTED_BYTES:
        raise TooLarge("the data of an event may have 64 KiB", detail={"maxBytes": POSTED_BYTES})
    async with env.DB.transaction() as tx:
        named = await tx.one(NAMED, Count, job_id=_id(data, "jobId"), item_id=_id(data, "itemId"))
        if named is None or named.n:
            raise Conflict("an event from outside may not speak for an existing job or item", code="job_exists")
        seq = await append(tx, session_id, [event])
    await env.PICASSO_DO.wake(session_id)
    return seq


def _id(data: dict[str, Any], key: str) -> str:
    """What the data names under the key; "" (no row has that id) for what cannot be an id."""
    named = data.get(key)
    return named if isinstance(named, str) and SESSION_ID.fullmatch(named) else ""


def check_session_id(text: str) -> str:
    """The text, which is a session's id as it stands: nothing is folded, trimmed or decoded.

    Fails: Invalid (400, `bad_session_id`).
    """
    if not SESSION_ID.fullmatch(text):
        raise Invalid("a session id has 1 to 128 characters of A-Z a-z 0-9 . _ : -", code="bad_session_id", status=400)
    return text


async def session(tx: Statements, session_id: str) -> Session:
    """How far the session's log goes; a session nobody wrote to is at 0."""
    return await tx.one(SESSION, Session, session_id=session_id) or Session(session_id, 0, 0)


def check_cursor(known: Session, since: int) -> None:
    """Fails: Gone (`cursor_expired`) when events after `since` have been pruned or `since` lies in the future."""
    if not known.pruned <= since <= known.seq:
        raise Gone(
            "this cursor is no longer, or not yet, valid",
            code="cursor_expired",
            detail={"first": known.pruned, "last": known.seq},
        )


async def read(tx: Statements, session_id: str, since: int, limit: int = PAGE_ROWS) -> list[StoredEvent]:
    """Events `since + 1 …` without a gap: at most `limit`, and about half a megabyte of them. None left: empty.

    Fails: Gone (`cursor_expired`) when events after `since` have been pruned or `since` lies in the future.
    """
    events = await tx.all(
        READ, StoredEvent, session_id=session_id, since=since, limit=limit, characters=PAGE_CHARACTERS
    )
    if not events or events[0].seq != since + 1:
        check_cursor(await session(tx, session_id), since)
    return events


def is_full(page: Sequence[StoredEvent]) -> bool:
    """Whether a page of `PAGE_ROWS` was cut, so that more may follow it."""
    return len(page) == PAGE_ROWS or sum(len(event.data) for event in page) >= PAGE_CHARACTERS


async def read_job(tx: Statements, job_id: str, since: int, limit: int) -> list[StoredEvent]:
    """The job's own events after `since`, at most `limit`; their numbers are the session's.

    Fails: NotFound · Gone (`cursor_expired`) when events of the job after `since` have been pruned or `since` lies
    in the future.
    """
    known = await tx.one(SESSION_OF_JOB, Session, job_id=job_id)
    if known is None:
        raise NotFound("there is no such job")
    events = await tx.all(READ_JOB, StoredEvent, job_id=job_id, since=since, limit=limit)
    # A job's log opens with `queued`: where that is still kept, an older `since` has missed nothing.
    if since > known.seq or not events or events[0].type != "queued":
        check_cursor(known, since)
    return events


@step("actor_emit.prune")
async def prune(env: Env, before_ms: int) -> int:
    """Forget events older than `before_ms` (UTC ms) of sessions without an open job, oldest first; how many went.

    Only whole prefixes go, so what is kept has no gap. One call handles up to 100 sessions, each in short
    transactions; call it again while it returns more than 0.
    """
    outlived = await env.DB.all(OUTLIVED, Session, before=before_ms, limit=PRUNED_SESSIONS)
    return sum([await _forget(env, each) for each in outlived])


async def _forget(env: Env, outlived: Session) -> int:
    """Forget the session's events up to its `seq`."""
    gone = 0
    for start in range(outlived.pruned, outlived.seq, PRUNED_ROWS):
        up_to = min(start + PRUNED_ROWS, outlived.seq)
        async with env.DB.transaction() as tx:
            await tx.run(FORGET, session_id=outlived.id, up_to=up_to)
            gone += await tx.run(DELETE, session_id=outlived.id, up_to=up_to)
    return gone
