"""A second image vendor for the gallery, installed as a plugin: it turns the pictures of `sketch` into linocuts."""

import asyncio
import io
from typing import cast

import numpy as np
from PIL import Image, ImageFilter

from adapters.provider import Capability, ImageOp, ImageOpKind, OnProgress, ProviderResult
from adapters.sketch.images import SIZES, Request
from adapters.sketch.images import adapter as sketch
from tools.env import Env
from tools.models.catalog import Units

INKS = {"four-inks": 4, "two-inks": 2}
PAPER = (247, 241, 228)
MARGIN = 0.035
"""Of the shorter side, left bare around the print."""
SWING = 0.07
"""How far the gouge's strokes reach into the next tone."""


class Linocut:
    id = "linocut"
    free = True
    needs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return kind == "generate" and (model is None or model in INKS)

    def capabilities(self) -> list[Capability]:
        return [
            Capability(kind="generate", model=model, sizes=SIZES, seed=True, negative_prompt=True) for model in INKS
        ]

    def adjustments(self, op: ImageOp) -> list[str]:
        return sketch.adjustments(op)

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return {}, {}

    async def prepare(self, op: ImageOp, env: Env) -> tuple[Request, int]:
        return await sketch.prepare(op, env), INKS[op.model or "four-inks"]

    async def send(self, request: tuple[Request, int], env: Env, on_progress: OnProgress) -> ProviderResult:
        drawn = await sketch.send(request[0], env, on_progress)
        data = await asyncio.to_thread(cut, drawn.data, request[1])
        return ProviderResult(data=data, mime="image/png", adjustments=drawn.adjustments)


adapter = Linocut()


def cut(data: bytes, inks: int) -> bytes:
    """The picture in that many inks on paper, its tones separated by strokes; PNG, deterministic."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB").filter(ImageFilter.GaussianBlur(3)).filter(ImageFilter.ModeFilter(9))
    tones = np.asarray(picture.convert("L"), dtype=np.float32)
    low, high = np.percentile(tones, [2, 98])
    tones = (tones - low) / max(1.0, float(high - low))
    down, across = np.mgrid[0 : tones.shape[0], 0 : tones.shape[1]]
    strokes = np.sin((down + across * 0.25 + 18 * tones) * (2 * np.pi / max(7, min(tones.shape) // 110)))
    places = np.clip((tones + SWING * strokes) * inks, 0, inks - 1e-3).astype(int)
    printed = _inks(picture, inks)[places]
    edge = round(MARGIN * min(tones.shape))
    printed[:edge], printed[-edge:], printed[:, :edge], printed[:, -edge:] = (PAPER,) * 4
    file = io.BytesIO()
    Image.fromarray(printed).save(file, "PNG")
    return file.getvalue()


def _inks(picture: Image.Image, inks: int) -> np.ndarray:
    """The picture's own colours from dark to light, the first one darkened; with two inks the second is the paper."""
    few = picture.quantize(max(inks, 4), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).convert("RGB")
    found = [cast(tuple[int, int, int], colour) for _, colour in few.getcolors() or []]
    found.sort(key=lambda colour: colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11)
    dark = tuple(part * 2 // 3 for part in found[0])
    return np.array([dark, PAPER] if inks == 2 else [dark, *found[1:inks]], dtype=np.uint8)
