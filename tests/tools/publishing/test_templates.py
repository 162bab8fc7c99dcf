from pathlib import Path

import pytest

from app.bindings.assets import open_assets
from tests.support.environment import bare_env
from tools.errors import Conflict, NotFound
from tools.publishing.templates import load_template, publish_templates, template_key


async def test_packaged_templates_lie_in_the_bucket_under_their_hash(tmp_path: Path) -> None:
    """Each start puts them there, once; pages are made from those bytes."""
    async with bare_env(tmp_path, ASSETS=open_assets()) as env:
        keys = await publish_templates(env)
        assert await publish_templates(env) == keys
        key, data = await load_template(env, "lookbook.html")
        assert key in keys and key == template_key("lookbook.html", data)
        assert data == Path("templates/lookbook.html").read_bytes()
        assert [stored.key async for stored in env.BUCKET.list("templates/")] == sorted(keys)


async def test_other_bytes_under_a_templates_key_are_noticed(tmp_path: Path) -> None:
    """A template in BUCKET is never overwritten: the start fails instead."""
    async with bare_env(tmp_path, ASSETS=open_assets()) as env:
        key = template_key("lookbook.html", env.ASSETS.read("lookbook.html"))
        await env.BUCKET.put(key, b"other", content_type="text/html")
        with pytest.raises(Conflict):
            await publish_templates(env)
        assert await env.BUCKET.get(key) == b"other"


async def test_a_template_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """Neither a name that no release has, nor one that the start has not published."""
    async with bare_env(tmp_path, ASSETS=open_assets()) as env:
        for name in ("zine.html", "lookbook.html"):
            with pytest.raises(NotFound):
                await load_template(env, name)
