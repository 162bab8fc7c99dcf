"""Projects: the bodies of work that everything else belongs to."""

from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, UnsetType

from app.schemas import Cursor, Limit, NewProject, ProjectPatch
from tools import db
from tools.env import Env
from tools.pages import LIMIT, Page
from tools.rows import Project


@get("/api/projects", opt={"access": "read"}, tags=["projects"])
async def list_projects(env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None) -> Page[Project]:
    """Projects, the one changed last first."""
    return await db.list_projects(env, cursor, limit)


@post("/api/projects", tags=["projects"])
async def create_project(data: JSONBody[NewProject], env: NamedDependency[Env]) -> Project:
    """Begin a project."""
    return await db.create_project(env, data.name, data.description)


@get("/api/projects/{project_id:str}", opt={"access": "read"}, tags=["projects"])
async def show_project(project_id: FromPath[str], env: NamedDependency[Env]) -> Project:
    """One project; `budget_micros` is its budget in millionths of a dollar."""
    return await db.get_project(env, project_id)


@patch("/api/projects/{project_id:str}", tags=["projects"])
async def patch_project(project_id: FromPath[str], data: JSONBody[ProjectPatch], env: NamedDependency[Env]) -> Project:
    """Change a project's name, description or budget."""
    changes = db.ProjectChanges(name=data.name, description=data.description, budget_micros=in_micros(data.budget_usd))
    return await db.patch_project(env, project_id, changes)


def in_micros(dollars: float | UnsetType | None) -> int | UnsetType | None:
    """Dollars as integer micro-USD; what is unset or null stays so."""
    return dollars if dollars is None or dollars is UNSET else round(dollars * 1_000_000)


handlers = [list_projects, create_project, show_project, patch_project]
