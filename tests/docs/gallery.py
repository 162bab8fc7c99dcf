"""The pictures in `templates/gallery/`: `python -m tests.docs.gallery [ID …]` makes all of them anew, or those named.

A server of its own paints a project with `sketch` and a guest provider, `tests/support/guests/print_shop.py`, judges it
with the built-in judge and makes every kind of artifact; each is photographed as its readers see it, and nothing is
retouched. Three of the photographs, side by side, open README. Paintings are the same each time, dates and measured
times are not. It needs Chromium, pypdfium2 and a few minutes; `python -m tests.docs.gallery strip` composes the strip
from the pictures that are there.
"""

import asyncio
import base64
import csv
import html
import io
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from PIL import Image

from generators import registry
from tests.support.browser import Tab, open_tab
from tests.support.servers.picasso import running

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "templates" / "gallery"
WINDOW, PICTURE = (1200, 750), (720, 450)
"""What is photographed and what is kept of it, in pixels."""
STRIP = "strip"
STRIP_IDS, STRIP_HEIGHT, STRIP_GAP = ("moodboard", "exhibition", "review-board"), 300, 12
"""The picture that opens README: these kinds in a row, with the height of each and the gap between two in pixels."""
MOST_BYTES, MOST_ALTOGETHER = 60_000, 900_000

TITLE = "Nordic light"
PROJECT = {"name": TITLE, "description": "Key visuals for the autumn campaign of a small ferry line."}
SKETCH = "sketch"
FOUR, TWO = ({"provider": "linocut", "model": model} for model in ("four-inks", "two-inks"))
WIDE, TALL, SQUARE = "1536x1024", "1024x1536", "1024x1024"
ALL = [SKETCH, FOUR, TWO]
JOBS: Sequence[Mapping[str, Any]] = (
    {
        "prompt": "A red sailing boat on a calm turquoise fjord, snowy mountains behind, morning light",
        "size": WIDE,
        "seed": 8,
        "providers": ALL,
    },
    {
        "prompt": "A white lighthouse on a cliff at dusk, deep blue sea and an orange sky, dramatic",
        "size": TALL,
        "seed": 7,
        "providers": ALL,
    },
    {
        "prompt": "A red cabin in a snowy pine forest at night, deep blue sky, stars, cosy",
        "size": WIDE,
        "seed": 7,
        "providers": ALL,
    },
    {
        "prompt": "A woman in a crimson coat, portrait, teal background, soft light",
        "size": TALL,
        "seed": 7,
        "providers": [SKETCH, FOUR],
        "variants": 2,
    },
    {
        "prompt": "A blue cup of coffee on a wooden table, soft morning light, warm tones",
        "size": SQUARE,
        "seed": 7,
        "providers": [SKETCH, FOUR],
    },
    {
        "prompt": "A hiker in an orange jacket on a mountain ridge above a sea of fog, golden hour",
        "size": WIDE,
        "seed": 7,
        "providers": [SKETCH],
        "variants": 2,
    },
    {"prompt": "A cherry tree in blossom by a river, pastel, spring", "size": SQUARE, "seed": 8, "providers": [SKETCH]},
)
EDITS = (
    (1, "edit", "The same lighthouse in winter, snow, cool tones"),
    (1, "variation", "A white lighthouse on a cliff, deep violet sea, pink sunset sky"),
    (2, "edit", "The same cabin at dawn, pastel pink sky"),
)
"""A job whose first image is worked on, how, and with which words; each goes on from the one before of that job."""
OPTIONS: Mapping[str, dict[str, Any]] = {
    "knowledge-pack": {"minImages": 1},
    "storyboard": {"seconds": 4},
    "slideshow": {"seconds": 8},
    "moodboard": {"most": 12},
    "walkthrough-reel": {"seconds": 1.2},
    "r2-archive-manifest": {"verify": True},
}
VOTES = (("yes", "yes", "yes", "maybe"), ("yes", "maybe", "no"), ("yes", "yes", "maybe"), ("no", "maybe"))
COMMENTS = (
    (0, "Ana", "More air above the sail, please: the headline goes there.", 0.68, 0.2),
    (0, "Jonas", "The red is exactly our red.", 0.55, 0.68),
    (1, "Ana", "Could work for the tram shelters.", 0.5, 0.4),
)


class Made(NamedTuple):
    """An artifact: its page, its index, and where its files lie."""

    url: str
    data: bytes
    files: str


PAINTED = (
    "[...document.images].filter(image => { const box = image.getBoundingClientRect();"
    " return box.width && box.bottom > 0 && box.top < innerHeight })"
    ".every(image => image.complete && image.naturalWidth)"
)
"""Whether all images that are in the window have come."""

Photograph = Callable[[Tab, Made], Awaitable[Image.Image]]


async def make_pictures(ids: Sequence[str]) -> None:
    """Effect: the files of these kinds in `templates/gallery/` are written anew."""
    guests = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support" / "guests")])
    with tempfile.TemporaryDirectory() as home:
        async with running(Path(home), PYTHONPATH=guests) as server, server.client(**server.headers) as client:
            project = await _paint_project(client)
            for id in ids:
                made = await _make(client, project, id)
                async with open_tab() as tab:
                    picture = await PHOTOGRAPHS.get(id, photograph_page)(tab, made)
                _write(id, picture.convert("RGB").resize(PICTURE, Image.Resampling.LANCZOS, reducing_gap=3))
                print(id, flush=True)


async def _paint_project(client: httpx.AsyncClient) -> str:
    """The project, with all images judged, and the versions that were made from others."""
    project = str((await _post(client, "/api/projects", PROJECT))["id"])
    newest: dict[int, str] = {}
    for number, job in enumerate(JOBS):
        newest[number] = await _run(client, project, {"sessionId": "gallery", **job})
    for number, kind, prompt in EDITS:
        wishes = {"startImageUrl": f"progression:{newest[number]}", "parentProgressionId": newest[number]}
        job = {"prompt": prompt, "kind": kind, "providers": [SKETCH], "sessionId": "gallery", "seed": 9, **wishes}
        newest[number] = await _run(client, project, job)
    return project


async def _run(client: httpx.AsyncClient, project: str, job: Mapping[str, Any]) -> str:
    """Do the job and return the id of its first image."""
    accepted = await _post(client, f"/api/projects/{project}/jobs", job)
    async with asyncio.timeout(300):
        while True:
            found = (await client.get(f"/api/jobs/{accepted['jobId']}")).json()
            if found["status"] not in ("queued", "running"):
                assert found["status"] == "complete", found
                return str(found["items"][0]["progressionId"])
            await asyncio.sleep(0.2)


async def _make(client: httpx.AsyncClient, project: str, id: str) -> Made:
    wishes = {"generatorId": id, "projectIds": [project], "title": TITLE, "options": OPTIONS.get(id, {})}
    answer = await client.post("/api/artifacts", json=wishes, headers={"Prefer": "respond-async"})
    assert answer.is_success, answer.text
    artifact = str(answer.json()["artifact_id"])
    async with asyncio.timeout(600):
        while (row := (await client.get(f"/api/artifacts/{artifact}")).json())["version"] < 1:
            assert row["render"] is None or row["render"]["status"] != "failed", row
            await asyncio.sleep(0.5)
    if id in ("review-board", "voting-deck"):
        await _speak(client, project, row)
    page = await client.get(row["public_url"])
    assert page.status_code == 200, page.text
    return Made(row["public_url"], page.content, f"{row['public_url']}/files")


async def _speak(client: httpx.AsyncClient, project: str, board: Mapping[str, Any]) -> None:
    """Open the board and let guests say what they think of its first images."""
    await _post(client, f"/api/artifacts/{board['artifact_id']}/board", {"open": True})
    newest = (await client.get(f"/api/projects/{project}/progressions", params={"limit": 200})).json()["items"]
    images = [image["id"] for image in reversed(newest)]
    for guest in range(4):
        async with httpx.AsyncClient(base_url=board["public_url"], trust_env=False) as page:
            if board["generator_id"] == "voting-deck":
                votes = [(image, of[guest]) for image, of in zip(images, VOTES, strict=False) if guest < len(of)]
                for image, choice in votes:
                    await _post(page, "/votes", {"progressionId": image, "choice": choice})
            elif guest == 0:
                for place, name, text, x, y in COMMENTS:
                    said = {"progressionId": images[place], "text": text, "name": name, "x": x, "y": y}
                    await _post(page, "/comments", said)
                await _post(page, "/approvals", {"progressionId": images[0], "verdict": "approve", "name": "Ana"})


async def _post(client: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.is_success, answer.text
    return dict(answer.json())


# -- photographs ------------------------------------------------------------------------------------------------------


async def photograph_page(tab: Tab, made: Made, prepare: str = "0", path: str = "") -> Image.Image:
    """The page as it opens, after an expression has been run in it."""
    await _open(tab, made.url + path)
    await tab.evaluate(prepare)
    return await _shoot(tab)


async def _open(tab: Tab, url: str) -> None:
    width, height = WINDOW
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    await tab.call("Emulation.setEmulatedMedia", features=still)
    await tab.open(url)


async def _shoot(tab: Tab) -> Image.Image:
    async with asyncio.timeout(300):
        while not await tab.evaluate(PAINTED):
            await asyncio.sleep(0.2)
    await tab.evaluate("Promise.all([...document.images].filter(i => i.complete).map(i => i.decode().catch(() => 0)))")
    await tab.evaluate("Promise.all(document.getAnimations().map(moving => moving.finished.catch(() => 0)))")
    shot = await tab.call("Page.captureScreenshot", format="png")
    return Image.open(io.BytesIO(base64.b64decode(shot["data"])))


def scrolled_to(selector: str) -> Photograph:
    """The page with that element at the top."""
    scroll = f"document.querySelector({json.dumps(selector)}).scrollIntoView({{behavior: 'instant'}})"
    return lambda tab, made: photograph_page(tab, made, scroll)


async def photograph_slide(tab: Tab, made: Made) -> Image.Image:
    """What the first press of a key brings."""
    await _open(tab, made.url)
    await tab.press("ArrowRight")
    return await _shoot(tab)


async def photograph_companion(tab: Tab, made: Made) -> Image.Image:
    """The page beside a table."""
    return await photograph_page(tab, made, path="/files/index.html")


async def photograph_pdf(tab: Tab, made: Made) -> Image.Image:
    """The cover and the first page of an image, side by side."""
    import pypdfium2

    document = pypdfium2.PdfDocument(made.data)
    pages = [document[number].render(scale=1.2).to_pil() for number in (0, 3)]
    desk = Image.new("RGB", WINDOW, "#c9c6c0")
    for place, page in enumerate(pages):
        page.thumbnail((WINDOW[0] // 2 - 60, WINDOW[1] - 60))
        desk.paste(page, ((WINDOW[0] // 4) * (1 + 2 * place) - page.width // 2, (WINDOW[1] - page.height) // 2))
    return desk


async def photograph_film(tab: Tab, made: Made) -> Image.Image:
    """Four moments: the title, and three images with their captions."""
    import av

    with av.open(io.BytesIO(made.data), "r") as film:
        frames: list[Image.Image] = [frame.to_image() for frame in film.decode(video=0)]  # type: ignore[no-untyped-call]
    moments = [frames[round(len(frames) * at)] for at in (0.04, 0.3, 0.5, 0.86)]
    sheet = Image.new("RGB", WINDOW, "black")
    for place, moment in enumerate(moments):
        moment = moment.resize((WINDOW[0] // 2 - 6, round((WINDOW[0] // 2 - 6) * moment.height / moment.width)))
        sheet.paste(moment, ((place % 2) * (WINDOW[0] // 2 + 6), (place // 2) * (WINDOW[1] // 2 + 3) + 16))
    return sheet


async def photograph_rooms(tab: Tab, made: Made) -> Image.Image:
    """What stands before the camera at the entrance."""
    from tests.support.files.glb_renderer import draw

    return draw(made.data, WINDOW)


async def photograph_lines(tab: Tab, made: Made) -> Image.Image:
    """The head of a file, in a plain viewer."""
    return await _typeset(tab, f"<pre>{html.escape(made.data.decode()[:6000])}</pre>")


async def photograph_table(tab: Tab, made: Made) -> Image.Image:
    """The head of a table, in a plain viewer."""
    rows = list(csv.reader(io.StringIO(made.data.decode())))[:24]
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return await _typeset(tab, f"<table>{cells}</table>")


async def _typeset(tab: Tab, body: str) -> Image.Image:
    style = (
        "body { margin: 28px 32px; font: 17px/1.55 'DejaVu Sans Mono', monospace; color: #1d1b18; background: #faf8f4 }"
        "pre { margin: 0 } table { border-collapse: collapse; white-space: nowrap; font-size: 14px }"
        "td { padding: 4px 14px 4px 0; border-bottom: 1px solid #ded8cc; max-width: 300px; overflow: hidden;"
        " text-overflow: ellipsis } tr:first-child { font-weight: bold }"
    )
    page = f"<!doctype html><meta charset=utf-8><style>{style}</style>{body}"
    await _open(tab, "data:text/html;base64," + base64.b64encode(page.encode()).decode())
    return await _shoot(tab)


PHOTOGRAPHS: Mapping[str, Photograph] = {
    "compare-deck": scrolled_to(".slide"),
    "exhibition": photograph_rooms,
    "knowledge-pack": photograph_lines,
    "provider-benchmark": photograph_companion,
    "prompt-lineage-map": scrolled_to("main"),
    "r2-archive-manifest": photograph_table,
    "review-board": scrolled_to("main"),
    "seed-replay-script": photograph_lines,
    "slideshow": photograph_slide,
    "stakeholder-pdf": photograph_pdf,
    "voting-deck": scrolled_to("main"),
    "walkthrough-reel": photograph_film,
}


def compose_strip() -> None:
    """Effect: `templates/gallery/strip.webp` is written anew from the pictures of `STRIP_IDS`."""
    width = PICTURE[0] * STRIP_HEIGHT // PICTURE[1]
    strip = Image.new("RGB", strip_size(), "white")
    for place, id in enumerate(STRIP_IDS):
        with Image.open(FOLDER / f"{id}.webp") as picture:
            small = picture.convert("RGB").resize((width, STRIP_HEIGHT), Image.Resampling.LANCZOS)
            strip.paste(small, (place * (width + STRIP_GAP), 0))
    _write(STRIP, strip)


def strip_size() -> tuple[int, int]:
    """Width and height of the strip in pixels."""
    number, width = len(STRIP_IDS), PICTURE[0] * STRIP_HEIGHT // PICTURE[1]
    return number * width + (number - 1) * STRIP_GAP, STRIP_HEIGHT


def _write(name: str, picture: Image.Image) -> None:
    """Write it as WebP, as good as `MOST_BYTES` allows."""
    for quality in range(88, 30, -4):
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=6)
        if len(file.getvalue()) <= MOST_BYTES:
            break
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.webp").write_bytes(file.getvalue())


if __name__ == "__main__":
    if sys.argv[1:] != [STRIP]:
        asyncio.run(make_pictures(sys.argv[1:] or list(registry.known())))
    compose_strip()
