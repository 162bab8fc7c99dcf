"""A client of our own HTTP API for the command line: a few calls, and a session's events without gaps."""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from app.settings import SettingError, Settings
from tools.events import Envelope
from tools.fetch import tls_context
from tools.pages import Page
from tools.rows import ItemStatus, JobStatus, Project, new_id

T = TypeVar("T")
CALL_SECONDS = 30.0
LONG_CALL_SECONDS = 180.0
"""For calls that carry images or render: a server answers these within two minutes."""
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A stream that is silent for this long is reopened where it stopped."""
OUTAGE_SECONDS = 60.0
"""A stream that cannot be reopened for this long is given up."""
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.25, 5.0
OWNER_SECONDS = 2.0
"""How long whoever has our port may take to say who it is."""
MAX_LINE = 4 << 20


class ClientError(Exception):
    """An error to print in one line. `code` is the server's error code, or `unreachable`."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class AcceptedItem(msgspec.Struct, frozen=True, rename="camel"):
    """An item of an accepted job."""

    item_id: str
    provider: str
    variant_index: int
    status: ItemStatus


class AcceptedJob(msgspec.Struct, frozen=True, rename="camel"):
    """The response to a submitted job."""

    job_id: str
    project_id: str
    session_id: str
    status: JobStatus
    items: list[AcceptedItem]


class JobItem(msgspec.Struct, frozen=True, rename="camel"):
    """An item of a job, whatever its state."""

    item_id: str
    provider: str
    variant_index: int


class FoundJob(msgspec.Struct, frozen=True, rename="camel"):
    """A job as the server has it."""

    job_id: str
    project_id: str
    session_id: str
    status: JobStatus
    items: list[JobItem]


class Upload(msgspec.Struct, frozen=True, rename="camel"):
    """A stored image, and how a job of its project names it."""

    start_image_url: str
    width: int
    height: int


class ShareLink(msgspec.Struct, frozen=True, rename="camel"):
    """A share link to an artifact."""

    share_id: str
    url: str


class ConsoleLink(msgspec.Struct, frozen=True, rename="camel"):
    """A link that signs a browser in to the console, once, until `expiresAt` (UTC milliseconds)."""

    url: str
    expires_at: int


class Rendering(msgspec.Struct, frozen=True):
    """How far the rendering of an artifact is."""

    status: str


class MadeArtifact(msgspec.Struct, frozen=True):
    """An artifact that was made; `render` is set when a worker renders it, or did."""

    artifact_id: str
    public_slug: str
    public_url: str
    version: int
    render: Rendering | None


class SessionState(msgspec.Struct, frozen=True, rename="camel"):
    """`seq` is the number of the session's last event; 0 when there is none."""

    session_id: str
    seq: int


def local_address(settings: Settings) -> str:
    """The URL of a server with these settings, from its own machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    host = everywhere.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def find_key(settings: Settings) -> str | None:
    """API_KEY, else the key that a server on this data directory created, else None.

    Fails: SettingError when the data directory cannot be read.
    """
    if settings.api_key is not None:
        return settings.api_key
    try:
        return (settings.home / "api_key").read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its key is no text"
        raise SettingError(f"PICASSO_HOME cannot be read at {settings.home}: {reason}") from error


def find_owner(settings: Settings) -> str | None:
    """What has the port, in words, if it is a server of ours."""
    address, key = local_address(settings), None
    with contextlib.suppress(SettingError):
        key = find_key(settings)
    try:
        with httpx.Client(base_url=address, timeout=OWNER_SECONDS, trust_env=False) as client:
            found = client.get("/readyz").json()
            if not {"status", "bindings"} <= found.keys():
                return None
            # Only a server on this data directory knows the key in it.
            same = key is not None and client.get("/_actor/-/state", headers={"X-Api-Key": key}).status_code == 200
    except (httpx.HTTPError, ValueError, AttributeError):
        return None
    if not same:
        return f"another picasso, with another data directory, serves at {address}; choose another PORT"
    return f"the picasso of this data directory serves at {address} already; stop it, or choose another PORT and home"


class _Field(msgspec.Struct, frozen=True):
    field: str
    problem: str


class _Detail(msgspec.Struct, frozen=True):
    errors: list[_Field]


class _OfProject(msgspec.Struct, frozen=True):
    project_id: str


class _Problem(msgspec.Struct, frozen=True):
    code: str
    message: str
    detail: msgspec.Raw = msgspec.Raw(b"null")

    def __str__(self) -> str:
        """The message, or what is wrong with which field."""
        with contextlib.suppress(msgspec.MsgspecError):
            wrong = msgspec.json.decode(self.detail, type=_Detail).errors
            return "; ".join(f"{each.field}: {in_words(each.problem)}" for each in wrong) or self.message
        return self.message


class _Refusal(msgspec.Struct, frozen=True):
    error: _Problem


class _Health(msgspec.Struct, frozen=True):
    ok: bool
    reason: str | None = None


class _Readiness(msgspec.Struct, frozen=True):
    bindings: dict[str, _Health]


class _Numbered(msgspec.Struct, frozen=True):
    """The part of a frame that tells events from control frames, which have no `seq`."""

    seq: int | None = None


class Api:
    """A client of one server with one key. Every call has a deadline; every failure is a `ClientError`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, server: str, key: str | None) -> AsyncIterator["Api"]:
        """A client of `server`; the environment's proxies are not used."""
        async with httpx.AsyncClient(
            base_url=server.rstrip("/"),
            headers={} if key is None else {"X-Api-Key": key},
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            verify=tls_context(),
            trust_env=False,
        ) as http:
            yield cls(http)

    async def is_ready(self) -> bool:
        """Whether the server and all its bindings respond."""
        try:
            return (await self._http.get("/readyz", timeout=CONNECT_SECONDS)).status_code == 200
        except httpx.TransportError:
            return False

    async def disk_problem(self) -> str | None:
        """Why the server's disk takes nothing; None where it does, or where the server does not say."""
        try:
            response = await self._http.get("/readyz", timeout=CONNECT_SECONDS)
            disk = msgspec.json.decode(response.content, type=_Readiness).bindings.get("disk")
        except (httpx.TransportError, msgspec.MsgspecError):
            return None
        return None if disk is None or disk.ok else disk.reason

    async def list_projects(self) -> list[Project]:
        """All projects, the one last changed first."""
        projects: list[Project] = []
        cursor: str | None = None
        while True:
            query = {"limit": "200"} if cursor is None else {"limit": "200", "cursor": cursor}
            page = await self._call("GET", "/api/projects", Page[Project], params=query)
            projects += page.items
            if (cursor := page.next_cursor) is None:
                return projects

    async def latest_project(self) -> Project:
        """The project that was changed last. Fails: ClientError when there is none."""
        page = await self._call("GET", "/api/projects", Page[Project], params={"limit": "1"})
        if not page.items:
            raise ClientError("there is no project yet: `picasso generate` makes one", code="not_found")
        return page.items[0]

    async def create_project(self, name: str, description: str | None = None) -> Project:
        """Create a project."""
        return await self._call("POST", "/api/projects", Project, json={"name": name, "description": description})

    async def submit_job(self, project_id: str, job: dict[str, Any]) -> AcceptedJob:
        """Submit a job exactly once: after a lost response or a 503 it is repeated under the same Idempotency-Key.

        `job` is the body of `POST /api/projects/{id}/jobs`.
        """
        path, headers = f"/api/projects/{quote(project_id, safe='')}/jobs", {"Idempotency-Key": new_id()}
        for wait in (FIRST_WAIT_SECONDS, 1.0):
            with contextlib.suppress(_Retryable):
                return await self._call("POST", path, AcceptedJob, json=job, headers=headers)
            await asyncio.sleep(wait)
        return await self._call("POST", path, AcceptedJob, json=job, headers=headers)

    async def check_job(self, job: dict[str, Any]) -> None:
        """Have the server check the body of a job that no project has yet.

        Fails: ClientError when it would refuse the job.
        """
        try:
            await self._call("POST", "/api/projects/none/jobs", msgspec.Raw, json={**job, "dryRun": True})
        except ClientError as error:
            # The project is the last thing that a quote looks at, and there is none of this name.
            if error.code != "not_found":
                raise

    async def find_job(self, job_id: str) -> FoundJob:
        """The job and its items."""
        return await self._call("GET", f"/api/jobs/{quote(job_id, safe='')}", FoundJob)

    async def cancel_job(self, job_id: str) -> FoundJob:
        """Cancel the job; one that has ended stays as it is."""
        return await self._call("POST", f"/api/jobs/{quote(job_id, safe='')}/cancel", FoundJob)

    async def upload(self, project_id: str, name: str, data: bytes) -> Upload:
        """Store an image for the project's jobs."""
        path = f"/api/projects/{quote(project_id, safe='')}/uploads"
        return await self._call("POST", path, Upload, files={"file": (name, data)}, timeout=LONG_CALL_SECONDS)

    async def find_progression(self, progression_id: str) -> str:
        """The project of an image version."""
        path = f"/api/progressions/{quote(progression_id, safe='')}"
        return (await self._call("GET", path, _OfProject)).project_id

    async def make_artifact(self, project_id: str, kind: str, title: str | None = None) -> MadeArtifact:
        """Make and publish an artifact of this kind (`lookbook`, …) from the project. One that takes long may still be
        rendered when this returns: then its `version` is 0."""
        body = {"generatorId": kind, "projectIds": [project_id], **({"title": title} if title else {})}
        return await self._call("POST", "/api/artifacts", MadeArtifact, json=body, timeout=LONG_CALL_SECONDS)

    async def share(self, artifact_id: str, conditions: dict[str, Any]) -> ShareLink:
        """Create a share link; `conditions` is the body of `POST /api/artifacts/{id}/shares`."""
        path = f"/api/artifacts/{quote(artifact_id, safe='')}/shares"
        return await self._call("POST", path, ShareLink, json=conditions)

    async def make_console_link(self) -> ConsoleLink:
        """A link that signs a browser in to the console, once."""
        return await self._call("POST", "/console/link", ConsoleLink)

    async def session_state(self, session_id: str) -> SessionState:
        """How far the session's events go."""
        return await self._call("GET", f"/_actor/{quote(session_id, safe='')}/state", SessionState)

    async def fetch_status(self, url: str) -> int:
        """The status that a visitor without a key gets for the URL, once all of it was read; 0 without a response."""
        try:
            async with httpx.AsyncClient(timeout=CALL_SECONDS, trust_env=False, verify=tls_context()) as visitor:
                return (await visitor.get(url)).status_code
        except httpx.TransportError:
            return 0

    async def follow(self, session_id: str, since: int) -> AsyncGenerator[Envelope, None]:
        """The session's events after `since`, each once and in order, without end; a broken stream is reopened.

        Fails: ClientError when the server refuses (`cursor_expired`, `unauthorized`, …) or stays unreachable.
        """
        path, wait = f"/api/stream/{quote(session_id, safe='')}", FIRST_WAIT_SECONDS
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        lost_at: float | None = None
        while True:
            try:
                with _translated(self._http.base_url):
                    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(since)}
                    async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                        await _check(response)
                        lost_at, wait = None, FIRST_WAIT_SECONDS
                        async for data in read_sse(response.aiter_bytes()):
                            if msgspec.json.decode(data, type=_Numbered).seq is not None:
                                envelope = msgspec.json.decode(data, type=Envelope)
                                since = envelope.seq
                                yield envelope
            except _Retryable:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > OUTAGE_SECONDS:
                    raise
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, MAX_WAIT_SECONDS)

    async def _call(self, method: str, path: str, result: type[T], **request: Any) -> T:
        with _translated(self._http.base_url):
            response = await self._http.request(method, path, **request)
            await _check(response)
            return msgspec.json.decode(response.content, type=result)


class _Retryable(ClientError):
    """The connection broke, or the server is not available at the moment: worth another try."""


@contextlib.contextmanager
def _translated(server: httpx.URL) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise _Retryable(f"no server at {server}: start one with `picasso serve`", code="unreachable") from error
    except httpx.TransportError as error:
        raise _Retryable(f"the response of {server} was incomplete", code="unreachable") from error
    except msgspec.MsgspecError as error:
        raise ClientError(f"{server} is not a picasso server", code="not_picasso") from error


async def _check(response: httpx.Response) -> None:
    """Fails: ClientError with the server's message, for a response that is no success."""
    if response.is_success:
        return
    await response.aread()
    try:
        problem = msgspec.json.decode(response.content, type=_Refusal).error
    except msgspec.MsgspecError:
        problem = _Problem("not_picasso", "this is not a picasso server")
    kind = _Retryable if response.status_code in (502, 503, 504) else ClientError
    hint = ": give it with --key or API_KEY" if response.status_code == 401 else ""
    raise kind(f"{problem}{hint} ({response.status_code} {problem.code})", code=problem.code)


def in_words(problem: str) -> str:
    """The server's words on a number out of bounds, for a person: `at most 8`."""
    bound = re.fullmatch(r"Expected `(?:int|float)` (<=|>=|<|>) (\S+)", problem)
    names = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}
    return f"{names[bound[1]]} {bound[2]}" if bound else problem


async def read_sse(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The `data` of each Server-Sent Event. Lines end with LF or CRLF only, so the data may contain any other text.

    Fails: ClientError when a line exceeds MAX_LINE bytes.
    """
    rest, data = b"", list[bytes]()
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise ClientError("the stream sent a line that is too long", code="not_picasso")
        for line in (line.removesuffix(b"\r") for line in lines):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
