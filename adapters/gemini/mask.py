"""A mask as Gemini can be shown it. Only for the child of `tools/media/sandbox.py`: it decodes foreign bytes."""

import io

from PIL import Image, ImageChops

from tools.media.framing import alpha_mask


def white_on_black(mask: bytes, width: int, height: int) -> bytes:
    """A PNG of that size, white where the image is to change, which is where `mask` is transparent or white."""
    opaque = Image.open(io.BytesIO(alpha_mask(mask, width, height))).getchannel("A")
    out = io.BytesIO()
    ImageChops.invert(opaque).convert("RGB").save(out, "PNG")
    return out.getvalue()
