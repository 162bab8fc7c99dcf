"""The events of a session. One Struct per event type; the envelope is `{sessionId, type, ts, seq, data}`.

To add an event: write a Struct with its `type`, add it to `Event` and `TYPES`, and rebuild the CHECK of the table in a
new migration: a file that has been applied is never edited.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from tools.publishing.addresses import Site, whole_in_event, whole_in_text
from tools.rows import Criterion, ItemError, Judgment, Stage


class _Data(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    type: ClassVar[str]
    job_id: str | None = None
    item_id: str | None = None
    provider: str | None = None
    variant_index: int | None = None


class Queued(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An item was accepted."""

    type = "queued"


class Running(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Work on an item began; there is one per item, also after a crash."""

    type = "running"


class Fallback(msgspec.Struct, frozen=True):
    """The model that takes over, and why (`outage`, `rate` or `quota`) the one before was given up."""

    provider: str
    model: str
    because: str


class Progress(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """`progress` runs from 0 to 1 and never falls; the first event of a `stage` marks its beginning."""

    type = "progress"
    progress: float
    stage: Stage
    preview_url: str | None = None
    fallback: Fallback | None = None


class Retry(msgspec.Struct, frozen=True):
    """An HTTP request to this API, ready to be sent: the guided retry after a failed judgment."""

    method: str
    path: str
    body: dict[str, Any]


class Judge(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The verdict on an item's image, or why there is none (`judge_status`)."""

    type = "judge"
    judgment: Judgment | None
    judge_status: Literal["ok", "error", "skipped"]
    notes: list[str]
    tags: list[str]
    criteria: list[Criterion] = []
    coverage: float | None = None
    """How much of the request was judged, 0 to 1."""
    progression_id: str | None = None
    generated_image_url: str | None = None
    retry_suggestion: str | None = None
    retry: Retry | None = None


class Fail(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The end of an item without an image, or of a job that failed or was cancelled."""

    type = "fail"
    scope: Literal["item", "job"]
    error: ItemError
    counts: dict[str, int] | None = None


class Complete(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The end of an item with an image or as a duplicate, or of a job with at least one image."""

    type = "complete"
    scope: Literal["item", "job"]
    generated_image_url: str | None = None
    progression_id: str | None = None
    judgment: Judgment | None = None
    coverage: float | None = None
    duplicate_of: str | None = None
    adjustments: list[str] = []
    counts: dict[str, int] | None = None


class Agent(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A part of a chat reply: a token, a tool call or the whole message."""

    type = "agent"
    artifact_id: str
    kind: Literal["token", "tool_call", "message"]
    text: str = ""
    tool: str | None = None


class Tally(msgspec.Struct, frozen=True, rename="camel"):
    """All votes for one image."""

    progression_id: str
    yes: int
    maybe: int
    no: int


class Comment(msgspec.Struct, frozen=True, rename="camel"):
    """A guest's comment on an image; `x` and `y` are fractions of its width and height, None without a pin."""

    comment_id: str
    progression_id: str
    x: float | None
    y: float | None
    name: str | None
    text: str
    created_at: int


class Approval(msgspec.Struct, frozen=True, rename="camel"):
    """A guest's decision on an image version; None once withdrawn. `approvalId` is unique per guest and image.

    `stale`: there is a newer version of the image, or a newer version of the artifact shows other images.
    """

    approval_id: str
    progression_id: str
    sha256: str
    verdict: Literal["approve", "reject"] | None
    name: str | None
    decided_at: int
    stale: bool


class BoardNews(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A change of a board, with its new value; `revision` grows with each change of that board."""

    kind: Literal["vote", "comment", "approval", "hidden", "opened", "closed"]
    revision: int
    tally: Tally | None = None
    comment: Comment | None = None
    approval: Approval | None = None
    comment_id: str | None = None
    closes_at: int | None = None


class ArtifactError(msgspec.Struct, frozen=True, rename="camel"):
    """Why a page or file was not made, in a form safe to show."""

    code: str
    message: str
    correlation_id: str


class Artifact(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Progress on a page or file of an artifact (`stage`), its publication or its failure (`error`), or a change of
    its board."""

    type = "artifact"
    artifact_id: str
    stage: Literal["collect", "render", "publish", "board"]
    progress: float
    public_slug: str | None = None
    url: str | None = None
    board: BoardNews | None = None
    error: ArtifactError | None = None


Event = Queued | Running | Progress | Judge | Fail | Complete | Agent | Artifact
TYPES: dict[str, type[Event]] = {
    event.type: event for event in (Queued, Running, Progress, Judge, Fail, Complete, Agent, Artifact)
}


class PostedEvent(msgspec.Struct, frozen=True):
    """An event that a client posted, with `data` as it was sent. It belongs to no job or item, whatever `data` says."""

    type: str
    data: dict[str, Any]
    job_id: None = None
    item_id: None = None


class StoredEvent(msgspec.Struct, frozen=True):
    """A row of the event log; `data` is JSON text as it was committed."""

    session_id: str
    seq: int
    ts: int
    type: str
    job_id: str | None
    item_id: str | None
    data: str


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """An event as clients read it from the stream and the polling routes."""

    session_id: str
    type: str
    ts: int
    seq: int
    data: msgspec.Raw


class CaughtUp(msgspec.Struct, frozen=True, rename="camel", tag="caught-up", tag_field="type"):
    """The control frame between replayed and live events: everything up to `data.upTo` has been sent."""

    session_id: str
    data: dict[str, int]


class Frame(NamedTuple):
    """An encoded event; made once and shared by every client of the session in this process.

    `seq` is None for a control frame. `text` is the envelope as JSON without line breaks (an SSE `data:` line),
    `wire` the same as an unmasked WebSocket text frame (RFC 6455 §5.2).
    """

    seq: int | None
    text: bytes
    wire: bytes


def data_text(event: Event | PostedEvent) -> str:
    """The event as JSON text for the `data` column."""
    return msgspec.json.encode(event.data if isinstance(event, PostedEvent) else event).decode()


def with_addresses(event: StoredEvent, site: Site) -> StoredEvent:
    """The stored event, its addresses of ours as clients are told them."""
    data = whole_in_event(site, event.data)
    if event.type == Agent.type:
        data = whole_in_text(site, data)
    return event if data == event.data else msgspec.structs.replace(event, data=data)


def envelope(event: StoredEvent) -> Envelope:
    """The stored event as clients read it."""
    return Envelope(event.session_id, event.type, event.ts, event.seq, msgspec.Raw(event.data.encode()))


def frame(event: StoredEvent) -> Frame:
    """The stored event, encoded for SSE and WebSocket."""
    text = msgspec.json.encode(envelope(event))
    return Frame(event.seq, text, websocket_frame(text))


def caught_up(session_id: str, up_to: int) -> Frame:
    """The control frame which says that all events up to `up_to` have been sent."""
    text = msgspec.json.encode(CaughtUp(session_id, {"upTo": up_to}))
    return Frame(None, text, websocket_frame(text))


def websocket_frame(text: bytes) -> bytes:
    """UTF-8 text as one unmasked WebSocket text frame."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    return (b"\x81\x7e" + size.to_bytes(2) if size < 1 << 16 else b"\x81\x7f" + size.to_bytes(8)) + text
