"""What an HTTP answer without a result says about the call: one ladder for all vendors, of images and of chat.

A vendor's own codes say more than a status; which of them mean what is data beside each vendor's answers
(`code → Cause`). What the codes leave open, the status decides.
"""

import contextlib
import datetime
import email.utils
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from tools.env import Settings
from tools.errors import Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.models.explanations import UNVERIFIED

CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
REQUEST_ID_CHARS = 200
GAVE_UP = frozenset({408, 499, 502, 504, 520, 522, 524})
"""Statuses of a vendor, or of something on the way to it, that stopped waiting: the model may still be at work."""
DID_NOTHING = frozenset({500, 503, 529})
"""Statuses that say of the vendor that it failed or is too busy, and did not do the work."""

Cause = Literal["refused", "quota", "rate", "gave_up", "doubt", "outage", "key", "account", "request", "empty"]
"""Why there is no result: the vendor's no · money or the day's quota is spent · too many calls · it stopped waiting for
its own model · something failed, and how far the call came is not known · it failed and did nothing · our key or
account may not use the model · the request is wrong · it broke off without one.
"""


NOT_VERIFIED = re.compile(r"organization must be verified|verify organization", re.IGNORECASE)
"""How OpenAI refuses a model to an organisation that is not verified: in words, with no code (403)."""


class TooLong(httpx.TransportError):
    """An answer that was read up to its limit and let go of there."""


def cause_of_status(status: int | None) -> Cause:
    """What a status means by itself. None is an error inside an answer that had begun as a success."""
    match status:
        case 429:
            return "rate"
        case 402:
            return "quota"
        case _ if status in GAVE_UP:
            return "gave_up"
        case 401 | 403:
            return "key"
        case None | 200:
            return "empty"
        case _:
            return "request" if status < 500 else "outage" if status in DID_NOTHING else "doubt"


def failure(
    vendor: str,
    status: int | None,
    named: Cause | None = None,
    *,
    retry_after: float | None = None,
    provider_code: str | None = None,
    request_id: str | None = None,
) -> VendorError:
    """The error of an answer without a result; `named` is what the vendor's own code means, where it has one.

    An error inside a success is never one that may be tried again.

    `retry_after` in seconds; `provider_code` and `request_id` are the vendor's own words, fit to be shown.
    """
    cause = cause_of_status(status)
    # What stopped waiting, or failed on the way, knows nothing of the work, whatever its body names.
    if named is not None and cause not in ("gave_up", "doubt"):
        cause = named
    if cause in ("rate", "outage") and (status is None or 200 <= status < 300):
        # Whoever answered it had begun with a success, and nothing says that what was bought by then is not billed.
        cause = "empty"
    signals: dict[str, Any] = {
        "provider_code": provider_code,
        "provider_status": status,
        "request_id": request_id,
    }
    match cause:
        case "refused":
            return Refused(f"{vendor} refused this request", **signals)
        case "quota":
            return VendorFailed(f"the quota of {vendor} is used up", failure="quota", **signals)
        case "rate":
            message = f"the rate limit of {vendor} was reached"
            return Unavailable(message, failure="rate", retry_after=retry_after, **signals)
        case "gave_up":
            return Uncertain(f"{vendor} gave up waiting", code="deadline", **signals)
        case "doubt":
            return Uncertain(f"{vendor}, or something on the way to it, failed", **signals)
        case "outage":
            return Unavailable(f"{vendor} failed", failure="outage", retry_after=retry_after, **signals)
        case "key":
            return VendorFailed(f"{vendor} did not accept our key", failure="invalid", **signals)
        case "account":
            return VendorFailed(f"{vendor} does not let our account use this model", failure="invalid", **signals)
        case "request":
            return VendorFailed(f"{vendor} did not accept the request", failure="invalid", **signals)
        case "empty":
            return VendorFailed(f"{vendor} broke off without a result", failure="empty", **signals)


def is_vendors_own(url: str, domain: str) -> bool:
    """Whether an address is the vendor's own host: `domain` or a name below it."""
    host = urlsplit(url).hostname or ""
    return host == domain or host.endswith(f".{domain}")


def is_trusted(url: str, domain: str, settings: Settings) -> bool:
    """Whether an outage that the server at `url` answers is the vendor's word that it did nothing.

    So it is from the vendor's own host, and from one that VENDOR_5XX says to be as good.
    """
    return is_vendors_own(url, domain) or settings.vendor_5xx == "retry"


@contextlib.contextmanager
def doubting(trusted: bool) -> Iterator[None]:
    """Take any error 5xx that an untrusted server answers within the block for what it is, whatever its body names: the
    server may have bought before it failed, once or several times. Fails: Uncertain in its place.
    """
    try:
        yield
    except VendorError as error:
        if trusted or isinstance(error, Uncertain) or (error.provider_status or 0) < 500:
            raise
        raise Uncertain(
            "the server in front of the vendor failed, and what it had bought is not known",
            code="proxy_failed",
            provider_code=error.provider_code,
            provider_status=error.provider_status,
            request_id=error.request_id,
        ) from error


def http_cause(error: BaseException) -> httpx.HTTPError | None:
    """The HTTP client's own error, which SDKs keep as the cause of theirs."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, httpx.HTTPError):
        cause = cause.__cause__
    return cause


def lost(error: BaseException, vendor: str, request_id: str | None = None) -> VendorError:
    """The error of a request that got no whole answer.

    A connection that was never made left nothing behind; anything later may have reached the vendor.
    """
    match http_cause(error):
        case TooLong():
            message = f"{vendor}'s answer is longer than an answer may be"
            return VendorFailed(message, failure="invalid", request_id=request_id)
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.UnsupportedProtocol():
            return Unavailable(f"{vendor} could not be reached")
        case cause:
            code = "deadline" if isinstance(cause, httpx.TimeoutException) else None
            return Uncertain(f"{vendor} did not answer", code=code, request_id=request_id)


def code_of(word: object) -> str | None:
    """The vendor's own word for what went wrong, when it is a word: it is shown and logged."""
    return word if isinstance(word, str) and CODE.fullmatch(word) else None


def openai_code(code: object, status: int | None, message: object) -> str | None:
    """The code of an error in OpenAI's form. A number, or a gateway's repetition of the status, is none; what OpenAI
    says in words alone gets one.
    """
    if status == 403 and isinstance(message, str) and NOT_VERIFIED.search(message):
        return UNVERIFIED
    return code if isinstance(code, str) and code != str(status) else None


def request_id_of(headers: Mapping[str, str], *names: str) -> str | None:
    """The vendor's own name for a call, by the first of these headers that is there; it is stored and shown."""
    return next((plain_id(headers[name]) for name in names if name in headers), None)


def plain_id(value: object) -> str | None:
    """A vendor's name for a call, without what cannot be printed, and no longer than `REQUEST_ID_CHARS`."""
    if not isinstance(value, str):
        return None
    return "".join(filter(str.isprintable, value[:REQUEST_ID_CHARS])) or None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the vendor asks to wait: `retry-after-ms`, then `Retry-After` as seconds or as a date (RFC 9110
    §10.2.3). None when it says nothing that can be read.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    # A date without a zone is meant as GMT.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
