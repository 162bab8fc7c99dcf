"""A chat about an artifact, turn by turn.

    brief ─▶ converse ─▶ tools, one call after the other ─▶ converse … ─▶ reply

The model decides what is said and asked of the tools; whose page it is about, and whether it may be published, comes
from the run and never from the model. What was chosen stands in the rows; state holds the conversation.
"""

import hashlib
import re
from collections.abc import Sequence, Set
from typing import Any, Literal

import msgspec
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import ToolCall
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime
from langgraph.types import Send

from graphs.chat.state import (
    LAST_SECONDS,
    MOST_CALLS,
    MOST_STEPS,
    ChatState,
    Turn,
    Voice,
    emit,
    load_brief,
    missing_of,
    turn_of,
)
from graphs.chat.tools import ARGUMENT_CHARS, NAMES, TASTE_KEYS, TOOL_NODE, TOOLS, UNREAD
from graphs.image_job.prompts import CHAT
from tools import db
from tools.env import Env
from tools.errors import Refused, VendorError, VendorFailed
from tools.events import Agent
from tools.ledger import money
from tools.ledger.calls import CallKey
from tools.models import chat_and_vision
from tools.models.chat_and_vision import BUILTIN
from tools.models.reply_text import cut, origin, safe
from tools.publishing import artifacts
from tools.publishing.chats import BRIEF_MARK, Brief, Saved, ToolFailed
from tools.rows import dump, now_ms

RECENT_TURNS, KEPT_MESSAGES = 3, 100
"""Of older turns only what was said is kept; of a long chat its end."""
KEPT_ANSWERS = 8
LISTS: dict[str, type | tuple[type, ...]] = {
    "messages": (HumanMessage, AIMessage, ToolMessage),
    "listed": str,
    "shown": int,
    "origins": str,
    "answers": dict,
}
"""What the state's lists hold."""
LISTED, MENTION = re.compile(r"^(\d{1,4})\. ", re.MULTILINE), re.compile(r"\bimage (\d{1,4})\b")


async def brief(state: ChatState) -> dict[str, Any]:
    """Begin the turn: what was cut off is mended, old turns are shortened, and the person's words come last."""
    past = [message for message in state.get("messages", []) if message.id != state["turn"]]
    words = HumanMessage(state["said"], id=state["turn"], additional_kwargs={"at": now_ms()})
    kept = shortened(mended(past))
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *kept, words], "halted": "", "reply": ""}


def mended(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Each call of a tool has its answer, and nothing else has one: a model's vendor takes no other conversation."""
    answers = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    whole = list[AnyMessage]()
    for message in messages:
        if isinstance(message, ToolMessage):
            continue
        whole.append(message)
        if isinstance(message, AIMessage):
            whole += [answers.get(str(call["id"])) or _unanswered(call) for call in message.tool_calls]
    return whole


def _unanswered(call: ToolCall) -> ToolMessage:
    failed = ToolFailed("interrupted", "this was cut off; it may or may not have been done")
    return ToolMessage(dump(failed), tool_call_id=str(call["id"]), name=call["name"], status="error")


def shortened(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Of all but the last turns only what was said; of everything the end, from where a person speaks."""
    starts = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    recent = starts[-RECENT_TURNS] if len(starts) >= RECENT_TURNS else 0
    kept = [
        message
        for at, message in enumerate(messages)
        if at >= recent
        or isinstance(message, HumanMessage)
        or (isinstance(message, AIMessage) and not message.tool_calls)
    ][-KEPT_MESSAGES:]
    first = next((at for at, message in enumerate(kept) if isinstance(message, HumanMessage)), len(kept))
    return kept[first:]


async def converse(state: ChatState, runtime: Runtime[Env]) -> dict[str, Any]:
    """One question to the model: what it says or does next."""
    env, turn = runtime.context, turn_of()
    step = sum(isinstance(message, AIMessage) for message in since(state))
    if step >= MOST_STEPS:
        return {"halted": "I stopped here, for this took too many steps. Tell me how to go on."}
    try:
        answer = await _asked(env, turn, state, step)
    except VendorError as error:
        return {"halted": _excuse(env, error)}
    used = {
        str(call["id"]) for message in since(state) if isinstance(message, AIMessage) for call in message.tool_calls
    }
    return {"messages": [admitted(answer, f"{state['turn']}-{step}", used)]}


async def _asked(env: Env, turn: Turn, state: ChatState, step: int) -> AIMessage:
    model, projects = env.DEFAULT_MODEL_REASONING, await db.get_projects_for_artifact(env, turn.artifact_id)
    payer = projects[0].id if projects and model != BUILTIN else None
    if payer is not None:
        await _check_budget(env, payer)
    now = await load_brief(env, turn, state.get("listed", []), state.get("shown", []))
    system = SystemMessage(f"{CHAT}{BRIEF_MARK}{dump(now)}")
    voice = Voice(env, turn, allowed(env, state))
    errand = CallKey(purpose="chat", subject=f"{state['turn']}:{step}", project_id=payer)
    answer = await chat_and_vision.stream_chat(
        env,
        model,
        [system, *state.get("messages", [])],
        TOOLS,
        errand,
        tries=1 if step else 2,
        end=turn.end - LAST_SECONDS,
        hear=voice.hear,
    )
    await voice.end()
    return answer


async def _check_budget(env: Env, project_id: str) -> None:
    """Fails: VendorFailed once the project that pays for the chat has spent its budget."""
    now = await money.standing(env, project_id)
    if now.budget is not None and now.spent + now.held >= now.budget:
        raise VendorFailed("the project's budget is used up", code="budget_exceeded")


def _excuse(env: Env, error: VendorError) -> str:
    if error.provider_status in (400, 404, 422) and not isinstance(error, Refused):
        return (
            f"The model {env.DEFAULT_MODEL_REASONING} did not take this conversation; most likely it cannot call "
            "tools, which this chat needs. Set DEFAULT_MODEL_REASONING to another one, or to builtin."
        )
    return f"I could not go on: {error.message}. What was chosen is kept; say it again in a moment."


def admitted(answer: AIMessage, turn_step: str, used: Set[str]) -> AIMessage:
    """The model's message as it is kept: bounded, its calls under ids that the turn has not `used` yet.

    Arguments that could not be read, or are too long, are replaced by none: the tool says what it misses. What a
    vendor's package keeps beside them (signed thoughts, but also the arguments once more) is kept if it is short.
    """
    calls = [*answer.tool_calls, *(_repaired(call) for call in answer.invalid_tool_calls)][: MOST_CALLS + 1]
    seen = set(used)
    for at, call in enumerate(calls):
        if not call["id"] or len(call["id"]) > 128 or call["id"] in seen:
            call["id"] = f"{turn_step}-{at}"
        seen.add(str(call["id"]))
        call["name"] = call["name"][:64]
        if len(dump(call["args"])) > ARGUMENT_CHARS:
            call["args"] = {UNREAD: "too long"}
    beside = {name: each for name, each in answer.additional_kwargs.items() if name != "at" and _is_short(each)}
    kept = {"tool_calls": calls, "invalid_tool_calls": [], "additional_kwargs": beside}
    return answer.model_copy(update={**kept, "id": turn_step, "content": _bounded(answer)})


def _is_short(value: object) -> bool:
    return len(repr(value)) <= 2 * ARGUMENT_CHARS


def _repaired(call: Any) -> ToolCall:
    return {
        "name": call["name"] or "unknown",
        "args": {UNREAD: "unreadable"},
        "id": call["id"],
        "type": "tool_call",
    }


def _bounded(answer: AIMessage) -> Any:
    return answer.content if len(dump(answer.content)) <= 4 * chat_and_vision.STREAM_CHARS else cut(answer.text)


def since(state: ChatState) -> list[AnyMessage]:
    """What came after the person's words."""
    messages = state.get("messages", [])
    last = max(at for at, message in enumerate(messages) if isinstance(message, HumanMessage))
    return messages[last + 1 :]


def pending(messages: Sequence[AnyMessage]) -> list[ToolCall]:
    """The last message's calls that have no answer yet."""
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    said = [message for message in messages if isinstance(message, AIMessage)]
    return [call for call in said[-1].tool_calls if call["id"] not in answered] if said else []


def onward(state: ChatState) -> Send | Literal["converse", "reply"]:
    """The next call of a tool, one at a time so that choices have an order; the model again; or the end."""
    messages = since(state)
    if state.get("halted"):
        return "reply"
    if calls := pending(messages):
        if sum(isinstance(message, ToolMessage) for message in messages) >= MOST_CALLS:
            return "reply"
        seen = {name: state[name] for name in ("turn", "said", "listed", "origins") if name in state}
        return Send("tools", {"__type": "tool_call_with_context", "tool_call": calls[0], "state": seen})
    return "reply" if isinstance(messages[-1], AIMessage) else "converse"


async def reply(state: ChatState, runtime: Runtime[Env]) -> dict[str, Any]:
    """End the turn: words that are safe to show, and how the page stands now."""
    env, turn = runtime.context, turn_of()
    messages = since(state)
    now = await load_brief(env, turn, state.get("listed", []), state.get("shown", []))
    text = safe(cut(composed(state, messages, now)), allowed(env, state))
    await emit(env, turn, Agent(artifact_id=turn.artifact_id, kind="message", text=text))
    artifact = await artifacts.get(env, turn.artifact_id)
    answer = {
        "reply": text,
        "missing": missing_of(now.placeholders),
        "configuration": {known.name: known.value for known in now.placeholders if known.value is not None},
        "publicSlug": artifact.public_slug if now.link else None,
        "toolCalls": calls_of(messages),
    }
    kept = [*state.get("answers", []), {"turn": state["turn"], "said": fingerprint(state["said"]), "answer": answer}]
    unanswered = [_unanswered(call) for call in pending(messages)]
    last = AIMessage(text, id=f"{state['turn']}-reply", additional_kwargs={"at": now_ms()})
    return {
        "messages": [*unanswered, *_dropped(messages), last],
        "shown": mentioned(text, len(state.get("listed", []))) or state.get("shown", []),
        "reply": text,
        "answer": answer,
        "answers": kept[-KEPT_ANSWERS:],
    }


def _dropped(messages: Sequence[AnyMessage]) -> list[RemoveMessage]:
    """The model's own last words make room for those that were shown."""
    last = messages[-1] if messages else None
    return [RemoveMessage(id=str(last.id))] if isinstance(last, AIMessage) and not last.tool_calls else []


def composed(state: ChatState, messages: Sequence[AnyMessage], now: Brief) -> str:
    """What the model said last, and what must not be missing from a reply."""
    last = messages[-1] if messages else None
    said = [last.text.strip()] if isinstance(last, AIMessage) and not last.tool_calls else []
    if halted := state.get("halted"):
        said.append(halted)
    elif pending(messages):
        said.append(f"I stopped after {MOST_CALLS} steps in one go. Tell me to go on, and I do the rest.")
    text = "\n".join(filter(None, said)) or "Done."
    done = [message for message in messages if isinstance(message, ToolMessage) and message.status != "error"]
    if any(message.name == "render_artifact" for message in done) and now.link and now.link not in text:
        text += f"\nThe page is public at {now.link}"
    elif not missing_of(now.placeholders) and (now.changed or not now.link) and "publish" not in text.lower():
        text += "\nEverything is filled. Say “publish” to make the page public."
    return text + _taste_used(state["said"], done, now, text)


def _taste_used(said: str, done: Sequence[ToolMessage], now: Brief, text: str) -> str:
    """Whoever's liking was gone by is told so."""
    saved = [
        msgspec.json.decode(str(message.text), type=Saved) for message in done if message.name == "save_configuration"
    ]
    values = {key: value for each in saved for key, value in each.saved.items()}
    used = [
        f"{kind} {values[key]}"
        for key, kind in TASTE_KEYS.items()
        if values.get(key) and values[key] == now.taste.get(kind) and values[key].lower() not in said.lower()
    ]
    return f"\nI went by what I remember of your taste: {', '.join(used)}." if used and "remember" not in text else ""


def calls_of(messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
    """The turn's calls of tools as they are told to the caller: arguments only of calls that were made."""
    answers = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    calls = [call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    return [_call_of(call, answers[str(call["id"])]) for call in calls if call["id"] in answers]


def _call_of(call: ToolCall, answer: ToolMessage) -> dict[str, Any]:
    name = call["name"] if call["name"] in NAMES else "unknown"
    if answer.status == "error":
        failed = msgspec.json.decode(str(answer.text), type=ToolFailed)
        return {"name": name, "arguments": {}, "outcome": failed.error}
    return {"name": name, "arguments": call["args"], "outcome": "ok"}


def mentioned(text: str, known: int) -> list[int]:
    """The numbers of the images that a reply lists, in its order; one alone is no list.

    Beside lines that open with a number nothing counts: the prompt of an image may well speak of “image 4”.
    """
    numbers = [int(found) for found in LISTED.findall(text) or MENTION.findall(text)]
    shown = list(dict.fromkeys(number for number in numbers if 1 <= number <= known))
    return shown if len(shown) > 1 else []


def allowed(env: Env, state: ChatState) -> frozenset[str]:
    """Where replies may link to."""
    return frozenset({origin(env.settings.public_url), *state.get("origins", [])}) - {""}


def is_whole(values: dict[str, Any]) -> bool:
    """Whether what was stored is a conversation, as far as that can be seen."""
    return all(_is_list_of(kinds, values.get(name, [])) for name, kinds in LISTS.items())


def _is_list_of(kinds: type | tuple[type, ...], value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, kinds) for each in value)


def fingerprint(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()


class Said(msgspec.Struct, frozen=True):
    """One message of the conversation as people see it; `at` in UTC milliseconds."""

    role: Literal["user", "assistant"]
    text: str
    at: int


def conversation(messages: Sequence[BaseMessage]) -> list[Said]:
    """What was said on both sides, without what the model and its tools said to each other."""
    return [
        Said(
            "user" if isinstance(message, HumanMessage) else "assistant",
            message.text,
            message.additional_kwargs.get("at", 0),
        )
        for message in messages
        if isinstance(message, HumanMessage) or (isinstance(message, AIMessage) and "at" in message.additional_kwargs)
    ]


builder = StateGraph(ChatState, context_schema=Env)
builder.add_node("brief", brief)
builder.add_node("converse", converse)
builder.add_node("tools", TOOL_NODE)
builder.add_node("reply", reply)
builder.add_edge(START, "brief")
builder.add_edge("brief", "converse")
builder.add_conditional_edges("converse", onward, ["tools", "converse", "reply"])
builder.add_conditional_edges("tools", onward, ["tools", "converse", "reply"])
builder.add_edge("reply", END)
