"""Plain English about a page, read by pattern: what a person wishes, clause by clause.

Nothing is guessed at from afar: what fits no pattern is `Unknown`, and whoever answers says so. A message is read in
time linear in its length: it is even (`tools/models/normalize.py`), what is quoted is masked before it is cut, and
after so many pieces the rest is not understood.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from app.bindings.ai.builtin.assignments import Open, assigned, clear, set_value, use
from app.bindings.ai.builtin.corrections import correct, undo
from app.bindings.ai.builtin.likings import remember
from app.bindings.ai.builtin.phrases import word_of
from app.bindings.ai.builtin.picks import choose, pick
from app.bindings.ai.builtin.questions import repaint, show, tell
from app.bindings.ai.builtin.selections import speaks_of_images
from app.bindings.ai.builtin.slots import Names
from app.bindings.ai.builtin.wishes import Past, Pick, Plain, SetImage, SetText, ShowImages, Unknown, Wish
from graphs.chat.publish_consent import (
    asks_to_publish,
    nearly_asks_to_publish,
    refuses_to_publish,
    speaks_of_publishing,
)
from tools.models.normalize import even, is_quoted, masked, pieces_of, quotations
from tools.publishing.chats import Placeholder

Reader = Callable[[str, Names], Iterator[Wish | Open]]

MOST_PARTS, MOST_PIECES = 30, 10
"""Sentences and assignments of one message, and pieces of one sentence."""
LONGEST_NAME = 40
_SENTENCE = re.compile(r"(?:[^.!?;\n]|[.!?](?=\S))++\??")
_SEPARATOR = re.compile(r"\s*(?::|=>?|->|→| – | — | - )\s*(?=\S)")
_BOUNDARY = re.compile(r"[\n;,.!][ \t]*|\b(?:and|then)\s+")
_LEAD = re.compile(
    r"\s*(?:please\s+)?(?:(?:set|use|make|add|write|enter|change|update|for|as|in|and)\s+)?", re.IGNORECASE
)
_TRAIL = re.compile(
    r",?\s+(?:please|pls|use|take|write|put|say|try|choose|is|as|should be|reads?)(?:\s+to)?$", re.IGNORECASE
)
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
    names, text = Names(placeholders, past), even(text)
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


_AGREEING = (Plain("yes"), Plain("thanks"), Plain("good"))


class _Head(msgspec.Struct, frozen=True):
    """An assignment `key: value` within a text: where it begins, where its value does, and where that ends."""

    key: str
    start: int
    value: int
    end: int


def _wishes(text: str, names: Names) -> Iterator[Wish]:
    parts = list(_parts(text, names))
    for part in parts[:MOST_PARTS]:
        if isinstance(part, str):
            yield from _sentence(part, names)
            continue
        value, commands = _cut_commands(text[part.value : part.end], names)
        yield from assigned(part.key, value, names)
        for command in commands:
            yield from _clauses(command, names)
    if len(parts) > MOST_PARTS:
        yield Unknown("all of that at once")


def _parts(text: str, names: Names) -> Iterator[str | _Head]:
    """Assignments, and the sentences between them."""
    at = 0
    for head in _heads(text, names):
        yield from _sentences(text[at : head.start])
        yield head
        at = head.end
    yield from _sentences(text[at:])


def _heads(text: str, names: Names) -> list[_Head]:
    plain = masked(text, quotations(text))
    found = list[tuple[str, int, int]]()
    for mark in _SEPARATOR.finditer(plain):
        # Names are short: what is further off belongs to none.
        near = max(0, mark.start() - 4 * LONGEST_NAME)
        start = max((edge.end() for edge in _BOUNDARY.finditer(plain, near, mark.start())), default=near)
        lead = _LEAD.match(text, start)
        words = text[lead.end() if lead else start : mark.start()]
        words = _TRAIL.sub("", words) if len(words) < 2 * LONGEST_NAME else words
        if words.strip() and len(words) <= LONGEST_NAME and (key := names.find(words)):
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
    value = _unjoined(value)
    if is_quoted(value.rstrip(".!")):
        return value, []
    pieces = re.split(r"((?:,|\.|!)\s+(?:and\s+)?(?:then\s+)?|\s+and\s+then\s+|\s+then\s+|\s+and\s+)", value)
    commands: list[str] = []
    while (
        len(pieces) > 2
        and len(commands) < MOST_PIECES
        and (_is_command(pieces[-1], pieces[-2], names) or (loose and _is_more(pieces[-1], names)))
    ):
        commands.insert(0, pieces[-1])
        pieces = pieces[:-2]
    return "".join(pieces).strip(), commands


def _unjoined(value: str) -> str:
    """Without the comma or “and” that led on to what is not part of it."""
    while (shorter := value.rstrip(" ,;\n").removesuffix(" and")) != value:
        value = shorter
    return value.strip()


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


def _clauses(text: str, names: Names) -> Iterator[Wish]:
    for sentence in _sentences(text):
        yield from _sentence(sentence, names)


def _sentences(text: str) -> Iterator[str]:
    for match in _SENTENCE.finditer(masked(text, quotations(text))):
        plain = text[match.start() : match.end()].strip(" ,\t.!")
        if plain and plain.lower() not in ("and", "then", "and then"):
            yield plain


def _sentence(sentence: str, names: Names) -> Iterator[Wish]:
    """Read as a whole, else in pieces; with nothing understood it is one `Unknown`."""
    whole = list(_clause(sentence, names))
    pieces = [piece for piece in pieces_of(sentence) if piece]
    if not isinstance(whole[0], Unknown) or not 2 <= len(pieces) <= MOST_PIECES:
        yield from whole
        return
    parts = [list(_clause(piece, names)) for piece in pieces]
    if all(isinstance(part[0], Unknown) for part in parts):
        yield whole[0]
        return
    for part in parts:
        yield from part


def _clause(text: str, names: Names) -> Iterator[Wish]:
    """The wishes of one clause by the first reader that knows it; else one `Unknown`."""
    bare = _POLITE.sub("", text).strip(" ,") or text
    if bare != text and not _ASKED.search(bare):
        bare = bare.rstrip("? ")
    bare = _THANKS.sub("", bare) or text
    for reader in _READERS:
        for form in dict.fromkeys((text, bare)):
            if found := list(reader(form, names)):
                for wish in found:
                    yield from _closed(wish, names) if isinstance(wish, Open) else [wish]
                return
    yield Unknown(text)


def _closed(open_: Open, names: Names) -> Iterator[Wish]:
    """The value, and what was said after it in the same breath."""
    value, commands = _cut_commands(_THANKS.sub("", open_.value), names, loose=True)
    yield from assigned(open_.key, value.strip(" ,"), names)
    for command in commands:
        yield from _clauses(command, names)


_ASKED = re.compile(
    r"\b(?:to|as|be|is|it)\s+[\"“']?(?:what|who|why|when|where|how|which|is|are|do|does|can|will)\b[^?]*\?$",
    re.IGNORECASE,
)
"""A value that is a question keeps its mark, though “can you …?” loses its own."""
_THANKS = re.compile(r"(?<![\s,])[\s,]+(?:please|pls|plz|thanks|thank you|thx)[\s.!]*$")


def _plain(text: str, names: Names) -> Iterator[Wish]:
    if asks_to_publish(text) and len(pieces_of(text)) == 1:
        yield Plain("publish")
    elif word := word_of(text):
        yield Plain(word)


_READERS: tuple[Reader, ...] = (
    _plain, undo, correct, remember, pick, tell, repaint, use, clear, set_value, show, choose,
)  # fmt: skip
