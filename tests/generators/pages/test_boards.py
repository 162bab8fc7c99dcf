"""Review board and voting deck: the page's structure, and what guests do on it in a real browser."""

import asyncio
import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from generators.shared import board_page, page
from generators.shared.board_page import BoardOptions, Kind
from generators.shared.image_pages import Shown
from tests.support.browser import BINARY, Tab, open_tab
from tests.support.deadlines import LONG, until
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.board_site import Board, boards_env, publish_board
from tests.support.samples.page_site import Outline, client_of, free_listener, row, serving, small_app, template
from tools.rows import Progression, Project

TEMPLATE = template("board")
KINDS: tuple[Kind, ...] = ("review", "vote")
BOARDS = {"review": "review-board", "vote": "voting-deck"}
browser = pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")
kinds = pytest.mark.parametrize("kind", KINDS)


def written(kind: Kind, title: str, images: Sequence[Progression], text: str | None = None) -> str:
    project = Project("p", text or "Aurora", text, None, 1, 1)
    shown = [Shown(project, list(images), False), Shown(project, [], False)]
    return board_page.write(TEMPLATE, kind, title, shown, BoardOptions(intro=text)).decode()


def page_of(kind: Kind, text: str) -> Outline:
    """A page with the text in every place where a text can stand."""
    image = row("p", 1, prompt=text, ai_provider=text, ai_model=text)
    return Outline(without_script(written(kind, text, [image], text)))


def without_script(html: str) -> str:
    """The page's own script contains `<` signs, which this reader of HTML does not handle."""
    return re.sub(r"<script>.*?</script>", "<script></script>", html, count=1, flags=re.DOTALL)


@kinds
def test_a_payload_is_text_wherever_it_stands(kind: Kind) -> None:
    """Title, intro, project, prompt and maker: tags and attributes are those of a harmless page."""
    for payload in PAYLOADS:
        outline = page_of(kind, payload)
        model = page_of(kind, "".join(c if c.isspace() else "x" for c in payload))
        assert outline.skeleton == model.skeleton
        assert outline.text.count(payload) >= 8
        assert {image["alt"] for image in outline.all("img")} == {" ".join(payload.split())}


@kinds
def test_the_policy_lets_in_the_pages_own_script_and_nobody_elses(kind: Kind) -> None:
    """The hashes are those of the one style and the one script; the page may connect to its own server only."""
    html = written(kind, "Autumn", [row("p", 1)])
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    assert page.policy(TEMPLATE, ["/images/1/public"], live=True) == (
        f"default-src 'none'; img-src 'self'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    attributes = [name for _, named in Outline(without_script(html)).elements for name in named]
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", script)


@kinds
def test_every_control_has_a_name_and_waits_until_the_board_is_open(kind: Kind) -> None:
    """Buttons and fields are in fieldsets that are disabled until the server enables them."""
    outline = Outline(without_script(written(kind, "Autumn", [row("p", n) for n in range(3)])))
    assert len(outline.all("fieldset")) == (6 if kind == "review" else 3)
    assert all("disabled" in fieldset for fieldset in outline.all("fieldset"))
    assert {field["id"] for field in outline.all("textarea")} <= {label["for"] for label in outline.all("label")}
    assert all(image["alt"] and image["width"] and image["height"] for image in outline.all("img"))


class Desk:
    """An open board on a real socket, and tabs that look at it."""

    def __init__(self, made: Board, here: str, tabs: Sequence[Tab]) -> None:
        self.board, self.here, self.tabs = made, here, tabs

    async def look(self, tab: Tab) -> None:
        """Open the page and wait until it is live."""
        await tab.open(f"{self.here}{self.board.path}")
        await until(lambda: tab.evaluate("document.body.classList.contains('open')"))

    def clean(self, tab: Tab) -> bool:
        """No dialog, no console message but that of the favicon, no request to another host."""
        complaints = [text for text in tab.complaints if not text.endswith("/favicon.ico")]
        foreign = [url for url in tab.requests if not url.startswith(f"{self.here}/")]
        return (tab.dialogs, complaints, foreign) == ([], [], [])


@contextlib.asynccontextmanager
async def desk(home: Path, redis_url: str, kind: Kind, tabs: int = 1) -> AsyncIterator[Desk]:
    async with contextlib.AsyncExitStack() as stack:
        listener, here = stack.enter_context(free_listener())
        env = await stack.enter_async_context(boards_env(home, redis_url, {"PUBLIC_URL": here}))
        app = small_app(env)
        owner = await stack.enter_async_context(client_of(app, here))
        await stack.enter_async_context(serving(app, listener))
        opened = [await stack.enter_async_context(open_tab()) for _ in range(tabs)]
        made = await publish_board(owner, app, BOARDS[kind], title="Autumn posters")
        assert (await made.set(open=True)).status_code == 200
        yield Desk(made, here, opened)


async def key(tab: Tab, name: str, text: str = "") -> None:
    """One key, as a keyboard would send it."""
    codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
    more: dict[str, Any] = {"windowsVirtualKeyCode": codes[name]} if name in codes else {}
    text = text or {"Enter": "\r", " ": " "}.get(name, name if len(name) == 1 else "")
    await tab.call("Input.dispatchKeyEvent", type="keyDown", key=name, text=text, **more)
    await tab.call("Input.dispatchKeyEvent", type="keyUp", key=name, **more)


async def tab_to(tab: Tab, selector: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(30):
        if await tab.evaluate(f"document.activeElement.matches({selector!r})"):
            return
        await key(tab, "Tab")
    raise AssertionError(f"Tab never came to {selector}")


def name_of(payload: str) -> str:
    """As much of it as a name may be: one line of 80 characters."""
    return " ".join(payload.split())[:80].strip()


def text_of(tab: Tab, selector: str) -> Any:
    return tab.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent.trim())")


@browser
async def test_a_vote_by_keyboard_is_seen_in_a_second_tab(tmp_path: Path, redis_url: str) -> None:
    """Tab, Space and letters vote; the tally changes in another visitor's window without a reload."""
    async with desk(tmp_path, redis_url, "vote", tabs=2) as it:
        one, other = it.tabs
        await it.look(one)
        await it.look(other)
        await tab_to(one, "[data-image='p-0'] [data-choice=yes]")
        await key(one, " ")

        async def seen(*counts: str) -> bool:
            return bool(await text_of(other, "[data-image='p-0'] output") == list(counts))

        await until(lambda: seen("1", "0", "0"))
        assert await text_of(other, "[data-image='p-0'] .total") == ["1 vote"]
        await key(one, "m")
        await until(lambda: seen("0", "1", "0"))
        await key(one, "j")
        await key(one, "y")
        await until(lambda: other.evaluate("!document.querySelector(\"[data-image='p-1'] .badge\").hidden"))
        assert await text_of(one, "#done") == ["You voted on 2 of 3"]
        assert await text_of(other, "#done") == ["You voted on 0 of 3"]
        pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(e => e.dataset.choice)"
        assert await one.evaluate(pressed) == ["maybe", "yes"]
        await it.look(one)
        await until(lambda: one.evaluate(f"({pressed}).length === 2"))
        await it.board.set(open=False)
        await until(lambda: other.evaluate("document.getElementById('state').textContent === 'Closed'"))
        assert await other.evaluate("[...document.querySelectorAll('fieldset')].every(e => e.disabled)")
        assert it.clean(one) and it.clean(other)


@browser
async def test_a_pinned_comment_by_keyboard_and_by_touch(tmp_path: Path, redis_url: str) -> None:
    """Enter sets a pin, arrows move it, Enter writes; a tap pins where the image was touched."""
    async with desk(tmp_path, redis_url, "review") as it:
        (tab,) = it.tabs
        await tab.resize(390, 844)
        await tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
        still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        await tab.call("Emulation.setEmulatedMedia", features=still)
        await it.look(tab)
        await tab_to(tab, "#name")
        await tab.call("Input.insertText", text="Ana")
        await tab_to(tab, "[data-image='p-0'] .stage")
        for name in ("Enter", "ArrowRight", "ArrowUp", "Enter"):
            await key(tab, name)
        await tab.call("Input.insertText", text="by keyboard")
        await tab_to(tab, "[data-image='p-0'] .send")
        await key(tab, "Enter")
        await until(lambda: tab.evaluate("document.querySelectorAll('button.pin').length === 1"))
        await until(lambda: tab.evaluate("document.querySelector('.draft').hidden"))
        box = await tab.evaluate(
            "(() => { const e = document.querySelector(\"[data-image='p-1'] .stage\");"
            " e.scrollIntoView({ block: 'center', behavior: 'instant' }); const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 4, b.top + b.height / 2]; })()"
        )
        await tab.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
        await tab.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        await until(lambda: tab.evaluate("document.activeElement.id === 'text-2'"))
        await tab.call("Input.insertText", text="by touch")
        await tab.evaluate("document.querySelector(\"[data-image='p-1'] .send\").click()")
        await until(lambda: tab.evaluate("document.querySelectorAll('button.pin').length === 2"))
        await tab.evaluate("document.querySelector(\"[data-image='p-0'] [data-verdict=reject]\").click()")
        await until(lambda: tab.evaluate("document.querySelectorAll('.said .reject').length === 1"))
        comments = (await it.board.inspect())["comments"]
        assert [(each["name"], each["text"], each["x"], each["y"]) for each in comments] == [
            ("Ana", "by keyboard", 0.52, 0.48),
            ("Ana", "by touch", pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01)),
        ]
        await it.board.owner.delete(f"/api/artifacts/{it.board.id}/board/comments/{comments[0]['commentId']}")
        await until(lambda: tab.evaluate("document.querySelectorAll('button.pin').length === 1"))
        assert await text_of(tab, ".thread .text") == ["by touch"]
        assert it.clean(tab)


@browser
async def test_what_guests_write_is_never_run(tmp_path: Path, redis_url: str) -> None:
    """Seventy hostile comments and names, some there when the page opens and some streamed later: each is shown as it
    was written, nothing runs and nothing is fetched."""
    async with desk(tmp_path, redis_url, "review") as it:
        (tab,) = it.tabs

        async def write(number: int, payload: str) -> None:
            async with it.board.guest(f"198.51.100.{number}") as guest:
                place = {"x": 0.5, "y": 0.5} if number % 2 else {}
                body = {"progressionId": "p-0", "text": payload, "name": name_of(payload), **place}
                assert (await guest.post("comments", json=body)).status_code == 201
                verdict = {"progressionId": "p-1", "verdict": "approve", "name": name_of(payload)}
                assert (await guest.post("approvals", json=verdict)).status_code == 200

        payloads = [payload.strip() for payload in PAYLOADS]
        for number, payload in enumerate(payloads[:35]):
            await write(number, payload)
        await it.look(tab)
        for number, payload in enumerate(payloads[35:], 35):
            await write(number, payload)
        await until(lambda: tab.evaluate("document.querySelectorAll('.thread li').length === 70"))
        await until(lambda: tab.evaluate("document.querySelectorAll('.said li').length === 70"))
        shown = "[...document.querySelectorAll('.thread .text')].map(e => e.textContent)"
        assert await tab.evaluate(shown) == payloads
        names = "[...document.querySelectorAll('.said bdi')].map(e => e.textContent)"
        assert await tab.evaluate(names) == [name_of(payload) for payload in payloads]
        made = "[...new Set([...document.querySelectorAll('.thread *, .said *')].map(e => e.localName))].sort()"
        assert await tab.evaluate(made) == ["bdi", "button", "div", "li", "p", "span", "time"]
        assert await tab.fits()
        assert it.clean(tab)


@browser
@kinds
async def test_the_page_fits_a_telephone_and_a_desk(tmp_path: Path, redis_url: str, kind: Kind) -> None:
    """At 390 and 1440 pixels nothing is off-screen, images load and the page obeys its own policy."""
    async with desk(tmp_path, redis_url, kind) as it:
        (tab,) = it.tabs
        for width, height in ((390, 844), (1440, 900)):
            await tab.resize(width, height)
            await it.look(tab)
            assert await tab.fits()
            loaded = (
                "Promise.all([...document.images].map(async i => { i.loading = 'eager'; await i.decode();"
                " const box = i.getBoundingClientRect(); return box.left >= 0 && box.right <= document.body.clientWidth"
                " && box.width > 200; }))"
            )
            async with asyncio.timeout(LONG):
                assert await tab.evaluate(loaded) == [True] * 3
            small = "[...document.querySelectorAll('.press')].filter(e => e.getBoundingClientRect().height < 44).length"
            assert await tab.evaluate(small) == 0
            assert it.clean(tab)
