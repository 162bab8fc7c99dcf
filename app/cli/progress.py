"""The progress of a job as bars, updated by the events of its session. Pure functions."""

import contextlib
from typing import Any, Literal

import msgspec

from tools.events import TYPES, Complete, Envelope, Event, Fail, Judge, Progress, Queued, Running
from tools.rows import TERMINAL, ItemStatus, JobStatus, Judgment, Stage, seen_as

Tone = Literal["waiting", "busy", "good", "bad", "aside"]
_STATES: dict[str, ItemStatus] = {state: state for state in ("failed", "refused", "uncertain", "cancelled")}
_STAGES: dict[str, str] = {
    "ingest": "reading the start image",
    "refine": "refining the prompt",
    "generate": "painting",
    "store": "storing the original",
    "compare": "comparing",
    "deliver": "delivering",
    "judge": "judging",
}


class Bar(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One item of a job. `progress` runs from 0 to 1 and never falls."""

    item_id: str
    provider: str
    variant_index: int
    status: ItemStatus = "queued"
    stage: Stage | None = None
    progress: float = 0.0
    judgment: Judgment | None = None
    coverage: float | None = None
    judge_status: Literal["ok", "error", "skipped"] | None = None
    notes: list[str] = []
    generated_image_url: str | None = None
    progression_id: str | None = None
    duplicate_of: str | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the item has ended."""
        return self.status in TERMINAL


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """The bars of one job in request order. `seq` is that of the session's last event seen."""

    job_id: str
    bars: tuple[Bar, ...]
    status: JobStatus = "queued"
    seq: int = 0

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.status in ("complete", "failed", "cancelled")


def advance(board: Board, envelope: Envelope) -> Board:
    """The board after an event; one seen before, of another job or of an unknown type changes only `seq`."""
    if envelope.seq <= board.seq:
        return board
    board = msgspec.structs.replace(board, seq=envelope.seq)
    event = read_event(envelope)
    if event is None or event.job_id != board.job_id:
        return board
    if isinstance(event, Complete | Fail) and event.scope == "job":
        if isinstance(event, Complete):
            return msgspec.structs.replace(board, status="complete")
        ending: JobStatus = "cancelled" if event.error.code == "cancelled" else "failed"
        return msgspec.structs.replace(board, status=ending)
    bars = tuple(
        msgspec.structs.replace(bar, **_changes(bar, event)) if bar.item_id == event.item_id and not bar.ended else bar
        for bar in board.bars
    )
    status: JobStatus = "running" if isinstance(event, Running) else board.status
    return msgspec.structs.replace(board, bars=bars, status=status)


def read_event(envelope: Envelope) -> Event | None:
    """The envelope's event, typed; None for a type that this version does not know, and for events from outside that
    have a known type but other data."""
    known = TYPES.get(envelope.type)
    with contextlib.suppress(msgspec.ValidationError):
        return None if known is None else msgspec.json.decode(envelope.data, type=known)
    return None


def _changes(bar: Bar, event: Event) -> dict[str, Any]:
    match event:
        case Queued():
            return {"status": "queued"}
        case Running():
            return {"status": "running"}
        case Progress(progress=progress, stage=stage):
            return {"status": "running", "stage": stage, "progress": max(bar.progress, progress)}
        case Judge():
            return {
                "judgment": event.judgment,
                "coverage": event.coverage,
                "judge_status": event.judge_status,
                "notes": event.notes,
                "progression_id": event.progression_id or bar.progression_id,
            }
        case Fail(error=error):
            return {"status": _STATES.get(error.kind or error.code, "failed"), "progress": 1.0, "error": error.message}
        case Complete():
            return {
                "status": "duplicate" if event.duplicate_of else "complete",
                "progress": 1.0,
                "generated_image_url": event.generated_image_url,
                "progression_id": event.progression_id or bar.progression_id,
                "duplicate_of": event.duplicate_of,
                "judgment": event.judgment or bar.judgment,
                "coverage": bar.coverage if event.coverage is None else event.coverage,
            }
        case _:
            return {}


def describe(board: Board, bar: Bar) -> str:
    """What the bar is doing or how it ended, in a few words."""
    match bar.status:
        case "queued":
            return "waiting"
        case "running":
            return _STAGES[bar.stage] if bar.stage else "starting"
        case "complete":
            return "complete"
        case "duplicate":
            names = {other.item_id: name_bar(other) for other in board.bars}
            return f"duplicate of {names.get(bar.duplicate_of or '', 'another item')}"
        case ended:
            return f"{ended}: {bar.error}"


def describe_verdict(bar: Bar) -> str:
    """The judge's verdict in a word; empty before there is one."""
    if bar.judgment is not None:
        return seen_as(bar.judgment, bar.coverage)
    return {"error": "not judged", "skipped": "skipped"}.get(bar.judge_status or "", "")


def tone(bar: Bar) -> Tone:
    """How to colour the bar; the judge's verdict counts once the item is complete."""
    match bar.status:
        case "queued":
            return "waiting"
        case "running":
            return "busy"
        case "complete":
            return "aside" if bar.judgment == "fail" else "good"
        case "duplicate":
            return "aside"
        case _:
            return "bad"


def name_bar(bar: Bar) -> str:
    """The item's name, such as `sketch 2`; variants count from 0 as in the API."""
    return f"{bar.provider} {bar.variant_index}"


def changed(before: Board, after: Board) -> list[Bar]:
    """The bars whose description has changed, for a terminal that cannot redraw."""
    pairs = zip(before.bars, after.bars, strict=True)
    return [new for old, new in pairs if _words(before, old) != _words(after, new)]


def _words(board: Board, bar: Bar) -> tuple[str, str]:
    return describe(board, bar), describe_verdict(bar) if bar.ended else ""
