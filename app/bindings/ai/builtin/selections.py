"""Which images a person means: by number, by place in a list, or by what they are like."""

import re
from typing import Literal

import msgspec

from tools.models.prompt_words import read_wording

ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
ORDINAL = rf"(?:{'|'.join(ORDINALS)}|\d{{1,2}}(?:st|nd|rd|th)|last)"
_COUNT = rf"(?:\d{{1,3}}|{'|'.join(ONES)})"
_AND = r"\s*(?:,\s*and|,|and|&|\+)\s*"
_NUMBERED = re.compile(
    r"(?:\b(?:images?|imgs?|pictures?|pics?|photos?|shots?|versions?|numbers?|no\.?|nr\.?)\s*#?|#)\s*"
    rf"({_COUNT}(?:{_AND}(?:(?:image|picture|photo|number|no\.?)\s*)?#?{_COUNT})*)\b(?!\s*(?:one|images?|pictures?)\b)"
)
_ONLY_NUMBERS = re.compile(rf"#?{_COUNT}(?:{_AND}#?{_COUNT})*")
_PLACED = re.compile(rf"\b({ORDINAL}(?:{_AND}(?:the )?{ORDINAL})*)\b")
_CHANGE = (
    r"(?:(?:(?:a )?(?:bit|little|lot|much|slightly|even|way) )?(?:warmer|cooler|colder|darker|brighter|lighter|softer|"
    r"sharper|calmer|simpler|bolder|moodier|sunnier|bluer|redder|greener|cleaner|richer|quieter|wider|closer)"
    r"|(?:more|less) [a-z-]+|with(?:out)? [a-z -]++|in [a-z]+|at (?:night|dawn|dusk|sunset|noon))"
)
CHANGES = re.compile(rf"{_CHANGE}(?:(?:,? and|,) {_CHANGE})*")
_BUT = re.compile(rf",?\s*\b(?:but|only|just)\s+(?:make it\s+|please\s+)?({CHANGES.pattern})")
_WHO = r"\b(?:(?:that|which|who)\s+)?(?:has |have |was |were )?"
_PASSED = re.compile(
    rf"{_WHO}(?:passed|passes|passing|pass|approved|accepted)\b(?: by)?(?:\s+(?:the )?(?:judge|judgement|judgment|"
    rf"review))?"
)
_FAILED = re.compile(rf"{_WHO}(?:failed|fails|failing|fail|rejected)\b(?: by)?(?:\s+(?:the )?judge)?")
_BEST = re.compile(
    r"\b(?:best|nicest|finest|strongest|prettiest|top|favou?rite|most beautiful)(?:[ -](?:judged|rated))?\b"
)
_NEWEST = re.compile(r"\b(?:newest|latest|most recent)\b")
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "it",
        "its",
        "is",
        "are",
        "was",
        "were",
        "be",
        "of",
        "by",
        "from",
        "in",
        "on",
        "at",
        "to",
        "for",
        "with",
        "as",
        "and",
        "or",
        "one",
        "ones",
        "img",
        "instead",
        "rather",
        "something",
        "why",
        "how",
        "many",
        "when",
        "where",
        "most",
        "image",
        "images",
        "picture",
        "pictures",
        "pic",
        "pics",
        "photo",
        "photos",
        "shot",
        "shots",
        "version",
        "versions",
        "number",
        "please",
        "me",
        "my",
        "our",
        "your",
        "i",
        "you",
        "we",
        "us",
        "use",
        "take",
        "choose",
        "pick",
        "select",
        "want",
        "like",
        "prefer",
        "go",
        "give",
        "show",
        "see",
        "list",
        "all",
        "any",
        "some",
        "have",
        "has",
        "had",
        "do",
        "did",
        "does",
        "there",
        "here",
        "which",
        "what",
        "who",
        "whose",
        "made",
        "painted",
        "generated",
        "drawn",
        "looks",
        "look",
        "looking",
        "kind",
        "there's",
        "s",
        "t",
        "ll",
        "d",
        "m",
        "re",
        "only",
        "just",
        "now",
        "again",
        "options",
        "choices",
        "them",
        "what's",
        "want",
        "show",
        "available",
        "got",
        "far",
        "so",
        "into",
        "anything",
        "everything",
        "else",
        "other",
        "another",
        "project",
        "our",
    ]
)
_POINTER = re.compile(r"\b(?:images?|img|imgs|pictures?|pics?|photos?|shots?|versions?|ones?|newest)\b")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of the images that are meant. Of `but`, what should be otherwise: `("warmer",)`."""

    numbers: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    """In the last list that was shown; -1 is its last."""
    words: tuple[str, ...] = ()
    judgment: Literal["pass", "fail"] | None = None
    best: bool = False
    newest: bool = False
    but: str = ""

    @property
    def points(self) -> bool:
        """Whether it says more than “an image”."""
        return self != Selection()


def select(text: str) -> Selection:
    """What the text, which is about images, says of those meant."""
    rest = " ".join(text.lower().split()).strip(" .!?")
    if _ONLY_NUMBERS.fullmatch(rest):
        return Selection(numbers=numbers_of(rest))
    changed = _BUT.search(rest)
    rest = _BUT.sub(" ", rest)
    numbered, rest = _numbered(rest)
    placed = tuple(place_of(word) for found in _PLACED.findall(rest) for word in re.findall(ORDINAL, found))
    rest = _PLACED.sub(" ", rest)
    passed, failed = _PASSED.search(rest), _FAILED.search(rest)
    rest = _FAILED.sub(" ", _PASSED.sub(" ", rest))
    best, newest = _BEST.search(rest), _NEWEST.search(rest)
    rest = _NEWEST.sub(" ", _BEST.sub(" ", rest))
    return Selection(
        numbers=numbered,
        places=placed,
        words=tuple(
            dict.fromkeys(_positive(word) for word in re.findall(r"[a-z][a-z0-9-]*", rest) if word not in _STOP)
        ),
        judgment="pass" if passed else "fail" if failed else None,
        best=best is not None,
        newest=newest is not None,
        but=changed[1] if changed else "",
    )


def _positive(word: str) -> str:
    """“greenest” → “green”, as far as it is about looks."""
    stems = (word[:-3], word[:-2], word[:-4]) if word.endswith("est") else ()
    return next((stem for stem in stems if read_wording(stem).words), word)


def speaks_of_images(text: str) -> bool:
    """Whether the words point at images at all: “the red one”, “#2”, “picture three”."""
    plain = text.lower()
    return bool(_POINTER.search(plain) or _NUMBERED.search(plain) or _PLACED.search(plain) or "#" in plain)


def numbers_of(text: str) -> tuple[int, ...]:
    """“1, two and #3” → (1, 2, 3)."""
    found = re.findall(rf"\d{{1,3}}|{'|'.join(ONES)}", text)
    return tuple(dict.fromkeys(ONES.index(word) + 1 if word in ONES else int(word) for word in found))


def place_of(word: str) -> int:
    """`second` and `2nd` are 2, `last` is -1."""
    if word == "last":
        return -1
    return ORDINALS.index(word) + 1 if word in ORDINALS else int(word[:-2])


def _numbered(text: str) -> tuple[tuple[int, ...], str]:
    found = [match[1] for match in _NUMBERED.finditer(text)]
    return tuple(dict.fromkeys(n for part in found for n in numbers_of(part))), _NUMBERED.sub(" ", text)
