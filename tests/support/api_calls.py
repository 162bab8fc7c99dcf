"""Calls to a running server, and the settings of a server that can use the paid toy vendor."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.deadlines import LONG, until
from tests.support.internet import Wire
from tests.support.servers.picasso import Server
from tools.fetch import tls_context

GUEST_PACKAGES = Path(__file__).parent / "guests"
"""Packages of other people, with the entry points that installing them would leave."""
TOY_KEY = "the-toy-vendors-own-key"
GUESTS = os.pathsep.join([str(Path.cwd()), str(GUEST_PACKAGES)])


def environ(wire: Wire | None = None, /, **more: str) -> dict[str, str]:
    """Settings for journeys: short leases, quick sketches, no rate limit; given a `wire`, the toy vendor as well."""
    # A lease must outlive any pause of a busy machine, or a job is taken from a process that is still alive.
    toy = {"TOY_URL": f"{wire.url}/toy", "TOY_KEY": TOY_KEY, "PYTHONPATH": GUESTS} if wire else {}
    return {"JOB_LEASE_SECONDS": "4", "SKETCH_SECONDS": "0.2", "JOBS_PER_MINUTE": "1000000", **toy, **more}


@asynccontextmanager
async def calling(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client that authenticates with the server's key."""
    async with httpx.AsyncClient(
        base_url=server.url, headers={"X-Api-Key": server.key}, trust_env=False, timeout=LONG, verify=tls_context()
    ) as client:
        yield client


async def new_project(client: httpx.AsyncClient, name: str = "journey") -> str:
    answer = await client.post("/api/projects", json={"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def body(**more: Any) -> dict[str, Any]:
    """A request for one small sketch, with the given changes."""
    return {"prompt": "a red boat at dawn", "providers": ["sketch"], "sessionId": "s", "size": "128x128", **more}


async def submit(client: httpx.AsyncClient, project: str, key: str | None = None, **more: Any) -> dict[str, Any]:
    """The accepted job. As a good client does, it asks again with the same key when a busy server says "not now"."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    async with asyncio.timeout(LONG):
        while True:
            answer = await client.post(f"/api/projects/{project}/jobs", json=body(**more), headers=headers)
            if answer.status_code != 503:
                break
            await asyncio.sleep(0.1)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def ended(client: httpx.AsyncClient, job: str, seconds: float = LONG) -> dict[str, Any]:
    """The job, once it has ended."""
    answer: dict[str, Any] = {}

    async def has_ended() -> bool:
        nonlocal answer
        answer = (await client.get(f"/api/jobs/{job}")).json()
        return answer["status"] not in ("queued", "running")

    await until(has_ended, seconds)
    return answer


async def events(client: httpx.AsyncClient, session: str = "s") -> list[dict[str, Any]]:
    """All events of the session, read page by page."""
    found: list[dict[str, Any]] = []
    while True:
        since = found[-1]["seq"] if found else 0
        answer = await client.get(f"/api/sessions/{session}/events", params={"since": since, "limit": 200})
        if not (items := answer.json()["items"]):
            return found
        found += items
