"""Our own HTTP API, as a terminal needs it: a few calls, and the events of a session without a gap."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from app.settings import Settings
from tools.events import Envelope
from tools.pages import Page
from tools.rows import ItemStatus, JobStatus, Project, new_id

T = TypeVar("T")
CALL_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A stream that says nothing for this long is opened again where it was."""
OUTAGE_SECONDS = 60.0
"""A stream that cannot be opened again for this long is given up."""
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.25, 5.0
MAX_LINE = 4 << 20


class ClientError(Exception):
    """What a person at the terminal is told, in one line. `code` is the server's word, or `unreachable`."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class AcceptedItem(msgspec.Struct, frozen=True, rename="camel"):
    item_id: str
    provider: str
    variant_index: int
    status: ItemStatus


class AcceptedJob(msgspec.Struct, frozen=True, rename="camel"):
    """The 202 of a submitted job."""

    job_id: str
    project_id: str
    session_id: str
    status: JobStatus
    items: list[AcceptedItem]


class MadeArtifact(msgspec.Struct, frozen=True):
    artifact_id: str
    public_slug: str


class SessionState(msgspec.Struct, frozen=True, rename="camel"):
    """How far the session's log goes; 0 when nobody has written to it."""

    session_id: str
    seq: int


def local_address(settings: Settings) -> str:
    """Where a server with these settings is reached from its own machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not bound
    host = everywhere.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def find_key(settings: Settings) -> str | None:
    """API_KEY, else the key that a server on this data directory made for itself, else None."""
    if settings.api_key is not None:
        return settings.api_key
    with contextlib.suppress(FileNotFoundError):
        return (settings.home / "api_key").read_text().strip()
    return None


class _Problem(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Refusal(msgspec.Struct, frozen=True):
    error: _Problem


class _Numbered(msgspec.Struct, frozen=True):
    """Enough of a frame to tell an event from a control frame, which has no `seq`."""

    seq: int | None = None


class Api:
    """One server and one key. Every call has a deadline; every failure is a `ClientError`."""

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
            trust_env=False,
        ) as http:
            yield cls(http)

    async def is_ready(self) -> bool:
        """Whether the server and all its bindings answer."""
        try:
            return (await self._http.get("/readyz", timeout=CONNECT_SECONDS)).status_code == 200
        except httpx.TransportError:
            return False

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

    async def create_project(self, name: str, description: str | None = None) -> Project:
        return await self._call("POST", "/api/projects", Project, json={"name": name, "description": description})

    async def submit_job(self, project_id: str, job: dict[str, Any]) -> AcceptedJob:
        """Submit once, whatever the connection does: after a lost answer or a 503 it is asked again under the same key.

        `job` is the body of `POST /api/projects/{id}/jobs`.
        """
        path, headers = f"/api/projects/{quote(project_id, safe='')}/jobs", {"Idempotency-Key": new_id()}
        for wait in (FIRST_WAIT_SECONDS, 1.0):
            with contextlib.suppress(_Cut):
                return await self._call("POST", path, AcceptedJob, json=job, headers=headers)
            await asyncio.sleep(wait)
        return await self._call("POST", path, AcceptedJob, json=job, headers=headers)

    async def make_lookbook(self, project_id: str) -> MadeArtifact:
        return await self._call(
            "POST", f"/api/projects/{quote(project_id, safe='')}/artifacts/lookbook", MadeArtifact, json={}
        )

    async def session_state(self, session_id: str) -> SessionState:
        return await self._call("GET", f"/_actor/{quote(session_id, safe='')}/state", SessionState)

    async def fetch_status(self, url: str) -> int:
        """The status a visitor without a key gets for the address, its body read to the end; 0 when nobody answers."""
        try:
            async with httpx.AsyncClient(timeout=CALL_SECONDS, trust_env=False) as visitor:
                return (await visitor.get(url)).status_code
        except httpx.TransportError:
            return 0

    async def follow(self, session_id: str, since: int) -> AsyncGenerator[Envelope, None]:
        """The session's events after `since`, each once and in order, without end; a cut stream is taken up again.

        Fails: ClientError when the server refuses (`cursor_expired`, `unauthorized`, …) or stays away.
        """
        path, wait = f"/api/stream/{quote(session_id, safe='')}", FIRST_WAIT_SECONDS
        away_since: float | None = None
        while True:
            try:
                async with self._open_stream(path, since) as envelopes:
                    away_since, wait = None, FIRST_WAIT_SECONDS
                    async for envelope in envelopes:
                        since = envelope.seq
                        yield envelope
            except _Cut:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > OUTAGE_SECONDS:
                    raise
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, MAX_WAIT_SECONDS)

    @contextlib.asynccontextmanager
    async def _open_stream(self, path: str, since: int) -> AsyncIterator[AsyncIterator[Envelope]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(since)}
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        with _reworded(self._http.base_url):
            async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                await _check(response)
                yield _envelopes(response)

    async def _call(self, method: str, path: str, answer: type[T], **request: Any) -> T:
        with _reworded(self._http.base_url):
            response = await self._http.request(method, path, **request)
            await _check(response)
            return msgspec.json.decode(response.content, type=answer)


class _Cut(ClientError):
    """The connection did not hold, or the server said that it is not now: worth another try."""


@contextlib.contextmanager
def _reworded(server: httpx.URL) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise _Cut(f"no server answers at {server}: start one with `picasso serve`", code="unreachable") from error
    except httpx.TransportError as error:
        raise _Cut(f"the server at {server} did not answer in full", code="unreachable") from error
    except msgspec.MsgspecError as error:
        raise ClientError(f"{server} does not answer like a picasso server", code="not_picasso") from error


async def _check(response: httpx.Response) -> None:
    """Fails: ClientError in the server's own words."""
    if response.is_success:
        return
    await response.aread()
    problem = _read_problem(response)
    kind = _Cut if response.status_code in (502, 503, 504) else ClientError
    hint = ": give it with --key or API_KEY" if response.status_code == 401 else ""
    raise kind(f"{problem.message}{hint} ({response.status_code} {problem.code})", code=problem.code)


def _read_problem(response: httpx.Response) -> _Problem:
    try:
        return msgspec.json.decode(response.content, type=_Refusal).error
    except msgspec.MsgspecError:
        return _Problem("not_picasso", "something other than picasso answered")


async def _envelopes(response: httpx.Response) -> AsyncIterator[Envelope]:
    async for data in read_sse(response.aiter_bytes()):
        if msgspec.json.decode(data, type=_Numbered).seq is not None:
            yield msgspec.json.decode(data, type=Envelope)


async def read_sse(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The `data` of each Server-Sent Event. Lines end with LF or CRLF only, so any text may stand in the data.

    Fails: ClientError when a line grows over `MAX_LINE`.
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
