"""What is asked about images and about the page: “show the red ones”, “why did image 3 fail?”, “what is the title?”."""

import re
from collections.abc import Iterator

from app.bindings.ai.builtin.selections import CHANGES, Selection, select, speaks_of_images
from app.bindings.ai.builtin.slots import Names
from app.bindings.ai.builtin.wishes import Describe, Repaint, ShowImages, Tell, Wish

_REPAINT = re.compile(
    r"(?:generate|paint|create|draw|render me|retry|repaint|redo|regenerate|produce|get me|make (?:me )?(?:a |"
    r"an )?(?:new|another))\b\s*(?P<what>.*)",
    re.IGNORECASE,
)
_MAKE_IT = re.compile(rf"(?:make|turn|paint)\s+(?P<what>.+?)\s+(?P<change>{CHANGES.pattern})", re.IGNORECASE)


def repaint(text: str, names: Names) -> Iterator[Wish]:
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


def show(text: str, names: Names) -> Iterator[Wish]:
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


def tell(text: str, names: Names) -> Iterator[Wish]:
    plain = text.strip(" ?.!")
    if _TELL_ALL.fullmatch(plain):
        yield Tell(None)
    elif (match := _TELL.fullmatch(plain)) and (key := names.find(match["key"])):
        yield Tell(key)
