"""Pages of users' templates in headless Chromium, where one is installed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar, Response, get
from litestar.params import FromPath
from redis.asyncio import Redis

from app.bindings.assets import open_assets
from app.bindings.redis.token_bucket import TokenBuckets
from generators.shared import template_page
from tests.generators.shared.test_template_page import PLACES
from tests.generators.test_in_browser import loaded
from tests.support.browser import BINARY, Tab, open_tab
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.page_site import (
    add_image,
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
from tools.publishing import artifacts, template_html, templates
from tools.publishing.template_html import Image

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium is installed")
URL = "../../images/p-1/public"


def pages() -> dict[str, bytes]:
    """For each place all payloads in one page, and the payloads as templates, a few to a page."""
    found = {}
    for place, part in PLACES.items():
        template = template_html.read("".join(part.replace("X", f"X{n}") for n in range(len(PAYLOADS))))
        found[place] = rendered(template)
    for n in range(0, len(PAYLOADS), 7):
        found[f"template{n}"] = rendered(
            template_html.read("".join(f"<section>{p}</section>" for p in PAYLOADS[n : n + 7]))
        )
        found[f"attribute{n}"] = rendered(
            template_html.read("".join(f"<i title='{p}'>{p}</i>" for p in PAYLOADS[n : n + 7]))
        )
    for n, payload in enumerate(PAYLOADS):
        if "style" in payload.lower() or "evil" in payload:
            found[f"sheet{n}"] = rendered(template_html.read(f"<style>p{{color:red}} {payload} </style><p>{payload}"))
    return found


def rendered(template: template_html.Template) -> bytes:
    values = {f"X{n}": payload for n, payload in enumerate(PAYLOADS)}
    used = {name: values.get(name, "x") for name in template.placeholders if not template_html.is_image(name)}
    return template_page.render(template, "x", used, {"IMAGE_HERO": Image(URL, "a boat")}, {URL: URL})


@pytest.mark.soak
async def test_no_payload_runs_even_where_nothing_forbids_it() -> None:
    """Seventy payloads in nine places and as templates, served without any policy and with scripts on: no dialog,
    no foreign request, and no element that was not let in."""
    with free_listener() as (listener, here):
        written = {name: page.decode() for name, page in pages().items()}

        @get("/page/{name:str}")
        async def bare(name: FromPath[str]) -> Response[str]:
            return Response(written[name], media_type="text/html; charset=utf-8")

        app = Litestar([bare, paint], openapi_config=None, logging_config=None)
        known = {*template_page.TAGS, "html", "head", "meta", "title", "style", "body"}
        async with serving(app, listener), open_tab() as tab:
            for name in written:
                await tab.open(f"{here}/page/{name}")
                tags = await tab.evaluate("[...document.querySelectorAll('*')].map(e => e.localName)")
                assert set(tags) <= known, name
                handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
                assert not [one for one in await tab.evaluate(handlers) if one.startswith("on")]
            assert tab.dialogs == []
            assert [url for url in tab.requests if not url.startswith(f"{here}/")] == []


def rows(tab: Tab) -> list[str]:
    """The console's messages, without the favicon that Chromium requests by itself."""
    return [text for text in tab.complaints if not text.endswith("/favicon.ico")]


async def published(env: Env, name: str) -> str:
    """The slug of a packaged example, filled."""
    html = open_assets().read(name).decode()
    template = await templates.upload(env, "mine", html)
    row = artifacts.draft(generator_id=None, title="Autumn", owner_id="ada", options={})
    row = msgspec.structs.replace(row, template_r2_key=template.r2_key)
    await artifacts.create(env, row, ["p"])
    images = iter([image.generated_image_url for image in await db.get_images_for_project(env, "p")] * 9)
    for placeholder in template.placeholders:
        words = (
            "#b8431f" if placeholder == "ACCENT_COLOUR" else f"{placeholder.replace('_', ' ').capitalize()} of autumn"
        )
        await db.save_config(env, row.id, placeholder, next(images) if template_html.is_image(placeholder) else words)
    output = await template_page.fill(env, row, [], await db.get_choices(env, row.id))
    await artifacts.publish(env, row, output, ["p"])
    return row.public_slug


async def test_packaged_examples_are_whole_under_their_own_policy(tmp_path: Path) -> None:
    """Styles and delivery images load, nothing is complained about, and each page fits 390 and 1440 pixels."""
    names = [name for name in open_assets().names() if name.startswith("examples/")]
    with free_listener() as (listener, here):
        async with pages_env(tmp_path, environ={"PUBLIC_URL": here}) as env:
            await add_project(env, "p")
            for number in range(3):
                await add_image(env, "p", number, prompt="a boat")
            slugs = [await published(env, name) for name in names]
            async with serving(small_app(env), listener), open_tab() as tab:
                for slug in slugs:
                    for width in (390, 1440):
                        await tab.resize(width, 900)
                        await tab.open(f"{here}/public/artifact/{slug}")
                        assert await tab.evaluate("getComputedStyle(document.body).marginTop") == "0px"
                        assert await tab.fits()
                        assert all(natural > 0 and shown > 0 for natural, shown in await loaded(tab))
                assert (rows(tab), tab.dialogs) == ([], [])
                own = (f"{here}/images/", f"{here}/public/", f"{here}/favicon.ico")
                assert [url for url in tab.requests if not url.startswith(own)] == []


async def test_a_password_is_said_in_a_browser(tmp_path: Path, redis_client: Redis) -> None:
    """The form is sent under its own policy, a wrong password is asked for again, the right one shows the page, as one
    view."""
    with free_listener() as (listener, here):
        more: dict[str, Any] = {"environ": {"PUBLIC_URL": here}, "PICASSO_WORKFLOW": TokenBuckets(redis_client)}
        async with pages_env(tmp_path, **more) as env:
            await add_project(env, "p")
            await add_image(env, "p", 1)
            slug = await published(env, "examples/poster.html")
            app = small_app(env)
            async with client_of(app, base_url=here) as owner:
                artifact = (await owner.get("/api/artifacts")).json()["items"][0]
                await owner.put(f"/api/artifacts/{artifact['id']}/shares/main", json={"password": "late harvest"})
            async with serving(app, listener), open_tab() as tab:
                await tab.open(f"{here}/public/artifact/{slug}")
                for word, heading in (("wrong", "For invited eyes"), ("late harvest", "Title of autumn")):
                    await tab.submit(f"document.querySelector('input').value = '{word}'")
                    assert await tab.evaluate("document.querySelector('h1').textContent") == heading
