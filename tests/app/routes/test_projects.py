"""Projects over HTTP."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.deadlines import LONG
from tests.support.servers.picasso import running

KEY = "the-right-key-of-this-test-" + "0123456789" * 2


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        running(tmp_path_factory.mktemp("projects"), API_KEY=KEY) as server,
        server.client(**server.headers) as client,
    ):
        yield client


async def test_a_project_is_made_shown_and_changed(client: httpx.AsyncClient) -> None:
    """A project is answered under its column names; a PATCH changes what it names, and null clears."""
    made = await client.post("/api/projects", json={"name": "  Autumn  ", "description": "two\nlines"})
    assert made.status_code == 201
    row = made.json()
    assert set(row) == {"id", "name", "description", "budget_micros", "created_at", "updated_at"}
    assert (row["name"], row["description"], row["budget_micros"]) == ("Autumn", "two\nlines", None)
    path = f"/api/projects/{row['id']}"
    assert (await client.get(path)).json() == row
    changed = (await client.patch(path, json={"budgetUsd": 12.345678, "name": "Winter"})).json()
    assert (changed["name"], changed["budget_micros"], changed["description"]) == ("Winter", 12_345_678, "two\nlines")
    cleared = (await client.patch(path, json={"budgetUsd": None, "description": None})).json()
    assert (cleared["budget_micros"], cleared["description"], cleared["name"]) == (None, None, "Winter")
    assert cleared["updated_at"] >= row["updated_at"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({}, "name", id="no name"),
        pytest.param({"name": ""}, "name", id="empty"),
        pytest.param({"name": "x" * 201}, "name", id="long"),
        pytest.param({"name": "x", "description": "x" * 4001}, "description", id="long description"),
        pytest.param({"name": "x", "budgetUsd": 1}, "budgetUsd", id="a budget when it is made"),
        pytest.param({"name": None}, "name", id="null"),
    ],
)
async def test_a_project_needs_a_name(client: httpx.AsyncClient, body: dict[str, object], field: str) -> None:
    """What a project cannot be is refused by the field's name."""
    answer = await client.post("/api/projects", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["detail"]["errors"][0]["field"] == field


@pytest.mark.parametrize("budget", [-1, 1e9, "5", True], ids=str)
async def test_a_budget_is_an_amount(client: httpx.AsyncClient, budget: object) -> None:
    """A negative, absurd or textual budget is refused."""
    path = f"/api/projects/{(await client.post('/api/projects', json={'name': 'b'})).json()['id']}"
    answer = await client.patch(path, json={"budgetUsd": budget})
    assert (answer.status_code, answer.json()["error"]["detail"]["errors"][0]["field"]) == (400, "budgetUsd")


async def test_pages_are_stable_under_inserts(client: httpx.AsyncClient) -> None:
    """Paging shows each project once, newest first, also when others are made meanwhile."""
    made = [(await client.post("/api/projects", json={"name": f"p{i}"})).json()["id"] for i in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/projects", params=parameters)).json()
        seen += [row["id"] for row in page["items"]]
        await client.post("/api/projects", json={"name": "meanwhile"})
        if (cursor := page["nextCursor"]) is None:
            break
    assert len(seen) == len(set(seen)) and [id for id in seen if id in made] == made[::-1]


async def test_an_unknown_project_is_not_found(client: httpx.AsyncClient) -> None:
    """Ids of no project are 404, whatever form they have."""
    for id in ("0" * 32, "x", "%F0%9F%8E%A8", "a" * 2000, "'--", "null"):
        for answer in (await client.get(f"/api/projects/{id}"), await client.patch(f"/api/projects/{id}", json={})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), id


async def test_lists_take_the_filters_that_people_expect(client: httpx.AsyncClient) -> None:
    """Each filter leaves what it names and nothing else; one that a list does not know, or a value that cannot be, is
    400 and named."""
    first, second = [
        (await client.post("/api/projects", json={"name": name, "description": about})).json()["id"]
        for name, about in (("100% Autumn", None), ("Winter", "an autumn_day"))
    ]
    job = {"prompt": "a boat", "providers": ["sketch"], "sessionId": "filters", "size": "64x64"}
    made = (await client.post(f"/api/projects/{first}/jobs", json=job)).json()["jobId"]
    async with asyncio.timeout(LONG):
        while (await client.get(f"/api/jobs/{made}")).json()["status"] != "complete":
            await asyncio.sleep(0.05)
    pages = [
        (await client.post("/api/artifacts", json={"generatorId": kind, "projectIds": [of]})).json()["artifact_id"]
        for kind, of in (("moodboard", first), ("judge-report", first))
    ]
    for path, key, wanted in (
        ("projects?query=autumn", "id", {first, second}),
        ("projects?query=0%25%20aut", "id", {first}),
        ("projects?query=n_d", "id", {second}),
        ("projects?query=%25_", "id", set()),
        ("jobs?status=complete&sessionId=filters", "jobId", {made}),
        ("jobs?status=queued&sessionId=filters", "jobId", set()),
        (f"jobs?projectId={first}", "jobId", {made}),
        (f"jobs?projectId={second}", "jobId", set()),
        (f"projects/{first}/jobs?status=failed", "jobId", set()),
        ("artifacts?generatorId=moodboard", "artifact_id", {pages[0]}),
        (f"artifacts?projectId={first}", "artifact_id", {*pages}),
        (f"artifacts?projectId={second}", "artifact_id", set()),
    ):
        answer = await client.get(f"/api/{path}")
        assert answer.status_code == 200, (path, answer.text)
        assert {item[key] for item in answer.json()["items"]} == wanted, path
    tips = (await client.get("/api/knowledge?provider=sketch")).json()["items"]
    assert tips and all(tip["key"].startswith("sketch.") for tip in tips)
    for path, field in (
        ("projects?name=x", "name"), ("jobs?state=running", "state"), ("jobs?status=done", "status"),
        ("artifacts?kind=x", "kind"), ("knowledge?q=x", "q"), ("templates?x=1", "x"), ("generators?id=x", "id"),
    ):  # fmt: skip
        answer = await client.get(f"/api/{path}")
        assert answer.status_code == 400 and field in answer.json()["error"]["message"], (path, answer.text)
