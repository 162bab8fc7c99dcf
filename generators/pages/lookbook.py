"""A lookbook: the images of one or more projects as a page for a client, with prompts, verdicts, notes and tags."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import RATIOS, STEPS, STEPS_ALONE, VERDICTS, Selection, Shown
from generators.shared.tags import Tag, palette, tag_of
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

PROMPT_SHOWN = 360
FEW = 2


class LookbookOptions(Selection, frozen=True, kw_only=True):
    """`intro` stands under the title (else the project's description). `progressionIds` picks the images and their
    order; with none, the newest 500 of each project are shown from the oldest, all or those that `only` names."""

    intro: Annotated[str, Meta(max_length=2000)] | None = None


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
    """One project's section; `note` says what is not to be seen there."""

    name: str
    description: str | None
    note: str | None
    layout: Literal["even", "few", "mixed"]
    plates: list[Plate]


class Lookbook:
    id = "lookbook"
    name = "Lookbook"
    output: Literal["html"] = "html"
    options = LookbookOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: LookbookOptions
    ) -> Output:
        shown = await image_pages.collect(env, projects, options)

        def written(template: bytes) -> bytes:
            return write(template, artifact.title, shown, options, env.settings.public_url)

        return await image_pages.web_page(env, "lookbook.html", image_pages.all_rows(shown), written)


generator = Lookbook()


def write(template: bytes, title: str, shown: Sequence[Shown], options: LookbookOptions, public_url: str) -> bytes:
    """The page. It depends on nothing but its arguments."""
    rows = image_pages.all_rows(shown)
    shared = image_pages.shared_notes(rows)
    cover = image_pages.cover(rows)
    context = {
        "title": title,
        "intro": options.intro or (shown[0].project.description if len(shown) == 1 else None),
        "facts": image_pages.facts(rows),
        "palette": palette([tag for row in rows for tag in row.ai_tags], 9),
        "when": image_pages.period(rows),
        "cover": image_pages.picture(cover, public_url) if cover else None,
        "parts": list(parts(image_pages.without_notes(shown, shared), options, public_url)),
        "colophon": image_pages.colophon(rows, shared),
    }
    return page.render(template, context)


def parts(shown: Sequence[Shown], options: LookbookOptions, public_url: str) -> Iterator[Part]:
    """The sections; numbers run through the whole page."""
    numbers = {row.id: n for n, row in enumerate(image_pages.all_rows(shown), 1)}
    for part in shown:
        plates = [_plate(row, numbers, public_url) for row in part.rows]
        yield Part(
            part.project.name, part.project.description, image_pages.note(part, options), _layout(plates), plates
        )


def _plate(row: Progression, numbers: Mapping[str, int], public_url: str) -> Plate:
    ratio = image_pages.ratio(row)
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    origin = numbers.get(row.parent_progression_id) if row.parent_progression_id else None
    return Plate(
        number=numbers[row.id],
        picture=image_pages.picture(row, public_url),
        sizes=f"(min-width: 44rem) {max(20, round(RATIOS[ratio] * 28))}rem, 92vw",
        ratio=ratio,
        prompt=prompt,
        more=more,
        verdict=row.judgment or "none",
        verdict_words=VERDICTS[row.judgment],
        notes=row.ai_notes,
        tags=[tag_of(tag) for tag in row.ai_tags],
        step=(STEPS if origin else STEPS_ALONE).get(row.edge, ""),
        origin=origin,
        credit=f"{image_pages.maker(row)} · {image_pages.day(row.created_at)}",
    )


def _layout(plates: Sequence[Plate]) -> Literal["even", "few", "mixed"]:
    if len(plates) <= FEW:
        return "few"
    return "even" if len({plate.ratio for plate in plates}) == 1 else "mixed"
