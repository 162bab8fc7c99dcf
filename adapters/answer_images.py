"""The image in a vendor's answer, in whatever form it is written there.

What a vendor documents is read beside that vendor. Servers that speak its API deviate from it: another type is
declared, JSON comes in a stream or a stream as JSON, base64 has line breaks, no padding, the alphabet of URLs or a
`data:` address around it, an image is written as numbers, in pieces or packed, in a part of several or in the middle of
words, or it is at an address. It was paid for all the same, so it is taken; and what stands in its place but cannot be
read as an image is handed on as it is, so that it can be kept.

There is one search for all of it: what an answer is wrapped in (`answer_layers.py`) is taken off, what it says is read
(`answer_documents.py`), each value is decoded (`answer_encodings.py`), and what comes of that is searched in turn.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import NamedTuple, TypeGuard
from urllib.parse import urljoin, urlsplit

import httpx

from adapters.answer_documents import BEGINS, CONTROL, DEEPEST, HEAD_BYTES, Cut, decoded, read_documents
from adapters.answer_encodings import SHORTEST_CHARS, STRICT, bytes_of, decode_base64, of_numbers, runs
from adapters.answer_layers import unwrapped
from adapters.provider import Address
from tools.images import MOST_BYTES
from tools.media.signatures import is_whole, mime_of

UNKNOWN = "application/octet-stream"
"""The type of bytes that are no image that we know."""
MOST_LAYERS = 6
"""What an image is wrapped in, one within the other."""
MOST_VALUES = 200_000
MOST_UNPACKED = 2 * MOST_BYTES
"""Bytes that all layers of an answer may unpack to."""
SECONDS = 30.0
"""After which no further value is looked at."""
MOST_ADDRESSES = 4
MOST_PIECES = 100_000
PIECE_CHARS = 64
"""Shorter texts of a list are pieces of one."""
PROSE_CHARS = 64 << 10
"""Words that may stand before what a program wrote."""
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
SAYS_WHAT_IT_IS = ("type", "role", "kind", "name")
"""Fields by which an object says what it is, in one word of a program."""
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
"""A word of a field's name, in snake or camel case."""
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAMES_ADDRESS = re.compile(
    r"(?:(?:image|file|download|signed|media|output|result)_?)?ur[il]s?|images?|outputs?|results?|href|src|link|data",
    re.IGNORECASE,
)
SHOWN = re.compile(
    r"!\[[^\]]{0,1000}\]\(\s*<?([^\s)>]+)|<img\b[^>]{0,1000}?\bsrc\s*=\s*[\"']?([^\s\"'>]+)", re.IGNORECASE
)
"""How Markdown and HTML show the image at an address."""
MENTIONED = re.compile(r"https?://[^\s\"'<>\\^`{|}\])]+", re.IGNORECASE)
HAS_IMAGE_NAME = re.compile(r"\.(?:png|jpe?g|webp|gif|avif|bmp|tiff?|jp2|heic)\b", re.IGNORECASE)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 (compared, never bound)


class Found(NamedTuple):
    """An image, or what stands in its place. With `addresses`, the image is at one of them, and `data` is the whole
    answer."""

    data: bytes
    mime: str
    addresses: tuple[Address, ...] = ()


class Body(NamedTuple):
    """What came of an answer; `error` when the connection broke off before its end."""

    data: bytes
    error: httpx.HTTPError | None = None


arriving: ContextVar[bytearray] = ContextVar("picasso_arriving")
"""What has come of the answer that is being read: whoever ends the reading finds it here."""


async def read_body(response: httpx.Response) -> Body:
    """The whole answer, or as much of it as came."""
    data = bytearray()
    arriving.set(data)
    try:
        async for piece in response.aiter_bytes():
            data += piece
    except httpx.HTTPError as error:
        return Body(bytes(data), error)
    return Body(bytes(data))


def find_image(
    body: bytes,
    documents: Sequence[object] | None,
    documented: Sequence[object],
    base_url: str,
    *,
    is_cut: bool = False,
) -> Found | None:
    """The image of a successful answer, or what stands in its place; None when nothing does.

    `documents` is the body's JSON (`read_documents`); `documented` are the values where the vendor's documentation puts
    the image, the wanted one first. Addresses may be relative to `base_url`, whose host may also be a private one. Of
    an answer that was cut off (`is_cut`), only an image that is whole is taken.
    """
    search, leaves = _Search(is_cut), list(_leaves([*(documents or [])]))
    image = search.in_values([("", value) for value in documented], leaves) or search.in_bytes(body, documents)
    if image:
        return Found(image, mime_of(image) or UNKNOWN)
    named = [*(("url", value) for value in documented), *leaves]
    if addresses := _distinct(_address(name, value, base_url) for name, value in named):
        return Found(body, "application/json", addresses)
    if is_cut:
        return None
    for value in documented:
        if isinstance(value, str) and value.strip():
            return Found(decode_base64(value) or value.encode("utf-8", "surrogatepass"), UNKNOWN)
    return Found(body, UNKNOWN) if documents is None and CONTROL.search(body[:HEAD_BYTES]) else None


def find_mentioned(body: bytes, documents: Sequence[object] | None, base_url: str) -> Found | None:
    """Addresses within the words of an answer that holds no image otherwise, and no error: those that are shown as
    images first, then those that are named as images. None when there are none."""
    texts = [text for _, text in _leaves([*documents])] if documents else [body.decode("utf-8", "replace")]
    said = [text for text in texts if isinstance(text, str) and not isinstance(text, Cut)]
    shown = [found[1] or found[2] for text in said for found in SHOWN.finditer(text)]
    mentioned = [found[0].rstrip(".,;:!?*_") for text in said for found in MENTIONED.finditer(text)]
    mentioned.sort(key=lambda url: not HAS_IMAGE_NAME.search(url))
    addresses = _distinct(_address("url", url.replace("&amp;", "&"), base_url) for url in [*shown, *mentioned])
    return Found(body, UNKNOWN, addresses) if addresses else None


def image_within(data: bytes, *, is_cut: bool = False) -> bytes | None:
    """The image that bytes are, or that is in them in whatever form; of bytes that were cut off, one that is whole."""
    return _Search(is_cut).in_bytes(data)


class _Search:
    """One search, which ends in bounded time and memory."""

    def __init__(self, is_cut: bool) -> None:
        self._is_cut, self._end = is_cut, time.monotonic() + SECONDS
        self._unpacked = MOST_UNPACKED

    def in_bytes(self, data: bytes, documents: Sequence[object] | None = None, depth: int = 0) -> bytes | None:
        """The image that the bytes are or hold; `documents` is their JSON, where it has been read."""
        if mime_of(data):
            return None if self._is_cut and not is_whole(data) else data
        if depth > MOST_LAYERS or self._is_late():
            return None
        for inner in unwrapped(data, self._unpacked):
            self._unpacked -= len(inner)
            if found := self.in_bytes(inner, None, depth + 1):
                return found
        if documents is None:
            documents = read_documents(data)
        if documents is not None:
            leaves = list(_leaves([*documents]))
        elif CONTROL.search(data[:HEAD_BYTES]):
            return None
        else:
            text = data.decode("utf-8", "replace")
            begins = BEGINS.search(text[:PROSE_CHARS])
            begun = decoded(text[begins.start() :].encode()) if begins else []
            leaves = [*_leaves(begun), ("", Cut(text) if self._is_cut else text)]
        return self.in_values(leaves, leaves, depth)

    def in_values(self, wanted: "Sequence[_Leaf]", leaves: "Sequence[_Leaf]", depth: int = 0) -> bytes | None:
        """The first image among the wanted ones of an answer's values. One that is written in several of them has the
        same name in each."""
        for _, value in wanted:
            if self._is_late():
                return None
            if (image := self._in_value(value, depth)) is None:
                continue
            if is_whole(image):
                return image
            at = next((at for at, leaf in enumerate(leaves) if leaf[1] is value), len(leaves))
            alike = [later for called, later in leaves[at : at + MOST_PIECES] if _alike(called, leaves[at][0])]
            if len(alike) > 1 and (joined := self._joined(alike, depth)):
                return joined
            if not self._is_cut:
                return image
        return None

    def _in_value(self, value: object, depth: int) -> bytes | None:
        """The image that one value is, or holds."""
        if data := bytes_of(value):
            return data if mime_of(data) else self.in_bytes(data, None, depth + 1)
        if isinstance(value, str):
            for run in runs(value):
                if image := self._in_value(bytes_of(run), depth):
                    return image
        return None

    def _joined(self, pieces: Sequence[object], depth: int) -> bytes | None:
        """The image that these pieces are together, if they are."""
        texts = [piece for piece in pieces if isinstance(piece, str)]
        if len(texts) == len(pieces):
            # One text that was cut, or texts that were each encoded by themselves.
            image = self._in_value("".join(texts), depth)
            if image and (is_whole(image) or (_are_base64(texts[:-1]) and not self._is_cut)):
                return image
            decoded_pieces = [decode_base64(text) for text in texts]
        else:
            decoded_pieces = [of_numbers(piece) for piece in pieces if isinstance(piece, list)]
            if not self._is_cut and not any(piece and mime_of(piece) for piece in decoded_pieces[1:]):
                return b"".join(piece for piece in decoded_pieces if piece)
        together = b"".join(piece for piece in decoded_pieces if piece)
        return together if is_whole(together) else None

    def _is_late(self) -> bool:
        return time.monotonic() > self._end


_Leaf = tuple[str, object]
"""A value, and the name of its field."""


def _leaves(value: object, name: str = "") -> Iterator[_Leaf]:
    """The texts, and lists of numbers, within a JSON value, each with the name of its field."""
    left = [MOST_VALUES]
    return _within(value, name, 0, left)


def _within(value: object, name: str, depth: int, left: list[int]) -> Iterator[_Leaf]:
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        return
    if isinstance(value, dict):
        if _is_another_image(value):
            return
        if value and all(isinstance(key, str) and key.isdecimal() for key in value):
            # A list, as some languages write one.
            listed = [value[key] for key in sorted(value, key=lambda key: int(key[:9]))]
            yield from _within(listed, name, depth + 1, left)
            return
        for key, inner in value.items():
            if _may_be_the_image(str(key)):
                yield from _within(inner, str(key), depth + 1, left)
    elif isinstance(value, list):
        if value and (isinstance(value[0], int | float) or _are_digits(value)):
            yield name, value
        elif _are_pieces(value):
            yield name, "".join(value)
        else:
            for inner in value:
                yield from _within(inner, name, depth + 1, left)
    elif isinstance(value, str) and value:
        if BEGINS.match(value.lstrip()[:256]):
            yield from _within(decoded(value.strip().encode("utf-8", "replace")), name, depth + 1, left)
        yield name, value


def _are_digits(values: list[object]) -> bool:
    """Whether numbers are written as texts."""
    return len(values) > 2 and all(
        isinstance(value, str) and len(value) < 6 and value.lstrip("-").isdecimal() for value in values[:16]
    )


def _are_pieces(values: list[object]) -> TypeGuard[list[str]]:
    """Whether these are pieces of one text, each too short for an image."""
    return len(values) > 1 and all(isinstance(value, str) and len(value) < PIECE_CHARS for value in values)


def _are_base64(texts: Sequence[str]) -> bool:
    """Whether texts are long enough to be pieces of an image, and nothing else."""
    return all(len(text) >= SHORTEST_CHARS and STRICT.fullmatch(text) for text in texts) and not any(
        bytes_of(text) for text in texts[1:]
    )


def _may_be_the_image(name: str) -> bool:
    return NOT_THE_IMAGE.isdisjoint(word.lower().removesuffix("s") for word in WORD.findall(name))


def _is_another_image(said: dict[object, object]) -> bool:
    """Whether an object says of itself that it is a draft, or was sent."""
    if said.get("thought") is True:
        return True
    words = [said.get(field) for field in SAYS_WHAT_IT_IS]
    return any(
        isinstance(word, str) and IDENTIFIER.fullmatch(word.rpartition(".")[2]) and not _may_be_the_image(word)
        for word in words
    )


def _alike(name: str, other: str) -> bool:
    """Whether two fields may be one after the other of a row."""
    return name == other or re.sub(r"\d+", "", name) == re.sub(r"\d+", "", other)


def _distinct(found: "Iterator[Address | None]") -> tuple[Address, ...]:
    return tuple(dict.fromkeys(address for address in found if address))[:MOST_ADDRESSES]


def _address(name: str, value: object, base_url: str) -> Address | None:
    """Where the image is, when the value is an address of the web."""
    if not isinstance(value, str) or isinstance(value, Cut) or not NAMES_ADDRESS.fullmatch(name):
        return None
    value, base = value.strip(), urlsplit(base_url)
    if re.search(r"\s", value):
        return None
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
