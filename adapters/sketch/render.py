"""From work to bytes: what the image child does."""

import io

from PIL import Image, ImageFilter, ImageOps, PngImagePlugin

from adapters.sketch import retouch
from adapters.sketch.brush import MARK
from adapters.sketch.order import Painted, Work
from adapters.sketch.picture import paint_picture
from tools.models.prompt_words import Wording, read_wording

GLIMPSE_SIDE = 320
HEAVIEST = 20 << 20
"""Bytes; with room below the default MAX_IMAGE."""


def paint_work(work: Work) -> Painted:
    """The picture as PNG, labelled as the house's own, and glimpses of it.

    An enlarged picture whose PNG would be heavier than `HEAVIEST` comes as JPEG.
    """
    image = _made(work, read_wording(work.prompt, work.negative))
    data = _png(image)
    if len(data) > HEAVIEST and work.kind == "upscale":
        return Painted(_jpeg(image, 95), "image/jpeg", _glimpses(image))
    return Painted(data, "image/png", _glimpses(image))


def _png(image: Image.Image) -> bytes:
    label = PngImagePlugin.PngInfo()
    label.add_text("Software", f"picasso {MARK}-1")
    label.add_text("Description", "Painted by the built-in sketch provider, not by a vendor's model")
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1, pnginfo=label)
    return out.getvalue()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def _made(work: Work, wording: Wording) -> Image.Image:
    if work.start is None:
        return paint_picture(wording, work.prompt, work.size, work.seed)
    start = _opened(work.start)
    match work.kind:
        case "inpaint" if work.mask is not None:
            return retouch.inpaint(work, wording, start, _opened(work.mask))
        case "outpaint":
            return retouch.outpaint(work, wording, start)
        case "variation":
            return retouch.variation(work, wording, start)
        case "upscale":
            return retouch.upscale(work, start)
        case _:
            return retouch.edit(work, wording, start)


def _opened(data: bytes) -> Image.Image:
    """The image upright, in three channels, or four where it has transparency."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _glimpses(image: Image.Image) -> list[bytes]:
    small = image.convert("RGB")
    small.thumbnail((GLIMPSE_SIDE, GLIMPSE_SIDE))
    return [_jpeg(small.filter(ImageFilter.GaussianBlur(blur)), 72) for blur in (16, 6, 0)]
