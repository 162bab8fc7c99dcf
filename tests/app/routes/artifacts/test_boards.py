"""Boards over HTTP: who may vote and comment, how often, and what is streamed."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.lifecycle import Lifecycle
from app.routes.artifacts import boards as routes
from tests.support.deadlines import LONG
from tests.support.samples.board_site import Board, boards_env, publish_board
from tests.support.samples.page_site import add_image, client_of, free_listener, publish, serving, small_app
from tools import actor_emit
from tools.env import Env, Statements
from tools.events import Artifact, BoardNews, Progress, StoredEvent, data_text, frame
from tools.fetch import tls_context
from tools.publishing import artifacts, shares
from tools.publishing.shares import Conditions
from tools.rows import ArtifactRow, now_ms

VOTE = {"progressionId": "p-0", "choice": "yes"}
COMMENT = {"progressionId": "p-0", "text": "A little warmer?"}
APPROVAL = {"progressionId": "p-0", "verdict": "approve"}


@pytest.fixture
async def env(tmp_path: Path, redis_url: str) -> AsyncIterator[Env]:
    async with boards_env(tmp_path, redis_url) as env:
        yield env


@pytest.fixture
async def owner(env: Env) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(small_app(env)) as client:
        yield client


@pytest.fixture
async def deck(env: Env, owner: httpx.AsyncClient) -> Board:
    deck = await publish_board(owner, small_app(env), "voting-deck")
    assert (await deck.set(open=True)).status_code == 200
    return deck


@pytest.fixture
async def review(env: Env, owner: httpx.AsyncClient) -> Board:
    review = await publish_board(owner, small_app(env), "review-board")
    assert (await review.set(open=True, sessionId="owner")).status_code == 200
    return review


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_guest_votes_changes_and_takes_it_back(deck: Board) -> None:
    """The first vote sets the cookie, the following ones change it; the board and its owner see the tally."""
    async with deck.guest() as guest:
        for choice, tally in (("yes", [1, 0, 0]), ("maybe", [0, 1, 0]), ("maybe", [0, 1, 0])):
            answer = await guest.post("votes", json={**VOTE, "choice": choice})
            assert answer.status_code == 200
            assert [answer.json()[name] for name in ("yes", "maybe", "no")] == tally
        board = (await guest.get("board")).json()
        assert (board["open"], board["mine"]) == (True, {"votes": {"p-0": "maybe"}, "approvals": {}})
        assert board["votes"][0] == {"progressionId": "p-0", "yes": 0, "maybe": 1, "no": 0}
        assert (await deck.inspect())["voters"] == 1
        async with deck.guest() as other:
            assert (await other.get("board")).json()["mine"] == {"votes": {}, "approvals": {}}
        assert (await guest.post("votes", json={**VOTE, "choice": None})).json()["maybe"] == 0


async def test_a_comment_and_a_verdict_reach_the_owner(review: Board, env: Env) -> None:
    """They are in the answer, on the board, in the owner's API and, as `artifact` events, on the owner's stream."""
    async with review.guest() as guest:
        comment = await guest.post("comments", json={**COMMENT, "name": " Ana ", "x": 0.25, "y": 1})
        assert comment.status_code == 201
        assert [comment.json()[name] for name in ("name", "x", "y")] == ["Ana", 0.25, 1.0]
        verdict = await guest.post("approvals", json={**APPROVAL, "name": "Ana"})
        assert (verdict.status_code, verdict.json()["sha256"]) == (200, "0" * 64)
        board = (await guest.get("board")).json()
    assert (board["comments"], board["approvals"]) == ([comment.json()], [verdict.json()])
    assert board["mine"]["approvals"] == {"p-0": "approve"}
    inspected = await review.inspect()
    assert inspected["comments"][0]["text"] == "A little warmer?"
    assert inspected["approvals"][0]["guest"] == inspected["comments"][0]["guest"]
    events = await actor_emit.read(env.DB, "owner", 0)
    assert {event.type for event in events} == {"artifact"}
    news = [msgspec.json.decode(event.data)["board"] for event in events]
    assert [each["kind"] for each in news] == ["opened", "comment", "approval"]
    assert (news[1]["comment"], news[2]["approval"]) == (comment.json(), verdict.json())


async def test_an_approval_is_stale_once_the_image_has_a_newer_version(review: Board, env: Env) -> None:
    """The approval stays, names the version that was approved, and is marked as stale."""
    async with review.guest() as guest:
        assert (await guest.post("approvals", json=APPROVAL)).json()["stale"] is False
        await add_image(env, "p", 5, parent_progression_id="p-0", edge="edit", sha256="5" * 64)
        (approval,) = (await guest.get("board")).json()["approvals"]
    assert (approval["stale"], approval["progressionId"], approval["sha256"]) == (True, "p-0", "0" * 64)


async def test_a_closed_board_takes_nothing(deck: Board, env: Env, owner: httpx.AsyncClient) -> None:
    """403 before it is opened, 410 after it was closed or its time has come; existing feedback can still be read."""
    fresh = await publish_board(owner, small_app(env), "voting-deck")
    async with fresh.guest() as guest:
        assert said(await guest.post("votes", json=VOTE)) == (403, "board_not_open")
        assert (await guest.get("board")).json()["open"] is False
    async with deck.guest() as guest:
        await guest.post("votes", json=VOTE)
        assert (await deck.set(open=False)).json()["open"] is False
        assert said(await guest.post("votes", json=VOTE)) == (410, "board_closed")
        assert (await deck.set(open=True)).json()["open"] is True
        await env.DB.run("UPDATE boards SET closes_at = 5")
        assert said(await guest.post("votes", json=VOTE)) == (410, "board_closed")
        board = (await guest.get("board")).json()
    assert (board["open"], board["votes"][0]["yes"]) == (False, 1)


async def test_what_is_no_board_or_not_on_it_is_refused(deck: Board, review: Board, owner: httpx.AsyncClient) -> None:
    """404 for other pages and foreign images, 403 for what this kind of board has no place for."""
    lookbook = (await publish(owner, "p"))["public_slug"]
    for slug in (lookbook, "nowhere", "x" * 200):
        for path, body in (("votes", VOTE), ("comments", COMMENT), ("approvals", APPROVAL)):
            assert said(await owner.post(f"/public/artifact/{slug}/{path}", json=body)) == (404, "not_found")
        assert said(await owner.get(f"/public/artifact/{slug}/board")) == (404, "not_found")
        assert said(await owner.get(f"/public/artifact/{slug}/board/stream")) == (404, "not_found")
    async with deck.guest() as guest:
        assert said(await guest.post("comments", json=COMMENT)) == (403, "not_on_this_board")
        assert said(await guest.post("approvals", json=APPROVAL)) == (403, "not_on_this_board")
        for image in ("p-9", "nowhere", "..:.."):
            assert said(await guest.post("votes", json={**VOTE, "progressionId": image})) == (404, "foreign_image")
    async with review.guest() as guest:
        assert said(await guest.post("votes", json=VOTE)) == (403, "not_on_this_board")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("votes", {"progressionId": "p-0"}, 400),
        ("votes", {**VOTE, "choice": "perhaps"}, 400),
        ("votes", {**VOTE, "weight": 9}, 400),
        ("votes", {**VOTE, "progressionId": "a b"}, 400),
        ("comments", {**COMMENT, "text": ""}, 400),
        ("comments", {**COMMENT, "text": " \n "}, 400),
        ("comments", {**COMMENT, "text": "x" * 1001}, 400),
        ("comments", {**COMMENT, "text": "a\x00b"}, 400),
        ("comments", {**COMMENT, "name": ""}, 400),
        ("comments", {**COMMENT, "name": "a\nb"}, 400),
        ("comments", {**COMMENT, "name": "x" * 81}, 400),
        ("comments", {**COMMENT, "x": 1.01, "y": 0}, 400),
        ("comments", {**COMMENT, "x": "0", "y": 0}, 400),
        ("comments", {**COMMENT, "x": 0.5}, 422),
        ("comments", {**COMMENT, "text": "x" * (16 << 10)}, 413),
        ("approvals", {**APPROVAL, "verdict": "maybe"}, 400),
        ("approvals", {**APPROVAL, "name": "\u0085"}, 400),
    ],
)
async def test_what_is_said_has_a_form(
    deck: Board, review: Board, path: str, body: dict[str, Any], status: int
) -> None:
    """Lengths, words and points that /schema states are enforced, and no body is larger than 16 KiB."""
    async with (deck if path == "votes" else review).guest() as guest:
        answer = await guest.post(path, json=body)
        assert answer.status_code == status, answer.text


async def test_the_longest_comment_is_let_in(review: Board) -> None:
    """A thousand characters that each take twelve bytes to write, with line breaks."""
    text = ("💥" * 999) + "\n" + "💥"
    async with review.guest() as guest:
        body = msgspec.json.encode({**COMMENT, "text": text[1:]})
        answer = await guest.post("comments", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json().get("text")) == (201, text[1:])


async def test_the_cookie_is_for_the_boards_alone_and_its_bits_are_stored_nowhere(deck: Board, env: Env) -> None:
    """HttpOnly, SameSite=Lax, the boards' path, 128 random bits; rows have a hash. Who only looks gets none."""
    async with deck.guest() as guest, deck.guest() as other:
        assert "set-cookie" not in (await guest.get("board")).headers
        answer = await guest.post("votes", json=VOTE)
        cookie = answer.headers["set-cookie"]
        assert re.fullmatch(
            r"picasso_guest=[A-Za-z0-9_-]{22}\.[0-9a-f]{32}; HttpOnly; Max-Age=15552000; "
            r"Path=/public/artifact; SameSite=lax",
            cookie,
        )
        assert "set-cookie" not in (await guest.post("votes", json=VOTE)).headers
        assert (await other.post("votes", json=VOTE)).headers["set-cookie"] != cookie
    value = cookie.partition("=")[2].partition(".")[0]
    dump = (Path(str(env.settings.home)) / "picasso.db").read_bytes()  # type: ignore[attr-defined]
    dump += (Path(str(env.settings.home)) / "picasso.db-wal").read_bytes()  # type: ignore[attr-defined]
    assert value.encode() not in dump and b"p-0" in dump


async def test_under_https_the_cookie_is_secure(tmp_path: Path, redis_url: str) -> None:
    """With an https PUBLIC_URL the browser sends it over nothing else."""
    async with boards_env(tmp_path, redis_url, {"PUBLIC_URL": "https://boards.example"}) as env:
        app = small_app(env)
        async with client_of(app, "https://boards.example") as owner:
            deck = await publish_board(owner, app, "voting-deck")
            await deck.set(open=True)
            async with deck.guest() as guest:
                assert "; Secure" in (await guest.post("votes", json=VOTE)).headers["set-cookie"]


async def test_a_cookie_that_was_not_made_here_is_nobodys(deck: Board) -> None:
    """Guests cannot be forged: a made-up, changed or doubled cookie counts as none, and is replaced by a new one."""
    async with deck.guest() as guest:
        await guest.post("votes", json=VOTE)
        ((name, real),) = guest.cookies.items()
    forged = [f"{'A' * 22}.{'0' * 32}", real[:-1] + ("0" if real[-1] != "0" else "1"), real.partition(".")[0], "", "💥"]
    for number, value in enumerate(forged, 2):
        async with deck.guest() as stranger:
            headers = {"Cookie": f"{name}={value}".encode()}
            answer = await stranger.post("votes", json=VOTE, headers=headers)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["yes"]) == (200, number)
            assert "set-cookie" in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Origin": "https://board.example", "Host": "board.example"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8001"}, 403),
        ({"Origin": "http://127.0.0.1:8000.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://partner.example"}, 403),
    ],
)
async def test_only_our_own_pages_write(tmp_path: Path, redis_url: str, headers: dict[str, str], status: int) -> None:
    """Another site's page, also one in CORS_ORIGINS, cannot vote as a guest; a program without Origin can."""
    async with boards_env(
        tmp_path, redis_url, {"CORS_ORIGINS": "https://partner.example", "ALLOWED_HOSTS": "board.example"}
    ) as env:
        app = small_app(env)
        async with client_of(app) as owner:
            deck = await publish_board(owner, app, "voting-deck")
            await deck.set(open=True)
            async with deck.guest() as guest:
                assert (await guest.post("votes", json=VOTE, headers=headers)).status_code == status
                form = {"Content-Type": "text/plain", **headers}
                answer = await guest.post("votes", content=msgspec.json.encode(VOTE), headers=form)
                assert answer.status_code == 415
        assert len(await env.DB.all("SELECT * FROM board_votes", StoredVote)) == (status == 200)


class StoredVote(msgspec.Struct):
    guest: str


async def test_a_guest_and_an_address_have_their_limits(review: Board, deck: Board) -> None:
    """A guest may post ten comments in a burst, and an address may bring sixty new guests at once; then 429 with
    Retry-After."""
    async with review.guest("198.51.100.1") as guest:
        answers = [await guest.post("comments", json=COMMENT) for _ in range(12)]
        assert [answer.status_code for answer in answers[:10]] == [201] * 10
        assert said(answers[-1]) == (429, "rate_limited") and int(answers[-1].headers["retry-after"]) >= 1
        assert (await guest.post("approvals", json=APPROVAL)).status_code == 200

    async def arrive(peer: str) -> int:
        async with deck.guest(peer) as guest:
            return (await guest.post("votes", json=VOTE)).status_code

    statuses = await asyncio.gather(*(arrive("198.51.100.2") for _ in range(64)))
    assert statuses.count(200) in (60, 61) and statuses.count(429) == 64 - statuses.count(200)
    assert await arrive("198.51.100.3") == 200
    async with deck.guest("198.51.100.4") as guest:
        votes = [(await guest.post("votes", json=VOTE)).status_code for _ in range(66)]
        assert votes[:60] == [200] * 60 and 429 in votes


async def test_the_owners_side_needs_the_key(review: Board, env: Env) -> None:
    """Opening, reading everything and hiding need the key; only the owner sees hidden comments."""
    async with review.guest() as guest, client_of(review.app) as stranger:
        stranger.headers.pop("X-Api-Key")
        comment = (await guest.post("comments", json=COMMENT)).json()["commentId"]
        path = f"/api/artifacts/{review.id}/board"
        hide = f"{path}/comments/{comment}"
        for answer in (
            await stranger.get(path),
            await stranger.post(path, json={"open": False}),
            await stranger.delete(hide),
        ):
            assert said(answer) == (401, "unauthorized")
        assert [(await review.owner.delete(hide)).status_code for _ in range(2)] == [204, 204]
        assert said(await review.owner.delete(f"{path}/comments/nowhere")) == (404, "not_found")
        assert (await guest.get("board")).json()["comments"] == []
    assert (await review.inspect())["comments"][0]["hiddenAt"] is not None
    assert said(await review.owner.post("/api/artifacts/nowhere/board", json={"open": True})) == (404, "not_found")


async def test_only_boards_can_be_opened(owner: httpx.AsyncClient, env: Env) -> None:
    """422 for a lookbook, and for a time that is over; one that was never opened is closed and empty."""
    lookbook = (await publish(owner, "p"))["artifact_id"]
    assert said(await owner.post(f"/api/artifacts/{lookbook}/board", json={"open": True})) == (422, "no_board")
    deck = await publish_board(owner, small_app(env), "voting-deck")
    never = (await deck.owner.get(f"/api/artifacts/{deck.id}/board")).json()
    assert (never["open"], never["revision"], never["votes"], never["comments"]) == (False, 0, [], [])
    assert said(await owner.get(f"/api/artifacts/{lookbook}/board")) == (404, "not_found")
    assert said(await deck.set(open=True, closesAt=1)) == (422, "closes_in_past")
    assert said(await deck.set(open=True, sessionId="a b")) == (400, "invalid_request")


class Watcher:
    """A reader of a board's stream. `news` are the updates received so far."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer, self._lines = answer, answer.aiter_lines()
        self.news: list[dict[str, Any]] = []

    async def next(self, seconds: float = LONG) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if line.startswith("data: "):
                    self.news.append(msgspec.json.decode(line.removeprefix("data: ")))
                    return self.news[-1]
        raise EOFError


class Counting:
    """The database, and how often the event log was read."""

    def __init__(self, db: Any) -> None:
        self._db, self.reads = db, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def all(self, sql: str, row: Any, **params: Any) -> list[Any]:
        self.reads += sql == actor_emit.READ
        return await self._db.all(sql, row, **params)  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def live(
    tmp_path: Path, redis_url: str, lifecycle: Lifecycle, **bindings: Any
) -> AsyncIterator[tuple[Env, Board, str]]:
    """An open voting deck on a real socket."""
    with free_listener() as (listener, here):
        async with boards_env(tmp_path, redis_url, {"PUBLIC_URL": here}, **bindings) as env:
            app = small_app(env, lifecycle=lifecycle)
            async with client_of(app, here) as owner, serving(app, listener):
                deck = await publish_board(owner, app, "voting-deck")
                await deck.set(open=True)
                yield env, deck, f"{here}{deck.path}/"


async def test_the_stream_opens_with_the_board_and_tells_each_change(tmp_path: Path, redis_url: str) -> None:
    """The state first, then each update, with a revision that grows; other events of that session are not in the
    stream, and the end of the server ends it."""
    lifecycle = Lifecycle()
    async with (
        live(tmp_path, redis_url, lifecycle) as (env, deck, here),
        httpx.AsyncClient(base_url=here, timeout=LONG, verify=tls_context()) as client,
        deck.guest() as guest,
        client.stream("GET", "board/stream") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        watcher = Watcher(answer)
        first = await watcher.next()
        assert (first["kind"], first["open"], len(first["votes"])) == ("state", True, 3)
        session = f"board:{deck.id}"
        await actor_emit.emit(env, session, Progress(progress=0.5, stage="generate", job_id="secret"))
        await actor_emit.post(env, session, "artifact", {"artifactId": "other", "stage": "board", "board": {}})
        await actor_emit.post(env, session, "agent", {"text": "secret"})
        for choice in ("yes", "no"):
            await guest.post("votes", json={**VOTE, "choice": choice})
        await deck.set(open=False)
        assert [(await watcher.next())["kind"] for _ in range(3)] == ["vote", "vote", "closed"]
        assert watcher.news[2]["tally"] == {"progressionId": "p-0", "yes": 0, "maybe": 0, "no": 1}
        revisions = [each["revision"] for each in watcher.news]
        assert revisions == sorted(set(revisions)) and "secret" not in str(watcher.news)
        lifecycle.draining.set()
        with pytest.raises(EOFError):
            await watcher.next()


@pytest.mark.parametrize(
    "close",
    [
        lambda env, id: artifacts.unpublish(env, id),
        lambda env, id: shares.close(env, id, shares.MAIN),
        lambda env, id: shares.set_conditions(env, id, shares.MAIN, Conditions(password="open sesame")),
        lambda env, id: shares.set_conditions(env, id, shares.MAIN, Conditions(expires_at=now_ms() + 20)),
    ],
)
async def test_a_stream_ends_when_its_page_is_closed(
    env: Env, deck: Board, close: Callable[[Env, str], Awaitable[Any]]
) -> None:
    """After a page is taken down, closed, locked or expired, a connected client receives no more of the board."""
    sent: list[bytes] = []

    async def admit() -> ArtifactRow:
        return (await shares.admit(env, deck.slug)).artifact

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def take_place() -> None:
        """There is always one more."""

    lifecycle = Lifecycle()
    lifecycle.env = env
    stream = routes.BoardStream(lifecycle, admit, take_place, every=0.01)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(stream({"type": "http"}, asyncio.Event().wait, send))  # type: ignore[arg-type]
        async with asyncio.timeout(LONG):
            while b"state" not in b"".join(sent):
                await asyncio.sleep(0.01)
        await close(env, deck.id)
        await asyncio.wait_for(following, LONG)
    assert sent[-1] == b""


async def test_a_guest_is_known_below_the_path_of_public_url(tmp_path: Path, redis_url: str) -> None:
    """The cookie of a guest lies below that path, and its page's origin is that of PUBLIC_URL."""
    async with boards_env(tmp_path, redis_url, {"PUBLIC_URL": "https://picasso.example/made"}) as env:
        app = small_app(env)
        async with client_of(app, "https://picasso.example") as owner:
            deck = await publish_board(owner, app, "voting-deck")
            await deck.set(open=True)
            async with client_of(app, "https://picasso.example", "203.0.113.5") as guest:
                here = {"Origin": "https://picasso.example"}
                voted = await guest.post(f"/made{deck.path}/votes", json=VOTE, headers=here)
                assert voted.status_code == 200 and "Path=/made/public/artifact;" in voted.headers["set-cookie"]
                assert (await guest.get(f"/made{deck.path}/board")).json()["mine"]["votes"] == {
                    VOTE["progressionId"]: VOTE["choice"]
                }


async def test_many_viewers_share_one_reader(tmp_path: Path, redis_url: str) -> None:
    """Twenty people see a vote after the event log was read as often as for one."""
    counting: list[Counting] = []

    def counted(db: Statements) -> Any:
        counting.append(Counting(db))
        return counting[0]

    async with (
        live(tmp_path, redis_url, Lifecycle(), watched=counted) as (_, deck, here),
        httpx.AsyncClient(base_url=here, timeout=LONG, verify=tls_context()) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        answers = [await stack.enter_async_context(client.stream("GET", "board/stream")) for _ in range(20)]
        watchers = [Watcher(answer) for answer in answers]
        await asyncio.gather(*(watcher.next() for watcher in watchers))
        before = counting[0].reads
        async with deck.guest() as guest:
            await guest.post("votes", json=VOTE)
        assert {(await watcher.next())["kind"] for watcher in watchers} == {"vote"}
        assert 1 <= counting[0].reads - before <= 3


def test_forged_news_is_no_news() -> None:
    """Of a session only this board's `artifact` events with an update are forwarded."""

    def read(data: str) -> BoardNews | None:
        return routes.board_news(frame(StoredEvent("s", 1, 1, "artifact", None, None, data)), "a")

    real = Artifact(artifact_id="a", stage="board", progress=1.0, board=BoardNews(kind="opened", revision=3))
    assert read(data_text(real)) == real.board
    published = Artifact(artifact_id="a", stage="publish", progress=1.0)
    assert read(data_text(published)) is None
    assert read(data_text(msgspec.structs.replace(real, artifact_id="b"))) is None
    assert read('{"artifactId": "a", "stage": "board", "board": {"kind": "made up", "revision": 1}}') is None


async def test_a_board_is_as_closed_as_its_page(deck: Board, owner: httpx.AsyncClient, env: Env) -> None:
    """Behind a password, reading, voting and following need the pass; a page that was unpublished takes nothing."""
    await shares.set_conditions(env, deck.id, shares.MAIN, Conditions(password="open sesame"))
    async with deck.guest() as guest:
        for answer in (await guest.get("board"), await guest.post("votes", json=VOTE), await guest.get("board/stream")):
            assert said(answer) == (401, "password_needed"), answer.text
        await shares.set_conditions(env, deck.id, shares.MAIN, Conditions())
        assert (await guest.post("votes", json=VOTE)).status_code == 200
        assert (await owner.post(f"/api/artifacts/{deck.id}/unpublish")).status_code == 200
        assert (await guest.post("votes", json=VOTE)).status_code == 410
