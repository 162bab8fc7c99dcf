"""The model's words as `agent` events of the session while they come."""

import time
from collections.abc import Set

from graphs.chat.state import Turn, emit
from tools.env import Env
from tools.events import Agent
from tools.models.chat_and_vision import STREAM_CHARS
from tools.models.reply_text import safe

TOKEN_CHARS, TOKEN_SECONDS = 120, 0.3
"""An event is sent once so much has come, or so much time has passed since the last one."""


class TokenStream:
    """Sends whole words, safe to show, several in one event; of an endless answer the first `STREAM_CHARS`."""

    def __init__(self, env: Env, turn: Turn, origins: Set[str]) -> None:
        self._env, self._turn, self._origins = env, turn, origins
        self._waiting, self._sent_at, self._room = "", time.monotonic(), STREAM_CHARS

    async def feed(self, text: str) -> None:
        """Take the next piece of the answer.

        Effect: an event, once it is time for one.
        """
        self._waiting += text[: self._room]
        self._room -= len(text[: self._room])
        if len(self._waiting) < TOKEN_CHARS and time.monotonic() < self._sent_at + TOKEN_SECONDS:
            return
        at = max(self._waiting.rfind(" "), self._waiting.rfind("\n")) + 1
        if at or len(self._waiting) > 10 * TOKEN_CHARS:
            await self._send(at or len(self._waiting))

    async def end(self) -> None:
        """Send what is left."""
        if self._waiting:
            await self._send(len(self._waiting))

    async def _send(self, count: int) -> None:
        text, self._waiting = safe(self._waiting[:count], self._origins), self._waiting[count:]
        self._sent_at = time.monotonic()
        await emit(self._env, self._turn, Agent(artifact_id=self._turn.artifact_id, kind="token", text=text))
