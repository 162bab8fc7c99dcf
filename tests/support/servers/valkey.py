"""Real valkey servers for tests: one for the whole session, and private ones that a test may kill."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.bindings.redis.connection import find_server, open_client
from tests.support.deadlines import LONG


class Valkey:
    """A private server with its data in a directory; `pid` is that of the latest start."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.directory, self._binary = directory, binary
        self.socket = directory / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [
                *(self._binary, "--port", "0", "--unixsocket", self.socket, "--dir", self.directory),
                *("--appendonly", "yes", "--save", "", "--logfile", self.directory / "valkey.log"),
                *options,
            ],
            preexec_fn=end_with_parent,
        )
        deadline = time.monotonic() + LONG
        while ask(self.socket, "PING") != "+PONG":
            assert time.monotonic() < deadline, (self.directory / "valkey.log").read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Send SIGSTOP: the kernel still accepts connections, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def end_with_parent() -> None:
    """On Linux, make the server end with this process, so that it does not outlive tests that are killed."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ask(path: str | Path, command: str, *, whole: bool = False) -> str:
    """The first line of a server's answer, or as much of it as arrives at once; empty when there is none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(command.encode() + b"\r\n")
        answer = connection.recv(65536).decode()
        return answer if whole else answer.partition("\r\n")[0]
    return ""


@contextlib.contextmanager
def valkey(binary: Path) -> Iterator[Valkey]:
    # Not below tmp_path: the path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="vk-") as directory:
        server = Valkey(Path(directory), binary)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def valkey_session() -> Iterator[Valkey]:
    with valkey(find_server()) as server:
        yield server


@pytest.fixture
def redis_url(valkey_session: Valkey) -> str:
    """The address of a running, empty server."""
    assert ask(valkey_session.socket, "FLUSHALL") == "+OK"
    return valkey_session.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Redis]:
    async with open_client(redis_url) as client:
        yield client


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A private server with an append-only file: kill it, pause it, start it again."""
    with valkey(find_server()) as server:
        yield server
