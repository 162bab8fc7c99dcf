"""Boards: what guests of a public page say about its images, and what its owner does about that.

A guest is a cookie, made when something is said for the first time; who only looks gets none. It is signed, so that
guests cannot be made up faster than `NEW_GUESTS` allows, and the database knows no more of it than a hash.
"""

import asyncio
import contextlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp, Send
from msgspec import UNSET, Meta, UnsetType

from app.http.public_access import admit_reader
from app.http.schemas import LINE, PROSE, Body, Id
from app.http.security import client_address, limit_key, own_origin
from app.lifecycle import Lifecycle
from app.routes.stream import LAST, EventStream
from app.settings import Settings
from tools.env import Env
from tools.errors import Forbidden, Gone, Invalid, Locked, NotFound, RateLimited, Unavailable
from tools.events import Approval, Artifact, BoardNews, Comment, Frame, Tally
from tools.publishing import artifacts, boards
from tools.publishing.boards import Choice, Mine, OwnerState, Remark, State, Verdict
from tools.rows import ArtifactRow, new_id

COOKIE = "picasso_guest"
COOKIE_DAYS = 180
COOKIE_SHAPE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{32})")
STREAM_SECONDS = 900.0
"""After this a stream ends and the browser asks again, so that nobody holds a place for ever."""
ADMIT_SECONDS = 5.0
"""So often each reader of a stream is asked again whether they may see the page."""
VIEWERS = 1000
"""Of one board at a time, over all processes."""
BODY_BYTES = 16 << 10


class Rate(NamedTuple):
    """A bucket of so many, filled again at so many a minute."""

    name: str
    capacity: int
    per_minute: int


NEW_GUESTS = Rate("guests", 60, 12)
WRITES_OF_ADDRESS = Rate("address", 300, 150)
WRITES_OF_GUEST = Rate("guest", 60, 60)
COMMENTS_OF_GUEST = Rate("comments", 10, 6)
STREAMS_OF_ADDRESS = Rate("streams", 120, 120)

ImageId = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9._:-]+$")]
GuestName = Annotated[str, Meta(min_length=1, max_length=80, pattern=LINE)]
Part = Annotated[float, Meta(ge=0, le=1)]
Moment = Annotated[int, Meta(ge=1, le=LAST)]


class NewVote(Body, frozen=True):
    """`null` takes the vote back."""

    examples: ClassVar[list[dict[str, Any]]] = [{"progressionId": "IMAGE", "choice": "yes"}]
    progression_id: ImageId
    choice: Choice | None


class NewComment(Body, frozen=True):
    """`x` and `y` pin it to a point of the image, as parts of its width and height from the upper left corner."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"progressionId": "IMAGE", "text": "A little warmer here?", "name": "Ana", "x": 0.4, "y": 0.25}
    ]
    progression_id: ImageId
    text: Annotated[str, Meta(min_length=1, max_length=1000, pattern=PROSE)]
    name: GuestName | None = None
    x: Part | None = None
    y: Part | None = None


class NewApproval(Body, frozen=True):
    """`null` takes the verdict back."""

    examples: ClassVar[list[dict[str, Any]]] = [{"progressionId": "IMAGE", "verdict": "approve", "name": "Ana"}]
    progression_id: ImageId
    verdict: Verdict | None
    name: GuestName | None = None


class BoardPatch(Body, frozen=True):
    """Fields that are left out stay as they are; `null` clears them. What happens is told to `sessionId` as well."""

    examples: ClassVar[list[dict[str, Any]]] = [{"open": True, "sessionId": "s1"}]
    open: bool
    closes_at: Moment | UnsetType | None = UNSET
    session_id: Id | UnsetType | None = UNSET


class BoardAnswer(State, frozen=True, rename="camel", kw_only=True):
    """The board as everyone sees it, and what the caller has said on it."""

    mine: Mine


class Guest(NamedTuple):
    """Who writes: the hash for this board, and the cookie to hand out where it is a new one."""

    id: str
    cookie: Cookie | None


class _First(State, frozen=True, rename="camel", kw_only=True, tag="state", tag_field="kind"):
    """What a stream opens with; all that follows is a BoardNews."""


class _Told(msgspec.Struct, frozen=True):
    data: Artifact


async def _page(slug: str, request: Request[Any, Any, Any], env: Env, settings: Settings) -> ArtifactRow:
    """The published artifact whose board is asked for. Whoever may not see the page is turned away here.

    Fails: NotFound · Gone · Locked · Forbidden.
    """
    artifact = (await admit_reader(request, env, settings, slug, beside=True)).artifact
    if artifact.generator_id not in boards.TAKES:
        raise NotFound("there is no board here")
    return artifact


@get("/public/artifact/{slug:str}/board", opt={"access": "open"}, tags=["public"])
async def read_board(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
) -> BoardAnswer:
    """Votes, comments and verdicts on the page's images as they are now."""
    artifact = await _page(slug, request, env, settings)
    state = await boards.look(env, artifact)
    token = _token(request, settings)
    said = await boards.mine(env, artifact.id, boards.guest_of(artifact.id, token)) if token else Mine({}, {})
    return BoardAnswer(**_fields(state), mine=said)


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
    """Vote for an image of the page, in place of the guest's vote before; the image's votes come back."""
    artifact = await _page(slug, request, env, settings)
    boards.check_takes(artifact, "vote")
    guest = await _admitted(request, env, settings, artifact)
    return _answer(await boards.vote(env, artifact, guest.id, data.progression_id, data.choice), guest)


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
        raise Invalid("a point has both x and y", code="half_a_point")
    artifact = await _page(slug, request, env, settings)
    boards.check_takes(artifact, "comment")
    guest = await _admitted(request, env, settings, artifact)
    await _take(env, COMMENTS_OF_GUEST, guest.id)
    remark = Remark(id=new_id(), **msgspec.structs.asdict(data))
    return _answer(await boards.comment(env, artifact, guest.id, remark), guest)


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
    """Approve or reject an image of the page, this very version of it, in place of the guest's verdict before."""
    artifact = await _page(slug, request, env, settings)
    boards.check_takes(artifact, "approval")
    guest = await _admitted(request, env, settings, artifact)
    verdict = await boards.approve(env, artifact, guest.id, data.progression_id, data.verdict, data.name)
    return _answer(verdict, guest)


# Not in the OpenAPI document: what reads that waits for the end of an answer, and this one has none for long.
@get(
    "/public/artifact/{slug:str}/board/stream",
    media_type="text/event-stream",
    opt={"access": "open"},
    include_in_schema=False,
)
async def follow_board(
    slug: FromPath[str],
    request: Request[Any, Any, Any],
    env: NamedDependency[Env],
    settings: NamedDependency[Settings],
    lifecycle: NamedDependency[Lifecycle],
) -> ASGIApp:
    """The board as it is and then as it changes, as Server-Sent Events."""
    artifact = await _page(slug, request, env, settings)
    await _take(env, STREAMS_OF_ADDRESS, limit_key(client_address(request.scope, settings)))
    if await env.PICASSO_DO.clients(boards.session_of(artifact.id)) >= VIEWERS:
        raise RateLimited("this board has as many live viewers as it can have", retry_after=30.0)
    return BoardStream(env, lifecycle, artifact, lambda: _page(slug, request, env, settings))


@post("/api/artifacts/{artifact_id:str}/board", status_code=200, tags=["boards"])
async def set_board(artifact_id: FromPath[str], data: JSONBody[BoardPatch], env: NamedDependency[Env]) -> OwnerState:
    """Open the artifact's board to its guests, or close it; what they have said stays."""
    artifact = await artifacts.get(env, artifact_id)
    await boards.set_board(env, artifact, open=data.open, closes_at=data.closes_at, session_id=data.session_id)
    return await boards.inspect(env, artifact)


@get("/api/artifacts/{artifact_id:str}/board", tags=["boards"])
async def inspect_board(artifact_id: FromPath[str], env: NamedDependency[Env]) -> OwnerState:
    """All that was said on the artifact's board, hidden comments too."""
    return await boards.inspect(env, await artifacts.get(env, artifact_id))


@delete("/api/artifacts/{artifact_id:str}/board/comments/{comment_id:str}", tags=["boards"])
async def hide_comment(artifact_id: FromPath[str], comment_id: FromPath[str], env: NamedDependency[Env]) -> None:
    """Show a comment to guests no more."""
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
    """Opens with the whole board, so a reader that comes back has missed nothing, and then tells each change of it.

    Of the session only this board's own news is handed on, whatever else somebody put there. It ends when `admit`
    turns the reader away, for the page may be closed while they look: so does their next try.
    """

    def __init__(
        self,
        env: Env,
        lifecycle: Lifecycle,
        artifact: ArtifactRow,
        admit: Callable[[], Awaitable[ArtifactRow]],
        every: float = ADMIT_SECONDS,
    ) -> None:
        super().__init__(env, lifecycle, boards.session_of(artifact.id), None)
        self._artifact, self._admit, self._every = artifact, admit, every

    async def _push(self, send: Send) -> None:
        with contextlib.suppress(Gone, Unavailable, TimeoutError):
            async with asyncio.timeout(STREAM_SECONDS):
                # Read after the place in the log was taken: what happens meanwhile is told twice rather than never.
                state = await boards.look(self._env, self._artifact)
                await _write(send, [_First(**_fields(state))])
                async for frames in self._subscription:
                    await _write(send, [news for news in self._news(frames) if news.revision > state.revision])

    async def _ended(self) -> None:
        with contextlib.suppress(NotFound, Gone, Locked, Forbidden):
            while not self._lifecycle.draining.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._lifecycle.draining.wait(), self._every)
                with contextlib.suppress(Unavailable):
                    await self._admit()

    def _news(self, frames: Any) -> Iterator[BoardNews]:
        for frame in frames:
            news = _news_of(frame, self._artifact.id)
            if news is not None:
                yield news


def _news_of(frame: Frame, artifact_id: str) -> BoardNews | None:
    with contextlib.suppress(msgspec.ValidationError):
        told = msgspec.json.decode(frame.text, type=_Told).data
        return told.board if told.artifact_id == artifact_id else None
    return None


async def _write(send: Send, told: list[Any]) -> None:
    if told:
        body = b"".join(b"data: %s\n\n" % msgspec.json.encode(each) for each in told)
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _admitted(request: Request[Any, Any, Any], env: Env, settings: Settings, artifact: ArtifactRow) -> Guest:
    """Who writes, once they may.

    Effect: one token less in the buckets of the guest and of the address.
    Fails: Forbidden for a page of another origin · RateLimited · Unavailable when Redis is away.
    """
    if not own_origin(request.scope, settings):
        raise Forbidden("this origin may not write here")
    address = limit_key(client_address(request.scope, settings))
    await _take(env, WRITES_OF_ADDRESS, address)
    token, cookie = _token(request, settings), None
    if token is None:
        await _take(env, NEW_GUESTS, address)
        token = secrets.token_urlsafe(16)
        cookie = _cookie(token, settings)
    id = boards.guest_of(artifact.id, token)
    await _take(env, WRITES_OF_GUEST, id)
    return Guest(id, cookie)


async def _take(env: Env, rate: Rate, whose: str) -> None:
    """Fails: RateLimited with the seconds to wait · Unavailable when Redis is away."""
    bucket = f"board-{rate.name}:{whose}"
    wait = await env.PICASSO_WORKFLOW.take(bucket, capacity=rate.capacity, per_minute=rate.per_minute)
    if wait > 0:
        raise RateLimited("that was a lot at once; wait a moment", retry_after=wait)


def _token(request: Request[Any, Any, Any], settings: Settings) -> str | None:
    """The 128 random bits of the caller's cookie; None without one that was made here."""
    shape = COOKIE_SHAPE.fullmatch(request.cookies.get(COOKIE, ""))
    if shape is None or not hmac.compare_digest(shape[2], _signature(shape[1], settings)):
        return None
    return shape[1]


def _cookie(token: str, settings: Settings) -> Cookie:
    return Cookie(
        key=COOKIE,
        value=f"{token}.{_signature(token, settings)}",
        path="/public/artifact",
        max_age=COOKIE_DAYS * 86_400,
        httponly=True,
        samesite="lax",
        secure=settings.public_url.startswith("https://"),
    )


def _signature(token: str, settings: Settings) -> str:
    # Whoever changes the key starts over with the guests: what they said stays, and they may say it again.
    key = settings.api_key or secrets.token_hex()
    return hmac.digest(key.encode(), f"guest/{token}".encode(), "sha256").hex()[:32]


def _answer(told: Any, guest: Guest) -> Response[Any]:
    return Response(told, cookies=[guest.cookie] if guest.cookie else None)


def _fields(state: State) -> dict[str, Any]:
    return msgspec.structs.asdict(state)
