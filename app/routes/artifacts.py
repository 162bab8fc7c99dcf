"""Artifacts: what can be made, what was made, how often it was read; making it, making it anew, taking it away."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, UnsetType

from app.http.prefer import preferred_wait
from app.http.schemas import Body, Cursor, Id, Limit, Name, invalid
from generators import registry
from generators.generator import Generator
from generators.shared import template_page
from tools import db
from tools.env import Env
from tools.errors import Invalid
from tools.pages import LIMIT, Page
from tools.publishing import artifacts, renders, templates, views
from tools.publishing.renders import Rendering, RenderRow
from tools.rows import ArtifactRow, Project

MOST_PROJECTS = 50
LONGEST_TITLE = 200


class Wishes(Body, frozen=True):
    """What may be said about any artifact; without a title it bears its projects' names. The session is told how the
    making goes on."""

    examples: ClassVar[list[dict[str, Any]]] = [{"title": "Autumn"}]
    title: Name | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    owner_id: Id = "default"
    session_id: Id | None = None


class NewArtifact(Wishes, frozen=True, kw_only=True):
    """Either `generatorId` or `templateR2Key`; a template has placeholders instead of options."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"generatorId": "lookbook", "projectIds": ["PROJECT"], "title": "Autumn", "options": {"only": "passed"}},
        {"templateR2Key": f"templates/poster/{'0' * 64}.html", "projectIds": ["PROJECT"], "title": "Autumn"},
    ]
    generator_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    template_r2_key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    project_ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST_PROJECTS)]


class Renewal(Body, frozen=True):
    """What is left out stays as it is. The session is told how the making goes on."""

    examples: ClassVar[list[dict[str, Any]]] = [{"title": "Autumn, second choice", "options": {"only": "passed"}}]
    title: Name | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    session_id: Id | None = None


class Association(Body, frozen=True):
    """One of the two, or both."""

    examples: ClassVar[list[dict[str, Any]]] = [{"projectId": "PROJECT"}]
    project_id: Id | None = None
    project_ids: Annotated[list[Id], Meta(max_length=MOST_PROJECTS)] = msgspec.field(default_factory=list)


class GeneratorAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`options` is the JSON Schema of what the generator's options may be."""

    id: str
    name: str
    output: str
    configured: bool
    options: dict[str, Any]


class Made(msgspec.Struct, frozen=True, omit_defaults=True):
    """`render` is there while it is being made."""

    artifact_id: str
    public_slug: str
    render: Rendering | None = None


class ArtifactAnswer(ArtifactRow, frozen=True, kw_only=True):
    """A row of `artifacts`; `public_url` answers once `version` is 1 or more."""

    artifact_id: str
    public_url: str


class VersionAnswer(artifacts.Version, frozen=True, kw_only=True):
    """`public_url` answers while the artifact is published and its main link is open."""

    public_url: str


class ArtifactMade(ArtifactAnswer, frozen=True, kw_only=True):
    """`render` tells how the making stands where it was, or is, left to a worker."""

    render: Rendering | None


class ArtifactDetails(ArtifactMade, frozen=True, kw_only=True):
    """With the projects it is made from and what was chosen so far, by placeholder."""

    project_ids: list[str]
    configuration: dict[str, str]


@get("/api/generators", opt={"access": "read"}, tags=["artifacts"])
async def list_generators() -> Page[GeneratorAnswer]:
    """Every kind of artifact that can be made here."""
    return Page(
        [
            GeneratorAnswer(
                id,
                generator.name,
                generator.output,
                registry.is_installed(generator),
                registry.options_schema(generator),
            )
            for id, generator in registry.known().items()
        ],
        None,
    )


@get("/api/artifacts", opt={"access": "read"}, tags=["artifacts"])
async def list_artifacts(
    env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[ArtifactAnswer]:
    """Artifacts, the newest first."""
    page = await artifacts.list_page(env, cursor, limit)
    return Page([_answer(env, row) for row in page.items], page.next_cursor)


@get("/api/artifacts/{artifact_id:str}", opt={"access": "read"}, tags=["artifacts"])
async def get_artifact(artifact_id: FromPath[str], env: NamedDependency[Env]) -> ArtifactDetails:
    """One artifact with its projects and its configuration."""
    return await _details(env, await artifacts.get(env, artifact_id))


@get("/api/artifacts/{artifact_id:str}/views", opt={"access": "read"}, tags=["artifacts"])
async def get_views(artifact_id: FromPath[str], env: NamedDependency[Env]) -> views.Summary:
    """How often the public page was read."""
    return await views.summary(env, (await artifacts.get(env, artifact_id)).id)


@post(
    "/api/artifacts",
    tags=["artifacts"],
    responses={202: ResponseSpec(ArtifactMade, generate_examples=False, description="it is being made")},
)
async def make_artifact(
    request: Request[Any, Any, Any], data: JSONBody[NewArtifact], env: NamedDependency[Env]
) -> Response[ArtifactMade]:
    """Make an artifact from projects: by a generator it is published at once, from a template it is a draft whose
    placeholders are to be filled first. With `Prefer: respond-async`, or where it takes longer than two minutes, the
    answer is 202 and it is made in the background."""
    match data.generator_id, data.template_r2_key:
        case str(generator_id), None:
            row, headers = await _make(request, env, generator_id, data.project_ids, data)
        case None, str(key):
            row, headers = await _draft(env, key, data), {}
        case _:
            raise invalid("generatorId", "Expected either generatorId or templateR2Key")
    body = await _made(env, row)
    return Response(body, status_code=_status(body.render), headers=headers)


@post(
    "/api/projects/{project_id:str}/artifacts/{generator_id:str}",
    tags=["artifacts"],
    responses={202: ResponseSpec(Made, generate_examples=False, description="it is being made")},
)
async def make_from_project(
    request: Request[Any, Any, Any],
    project_id: FromPath[str],
    generator_id: FromPath[str],
    env: NamedDependency[Env],
    data: JSONBody[Wishes | None] = None,
) -> Response[Made]:
    """The same for one project; the body may be left out."""
    row, headers = await _make(request, env, generator_id, [project_id], data or Wishes())
    render = await renders.latest(env, row.id)
    status = _status(render)
    body = Made(row.id, row.public_slug, render if status == 202 else None)
    return Response(body, status_code=status, headers=headers)


@post("/api/artifacts/{artifact_id:str}/associate", status_code=200, tags=["artifacts"])
async def associate(
    artifact_id: FromPath[str], data: JSONBody[Association], env: NamedDependency[Env]
) -> ArtifactDetails:
    """Add projects to an artifact; those already there stay."""
    named = [*([data.project_id] if data.project_id else []), *data.project_ids]
    if not named:
        raise Invalid("name at least one project in projectId or projectIds", code="invalid_request")
    await artifacts.associate(env, artifact_id, list(dict.fromkeys(named)))
    return await _details(env, await artifacts.get(env, artifact_id))


@post(
    "/api/artifacts/{artifact_id:str}/regenerate",
    status_code=200,
    tags=["artifacts"],
    responses={202: ResponseSpec(ArtifactMade, generate_examples=False, description="it is being made")},
)
async def regenerate(
    request: Request[Any, Any, Any],
    artifact_id: FromPath[str],
    env: NamedDependency[Env],
    data: JSONBody[Renewal | None] = None,
) -> Response[ArtifactMade]:
    """Publish the next version under the same link, from the projects and choices of now; earlier versions stay. It
    goes as the first one did: 202 with `Prefer: respond-async`, or where it takes longer than two minutes."""
    row, wishes = await artifacts.get(env, artifact_id), data or Renewal()
    wanted = msgspec.structs.replace(
        row,
        title=row.title if wishes.title is UNSET else wishes.title,
        options=row.options if wishes.options is UNSET else wishes.options,
    )
    projects = await _projects(env, row)
    if row.generator_id is None:
        return Response(await _made(env, await _refill(env, wanted, projects, wishes.session_id)))
    generator = registry.find(row.generator_id)
    made, left, headers = await _publish(request, env, generator, wanted, projects, wishes.session_id)
    return Response(await _made(env, made), status_code=202 if left else 200, headers=headers)


@post("/api/artifacts/{artifact_id:str}/unpublish", status_code=200, tags=["artifacts"])
async def unpublish(artifact_id: FromPath[str], env: NamedDependency[Env]) -> ArtifactAnswer:
    """Take the page away: every link to it says 410, within a minute also from caches. Regenerating brings it back."""
    return _answer(env, await artifacts.unpublish(env, artifact_id))


@get("/api/artifacts/{artifact_id:str}/versions", opt={"access": "read"}, tags=["artifacts"])
async def list_versions(
    artifact_id: FromPath[str], env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[VersionAnswer]:
    """What was published, the newest first."""
    row = await artifacts.get(env, artifact_id)
    page = await artifacts.list_versions(env, row.id, cursor, limit)
    url = artifacts.public_url(env, row)
    return Page(
        [
            VersionAnswer(**msgspec.structs.asdict(one), public_url=f"{url}/versions/{one.version}")
            for one in page.items
        ],
        page.next_cursor,
    )


handlers: list[Any] = [
    list_generators,
    list_artifacts,
    get_artifact,
    get_views,
    make_artifact,
    make_from_project,
    associate,
    regenerate,
    unpublish,
    list_versions,
]


async def _make(
    request: Request[Any, Any, Any], env: Env, generator_id: str, project_ids: list[str], wishes: Wishes
) -> tuple[ArtifactRow, dict[str, str]]:
    """The artifact as it stands when the answer is due, and the headers of that answer."""
    generator = registry.find(generator_id)
    projects = await _named(env, project_ids)
    draft = artifacts.draft(
        generator_id=generator.id,
        title=wishes.title or _title(projects),
        owner_id=wishes.owner_id,
        options=wishes.options,
    )
    row, _, headers = await _publish(request, env, generator, draft, projects, wishes.session_id)
    return row, headers


async def _publish(
    request: Request[Any, Any, Any],
    env: Env,
    generator: Generator[Any],
    wanted: ArtifactRow,
    projects: list[Project],
    session_id: str | None,
) -> tuple[ArtifactRow, bool, dict[str, str]]:
    """The artifact when the answer is due, whether its next version is left to a worker then, and the headers of that
    answer."""
    options = registry.decode_options(generator, wanted.options)
    wait = preferred_wait(request.headers.getall("prefer", []))
    made = await renders.make(env, wanted, projects, generator, options, session_id=session_id, wait=wait.seconds)
    if isinstance(made, RenderRow):
        return await artifacts.get(env, wanted.id), True, wait.headers
    return made, False, wait.headers


async def _refill(env: Env, wanted: ArtifactRow, projects: list[Project], session_id: str | None) -> ArtifactRow:
    """The page that was filled by hand, published as its next version; that is never long."""
    if wanted.options:
        raise invalid("options", "A template has placeholders instead")
    output = await template_page.fill(env, wanted, projects, await db.get_config(env, wanted.id))
    return await artifacts.publish(env, wanted, output, [project.id for project in projects], session_id=session_id)


def _status(render: Rendering | None) -> int:
    return 201 if render is None or render.status == "complete" else 202


async def _draft(env: Env, template_r2_key: str, wishes: NewArtifact) -> ArtifactRow:
    if wishes.options:
        raise invalid("options", "A template has placeholders instead")
    template = await templates.get(env, template_r2_key)
    projects = await _named(env, wishes.project_ids)
    draft = artifacts.draft(
        generator_id=None, title=wishes.title or _title(projects), owner_id=wishes.owner_id, options={}
    )
    draft = msgspec.structs.replace(draft, template_r2_key=template.r2_key)
    await artifacts.create(env, draft, [project.id for project in projects])
    return draft


async def _named(env: Env, project_ids: list[str]) -> list[Project]:
    return [await db.get_project(env, id) for id in dict.fromkeys(project_ids)]


async def _projects(env: Env, row: ArtifactRow) -> list[Project]:
    """The artifact's projects: those of its last version in their order there, then those that came since."""
    projects = await db.get_projects_for_artifact(env, row.id)
    if row.version == 0:
        return projects
    shown = (await artifacts.get_manifest(env, row.id, row.version)).project_ids
    places = {id: place for place, id in enumerate(shown)}
    return sorted(projects, key=lambda project: places.get(project.id, len(places)))


def _title(projects: list[Project]) -> str:
    names = ", ".join(project.name for project in projects)
    return names if len(names) <= LONGEST_TITLE else f"{names[: LONGEST_TITLE - 1]}…"


def _answer(env: Env, row: ArtifactRow) -> ArtifactAnswer:
    return ArtifactAnswer(**msgspec.structs.asdict(row), artifact_id=row.id, public_url=artifacts.public_url(env, row))


async def _made(env: Env, row: ArtifactRow) -> ArtifactMade:
    return ArtifactMade(**msgspec.structs.asdict(_answer(env, row)), render=await renders.latest(env, row.id))


async def _details(env: Env, row: ArtifactRow) -> ArtifactDetails:
    return ArtifactDetails(
        **msgspec.structs.asdict(await _made(env, row)),
        project_ids=[project.id for project in await db.get_projects_for_artifact(env, row.id)],
        configuration=await db.get_config(env, row.id),
    )
