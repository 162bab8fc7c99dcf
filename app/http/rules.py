"""What a field or parameter must be, in words, for the message that refuses it.

msgspec's messages give a regex for a pattern and nothing but the value for an enum; a person needs the rule.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from litestar.params import KwargDefinition
from litestar.typing import FieldDefinition
from msgspec import Meta, inspect

WORDS: dict[str, str] = {
    "^[A-Za-z0-9._:-]+$": "of letters, digits and . _ : -",
    "^[A-Za-z0-9._:-]{1,128}$": "of 1 to 128 letters, digits and . _ : -",
    "^[A-Za-z0-9._-]{1,128}$": "of 1 to 128 letters, digits and . _ -",
    "^[A-Za-z0-9][A-Za-z0-9_-]*$": "of letters, digits, _ and -, which begins with a letter or digit",
    "^[a-z]{1,32}$": "of 1 to 32 small letters",
}
"""Each pattern of a request in words that follow `text`; `pattern` adds to it."""
STEP = re.compile(r"\.([^.\[]+)|\[[0-9.]+\]")
GOT = re.compile(r"Invalid (?:enum )?value|matching regex")


def pattern(regex: str, words: str) -> str:
    """The regex, for a field whose value is refused with these words. Effect: it is in WORDS."""
    WORDS[regex] = words
    return regex


def parameter_type(field: FieldDefinition) -> Any:
    """The type of a path, query or header parameter, with the bounds of its text."""
    declared = field.kwarg_definition
    if isinstance(declared, KwargDefinition) and declared.pattern is not None:
        bounds = Meta(pattern=declared.pattern, min_length=declared.min_length, max_length=declared.max_length)
        return Annotated[str, bounds]
    return field.annotation


def explained(problem: str, wanted: object, path: str) -> str:
    """msgspec's message about the value at `path` (as in `$.providers[0].model`), with the rule in place of a regex or
    of the value that was sent."""
    places = list(_places(inspect.type_info(wanted), path))
    if GOT.search(problem):
        return f"Expected {_either(places)}"
    if problem.startswith("Object contains unknown field"):
        known = [field.encode_name for each in places if isinstance(each, inspect.StructType) for field in each.fields]
        return f"{problem}; there are: {', '.join(known)}" if known else problem
    return problem


def _places(type_: inspect.Type, path: str) -> Iterator[inspect.Type]:
    """The types that a value at this path may have."""
    if isinstance(type_, inspect.UnionType):
        for each in type_.types:
            yield from _places(each, path)
        return
    if isinstance(type_, inspect.Metadata):
        yield from _places(type_.type, path)
        return
    step = STEP.match(path.removeprefix("$"))
    if step is None:
        yield type_
        return
    rest = path.removeprefix("$")[step.end() :]
    if isinstance(type_, inspect.StructType):
        for field in type_.fields:
            if field.encode_name == step[1]:
                yield from _places(field.type, rest)
    elif isinstance(type_, inspect.ListType) and step[1] is None:
        yield from _places(type_.item_type, rest)
    elif isinstance(type_, inspect.DictType):
        yield from _places(type_.value_type, rest)


def _either(types: list[inspect.Type]) -> str:
    return " or ".join(dict.fromkeys(map(_rule, types))) or "another value"


def _rule(type_: inspect.Type) -> str:
    match type_:
        case inspect.StrType():
            return _text(type_.pattern, type_.min_length, type_.max_length)
        case inspect.LiteralType():
            return f"one of: {', '.join(map(str, type_.values))}"
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.ListType():
            return "a list"
    return "an object"


def _text(pattern: str | None, least: int | None, most: int | None) -> str:
    words = ["text"]
    if pattern is not None:
        words.append(WORDS.get(pattern, f"that matches {pattern}"))
    if most is not None:
        words.append(f"of {least} to {most:,} characters" if least else f"of at most {most:,} characters")
    return " ".join(words) if len(words) < 3 else f"{words[0]} {words[1]}, {words[2]}"
