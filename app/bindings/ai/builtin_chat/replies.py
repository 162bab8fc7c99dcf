"""What the built-in chat model says: what it did, what it could not do, and what the page still needs."""

from collections.abc import Sequence

import msgspec

from app.bindings.ai.builtin_chat.choices import defaults, why_chosen
from app.bindings.ai.builtin_chat.commands import Command, Plain, SetImage, Unknown
from graphs.chat.brief import Brief, Placeholder
from graphs.chat.results import ImageCard, ProjectCard, RefusedChoice, Rendered, Saved, ToolFailed

NO_PAGE = (
    "I am picasso's built-in assistant: no language model, but a set of rules that fills the pages of artifacts. I "
    "cannot talk about anything else. Set DEFAULT_MODEL_REASONING to talk to a language model."
)
MOST_LISTED, MOST_PROPOSED = 12, 5
"""Images in a list that was asked for, and in a proposal."""
MOST_QUOTED = 3
LINE = 80


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The message that is answered, and what the tools have answered so far in its turn."""

    brief: Brief
    commands: list[Command]
    projects: list[ProjectCard]
    images: list[ImageCard]
    """The best judged first."""
    more: int
    """Images that the tools have left out."""
    saved: list[Saved]
    rendered: list[Rendered]
    failed: list[ToolFailed]
    problems: list[str]
    """What of the message cannot be done, in sentences."""

    @property
    def unknown(self) -> list[str]:
        """The parts of the message that are not understood."""
        return [command.text for command in self.commands if isinstance(command, Unknown)]

    @property
    def refused(self) -> list[RefusedChoice]:
        """The choices that could not be saved."""
        return [refused for each in self.saved for refused in each.refused]


def compose(turn: Turn) -> str:
    """The reply once nothing is left to be done. It tells of a publication only when the tool gave the link."""
    brief, words = turn.brief, {command.word for command in turn.commands if isinstance(command, Plain)}
    values = {key: value for each in turn.saved for key, value in each.saved.items()}
    changed = {known.name: values[known.name] for known in brief.placeholders if known.name in values}
    undone = {key: value for each in turn.saved for key, value in (each.undone or {}).items()}
    likings = [f"{kind} “{word}”" for each in turn.saved for kind, word in each.remembered.items()]
    parts = [*turn.problems]
    parts += [why for each in turn.commands if isinstance(each, SetImage) and (why := why_chosen(each, turn.images))]
    if "pick" in words and changed and brief.taste:
        taste = [f"{kind} {word}" for kind, word in brief.taste.items()]
        parts.append(f"I went by what I remember of your taste: {', '.join(taste)}.")
    if filled := [as_it_is(brief, key, value) for key, value in changed.items() if value]:
        parts.append(f"Done: {'; '.join(filled)}.")
    if cleared := [the(key) for key, value in changed.items() if not value]:
        parts.append(f"Cleared: {joined(cleared)}.")
    parts += [f"I could not set {the(refused.key)}: {refused.message}." for refused in turn.refused]
    if undone:
        parts.append(f"Undone: {'; '.join(f'{as_it_is(brief, key, value)} again' for key, value in undone.items())}.")
    elif "undo" in words:
        parts.append("There is nothing to undo.")
    if likings:
        parts.append(f"I will remember that you like: {joined(likings)}.")
    parts += [f"That did not work: {failure.message}." for failure in turn.failed]
    parts += [f"The page is public now: {page.link}" for page in turn.rendered]
    if turn.unknown or not turn.commands:
        parts += [f"I did not understand “{cut(text)}”." for text in turn.unknown[:MOST_QUOTED]]
        parts.append(understood(brief))
    if "publish" in words and not (turn.rendered or turn.failed or brief.missing):
        parts.append("Nothing was published. Say “publish” alone to publish the page as it is.")
    if "help" in words:
        parts.append(understood(brief))
    if "images" in words:
        parts.append(list_of(turn.images, MOST_LISTED, turn.more) or "The projects of this page have no images yet.")
    if words & {"help", "missing"} and brief.missing:
        parts.append(_proposal(turn))
    elif "publish" in words and brief.missing:
        parts.append(f"I cannot publish yet: the page still needs {names_of(brief.missing)}.")
    elif brief.missing and (changed or undone or "pick" in words):
        parts.append(f"Still missing: {names_of(brief.missing)}. Tell me, or say “pick for me”.")
    elif not turn.rendered and (changed or undone or words & {"help", "missing", "pick"}):
        parts.append(_ready(brief))
    return "\n".join(parts) or "Nothing was changed."


def understood(brief: Brief) -> str:
    """All that can be said, with the page's own placeholders as examples."""
    texts = [known.name for known in brief.placeholders if known.kind == "text"]
    images = [known.name for known in brief.placeholders if known.kind == "image"]
    said = [f"{label(texts[0])}: …", f"change {the(texts[0])} to …"] if texts else []
    said += [f"use image 2 as {label(images[0])}", "use the red one", "show images"] if images else []
    said += ["pick for me", "what is missing", "undo", "start over", "publish", "help"]
    return f"I understand {joined([f'“{each}”' for each in said])}, each on a line of its own."


def list_of(images: Sequence[ImageCard], most: int, more: int = 0) -> str:
    """Images with their numbers, one a line; `more` are not among them."""
    verdicts = {"pass": "passed by the judge", "fail": "failed by the judge", None: "not judged"}
    lines = [
        f"{card.number}. {cut(card.prompt)} "
        f"({', '.join([card.provider, f'{verdicts[card.judgment]} {card.met}'.strip(), *card.tags[:4]])}): {card.url}"
        for card in images[:most]
    ]
    left = len(images) - len(lines) + more
    return "\n".join([*lines, f"And {left} more."] if left > 0 else lines)


def label(name: str) -> str:
    """What a placeholder is called, as it is understood again: IMAGE_HERO “hero image”, IMAGE_1 “image slot 1”."""
    first, *rest = name.lower().split("_")
    if first != "image" or not rest:
        return " ".join([first, *rest])
    return f"image slot {rest[0]}" if rest[0].isdigit() else f"{' '.join(rest)} image"


def the(name: str) -> str:
    """The same within a sentence: “the title”, but “caption 1”, which is a name."""
    words = label(name)
    return words if words[-1].isdigit() else f"the {words}"


def as_it_is(brief: Brief, key: str, value: str) -> str:
    """A placeholder with its value: “title is “Autumn””, “hero image is image 2”."""
    if not value:
        return f"{label(key)} is empty"
    if not any(known.name == key and known.kind == "image" for known in brief.placeholders):
        return f"{label(key)} is “{cut(value, 2 * LINE)}”"
    number = value if value.isdigit() else brief.numbers.get(key)
    return f"{label(key)} is {f'image {number}' if number else 'chosen'}"


def names_of(placeholders: Sequence[Placeholder]) -> str:
    """“the title and the hero image”."""
    return joined([the(known.name) for known in placeholders])


def joined(words: Sequence[str]) -> str:
    """“a, b and c”."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def cut(text: str, length: int = LINE) -> str:
    """The text in one line of at most so many characters."""
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[: length - 1].rstrip()}…"


def _proposal(turn: Turn) -> str:
    """What the page needs, images for it, and values that “pick for me” would take."""
    brief = turn.brief
    said = [f"The page still needs {names_of(brief.missing)}."]
    if turn.images and any(known.kind == "image" for known in brief.missing):
        said.append(f"These images are there:\n{list_of(turn.images, MOST_PROPOSED)}\n")
    if picked := defaults(brief, turn.projects, turn.images, {}):
        values = "; ".join(as_it_is(brief, key, value) for key, value in picked.items())
        said.append(f"I suggest: {values}. Say “pick for me” to take that, or tell me what you want.")
    return " ".join(said)


def _ready(brief: Brief) -> str:
    if brief.link and not brief.changed:
        return f"Everything is filled and public at {brief.link}"
    again = ", for what is public does not show the latest changes yet" if brief.link else ""
    return f"Everything is filled. Say “publish” and I make the page public{again}."
