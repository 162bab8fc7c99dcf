"""Tags as pages show them: with a swatch where a tag such as `deep teal` names a colour."""

import re
from collections import Counter
from collections.abc import Iterable

import msgspec

from tools.media.colours import COLOURS
from tools.models.prompt_words import names_only_a_colour

HEX = re.compile(r"#[0-9a-fA-F]{6}")
COLOUR_WORD = re.compile(rf"\b(?:{'|'.join(sorted(COLOURS, key=len, reverse=True))})\b")


class Tag(msgspec.Struct, frozen=True):
    """A tag; `hex` when it names a colour."""

    name: str
    hex: str | None


def tag_of(name: str) -> Tag:
    """The tag with the colour of its last colour word (`warm cream paper` is cream), if it has one.

    A word that may as well be a thing counts only at the end: `warm sand` is a colour, `sand dunes` are not.
    """
    if HEX.fullmatch(name):
        return Tag(name, name.lower())
    text = " ".join(name.lower().split())
    named = [
        match[0] for match in COLOUR_WORD.finditer(text) if names_only_a_colour(match[0]) or match.end() == len(text)
    ]
    return Tag(name, COLOURS[named[-1]].hex if named else None)


def palette(names: Iterable[str], most: int) -> list[Tag]:
    """The colours that the tags name, the most frequent first, each once and under the first tag that names it."""
    tags = [tag_of(name) for name in names]
    counts = Counter(tag.hex for tag in tags if tag.hex)
    first = {tag.hex: tag.name for tag in reversed(tags)}
    return [Tag(first[hex], hex) for hex, _ in counts.most_common(most)]
