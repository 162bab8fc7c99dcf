"""Boards: guests of a public page vote on its images, comment on and approve them; the owner opens and moderates."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp, Send
from msgspec import UNSET, Meta, UnsetType

from app.http.public_access import Guest, Rate, admit_guest, admit_reader, guest_token, take
from app.http.schemas import LINE, PROSE, Body, Id
from app.http.security import client_address, limit_key
from app.lifecycle import Lifecycle
from app.routes.stream import LAST, EventStream, bindings_of
from app.settings import Settings
from tools.env import Env, Subscription
from tools.errors import Forbidden, Gone, Invalid, Locked, NotFound, RateLimited, Unavailable
from tools.events import Approval, Artifact, BoardNews, Comment, Frame, Tally
from tools.publishing import artifacts, boards
from tools.publishing.boards import Choice, Mine, OwnerState, Remark, State, Verdict
from tools.rows import ArtifactRow, new_id

STREAM_SECONDS = 900.0
"""After this a stream ends and the browser reconnects, so that no viewer keeps a place for ever."""
ADMIT_SECONDS = 5.0
"""How often the access of each viewer of a stream is checked again."""
VIEWERS = 1000
"""Live viewers of one board at a time, over all processes."""
BODY_BYTES = 16 << 10
REFUSALS = (NotFound, Gone, Locked, Forbidden, RateLimited)
"""What ends a viewer's stream; their next request gets it as its status."""


COMMENTS_OF_GUEST = Rate("comments", 10, 6)
STREAMS_OF_ADDRESS = Rate("streams", 120, 120)

ImageId = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9._:-]+$")]
GuestName = Annotated[str, Meta(min_length=1, max_length=80, pattern=LINE)]
Part = Annotated[float, Meta(ge=0, le=1)]
Moment = Annotated[int, Meta(ge=1, le=LAST)]


class NewVote(Body, frozen=True):
    """A vote for an image; `null` removes it."""

    examples: ClassVar[list[dict[str, Any]]] = [{"progressionId": "IMAGE", "choice": "yes"}]
    progression_id: ImageId
    choice: Choice | None


class NewComment(Body, frozen=True):
    """A comment. `x` and `y` pin it to a point of the image, as fractions of its width and height from the top left."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"progressionId": "IMAGE", "text": "A little warmer here?", "name": "Ana", "x": 0.4, "y": 0.25}
    ]
    progression_id: ImageId
    text: Annotated[str, Meta(min_length=1, max_length=1000, pattern=PROSE)]
    name: GuestName | None = None
    x: Part | None = None
    y: Part | None = None


class NewApproval(Body, frozen=True):
    """A verdict on an image; `null` removes it."""

    examples: ClassVar[list[dict[str, Any]]] = [{"progressionId": "IMAGE", "verdict": "approve", "name": "Ana"}]
    progression_id: ImageId
    verdict: Verdict | None
    name: GuestName | None = None


class BoardPatch(Body, frozen=True):
    """Fields that are left out stay as they are; `null` clears them. Board events also go to `sessionId`."""

    examples: ClassVar[list[dict[str, Any]]] = [{"open": True, "sessionId": "s1"}]
    open: bool
    closes_at: Moment | UnsetType | None = UNSET
    session_id: Id | UnsetType | None = UNSET


class BoardView(State, frozen=True, rename="camel", kw_only=True):
    """The board as everyone sees it, and the caller's own votes and verdicts."""

    mine: Mine


class _FirstMessage(State, frozen=True, rename="camel", kw_only=True, tag="state", tag_field="kind"):
    """The first message of a stream; all later ones are a BoardNews."""


class _EventData(msgspec.Struct, frozen=True):
    data: Artifact


async def _page(slug: str, request: Request[Any, Any, Any], env: Env, settings: Settings) -> ArtifactRow:
    """The published artifact with this board, for callers who may see its page.

    Fails: NotFound · Gone · Locked · Forbidden.
    """
    artifact = (await admit_reader(request, env, settings, slug, beside=True)).artifact
    if artifact.generator_id not in boards.TAKES:
        raise NotFound("this page has no board")
    return artifact


@get("/public/artifact/{slug:str}/board", opt={"access": "open"}, tags=["public"])
async def read_board(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> BoardView:
    """The votes, comments and verdicts on the page's images as they are now."""
    artifact = await _page(slug, request, env, settings)
    state = await boards.look(env, artifact)
    token = guest_token(request, settings)
    mine = await boards.mine(env, artifact.id, boards.guest_of(artifact.id, token)) if token else Mine({}, {})
    return BoardView(**msgspec.structs.asdict(state), mine=mine)


@post(
    "/public/artifact/{slug:str}/votes",
    opt={"access": "open"},
    status_code=200,
    request_max_body_size=BODY_BYTES,
    tags=["public"],
)
async def cast_vote(
    slug: FromPath[str],
    data: JSONBody[NewVote],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Tally]:
    """Vote for an image of the page, replacing the guest's earlier vote. Returns the image's votes."""
    artifact = await _page(slug, request, env, settings)
    boards.check_takes(artifact, "vote")
    guest = await admit_guest(request, env, settings, artifact.id)
    return _respond(await boards.vote(env, artifact, guest.id, data.progression_id, data.choice), guest)


@post(
    "/public/artifact/{slug:str}/comments",
    opt={"access": "open"},
    status_code=201,
    request_max_body_size=BODY_BYTES,
    tags=["public"],
)
async def add_comment(
    slug: FromPath[str],
    data: JSONBody[NewComment],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Comment]:
    """Comment on an image of the page, or on a point of it."""
    if (data.x is None) != (data.y is None):
        raise Invalid("x and y: give both or neither", code="half_a_point")
    artifact = await _page(slug, request, env, settings)
    boards.check_takes(artifact, "comment")
    guest = await admit_guest(request, env, settings, artifact.id)
    await take(env, COMMENTS_OF_GUEST, guest.id)
    remark = Remark(id=new_id(), **msgspec.structs.asdict(data))
    return _respond(await boards.comment(env, artifact, guest.id, remark), guest)


@post(
    "/public/artifact/{slug:str}/approvals",
    opt={"access": "open"},
    status_code=200,
    request_max_body_size=BODY_BYTES,
    tags=["public"],
)
async def give_verdict(
    slug: FromPath[str],
    data: JSONBody[NewApproval],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> Response[Approval]:
    """Approve or reject an image of the page in its present version, replacing the guest's earlier verdict."""
    artifact = await _page(slug, request, env, settings)
    boards.check_takes(artifact, "approval")
    guest = await admit_guest(request, env, settings, artifact.id)
    verdict = await boards.approve(env, artifact, guest.id, data.progression_id, data.verdict, data.name)
    return _respond(verdict, guest)


# Not in the OpenAPI document: tools that read it wait for the end of a response, and this one does not end.
@get(
    "/public/artifact/{slug:str}/board/stream",
    media_type="text/event-stream",
    opt={"access": "open"},
    include_in_schema=False,
)
async def follow_board(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    settings: NamedDependency[Settings],
    lifecycle: NamedDependency[Lifecycle],
) -> ASGIApp:
    """The board and then each change of it, as Server-Sent Events."""

    async def admit() -> ArtifactRow:
        return await _page(slug, request, bindings_of(lifecycle), settings)

    async def take_place() -> None:
        env = bindings_of(lifecycle)
        await take(env, STREAMS_OF_ADDRESS, limit_key(client_address(request.scope, settings)))
        if await env.PICASSO_DO.clients(boards.session_of((await admit()).id)) >= VIEWERS:
            raise RateLimited(f"a board has at most {VIEWERS:,} live viewers", retry_after=30.0)

    return BoardStream(lifecycle, admit, take_place)


@post("/api/artifacts/{artifact_id:str}/board", status_code=200, tags=["boards"])
async def set_board(artifact_id: FromPath[str], data: JSONBody[BoardPatch], env: NamedDependency[Env]) -> OwnerState:
    """Open the artifact's board to guests, or close it; what they wrote stays."""
    artifact = await artifacts.get(env, artifact_id)
    await boards.set_board(env, artifact, open=data.open, closes_at=data.closes_at, session_id=data.session_id)
    return await boards.inspect(env, artifact)


@get("/api/artifacts/{artifact_id:str}/board", tags=["boards"])
async def inspect_board(artifact_id: FromPath[str], env: NamedDependency[Env]) -> OwnerState:
    """Everything on the artifact's board, including hidden comments."""
    return await boards.inspect(env, await artifacts.get(env, artifact_id))


@delete("/api/artifacts/{artifact_id:str}/board/comments/{comment_id:str}", tags=["boards"])
async def hide_comment(artifact_id: FromPath[str], comment_id: FromPath[str], env: NamedDependency[Env]) -> None:
    """Hide a comment from guests."""
    await boards.hide(env, artifact_id, comment_id)


handlers: list[Any] = [
    read_board,
    cast_vote,
    add_comment,
    give_verdict,
    follow_board,
    set_board,
    inspect_board,
    hide_comment,
]


class BoardStream(EventStream):
    """The whole board first, so that a client that reconnects has missed nothing, and then each change of it.

    Of the session's events only this board's own are sent. It ends when `admit` refuses the viewer, because access to
    the page may end while they watch; their next request is refused, too.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        admit: Callable[[], Awaitable[ArtifactRow]],
        take_place: Callable[[], Awaitable[None]],
        every: float = ADMIT_SECONDS,
    ) -> None:
        super().__init__(lifecycle, "", None)
        self._admit, self._take_place, self._every = admit, take_place, every

    async def subscribe(self) -> AbstractAsyncContextManager[Subscription]:
        self._artifact = await self._admit()
        await self._take_place()
        return bindings_of(self._lifecycle).PICASSO_DO.subscribe(boards.session_of(self._artifact.id), None)

    async def push(self, send: Send) -> None:
        with contextlib.suppress(*REFUSALS, Unavailable, TimeoutError):
            async with asyncio.timeout(STREAM_SECONDS):
                subscription = await self.subscribed()
                # Read after the subscription began: a change in between is sent twice rather than never.
                state = await boards.look(bindings_of(self._lifecycle), self._artifact)
                await _send(send, [_FirstMessage(**msgspec.structs.asdict(state))])
                async for frames in subscription:
                    changes = filter(None, (board_news(frame, self._artifact.id) for frame in frames))
                    await _send(send, [news for news in changes if news.revision > state.revision])

    async def ended(self) -> None:
        with contextlib.suppress(*REFUSALS):
            while not self._lifecycle.draining.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._lifecycle.draining.wait(), self._every)
                with contextlib.suppress(Unavailable):
                    await self._admit()


def board_news(frame: Frame, artifact_id: str) -> BoardNews | None:
    """The change of this artifact's board that an event carries; None for every other event."""
    with contextlib.suppress(msgspec.ValidationError):
        data = msgspec.json.decode(frame.text, type=_EventData).data
        return data.board if data.artifact_id == artifact_id else None
    return None


async def _send(send: Send, messages: Sequence[Any]) -> None:
    if messages:
        body = b"".join(b"data: %s\n\n" % msgspec.json.encode(message) for message in messages)
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _respond(content: Any, guest: Guest) -> Response[Any]:
    return Response(content, cookies=[guest.cookie] if guest.cookie else None)
