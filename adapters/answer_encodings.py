"""The bytes that a value of an answer stands for: text in one of several encodings, a list of numbers."""

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, unquote_to_bytes

from tools.media.signatures import mime_of

HEAD_CHARS = 512
"""Enough text to tell by its beginning what it is."""
SHORTEST_CHARS = 24
"""No image is written in less."""
SHORTEST_LIST = 12
STRICT = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
BASE64 = re.compile(rb"[A-Za-z0-9+/]+")
ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")
NOT_HEX = re.compile(r"0x|\\?x|[\s:,-]", re.IGNORECASE)
INVISIBLE = re.compile("[\u00a0\u200b-\u200d\u2028\u2029\u2060\ufeff]")
PREFIX = re.compile(r"b(?=['\"])|(?:data:)?(?:image/[a-z.+-]+;)?base64[:,]", re.IGNORECASE)
"""What some programs write before base64, without its being an address."""
ESCAPED = re.compile(r"b?(['\"]?)(?=(?:[^\\]{0,8}\\[x0-9rn]){2})")
ESCAPE_CUT = re.compile(rb"\\(?:x[0-9a-fA-F]?)?\Z")
PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|PK\x03\x04")
INSIDE = re.compile(rb"\s*(?:[{\[]\s*[\"'{\[]|data:image/|-----?[!-~]|<(?:svg|\?xml|!doctype|html))", re.IGNORECASE)
"""How a document begins, an address with an image in it, or several parts."""
DECIMALS = re.compile(r"\s*[\[(]?\s*-?\d{1,3}(?:\.0)?(?:[\s,;]+-?\d{1,3}(?:\.0)?)+[\s,;]*[\])]?\s*", re.ASCII)
RUN = re.compile(r"[A-Za-z0-9+/_-]{24,}(?:\s*\n\s*[A-Za-z0-9+/_-]{40,})*(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+)?={0,2}")
"""A long row of base64's characters, perhaps in lines."""
DATA_URL = re.compile(r"data:[A-Za-z0-9.+/;=-]{0,128},[^\s\"'<>)\\]+", re.IGNORECASE)
MOST_RUNS = 1000


def decode_base64(text: str) -> bytes | None:
    """The bytes of base64 with or without padding, white space and a `data:` address around it, in either alphabet."""
    text = text.strip()
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            return unquote_to_bytes(text) or None
    elif prefix := PREFIX.match(text):
        text = text[prefix.end() :]
    if "%" in text:
        text = unquote_to_bytes(text).decode("latin-1")
    if "\\" in text:
        # Escaped twice.
        text = re.sub(r"\\[nrt]", "", text).replace("\\", "")
    if len(text) % 4 == 0 and STRICT.fullmatch(text):
        # The usual form, without copies of it.
        return binascii.a2b_base64(text)
    if not text.isascii():
        text = INVISIBLE.sub("", text)
    try:
        plain = text.encode("ascii").translate(ONE_ALPHABET, b" \t\r\n\v\f\"'").rstrip(b"=")
    except UnicodeEncodeError:
        return None
    if b"=" in plain:
        return _in_pieces(plain)
    return _whole_bytes(plain)


def _whole_bytes(plain: bytes) -> bytes | None:
    """The bytes of base64's characters; a last one that is not enough for a byte is nothing."""
    if not BASE64.fullmatch(plain):
        return None
    plain = plain[:-1] if len(plain) % 4 == 1 else plain
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))


def _in_pieces(plain: bytes) -> bytes | None:
    """The bytes of base64 that was padded piece by piece."""
    pieces = [_whole_bytes(piece) for piece in re.split(rb"=+", plain)]
    return None if None in pieces else b"".join(piece for piece in pieces if piece)


def decode_hex(text: str) -> bytes | None:
    """The bytes of hexadecimal digits, also with `0x` before them, or marks between them."""
    plain = NOT_HEX.sub("", text)
    try:
        return bytes.fromhex(plain)
    except ValueError:
        return None


def decode_escapes(text: str) -> bytes | None:
    """The bytes that a program wrote as its own language does, such as `b'\\x89PNG'`."""
    begun = ESCAPED.match(text)
    try:
        plain = ESCAPE_CUT.sub(b"", text[begun.end() :].encode("latin-1")) if begun else b""
        return codecs.escape_decode(plain)[0].removesuffix(begun[1].encode()) if begun else None
    except (UnicodeEncodeError, ValueError):
        return None


def decode_decimals(text: str) -> bytes | None:
    """The bytes of a list of numbers that was written as a text."""
    return of_numbers(list(re.findall(r"-?[\d.]+", text))) if DECIMALS.fullmatch(text) else None


def decode_base32(text: str) -> bytes | None:
    """The bytes of base32 (RFC 4648 §6)."""
    try:
        return base64.b32decode(re.sub(r"\s", "", text))
    except ValueError:
        return None


def _decode_latin(text: str) -> bytes | None:
    """The bytes of a text with a character for each."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def is_image_or_holds_one(data: bytes) -> bool:
    """Whether bytes begin as an image, or as something that may have one inside."""
    return mime_of(data) is not None or bool(PACKED.match(data) or INSIDE.match(data)) or _is_base64_again(data)


def _is_base64_again(data: bytes) -> bool:
    """Whether bytes are once more base64 of an image."""
    head = data[:64].strip()
    if len(head) < SHORTEST_CHARS or not BASE64.match(head):
        return False
    begun = decode_base64(head[: len(head) // 4 * 4].decode("latin-1"))
    return begun is not None and mime_of(begun) is not None


def bytes_of(value: object) -> bytes | None:
    """The bytes that a value stands for, if they begin as an image or as something with one inside."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list):
        return of_numbers(value) if len(value) >= SHORTEST_LIST else None
    if not isinstance(value, str) or len(value) < SHORTEST_CHARS:
        return None
    if value[:64].lstrip()[:5].lower() == "data:":
        data = decode_base64(value)
        return data if data and is_image_or_holds_one(data) else None
    for decode, head_of in TEXTS:
        begun = decode(head_of(value[:HEAD_CHARS]))
        # A text that is read as it stands holds nothing that is not looked for in texts anyway.
        if begun and (mime_of(begun) if decode is _decode_latin else is_image_or_holds_one(begun)):
            return decode(value)
    return None


def _in_fours(head: str) -> str:
    """The beginning of base64, up to where its first piece may end."""
    if "%" in head:
        head = unquote(re.sub("%.?$", "", head))
    if prefix := PREFIX.match(head):
        head = head[prefix.end() :]
    head = re.sub(r"\s|\\[nrt]", "", INVISIBLE.sub("", head)).replace("\\", "").strip("\"'")
    first = head.partition("=")[0]
    return first[: len(first) // 4 * 4]


def _in_twos(head: str) -> str:
    """The beginning of hexadecimal digits, up to where a byte may end."""
    head = NOT_HEX.sub("", head.removesuffix("\\"))
    return head[: len(head) // 2 * 2]


TEXTS: tuple[tuple[Callable[[str], bytes | None], Callable[[str], str]], ...] = (
    (decode_base64, _in_fours),
    (decode_hex, _in_twos),
    (decode_escapes, str),
    (decode_decimals, lambda head: head[: max(head.rfind(mark) for mark in ",; \n")]),
    (decode_base32, lambda head: head[: len(head.rstrip("=")) // 8 * 8]),
    (_decode_latin, str),
)
"""How text is decoded, and what of its beginning can be decoded by itself."""


def of_numbers(values: list[object]) -> bytes | None:
    """The bytes of a list of numbers, which may be signed, or written as floats or as texts."""
    try:
        return bytes(values)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    try:
        numbers = [float(value) for value in values]  # type: ignore[arg-type]
        if all(number.is_integer() and -128 <= number <= 255 for number in numbers):
            return bytes(int(number) & 255 for number in numbers)
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def runs(text: str) -> Iterator[str]:
    """What may be an image within a text: addresses with one in them, then long rows of base64's characters."""
    if len(text) < SHORTEST_CHARS:
        return
    if "data:" in text or "DATA:" in text:
        for _, found in zip(range(MOST_RUNS), DATA_URL.finditer(text), strict=False):
            yield found[0]
    for _, found in zip(range(MOST_RUNS), RUN.finditer(text), strict=False):
        yield found[0]
