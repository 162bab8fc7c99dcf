"""A real server process for tests: `async with running(home) as server: …`.

It is stopped by its pid; its log and its output are in files below its data directory.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.deadlines import LONG, until
from tests.support.environment import VENDORS_THEMSELVES
from tests.support.servers import forked
from tests.support.servers.forked import ROOT, Forked
from tools.fetch import tls_context

Process = asyncio.subprocess.Process | Forked
SERVE = ("app", "serve")


@dataclass(frozen=True)
class Server:
    """`url` has no trailing slash; `key` goes into X-Api-Key; `log` has one JSON object per line."""

    url: str
    key: str
    process: Process
    home: Path
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Api-Key": self.key}

    def lines(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def memory(self) -> int:
        """Resident bytes of the process."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=LONG, trust_env=False, verify=tls_context()
        )


@contextlib.asynccontextmanager
async def running(home: Path, *, command: Sequence[str] = SERVE, **environ: str) -> AsyncIterator[Server]:
    """A server on a free port with its data in `home`, once /readyz has answered 200.

    `environ` are the settings by their environment names; no other setting of this process is passed on.
    """
    async with listening(home, command=command, **environ) as server:
        await _ready(server)
        yield server


@contextlib.asynccontextmanager
async def listening(home: Path, *, command: Sequence[str] = SERVE, **environ: str) -> AsyncIterator[Server]:
    """A server that listens, whether or not it is ready."""
    async with _stopped_at_end(await start(home, command, **environ)) as process:
        yield await _listening(process, home, environ)


@contextlib.asynccontextmanager
async def cold_started(home: Path, *, command: Sequence[str] = SERVE, **environ: str) -> AsyncIterator[Server]:
    """A server that was started in a new interpreter, with nothing imported, once it is ready."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "serve.log").open("w") as log, (home / "serve.out").open("w") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            env=_environment(home, environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=log,
        )
    async with _stopped_at_end(process):
        server = await _listening(process, home, environ)
        await _ready(server)
        yield server


async def start(home: Path, command: Sequence[str] = SERVE, /, **environ: str) -> Process:
    """A process of `python -m command…` with its data in `home`; does not wait for it to be ready."""
    home.mkdir(parents=True, exist_ok=True)
    return forked.start(command, _environment(home, environ), home / "serve.out", home / "serve.log")


def _environment(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR") if name in os.environ}
    own = {"PICASSO_HOME": str(home), "PORT": "0", "SKETCH_SECONDS": "0", "PYTHONPATH": str(ROOT), **VENDORS_THEMSELVES}
    return {**plain, **own, **environ}


@contextlib.asynccontextmanager
async def _stopped_at_end(process: Process) -> AsyncIterator[Process]:
    try:
        yield process
    finally:
        await stop(process)


async def stop(process: Process) -> int:
    """End the process as an operator would and return its exit code; one that hangs is killed and fails the test."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), LONG)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"the server did not end within {LONG} s") from None


async def _listening(process: Process, home: Path, environ: dict[str, str]) -> Server:
    log = home / "serve.log"
    async with asyncio.timeout(LONG):
        while True:
            for line in log.read_text().splitlines():
                if '"listening on ' in line:
                    settled = environ.get("PICASSO_ENV") == "preview"
                    stored = home / "preview" / "api_key" if settled else home / "api_key"
                    key = environ.get("API_KEY") or stored.read_text().strip()
                    return Server(json.loads(line)["address"], key, process, home, log)
            if process.returncode is not None:
                raise AssertionError(f"the server ended with {process.returncode}: {log.read_text()}")
            await asyncio.sleep(0.02)


async def _ready(server: Server) -> None:
    async with server.client() as client:

        async def is_ready() -> bool:
            if server.process.returncode is not None:
                raise AssertionError(f"the server ended with {server.process.returncode}: {server.log.read_text()}")
            return (await client.get("/readyz")).status_code == 200

        await until(is_ready)
