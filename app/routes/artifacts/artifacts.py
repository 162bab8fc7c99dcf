"""Artifacts: list generators and artifacts, make them, regenerate and unpublish them, count their views."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from app.http.prefer import preferred_wait
from app.http.schemas import CLEAN, Body, Cursor, Id, Limit, Name, OfProject, invalid
from generators import registry
from generators.generator import Generator
from generators.option_fields import as_chosen
from generators.shared import template_page
from tools import db
from tools.env import Env
from tools.errors import Invalid
from tools.pages import LIMIT, Page
from tools.publishing import artifacts, chats, renders, templates, views
from tools.publishing.addresses import policy_now
from tools.publishing.renders import Rendering, RenderRow
from tools.rows import ArtifactRow, Project

OfKind = Annotated[
    str | None,
    QueryParameter(name="generatorId", max_length=64, pattern=CLEAN, description="only those of this kind"),
]
MOST_PROJECTS = 50
LONGEST_TITLE = 200


class ArtifactOptions(Body, frozen=True):
    """Options of any artifact. Without a title it has the names of its projects. Progress goes to `sessionId`."""

    examples: ClassVar[list[dict[str, Any]]] = [{"title": "Autumn"}]
    title: Name | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    owner_id: Id = "default"
    session_id: Id | None = None


class NewArtifact(ArtifactOptions, frozen=True, kw_only=True):
    """An artifact to make: with `generatorId`, or with `templateR2Key`, which has placeholders instead of options."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"generatorId": "lookbook", "projectIds": ["PROJECT"], "title": "Autumn", "options": {"only": "passed"}},
        {"templateR2Key": f"templates/poster/{'0' * 64}.html", "projectIds": ["PROJECT"], "title": "Autumn"},
    ]
    generator_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    template_r2_key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    project_ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST_PROJECTS)]


class Regeneration(Body, frozen=True):
    """Changes for the next version; fields that are left out stay as they are. Progress goes to `sessionId`."""

    examples: ClassVar[list[dict[str, Any]]] = [{"title": "Autumn, second choice", "options": {"only": "passed"}}]
    title: Name | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    session_id: Id | None = None


class Association(Body, frozen=True):
    """Projects to add to an artifact, in one of the fields or in both."""

    examples: ClassVar[list[dict[str, Any]]] = [{"projectId": "PROJECT"}]
    project_id: Id | None = None
    project_ids: Annotated[list[Id], Meta(max_length=MOST_PROJECTS)] = msgspec.field(default_factory=list)


class GeneratorView(msgspec.Struct, frozen=True, rename="camel"):
    """A kind of artifact. `options` is the JSON Schema of the options that it takes."""

    id: str
    name: str
    output: str
    configured: bool
    options: dict[str, Any]


class MadeArtifact(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artifact that was made; `render` is present while a worker still renders it."""

    artifact_id: str
    public_slug: str
    render: Rendering | None = None


class ArtifactView(ArtifactRow, frozen=True, kw_only=True):
    """A row of `artifacts`; there is a page at `public_url` once `version` is 1 or more."""

    artifact_id: str
    public_url: str


class VersionView(artifacts.Version, frozen=True, kw_only=True):
    """A published version; its page is at `public_url` while the artifact is published and its main link is open."""

    public_url: str


class RenderedArtifact(ArtifactView, frozen=True, kw_only=True):
    """An artifact, with the progress of its latest rendering by a worker, if there was one."""

    render: Rendering | None


class FileView(msgspec.Struct, frozen=True):
    """A file of the published version and its public address; `size` in bytes."""

    name: str
    url: str
    content_type: str
    size: int
    sha256: str


class ArtifactDetails(RenderedArtifact, frozen=True, kw_only=True):
    """An artifact with its projects, the values chosen for its template, by placeholder, and the files of its published
    version, the page or file of its link first."""

    project_ids: list[str]
    configuration: dict[str, str]
    files: list[FileView]


@get("/api/generators", opt={"access": "read"}, tags=["artifacts"])
async def list_generators() -> Page[GeneratorView]:
    """Every kind of artifact, and whether what it needs is installed."""
    return Page(
        [
            GeneratorView(
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
    env: NamedDependency[Env],
    generator_id: OfKind = None,
    project_id: OfProject = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[ArtifactView]:
    """All artifacts, newest first."""
    page = await artifacts.list_page(env, cursor, limit, generator_id=generator_id, project_id=project_id)
    return Page([_view(env, row) for row in page.items], page.next_cursor)


@get("/api/artifacts/{artifact_id:str}", opt={"access": "read"}, tags=["artifacts"])
async def get_artifact(artifact_id: FromPath[str], env: NamedDependency[Env]) -> ArtifactDetails:
    """One artifact with its projects and its template's values."""
    return await _details(env, await artifacts.get(env, artifact_id))


@get("/api/artifacts/{artifact_id:str}/views", opt={"access": "read"}, tags=["artifacts"])
async def get_views(artifact_id: FromPath[str], env: NamedDependency[Env]) -> views.Summary:
    """How often the public page was viewed."""
    return await views.summary(env, (await artifacts.get(env, artifact_id)).id)


@post(
    "/api/artifacts",
    tags=["artifacts"],
    responses={202: ResponseSpec(RenderedArtifact, generate_examples=False, description="a worker is rendering it")},
)
async def make_artifact(
    request: Request[Any, Any, Any], data: JSONBody[NewArtifact], env: NamedDependency[Env]
) -> Response[RenderedArtifact]:
    """Make an artifact from projects. With a generator it is published; with a template it is a draft whose
    placeholders have to be filled first. With `Prefer: respond-async`, or when rendering takes more than two minutes,
    the response is 202 and a worker goes on rendering."""
    match data.generator_id, data.template_r2_key:
        case str(generator_id), None:
            row, headers = await _make(request, env, generator_id, data.project_ids, data)
        case None, str(key):
            if data.options:
                raise invalid("options", "A template has placeholders instead of options")
            template, projects = await templates.get(env, key), await _get_projects(env, data.project_ids)
            row = artifacts.draft(
                generator_id=None, title=data.title or _title(projects), owner_id=data.owner_id, options={}
            )
            row, headers = msgspec.structs.replace(row, template_r2_key=template.r2_key), {}
            await artifacts.create(env, row, [project.id for project in projects])
        case _:
            raise invalid("generatorId", "Expected either `generatorId` or `templateR2Key`")
    body = await _rendered(env, row)
    return Response(body, status_code=_status(body.render), headers=headers)


@post(
    "/api/projects/{project_id:str}/artifacts/{generator_id:str}",
    tags=["artifacts"],
    responses={202: ResponseSpec(MadeArtifact, generate_examples=False, description="a worker is rendering it")},
)
async def make_from_project(
    request: Request[Any, Any, Any],
    project_id: FromPath[str],
    generator_id: FromPath[str],
    env: NamedDependency[Env],
    data: JSONBody[ArtifactOptions | None] = None,
) -> Response[MadeArtifact]:
    """Make an artifact from one project, as `POST /api/artifacts` does; the body may be left out."""
    row, headers = await _make(request, env, generator_id, [project_id], data or ArtifactOptions())
    render = await renders.latest(env, row.id)
    status = _status(render)
    body = MadeArtifact(row.id, row.public_slug, render if status == 202 else None)
    return Response(body, status_code=status, headers=headers)


@post("/api/artifacts/{artifact_id:str}/associate", status_code=200, tags=["artifacts"])
async def associate(
    artifact_id: FromPath[str], data: JSONBody[Association], env: NamedDependency[Env]
) -> ArtifactDetails:
    """Add projects to an artifact; those already there stay."""
    named = [*([data.project_id] if data.project_id else []), *data.project_ids]
    if not named:
        raise Invalid("projectId, projectIds: name at least one project", code="invalid_request")
    await artifacts.associate(env, artifact_id, list(dict.fromkeys(named)))
    return await _details(env, await artifacts.get(env, artifact_id))


@post(
    "/api/artifacts/{artifact_id:str}/regenerate",
    status_code=200,
    tags=["artifacts"],
    responses={202: ResponseSpec(RenderedArtifact, generate_examples=False, description="a worker is rendering it")},
)
async def regenerate(
    request: Request[Any, Any, Any],
    artifact_id: FromPath[str],
    env: NamedDependency[Env],
    data: JSONBody[Regeneration | None] = None,
) -> Response[RenderedArtifact]:
    """Publish the next version under the same link, from the present projects and what a chat chose; earlier versions
    stay. With `Prefer: respond-async`, or when rendering takes more than two minutes, the response is 202."""
    row, changes = await artifacts.get(env, artifact_id), data or Regeneration()
    projects, chosen = await artifacts.projects_of(env, row), await db.get_choices(env, row.id)
    given = changes.title is not UNSET or changes.options is not UNSET
    if row.generator_id is not None and changes.options is UNSET:
        row = as_chosen(row, chosen)
    wanted = msgspec.structs.replace(
        row,
        title=row.title if changes.title is UNSET else changes.title,
        options=row.options if changes.options is UNSET else changes.options,
    )
    if row.generator_id is None:
        if wanted.options:
            raise invalid("options", "A template has placeholders instead of options")
        output = await template_page.fill(env, wanted, projects, chosen)
        ids = [project.id for project in projects]
        made = await artifacts.publish(env, wanted, output, ids, session_id=changes.session_id)
        return Response(await _rendered(env, made))
    generator = registry.find(row.generator_id)
    made, unfinished, headers = await _publish(request, env, generator, wanted, projects, changes.session_id)
    if given:
        await chats.forget_choices(env, row.id)
    return Response(await _rendered(env, made), status_code=202 if unfinished else 200, headers=headers)


@post("/api/artifacts/{artifact_id:str}/unpublish", status_code=200, tags=["artifacts"])
async def unpublish(artifact_id: FromPath[str], env: NamedDependency[Env]) -> ArtifactView:
    """Unpublish the page: every link to it gives 410, in caches within a minute. Regenerating publishes it again."""
    return _view(env, await artifacts.unpublish(env, artifact_id))


@get("/api/artifacts/{artifact_id:str}/versions", opt={"access": "read"}, tags=["artifacts"])
async def list_versions(
    artifact_id: FromPath[str], env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[VersionView]:
    """The versions that were published, newest first."""
    row = await artifacts.get(env, artifact_id)
    page = await artifacts.list_versions(env, row.id, cursor, limit)
    url = artifacts.public_url(env, row)
    return Page(
        [
            VersionView(
                **{**msgspec.structs.asdict(one), "content_policy": _policy(env, one.content_policy)},
                public_url=f"{url}/versions/{one.version}",
            )
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
    request: Request[Any, Any, Any], env: Env, generator_id: str, project_ids: list[str], data: ArtifactOptions
) -> tuple[ArtifactRow, dict[str, str]]:
    """The artifact as it is when the response is due, and the headers of that response."""
    generator = registry.find(generator_id)
    projects = await _get_projects(env, project_ids)
    draft = artifacts.draft(
        generator_id=generator.id,
        title=data.title or _title(projects),
        owner_id=data.owner_id,
        options=data.options,
    )
    row, _, headers = await _publish(request, env, generator, draft, projects, data.session_id)
    return row, headers


async def _publish(
    request: Request[Any, Any, Any],
    env: Env,
    generator: Generator[Any],
    wanted: ArtifactRow,
    projects: list[Project],
    session_id: str | None,
) -> tuple[ArtifactRow, bool, dict[str, str]]:
    """The artifact when the response is due, whether a worker still renders its next version, and the headers of that
    response."""
    options = registry.decode_options(generator, wanted.options)
    wait = preferred_wait(request.headers.getall("prefer", []))
    made = await renders.make(env, wanted, projects, generator, options, session_id=session_id, wait=wait.seconds)
    if isinstance(made, RenderRow):
        return await artifacts.get(env, wanted.id), True, wait.headers
    return made, False, wait.headers


def _status(render: Rendering | None) -> int:
    return 201 if render is None or render.status == "complete" else 202


async def _get_projects(env: Env, project_ids: list[str]) -> list[Project]:
    return [await db.get_project(env, id) for id in dict.fromkeys(project_ids)]


def _title(projects: list[Project]) -> str:
    names = ", ".join(project.name for project in projects)
    return names if len(names) <= LONGEST_TITLE else f"{names[: LONGEST_TITLE - 1]}…"


def _view(env: Env, row: ArtifactRow) -> ArtifactView:
    told = {**msgspec.structs.asdict(row), "content_policy": _policy(env, row.content_policy)}
    return ArtifactView(**told, artifact_id=row.id, public_url=artifacts.public_url(env, row))


def _policy(env: Env, policy: str | None) -> str | None:
    return policy and policy_now(env.settings, policy)


async def _rendered(env: Env, row: ArtifactRow) -> RenderedArtifact:
    return RenderedArtifact(**msgspec.structs.asdict(_view(env, row)), render=await renders.latest(env, row.id))


async def _details(env: Env, row: ArtifactRow) -> ArtifactDetails:
    return ArtifactDetails(
        **msgspec.structs.asdict(await _rendered(env, row)),
        project_ids=[project.id for project in await db.get_projects_for_artifact(env, row.id)],
        configuration=await db.get_config(env, row.id),
        files=await _files(env, row),
    )


async def _files(env: Env, row: ArtifactRow) -> list[FileView]:
    if row.version == 0:
        return []
    link = artifacts.public_url(env, row)
    written = (await artifacts.get_manifest(env, row.id, row.version)).files
    return [
        FileView(one.name, f"{link}/files/{one.name}" if at else link, one.content_type, one.size, one.sha256)
        for at, one in enumerate(written)
    ]
