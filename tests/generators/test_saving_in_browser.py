"""What is more than a page, in headless Chromium under its own policy: a film plays from its link, and a file that a
page links to is saved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import BINARY, Tab, open_tab
from tests.support.deadlines import LONG
from tests.support.samples.counted_project import add_studio
from tests.support.samples.page_site import add_project, free_listener, pages_env, serving, small_app
from tests.support.samples.project_with_originals import made
from tools.env import Env
from tools.publishing import artifacts
from tools.publishing.artifacts import Output
from tools.rows import ArtifactRow

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")

FILM = "var film = document.querySelector('video')"


@contextlib.asynccontextmanager
async def browsing(home: Path) -> AsyncIterator[tuple[Env, Tab]]:
    """A site on a socket, and a browser that saves into the folder `saved`."""
    with free_listener() as (listener, here):
        async with pages_env(home, environ={"PUBLIC_URL": here}) as env:
            folder = home / "saved"
            folder.mkdir()
            async with serving(small_app(env), listener), open_tab() as tab:
                await tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
                yield env, tab


async def published(env: Env, id: str, options: dict[str, Any]) -> tuple[ArtifactRow, Output]:
    draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="default", options=options)
    output = await made(env, id, options, draft=draft)
    return await artifacts.publish(env, draft, output, ["p"]), output


async def saved(tab: Tab, folder: Path) -> tuple[str, bytes]:
    """What the page's link saves: its name and bytes, once they are whole."""
    click = "document.querySelector('a[download]').click()"
    await tab.call("Runtime.evaluate", expression=click, userGesture=True)
    async with asyncio.timeout(LONG):
        while not (found := [path for path in folder.iterdir() if path.suffix not in ("", ".crdownload")]):
            await asyncio.sleep(0.02)
    name, data = found[0].name, found[0].read_bytes()
    found[0].unlink()
    return name, data


async def until(tab: Tab, expression: str) -> None:
    """Return when the condition is true of the film; polled from outside, because nothing of a sandboxed page runs."""
    async with asyncio.timeout(LONG):
        while not await tab.evaluate(f"{FILM}; {expression}"):
            await asyncio.sleep(0.02)


def complaints(tab: Tab) -> list[str]:
    """The console's messages, without the favicon that Chromium requests by itself."""
    return [text for text in tab.complaints if not text.endswith("/favicon.ico")]


async def test_a_page_lets_its_file_be_saved(tmp_path: Path) -> None:
    """The data that a page is drawn from, beside it or before it, is saved by a click, whole and under a name;
    from an earlier version the data of that version."""
    async with browsing(tmp_path) as (env, tab):
        await add_studio(env)
        row, output = await published(env, "prompt-lineage-map", {})
        await tab.open(artifacts.public_url(env, row))
        told = output.beside[0].data.replace(b'"../..', f'"{env.settings.public_url}'.encode())
        assert await saved(tab, tmp_path / "saved") == ("lineage.json", told)
        row, output = await published(env, "provider-benchmark", {})
        await tab.open(f"{artifacts.public_url(env, row)}/files/index.html")
        assert await saved(tab, tmp_path / "saved") == ("Autumn.csv", output.index.data)
        other = await made(env, "provider-benchmark", {"providers": ["sketch"]}, draft=row)
        await artifacts.publish(env, row, other, ["p"])
        await tab.open(f"{artifacts.public_url(env, row)}/versions/1/files/index.html")
        assert await saved(tab, tmp_path / "saved") == ("Autumn.csv", output.index.data)
        assert complaints(tab) == []


async def test_a_film_plays_from_its_link(tmp_path: Path) -> None:
    """The browser's own player has it and can go to any place in it, which it does by asking for parts."""
    async with browsing(tmp_path) as (env, tab):
        await add_project(env, "p")
        row, _ = await published(env, "walkthrough-reel", {})
        await tab.open(artifacts.public_url(env, row))
        await until(tab, "film.readyState > 0")
        await tab.evaluate(f"{FILM}; film.currentTime = 4")
        await until(tab, "!film.seeking && film.readyState > 1 && film.currentTime >= 4")
        assert await tab.evaluate("document.querySelector('video').duration") == pytest.approx(5.2)
        assert complaints(tab) == []
