"""Google's Gemini: one `generateContent` per image, with the SDK's retries, continuations and tool calls off.

Gemini draws from words and pictures in one prompt; it knows no mask, no strength and no pixel size.
"""

import asyncio
import math
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import httpx

from adapters.gemini.answer import Answer, failure_of, picture_of, read_answer, units_of
from adapters.gemini.sizes import Shape, canvas, image_tokens, output_cap, shape_of, shapes, wanted, wire
from adapters.http_failures import code_of, lost
from adapters.provider import Capability, ImageOp, ImageOpKind, InputImage, OnProgress, ProviderResult
from tools.env import Env
from tools.errors import Invalid, Unavailable, VendorFailed
from tools.media.framing import extend, shrink
from tools.media.sandbox import in_child
from tools.models.catalog import ImageModel, Units, image_models

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import Content, GenerateContentConfig

BASE_URL = "https://generativelanguage.googleapis.com"
IMAGE_BYTES, REQUEST_BYTES = 7_000_000, 14_000_000
"""The heaviest picture, and all pictures of a request: 20 MB of request less what base64 adds."""
PIXEL_BYTES = 3
"""A pixel of a picture that does not compress, as PNG."""
PREPARE_SECONDS = 60.0
MARGIN_TOKENS = 64
"""More than the marks around the parts of a prompt have been seen to count."""

EMULATED: dict[ImageOpKind, str] = {
    "variation": "variation is emulated: the start image is sent with the prompt, as for an edit",
    "outpaint": "outpaint is emulated: the start image is sent on a larger canvas, and may come back redrawn",
}
FILL = (
    "The first picture stands in the middle of an empty canvas. Fill the canvas to its edges, and keep the picture as "
    "it is and where it is."
)


class Shown(NamedTuple):
    """A picture as it is sent."""

    data: bytes
    mime: str


class Request(NamedTuple):
    """A call in the SDK's terms."""

    client: "Client"
    contents: "Content"
    config: "GenerateContentConfig"


class Gemini:
    id = "gemini"
    free = False
    needs: tuple[str, ...] = ("GEMINI_API_KEY",)

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in image_models("gemini"))

    def capabilities(self) -> list[Capability]:
        return [_capability(model, kind) for model in image_models("gemini") for kind in model.kinds]

    def adjustments(self, op: ImageOp) -> list[str]:
        return [*_emulated(op.kind), *_resized(op), *_left_out(op)]

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        model = _model(op)
        possible = [shape_of(model, op)] if _is_shaped(op) else shapes(model.id)
        least, most = wire(model).image_tokens
        return (
            {"text_input": 1, "image_input": least * len(_inputs(op)), "image_output": _fewest(model, possible)},
            {
                # A token is a byte of text at least.
                "text_input": len(_words(op).encode()) + MARGIN_TOKENS,
                "image_input": most * _most_inputs(model, op),
                # Nothing that is put out costs more than a picture's token.
                "image_output": max(output_cap(model, shape) for shape in possible),
            },
        )

    async def run(self, op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
        model = _model(op)
        shape = shape_of(model, op)
        pictures, reduced = await _pictures(op, shape)
        await on_progress(0.1)
        answer = await _ask(env, model, shape, _words(op), pictures)
        return _result(answer, [*self.adjustments(op), *reduced])


adapter = Gemini()


def _model(op: ImageOp) -> ImageModel:
    return next(model for model in image_models("gemini") if op.model in (None, model.id))


def _capability(model: ImageModel, kind: ImageOpKind) -> Capability:
    return Capability(
        kind=kind, model=model.id, sizes=model.sizes, max_references=model.references, notes=_emulated(kind)
    )


def _emulated(kind: ImageOpKind) -> list[str]:
    return [EMULATED[kind]] if kind in EMULATED else []


def _resized(op: ImageOp) -> list[str]:
    """What becomes of the size asked for or, when none was, of the start image's."""
    shape = shape_of(_model(op), op)
    if op.size and op.size != shape.text:
        return [f"size {op.size} became {shape.text}, the nearest that this model makes"]
    start = op.start_image if op.kind in ("edit", "variation") and not op.size else None
    if start and (start.width, start.height) != shape[:2]:
        return [f"the result of a start image of {start.width}x{start.height} is {shape.text}"]
    return []


def _left_out(op: ImageOp) -> list[str]:
    most = _model(op).references
    said = (
        (op.seed is not None, "the seed is dropped: this model draws the same words differently each time"),
        (op.quality, "quality is dropped: this model has one only"),
        (op.mask, "the mask is dropped: this model takes none"),
        (op.start_image and op.kind == "generate", "the start image is not used by generate"),
        (len(op.references) > most, f"of the reference images only the first {most} are used"),
    )
    return [sentence for applies, sentence in said if applies]


def _words(op: ImageOp) -> str:
    return f"{op.prompt}\n\n{FILL}" if op.kind == "outpaint" else op.prompt


def _inputs(op: ImageOp) -> list[InputImage]:
    """The pictures that are shown to the model, in their order."""
    start = [op.start_image] if op.start_image and op.kind != "generate" else []
    return [*start, *op.references[: _model(op).references]]


def _most_inputs(model: ImageModel, op: ImageOp) -> int:
    """An op with a start image is complete; of any other, the references may be missing too."""
    if op.start_image:
        return len(_inputs(op))
    return model.references + (op.kind != "generate")


def _is_shaped(op: ImageOp) -> bool:
    """Whether the shape is known: an outpainting must hold its start image, which may be missing yet."""
    return op.kind != "outpaint" or op.start_image is not None


def _fewest(model: ImageModel, possible: Sequence[Shape]) -> int:
    return min(image_tokens(model, shape) or 0 for shape in possible)


async def _pictures(op: ImageOp, shape: Shape) -> tuple[list[Shown], list[str]]:
    """The pictures of the request, the first one on its canvas when it is to grow, none too heavy; and what that took.

    Fails: VendorFailed when one cannot be worked on · Unavailable when no child did.
    """
    shown = [Shown(image.data, image.mime) for image in _inputs(op)]
    try:
        if op.kind == "outpaint" and op.start_image and (size := wanted(op)):
            place = canvas(shape, (op.start_image.width, op.start_image.height), size)
            grown = await in_child(extend, op.start_image.data, *place, seconds=PREPARE_SECONDS)
            shown[0] = Shown(grown.canvas, "image/png")
        return await _lightened(shown)
    except Invalid as error:
        raise VendorFailed("a picture could not be prepared for Gemini", failure="invalid") from error


async def _lightened(shown: Sequence[Shown]) -> tuple[list[Shown], list[str]]:
    most = min(IMAGE_BYTES, REQUEST_BYTES // max(1, len(shown)))
    longest = math.isqrt(most // PIXEL_BYTES)
    light = [
        Shown(await in_child(shrink, picture.data, longest, seconds=PREPARE_SECONDS), "image/png")
        if len(picture.data) > most
        else picture
        for picture in shown
    ]
    count = sum(len(picture.data) > most for picture in shown)
    return light, [f"{count} of the pictures sent were reduced to {longest} pixels, for their weight"] if count else []


async def _ask(env: Env, model: ImageModel, shape: Shape, words: str, pictures: Sequence[Shown]) -> Answer:
    """The one call.

    Fails: what `failure_of` and `lost` say, and VendorFailed when the answer is none of Gemini's.
    """
    # The first time it loads the SDK, which takes a second.
    request = await asyncio.to_thread(_request, env, model, shape, words, pictures)
    from google.genai.errors import APIError

    try:
        answer = await request.client.aio.models.generate_content(
            model=model.id, contents=request.contents, config=request.config
        )
    except APIError as error:
        raise failure_of(error) from error
    except UnicodeDecodeError as error:
        # The SDK decodes only what is not 200 so strictly: an error page of something on the way.
        raise Unavailable("Gemini failed", failure="outage") from error
    except httpx.HTTPError as error:
        raise lost(error, "Gemini") from error
    finally:
        request.client.close()
    http = answer.sdk_http_response
    return read_answer((http and http.body) or "", (http and http.headers) or {})


def _request(env: Env, model: ImageModel, shape: Shape, words: str, pictures: Sequence[Shown]) -> Request:
    from google.genai.types import Content, Part

    parts = [Part.from_text(text=words), *(Part.from_bytes(data=p.data, mime_type=p.mime) for p in pictures)]
    return Request(_client(env), Content(role="user", parts=parts), _config(model, shape))


def _client(env: Env) -> "Client":
    """A client that sends through our own HTTP client and reads no variable of the SDK's."""
    from google.genai import Client
    from google.genai.types import HttpOptions

    # It makes clients beside ours, which nobody uses: a context that trusts nobody spares them 40 ms of certificates.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options = HttpOptions(
        base_url=env.AI.keys.get("GOOGLE_GEMINI_BASE_URL", BASE_URL),
        # Milliseconds, for connecting and for each read: just before the deadline of the whole call, so that a
        # connection that was never made is told from an answer that never came.
        timeout=math.ceil(env.settings.vendor_seconds * 990),
        httpx_async_client=env.AI.http,
        client_args={"verify": nobody, "trust_env": False},
        async_client_args={"ssl": nobody},
    )
    return Client(vertexai=False, api_key=env.AI.keys["GEMINI_API_KEY"], http_options=options)


def _config(model: ImageModel, shape: Shape) -> "GenerateContentConfig":
    from google.genai.types import AutomaticFunctionCallingConfig, GenerateContentConfig, ImageConfig

    # The lite model refuses the parameter, having one image size only.
    several = len(wire(model).image_sizes) > 1
    return GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"],
        image_config=ImageConfig(aspect_ratio=shape.ratio, image_size=shape.image_size if several else None),
        max_output_tokens=output_cap(model, shape),
        # Each would call again by itself, and be billed again.
        automatic_continuation=False,
        automatic_function_calling=AutomaticFunctionCallingConfig(disable=True),
        # The SDK's reading drops what it does not know, finish reasons among it.
        should_return_http_response=True,
    )


def _result(answer: Answer, adjustments: list[str]) -> ProviderResult:
    picture = picture_of(answer)
    extra = [f"of {picture.sent} pictures that came, the last is kept"] if picture.sent > 1 else []
    return ProviderResult(
        data=picture.data,
        mime=picture.mime,
        provider_meta={"modelVersion": code_of(answer.model_version)},
        usage=answer.usage_metadata if isinstance(answer.usage_metadata, dict) else {},
        units=units_of(answer),
        adjustments=[*adjustments, *extra],
        request_id=answer.request_id,
    )
