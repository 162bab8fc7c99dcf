"""A job from its post to its last event, with vendors' faults and clients' mistakes."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import history_checks
from tests.support.api_calls import body, calling, ended, environ, events, new_project, submit
from tests.support.deadlines import HANG, LONG
from tests.support.internet import Answer, Fault, Wire
from tests.support.servers.picasso import Server, running


@pytest.fixture(scope="module")
async def internet() -> AsyncIterator[Wire]:
    async with Wire(delay=0.1) as wire:
        yield wire


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, internet: Wire) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("jobs"), **environ(internet)) as server:
        yield server


@pytest.fixture(scope="module")
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(server) as client:
        yield client


@pytest.fixture
def wire(internet: Wire) -> Wire:
    """The vendor with nothing scripted and no call counted yet."""
    internet.scripts.clear()
    internet.calls.clear()
    return internet


@pytest.fixture
def session() -> str:
    """A session of the test's own, so that its events begin at 1."""
    return f"s{secrets.token_hex(4)}"


def left(server: Server) -> history_checks.Left:
    found = history_checks.read(server.home / "picasso.db")
    assert history_checks.violations(found) == []
    return found


async def test_a_job_runs_to_its_end(client: httpx.AsyncClient, server: Server, wire: Wire, session: str) -> None:
    """The job is accepted before any vendor is called; every item ends with an image that can be read; the events are
    in order."""
    project = await new_project(client)
    accepted = await submit(client, project, providers=["sketch", "toy"], variants=2, sessionId=session)
    assert accepted["status"] == "queued" and [item["status"] for item in accepted["items"]] == ["queued"] * 4
    assert [(item["provider"], item["variantIndex"]) for item in accepted["items"]] == [
        ("sketch", 0),
        ("sketch", 1),
        ("toy", 0),
        ("toy", 1),
    ]
    job = await ended(client, accepted["jobId"])
    assert job["status"] == "complete" and len(wire.calls) == 2
    assert [item["itemId"] for item in job["items"]] == [item["itemId"] for item in accepted["items"]]
    assert set(job["metadata"]["refinedPrompt"]) == {"sketch", "toy"} and job["metadata"]["appliedTips"]["sketch"]
    listed = (await client.get(f"/api/projects/{project}/progressions")).json()["items"]
    assert {row["id"] for row in listed} == {item["progressionId"] for item in job["items"]}
    for row in listed:
        assert row["prompt"] == "a red boat at dawn" and row["judge_status"] == "ok"
        assert (await client.get(row["generated_image_url"])).headers["content-type"].startswith("image/")
    told = await events(client, session)
    assert told[-1]["type"] == "complete" and told[-1]["data"]["scope"] == "job"
    assert told[-1]["data"]["counts"] == {"complete": 4, "total": 4}
    stages = [e["data"]["stage"] for e in told if e["type"] == "progress" and e["data"]["provider"] == "toy"]
    assert list(dict.fromkeys(stages)) == ["refine", "generate", "store", "compare", "deliver", "judge"]
    left(server)


async def test_the_answer_comes_before_the_work(client: httpx.AsyncClient, wire: Wire) -> None:
    """202 waits for no vendor: ten jobs are accepted while none of their calls has been answered."""
    project, answered = await new_project(client), asyncio.Event()
    wire.scripts["toy"] += [Answer(after=answered)] * 10
    accepted = [await submit(client, project, providers=["toy"], sessionId=f"s{n}") for n in range(10)]
    await wire.received(1)
    assert not any(call.answered for call in wire.calls)
    answered.set()
    for job in accepted:
        assert (await ended(client, job["jobId"]))["status"] == "complete"


FAULTS: list[tuple[list[Fault], str, str | None, int, list[str]]] = [
    (["ok"], "complete", None, 1, ["succeeded"]),
    (["refuse"], "refused", "refused", 1, ["refused"]),
    (["empty"], "failed", "provider_empty", 1, ["failed"]),
    (["garbage"], "failed", "image_rejected", 1, ["failed"]),
    (["drop"], "uncertain", "uncertain", 1, ["uncertain"]),
    (["error", "ok"], "complete", None, 2, ["failed", "succeeded"]),
    (["rate", "ok"], "complete", None, 2, ["failed", "succeeded"]),
    (["error"] * 4, "failed", "provider_outage", 4, ["failed"] * 4),
]


@pytest.mark.parametrize(("script", "status", "code", "calls", "ledger"), FAULTS, ids=[">".join(f[0]) for f in FAULTS])
async def test_every_fault_of_a_vendor_ends_that_item_alone(
    client: httpx.AsyncClient, server: Server, wire: Wire,
    script: list[Fault], status: str, code: str | None, calls: int, ledger: list[str],
) -> None:  # fmt: skip
    """The item ends as its vendor's fault demands, each call is one ledger row, and the sibling is untouched."""
    wire.scripts["toy"].extend(Answer(fault, retry_after="0") for fault in script)
    job = await ended(client, (await submit(client, await new_project(client), providers=["toy", "sketch"]))["jobId"])
    toy, sketch = job["items"]
    assert (toy["status"], (toy["error"] or {}).get("code")) == (status, code)
    assert sketch["status"] == "complete"
    assert [attempt["state"] for attempt in toy["attempts"]] == ledger
    assert len(wire.calls) == calls
    left(server)


async def test_a_vendor_that_never_answers_is_left(tmp_path: Path) -> None:
    """At VENDOR_SECONDS the item ends `uncertain` after one call, and the sibling is untouched."""
    async with Wire() as wire, running(tmp_path, **environ(wire, **HANG)) as server, calling(server) as client:
        wire.scripts["toy"].append(Answer("hang"))
        project = await new_project(client)
        job = await ended(client, (await submit(client, project, providers=["toy", "sketch"]))["jobId"])
        toy, sketch = job["items"]
        assert (toy["status"], toy["error"]["code"], sketch["status"]) == ("uncertain", "uncertain", "complete")
        assert [attempt["state"] for attempt in toy["attempts"]] == ["uncertain"]
        assert len(wire.calls) == 1
        left(server)


async def test_near_duplicates_are_told_and_not_stored_twice(
    client: httpx.AsyncClient, server: Server, session: str
) -> None:
    """Of three equal pictures of one vendor one is stored, and two items end `duplicate` and name it."""
    project = await new_project(client)
    accepted = await submit(client, project, providers=["toy"], variants=3, prompt="twins", sessionId=session)
    job = await ended(client, accepted["jobId"])
    assert Counter(item["status"] for item in job["items"]) == {"complete": 1, "duplicate": 2}
    kept = next(item for item in job["items"] if item["status"] == "complete")
    assert {item["duplicateOf"] for item in job["items"]} == {None, kept["itemId"]}
    assert len((await client.get(f"/api/projects/{project}/progressions")).json()["items"]) == 1
    ends = [
        e["data"] for e in await events(client, session) if e["type"] == "complete" and e["data"]["scope"] == "item"
    ]
    assert sorted(bool(end.get("duplicateOf")) for end in ends) == [False, True, True]
    left(server)


async def test_width_is_bounded_per_provider(tmp_path: Path) -> None:
    """A vendor never has more calls at once than PROVIDER_WIDTH allows."""
    async with Wire(delay=0.2) as wire:
        async with running(tmp_path, **environ(wire, PROVIDER_WIDTH="toy=2")) as server, calling(server) as client:
            await ended(
                client, (await submit(client, await new_project(client), providers=["toy"], variants=6))["jobId"]
            )
        assert (len(wire.calls), wire.most_in_flight["toy"]) == (6, 2)


async def test_cancel_races_with_completion(client: httpx.AsyncClient, server: Server, wire: Wire, rounds: int) -> None:
    """At whatever moment cancel arrives, each item ends once, the job ends `cancelled` or `complete`, and nothing is
    called after it."""
    project, first_cancelled = await new_project(client), asyncio.Event()
    wire.scripts["toy"] += [Answer(after=first_cancelled)] * 2
    for n in range(rounds * 12):
        job = (await submit(client, project, providers=["toy", "sketch"], variants=2))["jobId"]
        await asyncio.sleep(n * 0.06)
        cancelled = await client.post(f"/api/jobs/{job}/cancel")
        assert cancelled.status_code == 200
        first_cancelled.set()
        calls = len(wire.calls)
        assert (await ended(client, job))["status"] in ("cancelled", "complete")
        assert (await client.post(f"/api/jobs/{job}/cancel")).json()["status"] == cancelled.json()["status"]
        assert len(wire.calls) <= calls + 2
    async with asyncio.timeout(LONG):
        while any(a["state"] in ("intent", "sent") for a in history_checks.read(server.home / "picasso.db").attempts):
            await asyncio.sleep(0.1)
    found = left(server)
    statuses = Counter(job["status"] for job in found.jobs)
    assert statuses["cancelled"] > 0
    for item in found.items:
        if item["status"] == "cancelled" and any(
            a["state"] == "succeeded" and a["item_id"] == item["id"] for a in found.attempts
        ):
            assert (server.home / "bucket" / item["original_r2_key"]).is_file(), "bought bytes were lost"


async def test_one_item_can_be_tried_again(client: httpx.AsyncClient, wire: Wire) -> None:
    """A failed item becomes a new job of one item, once per key; a complete one is 409 (unless it was judged a
    fail)."""
    wire.scripts["toy"].append(Answer("refuse"))
    project = await new_project(client)
    job = await ended(client, (await submit(client, project, providers=["toy"]))["jobId"])
    url = f"/api/jobs/{job['jobId']}/items/{job['items'][0]['itemId']}/retry"
    first = await client.post(url, json={"prompt": "a calmer boat"}, headers={"Idempotency-Key": "r"})
    again = await client.post(url, json={"prompt": "a calmer boat"}, headers={"Idempotency-Key": "r"})
    assert first.status_code == 202 and first.json() == again.json()
    retried = await ended(client, first.json()["jobId"])
    assert (retried["retryOf"], retried["prompt"], retried["status"]) == (
        job["items"][0]["itemId"],
        "a calmer boat",
        "complete",
    )
    assert len(wire.calls) == 2
    done = retried["items"][0]
    refused = await client.post(f"/api/jobs/{retried['jobId']}/items/{done['itemId']}/retry", json={})
    row = (await client.get(f"/api/progressions/{done['progressionId']}")).json()
    assert refused.status_code == (202 if row["judgment"] == "fail" else 409)


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"prompt": ""}, 400, "prompt"),
    ({"prompt": "   "}, 400, "prompt"),
    ({"prompt": "x\u0000y"}, 400, "prompt"),
    ({"prompt": 7}, 400, "prompt"),
    ({"providers": []}, 400, "providers"),
    ({"providers": ["nobody"]}, 422, "nobody"),
    ({"providers": "sketch"}, 400, "providers"),
    ({"providers": [{"provider": "sketch", "modle": "x"}]}, 400, "modle"),
    ({"providers": [{"provider": "sketch", "model": "gpt-9"}]}, 422, "gpt-9"),
    ({"variants": 0}, 400, "variants"),
    ({"variants": 9}, 400, "variants"),
    ({"variants": "2"}, 400, "variants"),
    ({"sessionId": "a b"}, 400, "sessionId"),
    ({"sessionId": "x" * 129}, 400, "sessionId"),
    ({"size": "huge"}, 400, "size"),
    ({"seed": -1}, 400, "seed"),
    ({"kind": "dream"}, 400, "kind"),
    ({"kind": "edit"}, 422, "startImageUrl"),
    ({"kind": "inpaint", "startImageUrl": "https://example.com/a.png"}, 422, "maskImageUrl"),
    ({"startImageUrl": "ftp://example.com/a.png"}, 400, "startImageUrl"),
    ({"startImageUrl": "progression:nothere"}, 422, "nothere"),
    ({"parentProgressionId": "nothere"}, 422, "nothere"),
    ({"surprise": 1}, 400, "surprise"),
    ({"kind": "upscale", "providers": ["toy"], "startImageUrl": "https://example.com/a.png"}, 422, "sketch"),
]


@pytest.mark.parametrize(("change", "status", "named"), BAD, ids=[str(b[0])[:60] for b in BAD])
async def test_bad_input_is_refused_at_the_door(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, named: str
) -> None:
    """Bad input has one error shape and the right status, names the field or the allowed value, and stores nothing."""
    project = await new_project(client)
    answer = await client.post(f"/api/projects/{project}/jobs", json=body(**change))
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"code", "message", "detail", "correlationId"}
    assert named in answer.text
    assert (await client.get(f"/api/projects/{project}/jobs")).json()["items"] == []


async def test_a_start_image_that_cannot_be_had_fails_the_items(client: httpx.AsyncClient) -> None:
    """A private address as start image ends every item with start_image_rejected, and reveals no more."""
    project = await new_project(client)
    job = await submit(client, project, startImageUrl="http://127.0.0.1:9/a.png", variants=2, sessionId="start")
    done = await ended(client, job["jobId"])
    assert done["status"] == "failed"
    assert {item["error"]["code"] for item in done["items"]} == {"start_image_rejected"}
    assert "127.0.0.1" not in str([item["error"] for item in done["items"]])
