"""A process that takes tokens from a token bucket.

`python -m tests.support.processes.token_taker <url> <takes> <capacity> <rate>`

It starts when a line arrives on its standard input, and prints how many tokens it was granted and how many takes were
not decided in time.
"""

import asyncio
import sys

from app.bindings.redis.connection import open_client
from app.bindings.redis.token_bucket import TokenBuckets
from tools.errors import Unavailable


async def main(url: str, takes: int, capacity: int, per_minute: int) -> None:
    async with open_client(url) as client:
        buckets = TokenBuckets(client)
        await client.ping()
        print("ready", flush=True)
        sys.stdin.readline()
        answers = await asyncio.gather(
            *(buckets.take("shared", capacity=capacity, per_minute=per_minute) for _ in range(takes)),
            return_exceptions=True,
        )
        print(answers.count(0.0), sum(isinstance(answer, Unavailable) for answer in answers), flush=True)


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
