"""`serve`: uvicorn with limits, in one process or, on PostgreSQL, several. On the first signal it drains, and it ends
within thirty seconds whatever its clients do.

HTTP is parsed by h11, which limits the whole head of a request (measured: with httptools one 200 MB header took
390 MB). Proxy headers are read in `security`, which believes only the proxies that the settings name.
"""

import asyncio
import contextlib
import errno
import json
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
from urllib.parse import urlsplit

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.cli.client import find_owner
from app.http import websocket
from app.http.console_session import link_to, new_token
from app.http.errors import ErrorResponse
from app.http.middleware import MAX_HEADER_BYTES, MAX_TARGET
from app.http.security import home_key
from app.lifecycle import MOST_OPEN, raise_descriptor_limit
from app.main import Application, create_app
from app.ops.logs import logging_to
from app.settings import LOOPBACK, SettingError, Settings
from app.signals import StopRequests, stop_signals
from app.supervisor import END_SECONDS, Parent, Supervisor

log = logging.getLogger("picasso.server")

MAX_HEAD = MAX_TARGET + MAX_HEADER_BYTES
"""Bytes of a request's line and headers, while they are being received."""
HEAD_SECONDS = 20.0
"""How long a request's head may take, counted from the connection or the end of the last response."""
STALL_SECONDS = 20.0
"""How long a client may read nothing of a response that is being sent."""
UNSENT_BYTES = 128 << 10
JOINED_BYTES = 4 << 10
"""Bytes that are kept until the end of the event loop's turn, so that a head and its body leave in one system call."""
IDLE_SECONDS = 20
DRAIN_SECONDS = 21.0
GRACEFUL_SECONDS = 3
EXIT_SECONDS = END_SECONDS - 1
FORCED_EXIT_SECONDS = 3.0
"""Until the process is ended after a second signal."""
KILLED = 143
BACKLOG = 2048
"""Connections that may wait to be accepted. Few files, few of them: all that wait are accepted in one turn."""
BACKLOG_SHARE = 6
RESERVED, RESERVED_SHARE = 256, 2
"""Descriptors that connections of clients leave to everything else: this many, at most that part of the limit."""
TELL_SECONDS = 60.0


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP protocol with the deadlines that it lacks, for a request's head and for a client that stops
    reading. Errors of the parser have the one error shape, too."""

    most_descriptors = MOST_OPEN
    """A connection whose descriptor is not below this is refused: what the process needs for its work comes first."""
    _told = -math.inf
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if transport.get_extra_info("socket").fileno() >= self.most_descriptors:
            self._refuse(transport)
            return
        # Bytes that wait for the client count as a stall, also after `close`. The kernel buffers few of them, or a slow
        # client would seem to read nothing for minutes and then megabytes.
        transport.set_write_buffer_limits(high=JOINED_BYTES, low=0)
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._await_head()

    def _refuse(self, transport: asyncio.Transport) -> None:
        if time.monotonic() - HttpProtocol._told > TELL_SECONDS:
            HttpProtocol._told = time.monotonic()
            log.warning("new connections are refused: this process has as many files open as its limit allows")
        transport.abort()

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
            if status == 431:
                response = ErrorResponse(status, "headers_too_large", "the request's head is too large")
            else:
                response = ErrorResponse(status, "malformed_request", "this is not an HTTP request")
            body = response.body()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            head = h11.Response(status_code=status, headers=headers)
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self, unsent: int | None = None) -> None:
        """Drop a client that has read nothing since the last check, when `unsent` bytes waited for it."""
        left = self.transport.get_write_buffer_size()
        if unsent is not None and left >= unsent:
            self.transport.abort()
        else:
            self._stall = self.loop.call_later(STALL_SECONDS, self._watch, left)

    def _await_head(self) -> None:
        _cancel(self._head)
        self._head = self.loop.call_later(HEAD_SECONDS, self._end_wait)

    def _end_wait(self, unsent: float = math.inf) -> None:
        # While the client still reads the last response, it is not late with its next request.
        left = self.transport.get_write_buffer_size()
        if 0 < left < unsent:
            self._head = self.loop.call_later(HEAD_SECONDS, self._end_wait, left)
        else:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Server(uvicorn.Server):
    """uvicorn that drains: the first signal sets `draining`, and it serves on until jobs have stopped.

    `parent` is the supervising process: its end counts as a signal, and its `ready` is set once this one can serve.
    """

    def __init__(self, config: uvicorn.Config, app: Application, parent: Parent | None = None) -> None:
        super().__init__(config)
        self._lifecycle, self._parent = app.lifecycle, parent
        self._requests = StopRequests()
        self._drain_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only count: the signal may arrive while a lock is held that logging would wait for."""
        is_first = not self._requests.is_begun
        self._requests.count(sig)
        if is_first:
            _exit_after(EXIT_SECONDS)
        elif self._requests.is_forced:
            self.should_exit = self.force_exit = True
            _exit_after(FORCED_EXIT_SECONDS)

    async def on_tick(self, counter: int) -> bool:
        if self._parent is not None and os.getppid() != self._parent.pid:
            self._parent = None
            self.handle_exit(signal.SIGTERM, None)
        if self._parent is not None and self._lifecycle.env is not None:
            self._parent.ready.set()
        if self._requests.is_begun and self._drain_until is None:
            log.info("closing: no new jobs, streams end")
            self._drain_until = time.monotonic() + DRAIN_SECONDS
            self._lifecycle.draining.set()
        if self._drain_until is not None and time.monotonic() > self._drain_until:
            self._lifecycle.abandon()
            return True
        return await super().on_tick(counter) or self._lifecycle.drained or self._lifecycle.exit_code is not None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # A terminal signals the whole process group; of several processes only the parent reacts.
        own = {signal.SIGTERM} if self._parent is not None else {*stop_signals()}
        before = {
            number: signal.signal(number, self.handle_exit if number in own else signal.SIG_IGN)
            for number in stop_signals()
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _exit_after(seconds: float) -> None:
    """End the process by force after so long, in case something hangs; the database survives that."""

    def exit_by_force() -> NoReturn:
        time.sleep(seconds)
        os._exit(KILLED)

    threading.Thread(target=exit_by_force, name="exit", daemon=True).start()


def serve(settings: Settings, *, workers: int, jobs: bool) -> int:
    """Serve until a signal and return the exit code.

    Effect: log lines on stderr; what `settle` does.
    Fails: SettingError when the settings do not allow it · OSError when the port is taken.
    """
    if workers > 1 and not settings.db.startswith("postgresql://"):
        raise SettingError(
            "--workers above 1 needs DB=postgresql://… (and REDIS_URL, and S3 for several machines): "
            "SQLite serves one process"
        )
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not (owner := find_owner(settings)):
            raise
        raise OSError(error.errno, f"{error.strerror}: {owner}") from error
    try:
        settings = settle(settings, listener.getsockname()[1])
    except SettingError:
        listener.close()
        raise
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
    """A listening socket; port 0 picks a free one.

    Fails: SettingError when the host has no address here · OSError when the port cannot be used.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SettingError(f"HOST must be a name or an address of this machine, not {host!r}") from error
    listener, limit = socket.socket(family), raise_descriptor_limit()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(min(BACKLOG, limit // BACKLOG_SHARE))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def settle(settings: Settings, port: int) -> Settings:
    """The settings with the port that was picked and, on a loopback address, the key that the server creates where
    API_KEY is not set, and the token of the link to its console.

    Effect: without API_KEY, the file `api_key` in the data directory; when it is made, the key on stdout; there the
    link, too.
    """
    public_url = settings.public_url
    if settings.port == 0 and public_url.endswith(":0"):
        public_url = f"{public_url.removesuffix(':0')}:{port}"
    if (key := settings.api_key) is None:
        is_new = not (settings.home / "api_key").exists()
        key = home_key(settings.home)
        if is_new:
            _tell("API key", key)
    secrets, token = settings.secrets | {key}, None
    if urlsplit(public_url).hostname in LOOPBACK and settings.host in LOOPBACK:
        token = new_token()
        secrets |= {token}
        _tell("Console", f"{link_to(public_url, token)} (once, within a day)")
    return msgspec.structs.replace(
        settings, port=port, public_url=public_url, api_key=key, console_token=token, secrets=secrets
    )


def _tell(name: str, text: str) -> None:
    """Print what only the owner may read, which therefore is in no log: as a line of a log where stdout is no terminal,
    because many services read it together with stderr, as JSON."""
    if sys.stdout.isatty():
        print(f"{name}: {text}", flush=True)
    else:
        line = {"ts": int(time.time() * 1000), "level": "info", "msg": f"{name}: {text}"}
        print(json.dumps(line), flush=True)


def _announce(settings: Settings) -> None:
    address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    facts = {
        "address": address,
        "home": str(settings.home),
        "db": _without_secrets(settings.db),
        "redis": _without_secrets(settings.redis_url) if settings.redis_url else "embedded",
        "bucket": _without_secrets(settings.bucket),
        "images": _without_secrets(settings.images),
        "reasoning": settings.default_model_reasoning,
        "vision": settings.default_model_vision,
    }
    log.info("listening on %s", address, extra={"fields": facts})
    if settings.fetch_allow:
        allowed = ", ".join(sorted(settings.fetch_allow))
        log.warning("FETCH_ALLOW: fetches may also reach %s", allowed)


def _without_secrets(address: str) -> str:
    """A URL without user, password and query."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def _run(app: Application, listener: socket.socket, parent: Parent | None = None) -> int:
    limit = raise_descriptor_limit()
    HttpProtocol.most_descriptors = limit - min(RESERVED, limit // RESERVED_SHARE)
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        backlog=min(BACKLOG, limit // BACKLOG_SHARE),
        h11_max_incomplete_event_size=MAX_HEAD,
        **websocket.OPTIONS,
    )
    Server(config, app, parent).run([listener])
    return app.lifecycle.exit_code or 0


def _run_child(settings: Settings, listener: socket.socket, jobs: bool, parent: Parent) -> NoReturn:
    with logging_to(sys.stderr, settings.secrets), listener:
        code = _run(create_app(settings, jobs=jobs), listener, parent)
    sys.exit(code)
