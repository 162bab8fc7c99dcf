"""Projects as cards: each with its newest images, how many it has, what runs and what it has spent."""

import msgspec

from tools.env import Env
from tools.ledger.money import CHARGE
from tools.pages import Cursor, Page, decode, page
from tools.rows import Progression, Project
from tools.step import step

COVERS = 4
CARDS = f"""
SELECT projects.*,
    (SELECT COUNT(*) FROM image_progressions AS i WHERE i.project_id = projects.id) AS images,
    (SELECT COUNT(*) FROM jobs AS j WHERE j.project_id = projects.id AND j.ended_at IS NULL) AS running_jobs,
    (SELECT CAST(COALESCE(SUM(CASE WHEN state = 'sent' THEN {CHARGE} ELSE COALESCE(cost_micros, 0) END), 0) AS BIGINT)
        FROM (SELECT state, cost_micros, quote_micros FROM provider_attempts WHERE project_id = projects.id
            UNION ALL
            SELECT state, cost_micros, quote_micros FROM model_calls WHERE project_id = projects.id) AS made
    ) AS spent_micros
FROM projects WHERE (updated_at, id) < (:at, :id) ORDER BY updated_at DESC, id DESC LIMIT :limit
"""  # noqa: S608 (constants)
NEWEST = """
SELECT * FROM image_progressions WHERE project_id = :project_id ORDER BY created_at DESC, id DESC LIMIT :limit
"""


class ProjectCounts(Project, frozen=True, kw_only=True):
    """A project with its number of images, of jobs that have not ended, and what it has spent, in micro-USD."""

    images: int
    running_jobs: int
    spent_micros: int


class ProjectCard(msgspec.Struct, frozen=True):
    """A project with its newest images, COVERS of them at most."""

    project: ProjectCounts
    covers: list[Progression]


@step("reports.project_cards")
async def project_cards(env: Env, cursor: str | None, limit: int) -> Page[ProjectCard]:
    """The projects as cards, the last changed first.

    Fails: Invalid (400, `bad_cursor`).
    """
    after = decode(cursor)
    rows = await env.DB.all(CARDS, ProjectCounts, at=after.at, id=after.id, limit=limit + 1)
    found = page(rows, limit, lambda row: Cursor(row.updated_at, row.id))
    cards = [
        ProjectCard(row, await env.DB.all(NEWEST, Progression, project_id=row.id, limit=COVERS)) for row in found.items
    ]
    return Page(cards, found.next_cursor)
