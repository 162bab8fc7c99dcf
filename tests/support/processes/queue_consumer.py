"""A consumer process that writes each message into a SQLite table: `python -m … <redis url> <file>`.

For its first second it fails now and then, as it would with a locked database. It ends with its standard input, so that
it does not outlive tests that are killed.
"""

import asyncio
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from app.bindings.queue import open_queue
from app.bindings.redis.connection import open_client
from tools.env import Message
from tools.errors import Unavailable


async def main(url: str, file: Path) -> None:
    rows = sqlite3.connect(file, isolation_level=None)
    rows.execute("PRAGMA busy_timeout = 5000")
    started = time.monotonic()

    async def handle(messages: Sequence[Message]) -> None:
        if time.monotonic() < started + 1 and random.random() < 0.2:
            raise Unavailable("the database is locked")
        rows.execute("BEGIN IMMEDIATE")
        rows.executemany("INSERT INTO views VALUES (?) ON CONFLICT DO NOTHING", [(message.id,) for message in messages])
        if random.random() < 0.1:
            rows.execute("ROLLBACK")
            raise RuntimeError("this time it did not work")
        rows.execute("COMMIT")

    async with open_client(url) as client:
        print("ready", flush=True)
        await open_queue(client, window_seconds=0.1).consume(handle)


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
