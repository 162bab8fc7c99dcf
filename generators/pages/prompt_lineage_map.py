"""A map of versions and what they were made from: boxes from left to right, with thumbnails and edges."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.shared import image_pages, lineage_layout, page
from generators.shared.image_pages import STEPS, STEPS_ALONE, VERDICTS
from generators.shared.lineage_layout import HEAD, ROW, WIDTH, Drawing, Placed
from tools.db import get_progression, list_progressions
from tools.env import Env
from tools.errors import Invalid
from tools.publishing.addresses import IMAGE, linked
from tools.publishing.artifacts import link_to
from tools.rows import ArtifactRow, Edge, Judgment, Progression, Project

MOST = 1000
JSON_NAME = "lineage.json"
MARKS = {"pass": "✓", "measured": "≈", "fail": "✗", None: "–"}
ORIGINS = {"upload": "from an uploaded image", "web": "from a fetched image", "version": "from an earlier version"}

Origin = Literal["upload", "web", "version"]


class LineageOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`progressionId` limits the map to the ancestors and descendants of that image."""

    progression_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class Node(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A version. `startedFrom` says where its start image came from when that is no version of this map."""

    id: str
    number: int
    project_id: str
    prompt: str
    provider: str
    model: str | None
    seed: int | None
    judgment: Judgment | None
    started_from: Origin | None
    image_url: str
    width: int
    height: int
    created_at: int


class Descent(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """`to` was made from `from` in the way of `kind`."""

    from_: str
    to: str
    kind: Edge


class Named(msgspec.Struct, frozen=True):
    id: str
    name: str


class LineageFile(msgspec.Struct, frozen=True, kw_only=True):
    """`lineage.json`: nodes in the order of their numbers, edges in that of the versions they lead to."""

    format: Literal["picasso-lineage/1"] = "picasso-lineage/1"
    projects: list[Named]
    nodes: list[Node]
    edges: list[Descent]


class Section(msgspec.Struct, frozen=True):
    """One project's versions, oldest first; `held_back` when there were more."""

    project: Project
    rows: list[Progression]
    held_back: bool


class PromptLineageMap:
    """Without images: a page that says so."""

    id = "prompt-lineage-map"
    name = "Prompt lineage map"
    output: Literal["html"] = "html"
    options = LineageOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: LineageOptions
    ) -> Output:
        sections = await collect(env, projects, options)
        rows = [row for section in sections for row in section.rows]

        def written(template: bytes) -> bytes:
            return write(template, artifact.title, sections, link_to(artifact, JSON_NAME))

        told = f"Which version came from which: {len(rows)} of {', '.join(each.project.name for each in sections)}"
        about = page.About(artifact.title, told)
        made = await image_pages.web_page(env, "prompt-lineage-map.html", rows, written, about)
        data = File(JSON_NAME, msgspec.json.encode(described(sections), order="deterministic"), "application/json")
        return msgspec.structs.replace(made, beside=(data,))


generator = PromptLineageMap()


async def collect(env: Env, projects: Sequence[Project], options: LineageOptions) -> list[Section]:
    """The newest `MOST` versions of each project, or those related to the one named.

    Fails: Invalid when that image belongs to none of the projects.
    """
    found = [(project, (await list_progressions(env, project.id, limit=MOST + 1)).items) for project in projects]
    sections = [Section(project, rows[:MOST][::-1], len(rows) > MOST) for project, rows in found]
    if options.progression_id is None:
        return sections
    wanted = await get_progression(env, options.progression_id)
    if wanted.project_id not in {project.id for project in projects}:
        raise Invalid(f"image {wanted.id} belongs to none of the projects", code="foreign_image")
    kin = related([row for section in sections for row in section.rows], wanted)
    return [
        Section(section.project, [row for row in section.rows if row.id in kin], section.held_back)
        for section in sections
        if section.project.id == wanted.project_id
    ]


def related(rows: Sequence[Progression], wanted: Progression) -> set[str]:
    """The version, its ancestors and its descendants; `rows` are oldest first."""
    parents = {row.id: row.parent_progression_id for row in rows}
    above, below = set[str](), {wanted.id}
    at: str | None = wanted.id
    while at is not None and at in parents:
        above.add(at)
        at = parents[at]
    for row in rows:
        if row.parent_progression_id in below:
            below.add(row.id)
    return above | below


def numbered(sections: Sequence[Section]) -> dict[str, int]:
    """The versions' numbers, running through the whole map."""
    return {row.id: n for n, row in enumerate((row for section in sections for row in section.rows), 1)}


def described(sections: Sequence[Section]) -> LineageFile:
    """The content of `lineage.json`."""
    numbers = numbered(sections)
    rows = [row for section in sections for row in section.rows]
    return LineageFile(
        projects=[Named(section.project.id, section.project.name) for section in sections],
        nodes=[
            Node(
                id=row.id,
                number=numbers[row.id],
                project_id=row.project_id,
                prompt=row.prompt,
                provider=row.ai_provider,
                model=row.ai_model,
                seed=row.seed,
                judgment=row.judgment,
                started_from=None if row.parent_progression_id in numbers else origin(row),
                image_url=linked(row.generated_image_url),
                width=row.width,
                height=row.height,
                created_at=row.created_at,
            )
            for row in rows
        ],
        edges=[
            Descent(row.parent_progression_id, row.id, row.edge)
            for row in rows
            if row.parent_progression_id is not None and row.parent_progression_id in numbers
        ],
    )


def origin(row: Progression) -> Origin | None:
    """Where the start image came from, without its address."""
    if row.start_image_url is None:
        return "version" if row.parent_progression_id else None
    scheme = row.start_image_url.partition(":")[0].lower()
    return "upload" if scheme == "upload" else "version" if scheme == "progression" else "web"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A version as a row of its box and as an entry of the list."""

    number: int
    url: str
    thumb: str
    alt: str
    prompt: str
    maker: str
    verdict: str
    mark: str
    word: str
    how: str
    parent: int | None
    facts: str
    continued: bool


class Box(msgspec.Struct, frozen=True):
    """A step; `how` and `parent` say what was done to which version."""

    x: int
    y: int
    width: int
    height: int
    how: str
    parent: int | None
    part: str
    prompt: str
    entries: list[Entry]


class Curve(msgspec.Struct, frozen=True):
    """An edge: its path, its kind, and where that word stands."""

    path: str
    kind: str
    x: int
    y: int


class Sheet(msgspec.Struct, frozen=True):
    """`after` is the version whose steps the drawing goes on with, in the first of those drawings."""

    title: str
    after: int | None
    boxes: list[Box]
    curves: list[Curve]
    width: int
    height: int


class Part(msgspec.Struct, frozen=True):
    name: str
    note: str | None
    sheets: list[Sheet]
    entries: list[Entry]


def write(template: bytes, title: str, sections: Sequence[Section], json_url: str) -> bytes:
    """The page. It depends on nothing but its arguments."""
    numbers = numbered(sections)
    rows = [row for section in sections for row in section.rows]
    context = {
        "title": title,
        "json_url": json_url,
        "facts": [
            *image_pages.facts(rows),
            image_pages.Fact("Steps", sum(row.parent_progression_id in numbers for row in rows)),
        ],
        "when": image_pages.period(rows),
        "parts": [_part(section, numbers) for section in sections],
        "row": ROW,
        "head": HEAD,
    }
    return page.render(template, context)


def _part(section: Section, numbers: Mapping[str, int]) -> Part:
    drawn = lineage_layout.drawings(lineage_layout.steps(section.rows))
    parents = [drawing.boxes[0].step.parent for drawing in drawn]
    after = [numbers[parent.id] if parent else None for parent in parents]
    note = f"The newest {MOST} versions of this project are shown." if section.held_back else None
    return Part(
        section.project.name,
        note if section.rows else "This project has no images yet.",
        [
            _sheet(drawing, number if number not in after[:place] else None, numbers)
            for place, (drawing, number) in enumerate(zip(drawn, after, strict=True))
        ],
        [_entry(row, numbers, frozenset()) for row in section.rows],
    )


def _sheet(drawing: Drawing, after: int | None, numbers: Mapping[str, int]) -> Sheet:
    first = drawing.boxes[0].step
    if not drawing.lines and len(drawing.boxes) > 1:
        title = "Versions without further steps"
    elif first.parent:
        title = f"Continued from No. {numbers[first.parent.id]}"
    else:
        title = f"From No. {numbers[first.first.id]}"
    curves = []
    for line in drawing.lines:
        (x, y), (to, down) = line.start, line.end
        middle = (x + to) // 2
        path = f"M{x} {y}C{middle} {y} {middle} {down} {to} {down}"
        curves.append(Curve(path, line.kind, to - 8, down + (16 if down > y else -7)))
    return Sheet(
        title,
        after,
        [_box(placed, drawing, numbers) for placed in drawing.boxes],
        curves,
        drawing.width,
        drawing.height,
    )


def _box(placed: Placed, drawing: Drawing, numbers: Mapping[str, int]) -> Box:
    step = placed.step
    return Box(
        x=placed.x,
        y=placed.y,
        width=WIDTH,
        height=step.height,
        how=_how(step.first, numbers),
        parent=numbers[step.parent.id] if step.parent else None,
        part=f"{step.part} of {step.parts}" if step.parts > 1 else "",
        prompt=step.first.prompt,
        entries=[_entry(row, numbers, drawing.continued) for row in step.versions],
    )


def _entry(row: Progression, numbers: Mapping[str, int], continued: frozenset[str]) -> Entry:
    seed = [f"seed {row.seed}"] if row.seed is not None else []
    return Entry(
        number=numbers[row.id],
        url=linked(row.generated_image_url),
        thumb=thumb(row.generated_image_url),
        alt=image_pages.alt(row),
        prompt=row.prompt,
        maker=image_pages.maker(row),
        verdict=row.seen or "none",
        mark=MARKS[row.seen],
        word=VERDICTS[row.seen],
        how=_how(row, numbers),
        parent=numbers.get(row.parent_progression_id or ""),
        facts=" · ".join(
            [image_pages.maker(row), *seed, f"{row.width} × {row.height}", image_pages.day(row.created_at)]
        ),
        continued=row.id in continued,
    )


def _how(row: Progression, numbers: Mapping[str, int]) -> str:
    if row.parent_progression_id in numbers:
        return STEPS.get(row.edge, "Made from")
    word = STEPS_ALONE.get(row.edge, "Generated")
    return f"{word} {ORIGINS[started]}" if (started := origin(row)) else word


def thumb(url: str) -> str:
    """The small variant that this application's own delivery makes; a foreign delivery's URL as it is."""
    return f"{linked(url).removesuffix('/public')}/thumb" if IMAGE.fullmatch(url) else url
