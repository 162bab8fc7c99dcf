"""The benchmark: every number of a fully known project, read back from CSV and from the page of charts."""

import csv
import io
import re
from pathlib import Path

import pytest

from generators import registry
from generators.data import provider_benchmark
from generators.shared import provider_stats
from generators.shared.provider_stats import likely, percentile
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.counted_project import FLUX, add_studio, step_back
from tests.support.samples.page_site import Outline, add_project, pages_env, template
from tools import db
from tools.env import Env
from tools.errors import Invalid
from tools.publishing import artifacts
from tools.reports.project_rows import Image


async def make(env: Env, **options: object) -> artifacts.Output:
    decoded = registry.decode_options(provider_benchmark.generator, options)
    draft = artifacts.draft(generator_id="provider-benchmark", title="Autumn", owner_id="default", options=options)
    return await provider_benchmark.generator.generate(env, draft, [await db.get_project(env, "p")], decoded)


def table(output: artifacts.Output) -> dict[str, dict[str, str]]:
    """The rows by provider, as the csv module reads them."""
    text = output.index.data.decode("utf-8")
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    return {found["provider"]: found for found in csv.DictReader(io.StringIO(text, newline=""), strict=True)}


def page_of(output: artifacts.Output) -> Outline:
    (page,) = output.beside
    assert (page.name, page.content_type) == ("index.html", "text/html; charset=utf-8")
    return Outline(page.data.decode())


EXPECTED = {
    "gemini": {"images": "0", "pass_rate": "", "calls": "2", "latency_p50_ms": "", "cost_usd": "0.030000"}
    | {"cost_per_image_usd": "", "failed_outage": "1", "failed_closed": "1", "failed_uncertain": "1"}
    | {"estimated_calls": "1", "painted_by_others": "1", "painted_for_others": "0", "duplicates": "0"},
    "openai": {"images": "1", "passed": "1", "pass_rate": "1.0", "duplicates": "1", "calls": "3", "failed_rate": "1"}
    | {"latency_p50_ms": "2000", "latency_p95_ms": "4000", "cost_usd": "0.082000", "cost_per_image_usd": "0.082000"}
    | {"estimated_calls": "1", "unpriced_calls": "0", "painted_by_others": "0"},
    "sketch": {"images": "3", "passed": "1", "failed_judgement": "1", "not_judged": "1", "pass_rate": "0.5"}
    | {"calls": "3", "latency_p50_ms": "200", "latency_p95_ms": "300", "cost_usd": "0.000000"}
    | {"cost_per_image_usd": "0.000000", "painted_for_others": "1", "duplicates": "0"},
    "workers": {"images": "1", "pass_rate": "0.0", "calls": "2", "failed_refused": "1", "latency_p50_ms": "1000"}
    | {"cost_usd": "0.000000", "cost_per_image_usd": "", "unpriced_calls": "1", "unpriced_ceiling_usd": "0.500000"},
}


async def test_the_table_has_the_numbers_that_were_worked_out_by_hand(database_url: str, tmp_path: Path) -> None:
    """Failures by cause, a duplicate, a crash, a fallback, an unknown price and an unknown outcome, each in its column;
    a rollback counts for no provider."""
    async with pages_env(tmp_path, database_url, {"DB": database_url}) as env:
        await add_studio(env)
        await step_back(env)
        output = await make(env)
        rows = table(output)
        assert list(rows) == ["gemini", "openai", "sketch", "workers"]
        for provider, facts in EXPECTED.items():
            assert {name: rows[provider][name] for name in facts} == facts, provider
        assert rows["workers"]["model"] == f"'{FLUX}"
        failures = {provider: sum(int(row[name]) for name in row if name in CAUSES) for provider, row in rows.items()}
        assert failures == {"gemini": 3, "openai": 1, "sketch": 0, "workers": 1}
        assert "back" not in output.progression_ids and len(output.progression_ids) == 5


CAUSES = {f"failed_{cause}" for cause in provider_stats.CAUSES}


async def test_the_page_draws_and_says_the_same_numbers(tmp_path: Path) -> None:
    """Each figure is an SVG with a name and all its values in text; the lengths of bars are proportional to the
    values."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        output = await make(env)
        page, html = page_of(output), output.beside[0].data.decode()
        pictures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
        ids = {element["id"] for _, element in page.elements if "id" in element}
        assert len(pictures) == 5 + 3  # five metrics, and the three who had failures
        assert all(svg["aria-label"] and svg["aria-describedby"] in ids for svg in pictures)
        said = dict(re.findall(r'<desc id="(.+?)-said">(.*?)</desc>', html))
        assert said["pass-rate"] == (
            "gemini · g-1: not judged. openai · gpt-x: 100.0 % · 1 of 1. sketch · sketch-1: 50.0 % · 1 of 2. "
            f"workers · {FLUX}: 0.0 % · 0 of 1."
        )
        assert f"workers · {FLUX}: no known price." in said["cost-per-image"]
        assert "sketch · sketch-1: 0.2 s · 0.3 s" in said["latency"]
        assert said["failures-1"].startswith("No answer: 1. Rate limit: 0.")
        bars = [float(str(rect["width"]).rstrip("%")) for rect in page.all("rect") if rect.get("height") == "12"]
        assert bars[:2] == [100.0, 50.0]
        assert f"No price is known for some calls of workers · {FLUX}" in page.text


async def test_where_all_is_free_no_costs_are_drawn(tmp_path: Path) -> None:
    """There is no chart of zeros; the sum and the table state that nothing was billed."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        page = page_of(await make(env, providers=["sketch"]))
    assert [svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img"] == [
        "Pass rate",
        "Latency",
        "Images",
    ]
    assert "$0.00" in page.text


async def test_providers_can_be_chosen(tmp_path: Path) -> None:
    """Only the named providers are reported; one without calls here is refused with the list of those that have
    some."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        output = await make(env, providers=["sketch"])
        assert list(table(output)) == ["sketch"]
        assert len(output.progression_ids) == 3
        with pytest.raises(Invalid) as refused:
            await make(env, providers=["sketch", "nobody"])
        assert refused.value.detail is not None and refused.value.detail["provider"] == "nobody"


async def test_the_page_is_served_under_its_own_style_and_loads_nothing(tmp_path: Path) -> None:
    """The policy of the page names its own style and nothing else; the table has none to need."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        output = await make(env)
        policy = output.beside[0].policy
        assert policy is not None and "img-src 'self'; style-src 'sha256-" in policy
        assert "script-src" not in policy and output.policy is None
        page = page_of(output)
        assert "no images yet" in page.text and table(output) == {}
        assert not page.all("script") and not any("style" in found for _, found in page.elements)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(1, 71))
def test_a_payload_is_text_on_the_page(payload: str) -> None:
    """Title, project, provider and model: nothing of it becomes markup."""

    def page(text: str) -> Outline:
        image = Image("i", text, text, "pass", None, 1_790_000_000_000, None, None)
        painted = provider_stats.measure([], [image])
        return Outline(
            provider_benchmark.write(template("provider-benchmark"), text, [text], painted, [image], "x").decode()
        )

    assert page(payload).skeleton == page("x" * len(payload)).skeleton
    assert payload in page(payload).text


def test_percentiles_are_times_that_were_measured() -> None:
    """By nearest rank: of twenty times the tenth and the nineteenth, of one itself, of none nothing."""
    assert [percentile(range(1, 21), percent) for percent in (50, 95, 100)] == [10, 19, 20]
    assert (percentile([7], 50), percentile([7], 95), percentile([], 50)) == (7, 7, None)


def test_few_images_leave_much_open() -> None:
    """Wilson's interval: 8 of 10 is between 49 and 94 %, and no end leaves 0 … 100 %."""
    assert [round(end, 3) for end in likely(8, 10)] == [0.490, 0.943]
    assert likely(0, 3)[0] == 0.0 and likely(3, 3)[1] == 1.0
