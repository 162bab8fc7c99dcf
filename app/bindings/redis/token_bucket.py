"""Token buckets that all processes share; the clock is Redis's own."""

from redis.asyncio import Redis

from app.bindings.redis.scripts import TimelyScript

# A clock that is set back grants nothing, one that is set forward fills the bucket at most.
TAKE = """
local capacity, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2]) / 60000
local stored = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(stored[1]) or capacity, tonumber(stored[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * per_ms)
for i = 3, last do
    if tokens >= 1 then
        tokens = tokens - 1
        answers[#answers + 1] = 0
    else
        answers[#answers + 1] = math.ceil((1 - tokens) / per_ms)
    end
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.ceil((capacity - tokens) / per_ms) + 1000))
"""


DECIDE_SECONDS = 1.0
"""A submission waits for its turn rather than being turned away by a moment's load."""


class TokenBuckets:
    def __init__(self, client: Redis) -> None:
        self._take = TimelyScript(client, TAKE, seconds=DECIDE_SECONDS)

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        """One token: 0.0 when granted, else the seconds until there will be one.

        Fails: Unavailable when Redis has not decided within DECIDE_SECONDS; then no token is gone.
        """
        return await self._take.run((f"bucket:{bucket}",), (capacity, per_minute)) / 1000
