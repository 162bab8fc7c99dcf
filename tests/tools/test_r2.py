import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.environment import bare_env
from tools import r2
from tools.env import Env
from tools.errors import Conflict, NotFound, Unavailable

AB, ZERO = "ab" * 32, "0" * 64
ROWS = f"""
INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'P', 1, 1), ('q', 'Q', 1, 1);
INSERT INTO jobs (id, project_id, session_id, status, prompt, kind, request, body_sha256, correlation_id, created_at)
VALUES ('j', 'p', 's', 'queued', 'x', 'generate', '{{}}', '{ZERO}', 'c', 1);
INSERT INTO uploads (project_id, sha256, r2_key, mime, width, height, size, created_at)
VALUES ('p', '{AB}', 'x', 'image/png', 1, 1, 1, 1);
INSERT INTO artifacts (id, owner_id, title, content_r2_key, public_slug, created_at, generator_id, version,
    content_sha256, updated_at)
VALUES ('a', 'o', 'T', 'artifacts/a/v2/index.html', '0123456789012345678901', 1, 'lookbook', 2, '{ZERO}', 1);
INSERT INTO image_progressions (id, project_id, prompt, generated_image_url, original_image_r2_key,
    start_image_r2_key, ai_provider, created_at, edge, width, height, sha256)
VALUES ('r', 'p', 'x', 'x', 'project/p/jobs/lost/orig/sketch-0',
    'project/p/jobs/lost/orig/start', 'sketch', 1, 'rollback', 1, 1, '{ZERO}')
"""
NAMED = (
    "project/p/jobs/j/orig/sketch-0",
    "project/p/jobs/j/orig/bought-but-cancelled-3",
    "project/p/jobs/j/orig/start",
    "project/p/jobs/lost/orig/sketch-0",
    "project/p/jobs/lost/orig/start",
    f"project/p/uploads/{AB}",
    "artifacts/a/v1/index.html",
    "artifacts/a/v2/index.html",
    "artifacts/a/v2/manifest.json",
    f"templates/lookbook/{AB}.html",
    "templates/anything",
    "somebody/elses",
    "project/p/notes.txt",
)
FORGOTTEN = (
    "project/p/jobs/lost/orig/sketch-1",
    "project/q/jobs/j/orig/sketch-0",
    f"project/q/uploads/{AB}",
    f"project/p/uploads/{'cd' * 32}",
    "artifacts/a/v3/index.html",
    "artifacts/b/v1/index.html",
)


@pytest.fixture
async def env(tmp_path: Path) -> AsyncIterator[Env]:
    async with bare_env(tmp_path) as opened:
        for statement in ROWS.split(";\n"):
            await opened.DB.run(statement)
        yield opened


async def fill(env: Env, tmp_path: Path, keys: tuple[str, ...], *, age: float) -> None:
    for key in keys:
        await env.BUCKET.put(key, key.encode(), content_type="text/plain")
        written = (tmp_path / "bucket" / key).stat().st_mtime
        os.utime(tmp_path / "bucket" / key, (written - age, written - age))


async def keys(env: Env) -> set[str]:
    return {stored.key async for stored in env.BUCKET.list("")}


async def test_what_no_row_names_is_swept(env: Env, tmp_path: Path) -> None:
    """Objects older than an hour without a row are deleted; named, bought and unknown ones stay."""
    await fill(env, tmp_path, NAMED + FORGOTTEN, age=3700)
    assert await r2.sweep(env) == len(FORGOTTEN)
    assert await keys(env) == set(NAMED)
    assert await r2.sweep(env) == 0


async def test_what_is_young_is_left(env: Env, tmp_path: Path) -> None:
    """An effect between its put and its row is not disturbed."""
    await fill(env, tmp_path, FORGOTTEN, age=3500)
    assert await r2.sweep(env) == 0
    assert await keys(env) == set(FORGOTTEN)
    assert await r2.sweep(env, older_than=3400) == len(FORGOTTEN)


@pytest.mark.parametrize("stranger", ["project/z/jobs/j/orig/sketch-0", f"project/z/uploads/{AB}"])
async def test_a_database_that_is_not_this_buckets_sweeps_nothing(env: Env, tmp_path: Path, stranger: str) -> None:
    """With one project that DB does not know, nothing is deleted: DB was lost, or is another database."""
    await fill(env, tmp_path, (*FORGOTTEN, stranger), age=3700)
    assert await r2.sweep(env) == 0
    assert await keys(env) == {*FORGOTTEN, stranger}


async def test_originals_are_write_once(env: Env) -> None:
    """The same bytes again are the same key; other bytes are refused and change nothing."""
    key = await r2.put_original(env, "p", "j", "sketch-0", b"bytes", "image/png")
    assert key == "project/p/jobs/j/orig/sketch-0" == r2.original_key("p", "j", "sketch-0")
    assert await r2.put_original(env, "p", "j", "sketch-0", b"bytes", "image/png") == key
    with pytest.raises(Conflict):
        await r2.put_original(env, "p", "j", "sketch-0", b"other", "image/png")
    assert await env.BUCKET.get(key) == b"bytes"


class Flipping:
    """A bucket whose first `bad` writes are damaged on their way, as a transport without checksums may do."""

    def __init__(self, bad: int) -> None:
        self.bad, self.kept = bad, b""

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        await self.put(key, data, content_type=content_type)

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        self.bad -= 1
        self.kept = data if self.bad < 0 else data[:-1] + bytes([data[-1] ^ 1])

    async def get(self, key: str) -> bytes:
        return self.kept


async def test_a_bit_flipped_on_the_way_is_noticed_and_mended(tmp_path: Path) -> None:
    """Stored bytes are read back; damaged ones are written again, and if still damaged it is Unavailable."""
    once, always = Flipping(1), Flipping(99)
    async with bare_env(tmp_path / "a", BUCKET=once) as env:
        await r2.put_original(env, "p", "j", "sketch-0", b"bytes", "image/png")
        assert once.kept == b"bytes"
    async with bare_env(tmp_path / "b", BUCKET=always) as env:
        with pytest.raises(Unavailable) as caught:
            await r2.put_original(env, "p", "j", "sketch-0", b"bytes", "image/png")
        assert caught.value.code == "bucket_damaged"


async def test_pages_and_templates_come_back(env: Env) -> None:
    """HTML is stored under the key given, and written over."""
    key = f"templates/mine/{AB}.html"
    for page in ("<p>one", "<p>zwei: ä"):
        assert await r2.put_html(env, key, page) == key
        assert await r2.get_template(env, key) == page


@pytest.mark.parametrize(
    "key",
    (
        *("", "templates/", "templates/a.html", f"templates/a/{AB}", f"templates/../templates/a/{AB}.html", "../x"),
        *(
            f"/templates/a/{AB}.html",
            f"templates/a/b/{AB}.html",
            f"templates/a/{AB.upper()}.html",
            f"templates//{AB}.html",
        ),
        *(
            "project/p/jobs/j/orig/sketch-0",
            "artifacts/a/v1/index.html",
            f"templates/a/{AB}.html\n",
            "%2e%2e/x",
            "a\0b",
        ),
        *(
            f"TEMPLATES/a/{AB}.html",
            f"templates/a/{AB}.html.html",
            f"templates/a%2f{AB}.html",
            f"templates/a/{AB}.HTML",
        ),
    ),
)
async def test_a_template_key_cannot_roam(env: Env, key: str) -> None:
    """Only a template's key is read as one."""
    await env.BUCKET.put("project/p/jobs/j/orig/sketch-0", b"secret", content_type="image/png")
    await env.BUCKET.put("artifacts/a/v1/index.html", b"secret", content_type="text/html")
    with pytest.raises(NotFound):
        await r2.get_template(env, key)
