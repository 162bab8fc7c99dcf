"""The provider limiter: never too many calls, none too early, one probe; and no slot is leaked."""

import asyncio
import contextlib
import itertools
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from app.bindings.redis.connection import RedisServer, find_server, open_client
from app.bindings.redis.provider_limiter import (
    OPENS_AFTER,
    SHORTEST_POLL,
    Outcome,
    ProviderLimiter,
    Times,
    open_provider_limiter,
)
from app.bindings.workflow import open_workflow
from tests.support.deadlines import LONG, until
from tests.support.environment import settings
from tests.support.limited_vendor import Vendor, calling
from tests.support.servers.valkey import Valkey, ask, valkey
from tools.env import Circuit
from tools.errors import Unavailable

CIRCUIT = "m:generate"
LEASE = 1.0
SLOTS, STATE, CIRCUITS = "gate:{toy}:places", "gate:{toy}:state", "gate:{toy}:lanes"


@contextlib.asynccontextmanager
async def limiter_at(url: str, width: int = 2, **times: float) -> AsyncIterator[ProviderLimiter]:
    """Gates as another process would have them: with a client of their own."""
    chosen = Times(**{"lease": LEASE, **times})
    async with open_client(url) as client, open_provider_limiter(client, {"*": 1000, "toy": width}, chosen) as limiter:
        yield limiter


async def call(
    limiter: ProviderLimiter, outcome: Outcome, retry_after: float | None = None, circuit: str = CIRCUIT
) -> str:
    """One call that ends at once; what became of it."""
    try:
        async with limiter.acquire("toy", circuit) as slot:
            slot.report(outcome, retry_after)
    except Unavailable as error:
        return error.code
    return outcome


async def circuit_is(limiter: ProviderLimiter, state: str, name: str = CIRCUIT) -> Circuit:
    """The circuit, once it is in that state."""
    async with asyncio.timeout(LONG):
        while True:
            for circuit in (await limiter.circuits()).get("toy", []):
                if (circuit.name, circuit.state) == (name, state):
                    return circuit
            await asyncio.sleep(0.005)


async def empty(client: Redis) -> None:
    """Wait until no slot is in use."""
    async with asyncio.timeout(LONG):
        while await client.zcard(SLOTS):
            await asyncio.sleep(0.005)


class Line:
    """Callers who use their slot until the test releases them; `begun` are their monotonic times."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.codes: list[str] = []
        self.go = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def join(self, limiter: ProviderLimiter, count: int, circuit: str = CIRCUIT) -> None:
        self.tasks += [asyncio.create_task(self._call(limiter, circuit)) for _ in range(count)]

    async def _call(self, limiter: ProviderLimiter, circuit: str) -> None:
        try:
            async with limiter.acquire("toy", circuit):
                self.begun.append(time.monotonic())
                await self.go.wait()
        except Unavailable as error:
            self.codes.append(error.code)

    async def cancel(self) -> None:
        """Cancel all."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def has_begun(self, count: int, seconds: float = LONG) -> None:
        await until(lambda: len(self.begun) >= count, seconds)

    async def end(self) -> None:
        self.go.set()
        await asyncio.gather(*self.tasks)


async def test_never_more_than_the_width_over_all_processes(redis_url: str) -> None:
    """Three processes hammer a vendor through a gate three wide: it never has more than three calls at once, and each
    process gets its share."""
    async with Vendor(lambda: random.uniform(0, 0.02)) as vendor:
        callers = [calling(redis_url, vendor.port, calls=40, width=3, lease=10) for _ in range(3)]
        with contextlib.ExitStack() as stack:
            ready = [stack.enter_context(caller) for caller in callers]
            for caller in ready:
                caller.go()
            ends = await asyncio.gather(*(asyncio.to_thread(caller.ends) for caller in ready))
        assert [len(end) for end in ends] == [40, 40, 40]
        assert {word for end in ends for word in end} == {"answered"}
        assert vendor.calls == 120
        assert vendor.most == 3


async def test_one_process_hands_its_slots_on_at_once(redis_url: str) -> None:
    """A free slot of the same process is taken without waiting for a poll: of 60 that wait for one slot, some get it
    sooner after each other than any poll could bring it. A busy machine may take several tries."""

    async def waits(limiter: ProviderLimiter) -> list[float]:
        taken: list[float] = []

        async def one() -> None:
            assert await call(limiter, "answered") == "answered"
            taken.append(time.monotonic())

        await asyncio.gather(*(one() for _ in range(60)))
        return sorted(after - before for before, after in itertools.pairwise(taken))

    async with limiter_at(redis_url, width=1) as limiter, asyncio.timeout(LONG):
        while (await waits(limiter))[15] > SHORTEST_POLL / 2:
            pass


async def test_processes_take_turns(redis_url: str) -> None:
    """Of two processes that always have callers waiting, neither gets much more than half of the slots."""
    order: list[int] = []

    async def visit(limiter: ProviderLimiter, who: int) -> None:
        async with limiter.acquire("toy", CIRCUIT):
            order.append(who)

    async with limiter_at(redis_url, width=1) as one, limiter_at(redis_url, width=1) as two:
        await asyncio.gather(*(visit(limiter, n) for n, limiter in enumerate((one, two)) for _ in range(20)))
    assert 7 <= order[:20].count(0) <= 13


async def test_a_process_that_died_in_line_is_not_waited_for(redis_url: str, redis_client: Redis) -> None:
    """A slot that is reserved for a process ahead is given to others when that process gives no sign of life."""
    seconds, _ = await redis_client.time()
    await redis_client.hset("gate:{toy}:line", "1", f"1 {seconds * 1000}")
    async with limiter_at(redis_url, width=1) as limiter:
        started = time.monotonic()
        assert await asyncio.wait_for(call(limiter, "answered"), LONG) == "answered"
        assert time.monotonic() - started > 0.3


async def scores(client: Redis) -> list[float]:
    """When each slot ends, in Redis's milliseconds."""
    found: list[tuple[bytes, float]] = cast(Any, await client.zrange(SLOTS, 0, -1, withscores=True))
    return [score for _, score in found]


async def test_a_killed_holder_frees_its_slots_within_its_lease(redis_url: str, redis_client: Redis) -> None:
    """SIGKILL of a process that uses all slots: they are free when the lease ends, and not before."""
    async with Vendor(lambda: 3600) as vendor, limiter_at(redis_url) as limiter:
        with calling(redis_url, vendor.port, calls=2, width=2, lease=LEASE) as caller:
            caller.go()
            await until(lambda: vendor.in_flight == 2)
            line = Line()
            line.join(limiter, 2)
            ends = await scores(redis_client)
            caller.process.kill()
            caller.process.wait()
            await line.has_begun(2)
            assert await scores(redis_client) > ends
            seconds, micros = await redis_client.time()
            assert max(ends) <= seconds * 1000 + micros / 1000 <= max(ends) + LEASE * 1000 + 600
            await line.end()


async def test_a_holder_that_lives_keeps_its_slots_beyond_the_lease(redis_url: str) -> None:
    """A call may last many leases; its slot stays its own."""
    async with limiter_at(redis_url, lease=0.3) as one, limiter_at(redis_url, lease=0.3) as two:
        holders, line = Line(), Line()
        holders.join(one, 2)
        await holders.has_begun(2)
        line.join(two, 1)
        with pytest.raises(TimeoutError):
            await line.has_begun(1, seconds=1.5)
        await holders.end()
        await line.has_begun(1)
        await line.end()


async def test_a_frozen_holder_gives_back_nobody_elses_slot(redis_url: str, redis_client: Redis) -> None:
    """SIGSTOP beyond the lease: others get the slot; woken up, the process gives back its own slot alone."""
    async with (
        Vendor(lambda: 3600) as vendor,
        limiter_at(redis_url, width=1) as one,
        limiter_at(redis_url, width=1) as two,
    ):
        with calling(redis_url, vendor.port, calls=1, width=1, lease=LEASE) as caller:
            caller.go()
            await until(lambda: vendor.in_flight == 1)
            caller.process.send_signal(signal.SIGSTOP)
            heirs, line = Line(), Line()
            heirs.join(one, 1)
            await heirs.has_begun(1)
            line.join(two, 1)
            held = await redis_client.zrange(SLOTS, 0, -1)
            caller.process.send_signal(signal.SIGCONT)
            vendor.end_all()
            assert await asyncio.to_thread(caller.ends) == ["answered"]
            assert await redis_client.zrange(SLOTS, 0, -1) == held
            assert line.begun == []
            await heirs.end()
            await line.has_begun(1)
            await line.end()
    await empty(redis_client)


async def test_a_slot_that_came_too_late_is_not_used(
    redis_url: str, redis_client: Redis, valkey_session: Valkey
) -> None:
    """A process that is frozen between the question and the answer begins no call on a lease that has ended, and which
    another process has by then."""
    lease = 0.1

    def freeze() -> None:
        """What passes while this process stands still: its lease ends, another process gets the slot."""
        time.sleep(lease * 1.1)
        now = round(time.time() * 1000)
        ask(valkey_session.socket, f"ZREMRANGEBYSCORE {SLOTS} -inf {now}")
        ask(valkey_session.socket, f"ZADD {SLOTS} {now + lease * 1000} another")

    async def hold(limiter: ProviderLimiter) -> bool:
        async with limiter.acquire("toy", CIRCUIT) as slot:
            return [slot.token.encode()] == await redis_client.zrange(SLOTS, 0, -1)

    for turns in range(12, 42, 2):
        async with limiter_at(redis_url, width=1, lease=lease) as limiter:
            await call(limiter, "answered")
            holding = asyncio.create_task(hold(limiter))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not holding.done():
                freeze()
            assert await asyncio.wait_for(holding, LONG), turns


async def test_five_outages_in_a_row_open_the_circuit_and_an_answer_closes_it(redis_url: str) -> None:
    """Four outages and an answer leave it closed, five open it; its callers learn at once when to try again, and other
    circuits are not affected."""
    async with limiter_at(redis_url, open=0.5) as one, limiter_at(redis_url, open=0.5) as two:
        for _ in range(OPENS_AFTER - 1):
            assert await call(one, "outage") == "outage"
        assert await call(two, "answered") == "answered"
        for n in range(OPENS_AFTER):
            assert await call((one, two)[n % 2], "outage") == "outage"
        circuit = await circuit_is(two, "open")
        assert circuit.failures == OPENS_AFTER
        assert circuit.retry_at is not None
        for limiter in (one, two):
            with pytest.raises(Unavailable) as refused:
                async with limiter.acquire("toy", CIRCUIT):
                    pass
            assert (refused.value.code, refused.value.failure) == ("circuit_open", "outage")
            assert refused.value.retry_after is not None
            assert 0 < refused.value.retry_after <= 0.5
        assert await call(one, "answered", circuit="m:edit") == "answered"
        await circuit_is(one, "half-open")
        assert await call(one, "answered") == "answered"
        assert await circuit_is(two, "closed") == Circuit(CIRCUIT, "closed", 0)


async def test_those_in_line_are_turned_away_when_the_circuit_opens(redis_url: str) -> None:
    """Callers of all processes who wait when the fifth outage comes leave the line at once; calls in flight and those
    who wait for another circuit stay."""
    async with limiter_at(redis_url, width=6) as one, limiter_at(redis_url, width=6) as two:
        line, others = Line(), Line()
        async with contextlib.AsyncExitStack() as stack:
            slots = [await stack.enter_async_context(one.acquire("toy", CIRCUIT)) for _ in range(6)]
            line.join(one, 20)
            line.join(two, 20)
            others.join(two, 1, circuit="m:edit")
            for slot in slots[:OPENS_AFTER]:
                assert line.codes == []
                slot.report("outage")
            await until(lambda: len(line.codes) == 40, LONG)
            assert line.codes == ["circuit_open"] * 40
            assert (line.begun, others.begun) == ([], [])
            slots[-1].report("answered")
        await others.has_begun(1)
        await circuit_is(one, "open")
        await others.end()
        await line.end()


async def fail(limiter: ProviderLimiter, times: int = OPENS_AFTER, circuit: str = CIRCUIT) -> None:
    for _ in range(times):
        assert await call(limiter, "outage", circuit=circuit) == "outage"


async def test_one_probe_at_a_time_over_all_processes(redis_url: str) -> None:
    """Fifty callers at two processes meet a circuit that is half-open: one gets through. While probes fail the circuit
    stays open for twice as long each time, up to a limit."""
    times = {"open": 0.2, "longest_open": 0.5}
    async with limiter_at(redis_url, width=50, **times) as one, limiter_at(redis_url, width=50, **times) as two:
        await fail(one)
        for period in (0.4, 0.5):
            await circuit_is(two, "half-open")
            line = Line()
            line.join(one, 25)
            line.join(two, 25)
            await until(lambda line=line: len(line.begun) + len(line.codes) == 50)  # type: ignore[misc]
            assert (len(line.begun), line.codes) == (1, ["circuit_open"] * 49)
            await line.end()
            # A probe that ended without a report leaves its right to the next one.
            await until_probe(one, "outage")
            seconds = time.time()
            circuit = await circuit_is(two, "open")
            assert circuit.retry_at is not None
            assert seconds + period - 0.15 <= circuit.retry_at / 1000 <= seconds + period + 0.15
        await circuit_is(two, "half-open")
        await until_probe(two, "answered")
        await circuit_is(one, "closed")
        assert {await call(limiter, "answered") for limiter in (one, two, one, two)} == {"answered"}


async def until_probe(limiter: ProviderLimiter, outcome: Outcome) -> None:
    """Make the probe, once no other caller is about to."""
    async with asyncio.timeout(LONG):
        while await call(limiter, outcome) == "circuit_open":
            pass


async def test_a_probe_that_died_is_freed_after_its_lease(redis_url: str) -> None:
    """SIGKILL of the process that makes the probe: when its lease has ended, another one makes it."""
    async with Vendor(lambda: 3600) as vendor, limiter_at(redis_url, open=0.05) as limiter:
        await fail(limiter)
        await circuit_is(limiter, "half-open")
        with calling(redis_url, vendor.port, calls=1, width=2, lease=LEASE) as caller:
            caller.go()
            await until(lambda: vendor.in_flight == 1)
            assert await call(limiter, "answered") == "circuit_open"
            caller.process.kill()
            await until_probe(limiter, "answered")
        await circuit_is(limiter, "closed")


async def test_a_cancelled_call_counts_neither_way(redis_url: str) -> None:
    """Four outages, a cancelled call and a fifth outage open the circuit; a cancelled probe lets the next one go."""
    async with limiter_at(redis_url, open=0.2) as limiter:
        await fail(limiter, OPENS_AFTER - 1)
        line = Line()
        line.join(limiter, 1)
        await line.has_begun(1)
        await line.cancel()
        assert (await circuit_is(limiter, "closed")).failures == OPENS_AFTER - 1
        await fail(limiter, 1)
        await circuit_is(limiter, "half-open")
        probe = Line()
        probe.join(limiter, 1)
        await probe.has_begun(1)
        assert await call(limiter, "answered") == "circuit_open"
        await probe.cancel()
        assert await call(limiter, "answered") == "answered"
        await circuit_is(limiter, "closed")


async def test_everyone_waits_for_as_long_as_the_vendor_asked(redis_url: str, redis_client: Redis) -> None:
    """After a 429 with Retry-After no process calls earlier, and they come back spread over a fifth of it."""
    pause = 1.0
    async with limiter_at(redis_url, width=60) as one, limiter_at(redis_url, width=60) as two:
        assert await call(one, "rate", pause) == "rate"
        told, line = time.monotonic(), Line()
        await until_paused(redis_client)
        line.join(one, 25)
        line.join(two, 25, circuit="m:edit")
        await line.has_begun(50)
        await line.end()
        waits = sorted(at - told for at in line.begun)
        assert waits[0] >= pause - 0.01
        assert waits[-1] - waits[0] >= 0.2 * pause * 0.8
        assert len({round(wait, 2) for wait in waits}) > 10


async def until_paused(client: Redis) -> None:
    """Wait until Redis has recorded a pause."""
    async with asyncio.timeout(LONG):
        while not float((await client.hget(STATE, "pause")) or 0):
            await asyncio.sleep(0.005)


async def pause_after(limiter: ProviderLimiter, client: Redis, retry_after: float | None = None) -> float:
    """The seconds of pause after a call that was answered "not now"."""
    before = float((await client.hget(STATE, "pause")) or 0)
    assert await call(limiter, "rate", retry_after) == "rate"
    async with asyncio.timeout(LONG):
        while True:
            # Both as one script of Redis left them, so that no wait of ours counts.
            seen, pause = (float(field or 0) for field in await client.hmget(STATE, "seen", "pause"))
            if pause != before:
                return round((pause - seen) / 1000, 1)
            await asyncio.sleep(0.005)


async def test_a_demand_is_capped_and_one_without_a_time_doubles(redis_url: str, redis_client: Redis) -> None:
    """A vendor that demands an hour gets the longest pause; one that gives no time gets a short one, twice as long
    while that continues, and an answer resets it."""
    times: dict[str, Any] = {"step": 0.2, "longest_step": 0.6, "longest_pause": 0.4}
    async with limiter_at(redis_url, **times) as limiter:
        assert await pause_after(limiter, redis_client, 3600.0) == 0.4
        assert [await pause_after(limiter, redis_client) for _ in range(4)] == [0.2, 0.4, 0.6, 0.6]
        assert await call(limiter, "answered") == "answered"
        assert await pause_after(limiter, redis_client) == 0.2


async def test_a_burst_of_no_is_one_pause(redis_url: str, redis_client: Redis) -> None:
    """Simultaneous calls that are all answered "not now" double nothing."""
    async with limiter_at(redis_url, width=4, step=0.4) as limiter:
        start = asyncio.Barrier(4)

        async def told() -> None:
            async with limiter.acquire("toy", CIRCUIT) as slot:
                await start.wait()
                slot.report("rate")

        await asyncio.gather(*(told() for _ in range(4)))
        await until_paused(redis_client)
        assert await redis_client.hget(STATE, "step") == b"400"


async def test_a_call_granted_as_the_pause_comes_is_held_back(redis_url: str) -> None:
    """In the process that got the demand no other call begins after that moment."""
    async with limiter_at(redis_url, width=2) as limiter:
        for turns in range(12):
            async with limiter.acquire("toy", CIRCUIT) as slot:
                line = Line()
                line.join(limiter, 1)
                for _ in range(turns):
                    await asyncio.sleep(0)
                early, told = len(line.begun), time.monotonic()
                slot.report("rate", 0.1)
            await line.has_begun(1)
            assert early or line.begun[0] - told >= 0.099, turns
            await line.end()


async def test_redis_may_die_and_come_back(own_valkey: Valkey) -> None:
    """kill -9 of Redis while slots are in use: calls go on, waiting callers get their turn, and there are never more
    calls than the width, however long Redis was away."""
    async with Vendor(lambda: 3600) as vendor, limiter_at(own_valkey.url) as limiter:
        for away in (0.0, LEASE * 1.5):
            with calling(own_valkey.url, vendor.port, calls=2, width=2, lease=LEASE) as caller:
                caller.go()
                await until(lambda: vendor.in_flight == 2)
                line = Line()
                line.join(limiter, 2)
                own_valkey.kill()
                await asyncio.sleep(away)
                own_valkey.start()
                with pytest.raises(TimeoutError):
                    await line.has_begun(1, seconds=LEASE * 1.5)
                assert vendor.in_flight == 2
                vendor.end_all()
                assert await asyncio.to_thread(caller.ends) == ["answered"] * 2
                await line.has_begun(2)
                await line.end()


async def test_a_redis_that_forgot_all_is_told_again(redis_url: str, redis_client: Redis) -> None:
    """FLUSHALL while all slots are in use: their process makes no more calls than before, and soon no other does."""
    async with limiter_at(redis_url) as one, limiter_at(redis_url) as two:
        holders, line = Line(), Line()
        holders.join(one, 2)
        await holders.has_begun(2)
        await redis_client.flushall()
        line.join(one, 1)
        async with asyncio.timeout(LONG):
            while await redis_client.zcard(SLOTS) < 2:
                assert line.begun == []
                await asyncio.sleep(0.005)
        line.join(two, 1)
        with pytest.raises(TimeoutError):
            await line.has_begun(1, seconds=0.6)
        await holders.end()
        await line.has_begun(2)
        await line.end()


async def test_a_redis_that_stays_away_is_told_of(own_valkey: Valkey) -> None:
    """A waiting caller gets an error after a while, a running one can release its slot, and all is well when Redis is
    back."""
    async with limiter_at(own_valkey.url, width=1, away=0.6) as limiter:
        async with limiter.acquire("toy", CIRCUIT) as slot:
            line = Line()
            line.join(limiter, 3)
            own_valkey.kill()
            started = time.monotonic()
            await until(lambda: len(line.codes) == 3)
            assert line.codes == ["redis_unavailable"] * 3
            assert time.monotonic() - started >= 0.6
            slot.report("outage")
        with pytest.raises(Unavailable):
            await limiter.circuits()
        own_valkey.start()
        async with limiter.acquire("toy", CIRCUIT):
            assert (await circuit_is(limiter, "closed")).failures == 1


async def test_a_hanging_redis_is_told_of(own_valkey: Valkey) -> None:
    """SIGSTOP of Redis: no caller waits for ever, and what Redis executes when it continues leaves no slot in use."""
    async with limiter_at(own_valkey.url, width=1, away=0.6) as limiter:
        assert await call(limiter, "answered") == "answered"
        own_valkey.pause()
        assert await call(limiter, "answered") == "redis_unavailable"
        with pytest.raises(Unavailable):
            await limiter.circuits()
        own_valkey.resume()
        assert await call(limiter, "answered") == "answered"
        async with open_client(own_valkey.url) as client:
            await empty(client)


async def test_a_caller_may_be_cancelled_at_any_moment(redis_url: str, redis_client: Redis, rounds: int) -> None:
    """Hundreds of callers of two processes, each cancelled at some moment: no slot is leaked, none is given twice."""
    inside, most, chance = 0, 0, random.Random(5)

    async def visit(limiter: ProviderLimiter) -> None:
        nonlocal inside, most
        async with limiter.acquire("toy", CIRCUIT) as slot:
            inside += 1
            most = max(most, inside)
            try:
                for _ in range(chance.randrange(20)):
                    await asyncio.sleep(0)
                slot.report("answered")
            finally:
                inside -= 1

    async def interrupted(limiter: ProviderLimiter) -> None:
        for _ in range(100 * rounds):
            visiting = asyncio.create_task(visit(limiter))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            visiting.cancel()
            await asyncio.gather(visiting, return_exceptions=True)

    async with limiter_at(redis_url, width=3, lease=30) as one, limiter_at(redis_url, width=3, lease=30) as two:
        await asyncio.gather(*(interrupted(limiter) for limiter in (one, one, one, two, two, two)))
        await empty(redis_client)
        line = Line()
        line.join(one, 3)
        await line.has_begun(3)
        await line.end()
    assert 1 < most <= 3


async def test_slots_are_given_back_at_the_end(redis_url: str, redis_client: Redis) -> None:
    """A process that ends in order leaves no slot in use and no caller waiting; `free` releases those of dead
    processes."""
    line = Line()
    async with limiter_at(redis_url, width=1) as limiter:
        assert await call(limiter, "answered") == "answered"
    assert await redis_client.zcard(SLOTS) == 0
    await redis_client.zadd(SLOTS, {"dead": 9e12})
    async with limiter_at(redis_url, width=1) as limiter:
        line.join(limiter, 3)
        await asyncio.sleep(0)
    await line.end()
    assert line.codes == ["ending"] * 3
    async with limiter_at(redis_url, width=1) as limiter:
        await limiter.free()
        assert await call(limiter, "answered") == "answered"


async def test_the_only_process_waits_for_no_dead_one(tmp_path: Path, redis_url: str, redis_client: Redis) -> None:
    """On SQLite, which serves one process, slots in use at its start belong to one that was killed."""
    await redis_client.zadd(SLOTS, {f"dead{n}": 9e12 for n in range(4)})
    await redis_client.zadd("gates", {"toy": 1.0})
    server = RedisServer(redis_url, redis_client)
    async with open_workflow(settings(tmp_path), server) as workflow:
        visit = workflow.acquire("toy", CIRCUIT)
        await asyncio.wait_for(visit.__aenter__(), 5)
        await visit.__aexit__(None, None, None)


async def test_a_clock_that_jumps_steals_no_slot(redis_url: str, redis_client: Redis) -> None:
    """Redis's clock an hour on: who lives keeps the slot. An hour back: what a dead process held is free after half a
    lease, and nobody waits for the hour, in a pause or before a circuit that is open."""
    hour = 3_600_000
    times = {"lease": 2, "open": 0.5}
    async with limiter_at(redis_url, width=1, **times) as one, limiter_at(redis_url, width=1, **times) as two:
        holders, line = Line(), Line()
        holders.join(one, 1)
        await holders.has_begun(1)
        await shift(redis_client, -hour)
        line.join(two, 1)
        with pytest.raises(TimeoutError):
            await line.has_begun(1, seconds=1.5)
        await redis_client.zadd(SLOTS, {"dead": 9e12})
        await shift(redis_client, hour)
        await holders.end()
        await line.has_begun(1)
        await line.end()
        assert await call(one, "rate", 0.5) == "rate"
        await until_paused(redis_client)
        await shift(redis_client, hour)
        assert await asyncio.wait_for(call(two, "answered"), LONG) == "answered"
        await fail(one)
        await circuit_is(one, "open")
        await shift(redis_client, hour)
        async with asyncio.timeout(LONG):
            await until_probe(two, "answered")


SHIFT = """
local by = tonumber(ARGV[1])
for _, token in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZINCRBY', KEYS[1], by, token) end
for _, name in ipairs({'seen', 'pause'}) do
    local at = tonumber(redis.call('HGET', KEYS[2], name) or 0)
    if at ~= 0 then redis.call('HSET', KEYS[2], name, at + by) end
end
for _, name in ipairs(redis.call('HKEYS', KEYS[3])) do
    local circuit = cjson.decode(redis.call('HGET', KEYS[3], name))
    if circuit.shut ~= 0 then circuit.shut = circuit.shut + by end
    redis.call('HSET', KEYS[3], name, cjson.encode(circuit))
end
"""


async def shift(client: Redis, by: int) -> None:
    """What is stored becomes so many milliseconds later, all at once, as if the clock had been set back by so much."""
    await client.eval(SHIFT, 3, SLOTS, STATE, CIRCUITS, by)


async def test_what_nobody_uses_is_forgotten(redis_url: str, redis_client: Redis) -> None:
    """Every key has an end, and a circuit that was not used for a day is not shown."""
    async with limiter_at(redis_url, width=1) as limiter:
        async with limiter.acquire("toy", CIRCUIT) as slot:
            line = Line()
            line.join(limiter, 1)
            slot.report("answered")
            await circuit_is(limiter, "closed")
            found = await redis_client.keys("gate*")
            assert len(found) >= 4
            assert all([0 < await redis_client.pttl(key) <= 86_400_000 for key in found])
        await line.end()
        assert list(await limiter.circuits()) == ["toy"]
        old = {"failures": 0, "shut": 0, "period": 0, "probe": "", "at": round(time.time() * 1000) - 86_400_500}
        await redis_client.hset(CIRCUITS, CIRCUIT, json.dumps(old))
        assert (await limiter.circuits())["toy"] == []
        assert await call(limiter, "answered", circuit="m:edit") == "answered"
        await circuit_is(limiter, "closed", "m:edit")
        assert await redis_client.hkeys(CIRCUITS) == [b"m:edit"]


def test_the_keys_of_a_provider_share_a_slot() -> None:
    """A server in cluster mode, which refuses scripts over several slots, plays along."""
    with valkey(find_server()) as server:
        server.kill()
        server.start("--cluster-enabled", "yes", "--appendonly", "no")
        assert ask(server.socket, "CLUSTER ADDSLOTSRANGE 0 16383") == "+OK"
        wait_for(lambda: "cluster_state:ok" in ask(server.socket, "CLUSTER INFO", whole=True))

        async def visit() -> list[str]:
            async with limiter_at(server.url, open=60) as limiter:
                ends = [await call(limiter, "outage") for _ in range(OPENS_AFTER + 1)]
                await circuit_is(limiter, "open")
                return ends

        assert asyncio.run(visit()) == ["outage"] * OPENS_AFTER + ["circuit_open"]


def wait_for(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))
