"""What the child process gets and returns. numpy and the painting modules are imported only when it paints."""

import msgspec

from tools.rows import Kind


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """An image to make. `size` is width and height of the result in pixels; `start` and `mask` are checked bytes."""

    kind: Kind
    prompt: str
    negative: str | None
    size: tuple[int, int]
    seed: int
    start: bytes | None = None
    mask: bytes | None = None


class Painted(msgspec.Struct, frozen=True):
    """The image, and JPEG previews of it (at most 64 KiB each), from blurred to sharp."""

    data: bytes
    mime: str
    previews: list[bytes]


def paint(work: Work) -> Painted:
    """Make the image; called in the child process, which loads numpy with its first image."""
    from adapters.sketch.render import paint_work

    return paint_work(work)
