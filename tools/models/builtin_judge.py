"""The built-in judge: it measures pixels and holds them against what the prompt's words can be held to.

It recognises no objects and says so. Everything here runs in the image child. A criterion is something that was
measured; what cannot be measured is named in a note and not judged. Lightness and chroma are OKLCH's.
"""

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
from PIL import Image, ImageChops, ImageFilter, ImageOps, ImageStat

from tools.media.colours import COLOURS, Family, family_of, oklch
from tools.media.masks import area_to_change
from tools.media.sizes import read_size, same_shape
from tools.models.prompt_words import Wording, names_only_a_colour, read_wording
from tools.rows import Criterion, Kind, Verdict

ABOUT = "Judged by the built-in judge: it measures pixels and does not recognise objects."
SIDE = 96
"""Images are looked at in this size: enough for light and colour, and quick."""
SHOWN, DOMINANT, TRACE = 0.03, 0.10, 0.008
"""Shares of the image that make a colour present, make it carry the image, and make a small thing's colour visible."""
UNWANTED = 0.10
_WHOLE = frozenset(
    {"abstract", "sky", "background", "sea", "lake", "water", "desert", "hill", "forest", "mountain", "space"}
)
"""Bound to one of these, a colour is expected on a large part of the image."""


class JudgeInput(msgspec.Struct, frozen=True, kw_only=True):
    """An image and what was asked for; `start` and `mask` are what it was made from."""

    prompt: str
    kind: Kind
    image: bytes
    negative: str | None = None
    size: str | None = None
    start: bytes | None = None
    mask: bytes | None = None


class Measurements(msgspec.Struct, frozen=True):
    """What was measured. `families` maps a colour family to its share of the image; the rest is 0..1 or near it."""

    width: int
    height: int
    families: dict[Family, float]
    lightness: float
    contrast: float
    chroma: float
    vivid: float
    """Share of strongly coloured pixels."""
    warmth: float
    """Above 0 warm colours prevail, below it cool ones."""
    detail: float
    sharpness: float
    """The strongest edge as a share of the span from the darkest to the lightest."""
    symmetry: float


class Finding(msgspec.Struct, frozen=True):
    """A criterion, and what to ask for when it is not met."""

    requirement: str
    met: bool
    evidence: str
    wish: str


def judge(question: JudgeInput) -> Verdict:
    """The verdict: "pass" when every criterion is met."""
    image = _opened(question.image)
    looks = measure(image)
    wording = read_wording(question.prompt, question.negative)
    findings = [
        *_basic(looks, question),
        *_colours(looks, wording),
        *_tones(looks, wording),
        *_likeness(image, question),
    ]
    failed = [finding for finding in findings if not finding.met]
    return Verdict(
        judgment="fail" if failed else "pass",
        notes=[ABOUT, *(f"{f.requirement}: {f.evidence}." for f in failed), *_unjudged(wording)],
        tags=_tags(looks),
        criteria=[Criterion(f.requirement, f.met, f.evidence) for f in findings],
        retry_suggestion=" ".join(dict.fromkeys(f.wish for f in failed)) if failed else None,
    )


def measure(image: Image.Image) -> Measurements:
    """Light, colour, detail and balance of an image."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    colours = Counter(_rounded(pixel) for pixel in _pixels(small))
    total = SIDE * SIDE
    families: Counter[Family] = Counter()
    lightness = chroma = warmth = vivid = squares = 0.0
    for rgb, count in colours.items():
        light, strength, hue = oklch(rgb)
        families[family_of(rgb)] += count
        lightness += light * count
        squares += light * light * count
        chroma += strength * count
        vivid += count if strength > 0.13 else 0
        warmth += strength * math.cos(math.radians(hue - 55)) * count
    mean = lightness / total
    edges, span = _edges(image)
    strength_of = ImageStat.Stat(edges)
    return Measurements(
        width=image.width,
        height=image.height,
        families={family: count / total for family, count in families.most_common()},
        lightness=mean,
        contrast=math.sqrt(max(squares / total - mean * mean, 0.0)),
        chroma=chroma / total,
        vivid=vivid / total,
        warmth=warmth / total,
        detail=strength_of.mean[0] / 255,
        sharpness=strength_of.extrema[0][1] / span,
        symmetry=_correlation(small, ImageOps.mirror(small)),
    )


def _basic(looks: Measurements, question: JudgeInput) -> Iterator[Finding]:
    blank = looks.contrast < 0.012 and looks.detail < 0.004
    yield Finding(
        "The image is not blank",
        not blank,
        f"lightness varies by {looks.contrast:.2f} over the image",
        "Show a clear subject.",
    )
    if not blank:
        yield Finding(
            "The image is sharp",
            looks.sharpness >= 0.1,
            f"the strongest edge has {_percent(looks.sharpness)} of its contrast",
            "Render crisp, well defined edges.",
        )
    if question.size and question.kind in ("generate", "edit", "variation"):
        wanted, got = read_size(question.size), (looks.width, looks.height)
        close = same_shape(wanted, got) and abs(wanted[0] - got[0]) <= 0.02 * wanted[0]
        yield Finding(
            f"The size is {question.size}", close, f"it is {got[0]}x{got[1]}", f"Make it {question.size} pixels large."
        )


def _colours(looks: Measurements, wording: Wording) -> Iterator[Finding]:
    colourless = {"monochrome", "sepia"} & {*wording.tone}
    things = {word: thing for thing, word in wording.bound.items()}
    for word in wording.colours:
        if colourless or not names_only_a_colour(word):
            continue
        thing = things.get(word)
        needed = DOMINANT if thing in _WHOLE else TRACE if thing else SHOWN
        share = _share(looks, COLOURS[word].families)
        yield Finding(
            f"{word.capitalize()} is {'carried by the image' if needed == DOMINANT else 'visible'}",
            share >= needed,
            f"{word} covers {_percent(share)}; most is {_most(looks)}",
            f"Let {word} {'carry the image' if needed == DOMINANT else 'be clearly visible'}.",
        )
    wanted = {family for word in wording.colours for family in COLOURS[word].families}
    for word in sorted(wording.excluded & COLOURS.keys()):
        families = COLOURS[word].families - wanted
        share = _share(looks, families)
        yield Finding(
            f"There is no {word}", share <= UNWANTED, f"{word} covers {_percent(share)}", f"Use no {word} at all."
        )


_Rule = tuple[Callable[[Measurements], bool], Callable[[Measurements], str]]


def _light(looks: Measurements) -> str:
    return f"mean lightness is {looks.lightness:.2f}"


def _colourfulness(looks: Measurements) -> str:
    return f"mean chroma is {looks.chroma:.3f}, {_percent(looks.vivid)} is strongly coloured"


def _spread(looks: Measurements) -> str:
    return f"lightness varies by {looks.contrast:.2f}"


def _temperature(looks: Measurements) -> str:
    return f"warmth is {looks.warmth:+.3f}"


_RULES: dict[str, _Rule] = {
    "dark": (lambda looks: looks.lightness < 0.52, _light),
    "bright": (lambda looks: looks.lightness > 0.52, _light),
    "night": (lambda looks: looks.lightness < 0.58, _light),
    "eerie": (lambda looks: looks.lightness < 0.62, _light),
    "warm": (lambda looks: looks.warmth > 0.0, _temperature),
    "cool": (lambda looks: looks.warmth < 0.0, _temperature),
    "pastel": (lambda looks: looks.lightness > 0.62 and looks.vivid < 0.25, _light),
    "neon": (lambda looks: looks.vivid > 0.04, _colourfulness),
    "muted": (lambda looks: looks.vivid < 0.15, _colourfulness),
    "vibrant": (lambda looks: looks.chroma > 0.06 or looks.vivid > 0.12, _colourfulness),
    "monochrome": (lambda looks: looks.chroma < 0.025, _colourfulness),
    "sepia": (lambda looks: looks.vivid < 0.1 and looks.warmth > 0.015, _temperature),
    "contrast": (lambda looks: looks.contrast > 0.13, _spread),
    "soft": (lambda looks: looks.contrast < 0.24, _spread),
    "symmetrical": (lambda looks: looks.symmetry > 0.35, lambda looks: f"its halves agree by {looks.symmetry:.2f}"),
}


def _tones(looks: Measurements, wording: Wording) -> Iterator[Finding]:
    asked = (*wording.tone, *wording.mood, *wording.time, *wording.layout)
    for word in dict.fromkeys(w for w in asked if w in _RULES):
        holds, evidence = _RULES[word]
        named = "high contrast" if word == "contrast" else word
        yield Finding(f"It looks {named}", holds(looks), evidence(looks), f"Make it clearly {named}.")


def _likeness(image: Image.Image, question: JudgeInput) -> Iterator[Finding]:
    if question.start is None or question.kind == "generate":
        return
    start = _opened(question.start)
    match question.kind:
        case "inpaint":
            yield from _inside_and_outside(image, start, question.mask)
        case "outpaint":
            yield _kept_middle(image, start)
        case "upscale":
            away = _difference(image, start)
            larger = image.width > start.width
            evidence = f"it is {image.width}x{image.height} and differs by {_percent(away)}"
            yield Finding(
                "It is the start image, larger", larger and away < 0.06, evidence, "Only enlarge the start image."
            )
        case _:
            yield from _like_but_another(image, start, question.kind)


def _like_but_another(image: Image.Image, start: Image.Image, kind: Kind) -> Iterator[Finding]:
    away = _difference(image, start)
    yield Finding(
        "It is not the start image again",
        away > 0.015,
        f"it differs from the start image by {_percent(away)}",
        "Change the start image clearly.",
    )
    structure = _correlation(*(picture.resize((SIDE, SIDE), Image.Resampling.BOX) for picture in (image, start)))
    if kind == "edit":
        yield Finding(
            "It keeps the layout of the start image",
            structure > 0.3,
            f"light and dark agree by {structure:.2f}",
            "Keep the layout of the start image.",
        )
        return
    shared = _shared_palette(image, start)
    yield Finding(
        "It is like the start image",
        shared > 0.25 or structure > 0.3,
        f"{_percent(shared)} of the colours are shared",
        "Stay close to the start image in colour and subject.",
    )


def _inside_and_outside(image: Image.Image, start: Image.Image, mask: bytes | None) -> Iterator[Finding]:
    if mask is None or image.size != start.size:
        yield Finding(
            "It has the size of the start image",
            image.size == start.size,
            f"it is {image.width}x{image.height}",
            f"Keep the size {start.width}x{start.height}.",
        )
        return
    area = area_to_change(Image.open(io.BytesIO(mask))).resize(image.size, Image.Resampling.NEAREST)
    away = ImageChops.difference(image, start).convert("L")
    outside, inside = _mean(away, ImageChops.invert(area)), _mean(away, area)
    yield Finding(
        "What the mask protects is as it was",
        outside < 0.02,
        f"outside the mask it differs by {_percent(outside)}",
        "Change nothing outside the mask.",
    )
    yield Finding(
        "What the mask opens is new",
        inside > 0.015 or area.getbbox() is None,
        f"inside the mask it differs by {_percent(inside)}",
        "Paint the masked area anew.",
    )


def _kept_middle(image: Image.Image, start: Image.Image) -> Finding:
    left, top = (image.width - start.width) // 2, (image.height - start.height) // 2
    grown = left >= 0 and top >= 0 and image.size != start.size
    middle = image.crop((left, top, left + start.width, top + start.height)) if grown else image
    away = _difference(middle, start)
    return Finding(
        "The start image is in the middle of a larger one",
        grown and away < 0.04,
        f"it is {image.width}x{image.height}, its middle differs by {_percent(away)}",
        "Extend the canvas around the unchanged start image.",
    )


def _unjudged(wording: Wording) -> list[str]:
    moods = [word for word in (*wording.mood, *wording.layout, *wording.medium) if word not in _RULES]
    unjudged = [*wording.subject, *wording.weather, *wording.season, *moods]
    return [f"Not judged, because it cannot be measured: {', '.join(dict.fromkeys(unjudged))}."] if unjudged else []


def _tags(looks: Measurements) -> list[str]:
    tags = [str(family) for family, share in looks.families.items() if share >= 0.06][:5]
    tags += ["warm"] if looks.warmth > 0.02 else ["cool"] if looks.warmth < -0.02 else []
    tags += ["dark"] if looks.lightness < 0.42 else ["bright"] if looks.lightness > 0.72 else []
    tags += ["high contrast"] if looks.contrast > 0.22 else ["soft"] if looks.contrast < 0.09 else []
    tags += ["vivid"] if looks.vivid > 0.3 else ["muted"] if looks.chroma < 0.04 else []
    tags += ["detailed"] if looks.detail > 0.09 else ["plain"] if looks.detail < 0.02 else []
    tags += ["symmetrical"] if looks.symmetry > 0.75 else []
    shape = looks.width / looks.height
    return [*tags, "square" if 0.95 < shape < 1.05 else "landscape" if shape > 1 else "portrait"]


def _opened(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def _pixels(image: Image.Image) -> Iterator[tuple[int, int, int]]:
    data = image.tobytes()
    return zip(data[0::3], data[1::3], data[2::3], strict=True)


def _rounded(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """The colour on a coarser grid, so that few of them need to be named."""
    r, g, b = rgb
    return r & 0xF8 | 4, g & 0xF8 | 4, b & 0xF8 | 4


def _edges(image: Image.Image) -> tuple[Image.Image, float]:
    """How much lightness changes from pixel to pixel, at a size that noise does not survive; and its whole span."""
    grey = image.convert("L")
    grey.thumbnail((512, 512), Image.Resampling.BOX)
    darkest, lightest = ImageStat.Stat(grey).extrema[0]
    edges = ImageChops.difference(grey, grey.filter(ImageFilter.GaussianBlur(2)))
    return edges, max(lightest - darkest, 8)


def _share(looks: Measurements, families: frozenset[Family]) -> float:
    return sum(share for family, share in looks.families.items() if family in families)


def _most(looks: Measurements) -> str:
    top = list(looks.families.items())[:2]
    return " and ".join(f"{family} ({_percent(share)})" for family, share in top)


def _difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of the channels, 0..1, after bringing both to one small size."""
    small = (picture.resize((SIDE, SIDE), Image.Resampling.BOX) for picture in (a, b))
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3 / 255


def _correlation(a: Image.Image, b: Image.Image) -> float:
    """How far light and dark of two equally large images go together, -1..1; 0 for a plain one."""
    xs, ys = (list(picture.convert("L").tobytes()) for picture in (a, b))
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    both = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    own = math.sqrt(sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys))
    return both / own if own > 1e-9 else 0.0


def _shared_palette(a: Image.Image, b: Image.Image) -> float:
    first, second = (measure(picture).families for picture in (a, b))
    return sum(min(share, second.get(family, 0.0)) for family, share in first.items())


def _mean(image: Image.Image, mask: Image.Image) -> float:
    return ImageStat.Stat(image, mask).mean[0] / 255 if mask.getbbox() else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"
