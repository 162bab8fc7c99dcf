"""What a person may wish for in a chat about a page."""

from typing import Literal

import msgspec

from app.bindings.selections import Selection

Taste = Literal["theme", "tone", "layout"]
Word = Literal[
    "missing", "publish", "hold", "start over", "help", "link", "hello", "thanks", "bye", "who", "how", "yes", "no",
    "preview", "unpublish", "projects", "joke",
]  # fmt: skip


class SetText(msgspec.Struct, frozen=True):
    key: str
    value: str


class Clear(msgspec.Struct, frozen=True):
    key: str


class SetImage(msgspec.Struct, frozen=True):
    """`key` is None when nobody said what for."""

    key: str | None
    selection: Selection


class Pick(msgspec.Struct, frozen=True):
    """Choose what is missing, or only these."""

    keys: tuple[str, ...] = ()


class ShowImages(msgspec.Struct, frozen=True):
    selection: Selection


class Describe(msgspec.Struct, frozen=True):
    selection: Selection


class Repaint(msgspec.Struct, frozen=True):
    """An image that is not there yet: what to start from, and what should be otherwise."""

    selection: Selection
    change: str


class Remember(msgspec.Struct, frozen=True):
    """A liking of theme, tone or layout; an empty word forgets it."""

    kind: Taste
    word: str


class Tell(msgspec.Struct, frozen=True):
    """What one placeholder, or with None the whole page, is filled with."""

    key: str | None


class Undo(msgspec.Struct, frozen=True):
    times: int = 1


class Plain(msgspec.Struct, frozen=True):
    """A wish without particulars. `hold` is not to publish yet."""

    word: Word


class Unknown(msgspec.Struct, frozen=True):
    text: str


Wish = SetText | Clear | SetImage | Pick | ShowImages | Describe | Repaint | Remember | Tell | Undo | Plain | Unknown
