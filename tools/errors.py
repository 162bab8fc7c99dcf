"""What can go wrong, said once.

PicassoError
├── NotFound            404  the thing named does not exist
├── Gone                410  it existed; a cursor or page that has been taken away
├── Invalid             400 malformed / 422 well-formed but impossible; names what is allowed
├── Locked              401  a page that its owner gave a password
├── Forbidden           403  a key was not the question; this caller may not
├── OverBudget          402  the project's budget does not allow it
├── Conflict            409  the state of the thing forbids it
├── TooLarge            413  over a named cap
├── RateLimited         429  too many; carries retry_after seconds
├── Refused             a vendor said no; never retried
├── VendorFailed        a vendor answered without a usable image or its quota is spent; never retried
├── Unavailable         503  did not answer, nothing was done; the only kind `@step` retries
├── Uncertain           sent, outcome unknown; never retried by itself
├── Violation           the database refused an impossible state; 500 unless the caller knows what it means
└── LeaseLost           this worker no longer owns the job; its writes are refused
"""

from typing import Any, Literal

Failure = Literal["outage", "rate", "quota", "refused", "invalid", "empty"]


class PicassoError(Exception):
    """Base of every error that this application means to tell a caller.

    `code` is a snake_case word that clients may switch on, `message` a sentence for a person without
    paths, SQL, addresses or upstream text, `detail` JSON-plain facts or None.
    """

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.detail = detail


class NotFound(PicassoError):
    code = "not_found"


class Gone(PicassoError):
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
    code = "password_needed"


class Forbidden(PicassoError):
    code = "forbidden"


class OverBudget(PicassoError):
    code = "budget_exceeded"


class Conflict(PicassoError):
    code = "conflict"


class TooLarge(PicassoError):
    code = "too_large"


class RateLimited(PicassoError):
    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, detail={"retryAfterSeconds": retry_after})
        self.retry_after = retry_after


class VendorError(PicassoError):
    """Common part of what a vendor's call can end in.

    `failure` is the cause as the vendor signalled it; `provider_code`, `provider_status` and `request_id`
    are the vendor's own words for the log and the ledger.
    """

    failure: Failure = "outage"

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
    code = "refused"
    failure: Failure = "refused"


class VendorFailed(VendorError):
    """The vendor answered, but with no usable image (billed) or with a spent quota (not billed)."""

    code = "provider_failed"
    failure: Failure = "empty"


class Unavailable(VendorError):
    """Did not answer or answered "not now", and nothing was done: safe to try again after `retry_after` seconds."""

    code = "unavailable"
    failure: Failure = "outage"

    def __init__(self, message: str, *, retry_after: float | None = None, **signals: Any) -> None:
        super().__init__(message, **signals)
        self.retry_after = retry_after


class Uncertain(VendorError):
    code = "uncertain"


class Violation(PicassoError):
    """A key, a CHECK or a trigger said no; nothing of the transaction is kept. The same on both databases."""

    code = "constraint_violated"

    def __init__(self, kind: Literal["unique", "foreign_key", "check", "not_null"]) -> None:
        super().__init__("the database refused an impossible state")
        self.kind = kind


class LeaseLost(PicassoError):
    code = "lease_lost"
