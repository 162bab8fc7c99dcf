"""Request bodies that carry images. Only for the child of `tools/media/sandbox.py`: it decodes foreign bytes."""

import io
from collections.abc import Mapping, Sequence

import msgspec
from PIL import Image, ImageChops
from PIL.Image import Resampling

from tools.media.framing import alpha_mask, extend, shrink
from tools.media.pixels import decode_srgb

GREY = (127, 127, 127)
"""Under what is to be painted: the model starts from its masked image, where this is the zero."""


def shrink_all(pictures: Sequence[bytes], longest: int) -> list[bytes]:
    """Each as a PNG with no side longer than `longest` pixels."""
    return [shrink(data, longest) for data in pictures]


def paint_over(
    fields: Mapping[str, str | int | float],
    start: bytes,
    mask: bytes | None,
    size: tuple[int, int],
    inner: tuple[int, int] | None,
) -> bytes:
    """JSON with the start image, and the mask when there is one, as arrays of the bytes of PNGs of that size.

    With `inner` the start image stands in the middle of it, that large, and the mask is what lies around. In the mask
    that is sent, white is painted and black stays (as in the model's own pipeline, and in ours).
    """
    if inner is not None:
        start, mask = extend(start, *size, inner)
    pictures = {"image": _png(_flat(decode_srgb(start, None)).resize(size, Resampling.LANCZOS))}
    if mask is not None:
        opaque = Image.open(io.BytesIO(alpha_mask(mask, *size))).getchannel("A")
        pictures["mask"] = _png(ImageChops.invert(opaque))
    return msgspec.json.encode({**fields, **{name: list(data) for name, data in pictures.items()}})


def _flat(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    page = Image.new("RGB", image.size, GREY)
    page.paste(image, mask=image.getchannel("A"))
    return page


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
