"""The built-in chat model: no language model, but LangChain's interface over what `sentences.py` understands.

It is deterministic and keeps nothing: all it does follows from the messages and the tools it is given. What it needs it
asks for by real tool calls, and it says so when it did not understand.
"""

import re
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar, cast

import msgspec
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from app.bindings.ai.builtin import replies, sentences
from app.bindings.ai.builtin.choosing import Choosing, Chosen, Table
from app.bindings.ai.builtin.wishes import (
    Another,
    Clear,
    Copy,
    Describe,
    Doubt,
    Past,
    Pick,
    Plain,
    Remember,
    Repaint,
    SetImage,
    SetText,
    ShowImages,
    Undo,
    Wish,
)
from tools.publishing.chats import BRIEF_MARK, Brief, ImageCards, ProjectCard, ProjectCards, Rendered, Saved, ToolFailed

MOST_PROJECTS = 4
MOST_CALLS = 6
"""Choices of one message that become calls of their own; more go into one call together."""
R = TypeVar("R")
Call = tuple[str, dict[str, Any]]


class Assistant(BaseChatModel):
    """`builtin` among the chat models. `offered` are the names of the tools that it may call."""

    offered: frozenset[str] = frozenset()

    @property
    def _llm_type(self) -> str:
        return "picasso-builtin"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Any | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
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

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        whole = answer(messages, self.offered)
        for word in re.findall(r"\S+\s*", whole.text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        for index, call in enumerate(whole.tool_calls):
            args = msgspec.json.encode(call["args"]).decode()
            chunk = tool_call_chunk(name=call["name"], args=args, id=call["id"], index=index)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))


def answer(messages: Sequence[BaseMessage], offered: frozenset[str]) -> AIMessage:
    """What comes next in the conversation: calls of the tools offered, or words."""
    turn = _Turn.of(messages, offered)
    if turn is None:
        return AIMessage(content=replies.NO_PAGE)
    if calls := turn.next_calls():
        made = sum(isinstance(message, ToolMessage) for message in messages)
        numbered = [{"name": name, "args": args, "id": f"call-{made + at}"} for at, (name, args) in enumerate(calls)]
        return AIMessage(content=" ".join(turn.reasons), tool_calls=numbered)
    return AIMessage(content=turn.words())


class _Turn:
    """What was said last, and what the tools have answered since."""

    def __init__(
        self,
        brief: Brief,
        said: str,
        before: Sequence[BaseMessage],
        since: Sequence[BaseMessage],
        offered: frozenset[str],
    ) -> None:
        results = [message for message in since if isinstance(message, ToolMessage)]
        self.brief, self.offered = brief, offered
        self.past = _past(before)
        self.wishes = sentences.read(said, brief.placeholders, self.past)
        self.reasons: list[str] = []
        """What is to be said of the choices that are about to be made."""
        self.given = [str(message.text) for message in since if isinstance(message, AIMessage) and message.text]
        """What was said of those that were made."""
        self.projects = _read(results, "get_projects_for_artifact", ProjectCards)
        self.images = _read(results, "get_images_for_project", ImageCards)
        self.saved = _read(results, "save_configuration", Saved)
        self.rendered = _read(results, "render_artifact", Rendered)
        self.failed = [found for message in results if (found := _decoded(message, ToolFailed)) is not None]
        self.called = {str(message.name) for message in results}

    @staticmethod
    def of(messages: Sequence[BaseMessage], offered: frozenset[str]) -> "_Turn | None":
        """None when nobody tells of a page."""
        brief = next((found for message in messages if (found := _brief(message)) is not None), None)
        at = max((n for n, message in enumerate(messages) if isinstance(message, HumanMessage)), default=None)
        if brief is None or at is None:
            return None
        return _Turn(brief, str(messages[at].text), messages[:at], messages[at + 1 :], offered)

    def next_calls(self) -> list[Call]:
        """First look, then choose, then publish; each once."""
        for step in (self._projects, self._images, self._choices, self._render):
            calls = [call for call in step() if call[0] in self.offered]
            if calls:
                return calls
        return []

    def words(self) -> str:
        """The reply, once nothing is left to be done."""
        if "save_configuration" not in self.called:
            self._choices()
        told = replies.Told(
            brief=self.brief,
            wishes=self.wishes,
            table=self.table,
            projects=self.cards,
            saved=self.saved,
            rendered=self.rendered,
            failed=self.failed,
            reasons=[*self.given, *self.reasons],
        )
        return replies.compose(told)

    @property
    def cards(self) -> list[ProjectCard]:
        return [card for found in self.projects for card in found.projects]

    @property
    def table(self) -> Table:
        images = {card.number: card for found in self.images for card in found.images}
        return Table(list(images.values()), sum(found.more for found in self.images), self.cards)

    def _looks(self) -> bool:
        """Whether images must be known, and not by number alone."""
        return any(self._needs_look(wish) for wish in self.wishes)

    def _needs_look(self, wish: Wish) -> bool:
        match wish:
            case SetImage(_, chosen):
                by_place = bool(chosen.places) and bool(self.brief.shown)
                plain = bool(chosen.numbers or by_place) and not (chosen.but or chosen.words or chosen.judgment)
                return not plain or not self.brief.shown
            case Pick() | ShowImages() | Another() | Describe() | Repaint():
                return True
            case Plain(word):
                return (
                    word in ("hello", "help", "projects")
                    or (word == "missing" and self._missing())
                    or (word == "yes" and self._agrees())
                )
            case Doubt(key):
                return any(known.name == key and known.kind == "image" for known in self.brief.placeholders)
        return False

    def _missing(self) -> bool:
        return any(known.value is None for known in self.brief.placeholders)

    def _agrees(self) -> bool:
        """Whether a mere “yes” says yes to something."""
        return self.past.offered and self._missing()

    def _projects(self) -> list[Call]:
        return [("get_projects_for_artifact", {})] if self._looks() and not self.called else []

    def _images(self) -> list[Call]:
        if not self._looks() or "get_images_for_project" in self.called:
            return []
        filters = self._filters()
        return [("get_images_for_project", {"project_id": card.id, **filters}) for card in self.cards[:MOST_PROJECTS]]

    def _filters(self) -> dict[str, Any]:
        """Of a list that is only to be shown, what it is to be narrowed to."""
        match self.wishes:
            case [ShowImages(chosen)]:
                words = {"query": " ".join(chosen.words)} if chosen.words else {}
                return {**words, **({"judgment": chosen.judgment} if chosen.judgment else {})}
        return {}

    def _choices(self) -> list[Call]:
        if "save_configuration" in self.called:
            return []
        choosing, calls = Choosing(self.brief, self.table), list[dict[str, Any]]()
        for wish in self.wishes:
            calls += self._changes(wish, choosing)
        self.reasons = choosing.said
        if len(calls) > MOST_CALLS and all(set(call) == {"choices"} for call in calls):
            calls = [{"choices": [choice for call in calls for choice in call["choices"]]}]
        return [("save_configuration", call) for call in calls[:MOST_CALLS]]

    def _changes(self, wish: Wish, choosing: Choosing) -> list[dict[str, Any]]:
        match wish:
            case SetText(key, value):
                return _choice(choosing.take({key: value}))
            case Clear(key):
                return _choice(choosing.take({key: ""}))
            case Copy(pairs):
                return _choice(choosing.copied(pairs))
            case Another(key):
                return _chosen(choosing.another(key))
            case SetImage(key, selection):
                return _chosen(choosing.choose(key, selection))
            case Pick(keys):
                return _chosen(choosing.pick(keys))
            case Plain("yes") if self._agrees():
                return _chosen(choosing.pick(()))
            case Plain("start over"):
                return _choice({known.name: "" for known in self.brief.placeholders if known.value is not None})
            case Undo(times):
                return [{"undo": True}] * times
            case Remember(kind, word):
                return [{"remember": {kind: word}}]
        return []

    def _render(self) -> list[Call]:
        wanted = Plain("publish") in self.wishes and "render_artifact" not in self.called
        return [("render_artifact", {})] if wanted and not self._missing() and not self.failed else []


def _choice(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"choices": [{"key": key, "value": value} for key, value in values.items()]}] if values else []


def _chosen(chosen: Chosen) -> list[dict[str, Any]]:
    return _choice(chosen.values)


def _brief(message: BaseMessage) -> Brief | None:
    if not isinstance(message, SystemMessage):
        return None
    _, mark, text = str(message.text).rpartition(BRIEF_MARK)
    return msgspec.json.decode(text, type=Brief) if mark else None


def _past(before: Sequence[BaseMessage]) -> Past:
    """What earlier turns did and said, as far as it is still told."""
    said = next((str(message.text) for message in reversed(before) if isinstance(message, AIMessage)), "")
    spoken = {int(number) for number in re.findall(r"\bimage (\d{1,4})\b", said, re.IGNORECASE)}
    image, offered = (spoken.pop() if len(spoken) == 1 else 0), replies.OFFER in said
    for turn in reversed(_turns(before)):
        saved = _read([message for message in turn if isinstance(message, ToolMessage)], "save_configuration", Saved)
        keys = {key: None for each in saved for key in (*each.saved, *(each.undone or {}))}
        if keys:
            return Past(tuple(keys), any(each.undone for each in saved), image, offered)
    return Past(image=image, offered=offered)


def _turns(messages: Sequence[BaseMessage]) -> list[Sequence[BaseMessage]]:
    starts = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    return [messages[start:end] for start, end in pairwise([*starts, len(messages)])]


def _read(results: Sequence[ToolMessage], name: str, kind: type[R]) -> list[R]:
    """What the calls of one tool brought, failures left out."""
    return [found for message in results if message.name == name and (found := _decoded(message, kind)) is not None]


def _decoded(message: ToolMessage, kind: type[R]) -> R | None:
    try:
        return msgspec.json.decode(str(message.text), type=kind)
    except msgspec.DecodeError:
        return None
