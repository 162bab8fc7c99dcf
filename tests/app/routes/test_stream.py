"""The streams over real sockets, against real server processes."""

import asyncio
import contextlib
import json
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.http.server import listen
from app.http.websocket import OPTIONS
from app.main import create_app
from tests.support.deadlines import LONG, until
from tests.support.environment import settings as settings_of
from tests.support.servers.fault_proxy import FaultProxy, Faults
from tests.support.servers.picasso import Server, running
from tests.support.servers.streams import STREAMS, Follower, Json, closing, connect, open_streams, said, take, tell
from tests.support.servers.valkey import Valkey, ask

MIB = 1 << 20


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server on SQLite for the tests that leave it as it was; each uses sessions of its own."""
    async with running(tmp_path_factory.mktemp("server"), command=STREAMS) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with server.client(**server.headers) as client:
        yield client


async def clients_of(client: httpx.AsyncClient, session_id: str) -> int:
    return int((await client.get(f"/_actor/{session_id}/state")).json()["clients"])


def texts(frames: list[Json]) -> list[str]:
    return [frame["data"]["text"] for frame in frames]


def table_of(events: list[Json]) -> list[tuple[int, str]]:
    return [(event["seq"], event["data"]["text"]) for event in events]


async def listed(client: httpx.AsyncClient, session_id: str, limit: int = 200) -> list[Json]:
    """The whole log of the session, page by page."""
    events: list[Json] = []
    cursor: str | None = "0"
    while cursor is not None:
        answer = await client.get(f"/api/sessions/{session_id}/events", params={"cursor": cursor, "limit": limit})
        page = answer.json()
        events += page["items"]
        cursor = page["nextCursor"]
    return events


class TestFollowing:
    async def test_replay_the_mark_and_live(self, server: Server, client: httpx.AsyncClient) -> None:
        """`?since=n`: what came after n, one `caught-up` frame without a `seq` key, then what happens."""
        await tell(client, "replay", "a", "b", "c")
        async with connect(server, "replay", 1) as ws:
            assert texts(await take(ws, 2)) == ["b", "c"]
            assert await take(ws, 1) == [{"type": "caught-up", "sessionId": "replay", "data": {"upTo": 3}}]
            await tell(client, "replay", "d")
            (frame,) = await take(ws, 1)
        assert {**frame, "ts": 0} == {"sessionId": "replay", **said("d"), "ts": 0, "seq": 4}
        assert abs(frame["ts"] - time.time() * 1000) < 60_000

    async def test_live_only_and_ping(self, server: Server, client: httpx.AsyncClient) -> None:
        """Without a cursor the stream is live from the handshake on; `ping` is answered `pong`, all else ignored."""
        await tell(client, "live", "a")
        async with connect(server, "live") as ws:
            await ws.send("hello")
            await ws.send(b"\x00ping")
            await ws.send("ping")
            assert await ws.recv() == "pong"
            await tell(client, "live", "b")
            assert texts(await take(ws, 1)) == ["b"]

    async def test_what_is_told_right_after_the_handshake_is_seen(
        self, server: Server, client: httpx.AsyncClient
    ) -> None:
        """A client misses nothing that is emitted after its handshake, first event of its session or not."""
        for i in range(20):
            async with connect(server, f"first-{i % 10}") as ws:
                await tell(client, f"first-{i % 10}", f"{i}")
                assert texts(await take(ws, 1)) == [f"{i}"]

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("refused?since=1", 4410),
            ("refused?since=9223372036854775807", 4410),
            ("refused?since=-1", 4400),
            ("refused?since=x", 4400),
            ("refused?since=", 4400),
            ("refused?since=0&since=0", 4400),
            ("a" * 129, 4400),
            ("a%20b", 4400),
            ("%C3%A9", 4400),
            ("a%2561", 4400),
        ],
    )
    async def test_bad_ids_and_cursors_close_with_a_code(self, server: Server, path: str, code: int) -> None:
        """A socket that cannot be served gets the reason in its close code, and no frame."""
        async with connect(server, path) as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
        assert closed.value.rcvd and closed.value.rcvd.code == code

    async def test_server_sent_events(self, server: Server, client: httpx.AsyncClient) -> None:
        """The same log as `text/event-stream`: `id` is `seq`, Last-Event-ID stands over `since`."""
        await tell(client, "sse", "a", "b", "c")
        for params, headers, since in (({"since": "2"}, {}, 2), ({"since": "0"}, {"Last-Event-ID": "1"}, 1)):
            async with client.stream("GET", "/api/stream/sse", params=params, headers=headers) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert "no-store" in answer.headers["cache-control"]
                blocks = sse_blocks(answer)
                for seq in range(since + 1, 4):
                    block = await anext(blocks)
                    assert block["id"] == str(seq) == str(json.loads(block["data"])["seq"])
                mark = await anext(blocks)
                assert "id" not in mark and json.loads(mark["data"])["data"] == {"upTo": 3}
        async with client.stream("GET", "/api/stream/sse") as answer:
            assert answer.status_code == 200
            await tell(client, "sse", "d")
            assert json.loads((await anext(sse_blocks(answer)))["data"])["data"]["text"] == "d"

    async def test_head_of_a_stream_ends(self, client: httpx.AsyncClient) -> None:
        """HEAD has the headers of the stream, or the refusal's status, and no body to wait for."""
        answer = await client.head("/api/stream/head")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        assert (await client.head("/api/stream/head?since=9")).status_code == 410
        await until(lambda: none_left(client, "head"))

    async def test_a_socket_refuses_a_query_that_it_does_not_know(self, server: Server) -> None:
        """A misspelled parameter would silently make a stream live only."""
        async with connect(server, "s?sinse=1") as ws:
            assert await closing(ws) == 4400

    async def test_polling_pages_through_the_log(self, server: Server, client: httpx.AsyncClient) -> None:
        """Pages of any size add up to the log; `since` and `cursor` both continue it."""
        await tell(client, "pages", *(str(i) for i in range(7)))
        for limit in (1, 3, 7, 200):
            assert texts(await listed(client, "pages", limit)) == [str(i) for i in range(7)]
        page = (await client.get("/api/sessions/pages/events?since=5")).json()
        assert texts(page["items"]) == ["5", "6"] and page["nextCursor"] is None
        assert (await client.get("/api/sessions/nobody/events")).json() == {"items": [], "nextCursor": None}

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("/api/sessions/s/events?since=1", 410, "cursor_expired"),
            ("/api/stream/s?since=1", 410, "cursor_expired"),
            ("/api/sessions/s/events?since=-1", 400, "invalid_request"),
            ("/api/sessions/s/events?since=x", 400, "invalid_request"),
            ("/api/sessions/s/events?since=99999999999999999999", 400, "invalid_request"),
            ("/api/sessions/s/events?limit=0", 400, "invalid_request"),
            ("/api/sessions/s/events?limit=201", 400, "invalid_request"),
            ("/api/sessions/a%20b/events", 400, "invalid_request"),
            ("/api/stream/a%20b", 400, "invalid_request"),
            ("/api/jobs/unknown/events", 404, "not_found"),
        ],
    )
    async def test_polling_and_sse_refuse(self, client: httpx.AsyncClient, path: str, status: int, code: str) -> None:
        """Bad cursors, limits and ids are answered in the one error shape."""
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def sse_blocks(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    block: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            block[name] = value.removeprefix(" ")
        else:
            yield block
            block = {}


class TestInbox:
    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/_actor/inbox", {**said("x"), "sessionId": "other"}, 400),
            ("/_actor/inbox", {"type": "unknown", "data": {}}, 400),
            ("/_actor/inbox", {"type": "caught-up", "data": {"upTo": 9}}, 400),
            ("/_actor/inbox", {"type": "agent", "data": [1]}, 400),
            ("/_actor/inbox", {"type": "agent"}, 400),
            ("/_actor/inbox", {**said("x"), "seq": 7}, 400),
            ("/_actor/inbox", {"type": "agent", "data": {"x": "y" * (64 << 10)}}, 413),
            ("/_actor/a%20b", said("x"), 400),
            ("/broadcast", said("x"), 400),
            ("/broadcast", {**said("x"), "sessionId": "a b"}, 400),
        ],
    )
    async def test_what_is_refused_reaches_nobody(
        self, server: Server, client: httpx.AsyncClient, path: str, body: Json, status: int
    ) -> None:
        """A refused event is stored nowhere and no socket sees a frame of it."""
        async with connect(server, "inbox") as ws:
            answer = await client.post(path, json=body)
            assert answer.status_code == status, answer.text
            assert (await client.get("/_actor/inbox/state")).json() == {"sessionId": "inbox", "clients": 1, "seq": 0}
            await ws.send("ping")
            assert await ws.recv() == "pong"

    async def test_without_the_key_it_is_closed(self, server: Server) -> None:
        """No key or another one: 401 at every door of the inbox."""
        async with server.client() as stranger:
            for headers in ({}, {"X-Api-Key": "x" * 43}, {"X-Api-Key": server.key[:-1]}):
                for method, path in (("POST", "/_actor/s"), ("POST", "/broadcast"), ("GET", "/_actor/s/state")):
                    answer = await stranger.request(method, path, headers=headers, json=said("x"))
                    assert answer.status_code == 401
                assert (await stranger.post(f"/_actor/s?key={server.key}", json=said("x"))).status_code == 401

    async def test_time_and_number_are_ours(self, server: Server, client: httpx.AsyncClient) -> None:
        """The sender's time is ignored; the alias has the same session."""
        answer = await client.post("/broadcast", json={**said("x"), "sessionId": "ours", "ts": 1})
        assert (answer.status_code, answer.json()) == (202, {"seq": 1})
        (event,) = await listed(client, "ours")
        assert abs(event["ts"] - time.time() * 1000) < 60_000


class TestSessions:
    async def test_no_session_sees_another(self, server: Server, client: httpx.AsyncClient) -> None:
        """Ids that differ by one character or by case are strangers, and a percent-encoded spelling is only another
        spelling of itself."""
        alphabet = "abAB01._:-"
        ids = sorted({f"canary{a}{b}" for a in alphabet for b in alphabet})
        async with contextlib.AsyncExitStack() as stack:
            sockets = {name: await stack.enter_async_context(connect(server, name)) for name in ids}
            for name in random.Random(9).sample(ids, len(ids)):
                await tell(client, name.replace(":", "%3A"), name)
            for name, ws in sockets.items():
                (frame,) = await take(ws, 1)
                assert (frame["sessionId"], frame["data"]["text"], frame["seq"]) == (name, name, 1)
            for ws in sockets.values():
                await ws.send("ping")
                assert await ws.recv() == "pong"

    @pytest.mark.parametrize("path", ["canary%2Fx", "canary%00", "../canary", "canary%0A", ""])
    async def test_spellings_that_lead_nowhere(self, server: Server, path: str) -> None:
        """A hidden slash, a control character or nothing at all is no session: the handshake is refused."""
        with pytest.raises(InvalidStatus):
            async with connect(server, path):
                pass


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = {"READS_NEED_KEY": "true", "CORS_ORIGINS": "https://app.example"}
    async with running(tmp_path_factory.mktemp("guarded"), command=STREAMS, **settings) as server:
        yield server


class TestKeys:
    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            pytest.param("", {}, id="none"),
            pytest.param("?key=", {}, id="empty"),
            pytest.param("?key=wrong", {}, id="wrong"),
            pytest.param("", {"X-Api-Key": "wrong"}, id="wrong-header"),
            pytest.param("?key={key}&key={key}", {}, id="two"),
            pytest.param("?key={key}", {"Origin": "https://evil.example"}, id="foreign-origin"),
            pytest.param("?key={key}", {"Origin": "null"}, id="null-origin"),
            pytest.param("", {"X-Api-Key": "{key}", "Origin": "https://app.example.evil"}, id="longer-origin"),
        ],
    )
    async def test_no_key_no_stream(self, guarded: Server, query: str, headers: dict[str, str]) -> None:
        """With READS_NEED_KEY the handshake is refused before it is accepted, and the refusal reveals no more."""
        sent = {name: value.format(key=guarded.key) for name, value in headers.items()}
        with pytest.raises(InvalidStatus) as refused:
            async with connect(guarded, "s" + query.format(key=guarded.key), additional_headers=sent):
                pass
        assert refused.value.response.status_code in (401, 403)
        async with guarded.client(**sent) as stranger:
            answer = await stranger.get(f"/api/stream/s{query.format(key=guarded.key)}")
            assert answer.status_code in (401, 403)

    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            pytest.param("?key={key}", {}, id="query"),
            pytest.param("", {"X-Api-Key": "{key}"}, id="header"),
            pytest.param("?key={key}", {"Origin": "https://app.example"}, id="allowed-origin"),
            pytest.param("?key={key}", {"Origin": "{url}"}, id="own-origin"),
        ],
    )
    async def test_with_the_key_it_opens(self, guarded: Server, query: str, headers: dict[str, str]) -> None:
        """The key opens the stream, as a header or, for browsers, in the query; it is not logged."""
        sent = {name: value.format(key=guarded.key, url=guarded.url) for name, value in headers.items()}
        async with connect(guarded, "s" + query.format(key=guarded.key), additional_headers=sent) as ws:
            await ws.send("ping")
            assert await ws.recv() == "pong"
        assert guarded.key not in guarded.log.read_text()

    async def test_polling_needs_it_in_the_header(self, guarded: Server) -> None:
        """`?key=` is for streams alone."""
        async with guarded.client() as client:
            assert (await client.get(f"/api/sessions/s/events?key={guarded.key}")).status_code == 401
            assert (await client.get("/api/sessions/s/events", headers=guarded.headers)).status_code == 200


async def send_quietly(ws: ClientConnection, *messages: Any, **options: Any) -> None:
    """Send although the other side may have closed by now."""
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            await ws.send(message, **options)


async def send_text(ws: ClientConnection, size: int) -> None:
    await send_quietly(ws, "x" * size)


async def flood(ws: ClientConnection) -> None:
    await send_quietly(ws, *["ping"] * 2000)


async def flood_slowly(ws: ClientConnection) -> None:
    """A little over a hundred messages a second, for as long as it takes."""
    while ws.close_code is None:
        await send_quietly(ws, "x")
        await asyncio.sleep(0.005)


async def flood_pings(ws: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        for i in range(2000):
            await ws.ping(f"{i}")


async def send_bad_utf8(ws: ClientConnection) -> None:
    await send_quietly(ws, b"\xff\xfe", text=True)


def empty_fragments() -> Iterator[str]:
    yield "x"
    for _ in range(5000):
        yield ""


async def send_fragments(ws: ClientConnection) -> None:
    await send_quietly(ws, empty_fragments())


async def send_large_in_fragments(ws: ClientConnection) -> None:
    await send_quietly(ws, ["x" * 1000] * 66)


class TestAbuse:
    @pytest.mark.parametrize(
        ("attack", "code"),
        [
            pytest.param(lambda ws: send_text(ws, (64 << 10) + 1), 1009, id="64-KiB-and-1"),
            pytest.param(lambda ws: send_text(ws, 17 * MIB), 1009, id="17-MiB"),
            pytest.param(send_large_in_fragments, 1009, id="large-in-fragments"),
            pytest.param(send_bad_utf8, 1007, id="bad-utf8"),
            pytest.param(flood, 1008, id="flood"),
            pytest.param(flood_slowly, 1008, id="slow-flood"),
            pytest.param(flood_pings, 1008, id="ping-flood"),
            pytest.param(send_fragments, 1008, id="empty-fragments"),
        ],
    )
    async def test_client_frames_are_bounded(
        self,
        server: Server,
        client: httpx.AsyncClient,
        attack: Callable[[ClientConnection], Coroutine[Any, Any, None]],
        code: int,
    ) -> None:
        """An abusive client is closed with a code it can read; memory stays, and its neighbour notices nothing
        ."""
        before = server.memory()
        async with connect(server, "abuse") as neighbour, connect(server, "abuse", ping_interval=None) as ws:
            attacking = asyncio.create_task(attack(ws))
            assert await closing(ws) == code
            await tell(client, "abuse", "still here")
            assert texts(await take(neighbour, 1)) == ["still here"]
            await attacking
        assert server.memory() - before < 5 * MIB

    async def test_what_is_allowed_is_let_through(self, server: Server) -> None:
        """64 KiB in one message and a burst of a hundred pings are no abuse; compression is not negotiated."""
        async with connect(server, "allowed", compression="deflate") as ws:
            assert ws.protocol.extensions == []
            await ws.send("x" * (64 << 10))
            for _ in range(90):
                await ws.send("ping")
            assert [await ws.recv() for _ in range(90)] == ["pong"] * 90


class TestPeers:
    async def test_a_client_that_stops_reading_harms_nobody(self, server: Server, client: httpx.AsyncClient) -> None:
        """Stalled clients cost little memory, others get their events meanwhile, stalled ones are closed with 1013 and
        can resume; a quiet stream is kept alive with comments."""
        beat = asyncio.create_task(first_comment(server))
        async with contextlib.AsyncExitStack() as stack:
            others = [await stack.enter_async_context(connect(server, "stall")) for _ in range(20)]
            slow = [await stack.enter_async_context(narrow(server, "stall")) for _ in range(8)]
            before = server.memory()
            await deliver(client, others, "small", 20)
            for ws in slow:
                ws.transport.pause_reading()
            await deliver(client, others, "x" * 60_000, 3)
            # The kernel buffers less than three of these for a client that does not read: the stalled ones wait by now.
            assert await clients_of(client, "stall") == len(others) + len(slow)
            await deliver(client, others, "x" * 60_000, 57)
            assert server.memory() - before < 12 * MIB

            async def closed() -> bool:
                return await clients_of(client, "stall") == len(others)

            await until(closed)
            (seen, code) = await rest_of(slow[0])
            assert code == 1013 and seen == list(range(1, len(seen) + 1))
            async with connect(server, "stall", seen[-1]) as ws:
                missed = await take(ws, 80 - seen[-1])
            assert [frame["seq"] for frame in missed] == list(range(seen[-1] + 1, 81))
        assert (await beat) == ":"

    async def test_dead_peers_are_found(self, tmp_path: Path) -> None:
        """Clients behind a network that has died, and clients that vanish, are dropped after the ping timeout and leave
        no descriptor behind."""
        assert OPTIONS["ws_ping_interval"] + OPTIONS["ws_ping_timeout"] <= 45
        async with running(tmp_path, command=STREAMS, TEST_PING_SECONDS="0.5") as server, server.client() as client:
            client.headers.update(server.headers)
            await clients_of(client, "dead")
            before = open_files(server)
            async with FaultProxy("127.0.0.1", server.port) as proxy, contextlib.AsyncExitStack() as stack:
                for _ in range(60):
                    await stack.enter_async_context(
                        connect(server, "dead", port=proxy.port, ping_interval=None, close_timeout=0.1)
                    )
                assert await clients_of(client, "dead") == 60
                proxy.be(Faults(hold=True))
                await tell(client, "dead", "nobody hears this")
                await until(lambda: none_left(client, "dead"))
                await until(lambda: files_are_near(server, before))
                proxy.be(Faults())
            for _ in range(200):
                await vanish(server)
            await until(lambda: none_left(client, "dead"))
            await until(lambda: files_are_near(server, before))
            # Its kernel takes whatever is sent, so nothing ever waits for it; but it answers no ping.
            reader, writer = await shake_hands(server, "dead")
            await reader.readuntil(b"\r\n\r\n")
            assert await clients_of(client, "dead") == 1
            await tell(client, "dead", "nobody reads this", "nor this")
            await until(lambda: none_left(client, "dead"))
            await until(lambda: files_are_near(server, before))
            writer.transport.abort()


async def first_comment(server: Server) -> str:
    async with server.client() as client, client.stream("GET", "/api/stream/quiet", timeout=LONG) as answer:
        async for line in answer.aiter_lines():
            if line.startswith(":"):
                return line
    return ""


def narrow(server: Server, session_id: str) -> contextlib.AbstractAsyncContextManager[ClientConnection]:
    """A socket whose kernel takes 4 kB for a client that does not read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", server.port))
    raw.setblocking(False)
    return connect(server, session_id, sock=raw, ping_interval=None, close_timeout=0.1)


async def deliver(client: httpx.AsyncClient, sockets: list[ClientConnection], text: str, n: int) -> None:
    """Post events, each after all of the sockets have received the one before."""
    for _ in range(n):
        await tell(client, "stall", text)
        for ws in sockets:
            await take(ws, 1)


async def rest_of(ws: ClientConnection) -> tuple[list[int], int]:
    """What is still under way to a client that reads again, and the code at its end."""
    seen = []
    ws.transport.resume_reading()
    try:
        async with asyncio.timeout(LONG):
            while True:
                seen.append(json.loads(await ws.recv())["seq"])
    except ConnectionClosed as closed:
        return seen, closed.rcvd.code if closed.rcvd else 1006


def open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


async def files_are_near(server: Server, before: int) -> bool:
    return abs(open_files(server) - before) <= 5


async def none_left(client: httpx.AsyncClient, session_id: str) -> bool:
    return await clients_of(client, session_id) == 0


async def shake_hands(server: Server, session_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that asked for a WebSocket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"GET /api/stream/{session_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await writer.drain()
    return reader, writer


async def vanish(server: Server) -> None:
    """Connect and reset."""
    async with connect(server, "dead", close_timeout=0) as ws:
        ws.transport.abort()


class TestFaults:
    async def test_every_client_sees_every_event_once(
        self, tmp_path: Path, postgres_url: str, own_valkey: Valkey, rounds: int
    ) -> None:
        """Two processes on one PostgreSQL and one Redis, clients cut, reset and slowed at random, Redis killed in
        mid-stream: each client's events are the table, in order, once each; and with Redis back, empty, an event
        emitted in one process is live in the other within 5 s."""
        settings = {"DB": postgres_url, "REDIS_URL": own_valkey.url, "API_KEY": "k" * 40}
        n = 200 * rounds
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context
            servers = [await enter(running(tmp_path / name, command=STREAMS, **settings)) for name in ("a", "b")]
            proxies = [await enter(FaultProxy("127.0.0.1", server.port, seed=1)) for server in servers]
            inboxes = [await enter(server.client(**server.headers)) for server in servers]
            followers = [Follower(servers, "s", ports=[p.port for p in proxies], seed=i) for i in range(10)]
            async with asyncio.TaskGroup() as group:
                for follower in followers:
                    group.create_task(follower.until(n, LONG))
                shaking = group.create_task(shake(proxies))
                for part, inbox in enumerate(inboxes * 5):
                    if part == 6:
                        own_valkey.kill()
                    await tell(inbox, "s", *(f"{part}-{i}" for i in range(n // 10)))
                shaking.cancel()
                for proxy in proxies:
                    proxy.be(Faults())
            table = table_of(await listed(inboxes[0], "s"))
            assert [seq for seq, _ in table] == list(range(1, n + 1))
            assert all(table_of(follower.events) == table for follower in followers)
            assert sum(follower.connects for follower in followers) > 2 * len(followers)
            await self._live_again(servers[1], inboxes[0], own_valkey)

    async def _live_again(self, far: Server, near: httpx.AsyncClient, valkey: Valkey) -> None:
        async with connect(far, "s") as ws:
            valkey.start()
            assert ask(valkey.socket, "FLUSHALL") == "+OK"

            async def live() -> bool:
                started = time.monotonic()
                await tell(near, "s", "again")
                await take(ws, 1)
                return time.monotonic() - started < 0.3

            await until(live)
            await until(lambda: counted(near, 1))


async def counted(client: httpx.AsyncClient, n: int) -> bool:
    answer = await client.get("/_actor/s/state")
    return answer.status_code == 200 and answer.json()["clients"] == n


async def shake(proxies: list[FaultProxy]) -> None:
    """Another fault every 50 to 250 ms: cut, reset, slice, delay."""
    chance = random.Random(2)
    while True:
        faults = chance.choice(
            [
                Faults(slice=chance.randint(1, 400)),
                Faults(reset_after=chance.randint(500, 20_000)),
                Faults(cut_after=chance.randint(500, 20_000)),
                Faults(latency=0.02, jitter=0.02),
                Faults(),
            ]
        )
        for proxy in proxies:
            proxy.be(faults)
        if chance.random() < 0.4:
            chance.choice(proxies).reset_all()
        await asyncio.sleep(chance.uniform(0.05, 0.25))


async def test_streams_end_with_the_server_and_go_on_with_the_next(tmp_path: Path) -> None:
    """On SIGTERM sockets are closed with 1012, event streams end and the server ends, even with a client that does not
    read; after a restart a client resumes at its cursor."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(tmp_path, command=STREAMS))
        client = await stack.enter_async_context(server.client(**server.headers))
        ws = await stack.enter_async_context(connect(server, "s", 0))
        stuck = await stack.enter_async_context(narrow(server, "s"))
        assert (await take(ws, 1))[0]["type"] == "caught-up"
        stuck.transport.pause_reading()
        for _ in range(20):
            await tell(client, "s", "x" * 60_000)
        events = asyncio.create_task(read_all(server))
        await until(lambda: sees(client, 3))
        server.process.send_signal(signal.SIGTERM)
        assert await closing(ws) == 1012
        await events
        # A server that has to be ended by force has another exit code.
        assert await asyncio.wait_for(server.process.wait(), LONG) == 0
    async with running(tmp_path, command=STREAMS) as server, server.client(**server.headers) as client:
        await tell(client, "s", "next")
        async with connect(server, "s", 19) as ws:
            assert [frame.get("seq") for frame in await take(ws, 3)] == [20, 21, None]


async def sees(client: httpx.AsyncClient, n: int) -> bool:
    return await clients_of(client, "s") >= n


async def read_all(server: Server) -> None:
    async with server.client() as client, client.stream("GET", "/api/stream/s") as answer:
        async for _ in answer.aiter_lines():
            pass


async def test_streams_work_under_a_plain_server(tmp_path: Path, redis_url: str) -> None:
    """Under a WebSocket protocol that is not ours the frames go out one by one, and they are the same."""
    settings = settings_of(tmp_path, API_KEY="k" * 40, REDIS_URL=redis_url)
    listener = listen("127.0.0.1", 0)
    app = create_app(settings, jobs=False, bindings=open_streams)
    plain = uvicorn.Server(uvicorn.Config(app, ws="websockets-sansio", log_config=None, lifespan="on"))
    serving = asyncio.create_task(plain.serve([listener]))
    url = f"127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(
        base_url=f"http://{url}", headers={"X-Api-Key": "k" * 40}, trust_env=False, timeout=LONG
    ) as client:
        await until(lambda: answers(client))
        await tell(client, "plain", "a", "b")
        async with dial(f"ws://{url}/api/stream/plain?since=0", proxy=None) as ws:
            assert [frame.get("seq") for frame in await take(ws, 3)] == [1, 2, None]
            await tell(client, "plain", "c")
            assert texts(await take(ws, 1)) == ["c"]
    plain.should_exit = True
    await asyncio.wait_for(serving, LONG)


async def answers(client: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await client.get("/readyz")).status_code == 200
    return False
