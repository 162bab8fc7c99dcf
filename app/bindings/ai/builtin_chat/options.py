"""How people ask for the options of a page that a generator makes: “hide captions”, “dark theme”, “newest first”."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from graphs.chat.brief import Placeholder
from graphs.chat.results import ImageCard
from tools.rows import MERIT

YES_NO = ("yes", "no")
ORDERS: Mapping[str, Callable[[ImageCard], tuple[object, ...]]] = {
    "newest first": lambda card: (-card.made, card.number),
    "oldest first": lambda card: (card.made, card.number),
    "best first": lambda card: (MERIT[card.verdict], card.number),
    "by provider": lambda card: (card.provider.lower(), card.number),
    "by prompt": lambda card: (card.prompt.lower(), card.number),
}
_ORDER = re.compile(
    r"(?:(?:order|sort|show|arrange|put|make)?(?: (?:it|them|all|the|images?|pictures?|from))*+:? )?"
    r"(?:(?P<newest>newest|latest|most recent|new(?=.* to old))|(?P<oldest>oldest|earliest|old(?=.* to new))|"
    r"(?P<best>best(?: judged)?)|(?P<by>by (?P<what>provider|prompt|date|age|verdict)))"
    r"(?: (?:images?|pictures?|ones?))?(?: first| to \w+)?",
)
_BY = {"date": "oldest first", "age": "oldest first", "verdict": "best first"}
_ON = re.compile(r"(?:show|with|enable|display|include|add|turn on|switch on|i want) (?P<what>.+)")
_OFF = re.compile(
    r"(?:hide|without|no|disable|omit|remove|drop|turn off|switch off|leave out|(?:don't|do not) (?:show|want)) "
    r"(?P<what>.+)"
)
_AFTER = re.compile(r"(?:(?:turn|switch|set) )?(?P<what>.+?) (?:to )?(?:(?P<on>on|yes|true)|off|no|false)")
_TITLE = re.compile(
    r"(?:rename|call|name|title|retitle|entitle) (?:it|this|that|the \w+|this \w+)(?: to| as)?[: ] ?(?P<value>.+)", re.I
)
_NUMBER = re.compile(
    r"(?:(?:use|make it|set|show|at most) )?(?P<first>\d{1,6}(?:\.\d{1,3})?) (?P<key>.+?)"
    r"(?: (?:each|per \w+|for each .+))?|"
    r"(?:set )?(?P<named>.+?) (?:to )?(?P<second>\d{1,6}(?:\.\d{1,3})?)"
)
_FILLER = re.compile(
    r"an?|the|it|this|page|please|use|make|set|switch|change|take|want|i|i'd|like|to|in|with|mode|style|look|format|size|"
    r"layout|images?|pictures?|ones?|be|should|is|of|for|go"
)


def option_of(
    bare: str, placeholders: Sequence[Placeholder], find: Callable[[str], str | None]
) -> tuple[str, str] | None:
    """The option that the words ask for and the value they give it, by the page's own options; `find` knows their
    names."""
    plain, known = bare.lower(), {each.name: each for each in placeholders if each.optional}
    if (match := _TITLE.fullmatch(bare)) and "TITLE" in known:
        return "TITLE", match["value"].strip('"“”„ ').removesuffix(".")
    for key, value in (*_flags(plain, known, find), *_orders(plain, known), *_chosen(plain, known)):
        return key, value
    if match := _NUMBER.fullmatch(plain):
        option = known.get(find(match["key"] or match["named"]) or "")
        if option and option.kind == "text" and not option.choices and option.name != "TITLE":
            return option.name, match["first"] or match["second"]
    return None


def order_of(text: str) -> str | None:
    """The order of images that the words name, one of `ORDERS`."""
    if (match := _ORDER.fullmatch(text.strip().lower())) is None:
        return None
    if match["by"]:
        return _BY.get(match["what"], match["by"])
    return next(f"{name} first" for name in ("newest", "oldest", "best") if match[name])


def _flags(
    plain: str, known: Mapping[str, Placeholder], find: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    """“show verdicts”, “hide the captions”, “autoplay on”."""
    for pattern in (_ON, _OFF, _AFTER):
        if match := pattern.fullmatch(plain):
            what = re.sub(r"^(?:the|any|all|its) ", "", match["what"])
            is_on = pattern is _ON or (pattern is _AFTER and match["on"] is not None)
            for name in (find(what), find(f"show {what}"), find(f"{what}s"), find(what.removesuffix("s"))):
                if name is not None and name in known and known[name].choices == YES_NO:
                    yield name, "yes" if is_on else "no"


def _orders(plain: str, known: Mapping[str, Placeholder]) -> Iterator[tuple[str, str]]:
    order = order_of(plain)
    yield from ((name, order) for name, each in known.items() if each.kind == "images" and order)


def _chosen(plain: str, known: Mapping[str, Placeholder]) -> Iterator[tuple[str, str]]:
    """“dark theme”, “make it dark”, “only the passed ones”: a value beside its option's name, or of only one option."""
    said = [word for word in re.findall(r"[\w'-]+", plain.replace("-", " ")) if not _FILLER.fullmatch(word)]
    for name, each in known.items():
        for choice in each.choices if each.choices != YES_NO else ():
            words, named = choice.lower().replace("-", " ").split(), name.lower().split("_")
            rest = list(said)
            for word in words:
                if word in rest:
                    rest.remove(word)
            shared = sum(choice in other.choices for other in known.values()) > 1
            if len(rest) == len(said) - len(words) and (rest == named or (not rest and not shared and name != "ONLY")):
                yield name, choice
