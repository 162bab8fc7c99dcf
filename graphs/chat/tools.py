"""The tools of the model that chats about an artifact.

Artifact, owner and session come from the run: no tool takes them as arguments, and what a model adds of that kind is
ignored. Here is checked what a call may do: placeholders, images, lengths, and that the person asked to publish.
"""

import asyncio
import hashlib
import logging
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest, ToolInvocationError
from langgraph.types import Command
from pydantic import BaseModel, Field

from generators import registry
from generators.option_fields import as_chosen, standing_texts
from generators.shared.template_page import fill
from graphs.chat.brief import Placeholder, missing_of, placeholders_of
from graphs.chat.results import (
    ImageCard,
    ImageCards,
    ProjectCard,
    ProjectCards,
    RefusedChoice,
    Rendered,
    Saved,
    ToolFailed,
)
from graphs.chat.state import LAST_SECONDS, ChatState, emit, turn_of
from tools import db
from tools.db import Chosen
from tools.env import Env
from tools.errors import Invalid, LeaseLost, NotFound, PicassoError, TooLarge
from tools.events import Agent
from tools.models.reply_text import origin
from tools.models.verdicts import BUILTIN_NOTE
from tools.publishing import artifacts, chats, renders, templates
from tools.publishing.addresses import whole
from tools.publishing.chats import LIKING
from tools.rows import MERIT, ArtifactRow, Judgment, Progression, derived_id, dump
from tools.step import correlation_id

log = logging.getLogger("picasso.chat")

ARGUMENT_CHARS = 20_000
UNREAD = "arguments"
"""The one argument of a call whose arguments could not be read."""
VALUE_CHARS = 2_000
MOST_CHOICES = 64
"""Placeholders that one call may fill."""
MOST_IMAGES, MOST_LISTED = 24, 500
"""Images in one list, and images that have numbers in one chat."""
RENDER_SECONDS, RENDER_SLACK_SECONDS = 20.0, 3.0
"""How long a turn waits for what a worker makes, and what is kept of it for the rest."""
TASTE_KEYS = {"THEME": "theme", "TONE": "tone", "LAYOUT": "layout"}
"""Placeholders whose values are a liking of the owner."""
NUMBER = re.compile(r"(?:(?:image|picture|photo|number|no\.?)\s*)?#?(\d{1,4})", re.IGNORECASE)


class Choice(BaseModel):
    """A value for one placeholder."""

    key: str = Field(max_length=64, description="the placeholder's name")
    value: str = Field(
        description="for words: the text, at most 2,000 characters; for an image: its number; for images: their "
        "numbers in the order wanted, like 3, 1, 2; empty to clear it"
    )


class Likings(BaseModel):
    """What the person generally likes; an empty word forgets it."""

    theme: str | None = Field(None, max_length=40)
    tone: str | None = Field(None, max_length=40)
    layout: str | None = Field(None, max_length=40)


class ImageQuery(BaseModel):
    """Arguments of `get_images_for_project`."""

    project_id: str = Field(max_length=128, description="as get_projects_for_artifact gives it")
    provider: str | None = Field(None, max_length=64)
    judgment: Literal["pass", "fail"] | None = None
    query: str | None = Field(
        None, max_length=200, description="words that must all be in tags, prompt, notes or provider"
    )


class Choices(BaseModel):
    """Arguments of `save_configuration`."""

    choices: list[Choice] = Field(default_factory=list, max_length=MOST_CHOICES)
    undo: bool = Field(False, description="take back the last choice instead")
    remember: Likings | None = Field(None, description="what the person says they generally like")


ChatRuntime = ToolRuntime[Env, ChatState]
BareRuntime = ToolRuntime[Any, Any]
"""The same for a tool without arguments, whose schema LangChain makes from its signature."""


@tool
async def get_projects_for_artifact(runtime: BareRuntime) -> str:
    """The projects whose images the page may show."""
    found = await db.get_projects_for_artifact(runtime.context, turn_of(runtime.config).artifact_id)
    cards = [ProjectCard(row.id, row.name[:200], (row.description or "")[:500]) for row in found[:20]]
    return dump(ProjectCards(cards))


@tool(args_schema=ImageQuery)
async def get_images_for_project(
    runtime: ChatRuntime, project_id: str, provider: str | None, judgment: Judgment | None, query: str | None
) -> "Command[Any]":
    """The images of one project, the best judged first, with the numbers by which they are chosen."""
    env, turn = runtime.context, turn_of(runtime.config)
    if project_id not in {row.id for row in await db.get_projects_for_artifact(env, turn.artifact_id)}:
        raise NotFound("this page has no such project", code="unknown_project")
    words = [*(query or "").lower().split(), *([provider.lower()] if provider else [])]
    rows = [row for row in await db.get_images_for_project(env, project_id) if judgment in (None, row.judgment)]
    fitting = sorted((row for row in rows if mentions(row, words)), key=merit)
    listed = list(dict.fromkeys([*runtime.state.get("listed", []), *(row.id for row in fitting[:MOST_IMAGES])]))
    listed = listed[:MOST_LISTED]
    cards = [
        card_of(row, listed.index(row.id) + 1, whole(env.settings, row.generated_image_url))
        for row in fitting[:MOST_IMAGES]
        if row.id in listed
    ]
    result = ImageCards(project_id, cards, len(fitting) - len(cards))
    origins = sorted({*runtime.state.get("origins", []), *(origin(card.url) for card in cards)})
    message = ToolMessage(dump(result), tool_call_id=str(runtime.tool_call_id))
    return Command(update={"listed": listed, "origins": origins, "messages": [message]})


def mentions(row: Progression, words: Sequence[str]) -> bool:
    """Whether provider, prompt, tags and notes of the image together hold all the words."""
    text = " ".join([row.ai_provider, row.prompt, *row.ai_tags, *row.ai_notes]).lower()
    return all(word in text for word in words)


def merit(row: Progression) -> tuple[int, float, int, str]:
    """Sorts the better image first: by verdict, share of criteria met, then the newest."""
    share = sum(criterion.met for criterion in row.criteria) / len(row.criteria) if row.criteria else 0.0
    return MERIT[row.seen], -share, -row.created_at, row.id


def card_of(row: Progression, number: int, url: str) -> ImageCard:
    """The image as the model sees it, every text bounded."""
    met = sum(criterion.met for criterion in row.criteria)
    notes = [note for note in row.ai_notes if note != BUILTIN_NOTE]
    return ImageCard(
        number=number,
        id=row.id,
        url=url,
        provider=row.ai_provider[:64],
        prompt=" ".join(row.prompt.split())[:160],
        tags=[tag[:40] for tag in row.ai_tags[:12]],
        verdict=row.seen,
        met=f"{met}/{len(row.criteria)}" if row.criteria else "",
        note=" ".join(" ".join(notes).split())[:160],
        made=row.created_at,
    )


@tool(args_schema=Choices)
async def save_configuration(runtime: ChatRuntime, choices: list[Choice], undo: bool, remember: Likings | None) -> str:
    """Fill placeholders. All that one call saves is one choice: an undo takes it back together."""
    if not (choices or undo or remember):
        raise Invalid("there is nothing to save in this", code="nothing_to_save")
    env, turn, state = runtime.context, turn_of(runtime.config), runtime.state
    # Derived, so that the same call repeated after a crash is the same choice.
    id = derived_id("choice", state["turn"], runtime.tool_call_id)
    undone: dict[str, str] | None = None
    if undo:
        choices, changes = [], await chats.undo(env, turn.lease, id)
        undone = (
            None
            if changes is None
            else {change.key: db.told(env, Chosen(change.before or "", change.image_before)) for change in changes}
        )
    artifact = await artifacts.get(env, turn.artifact_id)
    now = await placeholders_of(env, artifact, await db.get_choices(env, artifact.id))
    known = {placeholder.name: placeholder for placeholder in now}
    values, refused = dict[str, Chosen | None](), list[RefusedChoice]()
    for choice in choices:
        try:
            values[choice.key] = await value_of(env, artifact, state.get("listed", []), known, choice.key, choice.value)
        except PicassoError as error:
            refused.append(RefusedChoice(choice.key, error.code, error.message))
    if values:
        await chats.choose(env, turn.lease, id, values, standing_texts(artifact))
    texts = {key: db.told(env, chosen) if chosen else None for key, chosen in values.items()}
    remembered, unsaid = likings_of(state["said"], texts, remember)
    if remembered:
        await chats.remember(env, turn.owner_id, remembered)
    return dump(
        Saved(
            saved={key: value or "" for key, value in texts.items()},
            refused=[*refused, *unsaid],
            undone=undone,
            remembered=remembered,
            missing=missing_of(await placeholders_of(env, artifact, await db.get_choices(env, artifact.id))),
        )
    )


async def value_of(
    env: Env, artifact: ArtifactRow, listed: Sequence[str], known: Mapping[str, Placeholder], key: str, text: str
) -> Chosen | None:
    """The value to save for the placeholder `key`, None to clear it: for words the text as the API takes texts in, for
    an image its row, given by its number among those `listed` or by its delivery URL.

    Fails: Invalid, TooLarge.
    """
    if (slot := known.get(key)) is None:
        raise Invalid(f"there is no such placeholder; there are {', '.join(known)}", code="unknown_placeholder")
    if len(text) > VALUE_CHARS:
        raise TooLarge(f"a value may have {VALUE_CHARS} characters", code="value_too_large")
    plain = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    value = unicodedata.normalize("NFC", plain).strip()
    if slot.optional:
        ids = [(await _image(env, artifact, listed, part)).id for part in _parts(slot, value)]
        chosen = Chosen(value if slot.kind == "text" else ",".join(dict.fromkeys(ids)))
        # An empty text is the option's default, and the title as it is.
        as_chosen(artifact, {slot.name: chosen})
        return chosen
    if not value:
        return None
    if slot.kind == "text":
        await templates.check_value(env, artifact.template_r2_key or "", slot.name, value)
        return Chosen(value)
    row = await _image(env, artifact, listed, value)
    return Chosen(row.generated_image_url, row.id)


def _parts(slot: Placeholder, value: str) -> list[str]:
    """The images that are named for an option: numbers in their order, or one id or address."""
    if slot.kind == "text" or not value:
        return []
    numbers = re.findall(r"\d{1,4}", value) if slot.kind == "images" and "/" not in value else []
    return numbers or [value]


async def _image(env: Env, artifact: ArtifactRow, listed: Sequence[str], value: str) -> Progression:
    """The image of that number in this chat, or at that address; it must be of one of the page's projects.

    Fails: Invalid.
    """
    if match := NUMBER.fullmatch(value):
        at = int(match[1]) - 1
        if not 0 <= at < len(listed):
            raise Invalid("there is no image of that number; list them first", code="unknown_image")
        row = await db.get_progression(env, listed[at])
        found = await artifacts.find_image(env, artifact.id, row.generated_image_url, row.id)
    else:
        found = await artifacts.find_image(env, artifact.id, value)
    if found is None:
        raise Invalid("only images of the page's projects can be used, by their number", code="foreign_image")
    return found


def likings_of(
    said: str, values: dict[str, str | None], remember: Likings | None
) -> tuple[dict[str, str], list[RefusedChoice]]:
    """What to remember, an empty word to forget: only what the person said in this turn, whatever a model asks."""
    wanted = {TASTE_KEYS[key]: value for key, value in values.items() if key in TASTE_KEYS and value}
    kept = {kind: word for kind, word in wanted.items() if LIKING.fullmatch(word) and word.lower() in said.lower()}
    refused: list[RefusedChoice] = []
    for kind, word in (remember.model_dump(exclude_none=True) if remember else {}).items():
        if "forget" in said.lower() if not word else LIKING.fullmatch(word) and word.lower() in said.lower():
            kept[kind] = word
        else:
            refused.append(RefusedChoice(kind, "not_said", "only what the person says is remembered"))
    return kept, refused


@tool
async def render_artifact(runtime: BareRuntime) -> str:
    """Publish the page as it is filled now and tell its link. Only when the brief says `approved`."""
    env, turn = runtime.context, turn_of(runtime.config)
    if not turn.approved:
        raise Invalid("the person has not asked to publish: offer it, and wait for their yes", code="not_approved")
    artifact = await artifacts.get(env, turn.artifact_id)
    chosen, projects = await db.get_choices(env, artifact.id), await artifacts.projects_of(env, artifact)
    if missing := missing_of(await placeholders_of(env, artifact, chosen)):
        raise Invalid(f"not filled yet: {', '.join(missing)}", code="unfilled")
    if artifact.generator_id is not None:
        generator, wanted = registry.find(artifact.generator_id), as_chosen(artifact, chosen)
        options = registry.decode_options(generator, wanted.options)
        left = turn.end - LAST_SECONDS - RENDER_SLACK_SECONDS - asyncio.get_running_loop().time()
        wait = max(0.0, min(RENDER_SECONDS, left))
        made = await renders.make(env, wanted, projects, generator, options, session_id=turn.session_id, wait=wait)
        return dump(Rendered(artifacts.public_url(env, artifact), isinstance(made, ArtifactRow)))
    output = await fill(env, artifact, projects, chosen)
    public = await artifacts.by_slug(env, artifact.public_slug)
    if public is None or public.content_sha256 != hashlib.sha256(output.index.data).hexdigest():
        ids = [project.id for project in projects]
        await artifacts.publish(env, artifact, output, ids, session_id=turn.session_id)
    return dump(Rendered(artifacts.public_url(env, artifact)))


TOOLS = [get_projects_for_artifact, get_images_for_project, save_configuration, render_artifact]
NAMES = frozenset(each.name for each in TOOLS)


def failure_of(error: Exception) -> str:
    """The result of a tool that failed, without anything internal; the log has the rest.

    Fails: LeaseLost, for then the turn must end.
    """
    match error:
        case LeaseLost():
            raise error
        case PicassoError():
            failed = ToolFailed(error.code, error.message)
        case ToolInvocationError():
            failed = ToolFailed("invalid_arguments", "the arguments are not what this tool takes")
        case TimeoutError():
            failed = ToolFailed("deadline", "this took too long")
        case _:
            log.error("a tool of the chat failed", exc_info=error)
            failed = ToolFailed("tool_failed", f"this failed; the log has it under {correlation_id()}")
    return dump(failed)


async def run_call(
    request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable["ToolMessage | Command[Any]"]]
) -> "ToolMessage | Command[Any]":
    """Run one call of a tool within its bounds.

    Effect: the call is an `agent` event of the session.
    Fails: NotFound for an unknown tool · Invalid, TooLarge for its arguments · TimeoutError.
    """
    env = cast(Env, request.runtime.context)
    turn, call = turn_of(request.runtime.config), request.tool_call
    if request.tool is None:
        raise NotFound("there is no such tool", code="unknown_tool")
    if call["args"].keys() == {UNREAD}:
        raise Invalid("the arguments broke off or cannot be read: call again, with less", code="invalid_arguments")
    if len(arguments := msgspec.json.encode(call["args"]).decode()) > ARGUMENT_CHARS:
        raise TooLarge("the arguments are too long", code="arguments_too_large")
    await emit(
        env, turn, Agent(artifact_id=turn.artifact_id, kind="tool_call", tool=call["name"], text=arguments[:500])
    )
    async with asyncio.timeout_at(turn.end - LAST_SECONDS / 2):
        return await execute(request)


TOOL_NODE = ToolNode(TOOLS, handle_tool_errors=failure_of, awrap_tool_call=run_call)
