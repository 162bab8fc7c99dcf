"""Maps exceptions to HTTP responses: a status and the one JSON shape, found by walking the class's MRO.

`{"error": {"code", "message", "detail", "correlationId"}}` is the body of every error: those of routes, Litestar's own,
those of the middleware in front of it and of the HTTP parser below it.
"""

import base64
import functools
import hashlib
import html
import http
import importlib.resources
import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import ParameterKwarg

from app.http.rules import explained, parameter_type
from tools import errors
from tools.errors import PicassoError
from tools.step import correlation_id

log = logging.getLogger("picasso.http")
RETRY_SECONDS = 1.0
NO_FORMS = "form-action 'none'; frame-ancestors 'none'; sandbox"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Unauthorized(PicassoError):
    """401: no key, or a wrong one. The response does not say which."""

    code = "unauthorized"


class WrongMedia(PicassoError):
    """415: the body's type or encoding is not the one the route reads."""

    code = "unsupported_media_type"


class SlowBody(PicassoError):
    """408: the body did not arrive within its deadline."""

    code = "request_timeout"


class WrongRange(PicassoError):
    """416: the requested range lies beyond the content, which has `size` bytes."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__("the requested range lies beyond the end of the content", detail={"size": size})
        self.size = size


class PathTooLong(PicassoError):
    """414: path and query together exceed their limit."""

    code = "path_too_long"


class HeadersTooLarge(PicassoError):
    """431: the headers together exceed their limit."""

    code = "headers_too_large"


class Misdirected(PicassoError):
    """421: the request names a host that this server is not known by."""

    code = "misdirected"


class ClientGone(PicassoError):
    """The client disconnected while its body was being read; nobody receives the response."""

    code = "client_gone"


class ErrorResponse(msgspec.Struct, frozen=True):
    """An error as it is sent."""

    status: int
    code: str
    message: str
    detail: dict[str, Any] | None = None
    headers: Mapping[str, str] = {}

    def body(self) -> bytes:
        """The JSON body, with the correlation id of the current request."""
        error = {"code": self.code, "message": self.message, "detail": self.detail, "correlationId": correlation_id()}
        return msgspec.json.encode({"error": error})


CODES: dict[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    415: "unsupported_media_type",
}
STATUSES: dict[type[PicassoError], int] = {
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.Locked: 401,
    errors.Forbidden: 403,
    errors.OverBudget: 402,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.VendorError: 502,
    errors.LeaseLost: 409,
    Unauthorized: 401,
    WrongMedia: 415,
    WrongRange: 416,
    SlowBody: 408,
    PathTooLong: 414,
    HeadersTooLarge: 431,
    Misdirected: 421,
    ClientGone: 400,
}
"""The status of each of our errors and of what inherits from it; `Invalid` carries its own."""


def response_to(error: Exception) -> ErrorResponse:
    """The response to any exception; 500 for one that nobody expected.

    Messages of our own errors are sent as they are, texts of foreign exceptions never.
    """
    if isinstance(error, PicassoError):
        status = next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), 500)
        headers: dict[str, str] = {}
        if isinstance(error, errors.Invalid):
            status = error.status
        elif isinstance(error, errors.RateLimited):
            headers = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
        elif isinstance(error, errors.Unavailable):
            headers = {"Retry-After": str(max(1, math.ceil(error.retry_after or RETRY_SECONDS)))}
        elif isinstance(error, WrongRange):
            headers = {"Content-Range": f"bytes */{error.size}"}
        if status != 500:
            return ErrorResponse(status, error.code, error.message, error.detail, headers)
    elif isinstance(error, ValidationException):
        return _invalid_parameters(error, {}, {})
    elif isinstance(error, HTTPException) and error.status_code < 500:
        # Litestar's own: its status and Allow header are kept; its text, which may repeat input, is not.
        known = {method.strip() for method in (error.headers or {}).get("allow", "").split(",")}
        known |= {"HEAD"} if "GET" in known else set()
        allow = ", ".join(sorted(known & METHODS))
        reason = http.HTTPStatus(error.status_code)
        code = CODES.get(reason, "bad_request")
        return ErrorResponse(reason, code, reason.phrase.lower(), None, {"Allow": allow} if allow else {})
    elif isinstance(error, RecursionError | UnicodeDecodeError):
        return ErrorResponse(400, "malformed_json", "the body is not UTF-8 JSON of reasonable depth")
    message = "an unexpected error occurred; the server's log has the details under this correlation id"
    return ErrorResponse(500, "internal_error", message)


def _invalid_parameters(
    error: ValidationException, names: Mapping[str, str], types: Mapping[str, Any]
) -> ErrorResponse:
    """Litestar's list of invalid parameters; `names` maps those of our functions to those that clients use, `types`
    to what they must be."""
    problems = [problem for problem in error.extra or [] if isinstance(problem, dict)]
    fields = []
    for problem in problems:
        key, message = str(problem.get("key", "body")), problem["message"]
        # Of a missing parameter Litestar gives only the name.
        text = "Expected a value" if message == repr(key) else explained(message, types.get(key, Any), "")
        fields.append({"field": names.get(key, key), "problem": text})
    named = ", ".join(field["field"] for field in fields)
    message = f"not valid: {named}" if named else "the request is not valid"
    return ErrorResponse(400, "invalid_request", message, {"errors": fields} if fields else None)


def log_unexpected(error: Exception) -> ErrorResponse:
    """The response to an exception. Effect: an unexpected one is logged once, with its traceback."""
    response = response_to(error)
    if response.status == 500:
        log.error("unexpected error", exc_info=error, extra={"fields": {"correlationId": correlation_id()}})
    return response


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for every exception: JSON, or an HTML page below /public/ where a browser asks.

    Effect: as `log_unexpected`.
    """
    response = log_unexpected(error)
    if isinstance(error, ValidationException):
        fields = request.route_handler.parsed_fn_signature.parameters
        declared = {name: field.kwarg_definition for name, field in fields.items()}
        names = {name: each.name for name, each in declared.items() if isinstance(each, ParameterKwarg) and each.name}
        types = {name: parameter_type(field) for name, field in fields.items() if name in declared}
        response = _invalid_parameters(error, {"data": "body", **names}, types)
    if request.url.path.startswith("/public/") and wants_html(request.headers.get("accept", "")):
        page, policy = error_page(response)
        headers = {**response.headers, "Content-Security-Policy": policy}
        return Response(page, status_code=response.status, headers=headers, media_type="text/html")
    headers = dict(response.headers)
    return Response(response.body(), status_code=response.status, headers=headers, media_type="application/json")


def wants_html(accept: str) -> bool:
    """Whether an Accept header names text/html (and does not refuse it); `*/*` does not name it."""
    for offer in accept.lower().split(","):
        media, *params = (part.strip() for part in offer.split(";"))
        if media == "text/html":
            return not any(re.fullmatch(r"q=0(\.0*)?", param.replace(" ", "")) for param in params)
    return False


def error_page(response: ErrorResponse) -> tuple[bytes, str]:
    """The HTML page of an error, and its Content-Security-Policy, which allows its own style and, on the page that
    asks for a password, sending that form."""
    unlock = (response.detail or {}).get("unlock")
    name = "password" if unlock is not None else "gone" if response.status == 410 else "error"
    template, policy = _page_template(name)
    values = {
        "STATUS": str(response.status),
        "TITLE": http.HTTPStatus(response.status).phrase,
        "MESSAGE": f"{response.message[:1].upper()}{response.message[1:]}.",
        "CORRELATION_ID": correlation_id(),
        "UNLOCK": str(unlock or ""),
    }
    page = re.sub(r"\{\{([A-Z_]+)\}\}", lambda found: html.escape(values[found[1]]), template)
    return page.encode(), policy


@functools.cache
def _page_template(name: str) -> tuple[str, str]:
    text = importlib.resources.files("templates").joinpath("pages").joinpath(f"{name}.html").read_text("utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    forms = "form-action 'self'; frame-ancestors 'none'" if "<form" in text else NO_FORMS
    return text, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; {forms}"
