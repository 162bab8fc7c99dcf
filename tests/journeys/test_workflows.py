"""General workflows on real servers, with the reasoning model on the false Internet, which counts its calls."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.api_calls import calling, environ
from tests.support.deadlines import HANG, LONG
from tests.support.internet import Answer, Fault, Received, Wire
from tests.support.servers.picasso import Server, running, start, stop

FULL = 10
"""Messages that make a batch, which is then handled without waiting for more."""
NO_JOBS = ("app", "serve", "--no-jobs")
WORKER = ("app", "worker")
TABLES = {
    "flows": "SELECT * FROM workflows",
    "results": "SELECT * FROM workflow_results",
    "calls": "SELECT * FROM model_calls",
}
Rows = dict[str, list[dict[str, Any]]]


def thinking(wire: Wire, **more: str) -> dict[str, str]:
    """The settings of a server whose reasoning model is simulated."""
    model = {"DEFAULT_MODEL_REASONING": "openai:gpt-4.1-mini", "OPENAI_API_KEY": "k-openai"}
    return environ(**{"OPENAI_BASE_URL": f"{wire.url}/openai/v1", **model, **more})


@pytest.fixture(scope="module")
async def internet() -> AsyncIterator[Wire]:
    async with Wire(delay=0.1) as wire:
        yield wire


@pytest.fixture(scope="module")
async def server(internet: Wire, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("workflows"), **thinking(internet)) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(server) as client:
        yield client


@pytest.fixture
def wire(internet: Wire) -> Wire:
    internet.scripts.clear()
    internet.calls.clear()
    return internet


async def submit(client: httpx.AsyncClient, task: str, key: str | None = None) -> str:
    headers = {"Idempotency-Key": key} if key else {}
    answer = await client.post("/api/workflows", json={"userId": "ada", "task": task}, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["workflowId"])


async def ended(client: httpx.AsyncClient, workflow_id: str, seconds: float = LONG) -> dict[str, Any]:
    """The workflow, once it has ended."""
    async with asyncio.timeout(seconds):
        while (answer := (await client.get(f"/api/workflows/{workflow_id}")).json())["endedAt"] is None:
            await asyncio.sleep(0.05)
    return dict(answer)


def left(home: Path) -> Rows:
    with sqlite3.connect(f"file:{home}/picasso.db?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        return {name: [dict(row) for row in connection.execute(sql)] for name, sql in TABLES.items()}


def task_of(call: Received) -> str:
    return str(call.body["messages"][-1]["content"])


def announced(server: Server) -> list[tuple[str, str]]:
    """Message and workflow of each line that the consumer wrote; a line that a kill cut off is left out."""
    lines = [line for line in server.log.read_text().splitlines() if '"queue.workflow-complete"' in line]
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [(line["messageId"], line["payload"]["workflowId"]) for line in told]


async def all_noted(client: httpx.AsyncClient, home: Path) -> None:
    """Wait until every existing result was announced; more workflows fill the consumer's batch."""
    waiting = {row["id"] for row in left(home)["flows"] if row["status"] == "complete"}
    await asyncio.gather(*(submit(client, f"fill the batch {n}") for n in range(FULL)))
    async with asyncio.timeout(LONG):
        while waiting - {row["id"] for row in left(home)["flows"] if row["notified_at"]}:
            await asyncio.sleep(0.1)


def check(found: Rows, wire: Wire) -> None:
    """Check what must be true whatever was killed: one result per complete workflow, no call without its row, none
    twice."""
    flows = {row["id"]: row for row in found["flows"]}
    assert [row["id"] for row in found["flows"] if row["ended_at"] is None] == []
    complete = {row["result_id"] for row in found["flows"] if row["status"] == "complete"}
    assert {row["id"] for row in found["results"]} == complete and len(found["results"]) == len(complete)
    assert [call["subject"] for call in found["calls"] if call["state"] == "sent"] == []
    made = Counter(flows[call["subject"]]["task"] for call in found["calls"])
    seen = Counter(task_of(call) for call in wire.calls)
    assert [task for task in seen if seen[task] > made[task]] == [], "a call without a row"
    won = [flows[call["subject"]]["task"] for call in found["calls"] if call["state"] == "succeeded"]
    assert [task for task in won if seen[task] < 1] == [], "an answer that nobody gave"


async def test_tasks_become_results_that_are_announced_once(
    client: httpx.AsyncClient, server: Server, wire: Wire
) -> None:
    """Ten tasks at once: one call each with the task as it was written, one result each, and one announcement each."""
    tasks = [f"Name {n} posters of a red boat." for n in range(FULL)]
    ids = await asyncio.gather(*(submit(client, task) for task in tasks))
    done = await asyncio.gather(*(ended(client, workflow_id) for workflow_id in ids))
    for task, view in zip(tasks, done, strict=True):
        assert (view["task"], view["status"], view["error"]) == (task, "complete", None)
        assert [step["status"] for step in view["steps"]] == ["complete"] * 4
        assert view["result"] == "Let soft light fall from the side."
        assert view["createdAt"] <= view["startedAt"] <= view["endedAt"]
    assert sorted(map(task_of, wire.calls)) == sorted(tasks)
    async with asyncio.timeout(LONG):
        while len(announced(server)) < FULL:
            await asyncio.sleep(0.05)
    assert sorted(workflow_id for _, workflow_id in announced(server)) == sorted(ids)
    found = left(server.home)
    check(found, wire)
    assert {(row["cost_basis"], row["project_id"]) for row in found["calls"]} == {("usage", None)}
    assert sum(row["cost_micros"] for row in found["calls"]) > 0


@pytest.mark.parametrize(
    ("faults", "status", "code", "steps"),
    [
        pytest.param(["error", "ok"], "complete", None, ["complete"] * 4, id="outage"),
        pytest.param(["refuse"], "failed", "refused", ["complete", "failed", "skipped", "skipped"], id="no"),
        pytest.param(["drop"], "uncertain", "uncertain", ["complete", "uncertain", "skipped", "skipped"], id="drop"),
    ],
)
async def test_what_a_vendor_does_is_told(
    client: httpx.AsyncClient,
    server: Server,
    wire: Wire,
    faults: list[Fault],
    status: str,
    code: str | None,
    steps: list[str],
) -> None:
    """An outage is tried once more; a refusal ends the workflow; a lost answer is uncertain and final. A new post may
    succeed."""
    await check_faults(client, server, wire, faults, status, code, steps)


async def test_a_model_that_never_answers_is_left(tmp_path: Path) -> None:
    """At VENDOR_SECONDS the workflow ends `uncertain` after one call."""
    steps = ["complete", "uncertain", "skipped", "skipped"]
    async with Wire() as wire, running(tmp_path, **thinking(wire, **HANG)) as server, calling(server) as client:
        await check_faults(client, server, wire, ["hang"], "uncertain", "uncertain", steps)


async def check_faults(
    client: httpx.AsyncClient,
    server: Server,
    wire: Wire,
    faults: list[Fault],
    status: str,
    code: str | None,
    steps: list[str],
) -> None:
    """Post a task whose calls are answered by `faults`, then the same task again, and check how both ended."""
    wire.scripts["openai_chat"].extend(Answer(fault) for fault in faults)
    view = await ended(client, await submit(client, f"do as the vendor {status}"))
    assert (view["status"], [step["status"] for step in view["steps"]]) == (status, steps)
    assert (view["error"]["code"] if view["error"] else None) == code
    assert (view["result"] is None) == (status != "complete")
    assert len(wire.calls) == len(faults)
    again = await ended(client, await submit(client, f"do as the vendor {status}"))
    assert again["status"] == "complete" and again["workflowId"] != view["workflowId"]
    if view["error"]:
        lines = [line for line in server.lines() if line.get("workflowId") == view["workflowId"]]
        assert {line["correlationId"] for line in lines} == {view["error"]["correlationId"]}


async def test_a_server_may_be_killed_at_any_moment(tmp_path: Path, rounds: int) -> None:
    """SIGKILL at random moments and with a call in flight: every workflow ends without help, no call is made without
    its row or twice, and each result is stored and announced once; SIGTERM loses no answer."""
    chance, ids, told = random.Random(5), list[str](), list[tuple[str, str]]()
    async with Wire(delay=0.15) as wire:
        for kill in range(rounds * 4):
            async with running(tmp_path, **thinking(wire)) as server, calling(server) as client:
                if kill % 2:
                    wire.scripts["openai_chat"].append(Answer("hang"))
                before = len(wire.calls)
                ids += [await submit(client, f"task {kill} {n}", f"key-{kill}-{n}") for n in range(3)]
                if kill % 2:
                    await wire.received(before + 1)
                else:
                    await asyncio.sleep(chance.uniform(0.02, 0.8))
                os.kill(server.process.pid, signal.SIGKILL)
                await server.process.wait()
                told += announced(server)
                wire.scripts.clear()
        drained = await drain(tmp_path, wire)
        async with running(tmp_path, **thinking(wire)) as server, calling(server) as client:
            assert (await ended(client, drained))["status"] == "complete"
            views = [await ended(client, workflow_id) for workflow_id in ids]
            assert await submit(client, "task 0 0", "key-0-0") == ids[0]
            await all_noted(client, tmp_path)
            assert {view["status"] for view in views} <= {"complete", "uncertain"}
            for filler in [row["id"] for row in left(tmp_path)["flows"]]:
                await ended(client, filler)
            told += announced(server)
        found = left(tmp_path)
        check(found, wire)
        assert max(Counter(map(task_of, wire.calls)).values()) == 1
        uncertain = [view for view in views if view["status"] == "uncertain"]
        assert rounds * 2 <= len(uncertain) <= rounds * 4 * 3
        assert max(Counter(told).values()) == 1 and len({message for message, _ in told}) == len(told)


async def drain(home: Path, wire: Wire) -> str:
    """SIGTERM with a call in flight: the answer is awaited, nothing more begins, and the process ends with code 0."""
    async with running(home, **thinking(wire)) as server, calling(server) as client:
        async with asyncio.timeout(LONG):
            while any(row["ended_at"] is None for row in left(home)["flows"]):
                await asyncio.sleep(0.05)
        before = len(wire.calls)
        wire.scripts["openai_chat"].append(Answer(delay=1.0))
        workflow_id = await submit(client, "drain")
        await wire.received(before + 1)
        assert await stop(server.process) == 0
    row = next(row for row in left(home)["flows"] if row["id"] == workflow_id)
    assert (row["status"], row["steps_done"], row["lease_until"]) == ("running", 2, 0)
    return workflow_id


@pytest.mark.soak
async def test_a_frozen_worker_calls_and_writes_nothing_late(tmp_path: Path, postgres_url: str, redis_url: str) -> None:
    """SIGSTOP of a worker with a call in flight, beyond its lease: another worker ends the workflow `uncertain` without
    a call and takes the next one; when the first worker continues, it changes nothing."""
    async with Wire(delay=0.1) as wire, contextlib.AsyncExitStack() as stack:
        folders = {"BUCKET": f"file://{tmp_path}/bucket", "IMAGES": f"file://{tmp_path}/images"}
        shared = thinking(wire, DB=postgres_url, REDIS_URL=redis_url, API_KEY="k" * 40, **folders)
        server = await stack.enter_async_context(running(tmp_path / "server", command=NO_JOBS, **shared))
        client = await stack.enter_async_context(calling(server))
        wire.scripts["openai_chat"].append(Answer("error", delay=1.0, retry_after="0"))
        workflow_id = await submit(client, "freeze")
        workers = {name: await start(tmp_path / name, WORKER, **shared) for name in ("one", "two")}
        await wire.received(1)
        frozen = workers[await who_called(tmp_path, workflow_id)]
        os.kill(frozen.pid, signal.SIGSTOP)
        view = await ended(client, workflow_id)
        assert view["status"] == "uncertain"
        os.kill(frozen.pid, signal.SIGCONT)
        assert (await ended(client, await submit(client, "go on")))["status"] == "complete"
        await asyncio.gather(*map(stop, workers.values()))
        assert (await client.get(f"/api/workflows/{workflow_id}")).json() == view
        connection = await asyncpg.connect(postgres_url)
        found = {name: [dict(row) for row in await connection.fetch(sql)] for name, sql in TABLES.items()}
        await connection.close()
        check(found, wire)
        assert sorted(map(task_of, wire.calls)) == ["freeze", "go on"]


async def who_called(home: Path, workflow_id: str) -> str:
    """The worker whose log shows that it began a call for the workflow."""
    async with asyncio.timeout(LONG):
        while True:
            for name in ("one", "two"):
                lines = (home / name / "serve.log").read_text().splitlines()
                if any(workflow_id in line and '"model_calls.begin"' in line for line in lines):
                    return name
            await asyncio.sleep(0.02)
