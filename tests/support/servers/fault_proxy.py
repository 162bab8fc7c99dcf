"""A TCP proxy on the loopback that injects faults on demand, switched by a test between two awaits."""

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast


@dataclass(frozen=True)
class Faults:
    """The faults to inject. "Down" is the direction from the server to the client; sizes in bytes."""

    refuse: bool = False
    """New connections are reset at once."""
    hold: bool = False
    """Connections stay open and nothing passes either way, as behind a dead network."""
    latency: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    """Bytes per second, each way."""
    slice: int | None = None
    """The most that is passed on at once."""
    reset_after: int | None = None
    """Reset once so much went down on a connection."""
    cut_after: int | None = None
    """Close in order once so much went down on a connection: a partial answer."""
    drop_replies: bool = False
    """Requests reach the server, its answers are lost: did it happen?"""
    flip: float = 0.0
    """Probability that one bit of a chunk going down is flipped."""


class FaultProxy:
    """`async with FaultProxy(host, port) as proxy:` listens on `proxy.port`; call `be` at any time."""

    def __init__(self, host: str, port: int, seed: int = 0) -> None:
        self._upstream, self._random = (host, port), random.Random(seed)
        self._faults, self._passing = Faults(), asyncio.Event()
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self.seen = 0
        self.be(Faults())

    def be(self, faults: Faults) -> None:
        """Inject these faults from now on, on open connections too."""
        self._faults = faults
        (self._passing.clear if faults.hold else self._passing.set)()

    def reset_all(self) -> None:
        """Reset every connection that is open now, on both sides."""
        for task, writers in self._connections.items():
            for writer in writers:
                _reset(writer)
            task.cancel()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()
        self.reset_all()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen += 1
        if self._faults.refuse:
            _reset(writer)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections[task] = (writer,)
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, upward = await asyncio.open_connection(*self._upstream)
            self._connections[cast(asyncio.Task[None], asyncio.current_task())] = (writer, upward)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, upward))
                    pumps.create_task(self._pump(upstream, writer, down=True))
            finally:
                upward.close()
        except* OSError:
            _reset(writer)
        finally:
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, down: bool = False) -> None:
        passed = 0
        while data := await source.read(65536):
            await self._passing.wait()
            faults = self._faults
            if faults.latency or faults.jitter:
                await asyncio.sleep(max(0.0, faults.latency + self._random.uniform(-faults.jitter, faults.jitter)))
            if down and faults.drop_replies:
                continue
            if down and self._random.random() < faults.flip:
                data = self._flipped(data)
            await _write(sink, data[: _left(faults, passed)] if down else data, faults)
            passed += len(data)
            if down and passed > (faults.reset_after or passed):
                raise ConnectionResetError
            if down and passed > (faults.cut_after or passed):
                break
        sink.write_eof()

    def _flipped(self, data: bytes) -> bytes:
        place = self._random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << self._random.randrange(8)]) + data[place + 1 :]


def _left(faults: Faults, passed: int) -> int | None:
    limit = faults.reset_after or faults.cut_after
    return None if limit is None else max(0, limit - passed)


async def _write(sink: asyncio.StreamWriter, data: bytes, faults: Faults) -> None:
    size = faults.slice or len(data) or 1
    for start in range(0, len(data), size):
        part = data[start : start + size]
        sink.write(part)
        await sink.drain()
        if faults.rate:
            await asyncio.sleep(len(part) / faults.rate)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
