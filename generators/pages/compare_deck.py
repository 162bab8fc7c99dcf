"""A compare deck: the images of all providers for the same prompt side by side, and any two under one slider."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import VERDICTS, Intro, PageSelection, Shown
from tools.env import Env
from tools.format import dollars
from tools.rows import MERIT, ArtifactRow, Progression, Project

PROMPT_SHOWN = 280
CONTENDERS = 6
"""Side by side at most; the template's style has rules for so many."""
NOTES_SHOWN = 2


class CompareDeckOptions(PageSelection, frozen=True, kw_only=True):
    """Images of the same prompt are compared: the best of each provider and model (the newest that passed, else the
    newest), or all variants where only one of them made any. `slider` lays any two over each other."""

    intro: Intro = None
    slider: bool = True


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """An image beside others of its prompt: `label` distinguishes it from them, `others` counts the images of the same
    provider and model that it was chosen from."""

    letter: str
    label: str
    picture: page.Picture
    verdict: str
    verdict_words: str
    criteria: str
    cost: str
    notes: list[str]
    others: int


class Slide(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    project: str
    prompt: str
    more: str
    ratio: str
    contenders: list[Contender]
    left_out: int
    slider: bool


class CompareDeck:
    """Without images: a page that says so."""

    id = "compare-deck"
    name = "Compare deck"
    output: Literal["html"] = "html"
    options = CompareDeckOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: CompareDeckOptions
    ) -> Output:
        return await image_pages.selected_page(env, "compare-deck.html", artifact, projects, options, write)


generator = CompareDeck()


def write(template: bytes, title: str, shown: Sequence[Shown], options: CompareDeckOptions) -> bytes:
    """The page as UTF-8."""
    rows = image_pages.all_rows(shown)
    shared = image_pages.shared_notes(rows)
    scores = image_pages.scores(rows)
    deck = list(slides(image_pages.without_notes(shown, shared), options))
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "slides": deck,
        "scores": scores,
        "widest": max((score.images for score in scores), default=1),
        "several": len(shown) > 1,
        "notes": image_pages.notes(shown, options),
        "colophon": image_pages.colophon(rows, shared),
    }
    return page.render(template, context)


def slides(shown: Sequence[Shown], options: CompareDeckOptions) -> Iterator[Slide]:
    """One for each prompt of a project, in the order in which it was first asked; case and gaps do not count."""
    asked: dict[tuple[str, str], list[Progression]] = {}
    for row in image_pages.all_rows(shown):
        asked.setdefault((row.project_id, " ".join(row.prompt.split()).casefold()), []).append(row)
    names = {part.project.id: part.project.name for part in shown}
    for number, ((project_id, _), rows) in enumerate(asked.items(), 1):
        yield _slide(number, names[project_id], rows, options)


def _slide(number: int, project: str, rows: list[Progression], options: CompareDeckOptions) -> Slide:
    field = contenders(rows)
    prompt, more = image_pages.cut(rows[0].prompt, PROMPT_SHOWN)
    return Slide(
        number=number,
        project=project,
        prompt=prompt,
        more=more,
        ratio=image_pages.ratio(field[0][1]),
        contenders=[_contender("ABCDEF"[n], *entry) for n, entry in enumerate(field[:CONTENDERS])],
        left_out=len(field[CONTENDERS:]),
        slider=options.slider and len(field) > 1,
    )


def contenders(rows: Sequence[Progression]) -> list[tuple[str, Progression, int]]:
    """The images to compare, in the order of their labels: label, image, and how many more the provider made."""
    by_maker: dict[str, list[Progression]] = {}
    for row in rows:
        by_maker.setdefault(image_pages.maker(row), []).append(row)
    if len(by_maker) == 1 and len(rows) > 1:
        return [(f"{image_pages.maker(row)} · {n}", row, 0) for n, row in enumerate(rows, 1)]

    def rank(row: Progression) -> tuple[int, int, str]:
        return -MERIT[row.seen], row.created_at, row.id

    return [(name, max(own, key=rank), len(own) - 1) for name, own in sorted(by_maker.items())]


def _contender(letter: str, label: str, row: Progression, others: int) -> Contender:
    return Contender(
        letter=letter,
        label=label,
        picture=image_pages.picture(row),
        verdict=row.seen or "none",
        verdict_words=VERDICTS[row.seen],
        criteria=f"{sum(c.met for c in row.criteria)} of {len(row.criteria)}" if row.criteria else "",
        cost=dollars(row.cost_usd),
        notes=row.ai_notes[:NOTES_SHOWN],
        others=others,
    )
