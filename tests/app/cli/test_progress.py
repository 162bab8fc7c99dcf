"""The board of bars: what each envelope does to it, without a terminal."""

from typing import get_args

import msgspec
import pytest

from app.cli.progress import Bar, Board, advance, changed, describe, describe_verdict, tone
from tools.events import Complete, Envelope, Event, Fail, Judge, Progress, Queued, Running
from tools.rows import ItemError, ItemStatus, Stage

BOARD = Board(
    job_id="j",
    bars=(Bar(item_id="a", provider="sketch", variant_index=0), Bar(item_id="b", provider="sketch", variant_index=1)),
)


def tell(board: Board, *events: Event) -> Board:
    """The board after the events, fed one after the other."""
    for event in events:
        board = advance(board, Envelope("s", event.type, 0, board.seq + 1, msgspec.Raw(msgspec.json.encode(event))))
    return board


def fail(kind: str, message: str = "no") -> Fail:
    error = ItemError(code="x", message=message, kind=kind, correlation_id="c")
    return Fail(job_id="j", item_id="a", scope="item", error=error)


def progress(fraction: float, stage: Stage) -> Progress:
    return Progress(job_id="j", item_id="a", progress=fraction, stage=stage)


def test_an_item_runs_from_waiting_to_its_verdict() -> None:
    """Every event of a good item moves its bar, and only its bar."""
    board = tell(BOARD, Queued(job_id="j", item_id="a"), Running(job_id="j", item_id="a"), progress(0.4, "generate"))
    assert (board.bars[0].status, board.bars[0].progress, board.status) == ("running", 0.4, "running")
    assert describe(board, board.bars[0]) == "painting"
    board = tell(
        board,
        Judge(job_id="j", item_id="a", judgment="fail", judge_status="ok", notes=["no boat"], tags=[]),
        Complete(job_id="j", item_id="a", scope="item", generated_image_url="http://x/1", progression_id="p"),
    )
    bar = board.bars[0]
    assert (bar.status, bar.progress, bar.judgment, bar.notes) == ("complete", 1.0, "fail", ["no boat"])
    assert (bar.generated_image_url, bar.progression_id, tone(bar)) == ("http://x/1", "p", "aside")
    assert board.bars[1] == BOARD.bars[1]


def test_progress_never_falls() -> None:
    """A late, smaller fraction moves the stage but not the bar."""
    board = tell(BOARD, progress(0.6, "store"), progress(0.2, "compare"))
    assert (board.bars[0].progress, board.bars[0].stage) == (0.6, "compare")


@pytest.mark.parametrize("kind", ["failed", "refused", "uncertain", "cancelled"])
def test_a_failed_item_says_how_and_why(kind: ItemStatus) -> None:
    """The four bad ends keep their own word and the server's sentence."""
    board = tell(BOARD, fail(kind, "the vendor said no"))
    assert board.bars[0].status == kind
    assert describe(board, board.bars[0]) == f"{kind}: the vendor said no"
    assert tone(board.bars[0]) == "bad"


def test_a_terminal_state_is_final() -> None:
    """Nothing moves a bar that has ended."""
    board = tell(BOARD, fail("refused"))
    assert tell(board, progress(0.1, "generate"), Complete(job_id="j", item_id="a", scope="item")).bars == board.bars


def test_a_duplicate_names_the_kept_image() -> None:
    """The words point at the image a person can look at."""
    board = tell(BOARD, Complete(job_id="j", item_id="a", scope="item", duplicate_of="b"))
    assert describe(board, board.bars[0]) == "duplicate of sketch 1"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (Complete(job_id="j", scope="job", counts={"complete": 2}), "complete"),
        (Fail(job_id="j", scope="job", error=ItemError(code="no_image", message="-", correlation_id="c")), "failed"),
        (
            Fail(job_id="j", scope="job", error=ItemError(code="cancelled", message="-", correlation_id="c")),
            "cancelled",
        ),
    ],
)
def test_only_the_job_level_end_ends_the_board(event: Event, status: str) -> None:
    """Items that have all ended are not yet the end of the job."""
    items_ended = tell(BOARD, fail("failed"), Complete(job_id="j", item_id="b", scope="item"))
    assert not items_ended.ended
    assert (tell(items_ended, event).status, tell(items_ended, event).ended) == (status, True)


def test_repeated_foreign_and_unknown_envelopes_move_nothing() -> None:
    """A replay, another job, a later version's type and free words from the inbox leave the bars as they are."""
    board = tell(BOARD, Running(job_id="j", item_id="a"))
    again = advance(board, Envelope("s", "fail", 0, board.seq, msgspec.Raw(b'{"jobId":"j","itemId":"a"}')))
    assert again is board
    assert tell(board, Running(job_id="other", item_id="a")).bars == board.bars
    later = advance(board, Envelope("s", "hologram", 0, board.seq + 1, msgspec.Raw(b'{"jobId":"j"}')))
    assert (later.bars, later.seq) == (board.bars, board.seq + 1)
    words = advance(board, Envelope("s", "progress", 0, board.seq + 1, msgspec.Raw(b'{"jobId":"j","progress":"half"}')))
    assert (words.bars, words.seq) == (board.bars, board.seq + 1)


def test_every_stage_and_state_has_words() -> None:
    """No stage or state of the service is shown as a blank."""
    for stage in get_args(Stage):
        board = tell(BOARD, progress(0.1, stage))
        assert describe(board, board.bars[0])
    for status in get_args(ItemStatus):
        bar = msgspec.structs.replace(BOARD.bars[0], status=status)
        assert describe(BOARD, bar) and tone(bar)


@pytest.mark.parametrize(("status", "words"), [("error", "not judged"), ("skipped", "skipped")])
def test_a_judge_that_did_not_speak_is_said(status: str, words: str) -> None:
    """A crash of the judge is not passed off as a verdict."""
    event = msgspec.convert({"judgeStatus": status, "judgment": None, "notes": [], "tags": []}, Judge)
    board = tell(BOARD, msgspec.structs.replace(event, job_id="j", item_id="a"))
    assert describe_verdict(board.bars[0]) == words


def test_changes_are_told_once() -> None:
    """A terminal that cannot redraw gets a line for each new state only, not for every percent."""
    first = tell(BOARD, progress(0.2, "generate"))
    assert [bar.item_id for bar in changed(BOARD, first)] == ["a"]
    assert changed(first, tell(first, progress(0.3, "generate"))) == []
