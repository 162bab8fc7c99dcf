"""Work on foreign image bytes happens in a limited child process, so that nothing they do can hurt this one.

The child is anyio's: started when first needed, kept while idle for five minutes, killed when its caller is
cancelled. It imports what the parent runs as `__main__`, so that file must import little at its top.
"""

import contextlib
import functools
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_process
from anyio.lowlevel import RunVar

from tools.errors import Invalid, Unavailable

T = TypeVar("T")

WORK_SECONDS = 15.0
START_SECONDS = 30.0
"""For a child to start on a busy machine; its work has not begun, so this is no part of its deadline."""
WAIT_SECONDS = 300.0
"""For a place in the line."""
MEMORY_BYTES = 768 << 20
"""Address space beyond what the idle child has: 40 megapixels of WebP need 630 MiB."""
PLACES = min(os.cpu_count() or 1, 4)
"""Children at work at once in one process; the rest wait in line."""
TRIES = 3

_places: RunVar[anyio.CapacityLimiter] = RunVar("picasso_image_places")


async def run_in_child(function: Callable[..., T], *args: object, seconds: float = WORK_SECONDS) -> T:
    """Run a module-level function in a child process and return what it returns.

    A child that is killed from outside costs one try of three, each on a fresh child.

    Fails: Invalid (`image_rejected`) when the work took longer than `seconds` or more memory than
    `MEMORY_BYTES` · Unavailable (`image_child`) when three children died · Unavailable (`image_busy`) when no
    place came free · what the function raises.
    """
    work = functools.partial(_limited, seconds, function, *args)
    async with _place():
        for _ in range(TRIES):
            started = time.monotonic()
            try:
                with anyio.fail_after(START_SECONDS + seconds):
                    return await anyio.to_process.run_sync(work, cancellable=True, limiter=anyio.CapacityLimiter(1))
            except MemoryError:
                raise Invalid("the image needs more memory than is given to one image", code="image_rejected") from None
            except (anyio.BrokenWorkerProcess, ProcessLookupError, TimeoutError) as error:
                # ProcessLookupError: uvloop's word for killing, as anyio does then, a child that is dead already.
                if _was_started(error) and time.monotonic() - started >= seconds:
                    # Its own alarm ended it: the work, not the machine, took too long.
                    raise Invalid("the image needs more time than is given to one image", code="image_rejected") from (
                        error
                    )
    raise Unavailable("the image could not be worked on", code="image_child")


def _was_started(error: BaseException) -> bool:
    return not isinstance(error, TimeoutError) and not isinstance(error.__cause__, TimeoutError)


@contextlib.asynccontextmanager
async def _place() -> AsyncIterator[None]:
    try:
        places = _places.get()
    except LookupError:
        _places.set(places := anyio.CapacityLimiter(PLACES))
    try:
        with anyio.fail_after(WAIT_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise Unavailable("too many images are being worked on", code="image_busy") from None
    try:
        yield
    finally:
        places.release()


def _limited(seconds: float, function: Callable[..., T], *args: object) -> T:
    # What a terminal sends to the whole group must not become the answer to the next request.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # Read by OpenBLAS when scipy is first loaded: each further thread would cost it 30 MiB of address space.
    os.putenv("OPENBLAS_NUM_THREADS", "1")
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The alarm is the deadline; the processor limit ends a child whose parent died.
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + 2 * seconds) + 5)
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, _address_space() + MEMORY_BYTES)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(what: int, soft: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
