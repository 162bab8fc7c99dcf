"""The queue: at least once and never silently less, whatever dies, hangs or is sent."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from app.bindings.queue import DEAD, GROUP, STREAM, Handler, RedisQueue, decode, open_queue
from app.bindings.redis.connection import open_client
from tests.support.deadlines import LONG, until
from tests.support.servers.valkey import Valkey, ask
from tools.env import Message
from tools.errors import TooLarge, Unavailable


def message(name: str, **payload: Any) -> Message:
    return Message(name, "artifact-view", 1_700_000_000_000, payload)


async def send(queue: RedisQueue, *messages: Message) -> None:
    """Send each, again where the 50 ms of a busy machine were not enough."""
    for one in messages:
        while True:
            with contextlib.suppress(Unavailable):
                await queue.send(one)
                break


@contextlib.asynccontextmanager
async def consuming(queue: RedisQueue, handle: Handler) -> AsyncIterator[None]:
    consumer = asyncio.create_task(queue.consume(handle))
    try:
        yield
    finally:
        assert not consumer.done(), consumer
        consumer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await consumer


class Recorder:
    """A handler that records its messages, and fails as a message's payload demands."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.done: dict[str, float] = {}
        self.attempts: Counter[str] = Counter()
        self.outage = False

    async def handle(self, messages: Sequence[Message]) -> None:
        self.attempts.update(message.id for message in messages)
        if self.outage:
            raise Unavailable("the database is away")
        for one in messages:
            if "raise" in one.payload:
                raise {"value": ValueError, "unavailable": Unavailable}[one.payload["raise"]]("bad")
        self.batches.append([message.id for message in messages])
        self.done.update((message.id, time.monotonic()) for message in messages)


async def test_messages_come_in_batches_of_ten_or_after_the_window(redis_client: Redis) -> None:
    """25 messages are 10, 10 and, when the window is over, 5; then nothing is left in the stream."""
    queue, recorder = open_queue(redis_client, window_seconds=3), Recorder()
    async with consuming(queue, recorder.handle):
        await until_names(redis_client, 1)
        await second(redis_client)
        started = time.monotonic()
        await send(queue, *(message(str(n), n=n) for n in range(25)))
        await until(lambda: len(recorder.done) == 25)
        assert [len(batch) for batch in recorder.batches] == [10, 10, 5]
        assert recorder.done["20"] > started + 3
        await until_empty(queue)
    assert await redis_client.xlen(STREAM) == 0


async def second(client: Redis) -> None:
    """Wait for the next second of Redis's clock."""
    now, _ = await client.time()
    while (await client.time())[0] == now:
        await asyncio.sleep(0.01)


async def test_what_waited_for_a_consumer_waits_no_longer(redis_client: Redis) -> None:
    """Messages sent while there was no consumer are handled at once after a start, without another batch window."""
    queue, recorder = open_queue(redis_client, window_seconds=30), Recorder()
    await send(queue, message("a"), message("b"))
    await second(redis_client)
    async with consuming(queue, recorder.handle):
        await until(lambda: len(recorder.done) == 2, LONG)


async def until_names(client: Redis, number: int) -> None:
    """Wait until the group has that many consumers."""
    async with asyncio.timeout(LONG):
        while not await client.exists(STREAM) or len(await client.xinfo_consumers(STREAM, GROUP)) != number:
            await asyncio.sleep(0.02)


async def until_empty(queue: RedisQueue, seconds: float = LONG) -> None:
    async with asyncio.timeout(seconds):
        while await queue.depth():
            await asyncio.sleep(0.01)


POISON = {
    "not JSON": b"\xff\x00{",
    "empty": b"",
    "1 MB": b'{"id":"' + b"x" * (1 << 20) + b'"}',
    "deep": b'{"id":"a","type":"log","ts":1,"payload":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    "another version": b'{"v":2,"event":"view"}',
    "unknown type": msgspec.json.encode({"id": "a", "type": "rm", "ts": 1, "payload": {}}),
    "not UTF-8": b'{"id":"\xc3\x28","type":"log","ts":1,"payload":{}}',
}


async def test_poison_is_isolated(redis_client: Redis) -> None:
    """Bad messages of every kind among many good ones: all good ones are handled, all bad ones become dead letters with
    a reason, after 5 tries where a retry makes sense."""
    queue, recorder = open_queue(redis_client, window_seconds=0.2), Recorder()
    good = [message(f"good {n}") for n in range(1000)]
    failing = [message(f"bad {n}", **{"raise": ["value", "unavailable"][n % 2]}) for n in range(14)]
    async with redis_client.pipeline(transaction=False) as pipe:
        bodies = [msgspec.json.encode(one) for one in good + failing] + list(POISON.values())
        random.Random(7).shuffle(bodies)
        for body in bodies:
            pipe.xadd(STREAM, {"body": body})
        pipe.xadd(STREAM, {"foreign": "entry"})
        await pipe.execute()
    async with consuming(queue, recorder.handle):
        await until(lambda: len(recorder.done) == len(good), LONG)
        late = 0
        while await queue.depth():
            # Unavailable counts against a message only while others go through.
            await send(queue, message(f"late {late}"))
            await until(lambda: f"late {late}" in recorder.done)  # noqa: B023
            late += 1
            assert late < 50
    dead = await queue.dead(100)
    assert len(dead) == await queue.dead_depth() == len(failing) + len(POISON) + 1
    reasons = Counter(letter.reason for letter in dead)
    assert reasons["ValueError"] == reasons["unavailable"] == 7
    assert reasons["it has no body"] == 2
    assert reasons["its body is larger than 64 KiB"] == 1
    assert all(letter.reason and letter.tries == (5 if "bad " in letter.body else 1) for letter in dead)
    assert {recorder.attempts[one.id] for one in failing if one.payload["raise"] == "value"} == {5}
    assert {name for name in recorder.done if not name.startswith("late")} == {one.id for one in good}


async def test_good_messages_do_not_wait_for_bad_ones(redis_client: Redis) -> None:
    """A good message in one batch with nine bad ones is done, though these are tried again and given up."""
    queue, recorder = open_queue(redis_client, window_seconds=30), Recorder()
    async with consuming(queue, recorder.handle):
        await send(queue, *(message(f"bad {n}", **{"raise": "value"}) for n in range(9)), message("good"))
        await until(lambda: "good" in recorder.done)
        await until_empty(queue)
    assert await queue.dead_depth() == 9


async def test_an_outage_is_waited_for(redis_client: Redis) -> None:
    """While the handler raises Unavailable no message is given up, however often it is tried; then all are handled."""
    queue, recorder = open_queue(redis_client, window_seconds=0.05), Recorder()
    recorder.outage = True
    await send(queue, *(message(str(n)) for n in range(25)))
    async with consuming(queue, recorder.handle):
        await until(lambda: recorder.attempts["0"] > 5)
        recorder.outage = False
        await until_empty(queue)
    assert len(recorder.done) == 25
    assert await queue.dead(1) == []


async def test_views_are_conserved(redis_url: str, redis_client: Redis, tmp_path: Path) -> None:
    """Five consumers in a row, each killed with -9 while it works, one message in ten sent twice, a handler that
    fails at random: every message is a row or a dead letter, none is both, no row is there twice."""
    rows = sqlite3.connect(tmp_path / "rows.db", isolation_level=None)
    rows.execute("PRAGMA journal_mode = WAL")
    rows.execute("CREATE TABLE views (id TEXT NOT NULL)")
    rows.execute("CREATE UNIQUE INDEX one ON views (id)")
    queue, chance = open_queue(redis_client), random.Random(1)

    def stored() -> int:
        return int(rows.execute("SELECT count(*) FROM views").fetchone()[0])

    names = [str(n) for n in range(1500)]
    for start in range(0, len(names), 300):
        part = names[start : start + 300]
        await send(queue, *(message(name) for name in part + chance.sample(part, 30)))
        consumer = subprocess.Popen(
            [sys.executable, "-m", "tests.support.processes.queue_consumer", redis_url, tmp_path / "rows.db"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert consumer.stdout and consumer.stdout.readline() == b"ready\n"
            before = stored()
            await until(lambda: stored() > before + chance.randrange(100), LONG)  # noqa: B023
        finally:
            consumer.kill()
            consumer.communicate()

    async def handle(messages: Sequence[Message]) -> None:
        rows.executemany("INSERT INTO views VALUES (?) ON CONFLICT DO NOTHING", [(one.id,) for one in messages])

    async with consuming(open_queue(redis_client, window_seconds=0.1), handle):
        await until_empty(queue, 30)
        await until_names(redis_client, 1)
    dead = {decode(letter.body.encode()).id for letter in await queue.dead(5000)}
    kept = {name for (name,) in rows.execute("SELECT id FROM views")}
    assert kept | dead == set(names)
    assert len(kept) == stored()
    assert len(dead) < 20


async def test_what_a_dead_consumer_had_is_taken_up(redis_client: Redis) -> None:
    """Within 5 s of a restart, one message at a time, so that one that kills its consumer is given up alone."""
    queue, recorder = open_queue(redis_client), Recorder()
    await send(queue, *(message(str(n)) for n in range(10)))
    await redis_client.xgroup_create(STREAM, GROUP, id="0")
    # A consumer that read and died; message 3 has already cost several their lives.
    await redis_client.xreadgroup(GROUP, "dead", {STREAM: ">"})
    (entry,) = (await redis_client.xpending_range(STREAM, GROUP, "-", "+", 10))[3:4]
    await redis_client.xclaim(STREAM, GROUP, "dead", 0, [entry["message_id"]], retrycount=5)
    async with consuming(queue, recorder.handle):
        await until(lambda: len(recorder.done) == 9)
        await until_names(redis_client, 1)
    assert [len(batch) for batch in recorder.batches] == [1] * 9
    (letter,) = await queue.dead(10)
    assert (decode(letter.body.encode()).id, letter.tries) == ("3", 5)
    assert letter.reason == "its consumer died each time"


async def test_a_slow_consumer_is_not_robbed(redis_client: Redis) -> None:
    """A message that is being handled for longer than any idle time is not handled by a second consumer."""
    queue, recorder = open_queue(redis_client, window_seconds=0), Recorder()
    release = asyncio.Event()

    async def slow(messages: Sequence[Message]) -> None:
        await release.wait()
        await recorder.handle(messages)

    await send(queue, message("a"))
    async with consuming(queue, slow), consuming(queue, recorder.handle), consuming(queue, slow):
        with contextlib.suppress(TimeoutError):
            await until(lambda: bool(recorder.done), 4.2)
        release.set()
        await until(lambda: bool(recorder.done))
        await until_empty(queue)
    assert recorder.attempts["a"] == 1


async def test_pending_messages_keep_their_bodies(redis_client: Redis) -> None:
    """While one consumer hangs and another works off a backlog, every pending id still has its body;
    and when the one that hangs is stopped, what it had in hand is handled by the other."""
    queue, recorder = open_queue(redis_client, window_seconds=0), Recorder()
    hanging = asyncio.Event()

    async def hang(messages: Sequence[Message]) -> None:
        hanging.set()
        await asyncio.sleep(60)

    await send(queue, *(message(str(n)) for n in range(10)))
    async with consuming(queue, hang):
        await hanging.wait()
        await send(queue, *(message(f"more {n}") for n in range(300)))
        async with consuming(queue, recorder.handle):
            await until(lambda: len(recorder.done) == 300)
        pending = await redis_client.xpending_range(STREAM, GROUP, "-", "+", 100)
        assert len(pending) == await queue.depth() == 10
        for entry in pending:
            assert len(await redis_client.xrange(STREAM, entry["message_id"], entry["message_id"]) or []) == 1
    async with consuming(queue, recorder.handle):
        await until(lambda: len(recorder.done) == 310, LONG)


async def test_sending_to_a_hanging_redis_ends_in_time(own_valkey: Valkey) -> None:
    """Every sender is refused, and what was refused is not there when Redis wakes up."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        await send(queue, message("first"))

        async def refused(n: int) -> None:
            with pytest.raises(Unavailable):
                await queue.send(message(str(n)))

        own_valkey.pause()
        for n in range(20):
            await refused(n)
        for _ in range(5):
            await asyncio.gather(*map(refused, range(100)))
        own_valkey.resume()
        await send(queue, message("last"))
        assert await queue.depth() == 2


async def test_a_late_message_is_sent_later(own_valkey: Valkey) -> None:
    """Senders that may be late go on while Redis hangs; once it answers every message is there, exactly."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        own_valkey.pause()
        await asyncio.gather(*(queue.send_soon(message(str(n))) for n in range(600)))
        own_valkey.resume()
        await until_depth(queue, 600)
        entries: Any = await client.xrange(STREAM)
        assert {decode(fields[b"body"]).id for _, fields in entries} == {str(n) for n in range(600)}
        await queue.close(LONG)


async def until_depth(queue: RedisQueue, count: int) -> None:
    async with asyncio.timeout(LONG):
        while await depth_or_none(queue) != count:
            await asyncio.sleep(0.01)


async def depth_or_none(queue: RedisQueue) -> int | None:
    with contextlib.suppress(Unavailable):
        return await queue.depth()
    return None


async def test_messages_of_one_moment_are_written_together(redis_client: Redis) -> None:
    """A hundred senders at once are one command to Redis."""
    queue = open_queue(redis_client)
    await queue.send_soon(message("first"))
    before: Any = await redis_client.info("commandstats")
    await asyncio.gather(*(queue.send_soon(message(str(n))) for n in range(100)))
    await queue.close(LONG)
    after: Any = await redis_client.info("commandstats")
    assert after["cmdstat_eval"]["calls"] - before["cmdstat_eval"]["calls"] == 1
    assert await queue.depth() == 101


async def test_a_full_buffer_refuses_and_loses_nothing(own_valkey: Valkey) -> None:
    """With Redis stopped the buffer takes eight megabytes; what it took is sent later, and a refusal is an error to the
    sender."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        own_valkey.pause()
        sent = await asyncio.gather(
            *(queue.send_soon(message(str(n), text="x" * 60_000)) for n in range(150)), return_exceptions=True
        )
        own_valkey.resume()
        refused = [error for error in sent if isinstance(error, Unavailable)]
        assert {error.code for error in refused} == {"buffer_full"}
        assert 0 < sent.count(None) == 150 - len(refused) < 140
        await until_depth(queue, sent.count(None))
        await queue.close(LONG)


async def test_an_end_in_order_sends_what_is_late(own_valkey: Valkey) -> None:
    """A process that closes its queue, as on SIGTERM, sends what Redis had not taken; nothing is sent after that."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        own_valkey.pause()
        await asyncio.gather(*(queue.send_soon(message(str(n))) for n in range(50)))
        closing = asyncio.create_task(queue.close(LONG))
        await asyncio.sleep(0)
        own_valkey.resume()
        await closing
        assert await queue.depth() == 50


async def test_what_is_lost_at_the_end_is_told(own_valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that stays away keeps no process from ending; the log has the number of lost messages."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        own_valkey.pause()
        await asyncio.gather(*(queue.send_soon(message(str(n))) for n in range(3)))
        await queue.close(0.1)
        assert "3 queue messages are lost" in caplog.text and "Redis did not confirm" in caplog.text
        own_valkey.resume()


async def test_what_was_written_is_not_told_as_lost(own_valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    """A close whose time is over while a write is under way waits for its outcome: each message is in Redis or told as
    lost, and none is both."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        own_valkey.pause()
        await asyncio.gather(*(queue.send_soon(message(str(n))) for n in range(3)))
        closing = asyncio.create_task(queue.close(0))
        await asyncio.sleep(0)
        own_valkey.resume()
        await closing
        lost = [record.__dict__["fields"]["messages"] for record in caplog.records if "are lost" in record.message]
        assert await queue.depth() == 3 - sum(lost)


async def test_the_consumer_survives_its_redis(own_valkey: Valkey) -> None:
    """kill -9 of Redis loses no acknowledged message; an emptied one is used again; meanwhile nothing spins."""
    async with open_client(own_valkey.url) as client:
        queue, recorder = open_queue(client, window_seconds=0.05), Recorder()
        async with consuming(queue, recorder.handle):
            names = []
            for round in range(3):
                for n in range(100):
                    with contextlib.suppress(Unavailable):
                        await queue.send(message(f"{round} {n}"))
                        names.append(f"{round} {n}")
                own_valkey.kill()
                began, before = time.monotonic(), time.process_time()
                await asyncio.sleep(0.3)
                assert time.process_time() - before < 0.67 * (time.monotonic() - began)
                own_valkey.start()
            await until(lambda: set(names) <= set(recorder.done), LONG)
            assert ask(own_valkey.socket, "FLUSHALL") == "+OK"
            await send(queue, message("after"))
            await until(lambda: "after" in recorder.done, LONG)


async def test_an_answer_that_was_lost_is_taken_up(redis_client: Redis) -> None:
    """A message that Redis assigned to a consumer that never received it is handled all the same, once."""
    queue, recorder = open_queue(redis_client, window_seconds=0.05), Recorder()
    async with consuming(queue, recorder.handle):
        await until_names(redis_client, 1)
        (consumer,) = await redis_client.xinfo_consumers(STREAM, GROUP)
        async with redis_client.pipeline(transaction=True) as together:
            together.xadd(STREAM, {"body": msgspec.json.encode(message("lost"))})
            together.xreadgroup(GROUP, consumer["name"], {STREAM: ">"})
            await together.execute()
        await until(lambda: recorder.attempts == {"lost": 1})
        await until_empty(queue)


async def test_a_message_has_a_limit_and_so_has_the_queue(redis_client: Redis) -> None:
    """64 KiB are accepted, more is refused; a queue without a consumer refuses instead of growing or forgetting."""
    queue = open_queue(redis_client, length=2)
    await send(queue, message("a", text="x" * 65_000))
    with pytest.raises(TooLarge):
        await queue.send(message("a", text="x" * 65_536))
    await send(queue, message("b"))
    with pytest.raises(Unavailable, match="full"):
        await queue.send(message("c"))
    assert await queue.depth() == 2


async def test_no_memory_is_an_error_and_nothing_is_evicted(own_valkey: Valkey) -> None:
    """At its memory limit Redis refuses the message with an error, and keeps the others."""
    async with open_client(own_valkey.url) as client:
        queue = open_queue(client)
        await send(queue, message("kept"))
        await client.config_set("maxmemory", "1")
        with pytest.raises(Unavailable):
            await queue.send(message("refused"))
        await client.config_set("maxmemory", "0")
        assert await queue.depth() == 1


def test_dead_letters_and_work_share_a_cluster_slot() -> None:
    """The scripts touch both keys at once."""
    assert DEAD.startswith(STREAM) and STREAM.startswith("{")


async def bury(client: Redis, bodies: Sequence[bytes]) -> None:
    """Dead letters with these bodies, as a consumer leaves them."""
    async with client.pipeline(transaction=False) as pipe:
        for body in bodies:
            pipe.xadd(DEAD, {"body": body, "reason": "bad_message", "tries": "5"})
        await pipe.execute()


async def test_dead_letters_are_redriven_each_once(
    redis_client: Redis, caplog: pytest.LogCaptureFixture, rounds: int
) -> None:
    """A thousand dead letters, redriven by two callers at once and then again: each is handled once, none is left, and
    each has one log line."""
    queue, recorder, n = open_queue(redis_client, window_seconds=0.05), Recorder(), 1000 * rounds
    await bury(redis_client, [msgspec.json.encode(message(f"m{number}")) for number in range(n)])
    with caplog.at_level("INFO", "picasso.queue"):
        assert sum(await asyncio.gather(queue.redrive(), queue.redrive())) == n
        assert await queue.redrive() == 0
    async with consuming(queue, recorder.handle):
        await until_empty(queue, 20)
    assert recorder.attempts == Counter({f"m{number}": 1 for number in range(n)})
    assert await queue.dead_depth() == 0
    lines = [record.__dict__["fields"] for record in caplog.records if record.msg == "queue.redrive"]
    assert len({line["letter"] for line in lines}) == len(lines) == n
    assert {(line["reason"], line["tries"]) for line in lines} == {("bad_message", "5")}


async def test_what_is_still_poison_dies_again_and_ends_the_redrive(redis_client: Redis) -> None:
    """A letter that fails again becomes a dead letter again; one redrive moves each letter that was there at its start
    once, whatever a consumer sends back meanwhile."""
    queue, recorder = open_queue(redis_client, window_seconds=0.02), Recorder()
    await bury(redis_client, [msgspec.json.encode(message("good")), *POISON.values()])
    async with consuming(queue, recorder.handle):
        assert await asyncio.wait_for(queue.redrive(), LONG) == 1 + len(POISON)
        await until_empty(queue)
    assert recorder.attempts == Counter({"good": 1})
    assert await queue.dead_depth() == len(POISON)
