"""Plain English about a page, read by pattern: what a person wishes, clause by clause.

Nothing is guessed at from afar: what fits no pattern is `Unknown`, and whoever answers says so.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import msgspec

from app.bindings.corrections import correct
from app.bindings.phrases import word_of
from app.bindings.selections import CHANGES, Selection, select, speaks_of_images
from app.bindings.slots import Names
from app.bindings.wishes import (
    Clear,
    Copy,
    Describe,
    Past,
    Pick,
    Plain,
    Remember,
    Repaint,
    SetImage,
    SetText,
    ShowImages,
    Taste,
    Tell,
    Undo,
    Unknown,
    Wish,
)
from graphs.approval import asks_to_publish, nearly_asks_to_publish, refuses_to_publish, speaks_of_publishing
from tools.chats import Placeholder
from tools.colours import colour_named
from tools.wording import read_wording

Reader = Callable[[str, Names], Iterator[Wish]]

QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|„[^„“”\n]*[“”]")
_JOINT = re.compile(r",\s*(?:and\s+)?(?:then\s+)?|\s+(?:and then|and|then)\s+")
_SENTENCE = re.compile(r"(?:\"[^\"\n]*\"|“[^”\n]*”|[^.!?;\n\"“]|[.!?](?=\S)|[\"“])+\??")
LONGEST_NAME = 40
_SEPARATOR = re.compile(r"\s*(?::|=>?|->|→| – | — | - )\s*(?=\S)")
_BOUNDARY = re.compile(r"[\n;,.!][ \t]*|\b(?:and|then)\s+")
_LEAD = re.compile(
    r"\s*(?:please\s+)?(?:(?:set|use|make|add|write|enter|change|update|for|as|in|and)\s+)?", re.IGNORECASE
)
_TRAIL = re.compile(
    r",?\s+(?:please|pls|use|take|write|put|say|try|choose|is|as|should be|reads?)(?:\s+to)?$", re.IGNORECASE
)
_CLEARED = re.compile(r"(?:to )?(?:nothing|none|empty|blank|-|no image)")
_POLITE = re.compile(
    r"^(?:(?:pl[eas]+se|pls|plz|ok|okay|well|so|now|then|and|also|just|hey|hmm+|right|alright|great|sure|yes|no|thanks|cool|nice|"
    r"can you|could you|would you mind|would you|will you|can we|could we|i want you to|i'?d like you to|"
    r"i would like you to|kindly|"
    r"i want to|i'?d like to|i would like to|i need to|we want to|i think|i guess|let me have|(?:can|could|"
    r"may) i have|i'?d rather have|on second thoughts?|sorry|oh|um+|but|"
    r"let'?s|let us|go ahead and|first|next|finally|actually|maybe|perhaps)[\s,]+)+",
    re.IGNORECASE,
)


def read(text: str, placeholders: Sequence[Placeholder], past: Past | None = None) -> list[Wish]:
    """What the text asks for, in its order. Publishing comes last, for it needs all the rest."""
    names, text = Names(placeholders, past), re.sub(r"[’`´]", "'", text).strip()
    wishes = [wish for wish in _wishes(text, names) if wish != Plain("publish")]
    if asks_to_publish(text):
        return [*(wish for wish in wishes if wish not in _AGREEING), Plain("publish")]
    if nearly_asks_to_publish(text):
        return [*(wish for wish in wishes if not isinstance(wish, Unknown)), Plain("publish?")]
    if refuses_to_publish(text):
        return [*(wish for wish in wishes if not isinstance(wish, Unknown | Plain)), Plain("hold")]
    if speaks_of_publishing(text) and all(isinstance(wish, Unknown) for wish in wishes):
        return [Plain("publishing")]
    return wishes or [Unknown(text)]


def unquoted(value: str) -> str:
    """The value without the quotation marks around it, and the full stop after them."""
    match = re.fullmatch(r"([\"“„«'‘])(.*?)([\"”“»'’])[.!]?", value.strip(), re.DOTALL)
    return match[2].strip() if match and match[2].strip() else value.strip()


_AGREEING = (Plain("yes"), Plain("thanks"), Plain("good"))


class _Head(msgspec.Struct, frozen=True):
    """An assignment `key: value` within a text: where it begins, where its value does, and where that ends."""

    key: str
    start: int
    value: int
    end: int


def _wishes(text: str, names: Names) -> Iterator[Wish]:
    at = 0
    for head in _heads(text, names):
        yield from _clauses(text[at : head.start], names)
        value, commands = _cut_commands(text[head.value : head.end], names)
        yield from _assigned(head.key, value, names)
        for command in commands:
            yield from _clauses(command, names)
        at = head.end
    yield from _clauses(text[at:], names)


def _heads(text: str, names: Names) -> list[_Head]:
    quotes = [match.span() for match in QUOTED.finditer(text)]
    found = list[tuple[str, int, int]]()
    for mark in _SEPARATOR.finditer(text):
        start = max((edge.end() for edge in _BOUNDARY.finditer(text, 0, mark.start())), default=0)
        lead = _LEAD.match(text, start)
        words = text[lead.end() if lead else start : mark.start()]
        words = _TRAIL.sub("", words) if len(words) < 2 * LONGEST_NAME else words
        quoted = any(begin < mark.start() < end for begin, end in quotes)
        if not quoted and len(words) <= LONGEST_NAME and (key := names.find(words)):
            found.append((key, start, mark.end()))
    ends = [*(start for _, start, _ in found[1:]), len(text)][: len(found)]
    return [_Head(key, at, value, _end(text, value, end)) for (key, at, value), end in zip(found, ends, strict=True)]


def _end(text: str, start: int, end: int) -> int:
    """A value ends with its line, or with a semicolon."""
    match = re.compile(r"[\n;]").search(text, start, end)
    return match.start() if match else end


def _cut_commands(value: str, names: Names, *, loose: bool = False) -> tuple[str, list[str]]:
    """A value without the commands that were said in the same breath: “Autumn, then publish it”.

    With `loose` also without “…, subtitle Leaves, image 2”, which beside a colon would be part of the value.
    """
    value = re.sub(r"(?:\s*[,;]|\s+and)+\s*$", "", value.strip()).strip()
    if QUOTED.fullmatch(value.rstrip(".!")):
        return value, []
    pieces = re.split(r"((?:,|\.|!)\s+(?:and\s+)?(?:then\s+)?|\s+and\s+then\s+|\s+then\s+|\s+and\s+)", value)
    commands: list[str] = []
    while len(pieces) > 2 and (_is_command(pieces[-1], pieces[-2], names) or (loose and _is_more(pieces[-1], names))):
        commands.insert(0, pieces[-1])
        pieces = pieces[:-2]
    return "".join(pieces).strip(), commands


def _is_more(piece: str, names: Names) -> bool:
    """Whether a piece is another choice without a verb: “subtitle Leaves”, “the second picture”."""
    first = next(_clause(piece.strip(" ,.!"), names))
    if isinstance(first, SetImage):
        return not first.selection.words and (speaks_of_images(piece) or first.key is not None)
    return isinstance(first, SetText) and names.opens(piece.split()) is not None


def _is_command(piece: str, joint: str, names: Names) -> bool:
    """Whether a piece of a value is rather a command; after a bare “and” one word is none."""
    if joint.strip() == "and" and len(piece.split()) < 2:
        return False
    if asks_to_publish(piece) or nearly_asks_to_publish(piece):
        return True
    first = next(_clause(piece.strip(" ,.!"), names))
    if isinstance(first, Plain):
        return first.word in ("start over", "missing", "hold", "later")
    if isinstance(first, SetText | SetImage | ShowImages):
        return bool(_COMMANDING.match(piece))
    return isinstance(first, Pick) and len(piece.split()) > 1


_COMMANDING = re.compile(
    r"\s*(?:please\s+)?(?:use|take|pick|choose|select|set|put|make|call|change|show|write|go with)\s", re.IGNORECASE
)


def _assigned(key: str, value: str, names: Names) -> Iterator[Wish]:
    if names.kind(key) == "image":
        yield _image_for(key, value)
    elif value:
        yield Clear(key) if _CLEARED.fullmatch(value.lower()) else SetText(key, unquoted(value))


def _image_for(key: str, value: str) -> Wish:
    plain = value.lower().strip(" .!")
    if _CLEARED.fullmatch(plain):
        return Clear(key)
    if _is_pick(plain):
        return Pick((key,))
    selection = select(plain)
    return SetImage(key, selection) if selection.points else Unknown(value)


def _clauses(text: str, names: Names) -> Iterator[Wish]:
    for sentence in _SENTENCE.findall(text):
        plain = sentence.strip(" ,\t.!")
        if plain and plain.lower() not in ("and", "then", "and then"):
            yield from _sentence(plain, names)


def _sentence(sentence: str, names: Names) -> Iterator[Wish]:
    """Read as a whole, else in pieces; with nothing understood it is one `Unknown`."""
    whole = list(_clause(sentence, names))
    pieces = [piece for piece in _split(sentence) if piece]
    if not isinstance(whole[0], Unknown) or len(pieces) < 2:
        yield from whole
        return
    parts = [list(_clause(piece, names)) for piece in pieces]
    if all(isinstance(part[0], Unknown) for part in parts):
        yield whole[0]
        return
    for part in parts:
        yield from part


def _split(sentence: str) -> list[str]:
    """At commas, “and” and “then” outside of quotation marks."""
    pieces, gathered = list[str](), ""
    for part in re.split(r"(\"[^\"]*\"|“[^”]*”)", sentence):
        if part[:1] in ('"', "“"):
            gathered += part
            continue
        first, *rest = _JOINT.split(part)
        gathered += first
        for piece in rest:
            pieces.append(gathered.strip())
            gathered = piece
    return [*pieces, gathered.strip()]


def _clause(text: str, names: Names) -> Iterator[Wish]:
    """The wishes of one clause by the first reader that knows it; else one `Unknown`."""
    bare = _POLITE.sub("", text).strip(" ,") or text
    if bare != text and not _ASKED.search(bare):
        bare = bare.rstrip("? ")
    bare = _THANKS.sub("", bare) or text
    for reader in _READERS:
        for form in dict.fromkeys((text, bare)):
            if found := list(reader(form, names)):
                yield from found
                return
    yield Unknown(text)


_ASKED = re.compile(
    r"\b(?:to|as|be|is|it)\s+[\"“']?(?:what|who|why|when|where|how|which|is|are|do|does|can|will)\b[^?]*\?$",
    re.IGNORECASE,
)
"""A value that is a question keeps its mark, though “can you …?” loses its own."""
_THANKS = re.compile(r"[\s,]+(?:please|pls|plz|thanks|thank you|thx)[\s.!]*$")


def _plain(text: str, names: Names) -> Iterator[Wish]:
    if asks_to_publish(text) and len(_split(text)) == 1:
        yield Plain("publish")
    elif word := word_of(text):
        yield Plain(word)


_UNDO = re.compile(
    r"(?:undo|revert|take (?:that|it|this) back|go back(?: one)?(?: step)?|step back|oops|roll ?back|"
    r"never ?mind(?: that)?|"
    r"take back|back)(?: (?:it|that|this|please|again|now|one|step|too|also|as well))*"
    r"(?: (?:the |my )?(?:last|latest|previous)? ?(?:(\d|two|three|four|five|twice) ?)?"
    r"(?:one|choices?|changes?|steps?|edits?|things?|times?|thing i said)?)?"
)
_TIMES = {"two": 2, "twice": 2, "three": 3, "four": 4, "five": 5}
MOST_UNDONE = 5


def _undo(text: str, names: Names) -> Iterator[Wish]:
    if match := _UNDO.fullmatch(" ".join(text.lower().split()).strip(" ,.!")):
        times = _TIMES.get(match[1]) or int(match[1]) if match[1] else 1
        yield Undo(min(max(times, 1), MOST_UNDONE))


_PICK = re.compile(
    r"(?:you )?(?:pick|choose|decide|select|suggest|fill(?: in)?|do|take|find|complete|finish)\b.*\b(?:for me|"
    r"for us|yourself|the rest|"
    r"everything|all of (?:it|them)|whatever.*|them all|it all|anything)|surprise me|you (?:decide|choose|pick|"
    r"select)|your (?:choice|pick|call)|"
    r"(?:use|take|accept) (?:the |your |all |those |these )*(?:defaults?|suggestions?|proposals?)|"
    r"whatever(?: you (?:like|think|want))?|"
    r"(?:it'?s )?up to you|auto(?:matic(?:ally)?)?(?: fill)?|(?:make|propose|suggest) (?:some|a|me|"
    r"your)? ?(?:suggestions?|proposals?|defaults?)|"
    r"i don'?t (?:care|mind|know)|fill (?:it|everything|the rest|them)(?: (?:in|out|up))?|"
    r"any(?:thing)?(?: will do)?|suggest something|"
    r"the rest is up to you|take (?:any|whatever)|fill (?:in )?the rest(?: in)? for (?:me|us)"
)
_PICK_WHAT = re.compile(
    r"(?:you )?(?:pick|choose|decide(?: on)?|select|suggest|fill(?: in)?|find|propose|"
    r"take)\s+(.+?)(?:\s+(?:for (?:me|us)|"
    r"yourself))?"
)


def _is_pick(text: str) -> bool:
    return _PICK.fullmatch(" ".join(text.split()).strip(" ,.!?")) is not None


def _pick(text: str, names: Names) -> Iterator[Wish]:
    said = " ".join(text.lower().split()).strip(" ,.!?")
    match = _PICK_WHAT.fullmatch(said)
    what = _LOOSELY.sub("", match[1]) if match else ""
    if keys := _named_keys(what, names):
        yield Pick(keys)
    elif (key := names.find(what)) and (
        said.endswith(("for me", "yourself")) or said.startswith(("suggest", "propose", "you "))
    ):
        yield Pick((key,))
    elif _is_pick(said):
        yield Pick()


_LOOSELY = re.compile(
    r"^(?:(?:all|the|my|a|an|some|any|remaining|missing|other|best|nice|good|great|fitting|suitable|"
    r"beautiful)\s+)+(?:of\s+)?"
)


def _named_keys(text: str, names: Names) -> tuple[str, ...]:
    """All of a kind: “the images”, “the texts”."""
    if re.fullmatch(r"(?:images|pictures|photos)", text):
        return tuple(names.of("image"))
    if re.fullmatch(r"(?:texts|words|wording)", text):
        return tuple(names.of("text"))
    return ()


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
_OTHER_VERB = re.compile(r"\b(?:use|call|set|make|put|title|name|undo|publish|write|add|change)\b", re.IGNORECASE)
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


def _set(text: str, names: Names) -> Iterator[Wish]:
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
            yield from _assigned(str(key), match["value"], names)


def _made(rest: str, names: Names) -> Iterator[Wish]:
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


def _valued(key: str, value: str, names: Names) -> Iterator[Wish]:
    """The value for the key, and what an “and” after it says of other keys."""
    if (more := _AND_KEY.search(value)) and (other := names.find(more["key"])):
        yield from _assigned(key, value[: more.start()].strip(), names)
        yield from _valued(other, more["value"], names)
        return
    value, commands = _cut_commands(_THANKS.sub("", value), names, loose=True)
    yield from _assigned(key, value.strip(" ,"), names)
    for command in commands:
        yield from _clauses(command, names)


def _use(text: str, names: Names) -> Iterator[Wish]:
    """“Use X as the title”, “use image 2 as hero”, “the red one for the cover and the blue one for the footer”."""
    pieces = [piece for piece in _split(text) if piece]
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
            if not _OTHER_VERB.search(value):
                yield _image_for(key, value)
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
        yield _image_for(key, match["sel"])


def _is_text(value: str, pattern: re.Pattern[str], text: str) -> bool:
    """Whether what is said to go into a text placeholder is that text, and not talk about it."""
    if QUOTED.fullmatch(value):
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


def _clear(text: str, names: Names) -> Iterator[Wish]:
    match = _CLEAR.fullmatch(text) or _LEAVE.fullmatch(text) or _WITHOUT.fullmatch(text)
    if match and (key := names.find(match["key"].strip(" .!"))):
        yield Clear(key)


_REPAINT = re.compile(
    r"(?:generate|paint|create|draw|render me|retry|repaint|redo|regenerate|produce|get me|make (?:me )?(?:a |"
    r"an )?(?:new|another))\b\s*(?P<what>.*)",
    re.IGNORECASE,
)
_MAKE_IT = re.compile(rf"(?:make|turn|paint)\s+(?P<what>.+?)\s+(?P<change>{CHANGES.pattern})", re.IGNORECASE)


def _repaint(text: str, names: Names) -> Iterator[Wish]:
    """What only a new image could give: “make image 2 warmer”, “paint another red one”."""
    if (match := _MAKE_IT.fullmatch(text)) and (
        speaks_of_images(match["what"])
        or match["what"].lower() in ("it", "that", "this")
        or names.find(match["what"], "image")
    ):
        yield Repaint(select(match["what"]), match["change"].lower())
    elif (match := _REPAINT.fullmatch(text)) and not names.find(match["what"], "text"):
        yield Repaint(select(match["what"]), "")


_SHOW = re.compile(
    r"(?:how many|show|list|display|see|view|give|let me see|i want to see|what|which|are there(?: any)?|do (?:we|you|"
    r"i) have(?: any)?|any|browse|look at|all)\b"
    r".*\b(?:anything|something|images?|pictures?|pics?|photos?|shots?|ones|options|choices|versions|passed|failed)\b.*",
    re.IGNORECASE,
)  # fmt: skip
_DESCRIBE = re.compile(
    r"(?:describe|explain|tell me (?:more )?about|what(?:'s| is)(?: in| on| wrong with| about)?|why (?:did|has|is|"
    r"was)|how (?:good )?is|more about)\s+"
    r"(?P<what>.+?)(?: fail(?:ed)?| pass(?:ed)?| judged| rejected| like| about)?",
    re.IGNORECASE,
)


def _show(text: str, names: Names) -> Iterator[Wish]:
    plain = re.sub(r"[\s,]+(?:please|pls|plz)$", "", text.strip(" ?.!"), flags=re.IGNORECASE)
    match = _DESCRIBE.fullmatch(plain)
    if match and (chosen := _described(match["what"], plain, names)):
        yield Describe(chosen)
    elif re.fullmatch(r"(?:images?|pictures?|photos?|(?:any|which(?: ones?)?) with .+)", plain.lower()):
        yield ShowImages(select(plain))
    elif _SHOW.fullmatch(plain):
        chosen = select(re.sub(r"^(?:show|give)\s+(?:me|us)\b", "", plain, flags=re.IGNORECASE))
        yield Describe(chosen) if chosen.numbers or chosen.places else ShowImages(chosen)


def _described(what: str, plain: str, names: Names) -> Selection | None:
    """The image that a question is about: one that is named, else the one that was spoken of last."""
    chosen = select(what)
    if chosen.points and (chosen.numbers or chosen.places or speaks_of_images(what)):
        return chosen
    if not re.fullmatch(r"(?:it|this|that|(?:this|that) (?:one|image|picture))", what.lower()):
        return None
    if names.past.image:
        return Selection(numbers=(names.past.image,))
    return Selection(judgment="fail") if "fail" in plain or "wrong" in plain else None


_TELL = re.compile(
    r"(?:what(?:'s| is| are| does)|show(?: me)?|tell me|read(?: me)?|give me|which(?: image)? is(?: in|"
    r" on)?)\s+(?:now |currently )?(?:in |on |the value of )?"
    r"(?P<key>.+?)(?:\s+(?:now|so far|currently|say|set to|at the moment))*",
    re.IGNORECASE,
)
_TELL_ALL = re.compile(
    r"(?:what (?:have we|have i|do we have|did (?:we|i))(?: got| chosen| choose| picked| pick| take| so far| set|"
    r" filled)*|"
    r"(?:show|give)(?: me)? "
    r"(?:everything|the (?:configuration|config|summary|choices|state|current state|page so far))|summar(?:y|ise|"
    r"ize)(?: .*)?|"
    r"(?:the )?(?:current )?(?:configuration|config|state|choices)|recap|where (?:are|were) we|"
    r"what do we have(?: so far)?|what did i choose(?: so far)?|"
    r"what is filled(?: in)?(?: so far)?)",
    re.IGNORECASE,
)


def _tell(text: str, names: Names) -> Iterator[Wish]:
    plain = text.strip(" ?.!")
    if _TELL_ALL.fullmatch(plain):
        yield Tell(None)
    elif (match := _TELL.fullmatch(plain)) and (key := names.find(match["key"])):
        yield Tell(key)


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


def _remember(text: str, names: Names) -> Iterator[Wish]:
    plain = " ".join(text.lower().split()).strip(" .!")
    if match := _FORGET.fullmatch(plain):
        kinds: tuple[Taste, ...] = get_args(Taste)
        named = tuple(kind for kind in kinds if kind == match["what"])
        yield from (Remember(kind, "") for kind in named or kinds)
    elif match := _TASTE_IS.fullmatch(plain):
        if names.find(match["kind"]) is None or "favo" in plain or plain.startswith("my "):
            yield Remember(_kind(match["kind"]), match["word"].strip())
    elif (match := _LIKING.fullmatch(plain)) and not speaks_of_one(match["what"]):
        yield from _liked(match["what"])


def speaks_of_one(text: str) -> bool:
    """“the red one”, “image 2”: an image that is there, not a liking."""
    return bool(re.search(r"\b(?:one|image \d+|picture \d+|number \d+|#\d+|\d+)\b", text)) or bool(select(text).places)


def _liked(what: str) -> Iterator[Wish]:
    for piece in _JOINT.split(what):
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


_CHOOSE = re.compile(
    r"(?:use|choose|pick|take|select|go with|go for|let'?s (?:use|take|go with)|i(?:'ll| will)? ?(?:take|use|choose|"
    r"go with|want|like|prefer)|i'?d like|"
    r"give me|put|place|try|make it|rather|how about|what about|what if we use)\s+(?P<sel>.+)",
    re.IGNORECASE,
)


_QUESTION = re.compile(r"(?:which|what|who|why|when|where|how|is|are|was|were|does|do|did|has|have)\b", re.IGNORECASE)
_THING = re.compile(r"(?:the|that|my|our) [a-z-]+(?: [a-z-]+){0,3}")
"""“the red boat”: few words, of which the images will tell whether they mean one."""


def _choose(text: str, names: Names) -> Iterator[Wish]:
    """An image without saying what for."""
    plain = text.strip(" ?.!")
    match = _CHOOSE.fullmatch(plain)
    said = match["sel"] if match else plain
    if _OTHER_VERB.search(said) or re.match(r"(?:not|no|nothing|without)\b", said, re.IGNORECASE):
        return
    if re.search(r"\b(?:all|every|both)\b", said) and not select(said).points:
        return
    if match is None and _QUESTION.match(said):
        chosen = select(said)
        if speaks_of_images(said) and chosen.points:
            yield Describe(chosen)
        return
    bare = re.fullmatch(r"(?:#?\d{1,3})(?:\s*(?:,|and|&)\s*#?\d{1,3})*", said)
    plainly = match is not None and _THING.fullmatch(said) and names.of("image") and not names.mentioned(said)
    if not (bare or plainly or speaks_of_images(said)) or (match is None and len(said.split()) > 12):
        return
    selection = select(said)
    if selection.points:
        yield SetImage(None, selection)


_READERS: tuple[Reader, ...] = (
    _plain, _undo, correct, _remember, _pick, _tell, _repaint, _use, _clear, _set, _show, _choose,
)  # fmt: skip
