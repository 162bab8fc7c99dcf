"""Google's Gemini: one `generateContent` per image, with the SDK's retries, continuations and tool calls off.

Gemini draws from words and pictures in one prompt; it knows no strength, no pixel size, and a mask only as a picture.
"""

import asyncio
import math
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from adapters.answer_images import Body, read_body
from adapters.gemini.answer import NAME, failure_of, picture_of, read_answer, units_of, units_without_picture
from adapters.gemini.mask import white_on_black
from adapters.gemini.sizes import Shape, canvas, image_tokens, output_cap, shape_of, shapes, wanted, wire
from adapters.http_failures import code_of, doubting, is_trusted, lost
from adapters.input_images import check_images
from adapters.provider import Capability, ImageOp, ImageOpKind, InputImage, OnProgress, ProviderResult
from tools.env import Env
from tools.errors import Refused, Uncertain, VendorError
from tools.media.framing import extend, plain, shrink
from tools.media.sandbox import run_in_child
from tools.media.signatures import mime_of
from tools.models.catalog import ImageModel, Units, image_models, offered

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import Content, GenerateContentConfig

BASE_URL = "https://generativelanguage.googleapis.com"
DOMAIN = "googleapis.com"
API_VERSION = "v1beta"
"""What is spoken, whatever the SDK's default is (`v1` from 3.0 on) or its variable says: Google documents making images
in it, and nothing of `v1` is known to take an image's size and shape.
"""
IMAGE_BYTES, REQUEST_BYTES = 7_000_000, 14_000_000
"""The heaviest picture, and all pictures of a request: 20 MB of request less what base64 adds."""
PIXEL_BYTES = 3
"""A pixel of a picture that does not compress, as PNG."""
CHILD_SECONDS = 60.0
SENT_FRACTION = 0.1
MARGIN_TOKENS = 64
"""More than the marks around the parts of a prompt have been seen to count."""

EMULATED: dict[ImageOpKind, str] = {
    "inpaint": "the mask is sent as a second picture, in black and white: it guides the model, which may change more",
    "variation": "variation is emulated: the start image is sent with the prompt, as for an edit",
    "outpaint": "outpaint is emulated: the start image is sent on a larger canvas, and may come back redrawn",
}
FILL = (
    "The first picture stands in the middle of an empty canvas. Fill the canvas to its edges, and keep the picture as "
    "it is and where it is."
)
MASKED = (
    "The second picture is a mask of the first. Change the first picture only where the mask is white, and keep "
    "everything that is black in the mask exactly as it is."
)


class Shown(NamedTuple):
    """A picture as it is sent."""

    data: bytes
    mime: str


class Request(NamedTuple):
    """A call in the SDK's terms, and what the op loses by it."""

    model: str
    contents: "Content"
    config: "GenerateContentConfig"
    adjustments: list[str]


class Gemini:
    id = "gemini"
    free = False
    needs: tuple[str, ...] = ("GEMINI_API_KEY",)
    optional: tuple[str, ...] = ("GOOGLE_GEMINI_BASE_URL",)

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in offered("gemini"))

    def capabilities(self) -> list[Capability]:
        return [
            Capability(
                kind=kind,
                model=model.id,
                sizes=model.sizes,
                max_references=model.references - (kind == "inpaint"),
                notes=[EMULATED[kind]] if kind in EMULATED else [],
            )
            for model in offered("gemini")
            for kind in model.kinds
        ]

    def adjustments(self, op: ImageOp) -> list[str]:
        shape, most = shape_of(_model(op), op), _room(op)
        start = op.start_image if op.kind in ("edit", "variation", "inpaint") and not op.size else None
        start_size = (start.width, start.height) if start else shape[:2]
        notes = (
            (op.kind in EMULATED, EMULATED.get(op.kind, "")),
            (_mask_scaled(op), "the mask was scaled to the size of the start image"),
            (
                op.size not in (None, "", shape.text),
                f"size {op.size} became {shape.text}, the nearest that this model makes",
            ),
            (
                start_size != shape[:2],
                f"the result of a start image of {start_size[0]}x{start_size[1]} is {shape.text}",
            ),
            (op.seed is not None, "the seed is dropped: this model draws the same words differently each time"),
            (op.quality, "quality is dropped: this model has one only"),
            (op.mask and op.kind != "inpaint", f"the mask is not used by {op.kind}"),
            (op.start_image and op.kind == "generate", "the start image is not used by generate"),
            (len(op.references) > most, f"of the reference images only the first {most} are used"),
        )
        return [sentence for applies, sentence in notes if applies]

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        model, images = _model(op), len(_inputs(op)) + (op.kind == "inpaint")
        # An op with a start image is complete; of any other, start image and references may be missing yet.
        most_images = images if op.start_image else model.references + (op.kind != "generate")
        # An outpainting's shape must hold its start image: any shape is possible while that is missing.
        known = op.kind != "outpaint" or op.start_image is not None
        possible = [shape_of(model, op)] if known else shapes(model.id)
        least, most = wire(model).image_tokens
        return (
            {
                "text_input": 1,
                "image_input": least * images,
                "image_output": min(image_tokens(model, shape) or 0 for shape in possible),
            },
            {
                # A token is a byte of text at least.
                "text_input": len(_words(op).encode()) + MARGIN_TOKENS,
                "image_input": most * most_images,
                # Nothing that is put out costs more than a picture's token.
                "image_output": max(output_cap(model, shape) for shape in possible),
            },
        )

    async def prepare(self, op: ImageOp, env: Env) -> Request:
        """The SDK's arguments; an outpainting's start image stands on its canvas, and no picture is too heavy.

        Fails: Invalid when a picture is missing, does not fit or cannot be read · Unavailable when no image child could
        work on one.
        """
        check_images(op)
        model = _model(op)
        shape = shape_of(model, op)
        readable = [await run_in_child(plain, image.data, seconds=CHILD_SECONDS) for image in _inputs(op)]
        shown = [Shown(data, mime_of(data) or "image/png") for data in readable]
        if op.kind == "outpaint" and op.start_image and (size := wanted(op)):
            place = canvas(shape, (op.start_image.width, op.start_image.height), size)
            grown = await run_in_child(extend, op.start_image.data, *place, seconds=CHILD_SECONDS)
            shown[0] = Shown(grown.canvas, "image/png")
        if op.kind == "inpaint" and op.mask and op.start_image:
            start = op.start_image
            mask = await run_in_child(white_on_black, op.mask.data, start.width, start.height, seconds=CHILD_SECONDS)
            shown.insert(1, Shown(mask, "image/png"))
        most = min(IMAGE_BYTES, REQUEST_BYTES // max(1, len(shown)))
        longest, adjustments = math.isqrt(most // PIXEL_BYTES), self.adjustments(op)
        if heavy := [number for number, picture in enumerate(shown) if len(picture.data) > most]:
            adjustments.append(f"{len(heavy)} of the pictures sent were reduced to {longest} pixels, for their weight")
        for number in heavy:
            light = await run_in_child(shrink, shown[number].data, longest, seconds=CHILD_SECONDS)
            shown[number] = Shown(light, "image/png")
        # The first time it loads the SDK, which takes a second.
        contents, config = await asyncio.to_thread(_arguments, model, shape, _words(op), shown)
        return Request(model.id, contents, config, adjustments)

    async def send(self, request: Request, env: Env, on_progress: OnProgress) -> ProviderResult:
        # Making the client takes tens of milliseconds.
        http = KeepingClient(env.AI.http)
        client = await asyncio.to_thread(_client, env, http)
        base = env.AI.keys.get("GOOGLE_GEMINI_BASE_URL", BASE_URL)
        await on_progress(SENT_FRACTION)
        try:
            with doubting(is_trusted(base, DOMAIN, env.settings)):
                await _call(client, request)
        finally:
            client.close()
        assert http.answer is not None and http.body is not None
        cut = http.body.error
        read = await asyncio.to_thread(read_answer, http.body.data, http.answer.headers, is_cut=cut is not None)
        try:
            picture = await asyncio.to_thread(picture_of, read, base)
        except VendorError as error:
            # Of an answer that was cut off, its end may have been the picture.
            ended = error if cut is None or isinstance(error, Refused) else lost(cut, NAME, read.request_id)
            ended.units, ended.body = units_without_picture(read), read.body
            raise ended from (cut or error.__cause__)
        extra = [f"of {picture.sent} pictures that came, the last is kept"] if picture.sent > 1 else []
        return ProviderResult(
            data=picture.image.data,
            mime=picture.image.mime,
            addresses=picture.image.addresses,
            provider_meta={"modelVersion": code_of(read.model_version)},
            usage=read.usage_metadata if isinstance(read.usage_metadata, dict) else {},
            units=units_of(read),
            adjustments=[*request.adjustments, *extra],
            request_id=read.request_id,
        )


adapter = Gemini()


async def _call(client: "Client", request: Request) -> None:
    from google.genai.errors import APIError

    try:
        await client.aio.models.generate_content(model=request.model, contents=request.contents, config=request.config)
    except APIError as error:
        raise failure_of(error) from error
    except UnicodeDecodeError as error:
        # The SDK decodes only what is not 200 so strictly: an error page of something on the way, of whatever status.
        raise Uncertain("something on the way to Gemini failed", code="proxy_failed") from error
    except httpx.HTTPError as error:
        raise lost(error, NAME) from error


def _model(op: ImageOp) -> ImageModel:
    """The model, a retired one too: an accepted item keeps the model that it was accepted with.

    Without a name, the first that can do this kind.
    """
    if op.model is None:
        return next(model for model in offered("gemini") if op.kind in model.kinds)
    return next(model for model in image_models("gemini") if op.model == model.id)


def _words(op: ImageOp) -> str:
    instructions = {"outpaint": FILL, "inpaint": MASKED}.get(op.kind)
    return f"{op.prompt}\n\n{instructions}" if instructions else op.prompt


def _room(op: ImageOp) -> int:
    """How many reference images the model takes for this kind, which a mask leaves one less of."""
    return _model(op).references - (op.kind == "inpaint")


def _inputs(op: ImageOp) -> list[InputImage]:
    """The pictures that are shown to the model, in their order, a mask aside."""
    start = [op.start_image] if op.start_image and op.kind != "generate" else []
    return [*start, *op.references[: _room(op)]]


def _mask_scaled(op: ImageOp) -> bool:
    if op.kind != "inpaint" or op.mask is None or op.start_image is None:
        return False
    return (op.mask.width, op.mask.height) != (op.start_image.width, op.start_image.height)


def _arguments(
    model: ImageModel, shape: Shape, words: str, pictures: Sequence[Shown]
) -> tuple["Content", "GenerateContentConfig"]:
    """What the SDK sends; it is loaded here."""
    from google.genai.types import (
        AutomaticFunctionCallingConfig,
        Content,
        GenerateContentConfig,
        ImageConfig,
        Part,
    )

    parts = [Part.from_text(text=words), *(Part.from_bytes(data=p.data, mime_type=p.mime) for p in pictures)]
    # The lite model refuses the parameter, having one image size only.
    several = len(wire(model).image_sizes) > 1
    config = GenerateContentConfig(
        response_modalities=["TEXT", "IMAGE"],
        image_config=ImageConfig(aspect_ratio=shape.ratio, image_size=shape.image_size if several else None),
        max_output_tokens=output_cap(model, shape),
        # Each would call again by itself, and be billed again.
        automatic_continuation=False,
        automatic_function_calling=AutomaticFunctionCallingConfig(disable=True),
        # The SDK's reading drops what it does not know, finish reasons among it.
        should_return_http_response=True,
    )
    return Content(role="user", parts=parts), config


class KeepingClient(httpx.AsyncClient):
    """Sends by another client, and keeps the answer as it came, or as much of it as came: the SDK hands on only what is
    whole, as text, and takes no success but 200 for one."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        # Without the other's constructor: nothing of its own is ever opened.
        self._http = http
        self.answer: httpx.Response | None = None
        self.body: Body | None = None

    async def request(self, *args: Any, **kwargs: Any) -> httpx.Response:
        async with self._http.stream(*args, **kwargs) as self.answer:
            self.body = await read_body(self.answer)
            headers, request = self.answer.headers, self.answer.request
            if self.answer.is_success:
                return httpx.Response(200, headers=headers, request=request)
            return httpx.Response(self.answer.status_code, headers=headers, content=self.body.data, request=request)


def _client(env: Env, http: KeepingClient) -> "Client":
    """A client that sends through our own HTTP client and reads no variable of the SDK's."""
    from google.genai import Client
    from google.genai.types import HttpOptions

    # It makes clients beside ours, which nobody uses: a context that trusts nobody spares them 40 ms of certificates.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options = HttpOptions(
        base_url=env.AI.keys.get("GOOGLE_GEMINI_BASE_URL", BASE_URL),
        api_version=API_VERSION,
        # Milliseconds, for connecting and for each read: just before the deadline of the whole call, so that a
        # connection that was never made is told from an answer that never came.
        timeout=math.ceil(env.settings.vendor_seconds * 990),
        httpx_async_client=http,
        client_args={"verify": nobody, "trust_env": False},
        async_client_args={"ssl": nobody},
    )
    return Client(vertexai=False, api_key=env.AI.keys["GEMINI_API_KEY"], http_options=options)
