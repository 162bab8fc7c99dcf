"""Requests to the application without a socket, with every byte of the path under the test's control."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from app.lifecycle import Bindings
from app.main import Application, create_app
from app.settings import Settings
from tests.support.deadlines import LONG
from tests.support.servers.shell import open_parts


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@contextlib.asynccontextmanager
async def running_app(
    settings: Settings, *, bindings: Bindings = open_parts, more_handlers: Iterable[Any] = ()
) -> AsyncIterator[Application]:
    """The application with its bindings open."""
    app = create_app(settings, jobs=False, bindings=bindings, more_handlers=list(more_handlers))
    async with app.lifespan():
        async with asyncio.timeout(LONG):
            while app.lifecycle.env is None:
                await asyncio.sleep(0)
        yield app


async def call(
    app: Application,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    body: bytes = b"",
    peer: tuple[str, int] | None = ("127.0.0.1", 50000),
) -> Answer:
    """Make one request; `target` is the path and query exactly as in the request line."""
    path, _, query = target.partition("?")
    lines = list(headers.items() if isinstance(headers, Mapping) else headers)
    if body:
        lines.append(("content-length", str(len(body))))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in lines],
        "client": peer,
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    messages: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(cast(Any, scope), cast(Any, receive), send)
    start = messages[0]
    raw = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], raw, b"".join(message.get("body", b"") for message in messages[1:]))
