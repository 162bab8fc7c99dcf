"""A judge report: the verdict on every image, failures first, with totals."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from generators.generator import Output
from generators.shared import image_pages, page
from generators.shared.image_pages import Intro, PageSelection, Shown
from generators.shared.provider_stats import tally
from generators.shared.tags import Tag, tag_of
from tools.env import Env
from tools.rows import ArtifactRow, Criterion, Progression, Project

PROMPT_SHOWN = 300
MISSED_SHOWN = 8
TAGS_SHOWN = 14
UNSEEN = {"error": "Not assessed: the judge did not answer.", "skipped": "Not assessed."}


class JudgeReportOptions(PageSelection, frozen=True, kw_only=True):
    """`passes` says how images that passed are shown: in full like the failed ones, or as small pictures only."""

    intro: Intro = None
    passes: Literal["full", "brief"] = "full"


class Tally(msgspec.Struct, frozen=True):
    """Something that occurred `count` times; `most` is the count of the most frequent one."""

    name: str
    count: int
    most: int


class Check(msgspec.Struct, frozen=True):
    """A requirement that was met, with what was seen; or a sentence on one that was not, without `seen`."""

    met: bool
    words: str
    seen: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    picture: page.Picture
    prompt: str
    more: str
    maker: str
    project: str
    criteria: list[Check]
    notes: list[str]
    tags: list[Tag]
    suggestion: str
    unseen: str


class Chapter(msgspec.Struct, frozen=True):
    """Images of one verdict: `fail`, `none`, `measured` or `pass`."""

    verdict: str
    heading: str
    brief: bool
    findings: list[Finding]


class JudgeReport:
    """Without images: a page that says so."""

    id = "judge-report"
    name = "Judge report"
    output: Literal["html"] = "html"
    options = JudgeReportOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: JudgeReportOptions
    ) -> Output:
        return await image_pages.selected_page(env, "judge-report.html", artifact, projects, options, write)


generator = JudgeReport()


def write(template: bytes, title: str, shown: Sequence[Shown], options: JudgeReportOptions) -> bytes:
    """The page as UTF-8."""
    rows = image_pages.all_rows(shown)
    shared = image_pages.shared_notes(rows)
    verdicts = tally(row.seen for row in rows)
    context = {
        "title": title,
        "intro": image_pages.intro(options.intro, shown),
        "when": image_pages.period(rows),
        "facts": image_pages.facts(rows),
        "rate": None if verdicts.pass_rate is None else round(100 * verdicts.pass_rate),
        "judged": verdicts.judged,
        "scores": image_pages.scores(rows),
        "missed": missed(rows),
        "tags": [(tag_of(tally.name), tally) for tally in tags(rows)],
        "chapters": list(chapters(image_pages.without_notes(shown, shared), options)),
        "several": len(shown) > 1,
        "notes": image_pages.notes(shown, options),
        "colophon": image_pages.colophon(rows, shared),
    }
    return page.render(template, context)


def missed(rows: Sequence[Progression]) -> list[Tally]:
    """The requirements that most images did not meet."""
    unmet = (criterion.requirement for row in rows for criterion in row.criteria if not criterion.met)
    return _tallies(Counter(unmet), MISSED_SHOWN)


def tags(rows: Sequence[Progression]) -> list[Tally]:
    return _tallies(Counter(tag for row in rows for tag in dict.fromkeys(row.ai_tags)), TAGS_SHOWN)


def _tallies(counted: Counter[str], most: int) -> list[Tally]:
    first = counted.most_common(most)
    return [Tally(name, count, first[0][1]) for name, count in first]


def chapters(shown: Sequence[Shown], options: JudgeReportOptions) -> Iterator[Chapter]:
    """Failed, not judged, measured, passed; those without an image are left out. Numbers follow the project's order."""
    rows = image_pages.all_rows(shown)
    numbers = {row.id: n for n, row in enumerate(rows, 1)}
    names = {part.project.id: part.project.name for part in shown}
    for verdict, seen, heading in (
        ("fail", "fail", "Failed"),
        ("none", None, "Not assessed"),
        ("measured", "measured", "Measured: what can be measured is as asked; the main subject is not assessed"),
        ("pass", "pass", "Passed"),
    ):
        found = [_finding(row, numbers, names) for row in rows if row.seen == seen]
        if found:
            yield Chapter(verdict, heading, verdict in ("pass", "measured") and options.passes == "brief", found)


def _is_told(note: str, criteria: Sequence[Criterion]) -> bool:
    """Whether a note only repeats a criterion that was not met."""
    missed = [one for one in criteria if not one.met]
    return any(note.startswith(one.requirement) and one.evidence in note for one in missed)


def _finding(row: Progression, numbers: Mapping[str, int], names: Mapping[str, str]) -> Finding:
    prompt, more = image_pages.cut(row.prompt, PROMPT_SHOWN)
    return Finding(
        number=numbers[row.id],
        picture=image_pages.picture(row),
        prompt=prompt,
        more=more,
        maker=image_pages.maker(row),
        project=names[row.project_id],
        criteria=[
            Check(True, one.requirement, one.evidence) if one.met else Check(False, image_pages.missed(one), "")
            for one in sorted(row.criteria, key=lambda criterion: criterion.met)
        ],
        notes=[note for note in row.ai_notes if not _is_told(note, row.criteria)],
        tags=[tag_of(tag) for tag in row.ai_tags],
        suggestion=row.retry_suggestion or "",
        unseen=UNSEEN.get(row.judge_status, "") if row.judgment is None else "",
    )
