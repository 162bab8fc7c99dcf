"""OpenAI's image endpoints as measured: JSON or multipart requests, server-sent events or JSON answers, token usage.

Bodies are validated against an extract of OpenAI's own specification (`openai_images.json`) and against what its
documentation states about models, sizes and masks; what the real API would refuse is a 400 here.
"""

import base64
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from PIL import Image

from tests.support.internet import Answer, Part, Received, Reply, picture
from tools.models.catalog import prices

SPECIFICATION = json.loads(Path(__file__).with_name("openai_images.json").read_text(encoding="utf-8"))
FACTORS: dict[str, dict[str, int]] = {
    "gpt-image-2": {"low": 16, "medium": 48, "high": 96},
    "gpt-image-2.5": {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
    "gpt-image-2.6": {"low": 28, "medium": 45, "high": 48, "xhigh": 64, "max": 96},
}
"""Patches along the longer side by quality, of the models that make any size."""
SIZES = ("1024x1024", "1536x1024", "1024x1536")
TABLES: dict[str, dict[str, tuple[int, int, int]]] = {
    "gpt-image-1.5": {"low": (272, 400, 408), "medium": (1056, 1568, 1584), "high": (4160, 6208, 6240)},
    "gpt-image-1-mini": {"low": (625, 750, 750), "medium": (1375, 1875, 1875), "high": (4500, 6500, 6500)},
}
FAMILY = {
    **{model: model for model in ("gpt-image-2", *TABLES)},
    **{f"{family}-{name}": family for family in ("gpt-image-2.5", "gpt-image-2.6") for name in ("flare", "sunburst")},
}
RATES = {"text_input": 5.0, "image_input": 8.0, "image_output": 30.0, "text_output": 10.0}
"""USD per million tokens, for models that the catalog has no price of."""
ERRORS = {
    "rate": (429, "requests", "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota", "insufficient_quota"),
    "error": (500, "server_error", "server_error"),
}


class Wrong(Exception):
    """A body that the real API would refuse."""

    def __init__(self, message: str, code: str | None = None, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.code, self.kind = code, kind


@dataclass
class OpenAI:
    """`streams`: whether it honours `stream`. `breaks`: the code of an error after the first preview. `partials`: the
    most previews it sends. `says`: what its answers state about the picture, in place of what was requested. `refusal`:
    the code of its refusals."""

    name: str = "openai"
    prefix: str = "/openai/v1"
    streams: bool = True
    breaks: str | None = None
    partials: int = 3
    says: dict[str, str] = field(default_factory=dict)
    refusal: str = "moderation_blocked"

    def reply(self, call: Received, answer: Answer) -> Reply:
        if call.headers.get("authorization", "").removeprefix("Bearer ") in ("", "wrong"):
            return error(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: wrong.")
        if call.path not in ("/images/generations", "/images/edits"):
            return error(404, "invalid_request_error", None, f"Invalid URL (POST {call.path})")
        if answer.fault == "refuse":
            return error(
                400, "image_generation_user_error", self.refusal, f"{call.body.get('prompt')}: said by the vendor"
            )
        if answer.fault in ERRORS:
            return error(*ERRORS[answer.fault], f"{call.body.get('prompt')}: said by the vendor")
        try:
            asked = edit_asked(call) if call.path == "/images/edits" else generate_asked(call)
        except Wrong as wrong:
            return error(400, wrong.kind, wrong.code, str(wrong))
        return self._answer(call, answer, asked)

    def _answer(self, call: Received, answer: Answer, asked: dict[str, Any]) -> Reply:
        partials = min(asked.get("partial_images") or 0, self.partials) if self.streams and asked.get("stream") else 0
        usage = used(call, asked, partials)
        call.bill = billed(asked["model"], usage)
        if answer.fault != "empty":
            call.sent = answer.image or drawn(call, asked["size"])
        if answer.fault == "garbage":
            call.sent = b"these are not the bytes of an image"
        said = {key: asked.get(key) or "auto" for key in ("size", "quality", "background")}
        said |= {"output_format": "png", **self.says}
        if self.streams and asked.get("stream"):
            return self._stream(call, said, usage, partials)
        data = [{"b64_json": coded(call.sent)}] if call.sent else []
        return Reply(json.dumps({"created": 1, "data": data, "usage": usage, **said}).encode())

    def _stream(self, call: Received, said: dict[str, str], usage: dict[str, Any], partials: int) -> Reply:
        kind = "image_edit" if call.path == "/images/edits" else "image_generation"
        events = [
            {"partial_image_index": i, "b64_json": coded(picture(i, 16)), "type": f"{kind}.partial_image", **said}
            for i in range(partials)
        ]
        if self.breaks:
            call.bill, call.sent = 0.0, None
            events[1:] = [{"type": "error", "error": {"type": "x", "code": self.breaks, "message": "it broke"}}]
        elif call.sent:
            events.append({"b64_json": coded(call.sent), "usage": usage, "type": f"{kind}.completed", **said})
        pieces = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
        return Reply(chunks=[*chunked(pieces)], headers={"transfer-encoding": "chunked"}, mime="text/event-stream")


def error(status: int, kind: str, code: str | None, message: str) -> Reply:
    said = {"message": message, "type": kind, "param": None, "code": code}
    return Reply(json.dumps({"error": said}).encode(), status)


def chunked(pieces: list[bytes]) -> Iterator[tuple[float, bytes]]:
    """The pieces in HTTP/1.1 chunked encoding, so that a truncated body can be recognised."""
    for piece in (*pieces, b""):
        yield 0.0, b"%x\r\n%b\r\n" % (len(piece), piece)


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def drawn(call: Received, size: str) -> bytes:
    """A picture of the requested shape, at an eighth of its sides for speed; a different one for each call."""
    width, height = (int(side) // 8 for side in size.split("x"))
    out = io.BytesIO()
    image = Image.open(io.BytesIO(picture(hash((call.body["prompt"], call.id)), 64)))
    image.resize((width, height), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def generate_asked(call: Received) -> dict[str, Any]:
    if "json" not in call.headers.get("content-type", ""):
        raise Wrong("the body must be JSON")
    held_against("CreateImageRequest", call.body)
    check(call.body)
    return call.body


def edit_asked(call: Received) -> dict[str, Any]:
    files = [part for part in call.parts if part.filename is not None]
    images = [part for part in files if part.name in ("image", "image[]")]
    masks = [part for part in files if part.name == "mask"]
    if len(images) != 1 and any(part.name == "image" for part in images):
        raise Wrong("Duplicate parameter: 'image'", "duplicate_parameter")
    if len(files) != len(images) + len(masks) or len(masks) > 1:
        raise Wrong("Unknown parameter", "unknown_parameter")
    typed: dict[str, Any] = dict(call.body)
    typed |= {key: int(typed[key]) for key in ("n", "partial_images") if key in typed}
    typed |= {"stream": typed["stream"] == "true"} if "stream" in typed else {}
    typed |= {"image": [part.filename for part in images]} | ({"mask": masks[0].filename} if masks else {})
    held_against("CreateImageEditRequest", typed)
    check(typed)
    opened = [readable(part) for part in images]
    if masks:
        check_mask(masks[0], opened[0])
    return typed


def held_against(schema: str, body: dict[str, Any]) -> None:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": SPECIFICATION["components"]}
    for fault in Draft202012Validator(whole).iter_errors(body):
        raise Wrong(fault.message, "invalid_value")


def check(body: dict[str, Any]) -> None:
    model, quality, fidelity = body.get("model", ""), body.get("quality", "auto"), body.get("input_fidelity")
    if model not in FAMILY:
        raise Wrong(f"The model '{model}' does not exist.", "model_not_found")
    if len(body["prompt"]) > 32_000 or not body["prompt"]:
        raise Wrong("Invalid 'prompt'", "string_above_max_length")
    if quality != "auto" and quality not in (FACTORS.get(FAMILY[model]) or TABLES[FAMILY[model]]):
        raise Wrong(f"Invalid value: '{quality}'.", "invalid_value")
    if {"response_format", "style"} & body.keys():
        raise Wrong("Unknown parameter", "unknown_parameter")
    if fidelity and model not in {"low": ("gpt-image-1.5", "gpt-image-1-mini"), "high": ("gpt-image-1.5",)}[fidelity]:
        message = f"The model '{model}' does not support the 'input_fidelity' parameter."
        raise Wrong(message, "invalid_input_fidelity_model", "image_generation_user_error")
    size = body.get("size", "auto")
    if size not in SIZES and not (FAMILY[model] in FACTORS and possible(size)):
        raise Wrong(f"Invalid size '{size}'.", "invalid_value")


def possible(size: str) -> bool:
    width, height = map(int, size.split("x"))
    return (
        width % 16 == height % 16 == 0
        and max(width, height) <= 3840
        and 655_360 <= width * height <= 8_294_400
        and max(width, height) <= 3 * min(width, height)
    )


def readable(part: Part) -> Image.Image:
    if len(part.data) >= 50_000_000:
        raise Wrong("Image file too large", "image_too_large", "image_generation_user_error")
    try:
        image = Image.open(io.BytesIO(part.data), formats=("PNG", "JPEG", "WEBP"))
    except OSError:
        raise Wrong("Unsupported image", "invalid_image_file", "image_generation_user_error") from None
    if image.mode not in ("L", "RGB", "RGBA") or part.mime != Image.MIME[str(image.format)]:
        raise Wrong("Invalid image file or mode", "invalid_image_file", "image_generation_user_error")
    return image


def check_mask(part: Part, image: Image.Image) -> None:
    mask = readable(part)
    if (mask.format, mask.mode, mask.size) != ("PNG", "RGBA", image.size) or len(part.data) >= 4_000_000:
        raise Wrong("Invalid mask image format - mask size does not match image size", "invalid_image_format")


def used(call: Received, asked: dict[str, Any], partials: int) -> dict[str, Any]:
    """Token usage as the real API counts it: input by 32-pixel patches, output by shape and quality, 100 for each
    preview."""
    images = [Image.open(io.BytesIO(part.data)) for part in call.parts if part.name.startswith("image")]
    text = 6 + math.ceil(len(asked["prompt"].encode()) / 4) + 22 * len(images)
    seen = sum(min(1536, math.ceil(image.width / 32) * math.ceil(image.height / 32)) for image in images)
    thought = 40 if asked["model"] == "gpt-image-1.5" else 0
    out = output_tokens(asked["model"], asked.get("quality", "medium"), asked["size"]) + 100 * partials
    return {
        "input_tokens": text + seen,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens": out + thought,
        "output_tokens_details": {"image_tokens": out, "text_tokens": thought},
        "total_tokens": text + seen + out + thought,
    }


def output_tokens(model: str, quality: str, size: str) -> int:
    if model in TABLES:
        return TABLES[model][quality][SIZES.index(size)]
    width, height = map(int, size.split("x"))
    factor = FACTORS[FAMILY[model]][quality]
    across = math.floor(factor * min(width, height) / max(width, height) + 0.5)
    return math.ceil(factor * across * (2_000_000 + width * height) / 4_000_000)


def billed(model: str, usage: dict[str, Any]) -> float:
    held = prices(None).get(("openai", model), [])
    rates = RATES | (max(held, key=lambda price: price.effective).rates if held else {})
    taken, made = usage["input_tokens_details"], usage["output_tokens_details"]
    dollars: float = (
        rates["text_input"] * taken["text_tokens"]
        + rates["image_input"] * taken["image_tokens"]
        + rates["image_output"] * made["image_tokens"]
        + rates["text_output"] * made["text_tokens"]
    ) / 1e6
    return dollars


vendor = OpenAI()
