"""Work on foreign image bytes happens in a limited child process, so that nothing they do can hurt this one."""

import functools
import resource
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_process
from anyio import BrokenWorkerProcess

from tools.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


async def in_child(function: Callable[..., T], *args: object, seconds: float = 15.0) -> T:
    """Run a module-level function in a child process and return what it returns.

    Fails: Unavailable (`image_child`) when the child died or ran over `seconds`; what the function raises.
    """
    try:
        with anyio.fail_after(seconds):
            return await anyio.to_process.run_sync(
                functools.partial(_limited, function, *args), cancellable=True, limiter=None
            )
    except (BrokenWorkerProcess, TimeoutError) as error:
        raise Unavailable("the image could not be worked on", code="image_child") from error


def _limited(function: Callable[..., T], *args: object) -> T:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 30, resource.RLIM_INFINITY))
    return function(*args)
