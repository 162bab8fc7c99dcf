"""Projects, and what they cost."""

import datetime
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.http.schemas import CLEAN, Cursor, Limit, NewProject, ProjectPatch
from tools import db
from tools.env import Env
from tools.format import to_micros, to_usd
from tools.ledger import money
from tools.ledger.money import BudgetState, DayCost, JobCost
from tools.pages import LIMIT, Page
from tools.publishing.addresses import whole
from tools.reports.project_cards import ProjectCard, project_cards
from tools.rows import Project

NamePart = Annotated[
    str,
    QueryParameter(
        name="query", max_length=200, pattern=CLEAN, description="text that the name or the description contains"
    ),
]
EPOCH = datetime.date(1970, 1, 1)
LATEST_JOBS = 200
"""How many jobs the costs list one by one."""


class Spent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Billed calls, in US dollars. Of them, `estimated` had a response without usage and count as their highest quote;
    `unpriced` have no known price and count as UNPRICED_USD."""

    usd: float = 0.0
    calls: int = 0
    estimated: int = 0
    unpriced: int = 0


class DaySpent(Spent, frozen=True, rename="camel", kw_only=True):
    """The calls of one `day` (YYYY-MM-DD, UTC)."""

    day: str


class ProviderSpent(Spent, frozen=True, rename="camel", kw_only=True):
    """The calls to one provider."""

    provider: str


class ModelSpent(Spent, frozen=True, rename="camel", kw_only=True):
    """The calls to one model for one purpose."""

    provider: str
    model: str
    purpose: money.Purpose


class JobSpent(Spent, frozen=True, rename="camel", kw_only=True):
    """The calls of one job."""

    job_id: str


class Costs(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a project has cost. `reservedUsd` is held for items that have not ended; `byJob` lists the latest 200."""

    currency: str
    total: Spent
    budget_usd: float | None
    reserved_usd: float
    remaining_usd: float | None
    by_day: list[DaySpent]
    by_provider: list[ProviderSpent]
    by_model: list[ModelSpent]
    by_job: list[JobSpent]


class Cover(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An image of a project as its card shows it; `width` and `height` in pixels."""

    progression_id: str
    url: str
    width: int
    height: int
    prompt: str


class OverviewCard(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A project with its four newest images, how many it has in all, its jobs that have not ended, and its spending."""

    id: str
    name: str
    description: str | None
    created_at: int
    updated_at: int
    images: int
    running_jobs: int
    spent_usd: float
    budget_usd: float | None
    covers: list[Cover]


@get("/api/projects", opt={"access": "read"}, tags=["projects"])
async def list_projects(
    env: NamedDependency[Env], text: NamePart = "", limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[Project]:
    """All projects, or those that are called so; the last changed first."""
    return await db.list_projects(env, cursor, limit, text.strip())


@post("/api/projects", tags=["projects"])
async def create_project(data: JSONBody[NewProject], env: NamedDependency[Env]) -> Project:
    """Create a project."""
    return await db.create_project(env, data.name, data.description)


@get("/api/projects/{project_id:str}", opt={"access": "read"}, tags=["projects"])
async def show_project(project_id: FromPath[str], env: NamedDependency[Env]) -> Project:
    """One project; `budget_micros` is its budget in millionths of a dollar."""
    return await db.get_project(env, project_id)


@patch("/api/projects/{project_id:str}", tags=["projects"])
async def patch_project(project_id: FromPath[str], data: JSONBody[ProjectPatch], env: NamedDependency[Env]) -> Project:
    """Change a project's name, description or budget."""
    budget = to_micros(data.budget_usd) if isinstance(data.budget_usd, float) else data.budget_usd
    changes = db.ProjectChanges(name=data.name, description=data.description, budget_micros=budget)
    return await db.patch_project(env, project_id, changes)


@get("/api/projects/{project_id:str}/costs", opt={"access": "read"}, tags=["projects"])
async def show_costs(project_id: FromPath[str], env: NamedDependency[Env]) -> Costs:
    """What the project's calls to vendors and models cost, by day, provider, model and job."""
    state = await money.budget_state(env, project_id)
    return costs_of(state, *await money.costs(env, project_id, LATEST_JOBS))


def costs_of(state: BudgetState, days: list[DayCost], jobs: list[JobCost]) -> Costs:
    """The project's costs: the same calls summed by day, provider, model and job."""
    left = state.remaining
    providers = sorted({row.provider for row in days})
    models = sorted({(row.provider, row.model, row.purpose) for row in days})
    return Costs(
        currency="USD",
        total=Spent(**_sum(days)),
        budget_usd=to_usd(state.budget),
        reserved_usd=to_usd(state.reserved),
        remaining_usd=to_usd(left),
        by_day=[
            DaySpent(
                day=(EPOCH + datetime.timedelta(days=day)).isoformat(),
                **_sum([row for row in days if row.day == day]),
            )
            for day in sorted({row.day for row in days}, reverse=True)
        ],
        by_provider=[ProviderSpent(provider=p, **_sum([row for row in days if row.provider == p])) for p in providers],
        by_model=[
            ModelSpent(
                provider=p, model=m, purpose=why,
                **_sum([row for row in days if (row.provider, row.model, row.purpose) == (p, m, why)]),
            )
            for p, m, why in models
        ],
        by_job=[JobSpent(job_id=row.job_id, **_sum([row])) for row in jobs],
    )  # fmt: skip


def _sum(rows: Sequence[DayCost] | Sequence[JobCost]) -> dict[str, Any]:
    return {
        "usd": to_usd(sum(row.micros for row in rows)),
        "calls": sum(row.calls for row in rows),
        "estimated": sum(row.estimated for row in rows),
        "unpriced": sum(row.unpriced for row in rows),
    }


@get("/api/overview", opt={"access": "read"}, tags=["projects"])
async def show_overview(env: NamedDependency[Env], limit: Limit = 24, cursor: Cursor = None) -> Page[OverviewCard]:
    """The projects with what a list of covers shows of them, the last changed first."""
    found = await project_cards(env, cursor, limit)
    return Page([card_view(env, card) for card in found.items], found.next_cursor)


def card_view(env: Env, card: ProjectCard) -> OverviewCard:
    """A card as it is sent."""
    project = card.project
    covers = [
        Cover(
            progression_id=row.id,
            url=whole(env.settings, row.generated_image_url),
            width=row.width,
            height=row.height,
            prompt=row.prompt,
        )
        for row in card.covers
    ]
    return OverviewCard(
        id=project.id,
        name=project.name,
        description=project.description,
        created_at=project.created_at,
        updated_at=project.updated_at,
        images=project.images,
        running_jobs=project.running_jobs,
        spent_usd=to_usd(project.spent_micros),
        budget_usd=to_usd(project.budget_micros),
        covers=covers,
    )


handlers = [list_projects, create_project, show_project, patch_project, show_costs, show_overview]
