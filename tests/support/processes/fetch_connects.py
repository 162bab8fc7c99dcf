"""A process that fetches every URL of `tests/support/files/hostile_addresses.py` and reports each connect."""

import asyncio
import json
import logging
import socket
import sys

from tests.support.files.hostile_addresses import NAMES, URLS
from tools.errors import Invalid
from tools.fetch import PORTS, FetchPolicy, fetch_with_policy

connects: list[str] = []


def note(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple):
        connects.append(str(args[1]))


async def known(host: str, port: int) -> list[str]:
    if host.lower() in NAMES:
        return NAMES[host.lower()]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(answer[4][0]) for answer in found]


async def attempt(way: FetchPolicy, url: str) -> str | None:
    try:
        return (await fetch_with_policy(way, url, max_bytes=100)).decode()
    except Invalid:
        return None


async def main() -> None:
    trapped: list[int] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trapped.append(1)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n127.0.0.1 ok")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(trap, ["127.0.0.1", "::1"], 0) as listening:
        port = next(one.getsockname()[1] for one in listening.sockets if one.family == socket.AF_INET)
        ports = PORTS | {one.getsockname()[1] for one in listening.sockets}
        guard = FetchPolicy(ports=ports, seconds=2.0, resolve=known)
        urls = [url.format(port=one.getsockname()[1]) for one in listening.sockets for url in URLS]
        fetched = [body for body in await asyncio.gather(*(attempt(guard, url) for url in urls)) if body]
        seen, hits = list(connects), len(trapped)
        opened = FetchPolicy(frozenset({f"127.0.0.1:{port}"}), seconds=30.0, resolve=known)
        fetched += [str(await attempt(opened, f"http://127.0.0.1:{port}/"))]
        assert len(connects) > len(seen), "the hook sees nothing"
    print(json.dumps({"tried": len(URLS), "connects": seen, "trapped": hits, "fetched": fetched}))


if __name__ == "__main__":
    logging.disable()
    sys.addaudithook(note)
    asyncio.run(main())
