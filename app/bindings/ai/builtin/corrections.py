"""What is said about the choice before: “actually, make that Winter”, “no, the other one”, “same for the footer”."""

import re
from collections.abc import Iterator

from app.bindings.ai.builtin.selections import Selection, select, speaks_of_images
from app.bindings.ai.builtin.slots import Names
from app.bindings.ai.builtin.wishes import Another, Clear, Copy, Doubt, SetImage, SetText, Undo, Wish

_IT = r"(?:it|that|this|them|those|(?:that|this) one)"
_MARK = r"(?:(?:no|nope|nah|actually|sorry|oops|wait|hm+|oh|ah|well|or|rather|better|but|please)[\s,.!:-]+)"
_CHANGE = re.compile(rf"{_MARK}*(?:change|turn|set|rename|switch) {_IT} (?:to|into)\s+(?P<value>.+)", re.I | re.S)
_MAKE = re.compile(rf"(?:{_MARK}+make {_IT}|{_MARK}*make that)\s+(?P<value>.+)", re.I | re.S)
_INSTEAD = re.compile(
    rf"{_MARK}*(?:make|use|take|write|call) (?:{_IT} )?(?P<value>.+?),? (?:instead|rather)", re.I | re.S
)
_MEANT = re.compile(
    rf"{_MARK}*(?:i|we) (?:meant|mean|wanted(?: to say)?|was thinking of)[\s:]+(?P<value>.+)", re.I | re.S
)
_BARE = re.compile(rf"{_MARK}+(?P<value>.+)", re.I | re.S)
_NOT_BUT = re.compile(rf"{_MARK}*not .+?,? but (?P<value>.+)", re.I | re.S)
_BETTER = re.compile(
    r"(?:i think )?(?P<value>.+?) (?:would|might|could|will|is|are|looks?|works?)(?: be| look| work| fit)? "
    r"(?:better|nicer|best)",
    re.I,
)
_SAME = re.compile(
    r"(?:(?:use|take|put|and|do)\s+)*(?:the )?same (?:(?:\w+ )?(?:again )?)(?:for|as|in|on|to|with)\s+(?P<key>.+?)"
    r"(?:\s+as (?:for|in|on)\s+(?P<source>.+))?",
    re.I,
)
_TOO = re.compile(r"(?:and )?(?:for |in )?(?P<key>.+?),? (?:too|as well|likewise|also)", re.I)
_SWAP = re.compile(r"(?:swap|switch|exchange|flip) (?P<one>.+?) (?:and|with) (?P<other>.+?)(?: around| round)?", re.I)
_SWAP_THEM = re.compile(
    r"(?:swap|switch|exchange|flip)(?: (?:them|the (?:two )?(?:images|pictures)|the two|both))?(?: around| round)?",
    re.I,
)
_OUT = re.compile(
    rf"{_MARK}*(?:(?:take|leave|throw|get) {_IT} (?:out|off|away)|(?:remove|delete|drop|clear|lose) {_IT})", re.I
)
_BACK = re.compile(rf"{_MARK}*(?:(?:put|bring|get|give me) {_IT} back(?: again)?|restore(?: {_IT})?)", re.I)
_ANOTHER = re.compile(
    rf"{_MARK}*(?:(?:show me|give me|try|use|take|pick|suggest) )?(?:another(?: one| image| picture)?|"
    r"a different (?:one|image|picture)|something (?:else|different)|the next(?: one)?)",
    re.I,
)
_DOUBT = re.compile(
    rf"{_MARK}*(?:(?:use |take )?the other(?: one| image| picture)?|not (?:that|this)(?: one)?|not {_IT}|"
    rf"i (?:do not|don't) (?:like|want|love) {_IT}|that(?:'s| is) (?:wrong|not right|not it|not what i (?:meant|"
    rf"wanted)))",
    re.I,
)
_POINTED = re.compile(
    rf"(?:yes,? )?(?:(?:use|take|choose|pick|i(?:'ll)? (?:want|take)|i like) )?{_IT}(?: please)?", re.I
)
_MORE = re.compile(
    r"(?:add|append)\s+(?:to (?P<key>[a-z0-9_ ]+?)\s*:\s*(?P<value>.+)|(?P<value2>.+?)\s+to (?P<key2>[a-z0-9_ ]+))",
    re.I | re.S,
)
_NO_TEXT = re.compile(
    r"(?:i|i'\w+|it|that|this|you|we|they|the other|not|no|don't|do|does|is|are|what|which|who|why|how|where|when|can|"
    r"could|would|will|please|thanks|all|nothing|stop|wait|yes|ok|okay|show|list|help|undo|go|let's|let)\b",
    re.I,
)
"""Openings of what is no text for a placeholder."""
LONGEST_SLIP = 60
"""Of a text that is only told by “no, …”."""


_UNDO = re.compile(
    r"(?:undo|revert|take (?:that|it|this) back|go back(?: one)?(?: step)?|step back|oops|roll ?back|"
    r"never ?mind(?: that)?|"
    r"take back|back)(?: (?:it|that|this|please|again|now|one|step|too|also|as well))*"
    r"(?: (?:the |my )?(?:last|latest|previous)? ?(?:(\d|two|three|four|five|twice) ?)?"
    r"(?:one|choices?|changes?|steps?|edits?|things?|times?|thing i said)?)?"
)
_TIMES = {"two": 2, "twice": 2, "three": 3, "four": 4, "five": 5}
MOST_UNDONE = 5


def undo(text: str, names: Names) -> Iterator[Wish]:
    if match := _UNDO.fullmatch(" ".join(text.lower().split()).strip(" ,.!")):
        times = _TIMES.get(match[1]) or int(match[1]) if match[1] else 1
        yield Undo(min(max(times, 1), MOST_UNDONE))


def correct(text: str, names: Names) -> Iterator[Wish]:
    """Wishes about what was chosen last, or about several placeholders at once; nothing when none was chosen."""
    said = text.strip(" ,.!?")
    readers = (_moved, _more, _taken_back, _replaced)
    yield from next((found for read in readers if (found := list(read(said, names)))), [])


def _moved(said: str, names: Names) -> Iterator[Wish]:
    """What goes from one placeholder to another of its kind."""
    match = _SWAP.fullmatch(said)
    pair = _pair(match["one"], match["other"], names) if match else None
    if pair is None and _SWAP_THEM.fullmatch(said):
        pair = _two(names)
    if pair:
        yield Copy((pair, pair[::-1]))
    elif match := _SAME.fullmatch(said):
        source = names.find(match["source"]) if match["source"] else names.last
        yield from _copied(names.find(match["key"]), source, names)
    elif (match := _TOO.fullmatch(said)) and names.last:
        yield from _copied(names.find(match["key"]), names.last, names)


def _pair(one: str, other: str, names: Names) -> tuple[str, str] | None:
    first, second = names.find(one), names.find(other)
    if first is None or second is None or first == second or names.kind(first) != names.kind(second):
        return None
    return first, second


def _two(names: Names) -> tuple[str, str] | None:
    """The two that “them” are: the images chosen last, else all that there are."""
    for keys in ([key for key in names.past.keys if names.kind(key) == "image"], names.of("image")):
        if len(keys) == 2:
            return keys[0], keys[1]
    return None


def _copied(key: str | None, source: str | None, names: Names) -> Iterator[Wish]:
    if key and source and key != source and names.kind(key) == names.kind(source) and names.value(source):
        yield Copy(((key, source),))


def _more(said: str, names: Names) -> Iterator[Wish]:
    match = _MORE.fullmatch(said)
    key = names.find(match["key"] or match["key2"], "text") if match else None
    if match and key:
        yield SetText(
            key, " ".join(filter(None, (names.value(key), (match["value"] or match["value2"]).strip(' "“”'))))
        )


def _taken_back(said: str, names: Names) -> Iterator[Wish]:
    past = names.past
    if _OUT.fullmatch(said) and past.keys:
        yield from [Clear(past.keys[0])] if len(past.keys) == 1 else [Undo()]
    elif _BACK.fullmatch(said) and past.keys and not past.undone:
        yield Undo()


def _replaced(said: str, names: Names) -> Iterator[Wish]:
    if match := _BETTER.fullmatch(said):
        yield from _pictured(names.last, match["value"], names)
        return
    if _POINTED.fullmatch(said) and names.past.image:
        key = names.last if names.last and names.kind(names.last) == "image" else None
        yield SetImage(key, Selection(numbers=(names.past.image,)))
        return
    key = names.last
    if key is None:
        return
    if _ANOTHER.fullmatch(said) and names.kind(key) == "image":
        yield Another(key)
    elif _DOUBT.fullmatch(said):
        yield Doubt(key)
    else:
        yield from _instead(key, said, names)


def _instead(key: str, said: str, names: Names) -> Iterator[Wish]:
    match = next((m for form in (_CHANGE, _MAKE, _MEANT, _INSTEAD, _NOT_BUT) if (m := form.fullmatch(said))), None)
    if match is None and (match := _BARE.fullmatch(said)) and not _is_slip(match["value"], key, names):
        return
    if match is None:
        return
    if names.kind(key) == "image":
        yield from _pictured(key, match["value"], names)
    else:
        yield SetText(key, match["value"].strip(' "“”'))


def _is_slip(value: str, key: str, names: Names) -> bool:
    """Whether “no, …” may go on with nothing but the right value."""
    if len(value) > LONGEST_SLIP or _NO_TEXT.match(value):
        return False
    return names.kind(key) == "image" or not value[:1].islower()


def _pictured(key: str | None, value: str, names: Names) -> Iterator[Wish]:
    image = key if key and names.kind(key) == "image" else None
    named = speaks_of_images(value) or re.fullmatch(r"(?:the|a|an|my|our) [a-z -]{2,40}", value, re.I)
    if _NO_TEXT.match(value):
        return
    chosen = select(value)
    if named and chosen.points and names.of("image") and not names.mentioned(value):
        yield SetImage(image, chosen)
