"""Chat about an artifact: say something, and read what was said."""

import asyncio
import importlib
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from app.http.schemas import PROSE, Body, Id
from app.routes.jobs import idempotency_key
from tools.env import Env

LONGEST_INPUT = 4_000


class Words(Body, frozen=True):
    examples: ClassVar[list[dict[str, Any]]] = [{"sessionId": "s1", "input": "title: Autumn"}]
    session_id: Id
    input: Annotated[str, Meta(min_length=1, max_length=LONGEST_INPUT, pattern=PROSE)]


class ToolCallAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`outcome` is `ok` or the code of what went wrong; then no arguments are told."""

    name: str
    arguments: dict[str, Any]
    outcome: str


class Reply(msgspec.Struct, frozen=True, rename="camel"):
    """`missing` are the placeholders without a value, `configuration` are the others; `publicSlug` is null until the
    page can be read."""

    reply: str
    missing: list[str]
    configuration: dict[str, str]
    public_slug: str | None
    tool_calls: list[ToolCallAnswer]


class ChatMessage(msgspec.Struct, frozen=True):
    """`at` is UTC milliseconds."""

    role: Literal["user", "assistant"]
    text: str
    at: int


class ChatMessages(msgspec.Struct, frozen=True):
    """The oldest first."""

    items: list[ChatMessage]


@post("/api/artifacts/{artifact_id:str}/customize", status_code=200, tags=["chat"])
async def customize(
    request: Request[Any, Any, Any],
    artifact_id: FromPath[str],
    data: JSONBody[Words],
    env: NamedDependency[Env],
) -> Reply:
    """Say something to the assistant that fills the artifact's template; its words and deeds are also told to the
    session as `agent` events. With an Idempotency-Key the same request again is the same turn."""
    key = idempotency_key(request.headers.getall("idempotency-key", []))
    module = await _conversation()
    answer = await module.speak(env, artifact_id, data.session_id, data.input, key)
    return msgspec.convert(answer, Reply)


@get("/api/artifacts/{artifact_id:str}/messages", tags=["chat"])
async def list_messages(
    artifact_id: FromPath[str],
    env: NamedDependency[Env],
    session_id: Annotated[str, QueryParameter(name="sessionId", pattern="^[A-Za-z0-9._:-]{1,128}$")],
) -> ChatMessages:
    """What was said in a session about the artifact: the end of a long chat, older turns in short."""
    module = await _conversation()
    said = await module.history(env, artifact_id, session_id)
    return ChatMessages([ChatMessage(each.role, each.text, each.at) for each in said])


handlers: list[Any] = [customize, list_messages]


async def _conversation() -> ModuleType:
    """Loaded off the loop by the first who needs it."""
    return await asyncio.to_thread(importlib.import_module, "graphs.chat.session")
