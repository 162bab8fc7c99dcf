"""Budgets: what a project has spent, what its open items still reserve, and whether one more job fits.

Money is integer micro-USD. A call in flight counts at its maximum cost; an open item reserves what was reserved for it
minus what its calls have cost already, and releases the rest when it ends.
"""

from typing import Literal

import msgspec

from tools.env import Env, Statements
from tools.errors import NotFound, OverBudget
from tools.format import to_usd
from tools.step import step

# The cost of a call in both tables of calls: what was charged or, if no answer reported that, its quote.
CHARGE = "COALESCE(cost_micros, quote_micros)"
CHARGE_BASIS = "COALESCE(cost_basis, CASE WHEN price_version IS NULL THEN 'ceiling' ELSE 'estimate' END)"

LOCK_BUDGET = "UPDATE projects SET budget_micros = budget_micros WHERE id = :id AND budget_micros IS NOT NULL"
BUDGET_STATE = f"""
WITH calls AS (
    SELECT item_id, CASE WHEN state = 'sent' THEN {CHARGE} ELSE COALESCE(cost_micros, 0) END AS micros
    FROM (
        SELECT item_id, state, cost_micros, quote_micros FROM provider_attempts WHERE project_id = :id
        UNION ALL
        SELECT item_id, state, cost_micros, quote_micros FROM model_calls WHERE project_id = :id
    ) AS made
), used AS (
    SELECT item_id, SUM(micros) AS micros FROM calls GROUP BY item_id
), open_items AS (
    SELECT job_items.reserved_micros AS reserved, COALESCE(used.micros, 0) AS used
    FROM jobs JOIN job_items ON job_items.job_id = jobs.id LEFT JOIN used ON used.item_id = job_items.id
    WHERE jobs.project_id = :id AND jobs.ended_at IS NULL AND job_items.ended_at IS NULL
)
SELECT projects.budget_micros AS budget,
    (SELECT CAST(COALESCE(SUM(micros), 0) AS BIGINT) FROM calls) AS spent,
    (SELECT CAST(COALESCE(SUM(CASE WHEN reserved > used THEN reserved - used ELSE 0 END), 0) AS BIGINT)
     FROM open_items) AS reserved
FROM projects WHERE id = :id
"""  # noqa: S608 (constants)
TOTALS = """COUNT(*) AS calls, CAST(SUM(cost_micros) AS BIGINT) AS micros,
    CAST(SUM(CASE WHEN cost_basis = 'ceiling' THEN 1 ELSE 0 END) AS BIGINT) AS unpriced,
    CAST(SUM(CASE WHEN cost_basis = 'estimate' THEN 1 ELSE 0 END) AS BIGINT) AS estimated"""
BILLED = """
SELECT job_id, provider, model, 'image' AS purpose, created_at, cost_micros, cost_basis
FROM provider_attempts WHERE project_id = :id AND cost_micros IS NOT NULL AND billed = 1
UNION ALL
SELECT job_id, provider, model, purpose, created_at, cost_micros, cost_basis
FROM model_calls WHERE project_id = :id AND cost_micros IS NOT NULL AND billed = 1
"""
BY_DAY = f"""
SELECT created_at / 86400000 AS day, provider, model, purpose, {TOTALS}
FROM ({BILLED}) AS billed GROUP BY created_at / 86400000, provider, model, purpose
ORDER BY day DESC, provider, model, purpose
"""  # noqa: S608 (constants)
BY_JOB = f"""
SELECT job_id, {TOTALS}
FROM ({BILLED}) AS billed WHERE job_id IS NOT NULL GROUP BY job_id ORDER BY MAX(created_at) DESC, job_id LIMIT :limit
"""  # noqa: S608 (constants)

Purpose = Literal["image", "refine", "judge", "workflow", "chat"]


class BudgetState(msgspec.Struct, frozen=True):
    """A project's budget, spending and reservations, in micro-USD; `budget` is None without a limit."""

    budget: int | None
    spent: int
    reserved: int

    @property
    def remaining(self) -> int | None:
        """What may still be spent; below 0 when calls cost more than they were quoted. None without a limit."""
        return None if self.budget is None else self.budget - self.spent - self.reserved


class DayCost(msgspec.Struct, frozen=True):
    """Billed calls of one day (days since 1970, UTC) to one model for one purpose."""

    day: int
    provider: str
    model: str
    purpose: Purpose
    calls: int
    micros: int
    unpriced: int
    estimated: int


class JobCost(msgspec.Struct, frozen=True):
    """Billed calls of one job."""

    job_id: str
    calls: int
    micros: int
    unpriced: int
    estimated: int


async def check_budget(tx: Statements, project_id: str, micros: int) -> None:
    """Lock the project's budget and check that `micros` more fit.

    The items that the caller inserts are the reservation.

    Effect: nobody else reserves until `tx` ends.
    Fails: OverBudget (402).
    """
    if not micros or not await tx.run(LOCK_BUDGET, id=project_id):
        return
    # One statement, so one snapshot: between two, an item could release money whose call is not recorded yet.
    state = await tx.one(BUDGET_STATE, BudgetState, id=project_id)
    assert state is not None
    if state.remaining is not None and micros > state.remaining:
        raise OverBudget(
            "the project's budget does not allow this job",
            detail={
                "budgetUsd": to_usd(state.budget),
                "spentUsd": to_usd(state.spent),
                "reservedUsd": to_usd(state.reserved),
                "neededUsd": to_usd(micros),
            },
        )


@step("money.budget_state")
async def budget_state(env: Env, project_id: str) -> BudgetState:
    """Budget, spending and reservations of the project. Fails: NotFound."""
    found = await env.DB.one(BUDGET_STATE, BudgetState, id=project_id)
    if found is None:
        raise NotFound("there is no such project")
    return found


@step("money.costs")
async def costs(env: Env, project_id: str, jobs: int) -> tuple[list[DayCost], list[JobCost]]:
    """All billed calls of the project by day and model, and the latest `jobs` jobs that cost something."""
    return (
        await env.DB.all(BY_DAY, DayCost, id=project_id),
        await env.DB.all(BY_JOB, JobCost, id=project_id, limit=jobs),
    )
