"""What a vendor's HTTP says about a call that did not bring an image: nothing was done, or nobody knows."""

import datetime
import email.utils
import re
from collections.abc import Mapping

import httpx

from tools.errors import Unavailable, Uncertain, VendorError

CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def code_of(word: object) -> str | None:
    """The vendor's own word for what went wrong, when it is a word: it is shown and logged."""
    return word if isinstance(word, str) and CODE.fullmatch(word) else None


def lost(error: Exception, vendor: str) -> VendorError:
    """The error of a request that got no whole answer.

    A connection that was never made left nothing behind; anything later may have reached the vendor.
    """
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
