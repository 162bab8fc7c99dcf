"""The documentation at `/docs`: open, complete, sealed, and readable on a telephone."""

import re
from collections.abc import AsyncIterator

import pytest

from app.routes.docs import PAGES
from tests.support.browser import BINARY, open_tab
from tests.support.samples.page_site import Outline
from tests.support.servers.picasso import Server, running

KEY = "the-right-key-of-this-test-" + "0123456789" * 2


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    home, command = tmp_path_factory.mktemp("docs"), ("app", "serve", "--no-jobs")
    async with running(home, command=command, API_KEY=KEY, READS_NEED_KEY="true") as server:
        yield server


async def test_every_page_is_open_and_links_to_pages_and_headings_that_exist(server: Server) -> None:
    """Without a key, even where reads need one, each page answers; each of its links leads to a page and, with an
    anchor, to a heading of it."""
    addresses = {name: "/docs" if name == "index" else f"/docs/{name}" for name in PAGES}
    pages: dict[str, Outline] = {}
    async with server.client() as client:
        for address in addresses.values():
            answer = await client.get(address)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), address
            pages[address] = Outline(answer.text)
    for address, outline in pages.items():
        links = [str(link["href"]) for link in outline.all("a")]
        assert len(links) > len(PAGES)
        for link in links:
            path, _, anchor = link.partition("#")
            assert (path or address) in pages, link
            target = pages[path or address]
            ids = {each["id"] for tag in ("h2", "h3", "main") for each in target.all(tag) if "id" in each}
            assert not anchor or anchor in ids, link


async def test_a_page_lets_nothing_but_its_own_style_act(server: Server) -> None:
    """Its policy names the hash of its one style and nothing else; there is no script and no style attribute in it."""
    async with server.client() as client:
        for name in PAGES:
            answer = await client.get("/docs" if name == "index" else f"/docs/{name}")
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; img-src 'none'; style-src 'sha256-")
            assert "script" not in policy and "http" not in policy
            assert not re.search(r"<script|<img| style=| on[a-z]+=|https?://(?!127\.0\.0\.1)[^<]*\"", answer.text)


async def test_a_page_that_is_known_is_not_sent_again(server: Server) -> None:
    """With the page's tag the answer is 304 and empty."""
    async with server.client() as client:
        tag = (await client.get("/docs/limits")).headers["etag"]
        again = await client.get("/docs/limits", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize("name", ["page", "nothing", "index.md", "..%2Flookbook", "%00", "A", "a" * 40])
async def test_there_is_no_other_page(server: Server, name: str) -> None:
    """What is not a page is refused in the one error shape; names are looked up, never resolved."""
    async with server.client() as client:
        answer = await client.get(f"/docs/{name}")
    assert answer.status_code in (400, 404) and set(answer.json()) == {"error"}


@pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [390, 1280])
async def test_a_page_fits_its_window(server: Server, width: int) -> None:
    """A browser shows each page without errors and without anything off-screen on the right."""
    async with open_tab() as tab:
        await tab.resize(width, 800)
        for name in PAGES:
            await tab.open(f"{server.url}/docs" if name == "index" else f"{server.url}/docs/{name}")
            assert await tab.fits(), name
            assert "Georgia" in await tab.evaluate("getComputedStyle(document.body).fontFamily"), name
        assert tab.complaints == []
