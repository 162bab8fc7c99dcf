"""What an answer of Workers AI means: an image, the vendor's no, or one of the ways in which there is none."""

from collections.abc import Mapping

import httpx
import msgspec

from adapters.answer_documents import read_documents
from adapters.answer_images import Found, find_image, find_mentioned
from adapters.http_failures import Cause, failure, lost, request_id_of, retry_after
from tools.errors import VendorFailed

NAME = "the provider"
VENDOR = "Workers AI"
CAUSES: dict[int, Cause] = {
    # The day's free neurons are spent: as it is documented, and as the vendor sends it.
    3036: "quota",
    4006: "quota",
    # No capacity.
    3040: "outage",
    3007: "gave_up",
    3008: "gave_up",
    3030: "refused",
    # Blocked, private, licence not accepted, closed, not in the account's plan.
    3023: "account",
    3041: "account",
    5016: "account",
    5018: "account",
    5035: "account",
}
"""What the vendor's codes mean."""
MODERATED = 3030
NOT_MODERATION = ("input is not valid", "missing required")
"""Words of a 3030 that is about the form of the request: that code serves both."""


class Made(msgspec.Struct, frozen=True):
    image: object = None
    """Base64 on the wire."""


class Fault(msgspec.Struct, frozen=True):
    code: int = 0
    message: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    result: Made | str | None = None
    errors: list[Fault] | None = None


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: httpx.HTTPError | None = None
    """What broke it off before its end."""


def request_id(headers: Mapping[str, str]) -> str | None:
    """The inference's id; an answer of the edge has only the ray."""
    return request_id_of(headers, "cf-ai-req-id", "cf-ray")


def image_of(answer: Answer, base_url: str) -> Found:
    """The image, or what stands in its place, whatever Content-Type says.

    Fails: what the vendor's code means or, without one, the status · VendorFailed (`empty`) when there is nothing ·
    Uncertain when there is nothing yet in an answer that was cut off.
    """
    documents = read_documents(answer.body)
    read = next((found for value in documents or [] if (found := _envelope(value)) is not None), Envelope())
    if 200 <= answer.status < 300:
        result = read.result.image if isinstance(read.result, Made) else read.result
        is_cut = answer.cut is not None
        if image := find_image(answer.body, documents, [result] if result else [], base_url, is_cut=is_cut):
            return image
    call = request_id(answer.headers)
    if not 200 <= answer.status < 300 or read.errors:
        fault = read.errors[0] if read.errors else Fault()
        named = CAUSES.get(fault.code)
        if fault.code == MODERATED and any(words in (fault.message or "").lower() for words in NOT_MODERATION):
            named = None
        if named is None and 200 <= answer.status < 300:
            named = "request"
        raise failure(
            NAME,
            answer.status,
            named,
            retry_after=retry_after(answer.headers),
            provider_code=str(fault.code) if fault.code else None,
            request_id=call,
        )
    if answer.cut:
        raise lost(answer.cut, VENDOR, call) from answer.cut
    if image := find_mentioned(answer.body, documents, base_url):
        return image
    message = "the provider answered without an image"
    raise VendorFailed(message, failure="empty", provider_status=200, request_id=call)


def _envelope(value: object) -> Envelope | None:
    try:
        return msgspec.convert(value, Envelope)
    except msgspec.ValidationError:
        return None
