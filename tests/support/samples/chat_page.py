"""A page to be filled by chat: real rows, a real Redis for the chat's memory, and a template with placeholders."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from redis.asyncio import Redis

from app.bindings.ai.registry import open_ai
from app.bindings.checkpointer import open_checkpointer
from app.bindings.store import open_store
from app.settings import Settings
from graphs.chat.session import speak
from tests.support.environment import settings
from tests.support.samples.page_site import Silent, add_image, add_project, pages_env
from tools.env import Env
from tools.events import StoredEvent
from tools.publishing import artifacts, templates
from tools.rows import ArtifactRow, Criterion

TEMPLATE = """<main><h1>{{TITLE}}</h1><p>{{SUBTITLE}}</p><img src="{{IMAGE_HERO}}" alt="">
<img src="{{IMAGE_2}}" alt=""><small>{{THEME}}</small></main>"""
SMALL = '<h1>{{TITLE}}</h1><img src="{{IMAGE_HERO}}" alt="">'
DESCRIPTION = "Posters for the October launch. They hang in three cities."
MET = Criterion("a requirement", True, "seen")
MISSED = Criterion("another", False, "not seen")
IMAGES: tuple[dict[str, Any], ...] = (
    {"prompt": "a red boat at dawn", "ai_tags": ["red", "warm", "bright"], "judgment": "pass", "criteria": [MET]},
    {"prompt": "a blue boat at night", "ai_tags": ["blue", "cool", "dark"], "judgment": "fail",
     "ai_notes": ["no stars"], "criteria": [MISSED]},
    {"prompt": "a red boat in fog", "ai_tags": ["red", "cool", "soft"], "judgment": "pass", "ai_provider": "gemini",
     "criteria": [MET, MISSED]},
    {"prompt": "a green hill", "ai_tags": ["green", "cool"], "ai_provider": "openai"},
)  # fmt: skip
"""In the order of their making. The best judged first they are 1 the red dawn, 2 the fog, 3 the hill, 4 the night."""
BEST_FIRST = ("p-0", "p-2", "p-3", "p-1")


@contextlib.asynccontextmanager
async def chatting(home: Path, redis: Redis, *, again: bool = False, **environ: str) -> AsyncIterator[Env]:
    """An `Env` with a page `a` of the project `p`, and another owner's project `q` with page `b`.

    With `again` they exist already.
    """
    chosen: Settings = settings(home, API_KEY="k" * 40, **environ)
    given = {
        "AGENTIC_MEMORIES": open_checkpointer(chosen, redis),
        "USER_PREFERENCES": open_store(redis),
        "PICASSO_DO": Silent(),
        "DEFAULT_MODEL_REASONING": chosen.default_model_reasoning,
    }
    async with open_ai(chosen) as models, pages_env(home, "", environ, AI=models, **given) as env:
        if not again:
            await fill_shelves(env)
        yield env


async def fill_shelves(env: Env) -> None:
    await add_project(env, "p", "Aurora", DESCRIPTION)
    await add_project(env, "q", "Foreign")
    for number, facts in enumerate(IMAGES):
        await add_image(env, "p", number, **facts)
    await add_image(env, "q", 0, prompt="a foreign secret", judgment="pass")
    await page(env, "a")
    await page(env, "b", projects=["q"], owner="somebody")


async def page(
    env: Env, id: str, html: str = TEMPLATE, projects: Sequence[str] = ("p",), owner: str = "ada"
) -> ArtifactRow:
    """A draft that a chat can fill."""
    template = await templates.upload(env, "card", html)
    draft = artifacts.draft(generator_id=None, title="A page", owner_id=owner, options={})
    row = msgspec.structs.replace(draft, id=id, template_r2_key=template.r2_key)
    await artifacts.create(env, row, list(projects))
    return row


async def say(env: Env, *words: str, artifact: str = "a", session: str = "s") -> dict[str, Any]:
    """Send the words one after the other, and return the answer to the last."""
    answer: dict[str, Any] = {}
    for said in words:
        answer = await speak(env, artifact, session, said, None)
    return answer


def url_of(env: Env, number: int) -> str:
    """The delivery URL of image `number` of the best-first list."""
    return f"{env.settings.public_url}{path_of(number)}"


def path_of(number: int) -> str:
    """The path of the same, as rows and pages name it."""
    return f"/images/{BEST_FIRST[number - 1]}/public"


async def session_events(env: Env, session: str = "s") -> list[dict[str, Any]]:
    """The data of the session's events."""
    rows = await env.DB.all("SELECT * FROM events WHERE session_id = :id ORDER BY seq", StoredEvent, id=session)
    return [{"type": row.type, **msgspec.json.decode(row.data)} for row in rows]


class Scripted(BaseChatModel):
    """A model whose answer is a function of the messages."""

    script: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("the chat streams")

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        said = self.script(messages)
        text = str(said.text)
        for at in range(0, len(text), 500):
            yield ChatGenerationChunk(message=AIMessageChunk(content=text[at : at + 500]))
        for index, (name, args) in enumerate(said.additional_kwargs.get("calls", [])):
            chunk = tool_call_chunk(name=name, args=json.dumps(args), id=f"c{index}", index=index)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))


class OneModel:
    """An AI binding with one model under every name."""

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model

    keys: dict[str, str] = {}

    def chat_model(self, name: str) -> BaseChatModel:
        return self._model


def scripted(env: Env, script: Callable[[list[BaseMessage]], AIMessage]) -> Env:
    """The `Env` with a model that follows the script, at a vendor without prices."""
    model: Any = OneModel(Scripted(script=script))
    return dataclasses.replace(env, AI=model, DEFAULT_MODEL_REASONING="openai:scripted")


def calling(*calls: tuple[str, Any], text: str = "") -> AIMessage:
    """A message that calls tools, with any arguments; every message uses the same ids."""
    return AIMessage(text, additional_kwargs={"calls": list(calls)})


def once(*messages: AIMessage) -> Callable[[list[BaseMessage]], AIMessage]:
    """In each turn these messages one after the other, then a plain end."""

    def script(seen: list[BaseMessage]) -> AIMessage:
        start = max(at for at, message in enumerate(seen) if isinstance(message, HumanMessage))
        step = sum(isinstance(message, AIMessage) for message in seen[start:])
        return messages[step] if step < len(messages) else AIMessage("That is all.")

    return script


async def hijacked(
    env: Env, calls: Sequence[tuple[str, Any]]
) -> AsyncIterator[tuple[dict[str, Any], list[BaseMessage]]]:
    """A model makes these calls, ten to a turn: the answer of each turn, and the messages that the model saw last."""
    heard: list[BaseMessage] = []
    for start in range(0, len(calls), 10):
        speaks = once(calling(*calls[start : start + 10]))

        def script(messages: list[BaseMessage], speaks: Any = speaks) -> AIMessage:
            heard[:] = messages
            return cast(AIMessage, speaks(messages))

        yield await say(scripted(env, script), "go on"), heard
