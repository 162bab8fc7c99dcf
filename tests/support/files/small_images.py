"""Small images for tests, as bytes."""

import io
from typing import Literal

from PIL import Image, ImageChops

from adapters.provider import InputImage
from adapters.sketch.order import Work, paint
from tools.rows import Kind

Rgb = tuple[int, int, int]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def plain(rgb: Rgb, size: tuple[int, int] = (96, 96)) -> bytes:
    return png(Image.new("RGB", size, rgb))


def gradient(first: Rgb, second: Rgb, size: tuple[int, int] = (128, 128)) -> bytes:
    """A gradient from the first colour at the top to the second at the bottom, with a hard edge across: neither blank
    nor soft."""
    ramp = Image.linear_gradient("L").resize(size)
    image = Image.composite(Image.new("RGB", size, second), Image.new("RGB", size, first), ramp)
    image.paste(tuple(int(0.6 * channel) for channel in first), (0, size[1] // 2, size[0], size[1] // 2 + 6))
    return png(image)


def painted(
    prompt: str, seed: int = 1, size: tuple[int, int] = (192, 128), kind: Kind = "generate", **inputs: bytes
) -> bytes:
    """A sketch, drawn in this process."""
    return paint(Work(kind=kind, prompt=prompt, negative=None, size=size, seed=seed, **inputs)).data


def as_input(data: bytes) -> InputImage:
    image = opened(data)
    return InputImage(data, "image/png", *image.size)


def mask(size: tuple[int, int], box: tuple[int, int, int, int], way: Literal["transparent", "white"]) -> bytes:
    """A mask that opens the box except for a small island in its middle, in one of the two encodings."""
    area = Image.new("L", size, 0)
    area.paste(255, box)
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    area.paste(0, (x, y, x + 3, y + 3))
    if way == "white":
        return png(area)
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.putalpha(ImageChops.invert(area))
    return png(image)
