"""The built-in chat model: fixed rules behind LangChain's interface, for pages that are filled without an account.

It is deterministic and keeps nothing: what it does follows from the brief, the messages and the tools of the turn.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar, cast

import msgspec
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from app.bindings.ai.builtin_chat.choices import best_first, resolve
from app.bindings.ai.builtin_chat.commands import Plain, SetImage, SetValue, read
from app.bindings.ai.builtin_chat.options import ORDERS
from app.bindings.ai.builtin_chat.replies import NO_PAGE, Turn, compose
from graphs.chat.brief import BriefMessage
from graphs.chat.results import ImageCards, ProjectCards, Rendered, Saved, ToolFailed
from graphs.chat.tools import MOST_CHOICES

MOST_PROJECTS = 4
"""Projects whose images are looked at in one turn."""
T = TypeVar("T")
Call = tuple[str, dict[str, Any]]


class BuiltinChat(BaseChatModel):
    """`builtin` among the chat models. `offered` are the names of the tools that it may call."""

    offered: frozenset[str] = frozenset()

    @property
    def _llm_type(self) -> str:
        return "picasso-builtin"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Any | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """The same model that may call these tools."""
        names = frozenset(tool.name for tool in tools if isinstance(tool, BaseTool))
        return cast("Runnable[Any, AIMessage]", self.model_copy(update={"offered": names}))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=answer(messages, self.offered))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        whole = answer(messages, self.offered)
        calls = [
            tool_call_chunk(
                name=call["name"], args=msgspec.json.encode(call["args"]).decode(), id=call["id"], index=at
            )
            for at, call in enumerate(whole.tool_calls)
        ]  # fmt: skip
        chunk = AIMessageChunk(content=whole.text, tool_call_chunks=calls, chunk_position="last")
        yield ChatGenerationChunk(message=chunk)


def answer(messages: Sequence[BaseMessage], offered: frozenset[str]) -> AIMessage:
    """What comes next in the turn: calls of the tools offered, or the reply once nothing is left to be done.

    It looks at the projects and their images, then saves, then publishes, each once. Words beside a call tell what of
    the message it could not do; after such words it publishes nothing.
    """
    brief = next((message.brief for message in messages if isinstance(message, BriefMessage)), None)
    at = max((n for n, message in enumerate(messages) if isinstance(message, HumanMessage)), default=None)
    if brief is None or at is None:
        return AIMessage(NO_PAGE)
    results = [message for message in messages[at + 1 :] if isinstance(message, ToolMessage)]
    spoken = [message.text for message in messages[at + 1 :] if isinstance(message, AIMessage)]
    turn = Turn(
        brief=brief,
        commands=read(str(messages[at].text), brief.placeholders, approved=brief.approved),
        projects=[each for found in _read(results, ProjectCards) for each in found.projects],
        images=best_first([each for found in _read(results, ImageCards) for each in found.images]),
        more=sum(found.more for found in _read(results, ImageCards)),
        saved=_read(results, Saved),
        rendered=_read(results, Rendered),
        failed=_read(results, ToolFailed),
        problems=[str(text) for text in spoken if text],
    )
    calls, problems = next_calls(turn, {str(message.name) for message in results})
    numbered = [
        {"name": name, "args": args, "id": f"call-{len(results) + n}"}
        for n, (name, args) in enumerate(calls)
        if name in offered
    ]
    if numbered:
        return AIMessage(" ".join(problems), tool_calls=numbered)
    return AIMessage(compose(msgspec.structs.replace(turn, problems=problems)))


def next_calls(turn: Turn, called: set[str]) -> tuple[list[Call], list[str]]:
    """The next calls, and what of the message cannot be done; `called` are the tools that have been called."""
    words = {command.word for command in turn.commands if isinstance(command, Plain)}
    chosen = [command for command in turn.commands if isinstance(command, SetImage)]
    # The number of an image that was shown is known to the tools.
    looks = "images" in words or any(image.number is None or not turn.brief.shown for image in chosen)
    several = {known.name for known in turn.brief.placeholders if known.kind == "images"}
    looks |= any(
        isinstance(each, SetValue) and each.key in several and (each.value in ORDERS or not turn.brief.shown)
        for each in turn.commands
    )
    if looks or (words & {"pick", "help", "missing"} and turn.brief.missing):
        if "get_projects_for_artifact" not in called:
            return [("get_projects_for_artifact", {})], []
        if "get_images_for_project" not in called and turn.projects:
            looked_at = turn.projects[:MOST_PROJECTS]
            return [("get_images_for_project", {"project_id": project.id}) for project in looked_at], []
    problems = turn.problems
    if "save_configuration" not in called:
        values, problems = resolve(turn.commands, turn.brief, turn.projects, turn.images, turn.more)
        choices = [{"key": key, "value": value} for key, value in values.items()]
        saves: list[dict[str, Any]] = [{"undo": True}] if "undo" in words else []
        saves += [{"choices": choices[at : at + MOST_CHOICES]} for at in range(0, len(choices), MOST_CHOICES)]
        if saves:
            return [("save_configuration", args) for args in saves], problems
    hindered = problems or turn.failed or turn.unknown or turn.refused or turn.brief.missing
    if turn.brief.approved and "render_artifact" not in called and not hindered:
        return [("render_artifact", {})], []
    return [], problems


def _read(results: Sequence[ToolMessage], kind: type[T]) -> list[T]:
    """The results of that kind; each tool has its own, and a failure has another."""
    found = list[T]()
    for message in results:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(str(message.text), type=kind))
    return found
