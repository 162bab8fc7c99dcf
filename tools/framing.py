"""What vendors want around a picture: fewer pixels, a larger canvas, a mask in their terms.

Like `tools/pixels.py` only for the child of `tools/child.py`: module-level functions of plain values. Every picture
that comes out is a PNG, upright, in sRGB, with nothing beside its pixels. Bytes that cannot be read are Invalid
(`image_rejected`).
"""

import io
from typing import NamedTuple

from PIL import Image
from PIL.Image import Resampling

from tools.masks import area_to_change
from tools.pixels import clean


class Extended(NamedTuple):
    """`canvas`: the picture centred, transparent around it. `mask`: alpha 0 where the canvas is new, else opaque."""

    canvas: bytes
    mask: bytes


def shrink(data: bytes, longest: int) -> bytes:
    """The picture, RGB or RGBA, with its longer side at most `longest` pixels."""
    return _png(clean(data, longest))


def extend(data: bytes, width: int, height: int, inner: tuple[int, int] | None = None) -> Extended:
    """The picture in the middle of a canvas of `width` × `height`.

    It is scaled down, never up, to fit into `inner` (when None, into the canvas).
    """
    picture = clean(data, None).convert("RGBA")
    picture.thumbnail(inner or (width, height), Resampling.LANCZOS, reducing_gap=2.0)
    at = ((width - picture.width) // 2, (height - picture.height) // 2)
    canvas, mask = (Image.new("RGBA", (width, height), (0, 0, 0, 0)) for _ in range(2))
    canvas.paste(picture, at)
    mask.paste((0, 0, 0, 255), (*at, at[0] + picture.width, at[1] + picture.height))
    return Extended(_png(canvas), _png(mask))


def alpha_mask(mask: bytes, width: int, height: int) -> bytes:
    """A caller's mask (see `tools/masks.py`) as RGBA of that size: alpha 0 where the picture is to be changed."""
    area = area_to_change(clean(mask, None)).resize((width, height), Resampling.NEAREST)
    image = Image.new("RGBA", (width, height))
    image.putalpha(area.point(lambda value: 255 - value))
    return _png(image)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
