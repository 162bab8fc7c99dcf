"""How much of a vendor's answer is read, packed or not: one small answer may unpack to a thousand times its bytes."""

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

import httpx

from adapters.http_failures import TooLong

PICTURES = 4
"""An answer holds this many pictures at most: three previews and the one that was bought."""
ENVELOPE_BYTES = 64 << 10
"""What an answer may hold beside its pictures."""
PIECE_BYTES = 64 << 10
PACKED = frozenset({"gzip", "x-gzip", "deflate"})
ASKED = {"accept-encoding": "gzip, deflate"}
"""For every request: what else httpx can unpack, such as zstd, it would unpack without a bound."""
EITHER = zlib.MAX_WBITS | 32
"""Tells zlib to look by itself which of them it is."""


def answer_bytes(max_image: int) -> int:
    """The most that one answer may hold, whose pictures are in base64."""
    return PICTURES * (max_image * 4 // 3) + ENVELOPE_BYTES


class Bounding:
    """A response hook of an HTTP client that asks for no more than `ASKED`: whoever reads the answer meets `TooLong`
    after so many bytes."""

    def __init__(self, most: int) -> None:
        self._most = most

    async def __call__(self, response: httpx.Response) -> None:
        packed = response.headers.get("content-encoding", "").strip().lower() in PACKED
        if packed:
            # Or it would be unpacked once more.
            del response.headers["content-encoding"]
        # What is an error already is not hidden by its length.
        strict = response.status_code < 400
        response.stream = _Bounded(cast(httpx.AsyncByteStream, response.stream), packed, strict, self._most)


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, source: httpx.AsyncByteStream, packed: bool, strict: bool, most: int) -> None:
        self._source, self._packed, self._strict, self._left = source, packed, strict, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacker = zlib.decompressobj(EITHER)
        async for piece in self._source:
            for plain in _unpacked(unpacker, piece) if self._packed else (piece,):
                self._left -= len(plain)
                if self._left < 0 and self._strict:
                    raise TooLong("the answer is longer than it may be")
                if self._left < 0:
                    return
                yield plain
        if rest := unpacker.flush():
            yield rest

    async def aclose(self) -> None:
        await self._source.aclose()


def _unpacked(unpacker: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    """Fails: httpx.DecodingError."""
    while piece:
        try:
            yield unpacker.decompress(piece, PIECE_BYTES)
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error
        piece = unpacker.unconsumed_tail
