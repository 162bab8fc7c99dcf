"""Variants of a delivery image: which exist, their geometry, and the format of the response.

Named variants (`public`, `preview`, `thumb`) and custom ones (`w=400,h=300,fit=cover`), with Cloudflare's options.
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
    """A box of `width` × `height` pixels, one of which may be None, and how the image is fitted into it."""

    name: str
    """The path segment; each variant has only one spelling."""
    width: int | None
    height: int | None
    fit: Fit
    custom: bool = True


class Layout(msgspec.Struct, frozen=True):
    """The part `box` (left, top, right, bottom) of the source is scaled to `size`, and centred on `canvas` if given."""

    size: Size
    box: tuple[float, float, float, float]
    canvas: Size | None = None


NAMED = {
    name: Variant(name, side, side, "scale-down", custom=False)
    for name, side in (("public", 2048), ("preview", 1024), ("thumb", 256))
}


def parse(text: str) -> Variant:
    """The variant for a path segment; options may be in any order, and a default may be given or left out.

    Fails: Invalid (400, `bad_variant`) naming what is allowed.
    """
    if text in NAMED:
        return NAMED[text]
    parts = [part.partition("=") for part in text.split(",")]
    options = {name: value for name, _, value in parts}
    sides = {
        name: int(options[name]) if NUMBER.fullmatch(options[name]) and int(options[name]) <= MAX_SIDE else None
        for name in ("w", "h")
        if name in options
    }
    fit = next((fit for fit in FITS if fit == options.get("fit", "scale-down")), None)
    known = options.keys() <= {"w", "h", "fit"} and len(options) == len(parts)
    if not known or fit is None or not sides or None in sides.values():
        raise Invalid(
            f"a variant is {', '.join(NAMED)}, or w=…,h=…,fit=… with numbers from 1 to {MAX_SIDE} and a fit of"
            f" {', '.join(FITS)}",
            code="bad_variant",
            status=400,
        )
    name = ",".join([*(f"{side}={number}" for side, number in sides.items()), f"fit={fit}"])
    return Variant(name, sides.get("w"), sides.get("h"), fit)


def layout(source: Size, wanted: Variant) -> Layout:
    """How a source of that size is cut and scaled. No side of the result is longer than `MAX_SIDE`."""
    width, height = source
    across, down = (wanted.width or MAX_SIDE) / width, (wanted.height or MAX_SIDE) / height
    fills = wanted.width is not None and wanted.height is not None
    if fills and wanted.fit in ("cover", "crop"):
        scale = max(across, down) if wanted.fit == "cover" else min(max(across, down), 1.0)
        size = (
            _side(min(wanted.width or MAX_SIDE, width * scale)),
            _side(min(wanted.height or MAX_SIDE, height * scale)),
        )
        part_width, part_height = min(size[0] / scale, width), min(size[1] / scale, height)
        left, top = (width - part_width) / 2, (height - part_height) / 2
        return Layout(size, (left, top, left + part_width, top + part_height))
    scale = min(across, down) if wanted.fit in ("contain", "cover", "pad") else min(across, down, 1.0)
    size = (_side(width * scale), _side(height * scale))
    canvas = (wanted.width or size[0], wanted.height or size[1]) if wanted.fit == "pad" and fills else None
    return Layout(size, (0.0, 0.0, float(width), float(height)), canvas)


def _side(pixels: float) -> int:
    return min(MAX_SIDE, max(1, round(pixels)))


def negotiate(accept: str) -> Format:
    """The format that an `Accept` header prefers: the one of highest quality, AVIF before WebP before JPEG.

    AVIF and WebP must be named, because `image/*` and `*/*` also come from clients that can read neither.
    """
    rated: dict[str, float] = {}
    for entry in accept.lower().split(",")[:64]:
        media, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        rated[media] = float(quality) if QVALUE.fullmatch(quality) else 0.0
    named: tuple[Format, ...] = ("avif", "webp")
    jpeg = rated.get("image/jpeg", rated.get("image/*", rated.get("*/*", 0.0)))
    best = max(named, key=lambda name: rated.get(f"image/{name}", 0.0))
    return best if 0 < rated.get(f"image/{best}", 0.0) >= jpeg else "jpeg"
