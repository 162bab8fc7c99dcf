"""What Gemini's answers mean: a picture and its bill, a no, or nothing usable. Its blocks come as HTTP 200."""

import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import msgspec

from adapters.answer_documents import read_documents
from adapters.answer_images import Found, find_image, find_mentioned
from adapters.http_failures import Cause, cause_of_status, code_of, failure, plain_id, request_id_of, retry_after
from tools.errors import Failure, Refused, VendorError, VendorFailed
from tools.models.catalog import Units

if TYPE_CHECKING:
    from google.genai.errors import APIError

NAME = "Gemini"
REFUSALS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "PROHIBITED_CONTENT",
        "SPII",
        "BLOCKLIST",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
"""Finish reasons that name a rule. OTHER, IMAGE_OTHER, LANGUAGE, MAX_TOKENS, NO_IMAGE name none: they say that no
picture came, not that this one may not be made.
"""
DELAY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")
SPENT = re.compile(r"credits are depleted|spend(?:ing)? cap", re.IGNORECASE)
"""How a prepaid account without money is reported, in words alone."""


class Blob(msgspec.Struct, rename="camel"):
    """Bytes, or their address."""

    data: object = None
    file_uri: object = None


class Part(msgspec.Struct, rename="camel"):
    """`thought` marks drafts on the way to the picture."""

    inline_data: Blob | None = None
    file_data: Blob | None = None
    thought: bool | None = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class Count(msgspec.Struct, rename="camel"):
    modality: str
    token_count: int = 0


class Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int
    candidates_token_count: int
    candidates_tokens_details: list[Count]
    prompt_tokens_details: list[Count] = []
    thoughts_token_count: int = 0


class Violation(msgspec.Struct, rename="camel"):
    quota_id: str = ""


class Detail(msgspec.Struct, rename="camel"):
    """One of several kinds in a list: ErrorInfo has a reason, RetryInfo a delay, QuotaFailure its violations."""

    reason: str = ""
    retry_delay: str = ""
    violations: list[Violation] = []


class Fault(msgspec.Struct):
    code: int = 0
    status: str = ""
    message: str = ""
    details: list[Detail] = []


class Envelope(msgspec.Struct):
    error: Fault


class Answer(msgspec.Struct, rename="camel"):
    """What is read of an HTTP 200. A field of type `object` may hold anything: no picture is lost over it."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: object = None
    response_id: object = None
    model_version: object = None
    error: object = None
    # Not fields of the JSON:
    request_id: str | None = None
    """The answer's own id, else its header's."""
    is_readable: bool = True
    """Whether it is one of Gemini's."""
    body: bytes = b""
    is_cut: bool = False
    documents: list[object] | None = None


class Picture(NamedTuple):
    image: Found
    sent: int
    """How many pictures the answer held, drafts aside."""


def read_answer(body: bytes, headers: Mapping[str, str], *, is_cut: bool = False) -> Answer:
    """The answer, with a request id wherever one was given; of several values, as of a stream, what they say
    together. `is_cut`: the connection broke off before its end."""
    request_id, documents = request_id_of(headers, "x-request-id"), read_documents(body)
    read = []
    for document in documents or []:
        with contextlib.suppress(msgspec.ValidationError):
            read.append(msgspec.convert(document, Answer))
    answer = Answer(
        is_readable=bool(read),
        candidates=[candidate for part in read for candidate in part.candidates or []],
        body=body,
        is_cut=is_cut,
        documents=documents,
    )
    for name in ("prompt_feedback", "usage_metadata", "response_id", "model_version", "error"):
        # The last word on each: a stream counts its tokens on and on.
        setattr(answer, name, next((said for part in reversed(read) if (said := getattr(part, name))), None))
    answer.request_id = plain_id(answer.response_id) or request_id
    return answer


def picture_of(answer: Answer, base_url: str) -> Picture:
    """The picture of an answer, or what stands in its place: the last one, when there are several.

    Fails: Refused by Gemini's word for why · VendorFailed, `empty` without a picture, `invalid` when it is blank, or
    JSON and none of Gemini's · what an error in place of a picture means.
    """
    signals: dict[str, Any] = {"provider_status": 200, "request_id": answer.request_id}
    contents = [candidate.content for candidate in answer.candidates or [] if candidate.content]
    parts = [part for content in contents for part in content.parts or [] if not part.thought]
    blobs = [blob for part in parts for blob in (part.inline_data, part.file_data) if blob]
    found = [value for blob in blobs for value in (blob.data, blob.file_uri) if value]
    if image := find_image(answer.body, answer.documents, found[::-1], base_url, is_cut=answer.is_cut):
        return Picture(image, max(1, len(found)))
    if not answer.is_readable:
        if not answer.is_cut and (image := find_mentioned(answer.body, answer.documents, base_url)):
            return Picture(image, 1)
        # Words instead of JSON are an answer of something on the way, without a picture.
        unread: Failure = "empty" if answer.documents is None else "invalid"
        raise VendorFailed("Gemini's answer could not be read", failure=unread, **signals)
    if answer.prompt_feedback and (blocked := answer.prompt_feedback.block_reason):
        raise Refused("Gemini refused this prompt", provider_code=code_of(blocked), **signals)
    if answer.error:
        # Something on the way answered 200 with the error of another status in it.
        fault = _fault({"error": answer.error})
        raise _failure(fault, fault.code, {}, answer.request_id, inside=True)
    reason = next((candidate.finish_reason for candidate in answer.candidates or []), None) or ""
    if reason in REFUSALS:
        raise Refused("Gemini refused to show what it made", provider_code=reason, **signals)
    if not answer.is_cut and (image := find_mentioned(answer.body, answer.documents, base_url)):
        return Picture(image, 1)
    raise VendorFailed("Gemini answered without a picture", failure="empty", provider_code=code_of(reason), **signals)


def units_of(answer: Answer) -> Units:
    """What the answer is billed for; empty when it does not tell how many of its tokens are a picture's.

    The details name a picture's tokens only: what else is counted, and all thoughts, is text.
    """
    try:
        usage = msgspec.convert(answer.usage_metadata, Usage)
    except msgspec.ValidationError:
        return {}
    shown, drawn = _pictures(usage.prompt_tokens_details), _pictures(usage.candidates_tokens_details)
    if not drawn:
        return {}
    return {
        "text_input": max(0, usage.prompt_token_count - shown),
        "image_input": shown,
        "text_output": max(0, usage.candidates_token_count - drawn) + usage.thoughts_token_count,
        "image_output": drawn,
    }


def _pictures(counts: list[Count]) -> int:
    return sum(count.token_count for count in counts if count.modality == "IMAGE")


def failure_of(error: "APIError") -> VendorError:
    """What an answer other than 200 means."""
    headers = error.response.headers if isinstance(error.response, httpx.Response) else {}
    return _failure(_fault(error.details), error.code, headers, request_id_of(headers, "x-request-id"))


def _fault(body: object) -> Fault:
    try:
        return msgspec.convert(body, Envelope).error
    except msgspec.ValidationError:
        return Fault()


def _failure(
    fault: Fault, status: int, headers: Mapping[str, str], request_id: str | None, *, inside: bool = False
) -> VendorError:
    """`inside` an HTTP 200, the status is only the error's own word."""
    reason = next((detail.reason for detail in fault.details if detail.reason), fault.status)
    quotas = [violation.quota_id for detail in fault.details for violation in detail.violations]
    delays = [DELAY.fullmatch(detail.retry_delay) for detail in fault.details]
    waits = [*(float(delay[1]) for delay in delays if delay), retry_after(headers)]
    named: Cause | None = None
    if status == 429 and (any("PerDay" in quota for quota in quotas) or SPENT.search(fault.message)):
        # Waiting a minute will not help: it is the quota of the day, or there is no money.
        named = "quota"
    elif reason.startswith("API_KEY"):
        named = "key"
    elif not status:
        named = "request"
    elif inside:
        named = cause_of_status(status)
    return failure(
        NAME,
        200 if inside else status or 200,
        named,
        retry_after=max((wait for wait in waits if wait is not None), default=None),
        provider_code=code_of(reason),
        request_id=request_id,
    )


class Told(msgspec.Struct, rename="camel"):
    """What an answer without a picture counted."""

    prompt_token_count: int
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    prompt_tokens_details: list[Count] = []


def units_without_picture(answer: Answer) -> Units:
    """What an answer that holds no picture is billed for: what it put out was words. Empty when it does not tell."""
    try:
        told = msgspec.convert(answer.usage_metadata, Told)
    except msgspec.ValidationError:
        return {}
    shown = _pictures(told.prompt_tokens_details)
    return {
        "text_input": max(0, told.prompt_token_count - shown),
        "image_input": shown,
        "text_output": told.candidates_token_count + told.thoughts_token_count,
    }
