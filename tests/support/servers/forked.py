"""Server processes forked from one that has imported everything, because imports are two thirds of a start.

`start` gives a real process, in which `python -m …` then runs as it would from a shell. Run as a program, this module
is the process that forks.
"""

import asyncio
import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
LOADED = (
    "app.cli.commands", "app.http.server", "app.worker", "graphs.chat.session", "app.ops.migrate",
    "graphs.image_job.graph", "graphs.workflow.graph",
    "docket", "uvloop", "uvicorn.lifespan.on", "websockets.legacy.server",
    *(f"app.bindings.{name}" for name in ("actor", "assets", "database.sqlite", "queue")),
    *(f"app.bindings.redis.{name}" for name in ("token_bucket", "provider_limiter", "embedded_valkey")),
)  # fmt: skip
"""What a server imports by the time it is ready. Nothing of it starts a thread."""
SDKS = ("app.bindings.ai.chat_models", "openai.resources", "google.genai", "boto3", "asyncpg", "imagehash")
"""What a server imports when it is first needed: here it takes no part of a vendor's deadline."""


class Forked:
    """A process with the part of `asyncio.subprocess.Process` that tests use; it is a child of the forking one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = os.pidfd_open(pid)
        self._code: int | None = None

    @property
    def returncode(self) -> int | None:
        """Negative for the signal that ended it; None while it runs."""
        if self._code is None and select.select([self._ended], [], [], 0)[0]:
            self._code = int(_ask(reap=self.pid))
            os.close(self._ended)
        return self._code

    async def wait(self) -> int:
        while (code := self.returncode) is None:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            # A thread for each wait: several may wait at once.
            descriptor = os.dup(self._ended)
            loop.add_reader(descriptor, over.set)
            try:
                await over.wait()
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        return code

    def send_signal(self, number: int) -> None:
        """Send the signal. Fails: ProcessLookupError once the process has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(command: Sequence[str], environ: Mapping[str, str], out: Path, log: Path) -> Forked:
    """Run `python -m command…` with exactly this environment; its output replaces the contents of these two files."""
    for path in (out, log):
        path.write_bytes(b"")
    return Forked(int(_ask(command=list(command), environ=dict(environ), out=str(out), log=str(log))))


def _ask(**request: Any) -> str:
    forking = _forking()
    assert forking.stdin is not None and forking.stdout is not None
    forking.stdin.write(json.dumps(request) + "\n")
    forking.stdin.flush()
    return forking.stdout.readline()


@functools.cache
def _forking() -> "subprocess.Popen[str]":
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.servers.forked"],
        env={**plain, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def fork_on_request() -> None:
    """Serve requests, one JSON object a line, until the input ends."""
    for name in (*LOADED, *SDKS):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "reap" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])
        elif (answer := os.fork()) == 0:
            _become(**request)
            return
        print(answer, flush=True)


def _become(command: Sequence[str], environ: Mapping[str, str], out: str, log: str) -> None:
    module, *arguments = command
    for number, path in enumerate((os.devnull, out, log)):
        descriptor = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:0] = environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    fork_on_request()
