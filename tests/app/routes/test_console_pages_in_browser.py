"""The console's pages, money and settings in a real browser: a page is made, filled by chat and form, and published."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.browser import BINARY, Tab, open_tab
from tests.support.deadlines import LONG
from tests.support.servers.picasso import Server, running

pytestmark = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")

HOSTILE = '<img src=x onerror="alert(1)">"\'&{{TITLE}}'
WIDTHS, THEMES = (360, 768, 1440), ("light", "dark")
CLICK = "(e => {{ if (e && !e.disabled) e.click(); return !!e && !e.disabled }})({found})"
FILL = """
(e => {{
  if (!e) return false
  e.value = {text}
  e.dispatchEvent(new Event("input", {{ bubbles: true }}))
  e.dispatchEvent(new Event("change", {{ bubbles: true }}))
  return true
}})(document.querySelector({selector}))
"""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with one project of two images, whose name and prompt are hostile."""
    async with running(tmp_path_factory.mktemp("console")) as server:
        async with server.client(**server.headers) as client:
            project = (await client.post("/api/projects", json={"name": HOSTILE})).json()["id"]
            job = {"prompt": f"a red boat {HOSTILE}", "providers": ["sketch"], "variants": 2, "sessionId": "s"}
            made = (await client.post(f"/api/projects/{project}/jobs", json=job)).json()
            async with asyncio.timeout(LONG):
                while (await client.get(f"/api/jobs/{made['jobId']}")).json()["status"] != "complete":
                    await asyncio.sleep(0.05)
        yield server


@pytest.fixture(scope="module")
async def tab(server: Server) -> AsyncIterator[Tab]:
    """A browser that the link of the start has signed in."""
    link = re.search(r"Console: (\S+)", (server.home / "serve.out").read_text(), re.MULTILINE)
    assert link is not None
    async with open_tab() as tab:
        await tab.open(link[1])
        await tab.until("document.querySelector('h1')?.textContent == 'Projects'")
        yield tab


@pytest.fixture(scope="module")
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with server.client(**server.headers) as client:
        yield client


async def click(tab: Tab, selector: str, text: str = "") -> None:
    """Click the element with this text once it is there and can be clicked."""
    found = (
        f"[...document.querySelectorAll({json.dumps(selector)})].find(e => e.textContent.includes({json.dumps(text)}))"
    )
    await tab.until(CLICK.format(found=found))


async def fill(tab: Tab, selector: str, text: str) -> None:
    await tab.until(FILL.format(selector=json.dumps(selector), text=json.dumps(text)))


async def say(tab: Tab, words: str, then: str) -> None:
    """Send words in the chat and wait for the answer that has these."""
    await fill(tab, "#say", words)
    await click(tab, ".say button")
    answers = "[...document.querySelectorAll('.chat [data-role=assistant]')]"
    await tab.until(f"{answers}.some(e => e.textContent.includes({json.dumps(then)}))")


async def show(tab: Tab, fragment: str) -> None:
    await tab.evaluate(f"location.hash = {json.dumps(fragment)}")


async def published(tab: Tab, client: httpx.AsyncClient) -> str:
    """The text of the page that the open artifact's public link gives, once it has one."""
    await tab.until("!!document.querySelector('#public-link')")
    answer = await client.get(await tab.evaluate("document.querySelector('#public-link').href"))
    assert answer.status_code == 200
    return answer.text


async def previewed(tab: Tab, version: int) -> None:
    """Wait until the published version is shown in the frame beside the form."""
    await tab.until(f"document.querySelector('.preview iframe')?.src.endsWith('/versions/{version}')")
    async with asyncio.timeout(LONG):
        while not any(url.endswith(f"/versions/{version}") for url in tab.requests):
            await asyncio.sleep(0.05)


def assert_quiet(tab: Tab) -> None:
    assert (tab.complaints, tab.dialogs) == ([], [])


async def test_a_lookbook_is_made_and_its_link_answers(tab: Tab, client: httpx.AsyncClient) -> None:
    """From the gallery by the form of its options to the public page; the next version has what was changed."""
    await show(tab, "#/pages")
    await click(tab, ".kind a", "Lookbook")
    await fill(tab, "#page-title", "Autumn")
    await click(tab, ".image-choice > button")
    await click(tab, ".pick button")
    await tab.until("document.querySelectorAll('.chosen li').length == 1")
    await click(tab, ".new .strong", "Make and publish")
    assert "Autumn" in await published(tab, client)
    await previewed(tab, 1)
    await fill(tab, "#title", "Winter")
    await click(tab, ".work .strong", "Publish with these")
    await previewed(tab, 2)
    assert "Winter" in await published(tab, client)
    row = (await client.get("/api/artifacts")).json()["items"][0]
    assert len(row["options"]["progressionIds"]) == 1
    await fill_link(tab, client, row["id"])
    assert_quiet(tab)


async def fill_link(tab: Tab, client: httpx.AsyncClient, artifact_id: str) -> None:
    """Make a link with a password and see it among the artifact's."""
    await click(tab, ".links > .quiet", "New link")
    await fill(tab, "#share-label", "For Ana")
    await fill(tab, "#share-password", "late harvest")
    await fill(tab, "#share-views", "3")
    await click(tab, ".conditions .strong")
    await tab.until("document.querySelector('.links').innerText.includes('Asks for a password, 3 of 3 views left')")
    (_, made) = (await client.get(f"/api/artifacts/{artifact_id}/shares")).json()["items"]
    assert (made["label"], made["hasPassword"], made["maxViews"]) == ("For Ana", True, 3)


async def chosen_image(client: httpx.AsyncClient, artifact_id: str, before: str | None) -> str:
    """The address of the artifact's hero image, once there is one and it is not the one `before`."""
    async with asyncio.timeout(LONG):
        while True:
            artifact: dict[str, dict[str, str]] = (await client.get(f"/api/artifacts/{artifact_id}")).json()
            if (chosen := artifact["configuration"].get("IMAGE_HERO")) not in (None, before):
                return str(chosen)
            await asyncio.sleep(0.05)


async def test_a_template_is_filled_and_approved(tab: Tab, client: httpx.AsyncClient) -> None:
    """By chat and by form; the button publishes once nothing is missing, and not before; hostile words stay words."""
    await show(tab, "#/pages")
    await click(tab, ".kind a", "Poster")
    await click(tab, ".new .strong", "Begin to fill it")
    await click(tab, "[role=tab]", "By chat")
    await say(tab, "title: Autumn light", "Autumn light")
    approve = "document.querySelector('.approve button')"
    assert await tab.evaluate(
        f"{approve}.disabled && document.querySelector('.approve').innerText.includes('Hero image')"
    )
    await say(tab, "pick for me", "hero image")
    row = (await client.get("/api/artifacts")).json()["items"][0]
    hero = await chosen_image(client, row["id"], None)
    await click(tab, "[role=tab]", "By form")
    await tab.until("[...document.querySelectorAll('.work textarea')].some(e => e.value == 'Autumn light')")
    for at in range(1, await tab.evaluate("document.querySelectorAll('.work textarea').length")):
        field = f".work .fields > div:nth-of-type({at + 1}) textarea"
        await fill(tab, field, f"words {at} {HOSTILE}")
        await tab.until(f"document.querySelector({json.dumps(field)}).labels[0].innerText.includes('saved')")
    await click(tab, ".image-choice > button")
    await tab.until("document.querySelectorAll('.pick button').length == 2")
    await click(tab, ".pick [aria-pressed=false]")
    chosen = await chosen_image(client, row["id"], hero)
    await tab.until(f"!{approve}.disabled")
    assert await tab.evaluate("document.querySelector('#public-link') === null")
    await click(tab, ".approve button")
    page = await published(tab, client)
    assert f"/{chosen.split('/')[-2]}/" in page
    assert "Autumn light" in page and "words 1" in page and "<img src=x" not in page
    await previewed(tab, 1)
    assert_quiet(tab)


async def test_a_board_shows_what_guests_said(tab: Tab, client: httpx.AsyncClient) -> None:
    """It opens by a button, and a guest's words arrive while it is looked at, as words; one is hidden by a button."""
    project = (await client.get("/api/projects")).json()["items"][0]["id"]
    made = (await client.post(f"/api/projects/{project}/artifacts/review-board")).json()
    await show(tab, f"#/pages/{made['artifact_id']}")
    await click(tab, ".board button", "Open the board")
    await tab.until("document.querySelector('.board').innerText.includes('Open to guests')")
    image = (await client.get(f"/api/projects/{project}/progressions")).json()["items"][0]["id"]
    remark = {"progressionId": image, "text": HOSTILE, "name": "Ana", "x": 0.5, "y": 0.5}
    path = f"/public/artifact/{made['public_slug']}"
    assert (await client.post(f"{path}/comments", json=remark)).status_code == 201
    verdict = {"progressionId": image, "verdict": "approve", "name": "Ana"}
    assert (await client.post(f"{path}/approvals", json=verdict)).status_code == 200
    await tab.until("document.querySelector('.board').innerText.includes('Ana: approved')")
    assert HOSTILE in await tab.evaluate("document.querySelector('.asked').innerText")
    await click(tab, ".remarks button", "Hide from guests")
    await tab.until("document.querySelector('.remarks li').dataset.hidden == 'true'")
    assert_quiet(tab)


async def test_a_budget_and_a_tip_are_set(tab: Tab, client: httpx.AsyncClient) -> None:
    """Money stores the budget and shows what is left; Settings stores a tip, and shows what each provider needs."""
    project = (await client.get("/api/projects")).json()["items"][0]["id"]
    await show(tab, f"#/money/{project}")
    await fill(tab, "#budget", "12.5")
    await click(tab, ".budget button")
    await tab.until("document.querySelector('.account .meter')?.innerText.includes('$12.50 of $12.50 left')")
    assert (await client.get(f"/api/projects/{project}/costs")).json()["budgetUsd"] == 12.5
    await show(tab, "#/settings")
    await tab.until("document.querySelector('.cells')?.innerText.includes('OPENAI_API_KEY')")
    await tab.until("document.querySelectorAll('.bindings i[data-ok=true]').length == 5")
    await click(tab, "#settings-tips button", "New tip")
    await fill(tab, "#tip-key", "sketch.hostile")
    await fill(tab, "#tip-text", HOSTILE)
    await click(tab, "dialog .strong", "Save")
    await tab.until("!document.querySelector('dialog')")
    tips: list[dict[str, Any]] = (await client.get("/api/knowledge?limit=200")).json()["items"]
    assert {"key": "sketch.hostile", "value": {"tip": HOSTILE}} in tips
    await tab.until(f"document.querySelector('#settings-tips').textContent.includes({json.dumps(HOSTILE)})")
    assert_quiet(tab)


async def test_every_view_fits_every_width(tab: Tab, client: httpx.AsyncClient) -> None:
    """Nothing is off-screen at the widths of a telephone, a tablet and a desk, light and dark, and the console of the
    browser stays empty."""
    made = {row["generator_id"]: row["id"] for row in (await client.get("/api/artifacts")).json()["items"]}
    views = {
        "#/pages": ".kinds li",
        "#/pages/new?kind=storyboard": ".new .do",
        f"#/pages/{made['review-board']}": ".asked figure",
        f"#/pages/{made[None]}": ".desk",
        "#/money": ".account",
        "#/settings": ".bindings li",
    }
    for fragment, shown in views.items():
        await show(tab, fragment)
        await tab.until(f"!!document.querySelector({json.dumps(shown)})")
        for width in WIDTHS:
            await tab.resize(width, 900)
            for theme in THEMES:
                await tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
                assert await tab.fits(), (fragment, width, theme)
    assert_quiet(tab)
