"""Workers AI as documented and as measured: a body that does not fit the model is refused with the vendor's codes.

Bodies are held against Cloudflare's own schemas of its models (`workers_models.json`) and against what was measured.
A scripted `error` may give its code and message in `text`, as "3040 no capacity"; its HTTP status is in `status`.
"""

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from PIL import Image, UnidentifiedImageError

from tests.support.internet import Answer, Received, Reply, picture

SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("workers_models.json").read_text(encoding="utf-8"))[
    "models"
]
FEW = 64
"""Of an array of bytes that many items are held against the schema: they are all alike, and millions."""
TILE, MEGAPIXEL = 512 * 512, 1024 * 1024
NEURON_USD = 0.011 / 1000
SILENT = "@cf/leonardo/phoenix-1.0"
"""Its answers do not say how many neurons they are."""
FAULTS = {
    "refuse": (
        400,
        3030,
        "AiError: Your output has been flagged. Please choose another prompt / input image combination",
    ),
    "rate": (429, 971, "Please wait and consider throttling your request speed"),
    "quota": (429, 3036, "You have used up your daily free allocation of 10,000 neurons."),
    "error": (500, 3043, "Internal server error"),
}


class Wrong(Exception):
    """A body that does not fit the model: the vendor's error code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Asked:
    """What a model understood of a call."""

    width: int
    height: int
    steps: int
    inputs: tuple[tuple[int, int], ...] = ()

    @property
    def tiles(self) -> float:
        return self.width * self.height / TILE

    @property
    def megapixels(self) -> float:
        return self.width * self.height / MEGAPIXEL

    @property
    def input_pixels(self) -> int:
        return sum(map(math.prod, self.inputs))


Range = tuple[int, int]
Bill = Callable[[Asked], float]
"""In neurons."""


class Text(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a model that takes JSON; `allowed` of `Json` says which of them it has."""

    prompt: str
    steps: int | None = None
    num_steps: int | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    guidance: float | None = None
    strength: float | None = None
    negative_prompt: str | None = None
    image: list[int] | None = None
    mask: list[int] | None = None


@dataclass(frozen=True)
class Json:
    """A model that takes JSON. `raw`: the Content-Type of an answer that is not JSON, whatever `format` it has."""

    allowed: frozenset[str]
    format: str
    raw: str | None
    default: int
    sides: Range
    steps: tuple[int, int]
    """By default, and at most."""
    bill: Bill
    needs: tuple[str, ...] = ()
    prompt: int = 1 << 20
    multiple: int = 1

    def read(self, call: Received) -> Asked:
        if not call.headers.get("content-type", "").startswith("application/json"):
            raise Wrong(3003, "Request is missing headers or body")
        if extra := call.body.keys() - self.allowed:
            raise Wrong(5006, f"Error: must NOT have additional properties {sorted(extra)}")
        try:
            body = msgspec.convert(call.body, Text)
        except msgspec.ValidationError as error:
            raise Wrong(5006, str(error)) from error
        if not 1 <= len(body.prompt) <= self.prompt:
            raise Wrong(5006, "Error: Length of '/prompt' must be <= 2048")
        if missing := [name for name in self.needs if name not in call.body]:
            raise Wrong(3030, f"AiError: Model input is not valid: missing required input {missing[0]}")
        steps = body.steps or body.num_steps or self.steps[0]
        if steps > self.steps[1]:
            raise Wrong(5006, "Error: steps is too large")
        size = (body.width or self.default, body.height or self.default)
        if not all(self.sides[0] <= side <= self.sides[1] and side % self.multiple == 0 for side in size):
            raise Wrong(5006, "Error: width or height out of range")
        for given, mode in ((body.image, "RGB"), (body.mask, "L")):
            if given is not None and _opened(bytes(given)) != (size, mode):
                raise Wrong(3010, "AiError: unexpected shape for input")
        return Asked(*size, steps)


@dataclass(frozen=True)
class Multipart:
    """A model that takes only multipart forms."""

    steps: int
    steps_allowed: bool
    bill: Bill
    format: str = "PNG"
    raw: str | None = None

    def read(self, call: Received) -> Asked:
        if not call.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Wrong(5006, "Error: required properties at '/' are 'multipart'")
        texts = {part.name: part.data.decode() for part in call.parts if part.filename is None}
        files = {part.name: part.data for part in call.parts if part.filename is not None}
        fields = {"prompt", "width", "height", "seed", "guidance"} | ({"steps"} if self.steps_allowed else set())
        if extra := texts.keys() - fields:
            raise Wrong(5006, f"Error: unknown {sorted(extra)}")
        if len(files) > 4 or list(files) != [f"input_image_{n}" for n in range(len(files))]:
            raise Wrong(5006, f"Error: unknown pictures {sorted(files)}")
        if not texts.get("prompt"):
            raise Wrong(5006, "Error: prompt is missing")
        numbers = {name: int(value) for name, value in texts.items() if name not in ("prompt", "guidance")}
        size = (numbers.get("width", 1024), numbers.get("height", 768))
        inputs = tuple(_opened(data)[0] for data in files.values())
        if not all(256 <= side <= 1920 for side in size):
            raise Wrong(5006, "Error: width and height are 256 to 1920")
        if any(max(sent) >= 512 for sent in inputs):
            raise Wrong(3030, "AiError: Model input is not valid: input images must be smaller than 512x512")
        return Asked(*size, numbers.get("steps", self.steps), inputs)


def held_against_schema(model: str, body: dict[str, Any]) -> None:
    """Fails: Wrong, when Cloudflare's schema of the model does not hold for the body, or lacks a field of it."""
    if model not in SCHEMAS:
        return
    schema = {"additionalProperties": False, **SCHEMAS[model]["input"]}
    short = {name: value[:FEW] if isinstance(value, list) else value for name, value in body.items()}
    for fault in Draft202012Validator(schema).iter_errors(short):
        raise Wrong(5006, f"Error: {fault.message}")


def _opened(data: bytes) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.size, image.mode
    except UnidentifiedImageError as error:
        raise Wrong(5004, "Invalid data type for base64 input") from error


def _diffusion(**facts: Any) -> Json:
    """A Stable Diffusion of the beta kind: free, raw bytes, one schema for all."""
    allowed = frozenset({"prompt", "negative_prompt", "width", "height", "num_steps", "strength", "guidance", "seed"})
    known: dict[str, Any] = {
        "allowed": allowed, "format": "PNG", "raw": "image/png", "default": 1024, "sides": (256, 2048),
        "steps": (20, 20), "bill": lambda asked: 0.0, "multiple": 8,
    }  # fmt: skip
    return Json(**{**known, **facts, "allowed": allowed | facts.get("allowed", frozenset())})


def _tiled(tile: float, step: float) -> Bill:
    return lambda asked: asked.tiles * (tile + step * asked.steps)


SIZED = frozenset({"prompt", "width", "height", "seed", "guidance"})
MODELS: dict[str, Json | Multipart] = {
    "@cf/black-forest-labs/flux-2-klein-4b": Multipart(
        4, False, lambda asked: asked.tiles * 26.05 + asked.input_pixels / TILE * 5.37
    ),
    "@cf/black-forest-labs/flux-2-klein-9b": Multipart(
        4, False, lambda asked: 1363.64 + 181.82 * (max(0.0, asked.megapixels - 1) + asked.input_pixels / MEGAPIXEL)
    ),
    "@cf/black-forest-labs/flux-2-dev": Multipart(
        50, True, lambda asked: asked.steps * (asked.tiles * 37.5 + asked.input_pixels / TILE * 18.75)
    ),
    "@cf/black-forest-labs/flux-1-schnell": Json(
        frozenset({"prompt", "steps"}), "JPEG", None, 1024, (0, 2048), (4, 8), _tiled(4.8, 9.6), prompt=2048
    ),
    "@cf/leonardo/lucid-origin": Json(
        SIZED | {"steps", "num_steps"}, "JPEG", None, 1120, (0, 2500), (15, 40), _tiled(636, 12)
    ),
    "@cf/leonardo/phoenix-1.0": Json(
        SIZED | {"num_steps", "negative_prompt"}, "JPEG", "image/jpeg", 1024, (0, 2048), (25, 50),
        _tiled(530, 10),
    ),
    "@cf/stabilityai/stable-diffusion-xl-base-1.0": _diffusion(),
    "@cf/bytedance/stable-diffusion-xl-lightning": _diffusion(format="JPEG"),
    "@cf/lykon/dreamshaper-8-lcm": _diffusion(default=512),
    "@cf/runwayml/stable-diffusion-v1-5-inpainting": _diffusion(
        default=512, allowed=frozenset({"image", "mask"}), needs=("image", "mask")
    ),
    "@cf/runwayml/stable-diffusion-v1-5-img2img": _diffusion(
        default=512, allowed=frozenset({"image"}), needs=("image",)
    ),
}  # fmt: skip


class WorkersAI:
    name = "workers"
    prefix = "/cloudflare/client/v4/accounts/ACCOUNT/ai/run"

    def reply(self, call: Received, answer: Answer) -> Reply:
        headers = {"cf-ray": f"{call.id}-ZRH"}
        if not call.headers.get("authorization", "").startswith("Bearer "):
            return Reply(_refusal(10000, "Authentication error"), 401, headers)
        headers["cf-ai-req-id"] = call.id
        if answer.fault in FAULTS:
            status, code, message = FAULTS[answer.fault]
            if answer.text:
                said, _, message = answer.text.partition(" ")
                code = int(said)
            return Reply(_refusal(code, f"AiError: {message} ({call.id})"), status, headers)
        if (model := MODELS.get(call.path.removeprefix("/"))) is None:
            return Reply(_refusal(5007, "No such model or task"), 400, headers)
        try:
            held_against_schema(call.path.removeprefix("/"), call.body)
            asked = model.read(call)
        except Wrong as error:
            return Reply(_refusal(error.code, str(error)), 400, headers)
        neurons = model.bill(asked)
        call.bill = neurons * NEURON_USD
        if not call.path.endswith(SILENT):
            headers["cf-ai-neurons"] = f"{neurons:.2f}"
        return _made(call, answer, model, headers)


def _made(call: Received, answer: Answer, model: Json | Multipart, headers: dict[str, str]) -> Reply:
    if answer.fault == "empty":
        return Reply(b"" if model.raw else _envelope({}), headers=headers, mime=model.raw or "application/json")
    call.sent = answer.image or painted(call, model.format)
    if answer.fault == "garbage":
        call.sent = b"these are not the bytes of an image"
    if model.raw:
        return Reply(call.sent, headers=headers, mime=model.raw)
    return Reply(_envelope({"image": base64.b64encode(call.sent).decode()}), headers=headers)


def painted(call: Received, format: str) -> bytes:
    """A picture by the seed, or by the call where the model takes none; always the same for prompts that open with
    "twins"."""
    seed = int(call.body.get("seed") or call.id.rpartition("-")[2])
    data = picture(0 if str(call.body["prompt"]).startswith("twins") else seed)
    if format == "PNG":
        return data
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).save(out, format, quality=95)
    return out.getvalue()


def _envelope(result: dict[str, str]) -> bytes:
    return json.dumps({"result": result, "success": True, "errors": [], "messages": []}).encode()


def _refusal(code: int, message: str) -> bytes:
    errors = [{"code": code, "message": message}]
    return json.dumps({"result": {}, "success": False, "errors": errors, "messages": []}).encode()


vendor = WorkersAI()
