"""What is handed to the image child, and the door it comes in by. Nothing heavy is imported until it paints."""

import msgspec

from tools.rows import Kind


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One picture to make. `size` is width and height of the result in pixels; the images are vetted bytes."""

    kind: Kind
    prompt: str
    negative: str | None
    size: tuple[int, int]
    seed: int
    start: bytes | None = None
    mask: bytes | None = None


class Painted(msgspec.Struct, frozen=True):
    """The picture, and JPEG glimpses (at most 64 KiB each) of how it came to be, from vague to clear."""

    data: bytes
    mime: str
    glimpses: list[bytes]


def paint(work: Work) -> Painted:
    """Paint it; called in the image child, where numpy and the studio are loaded on the first picture."""
    from adapters.sketch.render import paint_work

    return paint_work(work)
