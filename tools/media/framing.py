"""Images in the form that vendors require: fewer pixels, a larger canvas, a mask in an alpha channel.

Like `tools/media/pixels.py` only for the child of `tools/media/sandbox.py`: module-level functions of plain values.
Results are PNG, upright, in sRGB, without metadata. Bytes that cannot be read raise Invalid (`image_rejected`).
"""

import io
from typing import NamedTuple

from PIL import Image
from PIL.Image import Resampling

from tools.media.masks import area_to_change
from tools.media.pixels import decode_srgb, is_sound, open_image, orientation_of


class ImageAndMask(NamedTuple):
    """`canvas` is the image to change; `mask` has alpha 0 where it is to be changed or is new, else it is opaque."""

    canvas: bytes
    mask: bytes


def shrink(data: bytes, longest: int) -> bytes:
    """The image, RGB or RGBA, with its longer side at most `longest` pixels."""
    return _png(decode_srgb(data, longest))


def plain(data: bytes) -> bytes:
    """The bytes unchanged if every vendor can read their format, else as a PNG."""
    return data if is_sound(data) else _png(decode_srgb(data, None))


def shrink_if_needed(data: bytes, longest: int, most_bytes: int) -> bytes:
    """The bytes unchanged if every vendor can read them (upright, grey or RGB, within the limits), else `shrink`."""
    image = open_image(data)
    readable = image.mode in ("L", "RGB", "RGBA") and orientation_of(image) == 1 and is_sound(data)
    return data if readable and max(image.size) <= longest and len(data) < most_bytes else shrink(data, longest)


def extend(data: bytes, width: int, height: int, inner: tuple[int, int] | None = None) -> ImageAndMask:
    """The image in the middle of a transparent canvas of `width` × `height` pixels.

    It is scaled down, never up, to fit into `inner` (when None, into the canvas).
    """
    image = decode_srgb(data, None).convert("RGBA")
    image.thumbnail(inner or (width, height), Resampling.LANCZOS, reducing_gap=2.0)
    at = ((width - image.width) // 2, (height - image.height) // 2)
    canvas, mask = (Image.new("RGBA", (width, height), (0, 0, 0, 0)) for _ in range(2))
    canvas.paste(image, at)
    mask.paste((0, 0, 0, 255), (*at, at[0] + image.width, at[1] + image.height))
    return ImageAndMask(_png(canvas), _png(mask))


def alpha_mask(mask: bytes, width: int, height: int) -> bytes:
    """A caller's mask (see `tools/media/masks.py`) as RGBA of that size: alpha 0 where the image is to be changed."""
    area = area_to_change(decode_srgb(mask, None)).resize((width, height), Resampling.NEAREST)
    image = Image.new("RGBA", (width, height))
    image.putalpha(area.point(lambda value: 255 - value))
    return _png(image)


def image_and_mask(data: bytes, mask: bytes, longest: int) -> ImageAndMask:
    """The image, shrunk to `longest`, and the caller's mask as `alpha_mask` makes it, both of one size."""
    image = decode_srgb(data, longest)
    return ImageAndMask(_png(image), alpha_mask(mask, *image.size))


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
