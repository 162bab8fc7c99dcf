"""Gemini's generateContent as a chat model. A model whose name ends in `-no-schema` takes no response schema."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support.internet import Answer, Received, Reply
from tests.support.vendors.chat import IMAGE_TOKENS, Usage, said
from tests.support.vendors.gemini import held_against_types

ERRORS = {
    "rate": (429, "RESOURCE_EXHAUSTED", "GenerateRequestsPerMinutePerProjectPerModel"),
    "quota": (429, "RESOURCE_EXHAUSTED", "GenerateRequestsPerDayPerProjectPerModel"),
    "error": (503, "UNAVAILABLE", ""),
}


class GeminiChat:
    name = "gemini_chat"
    prefix = "/chat/gemini"
    rates = (0.3, 2.5)

    def reply(self, call: Received, answer: Answer) -> Reply:
        if answer.fault in ERRORS:
            return _error(*ERRORS[answer.fault])
        try:
            held_against_types(call.body)
        except ValueError as error:
            return _error(400, "INVALID_ARGUMENT", str(error))
        config = call.body.get("generationConfig", {})
        if "responseJsonSchema" in config and "-no-schema" in call.path:
            return _error(400, "INVALID_ARGUMENT", "")
        parts = [part for turn in _turns(call.body) for part in turn["parts"]]
        texts = [part["text"] for part in parts if "text" in part]
        text = said(answer, texts)
        images = IMAGE_TOKENS * sum("inlineData" in part for part in parts)
        usage = Usage(sum(map(len, texts)) // 4 + images, len(text) // 4 + 1)
        call.bill = usage.cost(*self.rates)
        if not call.path.endswith(":streamGenerateContent"):
            return Reply(json.dumps(_answered(call, answer, text, usage)).encode())
        if "tools" in call.body and "-no-tools" in call.path:
            return _error(400, "INVALID_ARGUMENT", "")
        if unsigned := _unsigned(call.body):
            return _error(400, "INVALID_ARGUMENT", unsigned)
        return Reply(mime="text/event-stream", chunks=list(_streamed(call, answer, text, usage)))


def _turns(body: dict[str, Any]) -> list[dict[str, Any]]:
    system = body.get("systemInstruction")
    return [*([system] if system else []), *body["contents"]]


def _answered(call: Received, answer: Answer, text: str, usage: Usage) -> dict[str, Any]:
    counts = {"promptTokenCount": usage.read, "totalTokenCount": usage.read + usage.written}
    if answer.fault == "refuse":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": counts}
    counts["candidatesTokenCount"] = usage.written
    part: dict[str, Any] = {"text": text}
    if tools := call.body.get("tools"):
        part = {"functionCall": {"name": tools[0]["functionDeclarations"][0]["name"], "args": _decoded(text)}}
    content = {"role": "model", "parts": [] if answer.fault == "empty" else [part]}
    candidate = {"index": 0, "content": content, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": call.path.rpartition("/")[2]}


SIGNATURE = base64.b64encode(b"a signature of thoughts").decode()


def _unsigned(body: dict[str, Any]) -> str:
    """Gemini 3's error for a call of this turn that comes back without the signature of the thoughts before it."""
    turns = body["contents"]
    spoken = [at for at, turn in enumerate(turns) if turn["role"] == "user" and "text" in turn["parts"][0]]
    for turn in turns[spoken[-1] :] if spoken else turns:
        called = [part for part in turn["parts"] if "functionCall" in part]
        if called and called[0].get("thoughtSignature") != SIGNATURE:
            return "Function call is missing a thought_signature"
    return ""


def _streamed(call: Received, answer: Answer, text: str, usage: Usage) -> Iterator[tuple[float, bytes]]:
    """A streamed answer: a thought, words, all tool calls at once without ids, then the end with the token count."""

    def event(parts: list[dict[str, Any]], **more: Any) -> tuple[float, bytes]:
        candidate = {"index": 0, "content": {"role": "model", "parts": parts}, **more.pop("candidate", {})}
        told = {"candidates": [candidate], "modelVersion": "gemini-test", "responseId": call.id, **more}
        return 0.0, f"data: {json.dumps(told)}\r\n\r\n".encode()

    counts = {"promptTokenCount": usage.read, "totalTokenCount": usage.read + usage.written}
    if answer.fault == "refuse":
        blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": counts}
        yield 0.0, f"data: {json.dumps(blocked)}\r\n\r\n".encode()
        return
    if answer.fault != "empty":
        yield event([{"text": "The person wants me to act.", "thought": True}])
        for word in re.findall(r"\S+\s*", "" if answer.calls and answer.text is None else text):
            yield event([{"text": word}])
    if answer.calls:
        parts = [{"functionCall": {"name": name, "args": args}} for name, args in answer.calls]
        yield event([{**parts[0], "thoughtSignature": SIGNATURE}, *parts[1:]])
    counts["candidatesTokenCount"] = usage.written
    yield event([{"text": ""}], candidate={"finishReason": answer.finish or "STOP"}, usageMetadata=counts)


def _decoded(text: str) -> dict[str, Any]:
    try:
        args = json.loads(text)
    except ValueError:
        return {"remark": text}
    return args if isinstance(args, dict) else {"remark": text}


def _error(status: int, word: str, quota: str) -> Reply:
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}]
    error = {"code": status, "message": "no", "status": word, "details": details if quota else []}
    return Reply(json.dumps({"error": error}).encode(), status)


vendor = GeminiChat()
