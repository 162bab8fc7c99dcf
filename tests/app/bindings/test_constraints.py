"""Impossible states, tried by raw SQL, are refused by both databases themselves."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import bare_env
from tools.env import Statements, Value
from tools.errors import Violation

SHA = "a" * 64
ROWS: dict[str, tuple[str, dict[str, Value]]] = {
    "project": ("projects", {"id": "p", "name": "n", "created_at": 5, "updated_at": 5}),
    "other project": ("projects", {"id": "q", "name": "n", "created_at": 5, "updated_at": 5}),
    "job": (
        "jobs",
        {
            "id": "j",
            "project_id": "p",
            "session_id": "s",
            "status": "queued",
            "prompt": "x",
            "kind": "generate",
            "request": "{}",
            "body_sha256": SHA,
            "correlation_id": "c",
            "created_at": 5,
            "idempotency_scope": "p",
            "idempotency_key": "k",
        },
    ),
    "item": (
        "job_items",
        {
            "id": "i",
            "job_id": "j",
            "position": 0,
            "provider": "sketch",
            "model": "m",
            "variant_index": 0,
            "status": "queued",
            "created_at": 5,
        },
    ),
    "attempt": (
        "provider_attempts",
        {
            "id": "a",
            "job_id": "j",
            "item_id": "i",
            "number": 1,
            "provider": "sketch",
            "model": "m",
            "state": "intent",
            "free": 0,
            "created_at": 5,
        },
    ),
    "progression": (
        "image_progressions",
        {
            "id": "g",
            "project_id": "p",
            "prompt": "x",
            "generated_image_url": "u",
            "original_image_r2_key": "k",
            "ai_provider": "sketch",
            "created_at": 5,
            "edge": "generate",
            "width": 1,
            "height": 1,
            "sha256": SHA,
        },
    ),
    "tag": ("progression_tags", {"progression_id": "g", "tag": "red"}),
    "upload": (
        "uploads",
        {
            "project_id": "p",
            "sha256": SHA,
            "r2_key": "k",
            "mime": "image/png",
            "width": 1,
            "height": 1,
            "size": 1,
            "created_at": 5,
        },
    ),
    "session": ("sessions", {"id": "s", "seq": 3}),
    "event": (
        "events",
        {"session_id": "s", "seq": 1, "ts": 5, "type": "queued", "job_id": "j", "item_id": "i", "data": "{}"},
    ),
    "item end": (
        "events",
        {"session_id": "s", "seq": 2, "ts": 5, "type": "complete", "job_id": "j", "item_id": "i", "data": "{}"},
    ),
    "job end": ("events", {"session_id": "s", "seq": 3, "ts": 5, "type": "fail", "job_id": "j", "data": "{}"}),
    "artifact": (
        "artifacts",
        {
            "id": "t",
            "owner_id": "o",
            "title": "t",
            "public_slug": "s" * 22,
            "generator_id": "lookbook",
            "created_at": 5,
            "updated_at": 5,
        },
    ),
    "link": ("project_artifacts", {"project_id": "p", "artifact_id": "t"}),
    "configuration": ("artifact_configurations", {"artifact_id": "t", "config_key": "TITLE", "config_value": "v"}),
    "view": ("artifact_views", {"id": "v", "artifact_id": "t", "timestamp": 5}),
    "result": ("workflow_results", {"id": "r", "user_id": "u", "task": "x", "result": "y", "created_at": 5}),
    "workflow": (
        "workflows",
        {
            "id": "w",
            "user_id": "u",
            "task": "x",
            "status": "running",
            "steps_done": 3,
            "result_id": "r",
            "body_sha256": SHA,
            "correlation_id": "c",
            "created_at": 5,
            "started_at": 5,
            "idempotency_key": "k",
        },
    ),
}
"""A possible state: one row of each kind, in the order of their references."""

NEW = {
    "project": "p2",
    "job": "j2",
    "item": "i2",
    "attempt": "a2",
    "progression": "g2",
    "artifact": "t2",
    "view": "v2",
    "workflow": "w2",
}
ENDED: dict[str, Value] = {"status": "complete", "progression_id": "g2", "ended_at": 6}
BEGUN: dict[str, Value] = {"idempotency_key": "k2", "steps_done": 1, "result_id": None}

IMPOSSIBLE_ROWS: list[tuple[str, dict[str, Value]]] = [
    ("project", {"name": ""}),
    ("project", {"updated_at": 4}),
    ("project", {"budget_micros": -1}),
    ("job", {"project_id": "nobody"}),
    ("job", {"status": "paused"}),
    ("job", {"kind": "collage"}),
    ("job", {"idempotency_key": "k"}),
    ("job", {"idempotency_key": None}),
    ("job", {"idempotency_key": "k2", "status": "complete"}),
    ("job", {"idempotency_key": "k2", "ended_at": 6}),
    ("job", {"idempotency_key": "k2", "status": "running"}),
    ("job", {"idempotency_key": "k2", "body_sha256": "abc"}),
    ("job", {"idempotency_key": "k2", "session_id": "s" * 129}),
    ("item", {"job_id": "nobody", "position": 1, "variant_index": 1}),
    ("item", {"variant_index": 1}),
    ("item", {"position": 1}),
    ("item", {"position": 1, "variant_index": 1, "status": "done"}),
    ("item", {"position": 1, "variant_index": 1, "ended_at": 6}),
    ("item", {"position": 1, "variant_index": 1, "status": "running"}),
    ("item", {"position": 1, "variant_index": 1, **ENDED, "progression_id": None}),
    ("item", {"position": 1, "variant_index": 1, **ENDED, "error": "{}"}),
    ("item", {"position": 1, "variant_index": 1, "progression_id": "g2", "status": "failed", "ended_at": 6}),
    ("item", {"position": 1, "variant_index": 1, "status": "failed", "ended_at": 6}),
    ("item", {"position": 1, "variant_index": 1, "status": "duplicate", "ended_at": 6}),
    ("item", {"position": 1, "variant_index": 1, "duplicate_of": "i2"}),
    ("item", {"position": 1, "variant_index": 1, "progress": 1.5}),
    ("item", {"position": 1, "variant_index": 1, "phash": "0"}),
    ("attempt", {"number": 2}),
    ("attempt", {"state": "failed", "settled_at": 6}),
    ("attempt", {"number": 2, "state": "succeeded", "sent_at": 5, "settled_at": 6}),
    ("attempt", {"number": 2, "state": "succeeded", "settled_at": 6, "bytes_sha256": SHA}),
    ("attempt", {"number": 2, "state": "uncertain", "settled_at": 6}),
    ("attempt", {"number": 2, "state": "failed"}),
    ("attempt", {"number": 2, "state": "refused", "sent_at": 5, "settled_at": 6, "free": 1, "billed": 1}),
    ("attempt", {"number": 0, "state": "failed", "settled_at": 6}),
    ("attempt", {"number": 2, "state": "failed", "settled_at": 6, "cost_micros": -1}),
    ("attempt", {"number": 2, "state": "failed", "settled_at": 6, "item_id": "nobody"}),
    ("progression", {"project_id": "nobody"}),
    ("progression", {"parent_progression_id": "nobody"}),
    ("progression", {"parent_progression_id": "g2"}),
    ("progression", {"parent_progression_id": "g", "project_id": "q"}),
    ("progression", {"judgment": "pass"}),
    ("progression", {"judge_status": "ok"}),
    ("progression", {"judge_status": "ok", "judgment": "maybe"}),
    ("progression", {"item_id": "i"}),
    ("progression", {"edge": "collage"}),
    ("progression", {"width": 0}),
    ("progression", {"sha256": "abc"}),
    ("progression", {"cost_usd": -1}),
    ("progression", {"original_image_r2_key": None}),
    ("tag", {}),
    ("tag", {"tag": ""}),
    ("tag", {"progression_id": "nobody"}),
    ("upload", {}),
    ("upload", {"sha256": "b" * 64, "mime": "image/svg+xml"}),
    ("session", {"id": "s2", "pruned": 4}),
    ("event", {}),
    ("event", {"seq": 0}),
    ("event", {"session_id": "nobody"}),
    ("event", {"seq": 4, "type": "paused"}),
    ("item end", {"seq": 4}),
    ("item end", {"seq": 4, "type": "fail"}),
    ("job end", {"seq": 4, "type": "complete"}),
    ("artifact", {}),
    ("artifact", {"public_slug": "short"}),
    ("artifact", {"public_slug": "t" * 22, "generator_id": None}),
    ("artifact", {"public_slug": "t" * 22, "content_r2_key": "k", "version": 1}),
    ("artifact", {"public_slug": "t" * 22, "content_r2_key": "k", "content_sha256": SHA}),
    ("artifact", {"public_slug": "t" * 22, "updated_at": 4}),
    ("link", {}),
    ("link", {"project_id": "nobody"}),
    ("configuration", {}),
    ("configuration", {"artifact_id": "nobody"}),
    ("view", {"artifact_id": "nobody"}),
    ("view", {"user_agent": "u" * 257}),
    ("result", {}),
    ("workflow", {**BEGUN, "idempotency_key": "k"}),
    ("workflow", {**BEGUN, "task": ""}),
    ("workflow", {**BEGUN, "task": "x" * 8001}),
    ("workflow", {**BEGUN, "user_id": ""}),
    ("workflow", {**BEGUN, "status": "paused"}),
    ("workflow", {**BEGUN, "status": "queued"}),
    ("workflow", {**BEGUN, "status": "queued", "started_at": None}),
    ("workflow", {**BEGUN, "started_at": None}),
    ("workflow", {**BEGUN, "ended_at": 6}),
    ("workflow", {**BEGUN, "error": "{}"}),
    ("workflow", {**BEGUN, "steps_done": 3}),
    ("workflow", {**BEGUN, "steps_done": 5}),
    ("workflow", {**BEGUN, "result_id": "nobody", "steps_done": 3}),
    ("workflow", {"idempotency_key": "k2"}),
    ("workflow", {**BEGUN, "notified_at": 6}),
    ("workflow", {**BEGUN, "status": "complete", "ended_at": 6}),
    ("workflow", {**BEGUN, "status": "failed", "ended_at": 6}),
    ("workflow", {**BEGUN, "status": "failed", "error": "{}"}),
    ("workflow", {**BEGUN, "status": "uncertain", "error": "{}", "ended_at": 6, "steps_done": 2}),
]
IMPOSSIBLE_CHANGES = [
    "UPDATE jobs SET status = 'running' WHERE id = 'done'",
    "UPDATE jobs SET status = 'failed' WHERE id = 'done'",
    "UPDATE jobs SET status = 'queued', ended_at = NULL WHERE id = 'done'",
    "UPDATE jobs SET ended_at = 9 WHERE id = 'done'",
    "UPDATE job_items SET status = 'failed', error = '{}', progression_id = NULL WHERE id = 'done'",
    "UPDATE job_items SET status = 'running', ended_at = NULL, progression_id = NULL, started_at = 6 WHERE id = 'done'",
    "UPDATE job_items SET ended_at = 9 WHERE id = 'done'",
    "UPDATE provider_attempts SET state = 'uncertain', bytes_sha256 = NULL WHERE id = 'done'",
    "UPDATE provider_attempts SET state = 'sent', bytes_sha256 = NULL, settled_at = NULL WHERE id = 'done'",
    "UPDATE provider_attempts SET settled_at = 9 WHERE id = 'done'",
    "UPDATE provider_attempts SET state = 'intent', sent_at = NULL WHERE id = 'sent'",
    "UPDATE events SET data = '{\"a\": 1}' WHERE seq = 1",
    "UPDATE events SET seq = 9 WHERE seq = 1",
    "UPDATE image_progressions SET original_image_r2_key = 'other' WHERE id = 'g'",
    f"UPDATE image_progressions SET sha256 = '{'b' * 64}' WHERE id = 'g'",
    "UPDATE image_progressions SET project_id = 'q' WHERE id = 'g'",
    "UPDATE image_progressions SET parent_progression_id = 'child' WHERE id = 'g'",
    "UPDATE projects SET updated_at = 1 WHERE id = 'p'",
    "DELETE FROM projects WHERE id = 'p'",
    "DELETE FROM sessions WHERE id = 's'",
    "UPDATE workflows SET status = 'running', error = NULL, ended_at = NULL WHERE id = 'done'",
    "UPDATE workflows SET status = 'failed' WHERE id = 'done'",
    "UPDATE workflows SET ended_at = 9 WHERE id = 'done'",
    "UPDATE workflows SET error = '{\"a\": 1}' WHERE id = 'done'",
    "UPDATE workflows SET task = 'other' WHERE id = 'w'",
    "UPDATE workflows SET user_id = 'other' WHERE id = 'w'",
    "UPDATE workflows SET steps_done = 2, result_id = NULL WHERE id = 'w'",
    "UPDATE workflows SET status = 'complete', ended_at = 6 WHERE id = 'w'",
    "UPDATE workflow_results SET result = 'other' WHERE id = 'r'",
    "DELETE FROM workflow_results WHERE id = 'r'",
]
POSSIBLE_CHANGES = [
    "UPDATE jobs SET metadata = '{\"a\": 1}', fence = fence + 1 WHERE id = 'done'",
    "UPDATE job_items SET original_r2_key = 'late' WHERE id = 'done'",
    "UPDATE provider_attempts SET billed = 1 WHERE id = 'done'",
    "UPDATE image_progressions SET judge_status = 'ok', judgment = 'pass' WHERE id = 'g'",
    "DELETE FROM events WHERE seq = 1",
    "UPDATE workflows SET fence = fence + 1, lease_until = 9 WHERE id = 'done'",
    "UPDATE workflows SET notified_at = 6 WHERE id = 'w'",
    "UPDATE workflows SET status = 'complete', steps_done = 4, ended_at = 6 WHERE id = 'w'",
]


async def insert(tx: Statements, table: str, row: dict[str, Value]) -> None:
    columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    await tx.run(f"INSERT INTO {table} ({columns}) VALUES ({values})", **row)


async def fill(tx: Statements) -> None:
    """The possible state, then a job, an item and attempts that have ended, and a child."""
    for table, row in ROWS.values():
        await insert(tx, table, row)
    given: dict[str, dict[str, Any]] = {
        "job": {"idempotency_key": "done", "status": "complete", "started_at": 5, "ended_at": 6},
        "item": {"position": 8, "variant_index": 8, **ENDED, "progression_id": "gone"},
        "attempt": {"number": 8, "state": "succeeded", "sent_at": 5, "settled_at": 6, "bytes_sha256": SHA},
        "workflow": {**BEGUN, "idempotency_key": "done", "status": "uncertain", "error": "{}", "ended_at": 6},
    }
    for kind, changes in given.items():
        table, row = ROWS[kind]
        await insert(tx, table, {**row, "id": "done", **changes})
    table, row = ROWS["attempt"]
    await insert(tx, table, {**row, "id": "sent", "number": 9, "item_id": "done", "state": "sent", "sent_at": 5})
    await insert(tx, "image_progressions", {**ROWS["progression"][1], "id": "child", "parent_progression_id": "g"})


async def test_impossible_states_are_refused(database_url: str, tmp_path: Path) -> None:
    """The schema refuses rows and changes that no valid history contains, whatever code writes them."""
    async with bare_env(tmp_path, database_url) as env:
        async with env.DB.transaction() as tx:
            await fill(tx)
        accepted: list[object] = []
        for kind, changes in IMPOSSIBLE_ROWS:
            table, row = ROWS[kind]
            fresh = {"id": NEW[kind]} if kind in NEW else {}
            try:
                await insert(env.DB, table, {**row, **fresh, **changes})
            except Violation:
                continue
            accepted.append((kind, changes))
        for change in IMPOSSIBLE_CHANGES:
            try:
                await env.DB.run(change)
            except Violation:
                continue
            accepted.append(change)
        assert accepted == []
        assert len(IMPOSSIBLE_ROWS) + len(IMPOSSIBLE_CHANGES) >= 30
        for change in POSSIBLE_CHANGES:
            assert await env.DB.run(change) == 1, change


@pytest.mark.parametrize("kind", NEW)
async def test_the_possible_state_is_accepted(tmp_path: Path, kind: str) -> None:
    """What the impossible rows differ from is possible, so that each is refused for its difference alone."""
    differs: dict[str, dict[str, Value]] = {
        "job": {"idempotency_key": "k2"},
        "item": {"position": 1, "variant_index": 1},
        "attempt": {"number": 2, "state": "failed", "settled_at": 6},
        "artifact": {"public_slug": "t" * 22},
        "workflow": BEGUN,
    }
    async with bare_env(tmp_path) as env, env.DB.transaction() as tx:
        await fill(tx)
        table, row = ROWS[kind]
        await insert(tx, table, {**row, "id": NEW[kind], **differs.get(kind, {})})
