"""Files that a client may upload as an image, and the verdict on each: a media type, or the reason for the refusal."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image

from tests.support.files.images import (
    SRGB,
    WIDE,
    animated,
    chunk,
    encoded,
    exif,
    jpeg_said,
    matrix_profile,
    png,
    png_with,
    quarters,
    textured,
    webp_said,
)

PNG, JPEG, WEBP, AVIF, GIF = "image/png", "image/jpeg", "image/webp", "image/avif", "image/gif"
UNREADABLE, DAMAGED = "is not a PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF", "is damaged or cut off"
BMP, TIFF, ICO, JP2, TGA = "image/bmp", "image/tiff", "image/vnd.microsoft.icon", "image/jp2", "image/x-tga"
PNM = "image/x-portable-anymap"
PIXELS, SIDE, PROFILE = "more than 40,000,000 pixels", "more than 12,000 pixels", "profile"
SCRIPT = b"<script>alert(1)</script>"


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.html", SCRIPT.decode())
    return out.getvalue()


def text_chunk(name: bytes, words: bytes) -> bytes:
    return chunk(name, b"Comment\0" + words)


def packed(size: int) -> bytes:
    return zlib.compress(bytes(size))


def jpeg_with(*, marker: bytes, body: bytes) -> bytes:
    """A valid JPEG with one more segment after its start."""
    data = encoded(textured(), "JPEG")
    return data[:2] + marker + struct.pack(">H", len(body) + 2) + body + data[2:]


def phone_picture() -> bytes:
    """Two pictures in one file, as phones write them."""
    return encoded(textured(), "MPO", save_all=True, append_images=[textured(48, 32)])


def with_wrong_sum(png: bytes, kind: bytes) -> bytes:
    """The PNG with a wrong checksum in its chunk of that kind."""
    at = png.index(kind)
    return flipped(png, at + 4 + int.from_bytes(png[at - 4 : at]))


def two_megabyte_profile() -> bytes:
    return matrix_profile(WIDE, 2.2, 2 << 20)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def said_size(data: bytes, at: int, form: str, *size: int) -> bytes:
    """The image with another size in its header."""
    return data[:at] + struct.pack(form, *size) + data[at + struct.calcsize(form) :]


def icon_of(image: bytes) -> bytes:
    """An icon of 16 pixels a side, as it says, which holds that image."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(image), 22) + image


def cut(data: bytes, part: float) -> bytes:
    return data[: int(len(data) * part)]


def palette() -> Image.Image:
    return textured().quantize(32)


GOOD: dict[str, tuple[Callable[[], bytes], str]] = {
    "png-rgb": (lambda: encoded(textured(), "PNG"), PNG),
    "png-rgba": (lambda: encoded(textured(mode="RGBA"), "PNG"), PNG),
    "png-grey": (lambda: encoded(textured(mode="L"), "PNG"), PNG),
    "png-grey-alpha": (lambda: encoded(textured(mode="LA"), "PNG"), PNG),
    "png-1-bit": (lambda: encoded(textured(mode="1"), "PNG"), PNG),
    "png-palette": (lambda: encoded(palette(), "PNG"), PNG),
    "png-palette-4-bit": (lambda: encoded(textured().quantize(16), "PNG", bits=4), PNG),
    "png-palette-transparent": (lambda: encoded(palette(), "PNG", transparency=3), PNG),
    "png-palette-alpha-table": (lambda: encoded(palette(), "PNG", transparency=bytes(range(32))), PNG),
    "png-rgb-transparent-colour": (lambda: encoded(textured(), "PNG", transparency=(1, 2, 3)), PNG),
    "png-grey-transparent-level": (lambda: encoded(textured(mode="L"), "PNG", transparency=9), PNG),
    "png-16-bit-grey": (lambda: encoded(textured(mode="I;16"), "PNG"), PNG),
    "png-16-bit-rgb": (lambda: png(2, 1, bits=16, rows=b"\0" + struct.pack(">6H", *range(0, 60000, 10000))), PNG),
    "png-16-bit-rgba": (lambda: png(1, 1, bits=16, kind=6, rows=b"\0" + bytes(8)), PNG),
    "png-1-by-1": (lambda: encoded(textured(1, 1), "PNG"), PNG),
    "png-12000-by-1": (lambda: encoded(Image.new("L", (12000, 1)), "PNG"), PNG),
    "png-icc": (lambda: encoded(textured(), "PNG", icc_profile=matrix_profile(WIDE, 2.2)), PNG),
    "png-icc-for-other-channels": (
        lambda: encoded(textured(mode="L"), "PNG", icc_profile=matrix_profile(WIDE, 2.2)),
        PNG,
    ),
    "png-icc-garbage": (lambda: encoded(textured(), "PNG", icc_profile=b"no profile at all" * 20), PNG),
    "png-exif": (lambda: encoded(textured(), "PNG", exif=exif(orientation=6, gps=True)), PNG),
    "png-text": (lambda: png_with(text_chunk(b"tEXt", b"words")), PNG),
    "png-script-in-text": (lambda: png_with(text_chunk(b"tEXt", SCRIPT)), PNG),
    "png-xmp": (lambda: png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>")), PNG),
    "png-gamma": (lambda: png_with(chunk(b"gAMA", struct.pack(">I", 100000))), PNG),
    "png-unknown-chunk": (lambda: png_with(chunk(b"prIv", b"x" * 100)), PNG),
    "png-then-zip": (lambda: encoded(textured(), "PNG") + archive(), PNG),
    "png-then-html": (lambda: encoded(textured(), "PNG") + SCRIPT, PNG),
    "png-without-end-mark": (lambda: encoded(textured(), "PNG")[:-12], PNG),
    "png-rows-left-out": (lambda: png(64, 64, rows=bytes(193)), PNG),
    "jpeg-rows-left-out": (lambda: jpeg_said(96, 640), JPEG),
    "jpeg-rgb": (lambda: encoded(textured(), "JPEG"), JPEG),
    "jpeg-grey": (lambda: encoded(textured(mode="L"), "JPEG"), JPEG),
    "jpeg-cmyk": (lambda: encoded(textured(mode="CMYK"), "JPEG"), JPEG),
    "jpeg-progressive": (lambda: encoded(textured(), "JPEG", progressive=True), JPEG),
    "jpeg-4:4:4": (lambda: encoded(textured(), "JPEG", subsampling=0), JPEG),
    "jpeg-quality-1": (lambda: encoded(textured(), "JPEG", quality=1), JPEG),
    "jpeg-restart-marks": (lambda: encoded(textured(), "JPEG", restart_marker_rows=1), JPEG),
    "jpeg-icc": (lambda: encoded(textured(), "JPEG", icc_profile=matrix_profile(SRGB, 2.2)), JPEG),
    "jpeg-gps": (lambda: encoded(textured(), "JPEG", exif=exif(gps=True)), JPEG),
    **{
        f"jpeg-orientation-{turn}": (
            lambda turn=turn: encoded(quarters(), "JPEG", exif=exif(orientation=turn)),  # type: ignore[misc]
            JPEG,
        )
        for turn in range(9)
    },
    "jpeg-exif-garbage": (lambda: jpeg_with(marker=b"\xff\xe1", body=b"Exif\0\0II*\0\xff\xff\xff\xff"), JPEG),
    "jpeg-comment": (lambda: encoded(textured(), "JPEG", comment="a comment"), JPEG),
    "jpeg-script-in-comment": (lambda: jpeg_with(marker=b"\xff\xfe", body=SCRIPT), JPEG),
    "jpeg-two-pictures": (phone_picture, JPEG),
    "jpeg-then-zip": (lambda: encoded(textured(), "JPEG") + archive(), JPEG),
    "webp-lossy": (lambda: encoded(textured(), "WEBP"), WEBP),
    "webp-lossless": (lambda: encoded(textured(), "WEBP", lossless=True), WEBP),
    "webp-alpha": (lambda: encoded(textured(mode="RGBA"), "WEBP"), WEBP),
    "webp-icc-exif": (
        lambda: encoded(textured(), "WEBP", icc_profile=matrix_profile(WIDE, 2.2), exif=exif(gps=True)),
        WEBP,
    ),
    "webp-then-html": (lambda: encoded(textured(), "WEBP") + SCRIPT, WEBP),
    "avif": (lambda: encoded(textured(), "AVIF"), AVIF),
    "avif-alpha": (lambda: encoded(textured(mode="RGBA"), "AVIF"), AVIF),
    "avif-turned": (lambda: encoded(textured(), "AVIF", exif=exif(orientation=6)), AVIF),
    "gif": (lambda: encoded(textured(), "GIF"), GIF),
    "gif-transparent": (lambda: encoded(palette(), "GIF", transparency=3), GIF),
    "gif-several-frames": (lambda: animated("GIF", 3), GIF),
    "gif-then-script": (lambda: encoded(textured(), "GIF") + b"/*" + SCRIPT + b"*/", GIF),
    "png-animated": (lambda: animated("PNG", 3), PNG),
    "avif-animated": (lambda: animated("AVIF", 3), AVIF),
    "webp-animated": (lambda: animated("WEBP", 3), WEBP),
    "bmp": (lambda: encoded(textured(), "BMP"), BMP),
    "bmp-grey": (lambda: encoded(textured(mode="L"), "BMP"), BMP),
    "bmp-alpha": (lambda: encoded(textured(mode="RGBA"), "BMP"), BMP),
    "tiff": (lambda: encoded(textured(), "TIFF"), TIFF),
    "tiff-packed": (lambda: encoded(textured(), "TIFF", compression="tiff_adobe_deflate"), TIFF),
    "tiff-jpeg": (lambda: encoded(textured(), "TIFF", compression="jpeg"), TIFF),
    "tiff-turned": (lambda: encoded(textured(), "TIFF", tiffinfo={274: 6}), TIFF),
    "tiff-cmyk": (lambda: encoded(textured(mode="CMYK"), "TIFF"), TIFF),
    "tiff-16-bit": (lambda: encoded(textured(mode="I;16"), "TIFF"), TIFF),
    "tiff-floats": (lambda: encoded(textured(mode="L").convert("F"), "TIFF"), TIFF),
    "tiff-lab": (lambda: encoded(Image.new("LAB", (32, 16), (100, 128, 128)), "TIFF"), TIFF),
    "tiff-bits": (lambda: encoded(textured(mode="1"), "TIFF", compression="group4"), TIFF),
    "tiff-pages": (lambda: animated("TIFF", 3), TIFF),
    "ico": (lambda: encoded(textured(64, 64), "ICO"), ICO),
    "ico-of-bitmaps": (lambda: encoded(textured(32, 32), "ICO", bitmap_format="bmp"), ICO),
    "jpeg-2000": (lambda: encoded(textured(), "JPEG2000"), JP2),
    "jpeg-2000-alpha": (lambda: encoded(textured(mode="RGBA"), "JPEG2000"), JP2),
    "jpeg-2000-stream": (lambda: encoded(textured(), "JPEG2000", no_jp2=True), JP2),
    "ppm": (lambda: encoded(textured(), "PPM"), PNM),
    "pgm": (lambda: encoded(textured(mode="L"), "PPM"), PNM),
    "pbm": (lambda: encoded(textured(mode="1"), "PPM"), PNM),
    "ppm-with-words": (lambda: b"P3 # a fox\n2 1\n255\n255 0 0 0 255 0\n", PNM),
    "tga": (lambda: encoded(textured(), "TGA"), TGA),
    "tga-alpha": (lambda: encoded(textured(mode="RGBA"), "TGA", compression="tga_rle"), TGA),
    "tga-palette": (lambda: encoded(palette(), "TGA"), TGA),
    "png-after-line-break": (lambda: b"\r\n" + encoded(textured(), "PNG"), PNG),
    "jpeg-after-byte-order-mark": (lambda: b"\xef\xbb\xbf" + encoded(textured(), "JPEG"), JPEG),
    "webp-after-blanks": (lambda: b" \t\n" * 9 + encoded(textured(), "WEBP"), WEBP),
    "avif-after-line-break": (lambda: b"\n" + encoded(textured(), "AVIF"), AVIF),
    "gif-after-line-break": (lambda: b"\n" + encoded(textured(), "GIF"), GIF),
    "png-3-MB-of-text": (lambda: png_with(text_chunk(b"tEXt", b"x" * (3 << 20))), PNG),
    "png-3-MB-of-packed-text": (lambda: png_with(text_chunk(b"zTXt", b"\0" + packed(3 << 20))), PNG),
    "png-3-MB-of-Unicode-text": (lambda: png_with(chunk(b"iTXt", b"c\0\1\0\0\0" + packed(3 << 20))), PNG),
    "png-2-MB-profile": (lambda: encoded(textured(), "PNG", icc_profile=two_megabyte_profile()), PNG),
    "jpeg-2-MB-profile": (lambda: encoded(textured(), "JPEG", icc_profile=two_megabyte_profile()), JPEG),
    "webp-2-MB-profile": (lambda: encoded(textured(), "WEBP", icc_profile=two_megabyte_profile()), WEBP),
    "png-wrong-sum-in-text": (lambda: with_wrong_sum(png_with(text_chunk(b"tEXt", b"words")), b"tEXt"), PNG),
    "png-wrong-sum-in-gamma": (
        lambda: with_wrong_sum(png_with(chunk(b"gAMA", struct.pack(">I", 45455))), b"gAMA"),
        PNG,
    ),
    "png-wrong-sum-in-profile": (
        lambda: with_wrong_sum(encoded(textured(), "PNG", icc_profile=matrix_profile(WIDE, 2.2)), b"iCCP"),
        PNG,
    ),
    "png-text-that-does-not-unpack": (lambda: png_with(text_chunk(b"zTXt", b"\0garbage")), PNG),
    "png-short-gamma": (lambda: png_with(chunk(b"gAMA", b"\0")), PNG),
    "jpeg-without-end-mark": (lambda: encoded(textured(), "JPEG")[:-2], JPEG),
    "jpeg-with-half-an-end-mark": (lambda: encoded(textured(), "JPEG")[:-1], JPEG),
    "jpeg-grey-without-end-mark": (lambda: encoded(textured(mode="L"), "JPEG")[:-2], JPEG),
    "jpeg-progressive-without-end-mark": (lambda: encoded(textured(), "JPEG", progressive=True)[:-2], JPEG),
}

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", UNREADABLE),
    "one-byte": (lambda: b"\x89", UNREADABLE),
    "zeros": (lambda: bytes(4096), UNREADABLE),
    "text": (lambda: b"hello", UNREADABLE),
    "html": (lambda: b"<!doctype html>" + SCRIPT, UNREADABLE),
    "html-then-png": (lambda: SCRIPT + encoded(textured(), "PNG"), UNREADABLE),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', UNREADABLE),
    "json": (lambda: json.dumps({"a": 1}).encode(), UNREADABLE),
    "zip": (archive, UNREADABLE),
    "gzip-of-png": (lambda: gzip.compress(encoded(textured(), "PNG")), UNREADABLE),
    "pdf": (lambda: b"%PDF-1.7\n%%EOF", UNREADABLE),
    "program": (lambda: b"\x7fELF" + bytes(64), UNREADABLE),
    "film": (lambda: b"\0\0\0\x18ftypmp42" + bytes(64), UNREADABLE),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(64), UNREADABLE),
    "png-mark-alone": (lambda: b"\x89PNG\r\n\x1a\n", UNREADABLE),
    "png-header-alone": (lambda: encoded(textured(), "PNG")[:33], UNREADABLE),
    "png-cut": (lambda: cut(encoded(textured(), "PNG"), 0.5), DAMAGED),
    "png-header-checksum": (lambda: flipped(encoded(textured(), "PNG"), 29), UNREADABLE),
    "png-no-width": (lambda: png(0, 1, rows=b"\0"), UNREADABLE),
    "png-garbage-pixels": (
        lambda: encoded(textured(), "PNG")[:33] + chunk(b"IDAT", b"garbage") + chunk(b"IEND", b""),
        DAMAGED,
    ),
    "png-palette-missing": (lambda: png(1, 1, kind=3, rows=b"\0\0"), DAMAGED),
    "png-88-megapixels": (lambda: png(9400, 9400, rows=b"\0"), PIXELS),
    "png-177-megapixels": (lambda: png(13300, 13300, rows=b"\0"), PIXELS),
    "png-900-megapixels": (lambda: png(30000, 30000, rows=b"\0"), PIXELS),
    "png-2-to-the-62": (lambda: png(2**31 - 1, 2**31 - 1, rows=b"\0"), PIXELS),
    "png-1-by-60000": (lambda: png(1, 60000, rows=bytes(4 * 60000)), SIDE),
    "png-text-bomb": (lambda: png_with(text_chunk(b"zTXt", b"\0" + packed(64 << 20))), UNREADABLE),
    "png-profile-bomb": (lambda: png_with(chunk(b"iCCP", b"x\0\0" + packed(64 << 20))), UNREADABLE),
    "jpeg-mark-alone": (lambda: b"\xff\xd8\xff", UNREADABLE),
    "jpeg-cut": (lambda: cut(encoded(textured(), "JPEG"), 0.6), DAMAGED),
    "jpeg-progressive-cut": (lambda: cut(encoded(textured(), "JPEG", progressive=True), 0.6), DAMAGED),
    "jpeg-65535-by-65535": (lambda: jpeg_said(65535, 65535), PIXELS),
    "webp-mark-alone": (lambda: b"RIFF\x10\0\0\0WEBPVP8 ", UNREADABLE),
    "webp-cut": (lambda: cut(encoded(textured(), "WEBP"), 0.6), UNREADABLE),
    "webp-268-megapixels": (lambda: webp_said(16383, 16383), PIXELS),
    "webp-16383-by-2": (lambda: encoded(Image.new("RGB", (16383, 2)), "WEBP"), SIDE),
    "png-after-too-much-white-space": (lambda: b" " * 2000 + encoded(textured(), "PNG"), UNREADABLE),
    "gif-mark-alone": (lambda: b"GIF89a", UNREADABLE),
    "gif-cut": (lambda: cut(encoded(textured(), "GIF"), 0.5), DAMAGED),
    "gif-65535-by-65535": (lambda: b"GIF89a" + b"\xff" * 4 + encoded(textured(), "GIF")[10:], PIXELS),
    "avif-mark-alone": (lambda: encoded(textured(), "AVIF")[:40], UNREADABLE),
    "avif-cut": (lambda: cut(encoded(textured(), "AVIF"), 0.7), "the image is"),
    "bmp-cut": (lambda: cut(encoded(textured(), "BMP"), 0.5), DAMAGED),
    "bmp-30000-by-30000": (lambda: said_size(encoded(textured(), "BMP"), 18, "<II", 30000, 30000), PIXELS),
    "tiff-cut": (lambda: cut(encoded(textured(), "TIFF"), 0.5), "the image is"),
    "tiff-30000-by-30000": (
        lambda: (
            encoded(textured(96, 64), "TIFF")
            .replace(struct.pack("<HHII", 256, 4, 1, 96), struct.pack("<HHII", 256, 4, 1, 30000))
            .replace(struct.pack("<HHII", 257, 4, 1, 64), struct.pack("<HHII", 257, 4, 1, 30000))
        ),
        PIXELS,
    ),
    "ico-of-a-flood": (lambda: icon_of(png(30000, 30000, rows=b"\0")), "the image"),
    "jpeg-2000-cut": (lambda: cut(encoded(textured(), "JPEG2000"), 0.5), DAMAGED),
    "ppm-30000-by-30000": (lambda: b"P6 30000 30000 255\n", PIXELS),
    "ppm-cut": (lambda: cut(encoded(textured(), "PPM"), 0.5), DAMAGED),
    "tga-30000-by-30000": (lambda: said_size(encoded(textured(), "TGA"), 12, "<HH", 30000, 30000), PIXELS),
    "tga-cut": (lambda: cut(encoded(textured(), "TGA"), 0.5), DAMAGED),
    "webp-large-profile": (
        lambda: encoded(textured(), "WEBP", icc_profile=matrix_profile(WIDE, 2.2, 17 << 20)),
        PROFILE,
    ),
}

UNLISTED: dict[str, Callable[[], bytes]] = {
    "icns": lambda: encoded(textured(32, 32), "ICNS"),
    "eps": lambda: encoded(textured(), "EPS"),
    "pcx": lambda: encoded(textured(), "PCX"),
    "sgi": lambda: encoded(textured(), "SGI"),
    "dds": lambda: encoded(textured(mode="RGBA"), "DDS"),
    "xbm": lambda: encoded(textured(mode="1"), "XBM"),
    "psd": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(64),
    "fits": lambda: b"SIMPLE  =                    T" + b" " * 2850,
}
"""Formats that Pillow would open."""
