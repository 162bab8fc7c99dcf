"""Colour words: what a tag such as `deep teal` looks like, for swatches on pages."""

import re
from collections import Counter
from collections.abc import Iterable

import msgspec

HEX = re.compile(r"#[0-9a-fA-F]{6}")
COLOURS = {
    "red": "#c0392b",
    "crimson": "#a3142f",
    "scarlet": "#d4301f",
    "burgundy": "#6d1a2d",
    "maroon": "#6b1f22",
    "rose": "#d98a94",
    "pink": "#e8a3b8",
    "magenta": "#b8317f",
    "coral": "#ee7b62",
    "salmon": "#f0937d",
    "peach": "#f6bd97",
    "orange": "#e07a26",
    "amber": "#e6a02c",
    "terracotta": "#b95c3f",
    "rust": "#9c4621",
    "copper": "#b06a3c",
    "bronze": "#8c6a3b",
    "brown": "#6e4a33",
    "chestnut": "#7b4030",
    "tan": "#c9a57b",
    "beige": "#dfd0b5",
    "sand": "#d9c193",
    "cream": "#f4ead0",
    "ivory": "#f7f2e2",
    "gold": "#c89b3c",
    "golden": "#c89b3c",
    "yellow": "#ecc63d",
    "mustard": "#c99a2b",
    "ochre": "#bf8832",
    "olive": "#76773a",
    "lime": "#a5c83f",
    "green": "#3f7d4e",
    "emerald": "#1f8a5f",
    "sage": "#9caf8d",
    "mint": "#a8dcc0",
    "teal": "#22757a",
    "turquoise": "#35b0ab",
    "cyan": "#3cb7d0",
    "aqua": "#63c5d0",
    "blue": "#2f62a8",
    "navy": "#1c2c54",
    "cobalt": "#1f4aa8",
    "indigo": "#3b3a8c",
    "violet": "#6f4aa3",
    "purple": "#75408f",
    "lavender": "#b7a7d9",
    "lilac": "#c4a6d3",
    "plum": "#6e3560",
    "black": "#171615",
    "charcoal": "#3a3a3c",
    "grey": "#8b8b8a",
    "gray": "#8b8b8a",
    "silver": "#b9bcc0",
    "white": "#fbfaf7",
}


class Colour(msgspec.Struct, frozen=True):
    """A tag; `hex` when it names a colour."""

    name: str
    hex: str | None


def colour(tag: str) -> Colour:
    """The tag with the colour of its last colour word (`warm cream paper` is cream), if it has one."""
    if HEX.fullmatch(tag):
        return Colour(tag, tag.lower())
    named = [COLOURS[word] for word in re.findall(r"[a-z]+", tag.lower()) if word in COLOURS]
    return Colour(tag, named[-1] if named else None)


def palette(tags: Iterable[str], most: int) -> list[Colour]:
    """The colours that the tags name, the most frequent first; one colour once."""
    found = [colour(tag) for tag in tags]
    counted = Counter(named.hex for named in found if named.hex)
    first = {named.hex: named.name for named in reversed(found)}
    return [Colour(first[hex], hex) for hex, _ in counted.most_common(most)]
