"""How the built-in chat model turns commands into values: images by what was said of them, and defaults.

It only chooses among what the tools have told it, and never makes up a text.
"""

import re
from collections.abc import Sequence

from app.bindings.ai.builtin_chat.commands import Command, Plain, SetImage, SetValue
from app.bindings.ai.builtin_chat.options import ORDERS
from graphs.chat.brief import Brief
from graphs.chat.results import ImageCard, ProjectCard
from graphs.chat.tools import TASTE_KEYS
from tools.media.colours import COLOURS, colour_named
from tools.rows import MERIT, Seen

TITLES = ("TITLE", "HEADLINE", "HEADING", "NAME", "PAGE_TITLE")
SUBTITLES = ("SUBTITLE", "TAGLINE", "SUBHEADING")
INTROS = ("INTRO", "INTRODUCTION", "DESCRIPTION", "BODY", "TEXT", "ABOUT", "SUMMARY")
LONGEST_DEFAULT = 600
FAMILIES = frozenset(family for colour in COLOURS.values() for family in colour.families)
VERDICTS: dict[str, Seen] = {
    **dict.fromkeys(("pass", "passed", "approved"), "pass"),
    **dict.fromkeys(("fail", "failed", "rejected"), "fail"),
    "measured": "measured",
}


def resolve(
    commands: Sequence[Command], brief: Brief, projects: Sequence[ProjectCard], images: Sequence[ImageCard], more: int
) -> tuple[dict[str, str], list[str]]:
    """The value of each placeholder that the commands change, empty to clear it; and why some change nothing.

    `images` are the best judged first, without `more`. The numbers of images are left for the tool to check.
    """
    values, problems = dict[str, str](), list[str]()
    several = [known.name for known in brief.placeholders if known.kind == "images"]
    if Plain("start over") in commands:
        cleared = (known for known in brief.placeholders if known.name != "TITLE" or not known.optional)
        values = {known.name: "" for known in cleared if known.value is not None}
    for command in commands:
        match command:
            case SetValue(key, value) if key in several and value in ORDERS and more:
                problems.append(f"I see only the {len(images)} best of the images, so I cannot order them all.")
            case SetValue(key, value) if key in several and value in ORDERS:
                values[key] = ", ".join(str(card.number) for card in sorted(images, key=ORDERS[value]))
            case SetValue(key, value):
                values[key] = value
            case SetImage(key, number, words):
                number = next((card.number for card in meant(words, images)), None) if number is None else number
                slots = [key] if key else _free_slots(brief, values)
                if several and key is None and words and meant(words, images):
                    values[several[0]] = ", ".join(str(card.number) for card in meant(words, images))
                    continue
                if number is None:
                    problems.append(
                        f"There is no image that is {' and '.join(words)}." if words else "There are no images yet."
                    )
                elif not slots:
                    problems.append(f"No place for image {number} is free. Say which one: “use image {number} as …”.")
                else:
                    values[slots[0]] = str(number)
    if Plain("pick") in commands:
        values = {**defaults(brief, projects, images, values), **values}
    return values, problems


def meant(words: Sequence[str], images: Sequence[ImageCard]) -> list[ImageCard]:
    """The images that all the words fit, in their order."""
    return [card for card in images if all(fits(card, word) for word in words)]


def fits(card: ImageCard, word: str) -> bool:
    """Whether the word names the image's provider, verdict, colour, another tag, or something of its prompt."""
    if word in VERDICTS:
        return card.verdict == VERDICTS[word]
    tags = {tag.lower() for tag in card.tags}
    colour = colour_named(word)
    if colour is not None and tags & FAMILIES:
        # The judge measured colours: what the prompt wished for does not count beside that.
        return word in tags or bool(tags & colour.families)
    return word == card.provider.lower() or word in tags or word in re.findall(r"[a-z0-9-]+", card.prompt.lower())


def best_first(images: Sequence[ImageCard], likings: Sequence[str] = ()) -> list[ImageCard]:
    """The images by verdict; among those of the same verdict, first those that fit most of the likings."""
    return sorted(images, key=lambda card: (MERIT[card.verdict], -sum(fits(card, word) for word in likings)))


def defaults(
    brief: Brief, projects: Sequence[ProjectCard], images: Sequence[ImageCard], taken: dict[str, str]
) -> dict[str, str]:
    """Values for what is missing and not `taken`: texts that the projects tell, the best images, the owner's taste."""
    likings = [word for text in brief.taste.values() for word in text.split()]
    used = {number for numbers in brief.numbers.values() for number in numbers}
    used |= {int(value) for value in taken.values() if value.isdigit()}
    free = best_first([card for card in images if card.number not in used] or images, likings)
    first = projects[0] if projects else None
    texts = {
        **dict.fromkeys(TITLES, first.name if first and len(projects) == 1 else brief.title),
        **dict.fromkeys(SUBTITLES, re.split(r"(?<=[.!?]) ", first.description)[0].rstrip(".") if first else ""),
        **dict.fromkeys(INTROS, first.description[:LONGEST_DEFAULT] if first else ""),
        **{key: brief.taste.get(kind, "") for key, kind in TASTE_KEYS.items()},
    }
    values: dict[str, str] = {}
    for slot in brief.missing:
        if slot.name in taken:
            continue
        if slot.kind == "text":
            values[slot.name] = texts.get(slot.name, "")
        elif free:
            values[slot.name] = str(free.pop(0).number)
    return {key: value for key, value in values.items() if value}


def _free_slots(brief: Brief, taken: dict[str, str]) -> list[str]:
    """The image placeholders that are empty, else the only one there is."""
    slots = [known for known in brief.placeholders if known.kind == "image"]
    empty = [slot.name for slot in slots if not taken.get(slot.name, slot.value)]
    return empty or [slot.name for slot in slots if len(slots) == 1]
