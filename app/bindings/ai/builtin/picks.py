"""Images that are chosen, and choices that are left to the assistant: “the red one”, “pick for me”."""

import re
from collections.abc import Iterator

from app.bindings.ai.builtin.selections import select, speaks_of_images
from app.bindings.ai.builtin.slots import Names
from app.bindings.ai.builtin.wishes import Clear, Describe, Pick, SetImage, Unknown, Wish

CLEARED = re.compile(r"(?:to )?(?:nothing|none|empty|blank|-|no image)")
OTHER_VERB = re.compile(r"\b(?:use|call|set|make|put|title|name|undo|publish|write|add|change)\b", re.IGNORECASE)
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


def pick(text: str, names: Names) -> Iterator[Wish]:
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


def image_for(key: str, value: str) -> Wish:
    plain = value.lower().strip(" .!")
    if CLEARED.fullmatch(plain):
        return Clear(key)
    if _is_pick(plain):
        return Pick((key,))
    selection = select(plain)
    return SetImage(key, selection) if selection.points else Unknown(value)


_CHOOSE = re.compile(
    r"(?:use|choose|pick|take|select|go with|go for|let'?s (?:use|take|go with)|i(?:'ll| will)? ?(?:take|use|choose|"
    r"go with|want|like|prefer)|i'?d like|"
    r"give me|put|place|try|make it|rather|how about|what about|what if we use)\s+(?P<sel>.+)",
    re.IGNORECASE,
)


_QUESTION = re.compile(r"(?:which|what|who|why|when|where|how|is|are|was|were|does|do|did|has|have)\b", re.IGNORECASE)
_THING = re.compile(r"(?:the|that|my|our) [a-z-]+(?: [a-z-]+){0,3}")
"""“the red boat”: few words, of which the images will tell whether they mean one."""


def choose(text: str, names: Names) -> Iterator[Wish]:
    """An image without saying what for."""
    plain = text.strip(" ?.!")
    match = _CHOOSE.fullmatch(plain)
    said = match["sel"] if match else plain
    if OTHER_VERB.search(said) or re.match(r"(?:not|no|nothing|without)\b", said, re.IGNORECASE):
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
