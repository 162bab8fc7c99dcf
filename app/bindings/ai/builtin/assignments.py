"""What goes into which placeholder, told in a clause: “set the title to X”, “use X as the title”, “clear it”."""

import re
from collections.abc import Iterator

import msgspec

from app.bindings.ai.builtin.picks import CLEARED, OTHER_VERB, image_for
from app.bindings.ai.builtin.selections import CHANGES, speaks_of_images
from app.bindings.ai.builtin.slots import Names
from app.bindings.ai.builtin.wishes import Clear, Copy, SetText, Wish
from tools.media.colours import colour_named
from tools.models.normalize import is_quoted, pieces_of


class Open(msgspec.Struct, frozen=True):
    """A value without an end of its own: in the same breath more may have been said than it."""

    key: str
    value: str


_SET = re.compile(
    r"(?:set(?:ting)?|chang(?:e|ing)|update|edit|switch|turn|fill(?: in)?|let|have|put|rename|make|write|swap|replace|"
    r"exchange)\s+(?P<key>.+?)\s+"
    r"(?:to(?: be| say| read)?|as|=|be|into|with|read|say|from .+? to|for|by)\s*:?\s+(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_MAKE = re.compile(
    r"(?:(?:i (?:need|want)|make|give me|create|build)(?: me)? an? \w+ (?:with|called)|set|make|fill(?: in)?|"
    r"write|enter|"
    r"with|(?:i|we) (?:want|need)|i'?d like|give it)\s+(?P<rest>.+)",
    re.IGNORECASE | re.DOTALL,
)
_LOOKS = re.compile(
    rf"(?:{CHANGES.pattern}|(?:much |a bit |a little )?\w+er|bold|italic|big|small|large|huge|tiny|centred|centered|"
    r"uppercase|lowercase)(?:\s.*)?",
    re.IGNORECASE,
)
"""What a text may be made to look like, which no chat about words can do."""
_IS = re.compile(
    r"(?:i (?:want|need)|i'?d like|i would like)?\s*(?P<key>.+?)\s+"
    r"(?:should (?:be|read|say)|shall (?:be|read|say)|must (?:be|read|say)|can be|could be|will be|has to be|"
    r"needs to be|to (?:be|read|say)|"
    r"is|reads|says)\s*:?\s+(?:now\s+)?(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_VERDICT = re.compile(
    r"(?:not|too|very|really|quite|so|still|wrong|missing|fine|good|great|ok|okay|nice|perfect|ugly|bad|boring|long|short|"
    r"better|done|right|correct|unclear|up to you)(?:$|[\s,])"
)
"""“The title is too long” is no title."""
_USE = re.compile(
    r"(?:use|put|take|write|have|add|insert|enter|type|with|make|choose|pick|select|try|place|go with|give me|"
    r"i'?d like|i would like|"
    r"how about|what about|i(?:'ll| will)? (?:take|use|want|like|prefer))\s+"
    r"(?P<value>.+?)\s+(?:as|for|in|into|to|on|onto|under|at)\s+(?P<key>.+)",
    re.IGNORECASE | re.DOTALL,
)
_FOR = re.compile(r"(?P<value>.+?)\s+(?:as|for|in|into|on)\s+(?P<key>.+)", re.IGNORECASE | re.DOTALL)
_CALL = re.compile(
    r"(?:(?:call|name|title|entitle|headline)\s+(?:(?:the|our|my|this|that) (?:whole )?(?:page|thing|artifact|card|"
    r"lookbook|deck)|it|this|that)|(?:(?:the|our|my|this) (?:page|thing|card|lookbook|deck)|it|this) (?:should|"
    r"must|shall|"
    r"will|can|is to) be (?:called|named|titled))\s*(?:,|:)?\s+(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_KEY_QUOTED = re.compile(
    r"(?P<key>[A-Za-z_][A-Za-z_ -]{1,40}?)\s+(?P<value>\"[^\"]+\"|“[^”]+”)\s*(?:,|and)?\s*", re.DOTALL
)
_AND_KEY = re.compile(
    r"\s*(?:,|,?\s+and)\s+(?P<key>(?:the |my |our )?[A-Za-z][A-Za-z_ -]{1,40}?)\s+(?:to(?: be| say| read)?|as|is|"
    r"should be|be)\s+(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)


def set_value(text: str, names: Names) -> Iterator[Wish | Open]:
    """“Set the title to X (and the subtitle to Y)”, “the title should be X”, “call it X”."""
    if (match := _CALL.fullmatch(text)) and (key := names.find("title") or names.find("name")):
        yield from _valued(key, match["value"], names)
        return
    asked = text.rstrip().endswith("?")
    for pattern in (_SET,) if asked else (_SET, _IS):
        match = pattern.fullmatch(text)
        if (
            match
            and (key := names.find(match["key"]))
            and not (pattern is _IS and _VERDICT.match(match["value"].lower()))
        ):
            yield from _valued(key, match["value"], names)
            return
    if quoted := list(_quoted(text, names)):
        yield from quoted
    elif asked:
        return
    elif match := _MAKE.fullmatch(text):
        yield from _made(match["rest"], names)
    elif (opened := names.opens(text.split())) and names.kind(opened[0]) == "text":
        value = " ".join(text.split()[opened[1] :])
        if value and not value[0].islower() and value[0] not in _MARKS and not text.isupper():
            yield from _valued(opened[0], value, names)


def _quoted(text: str, names: Names) -> Iterator[Wish]:
    """“title "Autumn" subtitle "Leaves"”."""
    found = list(_KEY_QUOTED.finditer(text))
    keys = [names.find(match["key"]) for match in found]
    if found and sum(len(match[0]) for match in found) == len(text) and all(keys):
        for match, key in zip(found, keys, strict=True):
            yield from assigned(str(key), match["value"], names)


def _made(rest: str, names: Names) -> Iterator[Wish | Open]:
    """“Make the title Autumn”: the longest name that the words open with, then the value."""
    words = rest.split(" ")
    for length in range(min(4, len(words) - 1), 0, -1):
        if key := names.find(" ".join(words[:length])):
            value, more = " ".join(words[length:]), _AND_KEYED.search(rest)
            if more and (opened := names.opens(more["rest"].split())) and more["rest"].split()[opened[1] :]:
                yield from _valued(key, rest[: more.start()].split(" ", length)[-1], names)
                yield from _made(more["rest"], names)
            elif not _LOOKS.fullmatch(value) and not (value.islower() and colour_named(value)):
                yield from _valued(key, value, names)
            return


_AND_KEYED = re.compile(r",?\s+and\s+(?P<rest>(?:the|my|our) .+)", re.IGNORECASE | re.DOTALL)
_MARKS = "?!.,;:&+-–—"


def _valued(key: str, value: str, names: Names) -> Iterator[Wish | Open]:
    """The value for the key, and what an “and” after it says of other keys."""
    while (more := _AND_KEY.search(value)) and (other := names.find(more["key"])):
        yield from assigned(key, value[: more.start()].strip(), names)
        key, value = other, more["value"]
    yield Open(key, value)


def use(text: str, names: Names) -> Iterator[Wish]:
    """“Use X as the title”, “use image 2 as hero”, “the red one for the cover and the blue one for the footer”."""
    pieces = [piece for piece in pieces_of(text) if piece]
    each = [list(_use_one(piece, names)) for piece in pieces]
    if len(each) > 1 and all(each):
        for found in each:
            yield from found
    else:
        yield from _use_one(text, names)


def _use_one(text: str, names: Names) -> Iterator[Wish]:
    for pattern in (_FOR_KEY, _USE, _FOR):
        match = pattern.fullmatch(text)
        if match is None or not (
            key := names.find(re.sub(r"[\s,]*(?:please|now|instead)?[\s.!?]*$", "", match["key"]))
        ):
            continue
        value = match["value"].strip()
        if names.kind(key) == "image":
            if not OTHER_VERB.search(value):
                yield image_for(key, value)
        elif _NAMED.fullmatch(value) and (source := names.find(value, "text")):
            if source != key and names.value(source):
                yield Copy(((key, source),))
        elif _is_text(value, pattern, text):
            yield SetText(key, unquoted(value))
        return
    match = re.fullmatch(
        r"(?:make|choose|pick|use|take)\s+(?P<sel>.+?)\s+(?:the|my|our)\s+(?P<key>[a-z_ ]+)", text, re.IGNORECASE
    )
    if match and speaks_of_images(match["sel"]) and (key := names.find(match["key"], "image")):
        yield image_for(key, match["sel"])


def _is_text(value: str, pattern: re.Pattern[str], text: str) -> bool:
    """Whether what is said to go into a text placeholder is that text, and not talk about it."""
    if is_quoted(value):
        return True
    if pattern is _FOR or text.endswith("?"):
        return not value[:1].islower() and not _TALK.match(value)
    return True


_TALK = re.compile(r"(?:i|i'\w+|we|you|it|what|which|who|is|are|that's|any|some)\b", re.IGNORECASE)
_NAMED = re.compile(r"(?:the|our|my) [a-z ]+")
_FOR_KEY = re.compile(
    r"(?:for|as|in) (?P<key>.+?),?\s+(?:please\s+)?(?:use|take|write|put|choose|pick|go with|try|"
    r"i(?:'d| would)? (?:want|like)|we (?:want|use))\s*:?\s+(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_CLEAR = re.compile(
    r"(?:clear|remove|delete|empty|drop|erase|unset|take out|get rid of|forget)\s+(?P<key>.+)", re.IGNORECASE
)
_WITHOUT = re.compile(r"(?:no|without(?: an?| the)?) (?P<key>.+)", re.IGNORECASE)
_LEAVE = re.compile(r"leave\s+(?P<key>.+?)\s+(?:empty|blank|out|open)", re.IGNORECASE)


def clear(text: str, names: Names) -> Iterator[Wish]:
    match = _CLEAR.fullmatch(text) or _LEAVE.fullmatch(text) or _WITHOUT.fullmatch(text)
    if match and (key := names.find(match["key"].strip(" .!"))):
        yield Clear(key)


def assigned(key: str, value: str, names: Names) -> Iterator[Wish]:
    if names.kind(key) == "image":
        yield image_for(key, value)
    elif value:
        yield Clear(key) if CLEARED.fullmatch(value.lower()) else SetText(key, unquoted(value))


def unquoted(value: str) -> str:
    """The value without the quotation marks around it, and the full stop after them."""
    match = re.fullmatch(r"([\"“„«'‘])(.*?)([\"”“»'’])[.!]?", value.strip(), re.DOTALL)
    return match[2].strip() if match and match[2].strip() else value.strip()
