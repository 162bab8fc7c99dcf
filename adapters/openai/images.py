"""OpenAI's image models, by the SDK: `images.generate` and `images.edit`, streamed for their previews.

Everything per model stands in `models.toml`; what becomes of an op in `openai_plan.py`.
"""

import asyncio
import base64
import contextlib
import importlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

import httpx
import msgspec

from adapters.http_failures import GAVE_UP, code_of, gave_up, lost, plain_id, request_id_of, retry_after
from adapters.image_type import mime_of
from adapters.openai.request import LONGEST_SIDE, PARTIALS, Plan, meter, offered, plan, text
from adapters.provider import Capability, ImageOp, ImageOpKind, InputImage, OnProgress, ProviderResult
from tools.env import Env
from tools.errors import Invalid, Refused, Unavailable, VendorError, VendorFailed
from tools.media.framing import extend, masked, plain
from tools.media.sandbox import in_child
from tools.media.sizes import same_shape
from tools.models.catalog import Units

if TYPE_CHECKING:
    # Half a second that a process without a key need not pay.
    from openai import APIError, AsyncOpenAI, AsyncStream

NAME = "OpenAI"
BASE_URL = "https://api.openai.com/v1"
MOST_BYTES = 50_000_000
CHILD_SECONDS = 60.0
SENT_FRACTION, LAST_PREVIEW_FRACTION = 0.05, 0.9

REFUSED = frozenset({"moderation_blocked", "content_policy_violation"})
USER_ERROR = "image_generation_user_error"
"""The type of every fault of a request; with a code of its own it is no refusal but a fault of ours."""
QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    }
)
RATE = frozenset({"rate_limit_exceeded", "rate_limit_error", "slow_down"})
OUTAGE = frozenset({"server_error", "internal_error", "server_is_overloaded"})
NOTES: dict[ImageOpKind, list[str]] = {
    "generate": ["with reference images, by the edit endpoint"],
    "inpaint": ["the mask guides the model: what lies just outside it may change too"],
    "outpaint": ["by the edit endpoint, on a larger canvas whose new part is masked"],
    "variation": ["by the edit endpoint: OpenAI no longer makes variations"],
}

Quality = Literal["low", "medium", "high", "xhigh", "max"]
File = tuple[str, bytes, str]
"""A file of a multipart body: name, bytes, type."""
WORD = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""How an answer says the size, quality or background of its picture."""


class Tokens(msgspec.Struct, frozen=True):
    text_tokens: int
    image_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """What the vendor says it counted; without details nobody knows what of it was text."""

    output_tokens: int
    input_tokens_details: Tokens | None = None
    output_tokens_details: Tokens | None = None


class Picture(msgspec.Struct, frozen=True):
    """What an event of the stream, or one of `data`, may say. Of any form is what no picture is thrown away for."""

    type: str = ""
    b64_json: str | None = None
    size: object = None
    quality: object = None
    background: object = None
    usage: object = None


class Whole(msgspec.Struct, frozen=True):
    """An answer that was not streamed."""

    data: list[Picture] | None = None
    size: object = None
    quality: object = None
    background: object = None
    usage: object = None
    error: object = None


class Fault(msgspec.Struct, frozen=True):
    """What an error calls itself."""

    code: str | None = None
    type: str | None = None


class Sent(msgspec.Struct, frozen=True):
    """The files of an edit; none for a picture made from words alone."""

    images: list[File] = []
    mask: File | None = None


class Heard(msgspec.Struct):
    """What is known of a call so far."""

    request_id: str | None = None


class OpenAI:
    id = "openai"
    free = False
    needs: tuple[str, ...] = ("OPENAI_API_KEY",)

    def supports(self, kind: ImageOpKind, model: str | None = None) -> bool:
        return any(kind in known.kinds and model in (None, known.id) for known in offered())

    def capabilities(self) -> list[Capability]:
        return [
            Capability(
                kind=kind,
                model=model.id,
                sizes=model.sizes,
                any_size=model.any_size is not None,
                qualities=model.qualities,
                max_references=model.references,
                seed=model.seed,
                negative_prompt=model.negative_prompt,
                notes=NOTES.get(kind, []),
            )
            for model in offered()
            for kind in model.kinds
        ]

    def adjustments(self, op: ImageOp) -> list[str]:
        return plan(op).adjustments

    def meter(self, op: ImageOp) -> tuple[Units, Units]:
        return meter(op)

    async def run(self, op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
        """Make the one call.

        Fails: what the contract says; Invalid when an image the kind works from is missing, its mask has another
        shape, or it cannot be read.
        """
        wanted = plan(op)
        sent = await _sent(op, wanted)
        await asyncio.to_thread(importlib.import_module, "openai")
        await on_progress(SENT_FRACTION)
        heard = Heard()
        with _translated(heard):
            async with await _ask(_client(env), wanted, sent) as stream:
                heard.request_id = request_id_of(stream.response.headers, "x-request-id")
                picture = await _listen(stream, on_progress)
        return _result(wanted, picture, heard.request_id)


adapter = OpenAI()


async def _sent(op: ImageOp, wanted: Plan) -> Sent:
    """The files as the vendor takes them, worked on in the image child."""
    references = [_file(f"reference-{i}", await _plain(image)) for i, image in enumerate(wanted.references)]
    if op.kind == "generate":
        return Sent(references)
    if op.start_image is None:
        raise Invalid(f"{op.kind} needs a start image", code="start_image_missing")
    if op.kind == "inpaint":
        framed = await in_child(masked, op.start_image.data, _mask(op), LONGEST_SIDE, seconds=CHILD_SECONDS)
    elif wanted.inner and wanted.size:
        framed = await in_child(extend, op.start_image.data, *wanted.size, wanted.inner, seconds=CHILD_SECONDS)
    else:
        return Sent([_file("start", await _plain(op.start_image)), *references])
    return Sent([_file("start", framed.canvas), *references], _file("mask", framed.mask))


def _mask(op: ImageOp) -> bytes:
    mask, start = op.mask, op.start_image
    if mask is None or start is None:
        raise Invalid("inpaint needs a mask: transparent or white where the image is to change", code="mask_missing")
    if not same_shape((mask.width, mask.height), (start.width, start.height)):
        raise Invalid(
            f"the mask is {mask.width}x{mask.height} but the start image {start.width}x{start.height}: "
            "they must have one shape",
            code="mask_size",
        )
    return mask.data


async def _plain(image: InputImage) -> bytes:
    return await in_child(plain, image.data, LONGEST_SIDE, MOST_BYTES, seconds=CHILD_SECONDS)


def _file(name: str, data: bytes) -> File:
    mime = _mime(data)
    return f"{name}.{mime.removeprefix('image/')}", data, mime


def _mime(data: bytes) -> str:
    """Fails: VendorFailed (`invalid`) when these are not the bytes of an image."""
    mime = mime_of(data)
    if mime is None:
        raise VendorFailed(f"{NAME} answered with something that is no image", failure="invalid")
    return mime


def _client(env: Env) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    keys = env.AI.keys
    return AsyncOpenAI(
        api_key=keys["OPENAI_API_KEY"],
        base_url=keys.get("OPENAI_BASE_URL", BASE_URL),
        max_retries=0,
        # Typed for httpx2 alone, but it takes a client of httpx as well.
        http_client=cast(Any, env.AI.http),
    )


async def _ask(client: "AsyncOpenAI", wanted: Plan, sent: Sent) -> "AsyncStream[Any]":
    from openai import omit

    assert wanted.size is not None, "only an op without its start image has no size, and _sent refuses that"
    size, quality = text(wanted.size), cast(Quality, wanted.quality)
    if not sent.images:
        return await client.images.generate(
            model=wanted.model.id,
            prompt=wanted.prompt,
            size=size,
            quality=quality,
            output_format="png",
            partial_images=PARTIALS,
            stream=True,
        )
    return await client.images.edit(
        model=wanted.model.id,
        prompt=wanted.prompt,
        image=sent.images,
        mask=sent.mask or omit,
        input_fidelity=wanted.facts.input_fidelity or omit,
        size=size,
        quality=quality,
        output_format="png",
        partial_images=PARTIALS,
        stream=True,
    )


async def _listen(stream: "AsyncStream[Any]", on_progress: OnProgress) -> Picture:
    """The completed picture; previews are told on the way, and what is no event is passed over.

    Fails: VendorFailed (`invalid`) when nothing but that came.
    """
    if "json" in stream.response.headers.get("content-type", ""):
        # Some servers that speak this API do not stream: they say it all at once, and are paid for it.
        return _whole(await stream.response.aread())
    shown, strange = 0, False
    async for event in stream:
        picture = _event(event)
        strange |= picture is None
        if picture is None:
            continue
        if picture.type.endswith(".completed"):
            return picture
        if picture.type.endswith(".partial_image"):
            shown = min(shown + 1, PARTIALS)
            await on_progress(LAST_PREVIEW_FRACTION * shown / PARTIALS, preview_bytes=_preview(picture))
    if strange:
        raise VendorFailed(f"{NAME} answered with something that cannot be read", failure="invalid")
    return Picture()


def _event(said: object) -> Picture | None:
    """What one event of the stream says; None when it is none."""
    from openai import BaseModel

    if not isinstance(said, BaseModel):
        return None
    try:
        return msgspec.convert(said.to_dict(warnings=False), Picture)
    except msgspec.ValidationError:
        return None


def _whole(body: bytes) -> Picture:
    """Fails: what an error in place of a picture means, for some servers answer 200 with one."""
    answer = msgspec.json.decode(body, type=Whole)
    if answer.error and not answer.data:
        raise _meaning(_fault(answer.error), status=200)
    return Picture(
        b64_json=answer.data[0].b64_json if answer.data else None,
        size=answer.size,
        quality=answer.quality,
        background=answer.background,
        usage=answer.usage,
    )


def _preview(picture: Picture) -> bytes | None:
    """A preview that is broken is no reason to let go of the picture."""
    try:
        return _bytes(picture)
    except VendorFailed:
        return None


def _bytes(picture: Picture) -> bytes:
    """Fails: VendorFailed, `empty` without an image and `invalid` with something else."""
    if not picture.b64_json:
        raise VendorFailed(f"{NAME} answered without an image", failure="empty")
    try:
        data = base64.b64decode(picture.b64_json, validate=True)
    except ValueError as error:
        raise VendorFailed(f"{NAME} answered with something that is no image", failure="invalid") from error
    _mime(data)
    return data


def _result(wanted: Plan, picture: Picture, request_id: str | None) -> ProviderResult:
    try:
        data = _bytes(picture)
    except VendorFailed as error:
        error.provider_status, error.request_id = 200, request_id
        raise
    return ProviderResult(
        data=data,
        mime=_mime(data),
        provider_meta={
            "model": wanted.model.id,
            "size": _word(picture.size),
            "quality": _word(picture.quality),
            "background": _word(picture.background),
        },
        usage=picture.usage if isinstance(picture.usage, dict) else {},
        units=_units(picture.usage),
        adjustments=[*wanted.adjustments, *_deviations(wanted, picture)],
        request_id=request_id,
    )


def _deviations(wanted: Plan, picture: Picture) -> Iterator[str]:
    """What the answer says it is, other than what was asked for."""
    size, quality = _word(picture.size), _word(picture.quality)
    if wanted.size and size not in (None, "auto", text(wanted.size)):
        yield f"{NAME} made {size} where {text(wanted.size)} was asked for"
    if quality not in (None, "auto", wanted.quality):
        yield f"{NAME} used quality {quality} where {wanted.quality} was asked for"


def _word(said: object) -> str | None:
    return said if isinstance(said, str) and WORD.fullmatch(said) else None


def _units(usage: object) -> Units:
    """Empty when the answer does not tell its tokens by kind."""
    try:
        told = msgspec.convert(usage, Usage)
    except msgspec.ValidationError:
        return {}
    if told.input_tokens_details is None:
        return {}
    thought = told.output_tokens_details.text_tokens if told.output_tokens_details else 0
    return {
        "text_input": told.input_tokens_details.text_tokens,
        "image_input": told.input_tokens_details.image_tokens,
        "image_output": told.output_tokens - thought,
        "text_output": thought,
    }


@contextlib.contextmanager
def _translated(heard: Heard) -> Iterator[None]:
    """The SDK's errors as ours."""
    from openai import APIConnectionError, APIError

    try:
        yield
    except VendorError as error:
        _known(error, heard)
        raise
    except APIConnectionError as error:
        raise _known(lost(_cause(error), NAME), heard) from error
    except APIError as error:
        raise _known(_failed(error), heard) from error
    except httpx.HTTPError as error:
        # Reading a body outside the stream, the SDK lets these through.
        raise _known(lost(error, NAME), heard) from error
    except (json.JSONDecodeError, UnicodeDecodeError, msgspec.DecodeError) as error:
        broken = VendorFailed(f"{NAME} answered with something that cannot be read", failure="invalid")
        raise _known(broken, heard) from error


def _cause(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error


def _known(error: VendorError, heard: Heard) -> VendorError:
    error.request_id = error.request_id or heard.request_id
    return error


def _failed(error: "APIError") -> VendorError:
    """What an answered error means; one inside a stream has no status, so its code alone speaks."""
    from openai import APIStatusError

    fault = _fault({"code": error.code, "type": error.type})
    if not isinstance(error, APIStatusError):
        return _meaning(fault)
    failed = _meaning(fault, error.status_code, retry_after(error.response.headers))
    failed.request_id = plain_id(error.request_id)
    return failed


def _fault(error: object) -> Fault:
    try:
        return msgspec.convert(error, Fault)
    except msgspec.ValidationError:
        return Fault()


def _meaning(fault: Fault, status: int | None = None, wait: float | None = None) -> VendorError:
    said = {fault.code, fault.type}
    signals: dict[str, Any] = {"provider_code": code_of(fault.code or fault.type), "provider_status": status}
    if said & REFUSED or (USER_ERROR in said and fault.code in (None, USER_ERROR)):
        return Refused(f"{NAME} refused this request", **signals)
    if said & QUOTA:
        return VendorFailed(f"the quota at {NAME} is used up", failure="quota", **signals)
    if status == 429 or said & RATE:
        return Unavailable(f"{NAME}'s rate limit was reached", failure="rate", retry_after=wait, **signals)
    if status in GAVE_UP:
        return gave_up(NAME, **signals)
    if (status or 0) >= 500 or said & OUTAGE:
        return Unavailable(f"{NAME} is out of order", failure="outage", retry_after=wait, **signals)
    if status in (401, 403):
        return VendorFailed(f"{NAME} did not accept our key", failure="invalid", **signals)
    if status in (None, 200):
        return VendorFailed(f"{NAME} broke off without an image", failure="empty", **signals)
    return VendorFailed(f"{NAME} did not accept the request", failure="invalid", **signals)
