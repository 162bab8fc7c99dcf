"""What OpenAI's answers mean: a picture and its bill, a no, or nothing usable."""

import base64
import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from adapters.http_failures import Cause, code_of, failure, lost, plain_id, request_id_of, retry_after
from adapters.image_type import mime_of
from adapters.openai.request import PARTIALS, Plan, text
from adapters.provider import OnProgress, ProviderResult
from tools.errors import VendorError, VendorFailed
from tools.models.catalog import Units

if TYPE_CHECKING:
    from openai import AsyncStream

NAME = "OpenAI"
LAST_PREVIEW_FRACTION = 0.9
USER_ERROR = "image_generation_user_error"
"""The type of every fault of a request; it means a refusal only where there is no code beside it."""
CAUSES: dict[str, Cause] = {
    "moderation_blocked": "refused",
    "content_policy_violation": "refused",
    USER_ERROR: "refused",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "credit_balance_exhausted": "quota",
    "organization_spend_limit_exceeded": "quota",
    "organization_usage_limit_exceeded": "quota",
    "project_spend_limit_exceeded": "quota",
    "rate_limit_exceeded": "rate",
    "rate_limit_error": "rate",
    "slow_down": "rate",
    "server_error": "outage",
    "internal_error": "outage",
    "server_is_overloaded": "outage",
}
"""What the vendor's codes and types mean."""
WORD = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""How an answer names the size, quality or background of its picture."""


class Tokens(msgspec.Struct, frozen=True):
    text_tokens: int
    image_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """What the vendor says it counted; without details nobody knows what of it was text."""

    output_tokens: int
    input_tokens_details: Tokens | None = None
    output_tokens_details: Tokens | None = None


class Picture(msgspec.Struct, frozen=True):
    """An event of the stream, or one of `data`. An `object` may be anything: no picture is lost over it."""

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
    """How an error names itself."""

    code: str | None = None
    type: str | None = None


@dataclasses.dataclass
class Known:
    """What is known of a call so far."""

    request_id: str | None = None


async def read_stream(stream: "AsyncStream[Any]", known: Known, on_progress: OnProgress) -> Picture:
    """The completed picture; previews are handed to `on_progress`, and whatever is no event is passed over.

    Fails: VendorFailed (`invalid`) when nothing but that came.
    """
    from openai import BaseModel

    known.request_id = request_id_of(stream.response.headers, "x-request-id")
    if "json" in stream.response.headers.get("content-type", "") or not hasattr(stream, "__aiter__"):
        # Some servers that speak this API do not stream: they answer in one piece, and are paid for it.
        return _read_whole(await stream.response.aread())
    shown, unreadable = 0, False
    async for event in stream:
        try:
            if not isinstance(event, BaseModel):
                raise msgspec.ValidationError("no event")
            picture = msgspec.convert(event.to_dict(warnings=False), Picture)
        except msgspec.ValidationError:
            unreadable = True
            continue
        if picture.type.endswith(".completed"):
            return picture
        if picture.type.endswith(".partial_image"):
            shown = min(shown + 1, PARTIALS)
            preview: bytes | None = None
            # A preview that is broken is no reason to let go of the picture.
            with contextlib.suppress(VendorFailed):
                preview, _ = _image(picture)
            await on_progress(LAST_PREVIEW_FRACTION * shown / PARTIALS, preview_bytes=preview)
    if unreadable:
        raise VendorFailed(f"{NAME} answered with something that cannot be read", failure="invalid")
    return Picture()


def _read_whole(body: bytes) -> Picture:
    """Fails: what an error in place of a picture means, for some servers answer 200 with one."""
    answer = msgspec.json.decode(body, type=Whole)
    if answer.error and not answer.data:
        raise _failure(answer.error, status=200)
    return Picture(
        b64_json=answer.data[0].b64_json if answer.data else None,
        size=answer.size,
        quality=answer.quality,
        background=answer.background,
        usage=answer.usage,
    )


def _image(picture: Picture) -> tuple[bytes, str]:
    """The bytes and their type. Fails: VendorFailed, `empty` without an image and `invalid` with something else."""
    if not picture.b64_json:
        raise VendorFailed(f"{NAME} answered without an image", failure="empty")
    try:
        data = base64.b64decode(picture.b64_json, validate=True)
    except ValueError as error:
        raise VendorFailed(f"{NAME} answered with something that is no image", failure="invalid") from error
    if (mime := mime_of(data)) is None:
        raise VendorFailed(f"{NAME} answered with something that is no image", failure="invalid")
    return data, mime


def result_of(asked: Plan, picture: Picture, known: Known) -> ProviderResult:
    """The picture with its bill, and where it deviates from what was asked for.

    Fails: VendorFailed when there is no image in the answer.
    """
    try:
        data, mime = _image(picture)
    except VendorFailed as error:
        error.provider_status, error.request_id = 200, known.request_id
        raise
    size, quality, background = (
        value if isinstance(value, str) and WORD.fullmatch(value) else None
        for value in (picture.size, picture.quality, picture.background)
    )
    adjustments = list(asked.adjustments)
    if asked.size and size not in (None, "auto", text(asked.size)):
        adjustments.append(f"{NAME} made {size} where {text(asked.size)} was asked for")
    if asked.quality and quality not in (None, "auto", asked.quality):
        adjustments.append(f"{NAME} used quality {quality} where {asked.quality} was asked for")
    return ProviderResult(
        data=data,
        mime=mime,
        provider_meta={"model": asked.model.id, "size": size, "quality": quality, "background": background},
        usage=picture.usage if isinstance(picture.usage, dict) else {},
        units=_units(picture.usage),
        adjustments=adjustments,
        request_id=known.request_id,
    )


def _units(usage: object) -> Units:
    """Empty when the answer does not tell its tokens by kind."""
    try:
        counted = msgspec.convert(usage, Usage)
    except msgspec.ValidationError:
        return {}
    if counted.input_tokens_details is None:
        return {}
    thought = counted.output_tokens_details.text_tokens if counted.output_tokens_details else 0
    return {
        "text_input": counted.input_tokens_details.text_tokens,
        "image_input": counted.input_tokens_details.image_tokens,
        "image_output": counted.output_tokens - thought,
        "text_output": thought,
    }


@contextlib.contextmanager
def translated(known: Known) -> Iterator[None]:
    """The SDK's errors as ours, each with the call's request id where one is known."""
    from openai import APIConnectionError, APIError, APIStatusError

    try:
        try:
            yield
        except APIConnectionError as error:
            raise lost(error, NAME) from error
        except APIStatusError as error:
            fault = {"code": error.code, "type": error.type}
            wait = retry_after(error.response.headers)
            raise _failure(fault, error.status_code, wait, plain_id(error.request_id)) from error
        except APIError as error:
            # It came inside a stream and has no status: its code alone speaks.
            raise _failure({"code": error.code, "type": error.type}) from error
        except httpx.HTTPError as error:
            # Reading a body outside the stream, the SDK lets these through.
            raise lost(error, NAME) from error
        except (json.JSONDecodeError, UnicodeDecodeError, msgspec.DecodeError) as error:
            raise VendorFailed(f"{NAME} answered with something that cannot be read", failure="invalid") from error
    except VendorError as error:
        error.request_id = error.request_id or known.request_id
        raise


def _failure(
    error: object, status: int | None = None, wait: float | None = None, request_id: str | None = None
) -> VendorError:
    try:
        fault = msgspec.convert(error, Fault)
    except msgspec.ValidationError:
        fault = Fault()
    names = [fault.code, None if fault.type == USER_ERROR and fault.code else fault.type]
    named = next((CAUSES[name] for name in names if name in CAUSES), None)
    code = code_of(fault.code or fault.type)
    return failure(NAME, status, named, retry_after=wait, provider_code=code, request_id=request_id)
