"""One key, one job, over real sockets against a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_calls import body, calling, ended, environ, new_project, submit
from tests.support.servers.picasso import running


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with running(tmp_path_factory.mktemp("idempotency"), **environ()) as server, calling(server) as client:
        yield client


async def jobs_of(client: httpx.AsyncClient, project: str) -> list[dict[str, Any]]:
    return list((await client.get(f"/api/projects/{project}/jobs", params={"limit": 200})).json()["items"])


async def test_concurrent_posts_with_one_key_make_one_job(client: httpx.AsyncClient) -> None:
    """20 callers at once × 5 keys: five jobs, and every caller of a key gets the same one."""
    project = await new_project(client)
    answers = await asyncio.gather(*(submit(client, project, f"k{n % 5}") for n in range(100)))
    assert len({(n % 5, answer["jobId"]) for n, answer in enumerate(answers)}) == 5
    assert len(await jobs_of(client, project)) == 5


async def test_replays_are_faithful(client: httpx.AsyncClient) -> None:
    """During and after the job a replay returns the same bytes, marked as replayed."""
    project = await new_project(client)
    url, headers = f"/api/projects/{project}/jobs", {"Idempotency-Key": "again"}
    first = await client.post(url, json=body(), headers=headers)
    during = await client.post(url, json=body(), headers=headers)
    await ended(client, first.json()["jobId"])
    after = await client.post(url, json=body(), headers=headers)
    assert first.content == during.content == after.content
    assert [a.status_code for a in (first, during, after)] == [202] * 3
    assert [a.headers.get("Idempotency-Replayed") for a in (first, during, after)] == [None, "true", "true"]


CHANGES: list[dict[str, Any]] = [
    {"prompt": "a blue boat at dawn"},
    {"variants": 2},
    {"sessionId": "t"},
    {"size": "64x64"},
    {"seed": 1},
    {"negativePrompt": "fog"},
    {"quality": "high"},
    {"strict": True},
    {"providers": [{"provider": "sketch", "model": "sketch-1"}]},
]


async def test_another_payload_is_refused(client: httpx.AsyncClient) -> None:
    """A changed payload is 409 and reveals nothing of the first body; key order and white space are no change."""
    project = await new_project(client)
    url, headers = f"/api/projects/{project}/jobs", {"Idempotency-Key": "k", "Content-Type": "application/json"}
    first = await submit(client, project, "k", prompt="secret words")
    for change in CHANGES:
        answer = await client.post(url, json=body(**change), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_mismatch"), change
        assert "secret" not in answer.text
    shuffled = dict(reversed(body(prompt="  secret words ").items()))
    answer = await client.post(url, json=shuffled, headers=headers)
    assert answer.json()["jobId"] == first["jobId"]


async def test_keys_belong_to_their_project_and_route(client: httpx.AsyncClient) -> None:
    """The same key in two projects makes two jobs."""
    one, two = await new_project(client, "one"), await new_project(client, "two")
    assert (await submit(client, one, "k"))["jobId"] != (await submit(client, two, "k"))["jobId"]


BAD_KEYS = [
    "",
    '""',
    "k" * 256,
    '"' + "k" * 256 + '"',
    "a b",
    "k;p=1",
    '"k";p=1',
    "42",
    "-7",
    "1.5",
    ":YWJj:",
    "k\tk",
    '"k',
    'k"',
    "k,k",
    '"a", "b"',
    "?1",
    "(k)",
    "[k]",
    "{k}",
    "k\\k",
    '"k\\k"',
    "k@",
    "@k",
]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_bad_keys_are_refused(client: httpx.AsyncClient, key: str) -> None:
    """A key that is neither a token nor a quoted string is 400, and nothing is stored."""
    project = await new_project(client)
    answer = await client.post(f"/api/projects/{project}/jobs", json=body(), headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_idempotency_key")
    assert await jobs_of(client, project) == []


async def test_two_key_headers_are_refused_and_both_forms_of_one_key_are_equal(client: httpx.AsyncClient) -> None:
    """Two headers are 400; `k` and `"k"` are the same key."""
    project = await new_project(client)
    url = f"/api/projects/{project}/jobs"
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    assert (await client.post(url, json=body(), headers=twice)).status_code == 400
    assert (await submit(client, project, "a"))["jobId"] == (await submit(client, project, '"a"'))["jobId"]


async def test_a_4xx_does_not_burn_the_key(client: httpx.AsyncClient) -> None:
    """After a validation error the corrected request runs under the same key."""
    project = await new_project(client)
    url, headers = f"/api/projects/{project}/jobs", {"Idempotency-Key": "k"}
    assert (await client.post(url, json=body(variants=9), headers=headers)).status_code == 400
    assert (await client.post(url, json=body(providers=["nobody"]), headers=headers)).status_code == 422
    corrected = await client.post(url, json=body(), headers=headers)
    assert corrected.status_code == 202 and "Idempotency-Replayed" not in corrected.headers


async def test_a_kill_never_wedges_a_key(tmp_path: Path, rounds: int) -> None:
    """SIGKILL while posts are in flight: after the restart the same key works, and makes one job in all, even one that
    would not be accepted any more."""
    vendor = {"OPENAI_API_KEY": "sk-gone-tomorrow", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    project, keys = "", [f"k{n}" for n in range(8)]
    for _ in range(rounds * 2):
        async with running(tmp_path, **environ(), **vendor) as server, calling(server) as client:
            project = project or await new_project(client)
            paid = await submit(client, project, "paid", providers=["openai"])
            posts = [asyncio.create_task(submit(client, project, key)) for key in keys]
            await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
            server.process.kill()
            await asyncio.gather(*posts, return_exceptions=True)
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        for key in keys:
            await ended(client, (await submit(client, project, key))["jobId"])
        assert await submit(client, project, "paid", providers=["openai"]) == paid
        assert len(await jobs_of(client, project)) == len(keys) + 1
