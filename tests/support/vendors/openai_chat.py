"""A server of OpenAI's chat completions. The model's name determines what it supports:

`…-no-schema` refuses response_format with a 400 · `…-no-tools` refuses tools as well · `…-deaf` ignores both and
answers in prose · `…-mute` never reports its usage · `…-plain` refuses stream_options · `…-untagged` calls tools
without ids · all others do what the request asks for.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tests.support.internet import Answer, Received, Reply
from tests.support.vendors.chat import Usage, question, said, usage_of

RATES = (2.0, 8.0)
"""USD per million tokens read and written."""
ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "rate": (429, {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}),
    "quota": (429, {"message": "pay first", "type": "insufficient_quota", "code": "insufficient_quota"}),
    "error": (503, {"message": "overloaded", "type": "server_error", "code": None}),
}


class OpenAIChat:
    name = "openai_chat"
    prefix = "/openai/v1/chat"
    rates = RATES

    def reply(self, call: Received, answer: Answer) -> Reply:
        if error := self.error(call, answer):
            return error
        texts, images = question(call.body["messages"])
        text = said(answer, texts)
        usage = usage_of(texts, images, text)
        call.bill = usage.cost(*self.rates)
        if call.body.get("stream"):
            return Reply(mime="text/event-stream", chunks=list(streamed(call, answer, text, usage)))
        return Reply(json.dumps(completion(call, answer, text, usage)).encode())

    def error(self, call: Received, answer: Answer) -> Reply | None:
        """The 4xx or 5xx answer of this call, if it has one."""
        if wrong := unknown_fields(call.body):
            return _error(400, {"message": f"Unrecognized request argument: {wrong}", "type": "invalid_request_error"})
        if wrong_type := first_wrong_type(chat_params(bool(call.body.get("stream"))), call.body):
            return _error(400, {"message": f"Invalid request: {wrong_type}", "type": "invalid_request_error"})
        if answer.fault in ERRORS:
            status, error = ERRORS[answer.fault]
            return _error(status, error)
        if not call.headers.get("authorization", "").startswith("Bearer k-"):
            return _error(401, {"message": "Incorrect API key", "type": "auth", "code": "invalid_api_key"})
        model = call.body["model"]
        if "response_format" in call.body and "-no-" in model:
            return _error(400, {"message": "response_format is unknown", "type": "invalid_request_error"})
        if "stream_options" in call.body and "-plain" in model:
            return _error(400, {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid"})
        if "tools" in call.body and "-no-tools" in model:
            return _error(400, {"message": "tools are unknown", "type": "invalid_request_error"})
        return None


def unknown_fields(body: dict[str, Any]) -> list[str]:
    """The fields of a request for a chat completion that the types of OpenAI's SDK do not have."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsBase

    return sorted(body.keys() - {*CompletionCreateParamsBase.__annotations__, "stream"})


def chat_params(streams: bool) -> type:
    """The type of OpenAI's SDK for the body of a request for a chat completion."""
    from openai.types.chat.completion_create_params import (
        CompletionCreateParamsNonStreaming,
        CompletionCreateParamsStreaming,
    )

    return CompletionCreateParamsStreaming if streams else CompletionCreateParamsNonStreaming


@functools.cache
def _checks(params: type) -> TypeAdapter[Any]:
    return TypeAdapter(params)


def first_wrong_type(params: type, body: dict[str, Any]) -> str | None:
    """What of a request does not fit the SDK's type of it, at whatever depth; None when all does."""
    try:
        _read_all(_checks(params).validate_python(body, strict=True))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None


def _read_all(value: object) -> None:
    """Pydantic looks at what is in an iterable only when it is read."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for inner in value:
            _read_all(inner)


def completion(call: Received, answer: Answer, text: str, usage: Usage) -> dict[str, Any]:
    """A complete answer, as text or as a call of the tool that the request forces."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    finish = "stop"
    if answer.fault == "refuse":
        message = {"role": "assistant", "content": None, "refusal": "I will not look at this."}
    elif answer.fault == "empty":
        message["content"] = ""
    elif "tools" in call.body and "-deaf" not in call.body["model"]:
        function = {"name": call.body["tools"][0]["function"]["name"], "arguments": text}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "call-1", "type": "function", "function": function}]
        finish = "tool_calls"
    told = {} if "-mute" in call.body["model"] else {"usage": usage.openai()}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": call.body["model"]}
    return {**about, "choices": [choice], **told}


def streamed(call: Received, answer: Answer, text: str, usage: Usage) -> Iterator[tuple[float, bytes]]:
    """A streamed answer, one event per piece: words, then tool calls, then the usage."""
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": call.body["model"]}

    def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> tuple[float, bytes]:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return 0.0, f"data: {json.dumps({**about, 'choices': choices, **more})}\n\n".encode()

    yield event({"role": "assistant", "content": ""})
    if answer.fault == "refuse":
        yield event({"refusal": "I will not do this."})
        text = ""
    for word in re.findall(r"\S+\s*", "" if answer.calls and answer.text is None else text):
        yield event({"content": word})
    for index, (name, args) in enumerate(answer.calls):
        known = {} if "-untagged" in call.body["model"] else {"id": f"{call.id}-{index}"}
        function = {"name": name, "arguments": ""}
        yield event({"tool_calls": [{"index": index, **known, "type": "function", "function": function}]})
        written = args if isinstance(args, str) else json.dumps(args)
        size = max(7, len(written) // 500)
        for at in range(0, len(written), size):
            yield event({"tool_calls": [{"index": index, "function": {"arguments": written[at : at + size]}}]})
    yield event({}, answer.finish or ("tool_calls" if answer.calls else "stop"))
    if (call.body.get("stream_options") or {}).get("include_usage") and "-mute" not in call.body["model"]:
        told = {**about, "choices": [], "usage": usage.openai()}
        yield 0.0, f"data: {json.dumps(told)}\n\n".encode()
    yield 0.0, b"data: [DONE]\n\n"


def _error(status: int, error: dict[str, Any]) -> Reply:
    return Reply(json.dumps({"error": error}).encode(), status)


vendor = OpenAIChat()
