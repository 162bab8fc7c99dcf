"""Originals over HTTP: the bytes as they were bought, for the owner alone."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.main import Application
from app.routes import originals
from tests.app.routes.test_progressions import KEY, ROW
from tests.support.asgi_client import call, running_app
from tests.support.environment import settings
from tests.support.files.images import encoded, textured
from tests.support.samples.job_states import IdleServices
from tests.support.servers.routes import served
from tools import db
from tools.env import Env
from tools.ledger import jobs, submissions
from tools.ledger.submissions import ItemPlan, Submission
from tools.rows import JobRequest

ALLOWED = {"x-api-key": KEY}
PICTURE = encoded(textured(400, 300), "PNG")
JUNK = b"<script>these are not the bytes of an image</script>"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    """A progression `p0` with its original, and a job of three items: one with junk, one whose bytes are gone, and one
    for which nothing was bought."""
    async with running_app(settings(tmp_path_factory.mktemp("originals"), API_KEY=KEY)) as running:
        idle: Any = IdleServices()
        env = dataclasses.replace(opened(running), PICASSO_DO=idle, PICASSO_WORKFLOW=idle)
        project = await db.create_project(env, "p")
        await env.BUCKET.put("project/x/jobs/j/orig/sketch-0", PICTURE, content_type="image/png")
        async with env.DB.transaction() as tx:
            await db.insert_progression(tx, msgspec.structs.replace(ROW, project_id=project.id))
            await db.insert_progression(
                tx, msgspec.structs.replace(ROW, project_id=project.id, id="p1", original_image_r2_key="project/x/gone")
            )
        request = JobRequest(prompt="x", providers=[{"provider": "sketch"}], session_id="s", variants=3)
        places = [ItemPlan("sketch", "painter", n, n) for n in range(3)]
        job, _ = await submissions.submit(env, Submission(project_id=project.id, request=request, items=places))
        for item, key in zip(await jobs.items(env, job.id), ("project/x/junk", "project/x/gone"), strict=False):
            await env.DB.run("UPDATE job_items SET original_r2_key = :key WHERE id = :id", key=key, id=item.id)
        await env.BUCKET.put("project/x/junk", JUNK, content_type="text/html")
        yield running


def opened(app: Application) -> Env:
    assert app.lifecycle.env is not None
    return app.lifecycle.env


async def items(app: Application) -> list[str]:
    found = await opened(app).DB.all("SELECT id, job_id FROM job_items ORDER BY position", Named)
    return [f"/api/jobs/{item.job_id}/items/{item.id}/original" for item in found]


class Named(msgspec.Struct):
    id: str
    job_id: str


async def test_an_image_comes_as_it_was_bought(app: Application) -> None:
    """Byte for byte, by its own type, as a file to save, and in no cache; HEAD says the same without the bytes."""
    async with served(originals.handlers, opened(app)) as client:
        answer = await client.get("/api/progressions/p0/original")
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'attachment; filename="p0.png"'
    assert answer.headers["cache-control"] == "private, no-store"
    head = await call(app, "HEAD", "/api/progressions/p0/original", ALLOWED)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(PICTURE)))


async def test_a_part_of_an_original_can_be_had(app: Application) -> None:
    """By its range, its first byte or its last ones, if it is still the same; 416 beyond the end."""
    path, size = "/api/progressions/p0/original", len(PICTURE)
    etag = (await call(app, "HEAD", path, ALLOWED)).headers["etag"]
    async with served(originals.handlers, opened(app)) as client:
        for asked, (first, end) in {
            "bytes=0-4": (0, 5),
            "bytes=5-": (5, size),
            "bytes=-3": (size - 3, size),
            f"bytes=-{size + 9}": (0, size),
            f"bytes=7-{size * 2}": (7, size),
        }.items():
            part = await client.get(path, headers={"Range": asked, "If-Range": etag})
            assert (part.status_code, part.content) == (206, PICTURE[first:end]), asked
            assert part.headers["content-range"] == f"bytes {first}-{end - 1}/{size}", asked
            assert part.headers["content-length"] == str(end - first), asked
        for ignored in ({"Range": "bytes=4-2"}, {"Range": "lines=1-2"}, {"Range": "bytes=0-1", "If-Range": '"other"'}):
            assert (await client.get(path, headers=ignored)).content == PICTURE, ignored
    for beyond in (f"bytes={size}-", "bytes=-0"):
        refused = await call(app, "GET", path, {**ALLOWED, "Range": beyond})
        assert (refused.status, refused.headers["content-range"]) == (416, f"bytes */{size}"), beyond
        assert refused.json()["error"]["code"] == "range_not_satisfiable"
    whole = await call(app, "HEAD", path, {**ALLOWED, "Range": "bytes=0-4"})
    assert (whole.status, whole.headers["content-length"], whole.headers["accept-ranges"]) == (200, str(size), "bytes")


async def test_what_is_no_image_is_served_as_bytes_alone(app: Application) -> None:
    """Whatever was bought can be fetched, but no browser shows it as a page."""
    answer = await call(app, "GET", (await items(app))[0], ALLOWED)
    assert (answer.status, answer.body) == (200, JUNK)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_originals_need_the_key(app: Application, method: str) -> None:
    """Reads that are open to everyone do not open the originals."""
    for path in ("/api/progressions/p0/original", (await items(app))[0]):
        assert (await call(app, method, path)).status == 401
        assert (await call(app, method, f"{path}?key={KEY}")).status == 401


async def test_what_is_not_there_is_not_found(app: Application) -> None:
    """Unknown rows, an item for which nothing was bought, an item of another job, and bytes that are gone."""
    junk, gone, nothing = await items(app)
    job, item = junk.split("/")[3], junk.split("/")[5]
    for path in (
        "/api/progressions/unknown/original",
        "/api/progressions/p1/original",
        gone,
        nothing,
        f"/api/jobs/unknown/items/{item}/original",
        f"/api/jobs/{job}/items/unknown/original",
    ):
        assert (await call(app, "GET", path, ALLOWED)).status == 404, path
