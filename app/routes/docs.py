"""The documentation at `/docs`: the Markdown pages of `templates/docs/` as HTML, open to everyone.

A page is rendered the first time it is asked for, on a thread, and kept. Its source is ours: raw HTML in it is shown
as text, and the policy of the page lets nothing but its own style act.
"""

import asyncio
import functools
import hashlib
import itertools
import re
from typing import Annotated, Any, NamedTuple

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, PathParameter
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from app.http.conditional import is_known
from app.http.hosts import base_path
from generators.shared import page
from tools.env import Env

PAGES = (
    "index",
    "console",
    "artifacts",
    "events",
    "money",
    "vendors",
    "limits",
    "deployment",
    "operations",
    "plugins",
    "architecture",
)
"""The pages in the order of their menu. Each is `templates/docs/<name>.md`, and `index` is `/docs` itself."""
SHELL = "docs/page.html"
LINK = re.compile(r"(?:([\w-]+)\.md)?(#[\w-]+)?")
"""A link to another page, as it stands in the sources, where it works for readers of the repository too."""
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")

PageName = Annotated[str, PathParameter(pattern="^[a-z]{1,32}$")]


class Rendered(NamedTuple):
    """A page as bytes of HTML, its Content-Security-Policy and its entity tag."""

    body: bytes
    policy: str
    tag: str


@get("/docs", opt={"access": "open"}, include_in_schema=False)
async def show_docs(request: Request[Any, Any, Any], env: NamedDependency[Env]) -> Response[bytes]:
    """The first page of the documentation, which links to the others."""
    return await _answer(request, env, "index")


@get("/docs/{name:str}", opt={"access": "open"}, include_in_schema=False)
async def show_page(
    name: FromPath[PageName], request: Request[Any, Any, Any], env: NamedDependency[Env]
) -> Response[bytes]:
    """One page of the documentation by its name."""
    return await _answer(request, env, name)


handlers: list[Any] = [show_docs, show_page]


async def _answer(request: Request[Any, Any, Any], env: Env, name: str) -> Response[bytes]:
    source, shell = env.ASSETS.read(f"docs/{name}.md"), env.ASSETS.read(SHELL)
    rendered = await asyncio.to_thread(render, name, source, shell, base_path(env.settings))
    headers = {"ETag": rendered.tag, "Cache-Control": "public, max-age=300", "Content-Security-Policy": rendered.policy}
    if is_known(request.headers.get("if-none-match", ""), rendered.tag):
        return Response(b"", status_code=304, headers=headers)
    return Response(rendered.body, headers=headers, media_type="text/html")


@functools.lru_cache(maxsize=2 * len(PAGES))
def render(name: str, source: bytes, shell: bytes, base: str = "") -> Rendered:
    """The page `name` in the shell that all pages share: menu, headings that can be linked to, tables that scroll.
    `base` is the path of PUBLIC_URL, below which its links lead."""
    tokens = MARKDOWN.parse(source.decode())
    headings: list[tuple[str, str]] = []
    for token, inside in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.tag in ("h2", "h3"):
            anchor = anchor_of(inside.content)
            token.attrSet("id", anchor)
            if token.tag == "h2":
                headings.append((anchor, inside.content.replace("`", "")))
        for child in inside.children or ():
            if child.type == "link_open":
                child.attrSet("href", address_of(str(child.attrGet("href")), base))
    context = {
        "name": name,
        "title": title_of(source),
        "menu": [(each, address_of(f"{each}.md", base)) for each in PAGES],
        "headings": headings,
        "content": Markup(MARKDOWN.renderer.render(_scrolling(tokens), MARKDOWN.options, {})),  # noqa: S704
    }
    body = page.render(shell, context)
    return Rendered(body, page.policy(shell, [], icon=False), f'"{hashlib.sha256(body).hexdigest()}"')


def title_of(source: bytes) -> str:
    """The text of the page's first heading."""
    return source.decode().partition("\n")[0].removeprefix("# ")


def anchor_of(heading: str) -> str:
    """The id of a heading, made as code hosts make it: lower case, hyphens for blanks, no other punctuation."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def address_of(link: str, base: str = "") -> str:
    """The address here of a link in a source: `money.md#budget` is `/docs/money#budget`; others stay as they are."""
    found = LINK.fullmatch(link)
    if found is None or found[1] is None:
        return link
    return base + ("/docs" if found[1] == "index" else f"/docs/{found[1]}") + (found[2] or "")


def _scrolling(tokens: list[Token]) -> list[Token]:
    """Each table inside a box of its own, so that a wide one scrolls and the page does not."""
    boxed: list[Token] = []
    for token in tokens:
        if token.type == "table_open":
            boxed.append(Token("div_open", "div", 1, attrs={"class": "table", "tabindex": "0"}, block=True))
        boxed.append(token)
        if token.type == "table_close":
            boxed.append(Token("div_close", "div", -1, block=True))
    return boxed
