"""One turn of a chat from request to answer: in line, on its thread, within its time, and again after a crash.

Imports LangGraph, which takes a second: routes load this when the first turn comes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from generators import registry
from graphs.chat.graph import builder
from graphs.chat.publish_consent import asks_to_publish, holds_back, is_yes
from graphs.chat.state import TURN_SECONDS, ChatState, Turn, config_for, fingerprint, is_whole, thread_of
from tools.env import Env
from tools.errors import Conflict, LeaseLost, PicassoError, Unavailable
from tools.publishing import artifacts, chats, templates
from tools.publishing.chats import ChatLease
from tools.rows import ArtifactRow, derived_id, new_id
from tools.step import log_context

log = logging.getLogger("picasso.chat")

TASKS = "__pregel_tasks"
"""The channel in which LangGraph 1.2 keeps what `Send` sends."""

WAIT_SECONDS = 30.0
"""How long a turn waits in line."""
MEND_SECONDS = 15.0
"""What a turn that a crash cut off may take before the next one begins."""
SLACK_SECONDS = 5.0
PRESSED = "Publish the page."
"""What the person says who presses the button and says nothing."""


class Said(msgspec.Struct, frozen=True):
    """One message of the conversation as people see it; `at` in UTC milliseconds."""

    role: Literal["user", "assistant"]
    text: str
    at: int


async def speak(
    env: Env, artifact_id: str, session_id: str, said: str, key: str | None, *, approve: bool = False
) -> dict[str, Any]:
    """The answer to a person's words; with `approve` they pressed the button that publishes, which words that refuse
    undo. The same words under the same key again are the same turn, with its answer.

    Effect: choices, a publication, events and the conversation, each stored as it happens.
    Fails: NotFound · Invalid (`not_fillable`) · Conflict (`chat_busy`, `idempotency_mismatch`, `chat_damaged`) ·
    Unavailable.
    """
    artifact = await fillable(env, artifact_id)
    said = said or PRESSED
    turn = derived_id("turn", artifact_id, session_id, key) if key else new_id()
    try:
        with log_context(artifactId=artifact_id, sessionId=session_id):
            async with (
                chats.holding(env, artifact_id, session_id, wait=WAIT_SECONDS) as lease,
                asyncio.timeout(TURN_SECONDS + MEND_SECONDS + SLACK_SECONDS),
            ):
                return await _Thread(env, artifact, lease).answer(turn, said, approve)
    except TimeoutError:
        raise Unavailable("this turn took too long; what was chosen is kept", code="deadline") from None
    except LeaseLost:
        raise Unavailable("this chat went on elsewhere; send this again", code="chat_moved") from None


async def history(env: Env, artifact_id: str, session_id: str) -> list[Said]:
    """The conversation so far; empty for one that never began.

    Fails: NotFound · Invalid (`not_fillable`) · Conflict (`chat_damaged`) · Unavailable.
    """
    artifact = await fillable(env, artifact_id)
    thread = _Thread(env, artifact, ChatLease(artifact_id, session_id, 0))
    with log_context(artifactId=artifact_id, sessionId=session_id):
        return conversation((await thread.state()).values.get("messages", []))


def conversation(messages: Sequence[BaseMessage]) -> list[Said]:
    """What the person and the assistant said, without the calls of tools between."""
    return [
        Said(
            "user" if isinstance(message, HumanMessage) else "assistant",
            message.text,
            message.additional_kwargs.get("at", 0),
        )
        for message in messages
        if isinstance(message, HumanMessage) or (isinstance(message, AIMessage) and "at" in message.additional_kwargs)
    ]


async def fillable(env: Env, artifact_id: str) -> ArtifactRow:
    """The artifact, whose template has placeholders, or whose generator has options, for a chat to fill.

    Fails: NotFound, also when there is no such generator any more · Invalid (`not_fillable`).
    """
    artifact = await artifacts.get(env, artifact_id)
    if artifact.generator_id is not None:
        registry.find(artifact.generator_id)
        return artifact
    assert artifact.template_r2_key is not None
    await templates.get(env, artifact.template_r2_key)
    return artifact


class _Begun(NamedTuple):
    """Which turn a checkpoint is of, and the fingerprint of its words.

    It is the checkpoint's metadata: LangGraph stores a turn's input before that becomes state, and a crash may fall
    between.
    """

    turn: str
    said: str


class _Thread:
    """The graph on the thread of one chat, under its lease."""

    def __init__(self, env: Env, artifact: ArtifactRow, lease: ChatLease) -> None:
        self._env, self._artifact, self._lease = env, artifact, lease
        self._saver = cast(BaseCheckpointSaver[str], env.AGENTIC_MEMORIES)
        self._graph: CompiledStateGraph[ChatState, Env, ChatState, ChatState] = builder.compile(self._saver)
        self._id = thread_of(artifact.id, lease.session_id)

    async def answer(self, turn: str, said: str, pressed: bool) -> dict[str, Any]:
        """The answer of the turn: the stored one if the turn is over, else that of the rest of it.

        Fails: Conflict (`idempotency_mismatch`) when the turn was begun with other words.
        """
        mine, before = _Begun(turn, fingerprint(said, pressed)), await self.state()
        metadata = cast("dict[str, str]", before.metadata or {})
        begun = _Begun(metadata["turn"], metadata["said"]) if {"turn", "said"} <= metadata.keys() else None
        finished = next((one for one in before.values.get("answers", []) if one["turn"] == turn), None)
        earlier = _Begun(turn, finished["said"]) if finished else begun
        if earlier is not None and earlier.turn == turn and earlier != mine:
            raise Conflict("this Idempotency-Key was used with other words", code="idempotency_mismatch")
        if finished:
            return cast("dict[str, Any]", finished["answer"])
        # Not `next`: that leaves out a task whose outcome is stored, and there a crash may have cut off as well.
        unfinished = bool(before.tasks)
        again = unfinished and begun is not None and begun.turn == turn
        if unfinished and not again:
            # Carry out what a crash cut off; what was approved then is not approved any more.
            with contextlib.suppress(PicassoError):
                await self._run(None, begun, False, False, MEND_SECONDS)
        words = None if again else ChatState(turn=turn, said=said, pressed=pressed)
        # An offer counts in the reply that the person saw last; that of a turn which was cut off nobody saw.
        offered = before.values.get("offered") is True and (again or not unfinished)
        # Words that refuse weigh more than the button.
        pressed = pressed and not holds_back(said)
        approved = pressed or asks_to_publish(said) or (offered and is_yes(said))
        answer = await self._run(words, mine, approved, pressed, TURN_SECONDS)
        with contextlib.suppress(PicassoError):
            # What could not be pruned now will be after the next turn.
            await chats.prune(self._env, self._id)
        return answer

    async def state(self) -> StateSnapshot:
        """The last checkpoint.

        Fails: Conflict (`chat_damaged`) when what is stored is no conversation · Unavailable.
        """
        try:
            found = await self._graph.aget_state({"configurable": {"thread_id": self._id}})
            if not is_whole(found.values):
                raise TypeError("the state is of other types")
            return found
        except PicassoError:
            raise
        except Exception as error:
            # Whatever a damaged or forged blob makes a decoder raise: nothing of it is used.
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> Conflict:
        log.error("the memory of a chat cannot be read", exc_info=error)
        return Conflict("what is stored of this chat cannot be read; begin another session", code="chat_damaged")

    async def _run(
        self, words: ChatState | None, begun: _Begun | None, approved: bool, pressed: bool, seconds: float
    ) -> dict[str, Any]:
        end = asyncio.get_running_loop().time() + seconds
        artifact, lease = self._artifact, self._lease
        turn = Turn(artifact.id, lease.session_id, artifact.owner_id, lease.fence, approved, end, pressed)
        config = config_for(turn, begun._asdict() if begun else {})
        try:
            after = await self._graph.ainvoke(words, config, context=self._env, durability="sync")
        except PicassoError:
            raise
        except Exception as error:
            # LangGraph's own channel of sent tasks is no part of the state that `state` looks at.
            stored = await self._saver.aget_tuple({"configurable": {"thread_id": self._id}})
            if stored and not isinstance(stored.checkpoint["channel_values"].get(TASKS, []), list):
                raise self._damaged(error) from error
            raise
        return cast("dict[str, Any]", after["answer"])
