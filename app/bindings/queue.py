"""PICASSO_QUEUE: a Redis Stream with one consumer group, at least once, in batches.

An entry is deleted only in the transaction that acknowledges it: nothing is trimmed by length or age, so a pending
entry keeps its body. Dead letters are kept until an operator redrives them.

Each consumer renews a heartbeat key every second. The pending messages of a dead consumer are claimed by the others,
one at a time, so that a message that kills its worker is handled alone.
"""

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from app.bindings.redis.connection import answering
from app.bindings.redis.scripts import BATCH_ITEMS, BatchScript, Script
from app.owned_tasks import end_tasks
from tools.env import DeadLetter, Message
from tools.errors import PicassoError, TooLarge, Unavailable
from tools.rows import new_id
from tools.step import log_fields

log = logging.getLogger("picasso.queue")

STREAM, GROUP = "{queue}", "workers"
DEAD = "{queue}:dead"
BODY_BYTES = 64 << 10
LENGTH = 1_000_000
"""Messages that may wait; a sender of more gets an error and counts it."""
TRIES = 5
HANDLE_SECONDS = 30.0
SEND_SECONDS = 0.045
"""The deadline of a send; the rest of the 50 ms is for this process to notice it."""
SOON_SECONDS = 0.05
"""How long `send_soon` waits before it leaves the message to the buffer."""
BUFFER_BYTES = 8 << 20
"""Total size of buffered bodies in this process: some 25,000 views of about 300 bytes."""
WRITE_SECONDS, REWRITE_SECONDS = 1.0, 0.1
"""The deadline of a write from the buffer, and the pause after one that failed."""
CLOSE_SECONDS = 1.5
"""How long a closing queue goes on writing its buffer, before the last write; a stop gives all bindings more time."""
HELD = 200
"""Unhandled messages at which one consumer stops reading more."""
BEAT_SECONDS, ALIVE_MS = 1.0, 3000
"""The interval of a consumer's heartbeat, and how long each one counts."""

AT_ONCE = 50
"""Dead letters redriven per call; each may have 64 KiB."""

Handler = Callable[[Sequence[Message]], Awaitable[None]]


def open_queue(client: Redis, *, batch: int = 10, window_seconds: float = 30.0, length: int = LENGTH) -> "RedisQueue":
    """The queue; a batch is handled once it has `batch` messages or its first one is `window_seconds` old."""
    return RedisQueue(client, batch, window_seconds, length)


@dataclass
class _Buffered:
    body: bytes
    written: asyncio.Event = field(default_factory=asyncio.Event)


class RedisQueue:
    """Sends messages, with a buffer for those that may be late; `consume` is for workers."""

    def __init__(self, client: Redis, batch: int, window: float, length: int) -> None:
        self._client, self._batch, self._window, self._length = client, batch, window, length
        self._send = BatchScript(client, "queue_send", seconds=SEND_SECONDS)
        self._write = BatchScript(client, "queue_send", seconds=WRITE_SECONDS)
        self._buffer: deque[_Buffered] = deque()
        self._buffered = 0
        self._writer: asyncio.Task[None] | None = None
        """Runs while the buffer is not empty."""
        self._ending = False

    async def send(self, message: Message) -> None:
        """Return when Redis has stored the message.

        Fails: Unavailable when Redis has not stored it within 50 ms (then it never will), or when the queue is full ·
        TooLarge over 64 KiB.
        """
        if not await self._send.run(_encode(message), stream=STREAM, length=self._length):
            raise Unavailable("the queue is full", code="queue_full")

    async def send_soon(self, message: Message) -> None:
        """Wait 50 ms at most until Redis has stored the message; after that it is sent later.

        Effect: the message is in the queue, or in this process's buffer, which is written in batches as soon as Redis
        answers. `close` writes the rest; what is buffered when the process is killed is lost.
        Fails: Unavailable (`buffer_full`) when BUFFER_BYTES are buffered already · TooLarge over 64 KiB.
        """
        buffered = _Buffered(_encode(message))
        if self._buffered + len(buffered.body) > BUFFER_BYTES:
            raise Unavailable("this process has too many unsent queue messages", code="buffer_full")
        self._buffer.append(buffered)
        self._buffered += len(buffered.body)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_buffer(), name="queue buffer")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SOON_SECONDS):
                await buffered.written.wait()

    async def _write_buffer(self) -> None:
        """Write the whole buffer. A write without an answer is repeated: consumers recognise messages by their ids."""
        while self._buffer and not self._ending:
            batch = list(itertools.islice(self._buffer, BATCH_ITEMS))
            answers = await asyncio.gather(
                *(self._write.run(each.body, stream=STREAM, length=self._length) for each in batch),
                return_exceptions=True,
            )
            unwritten = []
            for each, answer in zip(batch, answers, strict=True):
                self._buffer.popleft()
                if answer == 1:
                    self._buffered -= len(each.body)
                    each.written.set()
                else:
                    unwritten.append(each)
            self._buffer.extendleft(reversed(unwritten))
            for answer in answers:
                if isinstance(answer, BaseException) and not isinstance(answer, Unavailable):
                    raise answer
            if unwritten:
                await asyncio.sleep(REWRITE_SECONDS)

    async def drain(self) -> None:
        """Return when the buffer is empty."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait({self._writer})

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write the buffer, for at most `seconds` and a write that has begun; what is left then is lost.

        Effect: a log line with the number of messages that are lost. A write that has begun is not cut off, because
        nobody would know whether Redis had taken its messages.
        """
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=seconds)
            self._ending = True
            await asyncio.wait({self._writer}, timeout=WRITE_SECONDS)
            await end_tasks([self._writer])
        if self._buffer:
            fields = {"step": "queue.close", "outcome": "lost", "ms": 0, "messages": len(self._buffer)}
            log.error(
                "%d queue messages are lost: Redis did not confirm them before the end",
                len(self._buffer),
                extra={"fields": fields},
            )

    async def consume(self, handle: Handler) -> None:
        """Run until cancelled. `handle` gets each message at least once and must treat a repetition as success.

        An error counts as a try of the message; after 5 tries it becomes a dead letter. Unavailable is an outage
        instead and is waited out, unless other messages succeeded meanwhile.
        """
        await _Consumer(self._client, handle, self._batch, self._window).run()

    async def depth(self) -> int:
        """The number of messages that wait or are being handled. Fails: Unavailable."""
        with answering():
            return int(await self._client.xlen(STREAM))

    async def dead_depth(self) -> int:
        """The number of dead letters. Fails: Unavailable."""
        with answering():
            return int(await self._client.xlen(DEAD))

    async def dead(self, limit: int) -> list[DeadLetter]:
        """The oldest dead letters, `limit` at most. Fails: Unavailable."""
        with answering():
            entries: Any = await self._client.xrange(DEAD, count=limit)
        return [
            DeadLetter(
                entry.decode(),
                fields[b"body"].decode(errors="backslashreplace"),
                fields[b"reason"].decode(errors="replace"),
                int(fields[b"tries"]),
            )
            for entry, fields in entries
        ]

    async def redrive(self) -> int:
        """Move the present dead letters back into the queue, to be handled like new messages, and return their number.

        Effect: each is moved atomically, so concurrent calls never queue one twice; one log line each. Messages that
        were handled before change nothing (their ids are known).
        Fails: Unavailable; what was moved before the failure stays in the queue.
        """
        script, moved = Script(self._client, "queue_redrive"), 0
        with answering():
            newest: Any = await self._client.xrevrange(DEAD, count=1)
            while newest:
                letters: Any = await script.run(stream=STREAM, dead=DEAD, newest=newest[0][0], count=AT_ONCE)
                for entry, reason, tries in letters:
                    _log_redrive(entry.decode(), reason.decode(errors="replace"), tries.decode())
                moved += len(letters)
                if not letters:
                    break
        return moved


def _log_redrive(letter: str, reason: str, tries: str) -> None:
    fields = {"step": "queue.redrive", "outcome": "ok", "ms": 0, "letter": letter, "reason": reason, "tries": tries}
    log.info("queue.redrive", extra={"fields": {**log_fields(), **fields}})


@dataclass
class _Held:
    """An unhandled message of this consumer. `due` is the monotonic time by which it is to be handled."""

    entry: bytes
    body: bytes
    message: Message
    due: float
    state: Literal["new", "waiting", "suspect"] = "new"
    """`waiting`: its handler met an outage · `suspect`: its handler failed while others succeeded"""
    tries: int = 0
    outages: int = 0
    seen: int = 0
    """The consumer's count of handled messages when this one last failed or was read."""


class _Consumer:
    def __init__(self, client: Redis, handle: Handler, batch: int, window: float) -> None:
        self._client, self._handle, self._batch, self._window = client, handle, batch, window
        self._bury_script, self._retire_script = Script(client, "queue_bury"), Script(client, "queue_retire")
        self._name = new_id()
        self._held: dict[bytes, _Held] = {}
        self._handled = 0
        self._unsure = True
        self._next_adoption = 0.0
        self._since = 0
        """Redis's time in milliseconds when this consumer started; earlier messages are handled without a window."""

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat())
                await self._run_turns()
        finally:
            # Unhandled messages are still pending; without this key another consumer claims them soon.
            with contextlib.suppress(RedisError, OSError):
                async with asyncio.timeout(1):
                    await self._client.delete(_alive(self._name))
                    await self._retire(self._name)

    async def _beat(self) -> None:
        while True:
            # A lost heartbeat costs at most that a message is handled twice.
            with contextlib.suppress(RedisError, OSError):
                await self._client.set(_alive(self._name), 1, px=ALIVE_MS)
            await asyncio.sleep(BEAT_SECONDS)

    async def _run_turns(self) -> None:
        pause = 0.1
        while True:
            try:
                await self._turn()
                pause = 0.1
            except (RedisError, OSError) as error:
                if not self._unsure:
                    log.warning("the queue's Redis is away: %s: %.200s", type(error).__name__, error)
                self._unsure = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)

    async def _turn(self) -> None:
        if self._unsure:
            await self._resync()
        await self._adopt()
        await self._read()
        for batch in ready(self._held.values(), time.monotonic(), self._batch):
            await self._work(batch)

    async def _resync(self) -> None:
        """After a start or an outage: create the group if needed, and reload this consumer's pending messages."""
        with contextlib.suppress(ResponseError):  # the group exists
            await self._client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        await self._recall()
        self._since = (await self._client.time())[0] * 1000
        self._unsure = False

    async def _recall(self) -> None:
        """Load the messages that are pending for this consumer in Redis.

        The client repeats a command when its connection is lost; the lost answer's messages would never be handled.
        """
        pending: list[Any] = await self._client.xpending_range(
            STREAM, GROUP, "-", "+", 2 * HELD, consumername=self._name
        )
        mine = {entry["message_id"]: entry["times_delivered"] for entry in pending}
        self._held = {entry: held for entry, held in self._held.items() if entry in mine}
        for entry in mine.keys() - self._held.keys():
            found: Any = await self._client.xrange(STREAM, entry, entry)
            for _, fields in found:
                await self._admit(entry, fields, time.monotonic(), mine[entry])

    async def _read(self) -> None:
        """Wait for new messages until one of the held messages is due."""
        now = time.monotonic()
        pause = min(BEAT_SECONDS, min((held.due for held in self._held.values()), default=math.inf) - now)
        room = min(self._batch - sum(held.state == "new" for held in self._held.values()), HELD - len(self._held))
        if room <= 0:
            await asyncio.sleep(max(pause, 0) if len(self._held) >= HELD else 0)
            return
        # A BLOCK of 0 would make XREADGROUP wait for ever.
        block = math.ceil(pause * 1000) if pause > 0 and self._next_adoption > now else None
        answer: Any = await self._client.xreadgroup(GROUP, self._name, {STREAM: ">"}, count=room, block=block)
        for _, entries in answer:
            for entry, fields in entries:
                window = 0 if int(entry.partition(b"-")[0]) < self._since else self._window
                await self._admit(entry, fields, time.monotonic() + window, 1)

    async def _admit(self, entry: bytes, fields: Mapping[bytes, bytes], due: float, tries: int) -> _Held | None:
        """Hold the entry for handling, or make it a dead letter when its body is no message."""
        body = fields.get(b"body", b"")
        try:
            message = decode(body)
        except ValueError as error:
            await self._bury(entry, body, str(error), tries)
            return None
        self._held[entry] = _Held(entry, body, message, due, seen=self._handled)
        return self._held[entry]

    async def _adopt(self) -> None:
        """Recover messages of lost answers; claim and handle one message of a dead consumer, and delete dead consumers
        that have none."""
        if time.monotonic() < self._next_adoption:
            return
        self._next_adoption = time.monotonic() + BEAT_SECONDS
        await self._recall()
        for name in await self._silent():
            pending: list[Any] = await self._client.xpending_range(STREAM, GROUP, "-", "+", 1, consumername=name)
            if not pending:
                await self._retire(name)
                continue
            entry, deliveries = pending[0]["message_id"], pending[0]["times_delivered"]
            claimed: list[Any] = await self._client.xclaim(STREAM, GROUP, self._name, 1000, [entry])
            for claim, fields in claimed:
                self._next_adoption = 0.0
                if deliveries >= TRIES:
                    await self._bury(claim, fields[b"body"], "its consumer died each time", deliveries)
                elif held := await self._admit(claim, fields, time.monotonic(), deliveries):
                    await self._work([held])

    async def _silent(self) -> list[str]:
        """Consumers of the group without a heartbeat."""
        consumers: list[Any] = await self._client.xinfo_consumers(STREAM, GROUP)
        names = [consumer["name"].decode() for consumer in consumers]
        names = [name for name in names if name != self._name]
        alive = await self._client.mget([_alive(name) for name in names]) if names else []
        return [name for name, beat in zip(names, alive, strict=True) if beat is None]

    async def _work(self, batch: Sequence[_Held]) -> None:
        """Handle the batch; after a failure once more as a whole, then message by message."""
        failure, tries = await self._attempt(batch), 1
        if failure and len(batch) > 1 and not isinstance(failure, Unavailable):
            failure, tries = await self._attempt(batch), 2
        if failure and len(batch) > 1:
            tries += 1
            for held in batch:
                if failure := await self._attempt([held]):
                    await self._blame(held, failure, tries)
        elif failure:
            await self._blame(batch[0], failure, tries)

    async def _attempt(self, batch: Sequence[_Held]) -> Exception | None:
        try:
            async with asyncio.timeout(HANDLE_SECONDS):
                await self._handle([held.message for held in batch])
        except Exception as failure:  # noqa: BLE001 - whatever it is belongs to these messages and must not end the queue
            return failure
        await self._settle(held.entry for held in batch)
        self._handled += len(batch)
        for held in batch:
            self._held.pop(held.entry, None)
        for held in self._held.values():
            if held.state == "waiting":
                held.due = 0.0
        return None

    async def _settle(self, entries: Iterable[bytes]) -> None:
        done = list(entries)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xack(STREAM, GROUP, *done)
            pipe.xdel(STREAM, *done)
            await pipe.execute()

    async def _blame(self, held: _Held, failure: Exception, tries: int) -> None:
        """Postpone the message, or make it a dead letter after its last try."""
        others_went_through = held.seen != self._handled
        held.seen = self._handled
        if isinstance(failure, Unavailable) and not others_went_through:
            held.state, held.outages = "waiting", held.outages + 1
            held.due = time.monotonic() + min(0.1 * 2**held.outages, 2.0)
            return
        held.state, held.tries = "suspect", held.tries + (1 if isinstance(failure, Unavailable) else tries)
        held.due = time.monotonic() + 0.05 * 4 ** (held.tries - 2)
        if held.tries >= TRIES:
            reason = failure.code if isinstance(failure, PicassoError) else type(failure).__name__
            log.error("a queue message becomes a dead letter: %s", reason, exc_info=failure)
            await self._bury(held.entry, held.body, reason, held.tries)
            self._held.pop(held.entry, None)

    async def _bury(self, entry: bytes, body: bytes, reason: str, tries: int) -> None:
        await self._bury_script.run(
            stream=STREAM, dead=DEAD, group=GROUP, entry=entry, body=body, reason=reason, tries=tries
        )

    async def _retire(self, name: str) -> None:
        """Delete a consumer without heartbeat and pending messages; deleting one that has some would lose them."""
        await self._retire_script.run(stream=STREAM, alive=_alive(name), group=GROUP, consumer=name)


def _encode(message: Message) -> bytes:
    """The body of a message. Fails: TooLarge."""
    body = msgspec.json.encode(message)
    if len(body) > BODY_BYTES:
        raise TooLarge("a queue message is limited to 64 KiB", code="message_too_large")
    return body


def ready(held: Iterable[_Held], now: float, batch: int) -> list[list[_Held]]:
    """The batches to handle now: new messages when there are enough or one is due, and each suspect message alone."""
    messages = list(held)
    new = [one for one in messages if one.state == "new"]
    waiting = [one for one in messages if one.state == "waiting" and one.due <= now]
    full = len(new) >= batch or any(one.due <= now for one in new)
    batches = [new[:batch] if full else [], waiting[:batch]]
    return [*filter(None, batches), *([one] for one in messages if one.state == "suspect" and one.due <= now)]


def decode(body: bytes) -> Message:
    """Parse the body of an entry.

    Fails: ValueError with the reason when it is no message.
    """
    if not body:
        raise ValueError("it has no body")
    if len(body) > BODY_BYTES:
        raise ValueError("its body is larger than 64 KiB")
    try:
        return msgspec.json.decode(body, type=Message)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)[:200]) from error


def _alive(name: str) -> str:
    return f"{STREAM}:alive:{name}"
