"""Templates: HTML with placeholders, uploaded or packaged, which the chat about an artifact fills."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from app.http.schemas import PROSE, Body, Cursor, Limit
from generators import registry
from generators.option_fields import TITLE, fields_of
from tools.env import Env
from tools.pages import LIMIT, Page
from tools.publishing import templates


class NewTemplate(Body, frozen=True):
    """`html` has at most 64 KiB as UTF-8. Placeholders are `{{LIKE_THIS}}`; those that begin with IMAGE take one."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"name": "poster", "html": '<h1>{{TITLE}}</h1><img src="{{IMAGE_HERO}}"><p>{{TEXT}}</p>'}
    ]
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    html: Annotated[str, Meta(min_length=1, pattern=PROSE)]


class UploadedTemplate(msgspec.Struct, frozen=True, rename="camel"):
    """A template's key, and the names of its placeholders."""

    template_r2_key: str
    placeholders: list[str]


class OptionView(msgspec.Struct, frozen=True):
    """An option as a chat or a form fills it: its name there, what it takes, and all its values where they are few."""

    name: str
    kind: str
    choices: tuple[str, ...]


class TemplateView(UploadedTemplate, frozen=True, kw_only=True, rename="camel"):
    """A template. `kind` is `upload`, `example`, or `generator`: that one is its generator's, and what a chat fills for
    its artifacts are the `options`. `fillable` are the others, by their placeholders. `size` in bytes."""

    name: str
    kind: templates.Kind
    fillable: bool
    options: list[OptionView]
    size: int
    created_at: int


@post("/api/templates", tags=["templates"])
async def upload_template(data: JSONBody[NewTemplate], env: NamedDependency[Env]) -> UploadedTemplate:
    """Upload a template. Uploading the same HTML under the same name again gives the same template."""
    row = await templates.upload(env, data.name, data.html)
    return UploadedTemplate(template_r2_key=row.r2_key, placeholders=row.placeholders)


@get("/api/templates", opt={"access": "read"}, tags=["templates"])
async def list_templates(env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None) -> Page[TemplateView]:
    """All templates, newest first."""
    page = await templates.list_page(env, cursor, limit)
    views = [
        TemplateView(
            template_r2_key=row.r2_key,
            placeholders=row.placeholders,
            name=row.name,
            kind=row.kind,
            fillable=row.kind != "generator",
            options=_options(row.name) if row.kind == "generator" else [],
            size=row.size,
            created_at=row.created_at,
        )
        for row in page.items
    ]
    return Page(views, page.next_cursor)


def _options(generator_id: str) -> list[OptionView]:
    generator = registry.known().get(generator_id)
    fields = fields_of(generator).values() if generator else ()
    title = OptionView(TITLE, "text", ())
    return [title, *(OptionView(field.key, field.kind, field.choices) for field in fields)] if generator else []


handlers: list[Any] = [upload_template, list_templates]
