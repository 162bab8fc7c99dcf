"""What a reply calls things: a placeholder, what it is filled with, an image."""

import re

from tools.publishing.chats import Brief, ImageCard, Placeholder


def label(name: str) -> str:
    """What a placeholder is called in a reply: IMAGE_HERO is “the hero image”, IMAGE_1 “image slot 1”."""
    words = name.lower().split("_")
    if words[0] == "image":
        rest = " ".join(words[1:])
        return f"image slot {rest}" if rest.isdigit() else f"{rest} image" if rest else "image"
    return " ".join(words)


def the(name: str) -> str:
    """The same within a sentence: “the title”, but “caption 1”, which is a name."""
    words = label(name)
    return words if words[-1].isdigit() else f"the {words}"


def cut(text: str, length: int) -> str:
    """The text in one line of at most so many characters."""
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[: length - 1].rsplit(' ', 1)[0]}…"


def looks(card: ImageCard) -> str:
    """The image in a few words."""
    verdict = {"pass": "passed by the judge", "fail": "failed by the judge", None: "not judged"}[card.judgment]
    tags = f", {', '.join(card.tags[:4])}" if card.tags else ""
    return f"{card.provider}, {verdict}{f' {card.met}' if card.met else ''}{tags}"


def as_it_is(brief: Brief, key: str, value: str) -> str:
    return f"{label(key)} is {value_of(brief, key, value)}"


def value_of(brief: Brief, key: str, value: str) -> str:
    image = any(known.name == key and known.kind == "image" for known in brief.placeholders)
    if not image:
        return f"“{cut(value, 160)}”"
    number = int(value) if re.fullmatch(r"\d+", value) else brief.numbers.get(key)
    return f"image {number}" if number else "chosen"


def names_of(placeholders: list[Placeholder]) -> str:
    return listed([the(known.name) for known in placeholders])


def listed(words: list[str], joint: str = "and") -> str:
    return ", ".join(words[:-1]) + f" {joint} {words[-1]}" if len(words) > 1 else "".join(words)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
