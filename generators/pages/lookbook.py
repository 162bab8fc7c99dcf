"""A lookbook: the images of one or more projects as a page for a client, with prompts, verdicts, notes and tags."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import RATIOS, VERDICTS, ClientPage, Intro, Shown
from generators.shared.tags import Tag, palette, tag_of
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

PROMPT_SHOWN = 360
FEW = 2

Layout = Literal["even", "few", "mixed"]


class LookbookOptions(ClientPage, frozen=True, kw_only=True):
    """`intro` stands under the title (else the project's description). The notes of the judge
    are verdicts too."""

    intro: Intro = None


class Plate(msgspec.Struct, frozen=True, kw_only=True):
    """One image with its caption, as the template writes it."""

    number: int
    picture: page.Picture
    sizes: str
    ratio: str
    prompt: str
    more: str
    verdict: str
    verdict_words: str
    notes: list[str]
    tags: list[Tag]
    step: str
    origin: int | None
    credit: str


class Part(msgspec.Struct, frozen=True):
    """One project's section; `note` is about images that are not shown."""

    name: str
    description: str | None
    note: str | None
    layout: Layout
    plates: list[Plate]


class Lookbook:
    """Without images: a page that says so."""

    id = "lookbook"
    name = "Lookbook"
    output: Literal["html"] = "html"
    options = LookbookOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: LookbookOptions
    ) -> Output:
        return await image_pages.selected_page(env, "lookbook.html", artifact, projects, options, write)


generator = Lookbook()


def write(template: bytes, title: str, shown: Sequence[Shown], options: LookbookOptions) -> bytes:
    """The page as UTF-8."""
    rows = image_pages.all_rows(shown)
    shared = image_pages.shared_notes(rows) if options.show_verdicts else []
    cover = image_pages.cover(shown, options)
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "facts": image_pages.facts(rows, verdicts=options.show_verdicts),
        "palette": palette([tag for row in rows for tag in row.ai_tags], 9),
        "when": image_pages.period(rows),
        "cover": image_pages.picture(cover) if cover else None,
        "parts": list(parts(image_pages.without_notes(shown, shared), options)),
        "colophon": image_pages.colophon(rows, shared),
    }
    return page.render(template, context)


def parts(shown: Sequence[Shown], options: LookbookOptions) -> Iterator[Part]:
    """The sections; numbers run through the whole page."""
    numbers = image_pages.numbers(image_pages.all_rows(shown))
    for part in shown:
        plates = [_plate(row, numbers, options) for row in part.rows]
        layout: Layout = "mixed"
        if len(plates) <= FEW:
            layout = "few"
        elif len({plate.ratio for plate in plates}) == 1:
            layout = "even"
        yield Part(part.project.name, part.project.description, image_pages.note(part, options), layout, plates)


def _plate(row: Progression, numbers: Mapping[str, int], options: LookbookOptions) -> Plate:
    ratio = image_pages.ratio(row)
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    step, origin = image_pages.step(row, numbers)
    return Plate(
        number=numbers[row.id],
        picture=image_pages.picture(row),
        sizes=f"(min-width: 44rem) {max(20, round(RATIOS[ratio] * 28))}rem, 92vw",
        ratio=ratio,
        prompt=prompt,
        more=more,
        verdict=(row.seen or "none") if options.show_verdicts else "",
        verdict_words=VERDICTS[row.seen],
        notes=row.ai_notes if options.show_verdicts else [],
        tags=[tag_of(tag) for tag in row.ai_tags],
        step=step,
        origin=origin,
        credit=image_pages.credit(row, options, image_pages.day(row.created_at)),
    )
