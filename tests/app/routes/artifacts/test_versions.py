"""Versions of an artifact, the files beside them, and taking all of it away."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from generators import registry
from graphs import render
from tests.support.deadlines import LONG
from tests.support.samples.job_states import IdleServices
from tests.support.samples.page_site import Line, add_image, add_project, publish, site
from tools import actor_emit
from tools.env import Env
from tools.errors import Conflict, Invalid, NotFound, PicassoError
from tools.ledger import leases
from tools.ledger.leases import Lease
from tools.publishing import artifacts, renders
from tools.publishing.artifacts import File, Output
from tools.rows import ArtifactRow, Count

HTML = {"Accept": "text/html,application/xhtml+xml"}
VIDEO = bytes(n * 7 % 251 for n in range(200_000))
"""Longer than three chunks of the bucket."""
PAGE = b"<!doctype html><title>x</title>"


async def made(env: Env, *versions: bytes) -> ArtifactRow:
    """An artifact whose versions have these bytes as `clip.mp4`, and a few small files."""
    await add_project(env, "p")
    row = artifacts.draft(generator_id="walkthrough-reel", title="Reel", owner_id="ada", options={})
    for clip in versions:
        link = f'<a href="{artifacts.link_to(row, "clip.mp4")}">'
        index = File("index.html", PAGE + link.encode(), "text/html; charset=utf-8")
        beside = (
            File("clip.mp4", clip, "video/mp4"),
            File("data.csv", b"a,b\n1,2\n", "text/csv; charset=utf-8"),
            File("data.json", b"{}", "application/json"),
            File("replay.py", b"print(1)", "text/x-python; charset=utf-8"),
            File("chart.html", b"<p>x", "text/html; charset=utf-8", "default-src 'none'; style-src 'unsafe-inline'"),
        )
        row = await artifacts.publish(env, row, Output(index=index, beside=beside), ["p"])
    return row


def paths(row: ArtifactRow) -> list[str]:
    """Every public address of the artifact."""
    page = f"/public/artifact/{row.public_slug}"
    return [page, f"{page}/files/clip.mp4", f"{page}/versions/1", f"{page}/versions/1/files/data.csv"]


async def test_regenerating_is_a_new_version_under_the_same_link(tmp_path: Path) -> None:
    """Title and options as requested, else as they were; the order of projects stays; earlier versions are
    addressable."""
    async with site(tmp_path) as (env, client):
        for id in ("p", "q"):
            await add_project(env, id, f"Project {id}")
            await add_image(env, id, 1, judgment="pass")
        row = await publish(client, "q", "p", title="First", options={"intro": "one"})
        page, again = f"/public/artifact/{row['public_slug']}", f"/api/artifacts/{row['id']}/regenerate"
        first = await client.get(page)
        assert (await client.post(again)).json()["version"] == 2
        assert (await client.get(page)).content == first.content
        third = (await client.post(again, json={"title": "Third", "options": {"intro": "three"}})).json()
        assert (third["version"], third["title"], third["options"]) == (3, "Third", {"intro": "three"})
        assert third["public_slug"] == row["public_slug"] and third["created_at"] == row["created_at"]
        shown = (await client.get(page)).text
        assert "Third" in shown and "three" in shown and shown.index("Project q") < shown.index("Project p")
        # Its images are two steps further up.
        assert (await client.get(f"{page}/versions/1")).text.replace("../../../..", "../..") == first.text
        assert (await client.get(f"{page}/versions/3")).text.replace("../../../..", "../..") == shown
        listed = (await client.get(f"/api/artifacts/{row['id']}/versions")).json()["items"]
        assert [(one["version"], one["title"]) for one in listed] == [(3, "Third"), (2, "First"), (1, "First")]
        assert [one["options"]["intro"] for one in listed] == ["three", "one", "one"]
        assert listed[2]["public_url"] == f"{env.settings.public_url}{page}/versions/1"


class Press(IdleServices):
    """A worker that makes the requested version when the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Semaphore(0)

    async def enqueue(self, job_id: str) -> None:
        await super().enqueue(job_id)
        self.asked.release()

    async def make(self, env: Env, error: PicassoError | None = None) -> None:
        """Wait for the next render and make it, or end it with the error."""
        async with asyncio.timeout(LONG):
            await self.asked.acquire()
        row = await leases.claim_oldest(env, renders.TABLE)
        assert row is not None
        if error is not None:
            await renders.fail(env, Lease(row.id, row.fence), error)
            return
        generator = registry.find(row.generator_id)
        await render.run(env, row, generator, registry.decode_options(generator, row.options))


@contextlib.asynccontextmanager
async def pressing(home: Path) -> AsyncIterator[tuple[Env, httpx.AsyncClient, Press]]:
    """A site whose long artifacts are made by hand, with an empty project."""
    press = Press()
    async with site(home, PICASSO_WORKFLOW=press) as (env, client):
        await add_project(env, "p")
        yield env, client, press


PDF = {"generatorId": "stakeholder-pdf", "projectIds": ["p"]}
SOON = {"Prefer": "respond-async"}


async def waited(client: httpx.AsyncClient, path: str, body: Any, work: Any) -> httpx.Response:
    """What is answered to who waits while the work is done."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.post(path, json=body))
        tasks.create_task(work)
    return asking.result()


async def test_a_long_one_is_regenerated_as_it_was_made(tmp_path: Path) -> None:
    """A caller who waits gets the next version, made by a worker that reports to the session; one who does not gets 202
    with the preference applied. The link stays, and every version is kept under its number."""
    async with pressing(tmp_path) as (env, client, press):
        made = (await waited(client, "/api/artifacts", PDF, press.make(env))).json()
        page, again = f"/public/artifact/{made['public_slug']}", f"/api/artifacts/{made['id']}/regenerate"
        first = (await client.get(page)).content
        body = {"title": "Second", "options": {"paper": "us-letter"}, "sessionId": "s"}
        answer = await waited(client, again, body, press.make(env))
        second = answer.json()
        assert (answer.status_code, second["version"], second["title"]) == (200, 2, "Second"), answer.text
        assert (second["public_slug"], second["render"]["status"]) == (made["public_slug"], "complete")
        told = [msgspec.json.decode(event.data) for event in await actor_emit.read(env.DB, "s", 0)]
        assert {event["stage"] for event in told} >= {"collect", "publish"} and told[-1]["publicSlug"]
        answer = await client.post(again, json={"title": "Third"}, headers=SOON)
        assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
        assert (answer.json()["version"], answer.json()["render"]["status"]) == (2, "queued")
        assert (await client.get(page)).content not in (first, b"")
        await press.make(env)
        row = (await client.get(f"/api/artifacts/{made['id']}")).json()
        assert (row["version"], row["title"], row["options"]) == (3, "Third", {"paper": "us-letter"})
        assert (await client.get(f"{page}/versions/1")).content == first
        contents = {(await client.get(f"{page}/versions/{n}")).content for n in (1, 2, 3)}
        assert len(contents) == 3 and (await client.get(page)).content in contents


async def test_a_long_one_that_cannot_be_made_anew_stays_as_it_was(tmp_path: Path) -> None:
    """The page, its title and its versions are unchanged; the artifact has the reason until there is a newer
    version."""
    async with pressing(tmp_path) as (env, client, press):
        made = (await waited(client, "/api/artifacts", PDF, press.make(env))).json()
        again = f"/api/artifacts/{made['id']}/regenerate"
        wishes = {"title": "No", "options": {"progressionIds": ["none"]}}
        answer = await waited(client, again, wishes, press.make(env))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), answer.text
        row = (await client.get(f"/api/artifacts/{made['id']}")).json()
        assert (row["version"], row["title"], row["render"]["error"]["code"]) == (1, made["title"], "not_found")
        assert "kind" not in row["render"]["error"]
        assert (await client.get(f"/public/artifact/{made['public_slug']}")).status_code == 200
        assert (await waited(client, again, {}, press.make(env))).json()["render"]["status"] == "complete"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid("choose fewer", code="render_too_large"), 422, "render_too_large"),
        (NotFound("there is no such image"), 404, "not_found"),
        (Conflict("a later one", code="superseded"), 409, "superseded"),
        (PicassoError("no progress was made in several tries", code="crash_loop"), 500, "internal_error"),
    ],
)
async def test_of_what_could_not_be_made_nothing_is_left(
    error: PicassoError, status: int, code: str, tmp_path: Path
) -> None:
    """A caller who waits gets the usual error with its cause, and there is no artifact; one who did not wait finds the
    reason under the id of the answer, the lists do not show it, and it can be tried again."""
    async with pressing(tmp_path) as (env, client, press):
        answer = await waited(client, "/api/artifacts", PDF, press.make(env, error))
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert set(answer.json()["error"]) == {"code", "message", "detail", "correlationId"}
        for table in ("artifacts", "renders", "project_artifacts"):
            assert await env.DB.all(f"SELECT 1 AS n FROM {table}", Count) == []
        made = (await client.post("/api/artifacts", json=PDF, headers=SOON)).json()
        assert [row["id"] for row in await listed(client)] == [made["id"]]
        await press.make(env, error)
        row = (await client.get(f"/api/artifacts/{made['id']}")).json()
        assert (row["version"], row["render"]["status"], row["render"]["error"]["code"]) == (0, "failed", error.code)
        assert await listed(client) == []
        again = await waited(client, f"/api/artifacts/{made['id']}/regenerate", {}, press.make(env, error))
        assert again.status_code == status
        assert (await client.get(f"/api/artifacts/{made['id']}")).status_code == 200, "the caller was told of this one"
        again = await waited(client, f"/api/artifacts/{made['id']}/regenerate", {}, press.make(env))
        assert (again.status_code, again.json()["version"]) == (200, 1)
        assert [row["id"] for row in await listed(client)] == [made["id"]]


async def listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await client.get("/api/artifacts")).json()["items"])


async def test_versions_are_listed_in_pages(tmp_path: Path) -> None:
    """`limit` and `nextCursor` lead from the newest to the first."""
    async with site(tmp_path) as (env, client):
        row = await made(env, *(bytes([n]) for n in range(5)))
        seen, query = list[int](), dict[str, Any](limit=2)
        while True:
            page = (await client.get(f"/api/artifacts/{row.id}/versions", params=query)).json()
            seen += [one["version"] for one in page["items"]]
            if page["nextCursor"] is None:
                break
            query["cursor"] = page["nextCursor"]
        assert seen == [5, 4, 3, 2, 1]
        assert (await client.get("/api/artifacts/nowhere/versions")).status_code == 404


@pytest.mark.parametrize("version", ["0", "3", "-1", "x", "1.0", "01x", "9" * 30, ""])
async def test_there_are_no_other_versions(version: str, tmp_path: Path) -> None:
    """What was never published is 404, however it is spelled."""
    async with site(tmp_path) as (env, client):
        row = await made(env, b"1", b"2")
        page = f"/public/artifact/{row.public_slug}/versions/{version}"
        assert (await client.get(page)).status_code == 404
        assert (await client.get(f"{page}/files/clip.mp4")).status_code == 404


async def test_parallel_regenerations_leave_one_whole_version_each(tmp_path: Path) -> None:
    """Each answer is a version of its own or 409; the page is one of them."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        row = await publish(client, "p")
        path = f"/api/artifacts/{row['id']}/regenerate"
        answers = await asyncio.gather(*(client.post(path, json={"title": f"T{n}"}) for n in range(6)))
        good = [answer.json() for answer in answers if answer.status_code == 200]
        assert good and {answer.status_code for answer in answers} <= {200, 409}
        assert len({one["version"] for one in good}) == len(good)
        newest = max(good, key=lambda one: one["version"])
        assert (await client.get(f"/api/artifacts/{row['id']}")).json()["title"] == newest["title"]
        assert (
            f'<title dir="auto">{newest["title"]}' in (await client.get(f"/public/artifact/{row['public_slug']}")).text
        )


async def test_files_are_those_of_the_manifest(tmp_path: Path) -> None:
    """They have their type, a policy that loads only what the generator declares, a download where it is data, ETag and
    HEAD; any other name is 404, the manifest and the index too; and none is a view."""
    async with site(tmp_path) as (env, client):
        row = await made(env, VIDEO)
        folder = f"/public/artifact/{row.public_slug}/files"
        kinds = {
            "clip.mp4": ("video/mp4", "inline"),
            "data.csv": ("text/csv; charset=utf-8", "attachment"),
            "data.json": ("application/json", "attachment"),
            "replay.py": ("text/x-python; charset=utf-8", "attachment"),
            "chart.html": ("text/html; charset=utf-8", "inline"),
        }
        for name, (kind, how) in kinds.items():
            answer = await client.get(f"{folder}/{name}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            assert answer.headers["content-disposition"] == f'{how}; filename="{name}"'
            assert answer.headers["x-content-type-options"] == "nosniff"
            tag = answer.headers["etag"]
            assert tag.startswith(f'"{hashlib.sha256(answer.content).hexdigest()}')
            policy = answer.headers["content-security-policy"]
            assert (
                policy.endswith("sandbox")
                or (name == "chart.html" and "unsafe-inline" in policy)
                or (name == "clip.mp4" and policy.endswith("frame-ancestors 'none'; sandbox allow-same-origin"))
            )
            assert (await client.get(f"{folder}/{name}", headers={"If-None-Match": tag})).status_code == 304
            head = await client.head(f"{folder}/{name}")
            assert (head.headers["content-length"], head.content) == (str(len(answer.content)), b"")
        for name in ("manifest.json", "index.html", "Clip.mp4", "clip.mp4%00", "v1%2fclip.mp4", "%2e%2e", "x"):
            assert (await client.get(f"{folder}/{name}")).status_code == 404
        assert isinstance(env.PICASSO_QUEUE, Line) and env.PICASSO_QUEUE.messages == []


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 200_000),
        ("bytes=1-10", 1, 11),
        ("bytes=65535-65536", 65535, 65537),
        ("bytes=65536-131071", 65536, 131072),
        ("bytes=70000-199999", 70000, 200_000),
        ("bytes=199999-", 199_999, 200_000),
        ("bytes=199990-999999", 199_990, 200_000),
        ("bytes=-1", 199_999, 200_000),
        ("bytes=-300000", 0, 200_000),
        ("Bytes= 5-6 ", 5, 7),
    ],
)
async def test_a_part_of_a_file_can_be_asked_for(asked: str, first: int, end: int, tmp_path: Path) -> None:
    """206 with exactly those bytes and where they stand."""
    async with site(tmp_path) as (env, client):
        row = await made(env, VIDEO)
        answer = await client.get(f"/public/artifact/{row.public_slug}/files/clip.mp4", headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.content == VIDEO[first:end]
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/200000"
        assert answer.headers["content-length"] == str(end - first)


@pytest.mark.parametrize("asked", ["bytes=200000-", "bytes=200000-200001", "bytes=-0", "bytes=999999999999999999-"])
async def test_a_part_that_is_not_there_is_416(asked: str, tmp_path: Path) -> None:
    """With the size, so that the next request can be right."""
    async with site(tmp_path) as (env, client):
        row = await made(env, VIDEO)
        answer = await client.get(f"/public/artifact/{row.public_slug}/files/clip.mp4", headers={"Range": asked})
        assert (answer.status_code, answer.json()["error"]["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["content-range"] == "bytes */200000"


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-1",
        "bytes=0-1,5-6",
        "chars=0-1",
        "bytes=0-1x",
        "bytes=" + "9" * 99,
    ],
)
async def test_what_is_no_range_is_answered_whole(asked: str, tmp_path: Path) -> None:
    """200, as RFC 9110 has it; also where If-Range names another version."""
    async with site(tmp_path) as (env, client):
        row = await made(env, VIDEO)
        path = f"/public/artifact/{row.public_slug}/files/clip.mp4"
        assert (await client.get(path, headers={"Range": asked})).content == VIDEO
        both = {"Range": "bytes=0-1", "If-Range": '"other"'}
        assert (await client.get(path, headers=both)).status_code == 200
        tag = (await client.head(path)).headers["etag"]
        assert (await client.get(path, headers={**both, "If-Range": tag})).status_code == 206


async def test_a_part_of_a_page_is_no_view(tmp_path: Path) -> None:
    """The index can be requested in ranges as well, as players do; only a whole response is counted."""
    async with site(tmp_path) as (env, client):
        row = await made(env, VIDEO)
        page = f"/public/artifact/{row.public_slug}"
        assert (await client.get(page, headers={"Range": "bytes=0-8"})).content == PAGE[:9]
        assert (await client.get(page)).status_code == 200
        assert isinstance(env.PICASSO_QUEUE, Line) and len(env.PICASSO_QUEUE.messages) == 1


async def test_an_earlier_page_leads_to_its_own_files(tmp_path: Path) -> None:
    """Its links name its version, so that what it shows is what it showed."""
    async with site(tmp_path) as (env, client):
        row = await made(env, b"first", b"second")
        page = f"/public/artifact/{row.public_slug}"
        assert f"{page}/files/clip.mp4" in (await client.get(page)).text
        first = await client.get(f"{page}/versions/1")
        assert f"{page}/versions/1/files/clip.mp4" in first.text
        assert (await client.head(f"{page}/versions/1")).headers["content-length"] == str(len(first.content))
        assert (await client.get(f"{page}/versions/1/files/clip.mp4")).content == b"first"
        assert (await client.get(f"{page}/files/clip.mp4")).content == b"second"


async def test_unpublishing_takes_everything_away_at_once(tmp_path: Path) -> None:
    """Page, files, versions, other links and the lookbook's alias are 410, also for a client that has the page cached;
    no cache keeps a page longer than a minute, and none keeps the 410."""
    async with site(tmp_path) as (env, client):
        row = await made(env, b"1", b"2")
        share = (
            (await client.post(f"/api/artifacts/{row.id}/shares")).json()["url"].removeprefix(env.settings.public_url)
        )
        kept = [(path, await client.get(path)) for path in [*paths(row), share]]
        for _, answer in kept:
            assert answer.headers["cache-control"] in ("public, max-age=60, must-revalidate", "private, no-store")
        for _ in range(2):
            assert (await client.post(f"/api/artifacts/{row.id}/unpublish")).status_code == 200
        for path, answer in kept:
            for headers in ({}, {"If-None-Match": answer.headers.get("etag", "*")}, {"Range": "bytes=0-1"}, HTML):
                gone = await client.get(path, headers=headers)
                assert (gone.status_code, gone.headers["cache-control"]) == (410, "private, no-store")
                assert PAGE not in gone.content
            assert (await client.head(path)).status_code == 410
        assert (await client.get(f"/public/lookbook/{row.public_slug}")).status_code == 410


async def test_a_page_that_was_taken_away_comes_back_by_regenerating(tmp_path: Path) -> None:
    """Under the same link, with the next number."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        row = await publish(client, "p")
        page = f"/public/artifact/{row['public_slug']}"
        assert (await client.post(f"/api/artifacts/{row['id']}/unpublish")).json()["unpublished_at"] > 0
        shown = await client.get(page, headers=HTML)
        assert shown.status_code == 410 and "taken down" in shown.text and "<script" not in shown.text
        again = (await client.post(f"/api/artifacts/{row['id']}/regenerate")).json()
        assert (again["version"], again["unpublished_at"]) == (2, None)
        assert (await client.get(page)).status_code == 200


async def test_what_was_being_made_while_a_page_was_taken_away_does_not_bring_it_back(
    tmp_path: Path, database_url: str
) -> None:
    """The version is stored, the page stays 410; regenerating after that publishes the newest one."""
    async with site(tmp_path, database_url=database_url) as (env, client):
        read = await made(env, b"one")
        await artifacts.unpublish(env, read.id)
        output = Output(index=File("index.html", PAGE, "text/html; charset=utf-8"))
        late = await artifacts.publish(env, read, output, ["p"])
        assert (late.version, late.unpublished_at is None) == (2, False)
        assert {(await client.get(path)).status_code for path in paths(read)} == {410}
        back = await artifacts.publish(env, late, output, ["p"])
        assert (back.version, back.unpublished_at) == (3, None)
        assert (await client.get(paths(read)[0])).status_code == 200


async def test_only_what_was_published_can_be_taken_away(tmp_path: Path) -> None:
    """A draft is 409, an unknown artifact 404, and neither needs less than the key."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        draft = artifacts.draft(generator_id="lookbook", title="x", owner_id="x", options={})
        await artifacts.create(env, draft, ["p"])
        assert await status(client, f"/api/artifacts/{draft.id}/unpublish") == 409
        assert await status(client, "/api/artifacts/nowhere/unpublish") == 404
        assert await status(client, "/api/artifacts/nowhere/regenerate") == 404
        del client.headers["X-Api-Key"]
        for action in ("unpublish", "regenerate"):
            assert await status(client, f"/api/artifacts/{draft.id}/{action}") == 401


async def status(client: httpx.AsyncClient, path: str) -> int:
    return (await client.post(path)).status_code
