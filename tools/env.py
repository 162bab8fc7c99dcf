"""`Env`: the only thing handed around. Twelve bindings of the deployment contract, and the settings.

Each binding is a Protocol here and has its implementations side by side in `app/bindings/`.
Every method that crosses a socket or a disk is async, has a deadline of its own, and raises
`Unavailable` when the other side did not answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    # Half a second and 20 MB that a process without a chat need not pay.
    import httpx
    from langchain_core.language_models import BaseChatModel

from tools.events import Frame

Row = TypeVar("Row", bound=msgspec.Struct)
Value = str | int | float | bytes | None


class Statements(Protocol):
    """SQL with `:named` parameters against one dialect; rows come back as the Struct asked for."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]: ...

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        """The first row, or None."""
        ...

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]: ...

    async def run(self, sql: str, **params: Value) -> int:
        """Execute and return the number of rows affected."""
        ...

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Execute once per mapping."""
        ...


class Database(Statements, Protocol):
    """Single statements commit at once; `transaction()` makes several one."""

    def transaction(self) -> AbstractAsyncContextManager[Statements]:
        """A write transaction (`BEGIN IMMEDIATE` / `BEGIN`): committed at the end, rolled back on error."""
        ...

    async def ping(self) -> None: ...


class StoredObject(msgspec.Struct, frozen=True):
    """What BUCKET knows of an object. `modified` is UTC milliseconds."""

    key: str
    size: int
    modified: int


class Bucket(Protocol):
    """Originals, templates, pages: private bytes under keys of `[A-Za-z0-9._/-]`, never `..`, `//` or a leading `/`."""

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Write or overwrite atomically."""
        ...

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        """Write if the key is free or holds the same bytes; other bytes there raise Conflict and stay."""
        ...

    async def get(self, key: str) -> bytes:
        """The bytes; NotFound when there are none."""
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """The bytes in chunks of at most 64 KiB; NotFound before the first chunk."""
        ...

    async def head(self, key: str) -> StoredObject | None: ...

    async def delete(self, key: str) -> None:
        """Remove; repeating it is fine."""
        ...

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Objects in key order."""
        ...

    async def ping(self) -> None: ...


class Images(Protocol):
    """Public delivery images under ids that we choose; writing the same id again is success."""

    async def put(self, image_id: str, data: bytes, *, mime: str) -> str:
        """Store and return the absolute public URL."""
        ...

    async def delete(self, image_id: str) -> None: ...

    async def ping(self) -> None: ...


class AI(Protocol):
    """Chat and vision models by name, and what the vendors' adapters need: keys, addresses, one HTTP client."""

    @property
    def keys(self) -> Mapping[str, str]:
        """The vendors' settings that are present, by environment name (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, …)."""
        ...

    @property
    def http(self) -> "httpx.AsyncClient":
        """For vendors' APIs only, never for foreign URLs (those go through `tools/fetch.py`)."""
        ...

    def chat_model(self, name: str) -> "BaseChatModel":
        """The model `provider:model` behind LangChain's interface; Invalid says what it lacks.

        Its call is one HTTP request and fails as a VendorError. Of an answer, `response_metadata` tells the vendor's
        `request_id`, and `refused`, why it would not answer, or None.
        """
        ...


class Subscription(Protocol):
    """Events of one session for one client, in `seq` order without a gap, in batches as they come to be known."""

    def __aiter__(self) -> AsyncIterator[Sequence[Frame]]:
        """Batches of at least one frame; the same Frame objects go to every client of the session in this process.

        With `since`, a control frame (`caught-up`) follows the last event that existed when the client subscribed.
        Fails: Gone when retention overtook a client that lags · Unavailable when it lags and the database is away.
        """
        ...


class Actor(Protocol):
    """PICASSO_DO: wakes the readers of a session, in this process and in others. The `events` table is the truth."""

    async def wake(self, session_id: str) -> None:
        """Tell every process that the session has new events, without waiting for Redis.

        Never raises: a lost wake-up costs one poll interval (1 s).
        """
        ...

    def subscribe(self, session_id: str, since: int | None) -> AbstractAsyncContextManager[Subscription]:
        """Replay from `since` + 1 (None: live only), then live. Gone when `since` is pruned or in the future."""
        ...

    async def clients(self, session_id: str) -> int:
        """How many clients hang on the session, over all processes. Unavailable when Redis is away."""
        ...


class Message(msgspec.Struct, frozen=True):
    """A queue message; `ts` in UTC milliseconds, `id` made by the sender so that redelivery is harmless."""

    id: str
    type: Literal["artifact-view", "log", "workflow-complete"]
    ts: int
    payload: dict[str, Any]


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was given up: its raw body, why, and how often it was tried."""

    id: str
    body: str
    reason: str
    tries: int


class Queue(Protocol):
    """PICASSO_QUEUE: at-least-once messages in batches, with dead letters."""

    async def send(self, message: Message) -> None: ...

    async def consume(self, handle: Callable[[Sequence[Message]], Awaitable[None]]) -> None:
        """Run until cancelled: batches of at most 10 or 30 s; one that raises is retried, split, then dead-lettered."""
        ...

    async def depth(self) -> int: ...

    async def dead_depth(self) -> int:
        """How many dead letters there are; none is ever dropped."""
        ...

    async def dead(self, limit: int) -> list[DeadLetter]: ...


class Slot(Protocol):
    """A place at a vendor. What is not reported (a call that was cancelled) counts neither for nor against the lane."""

    def report(self, outcome: Literal["answered", "outage", "rate"], retry_after: float | None = None) -> None:
        """How the call ended: the vendor `answered` (also with a no), or was out, or said "not now" for a while."""
        ...


class Circuit(msgspec.Struct, frozen=True, rename="camel"):
    """How calls of one model and kind fare. `retry_at` in UTC milliseconds: when the next probe may go."""

    name: str
    state: Literal["open", "half-open", "closed"]
    """As of a circuit breaker: `closed` is healthy, `open` lets no call through, `half-open` one probe."""
    failures: int
    retry_at: int | None = None


class Workflow(Protocol):
    """PICASSO_WORKFLOW: durable running of jobs and workflows over worker processes. Their rows are the truth."""

    async def enqueue(self, job_id: str) -> None:
        """Ask some worker to run the job or workflow; asking again while it is known is harmless."""
        ...

    async def work(self, run: Callable[[str], Awaitable[None]]) -> None:
        """Be a worker: call `run(job_id)` for what is enqueued, until cancelled; then wait for what is running."""
        ...

    def acquire(self, provider: str, lane: str) -> AbstractAsyncContextManager[Slot]:
        """Hold one of the provider's PROVIDER_WIDTH places, over all processes, while a vendor works.

        Waits in line for it, and for as long as the provider asked everyone to wait. A `lane` (model and kind) whose
        last calls all failed is closed, but for one probe at a time.
        Fails: Unavailable (`circuit_open`, with `retry_after`) while the lane is closed.
        """
        ...

    async def circuits(self) -> dict[str, list[Circuit]]:
        """The lanes that are known of each provider, by its id; Unavailable when Redis is away."""
        ...

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        """One token from a bucket shared by all processes: 0.0 when granted, else seconds until the next one."""
        ...


class Memories(Protocol):
    """AGENTIC_MEMORIES: a LangGraph checkpointer, seen from rooms that must not know LangGraph."""

    async def adelete_thread(self, thread_id: str) -> None: ...

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None: ...


class Preferences(Protocol):
    """USER_PREFERENCES: a LangGraph store (`BaseStore`), seen from rooms that must not know LangGraph.

    One item per owner: namespace `("preferences", owner_id)`, key `"value"`.
    """

    async def aget(self, namespace: tuple[str, ...], key: str) -> Any:
        """An item with `.value` (a dict), or None."""
        ...

    async def aput(self, namespace: tuple[str, ...], key: str, value: dict[str, Any]) -> None: ...


class Assets(Protocol):
    """ASSETS: the packaged `templates/` folder, read-only."""

    def read(self, name: str) -> bytes:
        """The file's bytes; NotFound when there is none. Small files, read from disk once and kept."""
        ...

    def names(self) -> Iterable[str]: ...


class Settings(Protocol):
    """The part of the settings that rooms below `app` read; `app/settings.py` has them all."""

    @property
    def public_url(self) -> str: ...
    @property
    def max_image(self) -> int: ...
    @property
    def vendor_seconds(self) -> float: ...
    @property
    def job_lease_seconds(self) -> float: ...
    @property
    def sketch_seconds(self) -> float: ...
    @property
    def fetch_allow(self) -> frozenset[str]: ...
    @property
    def prices(self) -> Path | None: ...
    @property
    def unpriced_micros(self) -> int: ...
    @property
    def view_ip(self) -> Literal["truncated", "full", "hashed", "none"]: ...


@dataclass(frozen=True)
class Env:
    DB: Database
    BUCKET: Bucket
    IMAGES: Images
    AI: AI
    PICASSO_DO: Actor
    AGENTIC_MEMORIES: Memories
    USER_PREFERENCES: Preferences
    PICASSO_QUEUE: Queue
    PICASSO_WORKFLOW: Workflow
    ASSETS: Assets
    DEFAULT_MODEL_REASONING: str
    DEFAULT_MODEL_VISION: str
    settings: Settings
