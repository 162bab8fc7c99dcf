"""`Env`, the only object passed around: the twelve bindings of the deployment contract, and the settings.

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
    # Importing these takes half a second and 20 MB, which a process without a chat need not spend.
    import httpx
    from langchain_core.language_models import BaseChatModel

from tools.events import Frame
from tools.publishing.addresses import EmbeddingSite

Row = TypeVar("Row", bound=msgspec.Struct)
Value = str | int | float | bytes | None


class Statements(Protocol):
    """SQL statements with `:named` parameters; rows are returned as the given Struct."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which SQL the database understands."""
        ...

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        """The first row, or None."""
        ...

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        """All rows."""
        ...

    async def run(self, sql: str, **params: Value) -> int:
        """Execute and return the number of rows affected."""
        ...

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Execute the statement once per mapping."""
        ...


class Database(Statements, Protocol):
    """A single statement commits at once; `transaction()` combines several."""

    def transaction(self) -> AbstractAsyncContextManager[Statements]:
        """A write transaction (`BEGIN IMMEDIATE` / `BEGIN`): committed at the end, rolled back on error."""
        ...

    async def ping(self) -> None:
        """Check that the other side answers.

        Fails: Unavailable.
        """
        ...


class StoredObject(msgspec.Struct, frozen=True):
    """An object in BUCKET without its bytes. `size` in bytes, `modified` in UTC milliseconds."""

    key: str
    size: int
    modified: int


class Bucket(Protocol):
    """Originals, templates, pages: private bytes under keys of `[A-Za-z0-9._/-]`, never `..`, `//` or a leading `/`."""

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Write or overwrite atomically."""
        ...

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        """Write if there is no object or one of the same bytes; other bytes stay and raise Conflict."""
        ...

    async def get(self, key: str) -> bytes:
        """The bytes; NotFound when there are none."""
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """The bytes in chunks of at most 64 KiB; NotFound before the first chunk."""
        ...

    async def head(self, key: str) -> StoredObject | None:
        """Size and time of the object, or None when there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; it need not exist."""
        ...

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects whose keys begin with the prefix, in key order."""
        ...

    async def ping(self) -> None:
        """Check that the other side answers.

        Fails: Unavailable.
        """
        ...


class Images(Protocol):
    """Public delivery images under ids that we choose; writing the same id again succeeds."""

    async def put(self, image_id: str, data: bytes, *, mime: str) -> str:
        """Store the image and return its address as rows keep it: a path of ours, or the URL that IMAGES chose."""
        ...

    async def delete(self, image_id: str) -> None:
        """Remove the image; it need not exist."""
        ...

    async def ping(self) -> None:
        """Check that the other side answers.

        Fails: Unavailable.
        """
        ...


class AI(Protocol):
    """Chat and vision models by name, and what the adapters of vendors need: keys, URLs and one HTTP client."""

    @property
    def keys(self) -> Mapping[str, str]:
        """The vendors' settings that are set, by the name of the variable (`OPENAI_API_KEY`, `OPENAI_BASE_URL`, …)."""
        ...

    @property
    def listed(self) -> Mapping[str, tuple[str, ...]]:
        """The image models that the installation's own servers list, by provider; none of one that has not answered."""
        ...

    @property
    def http(self) -> "httpx.AsyncClient":
        """The client for vendors' APIs; never for URLs from users, which go through `tools/fetch.py`."""
        ...

    def chat_model(self, name: str) -> "BaseChatModel":
        """The model named `provider:model`, with LangChain's interface.

        A call is one HTTP request and fails with a VendorError. The `response_metadata` of an answer has the vendor's
        `request_id`, and in `refused` why the model would not answer, or None.
        Fails: Invalid naming the setting or package that is missing.
        """
        ...


class Subscription(Protocol):
    """The events of one session for one client, in `seq` order without a gap, in batches as they arrive."""

    def __aiter__(self) -> AsyncIterator[Sequence[Frame]]:
        """Batches of at least one frame; the same Frame objects go to every client of the session in this process.

        With `since`, a control frame (`caught-up`) follows the last event that existed when the client subscribed.
        Fails: Gone when the client is so slow that its next events were pruned · Unavailable when it must read from the
        database, which does not answer.
        """
        ...


class Actor(Protocol):
    """PICASSO_DO: wakes the readers of a session in all processes. The events themselves are in the table `events`."""

    async def wake(self, session_id: str) -> None:
        """Tell every process that the session has new events, without waiting for Redis.

        Never raises: a lost wake-up costs one poll interval (1 s).
        """
        ...

    def subscribe(self, session_id: str, since: int | None) -> AbstractAsyncContextManager[Subscription]:
        """Replay from `since` + 1 (None: live only), then live events.

        Fails: Gone when `since` has been pruned or is in the future.
        """
        ...

    async def clients(self, session_id: str) -> int:
        """How many clients are connected to the session, over all processes.

        Fails: Unavailable when Redis does not answer.
        """
        ...


class Message(msgspec.Struct, frozen=True):
    """A queue message; `ts` in UTC milliseconds, `id` made by the sender, so that a repeated delivery is recognised."""

    id: str
    type: Literal["artifact-view", "log", "workflow-complete"]
    ts: int
    payload: dict[str, Any]


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that could not be handled: its raw body, the reason, and how often it was tried."""

    id: str
    body: str
    reason: str
    tries: int


class Queue(Protocol):
    """PICASSO_QUEUE: at-least-once delivery in batches, with dead letters."""

    async def send(self, message: Message) -> None:
        """Return when the queue has the message; Unavailable when it has not taken it within 50 ms."""
        ...

    async def send_soon(self, message: Message) -> None:
        """Wait 50 ms at most; a message that is late stays in a bounded buffer of this process until it is sent.

        Fails: Unavailable when the buffer is full.
        """
        ...

    async def drain(self) -> None:
        """Return when the buffer is empty."""
        ...

    async def consume(self, handle: Callable[[Sequence[Message]], Awaitable[None]]) -> None:
        """Run until cancelled: batches of at most 10 or 30 s; one that raises is retried, split, then dead-lettered."""
        ...

    async def depth(self) -> int:
        """How many messages wait or are being handled."""
        ...

    async def dead_depth(self) -> int:
        """How many dead letters there are; none is dropped."""
        ...

    async def dead(self, limit: int) -> list[DeadLetter]:
        """Dead letters, at most `limit`."""
        ...


class Slot(Protocol):
    """A slot at a vendor. A call without a report (it was cancelled) counts neither for nor against the circuit."""

    def report(self, outcome: Literal["answered", "outage", "rate"], retry_after: float | None = None) -> None:
        """Report the end of the call: the vendor `answered` (refusals too), had an `outage`, or limited the `rate`.

        `retry_after` is how many seconds the vendor asked to wait.
        """
        ...


class Circuit(msgspec.Struct, frozen=True, rename="camel"):
    """The circuit breaker of one model and kind. `retry_at` in UTC milliseconds: when the next probe may be sent."""

    name: str
    state: Literal["open", "half-open", "closed"]
    """`closed` is healthy, `open` lets no call through, `half-open` lets one probe through."""
    failures: int
    retry_at: int | None = None


class Workflow(Protocol):
    """PICASSO_WORKFLOW: runs jobs and workflows on worker processes. Their state is in DB."""

    async def enqueue(self, job_id: str) -> None:
        """Ask a worker to run the job or workflow; asking again while it is enqueued has no effect."""
        ...

    async def work(self, run: Callable[[str], Awaitable[None]]) -> None:
        """Call `run(job_id)` for each enqueued id until cancelled; then wait for the calls that are running."""
        ...

    def acquire(self, provider: str, circuit: str) -> AbstractAsyncContextManager[Slot]:
        """Hold one of the provider's PROVIDER_WIDTH slots, over all processes, while a vendor works.

        Waits in line for it, and for as long as the provider asked everyone to wait. A `circuit` (model and kind)
        whose last calls all failed is open: it lets no call through but one probe at a time.
        Fails: Unavailable (`circuit_open`, with `retry_after`) while the circuit is open.
        """
        ...

    async def circuits(self) -> dict[str, list[Circuit]]:
        """The circuits of each provider, by its id; Unavailable when Redis is away."""
        ...

    async def take(self, bucket: str, *, capacity: int, per_minute: int) -> float:
        """Take a token from a bucket shared by all processes: 0.0 when granted, else the seconds until the next one."""
        ...

    async def take_in_minute(self, bucket: str, *, most: int) -> float:
        """Count a try, at most `most` in any minute over all processes: 0.0 when it counts, else the seconds until one
        will."""
        ...


class Memories(Protocol):
    """AGENTIC_MEMORIES: the part of a LangGraph checkpointer for packages that must not import LangGraph."""

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints of the thread."""
        ...

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all checkpoints of the threads but the latest of each."""
        ...


class Preferences(Protocol):
    """USER_PREFERENCES: the part of a LangGraph store (`BaseStore`) for packages that must not import LangGraph.

    One item per owner: namespace `("preferences", owner_id)`, key `"value"`. Marks are names that end by themselves,
    such as the sessions of the console.
    """

    async def aget(self, namespace: tuple[str, ...], key: str) -> Any:
        """An item with `.value` (a dict), or None."""
        ...

    async def aput(self, namespace: tuple[str, ...], key: str, value: dict[str, Any]) -> None:
        """Store the item, in place of an earlier one."""
        ...

    async def mark(self, name: str, seconds: int) -> bool:
        """Set a mark that all processes see for so many seconds; whether it was not set before, of several callers for
        one only.

        Fails: Unavailable.
        """
        ...

    async def is_marked(self, name: str) -> bool:
        """Whether the mark is set. Fails: Unavailable."""
        ...

    async def unmark(self, name: str) -> None:
        """Remove the mark; it need not be set. Fails: Unavailable."""
        ...


class Assets(Protocol):
    """ASSETS: the packaged folder `templates/`, read-only."""

    def read(self, name: str) -> bytes:
        """The bytes of a file, read from disk once and kept in memory.

        Fails: NotFound.
        """
        ...

    def names(self) -> Iterable[str]:
        """The names of all files, relative to the folder."""
        ...


class ImageServer(msgspec.Struct, frozen=True):
    """A server of the installation's own that speaks OpenAI's image API (IMAGE_SERVERS). `url` may have a query."""

    url: str
    key: str | None = None
    models: tuple[str, ...] = ()
    """The models that its settings name, the default one first; it may list others itself."""


class Settings(EmbeddingSite, Protocol):
    """The settings that packages below `app` read; `app/settings.py` has all of them."""

    @property
    def images(self) -> str:
        """The address of IMAGES."""
        ...

    @property
    def max_image(self) -> int:
        """The largest image in bytes (MAX_IMAGE)."""
        ...

    @property
    def image_memory(self) -> int:
        """How many bytes of images one process has in hand at once (IMAGE_MEMORY)."""
        ...

    @property
    def vendor_seconds(self) -> float:
        """The deadline of one call to a vendor, in seconds."""
        ...

    @property
    def vendor_5xx(self) -> Literal["uncertain", "retry"]:
        """What an error 5xx means of a server behind a base URL of the user's own (VENDOR_5XX)."""
        ...

    @property
    def openai_stream(self) -> bool:
        """Whether the server behind OPENAI_BASE_URL streams images (OPENAI_STREAM)."""
        ...

    @property
    def openai_models(self) -> tuple[str, ...]:
        """Image models of the provider `openai` that the settings name, the default one first (OPENAI_MODELS)."""
        ...

    @property
    def image_servers(self) -> Mapping[str, ImageServer]:
        """Further servers that speak OpenAI's image API, by the name of their provider (IMAGE_SERVERS)."""
        ...

    @property
    def job_lease_seconds(self) -> float:
        """How long a worker owns a job without renewing its lease, in seconds."""
        ...

    @property
    def sketch_seconds(self) -> float:
        """The least time that the provider `sketch` takes for an image, in seconds."""
        ...

    @property
    def fetch_allow(self) -> frozenset[str]:
        """`host:port` pairs that may be fetched although they are not public."""
        ...

    @property
    def prices(self) -> Path | None:
        """The PRICES file, or None."""
        ...

    @property
    def unpriced_micros(self) -> int:
        """What a call without a known price counts as, in micro-USD (UNPRICED_USD)."""
        ...

    @property
    def view_ip(self) -> Literal["truncated", "full", "hashed", "none"]:
        """How the IP address of a view is stored."""
        ...


@dataclass(frozen=True)
class Env:
    """The bindings under the names of the deployment contract, the default models, and the settings."""

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
