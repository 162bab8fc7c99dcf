"""Boards: counts and events that stay right while many write at once, and states that cannot be."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.environment import bare_env
from tests.support.samples.board_site import IMAGES, add_images
from tests.support.samples.page_site import Silent, add_image
from tools import actor_emit
from tools.env import Env
from tools.errors import Conflict, Forbidden, Gone, Invalid, NotFound, PicassoError, Violation
from tools.events import Artifact, BoardNews, Tally
from tools.publishing import artifacts, boards
from tools.publishing.artifacts import File, Output
from tools.publishing.boards import Choice, Remark
from tools.rows import ArtifactRow, Count

CHOICES: tuple[Choice, ...] = ("yes", "maybe", "no")


@pytest.fixture
async def env(tmp_path: Path, database_url: str) -> AsyncIterator[Env]:
    async with bare_env(tmp_path, database_url, PICASSO_DO=Silent()) as env:
        await add_images(env)
        yield env


def output(*shown: str) -> Output:
    return Output(index=File("index.html", " ".join(shown).encode(), "text/html"), progression_ids=shown)


async def made(env: Env, kind: str, *, open: bool = True, session_id: str | None = None) -> ArtifactRow:
    draft = artifacts.draft(generator_id=kind, title="Autumn", owner_id="default", options={})
    artifact = await artifacts.publish(env, draft, output(*IMAGES), ["p"])
    if open:
        await boards.set_board(env, artifact, open=True, session_id=session_id)
    return artifact


def guest(n: int) -> str:
    return boards.guest_of("a", f"cookie {n}")


async def told(env: Env, session_id: str) -> list[BoardNews]:
    """The board's updates in a session, in the order of `seq`."""
    data = [msgspec.json.decode(event.data, type=Artifact) for event in await actor_emit.read(env.DB, session_id, 0)]
    assert {each.stage for each in data} <= {"board"}
    return [each.board for each in data if each.board]


async def rows(env: Env, table: str) -> int:
    return (await env.DB.one(f"SELECT COUNT(*) AS n FROM {table}", Count) or Count(-1)).n


async def test_fifty_voters_at_once_are_counted_one_by_one(env: Env, rounds: int) -> None:
    """Each vote counts once: the tally equals the rows, and the last event of each image has it too."""
    artifact = await made(env, "voting-deck", session_id="owner")
    last = {n: CHOICES[n % 3] for n in range(50 * rounds)}
    await asyncio.gather(
        *(boards.vote(env, artifact, guest(n), image, choice) for n, choice in last.items() for image in IMAGES[:2])
    )
    state = await boards.look(env, artifact)
    counts = {choice: list(last.values()).count(choice) for choice in CHOICES}
    assert state.votes == [*(Tally(image, *counts.values()) for image in IMAGES[:2]), Tally("p-2", 0, 0, 0)]
    news = await told(env, boards.session_of(artifact.id))
    tallies = {each.tally.progression_id: each.tally for each in news if each.tally}
    assert [tallies[image] for image in IMAGES[:2]] == state.votes[:2]
    revisions = [each.revision for each in news]
    assert revisions == sorted(set(revisions)) and revisions[-1] == state.revision
    assert await told(env, "owner") == news


async def test_a_guest_has_one_vote_however_often_and_fast_it_is_cast(env: Env) -> None:
    """Twenty simultaneous votes of one guest leave one row; the same vote again changes nothing and sends no event."""
    artifact = await made(env, "voting-deck")
    votes = itertools.islice(itertools.cycle(CHOICES), 20)
    await asyncio.gather(*(boards.vote(env, artifact, guest(1), "p-0", choice) for choice in votes))
    assert await rows(env, "board_votes") == 1
    tally = await boards.vote(env, artifact, guest(1), "p-0", "maybe")
    assert tally == Tally("p-0", 0, 1, 0)
    before = len(await told(env, boards.session_of(artifact.id)))
    assert await boards.vote(env, artifact, guest(1), "p-0", "maybe") == tally
    assert len(await told(env, boards.session_of(artifact.id))) == before
    assert await boards.vote(env, artifact, guest(1), "p-0", None) == Tally("p-0", 0, 0, 0)
    assert await rows(env, "board_votes") == 0
    assert (await boards.mine(env, artifact.id, guest(1))).votes == {}


async def test_nothing_is_counted_after_the_board_was_closed(env: Env) -> None:
    """Votes that race the closing are counted before it or refused with 410; no event follows `closed`."""
    artifact = await made(env, "voting-deck")

    async def cast(n: int) -> bool:
        try:
            await boards.vote(env, artifact, guest(n), "p-0", "yes")
        except Gone as refusal:
            assert refusal.code == "board_closed"
            return False
        return True

    votes = [cast(n) for n in range(20)]
    *counted, _ = await asyncio.gather(*votes[:10], *votes[10:], boards.set_board(env, artifact, open=False))
    news = await told(env, boards.session_of(artifact.id))
    assert news[-1].kind == "closed"
    assert (await boards.look(env, artifact)).votes[0].yes == sum(map(bool, counted)) == len(news) - 2


async def test_a_board_takes_nothing_until_it_is_opened_and_what_it_takes(env: Env) -> None:
    """Before the owner opens it 403, what its page has no place for 403, a page that is no board 404."""
    artifact = await made(env, "voting-deck", open=False)
    with pytest.raises(Forbidden) as refused:
        await boards.vote(env, artifact, guest(1), "p-0", "yes")
    assert refused.value.code == "board_not_open"
    assert (await boards.look(env, artifact)).open is False
    seen = await boards.inspect(env, artifact)
    assert (seen.open, seen.voters, seen.votes, seen.comments, seen.approvals) == (False, 0, [], [], [])
    with pytest.raises(Forbidden, match="no comments"):
        await boards.comment(env, artifact, guest(1), Remark(id="c", progression_id="p-0", text="x"))
    lookbook = await made(env, "lookbook", open=False)
    for read in (boards.look, boards.inspect):
        with pytest.raises(NotFound):
            await read(env, lookbook)
    with pytest.raises(Invalid, match="no board"):
        await boards.set_board(env, lookbook, open=True)


async def test_opening_keeps_what_is_left_out(env: Env) -> None:
    """`closes_at` and the session stay until they are set again; a board cannot be opened until a time that is past."""
    artifact = await made(env, "voting-deck", session_id="owner")
    await boards.set_board(env, artifact, open=True, closes_at=1 << 60)
    await boards.set_board(env, artifact, open=False)
    await boards.set_board(env, artifact, open=True)
    state = await boards.inspect(env, artifact)
    assert (state.open, state.closes_at, state.session_id) == (True, 1 << 60, "owner")
    assert [news.kind for news in await told(env, "owner")] == ["opened", "opened", "closed", "opened"]
    with pytest.raises(Invalid, match="past"):
        await boards.set_board(env, artifact, open=True, closes_at=1)
    await boards.set_board(env, artifact, open=True, closes_at=None, session_id=None)
    state = await boards.inspect(env, artifact)
    assert (state.closes_at, state.session_id) == (None, None)


async def test_images_that_the_page_does_not_show_are_refused(env: Env) -> None:
    """Another project's image, one that came later and one that is no image: 404, and no row."""
    artifact, review = await made(env, "voting-deck"), await made(env, "review-board")
    await add_image(env, "p", 9)
    for image in ("p-9", "nowhere", ""):
        with pytest.raises(NotFound):
            await boards.vote(env, artifact, guest(1), image, "yes")
        with pytest.raises(NotFound):
            await boards.comment(env, review, guest(1), Remark(id="c", progression_id=image, text="x"))
        with pytest.raises(NotFound):
            await boards.approve(env, review, guest(1), image, "approve", None)
    tables = ("board_votes", "board_comments", "board_approvals")
    assert [await rows(env, table) for table in tables] == [0, 0, 0]


async def test_an_approval_names_the_version_and_is_stale_once_there_is_a_newer_one(env: Env) -> None:
    """Image, SHA-256, author and time are stored. A child with other bytes makes the approval stale, a copy of the same
    bytes or another image's child does not; withdrawing it leaves nothing."""
    artifact = await made(env, "review-board", session_id="owner")
    approved = await boards.approve(env, artifact, guest(1), "p-0", "approve", "Ana")
    await boards.approve(env, artifact, guest(1), "p-1", "reject", None)
    assert (approved.sha256, approved.verdict, approved.name, approved.stale) == ("0" * 64, "approve", "Ana", False)
    await add_image(env, "p", 3, parent_progression_id="p-0", edge="rollback", sha256="0" * 64)
    assert [each.stale for each in (await boards.look(env, artifact)).approvals] == [False, False]
    await add_image(env, "p", 4, parent_progression_id="p-0", edge="edit", sha256="4" * 64)
    assert [each.stale for each in (await boards.look(env, artifact)).approvals] == [True, False]
    assert [each.stale for each in (await boards.inspect(env, artifact)).approvals] == [True, False]
    assert (await boards.approve(env, artifact, guest(1), "p-0", "reject", "Ana")).stale
    back = await boards.approve(env, artifact, guest(1), "p-0", None, None)
    assert (back.approval_id, back.verdict) == (approved.approval_id, None)
    assert [each.progression_id for each in (await boards.look(env, artifact)).approvals] == ["p-1"]
    verdicts = [news.approval.verdict for news in await told(env, "owner") if news.approval]
    assert verdicts == ["approve", "reject", "reject", None]


async def test_a_newer_version_of_the_artifact_takes_over_its_images(env: Env) -> None:
    """Feedback on images that are no longer shown stays visible to the owner, as stale; guests comment on the new
    ones."""
    artifact, deck = await made(env, "review-board"), await made(env, "voting-deck")
    await boards.approve(env, artifact, guest(1), "p-0", "approve", None)
    await boards.approve(env, artifact, guest(1), "p-2", "approve", None)
    await boards.vote(env, deck, guest(1), "p-0", "yes")
    await add_image(env, "p", 7)
    newer = await artifacts.publish(env, artifact, output("p-7", "p-2"), ["p"])
    newer_deck = await artifacts.publish(env, deck, output("p-7", "p-2"), ["p"])
    assert [(each.progression_id, each.stale) for each in (await boards.look(env, newer)).approvals] == [
        ("p-0", True),
        ("p-2", False),
    ]
    with pytest.raises(NotFound):
        await boards.vote(env, newer_deck, guest(2), "p-0", "yes")
    await boards.vote(env, newer_deck, guest(2), "p-7", "no")
    assert [each.progression_id for each in (await boards.look(env, newer_deck)).votes] == ["p-7", "p-2"]
    assert [(each.progression_id, each.yes, each.shown) for each in (await boards.inspect(env, newer_deck)).votes] == [
        ("p-7", 0, True),
        ("p-2", 0, True),
        ("p-0", 1, False),
        ("p-1", 0, False),
    ]


async def test_a_comment_is_made_once_and_hidden_for_good(env: Env) -> None:
    """The same id again is the same comment; once hidden, only the owner sees it, and hiding it again sends no
    event."""
    artifact = await made(env, "review-board", session_id="owner")
    remark = Remark(id="c1", progression_id="p-0", text="a\nb", name="Ana", x=0.25, y=1.0)
    for _ in range(2):
        await boards.comment(env, artifact, guest(1), remark)
    (shown,) = (await boards.look(env, artifact)).comments
    assert (shown.comment_id, shown.text, shown.name, shown.x, shown.y) == ("c1", "a\nb", "Ana", 0.25, 1.0)
    for _ in range(2):
        await boards.hide(env, artifact.id, "c1")
    assert (await boards.look(env, artifact)).comments == []
    (kept,) = (await boards.inspect(env, artifact)).comments
    assert kept.hidden_at is not None and kept.guest == guest(1)[:8]
    assert [news.kind for news in await told(env, "owner")] == ["opened", "comment", "hidden"]
    other = await made(env, "review-board")
    for artifact_id, comment_id in ((other.id, "c1"), (artifact.id, "c2"), ("nowhere", "c1")):
        with pytest.raises(NotFound):
            await boards.hide(env, artifact_id, comment_id)


async def test_a_board_has_room_for_so_many_comments(env: Env) -> None:
    """What everyone who looks is sent has a bound, also for writers at once."""
    artifact = await made(env, "review-board")
    plain = {"artifact_id": artifact.id, "progression_id": "p-0", "guest": guest(1), "name": None, "text": "x"}
    known = [{**plain, "id": str(n), "x": None, "y": None, "created_at": 5} for n in range(boards.MOST_COMMENTS - 1)]
    await env.DB.many(boards.COMMENT, known)
    remarks = [Remark(id=f"new {n}", progression_id="p-0", text="x") for n in range(5)]
    ends = await asyncio.gather(
        *(boards.comment(env, artifact, guest(2), remark) for remark in remarks), return_exceptions=True
    )
    assert [end.code for end in ends if isinstance(end, PicassoError)] == ["board_full"] * 4
    assert all(isinstance(end, Conflict) for end in ends if isinstance(end, Exception))
    assert await rows(env, "board_comments") == boards.MOST_COMMENTS


VOTE: dict[str, Any] = {"progression_id": "p-0", "guest": "g" * 64, "choice": "yes", "created_at": 5}
COMMENT: dict[str, Any] = {"progression_id": "p-0", "guest": "g" * 64, "name": None, "text": "t", "x": 0, "y": 0}
APPROVAL: dict[str, Any] = {"progression_id": "p-0", "guest": "g" * 64, "name": None, "verdict": "approve"}
IMPOSSIBLE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("votes", VOTE, {}),
    ("votes", VOTE, {"guest": "a" * 64, "choice": "perhaps"}),
    ("votes", VOTE, {"guest": "the cookie itself"}),
    ("votes", VOTE, {"guest": "a" * 64, "progression_id": "p-9"}),
    ("comments", {**COMMENT, "id": "c", "created_at": 5}, {}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "text": ""}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "text": "x" * 1001}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "name": ""}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "name": "x" * 81}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "x": 1.5}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "y": -0.1}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "y": None}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "hidden_at": 4}),
    ("comments", {**COMMENT, "created_at": 5}, {"id": "d", "progression_id": "p-9"}),
    ("approvals", {**APPROVAL, "sha256": "0" * 64, "decided_at": 5}, {}),
    ("approvals", {**APPROVAL, "sha256": "0" * 64, "decided_at": 5}, {"guest": "a" * 64, "verdict": "shrug"}),
    ("approvals", {**APPROVAL, "sha256": "0" * 64, "decided_at": 5}, {"guest": "a" * 64, "sha256": "0"}),
    ("approvals", {**APPROVAL, "sha256": "0" * 64, "decided_at": 5}, {"guest": "a" * 64, "progression_id": "p-9"}),
]


async def test_states_that_cannot_be_are_refused_by_the_database(env: Env) -> None:
    """The schema refuses a second vote of a guest for an image, images that the board does not show, bad lengths, and
    half of a coordinate pair."""
    artifact = await made(env, "voting-deck")
    await add_image(env, "p", 9)
    for table, good, change in IMPOSSIBLE:
        row = {"artifact_id": artifact.id, **good, **change}
        sql = f"INSERT INTO board_{table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"
        if not change:
            await env.DB.run(sql, **row)
        with pytest.raises(Violation):
            await env.DB.run(sql, **row)


def test_a_guest_is_another_one_on_each_board() -> None:
    """The same cookie gives hashes that have nothing in common, and none of them is the cookie."""
    one, other = boards.guest_of("a", "cookie"), boards.guest_of("b", "cookie")
    assert one != other and len(one) == len(other) == 64 and "cookie" not in one
