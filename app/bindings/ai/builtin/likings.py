"""What a person says to like in general: “I prefer warm tones”, “forget my theme”."""

import re
from collections.abc import Iterator
from typing import get_args

from app.bindings.ai.builtin.selections import select
from app.bindings.ai.builtin.slots import Names
from app.bindings.ai.builtin.wishes import Remember, Taste, Wish
from tools.models.normalize import pieces_of
from tools.models.prompt_words import read_wording

_LIKING = re.compile(
    r"(?:remember(?: that)?(?: i)?(?: like| prefer| love)?|i (?:always |generally |usually |really )?(?:like|prefer|"
    r"love|want)|"
    r"my (?:favou?rite|preferred|usual)|we (?:always |generally |usually )?(?:like|prefer|love))\s+(?:is |are |it |"
    r"a |an |the |my )*(?P<what>.+)",
    re.IGNORECASE,
)
_TASTE_IS = re.compile(
    r"(?:my )?(?:favou?rite |preferred |usual )?(?P<kind>theme|tone|layout)\s*(?:is|:|=)\s*(?P<word>[a-z -]{2,40})",
    re.IGNORECASE,
)
_FORGET = re.compile(
    r"forget (?:my |about my |everything about my )?(?P<what>taste|preferences?|theme|tone|layout|what i like)",
    re.IGNORECASE,
)
_THEMES = frozenset(
    [
        "dark",
        "light",
        "black",
        "white",
        "colourful",
        "colorful",
        "monochrome",
        "classic",
        "modern",
        "vintage",
        "retro",
        "minimal",
        "minimalist",
        "elegant",
    ]
)
_LAYOUTS = frozenset(
    [
        "grid",
        "masonry",
        "wide",
        "columns",
        "column",
        "centred",
        "centered",
        "full-width",
        "magazine",
        "stacked",
        "side-by-side",
        "symmetrical",
        "list",
        "cards",
    ]
)
_LIKED = re.compile(
    r"(?P<word>[a-z-]+(?: [a-z-]+)?)\s+(?P<kind>themes?|tones?|layouts?|styles?|looks?|colou?rs?|images|"
    r"pictures)(?: .*)?"
)


def remember(text: str, names: Names) -> Iterator[Wish]:
    plain = " ".join(text.lower().split()).strip(" .!")
    if match := _FORGET.fullmatch(plain):
        kinds: tuple[Taste, ...] = get_args(Taste)
        named = tuple(kind for kind in kinds if kind == match["what"])
        yield from (Remember(kind, "") for kind in named or kinds)
    elif match := _TASTE_IS.fullmatch(plain):
        if names.find(match["kind"]) is None or "favo" in plain or plain.startswith("my "):
            yield Remember(_kind(match["kind"]), match["word"].strip())
    elif (match := _LIKING.fullmatch(plain)) and not _speaks_of_one(match["what"]):
        yield from _liked(match["what"])


def _speaks_of_one(text: str) -> bool:
    """“the red one”, “image 2”: an image that is there, not a liking."""
    return bool(re.search(r"\b(?:one|image \d+|picture \d+|number \d+|#\d+|\d+)\b", text)) or bool(select(text).places)


def _liked(what: str) -> Iterator[Wish]:
    for piece in pieces_of(what):
        if (
            match := re.fullmatch(r"(?P<kind>theme|tone|layout)\s*(?:is|:|=)?\s*(?P<word>[a-z-]+(?: [a-z-]+)?)", piece)
        ) or (match := _LIKED.fullmatch(piece)):
            yield Remember(_kind(match["kind"]), match["word"])
        elif kind := _kind_of(piece):
            yield Remember(kind, piece)


def _kind(word: str) -> Taste:
    if word.startswith("layout"):
        return "layout"
    return "theme" if word.startswith(("theme", "style", "look")) else "tone"


def _kind_of(word: str) -> Taste | None:
    if word in _THEMES:
        return "theme"
    if word in _LAYOUTS:
        return "layout"
    return "tone" if read_wording(word).tone or read_wording(word).mood else None
