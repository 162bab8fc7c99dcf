"""The replay: what is on record of a project, and the script really making it again on a real server."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from generators import registry
from generators.data import seed_replay_script
from tests.support.deadlines import LONG
from tests.support.internet import picture
from tests.support.samples.counted_project import (
    OPENAI,
    add_item,
    add_job,
    add_studio,
    original,
    request,
    sha256,
    step_back,
)
from tests.support.samples.page_site import add_project, pages_env
from tests.support.servers.picasso import Server, running
from tools import db
from tools.env import Env
from tools.publishing import artifacts


async def make(env: Env, *projects: str, **options: object) -> artifacts.Output:
    decoded = registry.decode_options(seed_replay_script.generator, options)
    draft = artifacts.draft(generator_id="seed-replay-script", title="Autumn", owner_id="default", options=options)
    found = [await db.get_project(env, id) for id in projects]
    return await seed_replay_script.generator.generate(env, draft, found, decoded)


async def test_jobs_are_on_record_as_they_can_be_submitted_again(database_url: str, tmp_path: Path) -> None:
    """The record has the chosen models, the seed, the fallback, start image and parent, and how each item ended and
    with which model; a rollback counts as the image it returns to."""
    async with pages_env(tmp_path, database_url, {"DB": database_url}) as env:
        await add_studio(env)
        await step_back(env)
        again = request("brighter", OPENAI, start_image_url="progression:back", kind="edit")
        await add_job(env, "last", 9, again, parent="back")
        await add_item(env, "last", 0, *OPENAI, status="failed")
        (project,) = json.loads((await make(env, "p")).index.data)["projects"]
        boat, lamp, tree, rock, last = project["jobs"]
        assert [job["number"] for job in project["jobs"]] == [1, 2, 3, 4, 5]
        assert (boat["seed"], boat["drawn"], boat["variants"], boat["size"]) == (40, True, 2, "64x64")
        assert boat["providers"] == [
            {"provider": "openai", "model": "gpt-x"},
            {"provider": "sketch", "model": "sketch-1"},
        ]
        assert [item["status"] for item in boat["items"]] == ["complete", "duplicate", "complete", "complete"]
        first = {"from": "item", "job": 1, "provider": "openai", "variantIndex": 0}
        assert (lamp["kind"], lamp["start"], lamp["parent"]) == ("edit", first, first)
        assert lamp["fallback"] == [{"provider": "sketch", "model": "sketch-1"}]
        assert lamp["items"][0]["painter"] == {"provider": "sketch", "model": "sketch-1"}
        assert lamp["items"][0]["sha256"] == sha256(original("lamp-gemini-0"))
        assert (tree["seed"], tree["drawn"], tree["prompt"], rock["seed"]) == (7, False, "=a tree", None)
        assert last["start"] == last["parent"] == first and last["missing"] is None


async def test_the_seed_that_items_count_from_is_on_record(tmp_path: Path) -> None:
    """Where only a later variant stored its seed, the job's seed is that of variant 0, so that a replay counts the
    same."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        await add_job(env, "one", 1, request("x", ("a", "a-1"), OPENAI, variants=2))
        for place, (provider, variant, seed) in enumerate([("a", 0, None), ("a", 1, 91)]):
            await add_item(env, "one", place, provider, "a-1", variant=variant, seed=seed, status="failed")
        for variant in (0, 1):
            await add_item(env, "one", 2 + variant, *OPENAI, variant=variant, seed=90 + variant, status="failed")
        (project,) = json.loads((await make(env, "p")).index.data)["projects"]
        assert (project["jobs"][0]["seed"], project["jobs"][0]["drawn"]) == (90, True)


async def test_what_was_never_read_cannot_be_made_again(tmp_path: Path) -> None:
    """A job whose start image was refused is marked so; an upload is requested by its hash; no address is in the
    record."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        address = "https://user:hush@inner.example/a.png?token=hush"
        await add_job(env, "one", 1, request("x", OPENAI, start_image_url=address, kind="edit"))
        await add_item(env, "one", 0, *OPENAI, status="failed")
        upload = f"upload:{'a' * 64}"
        await add_job(env, "two", 2, request("x", OPENAI, start_image_url=upload, reference_image_urls=[upload]))
        await add_item(env, "two", 0, *OPENAI, status="failed")
        output = await make(env, "p")
        (project,) = json.loads(output.index.data)["projects"]
        assert [bool(job["missing"]) for job in project["jobs"]] == [True, False]
        assert project["jobs"][1]["start"] == {"from": "file", "sha256": "a" * 64}
        assert project["jobs"][1]["references"] == [{"from": "file", "sha256": "a" * 64}]
        told = output.index.data.decode() + output.beside[0].data.decode()
        assert not any(
            secret in told for secret in ("hush", "inner.example", "secret-session", env.settings.public_url)
        )


async def test_jobs_without_an_image_can_be_left_out(tmp_path: Path) -> None:
    """`only: complete` keeps the jobs that ended with an image, and numbers continue through several projects."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        await add_project(env, "empty")
        await env.DB.run("INSERT INTO projects (id, name, created_at, updated_at) VALUES ('z', 'z', 1, 1)")
        await env.DB.run("UPDATE jobs SET project_id = 'z' WHERE id = 'tree'")
        output = await make(env, "p", "empty", "z", only="complete")
        jobs = [[job["number"] for job in p["jobs"]] for p in json.loads(output.index.data)["projects"]]
        assert jobs == [[1, 2, 3], [], [4]]


@dataclass
class Recorded:
    """A server with a project of five images, and the files of its replay in `folder`."""

    server: Server
    project: str
    folder: Path

    async def run(self, *more: str, key: str | None = None) -> tuple[int | None, str, str]:
        """Run the script as a user does, with nothing but the standard library: its exit code and its output."""
        words = ["--server", self.server.url, "--key", key or self.server.key, *more]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(self.folder / "replay.py"),
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), LONG)
        return process.returncode, out.decode(), err.decode()

    async def versions(self, project: str) -> list[dict[str, Any]]:
        async with self.server.client() as client:
            answer = await client.get(f"/api/projects/{project}/progressions", params={"limit": 200})
        rows: list[dict[str, Any]] = answer.json()["items"]
        return sorted(rows, key=lambda row: (row["prompt"], row["variant_index"]))


@pytest.fixture(scope="module")
async def recorded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Recorded]:
    home = tmp_path_factory.mktemp("replay")
    # A key may open with a dash: one in 32 that the server makes does.
    async with running(home / "server", API_KEY=f"-{'k' * 40}") as server, server.client(**server.headers) as client:
        project = (await client.post("/api/projects", json={"name": "Harbour"})).json()["id"]
        boat = await ended(client, project, prompt="a red boat at dawn", variants=2, size="256x256", seed=11)
        await ended(client, project, prompt="two blue hills", variants=1, size="256x256")
        start = f"progression:{boat[1]['progressionId']}"
        await ended(client, project, prompt="make the boat green", startImageUrl=start, size="256x256")
        files = {"file": ("a.png", picture(3), "image/png")}
        upload = (await client.post(f"/api/projects/{project}/uploads", files=files)).json()["startImageUrl"]
        # Its start image is a file and its parent is named separately, so only the latter can carry the lineage.
        parent = boat[0]["progressionId"]
        older = {"prompt": "make it older", "startImageUrl": upload, "parentProgressionId": parent, "seed": 5}
        await ended(client, project, **older)
        made = await client.post(f"/api/projects/{project}/artifacts/seed-replay-script")
        assert made.status_code == 201, made.text
        folder = home / "server" / "bucket" / "artifacts" / made.json()["artifact_id"] / "v1"
        public = await client.get(f"/public/artifact/{made.json()['public_slug']}")
        assert public.content == (folder / "index.json").read_bytes()
        (home / "images").mkdir()
        (home / "images" / "the start.png").write_bytes(picture(3))
        yield Recorded(server, project, folder)


async def ended(client: httpx.AsyncClient, project: str, **job: Any) -> list[dict[str, Any]]:
    """Submit a job of the sketch and wait for its end; its items."""
    body = {"providers": ["sketch"], "sessionId": "s", **job}
    accepted = await client.post(f"/api/projects/{project}/jobs", json=body)
    assert accepted.status_code == 202, accepted.text
    async with asyncio.timeout(LONG):
        while (found := (await client.get(f"/api/jobs/{accepted.json()['jobId']}")).json())["status"] != "complete":
            await asyncio.sleep(0.05)
    items: list[dict[str, Any]] = found["items"]
    return items


def images_folder(recorded: Recorded) -> str:
    return str(recorded.server.home.parent / "images")


async def test_the_script_makes_the_same_images_in_a_new_project(recorded: Recorded) -> None:
    """Exit 0, a line for each image, and on the server the same originals, seeds and lineage under new ids."""
    code, said, complaints = await recorded.run("--images", images_folder(recorded))
    assert (code, complaints) == (0, "")
    assert "5 of 5 images came again, 5 with the same bytes." in said
    assert said.count("same bytes · http") == 5
    project = said.partition("→ project ")[2].split()[0]
    assert project != recorded.project
    before, after = await recorded.versions(recorded.project), await recorded.versions(project)
    for name in ("sha256", "seed", "prompt", "edge", "variant_index", "ai_model", "width"):
        assert [row[name] for row in after] == [row[name] for row in before]
    assert len({row["sha256"] for row in before}) == 5
    assert [bool(row["parent_progression_id"]) for row in after] == [
        bool(row["parent_progression_id"]) for row in before
    ]
    assert not {row["id"] for row in before} & {row["id"] for row in after}


async def test_an_image_that_does_not_come_again_is_told(recorded: Recorded) -> None:
    """Without the file that a job started from that job is left out, the others are made, and the exit code is 1."""
    code, said, _ = await recorded.run()
    assert code == 1
    assert f"left out: it started from an image with SHA-256 {sha256(picture(3))}" in said
    assert "4 of 5 images came again" in said


async def test_a_dry_run_buys_nothing(recorded: Recorded) -> None:
    """Each job is quoted by the server, and no job is in the new project."""
    code, said, _ = await recorded.run("--dry-run", "--budget", "1")
    assert code == 0 and said.count("$0.0000 to $0.0000") == 5
    async with recorded.server.client() as client:
        newest = (await client.get("/api/projects")).json()["items"][0]
        assert newest["id"] != recorded.project
        assert (await client.get(f"/api/projects/{newest['id']}/jobs")).json()["items"] == []


async def test_a_server_that_cannot_be_used_is_told_in_one_line(recorded: Recorded, tmp_path: Path) -> None:
    """A wrong key, an address that is none, a file that is no recording: exit 2, one line, no traceback, no key."""
    wrong = "x" * 40
    refused = await recorded.run(key=wrong)
    nowhere = await recorded.run("--server", "ftp://127.0.0.1")
    (tmp_path / "other.json").write_text('{"format": "something"}')
    foreign = await recorded.run(str(tmp_path / "other.json"))
    for code, said, complaint in (refused, nowhere, foreign):
        assert (code, said, complaint.count("\n")) == (2, "", 1)
        assert complaint.startswith("error: ") and wrong not in complaint
    assert "401" in refused[2]


async def test_an_answer_that_is_lost_buys_nothing_twice(recorded: Recorded) -> None:
    """The connection is cut after a job was accepted: the script retries under the same key, and there is one job."""
    async with cutting(recorded.server.port) as port:
        code, said, _ = await recorded.run("--server", f"http://127.0.0.1:{port}", "--images", images_folder(recorded))
    assert code == 0, said
    project = said.partition("→ project ")[2].split()[0]
    async with recorded.server.client() as client:
        assert len((await client.get(f"/api/projects/{project}/jobs")).json()["items"]) == 4


@contextlib.asynccontextmanager
async def cutting(port: int) -> AsyncIterator[int]:
    """A proxy to the server that loses the answer to the first call with each idempotency key."""
    seen = set[bytes]()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.partition(b": ")[::2] for line in head.lower().split(b"\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get(b"content-length", 0)))
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        outer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
        answer = await inner.read()
        outer.close()
        key = fields.get(b"idempotency-key")
        if key is None or key in seen:
            writer.write(answer)
        else:
            seen.add(key)
        writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
    assert len(seen) == 4
