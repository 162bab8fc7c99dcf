"""Whose turn of a chat it is, what it may do, how things stand then, and how the session hears of it."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph.message import add_messages

from tools import actor_emit, db
from tools.env import Env
from tools.errors import PicassoError
from tools.events import Agent
from tools.models import chat_and_vision
from tools.models.reply_text import safe
from tools.publishing import artifacts, chats, templates
from tools.publishing.chats import Brief, ChatLease, Placeholder
from tools.publishing.template_html import is_image
from tools.rows import ArtifactRow

MOST_STEPS, MOST_CALLS = 7, 10
"""Questions to the model and calls of tools in one turn; the first question may be put twice."""
TURN_SECONDS = 60.0
LAST_SECONDS = 3.0
"""Of those, what is kept for the reply."""
TOKEN_CHARS, TOKEN_SECONDS = 120, 0.3


class ChatState(TypedDict):
    turn: str
    """Names the turn; the same for a request that is sent again under its Idempotency-Key."""
    said: str
    """What the person said in it."""
    messages: NotRequired[Annotated[list[AnyMessage], add_messages]]
    listed: NotRequired[list[str]]
    """Progressions that the chat has spoken of; image n is the n-th."""
    shown: NotRequired[list[int]]
    """Numbers of the images in the list that the person saw last."""
    origins: NotRequired[list[str]]
    """Where the images are delivered from: replies may link there."""
    halted: NotRequired[str]
    """Why the turn ends before the model is done; empty when it does not."""
    reply: NotRequired[str]
    answer: NotRequired[dict[str, Any]]
    answers: NotRequired[list[dict[str, Any]]]
    """The latest turns with their answers, for requests that are sent again."""


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """Whose turn it is and what it may do: handed in by configuration, never saved, never told by the model."""

    artifact_id: str
    session_id: str
    owner_id: str
    fence: int
    approved: bool
    """Whether the person's own words in this very request ask to publish."""
    end: float
    """When all must be done, in the loop's time."""

    @property
    def hold(self) -> ChatLease:
        return ChatLease(self.artifact_id, self.session_id, self.fence)


def config_for(turn: Turn, metadata: Mapping[str, Any] = MappingProxyType({})) -> RunnableConfig:
    """The configuration of one turn: its thread, what it may do, and `metadata` for each of its checkpoints."""
    return {
        "metadata": dict(metadata),
        "configurable": {
            "thread_id": thread_of(turn.artifact_id, turn.session_id),
            "turn": list(msgspec.structs.astuple(turn)),
        },
        "recursion_limit": 4 + 2 * MOST_STEPS + 2 * MOST_CALLS,
    }


def thread_of(artifact_id: str, session_id: str) -> str:
    return f"artifact:{artifact_id}:{session_id}"


def turn_of(config: RunnableConfig | None = None) -> Turn:
    return Turn(*(config or get_config())["configurable"]["turn"])


async def load_brief(env: Env, turn: Turn, listed: Sequence[str], shown: Sequence[int]) -> Brief:
    """How things stand with the page."""
    artifact = await artifacts.get(env, turn.artifact_id)
    placeholders = await placeholders_of(env, artifact)
    public = await artifacts.by_slug(env, artifact.public_slug)
    numbers = await _numbers(env, artifact.id, placeholders, listed)
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
    assert artifact.template_r2_key is not None
    template = await templates.get(env, artifact.template_r2_key)
    values = await db.get_config(env, artifact.id)
    return [
        Placeholder(name, "image" if is_image(name) else "text", values.get(name)) for name in template.placeholders
    ]


async def _numbers(
    env: Env, artifact_id: str, placeholders: Sequence[Placeholder], listed: Sequence[str]
) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for known in placeholders:
        if known.kind == "image" and known.value:
            row = await artifacts.find_image(env, artifact_id, known.value)
            if row is not None and row.id in listed:
                numbers[known.name] = listed.index(row.id) + 1
    return numbers


def missing_of(placeholders: Sequence[Placeholder]) -> list[str]:
    return [known.name for known in placeholders if known.value is None]


async def emit(env: Env, turn: Turn, event: Agent) -> None:
    # Whoever listens misses something; the turn itself goes on.
    with contextlib.suppress(PicassoError):
        await actor_emit.emit(env, turn.session_id, event)


class Voice:
    """Tells the session what the model says, as it says it: whole words, safe to show, some at a time."""

    def __init__(self, env: Env, turn: Turn, origins: frozenset[str]) -> None:
        self._env, self._turn, self._origins = env, turn, origins
        self._held, self._told_at, self._room = "", time.monotonic(), chat_and_vision.STREAM_CHARS

    async def hear(self, text: str) -> None:
        self._held += text[: self._room]
        self._room -= len(text[: self._room])
        if len(self._held) < TOKEN_CHARS and time.monotonic() < self._told_at + TOKEN_SECONDS:
            return
        at = max(self._held.rfind(" "), self._held.rfind("\n")) + 1
        if at or len(self._held) > 10 * TOKEN_CHARS:
            await self._tell(at or len(self._held))

    async def end(self) -> None:
        if self._held:
            await self._tell(len(self._held))

    async def _tell(self, count: int) -> None:
        text, self._held = safe(self._held[:count], self._origins), self._held[count:]
        self._told_at = time.monotonic()
        await emit(self._env, self._turn, Agent(artifact_id=self._turn.artifact_id, kind="token", text=text))
