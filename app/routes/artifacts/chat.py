"""The chat about an artifact: one turn of it, and its messages."""

import asyncio
import importlib
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from litestar import Request, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from app.http.schemas import PROSE, Body, Id
from app.routes.jobs import idempotency_key
from tools.env import Env
from tools.errors import Invalid
from tools.publishing.addresses import whole_in_text

LONGEST_INPUT = 4_000


class Words(Body, frozen=True):
    """A person's message in a session. `approve` is a button that publishes what is filled; then `input` may be left
    out."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"sessionId": "s1", "input": "title: Autumn"},
        {"sessionId": "s1", "approve": True},
    ]
    session_id: Id
    input: Annotated[str, Meta(min_length=1, max_length=LONGEST_INPUT, pattern=PROSE)] | UnsetType = UNSET
    approve: bool = False


class Filling(Body, frozen=True):
    """Texts by placeholder, or by option of a generator as the chat names it; an empty text clears. An image is named
    by its `generated_image_url`."""

    examples: ClassVar[list[dict[str, Any]]] = [{"sessionId": "s1", "values": {"TITLE": "Autumn"}}]
    session_id: Id
    values: Annotated[
        dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=2_000)]],
        Meta(min_length=1, max_length=64),
    ]


class Filled(msgspec.Struct, frozen=True, rename="camel"):
    """`missing` are the placeholders without a value, `configuration` the values of the others."""

    missing: list[str]
    configuration: dict[str, str]


class ToolCallAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A call of a tool. `outcome` is `ok` or the code of the failure; of a failed call the arguments are left out."""

    name: str
    arguments: dict[str, Any]
    outcome: str


class Reply(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of a turn. `missing` are the placeholders without a value, `configuration` the values of the others;
    `publicSlug` is null until the page answers."""

    reply: str
    missing: list[str]
    configuration: dict[str, str]
    public_slug: str | None
    tool_calls: list[ToolCallAnswer]


class ChatMessage(msgspec.Struct, frozen=True):
    """A message of the conversation; `at` is UTC milliseconds."""

    role: Literal["user", "assistant"]
    text: str
    at: int


class ChatMessages(msgspec.Struct, frozen=True):
    """Messages, the oldest first."""

    items: list[ChatMessage]


@post("/api/artifacts/{artifact_id:str}/customize", status_code=200, tags=["chat"])
async def customize(
    request: Request[Any, Any, Any],
    artifact_id: FromPath[str],
    data: JSONBody[Words],
    env: NamedDependency[Env],
) -> Reply:
    """Say something to the assistant that fills the artifact's template, or the options of its generator; its words and
    tool calls are also `agent` events of the session. It publishes when the person asks for it in any language, says
    yes to its offer, or with `approve`. With an Idempotency-Key the same request again is the same turn."""
    key = idempotency_key(request.headers.getall("idempotency-key", []))
    if data.input is UNSET and not data.approve:
        raise Invalid("input, approve: say something, or approve", code="invalid_request")
    session = await _session()
    said = "" if data.input is UNSET else data.input
    answer = await session.speak(env, artifact_id, data.session_id, said, key, approve=data.approve)
    return msgspec.convert(answer, Reply)


@patch("/api/artifacts/{artifact_id:str}/configuration", tags=["chat"])
async def fill_in(artifact_id: FromPath[str], data: JSONBody[Filling], env: NamedDependency[Env]) -> Filled:
    """Fill the artifact's template, or the options of its generator, by a form: what a chat would save, at once and
    without a model. Either all of the values are saved or none; "undo" in the session's chat takes them back."""
    form = await asyncio.to_thread(importlib.import_module, "graphs.chat.form")
    return msgspec.convert(await form.fill_in(env, artifact_id, data.session_id, data.values), Filled)


@get("/api/artifacts/{artifact_id:str}/messages", tags=["chat"])
async def list_messages(
    artifact_id: FromPath[str],
    env: NamedDependency[Env],
    session_id: Annotated[str, QueryParameter(name="sessionId", pattern="^[A-Za-z0-9._:-]{1,128}$")],
) -> ChatMessages:
    """The messages of a session about the artifact; of a long chat only its end."""
    session = await _session()
    said = await session.history(env, artifact_id, session_id)
    return ChatMessages(
        [
            ChatMessage(
                each.role, each.text if each.role == "user" else whole_in_text(env.settings, each.text), each.at
            )
            for each in said
        ]
    )


handlers: list[Any] = [customize, fill_in, list_messages]


async def _session() -> ModuleType:
    """The module that runs turns. Its first import takes a second, so it happens off the event loop."""
    return await asyncio.to_thread(importlib.import_module, "graphs.chat.session")
