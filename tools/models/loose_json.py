"""Objects in the text of a model, read also where it is not quite JSON.

Taken as well are Python's literals and single quotes, names without quotes, comments, commas after the last entry, and
quotes within a text that were not escaped. Nothing is ever taken out of a text: what stands in one stays text.
"""

import re
from typing import NamedTuple

MOST_OBJECTS = 20
DEEPEST = 24
SPACE = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
WORD = re.compile(r"[A-Za-z_$][\w$-]*")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
WORDS = {"true": True, "false": False, "null": None, "none": None, "undefined": None, "nan": None}
PLAIN = re.compile(r"[^\"'“”‘’\\]+")
CLOSING = {'"': '"', "'": "'", "“": "”", "‘": "’"}
ENDS = re.compile(r"\s*(?:[,:}\]]|//|#|/\*|\Z)")
"""What follows the quote that ends a text."""
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
UNICODE = re.compile(r"u([0-9a-fA-F]{4})")


class Twice(list[object]):
    """The values of a name that was given more than one."""


class _Read(NamedTuple):
    value: object
    end: int


def read_objects(text: str) -> list[dict[str, object]]:
    """The outermost objects in the text, at most twenty. A name that is given several values has them `Twice`."""
    found, at = list[dict[str, object]](), 0
    for _ in range(MOST_OBJECTS):
        if (at := text.find("{", at)) < 0:
            break
        try:
            value, at = _object(text, at, 0)
        except ValueError:
            at += 1
            continue
        found.append(value)
    return found


def read_value(text: str) -> object:
    """The one value that the text is, or the text itself when it is none."""
    try:
        value, end = _value(text, _skip(text, 0), 0)
    except ValueError:
        return text
    return value if _skip(text, end) == len(text) else text


def _skip(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def _value(text: str, at: int, depth: int) -> _Read:
    """The value that begins here. Fails: ValueError when there is none."""
    if depth > DEEPEST or at >= len(text):
        raise ValueError("no value")
    if text[at] == "{":
        return _Read(*_object(text, at, depth))
    if text[at] == "[":
        return _list(text, at, depth)
    if text[at] in CLOSING:
        return _Read(*_text(text, at))
    if match := NUMBER.match(text, at):
        return _Read(float(match[0]), match.end())
    if (match := WORD.match(text, at)) and match[0].lower() in WORDS:
        return _Read(WORDS[match[0].lower()], match.end())
    raise ValueError("no value")


def _object(text: str, at: int, depth: int) -> tuple[dict[str, object], int]:
    found, at = dict[str, object](), _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if match := WORD.match(text, at):
            name, at = match[0], match.end()
        elif text[at : at + 1] in tuple(CLOSING):
            name, at = _text(text, at)
        else:
            raise ValueError("no name")
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("a name without a value")
        value, at = _value(text, _skip(text, at + 1), depth + 1)
        before = found.get(name)
        found[name] = (
            value if name not in found else Twice([*(before if isinstance(before, Twice) else [before]), value])
        )
        at = _after(text, at, "}")
    return found, at + 1


def _list(text: str, at: int, depth: int) -> _Read:
    found, at = list[object](), _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, at = _value(text, at, depth + 1)
        found.append(value)
        at = _after(text, at, "]")
    return _Read(found, at + 1)


def _after(text: str, at: int, closing: str) -> int:
    """Where the next entry begins, or the closing bracket is."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != closing:
        raise ValueError("an entry without an end")
    return at


def _text(text: str, at: int) -> tuple[str, int]:
    """The text in quotes that begins here; a quote ends it where an entry may end."""
    closing, pieces, at = CLOSING[text[at]], list[str](), at + 1
    while at < len(text):
        if match := PLAIN.match(text, at):
            pieces.append(match[0])
            at = match.end()
        elif text[at] == "\\":
            escaped = UNICODE.match(text, at + 1)
            char = text[at + 1 : at + 2]
            pieces.append(chr(int(escaped[1], 16)) if escaped else ESCAPES.get(char, char))
            at += 6 if escaped else 2
        elif text[at] == closing and ENDS.match(text, at + 1):
            return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace"), at + 1
        else:
            pieces.append(text[at])
            at += 1
    raise ValueError("a text without an end")
