import asyncio
import base64
import hashlib
from pathlib import Path

import msgspec
import pytest

from tests.support.environment import bare_env
from tests.support.samples.page_site import Silent, add_project
from tools import actor_emit, db
from tools.env import Env
from tools.errors import Conflict, NotFound
from tools.publishing import artifacts
from tools.publishing.artifacts import File, Manifest, Output
from tools.rows import ArtifactRow

POLICY = "default-src 'none'"


def draft(title: str = "Autumn") -> ArtifactRow:
    return artifacts.draft(generator_id="lookbook", title=title, owner_id="default", options={"only": "passed"})


def output(text: str) -> Output:
    index = File("index.html", text.encode(), "text/html; charset=utf-8")
    beside = File("plates.csv", b"1,2", "text/csv")
    return Output(
        index=index, beside=(beside,), policy=POLICY, progression_ids=("i", "j"), template="templates/t/1.html"
    )


async def manifest(env: Env, row: ArtifactRow) -> Manifest:
    return msgspec.json.decode(await env.BUCKET.get(f"artifacts/{row.id}/v{row.version}/manifest.json"), type=Manifest)


async def test_a_published_draft_is_row_files_and_manifest(tmp_path: Path, database_url: str) -> None:
    """One publish stores the row, its projects, the files under v1 and what was written, by hash."""
    async with bare_env(tmp_path, database_url) as env:
        for id in ("p", "q"):
            await add_project(env, id)
        new = draft()
        row = await artifacts.publish(env, new, output("one"), ["p", "q"])
        assert row == await artifacts.get(env, new.id) == await artifacts.by_slug(env, new.public_slug)
        assert (row.version, row.content_r2_key) == (1, f"artifacts/{new.id}/v1/index.html")
        assert (row.content_policy, row.template_r2_key) == (POLICY, "templates/t/1.html")
        assert await env.BUCKET.get(row.content_r2_key or "") == b"one"
        assert [project.id for project in await db.get_projects_for_artifact(env, row.id)] == ["p", "q"]
        written = await manifest(env, row)
        assert (written.generator, written.options) == ("lookbook", {"only": "passed"})
        assert (written.project_ids, written.progression_ids) == (["p", "q"], ["i", "j"])
        assert written.sha256 == row.content_sha256 == hashlib.sha256(b"one").hexdigest()
        assert [(file.name, file.size) for file in written.files] == [("index.html", 3), ("plates.csv", 3)]


async def test_a_later_version_takes_over_and_the_earlier_one_stays(tmp_path: Path) -> None:
    """The link answers v2, the files of v1 are as they were."""
    async with bare_env(tmp_path) as env:
        await add_project(env, "p")
        first = await artifacts.publish(env, draft(), output("one"), ["p"])
        second = await artifacts.publish(env, first, output("two"), ["p"])
        assert (second.version, second.public_slug) == (2, first.public_slug)
        assert await env.BUCKET.get(first.content_r2_key or "") == b"one"
        assert await env.BUCKET.get(second.content_r2_key or "") == b"two"


async def test_what_a_crash_left_is_stepped_over(tmp_path: Path) -> None:
    """Files of a version that no row names are neither overwritten nor in the way."""
    async with bare_env(tmp_path) as env:
        await add_project(env, "p")
        new = draft()
        await env.BUCKET.put(f"artifacts/{new.id}/v1/index.html", b"torn", content_type="text/html")
        row = await artifacts.publish(env, new, output("whole"), ["p"])
        assert row.version == 2
        assert await env.BUCKET.get(row.content_r2_key or "") == b"whole"
        assert await env.BUCKET.get(f"artifacts/{new.id}/v1/index.html") == b"torn"


async def test_versions_published_at_once_each_keep_their_own_bytes(tmp_path: Path) -> None:
    """Of many renders that race, the row names one whole version, and its hash is that of the bytes there."""
    async with bare_env(tmp_path) as env:
        await add_project(env, "p")
        first = await artifacts.publish(env, draft(), output("first"), ["p"])
        told = await asyncio.gather(
            *(artifacts.publish(env, first, output(f"version {n}"), ["p"]) for n in range(8)), return_exceptions=True
        )
        assert all(isinstance(one, ArtifactRow | Conflict) for one in told)
        row = await artifacts.get(env, first.id)
        assert row.version == max(one.version for one in told if isinstance(one, ArtifactRow))
        data = await env.BUCKET.get(row.content_r2_key or "")
        assert hashlib.sha256(data).hexdigest() == row.content_sha256 == (await manifest(env, row)).sha256


async def test_publishing_tells_the_session_in_the_same_transaction(tmp_path: Path, database_url: str) -> None:
    """With a session, the row's change and its `artifact` event are both there or neither is."""
    async with bare_env(tmp_path, database_url, PICASSO_DO=Silent()) as env:
        await add_project(env, "p")
        row = await artifacts.publish(env, draft(), output("one"), ["p"], session_id="s")
        (event,) = await actor_emit.read(env.DB, "s", 0, 10)
        data = msgspec.json.decode(event.data)
        assert (event.type, data["stage"], data["progress"]) == ("artifact", "publish", 1.0)
        assert data["publicSlug"] == row.public_slug and data["url"].endswith(f"/public/artifact/{row.public_slug}")
        await env.DB.run("UPDATE artifacts SET version = 9 WHERE id = :id", id=row.id)
        with pytest.raises(Conflict):
            await artifacts.publish(env, row, output("late"), ["p"], session_id="s")
        assert len(await actor_emit.read(env.DB, "s", 0, 10)) == 1


async def test_a_draft_with_an_unknown_project_leaves_no_row(tmp_path: Path, database_url: str) -> None:
    """The row and its projects are one transaction."""
    async with bare_env(tmp_path, database_url) as env:
        new = draft()
        with pytest.raises(Exception, match="impossible state"):
            await artifacts.publish(env, new, output("one"), ["nowhere"])
        with pytest.raises(NotFound):
            await artifacts.get(env, new.id)


async def test_a_created_artifact_has_no_page_yet(tmp_path: Path) -> None:
    """Its slug answers nothing until a version is published, and creating it again changes nothing."""
    async with bare_env(tmp_path) as env:
        await add_project(env, "p")
        new = draft()
        for _ in range(2):
            await artifacts.create(env, new, ["p"])
        assert await artifacts.get(env, new.id) == new
        assert await artifacts.by_slug(env, new.public_slug) is None


async def test_associating_adds_and_repeats_harmlessly(tmp_path: Path, database_url: str) -> None:
    """Projects are added; unknown ones, or an unknown artifact, are 404 and change nothing."""
    async with bare_env(tmp_path, database_url) as env:
        for id in ("p", "q"):
            await add_project(env, id)
        new = draft()
        await artifacts.create(env, new, ["p"])
        for _ in range(2):
            await artifacts.associate(env, new.id, ["p", "q"])
        for artifact_id, ids in ((new.id, ["nowhere"]), ("nowhere", ["p"])):
            with pytest.raises(NotFound):
                await artifacts.associate(env, artifact_id, ids)
        assert [project.id for project in await db.get_projects_for_artifact(env, new.id)] == ["p", "q"]


async def test_pages_of_artifacts_are_stable_while_new_ones_come(tmp_path: Path, database_url: str) -> None:
    """Paging from the newest shows each artifact that was there at the start exactly once."""
    async with bare_env(tmp_path, database_url) as env:
        await add_project(env, "p")
        made = [msgspec.structs.replace(draft(str(n)), created_at=1000 + n // 3, updated_at=2000) for n in range(7)]
        for one in made:
            await artifacts.create(env, one, ["p"])
        seen: list[str] = []
        page = await artifacts.list_page(env, None, 2)
        while page.next_cursor is not None:
            seen += [row.id for row in page.items]
            await artifacts.create(env, draft("newer"), ["p"])
            page = await artifacts.list_page(env, page.next_cursor, 2)
        seen += [row.id for row in page.items]
        assert seen == [row.id for row in sorted(made, key=lambda row: (row.created_at, row.id), reverse=True)]


def test_slugs_are_random_and_never_repeat(rounds: int) -> None:
    """192 bits each, every bit a fair coin, no two alike."""
    n = 100_000 * rounds
    slugs = {artifacts.fresh_slug() for _ in range(n)}
    assert len(slugs) == n
    sample = [int.from_bytes(base64.urlsafe_b64decode(slug)) for slug in list(slugs)[:10_000]]
    assert max(sample).bit_length() in range(180, 193)
    ones = [sum(bits >> bit & 1 for bits in sample) for bit in range(192)]
    # Six standard deviations of 10,000 coins, over 192 bits: wrong about once in three million runs.
    assert all(abs(count - 5_000) < 300 for count in ones)
