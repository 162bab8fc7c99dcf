"""The values that an answer is made of: JSON, several JSON values, a stream of events, or what came of either.

Nothing is asked of its form that is not needed: an answer that ends too soon, or that a program wrote as its own
language writes values, gives what can be read of it.
"""

import json
import re
from typing import Any, NamedTuple

import msgspec

EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
BARE_DATA_URL = re.compile(rb"data:[A-Za-z0-9.+-]+/[^\s,]{0,128},", re.IGNORECASE)
"""A body that is an address with the image in it, and no event."""
TOKEN = re.compile(
    r"""([{}\[\],:])"""
    r"""|[bru]{0,2}"([^"\\]*(?:\\.[^"\\]*)*)("?)"""
    r"""|[bru]{0,2}'([^'\\]*(?:\\.[^'\\]*)*)('?)"""
    r"""|([^\s{}\[\],:"']+)""",
    re.DOTALL,
)
"""A mark, a text in double or in single quotes, each with its closing quote if it has one, or a word."""
BEGINS = re.compile(r"\[\s*(?:[\"'{\[\]]|-?\d)|\{\s*(?:[\"'}]|[A-Za-z_$][\w$]*\s*:)")
"""How an object or a list of a program begins, and no words in brackets."""
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c\x1d\x1f]")
"""What no text has."""
HEAD_BYTES = 4096
LAST = b"[DONE]"
"""How some vendors end a stream."""
MOST_TOKENS = 4_000_000
DEEPEST = 200


class Cut(str):
    """A text within which the answer ended."""

    __slots__ = ()


class Event(NamedTuple):
    """A server-sent event; name and data may be empty. `is_one`: some line is one of a stream's."""

    name: str
    data: bytes
    is_one: bool


def read_event(block: bytes) -> Event:
    """The event of a block of lines (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    name, data, is_one = "", list[bytes](), False
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        is_one = is_one or field in (b"", b"data", b"event", b"id", b"retry")
        if field == b"event":
            name = value.decode("utf-8", "replace").strip()
        elif field == b"data":
            data.append(value)
    return Event(name, b"\n".join(data), is_one)


def read_documents(body: bytes) -> list[object] | None:
    """The JSON values in a body: one, several one after the other, or those of a stream's events. A list at the top
    counts as several. None when it is neither JSON nor a stream nor blank."""
    plain = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\v\f\x1e")
    encoding = json.detect_encoding(body[:4])
    if not encoding.startswith("utf-8"):
        if body[:256].decode(encoding, "replace").lstrip("\ufeff \t\r\n")[:1] not in ("{", "[", '"'):
            return None
        plain = body.decode(encoding, "replace").strip("\ufeff \t\r\n").encode()
    if CONTROL.search(plain[:HEAD_BYTES]):
        return None
    found = decoded(plain)
    if not found and plain[:1] not in (b"{", b"[", b'"'):
        events = [read_event(block) for block in EVENT_END.split(plain)]
        if plain and (BARE_DATA_URL.match(plain) or not any(event.is_one for event in events)):
            return None
        shown = [e for e in events if e.data and e.data != LAST and not e.name.endswith("partial_image")]
        found = [
            value for event in shown for value in decoded(event.data) or [event.data.decode("utf-8", "replace").strip()]
        ]
    elif not found:
        return None
    return [inner for value in found for inner in (value if isinstance(value, list) else [value])]


def decoded(plain: bytes) -> list[object]:
    """The JSON values one after the other, as far as they can be read."""
    try:
        return [msgspec.json.decode(plain)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Not strict JSON: line breaks within a string, other bytes than UTF-8, several values, an end too soon.
    text, at, values = plain.decode("utf-8", "replace"), 0, list[object]()
    reader = json.JSONDecoder(strict=False)
    while at < len(text):
        try:
            value, at = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            if BEGINS.match(text, at) and (begun := _begun(text, at)):
                values.append(begun)
            while values and not isinstance(values[-1], dict | list | str):
                # Digits at the beginning of something else.
                values.pop()
            break
        values.append(value)
        while at < len(text) and text[at] in " \t\r\n,\x1e":
            at += 1
    return values


class _Open:
    """An object or list that is being read; `key` is that of an object's next value."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key: str | None = None

    def add(self, value: Any) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is None:
            self.key = value if isinstance(value, str) else str(value)
        else:
            self.value[self.key], self.key = value, None


def _begun(text: str, at: int) -> Any:
    """What can be read of the object or list that begins there: up to the end of the text, in whatever quotes."""
    top = _Open([])
    stack, count = [top], 0
    for token in TOKEN.finditer(text, at):
        mark, double, double_end, single, single_end, word = token.groups()
        count += 1
        if count > MOST_TOKENS or len(stack) > DEEPEST:
            break
        if mark is None:
            if word is not None:
                stack[-1].add(_word(word))
                continue
            raw, is_whole = (double, double_end) if double is not None else (single, single_end)
            stack[-1].add(_unescaped(raw) if is_whole else Cut(_unescaped(raw)))
        elif mark in "{[":
            inner = _Open({} if mark == "{" else [])
            stack[-1].add(inner.value)
            stack.append(inner)
        elif mark in "}]":
            stack.pop()
            if len(stack) == 1:
                break
        elif mark == ",":
            stack[-1].key = None
    return top.value[0] if top.value else None


def _word(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(word, word)


def _unescaped(raw: str) -> str:
    if "\\" not in raw:
        return raw
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return raw
