"""The dominant colours of stored images, measured in their pixels."""

import math
from collections.abc import Iterable

import msgspec
from PIL import Image

from tools.env import Env
from tools.media import pixels
from tools.media.colours import COLOURS, Rgb, hex_of, oklch
from tools.media.sandbox import run_in_child
from tools.step import step

SIDE = 72
CLUSTERS = 24
NEAR = 0.08
"""Distance in OKLab below which two colours count as one."""
LEAST = 0.015
"""Share of an image below which a colour is left out."""
VIVID = 8.0
"""How much more a strong colour counts than a grey of the same area."""
MOST = 6


class Swatch(msgspec.Struct, frozen=True):
    """A colour and the share of the area that it and similar colours cover, 0..1."""

    rgb: Rgb
    share: float

    @property
    def hex(self) -> str:
        """The colour as `#1a8585`."""
        return hex_of(self.rgb)


@step("swatches.measure")
async def measure(env: Env, original_key: str) -> list[Swatch]:
    """The dominant colours of the image under that key of BUCKET, the strongest first.

    Fails: NotFound when it is gone · Invalid (`image_rejected`) · Unavailable.
    """
    return await run_in_child(dominant, await env.BUCKET.get(original_key))


def dominant(data: bytes) -> list[Swatch]:
    """The dominant colours of the image in these bytes; runs in the image child."""
    image = pixels.on_white(pixels.decode_srgb(data, SIDE))
    reduced = image.quantize(CLUSTERS, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
    table, area = reduced.getpalette() or [], image.width * image.height
    counts = [(int(count), int(index)) for count, index in reduced.getcolors() or []]  # type: ignore[arg-type]
    return merged([Swatch((table[3 * i], table[3 * i + 1], table[3 * i + 2]), n / area) for n, i in counts], MOST)


def merged(swatches: Iterable[Swatch], most: int) -> list[Swatch]:
    """At most `most` colours that look different, each with the share of those near it; saturated ones count more."""
    kept: list[Swatch] = []
    for swatch in sorted(swatches, key=lambda s: (-s.share, s.rgb)):
        near = next((n for n, other in enumerate(kept) if math.dist(_lab(swatch.rgb), _lab(other.rgb)) < NEAR), None)
        if near is None:
            kept.append(swatch)
        else:
            kept[near] = Swatch(kept[near].rgb, kept[near].share + swatch.share)
    large = [swatch for swatch in kept if swatch.share >= LEAST]
    return sorted(large, key=lambda s: (-s.share * (1 + VIVID * oklch(s.rgb)[1]), s.rgb))[:most]


def word_for(rgb: Rgb) -> str:
    """The colour word that looks most like it; hue and strength name a colour more than its lightness does."""
    lightness, *ab = _lab(rgb)
    points = {word: _lab(colour.rgb) for word, colour in COLOURS.items()}
    return min(points, key=lambda word: math.dist((lightness / 2, *ab), (points[word][0] / 2, *points[word][1:])))


def _lab(rgb: Rgb) -> tuple[float, float, float]:
    lightness, chroma, hue = oklch(rgb)
    return lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
