"""The event log: gapless, per session, written in the transaction that changes the state it tells of."""

from collections.abc import Sequence

import msgspec

from tools.env import Env, Statements
from tools.errors import Gone
from tools.events import Event, StoredEvent
from tools.rows import now_ms
from tools.step import step

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
READ = """
SELECT session_id, seq, ts, type, job_id, item_id, data FROM events
WHERE session_id = :session_id AND seq > :since ORDER BY seq LIMIT :limit
"""
READ_JOB = """
SELECT session_id, seq, ts, type, job_id, item_id, data FROM events
WHERE job_id = :job_id AND seq > :since ORDER BY seq LIMIT :limit
"""


class Session(msgspec.Struct, frozen=True):
    """`seq` is the last number given out (0: none), `pruned` the last one no longer kept."""

    id: str
    seq: int
    pruned: int


async def append(tx: Statements, session_id: str, events: Sequence[Event]) -> int:
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
                "data": msgspec.json.encode(event).decode(),
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


async def session(env: Env, session_id: str) -> Session:
    """How far the session's log goes; a session nobody wrote to is at 0."""
    return await env.DB.one(SESSION, Session, session_id=session_id) or Session(session_id, 0, 0)


async def read(env: Env, session_id: str, since: int, limit: int) -> list[StoredEvent]:
    """Events `since + 1 …`, at most `limit`.

    Fails: Gone (`cursor_expired`) when events after `since` have been pruned or `since` lies in the future.
    """
    if not (known := await session(env, session_id)).pruned <= since <= known.seq:
        raise Gone(
            "this cursor is no longer, or not yet, valid",
            code="cursor_expired",
            detail={"first": known.pruned, "last": known.seq},
        )
    return await env.DB.all(READ, StoredEvent, session_id=session_id, since=since, limit=limit)
