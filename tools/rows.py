"""Rows of the database as Structs under their column names, and the units they are in.

Times are UTC milliseconds. Columns whose field here is a list, dict or Struct hold JSON text.
"""

import functools
import time
import types
import typing
import uuid
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

R = TypeVar("R", bound=msgspec.Struct)
_NAMESPACE = uuid.UUID("6f3d2d0e-5a0b-4b52-9a1e-5b1c6a2f7d10")

ItemStatus = Literal["queued", "running", "complete", "failed", "refused", "duplicate", "uncertain", "cancelled"]
JobStatus = Literal["queued", "running", "complete", "failed", "cancelled"]
Kind = Literal["generate", "edit", "inpaint", "outpaint", "variation", "upscale"]
Edge = Literal["generate", "edit", "inpaint", "outpaint", "variation", "upscale", "retry", "rollback"]
Stage = Literal["ingest", "refine", "generate", "store", "compare", "deliver", "judge"]
AttemptState = Literal["intent", "sent", "succeeded", "failed", "refused", "uncertain", "abandoned"]
Judgment = Literal["pass", "fail"]
Seen = Literal["pass", "measured", "fail"]
"""A judgment as people are shown it: an image whose main subject could not be judged is “measured”, and no “pass”."""
MERIT: Mapping[Seen | None, int] = {"pass": 0, "measured": 1, None: 2, "fail": 3}
"""Orders images by their verdict, the best first."""
MAIN_SUBJECT = 0.5
"""What the main subject of a request counts in the coverage of its verdict."""

TERMINAL: frozenset[str] = frozenset({"complete", "failed", "refused", "duplicate", "uncertain", "cancelled"})


def now_ms() -> int:
    """The time now in UTC milliseconds, the unit of time in rows, events and responses."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A fresh opaque id of 32 characters."""
    return uuid.uuid4().hex


def derived_id(*parts: object) -> str:
    """The same id for the same parts, so that a repeated effect writes the same row (UUID version 5, RFC 9562)."""
    return uuid.uuid5(_NAMESPACE, "/".join(map(str, parts))).hex


def load(row: type[R], columns: Mapping[str, Any]) -> R:
    """One row as its Struct; JSON columns are decoded, columns the Struct does not name are dropped."""
    plain = dict(columns)
    for name in _json_fields(row):
        if isinstance(plain.get(name), str):
            plain[name] = msgspec.json.decode(plain[name])
    return msgspec.convert(plain, row, strict=True)


def params(row: msgspec.Struct) -> dict[str, Any]:
    """A row as parameters of a statement under its column names; the opposite of `load`."""
    json = _json_fields(type(row))
    plain = msgspec.structs.asdict(row)
    return {name: dump(value) if name in json and value is not None else value for name, value in plain.items()}


def dump(value: Any) -> str:
    """JSON text for a JSON column, keys sorted so that equal values are equal text."""
    return msgspec.json.encode(value, order="deterministic").decode()


@functools.cache
def _json_fields(row: type[msgspec.Struct]) -> tuple[str, ...]:
    hints = typing.get_type_hints(row)
    return tuple(field.encode_name for field in msgspec.structs.fields(row) if _is_json(hints[field.name]))


def _is_json(hint: Any) -> bool:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_is_json(part) for part in typing.get_args(hint))
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, list | dict | msgspec.Struct)


class Project(msgspec.Struct, frozen=True):
    """A project; `budget_micros` is micro-USD, None means no limit."""

    id: str
    name: str
    description: str | None
    budget_micros: int | None
    created_at: int
    updated_at: int


class StoredImage(msgspec.Struct, frozen=True):
    """An image in BUCKET that was decoded and found valid. `size` in bytes, `width` and `height` in pixels."""

    r2_key: str
    sha256: str
    mime: str
    width: int
    height: int
    size: int


class InputImages(msgspec.Struct, frozen=True):
    """The images that a job works from, once stored in BUCKET."""

    start: StoredImage | None = None
    mask: StoredImage | None = None
    references: list[StoredImage] = []


class Tip(msgspec.Struct, frozen=True):
    """A tip of the knowledge base that was applied to a prompt."""

    key: str
    tip: str


class ProviderModel(msgspec.Struct, frozen=True):
    """A provider and one of its models."""

    provider: str
    model: str


class JobMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """What `prepare` decided, by provider; `fallback` are the models to use, in this order, when a provider is down.
    `buys_nothing`: the budget had no room for a call, so the retry goes on with what was bought before, or fails."""

    applied_tips: dict[str, list[Tip]] = {}
    refined_prompt: dict[str, str] = {}
    fallback: list[ProviderModel] = []
    buys_nothing: bool = False


class JobRequest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The request of a job as it was accepted, defaults filled in."""

    prompt: str
    providers: list[dict[str, str]]
    session_id: str
    variants: int = 1
    start_image_url: str | None = None
    parent_progression_id: str | None = None
    kind: Kind = "generate"
    mask_image_url: str | None = None
    reference_image_urls: list[str] = []
    size: str | None = None
    quality: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    strict: bool = False
    fallback: list[dict[str, str]] = []


class Job(msgspec.Struct, frozen=True):
    """A job. `fence` is its fencing token: it grows with each claim by a worker."""

    id: str
    project_id: str
    session_id: str
    status: JobStatus
    prompt: str
    kind: Kind
    request: JobRequest
    metadata: JobMetadata
    inputs: InputImages | None
    parent_progression_id: str | None
    retry_of: str | None
    body_sha256: str
    correlation_id: str
    first_seq: int
    fence: int
    idle_claims: int
    lease_until: int
    created_at: int
    started_at: int | None
    ended_at: int | None


class ItemError(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Why an item or a job ended without an image, in a form safe to show. `kind` is the terminal state."""

    code: str
    message: str
    kind: str | None = None
    provider_status: int | None = None
    correlation_id: str


class Item(msgspec.Struct, frozen=True):
    """One image of a job: a provider, a model and a variant. `progress` runs from 0 to 1."""

    id: str
    job_id: str
    position: int
    provider: str
    model: str
    variant_index: int
    seed: int | None
    status: ItemStatus
    stage: Stage | None
    progress: float
    original_r2_key: str | None
    phash: str | None
    duplicate_of: str | None
    progression_id: str | None
    error: ItemError | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    reserved_micros: int
    """Micro-USD of the project's budget reserved for the item until it ends."""
    preview_url: str | None
    deaths: int = 0
    """Claims in a row that died while they had it in hand and brought it no further."""


class Attempt(msgspec.Struct, frozen=True):
    """A row of the ledger: one call to a vendor. It may cost at most `quote_micros`; it did cost `cost_micros`."""

    id: str
    job_id: str
    item_id: str
    number: int
    provider: str
    model: str
    state: AttemptState
    free: int
    billed: int
    failure: str | None
    provider_code: str | None
    provider_status: int | None
    request_id: str | None
    usage: dict[str, Any] | None
    result: dict[str, Any] | None
    bytes_sha256: str | None
    cost_micros: int | None
    price_version: str | None
    created_at: int
    sent_at: int | None
    settled_at: int | None
    project_id: str | None
    quote_micros: int
    cost_basis: str | None
    retry_at: int | None
    """UTC milliseconds before which the vendor asked not to be called again."""


def seen_as(judgment: Judgment, coverage: float | None) -> Seen:
    """A judgment as people are shown it: no image passes whose main subject was not judged."""
    shallow = coverage is not None and coverage <= MAIN_SUBJECT
    return "measured" if judgment == "pass" and shallow else judgment


class Criterion(msgspec.Struct, frozen=True):
    """One requirement, whether the image meets it, and what was seen or measured."""

    requirement: str
    met: bool
    evidence: str


class Verdict(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A judge's verdict on an image; "pass" only when every criterion is met."""

    judgment: Judgment
    notes: list[str]
    tags: list[str]
    criteria: list[Criterion]
    retry_suggestion: str | None = None
    """Words to add to the prompt of a retry; there when the judgment is "fail"."""
    coverage: float = 1.0
    """How much of the request was judged, 0 to 1; at most `MAIN_SUBJECT` when its main subject was not."""

    @property
    def seen(self) -> Seen:
        """The judgment as people are shown it."""
        return seen_as(self.judgment, self.coverage)


class Progression(msgspec.Struct, frozen=True):
    """A stored image version; a node of the lineage graph. `cost_usd` is integer micro-USD in the row."""

    id: str
    project_id: str
    parent_progression_id: str | None
    start_image_url: str | None
    prompt: str
    generated_image_url: str
    original_image_r2_key: str
    ai_provider: str
    ai_notes: list[str]
    ai_tags: list[str]
    judgment: Judgment | None
    created_at: int
    job_id: str | None
    item_id: str | None
    edge: Edge
    variant_index: int
    ai_model: str | None
    refined_prompt: str | None
    start_image_r2_key: str | None
    judge_status: Literal["ok", "error", "skipped"]
    criteria: list[Criterion]
    retry_suggestion: str | None
    phash: str | None
    width: int
    height: int
    sha256: str
    seed: int | None
    adjustments: list[str]
    cost_usd: int
    coverage: float | None = None
    """That of the verdict; None without one, and where it is not known."""

    @property
    def seen(self) -> Seen | None:
        """The judgment as people are shown it; None without one."""
        return self.judgment and seen_as(self.judgment, self.coverage)


class Upload(msgspec.Struct, frozen=True):
    """An uploaded image of a project; `size` in bytes, `width` and `height` in pixels."""

    project_id: str
    sha256: str
    r2_key: str
    mime: str
    width: int
    height: int
    size: int
    created_at: int


class ArtifactRow(msgspec.Struct, frozen=True):
    """A page or file made from images; `version` 0 has not been published yet."""

    id: str
    owner_id: str
    title: str
    template_r2_key: str | None
    content_r2_key: str | None
    public_slug: str
    created_at: int
    generator_id: str | None
    options: dict[str, Any]
    version: int
    content_type: str | None
    content_sha256: str | None
    content_policy: str | None
    """The Content-Security-Policy that the page is served under; None lets nothing load."""
    updated_at: int
    unpublished_at: int | None = None


class ArtifactView(msgspec.Struct, frozen=True):
    """One view of a public page; what `ip_address` holds depends on the setting VIEW_IP."""

    id: str
    artifact_id: str
    timestamp: int
    ip_address: str | None
    country: str | None
    city: str | None
    user_agent: str | None


class Count(msgspec.Struct, frozen=True):
    """The result of a `COUNT(*) AS n`."""

    n: int


class IdRow(msgspec.Struct, frozen=True):
    """A row of which only the id is selected."""

    id: str
