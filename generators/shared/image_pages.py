"""Shared by all generators of images' pages: which images in which order, and the texts about them."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.shared import page
from generators.shared.provider_stats import tally
from tools import images
from tools.db import list_progressions
from tools.env import Env
from tools.errors import Invalid
from tools.format import dollars
from tools.media import pixels
from tools.publishing import boards, renders
from tools.publishing.templates import load_template
from tools.reports import project_rows
from tools.rows import MERIT, ArtifactRow, Criterion, Judgment, Progression, Project

T = TypeVar("T")
Options = TypeVar("Options", bound="Selection")
Contra = TypeVar("Contra", bound="Selection", contravariant=True)
ImageId = Annotated[str, Meta(min_length=1, max_length=64)]
Intro = Annotated[str, Meta(max_length=2000)] | None
MOST = 500
AT_ONCE = 4
"""Originals in memory at the same time."""
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
VERDICTS = {"pass": "Pass", "measured": "Measured", "fail": "Fail", None: "Not assessed"}
EMPTY = {
    "all": "This project has no images yet.",
    "passed": "No image of this project has passed yet.",
    "failed": "No image of this project has failed.",
}


class Selection(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`progressionIds` picks the images and their order; with none, the newest 500 of each project are shown, all or
    those that `only` names, in an `order`: those of one prompt together and by variant, or by when they were made.
    `cover` is the image on the cover, else an approved one, else the best judged."""

    only: Literal["all", "passed", "failed"] = "all"
    progression_ids: Annotated[list[ImageId], Meta(max_length=MOST)] = []
    order: Literal["prompt", "oldest", "newest"] = "prompt"
    cover: ImageId | None = None


class ClientSelection(Selection, frozen=True, kw_only=True):
    """For those who see the work of others: verdicts and costs are shown only where its owner says so."""

    show_verdicts: bool = False
    show_costs: bool = False


class PageSelection(Selection, frozen=True, kw_only=True):
    """`theme` makes the page light or dark for everybody; `auto` follows each reader's own setting."""

    theme: Literal["auto", "light", "dark"] = "auto"


class ClientPage(PageSelection, frozen=True, kw_only=True):
    """The same for a page; a Struct has one base with fields."""

    show_verdicts: bool = False
    show_costs: bool = False


class Shown(msgspec.Struct, frozen=True):
    """The images of one project in the order of the page; `held_back` when there were more."""

    project: Project
    rows: list[Progression]
    held_back: bool
    approved: frozenset[str] = frozenset()
    """Images that guests approved on a board and none rejected."""


class Fact(msgspec.Struct, frozen=True):
    """A number on a cover and what it counts."""

    word: str
    count: int | str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on the images of one provider and model; `rate` is the percentage of those judged that passed, None
    when none was judged, or some were only measured."""

    maker: str
    images: int
    passed: int
    measured: int
    failed: int
    unjudged: int
    rate: int | None
    cost: str


async def collect(env: Env, projects: Sequence[Project], selection: Selection) -> list[Shown]:
    """The images that the options select, project by project.

    Fails: Invalid naming the first image that belongs to none of the projects · NotFound.
    """
    if not selection.progression_ids:
        judgment = JUDGMENTS[selection.only]
        shown = []
        for project in projects:
            newest = (await list_progressions(env, project.id, judgment=judgment, limit=MOST + 1)).items
            rows = ordered(newest[:MOST][::-1], selection.order)
            shown.append(Shown(project, rows, len(newest) > MOST, await boards.approved(env, project.id)))
        return shown
    picked = await project_rows.named_images(env, selection.progression_ids)
    of = {project.id: [row for row in picked if row.project_id == project.id] for project in projects}
    for row in picked:
        if row.project_id not in of:
            raise Invalid(f"image {row.id} belongs to none of the projects", code="foreign_image")
    return [Shown(each, of[each.id], False, await boards.approved(env, each.id)) for each in projects]


def ordered(rows: Sequence[Progression], order: Literal["prompt", "oldest", "newest"]) -> list[Progression]:
    """The rows, given from the oldest, in that order. Those of one prompt are in the place of its first image, by
    provider, model and variant: who finished first does not count."""
    if order != "prompt":
        return list(rows if order == "oldest" else reversed(rows))
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        first.setdefault(row.prompt, number)

    def place(row: Progression) -> tuple[int, str, str, int, int]:
        return first[row.prompt], row.ai_provider, row.ai_model or "", row.variant_index, row.created_at

    return sorted(rows, key=place)


async def a_few_at_once(work: Callable[[Progression], Awaitable[T]], rows: Sequence[Progression]) -> list[T]:
    """The results of the work on each image, in order, `AT_ONCE` at the same time.

    Fails: with the first failure of those that ran together, after all of them have ended.
    """
    results = list[T]()
    for start in range(0, len(rows), AT_ONCE):
        for one in await asyncio.gather(*map(work, rows[start : start + AT_ONCE]), return_exceptions=True):
            if isinstance(one, BaseException):
                raise one
            results.append(one)
    return results


async def pictures(env: Env, rows: Sequence[Progression], side: int) -> list[bytes]:
    """Each image as a JPEG with a longer side of at most `side` pixels; a blank one where the original is gone.

    Effect: reports its progress to the render that is running.
    """
    done = itertools.count(1)

    async def derive(row: Progression) -> bytes:
        derived = await images.derive(env, row.original_image_r2_key, side)
        await renders.report_progress("collect", next(done) / len(rows))
        return await asyncio.to_thread(pixels.blank, row.width, row.height) if derived is None else derived

    return await a_few_at_once(derive, rows)


def all_rows(shown: Sequence[Shown]) -> list[Progression]:
    """The images of all projects in the order of the page."""
    return [row for part in shown for row in part.rows]


def newest(rows: Sequence[Progression], most: int) -> list[Progression]:
    """The `most` that were made last, in the order they had."""
    kept = {row.id for row in sorted(rows, key=lambda row: (row.created_at, row.id))[-most:]}
    return [row for row in rows if row.id in kept]


def numbers(rows: Sequence[Progression]) -> dict[str, int]:
    """The number of each image by its id; numbers run through the whole page."""
    return {row.id: number for number, row in enumerate(rows, 1)}


def step(row: Progression, numbers: Mapping[str, int]) -> tuple[str, int | None]:
    """How the image was derived from another, in words, and the other's number when it is on the page."""
    origin = numbers.get(row.parent_progression_id) if row.parent_progression_id else None
    return (STEPS if origin else STEPS_ALONE).get(row.edge, ""), origin


def intro(given: str | None, shown: Sequence[Shown]) -> str | None:
    """The text under the title: `given`, else the description of the only project."""
    return given or (shown[0].project.description if len(shown) == 1 else None)


def notes(shown: Sequence[Shown], selection: Selection) -> list[tuple[str, str]]:
    """The name and the note of each project that is not shown in full."""
    return [(part.project.name, text) for part in shown if (text := note(part, selection))]


def note(part: Shown, selection: Selection) -> str | None:
    """A sentence about the images of a project that are not shown; None when all are."""
    if part.held_back:
        return f"The newest {MOST} images of this project are shown."
    if part.rows:
        return None
    if selection.progression_ids:
        return "No image of this project was chosen."
    return EMPTY[selection.only]


def facts(rows: Sequence[Progression], *, verdicts: bool = True) -> list[Fact]:
    """The counts on a cover; zeros are left out, except for the number of images."""
    images = Fact("Image" if len(rows) == 1 else "Images", len(rows))
    if not verdicts:
        return [images]
    counts = tally(row.seen for row in rows)
    counted = [
        images,
        Fact("Passed", counts.passed),
        Fact("Measured", counts.measured),
        Fact("Failed", counts.failed),
        Fact("Not assessed", counts.unjudged),
    ]
    return [fact for fact in counted if fact.count or fact is counted[0]]


class Writer(Protocol[Contra]):
    """Makes a page from its template, title, images, options and the public URL of this installation."""

    def __call__(self, template: bytes, title: str, shown: Sequence[Shown], options: Contra, /) -> bytes: ...


async def selected_page(
    env: Env,
    name: str,
    artifact: ArtifactRow,
    projects: Sequence[Project],
    options: Options,
    write: Writer[Options],
    *,
    live: bool = False,
) -> Output:
    """A page of the template `name` with the images that the options select, made by `write` in a thread.

    Fails: as `collect` and `web_page`.
    """
    shown = await collect(env, projects, options)

    def render(template: bytes) -> bytes:
        return write(template, artifact.title, shown, options)

    theme = options.theme if isinstance(options, PageSelection) else "auto"
    told = about(artifact.title, shown, options)
    return await web_page(env, name, all_rows(shown), render, told, live=live, theme=theme)


def about(title: str, shown: Sequence[Shown], options: Selection, text: str | None = None) -> page.About:
    """What others show of a link to the page: its title, its `text` or what it is of, and its cover."""
    front = cover(shown, options)
    count = len(all_rows(shown))
    words = f"{count} {'image' if count == 1 else 'images'} of {', '.join(part.project.name for part in shown)}"
    return page.About(
        title, intro(text or getattr(options, "intro", None), shown) or words, picture(front) if front else None
    )


async def web_page(
    env: Env,
    name: str,
    rows: Sequence[Progression],
    write: Callable[[bytes], bytes],
    about: page.About,
    *,
    live: bool = False,
    theme: Literal["auto", "light", "dark"] = "auto",
) -> Output:
    """A page of the template `name` that shows these images; `write` makes it from the template's bytes in a thread.

    A `live` page may send requests to the server it came from.
    Fails: NotFound when this release's template is not in BUCKET.
    """
    key, template = await load_template(env, name)
    template = page.themed(template, theme)
    return Output(
        index=File(
            "index.html",
            page.described(await asyncio.to_thread(write, template), about),
            "text/html; charset=utf-8",
        ),
        policy=page.policy(template, [row.generated_image_url for row in rows], live=live),
        progression_ids=tuple(row.id for row in rows),
        template=key,
    )


def cover(shown: Sequence[Shown], selection: Selection) -> Progression | None:
    """The image for the cover: the one that `cover` names, else the first that was approved, else the first of the best
    judged; None without images.

    Fails: Invalid (`unknown_cover`) when the page does not show the one named.
    """
    rows = all_rows(shown)
    if selection.cover is not None:
        if (named := next((row for row in rows if row.id == selection.cover), None)) is None:
            raise Invalid("cover: the page does not show this image", code="unknown_cover")
        return named
    approved = {id for part in shown for id in part.approved}

    def merit(row: Progression) -> tuple[bool, int, float]:
        met = sum(criterion.met for criterion in row.criteria) / len(row.criteria) if row.criteria else 0.0
        return row.id not in approved, MERIT[row.seen], -met

    return min(rows, key=merit, default=None)


def credit(row: Progression, selection: ClientSelection | ClientPage, *more: str) -> str:
    """Who made the image, `more`, and what the selection lets guests see of its cost."""
    cost = dollars(row.cost_usd) if selection.show_costs and row.cost_usd else ""
    return " · ".join(filter(None, (maker(row), *more, cost)))


def missed(criterion: Criterion) -> str:
    """A requirement that was not met, as a sentence that cannot be read as if it were."""
    if criterion.requirement.startswith("Should "):
        return f"{criterion.requirement}, but {criterion.evidence}"
    return f"Asked for “{criterion.requirement}”: {criterion.evidence}"


def picture(row: Progression) -> page.Picture:
    """The image for `<img>`, with its prompt as alternative text."""
    return page.picture(row.generated_image_url, row.width, row.height, alt(row))


def ratio(row: Progression) -> str:
    """The name in `RATIOS` nearest to the image's aspect ratio."""
    return min(RATIOS, key=lambda name: abs(RATIOS[name] * row.height / row.width - 1))


def alt(row: Progression) -> str:
    """The prompt as alternative text: one line of at most `ALT_SHOWN` characters."""
    return line(row.prompt, ALT_SHOWN)


def line(text: str, at: int) -> str:
    """The text on one line, ended with an ellipsis at a white space when it is longer than `at` characters."""
    text = " ".join(text.split())
    return text if len(text) <= at else f"{text[:at].rsplit(' ', 1)[0]} …"


def cut(text: str, at: int) -> tuple[str, str]:
    """Split a long text in two at a white space; a text that is only a little longer than `at` stays whole."""
    if len(text) <= at * 1.25:
        return text, ""
    spaces = [match.start() for match in re.finditer(r"\s", text[:at])]
    place = spaces[-1] if spaces else at
    return text[:place], text[place:]


def maker(row: Progression) -> str:
    """The provider, with the model when it is known."""
    return f"{row.ai_provider} · {row.ai_model}" if row.ai_model else row.ai_provider


def scores(rows: Sequence[Progression]) -> list[Score]:
    """The scores of each provider and model, ordered by name."""
    found = []
    for name in sorted({maker(row) for row in rows}):
        own = [row for row in rows if maker(row) == name]
        verdicts = tally(row.seen for row in own)
        score = Score(
            maker=name,
            images=len(own),
            passed=verdicts.passed,
            measured=verdicts.measured,
            failed=verdicts.failed,
            unjudged=verdicts.unjudged,
            rate=None if verdicts.pass_rate is None else round(100 * verdicts.pass_rate),
            cost=dollars(sum(row.cost_usd for row in own)),
        )
        found.append(score)
    return found


def colophon(rows: Sequence[Progression], shared: Sequence[str] = ()) -> str:
    """A sentence that names the providers and models of the images, then the notes that all of them have; empty without
    images."""
    makers = sorted({f"{row.ai_provider} ({row.ai_model})" if row.ai_model else row.ai_provider for row in rows})
    made = f"Images made with {', '.join(makers)}." if makers else ""
    # In isolates (UAX #9), so that a note from right to left turns nothing around it.
    apart = " ".join(f"\u2068{note}\u2069" for note in shared)
    return f"{made} Noted on each that has notes: {apart}" if shared else made


def shared_notes(rows: Sequence[Progression]) -> list[str]:
    """The notes that every image with notes has, so that a page may show them once; none for a single image."""
    noted = [row.ai_notes for row in rows if row.ai_notes]
    return [note for note in noted[0] if all(note in notes for notes in noted)] if len(noted) > 1 else []


def without_notes(shown: Sequence[Shown], notes: Sequence[str]) -> list[Shown]:
    """The same images, without these notes."""
    replace = msgspec.structs.replace
    return [
        replace(
            part,
            rows=[replace(row, ai_notes=[note for note in row.ai_notes if note not in notes]) for row in part.rows],
        )
        for part in shown
    ]


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
    """UTC milliseconds as a time in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC)
