"""The outermost ASGI layer: limits on requests, one spelling of each path, and headers on every response.

It runs before routing, so it also holds for unknown paths, wrong methods and handlers that never read a body.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast
from urllib.parse import unquote_to_bytes

from litestar import Litestar
from litestar.enums import HttpMethod, ScopeType
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from app.http.errors import (
    ClientGone,
    ErrorResponse,
    HeadersTooLarge,
    PathTooLong,
    SlowBody,
    WrongMedia,
    log_unexpected,
    response_to,
)
from app.http.hosts import base_path, below_base, check_host
from app.http.security import has_body, header_values, own_origin, reads_image
from app.ops.traces import Traces
from app.settings import Settings
from tools.errors import Forbidden, Invalid, NotFound, PicassoError, TooLarge
from tools.step import correlation_id, log_context

log = logging.getLogger("picasso.http")

MAX_TARGET = 8192
"""Bytes of path and query together."""
MAX_HEADERS, MAX_HEADER_BYTES = 100, 32 << 10
FORM_SLACK = 64 << 10
"""Bytes that multipart framing may add to an image."""
BODY_SECONDS = 30.0
BODY_BYTES_PER_SECOND = 64 << 10
"""A body has BODY_SECONDS, and one second more for each of these bytes: slow connections work, stalled ones end."""
PLAIN_PATH = re.compile(r"/|(/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+)+/?")
HIDDEN_SLASH = re.compile(r"%(?:2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
DEFAULT_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"private, no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Added to each response where the route has not set its own."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Accept, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, If-Range, "
    "Last-Event-ID, Prefer, Range, X-Api-Key",
    "Access-Control-Max-Age": "600",
}
GONE = 499
"""The status of a request that ended before its response began, as nginx logs it."""
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
KEY_PREFIX, LEAST_KEY = 6, 32
"""How much of a key is logged, and the length from which on: enough to tell keys apart, too little to guess one."""
ERROR = "picasso_error"
"""Key of a WebSocket's state under which the error that ended it is kept."""
EXPOSED_HEADERS = (
    b"Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, ETag, Idempotency-Replayed, Location, "
    b"Preference-Applied, Retry-After, X-Correlation-Id"
)
TOLD_ORIGINS = 100
"""How many foreign origins are named in the log, each once."""


class Paths(NamedTuple):
    """What the middleware knows of the routes: those whose body may have MAX_IMAGE bytes, those that answer HEAD
    themselves, and the first segments of all."""

    image: Sequence[re.Pattern[str]]
    head: Sequence[re.Pattern[str]]
    rooms: frozenset[str]


def paths_of(app: Litestar) -> Paths:
    """What the middleware must know of the application's routes before one of them is chosen."""
    http = [route for route in app.routes if isinstance(route, HTTPRoute)]
    return Paths(
        image=[_pattern(route) for route in http if any(map(reads_image, route.route_handlers))],
        head=[_pattern(route) for route in http if "HEAD" in route.methods],
        rooms=frozenset(route.path.split("/", 2)[1] for route in app.routes),
    )


def _pattern(route: HTTPRoute) -> re.Pattern[str]:
    return re.compile("".join(rf"/{part}" if isinstance(part, str) else "/[^/]+" for part in route.path_components))


class Middleware:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, settings: Settings, paths: Paths, traces: Traces) -> None:
        self._app, self._settings, self._paths, self._traces = app, settings, paths, traces
        self._base = base_path(settings)
        self._told: set[str] = set()
        self._headers = dict(DEFAULT_HEADERS)
        if settings.public_url.startswith("https://"):
            self._headers[b"strict-transport-security"] = b"max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = below_base(scope, self._base, self._paths.rooms)
        # The correlation id is no secret, so a fast random generator will do.
        with (
            log_context(correlationId=f"{random.getrandbits(128):032x}"),
            self._traces.watching(),
            self._traces.span("http") as set_attributes,
        ):
            # Only the first two segments: the slug of a page works like a password.
            path = "/".join(scope["path"].split("/", 3)[:3])
            set_attributes({"http.request.method": scope.get("method", "GET"), "url.path": path})
            started, status = time.monotonic(), GONE

            async def send_noted(message: Message) -> None:
                nonlocal status
                if message["type"] in ("http.response.start", "websocket.http.response.start"):
                    status = message["status"]
                elif message["type"] == "websocket.accept":
                    status = 101
                await send(message)

            try:
                if scope["type"] == ScopeType.WEBSOCKET:
                    await self.handle_websocket(scope, receive, send_noted)
                else:
                    await self.handle_http(scope, receive, send_noted)
            finally:
                self._note_access(scope, status, time.monotonic() - started)

    def _note_access(self, scope: Scope, status: int, seconds: float) -> None:
        """Log the request in one line: its route as a template, so that neither ids nor slugs, which work like
        passwords, nor the query are in it. Probes that find all well leave none."""
        method = str(scope.get("method", "WS"))
        route = str(scope.get("path_template") or "-")
        if route in PROBES and status < 400:
            return
        given = header_values(scope, b"x-api-key")
        key = given[0][:KEY_PREFIX] if given and len(given[0]) >= LEAST_KEY else None
        fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2), "key": key}
        log.info("%s %s %s", method, route, status, extra={"fields": fields})

    async def handle_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check an HTTP request, pass it on with its body limited, and add headers to the response."""
        takes_image = _matches(self._paths.image, scope)
        limit = self._settings.max_image + FORM_SLACK if takes_image else self._settings.max_body
        body = _Body(receive, has_body(scope), limit)
        origin = self._allowed_origin(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower(), value) for name, value in message.get("headers", [])]
                present = {name for name, _ in headers}
                headers += [(name, value) for name, value in self._headers.items() if name not in present]
                if self._settings.cors_origins:
                    headers.append((b"vary", b"Origin"))
                if origin is not None:
                    headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
                    headers.append((b"access-control-expose-headers", EXPOSED_HEADERS))
                headers.append((b"x-correlation-id", correlation_id().encode()))
                if not body.complete:
                    # The rest of the body must neither be read nor be taken for the next request.
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        method = scope["method"]  # type: ignore[typeddict-item]
        try:
            check_host(scope, self._settings)
            check_target(scope)
            check_framing(scope, limit)
            if origin is None and not own_origin(scope, self._settings):
                self._tell_origin(scope)
                if method == HttpMethod.OPTIONS and is_preflight(scope):
                    raise Forbidden(
                        "pages of this origin may not use this server: name it in CORS_ORIGINS",
                        code="cors_refused",
                        detail={"setting": "CORS_ORIGINS"},
                    )
        except PicassoError as error:
            refusal = response_to(error)
            content = refusal.body()
            headers = {**refusal.headers, "Content-Type": "application/json", "Content-Length": str(len(content))}
            await _respond(send_with_headers, refusal.status, headers, content)
            return
        inner = scope
        if method == HttpMethod.OPTIONS:
            if is_preflight(scope) and origin is not None:
                await _respond(send_with_headers, 204, PREFLIGHT, b"")
                return
            # Litestar's own OPTIONS handlers forget methods that were registered later (2.25). A method that no route
            # has gives the 405 that lists all of them.
            inner = cast(Scope, {**scope, "method": "NONE"})
        try:
            if method == HttpMethod.HEAD and not _matches(self._paths.head, scope):
                inner = cast(Scope, {**scope, "method": "GET"})
                await _answer_head(self._app, inner, body.receive, send_with_headers)
            else:
                await self._app(inner, body.receive, send_with_headers)
        finally:
            # Set by the router, on a copy that it may have been given.
            scope["path_template"] = inner.get("path_template", "")

    async def handle_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a handshake and pass the socket on. An error closes it as an HTTP response before the handshake, and
        with a code of 4000 plus the HTTP status after it."""
        accepted = False

        async def send_with_reason(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            if message["type"] == "websocket.close" and ERROR in scope["state"]:
                error: ErrorResponse = scope["state"][ERROR]
                if not accepted and "websocket.http.response" in (scope["extensions"] or {}):
                    headers = [(b"content-type", b"application/json"), *DEFAULT_HEADERS.items()]
                    headers.append((b"x-correlation-id", correlation_id().encode()))
                    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
                    await send({"type": "websocket.http.response.body", "body": error.body(), "more_body": False})
                    return
                message |= {"code": 4000 + error.status, "reason": error.code}
            await send(message)

        try:
            check_host(scope, self._settings)
            check_target(scope)
        except PicassoError as error:
            note_error(error, scope)
            await receive()
            await send_with_reason({"type": "websocket.close", "code": 1008, "reason": None})
            return
        await self._app(scope, receive, send_with_reason)

    def _allowed_origin(self, scope: Scope) -> str | None:
        """The request's Origin if it is one of CORS_ORIGINS."""
        origins = header_values(scope, b"origin")
        return origins[0] if len(origins) == 1 and origins[0] in self._settings.cors_origins else None

    def _tell_origin(self, scope: Scope) -> None:
        """Log a foreign origin once: its page learns nothing of why the browser refuses it.

        Effect: a warning, for TOLD_ORIGINS origins at most.
        """
        (origin, *_) = header_values(scope, b"origin")
        if scope["path"].startswith("/api/") and origin not in self._told and len(self._told) < TOLD_ORIGINS:
            self._told.add(origin)
            log.warning("a page of another origin asks for the API; CORS_ORIGINS does not name %r", origin[:200])


def _matches(patterns: Sequence[re.Pattern[str]], scope: Scope) -> bool:
    return any(pattern.fullmatch(scope["path"].rstrip("/")) for pattern in patterns)


async def _answer_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """The response to this GET without its body (RFC 9110 §9.3.2). A response without end ends with its first chunk."""
    ended = False

    async def send_head(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive_until_ended() -> HTTPReceiveMessage:
        return {"type": "http.disconnect"} if ended else await receive()  # type: ignore[return-value]

    await app(scope, receive_until_ended, send_head)


async def _respond(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def note_error(error: Exception, scope: Scope) -> None:
    """Keep the error that ended a WebSocket where `Middleware` finds it; Litestar alone would close with 4500.

    Effect: an unexpected error is logged once, with its traceback.
    """
    if scope["type"] == ScopeType.WEBSOCKET:
        scope["state"][ERROR] = log_unexpected(error)


class _Body:
    """The request's body as it arrives: at most `limit` bytes, within a deadline."""

    def __init__(self, receive: Receive, expected: bool, limit: int) -> None:
        self._receive, self.complete, self._limit, self._read = receive, not expected, limit, 0
        self._deadline: float | None = None

    async def receive(self) -> HTTPReceiveMessage:
        """The next message. Fails: TooLarge · SlowBody · ClientGone, each only while the body is not complete."""
        if self.complete:
            return await self._receive()  # type: ignore[return-value]
        self._deadline = self._deadline or asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise SlowBody("the body did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise ClientGone("the client disconnected before its body was complete")
        if message["type"] == "http.request":
            self._read += len(message["body"])
            self._deadline += len(message["body"]) / BODY_BYTES_PER_SECOND
            if self._read > self._limit:
                raise _too_large(self._limit)
            self.complete = not message["more_body"]
        return message  # type: ignore[return-value]


def check_target(scope: Scope) -> None:
    """Let only one spelling of a path through: no empty or dot segments, no encoded slashes, no `;`.

    Fails: PathTooLong · HeadersTooLarge · NotFound.
    """
    raw, headers = scope["raw_path"], list(scope["headers"])
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(
            "the headers are too large", detail={"maxBytes": MAX_HEADER_BYTES, "maxLines": MAX_HEADERS}
        )
    if len(raw) + len(scope["query_string"]) > MAX_TARGET:
        raise PathTooLong("the path and query are too long", detail={"maxBytes": MAX_TARGET})
    path = raw.decode("latin-1")
    if not PLAIN_PATH.fullmatch(path) or HIDDEN_SLASH.search(path):
        raise NotFound("there is nothing at this path")
    try:
        segments = unquote_to_bytes(path).decode("utf-8").split("/")
    except UnicodeDecodeError:
        raise NotFound("there is nothing at this path") from None
    if not {".", ".."}.isdisjoint(segments):
        raise NotFound("there is nothing at this path")


def check_framing(scope: Scope, limit: int) -> None:
    """Check the headers that describe a body, before any of it is read.

    Fails: TooLarge · WrongMedia (an encoded body) · Invalid (400: two lengths, or a length and chunks).
    """
    lengths = header_values(scope, b"content-length")
    if len(lengths) > 1 or (lengths and header_values(scope, b"transfer-encoding")):
        raise Invalid("the body's length is given twice", code="bad_framing", status=400)
    if any(not (length.isascii() and length.isdigit()) for length in lengths):
        raise Invalid("Content-Length must be a whole number", code="bad_framing", status=400)
    if any(encoding.strip().lower() != "identity" for encoding in header_values(scope, b"content-encoding")):
        raise WrongMedia(
            "send the body without Content-Encoding",
            detail={"allowed": ["identity"]},
        )
    if any(int(length[:20]) > limit for length in lengths):
        raise _too_large(limit)


def is_preflight(scope: Scope) -> bool:
    """Whether an OPTIONS request is a browser's CORS preflight."""
    return bool(header_values(scope, b"access-control-request-method"))


def _too_large(limit: int) -> TooLarge:
    return TooLarge("the body is too large", detail={"maxBytes": limit})
