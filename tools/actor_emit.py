"""The event log of each session: numbered without gaps, written in the transaction that changes the state."""

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
    """The state of a session's log: `seq` is the last number assigned (0: none), `pruned` the last one deleted."""

    id: str
    seq: int
    pruned: int


async def append(tx: Statements, session_id: str, events: Sequence[Event | PostedEvent]) -> int:
    """Store the events under the next numbers of their session; return the last number.

    Call it last in a transaction: the session's row stays locked until the commit, which keeps numbers and commits
    in the same order. Wake the readers after the commit.
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
    """Store one event in a transaction of its own, wake the readers and return its `seq`.

    Not for states of jobs and items: the ledger writes those events.
    """
    async with env.DB.transaction() as tx:
        seq = await append(tx, session_id, [event])
    await env.PICASSO_DO.wake(session_id)
    return seq


@step("actor_emit.post")
async def post(env: Env, session_id: str, kind: str, data: dict[str, Any]) -> int:
    """Store an event that a client sent, wake the readers and return its `seq`.

    Fails: Invalid (400, `unknown_type`) · TooLarge above 64 KiB · Conflict (`job_exists`) when `data` names an
    existing job or item, whose events only the ledger may write.
    """
    if kind not in TYPES:
        raise Invalid("unknown event type", code="unknown_type", status=400, detail={"allowed": sorted(TYPES)})
    event = PostedEvent(kind, data)
    if len(data_text(event).encode()) > POSTED_BYTES:
        raise TooLarge("the data of an event may have 64 KiB", detail={"maxBytes": POSTED_BYTES})
    async with env.DB.transaction() as tx:
        named = await tx.one(NAMED, Count, job_id=_id(data, "jobId"), item_id=_id(data, "itemId"))
        if named is None or named.n:
            raise Conflict("an event from outside may not name an existing job or item", code="job_exists")
        seq = await append(tx, session_id, [event])
    await env.PICASSO_DO.wake(session_id)
    return seq


def _id(data: dict[str, Any], key: str) -> str:
    """The id in `data` under the key; "", which no row has, when there is none."""
    named = data.get(key)
    return named if isinstance(named, str) and SESSION_ID.fullmatch(named) else ""


def check_session_id(text: str) -> str:
    """Return the text unchanged if it is a valid session id; upper and lower case differ.

    Fails: Invalid (400, `bad_session_id`).
    """
    if not SESSION_ID.fullmatch(text):
        raise Invalid("a session id has 1 to 128 characters of A-Z a-z 0-9 . _ : -", code="bad_session_id", status=400)
    return text


async def session(tx: Statements, session_id: str) -> Session:
    """The state of the session's log; `seq` is 0 when it has no event yet."""
    return await tx.one(SESSION, Session, session_id=session_id) or Session(session_id, 0, 0)


def check_cursor(known: Session, since: int) -> None:
    """Check that the log can be read after `since`.

    Fails: Gone (`cursor_expired`) when events after `since` have been pruned or `since` lies in the future.
    """
    if not known.pruned <= since <= known.seq:
        raise Gone(
            "this cursor is no longer, or not yet, valid",
            code="cursor_expired",
            detail={"first": known.pruned, "last": known.seq},
        )


async def read(tx: Statements, session_id: str, since: int, limit: int = PAGE_ROWS) -> list[StoredEvent]:
    """Events `since + 1 …` without a gap, at most `limit` and about half a megabyte; empty at the end of the log.

    Fails: Gone (`cursor_expired`) when events after `since` have been pruned or `since` lies in the future.
    """
    events = await tx.all(
        READ, StoredEvent, session_id=session_id, since=since, limit=limit, characters=PAGE_CHARACTERS
    )
    if not events or events[0].seq != since + 1:
        check_cursor(await session(tx, session_id), since)
    return events


def is_full(page: Sequence[StoredEvent]) -> bool:
    """Whether a page of `read` with `PAGE_ROWS` reached its limit, so that more events may follow."""
    return len(page) == PAGE_ROWS or sum(len(event.data) for event in page) >= PAGE_CHARACTERS


async def read_job(tx: Statements, job_id: str, since: int, limit: int) -> list[StoredEvent]:
    """The events of one job after `since`, at most `limit`; their numbers are those of the session.

    Fails: NotFound · Gone (`cursor_expired`) when events of the job after `since` have been pruned or `since` lies
    in the future.
    """
    known = await tx.one(SESSION_OF_JOB, Session, job_id=job_id)
    if known is None:
        raise NotFound("there is no such job")
    events = await tx.all(READ_JOB, StoredEvent, job_id=job_id, since=since, limit=limit)
    # The first event of a job is `queued`: if it is still there, nothing before it was missed.
    if since > known.seq or not events or events[0].type != "queued":
        check_cursor(known, since)
    return events


@step("actor_emit.prune", idle=True)
async def prune(env: Env, before_ms: int) -> int:
    """Delete events older than `before_ms` (UTC ms) of sessions without an open job, oldest first; return how many.

    A log only loses its beginning, so the rest has no gap. One call handles up to 100 sessions, each in short
    transactions; call it again while it returns more than 0.
    """
    deleted = 0
    for expired in await env.DB.all(OUTLIVED, Session, before=before_ms, limit=PRUNED_SESSIONS):
        for start in range(expired.pruned, expired.seq, PRUNED_ROWS):
            up_to = min(start + PRUNED_ROWS, expired.seq)
            async with env.DB.transaction() as tx:
                await tx.run(FORGET, session_id=expired.id, up_to=up_to)
                deleted += await tx.run(DELETE, session_id=expired.id, up_to=up_to)
    return deleted
