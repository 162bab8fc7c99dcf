"""Which tests start a server, a browser or another process: found by reading what a test and its fixtures use."""

import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import pytest

STARTERS = (
    "tests.support.browser",
    *(f"tests.support.servers.{name}" for name in ("picasso", "postgres", "s3", "valkey")),
)
"""Whatever comes from these modules starts a process."""
SPAWNING = {"create_subprocess_exec", "create_subprocess_shell", "subprocess", "multiprocessing"}
"""Names whose use in a function says that it starts one itself."""


def starts_processes(item: pytest.Item) -> bool:
    """Whether the test, a fixture of it or a function of `tests` that they use starts a process."""
    if not isinstance(item, pytest.Function):
        return False
    if "postgresql" in getattr(getattr(item, "callspec", None), "params", {}).values():
        return True
    fixtures = (each for found in item._fixtureinfo.name2fixturedefs.values() for each in found)
    return any(_starts(function) for function in (item.function, *(fixture.func for fixture in fixtures)))


@functools.cache
def _starts(function: Callable[..., Any]) -> bool:
    """Walk over the functions and classes of `tests` that are reachable by name."""
    waiting, seen = [inspect.unwrap(function)], set[object]()
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        if found.__module__ in STARTERS:
            return True
        for each in vars(found).values() if inspect.isclass(found) else (found,):
            each = inspect.unwrap(each.fget) if isinstance(each, property) and each.fget else each
            if not isinstance(each, FunctionType):
                continue
            names = set(_names(each.__code__))
            if names & SPAWNING:
                return True
            used = (each.__globals__.get(name) for name in names)
            waiting += [
                inspect.unwrap(value)
                for value in used
                if isinstance(value, FunctionType | type) and value.__module__.startswith("tests.")
            ]
    return False


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
