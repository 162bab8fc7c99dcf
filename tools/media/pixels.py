"""Decoding, checking and converting image bytes, only inside the child of `tools/media/sandbox.py`.

Module-level functions of plain values. Anything wrong with the bytes raises Invalid (`image_rejected`), which names
an exceeded limit. `FORMATS` are accepted, each recognised by its first bytes and opened as nothing else. Of several
frames, pages or images in one file the first is used, of an icon the largest. Truncated pixel data is refused; bytes
after the pixel data, white space before the image, a JPEG's missing end mark and a PNG's broken chunks without pixels
are ignored, and are not in anything derived.
"""

import contextlib
import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import NamedTuple, cast

import msgspec
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageChops,
    ImageCms,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.Image import Resampling, Transpose

from tools.errors import Invalid
from tools.media.signatures import mime_of, without_lead
from tools.media.variants import Format, Variant, layout

MAX_PIXELS = 40_000_000
MAX_SIDE = 12_000
MAX_PROFILE = MAX_TEXT = 16 << 20
"""Bytes of an ICC profile, and of one text in a PNG, unpacked."""
DELIVERY_SIDES = (4096, 2896, 2048, 1448, 1024)
"""Longer sides of a delivery image, tried in turn until it is within `DELIVERY_BYTES`; the last one always is."""
DELIVERY_BYTES = 10_000_000
DELIVERY_QUALITY = 90
PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Imported here so that Pillow does not load all its plugins to find them."""
FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/vnd.microsoft.icon": "ICO",
    "image/jp2": "JPEG2000",
    "image/x-portable-anymap": "PPM",
    "image/x-tga": "TGA",
    # An AVIF may name no brand of its own before the first that it shares with HEIC.
    "image/heic": "AVIF",
}
"""What is decoded, by the type that the first bytes say."""
NOT_READABLE = "is not a PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, ICO, JPEG 2000, PNM or TGA image that can be read"
SENT = frozenset({"PNG", "JPEG", "WEBP"})
"""Formats that every vendor reads."""

MIMES = {"MPO": "image/jpeg", **{format: mime for mime, format in FORMATS.items() if mime != "image/heic"}}
PNG_START, PIXEL_CHUNKS = b"\x89PNG\r\n\x1a\n", frozenset({b"IHDR", b"PLTE", b"tRNS", b"acTL", b"IDAT", b"IEND"})
JPEG_END, NO_END = b"\xff\xd9", b"\x55\xa3" * 512
"""The end mark of a JPEG, and bytes that a decoder takes for pixels where it lacks any."""
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for broken bytes."""
ORIENTATION = 0x0112
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
SIDEWAYS = frozenset({5, 6, 7, 8})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class Facts(msgspec.Struct, frozen=True):
    """Facts found by decoding. `size` in bytes; `width` and `height` in pixels, upright."""

    sha256: str
    mime: str
    width: int
    height: int
    size: int


class Decoded(NamedTuple):
    """Decoded pixels (L, LA, RGB, RGBA or CMYK), and what the file says about them."""

    pixels: Image.Image
    mime: str
    orientation: int
    profile: bytes


def inspect(data: bytes) -> Facts:
    """Decode every pixel and return the facts of the image."""
    picture = _read(data, None)
    size = picture.pixels.size[::-1] if picture.orientation in SIDEWAYS else picture.pixels.size
    return Facts(hashlib.sha256(data).hexdigest(), picture.mime, *size, len(data))


def delivery(data: bytes) -> bytes:
    """The delivery image: WebP, upright, sRGB, with alpha, without metadata, within `DELIVERY_SIDES` and
    `DELIVERY_BYTES`."""
    image = decode_srgb(data, DELIVERY_SIDES[0])
    for side in DELIVERY_SIDES:
        image.thumbnail((side, side), Resampling.LANCZOS, reducing_gap=2.0)
        encoded = _encoded(image, "webp", DELIVERY_QUALITY)
        if len(encoded) <= DELIVERY_BYTES:
            return encoded
    raise AssertionError("a WebP of 1024 pixels a side has less than 4 MiB of raw pixels")


def variant(data: bytes, wanted: Variant, encoding: Format) -> bytes:
    """The image scaled and cut to the variant, without metadata. For JPEG, transparency becomes white."""
    image = decode_srgb(data, None)
    plan = layout(image.size, wanted)
    image = image.resize(plan.size, Resampling.LANCZOS, plan.box, reducing_gap=2.0)
    if plan.canvas is not None:
        left, top = (plan.canvas[0] - image.width) // 2, (plan.canvas[1] - image.height) // 2
        page = Image.new("RGB", plan.canvas, "white")
        page.paste(on_white(image), (left, top))
        image = page
    return _encoded(image if encoding != "jpeg" else on_white(image), encoding, None)


def phash(data: bytes) -> str:
    """The 64-bit perceptual hash as 16 hex digits."""
    flat = on_white(decode_srgb(data, None)).convert("L")
    # Loads numpy and scipy: 40 MiB that only the child shall carry, and not while it decodes.
    import imagehash

    return str(imagehash.phash(flat))


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image and check format, size and number of frames; pixels are not decoded yet.

    Fails: Invalid (`image_rejected`).
    """
    data = without_lead(data)
    try:
        return _open(data)
    except Invalid as error:
        if not data.startswith(PNG_START) or "MAX_TEXT" in str(error.__cause__):
            raise
        # A checksum or the form of something that is no pixel may be wrong.
        return _open(_pixels_alone(data))


def _open(data: bytes) -> Image.Image:
    # Pillow raises at twice this value, for a WebP before it allocates the canvas. Pillow's setting is global, but only
    # the child process calls this.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_TEXT
    # As with encoding: the stacks of more threads would count against the child's address space.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if (known := FORMATS.get(mime_of(data) or "")) is None:
        raise _rejected(NOT_READABLE)
    with warnings.catch_warnings(), _reading(NOT_READABLE):
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=[known])
        except Image.DecompressionBombError:
            raise _rejected(f"has more than {MAX_PIXELS:,} pixels") from None
    _check_size(image)
    if len(_profile(image)) > MAX_PROFILE:
        raise _rejected(f"carries a colour profile of more than {MAX_PROFILE:,} bytes")
    return image


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _rejected(f"has more than {MAX_PIXELS:,} pixels")
    if max(image.size) > MAX_SIDE:
        raise _rejected(f"has a side of more than {MAX_SIDE:,} pixels")


def is_sound(data: bytes) -> bool:
    """Whether strict readers can read the image too: a PNG, JPEG or WebP from its first to its last byte."""
    if data is not without_lead(data):
        return False
    try:
        image = _open(data)
        image.load()
    except (Invalid, *UNREADABLE):
        return False
    return image.format in SENT


def _read(data: bytes, side: int | None) -> Decoded:
    """The decoded image; a JPEG is decoded to a smaller size of at least 2 × `side` if possible."""
    image = open_image(data)
    if side is not None:
        image.draft(None, (2 * side, 2 * side))
    with _reading("is damaged or cut off"):
        try:
            image.load()
        except OSError:
            if image.format not in ("JPEG", "MPO"):
                raise
            image = _with_end_mark(data)
        # What an icon holds may be larger than the icon says.
        _check_size(image)
        # A copy, so that the WebP decoder with its two canvases of 8 bytes a pixel is freed.
        return Decoded(_direct(image), MIMES[str(image.format)], orientation_of(image), _profile(image))


def _pixels_alone(png: bytes) -> bytes:
    """The PNG without what is not needed for its pixels."""
    kept = [(kind, body) for kind, body in _chunks(png) if kind in PIXEL_CHUNKS]
    written = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in kept
    )
    return PNG_START + b"".join(written)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, each by its kind; none when the header's checksum is wrong."""
    at = len(PNG_START)
    while at + 12 <= len(png):
        (size,), kind = struct.unpack_from(">I", png, at), png[at + 4 : at + 8]
        body, said = png[at + 8 : at + 8 + size], png[at + 8 + size : at + 12 + size]
        if kind == b"IHDR" and said != struct.pack(">I", zlib.crc32(kind + body)):
            return
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + size


def _with_end_mark(data: bytes) -> Image.Image:
    """The decoded JPEG, when it lacks nothing but its end mark.

    Where pixels are missing, a decoder makes them up from whatever it is given: then two ends give two images.
    Fails: OSError.
    """
    begun = data.rstrip(b"\xff")
    image, other = open_image(begun + JPEG_END), open_image(begun + NO_END + JPEG_END)
    image.load()
    other.load()
    if ImageChops.difference(image, other).getbbox() is not None:
        raise OSError("pixels are missing")
    return image


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise _rejected(what) from error


def _rejected(what: str) -> Invalid:
    return Invalid(f"the image {what}", code="image_rejected")


def decode_srgb(data: bytes, side: int | None) -> Image.Image:
    """Decode to RGB or RGBA in sRGB, upright, without metadata; with both sides at most `side` pixels if given."""
    pixels, _, orientation, profile = _read(data, side)
    if side is not None:
        pixels.thumbnail((side, side), Resampling.LANCZOS, reducing_gap=2.0)
    pixels = _in_srgb(pixels, profile)
    if orientation in UPRIGHT:
        pixels = pixels.transpose(UPRIGHT[orientation])
    pixels.info = {}
    return pixels


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none or it cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except UNREADABLE:
        # An image with broken EXIF is still an image.
        return 1


def _profile(image: Image.Image) -> bytes:
    return bytes(image.info.get("icc_profile") or b"")


def _direct(image: Image.Image) -> Image.Image:
    """A copy as one of L, LA, RGB, RGBA, CMYK with 8 bits a channel, which can be scaled and converted."""
    if image.mode.startswith("I"):
        # Pillow clips 16 bits to 8 where it should scale them. A transparent grey level of 16 bits is not kept.
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode == "F":
        # What lies between 0 and 1 is a share of white, anything else a level.
        low, high = cast(tuple[float, float], image.getextrema())
        return image.point(lambda value: value * (255 if low >= 0 and high <= 1 else 1)).convert("L")
    if image.mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), SRGB, "LAB", "RGB")
        converted = ImageCms.applyTransform(image, lab)
        assert converted is not None
        return converted
    if image.mode in ("La", "PA"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in ("LA", "CMYK") or (image.mode in ("L", "RGB") and not image.has_transparency_data):
        return image.copy()
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    if not profile and image.mode in ("RGB", "RGBA"):
        return image
    if image.mode not in ("LA", "RGBA"):
        return _converted(image, profile)
    base = _converted(image.convert(image.mode[:-1]), profile)
    base.putalpha(image.getchannel("A"))
    return base


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
            assert converted is not None
            return converted
        except (ImageCms.PyCMSError, *UNREADABLE):
            # A profile that is broken, or made for other channels, is as good as none.
            pass
    return image.convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    """The image in RGB, on a white background."""
    if image.mode == "RGB":
        return image
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    return page


def blank(width: int, height: int) -> bytes:
    """A grey JPEG of that aspect ratio, 640 pixels on its longer side, for an image that no longer exists."""
    out, scale = io.BytesIO(), 640 / max(width, height)
    Image.new("RGB", (max(1, round(width * scale)), max(1, round(height * scale))), (52, 56, 63)).save(out, "JPEG")
    return out.getvalue()


def _encoded(image: Image.Image, encoding: Format, quality: int | None) -> bytes:
    out = io.BytesIO()
    match encoding:
        case "avif":
            # One thread: the stacks of more would count against the child's address space.
            image.save(out, "AVIF", quality=quality or 60, speed=6, max_threads=1)
        case "webp":
            image.save(out, "WEBP", quality=quality or 80, method=4)
        case "jpeg":
            image.save(out, "JPEG", quality=quality or 85, optimize=True, progressive=True)
    return out.getvalue()
