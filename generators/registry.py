"""The generators that exist, by id, and what their options must look like."""

import functools
import logging
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol, TypeGuard, runtime_checkable

import msgspec

import generators
from generators.generator import Generator
from tools.errors import Invalid, NotFound
from tools.plugins import discover

log = logging.getLogger("picasso.generators")

GROUP = "picasso.generators"
"""Entry points of this group name the `generator` of another package."""


@runtime_checkable
class Demanding(Protocol):
    """A generator that needs modules of an extra."""

    modules: tuple[str, ...]


def is_installed(generator: Generator[Any]) -> bool:
    """Whether all modules that it needs are there."""
    return not isinstance(generator, Demanding) or all(map(find_spec, generator.modules))


def is_generator(plugin: object) -> TypeGuard[Generator[Any]]:
    """Whether it has all that the contract asks for."""
    return isinstance(plugin, Generator) and not isinstance(plugin, type) and isinstance(plugin.id, str)


@functools.cache
def known() -> Mapping[str, Generator[Any]]:
    """Generators by id, in the order of their ids; looked for once in a process.

    Effect: one warning for each generator of another package that is left out.
    """
    plugins = discover(generators, "generator", GROUP, is_generator)
    for reason in plugins.unusable:
        log.warning("%s", reason)
    return plugins.found


def find(id: str) -> Generator[Any]:
    """The generator of that id or camelCase alias.

    Fails: NotFound naming those that exist.
    """
    hyphenated = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda match: f"-{match[0]}", id).lower()
    if (generator := known().get(hyphenated)) is None:
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
