"""What the built-in chat model says: how things stand, what it did, and what it did not understand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.bindings.ai.builtin.choosing import Choosing, Table, repaint
from app.bindings.ai.builtin.labels import as_it_is, capital, cut, label, listed, looks, names_of, the, value_of
from app.bindings.ai.builtin.selections import Selection
from app.bindings.ai.builtin.wishes import Describe, Doubt, Pick, Plain, Repaint, ShowImages, Tell, Undo, Unknown, Wish
from tools.publishing.chats import Brief, ImageCard, Placeholder, ProjectCard, Rendered, Saved, ToolFailed

NO_PAGE = (
    "I am picasso's built-in assistant. I help to fill the pages of artifacts and understand plain instructions about "
    "them; I am no language model and cannot talk about anything else."
)
WHO = (
    "I am picasso's built-in assistant: no language model, but a set of rules that reads plain English about this "
    "page. Set DEFAULT_MODEL_REASONING to talk to a real one."
)
CAN = (
    "I fill this page with you: tell me its texts, choose its images by number or by what they are like, or let "
    "me pick; "
    "once all is filled, say “publish”."
)
OFFER = "I suggest: "
MOST_LISTED = 12
SAYINGS = {
    "thanks": "You are welcome.",
    "bye": "Goodbye. All you chose is kept; come back whenever you like.",
    "how": "I am fine, thank you.",
    "who": WHO,
    "joke": "That is beyond me: I only know about this page.",
    "hold": "Nothing is published until you say so.",
    "later": "All right, that can wait.",
    "good": "Good.",
    "redo": "I cannot redo what was undone: please tell me once more what you want.",
    "no": "All right, nothing was changed.",
    "preview": "There is no preview: the page exists once it is published, and can be published again later.",
    "unpublish": "I cannot take a page off the web in this chat; whoever runs this server can do it for you.",
}


@dataclass(frozen=True)
class Told:
    """All that a reply is made of."""

    brief: Brief
    wishes: list[Wish]
    table: Table
    projects: list[ProjectCard]
    saved: list[Saved]
    rendered: list[Rendered]
    failed: list[ToolFailed]
    reasons: list[str]

    @property
    def missing(self) -> list[Placeholder]:
        return [known for known in self.brief.placeholders if known.value is None]

    @property
    def changed(self) -> dict[str, str]:
        """What was chosen in this turn, as it is now."""
        changed = {key: value for each in self.saved for key, value in each.saved.items()}
        return self.in_order(changed)

    def in_order(self, values: dict[str, str]) -> dict[str, str]:
        """As the template has them."""
        return {known.name: values[known.name] for known in self.brief.placeholders if known.name in values}


def compose(told: Told) -> str:
    """The reply: first what was done or asked, then where the page stands."""
    parts = [part for part in (*_done(told), *_answers(told), *_standing(told)) if part]
    return "\n".join(dict.fromkeys(parts))


def _done(told: Told) -> Iterator[str]:
    yield from told.reasons
    filled = [as_it_is(told.brief, key, value) for key, value in told.changed.items() if value]
    cleared = [the(key) for key, value in told.changed.items() if not value]
    if filled:
        yield f"Done: {'; '.join(filled)}."
    if cleared:
        yield f"Cleared: {listed(cleared)}."
    for each in told.saved:
        for refused in each.refused:
            yield f"I could not set {the(refused.key)}: {refused.message}."
    yield from _undone(told)
    yield from _liked(told)
    for failure in told.failed:
        yield f"That did not work: {failure.message}."
    for page in told.rendered:
        yield f"The page is public now: {page.link}"


def _undone(told: Told) -> Iterator[str]:
    undone = [each.undone for each in told.saved if each.undone is not None]
    back = told.in_order({key: value for each in undone for key, value in each.items()})
    if back:
        said = [
            f"{the(key)} is {value_of(told.brief, key, value) if value else 'empty'} again"
            for key, value in back.items()
        ]
        yield f"Undone: {'; '.join(said)}."
    elif any(isinstance(wish, Undo) for wish in told.wishes):
        yield "There is nothing to undo."


def _liked(told: Told) -> Iterator[str]:
    kept = {kind: word for each in told.saved for kind, word in each.remembered.items()}
    if likings := [f"{kind} “{word}”" for kind, word in kept.items() if word]:
        yield f"I will remember that you like: {listed(likings)}."
    if gone := [kind for kind, word in kept.items() if not word]:
        yield f"I forgot what you liked of {listed(gone)}."


def _answers(told: Told) -> Iterator[str]:
    for wish in told.wishes:
        match wish:
            case Plain(word):
                yield _plain(told, word)
            case ShowImages(chosen):
                yield _list(told, chosen)
            case Describe(chosen):
                yield from _described(told, chosen)
            case Repaint(chosen, change):
                yield _repainted(told, chosen, change)
            case Tell(key):
                yield _told(told, key)
            case Pick() if not told.changed:
                yield _nothing_to_pick(told)
            case Doubt(key):
                yield _doubted(told, key)
            case Unknown(text):
                yield _puzzled(told, text)


def _doubted(told: Told, key: str) -> str:
    if any(known.name == key and known.kind == "image" for known in told.brief.placeholders):
        return f"Which one shall it be for {the(key)}?\n{_list(told, Selection())}"
    return f"What shall {the(key)} be instead? Say “{label(key)}: …”, or “undo”."


_NO_PLACE = re.compile(
    r"(?:please )?(?:(?:set|change|make|add) )?(?:the |a |my )?([a-z_ ]{2,30}?)(?: ?[:=] ?| to ).+", re.I
)
_ELSEWHERE = frozenset([
    "der", "das", "und", "ich", "nicht", "bitte", "kannst", "zeig", "mir", "ist", "fehlt", "noch", "seite",
    "titel", "bilder", "le", "les", "je", "vous", "voudrais", "est", "une", "bonjour", "merci", "titre", "el",
    "los", "por", "puedes", "hacer", "quiero", "qué", "hola", "gracias", "il", "lo", "una", "che", "pagina",
    "ciao", "wat", "het", "een", "niet", "de", "não", "você", "olá", "jag", "och", "är", "hej"
])  # fmt: skip
"""Frequent words of other languages that are none of English."""


def _puzzled(told: Told, text: str) -> str:
    words = re.findall(r"[^\W\d_]+", text.lower())
    foreign = any(ord(letter) > 0x24F for word in words for letter in word) or not {*words}.isdisjoint(_ELSEWHERE)
    if foreign:
        return f"I am sorry, I only understand English. {_examples(told)} The texts themselves may be in any language."
    if match := _NO_PLACE.fullmatch(text):
        there = listed([the(known.name) for known in told.brief.placeholders])
        return f"I did not understand “{cut(text, 80)}”: this page has no “{match[1]}”, only {there}."
    return f"I did not understand “{cut(text, 80)}”. {_examples(told)}"


def _plain(told: Told, word: str) -> str:
    if word in SAYINGS:
        return SAYINGS[word]
    match word:
        case "hello":
            return f"Hello. {_needs(told)}{_offer(told)}"
        case "help":
            more = "Also: “what is missing”, “undo”, “start over”, “publish”."
            return f"{CAN} {_examples(told)} {more}\n{_needs(told)}{_offer(told, examples=False)}".strip()
        case "missing" if told.missing and not told.changed:
            return f"{_needs(told)}{_offer(told)}"
        case "yes" if told.missing and not told.changed:
            return f"{_needs(told)} {_next(told)}"
        case "publish?":
            return f"Did you mean “publish”? {_publishing(told, word)}"
        case "publishing" | "share":
            return _publishing(told, word)
        case "start over" if not told.changed:
            return "There is nothing to clear: the page is empty."
        case "publish" if told.missing:
            return f"I cannot publish yet: the page still needs {names_of(told.missing)}."
        case "link" if not told.rendered:
            return f"The page is at {told.brief.link}" if told.brief.link else "The page is not public yet."
        case "projects":
            named = listed([f"“{cut(card.name, 80)}”" for card in told.projects])
            return f"The page may show images of {named or 'no project'}."
    return ""


def _publishing(told: Told, word: str) -> str:
    page = told.brief
    if page.link and word == "share":
        return f"I cannot send anything myself: send {page.link} to whoever should see the page."
    if page.link:
        changed = " What you changed since is not on it yet: say “publish” for that." if page.changed else ""
        return f"The page is public at {page.link}, for everyone who has that link.{changed}"
    alone = "I cannot send anything myself, but you can send a link. " if word == "share" else ""
    first = f"It still needs {names_of(told.missing)}; then say" if told.missing else "Say"
    return (
        f"{alone}Nothing is public yet. {first} “publish”: I make the page public and give you its link, and everyone "
        "who has that can open the page."
    )


def _standing(told: Told) -> Iterator[str]:
    """Where the page stands, after something was changed or asked for."""
    if told.rendered or any(isinstance(wish, Unknown | ShowImages | Describe | Repaint) for wish in told.wishes):
        return
    words = {wish.word for wish in told.wishes if isinstance(wish, Plain)}
    if words & {"link", "publishing", "share", "publish?"} or (
        words & {"publish", "hello", "help"} and (told.missing or told.failed)
    ):
        return
    asked = any(wish in (Plain("missing"), Plain("yes"), Plain("hello"), Plain("help")) for wish in told.wishes)
    undone = any(each.undone for each in told.saved)
    if told.missing and (told.changed or undone):
        yield f"Still missing: {names_of(told.missing)}. {_next(told)}"
    elif not told.missing and (told.changed or asked or undone):
        yield _ready(told)


def _ready(told: Told) -> str:
    if told.brief.link and not told.brief.changed:
        return f"Everything is filled and public at {told.brief.link}"
    again = " again, for what is public does not show the latest changes yet" if told.brief.link else ""
    return f"Everything is filled. Say “publish” and I make the page public{again}."


def _needs(told: Told) -> str:
    if not told.brief.placeholders:
        return "This page has nothing to fill in: say “publish” and I make it public."
    if not told.missing:
        return ""
    return f"The page still needs {names_of(told.missing)}."


def _offer(told: Told, *, examples: bool = True) -> str:
    """Defaults for what is missing, with the images they are taken from."""
    if not told.missing:
        return ""
    picked = Choosing(told.brief, told.table).pick(()).values
    wanted = told.table.images[:5] if any(known.kind == "image" for known in told.missing) else []
    listed = "\n".join(_line(card) for card in wanted)
    shown = f" These images are there:\n{listed}\n" if listed else " "
    if not picked:
        return f"{shown}{_examples(told)}" if examples else shown
    taste = ", ".join(f"{kind} {word}" for kind, word in told.brief.taste.items())
    known = f" (I remember that you like: {taste}.)" if taste else ""
    said = "; ".join(as_it_is(told.brief, key, value) for key, value in picked.items())
    return f"{shown}{OFFER}{said}.{known} Say “pick for me” to take that, or tell me what you want: {_example(told)}."


def _next(told: Told) -> str:
    if any(known.kind == "image" for known in told.missing):
        return f"Say “show images” or “pick for me”, or tell me: {_example(told)}."
    return f"Tell me, as in {_example(told)}."


def _example(told: Told) -> str:
    first = next(iter(told.missing or told.brief.placeholders), None)
    if first is None:
        return "“publish”"
    return f"“use image 1 as {_spoken(first.name)}”" if first.kind == "image" else f"“{label(first.name)}: …”"


def _examples(told: Told) -> str:
    text = next((known.name for known in told.brief.placeholders if known.kind == "text"), None)
    image = next((known.name for known in told.brief.placeholders if known.kind == "image"), None)
    examples = [f"“{label(text)}: Autumn”"] if text else []
    examples += [f"“use image 2 as {_spoken(image)}”", "“show images”"] if image else []
    return f"You can say {listed([*examples, '“pick for me”'], 'or')}."


def _spoken(name: str) -> str:
    """A name that is understood again."""
    words = label(name).removesuffix(" image")
    return name.lower().replace("_", " ") if words.startswith("image slot") else words


def _list(told: Told, chosen: Selection) -> str:
    images = [card for card in told.table.images if chosen.judgment in (None, card.judgment)]
    if not images:
        return "There are no such images." if chosen.points else "The projects of this page have no images yet."
    lines = "\n".join(_line(card) for card in images[:MOST_LISTED])
    left = len(images) - MOST_LISTED + told.table.more
    more = f"\nAnd {left} more; “show images by …” or “show the red ones” narrows the list." if left > 0 else ""
    return f"{lines}{more}\nSay “use image {images[0].number}”, or what the one you want is like."


def _line(card: ImageCard) -> str:
    return f"{card.number}. {cut(card.prompt, 80)} ({looks(card)}): {card.url}"


def _described(told: Told, chosen: Selection) -> Iterator[str]:
    numbers, reason = Choosing(told.brief, told.table).find(chosen)
    yield reason
    for card in filter(None, map(told.table.card, numbers)):
        note = f" The judge says: {card.note}" if card.note else ""
        yield f"Image {card.number}: {cut(card.prompt, 160)} ({looks(card)}).{note} {card.url}"


def _repainted(told: Told, chosen: Selection, change: str) -> str:
    numbers, _ = Choosing(told.brief, told.table).find(chosen) if chosen.points else ([], "")
    on_page = next(iter(told.brief.numbers.values()), 0)
    base = told.table.card(numbers[0] if numbers else on_page) or next(iter(told.table.images), None)
    if base is None:
        return "I cannot paint in this chat, and the projects of this page have no images yet."
    return f"I cannot paint in this chat. {repaint(base, change)}"


def _told(told: Told, key: str | None) -> str:
    if key is not None:
        value = next(known.value for known in told.brief.placeholders if known.name == key)
        return as_it_is(told.brief, key, value) + "." if value else f"{capital(the(key))} is still empty."
    filled = [as_it_is(told.brief, known.name, known.value) for known in told.brief.placeholders if known.value]
    missing = f" Still missing: {names_of(told.missing)}." if told.missing else ""
    return (f"So far: {'; '.join(filled)}." if filled else "Nothing is chosen yet.") + missing


def _nothing_to_pick(told: Told) -> str:
    if not told.missing:
        return "Everything is filled already."
    return f"I cannot make up {names_of(told.missing)}: please tell me, as in {_example(told)}."
