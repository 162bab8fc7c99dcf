"""What a chat model is told about the page with every question: its placeholders, their values, the public link."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from langchain_core.messages import SystemMessage
from pydantic import ConfigDict, Field

from graphs.chat.state import Turn
from tools import db
from tools.env import Env
from tools.publishing import artifacts, chats, templates
from tools.publishing.template_html import is_image
from tools.rows import ArtifactRow, dump

BRIEF_MARK = "\nBRIEF: "
"""Stands in the system message before the `Brief` as JSON."""


class Placeholder(msgspec.Struct, frozen=True):
    """A placeholder of the template and its value, None while it has none."""

    name: str
    kind: Literal["text", "image"]
    value: str | None = None


class Brief(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The state of the page. `taste` is what its owner is known to like: theme, tone, layout."""

    title: str
    placeholders: list[Placeholder]
    taste: dict[str, str]
    shown: list[int]
    """Numbers of the images in the list that was shown last, in its order."""
    numbers: dict[str, int]
    """By image placeholder, the number of the image that fills it."""
    link: str | None
    """The public link, once the page answers."""
    changed: bool
    """Whether a choice was made or undone since the page was published."""

    @property
    def missing(self) -> list[Placeholder]:
        """The placeholders without a value."""
        return [known for known in self.placeholders if known.value is None]


class BriefMessage(SystemMessage):
    """The system message of a turn. Vendors' models read its text; the built-in model takes the typed `brief`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    brief: Brief = Field(exclude=True, repr=False)


def brief_message(instructions: str, brief: Brief) -> BriefMessage:
    """The instructions and the brief as JSON in one message, with the brief itself beside them."""
    return BriefMessage(content=f"{instructions}{BRIEF_MARK}{dump(brief)}", brief=brief)


async def load_brief(env: Env, turn: Turn, listed: Sequence[str], shown: Sequence[int]) -> Brief:
    """The state of the page now; `listed` are the progressions that have numbers in this chat."""
    artifact = await artifacts.get(env, turn.artifact_id)
    placeholders = await placeholders_of(env, artifact)
    public = await artifacts.by_slug(env, artifact.public_slug)
    numbers: dict[str, int] = {}
    for known in placeholders:
        if known.kind == "image" and known.value:
            row = await artifacts.find_image(env, artifact.id, known.value)
            if row is not None and row.id in listed:
                numbers[known.name] = listed.index(row.id) + 1
    return Brief(
        title=artifact.title,
        placeholders=placeholders,
        taste=await chats.taste(env, turn.owner_id),
        shown=list(shown),
        numbers=numbers,
        link=artifacts.public_url(env, public) if public else None,
        changed=await chats.changed_since(env, artifact.id, public.updated_at) if public else False,
    )


async def placeholders_of(env: Env, artifact: ArtifactRow) -> list[Placeholder]:
    """The placeholders of the artifact's template, in its order, with their values."""
    assert artifact.template_r2_key is not None
    template = await templates.get(env, artifact.template_r2_key)
    values = await db.get_config(env, artifact.id)
    return [
        Placeholder(name, "image" if is_image(name) else "text", values.get(name)) for name in template.placeholders
    ]


def missing_of(placeholders: Sequence[Placeholder]) -> list[str]:
    """The names of the placeholders without a value."""
    return [known.name for known in placeholders if known.value is None]
