"""PICASSO_DO on a real database and a real Redis: what subscribers receive, whichever process emits and whatever
fails."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.bindings import actor
from app.bindings.actor import open_actor
from app.bindings.redis.connection import open_client
from tests.support.deadlines import LONG, until
from tests.support.environment import bare_env
from tests.support.environment import settings as settings_of
from tests.support.servers.valkey import Valkey
from tools import actor_emit
from tools.env import Actor, Database, Env, Subscription
from tools.errors import Gone, Unavailable
from tools.events import Frame, PostedEvent, Progress
from tools.rows import now_ms

STEP = Progress(progress=0.5, stage="generate")


class Process:
    """An actor as one process of several has it: with a Redis client and subscribers of its own."""

    def __init__(self, db: Database, do: Actor) -> None:
        self.db, self.do = db, do

    async def emit(self, session_id: str, n: int = 1) -> None:
        async with self.db.transaction() as tx:
            await actor_emit.append(tx, session_id, [STEP] * n)
        await self.do.wake(session_id)


@contextlib.asynccontextmanager
async def process(env: Env, client: Redis) -> AsyncIterator[Process]:
    async with open_actor(settings_of(Path("/nowhere")), env.DB, client) as do:
        yield Process(env.DB, do)


@pytest.fixture
async def env(tmp_path: Path) -> AsyncIterator[Env]:
    async with bare_env(tmp_path) as env:
        yield env


@pytest.fixture
async def one(env: Env, redis_client: Redis) -> AsyncIterator[Process]:
    async with process(env, redis_client) as one:
        yield one


async def take(subscription: Subscription, n: int, seconds: float = LONG) -> list[Frame]:
    """Batches until there are at least `n` frames."""
    frames: list[Frame] = []
    async with asyncio.timeout(seconds):
        async for batch in subscription:
            frames += batch
            if len(frames) >= n:
                break
    return frames


def numbers(frames: list[Frame]) -> list[int | None]:
    return [frame.seq for frame in frames]


async def test_replay_then_the_mark_then_live(one: Process) -> None:
    """With a cursor: what followed it, one `caught-up` frame that names the last of it, then what happens."""
    await one.emit("s", 3)
    async with one.do.subscribe("s", 1) as subscription:
        await one.emit("s", 2)
        frames = await take(subscription, 5)
    assert numbers(frames) == [2, 3, None, 4, 5]
    assert frames[2].text == b'{"type":"caught-up","sessionId":"s","data":{"upTo":3}}'


async def test_live_only_without_a_cursor(one: Process) -> None:
    """Without a cursor no old event and no mark is sent; the first event emitted after subscribing is the first
    received."""
    await one.emit("s", 3)
    async with one.do.subscribe("s", None) as subscription:
        await one.emit("s")
        assert numbers(await take(subscription, 1)) == [4]


async def test_bad_cursors_are_refused_before_anything_is_sent(one: Process) -> None:
    """Pruned and future cursors raise Gone."""
    await one.emit("s", 3)
    bindings: dict[str, Any] = {**dict.fromkeys(Env.__dataclass_fields__), "DB": one.db}
    await actor_emit.prune(Env(**bindings), now_ms() + 1000)
    for since in (0, 2, 4):
        with pytest.raises(Gone):
            async with one.do.subscribe("s", since):
                raise AssertionError("not refused")
    async with one.do.subscribe("s", 3) as subscription:
        await one.emit("s")
        assert numbers(await take(subscription, 2)) == [None, 4]


async def test_any_order_of_emitting_and_subscribing_is_complete(one: Process, rounds: int) -> None:
    """500 random interleavings of emit, snapshot and subscribe: every subscriber ends with exactly the table."""
    chance = random.Random(10)

    async def follow(session_id: str, last: int) -> list[int | None]:
        await asyncio.sleep(chance.random() * 0.02)
        since = (await actor_emit.session(one.db, session_id)).seq if chance.random() < 0.7 else 0
        known = await actor_emit.read(one.db, session_id, 0) if since else []
        snapshot: list[int | None] = [event.seq for event in known if event.seq <= since]
        await asyncio.sleep(chance.random() * 0.01)
        if since == last:
            return snapshot
        async with one.do.subscribe(session_id, since) as subscription:
            return snapshot + [seq for seq in numbers(await take(subscription, last - since + 1)) if seq is not None]

    async def emit(session_id: str) -> None:
        for _ in range(4):
            await one.emit(session_id, chance.randint(1, 2))
            await asyncio.sleep(chance.random() * 0.01)
        await one.emit(session_id, 10 - (await actor_emit.session(one.db, session_id)).seq)

    for turn in range(25 * rounds):
        sessions = [f"{turn}-{i}" for i in range(5)]
        async with asyncio.TaskGroup() as group:
            for session_id in sessions:
                group.create_task(emit(session_id))
            followers = [group.create_task(follow(session_id, 10)) for session_id in sessions for _ in range(4)]
        assert {tuple(follower.result()) for follower in followers} == {tuple(range(1, 11))}


async def test_one_that_lags_reads_the_table_and_misses_nothing(one: Process) -> None:
    """A subscriber that takes nothing while megabytes go by is not waited for, costs no memory, and is complete when
    it reads again."""
    big = PostedEvent("agent", {"text": "x" * 30_000})
    async with one.do.subscribe("s", None) as quick, one.do.subscribe("s", None) as slow:
        for start in range(0, 100, 10):
            async with one.db.transaction() as tx:
                await actor_emit.append(tx, "s", [big] * 10)
            await one.do.wake("s")
            assert numbers(await take(quick, 10)) == list(range(start + 1, start + 11))
        assert numbers(await take(slow, 100)) == list(range(1, 101))


async def test_frames_are_made_once_for_all(one: Process) -> None:
    """Every subscriber of a session gets the very same frames: the table is read once for all of them."""
    async with contextlib.AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(one.do.subscribe("s", None)) for _ in range(20)]
        await one.emit("s", 3)
        first, *others = [await take(subscription, 3) for subscription in subscriptions]
        assert all(mine is theirs for other in others for mine, theirs in zip(first, other, strict=True))


async def until_six_in_a_row(quick: Callable[[], Awaitable[bool]]) -> None:
    """Wait until six in a row were quick, which a poll alone hardly ever is; a busy machine may take several tries."""
    row = 0
    async with asyncio.timeout(LONG):
        while row < 6:
            row = row + 1 if await quick() else 0


async def test_a_wake_up_crosses_processes(env: Env, redis_url: str, one: Process) -> None:
    """What one process emits, another's subscribers see at once and not at the next poll; ids that differ in case
    stay apart."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(redis_url))
        other = await stack.enter_async_context(process(env, client))
        subscription = await stack.enter_async_context(one.do.subscribe("s", None))
        quiet = await stack.enter_async_context(one.do.subscribe("S", None))
        await other.emit("s")
        assert numbers(await take(subscription, 1)) == [1]
        seen = 1

        async def quick() -> bool:
            nonlocal seen
            started = time.monotonic()
            await other.emit("s")
            seen += 1
            assert numbers(await take(subscription, 1)) == [seen]
            return time.monotonic() - started < actor.POLL_SECONDS / 5

        await until_six_in_a_row(quick)
        with pytest.raises(TimeoutError):
            await take(quiet, 1, seconds=0.05)


async def test_clients_are_counted_over_processes(env: Env, redis_url: str, one: Process) -> None:
    """`clients` counts the session's connections in all processes and falls as they leave."""

    async with open_client(redis_url) as client, process(env, client) as other:
        async with one.do.subscribe("s", None), one.do.subscribe("s", None), other.do.subscribe("s", None):
            for each in (one, other):
                await until(lambda each=each: _counts(each, "s", 3))  # type: ignore[misc]
            assert await one.do.clients("S") == 0
        for each in (one, other):
            await until(lambda each=each: _counts(each, "s", 0))  # type: ignore[misc]


async def _counts(process: Process, session_id: str, n: int) -> bool:
    return await process.do.clients(session_id) == n


async def test_what_a_killed_process_counted_goes_away(env: Env, redis_client: Redis, one: Process) -> None:
    """The counts of a process that was killed expire in Redis by themselves, and its name is struck off."""
    await redis_client.sadd(actor.PROCESSES, "dead")
    assert await one.do.clients("s") == 0
    assert not await redis_client.sismember(actor.PROCESSES, "dead")
    async with one.do.subscribe("s", None):

        async def counted() -> bool:
            return [await redis_client.ttl(key) > 0 async for key in redis_client.scan_iter("picasso:processes*")] == [
                True,
                True,
            ]

        await until(counted)


async def test_redis_may_be_killed_and_come_back(env: Env, own_valkey: Valkey) -> None:
    """With Redis dead, `wake` returns and subscribers see all by the poll; after a restart, flushed or not, wake-ups
    cross processes again."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(own_valkey.url)) for _ in range(2)]
        one, other = [await stack.enter_async_context(process(env, client)) for client in clients]
        subscription = await stack.enter_async_context(one.do.subscribe("s", None))
        await other.emit("s")
        assert numbers(await take(subscription, 1)) == [1]
        own_valkey.kill()
        await other.emit("s", 2)
        assert numbers(await take(subscription, 2, LONG)) == [2, 3]
        own_valkey.start()
        await asyncio.gather(*(client.flushall() for client in clients))
        seen = 3

        async def quick() -> bool:
            nonlocal seen
            started = time.monotonic()
            await other.emit("s")
            seen += 1
            assert numbers(await take(subscription, 1)) == [seen]
            return time.monotonic() - started < actor.POLL_SECONDS / 5

        await until_six_in_a_row(quick)
        await until(lambda: _counts(other, "s", 1), seconds=LONG)


async def test_a_redis_that_hangs_is_given_up(env: Env, own_valkey: Valkey) -> None:
    """A Redis that accepts and never answers costs the poll interval, not the stream, and counting is Unavailable."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(own_valkey.url)) for _ in range(2)]
        one, other = [await stack.enter_async_context(process(env, client)) for client in clients]
        subscription = await stack.enter_async_context(one.do.subscribe("s", None))
        own_valkey.pause()
        try:
            await other.emit("s")
            assert numbers(await take(subscription, 1, LONG)) == [1]
            with pytest.raises(Unavailable):
                await one.do.clients("s")
        finally:
            own_valkey.resume()


async def test_a_reader_that_breaks_tells_its_subscribers(one: Process) -> None:
    """When reading the table fails with an unforeseen error, subscribers get the error instead of silence."""
    async with one.do.subscribe("s", None) as subscription:
        await one.db.run("ALTER TABLE events RENAME TO events_gone")
        await one.do.wake("s")
        with pytest.raises(Exception, match="no such table"):
            await take(subscription, 1)


async def test_nothing_is_left_behind(one: Process) -> None:
    """After the last subscriber of a session has left, cancelled or not, its reader is gone."""

    async def follow(i: int) -> None:
        async with one.do.subscribe(f"s{i % 7}", None) as subscription:
            await take(subscription, 1, seconds=60)

    followers = [asyncio.create_task(follow(i)) for i in range(50)]
    await until(lambda: _counts(one, "s0", 8))
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("tail ")]
