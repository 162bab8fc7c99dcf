"""Google's Gemini as it answers `generateContent` for pictures.

What a request may contain is written down here a second time, from Google's documentation and not from our catalog;
beside that the types of Google's SDK must hold for it.
`text` of a scripted `Answer` chooses a form where there are several: for `refuse` a finish reason, or `prompt:` and a
block reason; for `empty` `words`, `nothing` or a finish reason; for `ok` `several`, `draft` or `untold`; for `rate` the
delay in RetryInfo.
"""

import base64
import re
import zlib
from typing import Any, Literal

import msgspec

from tests.support.internet import Answer, Received, Reply, picture

Ratio = Literal["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1"]
WIDE = ("gemini-nano-banana-2.1", "gemini-3.1-flash-image")
"""The models that make the four ratios beyond 21:9."""
PLAIN_RATIOS = {"1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"}
PICTURE_TOKENS = {
    "gemini-nano-banana-2.1": {"1K": 1120, "2K": 1680, "4K": 3780},
    "gemini-3.1-flash-image": {"1K": 1120, "2K": 1680, "4K": 2520},
    "gemini-3-pro-image": {"1K": 1120, "2K": 1120, "4K": 2000},
    "gemini-3.1-flash-lite-image": {"1K": 1120},
}
RATES = {
    "gemini-nano-banana-2.1": {"input": 1.5, "text": 7.5, "image": 30.0},
    "gemini-3.1-flash-image": {"input": 0.5, "text": 3.0, "image": 60.0},
    "gemini-3-pro-image": {"input": 2.0, "text": 12.0, "image": 120.0},
    "gemini-3.1-flash-lite-image": {"input": 0.25, "text": 1.5, "image": 30.0},
}
"""USD per million tokens."""
SHOWN_TOKENS, WORD_TOKENS, THOUGHT_TOKENS = 258, 103, 137
BAD_KEY = "a-key-that-was-revoked-long-ago-0000"
MOST_BYTES = 20_000_000


class InlineData(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    mime_type: Literal["image/png", "image/jpeg", "image/webp"]
    data: str


class Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    text: str | None = None
    inline_data: InlineData | None = None


class Content(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[Part]
    role: Literal["user", "model"] = "user"


class ImageConfig(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    aspect_ratio: Ratio = "1:1"
    image_size: Literal["1K", "2K", "4K"] | None = None


class GenerationConfig(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    response_modalities: list[Literal["TEXT", "IMAGE"]]
    image_config: ImageConfig = msgspec.field(default_factory=ImageConfig)
    max_output_tokens: int = 32768


class Request(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    contents: list[Content]
    generation_config: GenerationConfig


def held_against_types(body: dict[str, Any]) -> None:
    """Fails: ValueError, when Google's own types, which refuse unknown fields, do not hold for a `generateContent`."""
    from google.genai import types

    asked = dict(body)
    contents, config = asked.pop("contents"), asked.pop("generationConfig", {})
    for content in contents:
        types.Content.model_validate(content)
    # In the SDK what stands beside the generation's settings in the JSON is among them.
    types.GenerateContentConfig.model_validate({**config, **asked})


def camel(value: Any) -> Any:
    """The same JSON with both spellings of a name made one, as Google reads it."""
    if isinstance(value, dict):
        return {re.sub(r"_([a-z])", lambda m: m[1].upper(), name): camel(inner) for name, inner in value.items()}
    return [camel(inner) for inner in value] if isinstance(value, list) else value


def problem(model: str, request: Request) -> str | None:
    """What Google would object to in a request that is well formed."""
    config = request.generation_config
    if "IMAGE" not in config.response_modalities:
        return "this model puts out images"
    if model == "gemini-3.1-flash-lite-image" and config.image_config.image_size:
        return "image_size is not supported by this model"
    if model not in WIDE and config.image_config.aspect_ratio not in PLAIN_RATIOS:
        return "aspect_ratio is not supported by this model"
    if sum(part.inline_data is not None for content in request.contents for part in content.parts) > 14:
        return "too many images"
    return None


def failed(code: int, status: str, message: str, *details: dict[str, Any]) -> Reply:
    fault = {"code": code, "message": message, "status": status, **({"details": details} if details else {})}
    return Reply(msgspec.json.encode({"error": fault}), status=code)


def detail(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def quota_failure(*quotas: str) -> dict[str, Any]:
    metric = "generativelanguage.googleapis.com/generate_requests_per_model"
    return detail("QuotaFailure", violations=[{"quotaMetric": metric, "quotaId": quota} for quota in quotas])


def failure(answer: Answer) -> Reply:
    match answer.fault:
        case "rate":
            waits = [detail("RetryInfo", retryDelay=answer.text)] if answer.text else []
            minute = quota_failure("GenerateRequestsPerMinutePerProjectPerModel")
            return failed(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted.", minute, *waits)
        case "quota":
            day = quota_failure(
                "GenerateContentInputTokensPerModelPerMinute", "GenerateRequestsPerDayPerProjectPerModel"
            )
            wait = detail("RetryInfo", retryDelay="34s")
            return failed(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", day, wait)
        case _:
            return failed(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")


class Gemini:
    name = "gemini"
    prefix = "/gemini"

    def reply(self, call: Received, answer: Answer) -> Reply:
        path = re.fullmatch(r"/v1beta/models/([^/:]+):generateContent", call.path)
        if call.method != "POST" or not path or path[1] not in PICTURE_TOKENS:
            return failed(404, "NOT_FOUND", f"{call.path} is not found for API version v1beta")
        if "x-goog-api-key" not in call.headers:
            return failed(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if call.headers["x-goog-api-key"] == BAD_KEY:
            reason = detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")
            return failed(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", reason)
        return self._asked(call, answer, path[1])

    def _asked(self, call: Received, answer: Answer, model: str) -> Reply:
        try:
            held_against_types(call.body)
            request = msgspec.convert(camel(call.body), Request)
        except (msgspec.ValidationError, ValueError) as error:
            return failed(400, "INVALID_ARGUMENT", f"Invalid JSON payload received: {error}")
        if wrong := problem(model, request) or (len(call.raw) > MOST_BYTES and "the request is too large"):
            return failed(400, "INVALID_ARGUMENT", wrong)
        match answer.fault:
            case "rate" | "quota" | "error":
                return failure(answer)
            case "refuse":
                return self._refusal(call, request, answer.text or "prompt:SAFETY")
            case "empty":
                return self._without_picture(call, answer, model, request)
            case _:
                return self._picture(call, answer, model, request)

    def _refusal(self, call: Received, request: Request, reason: str) -> Reply:
        prompt = {"promptTokenCount": sum(shown(request)), "totalTokenCount": sum(shown(request))}
        body = {"usageMetadata": prompt, "responseId": call.id, "modelVersion": "x"}
        if reason.startswith("prompt:"):
            return json({**body, "promptFeedback": {"blockReason": reason.removeprefix("prompt:")}})
        said = {"finishReason": reason, "finishMessage": "Unable to show the generated image.", "index": 0}
        return json({**body, "candidates": [said]})

    def _without_picture(self, call: Received, answer: Answer, model: str, request: Request) -> Reply:
        body = {"usageMetadata": self._usage(call, model, request, 0), "modelVersion": model, "responseId": call.id}
        if answer.text == "nothing":
            return json(body)
        if answer.text == "words":
            said = {"parts": [{"text": "I would rather talk about it."}], "role": "model"}
            return json({**body, "candidates": [{"content": said, "finishReason": "STOP", "index": 0}]})
        goes_on = {"continuationToken": "dG9rZW4="} if answer.text == "CONTINUATION" else {}
        return json({**body, "candidates": [{"finishReason": answer.text or "NO_IMAGE", "index": 0, **goes_on}]})

    def _picture(self, call: Received, answer: Answer, model: str, request: Request) -> Reply:
        prompt = next(part.text or "" for part in request.contents[0].parts)
        # It has no seed: the same prompt gives a different picture each time.
        call.sent = answer.image or picture(zlib.crc32((prompt if prompt.startswith("twins") else call.id).encode()))
        if answer.fault == "garbage":
            call.sent = b"these are not the bytes of an image"
        parts = [{"text": "Here is your picture."}, drawn(call.sent)]
        if answer.text == "several":
            parts.insert(1, drawn(picture(1)))
        if answer.text == "draft":
            parts = [{**drawn(picture(1)), "thought": True}, *parts, {**drawn(picture(2)), "thought": True}]
        usage = self._usage(call, model, request, 2 if answer.text == "several" else 1)
        if usage["candidatesTokenCount"] + THOUGHT_TOKENS > request.generation_config.max_output_tokens:
            call.sent = None
            return self._without_picture(call, Answer(text="MAX_TOKENS"), model, request)
        if answer.text == "untold":
            del usage["candidatesTokensDetails"]
        said = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}
        return json({"candidates": [said], "usageMetadata": usage, "modelVersion": model, "responseId": call.id})

    def _usage(self, call: Received, model: str, request: Request, pictures: int) -> dict[str, Any]:
        """The usage of an answer with that many pictures, and its bill."""
        words, images = shown(request)
        size = request.generation_config.image_config.image_size or "1K"
        drawn = PICTURE_TOKENS[model][size] * pictures
        rates = RATES[model]
        texts = WORD_TOKENS + THOUGHT_TOKENS
        call.bill = ((words + images) * rates["input"] + texts * rates["text"] + drawn * rates["image"]) / 1e6
        counts = [{"modality": "IMAGE", "tokenCount": drawn}] if drawn else []
        return {
            "promptTokenCount": words + images,
            "candidatesTokenCount": drawn + WORD_TOKENS,
            "thoughtsTokenCount": THOUGHT_TOKENS,
            "totalTokenCount": words + images + drawn + texts,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": words},
                *([{"modality": "IMAGE", "tokenCount": images}] if images else []),
            ],
            **({"candidatesTokensDetails": counts} if counts else {}),
        }


def shown(request: Request) -> tuple[int, int]:
    """Tokens of the text and of the pictures in a request."""
    parts = [part for content in request.contents for part in content.parts]
    words = sum(len(part.text) // 4 + 1 for part in parts if part.text)
    return words, SHOWN_TOKENS * sum(part.inline_data is not None for part in parts)


def drawn(data: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(data).decode()}}


def json(body: dict[str, Any]) -> Reply:
    return Reply(msgspec.json.encode(body), mime="application/json; charset=UTF-8")


vendor = Gemini()
