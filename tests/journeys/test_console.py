"""The console in a real browser: from the printed link to images that appear live, without a key being typed."""

import re
from pathlib import Path

import pytest

from tests.support.browser import BINARY, Tab, open_tab
from tests.support.servers.picasso import running

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")


async def click(tab: Tab, text: str) -> None:
    """Click the button or link that begins with these words, once it is there and can be used."""
    found = f"[...document.querySelectorAll('button:enabled, a')].find(e => e.textContent.startsWith('{text}'))"
    await tab.until(found)
    await tab.evaluate(f"{found}.click()")


PASSED = "document.querySelectorAll('.tile[data-status=complete] img').length"


async def test_the_first_images_from_the_printed_link(tmp_path: Path) -> None:
    """Link, one click, four images appear; a second brief is quoted and made; a reload shows the same; nothing is
    complained about, nothing comes from elsewhere, and no address or storage holds a secret."""
    async with running(tmp_path, SKETCH_SECONDS="0.2") as server, open_tab() as tab:
        link = re.search(r"Console: (\S+)", (tmp_path / "serve.out").read_text(), re.M)
        assert link is not None
        await tab.open(link[1])
        await click(tab, "Make the first images")
        await tab.until(f"{PASSED} === 4 && document.querySelector('.dot')?.dataset.state === 'live'")
        await tab.until("[...document.querySelectorAll('.tile img')].every(e => e.complete && e.naturalWidth > 0)")

        await click(tab, "Make")
        await tab.until("document.querySelector('#prompt')")
        await tab.evaluate("document.querySelector('#prompt').focus()")
        hostile = "two green birds <img src=x onerror=alert(1)> \u202e{{7*7}}"
        await tab.call("Input.insertText", text=hostile)
        await tab.until("document.querySelector('.amount')?.textContent.startsWith('Free')")
        await tab.evaluate("document.querySelector('form.brief').requestSubmit()")
        await tab.until(f"location.hash.includes('/live/') && {PASSED} === 2")
        assert await tab.evaluate("document.querySelector('h1').textContent") == hostile

        shown = "[...document.querySelectorAll('.tile img')].map(e => e.src).sort().join()"
        before = await tab.evaluate(shown)
        await tab.open(f"{server.url}/")
        await tab.call("Page.navigateToHistoryEntry", entryId=await entry_before(tab))
        await tab.until(f"{PASSED} === 2")
        assert await tab.evaluate(shown) == before

        places = "location.href + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie"
        kept = await tab.evaluate(places)
        assert server.key not in kept and link[1].partition("=")[2] not in kept and "picasso_console" not in kept
        assert (tab.complaints, tab.dialogs) == ([], [])
        assert [url for url in tab.requests if not url.startswith(f"{server.url}/")] == []
        assert link[1].partition("=")[2] not in server.log.read_text()

        await click(tab, "Sign out")
        await tab.until("document.querySelector('#key')")


async def entry_before(tab: Tab) -> int:
    """The id of the history's last entry but one."""
    history = await tab.call("Page.getNavigationHistory")
    return int(history["entries"][history["currentIndex"] - 1]["id"])
