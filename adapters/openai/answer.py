"""What OpenAI's answers mean: a picture and its bill, a no, or nothing usable."""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, ParamSpec, TypeVar

import httpx
import msgspec

from adapters.answer_documents import EVENT_END, Event, read_documents, read_event
from adapters.answer_images import UNKNOWN, Found, arriving, find_image, find_mentioned
from adapters.http_failures import Cause, code_of, failure, lost, openai_code, plain_id, request_id_of, retry_after
from adapters.openai.request import PARTIALS, Plan, text
from adapters.provider import OnProgress, ProviderResult
from tools.errors import VendorError, VendorFailed
from tools.media.signatures import mime_of
from tools.models.catalog import Units

P = ParamSpec("P")
T = TypeVar("T")
NAME = "OpenAI"
LIGHT_BYTES = 64 << 10
"""So much is read on the event loop."""
LAST_PREVIEW_FRACTION = 0.9
USER_ERROR = "image_generation_user_error"
"""The type of every fault of a request; it means a refusal only where there is no code beside it."""
CAUSES: dict[str, Cause] = {
    "moderation_blocked": "refused",
    "content_policy_violation": "refused",
    # Azure's.
    "content_filter": "refused",
    "contentFilter": "refused",
    "ResponsibleAIPolicyViolation": "refused",
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
START_BYTES = 64
WHOLE = re.compile(rb'(?:\xef\xbb\xbf)?[\r\n\t ]*[{\["]')
"""How JSON begins; no line of a stream does."""
WORD = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""How an answer names the size, quality or background of its picture."""


class Tokens(msgspec.Struct, frozen=True):
    text_tokens: int
    image_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """What the vendor says it counted; without details nobody knows what of it was text."""

    output_tokens: int = 0
    input_tokens: int = 0
    input_tokens_details: Tokens | None = None
    output_tokens_details: Tokens | None = None


class Said(msgspec.Struct, frozen=True):
    """What an answer, or the event with the picture, says of it. An `object` may be anything: no picture is lost over
    it."""

    size: object = None
    quality: object = None
    background: object = None
    usage: object = None


class Picture(NamedTuple):
    """What an answer came to; without an image it had none."""

    image: Found | None
    said: Said = Said()


class Fault(msgspec.Struct, frozen=True):
    """How an error names itself."""

    code: str | int | None = None
    type: str | None = None
    message: object = None


@dataclasses.dataclass
class Known:
    """What is known of a call so far."""

    request_id: str | None = None
    body: bytes = b""
    """The answer, where no picture was found while it was read."""


async def read_answer(response: httpx.Response, base_url: str, known: Known, on_progress: OnProgress) -> Picture:
    """The picture of an answer, a stream of events or in one piece, whatever type is declared; previews are handed to
    `on_progress`, and whatever is no event of ours is passed over.

    Fails: what an error in place of a picture means · httpx.HTTPError when the connection breaks before it is whole.
    """
    known.request_id = request_id_of(response.headers, "x-request-id")
    body, start, searched, shown = bytearray(), 0, 0, 0
    arriving.set(body)
    fault: VendorError | None = None
    try:
        async for piece in response.aiter_bytes():
            body += piece
            # In one piece, it begins as JSON or as an image.
            if len(body) < START_BYTES or WHOLE.match(body) or mime_of(bytes(body[:START_BYTES])):
                continue
            while end := EVENT_END.search(body, max(start, searched - 3)):
                event, begun = read_event(bytes(body[start : end.start()])), start
                start = searched = end.end()
                kind = ""
                picture: Picture | None = None
                try:
                    kind, picture = await _off_the_loop(event.data, _of_event, event, base_url)
                except VendorError as error:
                    # Final only when no later event brings the picture.
                    fault = fault or error
                if picture and picture.image and kind.endswith(".completed"):
                    return picture
                if kind.endswith(".partial_image"):
                    shown = min(shown + 1, PARTIALS)
                    # A preview that is broken is no reason to let go of the picture.
                    image = picture.image if picture else None
                    preview = image.data if image and image.mime != UNKNOWN and not image.addresses else None
                    await on_progress(LAST_PREVIEW_FRACTION * shown / PARTIALS, preview_bytes=preview)
                    del end, body[begun:start]
                    start = searched = begun
            searched = len(body)
    except httpx.HTTPError:
        # Cut off, but perhaps only behind the picture.
        known.body = bytes(body)
        try:
            cut = await _off_the_loop(known.body, read_whole, known.body, base_url, is_cut=True)
        except VendorError as error:
            raise (fault or error) from None
        if not cut.image and not fault:
            raise
        return _or_fault(cut, fault)
    known.body = bytes(body)
    body.clear()
    try:
        picture = await _off_the_loop(known.body, read_whole, known.body, base_url)
    except VendorError as error:
        raise (fault or error) from None
    return _or_fault(picture, fault)


async def _off_the_loop(data: bytes, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What is read of data, on a thread when it is much."""
    return await asyncio.to_thread(read, *args, **kwargs) if len(data) > LIGHT_BYTES else read(*args, **kwargs)


def _or_fault(picture: Picture, fault: VendorError | None) -> Picture:
    """Fails: `fault`, what an event said, where there is no picture."""
    if fault and picture.image is None:
        raise fault
    return picture


def _of_event(event: Event, base_url: str) -> tuple[str, Picture | None]:
    """The event's kind, and its picture when its data can be read. Fails: what an error in place of a picture means."""
    try:
        said = msgspec.json.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event.name, None
    if not isinstance(said, dict):
        return event.name, None
    kind = said["type"] if isinstance(said.get("type"), str) else event.name
    image = find_image(event.data, [said], [said.get("b64_json"), said.get("url")], base_url)
    if image is None and (said.get("error") or "error" in (kind, event.name)):
        raise _failure(said.get("error") or said, status=200)
    return kind, Picture(image, msgspec.convert(said, Said))


def read_whole(body: bytes, base_url: str, *, is_cut: bool = False) -> Picture:
    """The picture of an answer in one piece, or of what came of a stream.

    Fails: what an error in place of a picture means, for some servers answer 200 with one.
    """
    documents = read_documents(body)
    answers = [answer for answer in documents or [] if isinstance(answer, dict)]
    listed = [answer.get("data") for answer in answers]
    entries = [entry for data in listed for entry in (data if isinstance(data, list) else [data])]
    places = [*answers, *(entry for entry in entries if isinstance(entry, dict))]
    documented = [place.get(name) for name in ("b64_json", "url") for place in places]
    image = find_image(body, documents, documented, base_url, is_cut=is_cut)
    error = next((answer["error"] for answer in answers if answer.get("error")), None)
    said = next((msgspec.convert(answer, Said) for answer in reversed(answers)), Said())
    if error and image is None:
        ended = _failure(error, status=200)
        ended.units = _units(said.usage)
        raise ended
    if image is None and not is_cut:
        image = find_mentioned(body, documents, base_url)
    return Picture(image, said)


def result_of(asked: Plan, picture: Picture, known: Known) -> ProviderResult:
    """The picture with its bill, and where it deviates from what was asked for.

    Fails: VendorFailed (`empty`) when there is no image in the answer.
    """
    if picture.image is None:
        message = f"{NAME} answered without an image"
        error = VendorFailed(message, failure="empty", provider_status=200, request_id=known.request_id)
        error.units = _units(picture.said.usage)
        raise error
    said, usage = picture.said, picture.said.usage
    size, quality, background = (
        value if isinstance(value, str) and WORD.fullmatch(value) else None
        for value in (said.size, said.quality, said.background)
    )
    adjustments = list(asked.adjustments)
    if asked.size and size not in (None, "auto", text(asked.size)):
        adjustments.append(f"{NAME} made {size} where {text(asked.size)} was asked for")
    if asked.quality and quality not in (None, "auto", asked.quality):
        adjustments.append(f"{NAME} used quality {quality} where {asked.quality} was asked for")
    return ProviderResult(
        data=picture.image.data,
        mime=picture.image.mime,
        addresses=picture.image.addresses,
        provider_meta={"model": asked.model.id, "size": size, "quality": quality, "background": background},
        usage=usage if isinstance(usage, dict) else {},
        units=_units(usage),
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
        # Nothing that is put in costs more than an image's token; what is put out may be an image.
        return {"image_input": counted.input_tokens} if counted.input_tokens and not counted.output_tokens else {}
    thought = counted.output_tokens_details.text_tokens if counted.output_tokens_details else 0
    return {
        "text_input": counted.input_tokens_details.text_tokens,
        "image_input": counted.input_tokens_details.image_tokens,
        "image_output": counted.output_tokens - thought,
        "text_output": thought,
    }


@contextlib.contextmanager
def translated(known: Known) -> Iterator[None]:
    """The SDK's errors as ours, each with what is known of the call."""
    from openai import APIConnectionError, APIStatusError

    try:
        try:
            yield
        except APIConnectionError as error:
            raise lost(error, NAME) from error
        except APIStatusError as error:
            fault = {"code": error.code, "type": error.type, "message": error.message}
            wait = retry_after(error.response.headers)
            raise _failure(fault, error.status_code, wait, plain_id(error.request_id)) from error
        except httpx.HTTPError as error:
            # Of reading a body that the SDK does not read.
            raise lost(error, NAME) from error
    except VendorError as error:
        error.request_id = error.request_id or known.request_id
        error.body = known.body
        raise


def _failure(
    error: object, status: int | None = None, wait: float | None = None, request_id: str | None = None
) -> VendorError:
    try:
        fault = msgspec.convert(error, Fault)
    except msgspec.ValidationError:
        fault = Fault()
    said = openai_code(fault.code, status, fault.message)
    names = [said, None if fault.type == USER_ERROR and said else fault.type]
    named = next((CAUSES[name] for name in names if name in CAUSES), None)
    code = code_of(said or fault.type)
    return failure(NAME, status, named, retry_after=wait, provider_code=code, request_id=request_id)
