"""The canvas: float pixels, uneven pigment, and masks with soft or wet edges.

All positions and sizes are in units of the short side: a canvas is `wide` × `high` units, one of them 1.
"""

import functools
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from adapters.sketch.shapes import Outline
from tools.media.colours import Rgb, oklch, rgb_of

Field = npt.NDArray[np.floating[Any]]
Tint = Rgb | tuple[Rgb, Rgb]
"""One colour, or the two of a gradient from the lit to the shaded side."""


AREA = 420_000
"""The most pixels of a canvas; larger images are enlarged from it before paper and grain are added."""


class Canvas:
    """`x` is a row, `y` a column of unit coordinates, `rgb` the pixels 0..1."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self.width, self.height, self.unit = width, height, min(width, height)
        self.wide, self.high = width / self.unit, height / self.unit
        self.rng = random.Random(seed)
        self._grains = np.random.default_rng(seed)
        self.x: Field = ((np.arange(width, dtype=np.float32) + 0.5) / self.unit)[None, :]
        self.y: Field = ((np.arange(height, dtype=np.float32) + 0.5) / self.unit)[:, None]
        self.rgb: Field = np.ones((height, width, 3), np.float32)
        self.blotch = self.noise(3, 3, octaves=4)
        self.streak = 0.6 * self.noise(5, 70) + 0.4 * self.noise(16, 160)
        self.light = (-0.5, -0.6)
        """Where light comes from, as a direction."""

    @classmethod
    def sized(cls, size: tuple[int, int], seed: int) -> "Canvas":
        """A canvas in the proportions of a picture of this size."""
        scale = min(1.0, math.sqrt(AREA / (size[0] * size[1])))
        return cls(max(48, round(size[0] * scale)), max(48, round(size[1] * scale)), seed)

    def noise(self, across: float, down: float, octaves: int = 1) -> Field:
        """Smooth noise about 0 (roughly -1..1) with so many bumps per unit."""
        total = np.zeros((self.height, self.width), np.float32)
        for octave in range(octaves):
            shape = (int(down * self.high * 2**octave) + 3, int(across * self.wide * 2**octave) + 3)
            lattice = self._grains.standard_normal(shape, dtype=np.float32)
            smooth = Image.fromarray(lattice).resize((self.width, self.height), Image.Resampling.BICUBIC)
            total += np.asarray(smooth) * (0.55**octave)
        return total * 0.62

    def ramp(self, stops: Sequence[Rgb], along: Field) -> Field:
        """A gradient through the colours as `along` runs from 0 to 1, mixed in OKLab."""
        table = _ramp_table(tuple(stops))
        return np.asarray(table[np.clip(along * 255, 0, 255).astype(np.uint8)])

    def wash(self, mask: Field, tint: Field | Rgb, opacity: float = 1.0) -> None:
        """Blend a colour or a field of colours into the canvas by the mask (0 to 1)."""
        rows = np.flatnonzero(mask.max(axis=1) > 0.002)
        if not len(rows):
            return
        cut = slice(int(rows[0]), int(rows[-1]) + 1)
        part, amount = self.rgb[cut], (mask[cut] * opacity)[..., None]
        colour = tint[cut] if isinstance(tint, np.ndarray) else as_float(tint)
        part += (colour - part) * amount

    def below(self, line: Field) -> Field:
        """A mask of everything under a line of heights, one per column."""
        return np.asarray(np.clip((self.y - line[None, :]) * self.unit + 0.5, 0, 1))

    def pigment(self, tint: Field, strength: float = 1.0) -> Field:
        """The colours made uneven like paint, in patches and streaks."""
        uneven = 1 + (0.06 * strength) * self.blotch + (0.045 * strength) * self.streak
        return tint * uneven[..., None]

    def fill(
        self, outlines: Sequence[Outline], tint: Tint, opacity: float = 1.0, soft: float = 0.0, wet: float = 0.0
    ) -> None:
        """Paint the outlines. `soft` blurs their edge (units), `wet` darkens it as drying water does.

        With two colours the surface runs from the first, towards the light, to the second.
        """
        drawn = self._drawn(outlines, soft)
        if drawn is None:
            return
        mask, top, left = drawn
        rows, columns = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
        part = self.rgb[rows, columns]
        colour = self._surface(tint, rows, columns)
        if wet:
            blurred = ImageFilter.GaussianBlur(max(1.5, 0.012 * self.unit))
            inner = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).filter(blurred), np.float32) / 255
            colour = colour * (1 - wet * np.clip(mask - inner, 0, 1))[..., None]
        part += (colour - part) * (mask * opacity)[..., None]

    def _surface(self, tint: Tint, rows: slice, columns: slice) -> Field:
        y, x = self.y[rows], self.x[:, columns]
        pair = (tint, tint) if len(tint) == 3 else tint
        dx, dy = self.light
        lit = (x - x.mean()) * dx / max(float(np.ptp(x)), 1e-6) + (y - y.mean()) * dy / max(float(np.ptp(y)), 1e-6)
        table = _ramp_table(pair)
        base = table[np.clip((0.5 - lit + 0.12 * self.blotch[rows, columns]) * 255, 0, 255).astype(np.uint8)]
        uneven = 1 + 0.05 * self.blotch[rows, columns] + 0.05 * self.streak[rows, columns]
        return np.asarray(base * uneven[..., None])

    def _drawn(self, outlines: Sequence[Outline], soft: float) -> tuple[Field, int, int] | None:
        xs = [x for outline in outlines for x, _ in outline]
        ys = [y for outline in outlines for _, y in outline]
        if not xs:
            return None
        margin = 3 * soft * self.unit + 2
        left, top = (max(0, math.floor(min(v) * self.unit - margin)) for v in (xs, ys))
        right = min(self.width, math.ceil(max(xs) * self.unit + margin))
        bottom = min(self.height, math.ceil(max(ys) * self.unit + margin))
        if right - left < 1 or bottom - top < 1:
            return None
        image = Image.new("L", (2 * (right - left), 2 * (bottom - top)))
        draw, scale = ImageDraw.Draw(image), 2 * self.unit
        for outline in outlines:
            draw.polygon([(x * scale - 2 * left, y * scale - 2 * top) for x, y in outline], fill=255)
        image = image.reduce(2)
        if soft:
            image = image.filter(ImageFilter.GaussianBlur(soft * self.unit))
        return np.asarray(image, np.float32) / 255, top, left

    def glow(self, x: float, y: float, radius: float, tint: Rgb, opacity: float) -> None:
        """Add light that fades with the distance from a point; it only brightens."""
        distance = ((self.x - x) ** 2 + (self.y - y) ** 2) / (radius * radius)
        amount = np.exp(-distance) * opacity
        self.rgb += np.maximum(as_float(tint) - self.rgb, 0) * amount[..., None]

    def image(self) -> Image.Image:
        """The canvas as an RGB image."""
        return Image.fromarray((np.clip(self.rgb, 0, 1) * 255 + 0.5).astype(np.uint8))


def shifted(field: Field, down: int, right: int) -> Field:
    """The field shifted by this many pixels, its edge repeated over the gap."""
    reach = max(abs(down), abs(right))
    padded = np.pad(field, reach, mode="edge")
    top, left = reach - down, reach - right
    return padded[top : top + field.shape[0], left : left + field.shape[1]]


def grey_of(rgb: Field) -> Field:
    """Luma of every pixel, 0..1."""
    return np.asarray(0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2])


def as_float(rgb: Rgb) -> Field:
    """The colour as three floats, 0 to 1."""
    return np.array(rgb, np.float32) / 255


def mixed(a: Rgb, b: Rgb, share: float) -> Rgb:
    """`share` of the second colour in the first."""
    if share <= 0:
        return a
    index = min(255, int(share * 255))
    r, g, b_ = (_ramp_table((a, b))[index] * 255 + 0.5).astype(int).tolist()
    return r, g, b_


def lighter(rgb: Rgb, by: float) -> Rgb:
    """The colour lifted (or, below 0, lowered) in lightness; its hue leans to yellow in light and to blue in shade."""
    lightness, chroma, hue = oklch(rgb)
    lean = (90.0 if by > 0 else 270.0) - hue
    turn = math.sin(math.radians(lean)) * min(abs(by), 0.3) * 40
    return rgb_of((lightness + by, chroma * (1 - 0.4 * abs(by)), hue + turn))


@functools.lru_cache(maxsize=4096)
def _ramp_table(stops: tuple[Rgb, ...]) -> Field:
    labs = np.array(
        [(light, c * math.cos(math.radians(h)), c * math.sin(math.radians(h))) for light, c, h in map(oklch, stops)]
    )
    at = np.linspace(0, len(stops) - 1, 256)
    lab = np.stack([np.interp(at, np.arange(len(stops)), labs[:, i]) for i in range(3)], axis=1)
    l_ = (lab @ np.array([1.0, 0.3963377774, 0.2158037573])) ** 3
    m_ = (lab @ np.array([1.0, -0.1055613458, -0.0638541728])) ** 3
    s_ = (lab @ np.array([1.0, -0.0894841775, -1.2914855480])) ** 3
    red = 4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_
    green = -1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_
    blue = -0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_
    linear = np.clip(np.stack([red, green, blue], axis=1), 0, 1)
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055), np.float32)
