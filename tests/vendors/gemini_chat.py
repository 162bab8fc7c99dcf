"""Gemini's generateContent as a chat model. `…-no-schema` in the model's name: it takes no response schema."""

import json
from typing import Any

from tests.vendors.chatter import IMAGE_TOKENS, Usage, said
from tests.wire import Answer, Received, Reply

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
        config = call.body.get("generationConfig", {})
        if "responseJsonSchema" in config and "-no-schema" in call.path:
            return _error(400, "INVALID_ARGUMENT", "")
        parts = [part for turn in _turns(call.body) for part in turn["parts"]]
        texts = [part["text"] for part in parts if "text" in part]
        text = said(answer, texts)
        images = IMAGE_TOKENS * sum("inlineData" in part for part in parts)
        usage = Usage(sum(map(len, texts)) // 4 + images, len(text) // 4 + 1)
        call.bill = usage.cost(*self.rates)
        return Reply(json.dumps(_answered(call, answer, text, usage)).encode())


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
