"""Headless Chromium over its debugging protocol, for pages that must be checked in a real browser.

Only loopback addresses resolve in it. Tests that need it are skipped where no Chromium is installed.
"""

import asyncio
import atexit
import contextlib
import functools
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import websockets

from tests.support.deadlines import LONG, until

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs that serve, the lightest first."""
BINARY = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

KEYS = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}


class Tab:
    """One tab. `requests` are the URLs it requested, `dialogs` the texts of alerts, `complaints` the console's
    messages."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return await asyncio.wait_for(answer, LONG)

    async def open(self, url: str) -> None:
        """Open the URL and wait for the load event."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), LONG)

    async def submit(self, prepare: str) -> None:
        """Run the expression, submit the page's form by its button, and wait for the page that follows."""
        self._loaded.clear()
        await self.evaluate(f"{prepare}; document.querySelector('form button').click()")
        await asyncio.wait_for(self._loaded.wait(), LONG)

    async def resize(self, width: int, height: int) -> None:
        """Emulate a telephone of that many CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True
        )

    async def press(self, key: str) -> None:
        """Press a key by its name, such as `Tab` or `ArrowRight`."""
        code = KEYS[key]
        for kind in ("rawKeyDown", "keyUp"):
            text = {"text": "\r"} if (kind, key) == ("rawKeyDown", "Enter") else {}
            kind = "keyDown" if text else kind
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    async def html(self) -> str:
        """The document as the browser parsed it."""
        root = await self.call("DOM.getDocument", depth=0)
        return str((await self.call("DOM.getOuterHTML", nodeId=root["root"]["nodeId"]))["outerHTML"])

    async def fits(self) -> bool:
        """Whether no part of the page is off-screen on the right; `innerWidth` cannot show that, because it grows with
        the page."""
        return bool(await self.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.documentElement)"))

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Return soon after the expression is true in the page. Fails: AssertionError, with what the page shows."""

        async def holds() -> bool:
            return bool(await self.evaluate(f"Boolean({expression})"))

        try:
            await until(holds)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError((expression, shown, self.complaints)) from None

    async def read(self) -> None:
        """Dispatch the browser's messages until the socket closes."""
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                answer = self._answers.pop(message["id"])
                if "error" in message:
                    answer.set_exception(RuntimeError(str(message["error"])))
                else:
                    answer.set_result(message["result"])
            else:
                await self._note(message["method"], message["params"])

    async def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            number = next(self._ids)
            self._answers[number] = asyncio.get_running_loop().create_future()
            await self._socket.send(
                json.dumps({"id": number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
            )
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(str(params["args"]))


@contextlib.asynccontextmanager
async def open_tab() -> AsyncIterator[Tab]:
    """A tab with cookies and storage of its own, in the browser of this process; it is closed at the end."""
    address = await _address()
    async with websockets.connect(address, max_size=None, proxy=None) as browser:

        async def ask(method: str, **params: str) -> dict[str, Any]:
            await browser.send(json.dumps({"id": 0, "method": method, "params": params}))
            return dict(json.loads(await asyncio.wait_for(browser.recv(), LONG))["result"])

        context = (await ask("Target.createBrowserContext"))["browserContextId"]
        page = (await ask("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        origin = address.partition("/devtools/")[0]
        try:
            async with websockets.connect(f"{origin}/devtools/page/{page}", max_size=None, proxy=None) as socket:
                tab = Tab(socket)
                async with asyncio.TaskGroup() as tasks:
                    reading = tasks.create_task(tab.read())
                    for domain in ("Page", "Network", "DOM", "Log", "Runtime"):
                        await tab.call(f"{domain}.enable")
                    # Only one tab of a browser has the focus; each test's page must believe that it is the one.
                    await tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
                    yield tab
                    reading.cancel()
        finally:
            await ask("Target.disposeBrowserContext", browserContextId=context)


@functools.cache
def _browser() -> tuple["subprocess.Popen[bytes]", Path]:
    """The browser of this process and its profile, which both end with it."""
    assert BINARY is not None
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    process = subprocess.Popen(
        [BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def end() -> None:
        process.terminate()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)

    atexit.register(end)
    return process, profile


async def _address() -> str:
    """The WebSocket of the browser, which it writes down once it listens."""
    process, profile = _browser()
    told = profile / "DevToolsActivePort"
    async with asyncio.timeout(LONG):
        while not told.exists() or len(lines := told.read_text().splitlines()) < 2:
            assert process.poll() is None, "Chromium ended before it listened"
            await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
