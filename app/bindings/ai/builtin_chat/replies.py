"""What the built-in chat model says: what it did, what it could not do, and what the page still needs."""

from collections.abc import Sequence

import msgspec

from app.bindings.ai.builtin_chat.choices import defaults, meant
from app.bindings.ai.builtin_chat.commands import Command, Plain, SetImage, Unknown
from app.bindings.ai.builtin_chat.options import YES_NO
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
    """Images of the projects that are not among them."""
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
    for image in (command for command in turn.commands if isinstance(command, SetImage)):
        fitting = meant(image.words, turn.images) if image.number is None else []
        if len(fitting) > 1:
            parts.append(f"{len(fitting)} images fit that; I took the best judged of them, image {fitting[0].number}.")
    if "pick" in words and changed and brief.taste:
        taste = [f"{kind} {word}" for kind, word in brief.taste.items()]
        parts.append(f"I went by what I remember of your taste: {', '.join(taste)}.")
    if filled := [_with_value(brief, key, value) for key, value in changed.items() if value]:
        parts.append(f"Done: {'; '.join(filled)}.")
    if cleared := [_the(key) for key, value in changed.items() if not value]:
        parts.append(f"Cleared: {_joined(cleared)}.")
    parts += [f"I could not set {_the(refused.key)}: {refused.message}." for refused in turn.refused]
    if undone:
        again = [f"{_with_value(brief, key, value)} again" for key, value in undone.items()]
        parts.append(f"Undone: {'; '.join(again)}.")
    elif "undo" in words:
        parts.append("There is nothing to undo.")
    if likings:
        parts.append(f"I will remember that you like: {_joined(likings)}.")
    parts += [f"That did not work: {failure.message}." for failure in turn.failed]
    parts += [f"The page is public now: {page.link}" for page in turn.rendered if page.ready]
    parts += [f"The page is being made. Then it is public at {page.link}" for page in turn.rendered if not page.ready]
    parts += [f"I did not understand “{_cut(text)}”." for text in turn.unknown[:MOST_QUOTED]]
    if turn.unknown or not turn.commands or "help" in words:
        parts.append(understood(brief))
    if brief.approved and not (turn.rendered or turn.failed or brief.missing):
        parts.append("Nothing was published. Say “publish” alone to publish the page as it is.")
    elif "publish" in words and not (brief.approved or brief.missing):
        parts.append(f"The page is public at {brief.link}" if brief.link else "The page is not public yet.")
    if "images" in words:
        parts.append(list_of(turn.images, MOST_LISTED) or "The projects of this page have no images yet.")
    if words & {"help", "missing"} and brief.missing:
        parts.append(f"The page still needs {_names_of(brief.missing)}.")
        if turn.images and any(known.kind == "image" for known in brief.missing):
            parts.append(f"These images are there:\n{list_of(turn.images, MOST_PROPOSED)}")
        if picked := defaults(brief, turn.projects, turn.images, {}):
            proposed = "; ".join(_with_value(brief, key, value) for key, value in picked.items())
            parts.append(f"I suggest: {proposed}. Say “pick for me” to take that, or tell me what you want.")
    elif "publish" in words and brief.missing:
        parts.append(f"I cannot publish yet: the page still needs {_names_of(brief.missing)}.")
    elif brief.missing and (changed or undone or "pick" in words):
        parts.append(f"Still missing: {_names_of(brief.missing)}. Tell me, or say “pick for me”.")
    elif words & {"missing", "pick"} and not changed:
        parts.append(f"The page is public at {brief.link}" if brief.link else "Nothing is missing.")
    return "\n".join(parts) or "Nothing was changed."


def understood(brief: Brief) -> str:
    """All that can be said, with the page's own placeholders as examples."""
    texts = [known.name for known in brief.placeholders if known.kind == "text"]
    images = [known.name for known in brief.placeholders if known.kind == "image"]
    said = [f"{_label(texts[0])}: …", f"change {_the(texts[0])} to …"] if texts else []
    several = [_label(known.name) for known in brief.placeholders if known.kind == "images"]
    said += [f"{several[0]}: 3, 1, 2", "use all images", "show images"] if several else []
    said += [f"use image 2 as {_label(images[0])}", "use the red one", "show images"] if images else []
    flags = [_label(known.name).removeprefix("show ") for known in brief.placeholders if known.choices == YES_NO]
    said += [f"show {flags[0]}", f"hide {flags[0]}"] if flags else []
    chosen = [known for known in brief.placeholders if known.choices and known.choices != YES_NO]
    said += [f"{known.choices[-1]} {_label(known.name)}" for known in chosen]
    said += ["newest first"] if several else []
    said += ["pick for me", "what is missing", "undo", "start over", "publish", "help"]
    return f"I understand {_joined([f'“{each}”' for each in said])}, each on a line of its own."


def list_of(images: Sequence[ImageCard], most: int) -> str:
    """Images with their numbers, one a line, and how many more there are."""
    told = {"pass": "passed by the judge", "fail": "failed by the judge", "measured": "measured", None: "not judged"}
    lines = [
        f"{card.number}. {_cut(card.prompt)} "
        f"({', '.join([card.provider, f'{told[card.verdict]} {card.met}'.strip(), *card.tags[:4]])}): {card.url}"
        for card in images[:most]
    ]
    left = len(images) - len(lines)
    return "\n".join([*lines, f"And {left} more."] if left > 0 else lines)


def _label(name: str) -> str:
    """What a placeholder is called, as it is understood again: IMAGE_HERO “hero image”, IMAGE_1 “image slot 1”."""
    first, *rest = name.lower().split("_")
    words = " ".join(rest)
    if first != "image" or not rest:
        return f"{first} {words}".strip()
    return f"image slot {words}" if rest[0].isdigit() else f"{words} image"


def _the(name: str) -> str:
    """The same within a sentence: “the title”, but “caption 1”, which is a name."""
    words = _label(name)
    return words if words[-1].isdigit() else f"the {words}"


def _with_value(brief: Brief, key: str, value: str) -> str:
    """A placeholder with its value: “title is “Autumn””, “hero image is image 2”."""
    if not value:
        return f"{_label(key)} is empty"
    kind = next((known.kind for known in brief.placeholders if known.name == key), "text")
    if kind == "text":
        return f"{_label(key)} is “{_cut(value, 2 * LINE)}”"
    numbers = ", ".join(map(str, brief.numbers.get(key, []))) or (value if value.isdigit() else "")
    if kind == "images":
        return f"the images are {numbers}" if numbers else "the images are chosen"
    return f"{_label(key)} is {f'image {numbers}' if numbers else 'chosen'}"


def _names_of(placeholders: Sequence[Placeholder]) -> str:
    return _joined([_the(known.name) for known in placeholders])


def _joined(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _cut(text: str, length: int = LINE) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[: length - 1].rstrip()}…"
