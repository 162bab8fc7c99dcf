"""The type of an image by its first bytes; the type that somebody declares is not trusted."""

import re

SIGNATURES = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/webp": rb"RIFF....WEBP",
    "image/gif": rb"GIF8[79]a",
    "image/avif": rb"....ftyp(?:avi[fs]|(?:mif1|msf1|miaf)(?:....){1,12}?avi[fs])",
    "image/heic": rb"....ftyp(?:hei[cfsmx]|hev[cx]|mif1|msf1)",
    "image/jxl": rb"\0\0\0\x0cJXL \r\n\x87\n",
    "image/jp2": rb"(?:\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51)",
    "image/tiff": rb"(?:II[*+]\0|MM\0[*+])",
    "image/bmp": rb"BM.{8}..[\0-\x0f]\0[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "image/vnd.microsoft.icon": rb"\0\0\x01\0[\x01-\x40]\0...\0[\x00\x01]\0",
    "image/x-portable-anymap": rb"P[1-6]\s+(?:#[^\n]{0,200}\n\s*){0,8}[0-9]{1,5}\s+[0-9]{1,5}\s",
    # Nothing marks a TGA but its header: true colour or grey without a colour map, or a map of at most 256 colours.
    "image/x-tga": rb".(?:\0[\x02\x03\x0a\x0b]\0{5}|\x01[\x01\x09]\0\0(?:.\0|\0\x01)[\x18\x20])"
    rb"....[^\0].(?:[^\0].|\0[^\0])[\x08\x10\x18\x20][\x00-\x0f\x20-\x2f]",
}
"""The first that fits is the type. Not all of them can be decoded here (`tools/media/pixels.py`)."""
LEAD = rb"(?:\xef\xbb\xbf)?[\r\n\t ]{0,1024}"
"""What some servers write before an image: a byte order mark, line breaks."""
PATTERNS = {mime: re.compile(rb"%b(%b)" % (LEAD, signature), re.DOTALL) for mime, signature in SIGNATURES.items()}


def mime_of(data: bytes) -> str | None:
    """The MIME type of an image, also after a byte order mark or white space; None for anything else."""
    return next((mime for mime, pattern in PATTERNS.items() if pattern.match(data)), None)


def without_lead(data: bytes) -> bytes:
    """The bytes from an image's signature on; unchanged without one."""
    found = next((found for pattern in PATTERNS.values() if (found := pattern.match(data))), None)
    return data[found.start(1) :] if found and found.start(1) else data


def is_whole(data: bytes) -> bool:
    """Whether an image is known to go on to its end; False also where its format does not say where that is."""
    plain = without_lead(data)
    match mime_of(plain):
        case "image/png":
            return b"IEND\xaeB`\x82" in plain
        case "image/jpeg":
            return plain.rstrip(b"\r\n\t \0").endswith(b"\xff\xd9")
        case "image/gif":
            return plain.rstrip(b"\r\n\t \0").endswith(b";")
        case "image/webp":
            return len(plain) >= int.from_bytes(plain[4:8], "little") + 8
        case "image/vnd.microsoft.icon":
            entries = [plain[at : at + 16] for at in range(6, 6 + 16 * plain[4], 16)]
            ends = [int.from_bytes(e[8:12], "little") + int.from_bytes(e[12:16], "little") for e in entries]
            return len(plain) >= max(ends, default=0)
        case "image/bmp":
            return len(plain) >= int.from_bytes(plain[2:6], "little")
        case "image/jp2" if plain.startswith(b"\xff"):
            return plain.endswith(b"\xff\xd9")
        case "image/avif" | "image/heic" | "image/jp2" | "image/jxl":
            return _boxes_end(plain)
        case _:
            return False


def _boxes_end(data: bytes) -> bool:
    """Whether the last box of a file of boxes (ISO/IEC 14496-12 §4.2) ends with it, or where it pleases."""
    at = 0
    while at + 8 <= len(data):
        size, start = int.from_bytes(data[at : at + 4], "big"), at
        if size == 0:
            return True
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        at += max(8, size)
        if not data[start + 4 : start + 8].isascii():
            # Something else, behind the last one.
            return True
    return at <= len(data)
