"""What OpenAI's image models are asked for: an op within what they allow, what that changes, and what it costs."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from adapters.openai.servers import PROVIDER, UNNAMED, unknown
from adapters.provider import ImageOp, InputImage
from tools.media.sizes import read_size
from tools.models.catalog import AnySize, ImageModel, Unit, Units, image_models, output_tokens

Size = tuple[int, int]

LONGEST_SIDE = 3456
"""Of a picture that is written anew: as an RGBA PNG it stays below the 50 MB that are taken."""
PARTIALS = 2
"""Previews asked for; fewer may come."""
PARTIAL_TOKENS = 100
TEXT_TOKENS = 100
"""Text tokens beside the prompt's own, for the call and again for each picture: measured ones stay below 60."""
LEAST_ROOM = 0.05
"""The share of a canvas that must be new for there to be something to paint."""


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`wire` of OpenAI's models: tokens an input picture, and a model's thinking, cost at most.

    A `plain` model is one of which nothing is known: it is sent what was asked for, in what every server takes.
    """

    plain: bool = False
    input_fidelity: Literal["high", "low"] | None = None
    image_tokens: int | None = None
    text_output: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`size` and `quality` are asked for, None: not; of a known model that is so while the start image is missing that
    decides its size. `canvas` is what an outpainting grows to, `inner` the start image's place on it.
    """

    model: ImageModel
    facts: Facts
    size: Size | None
    canvas: Size | None
    inner: Size | None
    quality: str | None
    prompt: str
    references: tuple[InputImage, ...]
    adjustments: list[str]


def plan(op: ImageOp, provider: str, models: Sequence[ImageModel]) -> Plan:
    """The call for this op; its images may be missing, as they are before a job's start image has been taken in.

    A model that was retired, or is no longer listed, since the job was accepted is asked for all the same: its server
    knows best. Fails: Invalid for a size that is none.
    """
    retired = image_models(PROVIDER) if provider == PROVIDER else []
    model = next((model for model in (*models, *retired) if op.model in (None, model.id)), None)
    model = model or unknown(provider, op.model or UNNAMED)
    facts = msgspec.convert(model.wire, Facts)
    size = _size(op, model)
    start = (op.start_image.width, op.start_image.height) if op.start_image else None
    inner: Size | None = None
    if op.kind == "outpaint" and start and size:
        # The start image's size on the canvas, such that something is left to be painted.
        inner = _within(start, size)
        if op.size is None or _area(inner) > (1 - LEAST_ROOM) * _area(size):
            inner = _within(start, (size[0] * 2 // 3, size[1] * 2 // 3))
    # Of an unknown model nobody can say which size it likes best.
    sent_size = None if facts.plain and op.size is None else size
    quality = op.quality if facts.plain or op.quality in model.qualities else model.qualities[0]
    vendor = "OpenAI" if provider == PROVIDER and not facts.plain else provider
    return Plan(
        model=model,
        facts=facts,
        size=sent_size,
        canvas=size if inner else None,
        inner=inner,
        quality=quality,
        prompt=op.prompt[: model.prompt_chars],
        references=op.references[: model.references],
        adjustments=[*_size_notes(op, sent_size, inner), *_unused_notes(op, model, quality, vendor)],
    )


def _size(op: ImageOp, model: ImageModel) -> Size | None:
    """The size to ask for; None while the start image that decides it is not known."""
    if op.size is not None:
        return nearest(model, read_size(op.size))
    if op.kind == "generate":
        return read_size(model.sizes[0])
    if op.start_image is None:
        return None
    grown = 1.5 if op.kind == "outpaint" else 1.0
    width, height = op.start_image.width * grown, op.start_image.height * grown
    # What nobody asked to be large is not made, and paid, larger than the largest listed size.
    factor = min(1.0, math.sqrt(max(map(_area, _listed(model))) / (width * height)))
    return nearest(model, (round(width * factor), round(height * factor)))


def _within(size: Size, room: Size) -> Size:
    factor = min(1.0, room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def nearest(model: ImageModel, asked: Size) -> Size:
    """The size the model makes that is nearest to the one asked for, in shape and then in pixels."""

    def distance(size: Size) -> float:
        shape = math.log(size[0] / size[1]) - math.log(asked[0] / asked[1])
        return 2 * abs(shape) + abs(math.log(_area(size) / _area(asked)))

    sizes = _listed(model) if model.any_size is None else _allowed_about(model.any_size, asked)
    return min(sizes, key=distance)


def _listed(model: ImageModel) -> list[Size]:
    return [read_size(size) for size in model.sizes]


def _allowed_about(free: AnySize, asked: Size) -> Iterator[Size]:
    """The sizes that are allowed around the one asked for."""
    widest = free.widest_ratio or math.inf
    fewest, most = free.fewest_pixels or 0, free.most_pixels or math.inf
    ratio = min(max(asked[0] / asked[1], 1 / widest), widest)
    area = min(max(_area(asked), fewest), most)
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    factor = min(1.0, free.longest / max(width, height))
    sides = [
        range(int(side * factor) // free.multiple - 2, int(side * factor) // free.multiple + 4)
        for side in (width, height)
    ]
    for across, down in itertools.product(*sides):
        size = (across * free.multiple, down * free.multiple)
        shortest, longest = min(size), max(size)
        fits = free.shortest <= shortest and longest <= min(free.longest, widest * shortest)
        if fits and fewest <= _area(size) <= most:
            yield size


def _area(size: Size) -> int:
    return size[0] * size[1]


def text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _size_notes(op: ImageOp, size: Size | None, inner: Size | None) -> Iterator[str]:
    start = (op.start_image.width, op.start_image.height) if op.start_image else None
    if size and op.size and read_size(op.size) != size:
        yield f"size {op.size} became {text(size)}"
    if size and start and not op.size and op.kind not in ("generate", "outpaint") and start != size:
        yield f"the start image of {text(start)} became {text(size)}"
    if start and inner and inner != start:
        yield f"the start image was reduced to {text(inner)} on its canvas"
    if start and op.kind in ("edit", "inpaint", "variation") and max(start) > LONGEST_SIDE:
        yield f"the start image was sent {LONGEST_SIDE} pixels long"
    if start and op.kind == "inpaint" and op.mask and (op.mask.width, op.mask.height) != start:
        yield "the mask was scaled to the size of the start image"


def _unused_notes(op: ImageOp, model: ImageModel, quality: str | None, vendor: str) -> Iterator[str]:
    if op.kind == "variation":
        yield f"the variation is made by editing the start image: {vendor} makes no variations"
    if op.seed is not None:
        yield f"the seed is not used: {vendor} takes none"
    if op.negative_prompt:
        yield f"the negative prompt is sent as words of the prompt: {vendor} has no field for it"
    if op.quality and op.quality != quality:
        yield f"quality {op.quality} became {quality}"
    if model.prompt_chars and len(op.prompt) > model.prompt_chars:
        yield f"the prompt was cut to {model.prompt_chars} characters"
    if len(op.references) > model.references:
        yield f"only the first {model.references} reference images are used"
    if op.mask and op.kind != "inpaint":
        yield f"the mask is not used by {op.kind}"
    if op.start_image and op.kind == "generate":
        yield "the start image is not used by generate"


def meter(op: ImageOp, planned: Plan) -> tuple[Units, Units]:
    """What the call is billed for at least and at most; both empty when the tokens of the model's pictures are not
    published.
    """
    if planned.facts.plain or planned.quality is None:
        return {}, {}
    if op.kind == "generate":
        pictures = len(planned.references)
    else:
        # The start image, the references that there are or may yet come, and a mask, which may count as a picture.
        references = len(planned.references) if op.start_image else planned.model.references
        pictures = 1 + references + (op.kind in ("inpaint", "outpaint"))
    if planned.size is None:
        output = _any_output(planned.model, planned.quality)
    else:
        exact = output_tokens(planned.model, planned.quality, text(planned.size))
        output = None if exact is None else (exact, exact)
    if output is None or (pictures and planned.facts.image_tokens is None):
        return {}, {}
    most: dict[Unit, float] = {
        # A token is at least one byte.
        "text_input": len(planned.prompt.encode()) + TEXT_TOKENS * (1 + pictures),
        "image_input": pictures * (planned.facts.image_tokens or 0),
        "image_output": output[1] + PARTIALS * PARTIAL_TOKENS,
        "text_output": planned.facts.text_output,
    }
    return {"image_output": output[0]}, {unit: count for unit, count in most.items() if count}


def _any_output(model: ImageModel, quality: str) -> tuple[int, int] | None:
    """The fewest and the most tokens of a picture that will take its shape from a start image that is not known yet,
    before previews; None where they are not published.

    Tokens never grow faster than pixels, and a longer shape of as many pixels never has more of them.
    """
    listed, free = _listed(model), model.any_size
    counts = [count for size in listed if (count := output_tokens(model, quality, text(size))) is not None]
    if len(counts) < len(listed):
        return None
    if free is None:
        return min(counts), max(counts)
    known = list(zip(map(_area, listed), counts, strict=True))
    fewest, narrowest = free.fewest_pixels or 0, 1 / (free.widest_ratio or math.inf)
    # Sides are rounded: a little more than the largest listed size may come out.
    most = 1.1 * max(map(_area, listed))
    low = min(count * min(1.0, fewest / area) for area, count in known) * narrowest
    return math.floor(low), math.ceil(max(count * max(1.0, most / area) for area, count in known))
