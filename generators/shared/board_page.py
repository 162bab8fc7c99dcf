"""Pages that take what guests say: their images and captions. What was said is not in them, so a version never changes.

Page and script are one for all kinds (`templates/board.html`); the script asks the page's own board for what was said.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import STEPS, STEPS_ALONE, Selection, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

PROMPT_SHOWN = 200
Kind = Literal["review", "vote"]
WORDS: Mapping[Kind, str] = {"review": "Review board", "vote": "Voting deck"}


class BoardOptions(Selection, frozen=True, kw_only=True):
    """`intro` stands under the title (else the project's description). `progressionIds` picks the images and their
    order; with none, the newest 500 of each project are shown from the oldest, all or those that `only` names."""

    intro: Annotated[str, Meta(max_length=2000)] | None = None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One image with what guests should know of it."""

    id: str
    number: int
    picture: page.Picture
    ratio: str
    prompt: str
    more: str
    step: str
    origin: int | None
    credit: str


class Part(msgspec.Struct, frozen=True):
    """One project's section; `note` says what is not to be seen there."""

    name: str
    description: str | None
    note: str | None
    cards: list[Card]


async def generate(
    env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: BoardOptions, kind: Kind
) -> Output:
    shown = await image_pages.collect(env, projects, options)

    def written(template: bytes) -> bytes:
        return write(template, kind, artifact.title, shown, options, env.settings.public_url)

    return await image_pages.web_page(env, "board.html", image_pages.all_rows(shown), written, live=True)


def write(
    template: bytes,
    kind: Kind,
    title: str,
    shown: Sequence[Shown],
    options: BoardOptions,
    public_url: str,
) -> bytes:
    """The page. It depends on nothing but its arguments."""
    rows = image_pages.all_rows(shown)
    context = {
        "kind": kind,
        "word": WORDS[kind],
        "title": title,
        "intro": options.intro or (shown[0].project.description if len(shown) == 1 else None),
        "count": len(rows),
        "parts": list(parts(shown, options, public_url)),
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def parts(shown: Sequence[Shown], options: BoardOptions, public_url: str) -> Iterator[Part]:
    """The sections; numbers run through the whole page."""
    numbers = {row.id: n for n, row in enumerate(image_pages.all_rows(shown), 1)}
    for part in shown:
        cards = [_card(row, numbers, public_url) for row in part.rows]
        yield Part(part.project.name, part.project.description, image_pages.note(part, options), cards)


def _card(row: Progression, numbers: Mapping[str, int], public_url: str) -> Card:
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    origin = numbers.get(row.parent_progression_id) if row.parent_progression_id else None
    return Card(
        id=row.id,
        number=numbers[row.id],
        picture=image_pages.picture(row, public_url),
        ratio=image_pages.ratio(row),
        prompt=prompt,
        more=more,
        step=(STEPS if origin else STEPS_ALONE).get(row.edge, ""),
        origin=origin,
        credit=f"{image_pages.maker(row)} · {image_pages.day(row.created_at)}",
    )
