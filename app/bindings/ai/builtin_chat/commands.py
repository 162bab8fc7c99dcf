"""What a message asks the built-in chat model to do.

A message is read line by line, in time linear in its length. A line may hold assignments `KEY: value` and, before
them, one command; what fits neither is `Unknown`. KEY is the name of a placeholder or its plain words.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from app.bindings.ai.builtin_chat.options import option_of, order_of
from graphs.chat.brief import Placeholder
from graphs.chat.publish_consent import asks_to_publish, holds_back, is_yes, mentions_publishing
from tools.models.normalize import even, masked, quotations

LONGEST_KEY, LONGEST_COMMAND, ANSWER_WORDS = 64, 120, 2
MOST_JOINTS = 3
"""Parts of a line's end that are looked at for a request to publish; more would be read again and again."""

Word = Literal["start over", "undo", "missing", "pick", "images", "help", "publish"]


class SetValue(msgspec.Struct, frozen=True):
    """Fill a placeholder with a text; an empty value clears it, also one for an image."""

    key: str
    value: str


class SetImage(msgspec.Struct, frozen=True):
    """Fill an image placeholder; without a `key` the first empty one.

    The image is meant by its number, else by `words` that name its provider, verdict, colour or subject; without
    either it is the best judged one.
    """

    key: str | None
    number: int | None = None
    words: tuple[str, ...] = ()


class Plain(msgspec.Struct, frozen=True):
    """A command without particulars."""

    word: Word


class Unknown(msgspec.Struct, frozen=True):
    """A part of the message that is not understood."""

    text: str

    @property
    def may_be_a_change(self) -> bool:
        """Whether it seems to ask for a change of the page, rather than being mere talk."""
        return _CHANGE.search(self.text) is not None

    @property
    def is_answer(self) -> bool:
        """Whether it is a mere yes or no, which answers the offer to publish."""
        return is_yes(self.text) or (len(self.text.split()) <= ANSWER_WORDS and holds_back(self.text))


Command = SetValue | SetImage | Plain | Unknown

_HEAD = re.compile(
    r"(?:^|(?<=[.!]) |[,;] ?|\band )"
    r"(?=(?P<head>(?P<lead>(?:(?:and|then|please|set|change|make|use|add|an?|the|my) ){0,4}+)"
    rf"(?P<key>\w[\w ]{{0,{LONGEST_KEY - 1}}}?) ?[:=] ?)\S)",
    re.IGNORECASE,
)
_JOINT = re.compile(r"[,;.!] ?(?:and )?(?:then )?| (?:and then|and|then) ", re.IGNORECASE)
_POLITE = re.compile(r"^(?:(?:please|ok|okay|and|then|now|just|can you|could you|i want to|let's)[, ]+){0,4}+", re.I)
_SET = re.compile(
    rf"(?:set|change|make|put|update) (?P<key>.{{1,{LONGEST_KEY}}}?) (?:to|into) (?P<value>.+)", re.IGNORECASE
)
_CLEAR = re.compile(rf"(?:clear|remove|delete|empty) (?P<key>.{{1,{LONGEST_KEY}}})", re.IGNORECASE)
_USE = re.compile(
    rf"(?:(?:use|take|choose|pick|select|put|set|make) )?(?P<what>.{{1,{LONGEST_COMMAND}}})"
    rf" (?:as|for|in|on|to) (?P<key>.{{1,{LONGEST_KEY}}})",
    re.IGNORECASE,
)
_IMAGE = re.compile(
    rf"(?:(?:use|take|choose|pick|select|put|i like|i want|i'd like) )?(?P<what>.{{1,{LONGEST_COMMAND}}})", re.I
)
_CHANGE = re.compile(
    r"\b(?:set|change|make|use|take|put|call|clear|remove|undo|images?|pictures?|ones?)\b|[\d:=]", re.IGNORECASE
)
_WORDS: tuple[tuple[Word, re.Pattern[str]], ...] = (
    ("start over", re.compile(r"start (?:over|again|from scratch)|reset|(?:clear|remove) (?:everything|all|the page)")),
    ("undo", re.compile(r"undo(?: (?:it|that|this|please|the last (?:one|choice|change)))?|take (?:it|that) back")),
    ("missing", re.compile(r"what(?:'s| is| are)?(?: still)? (?:missing|left|open|next)|missing|status")),
    ("pick", re.compile(r"(?:pick|choose|fill)(?: .{1,40})? for me|you (?:pick|choose|decide)|surprise me|pick")),
    ("images", re.compile(r"(?:show|list|which|what) .{0,40}\b(?:images|pictures|ones)\b.{0,40}|images")),
    ("help", re.compile(
        r"(?:(?:hello|hi|hey)(?: there)?[,.!] )?(?:help(?: me)?|what can (?:you|i) (?:do|say)(?: here| for me)?)"
        r"|(?:hello|hi|hey)(?: there)?|commands"
    )),
)  # fmt: skip
_SEVERAL = re.compile(
    r"(?:(?:use|take|show|only|put|order|pick|choose) )?(?:only )?(?:the )?(?:(?:image|picture|photo|number)s?|order) "
    r"(?P<numbers>#?\d{1,4}(?:(?:,? and|,? then| &|,)? ?#?\d{1,4}| ?(?:-|–|to|through) ?#?\d{1,4}){0,40})",
)
_RANGE = re.compile(r"(\d{1,4}) ?(?:-|–|to|through) ?#?(\d{1,4})")
MOST_IN_RANGE = 500
_ALL = re.compile(r"(?:(?:use|take|show) )?(?:all|every) (?:the )?(?:images?|pictures?)|all")
_POINTER = re.compile(r"\b(?:images?|pictures?|photos?|ones?|best)\b|#")
_NUMBER = re.compile(r"(?<![\w-])#?(\d{1,4})(?![\w-])")
_NO_CHOICE = re.compile(
    r"\b(?:not|no|none|never|without|except|but|or|all|both|for|as|which|what|why|how|when|is|are)\b"
)
"""Words of a negation, a question or a talk about images, which choose none."""
_FILLER = re.compile(
    r"an?|the|this|that|it|ones?|images?|pictures?|photos?|number|please|by|from|of|in|with|as|to|and|best|judged|made|"
    r"painted|who|was|has|have"
)


class Names:
    """What the placeholders of one template may be called: TITLE also “title”, IMAGE_HERO also “hero image”, “hero”."""

    def __init__(self, placeholders: Sequence[Placeholder]) -> None:
        self.placeholders = placeholders
        self.images = [known.name for known in placeholders if known.kind == "image"]
        self.several = [known.name for known in placeholders if known.kind == "images"]
        self._names = {known.name.lower().replace("_", " "): known.name for known in placeholders}
        if self.several:
            self._names["order"] = self.several[0]
        for name in self.images:
            words = name.lower().replace("_", " ").removeprefix("image").strip()
            for phrase in (f"{words} image", f"image slot {words}", words) if words else ():
                self._names.setdefault(phrase, name)

    def find(self, phrase: str) -> str | None:
        """The placeholder of that name or those words; None when there is none."""
        said = " ".join(phrase.lower().replace("_", " ").split()).strip(" \"'“”.!?")
        return self._names.get(said) or self._names.get(re.sub(r"^(?:the|my|our|its) ", "", said))


def read(text: str, placeholders: Sequence[Placeholder], *, approved: bool = False) -> list[Command]:
    """What the text asks for, in its order. To publish comes last, whether it only speaks of that or is `approved`:
    by a request, by a yes to the offer, or by the button."""
    names, commands = Names(placeholders), list[Command]()
    lines = even(text).split("\n")
    kept = [without_request(line) for line in lines]
    for line in kept:
        plain = masked(line, quotations(line))
        heads = [
            (match.start(), match.end("head"), key)
            for match in _HEAD.finditer(plain)
            if (key := names.find(match["key"]) or names.find(match["lead"] + match["key"]))
        ]
        ends = [*(start for start, _, _ in heads), len(line)]
        if opening := line[: ends[0]].strip(" ,;.!"):
            commands.append(_command(opening, names))
        commands += [
            _assigned(key, line[start:end], names)
            for (_, start, key), end in zip(heads, ends[1:], strict=True)
        ]  # fmt: skip
    talk = [
        each
        for each in commands
        if isinstance(each, Unknown)
        and (mentions_publishing(each.text) or each.is_answer or (approved and not each.may_be_a_change))
    ]
    asked = approved or talk or kept != lines
    return [*(each for each in commands if each not in talk), *([Plain("publish")] if asked else [])]


def without_request(line: str) -> str:
    """The line without the request to publish that ends it: “title: Autumn, then publish it” → “title: Autumn”."""
    if not mentions_publishing(line):
        return line
    if asks_to_publish(line):
        return ""
    joints = list(_JOINT.finditer(masked(line, quotations(line))))
    for joint in joints[-MOST_JOINTS:]:
        # After a bare “and” the verb needs its object: “Read and publish” may be a title.
        last = line[joint.end() :]
        if asks_to_publish(last) and (joint[0] != " and " or " " in last.strip()):
            return line[: joint.start()]
    return line


def _command(text: str, names: Names) -> Command:
    """The one command that the text is; `Unknown` when it is none."""
    bare = _POLITE.sub("", text, count=1).rstrip(" ?").removesuffix(" please").rstrip(" ,")
    plain = bare.lower()
    if names.several and (found := _SEVERAL.fullmatch(plain) or _ALL.fullmatch(plain)):
        return SetValue(names.several[0], counted(found.groupdict().get("numbers", "")))
    if option := option_of(bare, names.placeholders, names.find):
        return SetValue(*option)
    for word, pattern in _WORDS:
        if pattern.fullmatch(plain):
            return Plain(word)
    if (match := _SET.fullmatch(bare)) and (key := names.find(match["key"])):
        return _assigned(key, match["value"].removesuffix("."), names)
    if (match := _CLEAR.fullmatch(bare)) and (key := names.find(match["key"])):
        return SetValue(key, "")
    if (match := _USE.fullmatch(bare)) and (key := names.find(match["key"])) and key in names.images:
        return _chosen(key, match["what"]) or Unknown(text)
    if (match := _IMAGE.fullmatch(plain)) and (_POINTER.search(plain) or _NUMBER.fullmatch(match["what"])):
        return _chosen(None, match["what"]) or Unknown(text)
    return Unknown(text)


def _assigned(key: str, value: str, names: Names) -> Command:
    value = value.strip(" ,;")
    if key in names.images:
        return _chosen(key, value) or Unknown(f"{key}: {value}")
    if key in names.several:
        value = "" if _ALL.fullmatch(value.lower()) else order_of(value) or counted(value)
    quoted = re.fullmatch(r"[\"“„](.+)[\"”“][.!]?", value)
    return SetValue(key, quoted[1].strip() if quoted else value)


def counted(numbers: str) -> str:
    """The numbers with each “2-4” or “2 to 4” counted out."""
    spans = ((match, int(match[1]), int(match[2])) for match in _RANGE.finditer(numbers))
    for match, first, last in [*spans][::-1]:
        step = 1 if first <= last else -1
        if abs(last - first) < MOST_IN_RANGE:
            spoken = ", ".join(map(str, range(first, last + step, step)))
            numbers = f"{numbers[: match.start()]}{spoken}{numbers[match.end() :]}"
    return numbers


def _chosen(key: str | None, what: str) -> SetImage | None:
    """The image meant by the words; None when they mean no image, or more than one."""
    plain = what.lower()
    numbers, spoken = _NUMBER.findall(plain), re.findall(r"[a-z][\w-]*", plain)
    words = tuple(dict.fromkeys(word for word in spoken if not _FILLER.fullmatch(word)))
    if len(plain) > LONGEST_COMMAND or _NO_CHOICE.search(plain):
        return None
    if len(numbers) == 1 and not words:
        return SetImage(key, int(numbers[0]))
    return SetImage(key, None, words) if not numbers and (words or _POINTER.search(plain)) else None
