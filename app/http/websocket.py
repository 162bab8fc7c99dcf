"""The WebSocket side of the server: uvicorn's protocol with limits that ASGI cannot express.

Pass `OPTIONS` to `uvicorn.Config`. Without them a client that stops reading blocks `send` for ever with megabytes
buffered, and a flood of pings or of empty fragments is accepted without end (both measured).
"""

import asyncio
import logging
import socket
from asyncio.transports import BaseTransport
from typing import Any, cast

from litestar.types import Scope
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import StatusLike

from app.http.errors import ErrorResponse

EXTENSION = "picasso.socket"
STALL_SECONDS = 7.0
LINGER_SECONDS, FAULT_LINGER_SECONDS, QUIET_SECONDS, EXIT_SECONDS = 25.0, 3.0, 0.2, 1.0
UNSENT_BYTES, LAST_BYTES = 16 << 10, 256 << 10
SLICE_BYTES = 4 << 10
BURST_FRAMES, FRAMES_PER_SECOND = 100, 50


class Handshake(ServerProtocol):
    """The parser, which refuses a handshake in the one shape of errors."""

    def reject(self, status: StatusLike, text: str) -> Response:
        response = super().reject(status, text)
        code = "malformed_request" if response.status_code == 400 else "no_websocket"
        reason = text.strip().removeprefix("Failed to open a WebSocket connection: ")
        told = ErrorResponse(response.status_code, code, f"this is no WebSocket handshake: {reason}")
        response.body = told.body()
        for name, value in (("Content-Length", str(len(response.body))), ("Content-Type", "application/json")):
            del response.headers[name]
            response.headers[name] = value
        return response


class Socket(WebSocketsSansIOProtocol):
    """One WebSocket.

    Closes with 1013 when the client reads nothing for STALL_SECONDS while data waits for it, with 1008 for a flood of
    frames of any kind, and with 1009 and 1007 where the parser does. After such a close, incoming data is discarded
    for a while, so that the client gets to see the code; then the connection is dropped.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Handshake(max_size=self.config.ws_max_size, logger=logging.getLogger("uvicorn.error"))
        self._stall: asyncio.TimerHandle | None = None
        self._failed, self._drop_at = False, 0.0
        self._tokens, self._counted_at = float(BURST_FRAMES), self.loop.time()

    async def write(self, frames: bytes) -> None:
        """Send whole frames, once everything before them has left this process.

        Fails: ClientDisconnected (an OSError).
        """
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.transport.write(frames)

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # The kernel buffers little unsent data, so that a client that stops reading is noticed early; what is in flight
        # is limited by the client's own window. `writable` means that the kernel took everything.
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.transport.set_write_buffer_limits(high=0)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][EXTENSION] = {"socket": self}

    def data_received(self, data: bytes) -> None:
        # In slices, because the parser would parse a flood of tiny frames before any of them could be counted.
        for start in range(0, len(data), SLICE_BYTES):
            if self._failed:
                self._drop_after(QUIET_SECONDS)
                return
            super().data_received(data[start : start + SLICE_BYTES])

    def handle_cont(self, event: Frame) -> None:
        if self._admits():
            super().handle_cont(event)

    def handle_text(self, event: Frame) -> None:
        if self._admits():
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        if self._admits():
            super().handle_bytes(event)

    def handle_ping(self) -> None:
        if self._admits():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._admits():
            super().handle_pong(event)

    def _admits(self) -> bool:
        now = self.loop.time()
        self._tokens = min(BURST_FRAMES, self._tokens + (now - self._counted_at) * FRAMES_PER_SECOND) - 1
        self._counted_at = now
        if self._tokens < 0 and not self._failed:
            self._fail(CloseCode.POLICY_VIOLATION, "too many frames", FAULT_LINGER_SECONDS)
        return not self._failed

    def pause_writing(self) -> None:
        super().pause_writing()
        self._check_later(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_check()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_check()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        # A client that does not read must not delay the exit.
        self.loop.call_later(EXIT_SECONDS, self.transport.abort)

    def handle_parser_exception(self) -> None:
        self._end(FAULT_LINGER_SECONDS)

    def _check_later(self, unsent: int) -> None:
        """After STALL_SECONDS, end a client that has read nothing of the `unsent` bytes that wait for it now."""

        def check() -> None:
            left = self.transport.get_write_buffer_size()
            if left < unsent:
                self._check_later(left)
            elif self.close_sent or self.transport.is_closing():
                self.transport.abort()
            else:
                self._fail(CloseCode.TRY_AGAIN_LATER, "not reading", LINGER_SECONDS)

        self._stall = self.loop.call_later(STALL_SECONDS, check)

    def _fail(self, code: CloseCode, reason: str, linger: float) -> None:
        self.conn.fail(code, reason)
        self._end(linger)

    def _end(self, linger: float) -> None:
        """Send the close frame that is queued, accept and send nothing more, and drop the connection after `linger`."""
        self._failed = self.disconnected = self.close_sent = True
        self.stop_keepalive()
        if (close := self.conn.close_sent) is None:
            self.transport.abort()
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.writable.set()
        # The kernel now buffers the rest; a client that reads again gets it, then the close code.
        self._set_option(socket.SOL_SOCKET, socket.SO_SNDBUF, LAST_BYTES)
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, LAST_BYTES)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._drop_at = self.loop.time() + linger
        self._drop_after(linger)

    def _drop_after(self, seconds: float) -> None:
        """Drop the connection when nothing has arrived for so long, or when the time to linger is over."""

        def drop() -> None:
            if self.transport.get_write_buffer_size():
                self.transport.abort()
            else:
                self.transport.close()

        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_at(min(self._drop_at, self.loop.time() + seconds), drop)

    def _cancel_check(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _set_option(self, level: int, option: int, value: int) -> None:
        peer: socket.socket = self.transport.get_extra_info("socket")
        if peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(level, option, value)


def socket_of(scope: Scope) -> Socket | None:
    """The connection of an ASGI scope; None under another server than ours."""
    extension = (scope["extensions"] or {}).get(EXTENSION)
    return cast(Socket, extension["socket"]) if isinstance(extension, dict) else None


OPTIONS: dict[str, Any] = {
    "ws": Socket,
    "ws_max_size": 64 << 10,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "ws_per_message_deflate": False,
}
"""For `uvicorn.Config`. Deflate would cost a fifth of the throughput and 0.2 MB per client (measured)."""
