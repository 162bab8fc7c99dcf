"""What vendors want around a picture: fewer pixels, a larger canvas, a mask in their terms.

Like `tools/media/pixels.py` only for the child of `tools/media/sandbox.py`: module-level functions of plain values.
Every picture that comes out is a PNG, upright, in sRGB, with nothing beside its pixels. Bytes that cannot be read are
Invalid (`image_rejected`).
"""

import io
from typing import NamedTuple

from PIL import Image
from PIL.Image import Resampling

from tools.media.masks import area_to_change
from tools.media.pixels import decode_srgb, open_image, orientation_of


class ImageAndMask(NamedTuple):
    """`canvas`: the picture to change, `mask`: alpha 0 where it is to be changed (or is new), else opaque."""

    canvas: bytes
    mask: bytes


def shrink(data: bytes, longest: int) -> bytes:
    """The picture, RGB or RGBA, with its longer side at most `longest` pixels."""
    return _png(decode_srgb(data, longest))


def shrink_if_needed(data: bytes, longest: int, most_bytes: int) -> bytes:
    """The bytes as they came where any reader takes them (upright, grey or RGB, within the bounds), else shrunk."""
    image = open_image(data)
    understood = image.mode in ("L", "RGB", "RGBA") and orientation_of(image) == 1
    return data if understood and max(image.size) <= longest and len(data) < most_bytes else shrink(data, longest)


def extend(data: bytes, width: int, height: int, inner: tuple[int, int] | None = None) -> ImageAndMask:
    """The picture in the middle of a canvas of `width` × `height`, transparent around it.

    It is scaled down, never up, to fit into `inner` (when None, into the canvas).
    """
    picture = decode_srgb(data, None).convert("RGBA")
    picture.thumbnail(inner or (width, height), Resampling.LANCZOS, reducing_gap=2.0)
    at = ((width - picture.width) // 2, (height - picture.height) // 2)
    canvas, mask = (Image.new("RGBA", (width, height), (0, 0, 0, 0)) for _ in range(2))
    canvas.paste(picture, at)
    mask.paste((0, 0, 0, 255), (*at, at[0] + picture.width, at[1] + picture.height))
    return ImageAndMask(_png(canvas), _png(mask))


def alpha_mask(mask: bytes, width: int, height: int) -> bytes:
    """A caller's mask (see `tools/media/masks.py`) as RGBA of that size: alpha 0 where the picture is to be changed."""
    area = area_to_change(decode_srgb(mask, None)).resize((width, height), Resampling.NEAREST)
    image = Image.new("RGBA", (width, height))
    image.putalpha(area.point(lambda value: 255 - value))
    return _png(image)


def image_and_mask(data: bytes, mask: bytes, longest: int) -> ImageAndMask:
    """The picture, shrunk to `longest`, and the caller's mask as `alpha_mask` says it, in one size."""
    picture = decode_srgb(data, longest)
    return ImageAndMask(_png(picture), alpha_mask(mask, *picture.size))


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
