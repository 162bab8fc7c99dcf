"""Makes the image of a `Work` and encodes it, in the child process."""

import io

from PIL import Image, ImageFilter, PngImagePlugin

from adapters.sketch import retouch
from adapters.sketch.brush import MARK
from adapters.sketch.order import Painted, Work
from adapters.sketch.picture import paint_picture
from tools.media.pixels import decode_srgb
from tools.models.prompt_words import Wording, read_wording

PREVIEW_SIDE = 320
HEAVIEST = 20 << 20
"""The largest PNG of an upscaled image in bytes, well below the default MAX_IMAGE."""


def paint_work(work: Work) -> Painted:
    """The image as PNG, labelled as made by this provider, with previews.

    An upscaled image whose PNG would be larger than `HEAVIEST` is a JPEG.
    """
    wording = read_wording(work.prompt, work.negative)
    if work.start is None:
        image = paint_picture(wording, work.prompt, work.size, work.seed)
    else:
        image = _retouched(work, wording, _decoded(work.start))
    label = PngImagePlugin.PngInfo()
    label.add_text("Software", f"picasso {MARK}-1")
    label.add_text("Description", "Painted by the built-in sketch provider, not by a vendor's model")
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1, pnginfo=label)
    data = out.getvalue()
    if len(data) > HEAVIEST and work.kind == "upscale":
        return Painted(_jpeg(image, 95), "image/jpeg", _previews(image))
    return Painted(data, "image/png", _previews(image))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def _retouched(work: Work, wording: Wording, start: Image.Image) -> Image.Image:
    match work.kind:
        case "inpaint" if work.mask is not None:
            return retouch.inpaint(work, wording, start, _decoded(work.mask))
        case "outpaint":
            return retouch.outpaint(work, wording, start)
        case "variation":
            return retouch.variation(work, wording, start)
        case "upscale":
            return retouch.upscale(work, start)
        case _:
            return retouch.edit(work, wording, start)


def _decoded(data: bytes) -> Image.Image:
    """The image upright, in sRGB: RGB, or RGBA if it has transparency."""
    return decode_srgb(data, None)


def _previews(image: Image.Image) -> list[bytes]:
    small = image.convert("RGB")
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return [_jpeg(small.filter(ImageFilter.GaussianBlur(blur)), 72) for blur in (16, 6, 0)]
