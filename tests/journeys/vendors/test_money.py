"""Budgets are kept and the ledger agrees with the vendor's bill, whatever fails or is killed."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import history_checks
from tests.support.api_calls import body, calling, ended, environ, new_project, submit
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import running
from tests.support.vendors.toy import PRICE_USD

PRICED = f"""
[[model]]
provider = "toy"
id = "toy-1"

[[model.price]]
effective = 2026-01-01
checked = 2026-01-01
source = "the toy vendor's page"
rates = {{ image = {PRICE_USD} }}
"""


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(delay=0.1) as wire:
        yield wire


@pytest.fixture
def prices(tmp_path: Path) -> str:
    file = tmp_path / "prices.toml"
    file.write_text(PRICED)
    return str(file)


async def budget(client: httpx.AsyncClient, project: str, usd: float | None) -> None:
    answer = await client.patch(f"/api/projects/{project}", json={"budgetUsd": usd})
    assert answer.status_code == 200, answer.text


async def costs(client: httpx.AsyncClient, project: str) -> dict[str, Any]:
    return dict((await client.get(f"/api/projects/{project}/costs")).json())


def billed(wire: Wire) -> float:
    return sum(call.bill for call in wire.calls)


async def rush(clients: list[httpx.AsyncClient], project: str, count: int) -> list[httpx.Response]:
    """Post that many jobs of one toy picture at once, spread over the servers."""
    return await asyncio.gather(
        *(
            clients[n % len(clients)].post(
                f"/api/projects/{project}/jobs", json=body(providers=["toy"], sessionId=f"s{n}", prompt=f"boat {n}")
            )
            for n in range(count)
        )
    )


async def check_rush(clients: list[httpx.AsyncClient], wire: Wire) -> None:
    project = await new_project(clients[0])
    await budget(clients[0], project, 2 * PRICE_USD)
    answers = await rush(clients, project, 20)
    assert Counter(answer.status_code for answer in answers) == {202: 2, 402: 18}
    refusal = next(answer.json()["error"] for answer in answers if answer.status_code == 402)
    assert refusal["code"] == "budget_exceeded"
    assert refusal["detail"]["neededUsd"] == PRICE_USD and refusal["detail"]["budgetUsd"] == 2 * PRICE_USD
    for answer in answers:
        if answer.status_code == 202:
            assert (await ended(clients[0], answer.json()["jobId"]))["status"] == "complete"
    found = await costs(clients[0], project)
    assert len(wire.calls) == 2
    assert found["total"]["usd"] == pytest.approx(billed(wire), abs=1e-6) == pytest.approx(2 * PRICE_USD, abs=1e-6)
    assert (found["reservedUsd"], found["remainingUsd"]) == (0, 0)
    assert (await rush(clients, project, 1))[0].status_code == 402


async def test_a_budget_for_two_buys_two(tmp_path: Path, wire: Wire, prices: str) -> None:
    """20 jobs at once on a budget for two: two are accepted and bought, 18 are 402, and the ledger equals the bill."""
    async with running(tmp_path, **environ(wire, PRICES=prices)) as server, calling(server) as client:
        await check_rush([client], wire)


async def test_two_servers_share_one_budget(
    tmp_path: Path, wire: Wire, prices: str, postgres_url: str, redis_url: str
) -> None:
    """The same is true where two processes on PostgreSQL accept the jobs."""
    folders = {"BUCKET": f"file://{tmp_path}/bucket", "IMAGES": f"file://{tmp_path}/images"}
    shared = environ(wire, DB=postgres_url, REDIS_URL=redis_url, API_KEY="k" * 40, PRICES=prices, **folders)
    async with (
        running(tmp_path / "a", **shared) as one,
        running(tmp_path / "b", **shared) as two,
        calling(one) as first,
        calling(two) as second,
    ):
        await check_rush([first, second], wire)


async def test_the_books_are_the_bill_over_kills(tmp_path: Path, wire: Wire, prices: str, rounds: int) -> None:
    """SIGKILL with calls in flight: every call that reached the vendor has a row with its price, and none is made
    again."""
    wire.delay = 1.0
    project, jobs = "", list[str]()
    for n in range(rounds * 3):
        async with running(tmp_path, **environ(wire, PRICES=prices)) as server, calling(server) as client:
            project = project or await new_project(client)
            before = len(wire.calls)
            jobs.append(
                (await submit(client, project, f"k{n}", providers=["toy"], variants=4, prompt=f"b {n}"))["jobId"]
            )
            await wire.received(before + 4, "toy")
            os.kill(server.process.pid, signal.SIGKILL)
    async with running(tmp_path, **environ(wire, PRICES=prices)) as server, calling(server) as client:
        over = [await ended(client, job) for job in jobs]
        found = await costs(client, project)
    left = history_checks.read(tmp_path / "picasso.db")
    assert history_checks.violations(left) == []
    assert {item["status"] for job in over for item in job["items"]} == {"uncertain"}
    assert found["total"]["estimated"] == 4 * len(jobs)
    assert sum(a["sent_at"] is not None for a in left.attempts) == len(wire.calls) == 4 * len(jobs)
    assert found["total"]["usd"] == pytest.approx(len(wire.calls) * PRICE_USD, abs=1e-6)


async def test_what_fails_gives_its_money_back(tmp_path: Path, wire: Wire, prices: str) -> None:
    """A refusal releases what was reserved for it; an empty answer was billed and counts. Without money left, what was
    bought can still be gone on with, and nothing else."""
    wire.scripts["toy"] += [Answer("refuse"), Answer("empty"), Answer("garbage")]
    async with running(tmp_path, **environ(wire, PRICES=prices)) as server, calling(server) as client:
        project = await new_project(client)
        await budget(client, project, 2 * PRICE_USD)
        spent, retries = [], []
        for n in range(3):
            job = await ended(client, (await submit(client, project, providers=["toy"], sessionId=f"s{n}"))["jobId"])
            retries.append(f"/api/jobs/{job['jobId']}/items/{job['items'][0]['itemId']}/retry")
            spent.append((await costs(client, project))["total"]["usd"])
        assert spent == [0, PRICE_USD, 2 * PRICE_USD]
        assert (await rush([client], project, 1))[0].status_code == 402
        assert [(await client.post(retry, json={})).status_code for retry in retries[:2]] == [402, 402]
        retried = await client.post(retries[2], json={})
        assert retried.status_code == 202, retried.text
        again = await ended(client, retried.json()["jobId"])
        assert (again["items"][0]["error"]["code"], again["cost"]["total"]) == ("image_rejected", 0)
        assert len(wire.calls) == 3 and (await costs(client, project))["total"]["usd"] == spent[-1]
        await budget(client, project, None)
        assert (await rush([client], project, 1))[0].status_code == 202


async def test_a_call_without_a_price_counts_and_is_flagged(tmp_path: Path, wire: Wire) -> None:
    """UNPRICED_USD stands in for an unknown price: in the quote, in the budget and in the ledger."""
    async with running(tmp_path, **environ(wire, UNPRICED_USD="0.25")) as server, calling(server) as client:
        project = await new_project(client)
        await budget(client, project, 0.3)
        asked = body(providers=["toy"], variants=2)
        quote = (await client.post(f"/api/projects/{project}/jobs", json={**asked, "dryRun": True})).json()
        assert (quote["quote"]["high"], quote["quote"]["unpriced"], quote["fits"]) == (0.5, 2, False)
        assert (await client.post(f"/api/projects/{project}/jobs", json=asked)).status_code == 402
        job = await ended(client, (await submit(client, project, providers=["toy"]))["jobId"])
        assert job["cost"] == {"currency": "USD", "total": 0.25, "estimated": 0, "unpriced": 1}
        assert (await costs(client, project))["total"] == {"usd": 0.25, "calls": 1, "estimated": 0, "unpriced": 1}


async def test_a_quote_buys_and_stores_nothing(tmp_path: Path, wire: Wire, prices: str) -> None:
    """`dryRun` returns each item's price and adjustments, uses up no key, and leaves no row, event or call behind."""
    async with running(tmp_path, **environ(wire, PRICES=prices)) as server, calling(server) as client:
        project = await new_project(client)
        asked = body(providers=["toy", "sketch"], variants=2, quality="high", dryRun=True)
        url, key = f"/api/projects/{project}/jobs", {"Idempotency-Key": "q"}
        answer = await client.post(url, json=asked, headers=key)
        assert answer.status_code == 200, answer.text
        quote = answer.json()["quote"]
        assert (quote["currency"], quote["low"], quote["high"], quote["unpriced"]) == ("USD", 0.08, 0.08, 0)
        told = [(i["provider"], i["variantIndex"], i["high"], i["basis"]) for i in quote["items"]]
        assert told[:2] == [("toy", 0, 0.04, "estimate"), ("toy", 1, 0.04, "estimate")]
        assert told[2:] == [("sketch", 0, 0, "free"), ("sketch", 1, 0, "free")]
        assert quote["items"][0]["adjustments"] == ["quality is dropped: toy-1 has none"]
        assert quote["items"][0]["priceVersion"] == "toy/toy-1@2026-01-01"
        left = history_checks.read(tmp_path / "picasso.db")
        assert (left.jobs, left.events, wire.calls) == ([], [], [])
        accepted = await client.post(url, json={**asked, "dryRun": False, "providers": ["sketch"]}, headers=key)
        assert accepted.status_code == 202, accepted.text
        missing = await client.post("/api/projects/none/jobs", json=asked)
        assert missing.status_code == 404


async def test_another_provider_steps_in_and_says_so(tmp_path: Path, wire: Wire, prices: str) -> None:
    """`fallback` after an outage: the image, its row and the events name the provider that made it and why; a refusal
    does not fall back."""
    wire.scripts["toy"] += [Answer("quota"), Answer("refuse")]
    async with running(tmp_path, **environ(wire, PRICES=prices)) as server, calling(server) as client:
        project = await new_project(client)
        job = await ended(client, (await submit(client, project, providers=["toy"], fallback=["sketch"]))["jobId"])
        [item] = job["items"]
        assert (item["provider"], item["status"]) == ("toy", "complete")
        assert [(a["provider"], a["state"], a["failure"]) for a in item["attempts"]] == [
            ("toy", "failed", "quota"),
            ("sketch", "succeeded", None),
        ]
        row = (await client.get(f"/api/progressions/{item['progressionId']}")).json()
        assert (row["ai_provider"], row["ai_model"]) == ("sketch", "sketch-1")
        assert row["adjustments"][0] == "painted by sketch (sketch-1) instead of toy"
        told = [e["data"] for e in (await client.get("/api/sessions/s/events")).json()["items"]]
        assert [d["fallback"] for d in told if "fallback" in d] == [
            {"provider": "sketch", "model": "sketch-1", "because": "quota"}
        ]
        again = await ended(client, (await submit(client, project, providers=["toy"], fallback=["sketch"]))["jobId"])
        assert again["items"][0]["status"] == "refused" and len(again["items"][0]["attempts"]) == 1
        loses = await client.post(
            f"/api/projects/{project}/jobs",
            json=body(providers=["sketch"], fallback=["toy"], kind="upscale", startImageUrl=f"upload:{'0' * 64}"),
        )
        assert loses.status_code == 422 and loses.json()["error"]["code"] == "unsupported_kind"
