"""The process on a real socket: bounds, late dependencies, shutdown."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.http import server as shell
from app.settings import SettingError
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.servers.few_files import FEW_FILES
from tests.support.servers.picasso import Server, cold_started, listening, running, start, stop
from tests.support.servers.shell import SHELL

MIB = 1 << 20


async def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send the pieces until the server closes, and return its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(LONG):
            try:
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                answer = await reader.read()
            except ConnectionError:
                answer = b""
            return answer
    finally:
        writer.close()


def repeat(piece: bytes, times: int) -> list[bytes]:
    return [piece] * times


FLOODS = {
    "one header of 200 MB": [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ", *repeat(b"a" * MIB, 200)],
    "20,000 headers": [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", *repeat(b"X-A: b\r\n" * 1000, 20), b"\r\n"],
    "20,000 headers in one piece": [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n"],
    "a path of 64 KiB": [b"GET /" + b"a" * (64 << 10) + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"],
    "a path without end": [b"GET /", *repeat(b"a" * MIB, 64)],
    "a chunk size without end": [
        b"POST /api/notes HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        *repeat(b"0" * MIB, 16),
    ],
}


@pytest.fixture(scope="module")
async def shell_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("shell"), command=SHELL) as server:
        yield server


async def test_header_floods_are_refused(shell_server: Server) -> None:
    """A flood of header bytes ends in 431, 414, 400 or a closed connection, and costs at most 16 MiB."""
    before = shell_server.memory()
    for name, pieces in FLOODS.items():
        answer = await exchange(shell_server, *pieces)
        assert answer[:12] in (b"", b"HTTP/1.1 431", b"HTTP/1.1 414", b"HTTP/1.1 400", b"HTTP/1.1 401"), (
            name,
            answer[:200],
        )
        assert shell_server.memory() - before <= 16 * MIB, name
    assert httpx.get(f"{shell_server.url}/healthz", trust_env=False, timeout=LONG).status_code == 200


async def test_a_refusal_below_the_application_has_the_one_error_shape(shell_server: Server) -> None:
    """Bytes that are no HTTP request are answered with the error shape and a closed connection."""
    head, _, body = (await exchange(shell_server, b"\x16\x03\x01 nonsense\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and b"connection: close" in head.lower()
    assert b'"code":"malformed_request"' in body and b"correlationId" in body


async def test_bodies_are_bounded_everywhere(shell_server: Server) -> None:
    """A body over its cap is refused by its length or while it is read, also by handlers that ignore it."""
    before, over = shell_server.memory(), 32 * MIB
    key = f"X-Api-Key: {shell_server.key}\r\n".encode()
    for path in (b"/api/notes", b"/api/deaf", b"/healthz", b"/nowhere"):
        for authorised in (key, b""):
            head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + authorised
            by_length = head + b"Content-Length: %d\r\n\r\n" % over
            assert (await exchange(shell_server, by_length)).startswith(b"HTTP/1.1 413"), path
            chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
            answer = await exchange(shell_server, chunked, *repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n", over >> 16))
            wanted = (
                b"413"
                if authorised and path.startswith(b"/api")
                else (b"401", b"404", b"405")[
                    (b"/api/notes", b"/nowhere", b"/healthz").index(path if path != b"/api/deaf" else b"/api/notes")
                ]
            )
            assert answer[9:12] in (wanted, b""), (path, answer[:100])
            assert b"200 OK" not in answer
    assert shell_server.memory() - before <= 8 * MIB


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content-Encoding": "gzip"}, 415, id="gzip"),
        pytest.param({"Content-Type": "text/plain"}, 415, id="text"),
        pytest.param({"Content-Type": "garbage"}, 415, id="garbage"),
        pytest.param({"Content-Type": ""}, 415, id="none"),
        pytest.param({"Content-Type": "multipart/form-data; boundary=x"}, 415, id="form"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, 415, id="urlencoded"),
        pytest.param({"Content-Type": "application/json; charset=utf-8"}, 200, id="json with charset"),
    ],
)
async def test_only_plain_json_is_read(shell_server: Server, headers: dict[str, str], status: int) -> None:
    """A JSON route answers 415 to every other type and to encoded bodies."""
    async with shell_server.client(**shell_server.headers) as client:
        answer = await client.post("/api/notes", content=b'{"text": "x"}', headers=headers)
    assert answer.status_code == status


async def test_a_client_that_stops_reading_is_dropped(tmp_path: Path) -> None:
    """A client that reads no response does not keep the server from ending."""
    async with running(tmp_path, command=SHELL) as server:
        deaf = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
            writer.write(b"GET /api/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await writer.drain()
            await reader.readexactly(100)
            deaf.append(writer)
        # A server that has to be ended by force has another exit code.
        assert await stop(server.process) == 0
        for writer in deaf:
            writer.close()


async def test_half_sent_requests_do_not_hold_the_exit(tmp_path: Path) -> None:
    """A half-sent head, a half-sent body and an idle connection do not keep the server from ending by itself."""
    async with running(tmp_path, command=SHELL) as server:
        key = f"X-Api-Key: {server.key}\r\n".encode()
        open_ends = [
            b"",
            b"GET /healthz HT",
            b"POST /api/notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n"
            + key
            + b"\r\n{",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in open_ends]
        for (_, writer), piece in zip(held, open_ends, strict=True):
            writer.write(piece)
            await writer.drain()
        assert b"200 OK" in await held[-1][0].readuntil(b"\r\n\r\n")
        # A server that has to be ended by force has another exit code.
        assert await stop(server.process) == 0
        for _, writer in held:
            writer.close()


async def test_dripping_clients_are_closed(shell_server: Server) -> None:
    """A head or body that comes a byte at a time is cut off; the server waits for half a minute, and so does this."""
    key = f"X-Api-Key: {shell_server.key}\r\n".encode()
    post = b"POST /api/notes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + key
    answers = await asyncio.gather(
        drip(shell_server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "),
        drip(shell_server, post + b"Content-Length: 900\r\n\r\n"),
        drip(shell_server, post + b"Transfer-Encoding: chunked\r\n\r\n384\r\n"),
    )
    assert answers[0] == b""
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers[1:])


async def test_a_handshake_that_is_none_is_refused_like_any_request(shell_server: Server) -> None:
    """A header of a WebSocket that cannot be read is 400 in the one shape of errors."""
    for name, value in {"Protocol": "a b, @", "Key": "short", "Version": "13x"}.items():
        wanted = {"Protocol": "chat", "Key": "x3JJHMbDL1EzLkh9GBhXDw==", "Version": "13", name: value}
        lines = [f"Sec-WebSocket-{each}: {said}" for each, said in wanted.items()]
        head = ["GET /api/stream/s HTTP/1.1", f"Host: 127.0.0.1:{shell_server.port}", "Connection: Upgrade", *lines]
        answer = await exchange(shell_server, "\r\n".join([*head, "Upgrade: websocket", "", ""]).encode())
        first, _, body = answer.partition(b"\r\n\r\n")
        assert first.startswith((b"HTTP/1.1 400", b"HTTP/1.1 426")) and b"application/json" in first, (name, answer)
        assert first.lower().count(b"content-length:") == 1 and msgspec.json.decode(body)["error"]["code"], name


async def drip(server: Server, start: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(start)
    reading = asyncio.create_task(reader.read())
    async with asyncio.timeout(LONG):
        while not reading.done():
            writer.write(b"a")
            await asyncio.wait({reading}, timeout=0.4)
    writer.close()
    return b"" if reading.exception() else reading.result()


async def test_a_slow_reader_is_served(shell_server: Server) -> None:
    """A client that reads slowly but steadily gets all of a large answer, however long that takes."""
    connection = socket.create_connection(("127.0.0.1", shell_server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    reader, writer = await asyncio.open_connection(sock=connection, limit=64 << 10)
    writer.write(b"GET /api/large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    size, started = 0, time.monotonic()
    while piece := await reader.read(64 << 10):
        size += len(piece)
        await asyncio.sleep(len(piece) / (256 << 10))
    writer.close()
    assert size > 8 * MIB and time.monotonic() - started > 25


async def test_a_second_signal_ends_the_process(tmp_path: Path) -> None:
    """A second signal, while the server drains, ends the process."""
    async with running(tmp_path, command=SHELL) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HT")
        await writer.drain()
        server.process.terminate()
        async with asyncio.timeout(LONG):
            while "closing" not in server.log.read_text():
                await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(server.process.wait(), LONG) in (0, 143)
        writer.close()


async def test_dependencies_may_start_last(tmp_path: Path) -> None:
    """A binding that is away leaves the server alive and not ready; it is ready by itself once it is there."""
    (tmp_path / "away").touch()
    async with listening(tmp_path, command=SHELL) as server, server.client() as client:
        assert (await client.get("/healthz")).status_code == 200
        told = (await client.get("/readyz")).json()
        assert (told["status"], list(told["bindings"])) == ("starting", ["disk"]) and told["bindings"]["disk"]["ok"]
        refused = await client.get("/metrics", headers=server.headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert int(refused.headers["Retry-After"]) >= 1
        (tmp_path / "away").unlink()
        async with asyncio.timeout(LONG):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
    tries = [line["msg"] for line in server.lines() if line["level"] == "warning"]
    assert tries and all(line.startswith("not ready: the database did not answer; next try in ") for line in tries)


async def test_a_refused_engine_ends_the_process(tmp_path: Path) -> None:
    """What must not be used ends the process with exit code 78 and one line."""
    (tmp_path / "refused").touch()
    process = await start(tmp_path, SHELL)
    assert await asyncio.wait_for(process.wait(), LONG) == 78
    lines = (tmp_path / "serve.log").read_text().splitlines()
    assert sum("refused to start: DB is a database that must not be used" in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


async def test_a_loopback_server_makes_its_own_key(tmp_path: Path) -> None:
    """The first start makes a random key of mode 0600 and prints it; later starts use the same and print it no more."""
    keys = []
    for earlier in range(2):
        async with running(tmp_path, command=SHELL) as server, server.client(**server.headers) as client:
            assert (await client.get("/metrics")).status_code == 200
        keys.append(server.key)
        assert (tmp_path / "serve.out").read_text().count(server.key) == (0 if earlier else 1)
        assert stat.S_IMODE((tmp_path / "api_key").stat().st_mode) == 0o600
        assert server.key not in server.log.read_text()
    assert keys[0] == keys[1] and len(keys[0]) >= 32
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".api_key")]


async def test_several_processes_need_postgresql(tmp_path: Path) -> None:
    """SQLite serves one process: `--workers 2` is refused with a line that names the setting to change."""
    with pytest.raises(SettingError, match="DB=postgresql://"):
        shell.serve(settings(tmp_path), workers=2, jobs=False)


async def answered(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The answer once the process that takes the call is ready; until then it is 503."""
    async with asyncio.timeout(LONG):
        while (answer := await client.request(method, path, json=body)).status_code == 503:
            await asyncio.sleep(0.1)
    return dict(answer.json())


async def test_several_processes_share_the_port(tmp_path: Path, postgres_url: str) -> None:
    """With PostgreSQL `--workers 2` serves from two processes; one that dies is replaced, one signal ends all."""
    command = ("app", "serve", "--workers", "2", "--no-jobs")
    async with running(tmp_path, command=command, DB=postgres_url) as server:
        children = await processes_below(server, 2)
        async with server.client(**server.headers) as client:
            made = await answered(client, "POST", "/api/projects", {"name": "shared"})
        os.kill(children[0], signal.SIGKILL)
        replaced = await processes_below(server, 2, without=children[0])
        assert children[1] in replaced
        for _ in range(8):
            async with server.client() as client:
                assert await answered(client, "GET", f"/api/projects/{made['id']}") == made
        assert await stop(server.process) == 0
    assert sum("is replaced" in line["msg"] for line in server.lines()) == 1


async def processes_below(server: Server, count: int, without: int | None = None) -> list[int]:
    """The server's own child processes, once there are so many."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    async with asyncio.timeout(LONG):
        while True:
            found = [int(pid) for pid in children.read_text().split() if is_server(pid)]
            if len(found) == count and without not in found:
                return found
            await asyncio.sleep(0.05)


def is_server(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


async def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    """The error names a port that is in use, without a traceback."""
    with shell.listen("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {taken.getsockname()[1]}"):
            shell.listen("127.0.0.1", taken.getsockname()[1])


async def test_it_is_light(tmp_path: Path) -> None:
    """The HTTP process needs less than 200 MB, and names no server software."""
    async with cold_started(tmp_path, command=SHELL) as server, server.client() as client:
        assert server.memory() <= 200 * MIB
        assert "server" not in (await client.get("/healthz")).headers


async def test_at_the_limit_of_its_files_a_process_refuses_connections_and_lives(tmp_path: Path) -> None:
    """150 idle connections to a server that may have 96 files open: those that are too many are closed at once, with
    one line in the log, and when clients have gone it serves as before."""
    async with running(tmp_path, command=FEW_FILES) as server:
        async with contextlib.AsyncExitStack() as idle, asyncio.timeout(LONG):
            streams = []
            for _ in range(150):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                idle.callback(writer.close)
                streams.append(asyncio.create_task(reader.read(1)))
            idle.callback(lambda: [stream.cancel() for stream in streams])
            while sum(stream.done() for stream in streams) < 150 - 96:
                await asyncio.sleep(0.01)
            assert not all(stream.done() for stream in streams), "some were let in"
            await asyncio.gather(*(stream for stream in streams if stream.done()), return_exceptions=True)
        async with asyncio.timeout(LONG), server.client() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    assert (await client.get("/healthz")).status_code == 200
                    break
        assert server.process.returncode is None
        assert sum("new connections are refused" in line["msg"] for line in server.lines()) == 1
