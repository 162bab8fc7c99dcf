"""A PDF for stakeholders: cover, contents, summary, every image with its verdict, and the costs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.media import typesetting
from generators.shared import image_pages
from generators.shared.image_pages import ClientSelection, Fact, Shown
from generators.shared.provider_stats import tally
from tools.env import Env
from tools.format import NONE, dollars
from tools.ledger import money
from tools.ledger.money import DayCost
from tools.rows import ArtifactRow, Criterion, Progression, Project

MOST_IMAGES = 120
SIDE = 1400
"""The longer side of an image in the document, in pixels."""
HEADLINE_SHOWN, PROMPT_SHOWN = 60, 1200
PURPOSES = {"image": "images", "refine": "prompts", "judge": "judging", "workflow": "workflows", "chat": "chat"}


class PdfOptions(ClientSelection, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`intro` stands on the cover (else the project's description). At most 120 images are shown, the newest of all;
    `costs` is an earlier name of `showCosts`."""

    intro: Annotated[str, Meta(max_length=1200)] | None = None
    paper: Literal["a4", "us-letter"] = "a4"
    costs: bool = False


class Picture(msgspec.Struct, frozen=True):
    file: str
    alt: str


class Plate(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one image."""

    number: int
    headline: str
    file: str
    alt: str
    ratio: float
    """Height by width."""
    prompt: str
    verdict: str
    words: str
    criteria: list[Criterion]
    remarks: list[str]
    tags: str
    credit: str


class Part(msgspec.Struct, frozen=True):
    name: str
    description: str | None
    note: str | None
    plates: list[Plate]


class Maker(msgspec.Struct, frozen=True):
    name: str
    images: int
    passed: int
    failed: int
    rate: str


class Cost(msgspec.Struct, frozen=True):
    name: str
    purpose: str
    calls: int
    cost: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The data of the template."""

    title: str
    paper: str
    keywords: list[str]
    intro: str | None
    cover: Picture | None
    when: str
    facts: list[Fact]
    notes: list[str]
    makers: list[Maker]
    parts: list[Part]
    with_costs: bool
    costs: list[Cost]
    total: str
    colophon: list[str]


class StakeholderPdf:
    id = "stakeholder-pdf"
    name = "Stakeholder PDF"
    output: Literal["pdf"] = "pdf"
    options = PdfOptions
    modules = ("typst",)

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: PdfOptions
    ) -> Output:
        """The PDF of the projects' images.

        Fails: Invalid (`not_installed`, `render_too_large`) · NotFound · Unavailable.
        """
        typesetting.check_installed(self.modules)
        collected = await image_pages.collect(env, projects, options)
        newest = sorted(image_pages.all_rows(collected), key=lambda row: row.created_at)[-MOST_IMAGES:]
        kept = {row.id for row in newest}
        shown = [
            Shown(
                part.project,
                [row for row in part.rows if row.id in kept],
                part.held_back or not all(row.id in kept for row in part.rows),
            )
            for part in collected
        ]
        rows = image_pages.all_rows(shown)
        spent = [day for project in projects for day in (await money.costs(env, project.id, 0))[0]]
        document = write(artifact.title, shown, spent, options)
        boxes = await typesetting.in_press(typesetting.unshown, msgspec.json.encode(document).decode())
        if boxes:
            which = "1 character of the texts is" if boxes == 1 else f"{boxes} different characters of the texts are"
            remark = f"{which} not in this document's fonts and shown as boxes."
            document = msgspec.structs.replace(document, colophon=[*document.colophon, remark])
        derived = await image_pages.pictures(env, rows, SIDE)
        pictures = {_file(number): picture for number, picture in enumerate(derived, 1)}
        template = env.ASSETS.read("stakeholder-pdf.typ")
        made = await typesetting.in_press(typesetting.pdf, template, document, pictures)
        return Output(index=File("index.pdf", made, "application/pdf"), progression_ids=tuple(row.id for row in rows))


generator = StakeholderPdf()


def write(title: str, shown: Sequence[Shown], spent: Sequence[DayCost], options: PdfOptions) -> Document:
    """The whole text of the document, except for the sentence about missing characters."""
    rows = image_pages.all_rows(shown)
    cover = image_pages.cover(shown, options)
    with_costs = options.show_costs or options.costs
    numbers = image_pages.numbers(rows)
    return Document(
        title=typesetting.breakable(title),
        paper=options.paper,
        keywords=[part.project.name for part in shown],
        intro=image_pages.intro(options.intro, shown),
        cover=Picture(_file(numbers[cover.id]), image_pages.alt(cover)) if cover else None,
        when=image_pages.period(rows),
        facts=image_pages.facts(rows, verdicts=options.show_verdicts),
        notes=_summary(rows, shown, options),
        makers=[
            Maker(one.maker, one.images, one.passed, one.failed, NONE if one.rate is None else f"{one.rate} %")
            for one in (image_pages.scores(rows) if options.show_verdicts else [])
        ],
        parts=[
            Part(
                typesetting.breakable(part.project.name),
                part.project.description,
                "The newest images of this project are shown." if part.held_back else image_pages.note(part, options),
                [_plate(row, numbers[row.id], options) for row in part.rows],
            )
            for part in shown
        ],
        with_costs=with_costs,
        costs=list(_costs(spent)) if with_costs else [],
        total=dollars(sum(day.micros for day in spent)),
        colophon=[*(_remarks_on(spent) if with_costs else []), *([image_pages.colophon(rows)] if rows else [])],
    )


def _summary(rows: Sequence[Progression], shown: Sequence[Shown], options: PdfOptions) -> list[str]:
    if not rows:
        return ["There are no images yet."]
    verdicts = tally(row.seen for row in rows)
    within = f"{len(shown)} projects" if len(shown) > 1 else "one project"
    sentences = [f"{len(rows)} {'image' if len(rows) == 1 else 'images'} of {within}, made {image_pages.period(rows)}."]
    if not options.show_verdicts:
        return sentences
    if verdicts.pass_rate is not None:
        rate = round(100 * verdicts.pass_rate)
        sentences.append(f"Of {verdicts.judged} judged, {verdicts.passed} passed ({rate} %).")
    if verdicts.measured:
        word = "image was" if verdicts.measured == 1 else "images were"
        sentences.append(f"{verdicts.measured} {word} only measured: the main subject could not be judged.")
    unmet = sum(not criterion.met for row in rows for criterion in row.criteria)
    if unmet:
        sentences.append(
            f"{unmet} {'requirement was' if unmet == 1 else 'requirements were'} not met; the pages say which."
        )
    return sentences


def _plate(row: Progression, number: int, options: PdfOptions) -> Plate:
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    return Plate(
        number=number,
        headline=typesetting.breakable(image_pages.line(row.prompt, HEADLINE_SHOWN)),
        file=_file(number),
        alt=image_pages.alt(row),
        ratio=row.height / row.width,
        prompt=typesetting.breakable(f"{prompt} …" if more else prompt),
        verdict=(row.seen or "none") if options.show_verdicts else "",
        words=image_pages.VERDICTS[row.seen],
        criteria=row.criteria if options.show_verdicts else [],
        remarks=row.ai_notes if options.show_verdicts else [],
        tags=" · ".join(row.ai_tags),
        credit=image_pages.credit(row, options, image_pages.day(row.created_at), f"{row.width} × {row.height}"),
    )


def _file(number: int) -> str:
    return f"{number}.jpg"


def _costs(spent: Sequence[DayCost]) -> Iterator[Cost]:
    sums: dict[tuple[str, str], list[DayCost]] = defaultdict(list)
    for day in spent:
        sums[(f"{day.provider} · {day.model}", PURPOSES[day.purpose])].append(day)
    for (name, purpose), days in sorted(sums.items()):
        yield Cost(name, purpose, sum(day.calls for day in days), dollars(sum(day.micros for day in days)))


def _remarks_on(spent: Sequence[DayCost]) -> list[str]:
    estimated, unpriced = sum(day.estimated for day in spent), sum(day.unpriced for day in spent)
    sentences = []
    if estimated:
        sentences.append(
            f"{estimated} of the calls are priced by an estimate, because their answers reported no usage."
        )
    if unpriced:
        sentences.append(f"{unpriced} of the calls have no known price and count at the most they can cost.")
    return sentences
