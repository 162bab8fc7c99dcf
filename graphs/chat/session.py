"""One turn of a chat from request to answer: in line, on its thread, within its time, and again after a crash.

Imports LangGraph, which takes a second: routes load it when the first turn comes.
"""

import asyncio
import contextlib
import logging
from typing import Any, NamedTuple, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from graphs.chat import graph as chat
from graphs.chat.publish_consent import asks_to_publish
from graphs.chat.state import TURN_SECONDS, ChatState, Turn, config_for, thread_of
from tools.env import Env
from tools.errors import Conflict, Invalid, LeaseLost, PicassoError, Unavailable
from tools.publishing import artifacts, chats, templates
from tools.publishing.chats import ChatLease
from tools.rows import ArtifactRow, derived_id, new_id

log = logging.getLogger("picasso.chat")

WAIT_SECONDS = 30.0
"""How long a turn waits in line."""
MEND_SECONDS = 15.0
"""What a turn that a crash cut off may take before the next one begins."""
SLACK_SECONDS = 5.0


async def speak(env: Env, artifact_id: str, session_id: str, said: str, key: str | None) -> dict[str, Any]:
    """What comes of a person's words. The same words under the same key again are the same turn, with its answer.

    Fails: NotFound · Invalid (`not_fillable`) · Conflict (`chat_busy`, `idempotency_mismatch`, `chat_damaged`) ·
    Unavailable.
    """
    artifact = await fillable(env, artifact_id)
    named = derived_id("turn", artifact_id, session_id, key) if key else new_id()
    try:
        async with (
            chats.holding(env, artifact_id, session_id, wait=WAIT_SECONDS) as hold,
            asyncio.timeout(TURN_SECONDS + MEND_SECONDS + SLACK_SECONDS),
        ):
            return await _Thread(env, artifact, hold).answer(named, said)
    except TimeoutError:
        raise Unavailable("this turn took too long; what was chosen is kept", code="deadline") from None
    except LeaseLost:
        raise Unavailable("this chat went on elsewhere; send this again", code="chat_moved") from None


async def history(env: Env, artifact_id: str, session_id: str) -> list[chat.Said]:
    """The conversation so far; empty for one that never began.

    Fails: NotFound · Invalid (`not_fillable`) · Conflict (`chat_damaged`) · Unavailable.
    """
    artifact = await fillable(env, artifact_id)
    thread = _Thread(env, artifact, ChatLease(artifact_id, session_id, 0))
    return chat.conversation((await thread.state()).values.get("messages", []))


async def fillable(env: Env, artifact_id: str) -> ArtifactRow:
    """The artifact, whose template has placeholders for a chat to fill.

    Fails: NotFound · Invalid (`not_fillable`).
    """
    artifact = await artifacts.get(env, artifact_id)
    if artifact.generator_id is not None or artifact.template_r2_key is None:
        raise Invalid("a generator makes this artifact: there is no template to fill by chat", code="not_fillable")
    await templates.get(env, artifact.template_r2_key)
    return artifact


class _Begun(NamedTuple):
    """Which turn a checkpoint is of, and a fingerprint of its words.

    Stands beside the state: LangGraph stores a turn's input before it becomes state, and there a crash may fall too.
    """

    turn: str
    said: str


def _begun(before: StateSnapshot) -> _Begun | None:
    known = cast("dict[str, str]", before.metadata or {})
    return _Begun(known["turn"], known["said"]) if {"turn", "said"} <= known.keys() else None


class _Thread:
    """The graph on the thread of one chat."""

    def __init__(self, env: Env, artifact: ArtifactRow, hold: ChatLease) -> None:
        self._env, self._artifact, self._hold = env, artifact, hold
        saver = cast(BaseCheckpointSaver[str], env.AGENTIC_MEMORIES)
        self._graph: CompiledStateGraph[ChatState, Env, ChatState, ChatState] = chat.builder.compile(saver)
        self._id = thread_of(artifact.id, hold.session_id)

    async def answer(self, turn: str, said: str) -> dict[str, Any]:
        before = await self.state()
        if (known := self._known(before, turn, said)) is not None:
            return known
        # Not `next`: that leaves out a task whose outcome is stored, and there a crash may have cut off as well.
        unfinished, begun = bool(before.tasks), _begun(before)
        again = unfinished and begun is not None and begun.turn == turn
        if unfinished and not again:
            await self._mend(begun)
        mine = _Begun(turn, chat.fingerprint(said))
        words = None if again else ChatState(turn=turn, said=said)
        answer = await self._run(words, mine, asks_to_publish(said), TURN_SECONDS)
        await self._prune()
        return answer

    async def state(self) -> StateSnapshot:
        """Fails: Conflict (`chat_damaged`) when what is stored is no conversation."""
        try:
            found = await self._graph.aget_state({"configurable": {"thread_id": self._id}})
        except PicassoError:
            raise
        except Exception as error:
            # Whatever a damaged or forged blob makes a decoder raise: nothing of it is used.
            raise self._damaged(error) from error
        if not chat.is_whole(found.values):
            raise self._damaged(None)
        return found

    def _damaged(self, error: Exception | None) -> Conflict:
        log.error("the memory of a chat cannot be read", exc_info=error)
        return Conflict("what is stored of this chat cannot be read; begin another session", code="chat_damaged")

    def _known(self, before: StateSnapshot, turn: str, said: str) -> dict[str, Any] | None:
        """The answer of a turn that was over already.

        Fails: Conflict (`idempotency_mismatch`) when the key was used for other words.
        """
        finished = next((one for one in before.values.get("answers", []) if one["turn"] == turn), None)
        begun = _Begun(turn, finished["said"]) if finished else _begun(before)
        if begun is not None and begun.turn == turn and begun.said != chat.fingerprint(said):
            raise Conflict("this Idempotency-Key was used with other words", code="idempotency_mismatch")
        return cast("dict[str, Any]", finished["answer"]) if finished else None

    async def _mend(self, begun: _Begun | None) -> None:
        """Carry out what a turn had begun when a crash cut it off; what was approved then is not any more."""
        with contextlib.suppress(PicassoError):
            await self._run(None, begun, False, MEND_SECONDS)

    async def _run(
        self, words: ChatState | None, begun: _Begun | None, approved: bool, seconds: float
    ) -> dict[str, Any]:
        end = asyncio.get_running_loop().time() + seconds
        turn = Turn(self._artifact.id, self._hold.session_id, self._artifact.owner_id, self._hold.fence, approved, end)
        config = config_for(turn, begun._asdict() if begun else {})
        after = await self._graph.ainvoke(words, config, context=self._env, durability="sync")
        return cast("dict[str, Any]", after["answer"])

    async def _prune(self) -> None:
        """Keep the last checkpoint alone; what could not be pruned now will be after the next turn."""
        with contextlib.suppress(PicassoError):
            await cast(BaseCheckpointSaver[str], self._env.AGENTIC_MEMORIES).aprune([self._id], strategy="keep_latest")
