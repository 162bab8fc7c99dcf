"""A process that calls a vendor through the provider limiter.

`python -m tests.support.processes.limiter_caller <url> <vendor's port> <calls> <width> <lease seconds> <outcome>`

It starts when a line arrives on its standard input, makes all its calls at once, each a connection that lasts until the
vendor closes it, and prints their outcomes.
"""

import asyncio
import sys
from typing import Literal

from app.bindings.redis.connection import open_client
from app.bindings.redis.provider_limiter import ProviderLimiter, Times, open_provider_limiter
from tools.errors import Unavailable

Outcome = Literal["answered", "outage", "rate"]


async def call(limiter: ProviderLimiter, port: int, outcome: Outcome) -> str:
    try:
        async with limiter.acquire("toy", "m:generate") as slot:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.read()
            writer.close()
            slot.report(outcome)
    except Unavailable as error:
        return error.code
    return outcome


async def main(url: str, port: int, calls: int, width: int, lease: float, outcome: Outcome) -> None:
    async with open_client(url) as client, open_provider_limiter(client, {"*": width}, Times(lease=lease)) as limiter:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(*await asyncio.gather(*(call(limiter, port, outcome) for _ in range(calls))), flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6]))  # type: ignore[arg-type]
