"""Whose fault the death of a worker may be.

A claim whose lease runs out, instead of being released, has died, or has failed in a way that it would fail again. Its
death is counted: for an item that the claim had sent out, unless the item came further than at any death before; for
the job itself when nothing had been sent out. What the claim wrote besides does not matter, because a repetition writes
events too. `graphs/image_job/waves.py` decides what follows from the counts.
"""

from tools.env import Env
from tools.ledger.leases import Lease
from tools.rows import Count

STEPS_DONE = """(
    CASE WHEN progress >= 0.1 THEN 1 ELSE 0 END + CASE WHEN progress >= 0.7 THEN 1 ELSE 0 END
    + CASE WHEN progress >= 0.75 THEN 1 ELSE 0 END + CASE WHEN progress >= 0.8 THEN 1 ELSE 0 END
    + CASE WHEN progress >= 0.9 THEN 1 ELSE 0 END
    + (SELECT COUNT(*) + COUNT(made.sent_at) + COUNT(made.settled_at) FROM provider_attempts AS made
       WHERE made.item_id = job_items.id AND made.job_id = job_items.job_id AND made.state <> 'abandoned')
    + (SELECT COUNT(*) + COUNT(asked.settled_at) FROM model_calls AS asked WHERE asked.item_id = job_items.id)
)"""
"""How many steps an item has done: the stages from `generate` on that have begun, and its calls. The number is bounded,
and a call that a crash undid leaves it as it was."""
COUNT_DEATH = """
UPDATE jobs SET idle_claims = idle_claims + 1, lease_until = 0
WHERE id = :id AND status IN ('queued', 'running') AND lease_until > 0 AND lease_until <= :now
"""
BLAME_ITEMS = f"""
UPDATE job_items SET
    deaths = CASE WHEN {STEPS_DONE} > reached THEN 0 ELSE deaths + 1 END,
    reached = CASE WHEN {STEPS_DONE} > reached THEN {STEPS_DONE} ELSE reached END
WHERE job_id = :id AND ended_at IS NULL AND claim = (SELECT fence FROM jobs WHERE id = :id)
"""  # noqa: S608 (constants)
CLEAR_JOB = """
UPDATE jobs SET idle_claims = 0
WHERE id = :id AND EXISTS (SELECT 1 FROM job_items WHERE job_id = :id AND claim = jobs.fence)
"""
JOB_DIED = (COUNT_DEATH, BLAME_ITEMS, CLEAR_JOB)
STUCK = f"""
SELECT COUNT(*) AS n FROM jobs WHERE id = :id AND fence = :fence AND ended_at IS NULL AND (
    NOT EXISTS (SELECT 1 FROM job_items WHERE job_id = :id AND claim = :fence)
    OR EXISTS (SELECT 1 FROM job_items WHERE job_id = :id AND claim = :fence AND ended_at IS NULL
               AND deaths > 0 AND {STEPS_DONE} <= reached))
"""  # noqa: S608 (constants)


async def is_stuck(env: Env, lease: Lease) -> bool:
    """Whether the claim of a job has come no further yet than those that died before it."""
    stuck = await env.DB.one(STUCK, Count, id=lease.id, fence=lease.fence)
    return stuck is not None and stuck.n > 0
