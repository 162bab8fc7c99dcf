"""Checks over the rows that a server stored: pure functions that return the violations found, none when all is well.

`Left` is read from the database of a stopped or running server over a plain read-only connection.
"""

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

TERMINAL = {"complete", "failed", "refused", "duplicate", "uncertain", "cancelled"}
ENDS = {"complete", "fail"}


STATEMENTS = {
    "jobs": "SELECT * FROM jobs",
    "items": "SELECT * FROM job_items ORDER BY position",
    "attempts": "SELECT * FROM provider_attempts ORDER BY item_id, number",
    "progressions": "SELECT * FROM image_progressions",
    "events": "SELECT * FROM events ORDER BY session_id, seq",
}


@dataclass
class Left:
    """The stored rows as dicts; event `data` is decoded."""

    jobs: list[dict[str, Any]]
    items: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    progressions: list[dict[str, Any]]
    events: list[dict[str, Any]]


def read(database: Path) -> Left:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row

    def rows(sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(sql)]

    try:
        left = Left(**{name: rows(sql) for name, sql in STATEMENTS.items()})
    finally:
        connection.close()
    for event in left.events:
        event["data"] = json.loads(event["data"])
    return left


async def read_postgres(url: str) -> Left:
    """The same rows, read from PostgreSQL."""
    connection = await asyncpg.connect(url)

    async def rows(sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(sql)]

    try:
        left = Left(**{name: await rows(sql) for name, sql in STATEMENTS.items()})
    finally:
        await connection.close()
    for event in left.events:
        event["data"] = json.loads(event["data"])
    return left


def log_lines(log: Path) -> list[dict[str, Any]]:
    """The JSON lines that a server logged."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def violations(left: Left) -> list[str]:
    """Violations of what must be true of ended jobs, whichever process was killed on the way."""
    return [*one_terminal(left), *gapless(left), *monotone(left), *rows_match(left), *ledger_sane(left)]


def one_terminal(left: Left) -> list[str]:
    """Every job and item has ended and has exactly one end event, the job's being the last."""
    found = [f"job {job['id']} is {job['status']}" for job in left.jobs if job["ended_at"] is None]
    found += [f"item {item['id']} is {item['status']}" for item in left.items if item["status"] not in TERMINAL]
    ends = Counter((e["job_id"], e["item_id"]) for e in left.events if e["type"] in ENDS)
    expected = {(item["job_id"], item["id"]) for item in left.items} | {(job["id"], None) for job in left.jobs}
    found += [f"{who} ended {ends[who]} times" for who in expected if ends[who] != 1]
    last = {e["job_id"]: e for e in left.events if e["job_id"]}
    return found + [
        f"job {job} goes on after its end" for job, e in last.items() if e["type"] not in ENDS or e["item_id"]
    ]


def gapless(left: Left) -> list[str]:
    """The event numbers of a session are 1, 2, 3 … without a gap."""
    sessions: dict[str, list[int]] = {}
    for event in left.events:
        sessions.setdefault(event["session_id"], []).append(event["seq"])
    return [f"session {s} has {seqs}" for s, seqs in sessions.items() if seqs != list(range(1, len(seqs) + 1))]


def monotone(left: Left) -> list[str]:
    """queued < running < progress* < judge? < one end; progress never falls."""
    order = {"queued": 0, "running": 1, "progress": 2, "judge": 3, "complete": 4, "fail": 4}
    found = []
    for item in left.items:
        told = [e for e in left.events if e["item_id"] == item["id"]]
        ranks = [order[e["type"]] for e in told]
        if ranks != sorted(ranks) or ranks.count(1) > 1 or ranks.count(3) > 1:
            found.append(f"item {item['id']} was told as {[e['type'] for e in told]}")
        fractions = [e["data"]["progress"] for e in told if e["type"] == "progress"]
        if fractions != sorted(fractions):
            found.append(f"progress of {item['id']} fell: {fractions}")
    return found


def rows_match(left: Left) -> list[str]:
    """Progressions and complete items are the same set."""
    complete = sorted(item["progression_id"] for item in left.items if item["status"] == "complete")
    rows = sorted(row["id"] for row in left.progressions if row["job_id"])
    return [] if complete == rows else [f"{len(complete)} complete items but {len(rows)} rows"]


def ledger_sane(left: Left) -> list[str]:
    """No attempt is open, no item succeeded twice, and every image belongs to a successful attempt."""
    found = [f"attempt {a['id']} is still {a['state']}" for a in left.attempts if a["state"] in ("intent", "sent")]
    won = Counter(a["item_id"] for a in left.attempts if a["state"] == "succeeded")
    found += [f"item {item} was bought {n} times" for item, n in won.items() if n > 1]
    need = {item["id"] for item in left.items if item["status"] in ("complete", "duplicate")}
    return found + [f"item {item} has an image but no purchase" for item in need - set(won)]
