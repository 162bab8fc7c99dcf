"""A chat about an artifact, turn by turn.

    begin ─▶ converse ─▶ tools, one call after the other ─▶ converse … ─▶ reply

The model decides what is said and which tools are called; which page it is about, and whether it may be published,
comes from the run and never from the model. Choices are rows; the state holds the conversation.
"""

from collections.abc import Sequence, Set
from typing import Any, Literal

import msgspec
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime
from langgraph.types import Send

from graphs.chat.brief import brief_message, load_brief, missing_of
from graphs.chat.reply import composed, mentioned, pending
from graphs.chat.results import ToolFailed
from graphs.chat.state import LAST_SECONDS, MOST_CALLS, MOST_STEPS, ChatState, emit, fingerprint, turn_of
from graphs.chat.tokens import TokenStream
from graphs.chat.tools import ARGUMENT_CHARS, NAMES, TOOL_NODE, TOOLS, UNREAD
from graphs.image_job.prompts import CHAT
from tools import db
from tools.env import Env
from tools.errors import Refused, VendorError, VendorFailed
from tools.events import Agent
from tools.ledger import money
from tools.ledger.model_calls import CallKey
from tools.models import chat_and_vision
from tools.models.chat_and_vision import BUILTIN
from tools.models.reply_text import cut, origin, safe
from tools.publishing import artifacts
from tools.rows import dump, now_ms

RECENT_TURNS, KEPT_MESSAGES = 3, 100
"""Of turns before the recent ones only the words are kept, and of a long chat only its end."""
KEPT_ANSWERS = 8


async def begin(state: ChatState) -> dict[str, Any]:
    """Begin the turn: repair what was cut off, shorten old turns, and append the person's words."""
    past = [message for message in state.get("messages", []) if message.id != state["turn"]]
    words = HumanMessage(state["said"], id=state["turn"], additional_kwargs={"at": now_ms()})
    kept = shortened(mended(past))
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *kept, words], "halted": "", "reply": ""}


def mended(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages with exactly one result after each call of a tool: vendors accept no other conversation."""
    results = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    whole = list[AnyMessage]()
    for message in messages:
        if isinstance(message, ToolMessage):
            continue
        whole.append(message)
        if isinstance(message, AIMessage):
            whole += [results.get(str(call["id"])) or interrupted(call) for call in message.tool_calls]
    return whole


def interrupted(call: ToolCall) -> ToolMessage:
    """The result of a call that has none."""
    failed = ToolFailed("interrupted", "this was cut off; it may or may not have been done")
    return ToolMessage(dump(failed), tool_call_id=str(call["id"]), name=call["name"], status="error")


def shortened(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages without the calls of tools in older turns, and of those the last, from a person's words on."""
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
    """Ask the model once: what it says or does next.

    Effect: a call that costs money, in the ledger; `agent` events while it answers.
    """
    env, turn, model = runtime.context, turn_of(), runtime.context.DEFAULT_MODEL_REASONING
    earlier = [message for message in since(state) if isinstance(message, AIMessage)]
    step = len(earlier)
    if step >= MOST_STEPS:
        return {"halted": "I stopped here, for this took too many steps. Tell me how to go on."}
    try:
        projects = await db.get_projects_for_artifact(env, turn.artifact_id)
        payer = projects[0].id if projects and model != BUILTIN else None
        if payer is not None:
            await _check_budget(env, payer)
        brief = await load_brief(env, turn, state.get("listed", []), state.get("shown", []))
        tokens = TokenStream(env, turn, allowed(env, state))
        answer = await chat_and_vision.stream_chat(
            env,
            model,
            [brief_message(CHAT, brief), *state.get("messages", [])],
            TOOLS,
            CallKey(purpose="chat", subject=f"{state['turn']}:{step}", project_id=payer),
            tries=1 if step else 2,
            end=turn.end - LAST_SECONDS,
            hear=tokens.feed,
        )
        await tokens.end()
    except VendorError as error:
        return {"halted": excuse(model, error)}
    used = {str(call["id"]) for message in earlier for call in message.tool_calls}
    kept = admitted(answer, f"{state['turn']}-{step}", used)
    asked = {call["name"] for message in (*earlier, kept) for call in message.tool_calls}
    if turn.pressed and not kept.tool_calls and "render_artifact" not in asked and not brief.missing:
        # The person pressed a button: that publishes, also when the model only talks about it.
        publish: ToolCall = {"name": "render_artifact", "args": {}, "id": f"{kept.id}-approved", "type": "tool_call"}
        kept = kept.model_copy(update={"tool_calls": [publish]})
    return {"messages": [kept]}


async def _check_budget(env: Env, project_id: str) -> None:
    """Fails: VendorFailed once the project that pays for the chat has spent its budget."""
    remaining = (await money.budget_state(env, project_id)).remaining
    if remaining is not None and remaining <= 0:
        raise VendorFailed("the project's budget is used up", code="budget_exceeded")


def excuse(model: str, error: VendorError) -> str:
    """A sentence for the person about a model that did not answer."""
    if error.provider_status in (400, 404, 422) and not isinstance(error, Refused):
        return (
            f"The model {model} did not take this conversation; most likely it cannot call tools, which this chat "
            "needs. Set DEFAULT_MODEL_REASONING to another one, or to builtin."
        )
    return f"I could not go on: {error.message}. What was chosen is kept; say it again in a moment."


def admitted(answer: AIMessage, turn_step: str, used: Set[str]) -> AIMessage:
    """The model's message as it is kept: bounded, its calls under ids that the turn has not `used` yet.

    Arguments that could not be read, or are too long, are replaced by none: the tool says what is missing. What a
    vendor's package keeps beside them (signed thoughts, but also the arguments once more) is kept if it is short.
    """
    unreadable: list[ToolCall] = [
        {"name": call["name"] or "unknown", "args": {UNREAD: "unreadable"}, "id": call["id"], "type": "tool_call"}
        for call in answer.invalid_tool_calls
    ]
    calls = [*answer.tool_calls, *unreadable][: MOST_CALLS + 1]
    seen = set(used)
    for at, call in enumerate(calls):
        if not call["id"] or len(call["id"]) > 128 or call["id"] in seen:
            call["id"] = f"{turn_step}-{at}"
        seen.add(str(call["id"]))
        call["name"] = call["name"][:64]
        if len(dump(call["args"])) > ARGUMENT_CHARS:
            call["args"] = {UNREAD: "too long"}
    beside = {
        name: each
        for name, each in answer.additional_kwargs.items()
        if name != "at" and len(repr(each)) <= 2 * ARGUMENT_CHARS
    }
    fits = len(dump(answer.content)) <= 4 * chat_and_vision.STREAM_CHARS
    kept = {"tool_calls": calls, "invalid_tool_calls": [], "additional_kwargs": beside}
    return answer.model_copy(update={**kept, "id": turn_step, "content": answer.content if fits else cut(answer.text)})


def since(state: ChatState) -> list[AnyMessage]:
    """The messages after the person's words."""
    messages = state.get("messages", [])
    last = max(at for at, message in enumerate(messages) if isinstance(message, HumanMessage))
    return messages[last + 1 :]


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
    """End the turn: words that are safe to show, and the state of the page.

    Effect: an `agent` event with the whole reply.
    """
    env, turn = runtime.context, turn_of()
    messages, listed = since(state), state.get("listed", [])
    now = await load_brief(env, turn, listed, state.get("shown", []))
    said, offered = composed(state, messages, now, rules=env.DEFAULT_MODEL_REASONING == BUILTIN)
    text = safe(cut(said), allowed(env, state))
    await emit(env, turn, Agent(artifact_id=turn.artifact_id, kind="message", text=text))
    artifact = await artifacts.get(env, turn.artifact_id)
    answer = {
        "reply": text,
        "missing": missing_of(now.placeholders),
        "configuration": {known.name: known.value for known in now.placeholders if known.value is not None},
        "publicSlug": artifact.public_slug if now.link else None,
        "toolCalls": calls_of(messages),
    }
    kept = [
        *state.get("answers", []),
        {"turn": state["turn"], "said": fingerprint(state["said"], state.get("pressed") is True), "answer": answer},
    ]
    # The model's own last words make room for those that were shown.
    last = messages[-1] if messages else None
    dropped = [RemoveMessage(id=str(last.id))] if isinstance(last, AIMessage) and not last.tool_calls else []
    shown = AIMessage(text, id=f"{state['turn']}-reply", additional_kwargs={"at": now_ms()})
    return {
        "messages": [*(interrupted(call) for call in pending(messages)), *dropped, shown],
        "shown": mentioned(text, len(listed)) or state.get("shown", []),
        "reply": text,
        "offered": offered,
        "answer": answer,
        "answers": kept[-KEPT_ANSWERS:],
    }


def calls_of(messages: Sequence[AnyMessage]) -> list[dict[str, Any]]:
    """The turn's calls of tools as the caller is told: outcome, and the arguments of those that succeeded."""
    results = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
    made: list[dict[str, Any]] = []
    for call in (call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls):
        result = results.get(str(call["id"]))
        if result is None:
            continue
        name = call["name"] if call["name"] in NAMES else "unknown"
        if result.status == "error":
            failed = msgspec.json.decode(str(result.text), type=ToolFailed)
            made.append({"name": name, "arguments": {}, "outcome": failed.error})
        else:
            made.append({"name": name, "arguments": call["args"], "outcome": "ok"})
    return made


def allowed(env: Env, state: ChatState) -> frozenset[str]:
    """The origins that replies may link to."""
    return frozenset({origin(env.settings.public_url), *state.get("origins", [])}) - {""}


builder = StateGraph(ChatState, context_schema=Env)
# Checkpoints of unfinished turns name the nodes: with another name such a turn would be lost after an upgrade.
builder.add_node("brief", begin)
builder.add_node("converse", converse)
builder.add_node("tools", TOOL_NODE)
builder.add_node("reply", reply)
builder.add_edge(START, "brief")
builder.add_edge("brief", "converse")
builder.add_conditional_edges("converse", onward, ["tools", "converse", "reply"])
builder.add_conditional_edges("tools", onward, ["tools", "converse", "reply"])
builder.add_edge("reply", END)
