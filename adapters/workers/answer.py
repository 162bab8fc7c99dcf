"""What an answer of Workers AI means: an image, the vendor's no, or one of the ways in which there is none."""

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from adapters.http_failures import GAVE_UP, gave_up, request_id_of, retry_after
from adapters.image_type import mime_of
from tools.errors import Refused, Unavailable, VendorError, VendorFailed

QUOTA = {3036, 4006}
"""The day's free neurons are spent: documented, and as the vendor says it."""
CAPACITY, MODERATED = 3040, 3030
TIMEOUTS = {3007, 3008}
CLOSED = {3023, 3041, 5016, 5018, 5035}
"""The account may not use the model: blocked, private, licence not accepted, closed, not in its plan."""
NOT_MODERATION = ("input is not valid", "missing required")
"""Words of a 3030 that is about the form of the request: that code serves both."""


class Made(msgspec.Struct, frozen=True):
    image: bytes | None = None
    """Base64 on the wire."""


class Fault(msgspec.Struct, frozen=True):
    code: int = 0
    message: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    result: Made | None = None
    errors: list[Fault] | None = None


class Signals(TypedDict):
    """The vendor's own words, for the ledger and the log."""

    provider_code: str | None
    provider_status: int
    request_id: str | None


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


NOTHING = Envelope()
"""What a body says that is not the vendor's JSON."""


def request_id(headers: Mapping[str, str]) -> str | None:
    """The inference's id; an answer of the edge has only the ray."""
    return request_id_of(headers, "cf-ai-req-id", "cf-ray")


def image_of(answer: Answer) -> tuple[bytes, str]:
    """The image and its type by its first bytes, whatever Content-Type says.

    Fails: what `failure` gives · VendorFailed when there is no image, or what is there is none.
    """
    said = _read(answer.body)
    data = said.result.image if said.result else None
    for image in (answer.body, data or b""):
        if answer.status == 200 and (mime := mime_of(image)):
            return image, mime
    if answer.status != 200 or said.errors:
        raise failure(answer, said.errors or [])
    if data or (answer.body and said is NOTHING):
        raise VendorFailed("the provider's answer is no image", failure="invalid", **_signals(answer, Fault()))
    raise VendorFailed("the provider answered without an image", failure="empty", **_signals(answer, Fault()))


def _read(body: bytes) -> Envelope:
    try:
        return msgspec.json.decode(body, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOTHING


def failure(answer: Answer, faults: list[Fault]) -> VendorError:
    """The error of an answer that says why there is no image: by the vendor's code where it means something, else by
    the status.
    """
    fault, wait = faults[0] if faults else Fault(), retry_after(answer.headers)
    code, status, signals = fault.code, answer.status, _signals(answer, fault)
    if code in QUOTA:
        return VendorFailed("the provider's quota for today is used up", failure="quota", **signals)
    if code == CAPACITY:
        return Unavailable("the provider has no capacity for this model now", retry_after=wait, **signals)
    if code in TIMEOUTS or status in GAVE_UP:
        return gave_up("the provider", **signals)
    if code == MODERATED and not any(words in (fault.message or "").lower() for words in NOT_MODERATION):
        return Refused("the provider refused this request", **signals)
    if code in CLOSED:
        return VendorFailed("the provider does not let our account use this model", failure="invalid", **signals)
    if status in (401, 403):
        return VendorFailed("the provider did not accept our key", failure="invalid", **signals)
    if status == 429:
        return Unavailable("the provider's rate limit was reached", failure="rate", retry_after=wait, **signals)
    if status >= 500:
        return Unavailable("the provider is out of order", retry_after=wait, **signals)
    return VendorFailed("the provider says that our request is wrong", failure="invalid", **signals)


def _signals(answer: Answer, fault: Fault) -> Signals:
    return {
        "provider_code": str(fault.code) if fault.code else None,
        "provider_status": answer.status,
        "request_id": request_id(answer.headers),
    }
