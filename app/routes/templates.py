"""Templates: HTML with placeholders, uploaded or packaged, that a chat about an artifact fills."""

from typing import Annotated, Any, ClassVar

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from app.http.schemas import PROSE, Body, Cursor, Limit
from tools.env import Env
from tools.pages import LIMIT, Page
from tools.publishing import templates


class NewTemplate(Body, frozen=True):
    """`html` of at most 64 KiB as UTF-8; placeholders are `{{LIKE_THIS}}`; those that begin with IMAGE take one."""

    examples: ClassVar[list[dict[str, Any]]] = [
        {"name": "poster", "html": '<h1>{{TITLE}}</h1><img src="{{IMAGE_HERO}}"><p>{{TEXT}}</p>'}
    ]
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    html: Annotated[str, Meta(min_length=1, pattern=PROSE)]


class TemplateMade(msgspec.Struct, frozen=True, rename="camel"):
    template_r2_key: str
    placeholders: list[str]


class TemplateAnswer(TemplateMade, frozen=True, kw_only=True, rename="camel"):
    """`kind` is `upload`, `example` or `generator`: the last is no template to be filled. `size` in bytes."""

    name: str
    kind: templates.Kind
    size: int
    created_at: int


@post("/api/templates", tags=["templates"])
async def upload_template(data: JSONBody[NewTemplate], env: NamedDependency[Env]) -> TemplateMade:
    """Keep a template. The same HTML under the same name is the same template."""
    row = await templates.upload(env, data.name, data.html)
    return TemplateMade(template_r2_key=row.r2_key, placeholders=row.placeholders)


@get("/api/templates", opt={"access": "read"}, tags=["templates"])
async def list_templates(
    env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[TemplateAnswer]:
    """Every template, the newest first."""
    page = await templates.list_page(env, cursor, limit)
    return Page([_answer(row) for row in page.items], page.next_cursor)


handlers: list[Any] = [upload_template, list_templates]


def _answer(row: templates.Template) -> TemplateAnswer:
    return TemplateAnswer(
        template_r2_key=row.r2_key,
        placeholders=row.placeholders,
        name=row.name,
        kind=row.kind,
        size=row.size,
        created_at=row.created_at,
    )
