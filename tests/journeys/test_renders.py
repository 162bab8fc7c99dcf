"""Long artifacts on a real server: answered early, with progress events, made again after a kill, published once."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.deadlines import LONG
from tests.support.files.mp4_and_glb import Glb, film
from tests.support.servers.picasso import Server, running

SOON = {"Prefer": "respond-async"}


async def filled(client: httpx.AsyncClient, images: int = 2) -> str:
    """A project with that many small sketches."""
    project = await new_project(client, "Aurora")
    job = await submit(client, project, variants=images, size="256x256")
    assert (await ended(client, str(job["jobId"])))["status"] == "complete"
    return project


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("renders"), **environ()) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(server) as client:
        yield client


async def rendered(client: httpx.AsyncClient, artifact_id: str, seconds: float = LONG) -> dict[str, Any]:
    """The artifact, once its render has ended."""
    async with asyncio.timeout(seconds):
        while (row := (await client.get(f"/api/artifacts/{artifact_id}")).json())["render"]["status"] in (
            "queued",
            "running",
        ):
            await asyncio.sleep(0.05)
    return dict(row)


async def told(client: httpx.AsyncClient, session: str) -> list[dict[str, Any]]:
    items = (await client.get(f"/api/sessions/{session}/events")).json()["items"]
    assert {item["type"] for item in items} == {"artifact"}
    return [item["data"] for item in items]


async def test_who_asks_so_is_answered_at_once(client: httpx.AsyncClient) -> None:
    """With `Prefer: respond-async` the answer is 202 with the future link and the preference applied; the session has
    events for collect, render and publish; then the link returns the film."""
    project = await filled(client)
    wishes = {"sessionId": "reel", "options": {"seconds": 0.6}, "title": "Aurora"}
    answer = await client.post(f"/api/projects/{project}/artifacts/walkthrough-reel", json=wishes, headers=SOON)
    made = answer.json()
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async"), answer.text
    assert made["render"]["status"] in ("queued", "running")
    link = f"/public/artifact/{made['public_slug']}"
    assert (await client.get(link)).status_code == 404
    row = await rendered(client, made["artifact_id"])
    assert row["render"] == {"status": "complete", "stage": "publish", "progress": 1.0, "version": 1, "error": None}
    page = await client.get(link)
    assert page.headers["content-type"] == "video/mp4" and film(page.content).width == 1280
    events = await told(client, "reel")
    assert list(dict.fromkeys(event["stage"] for event in events)) == ["collect", "render", "publish"]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress) and len(set(progress)) >= 6
    assert [event["publicSlug"] for event in events if "publicSlug" in event] == [made["public_slug"]]


@pytest.mark.soak
async def test_who_says_nothing_waits_for_the_end(client: httpx.AsyncClient) -> None:
    """Without a preference the answer is 201 with the version that the worker published; a wait that is too short
    becomes 202; a page that is quick is made at once, or in the background on request."""
    project = await filled(client, 1)
    whole = {"generatorId": "exhibition", "projectIds": [project]}
    answer = await client.post("/api/artifacts", json=whole)
    assert (answer.status_code, answer.json()["version"]) == (201, 1), answer.text
    assert answer.json()["render"]["status"] == "complete"
    Glb((await client.get(f"/public/artifact/{answer.json()['public_slug']}")).content)
    film_wanted = {**whole, "generatorId": "walkthrough-reel"}
    answer = await client.post("/api/artifacts", json=film_wanted, headers={"Prefer": "respond-async, wait=1"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async, wait=1")
    quick = await client.post("/api/artifacts", json={**whole, "generatorId": "lookbook"})
    assert (quick.status_code, quick.json()["render"]) == (201, None)
    later = await client.post("/api/artifacts", json={**whole, "generatorId": "lookbook"}, headers=SOON)
    assert (later.status_code, later.json()["version"]) == (202, 0)
    assert (await rendered(client, later.json()["id"]))["version"] == 1
    assert (await rendered(client, answer.json()["id"]))["version"] == 1


async def test_what_cannot_be_made_says_why(client: httpx.AsyncClient) -> None:
    """A caller who waits gets 422; one who does not wait finds the error in the artifact and on the session."""
    project, other = await filled(client, 1), await filled(client, 1)
    items = (await client.get(f"/api/projects/{other}/progressions")).json()["items"]
    wishes = {"options": {"progressionIds": [items[0]["id"]]}, "sessionId": "wrong"}
    path = f"/api/projects/{project}/artifacts/stakeholder-pdf"
    answer = await client.post(path, json=wishes)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "foreign_image")
    made = (await client.post(path, json=wishes, headers=SOON)).json()
    row = await rendered(client, made["artifact_id"])
    assert (row["version"], row["render"]["status"], row["render"]["error"]["code"]) == (0, "failed", "foreign_image")
    assert [event["error"]["code"] for event in await told(client, "wrong") if "error" in event] == [
        "foreign_image"
    ] * 2
    assert (await client.post(path, json={"options": {"paper": "a0"}}, headers=SOON)).status_code == 400


@pytest.mark.soak
async def test_a_server_may_be_killed_while_it_renders(tmp_path: Path, rounds: int) -> None:
    """SIGKILL at growing progress of a film, with a restart each time: it is made again without a request, published
    once, and its progress never falls. The same is true of its next version, and the first version stays."""
    wishes = {"sessionId": "s", "options": {"seconds": 1}}
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        project = await filled(client)
        path = f"/api/projects/{project}/artifacts/walkthrough-reel"
        made = (await client.post(path, json=wishes, headers=SOON)).json()
        await _kill_after(server, client, made["artifact_id"], 0.1)
    for kill in range(rounds):
        async with running(tmp_path, **environ()) as server, calling(server) as client:
            await _kill_after(server, client, made["artifact_id"], 0.4 + 0.2 * kill)
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        row = await rendered(client, made["artifact_id"])
        assert (row["version"], row["render"]["status"]) == (1, "complete")
        items = (await client.get("/api/sessions/s/events?limit=200")).json()["items"]
        events = [item["data"] for item in items if item["type"] == "artifact"]
        assert sum("url" in event for event in events) == 1
        progress = [event["progress"] for event in events]
        assert progress == sorted(progress)
        assert film((await client.get(f"/public/artifact/{made['public_slug']}")).content).frames == 130 + 50
        again = f"/api/artifacts/{made['artifact_id']}/regenerate"
        assert (await client.post(again, json={"options": {"seconds": 2}}, headers=SOON)).status_code == 202
        await _kill_after(server, client, made["artifact_id"], 0.5)
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        row = await rendered(client, made["artifact_id"])
        assert (row["version"], row["render"]["status"], row["options"]) == (2, "complete", {"seconds": 2})
        page = f"/public/artifact/{made['public_slug']}"
        assert film((await client.get(page)).content).frames == 130 + 100
        assert film((await client.get(f"{page}/versions/1")).content).frames == 130 + 50
    with sqlite3.connect(tmp_path / "picasso.db") as db:
        assert db.execute("SELECT COUNT(*) FROM renders WHERE status = 'complete'").fetchone() == (2,)
        (fence,) = db.execute("SELECT fence FROM renders ORDER BY created_at").fetchone()
        assert fence >= 2, "no kill hit the rendering"


async def _kill_after(server: Server, client: httpx.AsyncClient, artifact_id: str, progress: float) -> None:
    """Send SIGKILL once the render has reached that progress, or has ended."""
    async with asyncio.timeout(LONG):
        while True:
            render = (await client.get(f"/api/artifacts/{artifact_id}")).json()["render"]
            if render["progress"] >= progress or render["status"] in ("complete", "failed"):
                break
            await asyncio.sleep(0.02)
    os.kill(server.process.pid, signal.SIGKILL)


@pytest.mark.soak
async def test_a_drain_does_not_wait_for_a_film(tmp_path: Path) -> None:
    """On SIGTERM during a render the process ends without finishing the film, and the next process makes it."""
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        project = await filled(client, 1)
        path = f"/api/projects/{project}/artifacts/walkthrough-reel"
        made = (await client.post(path, json={"options": {"seconds": 1}}, headers=SOON)).json()
        async with asyncio.timeout(LONG):
            while (await client.get(f"/api/artifacts/{made['artifact_id']}")).json()["render"]["progress"] < 0.3:
                await asyncio.sleep(0.02)
        server.process.terminate()
        async with asyncio.timeout(LONG):
            assert await server.process.wait() in (0, -signal.SIGTERM, 143)
    with sqlite3.connect(tmp_path / "picasso.db") as db:
        assert db.execute("SELECT status, lease_until FROM renders").fetchone() == ("running", 0)
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        assert (await rendered(client, made["artifact_id"]))["version"] == 1
