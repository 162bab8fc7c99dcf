"""All errors of this application and the HTTP status of each.

PicassoError
├── NotFound            404  the thing named does not exist
├── Gone                410  it existed; a cursor or page that has been taken away
├── Invalid             400 malformed / 422 well-formed but impossible; names what is allowed
├── Locked              401  a page that its owner gave a password
├── Forbidden           403  this caller may not do it, whatever its key
├── OverBudget          402  the project's budget does not allow it
├── Conflict            409  the state of the thing forbids it
├── TooLarge            413  over a named cap
├── RateLimited         429  too many; carries retry_after seconds
├── VendorError         502  a vendor, or a binding, did not do it
│   ├── Refused              said no; never retried
│   ├── VendorFailed         answered without a usable image, or its quota is spent; a chat or vision call may be asked
│   │                        again in another form, an image never
│   ├── Unavailable     503  did not answer, nothing was done; the only kind `@step` retries
│   └── Uncertain            sent, outcome unknown; never retried by itself
├── Violation           the database refused an impossible state; 500 unless the caller knows what it means
└── LeaseLost           this worker no longer owns the job; its writes are refused
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

Failure = Literal["outage", "rate", "quota", "refused", "invalid", "empty"]


class PicassoError(Exception):
    """Base of every error that may be reported to a caller.

    `code` is a snake_case word for clients to compare, `message` a sentence for a person without
    paths, SQL, addresses or upstream text, `detail` JSON-plain facts or None.
    """

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.detail = detail


class NotFound(PicassoError):
    """What was named does not exist (404)."""

    code = "not_found"


class Gone(PicassoError):
    """It existed and was removed: a pruned cursor, an unpublished page (410)."""

    code = "gone"


class Invalid(PicassoError):
    """`status` is 400 for a malformed request and 422 for a well-formed but impossible one."""

    code = "invalid"

    def __init__(
        self, message: str, *, code: str | None = None, detail: dict[str, Any] | None = None, status: int = 422
    ) -> None:
        super().__init__(message, code=code, detail=detail)
        self.status = status


class Locked(PicassoError):
    """The page is protected by a password (401)."""

    code = "password_needed"


class Forbidden(PicassoError):
    """The caller may not do this (403)."""

    code = "forbidden"


class OverBudget(PicassoError):
    """The project's budget does not cover it (402)."""

    code = "budget_exceeded"


class Conflict(PicassoError):
    """The present state does not allow it (409)."""

    code = "conflict"


class TooLarge(PicassoError):
    """Above a named limit (413)."""

    code = "too_large"


class RateLimited(PicassoError):
    """Too many requests; try again after `retry_after` seconds (429)."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, detail={"retryAfterSeconds": retry_after})
        self.retry_after = retry_after


class VendorError(PicassoError):
    """Base of the ways in which a call to a vendor can fail.

    `failure` is the cause as the vendor signalled it; `provider_code`, `provider_status` and `request_id`
    are the vendor's own values, for the log and the ledger. `units` is what the answer itself says that it is billed
    for, in the price table's units; empty when it does not say. `body` is the answer, or as much of it as came, where
    it had begun as a success: it may have been paid for. `addresses` are those in it at which the image should be, each
    with its host ("name:port") where that need not be public.
    """

    failure: Failure = "outage"
    units: Mapping[Any, float] = MappingProxyType({})
    body: bytes = b""
    addresses: tuple[tuple[str, str | None], ...] = ()

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        failure: Failure | None = None,
        provider_code: str | None = None,
        provider_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.failure = failure or type(self).failure
        self.provider_code = provider_code
        self.provider_status = provider_status
        self.request_id = request_id


class Refused(VendorError):
    """The vendor rejected the request, as its safety filters do; never retried."""

    code = "refused"
    failure: Failure = "refused"


class VendorFailed(VendorError):
    """The vendor answered, but with no usable image (billed) or with a spent quota (not billed)."""

    code = "provider_failed"
    failure: Failure = "empty"


class Unavailable(VendorError):
    """No answer, or the answer "not now", and nothing was done: safe to retry after `retry_after` seconds."""

    code = "unavailable"
    failure: Failure = "outage"

    def __init__(self, message: str, *, retry_after: float | None = None, **signals: Any) -> None:
        super().__init__(message, **signals)
        self.retry_after = retry_after


class Uncertain(VendorError):
    """The request was sent and its outcome is unknown; it may have been billed, so it is never retried by itself."""

    code = "uncertain"


class Violation(PicassoError):
    """A key, CHECK or trigger failed and the transaction was rolled back. The same on both databases."""

    code = "constraint_violated"

    def __init__(self, kind: Literal["unique", "foreign_key", "check", "not_null"]) -> None:
        super().__init__("the database refused an impossible state")
        self.kind = kind


class LeaseLost(PicassoError):
    """This worker no longer owns the job; its writes are rejected."""

    code = "lease_lost"
