"""How much of everything there is, for the metrics page."""

from typing import Literal

import msgspec

from tools.env import Env
from tools.rows import now_ms
from tools.step import step

ROWS = """
SELECT 'jobs' AS kind, status AS name, COUNT(*) AS n FROM jobs GROUP BY status
UNION ALL SELECT 'items', status, COUNT(*) FROM job_items GROUP BY status
UNION ALL SELECT 'attempts', state, COUNT(*) FROM provider_attempts GROUP BY state
UNION ALL SELECT 'model_calls', state, COUNT(*) FROM model_calls GROUP BY state
UNION ALL SELECT 'workflows', status, COUNT(*) FROM workflows GROUP BY status
"""
SILENCE = """
SELECT COALESCE(MAX(CAST(:now AS BIGINT) - quiet.last), 0) AS n FROM (
    SELECT MAX(events.ts) AS last FROM jobs JOIN events ON events.job_id = jobs.id
    WHERE jobs.ended_at IS NULL GROUP BY jobs.id
) AS quiet
"""


Table = Literal["jobs", "items", "attempts", "model_calls", "workflows"]


class Group(msgspec.Struct, frozen=True):
    kind: Table
    name: str
    n: int


class Longest(msgspec.Struct, frozen=True):
    n: int


class Counts(msgspec.Struct, frozen=True):
    """Rows by table and status, all of one moment, and the longest time in milliseconds since an open job last said
    anything."""

    rows: list[Group]
    silence_ms: int


@step("census.count")
async def count(env: Env) -> Counts:
    """Count what there is.

    Fails: Unavailable when DB does not answer.
    """
    # One statement, so one snapshot: the books must balance whenever somebody looks.
    rows = await env.DB.all(ROWS, Group)
    longest = await env.DB.one(SILENCE, Longest, now=now_ms())
    return Counts(rows, max(0, longest.n) if longest else 0)
