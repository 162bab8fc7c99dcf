"""Three vendors in one job, over the wire: images, faults, and the ledger."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, events, new_project, submit
from tests.support.internet import Answer, Fault, Wire
from tests.support.servers.picasso import Server, running

VENDORS = ("openai", "gemini", "workers")


def three(wire: Wire, **more: str) -> dict[str, str]:
    """Settings with keys for all three vendors, whose addresses lead to the wire."""
    keys = {
        "OPENAI_API_KEY": "k-openai",
        "OPENAI_BASE_URL": f"{wire.url}/openai/v1",
        "GEMINI_API_KEY": "k-gemini",
        "GOOGLE_GEMINI_BASE_URL": f"{wire.url}/gemini",
        "CLOUDFLARE_ACCOUNT_ID": "ACCOUNT",
        "CLOUDFLARE_API_TOKEN": "k-workers",
        "CLOUDFLARE_BASE_URL": f"{wire.url}/cloudflare/client/v4",
    }
    return environ(wire, **keys, **more)


@pytest.fixture(scope="module")
async def internet() -> AsyncIterator[Wire]:
    async with Wire() as wire:
        yield wire


@pytest.fixture(scope="module")
async def server(internet: Wire, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("vendors"), **three(internet)) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(server) as client:
        yield client


@pytest.fixture
def wire(internet: Wire) -> Wire:
    internet.scripts.clear()
    internet.calls.clear()
    internet.delay = 0
    return internet


def originals(server: Server, job: dict[str, Any]) -> dict[str, set[bytes]]:
    """The originals of a job's items in BUCKET, by provider."""
    found: dict[str, set[bytes]] = {}
    for item in job["items"]:
        found.setdefault(item["provider"], set()).add((server.home / "bucket" / item["originalR2Key"]).read_bytes())
    return found


async def test_three_vendors_two_variants(client: httpx.AsyncClient, server: Server, wire: Wire) -> None:
    """Six calls that each vendor accepts give six images, originals byte-identical to what was sent, and the bill that
    the vendors report."""
    project = await new_project(client)
    asked: dict[str, Any] = {"providers": [*VENDORS], "variants": 2, "size": "1024x1024", "sessionId": "six"}
    job = await ended(client, (await submit(client, project, **asked))["jobId"])
    assert [(i["status"], len(i["attempts"])) for i in job["items"]] == [("complete", 1)] * 6
    assert len(wire.calls) == 6
    for provider, kept in originals(server, job).items():
        assert kept == {call.sent for call in wire.of(provider)}
    assert job["cost"]["total"] == pytest.approx(sum(call.bill for call in wire.calls), abs=6 * 0.5e-6)
    assert (job["cost"]["estimated"], job["cost"]["unpriced"]) == (0, 0)
    assert {i["attempts"][0]["costBasis"] for i in job["items"]} == {"usage"}
    told = [e for e in await events(client, "six") if e["type"] == "complete"]
    assert len(told) == 7 and told[-1]["data"]["counts"] == {"complete": 6, "total": 6}


FAULTS: dict[Fault, tuple[str, str | None, int, bool]] = {
    "ok": ("complete", None, 1, True),
    "rate": ("complete", None, 2, True),
    "error": ("complete", None, 2, True),
    "drop": ("uncertain", "uncertain", 1, True),
    "drop_after": ("uncertain", "uncertain", 1, True),
    "truncate": ("uncertain", "uncertain", 1, True),
    "refuse": ("refused", "refused", 1, False),
    "quota": ("failed", "provider_quota", 1, False),
    "empty": ("failed", "provider_empty", 1, True),
    "garbage": ("failed", "image_rejected", 1, True),
    "wrong_mime": ("failed", "provider_empty", 1, True),
}
"""How an item ends, with which code, after how many calls, and whether one of them counts as billed."""
ORDER = list(FAULTS)


@pytest.mark.parametrize("turn", range(len(ORDER)), ids=ORDER)
async def test_each_fault_of_each_vendor(client: httpx.AsyncClient, server: Server, wire: Wire, turn: int) -> None:
    """Three vendors fail at once, each in its own way: each item ends as its fault demands, the sibling is untouched,
    the ledger has a row per call and no fault is billed twice."""
    faults = {vendor: ORDER[(turn + 4 * n) % len(ORDER)] for n, vendor in enumerate(VENDORS)}
    for vendor, fault in faults.items():
        wire.scripts[vendor].append(Answer(fault, retry_after="0" if fault in ("rate", "error") else None))
    project = await new_project(client)
    job = await ended(client, (await submit(client, project, providers=[*VENDORS, "sketch"]))["jobId"])
    for item in job["items"]:
        status, code, calls, billed = FAULTS[faults.get(item["provider"], "ok")]
        told = (item["provider"], faults.get(item["provider"]), item["status"], item["error"])
        assert item["status"] == status, told
        assert (item["error"] or {}).get("code") == code, told
        assert len(item["attempts"]) == calls, told
        if item["provider"] != "sketch":
            assert sum(a["billed"] for a in item["attempts"]) == int(billed), told
            assert sum(a["sentAt"] is not None for a in item["attempts"]) == len(wire.of(item["provider"])) == calls
    assert history_checks.violations(history_checks.read(server.home / "picasso.db")) == []


async def test_vendors_that_never_answer_are_left(tmp_path: Path) -> None:
    """When three vendors hang, each item ends `uncertain` at VENDOR_SECONDS, counts as billed and is not made again."""
    async with (
        Wire() as wire,
        running(tmp_path, **three(wire, VENDOR_SECONDS="10")) as server,
        calling(server) as client,
    ):
        for vendor in VENDORS:
            wire.scripts[vendor].append(Answer("hang"))
        project = await new_project(client)
        job = await ended(client, (await submit(client, project, providers=[*VENDORS, "sketch"]))["jobId"])
        told = [(item["status"], [a["billed"] for a in item["attempts"]]) for item in job["items"]]
        assert told == [("uncertain", [True])] * 3 + [("complete", [False])]
        assert [len(wire.of(vendor)) for vendor in VENDORS] == [1, 1, 1]
        assert history_checks.violations(history_checks.read(server.home / "picasso.db")) == []


async def test_a_slow_picture_is_shown_while_it_is_made(client: httpx.AsyncClient, wire: Wire) -> None:
    """Partial images are stored and announced as `previewUrl`, also to clients that join late or only read the job."""
    wire.delay = 1.2
    project = await new_project(client)
    job = await ended(client, (await submit(client, project, providers=["openai"], sessionId="slow"))["jobId"])
    told = [e["data"] for e in await events(client, "slow") if e["type"] == "progress"]
    urls = [data["previewUrl"] for data in told if "previewUrl" in data]
    assert job["status"] == "complete" and urls and job["items"][0]["previewUrl"] == urls[-1]
    preview = await client.get(urls[0])
    assert preview.status_code == 200 and preview.headers["content-type"].startswith("image/")
    assert all(data["stage"] == "generate" for data in told if "previewUrl" in data)


async def test_every_failure_can_be_found(client: httpx.AsyncClient, server: Server, wire: Wire) -> None:
    """The correlation id of a `fail` event is in the log, with job, session, provider, step and time."""
    for vendor in VENDORS:
        wire.scripts[vendor].append(Answer("refuse"))
    project = await new_project(client)
    job = await ended(client, (await submit(client, project, providers=[*VENDORS], sessionId="lost"))["jobId"])
    lines = history_checks.log_lines(server.home / "serve.log")
    for item in job["items"]:
        about = [
            line for line in lines
            if line.get("correlationId") == item["error"]["correlationId"] and line.get("itemId") == item["itemId"]
        ]  # fmt: skip
        call = next(line for line in about if line.get("step") == "router.send")
        assert (call["jobId"], call["sessionId"], call["provider"]) == (job["jobId"], "lost", item["provider"])
        assert call["outcome"] == "refused" and call["ms"] >= 0 and call["providerStatus"] is not None


async def test_kills_with_calls_in_flight_buy_nothing_again(tmp_path: Path, rounds: int) -> None:
    """SIGKILL while all three vendors work: every call is a row, none is made again, the items say `uncertain`."""
    async with Wire(delay=20) as wire:
        jobs, project = list[str](), ""
        for n in range(4 * rounds):
            async with running(tmp_path, **three(wire)) as server, calling(server) as client:
                project = project or await new_project(client)
                before = len(wire.calls)
                job = await submit(client, project, f"k{n}", providers=[*VENDORS], prompt=f"a red boat, take {n}")
                jobs.append(str(job["jobId"]))
                await wire.received(before + len(VENDORS))
                os.kill(server.process.pid, signal.SIGKILL)
        async with running(tmp_path, **three(wire)) as server, calling(server) as client:
            over = await asyncio.gather(*(ended(client, job) for job in jobs))
    left = history_checks.read(tmp_path / "picasso.db")
    assert history_checks.violations(left) == []
    assert {item["status"] for job in over for item in job["items"]} == {"uncertain"}
    assert sum(a["sent_at"] is not None for a in left.attempts) == len(wire.calls) == len(VENDORS) * len(jobs)
