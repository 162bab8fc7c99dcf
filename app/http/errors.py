"""The error tree as answers: a status and the one JSON shape, found by walking the class's MRO.

`{"error": {"code", "message", "detail", "correlationId"}}` leaves by every door: routes, Litestar's own
refusals, the guard in front of it and the socket below it.
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
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import ParameterKwarg

from tools import errors
from tools.errors import PicassoError
from tools.step import correlation_id

log = logging.getLogger("picasso.http")
RETRY_SECONDS = 1.0
SEALED_FORMS = "form-action 'none'; frame-ancestors 'none'; sandbox"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Unauthorized(PicassoError):
    """401: no key, or not the key. The answer says no more than that."""

    code = "unauthorized"


class WrongMedia(PicassoError):
    """415: the body's type or encoding is not the one the route reads."""

    code = "unsupported_media_type"


class SlowBody(PicassoError):
    """408: the body did not arrive within its deadline."""

    code = "request_timeout"


class WrongRange(PicassoError):
    """416: no byte of the part that was asked for exists; `size` is that of the whole."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__("there is nothing at that range", detail={"size": size})
        self.size = size


class PathTooLong(PicassoError):
    """414: path and query together are over their cap."""

    code = "path_too_long"


class HeadersTooLarge(PicassoError):
    """431: the headers together are over their cap."""

    code = "headers_too_large"


class ClientGone(PicassoError):
    """The client left while its body was being read: nobody is there to be answered."""

    code = "client_gone"


class Answer(msgspec.Struct, frozen=True):
    """An error as it goes out."""

    status: int
    code: str
    message: str
    detail: dict[str, Any] | None = None
    headers: Mapping[str, str] = {}

    def body(self) -> bytes:
        error = {"code": self.code, "message": self.message, "detail": self.detail, "correlationId": correlation_id()}
        return msgspec.json.encode({"error": error})


def _coded(status: int) -> Callable[[PicassoError], Answer]:
    return lambda error: Answer(status, error.code, error.message, error.detail)


def _invalid(error: errors.Invalid) -> Answer:
    return Answer(error.status, error.code, error.message, error.detail)


def _limited(error: errors.RateLimited) -> Answer:
    return Answer(429, error.code, error.message, error.detail, _retry_after(error.retry_after))


def _unavailable(error: errors.Unavailable) -> Answer:
    return Answer(503, error.code, error.message, error.detail, _retry_after(error.retry_after or RETRY_SECONDS))


def _wrong_range(error: WrongRange) -> Answer:
    return Answer(416, error.code, error.message, error.detail, {"Content-Range": f"bytes */{error.size}"})


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _refused_by_litestar(error: HTTPException) -> Answer:
    """Litestar's own refusals: status and headers are kept, its text (which may repeat what was sent) is not."""
    if error.status_code >= 500:
        return _unexpected(error)
    status = http.HTTPStatus(error.status_code)
    known = {method.strip() for method in (error.headers or {}).get("allow", "").split(",")}
    allow = ", ".join(sorted(known & METHODS))
    code = CODES.get(status, "bad_request")
    return Answer(status, code, status.phrase.lower(), None, {"Allow": allow} if allow else {})


def _invalid_parameters(error: ValidationException, names: Mapping[str, str] | None = None) -> Answer:
    """`names` are those of parameters that a client knows under others."""
    problems = [problem for problem in error.extra or [] if isinstance(problem, dict)]
    keys = [str(problem.get("key", "body")) for problem in problems]
    fields = [
        {"field": (names or {}).get(key, key), "problem": _problem(problem["message"], key)}
        for key, problem in zip(keys, problems, strict=True)
    ]
    named = ", ".join(str(field["field"]) for field in fields)
    message = f"not valid: {named}" if named else "the request is not valid"
    return Answer(400, "invalid_request", message, {"errors": fields} if fields else None)


def _problem(message: str, key: str) -> str:
    """What Litestar says of a parameter; of one that is missing it says its name alone."""
    return "Expected a value" if message == repr(key) else without_values(message)


def _unexpected(error: Exception) -> Answer:
    return Answer(500, "internal_error", "something went wrong on our side; the log has it under this correlation id")


def _undecodable(error: Exception) -> Answer:
    return Answer(400, "malformed_json", "the body is not UTF-8 JSON of reasonable depth")


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
ANSWERS: dict[type[Exception], Callable[[Any], Answer]] = {
    errors.NotFound: _coded(404),
    errors.Gone: _coded(410),
    errors.Invalid: _invalid,
    errors.Locked: _coded(401),
    errors.Forbidden: _coded(403),
    errors.OverBudget: _coded(402),
    errors.Conflict: _coded(409),
    errors.TooLarge: _coded(413),
    errors.RateLimited: _limited,
    errors.Unavailable: _unavailable,
    errors.VendorError: _coded(502),
    errors.LeaseLost: _coded(409),
    Unauthorized: _coded(401),
    WrongMedia: _coded(415),
    WrongRange: _wrong_range,
    SlowBody: _coded(408),
    PathTooLong: _coded(414),
    HeadersTooLarge: _coded(431),
    ClientGone: _coded(400),
    ValidationException: _invalid_parameters,
    HTTPException: _refused_by_litestar,
    RecursionError: _undecodable,
    UnicodeDecodeError: _undecodable,
    Exception: _unexpected,
}


def answer_to(error: Exception) -> Answer:
    """The answer of the nearest class in the error's MRO that has one; `Exception` has the last word."""
    nearest = next(cls for cls in type(error).__mro__ if cls in ANSWERS)
    return ANSWERS[nearest](error)


def log_unexpected(error: Exception) -> Answer:
    """The answer to an error. Effect: one that nobody meant writes one log line with its traceback."""
    answer = answer_to(error)
    if answer.status == 500:
        log.error("unexpected error", exc_info=error, extra={"fields": {"correlationId": correlation_id()}})
    return answer


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    answer = log_unexpected(error)
    if isinstance(error, ValidationException):
        answer = _invalid_parameters(error, _stated_names(request))
    if request.url.path.startswith("/public/") and wants_html(request.headers.get("accept", "")):
        page, policy = error_page(answer)
        headers = {**answer.headers, "Content-Security-Policy": policy}
        return Response(page, status_code=answer.status, headers=headers, media_type="text/html")
    return Response(
        answer.body(), status_code=answer.status, headers=dict(answer.headers), media_type="application/json"
    )


def _stated_names(request: Request[Any, Any, Any]) -> dict[str, str]:
    fields = request.route_handler.parsed_fn_signature.parameters.items()
    stated = ((name, field.kwarg_definition) for name, field in fields)
    names = {name: each.name for name, each in stated if isinstance(each, ParameterKwarg) and each.name}
    return {"data": "body", **names}


def without_values(problem: str) -> str:
    """A validation message without what the caller sent (msgspec repeats a wrong enum value) and without regexes."""
    problem = re.sub(r"Invalid (enum )?value .*?(?= - at `|$)", "Invalid value", problem, flags=re.DOTALL)
    return re.sub(r"matching regex .*?(?= - at `|$)", "of the pattern that /schema states", problem, flags=re.DOTALL)


def wants_html(accept: str) -> bool:
    """Whether an Accept header names text/html (and does not refuse it); `*/*` does not name it."""
    for offer in accept.lower().split(","):
        media, *params = (part.strip() for part in offer.split(";"))
        if media == "text/html":
            return not any(re.fullmatch(r"q=0(\.0*)?", param.replace(" ", "")) for param in params)
    return False


def error_page(answer: Answer) -> tuple[bytes, str]:
    """The HTML page of an error, and the policy that lets nothing but its own style act, and a password be sent."""
    template, policy = _template(_page_name(answer))
    values = {
        "STATUS": str(answer.status),
        "TITLE": http.HTTPStatus(answer.status).phrase,
        "MESSAGE": f"{answer.message[:1].upper()}{answer.message[1:]}.",
        "CORRELATION_ID": correlation_id(),
        "UNLOCK": str((answer.detail or {}).get("unlock", "")),
    }
    page = re.sub(r"\{\{([A-Z_]+)\}\}", lambda found: html.escape(values[found[1]]), template)
    return page.encode(), policy


def _page_name(answer: Answer) -> str:
    if "unlock" in (answer.detail or {}):
        return "password"
    return "gone" if answer.status == 410 else "error"


@functools.cache
def _template(name: str) -> tuple[str, str]:
    text = importlib.resources.files("templates").joinpath("pages").joinpath(f"{name}.html").read_text("utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sends = "form-action 'self'; frame-ancestors 'none'" if "<form" in text else SEALED_FORMS
    return text, f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; {sends}"
