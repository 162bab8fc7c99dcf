"""How many frames a second the streams carry, against a bare `websockets` server doing the same fan-out.

`python -m tests.bench.streams [ROUNDS]`. The events go through real emits, table and server process; the clients are a
process of their own. Rounds are interleaved and the best of each is compared, because machines are noisy.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from litestar import post
from litestar.di import NamedDependency
from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.support.servers.picasso import running
from tests.support.servers.streams import main as serve_streams
from tools import actor_emit
from tools.env import Env
from tools.events import Agent

BATCH = 10


@dataclass(frozen=True)
class Load:
    """`sockets` clients on each of `sessions`; each session is told `events`, `at_once` of them in a transaction."""

    name: str
    sessions: int
    sockets: int
    events: int
    at_once: int = 1

    @property
    def frames(self) -> int:
        return self.sessions * self.sockets * self.events

    @property
    def args(self) -> list[str]:
        return [str(n) for n in (self.sessions, self.sockets, self.events, self.at_once)]


LOADS = (
    Load("1 session x 200 sockets, single emits", 1, 200, 500),
    Load("200 sessions x 1 socket, single emits", 200, 1, 25),
    Load("200 sessions x 1 socket, ten at once", 200, 1, 250, 10),
    Load("200 sessions x 1 socket, fifty at once", 200, 1, 500, 50),
)
EVENT = Agent(artifact_id="a", kind="message", text="x" * 250)


def text_of(session: int, seq: int) -> str:
    data = {"artifactId": "a", "kind": "message", "text": "x" * 250}
    return json.dumps({"sessionId": f"s{session}", "type": "agent", "ts": 1_795_000_000_000, "seq": seq, "data": data})


@post("/bench/{sessions:int}/{events:int}/{at_once:int}", status_code=200, opt={"access": "open"})
async def emit_all(env: NamedDependency[Env], sessions: int, events: int, at_once: int) -> float:
    """Emit and return the seconds it took."""
    started = time.perf_counter()

    async def one(session_id: str) -> None:
        for _ in range(events // at_once):
            if at_once == 1:
                await actor_emit.emit(env, session_id, EVENT)
            else:
                async with env.DB.transaction() as tx:
                    await actor_emit.append(tx, session_id, [EVENT] * at_once)
                await env.PICASSO_DO.wake(session_id)

    await asyncio.gather(*(one(f"s{i}") for i in range(sessions)))
    return time.perf_counter() - started


async def serve_bare() -> None:
    """The ceiling: frames are made beforehand, nothing is stored, nothing is asked."""
    followers: dict[str, list[ServerConnection]] = {}

    async def follow(ws: ServerConnection) -> None:
        assert ws.request is not None
        followers.setdefault(ws.request.path.rpartition("/")[2], []).append(ws)
        await ws.wait_closed()

    async with serve(follow, "127.0.0.1", 0, compression=None, max_queue=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            sessions, _, events, _ = map(int, line.split())
            texts = [[text_of(i, seq) for i in range(sessions)] for seq in range(1, events + 1)]
            print("ready", flush=True)
            await loop.run_in_executor(None, sys.stdin.readline)
            for row in texts:
                for i, text in enumerate(row):
                    broadcast(followers[f"s{i}"], text)
                await asyncio.sleep(0)


class Client(asyncio.Protocol):
    """A WebSocket client that only counts and checks numbers: it must not be what limits."""

    def __init__(self, path: str, events: int, opened: asyncio.Event, done: asyncio.Event) -> None:
        self._path, self._events, self._opened, self._done = path, events, opened, done
        self._data, self.seqs = bytearray(), list[int]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        head = (
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        transport.write(head.encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._opened.is_set():
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._data = rest
            self._opened.set()
        place = 0
        while len(self._data) >= place + 4:
            size, start = self._data[place + 1], 2
            if size == 126:
                size, start = int.from_bytes(self._data[place + 2 : place + 4]), 4
            if len(self._data) < place + start + size:
                break
            number = self._data.index(b'"seq":', place) + 6
            self.seqs.append(int(self._data[number : self._data.index(b",", number)]))
            place += start + size
        del self._data[:place]
        if len(self.seqs) == self._events:
            self._done.set()


async def run_clients(port: int, sessions: int, sockets: int, events: int) -> None:
    """Connect, say `up`, and after a line on stdin print how long it took to get everything, and what was lost."""
    loop = asyncio.get_running_loop()
    clients, waits = [], []
    for i in range(sessions * sockets):
        opened, done = asyncio.Event(), asyncio.Event()
        client = Client(f"/api/stream/s{i % sessions}", events, opened, done)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        await opened.wait()
        clients.append(client)
        waits.append(done)
    print("up", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    started = time.perf_counter()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(120):
            for done in waits:
                await done.wait()
    first = min((client.seqs[0] for client in clients if client.seqs), default=1)
    wanted = list(range(first, first + events))
    print(time.perf_counter() - started, sum(client.seqs != wanted for client in clients), flush=True)


class Program:
    """One of this module's parts as a process that is talked to in lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def read(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    def write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())


@contextlib.asynccontextmanager
async def part(*args: str) -> AsyncIterator[Program]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.streams", *args, stdin=pipe, stdout=pipe
    )
    try:
        yield Program(process)
    finally:
        process.terminate()
        await process.wait()


async def measure_ours(home: Path, load: Load) -> tuple[float, int, float]:
    """Seconds until the last client has all, clients that lost something, seconds of the emitting alone."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(home, command=("tests.bench.streams", "ours")))
        clients = await stack.enter_async_context(part("clients", str(server.port), *load.args[:3]))
        trigger = await stack.enter_async_context(server.client())
        assert await clients.read() == "up"
        clients.write("go")
        answer = await trigger.post(f"/bench/{load.sessions}/{load.events}/{load.at_once}", timeout=120)
        seconds, lost = (await clients.read()).split()
        return float(seconds), int(lost), float(answer.text)


async def measure_bare(load: Load) -> float:
    async with part("bare") as server:
        port = await server.read()
        async with part("clients", port, *load.args[:3]) as clients:
            assert await clients.read() == "up"
            server.write(" ".join(load.args))
            assert await server.read() == "ready"
            clients.write("go")
            server.write("go")
            return float((await clients.read()).split()[0])


async def compare(rounds: int) -> None:
    for load in LOADS:
        ours, bare, emitting, lost = [], [], [], 0
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as home:
                seconds, missing, emits = await measure_ours(Path(home), load)
            ours.append(seconds)
            emitting.append(emits)
            lost += missing
            bare.append(await measure_bare(load))
        mine, ceiling, emits = (load.frames / min(each) / 1000 for each in (ours, bare, emitting))
        print(
            f"{load.name:42} {mine:6.1f} k frames/s   bare {ceiling:6.1f}   ratio {mine / ceiling:5.2f}   "
            f"emitting alone {emits / load.sockets:5.1f} k events/s   lost {lost}",
            flush=True,
        )
        assert lost == 0


def main(args: Sequence[str]) -> int:
    match args:
        case ["ours"]:
            return serve_streams([emit_all])
        case ["bare"]:
            uvloop.run(serve_bare())
        case ["clients", *numbers]:
            uvloop.run(run_clients(*map(int, numbers)))
        case _:
            asyncio.run(compare(int(args[0]) if args else 3))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
