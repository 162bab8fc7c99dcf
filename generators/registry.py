"""Every generator there is: the modules of this folder, and those that other packages offer."""

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import msgspec

import generators
from generators.generator import Generator
from tools.errors import Invalid, NotFound

GROUP = "picasso.generators"


@runtime_checkable
class Demanding(Protocol):
    """A generator that needs modules of an extra."""

    modules: tuple[str, ...]


def is_installed(generator: Generator[Any]) -> bool:
    """Whether all that it needs is there."""
    return not isinstance(generator, Demanding) or all(map(find_spec, generator.modules))


@functools.cache
def known() -> Mapping[str, Generator[Any]]:
    """Generators by id, in the order of their ids. One from another package cannot take the id of a built-in."""
    return MappingProxyType(dict(sorted([*_offered(), *_built_in()], key=lambda pair: pair[0])))


def find(id: str) -> Generator[Any]:
    """The generator of that id or camelCase alias.

    Fails: NotFound naming those that exist.
    """
    if (generator := known().get(_hyphenated(id))) is None:
        raise NotFound(
            f"there is no generator {id}; known are {', '.join(known())}",
            code="unknown_generator",
            detail={"known": list(known())},
        )
    return generator


def decode_options(generator: Generator[Any], options: dict[str, Any]) -> Any:
    """The options as the generator's Struct.

    Fails: Invalid (400) naming the field's path and never its value.
    """
    try:
        return msgspec.convert(options, generator.options, strict=True)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        field = "options" + path.strip("`").removeprefix("$")
        if (named := re.search(r"(?:required|unknown) field `([^`]{1,64})`", problem)) is not None:
            field = f"{field}.{named[1]}"
        detail = {"errors": [{"field": field, "problem": problem.partition(" '")[0]}]}
        raise Invalid(f"not valid: {field}", code="invalid_request", detail=detail, status=400) from None


def options_schema(generator: Generator[Any]) -> dict[str, Any]:
    """JSON Schema of the generator's options; its descriptions are without the line breaks of our source."""
    schema = msgspec.json.schema(generator.options)
    for part in schema["$defs"].values():
        part["description"] = " ".join(part.get("description", "").split())
    return schema


def _built_in() -> Iterator[tuple[str, Generator[Any]]]:
    for module in pkgutil.walk_packages(generators.__path__, "generators."):
        loaded = vars(importlib.import_module(module.name))
        if "generator" in loaded:
            yield loaded["generator"].id, loaded["generator"]


def _offered() -> Iterator[tuple[str, Generator[Any]]]:
    for entry in entry_points(group=GROUP):
        generator: Generator[Any] = entry.load()
        yield generator.id, generator


def _hyphenated(id: str) -> str:
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda match: f"-{match[0]}", id).lower()
