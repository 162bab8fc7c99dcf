"""Sizes of images in pixels: parsing and comparing. Imports no imaging library, for modules that only plan."""

from tools.errors import Invalid


def read_size(size: str) -> tuple[int, int]:
    """Width and height in pixels from "WIDTHxHEIGHT".

    Fails: Invalid (422, `bad_size`).
    """
    width, _, height = size.partition("x")
    if not all(side.isascii() and side.isdigit() and 0 < int(side) < 100_000 for side in (width, height)):
        raise Invalid(f"size must be WIDTHxHEIGHT in pixels, such as 1024x1024, not {size!r}", code="bad_size")
    return int(width), int(height)


def same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes have the same aspect ratio within 1 %."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= 0.01 * a[0] * b[1]
