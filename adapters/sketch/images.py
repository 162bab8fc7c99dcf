"""The built-in painter: free, always there, and clearly labelled as what it is. The pictures come from `studio/`."""

import asyncio
import math
import time

from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from adapters.sketch.order import Work, paint
from tools.env import Env
from tools.errors import Invalid
from tools.media.sandbox import in_child
from tools.media.sizes import read_size, same_shape
from tools.models.catalog import Units
from tools.models.prompt_words import not_understood, read_wording

MODEL = "sketch-1"
PNG = "image/png"
KINDS: tuple[ImageOpKind, ...] = ("generate", "edit", "inpaint", "outpaint", "variation", "upscale")
SMALLEST, LARGEST, UPSCALED = 64, 2048, 4096
"""Sides in pixels: of any picture, of a painted one, of an enlarged one."""
SIZES = ["1024x1024", "1536x1024", "1024x1536", "512x512", "2048x2048"]
CHILD_SECONDS = 60.0
TICK_SECONDS = 2.0


class Sketch:
    """Paints the same bytes for the same op: prompt, seed, size and the images given."""

    id = "sketch"
    free = True
    needs: tuple[str, ...] = ()

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return kind in KINDS and model in (None, MODEL)

    def capabilities(self) -> list[Capability]:
        return [Capability(kind=kind, model=MODEL, sizes=SIZES, seed=True, negative_prompt=True) for kind in KINDS]

    def adjustments(self, op: ImageOp) -> list[str]:
        return [*_size(op)[1], *_left_out(op)]

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return {}, {}

    async def run(self, op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
        """Paint in the image child; it takes `SKETCH_SECONDS` at least, with glimpses on the way.

        Fails: Invalid when an image the kind works from is missing or its mask has another shape ·
        Unavailable when the child died.
        """
        work = _work(op)
        began, seconds = time.monotonic(), env.settings.sketch_seconds
        first, *later = ticks(seconds)
        await _wait_until(began + first * seconds)
        await on_progress(first)
        painted = await in_child(paint, work, seconds=CHILD_SECONDS)
        for i, fraction in enumerate(later):
            await _wait_until(began + fraction * seconds)
            await on_progress(fraction, preview_bytes=painted.glimpses[i * len(painted.glimpses) // len(later)])
        await _wait_until(began + seconds)
        return ProviderResult(
            data=painted.data,
            mime=painted.mime,
            provider_meta=_label(op),
            usage={"images": 1},
            adjustments=self.adjustments(op) + (["sent as JPEG, for its weight"] if painted.mime != PNG else []),
        )


adapter = Sketch()


def ticks(seconds: float) -> list[float]:
    """The fractions at which a sketch of so many seconds speaks: four, or one every `TICK_SECONDS`."""
    count = max(4, math.ceil(seconds / TICK_SECONDS))
    return [(i + 1) / (count + 1) for i in range(count)]


async def _wait_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def _label(op: ImageOp) -> dict[str, object]:
    return {
        "label": "sketch: painted by the built-in painter, not by a vendor's model",
        "understood": list(read_wording(op.prompt, op.negative_prompt).words),
    }


def _work(op: ImageOp) -> Work:
    if op.kind != "generate" and op.start_image is None:
        raise Invalid(f"{op.kind} needs a start image", code="start_image_missing")
    if op.kind == "inpaint":
        _check_mask(op)
    start = op.start_image if op.kind != "generate" else None
    return Work(
        kind=op.kind,
        prompt=op.prompt,
        negative=op.negative_prompt,
        size=_size(op)[0],
        seed=op.seed or 0,
        start=start.data if start else None,
        mask=op.mask.data if op.mask and op.kind == "inpaint" else None,
    )


def _check_mask(op: ImageOp) -> None:
    if op.mask is None or op.start_image is None:
        raise Invalid("inpaint needs a mask: transparent or white where the image is to change", code="mask_missing")
    if not same_shape((op.mask.width, op.mask.height), (op.start_image.width, op.start_image.height)):
        raise Invalid(
            f"the mask is {op.mask.width}x{op.mask.height} but the start image "
            f"{op.start_image.width}x{op.start_image.height}: they must have one shape",
            code="mask_size",
        )


def _left_out(op: ImageOp) -> list[str]:
    """What of the op this painter does not use, in sentences."""
    left_out = []
    if op.references:
        left_out.append("reference images are not used")
    if op.quality:
        left_out.append("quality is not used")
    if op.mask and op.kind != "inpaint":
        left_out.append(f"the mask is not used by {op.kind}")
    if op.start_image and op.kind == "generate":
        left_out.append("the start image is not used by generate")
    if op.negative_prompt and (words := not_understood(op.negative_prompt)):
        left_out.append(f"of the negative prompt these words are not understood: {', '.join(words)}")
    if op.mask and op.start_image and (op.mask.width, op.mask.height) != (op.start_image.width, op.start_image.height):
        left_out.append("the mask was scaled to the size of the start image")
    return left_out


def _size(op: ImageOp) -> tuple[tuple[int, int], list[str]]:
    """Width and height of the result, and what that changes about the size asked for."""
    asked = read_size(op.size) if op.size else None
    start = (op.start_image.width, op.start_image.height) if op.start_image and op.kind != "generate" else None
    size = _wanted(op.kind, asked, start)
    if asked and asked != size and (start or op.kind not in ("inpaint", "outpaint", "upscale")):
        return size, [f"size {_text(asked)} became {_text(size)}"]
    if start and not asked and op.kind in ("edit", "variation") and size != start:
        return size, [f"the start image of {_text(start)} was reduced to {_text(size)}"]
    if start and op.kind == "upscale" and size != (start[0] * 2, start[1] * 2):
        return size, [f"upscaled to {_text(size)}, the largest this provider makes"]
    return size, []


def _wanted(kind: ImageOpKind, asked: tuple[int, int] | None, start: tuple[int, int] | None) -> tuple[int, int]:
    if start is None:
        return _clamped(asked or (1024, 1024))
    if kind == "inpaint":
        return start
    if kind == "upscale":
        factor = min(2.0, UPSCALED / max(start))
        return start if factor <= 1 else (round(start[0] * factor), round(start[1] * factor))
    if kind == "outpaint":
        width, height = asked or (0, 0)
        grown = (max(width, start[0]), max(height, start[1]))
        return grown if grown != start else (start[0] * 3 // 2, start[1] * 3 // 2)
    return _clamped(asked) if asked else _reduced(start)


def _clamped(size: tuple[int, int]) -> tuple[int, int]:
    width, height = (min(max(side, SMALLEST), LARGEST) for side in size)
    return width, height


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    """The same proportions within the largest picture."""
    factor = min(1.0, LARGEST / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
