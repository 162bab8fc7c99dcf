"""Sizes for Gemini: sizes in pixels become the nearest supported aspect ratio and image size."""

import functools
import math
from typing import NamedTuple

import msgspec

from adapters.provider import ImageOp
from tools.media.sizes import read_size
from tools.models.catalog import ImageModel, image_models

ENOUGH = 0.6
"""The share of the requested pixels that suffices: the next image size has four times as many, and costs more."""
OUTGROWN = 1.5
"""How much larger than its start image an outpainted image is when no size is requested."""


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `wire` table of a model in the catalog."""

    ratios: list[str]
    image_sizes: list[str]
    """`1K`, `2K`, `4K`: the side of a square in units of 1024 pixels."""
    output_limit: int
    spare_tokens: int
    image_tokens: tuple[int, int]
    masks: bool = False
    """Whether the model follows a mask that is shown to it as a second picture."""


class Shape(NamedTuple):
    """A size that a model supports, in pixels and in the vendor's terms."""

    width: int
    height: int
    ratio: str
    image_size: str

    @property
    def text(self) -> str:
        """`WIDTHxHEIGHT` in pixels."""
        return f"{self.width}x{self.height}"


class Canvas(NamedTuple):
    """The canvas of an outpainting in pixels; `inner` is the size of the start image in its middle."""

    width: int
    height: int
    inner: tuple[int, int]


def wire(model: ImageModel) -> Wire:
    """The model's facts from the catalog."""
    return msgspec.convert(model.wire, Wire)


@functools.cache
def shapes(model_id: str) -> tuple[Shape, ...]:
    """The sizes that the model supports, its default first."""
    model = next(model for model in image_models("gemini") if model.id == model_id)
    facts, made = wire(model), []
    for width, height in map(read_size, model.sizes):

        def off(ratio: str, proportions: float = width / height) -> float:
            across, _, down = ratio.partition(":")
            return abs(math.log(int(across) / int(down) / proportions))

        def far(image_size: str, pixels: int = width * height) -> float:
            return abs(math.log((1024 * int(image_size[:-1])) ** 2 / pixels))

        made.append(Shape(width, height, min(facts.ratios, key=off), min(facts.image_sizes, key=far)))
    return tuple(made)


def nearest(model: ImageModel, size: tuple[int, int], *, pixels: int | None = None) -> Shape:
    """Of the shapes with the nearest proportions the smallest with enough of `pixels` (by default those of `size`)."""

    def off(shape: Shape) -> float:
        return round(abs(math.log(shape.width / shape.height * size[1] / size[0])), 6)

    closest = min(map(off, shapes(model.id)))
    alike = sorted((shape for shape in shapes(model.id) if off(shape) == closest), key=_pixels)
    enough = ENOUGH * (pixels or math.prod(size))
    return next((shape for shape in alike if _pixels(shape) >= enough), alike[-1])


def _pixels(shape: Shape) -> int:
    return shape.width * shape.height


def shape_of(model: ImageModel, op: ImageOp) -> Shape:
    """The shape to request. Without a size: the start image's proportions and the default size's pixels."""
    if size := wanted(op):
        return nearest(model, size)
    if op.start_image and op.kind != "generate":
        return nearest(model, (op.start_image.width, op.start_image.height), pixels=_pixels(shapes(model.id)[0]))
    return shapes(model.id)[0]


def wanted(op: ImageOp) -> tuple[int, int] | None:
    """The requested size, None without one; for an outpainting, a size that contains the whole start image."""
    requested = read_size(op.size) if op.size else None
    if op.kind != "outpaint" or op.start_image is None:
        return requested
    start = op.start_image
    grown = (
        (max(requested[0], start.width), max(requested[1], start.height)) if requested else (start.width, start.height)
    )
    if grown == (start.width, start.height):
        return round(start.width * OUTGROWN), round(start.height * OUTGROWN)
    return grown


def canvas(shape: Shape, start: tuple[int, int], grown: tuple[int, int]) -> Canvas:
    """The smallest canvas with the shape's proportions around `grown`, scaled down to the shape's size if larger."""
    factor = min(1.0, shape.width / grown[0], shape.height / grown[1])
    unit = max(grown[0] / shape.width, grown[1] / shape.height) * factor
    inner = (max(1, round(start[0] * factor)), max(1, round(start[1] * factor)))
    return Canvas(round(shape.width * unit), round(shape.height * unit), inner)


def image_tokens(model: ImageModel, shape: Shape) -> int | None:
    """The output tokens of one image, None when the vendor does not publish them."""
    published = model.output_tokens.get("any", {})
    return published.get(shape.text, published.get(shape.image_size))


def output_cap(model: ImageModel, shape: Shape) -> int:
    """The maximum tokens of an answer: one image and an allowance for thoughts and text."""
    facts = wire(model)
    return min(facts.output_limit, (image_tokens(model, shape) or facts.spare_tokens) + facts.spare_tokens)
