"""Colour words: what people call colours, how each looks, and which families of pixels count as it.

The painter mixes from this table, the built-in judge measures with it and pages show it, so all mean the same "teal".
Colours are sRGB triples 0..255; OKLCH (Björn Ottosson, 2020) is lightness 0..1, chroma 0..0.37, hue in degrees.
"""

import functools
import math
import re
from typing import Literal

import msgspec

Rgb = tuple[int, int, int]
Lch = tuple[float, float, float]
Family = Literal[
    "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "beige", "white", "grey", "black"
]


class Colour(msgspec.Struct, frozen=True):
    """A colour word: how it looks, and the families of pixels that count as it."""

    word: str
    rgb: Rgb
    families: frozenset[Family]

    @property
    def hex(self) -> str:
        """The colour as `#1a8585`."""
        return hex_of(self.rgb)


_TABLE = """
red d62a2a red | crimson b3123a red pink | scarlet e0301e red orange | ruby 9b1140 red pink | cherry b5172f red
burgundy 6d1230 red purple pink | maroon 6e1423 red brown | wine 6b1c38 red purple pink
brick a8452f red orange brown
vermilion e34a27 red orange | cardinal b01530 red | carmine a3123a red pink | blood 8a1020 red
rust a4491f orange brown red
terracotta c4623f orange red brown | copper b4683a orange brown | bronze 94682f brown orange yellow
orange f08a24 orange | tangerine f28022 orange | amber f0a31c orange yellow | apricot f4b183 orange beige
peach f6bd97 orange beige pink | pumpkin dd6b18 orange brown | coral f0755c orange red pink
salmon ee8a76 red orange pink
marigold efa21f orange yellow | saffron eeb422 yellow orange
yellow f4d31f yellow | gold d9a520 yellow orange brown | golden dba62a yellow orange brown | lemon f6e05a yellow
mustard cf9f2a yellow orange brown | ochre c5892f yellow orange brown | ocher c5892f yellow orange brown
honey dd9f33 yellow orange brown | canary f4e04d yellow | straw e3c878 yellow beige
wheat ead2a0 beige yellow orange
green 3d9a4a green | emerald 138a5a green teal | jade 2d9a72 green teal | mint a8dfc0 green teal
sage 9caf88 green grey yellow
olive 7a7a2c green yellow brown | lime a5d733 green yellow | moss 6a7b39 green yellow | fern 4f8a4c green
forest-green 225c36 green | pistachio b6cf92 green yellow | chartreuse bfe03a green yellow
seafoam 93d5bf green teal
avocado 5f7a35 green yellow | pine-green 1f5545 green teal
teal 1a8585 teal green blue | turquoise 35c2bd teal green blue | cyan 22bfd6 teal blue | aqua 46cfd3 teal blue
aquamarine 7fdcc4 teal green | petrol 12586b teal blue | verdigris 45a49a teal green
blue 2a62c9 blue | navy 1a2a5e blue | azure 3d93e0 blue teal | cobalt 1f4bb0 blue | indigo 33308f blue purple
sapphire 1b47a0 blue | ultramarine 2a35b0 blue purple | sky-blue 86c3ea blue teal | cerulean 2f84be blue teal
periwinkle 8f99e0 blue purple | denim 3e6394 blue | cornflower 6a91e2 blue | prussian 1c3a5c blue teal
slate 5b6b7b grey blue | steel 72879b grey blue | ice-blue cfe6f2 blue teal white grey
purple 7d3aa6 purple | violet 7a45c0 purple | lilac c3a5dc purple pink | lavender b3a2dd purple blue
mauve b58bb2 purple pink grey | plum 6e2f67 purple pink | magenta c9269c pink purple | fuchsia d82a96 pink purple
amethyst 8c5fc0 purple | orchid c86fc4 purple pink | aubergine 44203f purple | eggplant 44203f purple
mulberry 8a3166 purple pink
pink ef8fb0 pink red | rose e2738f pink red | blush f0c0bd pink red beige | raspberry bf2a5a pink red
salmon-pink f09a90 pink red
bubblegum f59ac4 pink | flamingo f28a93 pink red
brown 7b4e2d brown orange | chocolate 4f2e1c brown | coffee-brown 5b3d2a brown | sienna a15a33 brown orange red
umber 63482f brown | tan cda87a beige brown orange yellow | caramel b97a3c brown orange yellow
chestnut 7a3d24 brown red orange
mahogany 6a2a1e brown red | sepia 8a6a45 brown beige orange yellow | khaki b3a569 yellow beige green
hazel 8e7240 brown yellow
beige e3d3b4 beige white | cream f4ead0 beige white yellow | ivory f6f0de white beige
sand dcc294 beige yellow orange
ecru d6c6a4 beige | champagne ecd9b6 beige orange yellow | taupe 8d7d6e grey brown beige
white f5f4f0 white beige grey | pearl ebe6dd white beige grey | alabaster f0ebe2 white beige
snow-white f6f8fb white blue grey
grey 85878a grey | gray 85878a grey | silver bcc1c6 grey white | charcoal 33373c grey black | ash a9a8a4 grey
graphite 474a4f grey black | smoke 8d9299 grey | black 15161a black | jet 111216 black | ebony 221c1a black brown
onyx 15181b black
"""


def rgb_of_hex(code: str) -> Rgb:
    """The colour of six hexadecimal digits."""
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def hex_of(rgb: Rgb) -> str:
    """The colour as `#1a8585`."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _read_table() -> dict[str, Colour]:
    entries = (entry.split() for entry in re.split(r"[|\n]", _TABLE) if entry.strip())
    return {
        word.replace("-", " "): Colour(word.replace("-", " "), rgb_of_hex(code), frozenset(families))  # type: ignore[arg-type]
        for word, code, *families in entries
    }


COLOURS: dict[str, Colour] = _read_table()
"""Every colour word by its spelling; plural and "-ish" forms are folded by `colour_named`."""


def colour_named(word: str) -> Colour | None:
    """The colour a single lower-case word names ("reds", "bluish" and "reddish" included), or None."""
    for spelling in (word, word.removesuffix("s"), word.removesuffix("ish"), word.removesuffix("ish") + "e"):
        if spelling in COLOURS:
            return COLOURS[spelling]
    return COLOURS["red"] if word == "reddish" else None


@functools.lru_cache(maxsize=1 << 16)
def oklch(rgb: Rgb) -> Lch:
    """sRGB to OKLCH."""
    r, g, b = (_linear(channel / 255) for channel in rgb)
    l_ = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    m_ = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    s_ = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    lightness = 0.2104542553 * l_ + 0.7936177850 * m_ - 0.0040720468 * s_
    a = 1.9779984951 * l_ - 2.4285922050 * m_ + 0.4505937099 * s_
    bb = 0.0259040371 * l_ + 0.7827717662 * m_ - 0.8086757660 * s_
    return lightness, math.hypot(a, bb), math.degrees(math.atan2(bb, a)) % 360


def rgb_of(lch: Lch) -> Rgb:
    """OKLCH to sRGB; chroma gives way until the colour can be shown."""
    lightness, chroma, hue = min(max(lch[0], 0.0), 1.0), max(lch[1], 0.0), math.radians(lch[2])
    for _ in range(24):
        channels = _unclipped(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
        if all(-0.002 <= channel <= 1.002 for channel in channels):
            break
        chroma *= 0.9
    r, g, b = (round(255 * min(max(channel, 0.0), 1.0)) for channel in channels)
    return r, g, b


def family_of(rgb: Rgb) -> Family:
    """What most people would call this colour."""
    lightness, chroma, hue = oklch(rgb)
    if lightness < 0.24 or (chroma < 0.03 and lightness < 0.36):
        return "black" if chroma < 0.055 else _hue_family(lightness, chroma, hue)
    if chroma < 0.022 or (chroma < 0.032 and 120 <= hue <= 300):
        return "white" if lightness > 0.92 else "grey"
    if 35 <= hue < 112 and chroma < 0.09 and lightness > 0.72:
        return "white" if lightness > 0.95 and chroma < 0.03 else "beige"
    return _hue_family(lightness, chroma, hue)


def _hue_family(lightness: float, chroma: float, hue: float) -> Family:
    if 35 <= hue < 100 and (lightness < (0.6 if hue < 75 else 0.55) or chroma < 0.06):
        return "brown"
    if (hue >= 340 or hue < 35) and lightness > 0.7:
        return "pink"
    limits: tuple[tuple[int, Family], ...] = (
        (10, "pink" if lightness > 0.55 else "red"),
        (37, "red"),
        (73, "orange"),
        (112, "yellow"),
        (160, "green"),
        (214, "teal"),
        (283, "blue"),
        (328 if lightness > 0.5 else 338, "purple"),
        (360, "pink"),
    )
    return next(family for limit, family in limits if hue < limit)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * max(channel, 0.0) ** (1 / 2.4) - 0.055


def _unclipped(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    l_ = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m_ = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s_ = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_),
        _gamma(-1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_),
        _gamma(-0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_),
    )
