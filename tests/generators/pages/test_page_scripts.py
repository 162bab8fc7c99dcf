"""The two pages with a script of their own in headless Chromium: by keys, by touch of a link, and with scripts off."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from generators import registry
from tests.support.browser import BINARY, Tab, open_tab
from tests.support.samples import finished_project
from tests.support.samples.page_site import free_listener, pages_env, serving, small_app
from tools import db
from tools.publishing import artifacts

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")
LEFT = "document.querySelector('.show').scrollLeft / innerWidth"
CUT = "getComputedStyle(document.querySelector('.stage')).getPropertyValue('--cut')"
SEEN = (
    "['left', 'right'].map(side => [...document.querySelectorAll('.stage')[0].querySelectorAll(`.${side} img`)]"
    ".filter(i => getComputedStyle(i).visibility === 'visible').map(i => i.src.split('/')[4]).join())"
)


@contextlib.asynccontextmanager
async def opened(home: Path, id: str, *, scripts: bool = True, **wishes: Any) -> AsyncIterator[Tab]:
    """The page of the seeded project under its own policy."""
    with free_listener() as (listener, here):
        async with pages_env(home, environ={"PUBLIC_URL": here}) as env:
            await finished_project.seed(env)
            generator = registry.find(id)
            draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="default", options={})
            options = registry.decode_options(generator, wishes)
            output = await generator.generate(env, draft, [await db.get_project(env, "p")], options)
            row = await artifacts.publish(env, draft, output, ["p"])
            async with serving(small_app(env), listener), open_tab() as tab:
                await tab.call("Emulation.setScriptExecutionDisabled", value=not scripts)
                await tab.resize(390, 844)
                await tab.open(artifacts.public_url(env, row))
                yield tab


async def test_a_slideshow_goes_by_keys_and_plays(tmp_path: Path) -> None:
    """Arrows, End and Home move; the button plays and pauses; full screen can be entered. The title is readable even
    where the text below it is longer than the screen."""
    async with opened(tmp_path, "slideshow", intro="of autumn " * 190) as tab:
        assert await tab.evaluate("document.querySelector('h1').getBoundingClientRect().top") >= 0
        await tab.press("ArrowRight")
        await tab.until(f"{LEFT} === 1")
        await tab.press("End")
        await tab.until(f"{LEFT} === 12")
        await tab.press("ArrowLeft")
        await tab.until(f"{LEFT} === 11")
        await tab.press("Home")
        await tab.until(f"{LEFT} === 0")
        await tab.evaluate("document.querySelector('.run').click()")
        assert await tab.evaluate("document.querySelector('.run').getAttribute('aria-pressed')") == "true"
        assert await tab.evaluate("document.querySelector('.run').getAttribute('aria-label')") == "Pause"
        assert await tab.evaluate("document.fullscreenEnabled && !document.querySelector('.full').hidden")


async def test_a_slideshow_goes_without_a_script(tmp_path: Path) -> None:
    """Its links lead from slide to slide; controls that need the script are not shown."""
    async with opened(tmp_path, "slideshow", scripts=False) as tab:
        await tab.press("Tab")
        await tab.press("Tab")
        assert await tab.evaluate("document.activeElement.getAttribute('href')") == "#slide-1"
        await tab.press("Enter")
        await tab.until(f"{LEFT} === 1")
        assert await tab.evaluate("getComputedStyle(document.querySelector('.bar')).display") == "none"


async def test_two_images_are_divided_by_keys(tmp_path: Path) -> None:
    """With the script a slider moves the line, one step a key; radio buttons choose which two images lie there."""
    async with opened(tmp_path, "compare-deck") as tab:
        await tab.evaluate("document.querySelector('.stage input').focus()")
        assert await tab.evaluate("document.querySelector('.cut').hidden")
        await tab.press("ArrowRight")
        await tab.until(f"{CUT} === '51%'")
        await tab.press("End")
        await tab.until(f"{CUT} === '100%'")
        assert await tab.evaluate(SEEN) == ["p-0", "p-1"]
        await tab.evaluate("document.querySelector('.pick-right input:checked').focus()")
        await tab.press("ArrowRight")
        await tab.until(f"({SEEN}).join() === 'p-0,p-2'")


async def test_two_images_are_divided_without_a_script(tmp_path: Path) -> None:
    """Five places for the line by radio buttons alone."""
    async with opened(tmp_path, "compare-deck", scripts=False) as tab:
        assert await tab.evaluate("document.querySelector('.stage input').hidden")
        await tab.evaluate("document.querySelector('.cut input:checked').focus()")
        assert await tab.evaluate(CUT) == "50%"
        await tab.press("ArrowRight")
        await tab.until(f"{CUT} === '75%'")
