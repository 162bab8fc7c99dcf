"""Pages of users' templates: values are filled in, then everything is cleaned by an allow-list.

No code of a template is executed. The frame of the page is fixed; body and style are the output of the cleaners.
"""

import asyncio
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import nh3

from generators.generator import File, Output
from generators.shared import image_pages, page
from tools.db import Chosen
from tools.env import Env
from tools.errors import Invalid
from tools.publishing import template_css, template_html
from tools.publishing.addresses import linked
from tools.publishing.artifacts import find_image
from tools.publishing.template_html import Image
from tools.r2 import get_template
from tools.rows import ArtifactRow, Progression, Project

MOST_STATED = 200
"""Images that a template itself may contain by their address."""
ROUNDS = 6
"""Times a body may be parsed until it stays the same; the second is usually the last."""
TAGS = template_html.words("""
    a abbr address article aside b blockquote br caption cite code col colgroup dd details dfn div dl dt em
    figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i img kbd li main mark nav ol p pre q s samp section
    small span strong sub summary sup table tbody td tfoot th thead time tr u ul var wbr
""")
ATTRIBUTES = {
    "*": {"class", "dir", "id", "lang", "role", "style", "title"},
    "a": {"href"},
    "col": {"span"},
    "colgroup": {"span"},
    "details": {"open"},
    "img": {"alt", "height", "loading", "src", "width"},
    "ol": {"reversed", "start", "type"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "time": {"datetime"},
}
FRAGMENT = re.compile(r"#[A-Za-z0-9._-]*")
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")
FRAME = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
STYLE = "*{box-sizing:border-box}body{margin:0;overflow-wrap:anywhere}img{max-width:100%;height:auto}"
"""The style that a template starts from and may override."""


async def fill(
    env: Env, artifact: ArtifactRow, projects: Sequence[Project], configuration: Mapping[str, Chosen]
) -> Output:
    """The page of an artifact made from a user's template, with its configuration as the values.

    Values without a placeholder are ignored; images must belong to the artifact's projects.
    Fails: NotFound when the template is not there · Invalid (`unfilled`) naming the placeholders without a value,
    (`foreign_image`) for an image of none of the projects · TooLarge.
    """
    assert artifact.template_r2_key is not None
    key = artifact.template_r2_key
    template = template_html.read(await get_template(env, key))
    values = {name: configuration[name].value for name in template.placeholders if name in configuration}
    if missing := [name for name in template.placeholders if name not in values]:
        raise Invalid(f"not filled yet: {', '.join(missing)}", code="unfilled", detail={"missing": missing})
    chosen: dict[str, Progression] = {}
    for name, url in values.items():
        if template_html.is_image(name):
            if (image := await find_image(env, artifact.id, url, configuration[name].progression_id)) is None:
                problem = f"{name} is no image of the artifact's projects"
                raise Invalid(problem, code="foreign_image", detail={"placeholder": name})
            chosen[name] = image
    stated = {
        url: row
        for url in islice(template.addresses(), MOST_STATED)
        if (row := await find_image(env, artifact.id, url)) is not None
    }
    rows = {row.id: row for row in (*chosen.values(), *stated.values())}
    links = {row.id: linked(row.generated_image_url) for row in rows.values()}
    shown = {**{link: link for link in links.values()}, **{url: links[row.id] for url, row in stated.items()}}
    images = {name: Image(links[row.id], image_pages.alt(row)) for name, row in chosen.items()}
    first = next(iter(rows.values()), None)
    about = page.About(artifact.title, picture=image_pages.picture(first) if first else None)
    written = await asyncio.to_thread(render, template, artifact.title, values, images, shown)
    return Output(
        index=File("index.html", page.described(written, about), "text/html; charset=utf-8"),
        policy=policy(row.generated_image_url for row in rows.values()),
        progression_ids=tuple(rows),
        template=key,
    )


def render(
    template: template_html.Template,
    title: str,
    values: Mapping[str, str],
    images: Mapping[str, Image],
    shown: Mapping[str, str],
) -> bytes:
    """The page as UTF-8. `images` fills the image placeholders; `shown` are the only image addresses that may stand in
    it, each with that which the page names the image by.

    Fails: TooLarge.
    """
    for name, value in values.items():
        template_html.check_value(name, value)
    written = template_html.write(template, values, images)
    lang = template.lang if LANGUAGE.fullmatch(template.lang) else "en"
    return FRAME.format(
        lang=lang,
        title=html.escape(" ".join(written.title.split()) or title),
        style=STYLE + template_css.clean_sheet(written.style),
        body=clean(written.body, shown),
    ).encode("utf-8", "replace")


def clean(body: str, shown: Mapping[str, str]) -> str:
    """The body with allowed elements and attributes only; addresses are fragments of the page or images in `shown`,
    as `render` takes it.

    It is cleaned until a parser reads what it wrote: an element that is taken away can leave others, such as links,
    nested as no parser nests them. Fails: Invalid when that does not end.
    """

    def keep(tag: str, name: str, value: str) -> str | None:
        if name == "style":
            return template_css.clean_declarations(value) or None
        if name == "src" or (name == "href" and not FRAGMENT.fullmatch(value)):
            return shown.get(value)
        return value

    for _ in range(ROUNDS):
        cleaned = nh3.clean(
            body,
            tags=set(TAGS),
            attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
            attribute_filter=keep,
            generic_attribute_prefixes={"aria-"},
            url_schemes={"http", "https"},
            clean_content_tags=set(template_html.SILENT),
            link_rel=None,
        )
        if cleaned == body:
            return cleaned
        body = cleaned
    raise Invalid("elements of this template are nested as HTML does not allow", code="template_nesting", status=422)


def policy(images: Iterable[str]) -> str:
    """The policy of packaged pages, except that inline styles are allowed."""
    return page.policy(b"", images).replace("style-src 'none'", "style-src 'unsafe-inline'")
