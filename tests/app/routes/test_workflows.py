"""General workflows over HTTP: what is accepted, refused, repeated and shown. No worker runs them here."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from app.routes.workflows import steps_of
from tests.support.deadlines import LONG
from tests.support.servers.picasso import running
from tools.fetch import tls_context
from tools.ledger.workflows import STEPS, Status, WorkflowRow

KEY = "the-right-key-of-this-test-" + "0123456789" * 2
TASK = "Name three posters of a red boat."
QUEUED = [{"name": name, "status": "queued"} for name in ("validate", "process-ai", "store-result", "notify")]
URL = "/api/workflows"


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    home, command = tmp_path_factory.mktemp("workflows"), ("app", "serve", "--no-jobs")
    async with (
        running(home, command=command, API_KEY=KEY) as server,
        server.client(**server.headers) as client,
    ):
        yield client


def body(**changes: Any) -> dict[str, Any]:
    return {"userId": "ada", "task": TASK, **changes}


async def post(client: httpx.AsyncClient, key: str | None = None, **changes: Any) -> httpx.Response:
    return await client.post(URL, json=body(**changes), headers={"Idempotency-Key": key} if key else {})


async def test_a_task_is_accepted_and_shown(client: httpx.AsyncClient) -> None:
    """202 with the id and the steps, before anything runs; GET returns the same and no result yet."""
    accepted = await post(client, task=f"  {TASK} ")
    assert accepted.status_code == 202
    told = accepted.json()
    assert set(told) == {"workflowId", "userId", "status", "steps", "createdAt"}
    assert (told["userId"], told["status"], told["steps"]) == ("ada", "queued", QUEUED)
    shown = await client.get(f"{URL}/{told['workflowId']}")
    assert shown.status_code == 200
    nothing: dict[str, Any] = {"result": None, "error": None, "startedAt": None, "endedAt": None}
    assert shown.json() == {**told, **nothing, "task": TASK}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"task": ""}, "task", id="empty"),
        pytest.param({"task": " \n "}, "task", id="blank"),
        pytest.param({"task": "x" * 8001}, "task", id="long"),
        pytest.param({"task": "a\x00b"}, "task", id="control"),
        pytest.param({"task": 7}, "task", id="no text"),
        pytest.param({"userId": ""}, "userId", id="no user"),
        pytest.param({"userId": "u" * 129}, "userId", id="a long user"),
        pytest.param({"userId": "a b"}, "userId", id="a user with a blank"),
        pytest.param({"model": "x"}, "model", id="unknown"),
    ],
)
async def test_what_cannot_be_is_refused(client: httpx.AsyncClient, changes: dict[str, Any], field: str) -> None:
    """400 that names the field."""
    answer = await post(client, **changes)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert answer.json()["error"]["detail"]["errors"][0]["field"] == field


async def test_the_longest_task_is_kept_as_it_is(client: httpx.AsyncClient) -> None:
    """8000 characters, with line breaks and beyond ASCII, come back as they were sent."""
    task = ("ä\n💥" * 3000)[:7999] + "."
    workflow_id = (await post(client, task=task)).json()["workflowId"]
    assert (await client.get(f"{URL}/{workflow_id}")).json()["task"] == task


async def test_what_is_not_there_is_404_and_a_key_is_needed_to_write(client: httpx.AsyncClient) -> None:
    """Unknown ids are 404, a POST without the API key is 401; reading needs none."""
    assert (await client.get(f"{URL}/wf-nobody")).status_code == 404
    workflow_id = (await post(client)).json()["workflowId"]
    async with httpx.AsyncClient(
        base_url=client.base_url, trust_env=False, timeout=LONG, verify=tls_context()
    ) as stranger:
        assert (await stranger.post(URL, json=body())).status_code == 401
        assert (await stranger.get(f"{URL}/{workflow_id}")).status_code == 200


async def test_one_key_makes_one_workflow(client: httpx.AsyncClient) -> None:
    """20 callers at once × 2 keys: two workflows; replays are the same bytes and marked so."""
    answers = await asyncio.gather(*(post(client, f"one-{n % 2}") for n in range(40)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({(n % 2, answer.content) for n, answer in enumerate(answers)}) == 2
    replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
    assert (replayed.count(None), replayed.count("true")) == (2, 38)
    quoted = await post(client, '"one-0"')
    assert quoted.content == answers[0].content


async def test_another_task_under_a_key_is_refused(client: httpx.AsyncClient) -> None:
    """409 that reveals nothing of the first task; surrounding white space is no change; keys are separate for each
    user."""
    first = await post(client, "k", task="secret words")
    other = await post(client, "k", task="other words")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    assert "secret" not in other.text
    assert (await post(client, "k", task=" secret words\n")).content == first.content
    another = await post(client, "k", userId="bob", task="other words")
    assert another.status_code == 202 and "Idempotency-Replayed" not in another.headers


async def test_bad_keys_are_refused_and_a_refusal_burns_none(client: httpx.AsyncClient) -> None:
    """What is no token is 400; after a 400 for the body the same key can be used."""
    for key in ("a b", "42", '"k', "k" * 256):
        answer = await post(client, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_idempotency_key")
    assert (await post(client, "burnt", task="")).status_code == 400
    assert "Idempotency-Replayed" not in (await post(client, "burnt")).headers


@pytest.mark.parametrize(
    ("status", "done", "told"),
    [
        ("queued", 0, ["queued", "queued", "queued", "queued"]),
        ("running", 0, ["running", "queued", "queued", "queued"]),
        ("running", 3, ["complete", "complete", "complete", "running"]),
        ("complete", 4, ["complete", "complete", "complete", "complete"]),
        ("failed", 0, ["failed", "skipped", "skipped", "skipped"]),
        ("uncertain", 1, ["complete", "uncertain", "skipped", "skipped"]),
    ],
)
def test_steps_tell_where_a_workflow_stands(status: Status, done: int, told: list[str]) -> None:
    """Done steps are complete, the one at hand is what the workflow is, the others wait or never come."""
    ended = 3 if status in ("complete", "failed", "uncertain") else None
    row = WorkflowRow("wf-1", "ada", TASK, status, done, None, None, None, "", "", 0, 0, 0, 1, 2, ended, None)
    steps = msgspec.to_builtins(steps_of(row))
    assert [step["name"] for step in steps] == [*STEPS]
    assert [step["status"] for step in steps] == told
