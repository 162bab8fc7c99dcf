"""A session's events: live over WebSocket or Server-Sent Events, or polled; and posting events from outside.

All of them read the same event log, so `seq` means the same everywhere.
"""

import asyncio
import contextlib
import re
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import WebSocket, get, post, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath, HeaderParameter, JSONBody, PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send

from app.http.schemas import Body, Limit
from app.http.websocket import socket_of
from app.lifecycle import Lifecycle
from app.owned_tasks import end_tasks
from tools import actor_emit
from tools.actor_emit import check_session_id
from tools.env import Env, Subscription
from tools.errors import Gone, Invalid, PicassoError, Unavailable
from tools.events import Envelope, envelope, with_addresses
from tools.pages import LIMIT, Page
from tools.step import log_context

CHUNK_BYTES = 32 << 10
HEARTBEAT_SECONDS = 10.0
RETRY_MS = 1000
READY_SECONDS = 0.25
"""How often a stream that waits looks whether the server is ready."""
HANDSHAKE_SECONDS = 5.0
"""How long a WebSocket's handshake waits for that; its client is told to come again then."""
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
RESTARTING = 1012
CLOSE_CODES: dict[type[PicassoError], int] = {Invalid: 4400, Gone: 4410, Unavailable: 1013}

LAST = (1 << 63) - 1
"""The largest integer that both databases store."""
Seq = Annotated[int, msgspec.Meta(ge=0, le=LAST)]
SessionId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
# `gt=-1` because a bound of 0 does not reach the OpenAPI document.
Since = Annotated[
    int | None,
    QueryParameter(gt=-1, le=LAST, description="the last `seq` that the client has; later events are sent"),
]
After = Annotated[
    int | None,
    QueryParameter(gt=-1, le=LAST, description="`nextCursor` of the previous page; overrides `since`"),
]
LastEventId = Annotated[int | None, HeaderParameter(name="Last-Event-ID", gt=-1, le=LAST)]


Example = dict[str, Any]


class Posted(Body, frozen=True):
    """An event from outside. `ts` is accepted for senders that set one, and ignored: the server sets its own."""

    examples: ClassVar[list[Example]] = [
        {"type": "agent", "data": {"artifactId": "a1", "kind": "message", "text": "Hello"}}
    ]
    type: str
    data: dict[str, Any]
    session_id: str | None = None
    ts: int | float | None = None


class Broadcast(Posted, frozen=True):
    """An event from outside, for the session named here."""

    examples: ClassVar[list[Example]] = [{"sessionId": "s1", **Posted.examples[0]}]
    session_id: str


class Stored(msgspec.Struct, frozen=True):
    """The number that the event was given in its session."""

    seq: int


class SessionState(msgspec.Struct, frozen=True, rename="camel"):
    """`clients` is how many follow the session, over all server processes; `seq` is its last event's number, or 0."""

    session_id: str
    clients: int
    seq: int


@websocket("/api/stream/{session_id:str}", opt={"access": "read"})
async def follow_socket(socket: WebSocket[Any, Any, Any], lifecycle: NamedDependency[Lifecycle]) -> None:
    """The session's events over a WebSocket.

    Closes with 4400 (malformed id, cursor or query), 4410 (`cursor_expired`), 1012 (restarting), 1013 (the client does
    not read, or the server is not ready); always after the handshake, because a client cannot read why one failed.
    """
    try:
        session_id, since = check_session_id(socket.path_params["session_id"]), _cursor(socket)
        # Subscribed before the handshake ends, so that no later event is missed.
        env = await _ready(lifecycle)
        async with env.PICASSO_DO.subscribe(session_id, since) as subscription:
            await _accept(socket)
            await _until_first(_push(socket, subscription), _read(socket), lifecycle.draining.wait())
        await _close(socket, RESTARTING, "restarting")
    except (Invalid, Gone, Unavailable) as refusal:
        await _close(socket, CLOSE_CODES[type(refusal)], refusal.code)
    except OSError:
        # The client disconnected while something was being sent.
        return


async def _ready(lifecycle: Lifecycle) -> Env:
    """The bindings, waited for while the server starts. Fails: Unavailable after HANDSHAKE_SECONDS or at the end."""
    for _ in range(round(HANDSHAKE_SECONDS / READY_SECONDS)):
        if lifecycle.env is not None or lifecycle.draining.is_set():
            break
        await asyncio.sleep(READY_SECONDS)
    return bindings_of(lifecycle)


def bindings_of(lifecycle: Lifecycle) -> Env:
    """The bindings of the process. Fails: Unavailable while it starts."""
    if lifecycle.env is None:
        raise Unavailable("the server is starting and not ready yet", code="not_ready")
    return lifecycle.env


async def _accept(socket: WebSocket[Any, Any, Any]) -> None:
    """Complete the handshake. Browsers give up where they offered subprotocols and none is answered; all of ours are
    the same, so it is the first one."""
    offered = filter(TOKEN.fullmatch, socket.scope["subprotocols"])
    await socket.accept(subprotocols=next(offered, None))


def _cursor(socket: WebSocket[Any, Any, Any]) -> int | None:
    """The query parameter `since`. Fails: Invalid (400), also for a parameter that there is not."""
    if not {"since", "key"}.issuperset(socket.query_params):
        raise Invalid("the stream has the query parameters since and key", code="bad_query", status=400)
    match socket.query_params.getall("since", []):
        case []:
            return None
        case [text]:
            with contextlib.suppress(msgspec.ValidationError):
                return msgspec.convert(text, Seq, strict=False)
    raise Invalid("since: one whole number, the seq of the last known event", code="bad_cursor", status=400)


async def _close(socket: WebSocket[Any, Any, Any], code: int, reason: str) -> None:
    """Close, unless the client did; a handshake that is not complete is completed first."""
    with contextlib.suppress(OSError, WebSocketDisconnect):
        await _accept(socket)
        await socket.close(code, reason)


async def _push(socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
    connection = socket_of(socket.scope)
    async for frames in subscription:
        if connection is not None:
            for chunk in _chunks([frame.wire for frame in frames]):
                await connection.write(chunk)
        else:
            for frame in frames:
                await socket.send_text(frame.text)


async def _read(socket: WebSocket[Any, Any, Any]) -> None:
    """Read until the client disconnects: answer `ping` with `pong`, ignore the rest."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") == "ping":
            await socket.send_text("pong")


def _chunks(parts: Sequence[bytes]) -> Iterator[bytes]:
    """The parts joined into chunks of about CHUNK_BYTES, so that little is buffered for a client that stalls."""
    start, size = 0, 0
    for end, part in enumerate(parts):
        if size and size + len(part) > CHUNK_BYTES:
            yield b"".join(parts[start:end])
            start, size = end, 0
        size += len(part)
    yield b"".join(parts[start:])


async def _until_first(*works: Coroutine[Any, Any, object]) -> None:
    """Run all until one ends, then cancel the others. Fails: with the exception of that one."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end_tasks(tasks)


class EventStream(ASGIResponse):
    """The session's events as `text/event-stream`: `id` is `seq`, `data` the envelope; a comment every 10 s.

    Browsers give up an EventSource for ever at any status but 200. So while the server starts, or a binding is away,
    the response begins and waits; only what another request would not mend has another status.
    """

    _should_set_content_length = False

    def __init__(self, lifecycle: Lifecycle, session_id: str, since: int | None) -> None:
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        self._lifecycle, self._session_id, self._since = lifecycle, session_id, since
        self._subscription: Subscription | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self._stack = stack
            with contextlib.suppress(Unavailable):
                self._subscription = await stack.enter_async_context(await self.subscribe())
            await super().__call__(scope, receive, send)

    async def subscribe(self) -> AbstractAsyncContextManager[Subscription]:
        """A subscription to enter. Fails: Unavailable when the server cannot serve it yet; Gone."""
        return bindings_of(self._lifecycle).PICASSO_DO.subscribe(self._session_id, self._since)

    async def subscribed(self) -> Subscription:
        """The subscription, waited for as long as the server needs. Fails: with what its next request will get."""
        while self._subscription is None:
            await asyncio.sleep(READY_SECONDS)
            with contextlib.suppress(Unavailable):
                self._subscription = await self._stack.enter_async_context(await self.subscribe())
        return self._subscription

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send events until the client disconnects or the stream ends."""

        async def send_heartbeats() -> None:
            while True:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                await _send(send, b":\n\n")

        async def wait_for_disconnect() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        # Without an empty line after it, so that it is part of the first event's block instead of a block of its own.
        await _send(send, b"retry: %d\n" % RETRY_MS)
        await _until_first(self.push(send), send_heartbeats(), wait_for_disconnect(), self.ended())
        await _send(send, b"", more=False)

    async def ended(self) -> None:
        """Return when the stream is to end although there may be more events."""
        await self._lifecycle.draining.wait()

    async def push(self, send: Send) -> None:
        """Send events as they come."""
        # Events may expire before a slow client gets them: then the stream ends, and its next request gets a 410.
        with contextlib.suppress(Gone, Unavailable):
            async for frames in await self.subscribed():
                blocks = []
                for frame in frames:
                    number = b"" if frame.seq is None else b"id: %d\n" % frame.seq
                    blocks.append(b"%sdata: %s\n\n" % (number, frame.text))
                for chunk in _chunks(blocks):
                    await _send(send, chunk)


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


# Not in the OpenAPI document: tools that read it wait for the end of a response, and this one does not end.
@get("/api/stream/{session_id:str}", media_type="text/event-stream", opt={"access": "read"}, include_in_schema=False)
async def follow_events(
    session_id: SessionId,
    lifecycle: NamedDependency[Lifecycle],
    since: Since = None,
    last_event_id: LastEventId = None,
) -> ASGIApp:
    """The session's events as Server-Sent Events: only new ones or, with a cursor, all after it and then new ones."""
    cursor = since if last_event_id is None else last_event_id
    return EventStream(lifecycle, check_session_id(session_id), cursor)


@get("/api/sessions/{session_id:str}/events", opt={"access": "read"}, tags=["stream"])
async def list_events(
    session_id: SessionId,
    env: NamedDependency[Env],
    since: Since = None,
    cursor: After = None,
    limit: Limit = LIMIT,
) -> Page[Envelope]:
    """The session's events after a cursor, oldest first. To poll, keep the last `seq` and pass it as `since`."""
    check_session_id(session_id)
    read = await actor_emit.read(env.DB, session_id, cursor or since or 0, limit)
    events = [with_addresses(event, env.settings) for event in read]
    last = (await actor_emit.session(env.DB, session_id)).seq
    more = bool(events) and events[-1].seq < last
    return Page([envelope(event) for event in events], str(events[-1].seq) if more else None)


@get("/api/jobs/{job_id:str}/events", opt={"access": "read"}, tags=["stream"])
async def list_job_events(
    job_id: FromPath[str],
    env: NamedDependency[Env],
    since: Since = None,
    cursor: After = None,
    limit: Limit = LIMIT,
) -> Page[Envelope]:
    """The job's events after a cursor, oldest first; `seq` counts the session's events, so it may have gaps."""
    events = await actor_emit.read_job(env.DB, job_id, cursor or since or 0, limit + 1)
    shown = [envelope(with_addresses(event, env.settings)) for event in events[:limit]]
    return Page(shown, str(shown[-1].seq) if len(events) > limit else None)


@post("/_actor/{session_id:str}", status_code=202, tags=["actor"])
async def post_event(session_id: SessionId, data: JSONBody[Posted], env: NamedDependency[Env]) -> Stored:
    """Add an event from outside to the session. Only the server reports on jobs, so an event that names a job or item
    is refused."""
    if data.session_id not in (None, session_id):
        raise Invalid("sessionId: the body must name the session of the path", code="other_session", status=400)
    return await _post(env, session_id, data)


@post("/broadcast", status_code=202, tags=["actor"])
async def broadcast(data: JSONBody[Broadcast], env: NamedDependency[Env]) -> Stored:
    """As `POST /_actor/{sessionId}`, with the session named in the body."""
    return await _post(env, data.session_id, data)


async def _post(env: Env, session_id: str, data: Posted) -> Stored:
    check_session_id(session_id)
    with log_context(sessionId=session_id):
        return Stored(await actor_emit.post(env, session_id, data.type, data.data))


@get("/_actor/{session_id:str}/state", tags=["actor"])
async def show_state(session_id: SessionId, env: NamedDependency[Env]) -> SessionState:
    """How many clients follow the session, and the number of its last event."""
    known = await actor_emit.session(env.DB, check_session_id(session_id))
    return SessionState(session_id, await env.PICASSO_DO.clients(session_id), known.seq)


handlers = [follow_socket, follow_events, list_events, list_job_events, post_event, broadcast, show_state]
