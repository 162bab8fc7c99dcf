"""Calls to vision and chat models: judging an image, completing and streaming a chat, and quotes for them.

Each call has a row in `tools/ledger/model_calls.py`, committed before the request is sent. How often a model may be
called under one `CallKey`, and for how long, is defined here; nothing else repeats a call.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec

from tools import r2
from tools.env import Env
from tools.errors import Invalid, Refused, Unavailable, Uncertain, VendorError
from tools.ledger import model_calls
from tools.ledger.model_calls import CallKey, ModelCall, Purpose, Settlement
from tools.ledger.retries import Call, Lost, Stop, Taken, next_move
from tools.media.pixels import variant
from tools.media.sandbox import run_in_child
from tools.media.variants import Variant
from tools.models import prices, verdicts
from tools.models.builtin_judge import JudgeInput, judge
from tools.models.catalog import Units
from tools.models.prices import FREE, Quote
from tools.rows import Kind, Verdict
from tools.step import log_context, step

if TYPE_CHECKING:
    # Importing these takes half a second, which a process without a chat model need not spend.
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall, ToolCallChunk
    from langchain_core.tools import BaseTool

T = TypeVar("T")
Method = Literal["json_schema", "function_calling", "text", "tools"]
Message = dict[str, Any]

BUILTIN = "builtin"
SEE_TRIES, SEE_SECONDS = 3, 27.0
"""For all calls about one image, with the pauses; of the judge's 30 seconds, 3 are left to store the result."""
CHAT_TRIES, CHAT_SECONDS = 2, 60.0
REFINE_SECONDS = 10.0
OUTPUT_TOKENS = 8192
"""The most output tokens of one answer, including reasoning."""
ANSWER_CHARS = 50_000
STREAM_CHARS = 60_000
"""Text and tool arguments of one streamed answer, in characters; the stream is closed after them."""
FIRST_PAUSE_SECONDS = 0.5
LEAST_SECONDS = 0.5
"""With less time left than this, no call is made."""
SHOWN = Variant("shown", 768, 768, "scale-down")
"""The size in which a model sees an image: enough to recognise things, and one tile for most models."""
IMAGE_TOKENS = {"openai": 1_500, "gemini": 1_200, "workers": 6_500}
"""The most input tokens of one image of that size."""
TIPS_BYTES = 4_000
"""The most bytes that tips add to a prompt, for the quote of a refinement."""


class JudgeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An image to judge: keys in BUCKET, and the request in the user's own words."""

    prompt: str
    kind: Kind
    image_key: str
    negative: str | None = None
    size: str | None = None
    start_key: str | None = None
    mask_key: str | None = None


Hear = Callable[[str], Awaitable[None]]
"""Called with each piece of text of a streamed answer; it must not fail."""


@dataclass(frozen=True)
class Ask(Generic[T]):
    """A question to a model, the methods to ask it, how many calls to make, and how to read the answer.

    `keep` turns an answer into the text that the ledger keeps. `read` turns this text into the result, and raises
    ValueError when it is not usable. `tools` and `hear` are for the method "tools" only.
    """

    messages: "Sequence[Message | BaseMessage]"
    read: Callable[[str], T]
    ways: tuple[Method, ...]
    tries: int
    quoted: Quote
    keep: "Callable[[AIMessage], str]"
    tools: "Sequence[BaseTool]" = ()
    hear: Hear | None = None


@step("ai.see", retry=False)
async def judge_image(env: Env, model: str, request: JudgeRequest, key: CallKey) -> Verdict:
    """The verdict of a vision model on a stored image, within `SEE_SECONDS` and `SEE_TRIES` calls.

    Effect: calls that cost money, each in the ledger; repeated with the same key, it uses the answer found there.
    Fails: NotFound when BUCKET has no such image · Invalid when there is no such model · LeaseLost · Refused ·
    VendorFailed when no answer can be read · Unavailable · Uncertain.
    """
    if model == BUILTIN:
        return await _measured(env, request)
    end = asyncio.get_running_loop().time() + SEE_SECONDS
    messages = [{"role": "system", "content": verdicts.INSTRUCTIONS}, await _shown(env, request)]
    images = sum(part["type"] == "image" for message in messages for part in _parts(message))
    quoted = _quote(env, model, _text_bytes(messages), images)
    ask = Ask(
        messages, verdicts.read_verdict, ("json_schema", "function_calling", "text"), SEE_TRIES, quoted, _words_of
    )
    return await _converse(env, model, key, ask, end)


@step("ai.chat", retry=False)
async def chat(
    env: Env,
    model: str,
    messages: Sequence[tuple[Literal["system", "user", "assistant"], str]],
    key: CallKey,
    *,
    seconds: float = CHAT_SECONDS,
) -> str:
    """The reply of a model to a conversation of `(role, text)`, within `seconds` and `CHAT_TRIES` calls.

    Effect: calls that cost money, each in the ledger; repeated with the same key, it uses the answer found there.
    Fails: Invalid when there is no such model · LeaseLost · Refused, VendorFailed, Unavailable, Uncertain.
    """
    if model == BUILTIN:
        message = (
            "the built-in model talks about pages only; set DEFAULT_MODEL_REASONING to openai:…, gemini:… or workers:…"
        )
        raise Invalid(message, code="unknown_model")
    end = asyncio.get_running_loop().time() + seconds
    put = [{"role": role, "content": text} for role, text in messages]
    ask = Ask(put, _read_words, ("text",), CHAT_TRIES, _quote(env, model, _text_bytes(put), 0), _words_of)
    return await _converse(env, model, key, ask, end)


@step("ai.check", retry=False)
async def check_model(env: Env, model: str) -> None:
    """Check that a chat model can be called: it exists and its vendor's key is there. Fails: Invalid."""
    if model != BUILTIN:
        env.AI.chat_model(model)


@step("ai.converse", retry=False)
async def stream_chat(
    env: Env,
    model: str,
    messages: "Sequence[BaseMessage]",
    tools: "Sequence[BaseTool]",
    key: CallKey,
    *,
    tries: int,
    end: float,
    hear: Hear,
) -> "AIMessage":
    """The next message of a model (text or tool calls), streamed to `hear`, before `end` in the event loop's time.

    Effect: calls that cost money, each in the ledger; repeated with the same key, it uses the answer found there.
    The built-in model is free and has no rows.
    Fails: Invalid when there is no such model · Refused, VendorFailed, Unavailable, Uncertain.
    """
    from langchain_core.utils.function_calling import convert_to_openai_tool

    sent = sum(len(message.model_dump_json()) for message in messages)
    sent += sum(len(json.dumps(convert_to_openai_tool(tool))) for tool in tools)
    quoted = FREE if model == BUILTIN else _quote(env, model, sent, 0)
    ask = Ask(messages, _read_message, ("tools",), tries, quoted, _pack_message, tools, hear)
    if model == BUILTIN:
        return await _streamed(env.AI.chat_model(BUILTIN), ask)
    return await _converse(env, model, key, ask, end)


def quote(env: Env, purpose: Purpose, prompt: str) -> Quote:
    """The cost of judging, refining or chatting with this prompt and the default model, all retries included.

    Free for the built-in model.
    """
    if purpose == "judge":
        model, tries, images = env.DEFAULT_MODEL_VISION, SEE_TRIES, 2
        fixed = len((verdicts.INSTRUCTIONS + json.dumps(verdicts.SCHEMA)).encode()) + 500
    else:
        model, tries, images = env.DEFAULT_MODEL_REASONING, CHAT_TRIES, 0
        fixed = TIPS_BYTES if purpose == "refine" else 500
    if model == BUILTIN:
        return FREE
    once = _quote(env, model, len(json.dumps(prompt, ensure_ascii=False).encode()) + fixed, images)
    return msgspec.structs.replace(once, high=tries * once.high)


def _quote(env: Env, model: str, text_bytes: int, images: int) -> Quote:
    """The quote for one call, with one to eight bytes of text per token."""
    provider, _, name = model.partition(":")
    most: Units = {
        "text_input": text_bytes + images * IMAGE_TOKENS.get(provider, 0),
        "text_output": OUTPUT_TOKENS,
    }
    return prices.quote(env, provider, name, {"text_input": text_bytes // 8, "text_output": 1}, most)


@step("ai.measure")
async def _measured(env: Env, request: JudgeRequest) -> Verdict:
    keys = list(dict.fromkeys(key for key in (request.image_key, request.start_key, request.mask_key) if key))
    async with r2.original_in_hand(env, *keys) as read:
        found = dict(zip(keys, read, strict=True))
        question = JudgeInput(
            prompt=request.prompt,
            kind=request.kind,
            image=found[request.image_key],
            negative=request.negative,
            size=request.size,
            start=found[request.start_key] if request.start_key else None,
            mask=found[request.mask_key] if request.mask_key else None,
        )
        return await run_in_child(judge, question)


@step("ai.show")
async def _shown(env: Env, request: JudgeRequest) -> Message:
    """The request and the images as one message. Images are encoded again as small JPEGs without metadata."""
    parts = [_text(verdicts.request_text(request.prompt, request.kind, request.negative, request.size))]
    if request.start_key and request.kind != "generate":
        parts += [_text("The start image, as data:"), await _image(env, request.start_key)]
    parts += [_text("The generated image, as data:"), await _image(env, request.image_key)]
    return {"role": "user", "content": [*parts, _text("Now judge the generated image.")]}


async def _image(env: Env, key: str) -> Message:
    async with r2.original_in_hand(env, key) as [original]:
        data = await run_in_child(variant, original, SHOWN, "jpeg")
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/jpeg"}


def _text(text: str) -> Message:
    return {"type": "text", "text": text}


def _text_bytes(messages: Sequence[Message]) -> int:
    parts = [part for message in messages for part in _parts(message)]
    schema = len(json.dumps(verdicts.SCHEMA))
    return sum(len(part["text"].encode()) for part in parts if part["type"] == "text") + schema


def _parts(message: Message) -> list[Message]:
    content = message["content"]
    return [_text(content)] if isinstance(content, str) else content


def _pack_message(answer: "AIMessage") -> str:
    from langchain_core.messages import message_to_dict

    return json.dumps(message_to_dict(answer), default=str)


def _read_message(text: str) -> "AIMessage":
    from langchain_core.messages import AIMessage, messages_from_dict

    (message,) = messages_from_dict([json.loads(text)])
    if not isinstance(message, AIMessage) or not (
        message.text.strip() or message.tool_calls or message.invalid_tool_calls
    ):
        raise ValueError("the answer is empty")
    return message


def _read_words(text: str) -> str:
    if not text.strip():
        raise ValueError("the answer is empty")
    return text.strip()


async def _converse(env: Env, model: str, key: CallKey, ask: Ask[T], end: float) -> T:
    """Call the model until an answer can be read or the ledger says to stop; `end` is in the event loop's time."""
    chat_model, pause = env.AI.chat_model(model), 0.0
    with log_context(provider=model.partition(":")[0]):
        while True:
            match next_move(await model_calls.made(env, key), tries=ask.tries, ways=len(ask.ways)):
                case Taken(call):
                    return ask.read((call.result or {})["text"])
                case Lost(call):
                    await model_calls.settle_lost(env, call)
                case Stop(error):
                    raise error
                case Call(number, way):
                    if asyncio.get_running_loop().time() + pause + LEAST_SECONDS > end:
                        raise Unavailable("the model did not answer in time")
                    await asyncio.sleep(pause)
                    if row := await model_calls.begin(env, key, number, model, ask.quoted):
                        settlement, pause = await _call(env, chat_model, row, ask, ask.ways[way], end)
                        await model_calls.settle(env, row, settlement)


async def _call(
    env: Env, model: "BaseChatModel", row: ModelCall, ask: Ask[Any], method: Method, end: float
) -> tuple[Settlement, float]:
    """Make the call of a ledger row; return its outcome, and how many seconds to wait before another call."""
    try:
        async with asyncio.timeout_at(end):
            answer = await _answer(model, method, ask)
    except TimeoutError:
        return _settled_by_error(row, Uncertain("the model did not answer in time", code="deadline")), 0.0
    except VendorError as error:
        if not isinstance(error, Unavailable):
            return _settled_by_error(row, error), 0.0
        pause = FIRST_PAUSE_SECONDS * 2 ** (row.number - 1) if error.retry_after is None else error.retry_after
        return _settled_by_error(row, error), pause
    return _settled_by_answer(env, row, ask, answer), 0.0


async def _answer(model: "BaseChatModel", method: Method, ask: Ask[Any]) -> "AIMessage":
    if method == "text":
        return await model.ainvoke(list(ask.messages))
    if method == "tools":
        return await _streamed(model, ask)
    # A copy, because LangChain changes the schema; with `strict`, OpenAI enforces it.
    strict = {"strict": True} if method == "json_schema" else {}
    structured = model.with_structured_output(deepcopy(verdicts.SCHEMA), method=method, include_raw=True, **strict)
    answered: Any = await structured.ainvoke(list(ask.messages))
    answer: AIMessage = answered["raw"]
    return answer


async def _streamed(model: "BaseChatModel", ask: Ask[Any]) -> "AIMessage":
    """The whole answer, with its text passed to `hear` as it arrives; cut off after about `STREAM_CHARS`."""
    from langchain_core.messages import AIMessage, message_chunk_to_message
    from langchain_core.messages.ai import add_ai_message_chunks

    assert ask.hear is not None
    chunks: list[AIMessageChunk] = []
    size = 0
    stream: Any = model.bind_tools(list(ask.tools)).astream(list(ask.messages))
    async with contextlib.aclosing(stream):
        async for chunk in stream:
            chunks.append(chunk)
            size += len(chunk.text) + sum(len(part["args"] or "") for part in chunk.tool_call_chunks)
            if chunk.text:
                await ask.hear(chunk.text)
            if size > STREAM_CHARS:
                break
    if not chunks:
        return AIMessage("")
    added = add_ai_message_chunks(chunks[0], *chunks[1:])
    whole = message_chunk_to_message(added)
    assert isinstance(whole, AIMessage)
    whole.tool_calls = [call for part in added.tool_call_chunks if (call := _whole_call(part))]
    whole.invalid_tool_calls = [
        {"name": part["name"], "args": part["args"], "id": part["id"], "error": None, "type": "invalid_tool_call"}
        for part in added.tool_call_chunks
        if not _whole_call(part)
    ]
    return whole


def _whole_call(part: "ToolCallChunk") -> "ToolCall | None":
    """The tool call if its arguments are complete, else None.

    LangChain would close the brackets of incomplete JSON itself, and half a text would be saved.
    """
    try:
        args = json.loads(part["args"] or "{}")
    except ValueError:
        return None
    return (
        {"name": part["name"] or "", "args": args, "id": part["id"], "type": "tool_call"}
        if isinstance(args, dict)
        else None
    )


def _settled_by_answer(env: Env, row: ModelCall, ask: Ask[Any], answer: "AIMessage") -> Settlement:
    """The outcome of a call with an answer; it is billed even if the answer cannot be used."""
    usage = dict(answer.usage_metadata or {})
    paid = prices.charge(env, row.provider, row.model, _units(env, row, usage), _quote_of(row))
    refusal, text = answer.response_metadata.get("refused"), ask.keep(answer)
    settled = Settlement(
        state="succeeded",
        billed=True,
        cost_micros=paid.micros,
        cost_basis=paid.basis,
        price_version=paid.version,
        request_id=answer.response_metadata.get("request_id"),
        usage=usage or None,
        result={"text": text},
    )
    if refusal:
        return msgspec.structs.replace(settled, state="refused", failure="refused", provider_code=str(refusal))
    try:
        ask.read(text)
    except ValueError:
        return msgspec.structs.replace(settled, state="failed", failure="invalid" if text.strip() else "empty")
    return settled


def _settled_by_error(row: ModelCall, error: VendorError) -> Settlement:
    """The outcome of a call that failed.

    An error response is not billed; an unknown outcome, and a 200 without a usable answer, count as billed.
    """
    status = error.provider_status
    billed = isinstance(error, Uncertain) or (not isinstance(error, Unavailable) and (status or 200) < 400)
    state: dict[type[VendorError], Literal["refused", "uncertain"]] = {Refused: "refused", Uncertain: "uncertain"}
    quoted = _quote_of(row)
    return Settlement(
        state=state.get(type(error), "failed"),
        billed=billed,
        cost_micros=quoted.high if billed else 0,
        cost_basis=quoted.basis if billed else "free",
        price_version=row.price_version,
        failure=error.failure,
        provider_code=error.provider_code or (error.code if isinstance(error, Uncertain) else None),
        provider_status=status,
        request_id=error.request_id,
    )


def _quote_of(row: ModelCall) -> Quote:
    basis: prices.Basis = "estimate" if row.price_version else "ceiling"
    return Quote(row.quote_micros, row.quote_micros, row.price_version, basis)


def _units(env: Env, row: ModelCall, usage: Mapping[str, Any]) -> Units:
    """The usage that the answer reports; empty when it reports none. Cached tokens are separate if they have a rate."""
    if not usage.get("total_tokens"):
        return {}
    read, written = usage["input_tokens"], usage["output_tokens"]
    cached = usage.get("input_token_details", {}).get("cache_read", 0)
    price = prices.price_of(env, row.provider, row.model)
    if not price or "cached_text_input" not in price.rates:
        return {"text_input": read, "text_output": written}
    return {"text_input": read - cached, "cached_text_input": cached, "text_output": written}


def _words_of(answer: "AIMessage") -> str:
    """The text of an answer, or the arguments of its tool call with structured output; at most `ANSWER_CHARS`."""
    if answer.tool_calls:
        return json.dumps(answer.tool_calls[0]["args"], ensure_ascii=False)[:ANSWER_CHARS]
    if answer.invalid_tool_calls:
        return (answer.invalid_tool_calls[0]["args"] or "")[:ANSWER_CHARS]
    return str(answer.text)[:ANSWER_CHARS]
