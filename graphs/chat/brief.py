"""What a chat model is told about the page with every question: its placeholders or options, their values, the public
link."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from langchain_core.messages import SystemMessage
from pydantic import ConfigDict, Field

from generators import registry
from generators.option_fields import TITLE, fields_of, standing_texts
from graphs.chat.state import Turn
from tools import db
from tools.db import Chosen
from tools.env import Env
from tools.publishing import artifacts, chats, templates
from tools.publishing.template_html import is_image
from tools.rows import ArtifactRow, dump

BRIEF_MARK = "\nBRIEF: "
"""Stands in the system message before the `Brief` as JSON."""


class Placeholder(msgspec.Struct, frozen=True, omit_defaults=True):
    """A placeholder of the template, or an `optional` field for an option of the generator, and its value, None while
    it has none. `choices` are all the values that it takes, where they are few; `images` takes several, in an order."""

    name: str
    kind: Literal["text", "image", "images"]
    value: str | None = None
    optional: bool = False
    choices: tuple[str, ...] = ()


class Brief(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The state of the page. `taste` is what its owner is known to like: theme, tone, layout."""

    title: str
    placeholders: list[Placeholder]
    taste: dict[str, str]
    shown: list[int]
    """Numbers of the images in the list that was shown last, in its order."""
    numbers: dict[str, list[int]]
    """By placeholder for images, the numbers of those that fill it."""
    link: str | None
    """The public link, once the page answers."""
    changed: bool
    """Whether a choice was made or undone since the page was published."""
    approved: bool = False
    """Whether the person asks in this very message to publish, or said yes to the offer."""

    @property
    def missing(self) -> list[Placeholder]:
        """The placeholders that need a value and have none."""
        return [known for known in self.placeholders if known.value is None and not known.optional]


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
    chosen = await db.get_choices(env, artifact.id)
    placeholders = await placeholders_of(env, artifact, chosen)
    public = await artifacts.by_slug(env, artifact.public_slug)
    numbers: dict[str, list[int]] = {}
    for known in placeholders:
        if known.kind != "text" and known.value:
            ids = known.value.split(",")
            if not known.optional:
                meant = chosen[known.name].progression_id
                row = await artifacts.find_image(env, artifact.id, known.value, meant)
                ids = [row.id] if row else []
            if found := [listed.index(id) + 1 for id in ids if id in listed]:
                numbers[known.name] = found
    return Brief(
        title=artifact.title,
        placeholders=placeholders,
        taste=await chats.taste(env, turn.owner_id),
        shown=list(shown),
        numbers=numbers,
        link=artifacts.public_url(env, public) if public else None,
        changed=await chats.changed_since(env, artifact.id, public.updated_at) if public else False,
        approved=turn.approved,
    )


async def placeholders_of(env: Env, artifact: ArtifactRow, chosen: Mapping[str, Chosen]) -> list[Placeholder]:
    """The placeholders of the artifact's template, in its order, or the title and the options of its generator."""
    if artifact.generator_id is not None:
        fields = fields_of(registry.find(artifact.generator_id))
        values = {**standing_texts(artifact), **{key: one.value for key, one in chosen.items()}}
        return [
            Placeholder(TITLE, "text", values[TITLE], True),
            *(
                Placeholder(
                    key,
                    field.kind if field.kind in ("image", "images") else "text",
                    values[key] or None,
                    True,
                    field.choices,
                )
                for key, field in fields.items()
            ),
        ]
    assert artifact.template_r2_key is not None
    template = await templates.get(env, artifact.template_r2_key)
    return [
        Placeholder(name, "image" if is_image(name) else "text", chosen[name].value if name in chosen else None)
        for name in template.placeholders
    ]


def missing_of(placeholders: Sequence[Placeholder]) -> list[str]:
    """The names of the placeholders that need a value and have none."""
    return [known.name for known in placeholders if known.value is None and not known.optional]
