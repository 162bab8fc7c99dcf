"""What a vendor's HTTP says about a call that did not bring an image: nothing was done, or nobody knows."""

import datetime
import email.utils
import re
from collections.abc import Mapping
from typing import Any

import httpx

from tools.errors import Unavailable, Uncertain, VendorError, VendorFailed

CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
REQUEST_ID_CHARS = 200
GAVE_UP = frozenset({408, 499})
"""A vendor's statuses for a request that it, or something on the way, stopped waiting for."""


class TooLong(httpx.TransportError):
    """An answer that was read up to its limit and let go of there."""


def code_of(word: object) -> str | None:
    """The vendor's own word for what went wrong, when it is a word: it is shown and logged."""
    return word if isinstance(word, str) and CODE.fullmatch(word) else None


def request_id_of(headers: Mapping[str, str], *names: str) -> str | None:
    """The vendor's own name for a call, by the first of these headers that is there; it is stored and shown."""
    return next((plain_id(headers[name]) for name in names if name in headers), None)


def plain_id(said: object) -> str | None:
    """What a vendor calls a call, without what cannot be printed, and no longer than `REQUEST_ID_CHARS`."""
    if not isinstance(said, str):
        return None
    return "".join(filter(str.isprintable, said[:REQUEST_ID_CHARS])) or None


def gave_up(vendor: str, **signals: Any) -> Uncertain:
    """The error of an answer with one of `GAVE_UP`.

    A vendor may say so while its model is at work, and none says that such work is not billed.
    """
    return Uncertain(f"{vendor} gave up waiting", code="deadline", **signals)


def lost(error: Exception, vendor: str) -> VendorError:
    """The error of a request that got no whole answer.

    A connection that was never made left nothing behind; anything later may have reached the vendor.
    """
    if isinstance(error, TooLong):
        return VendorFailed(f"{vendor}'s answer is longer than an answer may be", failure="invalid")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol):
        return Unavailable(f"{vendor} could not be reached")
    return Uncertain(f"{vendor} did not answer", code="deadline" if isinstance(error, httpx.TimeoutException) else None)


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
