"""A server that only streams, and clients of it: a real database, Redis and actor, and no other binding.

`running(home, command=STREAMS, …)` starts it in its own process.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import httpx
from litestar.types import ControllerRouterHandler
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from app.bindings.actor import open_actor
from app.bindings.bucket.directory import Directory
from app.bindings.database import open_database
from app.bindings.redis.connection import open_redis
from app.http.server import listen, serve_app, settle
from app.http.websocket import OPTIONS
from app.main import create_app
from app.settings import Settings, read_settings
from tests.support.deadlines import LONG
from tests.support.environment import EmptyQueue
from tests.support.servers.picasso import Server
from tests.support.servers.shell import NoAssets
from tools.env import Env
from tools.errors import Unavailable

STREAMS = ("tests.support.servers.streams",)
Json = dict[str, Any]


@contextlib.asynccontextmanager
async def open_streams(settings: Settings) -> AsyncIterator[Env]:
    """Open the bindings of a stream. Fails: Unavailable while a file `away` is in the data directory."""
    if (settings.home / "away").exists():
        raise Unavailable("the database did not answer", code="database_unavailable")
    async with contextlib.AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings))
        redis = await stack.enter_async_context(open_redis(settings))
        given: Json = {
            "DB": db,
            "PICASSO_DO": await stack.enter_async_context(open_actor(settings, db, redis.client)),
            "BUCKET": await stack.enter_async_context(Directory.open(settings.home / "bucket")),
            "PICASSO_QUEUE": EmptyQueue(),
            "ASSETS": NoAssets(),
            "settings": settings,
        }
        yield Env(**{field.name: given.get(field.name, cast(Any, None)) for field in dataclasses.fields(Env)})


@contextlib.asynccontextmanager
async def connect(
    server: Server, session_id: str, since: int | None = None, *, port: int | None = None, **options: Any
) -> AsyncIterator[ClientConnection]:
    """A WebSocket on the session; `port` is that of a proxy in front of the server."""
    query = "" if since is None else f"?since={since}"
    url = f"ws://127.0.0.1:{port or server.port}/api/stream/{session_id}{query}"
    async with dial(
        url, **{"compression": None, "proxy": None, "max_queue": None, "close_timeout": 2, **options}
    ) as ws:
        yield ws


async def take(ws: ClientConnection, n: int, seconds: float = LONG) -> list[Json]:
    """The next `n` frames."""
    async with asyncio.timeout(seconds):
        return [json.loads(await ws.recv()) for _ in range(n)]


async def closing(ws: ClientConnection, seconds: float = LONG) -> int:
    """The code that the server closes with; frames before it are discarded."""
    async with asyncio.timeout(seconds):
        try:
            while True:
                await ws.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


async def tell(client: httpx.AsyncClient, session_id: str, *texts: str) -> list[int]:
    """Post one event per text, one after the other, and return their numbers."""
    answers = [await client.post(f"/_actor/{session_id}", json=said(text)) for text in texts]
    assert {answer.status_code for answer in answers} <= {202}, answers[-1].text
    return [answer.json()["seq"] for answer in answers]


def said(text: str) -> Json:
    return {"type": "agent", "data": {"artifactId": "a", "kind": "message", "text": text}}


class Follower:
    """A client that reconnects with its last `seq` whenever it is disconnected, and records every event it received."""

    def __init__(self, servers: Sequence[Server], session_id: str, *, ports: Sequence[int] = (), seed: int = 0) -> None:
        self._doors = [(server, port) for server, port in zip(servers, ports or [s.port for s in servers], strict=True)]
        self._session_id, self._random = session_id, random.Random(seed)
        self.events: list[Json] = []
        self.connects = 0

    @property
    def last(self) -> int:
        return self.events[-1]["seq"] if self.events else 0

    async def until(self, seq: int, seconds: float = LONG) -> None:
        """Follow the session until the event with that number was received."""
        async with asyncio.timeout(seconds):
            while self.last < seq:
                with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, EOFError):
                    await self._follow(seq)

    async def _follow(self, seq: int) -> None:
        server, port = self._random.choice(self._doors)
        self.connects += 1
        async with connect(server, self._session_id, self.last, port=port, open_timeout=5) as ws:
            while self.last < seq:
                frame = json.loads(await ws.recv())
                if "seq" in frame:
                    self.events.append(frame)


def main(handlers: Sequence[ControllerRouterHandler] = ()) -> int:
    settings = read_settings(os.environ)
    if seconds := os.environ.get("TEST_PING_SECONDS"):
        OPTIONS.update(ws_ping_interval=float(seconds), ws_ping_timeout=float(seconds))
    listener = listen(settings.host, settings.port)
    settings = settle(settings, listener.getsockname()[1])
    app = create_app(settings, jobs=False, bindings=open_streams, more_handlers=handlers)
    return serve_app(app, settings, listener)


if __name__ == "__main__":
    sys.exit(main())
