"""What people call the placeholders of a template: “the headline” is TITLE, “the cover” is IMAGE_HERO."""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from app.bindings.ai.builtin.selections import ORDINAL, place_of
from app.bindings.ai.builtin.wishes import Past
from tools.publishing.chats import Placeholder

Kind = Literal["text", "image"]

SYNONYMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("title headline heading", ("TITLE", "HEADLINE", "HEADING", "NAME", "PAGE_TITLE", "H1", "H")),
    (
        "subtitle sub-title tagline strapline subline subheading subhead slogan claim",
        ("SUBTITLE", "TAGLINE", "SUBHEADING", "STRAPLINE", "SLOGAN", "CLAIM"),
    ),
    (
        "intro introduction description body text copy blurb paragraph about summary story lead",
        ("INTRO", "INTRODUCTION", "DESCRIPTION", "BODY", "TEXT", "COPY", "ABOUT", "SUMMARY", "STORY", "LEAD"),
    ),
    ("client customer", ("CLIENT", "CLIENT_NAME", "CUSTOMER")),
    ("footer closing footnote", ("FOOTER", "CLOSING", "FOOTNOTE")),
    ("credit credits byline author artist", ("CREDIT", "CREDITS", "BYLINE", "AUTHOR", "ARTIST")),
    ("cta button call-to-action", ("CTA", "CALL_TO_ACTION", "BUTTON")),
    ("date day when", ("DATE", "EVENT_DATE", "DAY")),
    ("place venue location where", ("PLACE", "VENUE", "LOCATION")),
    ("caption", ("CAPTION",)),
)
_IMAGE_SYNONYMS = frozenset(
    ["hero", "cover", "header", "main", "banner", "top", "lead", "big", "opening", "title", "background"]
)
_MAIN_IMAGES = ("IMAGE_HERO", "IMAGE_COVER", "IMAGE_MAIN", "IMAGE_HEADER", "IMAGE_BANNER", "IMAGE", "IMAGE_1")
_BACKGROUND, _BEHIND = frozenset(["background", "backdrop", "bg"]), ("IMAGE_BACKGROUND", "IMAGE_BG", "IMAGE_BACKDROP")
_ARTICLES = re.compile(r"^(?:(?:the|my|our|a|an|its|your|this)\s+)+")
_TYPES = re.compile(r"\s+(?:placeholder|field|slot|spot|position|place|line|box|text|value)$")

LONGEST_PHRASE = 80
_EXACT = re.compile(r"\d|^(?:image|picture|photo)")
"""What is no misspelt name: “images” is not “image 2”."""


class Names:
    """What people may call the placeholders of one template."""

    def __init__(self, placeholders: Sequence[Placeholder], past: Past | None = None) -> None:
        self.placeholders, self.past = placeholders, past or Past()
        self._by_phrase = dict(self._phrases())

    def find(self, phrase: str, kind: Kind | None = None) -> str | None:
        """The placeholder meant by a few words; None when they name none (of that kind)."""
        if len(phrase) > LONGEST_PHRASE:
            return None
        said = _ARTICLES.sub("", " ".join(phrase.lower().replace("_", " ").split()))
        for tried in dict.fromkeys((said, _TYPES.sub("", said), _numbered(said))):
            for name in (self._by_phrase.get(tried), self._synonym(tried, kind), self._place(tried)):
                if name is not None and kind in (None, self.kind(name)):
                    return name
        near = (
            difflib.get_close_matches(said, list(self._by_phrase), n=1, cutoff=0.8)
            if len(said) > 3 and not _EXACT.search(said)
            else []
        )
        found = self._by_phrase[near[0]] if near else None
        return found if found is not None and kind in (None, self.kind(found)) else None

    def opens(self, words: Sequence[str]) -> tuple[str, int] | None:
        """The placeholder whose own name opens the words, and how many of them it takes."""
        for count in range(min(4, len(words)), 0, -1):
            said = _ARTICLES.sub("", " ".join(words[:count]).lower().replace("_", " "))
            if name := self._by_phrase.get(said) or self._synonym(said, None):
                return name, count
        return None

    def mentioned(self, text: str) -> bool:
        """Whether a word of the text is a placeholder's name."""
        return any(word in self._by_phrase for word in re.findall(r"[a-z]{3,}", text.lower()))

    @property
    def last(self) -> str | None:
        """The one placeholder that was changed last."""
        keys = [key for key in self.past.keys if key in {known.name for known in self.placeholders}]
        return keys[0] if len(keys) == 1 else None

    def value(self, name: str) -> str | None:
        return next(known.value for known in self.placeholders if known.name == name)

    def kind(self, name: str) -> Kind:
        return next(known.kind for known in self.placeholders if known.name == name)

    def of(self, kind: Kind) -> list[str]:
        return [known.name for known in self.placeholders if known.kind == kind]

    def _phrases(self) -> Iterator[tuple[str, str]]:
        for known in self.placeholders:
            words = known.name.lower().split("_")
            yield " ".join(words), known.name
            yield "".join(words), known.name
            if known.kind == "image" and words[1:]:
                rest = " ".join(words[1:])
                yield from ((f"{rest} {noun}", known.name) for noun in ("image", "picture", "photo"))
                if not rest.isdigit():
                    yield rest, known.name
                    yield f"picture {rest}", known.name

        if len(images := self.of("image")) == 1:
            yield from ((noun, images[0]) for noun in ("image", "picture", "photo"))

    def _synonym(self, said: str, kind: Kind | None) -> str | None:
        names = [known.name for known in self.placeholders]
        first = said.removesuffix(" image").removesuffix(" picture").removesuffix(" photo")
        if found := next((name for name in _BEHIND if kind != "text" and name in names and first in _BACKGROUND), None):
            return found
        if kind != "text" and first in _IMAGE_SYNONYMS and (kind == "image" or first != "title" or first != said):
            return next((name for name in _MAIN_IMAGES if name in names), None)
        said = said.replace(" ", "-") if said.startswith(("sub ", "call to")) else said
        for words, meant in SYNONYMS:
            if said in words.split() and (found := next((name for name in meant if name in names), None)):
                return found
        return None

    def _place(self, said: str) -> str | None:
        """“first slot”, “second image” of those that take images."""
        match = re.fullmatch(rf"({ORDINAL})(?:\s+(?:image|picture|photo|slot|spot|place|position|one))*", said)
        slots = self.of("image")
        if match is None or not slots:
            return None
        at = place_of(match[1])
        if f"IMAGE_{at}" in slots:
            return f"IMAGE_{at}"
        return slots[at - 1 if at > 0 else at] if at <= len(slots) else None


_NUMBERED = re.compile(rf"({ORDINAL}) ([a-z ]+)")
_OF_IMAGE = re.compile(
    rf"([a-z ]+?)(?: (?:of|for|under|below|beside|on|at))?(?: the)? (?:(?:image|picture|photo) (\d{{1,2}})|"
    rf"({ORDINAL}) (?:image|picture|photo|one))"
)


def _numbered(said: str) -> str:
    """“second caption” and “caption of the second image” are “caption 2”."""
    if match := _OF_IMAGE.fullmatch(said):
        return f"{match[1]} {match[2] or place_of(match[3])}"
    match = _NUMBERED.fullmatch(said)
    return f"{match[2]} {place_of(match[1])}" if match else said
