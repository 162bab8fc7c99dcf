"""The metrics are consistent at every moment that they are read."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import history_checks
from tests.support.api_calls import calling, ended, environ, new_project, submit
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import running

ITEMS = 4
OPEN = ("queued", "running")


async def scraped(client: httpx.AsyncClient) -> dict[str, Counter[str]]:
    """Rows by table and status, as the metrics page shows them."""
    page, found = (await client.get("/metrics")).text, dict[str, Counter[str]]()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "picasso_rows":
                found.setdefault(sample.labels["table"], Counter())[sample.labels["status"]] = int(sample.value)
    return found


def check(rows: dict[str, Counter[str]], posted: tuple[int, int], called: int) -> None:
    """Check one page of metrics. `posted` is how many jobs were accepted before and after the request, `called` the
    calls by then."""
    jobs, items, attempts = (rows.get(name, Counter()) for name in ("jobs", "items", "attempts"))
    assert posted[0] <= jobs.total() <= posted[1], "accepted = terminal + in flight"
    assert items.total() == ITEMS * jobs.total()
    terminal = items.total() - sum(items[status] for status in OPEN)
    settled = Counter({state: n for state, n in attempts.items() if state not in ("intent", "sent")})
    assert items["complete"] + items["duplicate"] <= attempts["succeeded"], "each image stands on a success"
    assert terminal - items["cancelled"] <= settled.total(), "each end stands on a call"
    assert settled.total() - settled["abandoned"] <= called, "success + failure + retried = calls"


@pytest.mark.soak
async def test_the_books_balance_at_every_scrape(tmp_path: Path) -> None:
    """Jobs with faults run while the metrics are read again and again; every page is consistent, and at the end all
    sums are exact."""
    faults = [Answer("error", retry_after="0"), Answer("refuse"), Answer("rate", retry_after="0"), Answer("empty")]
    async with Wire(delay=0.05) as wire, running(tmp_path, **environ(wire)) as server, calling(server) as client:
        project, jobs = await new_project(client), list[str]()
        for n in range(8):
            wire.scripts["toy"].extend(faults)
            before = len(jobs)
            job = await submit(client, project, providers=["toy"], variants=ITEMS, prompt=f"boat {n}")
            jobs.append(str(job["jobId"]))
            check(await scraped(client), (before, len(jobs)), len(wire.calls))
        endings = asyncio.gather(*(ended(client, job) for job in jobs))
        while not endings.done():
            check(await scraped(client), (len(jobs), len(jobs)), len(wire.calls))
        over, rows = await endings, await scraped(client)
    left = history_checks.read(tmp_path / "picasso.db")
    assert history_checks.violations(left) == []
    assert rows["jobs"].total() == len(over) == 8
    sent = [a for a in left.attempts if a["sent_at"] is not None]
    assert len(sent) == len(wire.calls) == rows["attempts"].total()
    assert Counter(a["state"] for a in sent) == rows["attempts"]
