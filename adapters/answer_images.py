"""The image in a vendor's answer, in whatever form it is written there.

What a vendor documents is read beside that vendor. Servers that speak its API deviate from it: another type is
declared, JSON comes in a stream or a stream as JSON, base64 has line breaks, no padding, the alphabet of URLs or a
`data:` address around it, or the image is at an address. It was paid for all the same, so it is taken; and what stands
in its place but cannot be read as an image is handed on as it is, so that it can be kept.
"""

import binascii
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import httpx
import msgspec

from adapters.provider import Address
from tools.media.signatures import mime_of

UNKNOWN = "application/octet-stream"
"""The type of bytes that are no image that we know."""
HEAD_CHARS = 512
"""Enough base64 to tell by its beginning whether it is an image."""
SHORTEST_CHARS = 24
"""No image is written in less base64."""
DEEPEST = 64
NOT_THE_IMAGE = frozenset(
    [
        "input",
        "request",
        "prompt",
        "mask",
        "masked",
        "reference",
        "start",
        "partial",
        "preview",
        "thumb",
        "thumbnail",
        "error",
    ]
)
"""Words in the names of fields with an image that was sent, with a draft of the one that was made, or with addresses to
read at."""
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
"""A word of a field's name, in snake or camel case."""
NAMES_ADDRESS = re.compile(
    r"(?:(?:image|file|download|signed|media|output|result)_?)?ur[il]s?|images?|outputs?|results?|href|src|link|data",
    re.IGNORECASE,
)
DATA_URL = re.compile(r"data:[A-Za-z0-9.+/;=-]{0,128},[^\s\"'<>)\\]+", re.IGNORECASE)
BARE_DATA_URL = re.compile(rb"data:[A-Za-z0-9.+-]+/[^\s,]{0,128},", re.IGNORECASE)
"""A body that is an address with the image in it, and no event."""
QUOTED = re.compile(rb'"((?:[^"\\]|\\.){%d,})"' % SHORTEST_CHARS, re.DOTALL)
EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
STRICT = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
BASE64 = re.compile(rb"[A-Za-z0-9+/]+")
ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 (compared, never bound)


class Found(NamedTuple):
    """An image, or what stands in its place. With an `address`, the image is there, and `data` is the whole answer."""

    data: bytes
    mime: str
    address: Address | None = None


class Body(NamedTuple):
    """What came of an answer; `error` when the connection broke off before its end."""

    data: bytes
    error: httpx.HTTPError | None = None


async def read_body(response: httpx.Response) -> Body:
    """The whole answer, or as much of it as came."""
    data = bytearray()
    try:
        async for piece in response.aiter_bytes():
            data += piece
    except httpx.HTTPError as error:
        return Body(bytes(data), error)
    return Body(bytes(data))


def find_image(
    body: bytes, documents: Sequence[object] | None, documented: Sequence[object], base_url: str
) -> Found | None:
    """The image of a successful answer, or what stands in its place; None when nothing does.

    `documents` is the body's JSON (`read_documents`); `documented` are the values where the vendor's documentation puts
    the image, the wanted one first. Addresses may be relative to `base_url`, whose host may also be a private one.
    """
    for value in documented:
        if image := _image(value):
            return image
    if mime := mime_of(body):
        return Found(body, mime)
    leaves = [("", text) for text in _quoted(body)] if documents is None else [*_leaves([*documents])]
    for _, value in leaves:
        if image := _image(value):
            return image
    named = [*(("url", value) for value in documented), *leaves]
    if address := next((found for name, value in named if (found := _address(name, value, base_url))), None):
        return Found(body, "application/json" if documents else UNKNOWN, address)
    for value in documented:
        if isinstance(value, str) and value.strip():
            return Found(decode_base64(value) or value.encode("utf-8", "surrogatepass"), UNKNOWN)
    return Found(body, UNKNOWN) if documents is None else None


def read_documents(body: bytes) -> list[object] | None:
    """The JSON values in a body: one, several one after the other, or those of a stream's events. A list at the top
    counts as several. None when it is neither JSON nor a stream nor blank."""
    plain = body.removeprefix(b"\xef\xbb\xbf").strip()
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        plain = body.decode("utf-16", "replace").strip().encode()
    found = _decoded(plain)
    if not found and plain[:1] not in (b"{", b"[", b'"'):
        events = [read_event(block) for block in EVENT_END.split(plain)]
        if plain and (BARE_DATA_URL.match(plain) or not any(event.is_one for event in events)):
            return None
        found = [value for event in events for value in _decoded(event.data)]
    elif not found:
        return None
    return [inner for value in found for inner in (value if isinstance(value, list) else [value])]


def _decoded(plain: bytes) -> list[object]:
    """The JSON values one after the other, as far as they can be read."""
    try:
        return [msgspec.json.decode(plain)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Not strict JSON: line breaks within a string, other bytes than UTF-8, several values.
    text, at, values = plain.decode("utf-8", "replace"), 0, list[object]()
    reader = json.JSONDecoder(strict=False)
    while at < len(text):
        try:
            value, at = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        values.append(value)
        while at < len(text) and text[at] in " \t\r\n,\x1e":
            at += 1
    return values


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


def decode_base64(text: str) -> bytes | None:
    """The bytes of base64 with or without padding, white space and a `data:` address around it, in either alphabet."""
    text = text.strip()
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            return unquote_to_bytes(text) or None
        text = unquote_to_bytes(text).decode("latin-1") if "%" in text else text
    if "\\" in text:
        # Escaped twice.
        text = re.sub(r"\\[nrt]", "", text).replace("\\", "")
    if len(text) % 4 == 0 and STRICT.fullmatch(text):
        # The usual form, without copies of it.
        return binascii.a2b_base64(text)
    try:
        plain = text.encode("ascii").translate(ONE_ALPHABET, b" \t\r\n\v\f\"'").rstrip(b"=")
    except UnicodeEncodeError:
        return None
    if not BASE64.fullmatch(plain) or len(plain) % 4 == 1:
        return None
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))


def _image(value: object) -> Found | None:
    """The image that this value is, if it is one."""
    if isinstance(value, list):
        try:
            listed = bytes(value)
        except (TypeError, ValueError):
            return None
        return Found(listed, mime) if (mime := mime_of(listed)) else None
    if not isinstance(value, str) or len(value) < SHORTEST_CHARS:
        return None
    if value[:64].lstrip()[:5].lower() != "data:":
        head = re.sub(r"[\s=\\]|\\[nrt]", "", value[:HEAD_CHARS])
        begun = decode_base64(head[: len(head) // 4 * 4])
        if begun is None or mime_of(begun) is None:
            # Words may have an image among them, as Markdown does.
            named = DATA_URL.search(value) if "data:" in value else None
            return _image(named[0]) if named else None
    data = decode_base64(value)
    return Found(data, mime) if data and (mime := mime_of(data)) else None


def _leaves(value: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """The texts, and lists of bytes, within a JSON value, each with the name of its field."""
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        if value.get("thought") is True or str(value.get("type", "")).endswith("partial_image"):
            return
        for key, inner in value.items():
            if NOT_THE_IMAGE.isdisjoint(word.lower().removesuffix("s") for word in WORD.findall(str(key))):
                yield from _leaves(inner, str(key), depth + 1)
    elif isinstance(value, list):
        if value and isinstance(value[0], int):
            yield name, value
        else:
            for inner in value:
                yield from _leaves(inner, name, depth + 1)
    elif isinstance(value, str) and value:
        if value[:1] in "{[" and (inner := _decoded(value.encode("utf-8", "replace"))):
            yield from _leaves(inner, name, depth + 1)
        else:
            yield name, value


def _quoted(body: bytes) -> Iterator[str]:
    """What might be an image in a body that is no JSON: its quoted texts, and the whole."""
    if len(body) >= SHORTEST_CHARS:
        yield body.decode("latin-1")
        for text in QUOTED.finditer(body):
            yield text[1].decode("latin-1")


def _address(name: str, value: object, base_url: str) -> Address | None:
    """Where the image is, when the value is an address of the web."""
    if not isinstance(value, str) or not NAMES_ADDRESS.fullmatch(name) or re.search(r"\s", value.strip()):
        return None
    value, base = value.strip(), urlsplit(base_url)
    try:
        if value.startswith("/") and re.search(r"ur[il]|href|src", name, re.IGNORECASE):
            value = urljoin(base_url, value)
        found = urlsplit(value)
        if found.scheme.lower() not in ("http", "https") or not found.hostname:
            return None
        ports = [parts.port or (443 if parts.scheme == "https" else 80) for parts in (base, found)]
    except ValueError:
        return None
    same = base.hostname == found.hostname or {base.hostname, found.hostname} <= LOOPBACK
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    return Address(value, f"{host}:{ports[1]}" if same and ports[0] == ports[1] else None)
