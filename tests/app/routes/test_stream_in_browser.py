"""What pages of another origin can do in a real browser: follow a session over a restart, and use the API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import BINARY, open_tab
from tests.support.deadlines import LONG
from tests.support.servers.picasso import listening, running
from tests.support.servers.streams import STREAMS, tell

pytestmark = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")

FOLLOW = """
window.seen = []
window.source = new EventSource("{url}/api/stream/s?since=0")
source.onmessage = ({{ data }}) => {{ const event = JSON.parse(data); if (event.seq) seen.push(event.data.text) }}
"""
ASK = """
(async () => {{
  const told = await fetch("{url}/_actor/s", {{
    method: "POST",
    headers: {{ "X-Api-Key": "{key}", "Content-Type": "application/json" }},
    body: JSON.stringify({{ type: "agent", data: {{ artifactId: "a", kind: "message", text: "from the page" }} }}),
  }})
  const refused = await fetch("{url}/api/stream/s?since=999")
  const {{ correlationId }} = (await refused.json()).error
  return [told.status, refused.status, correlationId == refused.headers.get("x-correlation-id")]
}})()
"""
DIAL = """
new Promise((open, fail) => {{
  const socket = new WebSocket("{ws}/api/stream/s", ["picasso.v1", "other"])
  socket.onopen = () => open(socket.protocol)
  socket.onerror = () => fail(new Error("refused"))
}})
"""


@contextlib.asynccontextmanager
async def page_of_another_origin() -> AsyncIterator[str]:
    """An empty page on a port of its own; gives its origin."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Chromium opens connections ahead that it may not use.
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n")
            writer.write(b"Connection: close\r\n\r\n<!doctype html>")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_page_follows_a_session_over_a_restart(tmp_path: Path) -> None:
    """An EventSource lives on while the server restarts and is not ready, and misses nothing; a WebSocket with
    subprotocols opens; the page writes with its key and reads errors and headers."""
    async with page_of_another_origin() as origin, open_tab() as tab:
        await tab.open(origin)
        chosen = {"CORS_ORIGINS": origin, "API_KEY": "k" * 40}
        async with running(tmp_path, command=STREAMS, **chosen) as server, server.client(**server.headers) as client:
            await tab.evaluate(FOLLOW.format(url=server.url))
            await tell(client, "s", "before")
            await tab.until("seen.length == 1")
            assert await tab.evaluate(ASK.format(url=server.url, key=server.key)) == [202, 410, True]
            assert await tab.evaluate(DIAL.format(ws=server.url.replace("http", "ws"))) == "picasso.v1"
            await tab.until("seen.length == 2")
        (tmp_path / "away").touch()
        await tab.until("source.readyState == EventSource.CONNECTING")
        async with (
            listening(tmp_path, command=STREAMS, **chosen, PORT=str(server.port)) as server,
            server.client(**server.headers) as client,
        ):
            await tab.until("source.readyState == EventSource.OPEN")
            assert (await client.get("/readyz")).status_code == 503
            (tmp_path / "away").unlink()
            async with asyncio.timeout(LONG):
                while (await client.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.05)
            await tell(client, "s", "after")
            await tab.until("seen.length == 3")
            assert await tab.evaluate("seen") == ["before", "from the page", "after"]
