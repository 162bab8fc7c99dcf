"""A data directory that is opened under another address: pages, rows and policies follow, and nothing names the old."""

import contextlib
import hashlib
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

import httpx
import msgspec
import pytest

from app.routes import progressions, stream
from generators import registry
from tests.generators.test_every_generator import IDS, QUICK
from tests.support.samples import finished_project
from tests.support.samples.page_site import KEY, Outline, client_of, pages_env, small_app
from tools import db
from tools.actor_emit import append
from tools.env import Env
from tools.events import Complete
from tools.publishing import artifacts
from tools.publishing.artifacts import File, Output

POLICY = "content-security-policy"
OLD, NEW = "http://old.example:9000/once", "https://new.example/studio"
IMAGE = "0123456789abcdef0123456789abcdef"
EARLIER = (
    f'<!doctype html><p>{OLD} is our old place</p><img src="{OLD}/images/{IMAGE}/public" '
    f'srcset="{OLD}/images/{IMAGE}/w=480 480w, {OLD}/images/{IMAGE}/public 960w"><a href="{OLD}/public/artifact/SLUG">'
)
"""A page as versions before this wrote them."""


class Made(NamedTuple):
    """The data directory, and per kind its slug and what was generated at the old address."""

    home: Path
    slugs: dict[str, str]
    outputs: dict[str, Output]


class Moved(NamedTuple):
    """The copy, opened at the new address."""

    env: Env
    client: httpx.AsyncClient
    made: Made


async def generated(env: Env, id: str) -> Output:
    generator = registry.find(id)
    options = registry.decode_options(generator, QUICK.get(id, {}))
    draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="ada", options={})
    draft = msgspec.structs.replace(draft, id=hashlib.md5(id.encode()).hexdigest(), public_slug=id.rjust(32, "s"))
    return await generator.generate(env, draft, [await db.get_project(env, "p")], options)


@pytest.fixture(scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("moves") / "old"
    slugs, outputs = dict[str, str](), dict[str, Output]()
    async with pages_env(home, environ={"PUBLIC_URL": OLD}) as env:
        await finished_project.seed(env)
        for id in IDS:
            outputs[id] = await generated(env, id)
            draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="ada", options={})
            draft = msgspec.structs.replace(draft, public_slug=id.rjust(32, "s"))
            slugs[id] = (await artifacts.publish(env, draft, outputs[id], ["p"], session_id="s")).public_slug
        draft = artifacts.draft(generator_id="lookbook", title="Earlier", owner_id="ada", options={})
        page = File("index.html", EARLIER.replace("SLUG", draft.public_slug).encode(), "text/html; charset=utf-8")
        policy = f"default-src 'none'; img-src {OLD.removesuffix('/once')}; sandbox"
        row = await artifacts.publish(env, draft, Output(index=page, policy=policy), ["p"])
        slugs["earlier"] = row.public_slug
        async with env.DB.transaction() as tx:
            for url in (f"{OLD}/images/{IMAGE}/public", "/images/p-1/public", "https://x.example/images/p-1/public"):
                await append(tx, "s", [Complete(scope="item", generated_image_url=url)])
    return Made(home, slugs, outputs)


@contextlib.asynccontextmanager
async def opened(made: Made, home: Path, **environ: str) -> AsyncIterator[Moved]:
    shutil.copytree(made.home, home)
    async with pages_env(home, environ=environ) as env:
        app = small_app(env, *progressions.handlers, stream.list_events)
        base = env.settings.public_url
        async with client_of(app, f"{base}/") as client:
            yield Moved(env, client, made)


@pytest.fixture(scope="module")
async def moved(made: Made, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Moved]:
    async with opened(made, tmp_path_factory.mktemp("moves") / "new", PUBLIC_URL=NEW) as there:
        yield there


def links(answer: httpx.Response) -> Iterator[str]:
    """What a page or a JSON file leads to, as whole addresses."""
    if "json" in answer.headers["content-type"]:
        yield from re.findall(r'"(https?://[^"]+/(?:images|public)/[^"]+)"', answer.text)
        return
    for _, attributes in Outline(answer.text).elements:
        named = [attributes.get(key) or "" for key in ("src", "href", "poster")]
        named += [part.split()[0] for part in (attributes.get("srcset") or "").split(",") if part]
        yield from (urljoin(str(answer.url), one) for one in named if one and not one.startswith(("#", "data:")))


def traces(answer: httpx.Response) -> list[str]:
    """Where the old address still stands, but for the words of a person."""
    told = [answer.text.replace(f"{OLD} is our old place", ""), *answer.headers.values()]
    return [text[:300] for text in told if "old.example" in text]


@pytest.mark.parametrize("id", [*IDS, "earlier"])
async def test_a_page_and_all_it_leads_to_answer_at_the_new_address(id: str, moved: Moved) -> None:
    """The page, its version, and each file beside it: nothing names the old address, every link and picture answers
    at the new one, and the policy lets the pictures in."""
    page = f"{NEW}/public/artifact/{moved.made.slugs[id]}"
    beside = moved.made.outputs[id].beside if id != "earlier" else ()
    files = [f"{place}/files/{file.name}" for file in beside for place in (page, f"{page}/versions/1")]
    for url in (page, f"{page}/versions/1", *files):
        answer = await moved.client.get(url)
        assert answer.status_code == 200, url
        if not answer.headers["content-type"].startswith(("text/", "application/json")):
            assert b"old.example" not in answer.content, url
            continue
        assert traces(answer) == [], url
        for link in set(links(answer)):
            assert link.startswith(f"{NEW}/"), (url, link)
            assert (await moved.client.get(link)).status_code == 200, (url, link)
        if "/images/" in answer.text and "html" in answer.headers["content-type"]:
            assert "img-src 'self';" in answer.headers["content-security-policy"]


async def test_a_page_made_anew_has_the_same_bytes_wherever_it_is_made(moved: Moved) -> None:
    """Nothing that is stored depends on the address, so a later move is as good as the first."""
    for id in IDS:
        if id == "r2-archive-manifest":
            continue  # it lists the artifacts made since
        assert await generated(moved.env, id) == moved.made.outputs[id], id


async def test_rows_and_events_tell_the_new_address(moved: Moved) -> None:
    """Artifacts, versions, images and the log of a session, those that were written before the move too; an address
    that was never ours stays."""
    lookbook = (await moved.client.get("/api/artifacts")).json()["items"][-1]["id"]
    for path in (
        "/api/artifacts",
        f"/api/artifacts/{lookbook}",
        f"/api/artifacts/{lookbook}/versions",
        "/api/projects/p/progressions",
        "/api/progressions/p-0",
        "/api/sessions/s/events?limit=200",
    ):
        answer = await moved.client.get(path)
        assert answer.status_code == 200, path
        assert traces(answer) == [] and NEW in answer.text, path
    told = (await moved.client.get("/api/sessions/s/events?limit=200")).json()["items"]
    assert [event["data"]["generatedImageUrl"] for event in told[-3:]] == [
        f"{NEW}/images/{IMAGE}/public",
        f"{NEW}/images/p-1/public",
        "https://x.example/images/p-1/public",
    ]


async def test_images_that_moved_to_cloudflare_come_from_there(made: Made, tmp_path: Path) -> None:
    """Pages, rows and policies name its delivery instead of ours, with no page made anew."""
    delivery = {"IMAGES": "cloudflare://account/hash", "CLOUDFLARE_API_TOKEN": "t" * 40}
    async with opened(made, tmp_path / "flare", PUBLIC_URL="https://new.example", **delivery) as there:
        for id in ("lookbook", "prompt-lineage-map", "earlier"):
            answer = await there.client.get(f"/public/artifact/{made.slugs[id]}")
            shown = [link for link in links(answer) if "/images/" in link or "imagedelivery" in link]
            assert shown and all(re.fullmatch(r"https://imagedelivery\.net/hash/[\w-]+/public", one) for one in shown)
            assert "img-src 'self' https://imagedelivery.net;" in answer.headers["content-security-policy"]
            assert traces(answer) == []
        row = (await there.client.get("/api/progressions/p-0", headers={"X-Api-Key": KEY})).json()
        assert row["generated_image_url"] == "https://imagedelivery.net/hash/p-0/public"


async def test_a_link_is_told_with_title_description_and_picture(moved: Moved) -> None:
    """As Open Graph has them, whole addresses at the present place; the icon is ours. The files of an artifact are
    listed with the addresses that they answer at."""
    page = f"/public/artifact/{moved.made.slugs['lookbook']}"
    told = {
        (meta.get("property") or meta.get("name")): meta.get("content")
        for meta in Outline((await moved.client.get(page)).text).all("meta")
    }
    assert (told["og:title"], told["description"]) == ("Autumn", told["og:description"])
    assert str(told["og:image"]).startswith(f"{NEW}/images/p-") and str(told["og:image"]).endswith("/public")
    rows = (await moved.client.get("/api/artifacts?limit=100")).json()["items"]
    for row in rows:
        files = (await moved.client.get(f"/api/artifacts/{row['id']}")).json()["files"]
        assert files[0]["url"] == row["public_url"] and len({file["name"] for file in files}) == len(files)
        for file in files:
            answer = await moved.client.get(file["url"])
            assert answer.status_code == 200 and answer.headers["content-type"] == file["content_type"], file


async def test_pages_may_be_framed_by_those_that_the_settings_name(made: Made, tmp_path: Path) -> None:
    """EMBED_ORIGINS stands in the policy of every public page and file, whenever it was made."""
    async with opened(made, tmp_path / "frames", EMBED_ORIGINS="https://a.example, https://b.example:8443") as there:
        for id in ("lookbook", "review-board", "provider-benchmark", "walkthrough-reel"):
            for place in ("", "/versions/1"):
                policy = (await there.client.get(f"/public/artifact/{made.slugs[id]}{place}")).headers[POLICY]
                assert "frame-ancestors 'self' https://a.example https://b.example:8443" in policy, (id, place)


async def test_one_page_has_another_tag_where_its_links_differ(moved: Moved) -> None:
    """A cache may keep a page under its ETag: the version's links lead elsewhere than those of the main link."""
    page = f"/public/artifact/{moved.made.slugs['prompt-lineage-map']}"
    tags = {(await moved.client.get(url)).headers["etag"] for url in (page, f"{page}/versions/1")}
    assert len(tags) == 2
