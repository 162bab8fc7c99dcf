"""Sending messages to PICASSO_QUEUE; the worker's consumer handles them (`views.write_views`)."""

from typing import Any

from tools.env import Env, Message
from tools.rows import now_ms
from tools.step import step


@step("queue.send")
async def send(env: Env, message: Message) -> None:
    """Hand a message to the queue, which delivers it at least once.

    Effect: one message in PICASSO_QUEUE; sending it again under its id is harmless.
    Fails: Unavailable when the queue did not take it · TooLarge over 64 KiB.
    """
    await env.PICASSO_QUEUE.send(message)


def log_message(id: str, payload: dict[str, Any]) -> Message:
    """A message that the consumer writes as one log line, `queue.log`, with this payload."""
    return Message(id, "log", now_ms(), payload)
