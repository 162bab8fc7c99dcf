"""The built-in provider `sketch`: free, always available, and labelled as such. `render.py` paints the images."""

import asyncio
import math
import time
from typing import NamedTuple

from adapters.input_images import check_images
from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from adapters.sketch.order import Work, paint
from tools.env import Env
from tools.errors import Invalid, VendorFailed
from tools.media.sandbox import run_in_child
from tools.media.sizes import read_size
from tools.models.catalog import Units
from tools.models.prompt_words import not_understood, read_wording

MODEL = "sketch-1"
PNG = "image/png"
KINDS: tuple[ImageOpKind, ...] = ("generate", "edit", "inpaint", "outpaint", "variation", "upscale")
SMALLEST, LARGEST, UPSCALED = 64, 2048, 4096
"""Sides in pixels: the least of any image, the most of a painted one, the most of an upscaled one."""
SIZES = ["1024x1024", "1536x1024", "1024x1536", "512x512", "2048x2048"]
CHILD_SECONDS = 60.0
TICK_SECONDS = 2.0


class Request(NamedTuple):
    """An image to paint, and what of the request is not followed."""

    work: Work
    adjustments: list[str]


class Sketch:
    """The provider. Equal prompt, seed, size and images give equal bytes."""

    id = "sketch"
    free = True
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        """Whether the model (None: the default one) does this kind of operation."""
        return kind in KINDS and model in (None, MODEL)

    def capabilities(self) -> list[Capability]:
        """All kinds, each with the sizes of `SIZES`, seed and negative prompt."""
        return [Capability(kind=kind, model=MODEL, sizes=SIZES, seed=True, negative_prompt=True) for kind in KINDS]

    def adjustments(self, op: ImageOp) -> list[str]:
        """What of the op is not followed, a sentence each."""
        start, mask = op.start_image, op.mask
        scaled = mask and start and (mask.width, mask.height) != (start.width, start.height)
        strange = not_understood(op.negative_prompt) if op.negative_prompt else []
        notes = (
            (op.references, "reference images are not used"),
            (op.quality, "quality is not used"),
            (mask and op.kind != "inpaint", f"the mask is not used by {op.kind}"),
            (start and op.kind == "generate", "the start image is not used by generate"),
            (strange, f"of the negative prompt these words are not understood: {', '.join(strange)}"),
            (scaled, "the mask was scaled to the size of the start image"),
        )
        return [*_size(op)[1], *(sentence for applies, sentence in notes if applies)]

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        """No units: the provider is free."""
        return {}, {}

    async def prepare(self, op: ImageOp, env: Env) -> Request:
        """The image to paint.

        Fails: Invalid when an image that the kind needs is missing, or the mask has another aspect ratio.
        """
        check_images(op)
        start = op.start_image if op.kind != "generate" else None
        work = Work(
            kind=op.kind,
            prompt=op.prompt,
            negative=op.negative_prompt,
            size=_size(op)[0],
            seed=op.seed or 0,
            start=start.data if start else None,
            mask=op.mask.data if op.mask and op.kind == "inpaint" else None,
        )
        return Request(work, self.adjustments(op))

    async def send(self, request: Request, env: Env, on_progress: OnProgress) -> ProviderResult:
        """Paint in the child process and report progress with previews; takes at least `SKETCH_SECONDS`.

        Fails: VendorFailed when a given image cannot be read · Unavailable when the child died.
        """
        work, adjustments = request
        began, seconds = time.monotonic(), env.settings.sketch_seconds
        first, *later = ticks(seconds)
        await _sleep_until(began + first * seconds)
        await on_progress(first)
        try:
            painted = await run_in_child(paint, work, seconds=CHILD_SECONDS)
        except Invalid as error:
            raise VendorFailed(error.message, failure="invalid", provider_code=error.code) from error
        for number, fraction in enumerate(later):
            await _sleep_until(began + fraction * seconds)
            preview = painted.previews[number * len(painted.previews) // len(later)]
            await on_progress(fraction, preview_bytes=preview)
        await _sleep_until(began + seconds)
        return ProviderResult(
            data=painted.data,
            mime=painted.mime,
            provider_meta={
                "label": "sketch: painted by the built-in painter, not by a vendor's model",
                "understood": list(read_wording(work.prompt, work.negative).words),
            },
            usage={"images": 1},
            adjustments=adjustments + (["sent as JPEG, for its weight"] if painted.mime != PNG else []),
        )


adapter = Sketch()


def ticks(seconds: float) -> list[float]:
    """The fractions of the time at which progress is reported: four, or one every `TICK_SECONDS`."""
    count = max(4, math.ceil(seconds / TICK_SECONDS))
    return [(i + 1) / (count + 1) for i in range(count)]


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def _size(op: ImageOp) -> tuple[tuple[int, int], list[str]]:
    """Width and height of the result in pixels, and a sentence if they differ from the requested size."""
    asked = read_size(op.size) if op.size else None
    start = (op.start_image.width, op.start_image.height) if op.start_image and op.kind != "generate" else None
    if start is None or op.kind not in ("inpaint", "outpaint", "upscale"):
        if asked or start is None:
            width, height = (min(max(side, SMALLEST), LARGEST) for side in asked or (1024, 1024))
        else:
            factor = min(1.0, LARGEST / max(start))
            width, height = (max(1, round(side * factor)) for side in start)
    elif op.kind == "inpaint":
        width, height = start
    elif op.kind == "upscale":
        factor = max(1.0, min(2.0, UPSCALED / max(start)))
        width, height = (round(side * factor) for side in start)
    else:
        width, height = (max(sides) for sides in zip(asked or (0, 0), start, strict=True))
        if (width, height) == start:
            width, height = (side * 3 // 2 for side in start)
    size, becomes = (width, height), f"{width}x{height}"
    if asked and asked != size and (start or op.kind not in ("inpaint", "outpaint", "upscale")):
        return size, [f"size {asked[0]}x{asked[1]} became {becomes}"]
    if start and not asked and op.kind in ("edit", "variation") and size != start:
        return size, [f"the start image of {start[0]}x{start[1]} was reduced to {becomes}"]
    if start and op.kind == "upscale" and size != (start[0] * 2, start[1] * 2):
        return size, [f"upscaled to {becomes}, the largest this provider makes"]
    return size, []
