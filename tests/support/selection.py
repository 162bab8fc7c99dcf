"""Which tests start a server, a browser or another process, found by reading the code of a test and its fixtures."""

import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

ROOMS = ("tests", "app", "graphs", "tools", "adapters", "generators")
STARTERS = (
    "tests.support.browser",
    *(f"tests.support.servers.{name}" for name in ("picasso", "postgres", "s3", "valkey")),
)
"""Whatever comes from these modules starts a process."""
SPAWNING = {"create_subprocess_exec", "create_subprocess_shell", "subprocess", "multiprocessing", "in_child"}
"""Names whose use in a function says that it starts a process."""


def starts_processes(item: pytest.Item) -> bool:
    """Whether the test, one of its fixtures or one of our functions that they use starts a process."""
    if not isinstance(item, pytest.Function):
        return False
    if "postgresql" in getattr(getattr(item, "callspec", None), "params", {}).values():
        return True
    fixtures = (each for found in item._fixtureinfo.name2fixturedefs.values() for each in found)
    return any(_starts(function) for function in (item.function, *(fixture.func for fixture in fixtures)))


@functools.cache
def _starts(function: Callable[..., Any]) -> bool:
    """Walk over our functions and classes that are reachable by name."""
    waiting: list[Any] = [inspect.unwrap(function)]
    seen = set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if found.__module__ in STARTERS:
            return True
        for each in vars(found).values() if inspect.isclass(found) else (found,):
            each = inspect.unwrap(each.fget) if isinstance(each, property) and each.fget else each
            if not isinstance(each, FunctionType):
                continue
            names = set(_names(each.__code__))
            if names & SPAWNING:
                return True
            waiting += _ours(each.__globals__, names)
    return False


def _ours(scope: dict[str, Any], names: set[str]) -> Iterator[Any]:
    """Our functions and classes that these names refer to in the scope, directly or as a module's attribute; for an
    object, its class."""
    for value in (scope[name] for name in names if name in scope):
        inside = [vars(value).get(name) for name in names] if isinstance(value, ModuleType) else [value]
        for each in inside:
            each = each if isinstance(each, FunctionType | type) else type(each)
            if each.__module__.partition(".")[0] in ROOMS:
                yield inspect.unwrap(each)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
