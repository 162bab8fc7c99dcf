"""What a session is told. One Struct per event type; the envelope is `{sessionId, type, ts, seq, data}`.

To add an event: write a Struct with its `type`, add it to `Event`, add the word to the CHECK in a migration.
"""

from typing import Any, ClassVar, Literal

import msgspec

from tools.rows import Criterion, ItemError, Judgment, Stage


class _Data(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    type: ClassVar[str]
    job_id: str | None = None
    item_id: str | None = None
    provider: str | None = None
    variant_index: int | None = None


class Queued(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    type = "queued"


class Running(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    type = "running"


class Progress(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """`progress` runs from 0 to 1 and never falls; a step's first one says that it begins."""

    type = "progress"
    progress: float
    stage: Stage
    preview_url: str | None = None
    message: str | None = None


class Retry(msgspec.Struct, frozen=True):
    """A request ready to be sent: the guided retry of a failed judgement."""

    method: str
    path: str
    body: dict[str, Any]


class Judge(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    type = "judge"
    judgment: Judgment | None
    judge_status: Literal["ok", "error", "skipped"]
    notes: list[str]
    tags: list[str]
    criteria: list[Criterion] = []
    progression_id: str | None = None
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
    duplicate_of: str | None = None
    adjustments: list[str] = []
    counts: dict[str, int] | None = None


class Agent(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Chat: a token, a tool call or a whole message."""

    type = "agent"
    artifact_id: str
    kind: Literal["token", "tool_call", "message"]
    text: str = ""
    tool: str | None = None


class Artifact(_Data, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A page or file of an artifact is being made (`stage`) or has been published."""

    type = "artifact"
    artifact_id: str
    stage: Literal["collect", "render", "publish"]
    progress: float
    public_slug: str | None = None
    url: str | None = None


Event = Queued | Running | Progress | Judge | Fail | Complete | Agent | Artifact
TYPES: dict[str, type[Event]] = {
    event.type: event for event in (Queued, Running, Progress, Judge, Fail, Complete, Agent, Artifact)
}


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
    """What a client of the stream reads, and what the polling routes list."""

    session_id: str
    type: str
    ts: int
    seq: int
    data: msgspec.Raw


def envelope(event: StoredEvent) -> Envelope:
    return Envelope(event.session_id, event.type, event.ts, event.seq, msgspec.Raw(event.data.encode()))


def frame(event: StoredEvent) -> str:
    """The event as the text of one WebSocket frame or one SSE `data:` line."""
    return msgspec.json.encode(envelope(event)).decode()
