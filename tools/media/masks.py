"""Masks: which pixels of a start image a caller wants changed."""

from PIL import Image


def area_to_change(mask: Image.Image) -> Image.Image:
    """An "L" image, 255 where the start image is to be changed and 0 where it must stay.

    In a mask with any transparency only that counts (transparent: change), in an opaque one lightness (white: change).
    """
    alpha = mask.convert("RGBA").getchannel("A")
    if alpha.histogram()[255] < mask.width * mask.height:
        return alpha.point(lambda value: 255 if value < 128 else 0)
    return mask.convert("L").point(lambda value: 255 if value >= 128 else 0)
