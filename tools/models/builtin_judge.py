"""The built-in judge: measures pixels and compares them with the words of the prompt that can be measured.

It does not recognise objects, and its notes say so. Runs in the child process for images. Each criterion was measured;
what cannot be measured is no criterion, note or tag: it lowers the coverage. Lightness and chroma are those of OKLCH.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
from PIL import Image, ImageChops, ImageFilter, ImageOps, ImageStat

from tools.media.colours import COLOURS, Family, family_of, oklch
from tools.media.masks import area_to_change
from tools.media.pixels import decode_srgb
from tools.media.sizes import read_size, same_shape
from tools.models.prompt_words import Wording, names_only_a_colour, not_understood, read_wording
from tools.models.verdicts import BUILTIN_NOTE
from tools.rows import MAIN_SUBJECT, Criterion, Kind, Verdict

SIDE = 96
"""Side in pixels to which images are reduced for measuring: enough for light and colour, and fast."""
MIDDLE = 0.52
"""The mean lightness above which an image is bright."""
SHOWN, DOMINANT, TRACE = 0.03, 0.10, 0.008
"""The least share of the image for a colour that is asked for: in general, of a background, of a small thing."""
UNWANTED = 0.10
"""The largest share of an excluded colour."""
_WHOLE = frozenset(
    {"abstract", "sky", "background", "sea", "lake", "water", "desert", "hill", "forest", "mountain", "space"}
)
"""A colour given to one of these is expected on a large part of the image."""


class JudgeInput(msgspec.Struct, frozen=True, kw_only=True):
    """An encoded image and what was asked for; `start` and `mask` are the images it was made from."""

    prompt: str
    kind: Kind
    image: bytes
    negative: str | None = None
    size: str | None = None
    start: bytes | None = None
    mask: bytes | None = None


class Measurements(msgspec.Struct, frozen=True):
    """What was measured. `families` maps a colour family to its share of the image; other values are about 0 to 1."""

    width: int
    height: int
    families: dict[Family, float]
    lightness: float
    contrast: float
    chroma: float
    vivid: float
    """Share of strongly coloured pixels."""
    warmth: float
    """Above 0 for mostly warm colours, below 0 for mostly cool ones."""
    detail: float
    sharpness: float
    """The strongest edge as a share of the range from the darkest to the lightest pixel."""
    symmetry: float


class Finding(msgspec.Struct, frozen=True):
    """A criterion, and the words to add to a retry when it is not met."""

    requirement: str
    met: bool
    evidence: str
    wish: str


def judge(question: JudgeInput) -> Verdict:
    """The verdict on an image: "pass" when every criterion is met.

    Fails: what Pillow raises for bytes that it cannot read.
    """
    image = _decoded(question.image)
    measured = measure(image)
    wording = read_wording(question.prompt, question.negative)
    asked = [*_colours(measured, wording), *_tones(measured, wording), *_compared_with_start(image, question)]
    findings = [*_basic(measured, question), *asked]
    failed = [finding for finding in findings if not finding.met]
    return Verdict(
        judgment="fail" if failed else "pass",
        notes=[BUILTIN_NOTE, *(f"{f.requirement}, but {f.evidence}." for f in failed)],
        tags=_tags(measured),
        criteria=[Criterion(f.requirement, f.met, f.evidence) for f in findings],
        retry_suggestion=" ".join(dict.fromkeys(f.wish for f in failed)) if failed else None,
        coverage=1.0 if question.kind == "upscale" else _coverage(question.prompt, wording, len(asked)),
    )


def _coverage(prompt: str, wording: Wording, judged: int) -> float:
    """How much of the prompt was judged, where `judged` of its qualities were: its subject is half of it, its qualities
    are the other half. A word that is in no table names a subject; without a subject, qualities are all there is."""
    qualities = (*wording.colours, *wording.tone, *wording.mood, *wording.time, *wording.layout, *wording.medium)
    left = sum(word not in _RULES and word not in COLOURS for word in dict.fromkeys(qualities))
    left += sum(word in COLOURS and not names_only_a_colour(word) for word in wording.colours)
    left += len({*wording.weather, *wording.season, *(wording.excluded - COLOURS.keys())})
    share = judged / (judged + left) if judged + left else None
    if not (wording.subject or wording.part or not_understood(prompt)):
        return 1.0 if share is None else share
    return 0.0 if share is None else round(MAIN_SUBJECT * share, 2)


def measure(image: Image.Image) -> Measurements:
    """Measure lightness, colour, detail and symmetry of an RGB image."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    data = small.tobytes()
    # Colours on a coarser grid, so that fewer of them must be converted.
    colours = Counter(
        (r & 0xF8 | 4, g & 0xF8 | 4, b & 0xF8 | 4) for r, g, b in zip(data[0::3], data[1::3], data[2::3], strict=True)
    )
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
    # Differences from a blurred copy, at a size where noise has been averaged out.
    grey = image.convert("L")
    grey.thumbnail((512, 512), Image.Resampling.BOX)
    darkest, lightest = ImageStat.Stat(grey).extrema[0]
    edges = ImageStat.Stat(ImageChops.difference(grey, grey.filter(ImageFilter.GaussianBlur(2))))
    return Measurements(
        width=image.width,
        height=image.height,
        families={family: count / total for family, count in families.most_common()},
        lightness=mean,
        contrast=math.sqrt(max(squares / total - mean * mean, 0.0)),
        chroma=chroma / total,
        vivid=vivid / total,
        warmth=warmth / total,
        detail=edges.mean[0] / 255,
        sharpness=edges.extrema[0][1] / max(lightest - darkest, 8),
        symmetry=_correlation(small, ImageOps.mirror(small)),
    )


def _basic(measured: Measurements, question: JudgeInput) -> Iterator[Finding]:
    blank = measured.contrast < 0.012 and measured.detail < 0.004
    yield Finding(
        "Should show something",
        not blank,
        f"has lightness that varies by {measured.contrast:.2f}",
        "Show a clear subject.",
    )
    if not blank:
        yield Finding(
            "Should be sharp",
            measured.sharpness >= 0.1,
            f"has {_percent(measured.sharpness)} of its contrast at the strongest edge",
            "Render crisp, well defined edges.",
        )
    if question.size and question.kind in ("generate", "edit", "variation"):
        wanted, got = read_size(question.size), (measured.width, measured.height)
        close = same_shape(wanted, got) and abs(wanted[0] - got[0]) <= 0.02 * wanted[0]
        yield Finding(
            f"Should be {question.size} pixels large",
            close,
            f"is {got[0]}x{got[1]}",
            f"Make it {question.size} pixels large.",
        )


def _colours(measured: Measurements, wording: Wording) -> Iterator[Finding]:
    colourless = {"monochrome", "sepia"} & {*wording.tone}
    things = {word: thing for thing, word in wording.bound.items()}
    most = " and ".join(f"{family} ({_percent(share)})" for family, share in list(measured.families.items())[:2])
    for word in wording.colours:
        if colourless or not names_only_a_colour(word):
            continue
        thing = things.get(word)
        needed = DOMINANT if thing in _WHOLE else TRACE if thing else SHOWN
        share = _share(measured, COLOURS[word].families)
        yield Finding(
            f"Should {'be mostly' if needed == DOMINANT else 'show'} {word}",
            share >= needed,
            f"has {_percent(share)} {word}; most is {most}",
            f"Let {word} {'carry the image' if needed == DOMINANT else 'be clearly visible'}.",
        )
    wanted = {family for word in wording.colours for family in COLOURS[word].families}
    for word in sorted(wording.excluded & COLOURS.keys()):
        families = COLOURS[word].families - wanted
        share = _share(measured, families)
        yield Finding(f"Should have no {word}", share <= UNWANTED, f"has {_percent(share)}", f"Use no {word} at all.")


_Rule = tuple[Callable[[Measurements], bool], Callable[[Measurements], str]]


def _light(measured: Measurements) -> str:
    return f"is {'bright' if measured.lightness > MIDDLE else 'dark'} ({measured.lightness:.2f})"


def _colourfulness(measured: Measurements) -> str:
    return f"has {_percent(measured.vivid)} strong colour (chroma {measured.chroma:.3f})"


def _spread(measured: Measurements) -> str:
    return f"has lightness that varies by {measured.contrast:.2f}"


def _temperature(measured: Measurements) -> str:
    return f"is {'warm' if measured.warmth > 0 else 'cool'} ({measured.warmth:+.3f})"


_RULES: dict[str, _Rule] = {
    "dark": (lambda image: image.lightness < MIDDLE, _light),
    "bright": (lambda image: image.lightness > MIDDLE, _light),
    "night": (lambda image: image.lightness < 0.58, _light),
    "eerie": (lambda image: image.lightness < 0.62, _light),
    "warm": (lambda image: image.warmth > 0.0, _temperature),
    "cool": (lambda image: image.warmth < 0.0, _temperature),
    "pastel": (lambda image: image.lightness > 0.62 and image.vivid < 0.25, _light),
    "neon": (lambda image: image.vivid > 0.04, _colourfulness),
    "muted": (lambda image: image.vivid < 0.15, _colourfulness),
    "vibrant": (lambda image: image.chroma > 0.06 or image.vivid > 0.12, _colourfulness),
    "monochrome": (lambda image: image.chroma < 0.025, _colourfulness),
    "sepia": (lambda image: image.vivid < 0.1 and image.warmth > 0.015, _temperature),
    "contrast": (lambda image: image.contrast > 0.13, _spread),
    "soft": (lambda image: image.contrast < 0.24, _spread),
    "symmetrical": (
        lambda image: image.symmetry > 0.35,
        lambda measured: f"has halves that agree by {measured.symmetry:.2f}",
    ),
}


def _tones(measured: Measurements, wording: Wording) -> Iterator[Finding]:
    asked = (*wording.tone, *wording.mood, *wording.time, *wording.layout)
    for word in dict.fromkeys(w for w in asked if w in _RULES):
        holds, evidence = _RULES[word]
        named = "high contrast" if word == "contrast" else word
        wanted = {"contrast": "have high contrast", "night": "look like night"}.get(word, f"look {word}")
        yield Finding(f"Should {wanted}", holds(measured), evidence(measured), f"Make it clearly {named}.")


def _compared_with_start(image: Image.Image, question: JudgeInput) -> Iterator[Finding]:
    if question.start is None or question.kind == "generate":
        return
    start = _decoded(question.start)
    match question.kind:
        case "inpaint":
            yield from _inpainted(image, start, question.mask)
        case "outpaint":
            left, top = (image.width - start.width) // 2, (image.height - start.height) // 2
            grown = left >= 0 and top >= 0 and image.size != start.size
            middle = image.crop((left, top, left + start.width, top + start.height)) if grown else image
            away = _difference(middle, start)
            yield Finding(
                "Should have the start image in the middle of a larger one",
                grown and away < 0.04,
                f"is {image.width}x{image.height}, with a middle that differs by {_percent(away)}",
                "Extend the canvas around the unchanged start image.",
            )
        case "upscale":
            away = _difference(image, start)
            larger = image.width > start.width
            evidence = f"is {image.width}x{image.height} and differs by {_percent(away)}"
            yield Finding(
                "Should be the start image, larger", larger and away < 0.06, evidence, "Only enlarge the start image."
            )
        case _:
            yield from _edited_or_varied(image, start, question.kind)


def _edited_or_varied(image: Image.Image, start: Image.Image, kind: Kind) -> Iterator[Finding]:
    away = _difference(image, start)
    yield Finding(
        "Should differ from the start image",
        away > 0.015,
        f"differs by {_percent(away)}",
        "Change the start image clearly.",
    )
    structure = _correlation(*(picture.resize((SIDE, SIDE), Image.Resampling.BOX) for picture in (image, start)))
    if kind == "edit":
        yield Finding(
            "Should keep the layout of the start image",
            structure > 0.3,
            f"agrees in light and dark by {structure:.2f}",
            "Keep the layout of the start image.",
        )
        return
    first, second = (measure(picture).families for picture in (image, start))
    shared = sum(min(share, second.get(family, 0.0)) for family, share in first.items())
    yield Finding(
        "Should be like the start image",
        shared > 0.25 or structure > 0.3,
        f"shares {_percent(shared)} of its colours",
        "Stay close to the start image in colour and subject.",
    )


def _inpainted(image: Image.Image, start: Image.Image, mask: bytes | None) -> Iterator[Finding]:
    if mask is None or image.size != start.size:
        yield Finding(
            "Should have the size of the start image",
            image.size == start.size,
            f"is {image.width}x{image.height}",
            f"Keep the size {start.width}x{start.height}.",
        )
        return
    area = area_to_change(decode_srgb(mask, None)).resize(image.size, Image.Resampling.NEAREST)
    away = ImageChops.difference(image, start).convert("L")
    outside, inside = _mean(away, ImageChops.invert(area)), _mean(away, area)
    yield Finding(
        "Should keep what the mask protects",
        outside < 0.02,
        f"differs by {_percent(outside)} outside the mask",
        "Change nothing outside the mask.",
    )
    yield Finding(
        "Should paint anew what the mask opens",
        inside > 0.015 or area.getbbox() is None,
        f"differs by {_percent(inside)} inside the mask",
        "Paint the masked area anew.",
    )


def _tags(measured: Measurements) -> list[str]:
    tags = [str(family) for family, share in measured.families.items() if share >= 0.06][:5]
    tags += ["warm"] if measured.warmth > 0.02 else ["cool"] if measured.warmth < -0.02 else []
    tags += ["dark"] if measured.lightness < 0.42 else ["bright"] if measured.lightness > 0.72 else []
    tags += ["high contrast"] if measured.contrast > 0.22 else ["soft"] if measured.contrast < 0.09 else []
    tags += ["vivid"] if measured.vivid > 0.3 else ["muted"] if measured.chroma < 0.04 else []
    tags += ["detailed"] if measured.detail > 0.09 else ["plain"] if measured.detail < 0.02 else []
    tags += ["symmetrical"] if measured.symmetry > 0.75 else []
    shape = measured.width / measured.height
    return [*tags, "square" if 0.95 < shape < 1.05 else "landscape" if shape > 1 else "portrait"]


def _decoded(data: bytes) -> Image.Image:
    return decode_srgb(data, None).convert("RGB")


def _share(measured: Measurements, families: frozenset[Family]) -> float:
    return sum(share for family, share in measured.families.items() if family in families)


def _difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of the channels, 0 to 1, after both were reduced to one small size."""
    small = (picture.resize((SIDE, SIDE), Image.Resampling.BOX) for picture in (a, b))
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3 / 255


def _correlation(a: Image.Image, b: Image.Image) -> float:
    """Correlation of the lightness of two images of one size, -1 to 1; 0 for an image of one colour."""
    xs, ys = (list(picture.convert("L").tobytes()) for picture in (a, b))
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    both = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    own = math.sqrt(sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys))
    return both / own if own > 1e-9 else 0.0


def _mean(image: Image.Image, mask: Image.Image) -> float:
    return ImageStat.Stat(image, mask).mean[0] / 255 if mask.getbbox() else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"
