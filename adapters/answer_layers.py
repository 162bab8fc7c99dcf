"""What an answer may be wrapped in: gzip, zlib or bare deflate, a ZIP archive, several parts."""

import binascii
import io
import quopri
import re
import zipfile
import zlib
from collections.abc import Iterator

PIECE_BYTES = 64 << 10
HEADER_BYTES = 4096
"""Of a packed stream that has unpacked to nothing yet, so many bytes at most are kept to be passed on as they came."""
MEMBERS = 16
"""Of an archive, and parts of an answer, so many are looked at."""
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
FIRST_LINE = re.compile(rb"(?:\A|\n)--([!-~]{1,200}?)[ \t]*\r?\n")
EMBEDDED = re.compile(rb"\x89PNG\r\n\x1a\n|RIFF....WEBPVP8|\xff\xd8\xff(?:\xe0..JFIF|\xe1..Exif)", re.DOTALL)
"""How an image begins that may stand in the middle of other bytes."""
PART_HEAD_END = re.compile(rb"\r?\n\r?\n")
TRANSFER = re.compile(rb"^content-transfer-encoding:[ \t]*([A-Za-z0-9-]+)", re.IGNORECASE | re.MULTILINE)


class Inflater:
    """Unpacks a stream as it arrives, by what its bytes are: gzip of one or several members, or zlib; with `bare`,
    deflate without a header, too. What is none of these is passed on as it is.

    A wrong checksum loses nothing. Behind damage nothing more can be unpacked: then `broken` says so.
    """

    def __init__(self, *, bare: bool = False) -> None:
        self.broken = False
        self._bare = bare
        self._begun = b""
        self._unpacker: zlib._Decompress | None = None
        self._plain = False
        self._came = False
        """Whether anything was unpacked yet."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The next bytes, unpacked, in pieces of `PIECE_BYTES` at most."""
        if self.broken:
            return
        if self._plain:
            yield piece
            return
        if not self._came:
            self._begun += piece
            if self._unpacker is None:
                if len(self._begun) < 2:
                    return
                self._unpacker, piece = self._opened(self._begun), self._begun
                if self._unpacker is None:
                    yield from self._pass_on()
                    return
        yield from self._unpacked(piece)
        if not self._came and not self._plain and len(self._begun) > HEADER_BYTES:
            yield from self._pass_on()

    def end(self) -> Iterator[bytes]:
        """What is left when no more comes."""
        if not self.broken and not self._plain and not self._came:
            yield from self._pass_on()

    def _opened(self, begun: bytes) -> "zlib._Decompress | None":
        if begun[:2] == GZIP:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        if begun[0] & 15 == 8 and (begun[0] << 8 | begun[1]) % 31 == 0:
            return zlib.decompressobj()
        if self._bare and begun.lstrip()[:1] not in (b"{", b"[", b'"', b":", b"<", b"d", b"e"):
            return zlib.decompressobj(-zlib.MAX_WBITS)
        return None

    def _pass_on(self) -> Iterator[bytes]:
        self._plain, begun, self._begun = True, self._begun, b""
        if begun:
            yield begun

    def _unpacked(self, piece: bytes) -> Iterator[bytes]:
        while piece and not self.broken:
            assert self._unpacker is not None
            before = self._unpacker.copy()
            try:
                plain = self._unpacker.decompress(piece, PIECE_BYTES)
            except zlib.error:
                plain, self.broken = _up_to_damage(before, piece), True
            if plain:
                self._came, self._begun = True, b""
                yield plain
            if self.broken and not self._came:
                self.broken = False
                yield from self._pass_on()
                return
            piece = self._unpacker.unconsumed_tail
            if self._unpacker.eof:
                piece = self._unpacker.unused_data
                if piece[:2] != GZIP:
                    # Behind the end there may be padding.
                    self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if piece == GZIP[:1] else self._unpacker
                    return
                self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)


def _up_to_damage(unpacker: "zlib._Decompress", piece: bytes) -> bytes:
    """What can be unpacked of a piece with damage in it."""
    plain = bytearray()
    try:
        for at in range(len(piece)):
            plain += unpacker.decompress(piece[at : at + 1])
    except zlib.error:
        pass
    return bytes(plain)


def unwrapped(data: bytes, most: int) -> Iterator[bytes]:
    """What is in the wrapping, if `data` is a wrapping; together at most `most` bytes."""
    if data[:2] == GZIP or data[:1] == b"\x78":
        inflater, plain = Inflater(), bytearray()
        for at in range(0, len(data), PIECE_BYTES):
            for piece in inflater.feed(data[at : at + PIECE_BYTES]):
                plain += piece
                if len(plain) > most:
                    return
        if plain and plain != data:
            yield bytes(plain)
    elif data[:4] == ZIP:
        yield from _members(data, most)
    elif b"--" in data[:PIECE_BYTES]:
        yield from _parts(data)
    if (found := EMBEDDED.search(data, 1, PIECE_BYTES)) is not None:
        # As in an archive that is not packed, or behind the marks of some other framing.
        yield _up_to_its_end(data[found.start() :])


def _up_to_its_end(data: bytes) -> bytes:
    """An image without what follows it, where its format says where it ends."""
    match data[:1]:
        case b"\x89":
            end = data.find(b"IEND\xaeB`\x82")
            return data[: end + 8] if end >= 0 else data
        case b"R":
            return data[: int.from_bytes(data[4:8], "little") + 8]
        case _:
            return data[: data.rfind(b"\xff\xd9") + 2] or data


def _members(data: bytes, most: int) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist()[:MEMBERS]:
                with archive.open(member) as file:
                    inner = file.read(most + 1)
                most -= len(inner)
                if most < 0:
                    return
                yield inner
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, zlib.error):
        return


def _parts(data: bytes) -> Iterator[bytes]:
    """The bodies of the parts of a multipart answer (RFC 2046 §5.1), as sent before their transfer encoding.

    The boundary is read off the first line that is one, whatever is declared.
    """
    for line in list(FIRST_LINE.finditer(data[: 2 * PIECE_BYTES]))[:4]:
        boundary = b"--" + line[1]
        for part in re.split(rb"(?:\A|\r?\n)" + re.escape(boundary), data)[1 : MEMBERS + 1]:
            # Where no header is, the part begins with the end of the head.
            if (head := PART_HEAD_END.search(part)) is None:
                continue
            body, encoding = part[head.end() :], TRANSFER.search(part[: head.start()])
            match encoding[1].lower() if encoding else b"":
                case b"base64":
                    with_ends = re.sub(rb"[^A-Za-z0-9+/=]", b"", body)
                    try:
                        yield binascii.a2b_base64(with_ends)
                    except binascii.Error:
                        yield body
                case b"quoted-printable":
                    yield quopri.decodestring(body)
                case _:
                    yield body
