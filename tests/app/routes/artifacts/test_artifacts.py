from pathlib import Path
from typing import Any

import pytest

from tests.support.samples.page_site import KEY, Line, add_image, add_project, client_of, publish, site, small_app
from tools import db
from tools.publishing.views import write_views


async def test_a_lookbook_is_made_by_the_long_and_by_the_short_way(tmp_path: Path) -> None:
    """POST /api/artifacts answers 201 with the row, the shortcut 201 with id and slug; both pages answer at once."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p", "Aurora")
        await add_image(env, "p", 1, judgment="pass")
        row = await publish(client, "p", title="  Autumn  ", options={"only": "passed"}, ownerId="ada")
        assert (row["title"], row["owner_id"], row["generator_id"]) == ("Autumn", "ada", "lookbook")
        assert (row["version"], row["options"], row["artifact_id"]) == (1, {"only": "passed"}, row["id"])
        assert row["public_url"].endswith(f"/public/artifact/{row['public_slug']}")
        bodies: list[dict[str, Any]] = [{}, {"json": {}}, {"json": {"title": "Autumn"}}]
        for body in bodies:
            answer = await client.post("/api/projects/p/artifacts/lookbook", **body)
            assert answer.status_code == 201
            assert answer.json().keys() == {"artifact_id", "public_slug"}
            page = await client.get(f"/public/lookbook/{answer.json()['public_slug']}")
            title = "Autumn" if body.get("json") else "Aurora"
            assert (page.status_code, f'property="og:title" content="{title}' in page.text) == (200, True)


async def test_an_artifact_shows_its_projects_and_its_configuration(tmp_path: Path) -> None:
    """GET gives the row with both; without a title it bears the names of its projects."""
    async with site(tmp_path) as (env, client):
        for id in ("p", "q"):
            await add_project(env, id, f"Project {id}")
        row = await publish(client, "q", "p", "q")
        await env.DB.run("INSERT INTO artifact_configurations VALUES (:id, 'TITLE', 'Autumn', NULL)", id=row["id"])
        shown = (await client.get(f"/api/artifacts/{row['id']}")).json()
        assert shown["title"] == "Project q, Project p"
        assert (shown["project_ids"], shown["configuration"]) == (["p", "q"], {"TITLE": "Autumn"})
        assert shown["options"] == {} and isinstance(shown["created_at"], int)


async def test_what_a_chat_chose_is_regenerated_until_options_are_given(tmp_path: Path) -> None:
    """Without options of its own a regeneration takes the choices; options that are given take their place."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        await add_image(env, "p", 1)
        row = await publish(client, "p", title="Old", options={"only": "failed"})
        for key, value in (("TITLE", "Autumn"), ("IMAGES", "p-1"), ("ONLY", ""), ("THEME", "dark")):
            await db.save_config(env, row["id"], key, value)
        path = f"/api/artifacts/{row['id']}/regenerate"
        made = (await client.post(path)).json()
        assert (made["title"], made["options"]) == ("Autumn", {"progressionIds": ["p-1"], "theme": "dark"})
        assert '<meta name="color-scheme" content="dark">' in (await client.get(made["public_url"])).text
        made = (await client.post(path, json={"options": {"only": "passed"}})).json()
        assert made["options"] == {"only": "passed"}
        assert (await client.post(path)).json()["options"] == {"only": "passed"}


async def test_projects_are_associated_by_one_or_by_many(tmp_path: Path) -> None:
    """`projectId` and `projectIds` both work, repeating is harmless, and neither is 422."""
    async with site(tmp_path) as (env, client):
        for id in ("p", "q", "r"):
            await add_project(env, id)
        path = f"/api/artifacts/{(await publish(client, 'p'))['id']}/associate"
        for body in ({"projectId": "q"}, {"projectId": "q", "projectIds": ["p", "r", "r"]}):
            answer = await client.post(path, json=body)
            assert answer.status_code == 200
        assert answer.json()["project_ids"] == ["p", "q", "r"]
        assert (await client.post(path, json={})).status_code == 422
        assert (await client.post(path, json={"projectId": "nowhere"})).status_code == 404


async def test_artifacts_are_listed_from_the_newest_in_pages(tmp_path: Path) -> None:
    """`limit` and `nextCursor` lead through all of them."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        made = [(await publish(client, "p", title=str(n)))["id"] for n in range(5)]
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 2}
        while "cursor" not in query or query["cursor"]:
            page = (await client.get("/api/artifacts", params=query)).json()
            seen += [row["id"] for row in page["items"]]
            query["cursor"] = page["nextCursor"]
        assert sorted(seen) == sorted(made) and len(seen) == 5


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"generatorId": "lookbook", "projectIds": ["nowhere"]}, 404, "not_found"),
        ({"generatorId": "zine", "projectIds": ["p"]}, 404, "unknown_generator"),
        ({"generatorId": "lookbook", "projectIds": []}, 400, "invalid_request"),
        ({"generatorId": "lookbook", "projectIds": ["p"] * 51}, 400, "invalid_request"),
        ({"generatorId": "lookbook", "projectIds": ["p"], "options": {"only": "some"}}, 400, "invalid_request"),
        (
            {"generatorId": "lookbook", "projectIds": ["p"], "options": {"progressionIds": ["q-1"]}},
            422,
            "foreign_image",
        ),
        ({"generatorId": "lookbook", "projectIds": ["p"], "title": "x" * 201}, 400, "invalid_request"),
        ({"templateR2Key": "templates/x.html", "title": "x", "projectIds": ["p"]}, 404, "not_found"),
        ({"title": "x", "projectIds": ["p"]}, 400, "invalid_request"),
        ({"generatorId": "lookbook", "projectIds": ["p"], "templateR2Key": "t"}, 400, "invalid_request"),
    ],
)
async def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    body: dict[str, object], status: int, code: str, tmp_path: Path
) -> None:
    """The one error shape, and neither a row nor an object of the artifact."""
    async with site(tmp_path) as (env, client):
        for id in ("p", "q"):
            await add_project(env, id)
        await add_image(env, "q", 1)
        answer = await client.post("/api/artifacts", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert (await client.get("/api/artifacts")).json()["items"] == []
        assert [stored.key async for stored in env.BUCKET.list("artifacts/")] == []


async def test_generators_are_listed_with_the_schema_of_their_options(tmp_path: Path) -> None:
    """What exists, under its id, with what its options may be."""
    async with site(tmp_path) as (_, client):
        (lookbook,) = [one for one in (await client.get("/api/generators")).json()["items"] if one["id"] == "lookbook"]
        assert (lookbook["name"], lookbook["output"], lookbook["configured"]) == ("Lookbook", "html", True)
        assert "only" in lookbook["options"]["$defs"]["LookbookOptions"]["properties"]


async def test_views_are_summed_up(tmp_path: Path) -> None:
    """GET …/views counts what the consumer wrote; an unknown artifact is 404."""
    async with site(tmp_path) as (env, client):
        await add_project(env, "p")
        row = await publish(client, "p")
        for country in ("NZ", "NZ", "DE"):
            await client.get(f"/public/artifact/{row['public_slug']}", headers={"CF-IPCountry": country})
        assert isinstance(env.PICASSO_QUEUE, Line)
        await write_views(env, env.PICASSO_QUEUE.messages)
        told = (await client.get(f"/api/artifacts/{row['id']}/views")).json()
        # The client is no trusted proxy, so its word about a country is not taken.
        assert told["total"] == 3 and told["byCountry"] == [{"country": "unknown", "views": 3}]
        assert [day["views"] for day in told["byDay"]] == [3]
        assert (await client.get("/api/artifacts/nowhere/views")).status_code == 404


async def test_writing_needs_the_key_and_reading_needs_it_when_told_so(tmp_path: Path) -> None:
    """POSTs without the key are 401; READS_NEED_KEY closes the GETs too, never the public pages."""
    async with site(tmp_path, environ={"READS_NEED_KEY": "true"}) as (env, client):
        await add_project(env, "p")
        slug = (await publish(client, "p"))["public_slug"]
        async with client_of(small_app(env)) as stranger:
            del stranger.headers["X-Api-Key"]
            for path in ("/api/artifacts", "/api/projects/p/artifacts/lookbook", "/api/artifacts/x/associate"):
                assert (await stranger.post(path, json={})).status_code == 401
            for path in ("/api/generators", "/api/artifacts", "/api/artifacts/x", "/api/artifacts/x/views"):
                assert (await stranger.get(path)).status_code == 401
                assert (await stranger.get(path, headers={"X-Api-Key": KEY})).status_code in (200, 404)
            assert (await stranger.get(f"/public/artifact/{slug}")).status_code == 200
