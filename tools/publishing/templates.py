"""Templates in BUCKET, under keys that contain the hash of their bytes, and the rows that list them.

Templates of generators and examples are packaged; others are uploaded. Uploaded templates and examples have
`{{PLACEHOLDERS}}` and run no code; a generator's template is rendered by its generator only.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from tools.env import Assets, Env
from tools.errors import Invalid, NotFound
from tools.pages import Cursor, Page, decode, page
from tools.publishing import template_css, template_html
from tools.r2 import get_template
from tools.rows import dump, now_ms
from tools.step import step

Kind = Literal["generator", "example", "upload"]
KINDS: dict[str, Kind] = {".": "generator", "examples": "example"}
"""Folders of ASSETS whose templates are published, and the kind of the templates in each."""
EXTENDS = re.compile(r'\{% extends "([a-z/]+\.html)" %\}\n')
BLOCK = re.compile(r"\{% block ([a-z]+) %\}\n?(.*?)\{% endblock %\}\n?", re.DOTALL)

INSERT = """
INSERT INTO templates (r2_key, name, kind, placeholders, size, created_at)
VALUES (:r2_key, :name, :kind, :placeholders, :size, :created_at)
ON CONFLICT (r2_key) DO NOTHING
"""
GET = "SELECT * FROM templates WHERE r2_key = :r2_key"
LIST = """
SELECT * FROM templates WHERE created_at < :at OR (created_at = :at AND r2_key < :id)
ORDER BY created_at DESC, r2_key DESC LIMIT :limit
"""


class Template(msgspec.Struct, frozen=True):
    """A row of `templates`; `size` in bytes. A generator's template has no placeholders."""

    r2_key: str
    name: str
    kind: Kind
    placeholders: list[str]
    size: int
    created_at: int


def template_key(name: str, data: bytes) -> str:
    """A template's key in BUCKET: `name` without its suffix, then the SHA-256 of the bytes."""
    return f"templates/{name.removesuffix('.html')}/{hashlib.sha256(data).hexdigest()}.html"


def whole_template(assets: Assets, name: str) -> bytes:
    """The packaged template as one file that needs no other template.

    For a template that extends a base: the base's text with the blocks replaced, so it may use the base's macros; a
    block that it leaves out keeps the base's content. Blocks are not nested.
    Fails: ValueError for a block that the base does not have.
    """
    text = assets.read(name).decode()
    if (extends := EXTENDS.match(text)) is None:
        return text.encode()
    blocks = dict(BLOCK.findall(text))
    whole = BLOCK.sub(lambda block: blocks.pop(block[1], block[2]), assets.read(extends[1]).decode())
    if blocks:
        raise ValueError(f"{extends[1]} has no block for {', '.join(blocks)} of {name}")
    return whole.encode()


def placeholders(html: str) -> list[str]:
    """The placeholders of a template in the order of their first occurrence, each once.

    Fails: TooLarge · Invalid, as `template_html.read` does.
    """
    return list(template_html.read(html).placeholders)


@step("templates.publish")
async def publish_templates(env: Env) -> list[str]:
    """Put every packaged template into BUCKET and return the keys.

    Effect: write-once puts at `template_key`, then a row each; repeating it changes nothing. Run at every start.
    Fails: Conflict when a key has other bytes, which only damage can cause.
    """
    paths = [PurePosixPath(name) for name in sorted(env.ASSETS.names())]
    found = [path for path in paths if path.suffix == ".html" and str(path.parent) in KINDS]
    return [
        (await _store(env, path.stem, whole_template(env.ASSETS, str(path)), KINDS[str(path.parent)])).r2_key
        for path in found
    ]


@step("templates.load")
async def load_template(env: Env, name: str) -> tuple[str, bytes]:
    """The key and the bytes, from BUCKET, of this release's template `name`.

    Fails: NotFound when there is none of that name or the start did not publish it.
    """
    key = template_key(name, whole_template(env.ASSETS, name))
    return key, await env.BUCKET.get(key)


@step("templates.upload")
async def upload(env: Env, name: str, html: str) -> Template:
    """Store a user's template. The same bytes under the same name are the same template.

    Effect: BUCKET put_once at `template_key`, then its row.
    Fails: TooLarge over 64 KiB · Invalid for elements nested too deeply · Unavailable.
    """
    template_html.read(html)
    return await _store(env, name, html.encode("utf-8", "replace"), "upload")


async def get(env: Env, r2_key: str) -> Template:
    """A template that a user may fill.

    Fails: NotFound · Invalid (`not_fillable`) for one that belongs to a generator.
    """
    if (row := await env.DB.one(GET, Template, r2_key=r2_key)) is None:
        raise NotFound("there is no such template")
    if row.kind == "generator":
        raise Invalid(f"this template belongs to a generator; make it with generatorId {row.name}", code="not_fillable")
    return row


async def check_value(env: Env, r2_key: str, name: str, value: str) -> None:
    """Check that the page can show this text in the placeholder `name` of a user's template.

    Fails: Invalid (`no_colour`) where a colour must stand · NotFound · Unavailable.
    """
    html = await get_template(env, r2_key)
    # Parsed on a thread: a template may have 64 KiB.
    wanted = await asyncio.to_thread(lambda: template_css.colours_of(template_html.read(html)))
    if name in wanted and not template_css.is_colour(value):
        raise Invalid("it must be a colour, such as navy, #1e3a5f or rgb(30 58 95)", code="no_colour")


async def list_page(env: Env, cursor: str | None, limit: int) -> Page[Template]:
    """Templates from the newest."""
    after = decode(cursor)
    rows: Sequence[Template] = await env.DB.all(LIST, Template, at=after.at, id=after.id, limit=limit + 1)
    return page(list(rows), limit, lambda row: Cursor(row.created_at, row.r2_key))


async def _store(env: Env, name: str, data: bytes, kind: Kind) -> Template:
    key = template_key(name, data)
    await env.BUCKET.put_once(key, data, content_type="text/html; charset=utf-8")
    found = [] if kind == "generator" else placeholders(data.decode())
    await env.DB.run(
        INSERT, r2_key=key, name=name, kind=kind, placeholders=dump(found), size=len(data), created_at=now_ms()
    )
    row = await env.DB.one(GET, Template, r2_key=key)
    assert row is not None
    return row
