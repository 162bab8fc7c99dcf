"""The state of a chat, whose turn it is and what that turn may do, and the session's events."""

import contextlib
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph.message import add_messages

from tools import actor_emit
from tools.env import Env
from tools.errors import PicassoError
from tools.events import Agent
from tools.publishing.chats import ChatLease

MOST_STEPS, MOST_CALLS = 7, 10
"""Questions to the model and calls of tools in one turn; the first question may be put twice."""
TURN_SECONDS = 60.0
LAST_SECONDS = 3.0
"""The part of them that is kept for the reply."""
LISTS: dict[str, type | tuple[type, ...]] = {
    "messages": (HumanMessage, AIMessage, ToolMessage),
    "listed": str,
    "shown": int,
    "origins": str,
    "answers": dict,
}
"""The state's lists and the types of what they hold."""


class ChatState(TypedDict):
    """What the checkpointer keeps of a chat. Fields may be added, but not renamed: old chats go on."""

    turn: str
    """Names the turn; the same for a request that is sent again under its Idempotency-Key."""
    said: str
    """What the person said in it."""
    pressed: NotRequired[bool]
    """Whether the person pressed the button that publishes; by `Turn` it counts in the request itself alone."""
    messages: NotRequired[Annotated[list[AnyMessage], add_messages]]
    listed: NotRequired[list[str]]
    """Progressions that have numbers in this chat; image n is the n-th."""
    shown: NotRequired[list[int]]
    """Numbers of the images in the list that was shown last."""
    offered: NotRequired[bool]
    """Whether the last reply offered to publish, so that a mere yes asks for it."""
    origins: NotRequired[list[str]]
    """Where the images are delivered from: replies may link there."""
    halted: NotRequired[str]
    """Why the turn ends before the model is done; empty when it does not."""
    reply: NotRequired[str]
    answer: NotRequired[dict[str, Any]]
    answers: NotRequired[list[dict[str, Any]]]
    """The latest turns with their answers, for requests that are sent again."""


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """Whose turn it is and what it may do. It comes with the run's configuration: it is not stored, and no model
    can change it."""

    artifact_id: str
    session_id: str
    owner_id: str
    fence: int
    approved: bool
    """Whether the person asks to publish in this very request, by words or by a button."""
    end: float
    """When all must be done, in the loop's time."""
    pressed: bool = False
    """Whether by a button."""

    @property
    def lease(self) -> ChatLease:
        """The lease under which the turn writes."""
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
    """The checkpointer's name of a chat."""
    return f"artifact:{artifact_id}:{session_id}"


def turn_of(config: RunnableConfig | None = None) -> Turn:
    """The turn that is being run, from the configuration given or the current one."""
    return Turn(*(config or get_config())["configurable"]["turn"])


def fingerprint(said: str, pressed: bool = False) -> str:
    """SHA-256 of a person's words and button, by which a request that is sent again is known."""
    return hashlib.sha256((said + "\0approve" * pressed).encode()).hexdigest()


def is_whole(values: Mapping[str, Any]) -> bool:
    """Whether stored values are the state of a chat, as far as their types tell."""
    return all(
        isinstance(values.get(name, []), list) and all(isinstance(each, kinds) for each in values.get(name, []))
        for name, kinds in LISTS.items()
    )


async def emit(env: Env, turn: Turn, event: Agent) -> None:
    """Append an event to the turn's session. While the database is away the event is missing and the turn goes on."""
    with contextlib.suppress(PicassoError):
        await actor_emit.emit(env, turn.session_id, event)
