"""The token bucket: exact over processes, quick to decide, never generous by accident."""

import asyncio
import subprocess
import sys
import time

import pytest
from redis.asyncio import Redis

from app.bindings.redis.connection import open_client
from app.bindings.redis.token_bucket import TokenBuckets
from tests.support.deadlines import LONG, until
from tests.support.servers.valkey import Valkey
from tools.errors import Unavailable


async def test_the_limit_is_the_limit(redis_url: str) -> None:
    """Four processes ask 2,000 times at once: at most capacity + refill is granted, and at least 99 % of that."""
    capacity, per_minute = 100, 600
    command = [
        sys.executable,
        "-m",
        "tests.support.processes.token_taker",
        redis_url,
        "500",
        str(capacity),
        str(per_minute),
    ]
    takers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    for taker in takers:
        assert taker.stdout and taker.stdout.readline() == "ready\n"
    started = time.monotonic()
    for taker in takers:
        assert taker.stdin
        taker.stdin.write("go\n")
    answers = [taker.communicate()[0].split() for taker in takers]
    granted = sum(int(answer[0]) for answer in answers)
    print(answers, time.monotonic() - started)
    allowed = capacity + per_minute / 60 * (time.monotonic() - started)
    assert 0.99 * capacity <= granted <= allowed


async def test_tokens_come_back_at_the_rate(redis_client: Redis) -> None:
    """An empty bucket returns how long to wait, and waiting that long is enough."""
    buckets = TokenBuckets(redis_client)
    take = [await buckets.take("b", capacity=3, per_minute=1200) for _ in range(4)]
    assert take[:3] == [0.0, 0.0, 0.0]
    assert 0 < take[3] <= 0.05
    await asyncio.sleep(take[3])
    assert await buckets.take("b", capacity=3, per_minute=1200) == 0.0
    assert await buckets.take("other", capacity=1, per_minute=1) == 0.0
    assert 59 < await buckets.take("other", capacity=1, per_minute=1) <= 60


async def test_a_clock_that_jumps_grants_one_capacity_at_most(redis_client: Redis) -> None:
    """Set back by an hour it gives nothing and does not block; set forward it fills the bucket and no more."""
    buckets = TokenBuckets(redis_client)
    for _ in range(20):
        await buckets.take("b", capacity=3, per_minute=60)
    hour = 3_600_000
    at = int((await redis_client.hget("bucket:b", "at")) or 0)
    assert abs(at / 1000 - time.time()) < 5
    await redis_client.hset("bucket:b", "at", at + hour)
    assert 0 < await buckets.take("b", capacity=3, per_minute=60) <= 1.0
    await redis_client.hset("bucket:b", "at", at - hour)
    assert [await buckets.take("b", capacity=3, per_minute=60) > 0 for _ in range(4)] == [False, False, False, True]


async def test_a_caller_that_leaves_takes_nobody_with_it(redis_client: Redis) -> None:
    """Calls of one moment travel together; one that is cancelled, before or after they left, harms no other."""
    buckets = TokenBuckets(redis_client)
    for turns in range(6):
        leaving = asyncio.create_task(buckets.take("b", capacity=1000, per_minute=1))
        for _ in range(turns):
            await asyncio.sleep(0)
        staying = asyncio.create_task(buckets.take("b", capacity=1000, per_minute=1))
        leaving.cancel()
        assert await staying == await buckets.take("b", capacity=1000, per_minute=1) == 0.0
        leaving = asyncio.create_task(buckets.take("b", capacity=1000, per_minute=1))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        assert await buckets.take("b", capacity=1000, per_minute=1) == 0.0


async def test_a_full_bucket_is_forgotten(redis_client: Redis) -> None:
    """What callers may choose (addresses) does not pile up: keys expire when the bucket would be full again."""
    await TokenBuckets(redis_client).take("b", capacity=10, per_minute=60)
    assert 0 < await redis_client.pttl("bucket:b") <= 2000


async def test_a_hanging_redis_is_answered_for_in_time(own_valkey: Valkey) -> None:
    """Each call is refused, and takes no token when Redis wakes up."""
    async with open_client(own_valkey.url) as client:
        buckets = TokenBuckets(client)
        assert await buckets.take("b", capacity=100, per_minute=1) == 0.0
        own_valkey.pause()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await buckets.take("b", capacity=100, per_minute=1)
        own_valkey.resume()
        await client.ping()
        assert float((await client.hget("bucket:b", "tokens")) or 0) == pytest.approx(99, abs=0.5)
        own_valkey.kill()
        with pytest.raises(Unavailable):
            await buckets.take("b", capacity=100, per_minute=1)
        own_valkey.start()

        granted: list[float] = []

        async def again() -> None:
            while not granted:
                try:
                    granted.append(await buckets.take("b", capacity=100, per_minute=1))
                except Unavailable:
                    continue

        async with asyncio.timeout(LONG):
            await again()
        await until(lambda: granted == [0.0])


async def test_no_minute_has_more_tries_than_the_most(redis_client: Redis) -> None:
    """At most so many in any minute, whatever came before; a refused try does not count, and is told when one will.
    Two callers may have different ideas of the most."""
    buckets = TokenBuckets(redis_client)
    assert [await buckets.take_in_minute("a", most=3) for _ in range(3)] == [0.0] * 3
    assert 0 < await buckets.take_in_minute("a", most=3) <= 60
    assert await buckets.take_in_minute("a", most=4) == 0.0
    assert await redis_client.llen("minute:a") == 4
    # As if the first two had been made longer ago than the others, and then longer ago than a minute.
    for position, age in ((0, 40_000), (1, 30_000)):
        moment = int(await redis_client.lindex("minute:a", position) or 0) - age
        await redis_client.lset("minute:a", position, str(moment))
    assert 0 < await buckets.take_in_minute("a", most=4) <= 20 < await buckets.take_in_minute("a", most=1) <= 60
    for position in (0, 1):
        moment = int(await redis_client.lindex("minute:a", position) or 0) - 30_000
        await redis_client.lset("minute:a", position, str(moment))
    assert [await buckets.take_in_minute("a", most=3), await buckets.take_in_minute("a", most=4)] == [0.0, 0.0]
    assert 0 < await redis_client.pttl("minute:a") <= 60_000
