import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.bindings.assets import open_assets
from tests.support.environment import bare_env
from tools.errors import Conflict, NotFound
from tools.publishing.templates import load_template, publish_templates, template_key, whole_template


async def test_packaged_templates_lie_in_the_bucket_under_their_hash(tmp_path: Path) -> None:
    """Each start puts them there, once; pages are made from those bytes."""
    async with bare_env(tmp_path, ASSETS=open_assets()) as env:
        keys = await publish_templates(env)
        assert await publish_templates(env) == keys
        key, data = await load_template(env, "lookbook.html")
        assert key in keys and key == template_key("lookbook.html", data)
        assert data == whole_template(env.ASSETS, "lookbook.html")
        assert [stored.key async for stored in env.BUCKET.list("templates/")] == sorted(keys)


async def test_other_bytes_under_a_templates_key_are_noticed(tmp_path: Path) -> None:
    """A template in BUCKET is never overwritten: the start fails instead."""
    async with bare_env(tmp_path, ASSETS=open_assets()) as env:
        key = template_key("lookbook.html", whole_template(env.ASSETS, "lookbook.html"))
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


class Two:
    """Two packaged files: a base and a page on it."""

    def __init__(self, page: str) -> None:
        self._files = {
            "shared/base.html": "<p>{% block a %}1{% endblock %}</p>{% block b %}2{% endblock %}",
            "p.html": page,
        }

    def read(self, name: str) -> bytes:
        return self._files[name].encode()

    def names(self) -> Iterable[str]:
        return self._files


def test_a_page_on_a_base_is_one_file() -> None:
    """Its blocks replace the base's; a block that it omits is the base's; a block that the base does not have is an
    error."""
    page = '{% extends "shared/base.html" %}\n{% block a %}x{{ y }}{% endblock %}\n'
    assert whole_template(Two(page), "p.html") == b"<p>x{{ y }}</p>2"
    assert whole_template(Two("<p>{% block a %}"), "p.html") == b"<p>{% block a %}"
    with pytest.raises(ValueError, match="no block for c of p"):
        whole_template(Two(f"{page}{{% block c %}}{{% endblock %}}"), "p.html")


def test_every_page_of_ours_is_one_file() -> None:
    """Nothing in a stored template is to be looked up elsewhere, and each shares the base's style."""
    assets = open_assets()
    kinds = [name for name in assets.names() if "/" not in name and name.endswith(".html")]
    for name in kinds:
        whole = whole_template(assets, name).decode()
        assert not re.search(r"\{%-? *(extends|block|include|import|from)\b", whole)
        assert whole.count("<style>") == whole.count("<!doctype html>") == 1
    assert len(kinds) >= 10
