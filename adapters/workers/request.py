"""What one call to a Workers AI model will be, decided from the op and the model's facts alone."""

import math
from typing import Any, Literal

import msgspec

from adapters.provider import ImageOp, InputImage
from tools.errors import Invalid
from tools.media.sizes import read_size, same_shape
from tools.models.catalog import AnySize, ImageModel, Unit, Units, offered

Size = tuple[int, int]

TILE, MEGAPIXEL = 512 * 512, 1024 * 1024
"""Pixels. The vendor bills fractions of both."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`wire` of a model: how its call is written, and in which units it is billed."""

    request: Literal["json", "multipart"]
    billed: list[Unit]
    steps: int
    """Diffusion steps of an image: sent as `steps_field`, or the model's own where it has none."""
    steps_field: Literal["steps", "num_steps"] | None = None
    inputs: int = 0
    """Pictures it takes, start image and references together."""
    longest: int = 0
    """Pixels of an input's longer side at most; 0: it must have the size of the result."""
    strength: float | None = None
    """How far an img2img model leaves its start image, 0 to 1."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`size` is that of the result, `inner` that of the start image within it (outpaint). `notes` are adjustments."""

    model: ImageModel
    facts: Facts
    size: Size
    inner: Size | None
    fields: dict[str, str | int | float]
    images: tuple[InputImage, ...]
    mask: InputImage | None
    notes: list[str]


def models() -> list[ImageModel]:
    return offered("workers")


def facts(model: ImageModel) -> Facts:
    return msgspec.convert(model.wire, Facts)


def plan(op: ImageOp) -> Plan:
    """The call for this op; its images may be missing, as they are before a job's start image has been taken in.

    Fails: Invalid for a model or kind that is not there, and for a prompt that is too long.
    """
    model = next((model for model in models() if op.kind in model.kinds and op.model in (None, model.id)), None)
    if model is None:
        named = f" called {op.model}" if op.model else ""
        raise Invalid(f"workers has no model for {op.kind}{named}", code="unsupported_model")
    if model.prompt_chars is not None and len(op.prompt) > model.prompt_chars:
        raise Invalid(
            f"the prompt has {len(op.prompt)} characters, but {model.id} takes {model.prompt_chars} at most",
            code="prompt_too_long",
            detail={"model": model.id, "allowed": model.prompt_chars},
        )
    known, size, inner = facts(model), *_sizes(op, model)
    start = op.start_image if op.kind != "generate" else None
    inputs = (start, *op.references) if start else op.references
    fields: dict[str, Any] = {
        "prompt": op.prompt,
        "width": size[0] if model.any_size else None,
        "height": size[1] if model.any_size else None,
        "seed": op.seed if model.seed else None,
        "negative_prompt": op.negative_prompt if model.negative_prompt else None,
        "strength": known.strength,
    }
    if known.steps_field:
        fields[known.steps_field] = known.steps
    return Plan(
        model=model,
        facts=known,
        size=size,
        inner=inner,
        fields={name: value for name, value in fields.items() if value is not None},
        images=inputs[: known.inputs],
        mask=op.mask if op.kind == "inpaint" else None,
        notes=[*_size_notes(op, size, inner), *_unused_notes(op, model, inputs)],
    )


def units(drawn: Plan, inputs: list[Size]) -> Units:
    """What the call is billed for when its pictures, as sent, have these sizes."""
    area, sent = math.prod(drawn.size), sum(map(math.prod, inputs))
    counts: dict[Unit, float] = {
        "step": drawn.facts.steps,
        "tile": area / TILE,
        "tile_step": area / TILE * drawn.facts.steps,
        "input_tile": sent / TILE,
        "input_tile_step": sent / TILE * drawn.facts.steps,
        "first_megapixel": 1,
        "next_megapixel": max(0.0, area / MEGAPIXEL - 1),
        "input_megapixel": sent / MEGAPIXEL,
    }
    return {unit: counts[unit] for unit in drawn.facts.billed}


def least_and_most(op: ImageOp, drawn: Plan) -> tuple[Units, Units]:
    """`units` before the call. Pictures that are not known yet may be none, or as many and as large as the model takes;
    a result whose shape they decide has at most the pixels of the default size.
    """
    longest, limits = drawn.facts.longest, drawn.model.any_size
    if op.start_image or op.references or not longest:
        sent = units(drawn, [shrunk(image, longest) for image in drawn.images] if longest else [])
        return sent, sent
    least = drawn
    if op.kind != "generate" and op.size is None and limits:
        least = msgspec.structs.replace(drawn, size=(limits.shortest, limits.longest))
    return units(least, []), units(drawn, [(longest, longest)] * drawn.facts.inputs)


def shrunk(image: InputImage, longest: int) -> Size:
    """The size of an input whose longer side must not pass `longest`."""
    factor = min(1.0, longest / max(image.width, image.height))
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def _unused_notes(op: ImageOp, model: ImageModel, inputs: tuple[InputImage, ...]) -> list[str]:
    """What of the op, and of its pictures, this model has no place for."""
    known = facts(model)
    takes = {0: "no pictures", 1: "one picture"}.get(known.inputs, f"{known.inputs} pictures")
    unused = len(inputs) - known.inputs
    too_large = known.longest and any(max(_size_of(image)) > known.longest for image in inputs[: known.inputs])
    notes = (
        (op.seed is not None and not model.seed, f"the seed is not used: {model.id} takes none"),
        (
            op.negative_prompt and not model.negative_prompt,
            f"{model.id} has no negative prompt: what to avoid can only stand in the prompt",
        ),
        (op.quality, "quality is not used"),
        (op.mask and op.kind != "inpaint", f"the mask is not used by {op.kind}"),
        (op.start_image and op.kind == "generate", "the start image is not used by generate"),
        (unused > 0, f"{unused} of the reference images not used: the model takes {takes}"),
        (too_large, f"pictures are sent with at most {known.longest} pixels a side, all that the model takes"),
    )
    return [sentence for applies, sentence in notes if applies]


def _size_notes(op: ImageOp, size: Size, inner: Size | None) -> list[str]:
    start = _size_of(op.start_image) if op.start_image and op.kind != "generate" else None
    notes = []
    if op.size and read_size(op.size) != size and (start or op.kind not in ("inpaint", "outpaint")):
        notes.append(f"size {_text(read_size(op.size))} became {_text(size)}")
    if start and inner and inner != start:
        notes.append(f"the start image of {_text(start)} was scaled to {_text(inner)} within it")
    if start and not op.size and op.kind != "outpaint" and size != start:
        notes.append(f"the start image is {_text(start)}, the result {_text(size)}")
    if start and op.mask and op.kind == "inpaint" and _size_of(op.mask) != start:
        notes.append("the mask was scaled to the size of the start image")
    return notes


def _sizes(op: ImageOp, model: ImageModel) -> tuple[Size, Size | None]:
    """The size of the result and, of an outpainting, that of the start image within it."""
    default, limits = read_size(model.sizes[0]), model.any_size
    asked = read_size(op.size) if op.size else None
    start = _size_of(op.start_image) if op.start_image and op.kind != "generate" else None
    if limits is None:
        return default, None
    if start is None:
        return _fitted(asked or default, limits), None
    if op.kind == "outpaint":
        # The canvas is what was asked, where it is no smaller than the start image, or half as large again.
        width, height = asked or (0, 0)
        grown = (max(width, start[0]), max(height, start[1]))
        if grown == start:
            grown = (start[0] * 3 // 2, start[1] * 3 // 2)
        factor, size = min(1.0, limits.longest / max(grown)), _fitted(grown, limits)
        width, height = (min(max(1, round(side * factor)), most) for side, most in zip(start, size, strict=True))
        return size, (width, height)
    if op.kind == "inpaint":
        return _fitted(asked if asked and same_shape(asked, start) else start, limits), None
    if asked is None:
        # The start image's shape, with no more pixels than the default size has and hardly fewer. A hair is added, so
        # that a side which comes out whole is not cut down for a rounding error.
        factor = math.sqrt(math.prod(default) / math.prod(start))
        width, height = (max(1, int(side * factor + 1e-6) // limits.multiple) * limits.multiple for side in start)
        asked = (width, height)
    return _fitted(asked, limits), None


def _fitted(size: Size, limits: AnySize) -> Size:
    """The nearest size within the limits, of the same shape where they allow it."""
    factor = min(1.0, limits.longest / max(size))
    factor = max(factor, min(limits.shortest / min(size), limits.longest / max(size)))
    width, height = (
        min(max(round(side * factor / limits.multiple) * limits.multiple, limits.shortest), limits.longest)
        for side in size
    )
    return width, height


def _size_of(image: InputImage) -> Size:
    return image.width, image.height


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
