"""Numbers of rows by state, and what was spent, for the metrics page."""

from typing import Literal

import msgspec

from tools.env import Env
from tools.rows import Count, now_ms
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
SPENT = """
SELECT provider AS name, CAST(SUM(cost_micros) AS BIGINT) AS micros FROM (
    SELECT provider, cost_micros FROM provider_attempts WHERE cost_micros IS NOT NULL AND billed = 1
    UNION ALL SELECT provider, cost_micros FROM model_calls WHERE cost_micros IS NOT NULL AND billed = 1
) AS calls GROUP BY provider
"""


Table = Literal["jobs", "items", "attempts", "model_calls", "workflows"]


class Group(msgspec.Struct, frozen=True):
    """How many rows of a table have one state."""

    kind: Table
    name: str
    n: int


class Spending(msgspec.Struct, frozen=True):
    """What the calls to a provider have cost so far, in micro-USD."""

    name: str
    micros: int


class Counts(msgspec.Struct, frozen=True):
    """Rows by table and state at one moment, the longest time in milliseconds that an open job had no event, and what
    was spent."""

    rows: list[Group]
    silence_ms: int
    spent: list[Spending]


@step("census.count", idle=True)
async def count(env: Env) -> Counts:
    """Count the rows of jobs, items, calls and workflows by state, and sum what calls cost.

    Fails: Unavailable when DB does not answer.
    """
    # One statement, hence one snapshot: the sums must agree at any moment.
    rows = await env.DB.all(ROWS, Group)
    longest = await env.DB.one(SILENCE, Count, now=now_ms())
    spent = await env.DB.all(SPENT, Spending)
    return Counts(rows, max(0, longest.n) if longest else 0, spent)
