"""The tools of the model that chats about an artifact.

Each takes whose page it is about from the run: what a model sees of them has no artifact, owner or session, and what it
makes up of that is not heard. What it may say is checked here: placeholders, images, length, and that a person asked.
"""

import asyncio
import hashlib
import logging
import re
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, cast

import msgspec
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest, ToolInvocationError
from langgraph.types import Command
from pydantic import BaseModel, Field

from generators.shared.template_page import fill
from graphs.chat.state import LAST_SECONDS, ChatState, Turn, emit, missing_of, placeholders_of, turn_of
from tools import db
from tools.env import Env
from tools.errors import Invalid, LeaseLost, NotFound, PicassoError, TooLarge
from tools.events import Agent
from tools.models.builtin_judge import ABOUT
from tools.models.reply_text import origin
from tools.publishing import artifacts, chats
from tools.publishing.chats import (
    LIKING,
    ImageCard,
    ImageCards,
    Placeholder,
    ProjectCard,
    ProjectCards,
    RefusedChoice,
    Rendered,
    Saved,
    ToolFailed,
)
from tools.rows import Judgment, Progression, derived_id, dump
from tools.step import correlation_id

log = logging.getLogger("picasso.chat")

ARGUMENT_CHARS = 20_000
UNREAD = "arguments"
"""Stands alone in place of arguments that could not be read."""
VALUE_CHARS = 2_000
MOST_IMAGES, MOST_LISTED = 24, 500
"""Of one list, and of all that a chat has numbers for."""
TASTE_KEYS = {"THEME": "theme", "TONE": "tone", "LAYOUT": "layout"}
"""Placeholders that say what somebody likes."""
NUMBER = re.compile(r"(?:(?:image|picture|photo|number|no\.?)\s*)?#?(\d{1,4})", re.IGNORECASE)


class Choice(BaseModel):
    key: str = Field(max_length=64, description="the placeholder's name")
    value: str = Field(
        description="for words: the text, at most 2,000 characters; for an image: its number; empty to clear it"
    )


class Likings(BaseModel):
    theme: str | None = Field(None, max_length=40)
    tone: str | None = Field(None, max_length=40)
    layout: str | None = Field(None, max_length=40)


class Look(BaseModel):
    project_id: str = Field(max_length=128, description="as get_projects_for_artifact gives it")
    provider: str | None = Field(None, max_length=64)
    judgment: Literal["pass", "fail"] | None = None
    query: str | None = Field(
        None, max_length=200, description="words that must all be in tags, prompt, notes or provider"
    )


class Choices(BaseModel):
    choices: list[Choice] = Field(default_factory=list, max_length=64)
    undo: bool = Field(False, description="take back the last choice instead")
    remember: Likings | None = Field(None, description="what the person says they generally like")


Desk = ToolRuntime[Env, ChatState]
Bare = ToolRuntime[Any, Any]
"""The same for a tool without arguments, whose schema LangChain makes from its signature."""


@tool
async def get_projects_for_artifact(runtime: Bare) -> str:
    """The projects whose images the page may show."""
    found = await db.get_projects_for_artifact(runtime.context, turn_of(runtime.config).artifact_id)
    cards = [ProjectCard(row.id, row.name[:200], (row.description or "")[:500]) for row in found[:20]]
    return dump(ProjectCards(cards))


@tool(args_schema=Look)
async def get_images_for_project(
    runtime: Desk, project_id: str, provider: str | None, judgment: Judgment | None, query: str | None
) -> "Command[Any]":
    """The images of one project, the best judged first, with the numbers by which they are chosen."""
    env, turn = runtime.context, turn_of(runtime.config)
    if project_id not in {row.id for row in await db.get_projects_for_artifact(env, turn.artifact_id)}:
        raise NotFound("this page has no such project", code="unknown_project")
    words = [*(query or "").lower().split(), *([provider.lower()] if provider else [])]
    rows = [row for row in await db.get_images_for_project(env, project_id) if judgment in (None, row.judgment)]
    fitting = sorted((row for row in rows if _mentions(row, words)), key=merit)
    listed = list(dict.fromkeys([*runtime.state.get("listed", []), *(row.id for row in fitting[:MOST_IMAGES])]))
    listed = listed[:MOST_LISTED]
    cards = [card_of(row, listed.index(row.id) + 1) for row in fitting[:MOST_IMAGES] if row.id in listed]
    told = ImageCards(project_id, cards, len(fitting) - len(cards))
    origins = sorted({*runtime.state.get("origins", []), *(origin(card.url) for card in cards)})
    return _told(runtime, told, listed=listed, origins=origins)


def _mentions(row: Progression, words: Sequence[str]) -> bool:
    text = " ".join([row.ai_provider, row.prompt, *row.ai_tags, *row.ai_notes]).lower()
    return all(word in text for word in words)


def merit(row: Progression) -> tuple[int, float, int, str]:
    """What puts one image before another: the verdict, the share of met criteria, then the newest."""
    share = sum(criterion.met for criterion in row.criteria) / len(row.criteria) if row.criteria else 0.0
    return {"pass": 0, None: 1, "fail": 2}[row.judgment], -share, -row.created_at, row.id


def card_of(row: Progression, number: int) -> ImageCard:
    met = sum(criterion.met for criterion in row.criteria)
    notes = [note for note in row.ai_notes if note != ABOUT]
    return ImageCard(
        number=number,
        id=row.id,
        url=row.generated_image_url,
        provider=row.ai_provider[:64],
        prompt=" ".join(row.prompt.split())[:160],
        tags=[tag[:40] for tag in row.ai_tags[:12]],
        judgment=row.judgment,
        met=f"{met}/{len(row.criteria)}" if row.criteria else "",
        note=" ".join(" ".join(notes).split())[:160],
        made=row.created_at,
    )


@tool(args_schema=Choices)
async def save_configuration(runtime: Desk, choices: list[Choice], undo: bool, remember: Likings | None) -> str:
    """Fill placeholders. All that one call saves is one choice: an undo takes it back together."""
    if not (choices or undo or remember):
        raise Invalid("there is nothing to save in this", code="nothing_to_save")
    env, turn = runtime.context, turn_of(runtime.config)
    id = derived_id("choice", runtime.state["turn"], runtime.tool_call_id)
    undone = await _undo(env, turn, id) if undo else None
    choices = [] if undo else choices
    artifact = await artifacts.get(env, turn.artifact_id)
    known = {placeholder.name: placeholder for placeholder in await placeholders_of(env, artifact)}
    values, refused = await _values(env, turn, runtime.state, known, choices)
    if values:
        await chats.choose(env, turn.hold, id, values)
    remembered, unsaid = _likings(runtime.state["said"], values, remember)
    if remembered:
        await chats.remember(env, turn.owner_id, remembered)
    left = await placeholders_of(env, artifact)
    return dump(
        Saved(
            saved={key: value or "" for key, value in values.items()},
            refused=[*refused, *unsaid],
            undone=undone,
            remembered=remembered,
            missing=missing_of(left),
        )
    )


async def _undo(env: Env, turn: Turn, id: str) -> dict[str, str] | None:
    changes = await chats.undo(env, turn.hold, id)
    return None if changes is None else {change.key: change.before or "" for change in changes}


async def _values(
    env: Env, turn: Turn, state: ChatState, known: dict[str, Placeholder], choices: Sequence[Choice]
) -> tuple[dict[str, str | None], list[RefusedChoice]]:
    """What may be saved, None to clear; and what may not, with the reason."""
    values, refused = dict[str, str | None](), list[RefusedChoice]()
    for choice in choices:
        try:
            values[choice.key] = await _value(env, turn, state, known, choice)
        except PicassoError as error:
            refused.append(RefusedChoice(choice.key, error.code, error.message))
    return values, refused


async def _value(env: Env, turn: Turn, state: ChatState, known: dict[str, Placeholder], choice: Choice) -> str | None:
    """Fails: Invalid, TooLarge."""
    if choice.key not in known:
        raise Invalid("the template has no such placeholder", code="unknown_placeholder")
    if len(choice.value) > VALUE_CHARS:
        raise TooLarge(f"a value may have {VALUE_CHARS} characters", code="value_too_large")
    value = _clean(choice.value)
    if not value:
        return None
    return await _image(env, turn, state, value) if known[choice.key].kind == "image" else value


def _clean(value: str) -> str:
    """The text as the API takes texts in: NFC, trimmed, without control characters but line breaks and tabs."""
    plain = "".join(c for c in value if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return unicodedata.normalize("NFC", plain).strip()


async def _image(env: Env, turn: Turn, state: ChatState, value: str) -> str:
    """The delivery URL of an image of the page's projects, from its number or the URL itself."""
    url = value
    if match := NUMBER.fullmatch(value):
        listed, at = state.get("listed", []), int(match[1]) - 1
        if not 0 <= at < len(listed):
            raise Invalid("there is no image of that number; list them first", code="unknown_image")
        url = (await db.get_progression(env, listed[at])).generated_image_url
    if await artifacts.find_image(env, turn.artifact_id, url) is None:
        raise Invalid("only images of the page's projects can be used, by their number", code="foreign_image")
    return url


def _likings(
    said: str, values: dict[str, str | None], remember: Likings | None
) -> tuple[dict[str, str], list[RefusedChoice]]:
    """What is to be remembered: only what the person said in this turn, whatever a model makes of it."""
    wanted = {TASTE_KEYS[key]: value for key, value in values.items() if key in TASTE_KEYS and value}
    kept = {kind: word for kind, word in wanted.items() if LIKING.fullmatch(word) and word.lower() in said.lower()}
    refused: list[RefusedChoice] = []
    for kind, word in (remember.model_dump(exclude_none=True) if remember else {}).items():
        spoken = "forget" in said.lower() if not word else LIKING.fullmatch(word) and word.lower() in said.lower()
        if spoken:
            kept[kind] = word
        else:
            refused.append(RefusedChoice(kind, "not_said", "only what the person says is remembered"))
    return kept, refused


@tool
async def render_artifact(runtime: Bare) -> str:
    """Publish the page as it is filled now and tell its link. Only when the person's last message asks for it."""
    env, turn = runtime.context, turn_of(runtime.config)
    if not turn.approved:
        raise Invalid("the person has not asked to publish: they must say “publish” themselves", code="not_approved")
    artifact = await artifacts.get(env, turn.artifact_id)
    placeholders = await placeholders_of(env, artifact)
    if missing := missing_of(placeholders):
        raise Invalid(f"not filled yet: {', '.join(missing)}", code="unfilled")
    projects = await db.get_projects_for_artifact(env, artifact.id)
    values = {known.name: known.value for known in placeholders if known.value is not None}
    output = await fill(env, artifact, projects, values)
    public = await artifacts.by_slug(env, artifact.public_slug)
    if public is None or public.content_sha256 != hashlib.sha256(output.index.data).hexdigest():
        ids = [project.id for project in projects]
        await artifacts.publish(env, artifact, output, ids, session_id=turn.session_id)
    return dump(Rendered(artifacts.public_url(env, artifact)))


def _told(runtime: Desk, result: msgspec.Struct, **update: Any) -> "Command[Any]":
    """A tool's answer together with what it changes of the state."""
    message = ToolMessage(dump(result), tool_call_id=str(runtime.tool_call_id))
    return Command(update={**update, "messages": [message]})


TOOLS = [get_projects_for_artifact, get_images_for_project, save_configuration, render_artifact]
NAMES = frozenset(each.name for each in TOOLS)


def told(error: Exception) -> str:
    """What the model, and so the person, learns of a tool's failure: a code. The log has the rest."""
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


async def watched(
    request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable["ToolMessage | Command[Any]"]]
) -> "ToolMessage | Command[Any]":
    """One call within its bounds, told to the session.

    Fails: NotFound for a tool that there is not · Invalid, TooLarge for its arguments · TimeoutError.
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


TOOL_NODE = ToolNode(TOOLS, handle_tool_errors=told, awrap_tool_call=watched)
