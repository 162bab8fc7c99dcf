"""Image files for tests, valid and invalid, made by code."""

import io
import math
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

Rgb = tuple[int, int, int]
PATCHES: tuple[Rgb, ...] = ((200, 40, 40), (110, 160, 90), (50, 70, 180), (128, 128, 128))
"""The colours of the quarters of `quarters`: top left, top right, bottom left, bottom right."""


def textured(width: int = 96, height: int = 64, mode: str = "RGB") -> Image.Image:
    """Waves that differ in every corner, in the given mode."""
    waves = [
        bytes(
            round(127 + 60 * math.sin(x / (7 + 3 * c)) + 60 * math.cos(y / (5 + 2 * c) + c))
            for y in range(height)
            for x in range(width)
        )
        for c in range(4)
    ]
    bands = [Image.frombytes("L", (width, height), wave) for wave in waves]
    match mode:
        case "L" | "1" | "I;16":
            return bands[0].convert(mode)
        case "LA":
            return Image.merge("LA", bands[:2])
        case "RGBA" | "CMYK":
            return Image.merge(mode, bands)
        case _:
            return Image.merge("RGB", bands[:3]).convert(mode)


def quarters(side: int = 64, mode: str = "RGB") -> Image.Image:
    """Four flat squares, so that every rotation and reflection of the image can be distinguished."""
    image = Image.new("RGB", (2 * side, 2 * side))
    for at, colour in enumerate(PATCHES):
        image.paste(colour, (at % 2 * side, at // 2 * side, at % 2 * side + side, at // 2 * side + side))
    return image.quantize(len(PATCHES)) if mode == "P" else image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *, bits: int = 8, kind: int = 2, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG written by hand: `rows` are the raw rows with their filter bytes, `extra` the chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def png_with(extra: bytes, image: Image.Image | None = None) -> bytes:
    """A valid PNG with more chunks after its header."""
    data = encoded(image or textured(), "PNG")
    return data[:33] + extra + data[33:]


def jpeg_said(width: int, height: int) -> bytes:
    """A JPEG whose header declares another size than its pixels have."""
    data = encoded(textured(), "JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def webp_said(width: int, height: int) -> bytes:
    """A WebP whose canvas is declared to be of that size; its frame is smaller."""
    frame = encoded(textured(), "WEBP")[12:]
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animated(kind: str, frames: int, side: int = 16) -> bytes:
    """An animation of `frames` different small frames."""
    images = [Image.new("RGB", (side, side), (at * 83 % 256, at // 256 * 9, 7)) for at in range(frames)]
    return encoded(images[0], kind, save_all=True, append_images=images[1:], duration=20)


def exif(*, orientation: int | None = None, gps: bool = False) -> bytes:
    """An EXIF block as phones write it."""
    block = Image.Exif()
    block[0x010F] = "Maker of cameras"
    if orientation is not None:
        block[0x0112] = orientation
    if gps:
        block.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 8.0), 3: "E", 4: (8.0, 32.0, 24.0)})
    return block.tobytes()


def matrix_profile(primaries: Sequence[Sequence[float]], gamma: float, pad: int = 0) -> bytes:
    """An ICC profile of a display: the XYZ of its red, green and blue, and one gamma. `pad` makes it longer."""

    def xyz(values: Sequence[float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    words = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78) + bytes(pad)
    words += bytes(-len(words) % 4)
    tags = {
        b"desc": words,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{name + b"XYZ": xyz(primary) for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, bodies, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", at + len(bodies), len(body))
        bodies += body
    size = at + len(bodies)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + struct.pack(
        ">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp"
    )
    header += bytes(68 - len(header)) + struct.pack(">iii", 63190, 65536, 54061) + bytes(128 - 80)
    return header + struct.pack(">I", len(tags)) + table + bodies


WIDE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Red, green and blue of a wide RGB space with gamma 2.2, in XYZ under D50."""
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def lab(colour: Sequence[int], primaries: Sequence[Sequence[float]], gamma: float | None) -> tuple[float, float, float]:
    """CIE L*a*b* under D50 of an RGB colour; no gamma means sRGB's own curve."""

    def linear(level: int) -> float:
        value = level / 255
        if gamma is not None:
            return float(value**gamma)
        return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)

    def root(value: float) -> float:
        return value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116

    levels = [linear(level) for level in colour]
    xyz = [sum(level * primary[axis] for level, primary in zip(levels, primaries, strict=True)) for axis in range(3)]
    x, y, z = (root(value / white) for value, white in zip(xyz, (0.9642, 1.0, 0.8249), strict=True))
    return (116 * y - 16, 500 * (x - y), 200 * (y - z))
