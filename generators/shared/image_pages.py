"""What the kinds that show images have in common: which images, in which order, and the words about them."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.shared import page
from tools import images
from tools.db import list_progressions
from tools.env import Env
from tools.errors import Invalid
from tools.media import pixels
from tools.publishing import renders
from tools.publishing.templates import load_template
from tools.reports import project_rows
from tools.rows import Judgment, Progression, Project

T = TypeVar("T")
MOST = 500
AT_ONCE = 4
"""Originals in memory at a time."""
ALT_SHOWN = 180
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
JUDGMENTS: dict[str, Judgment | None] = {"all": None, "passed": "pass", "failed": "fail"}
VERDICTS = {"pass": "Pass", "fail": "Fail", None: "Not judged"}
EMPTY = {
    "all": "This project has no images yet.",
    "passed": "No image of this project has passed yet.",
    "failed": "No image of this project has failed.",
}


class Selection(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`progressionIds` picks the images and their order; with none, the newest 500 of each project are shown from the
    oldest, all or those that `only` names."""

    only: Literal["all", "passed", "failed"] = "all"
    progression_ids: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=MOST)] = []


class Shown(msgspec.Struct, frozen=True):
    """The images of one project in the order of the page; `held_back` when there were more."""

    project: Project
    rows: list[Progression]
    held_back: bool


class Fact(msgspec.Struct, frozen=True):
    """A number on a cover and what it counts."""

    word: str
    count: int | str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How the images of one maker fared; `rate` is passed of judged in per cent, None when none was judged."""

    maker: str
    images: int
    passed: int
    failed: int
    unjudged: int
    rate: int | None
    cost: str


async def collect(env: Env, projects: Sequence[Project], selection: Selection) -> list[Shown]:
    """What the options ask for, project by project.

    Fails: Invalid naming the first image that belongs to none of the projects · NotFound.
    """
    if not selection.progression_ids:
        judgment = JUDGMENTS[selection.only]
        return [_newest(project, await _images(env, project, judgment)) for project in projects]
    picked = await project_rows.named_images(env, selection.progression_ids)
    of = {project.id: [row for row in picked if row.project_id == project.id] for project in projects}
    for row in picked:
        if row.project_id not in of:
            raise Invalid(f"image {row.id} belongs to none of the projects", code="foreign_image")
    return [Shown(project, of[project.id], False) for project in projects]


async def _images(env: Env, project: Project, judgment: Judgment | None) -> list[Progression]:
    return (await list_progressions(env, project.id, judgment=judgment, limit=MOST + 1)).items


def _newest(project: Project, rows: list[Progression]) -> Shown:
    return Shown(project, rows[:MOST][::-1], len(rows) > MOST)


async def a_few_at_once(work: Callable[[Progression], Awaitable[T]], rows: Sequence[Progression]) -> list[T]:
    """What the work gives for each image, in their order. Fails: with the first failure among the few."""
    given = list[T]()
    for start in range(0, len(rows), AT_ONCE):
        for one in await asyncio.gather(*map(work, rows[start : start + AT_ONCE]), return_exceptions=True):
            if isinstance(one, BaseException):
                raise one
            given.append(one)
    return given


async def pictures(env: Env, rows: Sequence[Progression], side: int) -> list[bytes]:
    """Each image as a JPEG of at most `side` pixels, a plain one where it is gone. Tells how far it is."""
    done = itertools.count(1)

    async def derive(row: Progression) -> bytes:
        derived = await images.derive(env, row.original_image_r2_key, side)
        await renders.report_progress("collect", next(done) / len(rows))
        return await asyncio.to_thread(pixels.blank, row.width, row.height) if derived is None else derived

    return await a_few_at_once(derive, rows)


def all_rows(shown: Sequence[Shown]) -> list[Progression]:
    """The images of all projects in the order of the page."""
    return [row for part in shown for row in part.rows]


def note(part: Shown, selection: Selection) -> str | None:
    """What is not to be seen of a project, as a sentence."""
    if part.held_back:
        return f"The newest {MOST} images of this project are shown."
    if part.rows:
        return None
    if selection.progression_ids:
        return "No image of this project was chosen."
    return EMPTY[selection.only]


def facts(rows: Sequence[Progression]) -> list[Fact]:
    """The counts on a cover; a count of nothing is left out, but for the images."""
    counted = [
        Fact("Image" if len(rows) == 1 else "Images", len(rows)),
        Fact("Passed", sum(row.judgment == "pass" for row in rows)),
        Fact("Failed", sum(row.judgment == "fail" for row in rows)),
        Fact("Not judged", sum(row.judgment is None for row in rows)),
    ]
    return [fact for fact in counted if fact.count or fact is counted[0]]


async def web_page(
    env: Env, name: str, rows: Sequence[Progression], write: Callable[[bytes], bytes], *, live: bool = False
) -> Output:
    """A page of the template `name` that shows these images; `write` makes it of the template's bytes in a thread.

    A `live` page may speak with the server it came from.
    Fails: NotFound when this release's template is not in BUCKET.
    """
    key, template = await load_template(env, name)
    return Output(
        index=File("index.html", await asyncio.to_thread(write, template), "text/html; charset=utf-8"),
        policy=page.policy(template, [row.generated_image_url for row in rows], live=live),
        progression_ids=tuple(row.id for row in rows),
        template=key,
    )


def cover(rows: Sequence[Progression]) -> Progression | None:
    """The image that stands for all: the last that passed, else the last."""
    return next((row for row in reversed(rows) if row.judgment == "pass"), rows[-1] if rows else None)


def picture(row: Progression, public_url: str) -> page.Picture:
    return page.picture(row.generated_image_url, row.width, row.height, alt(row), public_url)


def ratio(row: Progression) -> str:
    """The name in `RATIOS` that is nearest to the image's shape."""
    return min(RATIOS, key=lambda name: abs(RATIOS[name] * row.height / row.width - 1))


def alt(row: Progression) -> str:
    """The prompt as alternative text: one line of at most `ALT_SHOWN` characters."""
    return line(row.prompt, ALT_SHOWN)


def line(text: str, at: int) -> str:
    """The text on one line, ended with an ellipsis at a white space when it is longer than `at` characters."""
    text = " ".join(text.split())
    return text if len(text) <= at else f"{text[:at].rsplit(' ', 1)[0]} …"


def cut(text: str, at: int) -> tuple[str, str]:
    """A long text in two at a white space, nothing lost; a text that is only a little longer stays whole."""
    if len(text) <= at * 1.25:
        return text, ""
    spaces = [match.start() for match in re.finditer(r"\s", text[:at])]
    place = spaces[-1] if spaces else at
    return text[:place], text[place:]


def maker(row: Progression) -> str:
    return f"{row.ai_provider} · {row.ai_model}" if row.ai_model else row.ai_provider


def scores(rows: Sequence[Progression]) -> list[Score]:
    """One for each maker, in the order of their names."""
    return [_score(name, [row for row in rows if maker(row) == name]) for name in sorted({maker(row) for row in rows})]


def _score(name: str, rows: Sequence[Progression]) -> Score:
    passed, failed = (sum(row.judgment == judgment for row in rows) for judgment in ("pass", "fail"))
    return Score(
        maker=name,
        images=len(rows),
        passed=passed,
        failed=failed,
        unjudged=len(rows) - passed - failed,
        rate=round(100 * passed / (passed + failed)) if passed + failed else None,
        cost=dollars(sum(row.cost_usd for row in rows)),
    )


def colophon(rows: Sequence[Progression], shared: Sequence[str] = ()) -> str:
    """One sentence with everyone who made the images, then what was noted on all of them; empty without images."""
    makers = sorted({f"{row.ai_provider} ({row.ai_model})" if row.ai_model else row.ai_provider for row in rows})
    made = f"Images made with {', '.join(makers)}." if makers else ""
    return f"{made} Noted on each that has notes: {' '.join(shared)}" if shared else made


def shared_notes(rows: Sequence[Progression]) -> list[str]:
    """What stands on every image that has notes, so that a page may say it once; nothing of a single one."""
    noted = [row.ai_notes for row in rows if row.ai_notes]
    return [note for note in noted[0] if all(note in notes for notes in noted)] if len(noted) > 1 else []


def without_notes(shown: Sequence[Shown], notes: Sequence[str]) -> list[Shown]:
    """The same images, of whose notes these are left out."""
    return [msgspec.structs.replace(part, rows=[_without(row, notes) for row in part.rows]) for part in shown]


def _without(row: Progression, notes: Sequence[str]) -> Progression:
    return msgspec.structs.replace(row, ai_notes=[note for note in row.ai_notes if note not in notes])


def dollars(micros: int) -> str:
    """Micro-USD as `$0.04`, with as many further places as it needs."""
    whole, places = f"{micros / 1e6:.6f}".split(".")
    return f"${whole}.{places.rstrip('0'):0<2}"


def period(rows: Sequence[Progression]) -> str:
    """When the images were made, in UTC days; empty without images."""
    if not rows:
        return ""
    days = sorted(row.created_at for row in rows)
    first, last = moment(days[0]), moment(days[-1])
    if (first.year, first.month) == (last.year, last.month):
        return day(days[0]) if first.day == last.day else f"{first.day} – {day(days[-1])}"
    return f"{day(days[0])} – {day(days[-1])}"


def day(at: int) -> str:
    """UTC milliseconds as `24 September 2026`."""
    return f"{moment(at).day} {moment(at):%B %Y}"


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
