"""Boards: votes, comments and approvals of a published page's guests, counted and published as events.

A board belongs to an artifact and accepts nothing until its owner opens it. Every change first locks the board's row,
so tallies, revisions and events have one order, and nothing is accepted after the board was closed.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from tools.actor_emit import append
from tools.env import Env, Statements, Value
from tools.errors import Conflict, Forbidden, Gone, Invalid, NotFound
from tools.events import Approval, BoardNews, Comment, Tally
from tools.events import Artifact as ArtifactEvent
from tools.publishing.artifacts import Manifest, version_folder
from tools.rows import ArtifactRow, Count, IdRow, derived_id, now_ms
from tools.step import step

Input = Literal["vote", "comment", "approval"]
Choice = Literal["yes", "maybe", "no"]
Verdict = Literal["approve", "reject"]

TAKES: Mapping[str, frozenset[Input]] = {
    "review-board": frozenset({"comment", "approval"}),
    "voting-deck": frozenset({"vote"}),
}
"""What the pages of a generator accept from guests, by its id; pages of all others accept nothing."""
MOST_COMMENTS, MOST_APPROVALS = 1000, 2000
"""Per board, hidden ones included; every visitor loads all that are not hidden."""
GUEST_SHOWN = 8
"""Characters of a guest's id that the owner sees."""

OPEN_BOARD = """
INSERT INTO boards (artifact_id, is_open, created_at) VALUES (:artifact_id, 0, :created_at)
ON CONFLICT (artifact_id) DO NOTHING
"""
LOCK = "UPDATE boards SET revision = revision + 1 WHERE artifact_id = :artifact_id RETURNING *"
SET = """
UPDATE boards SET is_open = :is_open, closes_at = :closes_at, session_id = :session_id WHERE artifact_id = :artifact_id
"""
GET = "SELECT * FROM boards WHERE artifact_id = :artifact_id"
SHOW_IMAGE = """
INSERT INTO board_images (artifact_id, progression_id, version, position)
VALUES (:artifact_id, :progression_id, :version, :position)
ON CONFLICT (artifact_id, progression_id) DO UPDATE SET version = excluded.version, position = excluded.position
WHERE board_images.version < excluded.version
"""
FOLLOWED = "UPDATE boards SET version = :version WHERE artifact_id = :artifact_id AND version < :version"
IMAGE = """
SELECT p.id, p.sha256 FROM board_images AS i JOIN image_progressions AS p ON p.id = i.progression_id
WHERE i.artifact_id = :artifact_id AND i.progression_id = :progression_id AND i.version = :version
"""
VOTE = """
INSERT INTO board_votes (artifact_id, progression_id, guest, choice, created_at)
VALUES (:artifact_id, :progression_id, :guest, :choice, :created_at)
ON CONFLICT (artifact_id, progression_id, guest) DO UPDATE SET choice = excluded.choice
WHERE board_votes.choice <> excluded.choice
"""
WITHDRAW_VOTE = """
DELETE FROM board_votes WHERE artifact_id = :artifact_id AND progression_id = :progression_id AND guest = :guest
"""
TALLY = """
SELECT COUNT(*) FILTER (WHERE choice = 'yes') AS yes, COUNT(*) FILTER (WHERE choice = 'maybe') AS maybe,
    COUNT(*) FILTER (WHERE choice = 'no') AS no
FROM board_votes WHERE artifact_id = :artifact_id AND progression_id = :progression_id
"""
TALLIES = """
SELECT i.progression_id, i.version, COUNT(*) FILTER (WHERE v.choice = 'yes') AS yes,
    COUNT(*) FILTER (WHERE v.choice = 'maybe') AS maybe, COUNT(*) FILTER (WHERE v.choice = 'no') AS no
FROM board_images AS i
LEFT JOIN board_votes AS v ON v.artifact_id = i.artifact_id AND v.progression_id = i.progression_id
WHERE i.artifact_id = :artifact_id GROUP BY i.progression_id, i.version, i.position
ORDER BY i.version DESC, i.position
"""
VOTERS = "SELECT COUNT(DISTINCT guest) AS n FROM board_votes WHERE artifact_id = :artifact_id"
COMMENT = """
INSERT INTO board_comments (id, artifact_id, progression_id, guest, name, text, x, y, created_at)
VALUES (:id, :artifact_id, :progression_id, :guest, :name, :text, :x, :y, :created_at)
ON CONFLICT (id) DO NOTHING
"""
HIDE = """
UPDATE board_comments SET hidden_at = :hidden_at
WHERE id = :id AND artifact_id = :artifact_id AND hidden_at IS NULL
"""
COMMENTED = "SELECT COUNT(*) AS n FROM board_comments WHERE id = :id AND artifact_id = :artifact_id"
COMMENTS = "SELECT * FROM board_comments WHERE artifact_id = :artifact_id ORDER BY created_at, id"
COUNT_COMMENTS = "SELECT COUNT(*) AS n FROM board_comments WHERE artifact_id = :artifact_id"
APPROVE = """
INSERT INTO board_approvals (artifact_id, progression_id, guest, name, verdict, sha256, decided_at)
VALUES (:artifact_id, :progression_id, :guest, :name, :verdict, :sha256, :decided_at)
ON CONFLICT (artifact_id, progression_id, guest) DO UPDATE SET
    name = excluded.name, verdict = excluded.verdict, sha256 = excluded.sha256, decided_at = excluded.decided_at
WHERE board_approvals.verdict <> excluded.verdict OR board_approvals.name IS DISTINCT FROM excluded.name
"""
WITHDRAW_APPROVAL = """
DELETE FROM board_approvals WHERE artifact_id = :artifact_id AND progression_id = :progression_id AND guest = :guest
"""
APPROVALS = """
SELECT a.progression_id, a.guest, a.name, a.verdict, a.sha256, a.decided_at,
    CASE WHEN i.version < b.version OR EXISTS (
        SELECT 1 FROM image_progressions AS child
        WHERE child.parent_progression_id = a.progression_id AND child.sha256 <> a.sha256
    ) THEN 1 ELSE 0 END AS stale
FROM board_approvals AS a JOIN boards AS b ON b.artifact_id = a.artifact_id
JOIN board_images AS i ON i.artifact_id = a.artifact_id AND i.progression_id = a.progression_id
WHERE a.artifact_id = :artifact_id
    AND (CAST(:guest AS TEXT) IS NULL OR (a.guest = :guest AND a.progression_id = :progression_id))
ORDER BY a.decided_at, a.guest
"""
COUNT_APPROVALS = """
SELECT COUNT(*) AS n FROM board_approvals
WHERE artifact_id = :artifact_id AND NOT (guest = :guest AND progression_id = :progression_id)
"""
MY_VOTES = "SELECT progression_id, choice AS said FROM board_votes WHERE artifact_id = :artifact_id AND guest = :guest"
MY_APPROVALS = """
SELECT progression_id, verdict AS said FROM board_approvals WHERE artifact_id = :artifact_id AND guest = :guest
"""


APPROVED = """
SELECT DISTINCT a.progression_id AS id FROM board_approvals AS a
JOIN image_progressions AS p ON p.id = a.progression_id
WHERE p.project_id = :project_id AND a.verdict = 'approve' AND NOT EXISTS (
    SELECT 1 FROM board_approvals AS other WHERE other.progression_id = a.progression_id AND other.verdict = 'reject'
)
"""


class Board(msgspec.Struct, frozen=True):
    """`version` is the artifact's version whose images are the board's, `revision` the number of its changes."""

    artifact_id: str
    is_open: int
    closes_at: int | None
    session_id: str | None
    version: int
    revision: int
    created_at: int

    @property
    def takes(self) -> bool:
        """Whether guests may vote, comment or approve now."""
        return self.is_open == 1 and (self.closes_at is None or self.closes_at > now_ms())


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """A comment to store; the caller chooses its `id`, so that a repeated request stores it once."""

    id: str
    progression_id: str
    text: str
    name: str | None = None
    x: float | None = None
    y: float | None = None


class State(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A board as every guest sees it: images in the order of the page, the rest from the oldest."""

    open: bool
    closes_at: int | None
    revision: int
    votes: list[Tally]
    comments: list[Comment]
    approvals: list[Approval]


class Mine(msgspec.Struct, frozen=True):
    """The votes and approvals of one guest, by image."""

    votes: dict[str, Choice]
    approvals: dict[str, Verdict]


class OwnerComment(Comment, frozen=True, rename="camel", kw_only=True):
    """`guest` is the same for all of one guest's comments and approvals on this board, and reveals nothing else."""

    guest: str
    hidden_at: int | None


class OwnerApproval(Approval, frozen=True, rename="camel", kw_only=True):
    guest: str


class OwnerTally(Tally, frozen=True, rename="camel", kw_only=True):
    """`shown`: the artifact's newest version still shows the image."""

    shown: bool


class OwnerState(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A board as its owner sees it: hidden comments too, and images that only earlier versions showed."""

    artifact_id: str
    open: bool
    closes_at: int | None
    session_id: str | None
    revision: int
    voters: int
    votes: list[OwnerTally]
    comments: list[OwnerComment]
    approvals: list[OwnerApproval]


class _Image(msgspec.Struct, frozen=True):
    id: str
    sha256: str


class _Counted(msgspec.Struct, frozen=True):
    yes: int
    maybe: int
    no: int


class _Tallied(_Counted, frozen=True):
    progression_id: str
    version: int


class _Commented(msgspec.Struct, frozen=True):
    id: str
    progression_id: str
    guest: str
    name: str | None
    text: str
    x: float | None
    y: float | None
    created_at: int
    hidden_at: int | None


class _Approved(msgspec.Struct, frozen=True):
    progression_id: str
    guest: str
    name: str | None
    verdict: Verdict
    sha256: str
    decided_at: int
    stale: int


class _GuestChoice(msgspec.Struct, frozen=True):
    progression_id: str
    said: str


def session_of(artifact_id: str) -> str:
    """The id of the session that carries only this board's events."""
    return f"board:{artifact_id}"


def guest_of(artifact_id: str, cookie: str) -> str:
    """The guest's id on one board: a hash that neither reveals the cookie nor links a guest's ids on two boards."""
    return hashlib.sha256(f"{artifact_id}/{cookie}".encode()).hexdigest()


def check_takes(artifact: ArtifactRow, input: Input) -> None:
    """Check that the artifact's board accepts this input.

    Fails: NotFound when the page has no board · Forbidden (`not_on_this_board`) when it accepts other inputs only.
    """
    takes = TAKES.get(artifact.generator_id or "")
    if takes is None:
        raise NotFound("there is no board on this page")
    if input not in takes:
        raise Forbidden(f"this board accepts no {input}s", code="not_on_this_board", detail={"takes": sorted(takes)})


@step("boards.approved")
async def approved(env: Env, project_id: str) -> frozenset[str]:
    """The ids of the project's images that guests approved on some board and none rejected on any."""
    return frozenset(row.id for row in await env.DB.all(APPROVED, IdRow, project_id=project_id))


@step("boards.set")
async def set_board(
    env: Env,
    artifact: ArtifactRow,
    *,
    open: bool,
    closes_at: int | UnsetType | None = UNSET,
    session_id: str | UnsetType | None = UNSET,
) -> None:
    """Open or close the artifact's board. `closes_at` (UTC ms) and the owner's session stay as they are when UNSET.

    Effect: the board's row and images, and an `opened` or `closed` event when that changed, in one transaction.
    Fails: Invalid when the artifact has no board or `closes_at` lies in the past · Conflict while it is unpublished.
    """
    if artifact.generator_id not in TAKES:
        raise Invalid("this artifact has no board", code="no_board", detail={"allowed": sorted(TAKES)})
    if artifact.version == 0:
        raise Conflict("the artifact has no published version yet", code="not_published")
    await env.DB.run(OPEN_BOARD, artifact_id=artifact.id, created_at=now_ms())
    await _follow(env, artifact)
    async with env.DB.transaction() as tx:
        board = await _locked(tx, artifact.id)
        changed = msgspec.structs.replace(
            board,
            is_open=int(open),
            closes_at=board.closes_at if isinstance(closes_at, UnsetType) else closes_at,
            session_id=board.session_id if isinstance(session_id, UnsetType) else session_id,
        )
        if open and not changed.takes:
            raise Invalid("closesAt lies in the past", code="closes_in_past")
        await tx.run(
            SET,
            artifact_id=artifact.id,
            is_open=changed.is_open,
            closes_at=changed.closes_at,
            session_id=changed.session_id,
        )
        if (changed.is_open, changed.closes_at) != (board.is_open, board.closes_at):
            kind: Literal["opened", "closed"] = "opened" if open else "closed"
            await _append_event(
                tx, changed, BoardNews(kind=kind, revision=changed.revision, closes_at=changed.closes_at)
            )
    await _wake(env, changed)


@step("boards.vote")
async def vote(env: Env, artifact: ArtifactRow, guest: str, progression_id: str, choice: Choice | None) -> Tally:
    """Set a guest's vote on an image, replacing the previous one; None withdraws it. Returns the image's new tally.

    Effect: one row at most and, when it changed something, one event, in one transaction.
    Fails: NotFound for an image that the page does not show · Forbidden and Gone while the board is closed.
    """
    check_takes(artifact, "vote")
    await _follow(env, artifact)
    whose = {"artifact_id": artifact.id, "progression_id": progression_id, "guest": guest}
    async with env.DB.transaction() as tx:
        board, _ = await _enter(tx, artifact, progression_id)
        if choice is None:
            changed = await tx.run(WITHDRAW_VOTE, **whose)
        else:
            changed = await tx.run(VOTE, **whose, choice=choice, created_at=now_ms())
        counted = await tx.one(TALLY, _Counted, artifact_id=artifact.id, progression_id=progression_id)
        assert counted is not None
        tally = Tally(progression_id, counted.yes, counted.maybe, counted.no)
        if changed:
            await _append_event(tx, board, BoardNews(kind="vote", revision=board.revision, tally=tally))
    await _wake(env, board)
    return tally


@step("boards.comment")
async def comment(env: Env, artifact: ArtifactRow, guest: str, remark: Remark) -> Comment:
    """Put a guest's comment on an image.

    Effect: one row and its event in one transaction; repeating it with the same id changes nothing.
    Fails: as `vote` · Conflict (`board_full`) after MOST_COMMENTS.
    """
    check_takes(artifact, "comment")
    await _follow(env, artifact)
    made = Comment(
        comment_id=remark.id,
        progression_id=remark.progression_id,
        x=remark.x,
        y=remark.y,
        name=remark.name,
        text=remark.text,
        created_at=now_ms(),
    )
    async with env.DB.transaction() as tx:
        board, _ = await _enter(tx, artifact, remark.progression_id)
        _check_room(await tx.one(COUNT_COMMENTS, Count, artifact_id=artifact.id), MOST_COMMENTS)
        row = {**msgspec.structs.asdict(remark), "created_at": made.created_at}
        if await tx.run(COMMENT, artifact_id=artifact.id, guest=guest, **row):
            await _append_event(tx, board, BoardNews(kind="comment", revision=board.revision, comment=made))
    await _wake(env, board)
    return made


@step("boards.hide")
async def hide(env: Env, artifact_id: str, comment_id: str) -> None:
    """Show a comment to nobody but the owner from now on; repeating it changes nothing.

    Fails: NotFound.
    """
    async with env.DB.transaction() as tx:
        board = await tx.one(LOCK, Board, artifact_id=artifact_id)
        if board is None or await tx.one(COMMENTED, Count, id=comment_id, artifact_id=artifact_id) == Count(0):
            raise NotFound("there is no such comment")
        if await tx.run(HIDE, id=comment_id, artifact_id=artifact_id, hidden_at=now_ms()):
            await _append_event(tx, board, BoardNews(kind="hidden", revision=board.revision, comment_id=comment_id))
    await _wake(env, board)


@step("boards.approve")
async def approve(
    env: Env, artifact: ArtifactRow, guest: str, progression_id: str, verdict: Verdict | None, name: str | None
) -> Approval:
    """Keep a guest's verdict on an image version, with its SHA-256, in place of the one before; None takes it back.

    Effect: one row at most and, when it changed something, one event, in one transaction.
    Fails: as `vote` · Conflict (`board_full`) after MOST_APPROVALS.
    """
    check_takes(artifact, "approval")
    await _follow(env, artifact)
    whose = {"artifact_id": artifact.id, "progression_id": progression_id, "guest": guest}
    async with env.DB.transaction() as tx:
        board, image = await _enter(tx, artifact, progression_id)
        if verdict is None:
            changed = await tx.run(WITHDRAW_APPROVAL, **whose)
        else:
            _check_room(await tx.one(COUNT_APPROVALS, Count, **whose), MOST_APPROVALS)
            said = {"name": name, "verdict": verdict, "sha256": image.sha256, "decided_at": now_ms()}
            changed = await tx.run(APPROVE, **whose, **said)
        kept = await tx.one(APPROVALS, _Approved, **whose)
        approval = _approval(artifact.id, kept) if kept else _withdrawn(artifact.id, guest, image)
        if changed:
            await _append_event(tx, board, BoardNews(kind="approval", revision=board.revision, approval=approval))
    await _wake(env, board)
    return approval


async def look(env: Env, artifact: ArtifactRow) -> State:
    """The board as it is now; one that was never opened is closed and empty.

    Fails: NotFound when the artifact has no board.
    """
    if artifact.generator_id not in TAKES:
        raise NotFound("there is no board on this page")
    await _follow(env, artifact)
    if (board := await env.DB.one(GET, Board, artifact_id=artifact.id)) is None:
        return State(open=False, closes_at=None, revision=0, votes=[], comments=[], approvals=[])
    tallies = await env.DB.all(TALLIES, _Tallied, artifact_id=artifact.id)
    comments = await env.DB.all(COMMENTS, _Commented, artifact_id=artifact.id)
    approvals = await env.DB.all(APPROVALS, _Approved, artifact_id=artifact.id, guest=None, progression_id="")
    return State(
        open=board.takes,
        closes_at=board.closes_at,
        revision=board.revision,
        votes=[_tally(row) for row in tallies if row.version == board.version],
        comments=[_comment(row) for row in comments if row.hidden_at is None],
        approvals=[_approval(artifact.id, row) for row in approvals],
    )


async def mine(env: Env, artifact_id: str, guest: str) -> Mine:
    """The guest's own votes and approvals on the board."""
    votes = await env.DB.all(MY_VOTES, _GuestChoice, artifact_id=artifact_id, guest=guest)
    approvals = await env.DB.all(MY_APPROVALS, _GuestChoice, artifact_id=artifact_id, guest=guest)
    choices = {"votes": {row.progression_id: row.said for row in votes}}
    choices["approvals"] = {row.progression_id: row.said for row in approvals}
    return msgspec.convert(choices, Mine)


async def inspect(env: Env, artifact: ArtifactRow) -> OwnerState:
    """The board with every vote, comment and approval, as its owner sees it; one that was never opened is closed and
    empty.

    Fails: NotFound when the artifact has no board.
    """
    if artifact.generator_id not in TAKES:
        raise NotFound("this artifact has no board")
    await _follow(env, artifact)
    if (board := await env.DB.one(GET, Board, artifact_id=artifact.id)) is None:
        return OwnerState(
            artifact_id=artifact.id,
            open=False,
            closes_at=None,
            session_id=None,
            revision=0,
            voters=0,
            votes=[],
            comments=[],
            approvals=[],
        )
    tallies = await env.DB.all(TALLIES, _Tallied, artifact_id=artifact.id)
    comments = await env.DB.all(COMMENTS, _Commented, artifact_id=artifact.id)
    approvals = await env.DB.all(APPROVALS, _Approved, artifact_id=artifact.id, guest=None, progression_id="")
    voters = await env.DB.one(VOTERS, Count, artifact_id=artifact.id) or Count(0)
    return OwnerState(
        artifact_id=artifact.id,
        open=board.takes,
        closes_at=board.closes_at,
        session_id=board.session_id,
        revision=board.revision,
        voters=voters.n,
        votes=[OwnerTally(**_plain(_tally(row)), shown=row.version == board.version) for row in tallies],
        comments=[
            OwnerComment(**_plain(_comment(row)), guest=row.guest[:GUEST_SHOWN], hidden_at=row.hidden_at)
            for row in comments
        ],
        approvals=[
            OwnerApproval(**_plain(_approval(artifact.id, row)), guest=row.guest[:GUEST_SHOWN]) for row in approvals
        ],
    )


async def _follow(env: Env, artifact: ArtifactRow) -> None:
    """Record the images of the artifact's published version, once per version."""
    board = await env.DB.one(GET, Board, artifact_id=artifact.id)
    if board is None or board.version >= artifact.version:
        return
    key = f"{version_folder(artifact.id, artifact.version)}/manifest.json"
    manifest = msgspec.json.decode(await env.BUCKET.get(key), type=Manifest)
    shown: list[dict[str, Value]] = [
        {"artifact_id": artifact.id, "progression_id": id, "version": artifact.version, "position": position}
        for position, id in enumerate(manifest.progression_ids)
    ]
    async with env.DB.transaction() as tx:
        await _locked(tx, artifact.id)
        await tx.many(SHOW_IMAGE, shown)
        await tx.run(FOLLOWED, artifact_id=artifact.id, version=artifact.version)


async def _locked(tx: Statements, artifact_id: str) -> Board:
    board = await tx.one(LOCK, Board, artifact_id=artifact_id)
    assert board is not None
    return board


async def _enter(tx: Statements, artifact: ArtifactRow, progression_id: str) -> tuple[Board, _Image]:
    """The board, locked until the transaction ends, and the image to vote or comment on.

    Fails: Forbidden (`board_not_open`) · Gone (`board_closed`) · NotFound (`foreign_image`).
    """
    board = await tx.one(LOCK, Board, artifact_id=artifact.id)
    if board is None:
        raise Forbidden("this board has not been opened yet", code="board_not_open")
    if not board.takes:
        raise Gone("this board is closed", code="board_closed")
    where = {"artifact_id": artifact.id, "progression_id": progression_id}
    if (image := await tx.one(IMAGE, _Image, **where, version=board.version)) is None:
        raise NotFound("this page shows no such image", code="foreign_image")
    return board, image


def _check_room(taken: Count | None, most: int) -> None:
    """Check that the board has room for one more. Fails: Conflict (`board_full`)."""
    if taken is not None and taken.n >= most:
        raise Conflict("this board is full", code="board_full", detail={"most": most})


async def _append_event(tx: Statements, board: Board, news: BoardNews) -> None:
    """Append an event to the board's session and to the owner's, if there is one. Last in the transaction."""
    event = ArtifactEvent(artifact_id=board.artifact_id, stage="board", progress=1.0, board=news)
    await append(tx, session_of(board.artifact_id), [event])
    if board.session_id not in (None, session_of(board.artifact_id)):
        await append(tx, board.session_id, [event])


async def _wake(env: Env, board: Board) -> None:
    await env.PICASSO_DO.wake(session_of(board.artifact_id))
    if board.session_id is not None:
        await env.PICASSO_DO.wake(board.session_id)


def _tally(row: _Tallied) -> Tally:
    return Tally(progression_id=row.progression_id, yes=row.yes, maybe=row.maybe, no=row.no)


def _comment(row: _Commented) -> Comment:
    return Comment(
        comment_id=row.id,
        progression_id=row.progression_id,
        x=row.x,
        y=row.y,
        name=row.name,
        text=row.text,
        created_at=row.created_at,
    )


def _approval(artifact_id: str, row: _Approved) -> Approval:
    return Approval(
        approval_id=derived_id(artifact_id, row.progression_id, row.guest, "approval"),
        progression_id=row.progression_id,
        sha256=row.sha256,
        verdict=row.verdict,
        name=row.name,
        decided_at=row.decided_at,
        stale=row.stale == 1,
    )


def _withdrawn(artifact_id: str, guest: str, image: _Image) -> Approval:
    return Approval(
        approval_id=derived_id(artifact_id, image.id, guest, "approval"),
        progression_id=image.id,
        sha256=image.sha256,
        verdict=None,
        name=None,
        decided_at=now_ms(),
        stale=False,
    )


def _plain(entry: Tally | Comment | Approval) -> dict[str, Any]:
    return msgspec.structs.asdict(entry)
