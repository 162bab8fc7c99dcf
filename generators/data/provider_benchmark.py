"""How each provider and model fared: pass rate, cost, latency, failures, duplicates. CSV, with a page of charts."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from generators.generator import File, Output
from generators.shared import charts, image_pages, page, tables
from generators.shared.charts import Chart, Entry
from generators.shared.image_pages import Fact
from generators.shared.provider_stats import CAUSES, Painted, likely, measure, percentile
from generators.shared.tables import Cell
from tools.env import Env
from tools.errors import Invalid
from tools.format import dollars, percent
from tools.publishing.artifacts import link_to
from tools.publishing.templates import load_template
from tools.reports import project_rows
from tools.reports.project_rows import Image
from tools.rows import ArtifactRow, Project

CAUSE_WORDS = {
    "outage": "No answer",
    "rate": "Rate limit",
    "quota": "Quota used up",
    "refused": "Refused",
    "invalid": "No usable image",
    "empty": "Empty answer",
    "uncertain": "Outcome unknown",
    "closed": "Not called",
}


class BenchmarkOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """`providers` are those to compare; none named is all."""

    providers: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=64)] = []


class ProviderBenchmark:
    id = "provider-benchmark"
    name = "Provider benchmark"
    output: Literal["csv"] = "csv"
    options = BenchmarkOptions

    async def generate(
        self, env: Env, artifact: ArtifactRow, projects: Sequence[Project], options: BenchmarkOptions
    ) -> Output:
        calls = [call for project in projects for call in await project_rows.calls(env, project.id)]
        images = [image for project in projects for image in await project_rows.images(env, project.id)]
        painted = chosen(await asyncio.to_thread(measure, calls, images), options.providers)
        key, template = await load_template(env, "provider-benchmark.html")
        names = [project.name for project in projects]
        measured = [image for image in images if not options.providers or image.provider in options.providers]
        url = link_to(artifact)
        written = await asyncio.to_thread(write, template, artifact.title, names, painted, measured, url)
        written = page.described(written, page.About(artifact.title, f"Provider benchmark: {', '.join(names)}"))
        companion = File(
            "index.html",
            written,
            "text/html; charset=utf-8",
            page.policy(template, []),
        )
        return Output(
            index=File("index.csv", tables.write([name for name, _ in COLUMNS], table(painted)), tables.CONTENT_TYPE),
            beside=(companion,),
            progression_ids=tuple(image.id for image in measured),
            template=key,
        )


generator = ProviderBenchmark()


def chosen(painted: Sequence[Painted], providers: Sequence[str]) -> list[Painted]:
    """Those of the providers named.

    Fails: Invalid naming the first that has no call and no image.
    """
    known = {one.provider for one in painted}
    for provider in providers:
        if provider not in known:
            raise Invalid(
                f"the projects have nothing of the provider {provider!r}",
                code="unknown_provider",
                detail={"provider": provider, "allowed": sorted(known)},
            )
    return [one for one in painted if not providers or one.provider in providers]


def decimal(micros: int | None) -> str | None:
    """Micro-USD as a decimal with all six places; a spreadsheet reads a number."""
    return None if micros is None else f"{micros // 10**6}.{micros % 10**6:06d}"


COLUMNS: list[tuple[str, Callable[[Painted], Cell]]] = [
    ("provider", lambda one: one.provider),
    ("model", lambda one: one.model or None),
    ("images", lambda one: one.verdicts.images),
    ("passed", lambda one: one.verdicts.passed),
    ("measured", lambda one: one.verdicts.measured),
    ("failed_judgement", lambda one: one.verdicts.failed),
    ("not_judged", lambda one: one.verdicts.unjudged),
    ("pass_rate", lambda one: one.verdicts.pass_rate),
    ("duplicates", lambda one: one.duplicates),
    ("calls", lambda one: one.calls),
    ("latency_p50_ms", lambda one: percentile(one.milliseconds, 50)),
    ("latency_p95_ms", lambda one: percentile(one.milliseconds, 95)),
    ("cost_usd", lambda one: decimal(one.cost_micros)),
    ("cost_per_image_usd", lambda one: decimal(one.cost_per_image)),
    ("estimated_calls", lambda one: one.estimated),
    ("unpriced_calls", lambda one: one.unpriced),
    ("unpriced_ceiling_usd", lambda one: decimal(one.ceiling_micros)),
    *((f"failed_{cause}", lambda one, cause=cause: one.failures[cause]) for cause in CAUSES),
    ("painted_for_others", lambda one: one.stood_in),
    ("painted_by_others", lambda one: one.replaced),
]


def table(painted: Sequence[Painted]) -> list[list[Cell]]:
    return [[cell(one) for _, cell in COLUMNS] for one in painted]


class Panel(msgspec.Struct, frozen=True):
    """One of the small multiples: a painter's failures by cause, on the scale that all of them share."""

    name: str
    total: str
    chart: Chart


def write(
    template: bytes,
    title: str,
    names: Sequence[str],
    painted: Sequence[Painted],
    images: Sequence[Image],
    csv_url: str,
) -> bytes:
    """The page beside the table, which is at `csv_url`. It depends on nothing but its arguments."""
    days = list(dict.fromkeys(image_pages.day(image.created_at) for image in images))
    has_costs = any(one.cost_micros or one.unpriced for one in painted)
    drawn = [chart for chart in CHARTS if has_costs or chart not in (costs_per_image, totals)] if painted else []
    context = {
        "title": title,
        "projects": " · ".join(names),
        "csv_url": csv_url,
        "when": " – ".join(dict.fromkeys([*days[:1], *days[-1:]])),
        "facts": facts(painted),
        "charts": [chart(painted) for chart in drawn],
        "panels": panels(painted),
        "rows": [
            [
                one.provider,
                one.model or "–",
                f"{one.verdicts.images:,}",
                f"{one.duplicates:,}",
                percent(one.verdicts.pass_rate, 1),
                f"{one.calls:,}",
                f"{sum(one.failures.values()):,}",
                _seconds(percentile(one.milliseconds, 50)),
                _seconds(percentile(one.milliseconds, 95)),
                dollars(one.cost_per_image),
                dollars(one.cost_micros) + _and_unpriced(one),
            ]
            for one in painted
        ],
        "unpriced": [one.name for one in painted if one.unpriced],
    }
    return page.render(template, context)


def facts(painted: Sequence[Painted]) -> list[Fact]:
    cost = sum(one.cost_micros for one in painted)
    return [
        Fact("Images", f"{sum(one.verdicts.images for one in painted):,}"),
        Fact("Calls", f"{sum(one.calls for one in painted):,}"),
        Fact("Failed calls", f"{sum(sum(one.failures.values()) for one in painted):,}"),
        Fact("Cost", dollars(cost)),
    ]


def pass_rates(painted: Sequence[Painted]) -> Chart:
    entries = [
        Entry(
            one.name,
            f"{percent(one.verdicts.pass_rate, 1)} · {one.verdicts.passed} of {one.verdicts.judged}",
            [(one.verdicts.pass_rate, "solid")],
            likely(one.verdicts.passed, one.verdicts.judged),
        )
        if one.verdicts.pass_rate is not None
        else Entry(one.name, "only measured" if one.verdicts.measured else "not judged", [])
        for one in painted
    ]
    scale = [(0.0, "0 %"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1.0, "100 %")]
    reading = (
        "Of the images that were judged, those that passed. "
        "The line is where the true rate lies with 95 % confidence: few images, long line."
    )
    return charts.draw("pass-rate", "Pass rate", reading, entries, scale)


def costs_per_image(painted: Sequence[Painted]) -> Chart:
    entries = [
        Entry(one.name, dollars(one.cost_per_image), [(one.cost_per_image / 1e6, "solid")])
        if one.cost_per_image is not None
        else Entry(one.name, "no known price" if one.unpriced else "no images", [])
        for one in painted
    ]
    most = max(one.cost_per_image or 0 for one in painted) / 1e6
    reading = "All that was paid, failed calls and duplicates too, for each image that was kept."
    return charts.draw("cost-per-image", "Cost per image", reading, entries, _money_scale(most))


def latencies(painted: Sequence[Painted]) -> Chart:
    entries = []
    for one in painted:
        half, most = percentile(one.milliseconds, 50), percentile(one.milliseconds, 95)
        if half is None or most is None:
            entries.append(Entry(one.name, "no image", []))
        else:
            said = f"{_seconds(half)} · {_seconds(most)}"
            entries.append(Entry(one.name, said, [(half / 1000, "solid"), ((most - half) / 1000, "hollow")]))
    longest = max((percentile(one.milliseconds, 95) or 0 for one in painted), default=0) / 1000
    end = charts.top(longest)
    scale = [(end * part / 4, f"{end * part / 4:g}{' s' if part in (0, 4) else ''}") for part in range(5)]
    reading = (
        "From the call to the image being stored and looked at: half of the images came within the first time, "
        "95 of 100 within the second."
    )
    legend: list[tuple[charts.Tone, str]] = [("solid", "half of them"), ("hollow", "95 of 100")]
    return charts.draw("latency", "Latency", reading, entries, scale, legend)


def counts(painted: Sequence[Painted]) -> Chart:
    entries = [
        Entry(
            one.name,
            f"{one.verdicts.images} kept · {one.duplicates} duplicate{'s' if one.duplicates != 1 else ''}",
            [(one.verdicts.images, "solid"), (one.duplicates, "hollow")],
        )
        for one in painted
    ]
    reading = "What came, and what of it was the same picture once more and therefore not kept."
    legend: list[tuple[charts.Tone, str]] = [("solid", "kept"), ("hollow", "duplicates")]
    scale = _count_scale(max(one.verdicts.images + one.duplicates for one in painted))
    return charts.draw("images", "Images", reading, entries, scale, legend)


def totals(painted: Sequence[Painted]) -> Chart:
    entries = [
        Entry(one.name, dollars(one.cost_micros) + _and_unpriced(one), [(one.cost_micros / 1e6, "solid")])
        for one in painted
    ]
    most = max(one.cost_micros for one in painted) / 1e6
    reading = "What the calls with a known price cost in all."
    return charts.draw("cost", "Total cost", reading, entries, _money_scale(most))


CHARTS = (pass_rates, costs_per_image, latencies, counts, totals)


def panels(painted: Sequence[Painted]) -> list[Panel]:
    """A panel for each painter with a failure, all with the same causes on the same scale."""
    met = [cause for cause in CAUSES if any(one.failures[cause] for one in painted)]
    failing = [(n, one) for n, one in enumerate(painted, 1) if any(one.failures.values())]
    scale = _count_scale(max((max(one.failures.values()) for _, one in failing), default=0))
    return [
        Panel(
            one.name,
            f"{sum(one.failures.values())} of {one.calls + one.failures['closed']} calls",
            charts.draw(
                f"failures-{n}",
                one.name,
                "",
                [
                    Entry(CAUSE_WORDS[cause], f"{one.failures[cause]}", [(one.failures[cause], "solid")])
                    for cause in met
                ],
                scale,
            ),
        )
        for n, one in failing
    ]


def _and_unpriced(one: Painted) -> str:
    return f" + {one.unpriced} unpriced" if one.unpriced else ""


def _seconds(ms: int | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.1f} s" if ms >= 100 else f"{ms / 1000:.3f} s"


def _money_scale(most: float) -> list[tuple[float, str]]:
    end = charts.top(most)
    return [(end * part / 2, "$0" if part == 0 else f"${end * part / 2:g}") for part in range(3)]


def _count_scale(most: int) -> list[tuple[float, str]]:
    end = max(2, int(charts.top(most)) + int(charts.top(most)) % 2)
    return [(0, "0"), (end / 2, f"{end // 2}"), (end, f"{end}")]
