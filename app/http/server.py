"""`serve`: uvicorn with bounds. One process, or several on PostgreSQL; it drains on the first signal and is gone
within thirty seconds, whatever its clients do.

HTTP is parsed by h11, whose one limit bounds the whole head of a request (measured: with httptools one 200 MB header
took 390 MB). Proxy headers are read in `security`, which believes only whom the settings name.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.http import websocket
from app.http.errors import Answer
from app.http.middleware import MAX_HEADER_BYTES, MAX_TARGET
from app.http.security import home_key
from app.http.supervisor import END_SECONDS, Parent, Supervisor
from app.main import Application, create_app
from app.ops.logs import logging_to
from app.settings import SettingError, Settings

log = logging.getLogger("picasso.server")

MAX_HEAD = MAX_TARGET + MAX_HEADER_BYTES
"""Bytes of a request's line and headers, while they are being received."""
HEAD_SECONDS = 20.0
"""How long a request's head may take, counted from the connection or the end of the last answer."""
STALL_SECONDS = 20.0
"""How long a client may take nothing of an answer that is being sent."""
UNSENT_BYTES = 128 << 10
JOINED_BYTES = 4 << 10
"""So much waits for the end of the loop's turn: a head leaves together with its body, in one call of the kernel."""
IDLE_SECONDS = 20
DRAIN_SECONDS = 21.0
GRACEFUL_SECONDS = 3
EXIT_SECONDS = END_SECONDS - 1
HASTY_SECONDS = 3.0
"""After a second signal."""
KILLED = 143
BACKLOG = 2048


class Bounded(H11Protocol):
    """uvicorn's HTTP protocol with the deadlines that it lacks: for a request's head, and for a client that stops
    reading. A refusal below the application has the one error shape."""

    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Bytes that the client did not take count as a stall, also after `close`; and the kernel keeps few of them, or
        # a slow client would seem to take nothing for minutes and then megabytes.
        transport.set_write_buffer_limits(high=JOINED_BYTES, low=0)
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head)
        _cancel(self._stall)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._head)

    def on_response_complete(self) -> None:
        self._await_head()
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        _cancel(self._head)
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._stall)

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_refusal(self.conn, status))
        self.transport.close()

    def _watch(self, unsent: int | None = None) -> None:
        """Drop a client that has taken nothing since the last look, when `unsent` bytes waited for it."""
        left = self.transport.get_write_buffer_size()
        if unsent is not None and left >= unsent:
            self.transport.abort()
        else:
            self._stall = self.loop.call_later(STALL_SECONDS, self._watch, left)

    def _await_head(self) -> None:
        _cancel(self._head)
        self._head = self.loop.call_later(HEAD_SECONDS, self._end_wait)

    def _end_wait(self, unsent: float = math.inf) -> None:
        # While the last answer is still being taken, the client is not late with its next request.
        left = self.transport.get_write_buffer_size()
        if 0 < left < unsent:
            self._head = self.loop.call_later(HEAD_SECONDS, self._end_wait, left)
        else:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _refusal(connection: h11.Connection, status: int) -> bytes:
    too_large = status == 431
    code = "headers_too_large" if too_large else "malformed_request"
    message = "the request's head is too large" if too_large else "this is not an HTTP request"
    body = Answer(status, code, message).body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    events = (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)


class Server(uvicorn.Server):
    """uvicorn that drains: the first signal sets `draining` and listening goes on until the jobs have stopped.

    `parent` is the process whose end counts as a signal, and which is told when this one is ready.
    """

    def __init__(self, config: uvicorn.Config, app: Application, parent: Parent | None = None) -> None:
        super().__init__(config)
        self._life, self._parent = app.life, parent
        self._signals = 0
        self._drain_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only count: a signal may come while a lock is held that logging or a queue would want."""
        self._signals += 1
        if self._signals == 1:
            _exit_after(EXIT_SECONDS)
        else:
            self.should_exit = self.force_exit = True
            _exit_after(HASTY_SECONDS)

    async def on_tick(self, counter: int) -> bool:
        if self._parent is not None and os.getppid() != self._parent.pid:
            self._parent = None
            self.handle_exit(signal.SIGTERM, None)
        if self._parent is not None and self._life.env is not None:
            self._parent.ready.set()
        if self._signals and self._drain_until is None:
            log.info("closing: no new jobs, streams end")
            self._drain_until = time.monotonic() + DRAIN_SECONDS
            self._life.draining.set()
        if self._drain_until is not None and time.monotonic() > self._drain_until:
            self._life.abandon()
            return True
        return await super().on_tick(counter) or self._life.drained or self._life.exit_code is not None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # A terminal signals the whole group; of several processes only the parent listens to it.
        interrupt = self.handle_exit if self._parent is None else signal.SIG_IGN
        before = {signal.SIGINT: signal.signal(signal.SIGINT, interrupt)}
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _exit_after(seconds: float) -> None:
    """The last resort: whatever still hangs then is cut off. The ledger and the event log survive that."""
    threading.Thread(target=_cut_off, args=(seconds,), name="exit", daemon=True).start()


def _cut_off(seconds: float) -> NoReturn:
    time.sleep(seconds)
    os._exit(KILLED)


def serve(settings: Settings, *, workers: int, jobs: bool) -> int:
    """Serve until a signal and return the exit code.

    Effect: log lines on stderr; what `settle` does.
    Fails: SettingError when the settings do not allow it · OSError when the port cannot be had.
    """
    if workers > 1 and not settings.db.startswith("postgresql://"):
        raise SettingError(
            "--workers above 1 needs DB=postgresql://… (and REDIS_URL, and S3 for several machines): "
            "SQLite serves one process"
        )
    listener = listen(settings.host, settings.port)
    settings = settle(settings, listener.getsockname()[1])
    if workers == 1:
        return serve_app(create_app(settings, jobs=jobs), settings, listener)
    with logging_to(sys.stderr, settings.secrets), listener:
        _announce(settings)
        return Supervisor(_run_child, (settings, listener, jobs)).run(workers)


def serve_app(app: Application, settings: Settings, listener: socket.socket) -> int:
    """Serve one application in this process until a signal and return the exit code. Effect: as `serve`."""
    with logging_to(sys.stderr, settings.secrets), listener:
        _announce(settings)
        return _run(app, listener)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Fails: SettingError when there is no such host · OSError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SettingError(f"HOST must be a name or an address of this machine, not {host!r}") from error
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def settle(settings: Settings, port: int) -> Settings:
    """The settings with the port that was really taken, and the key that a loopback server makes for itself.

    Effect: where API_KEY is not set, the file `api_key` in the data directory, and the key on stdout.
    """
    public_url = settings.public_url
    if settings.port == 0 and public_url.endswith(":0"):
        public_url = f"{public_url.removesuffix(':0')}:{port}"
    if (key := settings.api_key) is None:
        key = home_key(settings.home)
        print(f"API key: {key}", flush=True)
    return msgspec.structs.replace(
        settings, port=port, public_url=public_url, api_key=key, secrets=settings.secrets | {key}
    )


def _announce(settings: Settings) -> None:
    address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    facts = {
        "address": address,
        "home": str(settings.home),
        "db": _shown(settings.db),
        "redis": _shown(settings.redis_url) if settings.redis_url else "embedded",
        "bucket": _shown(settings.bucket),
        "images": _shown(settings.images),
        "reasoning": settings.default_model_reasoning,
        "vision": settings.default_model_vision,
    }
    log.info("listening on %s", address, extra={"fields": facts})
    if settings.fetch_allow:
        allowed = ", ".join(sorted(settings.fetch_allow))
        log.warning("FETCH_ALLOW lets the fetch guard through to %s", allowed)


def _shown(address: str) -> str:
    """An address without user, password and query."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def _run(app: Application, listener: socket.socket, parent: Parent | None = None) -> int:
    config = uvicorn.Config(
        app,
        http=Bounded,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD,
        **websocket.OPTIONS,
    )
    Server(config, app, parent).run([listener])
    return app.life.exit_code or 0


def _run_child(settings: Settings, listener: socket.socket, jobs: bool, parent: Parent) -> NoReturn:
    with logging_to(sys.stderr, settings.secrets), listener:
        code = _run(create_app(settings, jobs=jobs), listener, parent)
    sys.exit(code)
