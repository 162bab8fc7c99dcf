"""The archive manifest: every object with the row that names it, and what is missing, unnamed or damaged."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from generators import registry
from generators.data import r2_archive_manifest
from generators.pages import lookbook
from generators.pages.lookbook import LookbookOptions
from tests.support.environment import bare_env
from tests.support.samples.counted_project import add_studio, key, original, sha256
from tests.support.samples.page_site import add_project, pages_env
from tools import db
from tools.env import Env, StoredObject
from tools.errors import Unavailable
from tools.publishing import artifacts
from tools.reports import bucket_inventory
from tools.reports.bucket_inventory import NamedObject
from tools.rows import StoredImage

UPLOAD = b"what was uploaded"
UPLOAD_KEY = f"project/p/uploads/{sha256(UPLOAD)}"
BOUGHT = [("boat", "openai-0"), ("boat", "openai-1"), ("boat", "sketch-0"), ("boat", "sketch-1"), ("lamp", "gemini-0")]


async def make(env: Env, *projects: str, **options: object) -> artifacts.Output:
    decoded = registry.decode_options(r2_archive_manifest.generator, options)
    draft = artifacts.draft(generator_id="r2-archive-manifest", title="Autumn", owner_id="default", options=options)
    found = [await db.get_project(env, id) for id in projects or ("p",)]
    return await r2_archive_manifest.generator.generate(env, draft, found, decoded)


def objects_of(output: artifacts.Output) -> dict[str, Any]:
    """The objects by key, after checking that table and JSON agree."""
    (beside,) = output.beside
    assert beside.name == "archive.json"
    told = json.loads(beside.data)
    table = list(csv.DictReader(io.StringIO(output.index.data.decode(), newline=""), strict=True))
    assert [(row["key"], row["status"], row["sha256"], row["rows"]) for row in table] == [
        (found["key"], found["status"], found["sha256"] or "", " ".join(found["rows"])) for found in told["objects"]
    ]
    assert told["totals"]["objects"] == len(table)
    return {found["key"]: found for found in told["objects"]}


async def fill(env: Env) -> None:
    """What the studio's rows name but for the tree's original, an upload, and one object that nothing names."""
    await add_studio(env)
    put = env.BUCKET.put
    for job, name in BOUGHT:
        await put(key(job, name), original(f"{job}-{name}"), content_type="image/png")
    await put(key("lamp", "start"), original("boat-openai-0"), content_type="image/png")
    await put(UPLOAD_KEY, UPLOAD, content_type="image/png")
    await put(key("boat", "sketch-9"), b"forgotten", content_type="image/png")
    await put("project/pp/uploads/x", b"of another project", content_type="image/png")
    facts = StoredImage(UPLOAD_KEY, sha256(UPLOAD), "image/png", 64, 64, len(UPLOAD))
    await db.insert_upload(env, "p", facts)


async def test_every_object_has_its_row_and_every_row_its_object(database_url: str, tmp_path: Path) -> None:
    """Originals of kept, duplicate and shared items, a start image, an upload: each with the rows that name it, its
    hash from the row, its size and type; the lost one is missing, the unreferenced one extra, another project's is not
    listed."""
    async with pages_env(tmp_path, database_url, {"DB": database_url}) as env:
        await fill(env)
        output = await make(env)
        found = objects_of(output)
        assert {name: sum(one["status"] == name for one in found.values()) for name in ("ok", "missing", "extra")} == {
            "ok": 7,
            "missing": 1,
            "extra": 1,
        }
        assert found[key("tree", "workers-0")]["status"] == "missing"
        first = found[key("boat", "openai-0")]
        assert first["rows"] == ["job_items/boat-openai-0", "image_progressions/image-boat-openai-0"]
        assert (first["sha256"], first["sha256From"]) == (sha256(original("boat-openai-0")), "row")
        assert (first["size"], first["contentType"], first["kind"]) == (
            len(original("boat-openai-0")),
            "image/png",
            "original",
        )
        assert found[key("boat", "openai-1")]["rows"] == ["job_items/boat-openai-1"]
        start = found[key("lamp", "start")]
        assert (start["kind"], start["rows"]) == ("input", ["jobs/lamp", "image_progressions/image-lamp-gemini-0"])
        assert found[UPLOAD_KEY]["rows"] == [f"uploads/{sha256(UPLOAD)}"]
        extra = found[key("boat", "sketch-9")]
        assert (extra["status"], extra["rows"]) == ("extra", [])
        assert (extra["sha256"], extra["sha256From"]) == (sha256(b"forgotten"), "bytes")
        assert len(output.progression_ids) == 5


async def test_damage_is_seen_by_size_at_once_and_by_hash_on_demand(tmp_path: Path) -> None:
    """A cut object is always found to be damaged; one with a flipped bit only when its bytes are read."""
    async with pages_env(tmp_path) as env:
        await fill(env)
        cut, flipped = key("boat", "sketch-0"), key("boat", "sketch-1")
        good = original("boat-sketch-1")
        await env.BUCKET.put(cut, b"cut", content_type="image/png")
        await env.BUCKET.put(flipped, bytes([good[0] ^ 1]) + good[1:], content_type="image/png")
        quick, thorough = objects_of(await make(env)), objects_of(await make(env, verify=True))
        assert (quick[cut]["status"], quick[flipped]["status"]) == ("damaged", "ok")
        assert (thorough[cut]["status"], thorough[flipped]["status"]) == ("damaged", "damaged")
        assert thorough[flipped]["sha256"] == sha256(bytes([good[0] ^ 1]) + good[1:])
        assert thorough[key("boat", "openai-0")]["sha256From"] == "both"
        assert thorough[flipped]["sha256From"] == "bytes"


async def test_artifacts_are_listed_with_all_their_versions(tmp_path: Path) -> None:
    """Both versions of a page with their manifests, named by its row; a version that no row names yet is extra, a
    file that is gone is missing; manifests of this kind are not listed, so two runs are the same bytes."""
    async with pages_env(tmp_path) as env:
        await fill(env)
        draft = artifacts.draft(generator_id="lookbook", title="Autumn", owner_id="default", options={})
        page = await lookbook.generator.generate(env, draft, [await db.get_project(env, "p")], LookbookOptions())
        row = await artifacts.publish(env, draft, page, ["p"])
        row = await artifacts.publish(env, row, page, ["p"])
        crashed = f"artifacts/{row.id}/v3/index.html"
        await env.BUCKET.put(crashed, b"crashed", content_type="text/html")
        first = await make(env)
        found = {name: one for name, one in objects_of(first).items() if one["kind"] == "artifact"}
        assert sorted(found) == sorted(
            [f"artifacts/{row.id}/v{n}/{name}" for n in (1, 2) for name in ("index.html", "manifest.json")] + [crashed]
        )
        assert found[f"artifacts/{row.id}/v1/index.html"]["sha256"] == hashlib.sha256(page.index.data).hexdigest()
        assert found[crashed]["status"] == "extra"
        assert {name for name, one in found.items() if not one["rows"]} == {crashed}
        assert {tuple(one["rows"]) for one in found.values()} == {(f"artifacts/{row.id}",), ()}
        own = artifacts.draft(generator_id="r2-archive-manifest", title="Autumn", owner_id="default", options={})
        await artifacts.publish(env, own, first, ["p"])
        assert await make(env) == first
        await env.BUCKET.delete(f"artifacts/{row.id}/v2/index.html")
        await env.BUCKET.put(f"artifacts/{row.id}/v1/manifest.json", b"{", content_type="application/json")
        worse = objects_of(await make(env))
        assert worse[f"artifacts/{row.id}/v2/index.html"]["status"] == "missing"
        assert worse[f"artifacts/{row.id}/v1/manifest.json"]["status"] == "extra"


async def test_an_object_of_two_projects_is_listed_once(tmp_path: Path) -> None:
    """A page made from both is under the first that was named; an empty project adds nothing."""
    async with pages_env(tmp_path) as env:
        await fill(env)
        await add_project(env, "q")
        draft = artifacts.draft(generator_id="lookbook", title="Autumn", owner_id="default", options={})
        page = await lookbook.generator.generate(env, draft, [await db.get_project(env, "p")], LookbookOptions())
        await artifacts.publish(env, draft, page, ["p", "q"])
        found = objects_of(await make(env, "q", "p"))
        assert {one["project"] for one in found.values() if one["kind"] == "artifact"} == {"q"}
        assert len(found) == 9 + 2


async def test_a_large_object_is_hashed_as_a_stream(tmp_path: Path) -> None:
    """The digest of bytes larger than a block is that of the whole, and nothing is what is not there."""
    async with pages_env(tmp_path) as env:
        data = bytes(range(256)) * 10_000
        await env.BUCKET.put("project/p/uploads/large", data, content_type="image/png")
        found = await bucket_inventory.digest(env, "project/p/uploads/large")
        assert found == bucket_inventory.Digest(sha256(data), len(data))
        assert await bucket_inventory.digest(env, "project/p/uploads/nothing") is None


class Away:
    """A bucket that does not answer."""

    async def stream(self, key: str) -> Any:
        raise Unavailable("the bucket does not answer", retry_after=0.01)
        yield b""


async def test_a_bucket_that_is_away_is_said_plainly(tmp_path: Path) -> None:
    """The caller meets Unavailable, not a group of exceptions."""
    async with bare_env(tmp_path, BUCKET=Away()) as env:
        with pytest.raises(Unavailable):
            await r2_archive_manifest.read(env, ["a", "b"])


def test_rows_that_contradict_each_other_are_damage() -> None:
    """Two rows, two hashes for one key: one of them is wrong, whichever it is."""
    claims = [NamedObject("k", "job_items/1", "a" * 64), NamedObject("k", "image_progressions/2", "b" * 64)]
    (found,) = r2_archive_manifest.listed("p", claims, [StoredObject("k", 1, 1)], {})
    assert found.status == "damaged"
