"""Token buckets that all processes share; the clock is Redis's own."""

from redis.asyncio import Redis

from app.bindings.redis.scripts import BatchScript

DECIDE_SECONDS = 1.0
"""A submission waits for its turn rather than being turned away by a moment's load."""


class TokenBuckets:
    """Buckets by name; one that was never used is full."""

    def __init__(self, client: Redis) -> None:
        self._take = BatchScript(client, "take_token", seconds=DECIDE_SECONDS)
        self._take_in_minute = BatchScript(client, "take_in_minute", seconds=DECIDE_SECONDS)

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        """One token: 0.0 when granted, else the seconds until there will be one.

        Fails: Unavailable when Redis has not decided within DECIDE_SECONDS; then no token is gone.
        """
        wait_ms = await self._take.run(bucket=f"bucket:{bucket}", capacity=capacity, per_minute=per_minute)
        return wait_ms / 1000

    async def take_in_minute(self, bucket: str, *, most: int) -> float:
        """One of at most `most` tries in any 60 s: 0.0 when it counts, else the seconds until one will.

        Fails: Unavailable when Redis has not decided within DECIDE_SECONDS; then nothing is counted.
        """
        return await self._take_in_minute.run(tries=f"minute:{bucket}", most=most) / 1000
