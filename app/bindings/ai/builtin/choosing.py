"""How the built-in chat model chooses: images by what was said of them, and defaults from what the projects tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.bindings.ai.builtin.labels import cut, label, listed, looks
from app.bindings.ai.builtin.selections import Selection
from app.bindings.ai.builtin.slots import Names
from tools.media.colours import colour_named
from tools.models.prompt_words import read_wording
from tools.publishing.chats import Brief, ImageCard, ProjectCard

TITLES = ("TITLE", "HEADLINE", "HEADING", "NAME", "PAGE_TITLE")
SUBTITLES = ("SUBTITLE", "TAGLINE", "SUBHEADING", "STRAPLINE")
INTROS = ("INTRO", "INTRODUCTION", "DESCRIPTION", "BODY", "TEXT", "ABOUT", "SUMMARY", "STORY", "LEAD", "COPY")
CREDITS = ("CREDIT", "CREDITS", "BYLINE")
TASTES = {"THEME": "theme", "TONE": "tone", "LAYOUT": "layout"}
LINE, PARAGRAPH = 120, 600
CHANGED = {
    "warmer": "warm", "sunnier": "warm", "redder": "red", "cooler": "cool", "colder": "cool", "bluer": "blue",
    "greener": "green", "darker": "dark", "moodier": "dark", "brighter": "bright", "lighter": "bright",
    "softer": "soft", "calmer": "soft", "bolder": "high contrast", "richer": "vivid", "quieter": "muted",
    "simpler": "plain", "cleaner": "plain",
}  # fmt: skip
"""Comparatives, and the judge's tag that they ask for."""


@dataclass(frozen=True)
class Table:
    """The images that were looked at, the best judged first, and the projects they are of."""

    images: list[ImageCard]
    more: int
    projects: list[ProjectCard]

    def card(self, number: int) -> ImageCard | None:
        return next((card for card in self.images if card.number == number), None)


@dataclass(frozen=True)
class Chosen:
    """Values by placeholder; `said` is what is to be told of how they were found, or why there are none."""

    values: dict[str, str]
    said: str = ""


@dataclass
class Choosing:
    """Choices of one message: what one of them takes, the next does not see as free. `said` gathers the reasons."""

    brief: Brief
    table: Table
    said: list[str] = field(default_factory=list)
    _taken: dict[str, str] = field(default_factory=dict)

    def choose(self, key: str | None, selection: Selection) -> Chosen:
        """The images that are meant, each with a place to go to."""
        numbers, reason = self.find(selection)
        keys = [key] if key else self._free(len(numbers))
        if reason:
            self.said.append(reason)
        if not numbers:
            return Chosen({}, reason)
        if not keys:
            self.said.append(self._ask(numbers))
            return Chosen({})
        values = {name: str(number) for name, number in zip(keys, numbers, strict=False)}
        if len(numbers) > len(keys):
            left = ", ".join(f"image {number}" for number in numbers[len(keys) :])
            self.said.append(f"There was no place left for {left}.")
        self._taken |= values
        return Chosen(values, reason)

    def find(self, selection: Selection) -> tuple[list[int], str]:
        """The numbers meant, and what is to be said of how they were found."""
        if selection.but:
            return self._closest(selection)
        if selection.numbers:
            return self._known(list(selection.numbers))
        if selection.places and not selection.words and not selection.judgment:
            return self._placed(selection)
        return self._alike(selection)

    def take(self, values: dict[str, str]) -> dict[str, str]:
        """The values, which nothing else of this message may fill again."""
        self._taken |= values
        return values

    def another(self, key: str) -> Chosen:
        """The best image that the page does not show yet."""
        free = [card for card in self._best() if card.number not in self.brief.numbers.values()]
        if not free:
            self.said.append("There is no other image.")
            return Chosen({})
        return Chosen(self.take({key: str(free[0].number)}))

    def copied(self, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
        """What each first placeholder gets from the second: an image by its number, where it has one."""
        now = {known.name: known.value or "" for known in self.brief.placeholders}
        numbers = {name: str(number) for name, number in self.brief.numbers.items()}
        return self.take({key: numbers.get(source, now[source]) for key, source in pairs})

    def pick(self, keys: tuple[str, ...]) -> Chosen:
        """Defaults for what is missing: texts from the projects, the best judged images, what the owner likes."""
        missing = [known for known in self.brief.placeholders if known.value is None and known.name not in self._taken]
        wanted = [known for known in self.brief.placeholders if known.name in keys] or missing
        images = self._best()
        values: dict[str, str] = {}
        for slot in wanted:
            if slot.kind == "image":
                if images:
                    values[slot.name] = str(images.pop(0).number)
            elif text := self._text(slot.name, values):
                values[slot.name] = text
        self._tell_taste(values)
        self._taken |= values
        return Chosen(values)

    def _tell_taste(self, values: dict[str, str]) -> None:
        """Say so when what the owner likes made a difference."""
        numbers = [int(value) for value in values.values() if value.isdigit()]
        plainly = [card.number for card in self._best(by_taste=False)][: len(numbers)]
        if self.brief.taste and (numbers != plainly or TASTES.keys() & values.keys()):
            likings = ", ".join(f"{kind} {word}" for kind, word in self.brief.taste.items())
            self.said.append(f"I went by what I remember of your taste: {likings}.")

    def _known(self, numbers: list[int]) -> tuple[list[int], str]:
        unknown = [number for number in numbers if self.table.images and self.table.card(number) is None]
        if not unknown:
            return numbers, ""
        named = " or ".join(str(number) for number in unknown)
        return [number for number in numbers if number not in unknown], f"I know no image {named} of this page."

    def _placed(self, selection: Selection) -> tuple[list[int], str]:
        shown = self.brief.shown or [card.number for card in self.table.images]
        found = [shown[at - 1 if at > 0 else at] for at in selection.places if -1 <= at <= len(shown) and shown]
        if len(found) == len(selection.places):
            return found, ""
        return found, f"My last list had only {len(shown)} images." if shown else "There are no images yet."

    def _alike(self, selection: Selection) -> tuple[list[int], str]:
        if not self.table.images:
            return [], "The projects of this page have no images yet."
        judged = [card for card in self.table.images if selection.judgment in (None, card.judgment)]
        fitting = [card for card in judged if all(fits(card, word) for word in selection.words)]
        if not fitting and (wish := [card for card in judged if all(wished(card, word) for word in selection.words)]):
            said = f"image {wish[0].number} was asked for as “{_plain(wish[0].prompt)}”, so I took that."
            return [wish[0].number], f"The judge saw little of that, but {said}"
        if selection.newest:
            fitting.sort(key=lambda card: card.made, reverse=True)
        if fitting:
            places = [at for at in selection.places if -1 <= at <= len(fitting)]
            found = [fitting[at - 1 if at > 0 else at].number for at in places] or [fitting[0].number]
            return found, self._why(selection, fitting, found[0])
        return [], self._nearly(selection)

    def _why(self, selection: Selection, fitting: list[ImageCard], number: int) -> str:
        if len(fitting) == 1 or selection.newest or selection.places:
            return ""
        card = next(card for card in fitting if card.number == number)
        standing = "best judged" if card.judgment else "first"
        return f"{len(fitting)} images fit that; I took the {standing} of them, image {number}."

    def _nearly(self, selection: Selection) -> str:
        """What comes closest, offered but not taken."""
        asked = listed(
            [*selection.words, *({"pass": ["passed"], "fail": ["failed"]}.get(selection.judgment or "", []))]
        )
        closest = max(self.table.images, key=lambda card: sum(fits(card, word) for word in selection.words))
        if not any(fits(closest, word) for word in selection.words):
            return f"I found no image that is {asked or 'like that'}. Say “show images” to see what there is."
        offer = f"say “use image {closest.number}” to take it"
        return f"I found no image that is {asked}. The closest is image {closest.number} ({looks(closest)}): {offer}."

    def _closest(self, selection: Selection) -> tuple[list[int], str]:
        """“The second one but warmer”: another image that is like it and warmer, if there is one."""
        plain = Selection(
            numbers=selection.numbers, places=selection.places, words=selection.words, judgment=selection.judgment
        )
        found, reason = self.find(plain) if plain.points else ([card.number for card in self.table.images[:1]], "")
        base = self.table.card(found[0]) if found else None
        if base is None:
            return [], reason or "I do not know which image you mean."
        wanted = wishes_of(selection.but)
        others = [card for card in self.table.images if card != base and wanted and all(fits(card, w) for w in wanted)]
        offer = f"I cannot repaint an image in this chat. {repaint(base, selection.but)}"
        if not others:
            return [], f"I have no image like image {base.number} but {selection.but}. {offer}"
        near = max(others, key=lambda card: (likeness(card, base), -card.number))
        found_one = f"image {near.number} ({looks(near)}), so I took that"
        return [near.number], f"The closest I have to image {base.number} but {selection.but} is {found_one}. {offer}"

    def _free(self, count: int) -> list[str]:
        """Where images go when nobody said: what is empty, else the only place there is."""
        slots = Names(self.brief.placeholders).of("image")
        filled = {known.name for known in self.brief.placeholders if known.value is not None} | set(self._taken)
        empty = [name for name in slots if name not in filled]
        return empty[:count] if empty else slots if len(slots) == 1 else []

    def _ask(self, numbers: list[int]) -> str:
        slots = Names(self.brief.placeholders).of("image")
        if not slots:
            return "This page has no place for an image."
        examples = " or ".join(f"“use image {numbers[0]} as {label(name)}”" for name in slots[:2])
        return f"All places for images are taken. Which one is it for? Say {examples}."

    def _best(self, *, by_taste: bool = True) -> list[ImageCard]:
        """The best judged images that the page does not show yet; among equals those that the owner would like."""
        used = {*self.brief.numbers.values(), *(int(value) for value in self._taken.values() if value.isdigit())}
        tastes = [word for text in self.brief.taste.values() for word in text.split()] if by_taste else []
        free = [card for card in self.table.images if card.number not in used] or list(self.table.images)
        rank = {"pass": 0, None: 1, "fail": 2}
        return sorted(free, key=lambda card: (rank[card.judgment], -sum(fits(card, word) for word in tastes)))

    def _text(self, name: str, values: dict[str, str]) -> str:
        """A default for a text that follows from what is known; empty when it would have to be made up."""
        project = self.table.projects[0] if self.table.projects else None
        if name in TITLES:
            return project.name if project and len(self.table.projects) == 1 else self.brief.title
        if name in SUBTITLES:
            return cut(_first_sentence(project.description), LINE) if project and project.description else self._by()
        if name in INTROS:
            return cut(project.description, PARAGRAPH) if project and project.description else self._prompt(values)
        if name in CREDITS:
            return self._by()
        if name.startswith(("CAPTION", "ALT")):
            return self._caption(name, values)
        return self.brief.taste.get(TASTES.get(name, ""), "")

    def _by(self) -> str:
        providers = list(dict.fromkeys(card.provider for card in self.table.images))
        return f"Images by {listed(providers)}" if providers else ""

    def _prompt(self, values: dict[str, str]) -> str:
        numbers = [int(value) for value in values.values() if value.isdigit()] or list(self.brief.numbers.values())
        card = self.table.card(numbers[0]) if numbers else next(iter(self.table.images), None)
        return _sentence(card.prompt) if card else ""

    def _caption(self, name: str, values: dict[str, str]) -> str:
        rest = name.partition("_")[2]
        wanted = next((slot for slot in (f"IMAGE_{rest}", "IMAGE", "IMAGE_1", "IMAGE_HERO") if slot in values), None)
        number = int(values[wanted]) if wanted else self.brief.numbers.get(f"IMAGE_{rest}")
        card = self.table.card(number) if number else None
        return _sentence(card.prompt) if card else self._prompt(values)


def fits(card: ImageCard, word: str) -> bool:
    """Whether the word names the image's provider, a tag of the judge, or something of its prompt."""
    tags = {tag.lower() for tag in card.tags}
    colour = colour_named(word)
    if colour is not None and tags & {"warm", "cool", *COLOUR_TAGS}:
        # The judge saw colours: what the prompt wished for does not count beside that.
        return word in tags or bool(tags & colour.families)
    return wished(card, word)


def wished(card: ImageCard, word: str) -> bool:
    """The same, but that a colour in the prompt counts as well."""
    tags = {tag.lower() for tag in card.tags}
    spoken = {*re.findall(r"[a-z0-9-]+", card.prompt.lower()), *(part for tag in tags for part in tag.split())}
    return word in {card.provider.lower(), *tags} or word in spoken or word.removesuffix("s") in spoken


COLOUR_TAGS = frozenset(
    ["red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "beige", "white", "grey", "black"]
)


def wishes_of(change: str) -> list[str]:
    """The tags that a change asks for: “a bit warmer and darker” → ["warm", "dark"]."""
    words = re.findall(r"[a-z]+", change)
    known = [CHANGED[word] for word in words if word in CHANGED]
    return known or list(read_wording(change).words)


def likeness(one: ImageCard, other: ImageCard) -> int:
    """Words of prompt and tags that two images share."""
    return len(_words_of(one) & _words_of(other))


def repaint(base: ImageCard, change: str) -> str:
    """How to come by an image that is not there yet."""
    words = f"{_plain(base.prompt)}, {change}" if change else f"{_plain(base.prompt)}, and what you want otherwise"
    return (
        f"For a new version of it, start a new image from image {base.number}, where you make your images, and ask "
        f"there for “{words}”. Once it is done, ask me for it here."
    )


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0].rstrip(".")


def _sentence(prompt: str) -> str:
    plain = cut(prompt, LINE)
    return plain[:1].upper() + plain[1:]


def _plain(prompt: str) -> str:
    return re.sub(r"[\"\\{}<>]", "", cut(prompt, LINE))


def _words_of(card: ImageCard) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", card.prompt.lower())) | {tag.lower() for tag in card.tags}
