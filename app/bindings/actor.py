"""PICASSO_DO: live events of sessions. The `events` table is the truth; Redis only says that there is more to read.

A process has one Redis subscription, and one `SessionBuffer` per session with subscribers here, which reads new rows
once for all of them. Litestar's Channels do not fit: their Redis backends end silently in an outage, fold the case of
session ids and keep no order between history and live events (all measured).
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from typing import Literal, Self, cast

import redis.asyncio as redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT

from app.owned_tasks import end_tasks
from app.settings import Settings
from tools import actor_emit
from tools.actor_emit import Session
from tools.env import Actor, Database, Subscription
from tools.errors import Unavailable
from tools.events import Frame, StoredEvent, caught_up, frame, with_addresses
from tools.rows import dump, new_id

log = logging.getLogger("picasso.actor")

CHANNEL = "picasso:wake"
PROCESSES = b"picasso:processes"
POLL_SECONDS = 1.0
PACE_SECONDS = 0.01
REDIS_SECONDS = 3.0
RETRY_SECONDS = 0.5
PING_SECONDS = 1.0
COUNT_SECONDS, BEAT_SECONDS, PRESENCE_SECONDS = 0.05, 3.0, 10
BUFFER_BYTES = 512 << 10
READS_AT_ONCE = 4
WAKES, WAKES_AT_ONCE = 10_000, 500
REDIS_AWAY = (RedisError, OSError, TimeoutError)

NEWEST: Mapping[Literal["sqlite", "postgresql"], str] = {
    "sqlite": "SELECT id, seq, pruned FROM sessions WHERE id IN (SELECT value FROM json_each(:ids))",
    "postgresql": """
        SELECT id, seq, pruned FROM sessions
        WHERE id IN (SELECT json_array_elements_text(CAST(CAST(:ids AS TEXT) AS JSON)))
    """,
}


class Table:
    """The event log, read with few statements at once, so that a crowd of readers leaves room for writers."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db, self._settings, self._limit = db, settings, asyncio.Semaphore(READS_AT_ONCE)

    async def session(self, session_id: str) -> Session:
        """The session's newest and oldest `seq`."""
        async with self._limit:
            return await actor_emit.session(self._db, session_id)

    async def read(self, session_id: str, since: int) -> list[StoredEvent]:
        """A page of the events after `since`, with whole addresses. Fails: Gone · Unavailable."""
        async with self._limit:
            events = await actor_emit.read(self._db, session_id, since)
        return [with_addresses(event, self._settings) for event in events]

    async def newest(self, session_ids: Iterable[str]) -> list[Session]:
        """The sessions among these that have events."""
        async with self._limit:
            return await self._db.all(NEWEST[self._db.dialect], Session, ids=dump(list(session_ids)))


class SessionBuffer:
    """The newest frames of one session, read once and shared by its subscribers in this process.

    It holds the frames `first + 1 … last`, at most a megabyte. A subscriber is only a position: one that falls behind
    `first` reads the table by itself until it has caught up, so nobody waits for it and nothing is kept for it.
    """

    def __init__(self, table: Table, known: Session) -> None:
        self._table, self.session_id, self.last = table, known.id, known.seq
        self._frames: list[Frame] = []
        self._size = 0
        self._woken, self._news = asyncio.Event(), asyncio.Event()
        # An event may have been committed since `known` was read, and its wake-up have found no buffer.
        self._woken.set()
        self._reader = asyncio.create_task(self._follow(), name=f"buffer of {known.id}")
        self.subscribers = 0

    @property
    def first(self) -> int:
        """The `seq` before the oldest frame."""
        return self.last - len(self._frames)

    def wake(self) -> None:
        """Read on: there may be new events."""
        self._woken.set()

    def after(self, cursor: int) -> Sequence[Frame]:
        """The frames that follow `cursor`, which is not before `first`."""
        return self._frames[cursor - self.first :]

    async def news(self) -> None:
        """Wait until something was read.

        Fails: with what the reader failed with.
        """
        if self._reader.done():
            self._reader.result()
        await self._news.wait()

    async def close(self) -> None:
        """End the reader."""
        await end_tasks([self._reader])

    async def _follow(self) -> None:
        """Read on whenever this is woken, until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                # The poll wakes this session again once the database is back.
                with contextlib.suppress(Unavailable):
                    while events := await self._table.read(self.session_id, self.last):
                        self._append([frame(event) for event in events])
                        self._announce()
                        if not actor_emit.is_full(events):
                            break
                # In a burst one read then takes many events; a lone event has not waited for this.
                await asyncio.sleep(PACE_SECONDS)
        finally:
            self._announce()

    def _append(self, frames: Sequence[Frame]) -> None:
        """Add the frames; drop the oldest beyond the bound, but none of these."""
        known = len(self._frames)
        self._frames += frames
        self._size += sum(len(each.wire) for each in frames)
        self.last += len(frames)
        surplus = 0
        while self._size > BUFFER_BYTES and surplus < known:
            self._size -= len(self._frames[surplus].wire)
            surplus += 1
        del self._frames[:surplus]

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Subscriber:
    """One subscriber's position in a session: it reads the table while it is behind the buffer, else the buffer.

    `up_to` is the newest event at its start, after which it gets a `caught-up` frame; None for live events only.
    """

    def __init__(self, table: Table, buffer: SessionBuffer, cursor: int, up_to: int | None) -> None:
        self._table, self._buffer, self._cursor, self._up_to = table, buffer, cursor, up_to

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Frame]:
        while True:
            if self._up_to is not None and self._cursor >= self._up_to:
                mark, self._up_to = caught_up(self._buffer.session_id, self._up_to), None
                return [mark]
            frames: Sequence[Frame]
            if self._cursor >= self._buffer.first:
                frames = self._buffer.after(self._cursor)
            else:
                frames = [frame(event) for event in await self._table.read(self._buffer.session_id, self._cursor)]
            if self._up_to is not None:
                frames = frames[: self._up_to - self._cursor]
            if frames:
                self._cursor += len(frames)
                return frames
            await self._buffer.news()


class Sessions:
    """The sessions with subscribers in this process, and the wake-ups to and from other processes."""

    def __init__(self, settings: Settings, db: Database, client: redis.Redis) -> None:
        self._table, self._client = Table(db, settings), client
        self._process = new_id()
        self._buffers: dict[str, SessionBuffer] = {}
        self._to_wake: set[str] = set()
        self._waking, self._counting = asyncio.Event(), asyncio.Event()

    async def wake(self, session_id: str) -> None:
        """Wake the session's buffer here and, soon, in the other processes."""
        self._wake_here(session_id)
        if len(self._to_wake) < WAKES:
            self._to_wake.add(session_id)
            self._waking.set()

    @contextlib.asynccontextmanager
    async def subscribe(self, session_id: str, since: int | None) -> AsyncIterator[Subscription]:
        """Events after `since`, then live ones; None for live ones only.

        Fails: Gone when `since` is pruned or in the future · Unavailable.
        """
        known = await self._table.session(session_id)
        if since is not None:
            actor_emit.check_cursor(known, since)
        if known.id not in self._buffers:
            self._buffers[known.id] = SessionBuffer(self._table, known)
        buffer = self._buffers[known.id]
        buffer.subscribers += 1
        self._counting.set()
        try:
            if since is None:
                yield Subscriber(self._table, buffer, known.seq, None)
            else:
                yield Subscriber(self._table, buffer, since, known.seq)
        finally:
            buffer.subscribers -= 1
            self._counting.set()
            if not buffer.subscribers:
                del self._buffers[known.id]
                await buffer.close()

    async def clients(self, session_id: str) -> int:
        """How many subscribers the session has, over all processes. Fails: Unavailable when Redis is away."""
        here = self._buffers[session_id].subscribers if session_id in self._buffers else 0
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                return here + await self._count_elsewhere(session_id)
        except REDIS_AWAY as error:
            raise Unavailable("other processes cannot be asked now", code="redis_unavailable") from error

    def _wake_here(self, session_id: str) -> None:
        if session_id in self._buffers:
            self._buffers[session_id].wake()

    async def _count_elsewhere(self, session_id: str) -> int:
        """Subscribers in the other processes.

        Effect: processes whose counts have expired were killed, and are removed from the list.
        """
        others = cast(set[bytes], await self._client.smembers(PROCESSES)) - {self._process.encode()}
        keys = [_counts_of(name) for name in others]
        async with self._client.pipeline(transaction=False) as ask:
            for key in keys:
                ask.exists(key)
                ask.hget(key, session_id)
            answers = await ask.execute()
        dead = [name for name, exists in zip(others, answers[::2], strict=True) if not exists]
        if dead:
            await self._client.srem(PROCESSES, *dead)
        return sum(int(count) for count in answers[1::2] if count)

    async def poll(self) -> None:
        """Once a second, wake the buffers that lag behind the table, so that a lost wake-up is harmless."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(Unavailable):
                for row in await self._table.newest(self._buffers) if self._buffers else ():
                    if row.id in self._buffers and row.seq > self._buffers[row.id].last:
                        self._buffers[row.id].wake()

    async def publish(self) -> None:
        """Publish wake-ups, together those that have gathered while Redis took the last ones."""
        while True:
            await self._waking.wait()
            names = list(itertools.islice(self._to_wake, WAKES_AT_ONCE))
            self._to_wake.difference_update(names)
            if not self._to_wake:
                self._waking.clear()
            if not await self._reached(self._client.publish(CHANNEL, " ".join([self._process, *names]))):
                self._to_wake.update(names)
                self._waking.set()
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(PACE_SECONDS)

    async def listen(self) -> None:
        """Wake the buffers that other processes name; subscribe again after any outage."""
        while True:
            with contextlib.suppress(*REDIS_AWAY):
                async with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                    await self._receive(channel)
            await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self, channel: PubSub) -> None:
        """Follow the channel until it breaks or leaves three pings unanswered."""
        async with asyncio.timeout(REDIS_SECONDS):
            await channel.subscribe(CHANNEL)
        unanswered = 0
        while unanswered < 3:
            async with asyncio.timeout(REDIS_SECONDS):
                message = await channel.get_message(timeout=PING_SECONDS)
                if message is None:
                    unanswered += 1
                    await channel.ping()
                    continue
            unanswered = 0
            if message["type"] == "message":
                process, *names = message["data"].decode().split(" ")
                if process != self._process:
                    for name in names:
                        self._wake_here(name)

    async def publish_counts(self) -> None:
        """Keep in Redis how many subscribers each session has here; the counts expire when the process is killed."""
        while True:
            self._counting.clear()
            counts: dict[FieldT, EncodableT] = {name: buffer.subscribers for name, buffer in self._buffers.items()}
            reached = await self._reached(self._count(counts))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS if reached else RETRY_SECONDS):
                    await self._counting.wait()
            await asyncio.sleep(COUNT_SECONDS)

    async def _count(self, counts: Mapping[FieldT, EncodableT]) -> None:
        mine = _counts_of(self._process.encode())
        async with self._client.pipeline(transaction=True) as write:
            write.delete(mine)
            if counts:
                write.hset(mine, mapping=counts)
                write.expire(mine, PRESENCE_SECONDS)
                write.sadd(PROCESSES, self._process)
                write.expire(PROCESSES, PRESENCE_SECONDS)
            await write.execute()

    async def forget(self) -> None:
        """Take this process's counts out of Redis, if it can be reached."""
        await self._reached(self._count({}))

    async def _reached(self, ask: Awaitable[object]) -> bool:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await ask
        except REDIS_AWAY:
            return False
        return True


def _counts_of(process: bytes) -> bytes:
    return PROCESSES + b":" + process


@contextlib.asynccontextmanager
async def open_actor(settings: Settings, db: Database, client: redis.Redis) -> AsyncIterator[Actor]:
    """PICASSO_DO over the database and Redis, with its four loops running while the block runs."""
    sessions = Sessions(settings, db, client)
    loops = [
        asyncio.create_task(run)
        for run in (sessions.poll(), sessions.publish(), sessions.listen(), sessions.publish_counts())
    ]
    for loop in loops:
        loop.add_done_callback(_log_failure)
    try:
        yield sessions
    finally:
        await end_tasks(loops)
        await sessions.forget()


def _log_failure(loop: asyncio.Task[None]) -> None:
    if not loop.cancelled() and (error := loop.exception()):
        log.error("a loop of the actor ended", exc_info=error)
