"""Pages on which guests vote or comment: their images and captions. Votes and comments are not part of the page, so a
version never changes.

Page and script are the same for both kinds (`templates/board.html`); the script loads votes and comments of its board.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import ClientPage, Intro, Shown
from tools.env import Env
from tools.rows import ArtifactRow, Progression, Project

PROMPT_SHOWN = 200
Kind = Literal["review", "vote"]
WORDS: Mapping[Kind, str] = {"review": "Review board", "vote": "Voting deck"}


class BoardOptions(ClientPage, frozen=True, kw_only=True):
    """`intro` stands under the title (else the project's description)."""

    intro: Intro = None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One image with its caption."""

    id: str
    number: int
    picture: page.Picture
    ratio: str
    prompt: str
    more: str
    step: str
    origin: int | None
    credit: str
    told: str
    """What a voter is told of the image: nothing by itself, not even who made it."""


class Part(msgspec.Struct, frozen=True):
    """One project's section; `note` is about images that are not shown."""

    name: str
    description: str | None
    note: str | None
    cards: list[Card]


async def generate(
    env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: BoardOptions, kind: Kind
) -> Output:
    """The page of that kind with the images that the options select."""

    def write_kind(template: bytes, title: str, shown: Sequence[Shown], options: BoardOptions, /) -> bytes:
        return write(template, kind, title, shown, options)

    return await image_pages.selected_page(env, "board.html", artifact, projects, options, write_kind, live=True)


def write(
    template: bytes,
    kind: Kind,
    title: str,
    shown: Sequence[Shown],
    options: BoardOptions,
) -> bytes:
    """The page as UTF-8."""
    rows = image_pages.all_rows(shown)
    context = {
        "kind": kind,
        "word": WORDS[kind],
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "count": len(rows),
        "parts": list(parts(shown, options)),
        "colophon": image_pages.colophon(rows),
    }
    return page.render(template, context)


def parts(shown: Sequence[Shown], options: BoardOptions) -> Iterator[Part]:
    """The sections; numbers run through the whole page."""
    numbers = image_pages.numbers(image_pages.all_rows(shown))
    for part in shown:
        cards = [_card(row, numbers, options) for row in part.rows]
        yield Part(part.project.name, part.project.description, image_pages.note(part, options), cards)


def _card(row: Progression, numbers: Mapping[str, int], options: BoardOptions) -> Card:
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    step, origin = image_pages.step(row, numbers)
    verdict = [image_pages.VERDICTS[row.seen]] if options.show_verdicts else []
    return Card(
        id=row.id,
        number=numbers[row.id],
        picture=image_pages.picture(row),
        ratio=image_pages.ratio(row),
        prompt=prompt,
        more=more,
        step=step,
        origin=origin,
        credit=image_pages.credit(row, options, image_pages.day(row.created_at), *verdict),
        told=image_pages.credit(row, options, *verdict) if options.show_verdicts or options.show_costs else "",
    )
