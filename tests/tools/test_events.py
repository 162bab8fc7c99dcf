"""The event types, their words in the database and the envelope around them."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tools.events import TYPES, Complete, Event, Judge, Progress, StoredEvent, caught_up, envelope, frame

ROOT = Path(__file__).parents[2]


def stored(event: Event, seq: int = 7) -> StoredEvent:
    return StoredEvent("s", seq, 5, event.type, event.job_id, event.item_id, msgspec.json.encode(event).decode())


def test_every_event_type_has_its_word_in_the_database() -> None:
    """The union, the table of types and the CHECK of the events table name the same words."""
    migrations = "".join(path.read_text() for path in sorted((ROOT / "migrations").glob("*.sql")))
    checks = re.findall(r"type IN \(([^)]*'queued'[^)]*)\)", migrations)
    assert set(TYPES) == set(re.findall(r"'([a-z]+)'", checks[-1]))
    assert set(TYPES.values()) == set(get_args(Event))


@pytest.mark.parametrize(
    "event",
    [
        Progress(job_id="j", item_id="i", provider="sketch", variant_index=0, progress=0.5, stage="generate"),
        Judge(job_id="j", judgment=None, judge_status="error", notes=[], tags=[]),
        Complete(job_id="j", scope="job", counts={"complete": 2}),
    ],
    ids=["progress", "judge", "complete"],
)
def test_an_event_survives_its_envelope(event: Event) -> None:
    """A client reads the event's data in camelCase, without default values."""
    envelope_read = msgspec.json.decode(frame(stored(event)).text)
    assert envelope_read["sessionId"] == "s" and envelope_read["seq"] == 7 and envelope_read["ts"] == 5
    assert msgspec.convert(envelope_read["data"], type(event)) == event
    assert not [name for name in envelope_read["data"] if "_" in name]
    assert "itemId" in envelope_read["data"] or event.item_id is None


def test_control_frames_bear_no_number() -> None:
    """A control frame has no `seq` that a client could store as its cursor."""
    control = msgspec.json.decode(caught_up("s", 3).text)
    assert control == {"type": "caught-up", "sessionId": "s", "data": {"upTo": 3}}
    assert caught_up("s", 3).seq is None and frame(stored(Complete(scope="job"))).seq == 7


def test_line_breaks_in_words_do_not_break_a_line_of_the_stream() -> None:
    """An SSE `data:` line stays one line, whatever the text contains."""
    note = Judge(judgment="fail", judge_status="ok", notes=["one\ntwo\r\nthree\u2028four"], tags=[])
    assert b"\n" not in frame(stored(note)).text and b"\r" not in frame(stored(note)).text
    assert msgspec.json.decode(envelope(stored(note)).data)["notes"] == note.notes
