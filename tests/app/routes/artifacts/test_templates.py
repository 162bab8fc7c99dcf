"""Templates come in, are listed, and become drafts."""

from pathlib import Path

import pytest

from app.bindings.assets import open_assets
from tests.support.samples.page_site import add_image, add_project, site
from tools import db
from tools.publishing.templates import template_key, whole_template

HTML = "<h1>{{TITLE}}</h1><img src='{{IMAGE_HERO}}'><p>{{TEXT}}</p>"


async def test_a_template_comes_in_once_and_is_listed(tmp_path: Path) -> None:
    """201 with its key and placeholders; the same again is the same; the list has it first, then what is packaged."""
    async with site(tmp_path) as (env, client):
        for _ in range(2):
            answer = await client.post("/api/templates", json={"name": "mine", "html": HTML})
            key = template_key("mine", HTML.encode())
            made = {"templateR2Key": key, "placeholders": ["TITLE", "IMAGE_HERO", "TEXT"]}
            assert (answer.status_code, answer.json()) == (201, made)
        assert await env.BUCKET.get(key) == HTML.encode()
        listed = (await client.get("/api/templates")).json()["items"]
        (mine,) = [one for one in listed if one["name"] == "mine"]
        assert {**made, "name": "mine", "kind": "upload", "size": len(HTML)}.items() <= mine.items()
        kinds = {one["name"]: one["kind"] for one in listed}
        assert kinds["lookbook"] == "generator" and "error" not in kinds and "gone" not in kinds
        assert {one["kind"] for one in listed if not one["fillable"]} == {"generator"}
        options = {one["name"]: one["options"] for one in listed}
        assert options["mine"] == [] and options["lookbook"][0] == {"name": "TITLE", "kind": "text", "choices": []}
        assert {"name": "THEME", "kind": "text", "choices": ["auto", "dark", "light"]} in options["lookbook"]
        examples = [one for one in listed if one["kind"] == "example"]
        assert len(examples) >= 3 and all(len(one["placeholders"]) >= 3 for one in examples)


async def test_a_template_written_on_windows_is_a_template(tmp_path: Path) -> None:
    """CRLF becomes LF in the template and in a page made from it, and a byte order mark is dropped; a lone carriage
    return is refused."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        html = "\ufeff<!doctype html>\r\n<title>T</title>\r\n<p>{{TEXT}}\r\n"
        key = (await client.post("/api/templates", json={"name": "mine", "html": html})).json()["templateR2Key"]
        assert await env.BUCKET.get(key) == html.replace("\r", "").strip().encode()
        body = {"templateR2Key": key, "projectIds": ["p"]}
        made = (await client.post("/api/artifacts", json=body)).json()
        await db.save_config(env, made["artifact_id"], "TEXT", "carafe")
        assert (await client.post(f"/api/artifacts/{made['artifact_id']}/regenerate")).status_code == 200
        page = (await client.get(f"/public/artifact/{made['public_slug']}")).text
        assert "<p>carafe" in page and "\ufeff" not in page
        assert (await client.post("/api/templates", json={"name": "mine", "html": "a\rb"})).status_code == 400


async def test_templates_are_listed_in_pages(tmp_path: Path) -> None:
    """`limit` and `nextCursor` lead through all of them, each once."""
    async with site(tmp_path) as (_, client):
        for n in range(5):
            await client.post("/api/templates", json={"name": f"t{n}", "html": "<p>x"})
        seen, cursor = list[str](), None
        while True:
            page = (
                await client.get("/api/templates", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
            ).json()
            seen += [one["templateR2Key"] for one in page["items"]]
            if (cursor := page["nextCursor"]) is None:
                break
        assert len(seen) == len(set(seen)) >= 8


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "a", "html": "x" * ((64 << 10) + 1)}, 413, "template_too_large"),
        ({"name": "a", "html": "é" * ((32 << 10) + 1)}, 413, "template_too_large"),
        ({"name": "a", "html": "<div>" * 101 + "</div>" * 101}, 422, "template_nesting"),
        ({"name": "a", "html": ""}, 400, "invalid_request"),
        ({"name": "a", "html": "a\x00b"}, 400, "invalid_request"),
        ({"name": "../a", "html": "x"}, 400, "invalid_request"),
        ({"name": "a/b", "html": "x"}, 400, "invalid_request"),
        ({"name": "a.html", "html": "x"}, 400, "invalid_request"),
        ({"name": "a" * 101, "html": "x"}, 400, "invalid_request"),
        ({"name": "é", "html": "x"}, 400, "invalid_request"),
        ({"html": "x"}, 400, "invalid_request"),
        ({"name": "a"}, 400, "invalid_request"),
        ({"name": "a", "html": "x", "kind": "example"}, 400, "invalid_request"),
    ],
)
async def test_what_is_no_template_is_refused(body: dict[str, str], status: int, code: str, tmp_path: Path) -> None:
    """Size, depth, signs and names are checked before anything is stored."""
    async with site(tmp_path) as (env, client):
        before = [stored.key async for stored in env.BUCKET.list("templates/")]
        answer = await client.post("/api/templates", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert [stored.key async for stored in env.BUCKET.list("templates/")] == before


async def test_a_draft_is_published_once_it_is_filled(tmp_path: Path) -> None:
    """An artifact of a template is 404 to the public and 422 to regenerate until every placeholder has a value; then
    its page has them, and the next one what was changed."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p", "Aurora")
        image = await add_image(env, "p", 1, prompt="a boat")
        key = (await client.post("/api/templates", json={"name": "mine", "html": HTML})).json()["templateR2Key"]
        answer = await client.post("/api/artifacts", json={"templateR2Key": key, "projectIds": ["p"]})
        row = answer.json()
        assert (answer.status_code, row["title"], row["version"]) == (201, "Aurora", 0)
        assert (row["template_r2_key"], row["generator_id"], row["content_r2_key"]) == (key, None, None)
        page, again = f"/public/artifact/{row['public_slug']}", f"/api/artifacts/{row['id']}/regenerate"
        assert (await client.get(page)).status_code == 404
        refused = await client.post(again)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unfilled")
        assert refused.json()["error"]["detail"] == {"missing": ["TITLE", "IMAGE_HERO", "TEXT"]}
        for name, value in {"TITLE": "Autumn <1>", "IMAGE_HERO": image.generated_image_url, "TEXT": "one"}.items():
            await db.save_config(env, row["id"], name, value)
        made = (await client.post(again)).json()
        assert (made["version"], made["public_slug"]) == (1, row["public_slug"])
        shown = await client.get(page)
        assert "<h1>Autumn &lt;1&gt;</h1>" in shown.text and image.generated_image_url in shown.text
        assert "style-src 'unsafe-inline'; " in shown.headers["content-security-policy"]
        assert shown.headers["content-security-policy"].endswith("sandbox")
        await db.save_config(env, row["id"], "TEXT", "two")
        assert (await client.post(again)).json()["version"] == 2
        assert "<p>two</p>" in (await client.get(page)).text
        assert (await client.post(again, json={"options": {"only": "passed"}})).status_code == 400


ZERO = "0" * 64
KEYS = (
    "",
    "x",
    "/",
    "templates/",
    "../templates/mine/{sha}.html",
    "templates/../templates/mine/{sha}.html",
    "templates/mine/../mine/{sha}.html",
    "templates/./mine/{sha}.html",
    "/templates/mine/{sha}.html",
    "//templates/mine/{sha}.html",
    "templates//mine/{sha}.html",
    "templates/mine/{sha}",
    "templates/mine/{sha}.HTML",
    "templates/mine/{sha}.html/",
    "templates/mine/{sha}.html\x00",
    "templates/mine/{sha}.html%00",
    "templates%2fmine%2f{sha}.html",
    "templates/%2e%2e/mine/{sha}.html",
    "templates\\mine\\{sha}.html",
    "file:///etc/passwd",
    "s3://bucket/templates/mine/{sha}.html",
    "http://127.0.0.1/templates/mine/{sha}.html",
    f"templates/mine/{ZERO}.html",
    "templates/other/{sha}.html",
    "project/p/jobs/job/orig/sketch-1",
    "project/p/uploads/{sha}",
    "artifacts/a/v1/index.html",
    "t" * 257,
)


@pytest.mark.parametrize("key", KEYS)
async def test_template_keys_cannot_roam(key: str, tmp_path: Path) -> None:
    """No key but that of a template can be read, and no answer reveals whether another object exists."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        await env.BUCKET.put("project/p/jobs/job/orig/sketch-1", b"{{SECRET}}", content_type="image/png")
        await client.post("/api/templates", json={"name": "mine", "html": HTML})
        named = key.replace("{sha}", template_key("mine", HTML.encode())[-69:-5])
        answer = await client.post("/api/artifacts", json={"templateR2Key": named, "title": "x", "projectIds": ["p"]})
        assert answer.status_code in (400, 404), answer.text
        assert "SECRET" not in answer.text
        assert (await client.get("/api/artifacts")).json()["items"] == []


async def test_a_generators_template_is_not_filled_by_hand(tmp_path: Path) -> None:
    """Its key is known, and the refusal names what to use instead."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        key = template_key("lookbook", whole_template(open_assets(), "lookbook.html"))
        answer = await client.post("/api/artifacts", json={"templateR2Key": key, "title": "x", "projectIds": ["p"]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_fillable")
        assert "generatorId lookbook" in answer.json()["error"]["message"]
