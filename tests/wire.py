"""The false Internet: vendors played over real sockets, scripted per call, counting calls.

A test starts `Wire()`, may queue `script` entries, and asks `calls` afterwards. Unscripted calls are answered
with a picture that depends on the seed alone; for prompts that open with "twins" it is always the same one.
"""

import asyncio
import contextlib
import io
import json
import random
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from PIL import Image

Fault = Literal["ok", "hang", "drop", "empty", "garbage", "refuse", "rate", "error"]


@dataclass
class Answer:
    """How one call is answered: after `delay` seconds, by `fault`; `retry_after` goes into that header."""

    fault: Fault = "ok"
    delay: float = 0.0
    retry_after: str | None = None


@dataclass
class Received:
    """One call as it arrived: loop time, decoded body, and the request id it was answered with."""

    at: float
    body: dict[str, Any]
    id: str
    answered: bool = False


def picture(seed: int, size: int = 64) -> bytes:
    """A small textured PNG; other seeds look different enough for a perceptual hash."""
    noise = random.Random(seed)
    coarse = Image.frombytes("RGB", (8, 8), noise.randbytes(192)).resize((size, size), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    coarse.save(out, "PNG")
    return out.getvalue()


@dataclass
class Wire:
    """`delay` is how long an unscripted call takes."""

    delay: float = 0.0
    script: deque[Answer] = field(default_factory=deque)
    calls: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _connections: set[Any] = field(default_factory=set)

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.current_task())
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            self._connections.discard(asyncio.current_task())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
            )
            call = Received(
                asyncio.get_running_loop().time(),
                json.loads(await reader.readexactly(length)),
                f"wire-{len(self.calls)}",
            )
            self.calls.append(call)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                await self._answer(call, writer)
            finally:
                self.in_flight -= 1

    async def _answer(self, call: Received, writer: asyncio.StreamWriter) -> None:
        answer = self.script.popleft() if self.script else Answer(delay=self.delay)
        await asyncio.sleep(answer.delay)
        body, status = b"", 200
        match answer.fault:
            case "hang":
                await asyncio.sleep(3600)
            case "drop":
                return
            case "ok":
                body = picture(0 if call.body["prompt"].startswith("twins") else call.body["seed"])
            case "garbage":
                body = b"these are not the bytes of an image"
            case "refuse" | "rate" | "error":
                status = {"refuse": 400, "rate": 429, "error": 503}[answer.fault]
        wait = f"retry-after: {answer.retry_after}\r\n" if answer.retry_after else ""
        head = f"HTTP/1.1 {status} X\r\nx-request-id: {call.id}\r\n{wait}content-length: {len(body)}\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        call.answered = True
