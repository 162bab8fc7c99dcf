"""A vendor that counts its concurrent calls, and processes that call it through the provider limiter."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tests.support.deadlines import LONG


class Vendor:
    """Listens on `port`; each connection is a call, and lasts as long as `lasts` states or until `end_all`."""

    def __init__(self, lasts: Callable[[], float]) -> None:
        self._lasts = lasts
        self._ended = asyncio.Event()
        self.in_flight = self.most = self.calls = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()
        self.end_all()
        async with asyncio.timeout(LONG):
            while self.in_flight:
                await asyncio.sleep(0.01)

    def end_all(self) -> None:
        """End the calls that are in flight."""
        self._ended.set()
        self._ended = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        ended = asyncio.ensure_future(self._ended.wait())
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait({ended, gone}, timeout=self._lasts(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, gone):
                task.cancel()
            await asyncio.gather(ended, gone, return_exceptions=True)
            # The caller must not see the end before it was counted.
            self.in_flight -= 1
            writer.close()


class Caller:
    """A process of `tests/support/processes/limiter_caller.py`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def ends(self) -> list[str]:
        """Wait for the process to end, and return the outcomes of its calls."""
        return self.process.communicate(timeout=LONG)[0].split()


@contextlib.contextmanager
def calling(
    url: str, port: int, *, calls: int, width: int, lease: float, outcome: str = "answered"
) -> Iterator[Caller]:
    """A process that is ready to call."""
    given = [url, str(port), str(calls), str(width), str(lease), outcome]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.processes.limiter_caller", *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Caller(process)
    finally:
        process.kill()
        process.communicate()
