"""A limit on the decompressed size of a vendor's answer: a small one may unpack to a thousand times its size."""

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

import httpx

from adapters.http_failures import TooLong
from tools.images import MOST_BYTES
from tools.media.memory import COPIES, current_hold

PICTURES = 4
"""Pictures in one answer at most: three previews and the final image."""
ENVELOPE_BYTES = 64 << 10
"""Bytes that an answer may have beside its pictures."""
PIECE_BYTES = 64 << 10
PACKED = frozenset({"gzip", "x-gzip", "deflate"})
ASKED = {"accept-encoding": "gzip, deflate"}
"""Headers of every request: httpx would unpack other encodings, such as zstd, without a limit."""
EITHER = zlib.MAX_WBITS | 32
"""Window bits that make zlib detect gzip or zlib format itself."""


def answer_bytes(max_image: int) -> int:
    """The maximum bytes of one answer: base64 pictures of at most `max_image` bytes each, or one of the most bytes that
    are taken of what was bought."""
    return max(PICTURES * max_image, MOST_BYTES) * 4 // 3 + ENVELOPE_BYTES


class Bounding:
    """A response hook for an HTTP client that sends `ASKED`: reading more than `most` bytes of an answer raises
    `TooLong`."""

    def __init__(self, most: int) -> None:
        self._most = most

    async def __call__(self, response: httpx.Response) -> None:
        packed = response.headers.get("content-encoding", "").strip().lower() in PACKED
        if packed:
            # Without the header httpx does not unpack the answer a second time.
            del response.headers["content-encoding"]
        # An error answer is cut off instead, so that its status is still reported.
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
                    raise TooLong("the answer is longer than allowed")
                if self._left < 0:
                    return
                if hold := current_hold():
                    # An answer with an image: it is read no faster than there is room for it.
                    await hold.grow(COPIES * len(plain))
                yield plain
        if rest := unpacker.flush():
            yield rest

    async def aclose(self) -> None:
        await self._source.aclose()


def _unpacked(unpacker: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    """The decompressed pieces of a piece. Fails: httpx.DecodingError."""
    while piece:
        try:
            yield unpacker.decompress(piece, PIECE_BYTES)
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error
        piece = unpacker.unconsumed_tail
