"""The outermost layer: what reaches a handler is bounded and spelled one way, what leaves carries its headers.

It stands in front of routing, so it holds for unknown paths, wrong methods and handlers that never read a body.
"""

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import unquote_to_bytes

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPResponseStartEvent, Message, Receive, Scope, Send

from app.http.errors import (
    Answer,
    ClientGone,
    HeadersTooLarge,
    PathTooLong,
    SlowBody,
    WrongMedia,
    answer_to,
    log_unexpected,
)
from app.http.security import has_body, header_values
from app.ops.traces import Traces
from app.settings import Settings
from tools.errors import Invalid, NotFound, PicassoError, TooLarge
from tools.step import correlation_id, log_context

MAX_TARGET = 8192
"""Bytes of path and query together."""
MAX_HEADERS, MAX_HEADER_BYTES = 100, 32 << 10
FORM_SLACK = 64 << 10
"""What multipart framing may add to an image."""
BODY_SECONDS = 30.0
BODY_BYTES_PER_SECOND = 64 << 10
"""A body has BODY_SECONDS and one second more for each of these, so a slow line is served and a dripping one is not."""
SPELLING = re.compile(r"/|(/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+)+/?")
HIDDEN = re.compile(r"%(?:2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
DEFAULT_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"private, no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
"""Added where a route has not set its own."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-Api-Key",
    "Access-Control-Max-Age": "600",
}
ERROR = "picasso_error"
EXPOSED = b"ETag, Idempotency-Replayed, Retry-After, X-Correlation-Id"


class Guard:
    """An ASGI application around another. `image_paths` are the routes that take a body of MAX_IMAGE."""

    def __init__(
        self, app: ASGIApp, settings: Settings, image_paths: Sequence[re.Pattern[str]], traces: Traces
    ) -> None:
        self._app, self._settings, self._image_paths, self._traces = app, settings, image_paths, traces
        self._headers = dict(DEFAULT_HEADERS)
        if settings.public_url.startswith("https://"):
            self._headers[b"strict-transport-security"] = b"max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # No secret: the kernel need not be asked for it.
        with (
            log_context(correlationId=f"{random.getrandbits(128):032x}"),
            self._traces.watching(),
            self._traces.span("http") as tell,
        ):
            # Only what kind of thing was asked for: a page's link is its password.
            kind = "/".join(scope["path"].split("/", 3)[:3])
            tell({"http.request.method": scope.get("method", "GET"), "url.path": kind})
            if scope["type"] == ScopeType.WEBSOCKET:
                await self._socket(scope, receive, send)
            else:
                await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        cap = self._cap(scope)
        body = _Body(receive, has_body(scope), cap)
        dressed = self._dressed(scope, body, send)
        try:
            check_target(scope)
            check_framing(scope, cap)
        except PicassoError as error:
            await _refuse(dressed, answer_to(error))
            return
        if scope["method"] == HttpMethod.OPTIONS:  # type: ignore[typeddict-item]
            if is_preflight(scope) and self._allowed_origin(scope):
                await _allow(dressed)
                return
            # Litestar's own OPTIONS handlers forget methods that were registered later (2.25): a method that no
            # route has gets the 405 that lists them all.
            scope = cast(Scope, {**scope, "method": "NONE"})
        await self._app(scope, body.receive, dressed)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepted = False

        async def explain(message: Message) -> None:
            """Close with what went wrong: as an HTTP refusal before the handshake, as a close code 4xxx after it."""
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            if message["type"] == "websocket.close" and ERROR in scope["state"]:
                answer: Answer = scope["state"][ERROR]
                if not accepted and "websocket.http.response" in (scope["extensions"] or {}):
                    await _refuse_handshake(send, answer)
                    return
                message |= {"code": 4000 + answer.status, "reason": answer.code}
            await send(message)

        try:
            check_target(scope)
        except PicassoError as error:
            note_error(error, scope)
            await receive()
            await explain({"type": "websocket.close", "code": 1008, "reason": None})
            return
        await self._app(scope, receive, explain)

    def _cap(self, scope: Scope) -> int:
        if any(pattern.fullmatch(scope["path"].rstrip("/")) for pattern in self._image_paths):
            return self._settings.max_image + FORM_SLACK
        return self._settings.max_body

    def _allowed_origin(self, scope: Scope) -> str | None:
        origins = header_values(scope, b"origin")
        return origins[0] if len(origins) == 1 and origins[0] in self._settings.cors_origins else None

    def _dressed(self, scope: Scope, body: "_Body", send: Send) -> Send:
        async def dress(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower(), value) for name, value in message.get("headers", [])]
                present = {name for name, _ in headers}
                headers += [(name, value) for name, value in self._headers.items() if name not in present]
                headers += self._cors(scope)
                headers.append((b"x-correlation-id", correlation_id().encode()))
                if not body.complete:
                    # What is left of the body must not be read as the next request, nor read at all.
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        return dress

    def _cors(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        if not self._settings.cors_origins:
            return []
        vary = [(b"vary", b"Origin")]
        if (origin := self._allowed_origin(scope)) is None:
            return vary
        return [
            *vary,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", EXPOSED),
        ]


def note_error(error: Exception, scope: Scope) -> None:
    """Keep what ended a socket where `Guard` finds it; Litestar itself would only say 4500.

    Effect: an error that nobody meant writes one log line with its traceback.
    """
    if scope["type"] == ScopeType.WEBSOCKET:
        scope["state"][ERROR] = log_unexpected(error)


class _Body:
    """The request's body as it arrives: at most `cap` bytes, and not for ever."""

    def __init__(self, receive: Receive, expected: bool, cap: int) -> None:
        self._receive, self.complete, self._cap, self._read = receive, not expected, cap, 0
        self._deadline: float | None = None

    async def receive(self) -> HTTPReceiveMessage:
        """Fails: TooLarge · SlowBody · ClientGone, each only while the body is not complete."""
        if self.complete:
            return await self._receive()  # type: ignore[return-value]
        self._deadline = self._deadline or asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise SlowBody("the body did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left before its body was complete")
        return self._counted(message)  # type: ignore[arg-type]

    def _counted(self, message: HTTPReceiveMessage) -> HTTPReceiveMessage:
        if message["type"] == "http.request":
            assert self._deadline is not None
            self._read += len(message["body"])
            self._deadline += len(message["body"]) / BODY_BYTES_PER_SECOND
            if self._read > self._cap:
                raise _too_large(self._cap)
            self.complete = not message["more_body"]
        return message


def check_target(scope: Scope) -> None:
    """Only one spelling of a path reaches a handler: no empty or dot segments, no hidden slashes, no `;`.

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
    if not SPELLING.fullmatch(path) or HIDDEN.search(path) or not _is_plain(path):
        raise NotFound("nothing is here")


def _is_plain(path: str) -> bool:
    try:
        segments = unquote_to_bytes(path).decode("utf-8").split("/")
    except UnicodeDecodeError:
        return False
    return not {".", ".."}.intersection(segments)


def check_framing(scope: Scope, cap: int) -> None:
    """Refuse a body for its headers alone, before a byte of it is read.

    Fails: TooLarge · WrongMedia (an encoded body) · Invalid (400: two lengths, or a length and chunks).
    """
    lengths = header_values(scope, b"content-length")
    if len(lengths) > 1 or (lengths and header_values(scope, b"transfer-encoding")):
        raise Invalid("the body's length is said twice", code="bad_framing", status=400)
    if any(not (length.isascii() and length.isdigit()) for length in lengths):
        raise Invalid("the body's length is not a number", code="bad_framing", status=400)
    if any(encoding.strip().lower() != "identity" for encoding in header_values(scope, b"content-encoding")):
        raise WrongMedia("an encoded body is not read; send it as it is", detail={"allowed": ["identity"]})
    if any(int(length[:20]) > cap for length in lengths):
        raise _too_large(cap)


def is_preflight(scope: Scope) -> bool:
    """Whether an OPTIONS request is a browser asking what it may ask."""
    return bool(header_values(scope, b"access-control-request-method"))


def _too_large(cap: int) -> TooLarge:
    return TooLarge("the body is too large", detail={"maxBytes": cap})


async def _refuse(send: Send, answer: Answer) -> None:
    body = answer.body()
    headers = {**answer.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
    await send(_start(answer.status, headers))
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _allow(send: Send) -> None:
    await send(_start(204, PREFLIGHT))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _start(status: int, headers: Mapping[str, str]) -> HTTPResponseStartEvent:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


async def _refuse_handshake(send: Send, answer: Answer) -> None:
    headers = [(b"content-type", b"application/json"), *DEFAULT_HEADERS.items()]
    headers.append((b"x-correlation-id", correlation_id().encode()))
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body(), "more_body": False})
