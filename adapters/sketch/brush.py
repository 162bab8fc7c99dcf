"""The finish: brush strokes over the underpainting, paper, grain, darker corners, and the provider's mark."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from adapters.sketch.canvas import Canvas, Field
from tools.models.prompt_words import Wording

_TURNS = 24
_TILE = 512
MARK = "sketch"


def brush_over(c: Canvas, boldness: float, flow: float) -> None:
    """Cover the canvas with short strokes in the colours beneath, along its forms, except for fine detail.

    `boldness` 1 is gouache, 2 thick oil; `flow` is the angle that plain areas are brushed in.
    """
    under = c.rgb.copy()
    angle, busy = _forms(c, flow)
    small = _floats(c.image().filter(ImageFilter.GaussianBlur(1.2)))
    for size, spacing, limit in ((0.075, 0.038, 0.10), (0.040, 0.021, 0.22)):
        length = size * (0.75 + 0.25 * boldness)
        _strokes(c, small, angle, busy, length, spacing, limit)
    keep = np.clip(busy * 3.2 - 0.2, 0, 1)[..., None] * max(0.0, 1.15 - 0.35 * boldness)
    c.rgb += (under - c.rgb) * keep


def _forms(c: Canvas, flow: float) -> tuple[Field, Field]:
    """For every pixel the direction of strokes in radians, and how much detail there is, 0 to 1."""
    grey = c.image().convert("L")
    small = grey.resize((max(8, c.width // 4), max(8, c.height // 4)), Image.Resampling.BOX)
    gy, gx = np.gradient(_floats(small.filter(ImageFilter.GaussianBlur(1.0))))
    rows, columns = small.height, small.width
    padded = [np.pad(part, 2, mode="edge") for part in (gx * gx, gy * gy, gx * gy)]
    shifts = [(i, j) for i in range(5) for j in range(5)]
    near = ([part[i : i + rows, j : j + columns] for i, j in shifts] for part in padded)
    xx, yy, xy = (np.asarray(np.mean(part, axis=0), np.float32) for part in near)
    along = np.arctan2(2 * xy, xx - yy) + math.pi
    share = np.clip(np.sqrt(np.maximum(xx + yy, 0)) * 30, 0, 1)
    rise = share * np.sin(along) + (1 - share) * math.sin(2 * flow)
    run = share * np.cos(along) + (1 - share) * math.cos(2 * flow)
    detail = np.abs(_floats(grey) - _floats(grey.filter(ImageFilter.GaussianBlur(2.2))))
    busy = Image.fromarray((np.clip(detail * 6, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(3))
    angle = Image.fromarray(np.asarray(np.arctan2(rise, run) / 2, np.float32))
    return np.asarray(angle.resize((c.width, c.height), Image.Resampling.NEAREST)), _floats(busy)


def _floats(image: Image.Image) -> Field:
    return np.asarray(image, np.float32) / 255


def _strokes(c: Canvas, colours: Field, angle: Field, busy: Field, length: float, spacing: float, limit: float) -> None:
    brushes = _brushes(max(5, int(length * c.unit)), c.rng)
    step = max(2.0, spacing * c.unit)
    places = [
        (int(y + c.rng.uniform(-0.5, 0.5) * step), int(x + c.rng.uniform(-0.5, 0.5) * step))
        for y in np.arange(0, c.height + step, step)
        for x in np.arange(0, c.width + step, step)
    ]
    c.rng.shuffle(places)
    for row, column in places:
        r, k = min(max(row, 0), c.height - 1), min(max(column, 0), c.width - 1)
        if busy[r, k] > limit:
            continue
        turn = int((angle[r, k] + c.rng.gauss(0, 0.12)) / math.pi * _TURNS) % _TURNS
        alpha, relief = brushes[turn][c.rng.randrange(len(brushes[turn]))]
        _press(c.rgb, alpha, relief, row, column, colours[r, k] * (1 + c.rng.gauss(0, 0.022)))


def _press(rgb: Field, alpha: Field, relief: Field, row: int, column: int, colour: Field) -> None:
    top, left = row - alpha.shape[0] // 2, column - alpha.shape[1] // 2
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + alpha.shape[0], rgb.shape[0]), min(left + alpha.shape[1], rgb.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    cut = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    part = rgb[y0:y1, x0:x1]
    part += (colour - part) * alpha[cut] + relief[cut]


def _brushes(length: int, rng: random.Random) -> list[list[tuple[Field, Field]]]:
    """Stamps of a flat bristle brush in `_TURNS` directions: opacity, and relief in the light."""
    width = max(3, round(length * 0.34))
    kinds = [_bristles(length, width, np.random.default_rng(rng.randrange(1 << 30))) for _ in range(3)]
    turned: list[list[tuple[Field, Field]]] = []
    for i in range(_TURNS):
        degrees = -180.0 * i / _TURNS
        turned.append([(_rotated(alpha, degrees), _rotated(relief, degrees)) for alpha, relief in kinds])
    return turned


def _bristles(length: int, width: int, grains: np.random.Generator) -> tuple[Field, Field]:
    t = np.linspace(-1, 1, length, dtype=np.float32)[None, :]
    s = np.linspace(-1, 1, width, dtype=np.float32)[:, None]
    ragged = grains.uniform(0.72, 1.0, (width, 1)).astype(np.float32)
    ends = np.clip((ragged - np.abs(t)) * 7, 0, 1) * np.clip((1.05 - np.abs(s)) * 4, 0, 1)
    hairs = grains.uniform(0.45, 1.0, (width, 1)).astype(np.float32)
    alpha = ends * hairs * (0.95 - 0.25 * (t + 1) / 2)
    relief = ends * (grains.standard_normal((width, 1)).astype(np.float32) * 0.011)
    return alpha * 0.8, relief


def _rotated(stamp: Field, degrees: float) -> Field:
    image = Image.fromarray(stamp).rotate(degrees, Image.Resampling.BILINEAR, expand=True)
    return np.asarray(image, np.float32)[..., None]


def finish(image: Image.Image, size: tuple[int, int], wording: Wording, seed: int) -> Image.Image:
    """The picture at its final size, on paper with grain, a little darker towards the corners."""
    width, height = size
    grains = np.random.default_rng(seed ^ 0x5EED)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
        if min(size) >= 256:
            image = image.filter(ImageFilter.UnsharpMask(1.6, 55, 2))
    tiles = np.tile(_paper(grains), (height // _TILE + 1, width // _TILE + 1))[:height, :width]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    depth = 0.14 if {"dark", "eerie", "mysterious", "dramatic"} & {*wording.mood, *wording.tone} else 0.07
    corners = 1 - depth * np.clip((x * x + y * y) - 0.75, 0, 1.3)
    pixels = np.asarray(image, np.float32) * corners[..., None] + tiles[..., None]
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def _paper(grains: np.random.Generator) -> Field:
    """A square of paper texture, in levels of 255, that can be tiled without a seam."""
    tooth = grains.standard_normal((_TILE, _TILE), dtype=np.float32)
    wrapped = np.pad(np.clip(tooth * 40 + 128, 0, 255).astype(np.uint8), 8, mode="wrap")
    soft = np.asarray(Image.fromarray(wrapped).filter(ImageFilter.GaussianBlur(1.2)), np.float32)[8:-8, 8:-8]
    return (soft - np.roll(soft, (1, 1), (0, 1))) * 0.42 + tooth * 1.5


def sign(image: Image.Image) -> None:
    """Write the provider's mark small into the lower right corner, light or dark against what is there."""
    width, height = image.size
    size = max(8, round(min(width, height) * 0.021))
    font = ImageFont.load_default(size)
    x0, y0, x1, y1 = font.getbbox(MARK)
    wide, high, lean = math.ceil(x1 - x0) + 2, math.ceil(y1 - y0) + 2, 0.22
    text = Image.new("L", (wide + round(high * lean) + 1, high))
    ImageDraw.Draw(text).text((1 - x0, 1 - y0), MARK, font=font, fill=255)
    text = text.transform(text.size, Image.Transform.AFFINE, (1, lean, -lean * high, 0, 1, 0), Image.Resampling.BICUBIC)
    left, top = width - text.width - round(size * 0.9), height - text.height - round(size * 0.8)
    under = image.convert("L").crop((left, top, left + text.width, top + text.height))
    ink, strength = ((24, 22, 28), 0.5) if np.mean(np.asarray(under)) > 115 else ((250, 246, 238), 0.6)
    image.paste(ink, (left, top), text.point(lambda value: int(value * strength)))
