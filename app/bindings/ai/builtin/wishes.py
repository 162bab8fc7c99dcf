"""What a person may wish for in a chat about a page."""

from typing import Literal

import msgspec

from app.bindings.ai.builtin.selections import Selection

Taste = Literal["theme", "tone", "layout"]
Word = Literal[
    "missing", "publish", "hold", "start over", "help", "link", "hello", "thanks", "bye", "who", "how", "yes", "no",
    "preview", "unpublish", "projects", "joke", "share", "publishing", "later", "redo", "good",
    "publish?",
]  # fmt: skip


class Past(msgspec.Struct, frozen=True):
    """What went before, as far as later words point back at it."""

    keys: tuple[str, ...] = ()
    """What the last turn that changed anything changed."""
    undone: bool = False
    """Whether it did so by an undo."""
    image: int = 0
    """The one image that the last reply spoke of."""
    offered: bool = False
    """Whether the last reply proposed something to say yes to."""


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


class Copy(msgspec.Struct, frozen=True):
    """Each first placeholder gets what the second has now, all at once."""

    pairs: tuple[tuple[str, str], ...]


class Another(msgspec.Struct, frozen=True):
    """The next best image for a placeholder."""

    key: str


class Doubt(msgspec.Struct, frozen=True):
    """What was chosen is not liked, and nobody said what would be."""

    key: str


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
    """A wish without particulars. `hold` is not to publish yet, `publishing` a question about it, `publish?` a slip."""

    word: Word


class Unknown(msgspec.Struct, frozen=True):
    text: str


Wish = (
    SetText | Clear | SetImage | Pick | Copy | Another | Doubt | ShowImages | Describe | Repaint | Remember | Tell
    | Undo | Plain | Unknown
)  # fmt: skip
