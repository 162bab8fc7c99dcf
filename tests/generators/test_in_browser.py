"""Pages in headless Chromium, where one is installed."""

from pathlib import Path

import pytest
from litestar import Litestar, Response, get

from generators.pages import lookbook
from generators.pages.lookbook import LookbookOptions
from generators.shared.image_pages import Shown
from tests.generators.pages.test_lookbook import TEMPLATE, project
from tests.support.browser import BINARY, Tab, open_tab
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.page_site import (
    Outline,
    add_image,
    add_project,
    client_of,
    free_listener,
    pages_env,
    paint,
    publish,
    row,
    serving,
    small_app,
)
from tools.env import Env

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")


def squeezed(html: str) -> tuple[list[str], str]:
    """Tags and text, without what two serialisations may differ in."""
    outline = Outline(html)
    return [tag for tag, _ in outline.elements], "".join(outline.text.split())


async def loaded(tab: Tab) -> list[tuple[int, int]]:
    """Natural size and completeness of every image after all of them were loaded."""
    sizes = await tab.evaluate(
        "Promise.all([...document.images].map(async i => { i.loading = 'eager'; await i.decode().catch(() => 0);"
        " return [i.naturalWidth, i.getBoundingClientRect().width]; }))"
    )
    return [(int(natural), int(shown)) for natural, shown in sizes]


async def test_no_payload_runs_even_where_nothing_forbids_it() -> None:
    """All payloads in all places of one page, served without any policy and with scripts on: no dialog, no
    foreign request, and the document is the one that was written."""
    shown = [
        Shown(project(p, p), [row("p", n, prompt=p, ai_notes=[p], ai_tags=[p], ai_provider=p, ai_model=p)], False)
        for n, p in enumerate(PAYLOADS, 1)
    ]
    title = " ".join(PAYLOADS)
    written = lookbook.write(TEMPLATE, title, shown, LookbookOptions(intro=title)).decode()
    with free_listener() as (listener, here):

        @get("/")
        async def bare() -> Response[str]:
            return Response(written, media_type="text/html; charset=utf-8")

        app = Litestar([bare, paint], openapi_config=None, logging_config=None)
        async with serving(app, listener), open_tab() as tab:
            await tab.open(f"{here}/")
            assert squeezed(await tab.html()) == squeezed(written)
            assert await tab.evaluate("document.querySelector('h1').textContent") == title
            prompts = "[...document.querySelectorAll('figcaption > .prompt')].map(e => e.textContent)"
            assert tuple(await tab.evaluate(prompts)) == PAYLOADS
            assert tab.dialogs == []
            assert [url for url in tab.requests if not url.startswith(f"{here}/")] == []


async def test_a_published_page_is_whole_under_its_own_policy(tmp_path: Path) -> None:
    """Style and delivery images load, nothing is complained about, and the page fits a narrow window."""
    with free_listener() as (listener, here):
        async with pages_env(tmp_path, environ={"PUBLIC_URL": here}) as env:
            slug = await made(env)
            async with serving(small_app(env), listener), open_tab() as tab:
                await tab.call(
                    "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
                )
                await tab.open(f"{here}/public/lookbook/{slug}")
                assert await tab.evaluate("getComputedStyle(document.body).marginTop") == "0px"
                assert await tab.fits()
                images = await loaded(tab)
                assert len(images) == 5
                assert all(natural > 0 and shown > 0 for natural, shown in images)
                # Chromium requests a favicon by itself.
                assert [text for text in tab.complaints if not text.endswith("/favicon.ico")] == []
                assert tab.dialogs == []
                own = (f"{here}/images/", f"{here}/public/", f"{here}/favicon.ico")
                assert [url for url in tab.requests if not url.startswith(own)] == []


async def made(env: Env) -> str:
    """The slug of a lookbook of four images of three shapes."""
    await add_project(env, "p", "Aurora", "Autumn")
    for number, size in enumerate([(1024, 1024), (1536, 1024), (1024, 1792), (1024, 1024)]):
        await add_image(env, "p", number, prompt=PAYLOADS[number], ai_tags=["deep teal"], width=size[0], height=size[1])
    async with client_of(small_app(env)) as client:
        return str((await publish(client, "p"))["public_slug"])
