"""Image bytes from outside are processed in a child process with limits, so that they cannot harm this process.

The child process is one of anyio's workers: started when first needed, kept for five minutes while idle, killed when
its caller is cancelled. It imports the file that the parent runs as `__main__`, so that file must import little at its
top.
"""

import functools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_process
from anyio.lowlevel import RunVar

from tools.errors import Invalid, Unavailable

T = TypeVar("T")

WORK_SECONDS = 15.0
START_SECONDS = 30.0
"""Time for a child to start on a busy machine, in addition to the time for its work."""
WAIT_SECONDS = 300.0
"""How long to wait for other images."""
MEMORY_BYTES = 768 << 20
"""Address space in addition to that of the idle child: 40 megapixels of WebP need 630 MiB."""
CHILDREN = min(os.cpu_count() or 1, 4)
"""How many children of one process work at the same time; other images wait."""
TRIES = 3

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("picasso_image_children")


async def run_in_child(function: Callable[..., T], *args: object, seconds: float = WORK_SECONDS) -> T:
    """Run a module-level function in a child process and return what it returns.

    When a child is killed from outside, the work is repeated on a new one, up to `TRIES` times.

    Fails: Invalid (`image_rejected`) when the work took longer than `seconds` or more memory than
    `MEMORY_BYTES` · Unavailable (`image_child`) when `TRIES` children died · Unavailable (`image_busy`) after
    `WAIT_SECONDS` behind other images · what the function raises.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        _limiter.set(limiter := anyio.CapacityLimiter(CHILDREN))
    try:
        with anyio.fail_after(WAIT_SECONDS):
            await limiter.acquire()
    except TimeoutError:
        raise Unavailable("too many images are being processed", code="image_busy") from None
    try:
        work = functools.partial(_run_limited, seconds, function, *args)
        for _ in range(TRIES):
            started = time.monotonic()
            try:
                with anyio.fail_after(START_SECONDS + seconds):
                    return await anyio.to_process.run_sync(work, cancellable=True, limiter=anyio.CapacityLimiter(1))
            except MemoryError:
                raise Invalid("the image needs more memory than is given to one image", code="image_rejected") from None
            except (anyio.BrokenWorkerProcess, ProcessLookupError, TimeoutError) as error:
                # ProcessLookupError: what uvloop raises when anyio kills a child that is dead already.
                began = not isinstance(error, TimeoutError) and not isinstance(error.__cause__, TimeoutError)
                if began and time.monotonic() - started >= seconds:
                    # Ended by its own alarm: the work took too long, not the start of the child.
                    raise Invalid("the image needs more time than is given to one image", code="image_rejected") from (
                        error
                    )
        raise Unavailable("the image could not be processed", code="image_child")
    finally:
        limiter.release()


def _run_limited(seconds: float, function: Callable[..., T], *args: object) -> T:
    """Run the function under limits of time and memory; called in the child."""
    # Ctrl-C in a terminal is sent to the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # Read by OpenBLAS when scipy is first loaded; each further thread takes 30 MiB of address space.
    os.putenv("OPENBLAS_NUM_THREADS", "1")
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The alarm is the deadline; the processor limit ends a child whose parent died.
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + 2 * seconds) + 5)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY_BYTES)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(what: int, soft: int) -> None:
    """Lower the soft limit of a resource; never above its hard limit."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
