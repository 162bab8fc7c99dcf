"""Work for the tests of the sandbox process to run in it. Imports little, because every fresh child imports it too."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

from tools.errors import Invalid
from tools.media import pixels
from tools.media.sandbox import MEMORY_BYTES


def die_once(seen: str, number: int) -> int:
    """Kill this process by the signal, unless the file shows that it was done before; then return the pid."""
    if not Path(seen).exists():
        Path(seen).touch()
        os.kill(os.getpid(), number)
    return os.getpid()


def die(tries: bytes) -> None:
    with Path(tries.decode()).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGSEGV)


def spin(tries: str) -> None:
    with Path(tries).open("a") as file:
        file.write("x")
    while True:
        pass


def grow() -> int:
    return len(bytearray(MEMORY_BYTES + (64 << 20)))


def interrupt() -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return os.getpid()


def stay(gate: str, count: str) -> int:
    """Record how many calls are running at once, and return when the gate file exists."""
    here = Path(count) / str(os.getpid())
    here.touch()
    while not Path(gate).exists():
        pass
    return len(list(Path(count).iterdir()))


def refuse() -> None:
    raise Invalid("no", code="image_rejected", detail={"a": 1}, status=422)


def threads_after_scipy(data: bytes) -> int:
    pixels.phash(data)
    return len(list(Path("/proc/self/task").iterdir()))


def cost(data: bytes) -> tuple[float, int]:
    """Seconds that the inspection took, and the bytes by which this process ever grew for it."""
    before, started = _most(), time.perf_counter()
    with contextlib.suppress(Invalid):
        pixels.inspect(data)
    return time.perf_counter() - started, _most() - before


def peak(data: bytes) -> tuple[int, int]:
    """The process that inspected the file, and the most memory it ever used, in bytes."""
    pixels.inspect(data)
    return os.getpid(), _most()


def _most() -> int:
    """The most memory this process ever used, in bytes. Not `ru_maxrss`: a child starts with its parent's."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) << 10
