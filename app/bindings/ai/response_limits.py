"""A limit on the decompressed size of a vendor's answer: a small one may unpack to a thousand times its size."""

from collections.abc import AsyncIterator
from typing import cast

import httpx

from adapters.answer_layers import Inflater
from adapters.http_failures import TooLong
from tools.images import MOST_BYTES
from tools.media.memory import COPIES, current_hold

PICTURES = 4
"""Pictures in one answer at most: three previews and the final image."""
ENVELOPE_BYTES = 64 << 10
"""Bytes that an answer may have beside its pictures."""
ASKED = {"accept-encoding": "gzip, deflate"}
"""Headers of every request: httpx would unpack other encodings, such as zstd, without a limit."""


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
        # Without the header httpx does not unpack the answer a second time. What it says is not relied on.
        said = response.headers.pop("content-encoding", "").lower()
        # An error answer is cut off instead, so that its status is still reported.
        strict = response.status_code < 400
        response.stream = _Bounded(cast(httpx.AsyncByteStream, response.stream), said, strict, self._most)


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, source: httpx.AsyncByteStream, said: str, strict: bool, most: int) -> None:
        self._source, self._strict, self._left = source, strict, most
        packed = any(encoding in said for encoding in ("gzip", "deflate"))
        self._inflater = Inflater(bare="deflate" in said) if packed else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._source:
            for plain in self._inflater.feed(piece) if self._inflater else (piece,):
                if not await self._take(plain):
                    return
                yield plain
            if self._inflater and self._inflater.broken:
                # What came before is as good as an answer that was cut off there.
                raise httpx.DecodingError("the answer is packed, and damaged")
        for plain in self._inflater.end() if self._inflater else ():
            if await self._take(plain):
                yield plain

    async def _take(self, plain: bytes) -> bool:
        """Whether so much more may be read. Fails: TooLong."""
        self._left -= len(plain)
        if self._left < 0 and self._strict:
            raise TooLong("the answer is longer than allowed")
        if self._left >= 0 and (hold := current_hold()):
            # An answer with an image: it is read no faster than there is room for it.
            await hold.grow(COPIES * len(plain))
        return self._left >= 0

    async def aclose(self) -> None:
        await self._source.aclose()
