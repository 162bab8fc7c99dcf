"""How much of everything there is, for the metrics page."""

import msgspec

from tools.env import Env
from tools.rows import now_ms
from tools.step import step

JOBS = "SELECT status AS name, COUNT(*) AS n FROM jobs GROUP BY status"
ITEMS = "SELECT status AS name, COUNT(*) AS n FROM job_items GROUP BY status"
ATTEMPTS = "SELECT state AS name, COUNT(*) AS n FROM provider_attempts GROUP BY state"
SILENCE = """
SELECT COALESCE(MAX(CAST(:now AS BIGINT) - quiet.last), 0) AS n FROM (
    SELECT MAX(events.ts) AS last FROM jobs JOIN events ON events.job_id = jobs.id
    WHERE jobs.ended_at IS NULL GROUP BY jobs.id
) AS quiet
"""


class Group(msgspec.Struct, frozen=True):
    name: str
    n: int


class Longest(msgspec.Struct, frozen=True):
    n: int


class Census(msgspec.Struct, frozen=True):
    """Rows by status, and the longest time in milliseconds since an open job last said anything."""

    jobs: dict[str, int]
    items: dict[str, int]
    attempts: dict[str, int]
    silence_ms: int


@step("census.count")
async def count(env: Env) -> Census:
    """Count jobs, items and attempts.

    Fails: Unavailable when DB does not answer.
    """
    groups = [await env.DB.all(sql, Group) for sql in (JOBS, ITEMS, ATTEMPTS)]
    longest = await env.DB.one(SILENCE, Longest, now=now_ms())
    jobs, items, attempts = ({group.name: group.n for group in found} for found in groups)
    return Census(jobs, items, attempts, max(0, longest.n) if longest else 0)
