"""Progressions over HTTP: search, lineage, rollback, on rows that a job would have written."""

import hashlib
import io
from collections.abc import AsyncIterator
from urllib.parse import unquote

import msgspec
import pytest
from PIL import Image

from app.main import Application
from app.routes.progressions import read_tags
from tests.support.asgi_client import Answer, call, running_app
from tests.support.environment import settings
from tools import db
from tools.errors import Invalid
from tools.rows import Progression

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
ROW = Progression(
    id="p0",
    project_id="",
    parent_progression_id=None,
    start_image_url=None,
    prompt="A red Lighthouse at dusk, 50% mist",
    generated_image_url="http://127.0.0.1/images/p0/public",
    original_image_r2_key="project/x/jobs/j/orig/sketch-0",
    ai_provider="sketch",
    ai_notes=["sharp"],
    ai_tags=["red", "sea"],
    judgment="pass",
    created_at=1_700_000_000_000,
    job_id=None,
    item_id=None,
    edge="generate",
    variant_index=0,
    ai_model="painter",
    refined_prompt=None,
    start_image_r2_key=None,
    judge_status="ok",
    criteria=[],
    retry_suggestion=None,
    phash="0" * 16,
    width=64,
    height=48,
    sha256="0" * 64,
    seed=1,
    adjustments=[],
    cost_usd=40_250,
)


@pytest.fixture(scope="module")
async def project(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Application, str]]:
    """A project with a picture p0, p1 made from it, and an unrelated p2 that failed."""
    async with running_app(settings(tmp_path_factory.mktemp("progressions"), API_KEY=KEY)) as app:
        assert app.lifecycle.env is not None
        env = app.lifecycle.env
        made = await db.create_project(env, "p")
        first = msgspec.structs.replace(ROW, project_id=made.id)
        change = msgspec.structs.replace
        async with env.DB.transaction() as tx:
            await db.insert_progression(tx, first)
            second = change(first, id="p1", parent_progression_id="p0", edge="edit", created_at=ROW.created_at + 1)
            await db.insert_progression(tx, second)
            other = change(first, id="p2", prompt="blue", judgment="fail", ai_provider="openai", ai_tags=["sea"])
            await db.insert_progression(tx, other)
        yield app, made.id


async def read(app: Application, target: str) -> Answer:
    return await call(app, "GET", target)


async def test_rows_come_under_their_column_names(project: tuple[Application, str]) -> None:
    """A progression is its row: snake_case, JSON columns decoded, and `cost_usd` in dollars."""
    app, _ = project
    row = (await read(app, "/api/progressions/p0")).json()
    assert set(row) == {field.name for field in msgspec.structs.fields(Progression)}
    assert (row["cost_usd"], row["ai_tags"], row["ai_notes"], row["criteria"]) == (
        0.04025,
        ["red", "sea"],
        ["sharp"],
        [],
    )


QUERIES = [
    pytest.param("", ["p1", "p0", "p2"], id="all"),
    pytest.param("?query=LIGHT", ["p1", "p0"], id="any case"),
    pytest.param("?query=50%25", ["p1", "p0"], id="percent"),
    pytest.param("?query=%25", ["p1", "p0"], id="percent is literal"),
    pytest.param("?query=_", [], id="underscore is literal"),
    pytest.param("?tags=sea", ["p1", "p0", "p2"], id="a tag"),
    pytest.param("?tags=sea&tags=red", ["p1", "p0"], id="two tags"),
    pytest.param("?tags=%5B%22sea%22%2C%22red%22%5D", ["p1", "p0"], id="a JSON array"),
    pytest.param("?tags[]=sea&tags[]=red", ["p1", "p0"], id="bracketed"),
    pytest.param("?tags=sea&tags%5B%5D=red", ["p1", "p0"], id="both spellings"),
    pytest.param("?tags=", ["p1", "p0", "p2"], id="an empty tag"),
    pytest.param("?judgment=fail", ["p2"], id="judgment"),
    pytest.param("?provider=openai", ["p2"], id="provider"),
    pytest.param("?provider=sketch&judgment=fail", [], id="both"),
]


@pytest.mark.parametrize(("query", "ids"), QUERIES)
async def test_progressions_are_found(project: tuple[Application, str], query: str, ids: list[str]) -> None:
    """Text, tags, provider and judgment narrow the list, newest first."""
    app, id = project
    page = (await read(app, f"/api/projects/{id}/progressions{query}")).json()
    assert sorted(row["id"] for row in page["items"]) == sorted(ids) and page["nextCursor"] is None
    if len(ids) > 1:
        assert page["items"][0]["id"] == ids[0]


WRONG = ["tags=%5B1%5D", "tags=%5B", "judgment=null", "judgment=maybe", "limit=2&limit=3", "limit=null", "query=%00"]
WRONG += ["tag=red", "tags%5B0%5D=red", "Query=x", "x", "key=1", "projectId=p&limit=2"]
WRONG += ["query=%0a%1b", "tags=" + "x" * 201, "&".join(["tags=a"] * 33), "provider=" + "x" * 65, "query=" + "x" * 1001]


@pytest.mark.parametrize("query", WRONG, ids=lambda query: query[:20])
async def test_a_wrong_query_is_named(project: tuple[Application, str], query: str) -> None:
    """A query that cannot be meant is 400 and named."""
    app, id = project
    answer = await read(app, f"/api/projects/{id}/progressions?{query}")
    assert answer.status == 400
    assert answer.json()["error"]["detail"]["errors"][0]["field"].startswith(unquote(query.partition("=")[0]))


async def test_lineage_is_told_both_ways(project: tuple[Application, str]) -> None:
    """Lineage names ancestors, descendants and the typed edges between them."""
    app, _ = project
    below = (await read(app, "/api/progressions/p0/lineage")).json()
    assert [row["id"] for row in below["descendants"]] == ["p1"] and below["ancestors"] == []
    above = (await read(app, "/api/progressions/p1/lineage")).json()
    assert [row["id"] for row in above["ancestors"]] == ["p0"] and above["progressionId"] == "p1"
    assert above["edges"] == below["edges"] == [{"from": "p0", "to": "p1", "edge": "edit"}]
    assert above["ancestors"][0]["cost_usd"] == 0.04025


async def test_rollback_goes_on_from_an_earlier_step(project: tuple[Application, str]) -> None:
    """A rollback is a new progression with the ancestor's bytes, free of charge; `base: start` without a start image is
    refused."""
    app, _ = project
    headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
    answer = await call(app, "POST", "/api/progressions/p0/rollback", headers)
    row = answer.json()
    assert answer.status == 201 and row["id"] not in ("p0", "p1", "p2")
    assert (row["parent_progression_id"], row["edge"], row["cost_usd"]) == ("p0", "rollback", 0)
    assert row["original_image_r2_key"] == ROW.original_image_r2_key and row["sha256"] == ROW.sha256
    refused = await call(app, "POST", "/api/progressions/p0/rollback", headers, b'{"base": "start"}')
    assert (refused.status, refused.json()["error"]["code"]) == (422, "no_start_image")
    unknown = await call(app, "POST", "/api/progressions/none/rollback", headers, b'{"base": "start"}')
    assert unknown.status == 404
    assert (await call(app, "POST", "/api/progressions/p0/rollback", headers, b'{"base": "x"}')).status == 400


async def test_rollback_to_the_start_image(project: tuple[Application, str]) -> None:
    """`{"base": "start"}` continues from the image that the step was made from, byte by byte, and makes it public."""
    app, id = project
    env = app.lifecycle.env
    assert env is not None
    picture = io.BytesIO()
    Image.effect_noise((60, 40), 80).save(picture, "PNG")
    await env.BUCKET.put("project/p/jobs/j/orig/start", picture.getvalue(), content_type="image/png")
    change = msgspec.structs.replace
    row = change(
        ROW, id="p4", project_id=id, prompt="noise", start_image_r2_key="project/p/jobs/j/orig/start", ai_tags=[]
    )
    async with env.DB.transaction() as tx:
        await db.insert_progression(tx, row)
    headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
    answers = [
        (await call(app, "POST", "/api/progressions/p4/rollback", headers, b'{"base": "start"}')).json() for _ in "ab"
    ]
    assert (
        answers[0]["id"] != answers[1]["id"] and answers[0]["generated_image_url"] == answers[1]["generated_image_url"]
    )
    first = answers[0]
    assert (first["width"], first["height"], first["parent_progression_id"]) == (60, 40, "p4")
    assert await env.BUCKET.get(first["original_image_r2_key"]) == picture.getvalue()
    assert first["sha256"] == hashlib.sha256(picture.getvalue()).hexdigest()


def test_tags_are_read_in_both_spellings() -> None:
    """Repeated values and JSON arrays may be mixed; a bracket that opens no array of strings is refused."""
    assert read_tags(["a", '["b", "c"]', " "]) == ["a", "b", "c"]
    with pytest.raises(Invalid, match="not valid: tags"):
        read_tags(["[a]"])
