"""What every generator promises. A new one is taken up by being there."""

import base64
import contextlib
import csv
import hashlib
import io
import itertools
import json
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from jsonschema import Draft202012Validator
from litestar import Litestar, Response, get
from litestar.params import FromPath

from generators import registry
from tests.support.browser import BINARY, Tab, open_tab
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples import finished_project
from tests.support.samples.page_site import (
    Outline,
    add_project,
    client_of,
    free_listener,
    pages_env,
    paint,
    serving,
    small_app,
)
from tools import db
from tools.env import Env
from tools.errors import Invalid
from tools.publishing import artifacts
from tools.publishing.artifacts import File, Output
from tools.rows import ArtifactRow

IDS = tuple(registry.known())
HTML = tuple(id for id in IDS if registry.find(id).output == "html")
TITLE = "Autumn at the lake"
WIDTHS = ((390, 844), (1440, 900))

QUICK: Mapping[str, dict[str, Any]] = {"walkthrough-reel": {"seconds": 0.6, "progressionIds": ["p-0", "p-4"]}}
"""Options for those that would take a minute with their own."""
TITLES = ("".join(PAYLOADS[:4])[:200], PAYLOADS[66], PAYLOADS[11])

ROOM = (
    "(() => { const inside = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)"
    " if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };"
    " const end = document.documentElement.clientWidth, sticksOut = e => e.getBoundingClientRect().right > end + 1;"
    " const out = [...document.body.querySelectorAll('*')].filter(e => sticksOut(e)"
    " && e.getBoundingClientRect().width > 1 && !inside(e)).map(e => e.outerHTML.slice(0, 90));"
    " return document.documentElement.scrollWidth > end ? ['the page', ...out] : out; })()"
)
"""What sticks out on the right, but for what scrolls within its own box."""
ATTACHED = re.compile(r"script|iframe|object|embed|base|link|frame|applet|form")


async def generate(env: Env, id: str, title: str = TITLE, project_id: str = "p") -> Output:
    return await generate_for(env, plan(id, title), project_id)


def plan(id: str, title: str) -> ArtifactRow:
    """An artifact whose id and slug are the same each time."""
    draft = artifacts.draft(generator_id=id, title=title, owner_id="default", options={})
    return msgspec.structs.replace(draft, id="a" * 32, public_slug="s" * 32, created_at=1, updated_at=1)


async def generate_for(env: Env, draft: ArtifactRow, project_id: str) -> Output:
    assert draft.generator_id is not None
    generator = registry.find(draft.generator_id)
    wishes = QUICK.get(generator.id, {}) if project_id == "p" else {}
    options = registry.decode_options(generator, wishes)
    return await generator.generate(env, draft, [await db.get_project(env, project_id)], options)


@contextlib.asynccontextmanager
async def seeded_env(
    home: Path, words: finished_project.Words = finished_project.plain, **more: Any
) -> AsyncIterator[Env]:
    async with pages_env(home, **more) as env:
        await finished_project.seed(env, words=words)
        await add_project(env, "empty", words("Nothing yet"))
        yield env


TALL = "Z" + "\u0301\u0489\u0334" * 300
"""One letter to a browser, and wider than a telephone."""


def hostile(first_prompt: str = "") -> finished_project.Words:
    """One payload after the other, for each field in turn."""
    payloads = itertools.cycle(PAYLOADS)
    return lambda text: first_prompt if first_prompt and text == finished_project.PROMPTS[0] else next(payloads)


def files(output: Output) -> Iterator[tuple[str, File]]:
    """Every file with the suffix of its name."""
    for file in (output.index, *output.beside):
        yield file.name.rpartition(".")[2], file


# -- readers that know nothing of the generators ----------------------------------------------------------------------


def read_html(data: bytes) -> Outline:
    outline = Outline(data.decode())
    assert data.startswith(b"<!doctype html>")
    names = [name for name, _ in outline.elements]
    assert "title" in names[: names.index("body")]
    assert outline.all("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "an id is there twice"
    anchors = {link["href"] for link in outline.all("a") if (link["href"] or "").startswith("#")}
    assert anchors <= {f"#{id}" for id in ids}
    assert all(image.get("alt") is not None and image["width"] and image["height"] for image in outline.all("img"))
    return outline


def read_json(data: bytes) -> object:
    return json.loads(data)


def read_csv(data: bytes) -> list[list[str]]:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    assert rows and len({len(row) for row in rows}) == 1
    return rows


def read_svg(data: bytes) -> ET.Element:
    root = ET.fromstring(data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return root


def read_pdf(data: bytes) -> bytes:
    assert data.startswith(b"%PDF-1.") and data.rstrip().endswith(b"%%EOF")
    return data


def read_mp4(data: bytes) -> list[bytes]:
    """The names of its outermost boxes (ISO/IEC 14496-12)."""
    at, names = 0, []
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        size = struct.unpack_from(">Q", data, at + 8)[0] if size == 1 else size
        assert 8 <= size <= len(data) - at
        names.append(name)
        at += size
    assert names[0] == b"ftyp" and {b"moov", b"mdat"} <= set(names)
    return names


def read_glb(data: bytes) -> dict[str, Any]:
    """Its scene (glTF 2.0, section 4.4)."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    scene: dict[str, Any] = json.loads(data[20 : 20 + size])
    assert scene["asset"]["version"] == "2.0"
    return scene


def read_picture(data: bytes) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        picture.load()


def read_python(data: bytes) -> None:
    compile(data, "script.py", "exec")


READERS: Mapping[str, Callable[[bytes], object]] = {
    "html": read_html,
    "json": read_json,
    "csv": read_csv,
    "svg": read_svg,
    "pdf": read_pdf,
    "mp4": read_mp4,
    "glb": read_glb,
    "png": read_picture,
    "jpg": read_picture,
    "webp": read_picture,
    "py": read_python,
}
ENDINGS = {"html": "html", "json": "json", "csv": "csv", "pdf": "pdf", "video": "mp4", "3d": "glb"}
"""What the index of each kind of output ends in."""


# -- the promises ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", IDS)
def test_the_options_are_a_bounded_schema(id: str) -> None:
    """JSON Schema in camelCase that refuses unknown fields and in which every text, list and number has an end."""
    schema = registry.options_schema(registry.find(id))
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid({})
    assert not Draft202012Validator(schema).is_valid({"nothingOfTheKind": 1})
    with pytest.raises(Invalid):
        registry.decode_options(registry.find(id), {"nothingOfTheKind": 1})
    for part in parts_of(schema):
        assert all(re.fullmatch(r"[a-z][A-Za-z0-9]*", name) for name in part.get("properties", {}))
        match part.get("type"):
            case "string":
                assert {"enum", "maxLength", "pattern"} & set(part), part
            case "array":
                assert "maxItems" in part, part
            case "integer" | "number":
                assert "maximum" in part and "minimum" in part, part
            case "object" if "properties" in part:
                assert part["additionalProperties"] is False, part


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and all schemas within it."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts_of(inner)


@pytest.mark.parametrize("id", IDS)
async def test_it_opens_and_is_the_same_again(id: str, tmp_path: Path) -> None:
    """Every file opens with a reader of its format, the same image versions give the same bytes, and the output is in
    BUCKET under the row's key and served under the public link, with its policy."""
    async with seeded_env(tmp_path) as env:
        first, second = await generate(env, id), await generate(env, id)
        assert first == second
        assert first.index.name == f"index.{ENDINGS[registry.find(id).output]}"
        assert set(first.progression_ids) <= {f"p-{n}" for n in range(11)}
        for ending, file in files(first):
            assert re.fullmatch(r"[A-Za-z0-9._-]+", file.name)
            READERS[ending](file.data)
        if id in HTML:
            assert TITLE in Outline(first.index.data.decode()).text
        row = await artifacts.publish(env, plan(id, TITLE), first, ["p"])
        assert row.content_r2_key is not None and row.version == 1
        assert await env.BUCKET.get(row.content_r2_key) == first.index.data
        async with client_of(small_app(env)) as client:
            answer = await client.get(artifacts.public_url(env, row))
        # What other programs read in the head is whole; everything else is as it is stored.
        here = f'content="{env.settings.public_url}/images/'.encode()
        assert (answer.status_code, answer.content.replace(here, b'content="../../images/')) == (200, first.index.data)
        assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("id", IDS)
async def test_a_project_without_images_is_no_failure(id: str, tmp_path: Path) -> None:
    """The output is valid and states that there is nothing yet, or the answer is a clear 422."""
    async with seeded_env(tmp_path) as env:
        try:
            output = await generate(env, id, project_id="empty")
        except Invalid as error:
            assert error.status == 422
            assert "image" in str(error)
            return
        assert output.progression_ids == ()
        for ending, file in files(output):
            READERS[ending](file.data)
        if registry.find(id).output == "html":
            assert re.search(r"no images? .*yet|has no images", Outline(output.index.data.decode()).text)


@pytest.mark.parametrize("id", IDS)
async def test_hostile_words_are_words(id: str, tmp_path: Path) -> None:
    """With payloads for titles, prompts, tags, notes, criteria, tips and models every page has nothing
    active but the scripts its policy names, no address but its own, and every other file still opens."""
    async with seeded_env(tmp_path, words=hostile()) as env:
        for title in TITLES if id in HTML else TITLES[:1]:
            output = await generate(env, id, title=title)
            for ending, file in files(output):
                opened = READERS[ending](file.data)
                if isinstance(opened, Outline):
                    assert any(payload in opened.text for payload in PAYLOADS)
                    inert(file.data, opened, output.policy, env.settings.public_url)
                if isinstance(opened, ET.Element):
                    inert_drawing(opened, env.settings.public_url)


def inert(data: bytes, outline: Outline, policy: str | None, here: str) -> None:
    scripts = re.findall(rb"<script[^>]*>(.*?)</script", data, re.DOTALL)
    assert len(outline.all("script")) == len(scripts)
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
        assert policy is not None and f"'sha256-{digest}'" in policy
    for name, attributes in outline.elements:
        icon = name == "link" and attributes == {"rel": "icon", "href": "../../assets/favicon.svg"}
        form = name == "form" and "action" not in attributes
        assert not ATTACHED.fullmatch(name) or name == "script" or form or icon
        assert name != "meta" or "http-equiv" not in attributes
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "srcdoc", "formaction")]
        for key in ("href", "src", "xlink:href", "poster", "data"):
            assert own(attributes.get(key) or "", here), (name, attributes)
        for source in (attributes.get("srcset") or "").split(","):
            assert own(source.strip().partition(" ")[0], here)


def inert_drawing(root: ET.Element, here: str) -> None:
    for element in root.iter():
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "iframe", "animate", "set")
        for key, value in element.attrib.items():
            name = key.rpartition("}")[2]
            assert not name.startswith("on")
            assert name != "href" or own(value, here)


def own(address: str, here: str) -> bool:
    """Whether it leads to this place: absolute under its origin, or a path, a query or a fragment."""
    parts = urlsplit(address)
    return address.startswith(f"{here}/") if parts.scheme or parts.netloc else not address.startswith(("//", "\\"))


# -- in a browser ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")
@pytest.mark.timeout(180)
async def test_pages_are_whole_in_a_browser(tmp_path: Path) -> None:
    """Under its own policy each page loads its images, logs no error, requests nothing from other hosts, works by
    keyboard, and has nothing off-screen on a telephone and on a desktop; also when it is empty."""
    with free_listener() as (listener, here):
        async with (
            seeded_env(tmp_path, environ={"PUBLIC_URL": here}) as env,
            serving(small_app(env), listener),
            open_tab() as tab,
        ):
            for id in HTML:
                url = await published(env, id, "p")
                for width, height in WIDTHS:
                    await look(tab, url, width, height)
                    assert await shown_images(tab), id
                await tab.press("Tab")
                assert await tab.evaluate("document.activeElement !== document.body"), id
                await look(tab, await published(env, id, "empty"), *WIDTHS[0])
                assert complaints(tab) == [], id
                assert tab.dialogs == []
                assert [url for url in tab.requests if not url.startswith((f"{here}/", "data:"))] == [], id


@pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")
@pytest.mark.timeout(180)
async def test_no_payload_runs_in_a_browser(tmp_path: Path) -> None:
    """Pages full of payloads, served without any policy and with scripts on: no dialog, no foreign request, and
    not even words that cannot be parted push anything off a telephone's screen."""
    with free_listener() as (listener, here):
        async with seeded_env(tmp_path, words=hostile(TALL), environ={"PUBLIC_URL": here}) as env:
            pages = {id: (await generate(env, id, title=PAYLOADS[n])).index.data for n, id in enumerate(HTML)}

            @get("/bare/{id:str}")
            async def bare(id: FromPath[str]) -> Response[bytes]:
                return Response(pages[id], media_type="text/html; charset=utf-8")

            app = Litestar([bare, paint], openapi_config=None, logging_config=None)
            async with serving(app, listener), open_tab() as tab:
                for id in HTML:
                    await look(tab, f"{here}/bare/{id}", *WIDTHS[0])
                    await shown_images(tab)
                    assert await tab.evaluate("document.title.length") > 0
                    assert tab.dialogs == [], id
                    assert [url for url in tab.requests if not url.startswith((f"{here}/", "data:"))] == [], id


async def published(env: Env, id: str, project_id: str) -> str:
    """The public link."""
    draft = artifacts.draft(generator_id=id, title=TITLE, owner_id="default", options={})
    output = await generate_for(env, draft, project_id)
    return artifacts.public_url(env, await artifacts.publish(env, draft, output, [project_id]))


async def look(tab: Tab, url: str, width: int, height: int) -> None:
    await tab.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
    )
    await tab.open(url)
    assert await tab.evaluate(ROOM) == [], (url, width)


async def shown_images(tab: Tab) -> bool:
    """Ask for every image; whether all of them came."""
    return bool(
        await tab.evaluate(
            "Promise.all([...document.images].map(async i => { i.loading = 'eager'; await i.decode().catch(() => 0);"
            " return i.naturalWidth > 0; })).then(all => all.every(Boolean))"
        )
    )


def complaints(tab: Tab) -> list[str]:
    """The console's messages, without the favicon that Chromium requests by itself and without requests below the
    page's own link, such as the tally of a board, whose routes are not served here."""
    return [text for text in tab.complaints if not re.search(r"/favicon\.ico$|/public/artifact/[^/]+/[a-z/]+$", text)]
