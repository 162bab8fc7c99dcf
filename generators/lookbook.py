"""A lookbook: the images of one or more projects as a page for a client, with prompts, verdicts, notes and tags."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators import page
from generators.generator import File, Output
from generators.palette import Colour, colour, palette
from tools.db import get_progression, list_progressions
from tools.env import Env
from tools.errors import Invalid
from tools.rows import ArtifactRow, Judgment, Progression, Project
from tools.templates import load_template

MOST = 500
PROMPT_SHOWN = 360
ALT_SHOWN = 180
FEW = 2
RATIOS = {
    "9x21": 9 / 21,
    "9x16": 9 / 16,
    "2x3": 2 / 3,
    "3x4": 3 / 4,
    "4x5": 4 / 5,
    "1x1": 1.0,
    "5x4": 5 / 4,
    "4x3": 4 / 3,
    "3x2": 3 / 2,
    "16x9": 16 / 9,
    "21x9": 21 / 9,
}
STEPS = {
    "edit": "Edit of",
    "inpaint": "Inpainting of",
    "outpaint": "Outpainting of",
    "variation": "Variation of",
    "upscale": "Upscale of",
    "retry": "New try at",
    "rollback": "Back to",
}
STEPS_ALONE = {
    "edit": "Edit",
    "inpaint": "Inpainting",
    "outpaint": "Outpainting",
    "variation": "Variation",
    "upscale": "Upscale",
    "retry": "New try",
    "rollback": "Earlier step",
}
VERDICTS = {"pass": "Pass", "fail": "Fail", None: "Not judged"}


class LookbookOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`intro` stands under the title (else the project's description). `progressionIds` picks the images and their
    order; with none, the newest 500 of each project are shown from the oldest, all or those that `only` names."""

    intro: Annotated[str, Meta(max_length=2000)] | None = None
    only: Literal["all", "passed"] = "all"
    progression_ids: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=MOST)] = []


class Shown(msgspec.Struct, frozen=True):
    """The images of one project in the order of the page; `held_back` when there were more."""

    project: Project
    rows: list[Progression]
    held_back: bool


class Fact(msgspec.Struct, frozen=True):
    word: str
    count: int


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
    tags: list[Colour]
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
        shown = await collect(env, projects, options)
        key, template = await load_template(env, "lookbook.html")
        html = await asyncio.to_thread(write, template, artifact.title, shown, options, env.settings.public_url)
        rows = [row for part in shown for row in part.rows]
        return Output(
            index=File("index.html", html, "text/html; charset=utf-8"),
            policy=page.policy(template, [row.generated_image_url for row in rows]),
            progression_ids=tuple(row.id for row in rows),
            template=key,
        )


generator = Lookbook()


async def collect(env: Env, projects: Sequence[Project], options: LookbookOptions) -> list[Shown]:
    """What the options ask for, project by project.

    Fails: Invalid naming the first image that belongs to none of the projects.
    """
    if not options.progression_ids:
        passed: Judgment | None = "pass" if options.only == "passed" else None
        return [_newest(project, await _images(env, project, passed)) for project in projects]
    picked = [await get_progression(env, id) for id in dict.fromkeys(options.progression_ids)]
    of = {project.id: [row for row in picked if row.project_id == project.id] for project in projects}
    for row in picked:
        if row.project_id not in of:
            raise Invalid(f"image {row.id} belongs to none of the projects", code="foreign_image")
    return [Shown(project, of[project.id], False) for project in projects]


async def _images(env: Env, project: Project, judgment: Judgment | None) -> list[Progression]:
    return (await list_progressions(env, project.id, judgment=judgment, limit=MOST + 1)).items


def _newest(project: Project, rows: list[Progression]) -> Shown:
    return Shown(project, rows[:MOST][::-1], len(rows) > MOST)


def write(template: bytes, title: str, shown: Sequence[Shown], options: LookbookOptions, public_url: str) -> bytes:
    """The page. It depends on nothing but its arguments."""
    rows = [row for part in shown for row in part.rows]
    cover = next((row for row in reversed(rows) if row.judgment == "pass"), rows[-1] if rows else None)
    context = {
        "title": title,
        "intro": options.intro or (shown[0].project.description if len(shown) == 1 else None),
        "facts": facts(rows),
        "palette": palette([tag for row in rows for tag in row.ai_tags], 9),
        "when": period(rows),
        "cover": page.picture(cover.generated_image_url, cover.width, cover.height, _alt(cover), public_url)
        if cover
        else None,
        "parts": list(parts(shown, options, public_url)),
        "colophon": colophon(rows),
    }
    return page.render(template, context)


def facts(rows: Sequence[Progression]) -> list[Fact]:
    """The counts on the cover; a count of nothing is left out, but for the images."""
    counted = [
        Fact("Image" if len(rows) == 1 else "Images", len(rows)),
        Fact("Passed", sum(row.judgment == "pass" for row in rows)),
        Fact("Failed", sum(row.judgment == "fail" for row in rows)),
        Fact("Not judged", sum(row.judgment is None for row in rows)),
    ]
    return [fact for fact in counted if fact.count or fact is counted[0]]


def period(rows: Sequence[Progression]) -> str:
    """When the images were made, in UTC days."""
    if not rows:
        return ""
    days = sorted(row.created_at for row in rows)
    first, last = _moment(days[0]), _moment(days[-1])
    if (first.year, first.month) == (last.year, last.month):
        return _day(days[0]) if first.day == last.day else f"{first.day} – {_day(days[-1])}"
    return f"{_day(days[0])} – {_day(days[-1])}"


def colophon(rows: Sequence[Progression]) -> str:
    makers = sorted({f"{row.ai_provider} ({row.ai_model})" if row.ai_model else row.ai_provider for row in rows})
    return f"Images made with {', '.join(makers)}." if makers else ""


def parts(shown: Sequence[Shown], options: LookbookOptions, public_url: str) -> Iterator[Part]:
    """The sections; numbers run through the whole page."""
    numbers = {row.id: n for n, row in enumerate((row for part in shown for row in part.rows), 1)}
    for part in shown:
        plates = [_plate(row, numbers, public_url) for row in part.rows]
        yield Part(part.project.name, part.project.description, _note(part, options), _layout(plates), plates)


def _plate(row: Progression, numbers: Mapping[str, int], public_url: str) -> Plate:
    ratio = min(RATIOS, key=lambda name: abs(RATIOS[name] * row.height / row.width - 1))
    prompt, more = cut(row.prompt, PROMPT_SHOWN)
    origin = numbers.get(row.parent_progression_id) if row.parent_progression_id else None
    return Plate(
        number=numbers[row.id],
        picture=_picture(row, public_url),
        sizes=f"(min-width: 44rem) {max(20, round(RATIOS[ratio] * 28))}rem, 92vw",
        ratio=ratio,
        prompt=prompt,
        more=more,
        verdict=row.judgment or "none",
        verdict_words=VERDICTS[row.judgment],
        notes=row.ai_notes,
        tags=[colour(tag) for tag in row.ai_tags],
        step=(STEPS if origin else STEPS_ALONE).get(row.edge, ""),
        origin=origin,
        credit=f"{_maker(row)} · {_day(row.created_at)}",
    )


def _note(part: Shown, options: LookbookOptions) -> str | None:
    if part.held_back:
        return f"The newest {MOST} images of this project are shown."
    if part.rows:
        return None
    if options.progression_ids:
        return "No image of this project was chosen."
    return "No image of this project has passed yet." if options.only == "passed" else "This project has no images yet."


def _layout(plates: Sequence[Plate]) -> Literal["even", "few", "mixed"]:
    if len(plates) <= FEW:
        return "few"
    return "even" if len({plate.ratio for plate in plates}) == 1 else "mixed"


def cut(text: str, at: int) -> tuple[str, str]:
    """A long text in two at a white space, nothing lost; a text that is only a little longer stays whole."""
    if len(text) <= at * 1.25:
        return text, ""
    spaces = [match.start() for match in re.finditer(r"\s", text[:at])]
    place = spaces[-1] if spaces else at
    return text[:place], text[place:]


def _picture(row: Progression, public_url: str) -> page.Picture:
    return page.picture(row.generated_image_url, row.width, row.height, _alt(row), public_url)


def _alt(row: Progression) -> str:
    text = " ".join(row.prompt.split())
    return text if len(text) <= ALT_SHOWN else f"{text[:ALT_SHOWN].rsplit(' ', 1)[0]} …"


def _maker(row: Progression) -> str:
    return f"{row.ai_provider} · {row.ai_model}" if row.ai_model else row.ai_provider


def _day(at: int) -> str:
    return f"{_moment(at).day} {_moment(at):%B %Y}"


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
