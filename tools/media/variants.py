"""Variants of a delivery image: what may be asked for, how it is laid out, and in which format it is answered.

Named ones (`public`, `preview`, `thumb`) and free ones (`w=400,h=300,fit=cover`), after Cloudflare's words.
"""

import re
from typing import Literal

import msgspec

from tools.errors import Invalid

Fit = Literal["scale-down", "contain", "cover", "crop", "pad"]
Format = Literal["avif", "webp", "jpeg"]
Size = tuple[int, int]
MAX_SIDE = 4096
FITS: tuple[Fit, ...] = ("scale-down", "contain", "cover", "crop", "pad")
NUMBER = re.compile(r"[1-9][0-9]{0,3}")
QVALUE = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class Variant(msgspec.Struct, frozen=True):
    """A box of `width` × `height` pixels, one of which may be open, and how the image is put into it."""

    name: str
    """As a path segment, one spelling for each variant."""
    width: int | None
    height: int | None
    fit: Fit
    custom: bool = True


class Layout(msgspec.Struct, frozen=True):
    """The part `box` of the source (left, top, right, bottom) becomes `size`, centred on a `canvas` if there is one."""

    size: Size
    box: tuple[float, float, float, float]
    canvas: Size | None = None


NAMED = {
    name: Variant(name, side, side, "scale-down", custom=False)
    for name, side in (("public", 2048), ("preview", 1024), ("thumb", 256))
}


def parse(text: str) -> Variant:
    """The variant that a path segment names; the order of its options does not matter, nor does a stated default.

    Fails: Invalid (400, `bad_variant`) telling what is allowed.
    """
    if text in NAMED:
        return NAMED[text]
    parts = [part.partition("=") for part in text.split(",")]
    options = {name: value for name, _, value in parts}
    sides = {name: _pixels(options[name]) for name in ("w", "h") if name in options}
    fit = next((fit for fit in FITS if fit == options.get("fit", "scale-down")), None)
    known = options.keys() <= {"w", "h", "fit"} and len(options) == len(parts)
    if not known or fit is None or not sides or None in sides.values():
        raise _bad_variant()
    name = ",".join([*(f"{side}={number}" for side, number in sides.items()), f"fit={fit}"])
    return Variant(name, sides.get("w"), sides.get("h"), fit)


def _pixels(text: str) -> int | None:
    return int(text) if NUMBER.fullmatch(text) and int(text) <= MAX_SIDE else None


def _bad_variant() -> Invalid:
    return Invalid(
        f"a variant is {', '.join(NAMED)}, or w=…,h=…,fit=… with numbers from 1 to {MAX_SIDE} and a fit of"
        f" {', '.join(FITS)}",
        code="bad_variant",
        status=400,
    )


def layout(source: Size, wanted: Variant) -> Layout:
    """Where the pixels of a source of that size go. No side of the outcome is longer than `MAX_SIDE`."""
    width, height = source
    across, down = (wanted.width or MAX_SIDE) / width, (wanted.height or MAX_SIDE) / height
    fills = wanted.width is not None and wanted.height is not None
    if fills and wanted.fit in ("cover", "crop"):
        scale = max(across, down) if wanted.fit == "cover" else min(max(across, down), 1.0)
        size = (
            _side(min(wanted.width or MAX_SIDE, width * scale)),
            _side(min(wanted.height or MAX_SIDE, height * scale)),
        )
        return Layout(size, _centred(source, (size[0] / scale, size[1] / scale)))
    scale = min(across, down) if wanted.fit in ("contain", "cover", "pad") else min(across, down, 1.0)
    size = (_side(width * scale), _side(height * scale))
    canvas = (wanted.width or size[0], wanted.height or size[1]) if wanted.fit == "pad" and fills else None
    return Layout(size, (0.0, 0.0, float(width), float(height)), canvas)


def _side(pixels: float) -> int:
    return min(MAX_SIDE, max(1, round(pixels)))


def _centred(source: Size, part: tuple[float, float]) -> tuple[float, float, float, float]:
    width, height = min(part[0], source[0]), min(part[1], source[1])
    left, top = (source[0] - width) / 2, (source[1] - height) / 2
    return (left, top, left + width, top + height)


def negotiate(accept: str) -> Format:
    """The format an `Accept` header asks for: the one it rates highest, AVIF before WebP before JPEG.

    Only a format's own name speaks for AVIF and WebP, for `image/*` and `*/*` come from clients that know neither.
    """
    rated = _rated(accept)
    named: tuple[Format, ...] = ("avif", "webp")
    jpeg = rated.get("image/jpeg", rated.get("image/*", rated.get("*/*", 0.0)))
    best = max(named, key=lambda name: rated.get(f"image/{name}", 0.0))
    return best if 0 < rated.get(f"image/{best}", 0.0) >= jpeg else "jpeg"


def _rated(accept: str) -> dict[str, float]:
    rated: dict[str, float] = {}
    for entry in accept.lower().split(",")[:64]:
        media, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        rated[media] = float(quality) if QVALUE.fullmatch(quality) else 0.0
    return rated
