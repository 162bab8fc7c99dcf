"""The console's library, image, comparison and lineage in a real browser, over a project of sketches."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.browser import BINARY, Tab, open_tab
from tests.support.servers.picasso import Server, running

pytestmark = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
SIGN_IN = """
fetch("/console/session", {{
  method: "POST",
  headers: {{ "Content-Type": "application/json", "X-Picasso-Console": "1" }},
  body: JSON.stringify({{ key: "{key}" }}),
}}).then((answer) => answer.status)
"""
TYPE = """
((field) => {{
  field.value = {text!r}
  field.dispatchEvent(new Event("input", {{ bubbles: true }}))
}})(document.getElementById("library-search"))
"""
PRESS = """
document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {{ key: {key!r}, bubbles: true, cancelable: true }}))
"""
# The page clips what is too wide, so the width that it could be scrolled to shows nothing.
OUTSIDE = """
[...document.querySelectorAll("#console *")].filter((element) => {
  const { left, right, width } = element.getBoundingClientRect()
  const inside = left >= -1 && right <= document.documentElement.clientWidth + 1
  if (!width || inside || element.matches(".skip, .unseen")) return false
  for (let box = element.parentElement; box.id != "console"; box = box.parentElement) {
    if (getComputedStyle(box).overflowX != "visible") return false
  }
  return true
}).map((element) => element.outerHTML.slice(0, 80))
"""
WIDTHS, SCHEMES = (360, 768, 1440), ("light", "dark")


@dataclass
class Studio:
    """A server with a project: two images of a hostile prompt, and one made from the first of them."""

    server: Server
    project: str
    first: str
    second: str
    edited: str
    tab: Tab

    def view(self, name: str) -> str:
        return f"#/p/{self.project}/{name}"

    async def show(self, fragment: str) -> None:
        await self.tab.evaluate(f"location.hash = {fragment!r}")

    async def text_has(self, selector: str, text: str) -> None:
        await self.tab.until(f"document.querySelector({selector!r})?.textContent.includes({text!r})")

    async def press(self, key: str) -> None:
        await self.tab.evaluate(PRESS.format(key=key))


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    async with running(tmp_path, **environ()) as server, calling(server) as client, open_tab() as tab:
        project = await new_project(client, HOSTILE)
        job = await submit(client, project, prompt=f"a red boat {HOSTILE}", variants=2)
        first, second = [str(item["progressionId"]) for item in (await ended(client, job["jobId"]))["items"]]
        edit = await submit(client, project, prompt="a boat at night", startImageUrl=f"progression:{first}")
        edited = str((await ended(client, edit["jobId"]))["items"][0]["progressionId"])
        await tab.open(f"{server.url}/")
        assert await tab.evaluate(SIGN_IN.format(key=server.key)) == 200
        await tab.open(f"{server.url}/")
        yield Studio(server, project, first, second, edited, tab)


async def test_images_are_found_opened_and_compared(studio: Studio) -> None:
    """By keyboard from the library: search, open, leaf, compare, walk the tree; a hostile prompt stays text, and the
    page complains of nothing and asks no other host."""
    await studio.show(studio.view("library"))
    await studio.tab.until("document.querySelectorAll('.wall .cell').length == 3")
    await studio.tab.evaluate(TYPE.format(text="night boat"))
    await studio.tab.until("document.querySelectorAll('.wall .cell').length == 1")
    assert "query=night" in await studio.tab.evaluate("location.hash")
    await studio.tab.evaluate(TYPE.format(text="onerror"))
    await studio.tab.until("document.querySelectorAll('.wall .cell').length == 2")
    assert "onerror" in await studio.tab.evaluate("document.querySelector('.wall a').title")

    await studio.tab.evaluate("document.getElementById('library-search').blur()")
    await studio.press("ArrowRight")
    await studio.tab.until("document.activeElement.closest('.cell')?.dataset.at == '0'")
    await studio.press("x")
    await studio.press("ArrowRight")
    await studio.tab.until("document.activeElement.closest('.cell')?.dataset.at == '1'")
    await studio.press("x")
    await studio.text_has(".selection", "2 selected")
    await studio.press("Enter")
    await studio.text_has(".image h1", HOSTILE)
    await studio.text_has(".judged", "covers")
    opened = await studio.tab.evaluate("location.hash")
    await studio.press("ArrowLeft")
    await studio.tab.until(f"location.hash != {opened!r} && document.querySelector('.image h1') != null")
    kept = await studio.tab.evaluate(
        "fetch(document.querySelector('a[href$=\"/original\"]').href).then((a) => a.status)"
    )
    assert kept == 200

    await studio.show(f"{studio.view('compare')}?ids={studio.first},{studio.edited}")
    await studio.text_has(".differences mark", "night")
    await studio.press("x")
    await studio.tab.until(f"location.hash.includes('{studio.edited}%2C{studio.first}')")
    await studio.text_has(".differences dd", "a boat at night")
    await studio.press("m")
    await studio.text_has(".hovered", "the first image")
    await studio.press("m")
    await studio.text_has(".hovered", "the other image")

    await studio.show(studio.view(f"lineage/{studio.edited}"))
    await studio.tab.until("document.querySelectorAll('[role=treeitem]').length == 2")
    await studio.tab.evaluate(f"document.getElementById('node-{studio.edited}').focus()")
    await studio.press("ArrowLeft")
    await studio.tab.until(f"document.activeElement.id == 'node-{studio.first}'")
    await studio.press("Enter")
    await studio.tab.until(f"location.hash.endsWith('/image/{studio.first}')")
    assert (studio.tab.complaints, studio.tab.dialogs) == ([], [])
    assert [url for url in studio.tab.requests if not url.startswith((studio.server.url, "blob:"))] == []


async def test_the_views_of_images_fit_every_width(studio: Studio) -> None:
    """At 360, 768 and 1440 pixels, light and dark, nothing is off-screen and nothing is complained of."""
    pair = f"{studio.view('compare')}?ids={studio.first},{studio.second},{studio.edited}"
    views = {
        studio.view("library"): "document.querySelector('.wall .cell')",
        studio.view(f"image/{studio.edited}"): "document.querySelector('.strip li + li')",
        pair: "document.querySelector('.differences dd')",
        studio.view(f"lineage/{studio.first}"): "document.querySelector('[role=treeitem]')",
    }
    too_wide: list[tuple[str, int, str, list[str]]] = []
    for fragment, ready in views.items():
        await studio.show(fragment)
        await studio.tab.until(f"{ready} != null")
        for width in WIDTHS:
            await studio.tab.resize(width, 800)
            for scheme in SCHEMES:
                media = [{"name": "prefers-color-scheme", "value": scheme}]
                await studio.tab.call("Emulation.setEmulatedMedia", features=media)
                if outside := await studio.tab.evaluate(OUTSIDE):
                    too_wide.append((fragment, width, scheme, outside))
    assert (too_wide, studio.tab.complaints) == ([], [])
