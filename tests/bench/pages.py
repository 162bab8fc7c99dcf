"""Public pages a second, against a plain Litestar handler that does the same I/O.

`python -m tests.bench.pages [ROUNDS]`. The plain handler reads the same row, tells the same queue, reads the same file
and answers with the same headers; its process writes its views down as ours does. Both have a Redis of their own.
Rounds are short and interleaved; CPU a page says it where others use the machine too.
"""

import asyncio
import contextlib
import functools
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median

import httpx
import uvicorn
import uvloop
from litestar import Litestar, Response, get
from litestar.params import FromPath

from app.bindings import open_env
from app.settings import read_settings
from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.servers.picasso import running
from tools.env import Env
from tools.publishing import views
from tools.rows import ArtifactRow

SECONDS, CLIENTS, WARM = 1.0, 16, 2.0
BY_SLUG = "SELECT * FROM artifacts WHERE public_slug = :slug"
HEADERS = ["cache-control", "content-security-policy", "content-type", "etag", "x-content-type-options"]


async def serve_plain(home: Path) -> None:
    """The bare side: one row, one message, one file."""
    async with open_env(read_settings({"PICASSO_HOME": str(home)})) as env:
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(plain(env), log_level="error", access_log=False))
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(env.PICASSO_QUEUE.consume(functools.partial(views.write_views, env)))
            await server.serve([listener])
            consuming.cancel()


def plain(env: Env) -> Litestar:
    @get("/public/lookbook/{slug:str}")
    async def page(slug: FromPath[str]) -> Response[bytes]:
        row = await env.DB.one(BY_SLUG, ArtifactRow, slug=slug)
        assert row is not None and row.content_r2_key is not None and row.content_policy is not None
        with contextlib.suppress(Exception):
            await env.PICASSO_QUEUE.send(views.message(views.View(row.id, "127.0.0.0/24", None, None, "bench")))
        headers = {
            "Cache-Control": "public, max-age=60, must-revalidate",
            "Content-Security-Policy": row.content_policy,
            "ETag": f'"{row.content_sha256}"',
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Correlation-Id": row.id,
        }
        return Response(await env.BUCKET.get(row.content_r2_key), headers=headers, media_type="text/html")

    return Litestar([page], logging_config=None)


class Reader(asyncio.Protocol):
    """A client that asks again as soon as it is answered: it must not be what limits."""

    def __init__(self, path: str, until: float, count: Callable[[], None]) -> None:
        self._question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n\r\n".encode()
        self._until, self._count, self._data = until, count, b""
        self.left = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._question)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) < int(length) if length else not body.endswith(b"\r\n0\r\n\r\n"):
            return
        self._data = b""
        self._count()
        if time.monotonic() < self._until:
            self._transport.write(self._question)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.left.set_result(None)


async def pages_read(port: int, path: str, seconds: float) -> int:
    """How often CLIENTS connections were answered."""
    count, until, loop = 0, time.monotonic() + seconds, asyncio.get_running_loop()

    def counted() -> None:
        nonlocal count
        count += 1

    def reader() -> Reader:
        return Reader(path, until, counted)

    async with asyncio.timeout(seconds + 30):
        readers = [await loop.create_connection(reader, "127.0.0.1", port) for _ in range(CLIENTS)]
        for _, each in readers:
            await each.left
    return count


async def measure(port: int, pid: int, path: str) -> tuple[float, float]:
    """Pages a second, and milliseconds of the server's CPU for each."""
    began, spent = time.monotonic(), cpu_of(pid)
    count = await pages_read(port, path, SECONDS)
    return count / (time.monotonic() - began), (cpu_of(pid) - spent) * 1000 / count


def cpu_of(pid: int) -> float:
    """Seconds that the process has used (Linux: /proc)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def running_plain(home: Path) -> AsyncIterator[tuple[int, int]]:
    """Port and process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.pages", "plain", str(home), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.terminate()
        await process.wait()


async def new_page(home: Path) -> str:
    """The path of a lookbook with four images, made by a server that has ended again."""
    async with running(home, **environ()) as server, calling(server) as client:
        project = await new_project(client)
        await ended(client, (await submit(client, project, variants=4))["jobId"])
        made = (await client.post(f"/api/projects/{project}/artifacts/lookbook", json={})).json()
        return f"/public/lookbook/{made['public_slug']}"


async def compare(folder: Path, rounds: int) -> None:
    path = await new_page(folder / "ours")
    shutil.copytree(folder / "ours", folder / "bare")
    async with running(folder / "ours", **environ()) as server, running_plain(folder / "bare") as (port, pid):
        async with server.client() as client:
            await check_same(client, path, port)
        for warm in (server.port, port):
            await pages_read(warm, path, WARM)
        rounds_of = [
            (await measure(server.port, server.process.pid, path), await measure(port, pid, path))
            for _ in range(rounds)
        ]
        tell(rounds_of)


async def check_same(client: httpx.AsyncClient, path: str, port: int) -> None:
    """Both sides answer with the same bytes under the same headers, or this compares nothing."""
    ours, bare = await client.get(path), await client.get(f"http://127.0.0.1:{port}{path}")
    assert ours.status_code == bare.status_code == 200 and ours.content == bare.content
    for name in HEADERS:
        assert ours.headers[name] == bare.headers[name], name


def tell(rounds: list[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    """Medians, because machines are noisy; the ratios are medians of those within a round."""
    for ours, bare in rounds:
        print(f"{ours[0]:5.0f} pages/s, {ours[1]:4.2f} ms CPU each; bare {bare[0]:5.0f}, {bare[1]:4.2f} ms")
    pages = median(ours[0] / bare[0] for ours, bare in rounds)
    cpu = median(bare[1] / ours[1] for ours, bare in rounds)
    print(f"ratio {pages:4.2f}; by CPU {cpu:4.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        uvloop.run(serve_plain(Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory(prefix="picasso-bench-") as scratch:
            asyncio.run(compare(Path(scratch), int(sys.argv[1]) if len(sys.argv) > 1 else 15))
