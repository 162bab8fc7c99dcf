"""What generators share: which images are shown, and the text about them."""

import re
from pathlib import Path
from typing import Any

import pytest

from generators import registry
from generators.shared import image_pages, page
from generators.shared.image_pages import Selection, Shown
from tests.support.samples import finished_project
from tests.support.samples.page_site import Outline, pages_env, row
from tools import db
from tools.errors import Invalid
from tools.publishing import artifacts
from tools.rows import Criterion, Project

PROJECT = Project("p", "Aurora", None, None, 1, 1)
CLIENTS = ("lookbook", "moodboard", "storyboard", "slideshow", "review-board", "voting-deck")
MET, UNMET = Criterion("a", True, ""), Criterion("b", False, "")
COVERS: tuple[dict[str, Any], ...] = (
    {"judgment": "pass", "criteria": [MET, UNMET]},
    {"judgment": "pass", "criteria": [MET]},
    {"judgment": "pass", "criteria": [MET]},
    {"judgment": "fail"},
    {},
)


@pytest.mark.parametrize(
    ("only", "words"), [("all", "no images yet"), ("passed", "has passed yet"), ("failed", "has failed")]
)
def test_an_empty_choice_is_told_in_its_own_words(only: str, words: str) -> None:
    """The sentence fits the request; a complete project has none, a cut one has one."""
    selection = Selection(only=only)  # type: ignore[arg-type]
    assert words in str(image_pages.note(Shown(PROJECT, [], False), selection))
    assert image_pages.note(Shown(PROJECT, [row("p", 1)], False), selection) is None
    assert "newest 500" in str(image_pages.note(Shown(PROJECT, [row("p", 1)], True), selection))


def test_scores_are_by_maker_and_count_only_what_was_judged() -> None:
    """The rate is of those judged, and none where nothing was."""
    rows = [
        row("p", 1, judgment="pass", cost_usd=40_000),
        row("p", 2, judgment="fail"),
        row("p", 3),
        row("p", 4, ai_provider="openai", ai_model="gpt"),
    ]
    openai, sketch = image_pages.scores(rows)
    assert (openai.maker, openai.rate, openai.unjudged) == ("openai · gpt", None, 1)
    assert (sketch.images, sketch.passed, sketch.failed, sketch.rate, sketch.cost) == (3, 1, 1, 50, "$0.04")


def test_what_was_only_measured_is_no_pass() -> None:
    """An image whose main subject was not judged counts by itself, and where there is one nobody knows the rate."""
    rows = [row("p", 1, judgment="pass", coverage=0.5), row("p", 2, judgment="pass", coverage=0.51)]
    assert [image_pages.VERDICTS[each.seen] for each in rows] == ["Measured", "Pass"]
    (score,) = image_pages.scores(rows)
    assert (score.passed, score.measured, score.failed, score.rate) == (1, 1, 0, None)
    assert [(fact.word, fact.count) for fact in image_pages.facts(rows)] == [
        ("Images", 2),
        ("Passed", 1),
        ("Measured", 1),
    ]
    failed = row("p", 4, judgment="fail", coverage=0.0)
    assert image_pages.VERDICTS[failed.seen] == "Fail"


def test_a_theme_is_for_everybody() -> None:
    """Dark colours always or never; the policy is that of the page as it is then."""
    template = (
        b'<meta name="color-scheme" content="light dark"><style>@media (prefers-color-scheme: dark) {b{}}</style>'
    )
    assert page.themed(template, "auto") == template
    dark, light = page.themed(template, "dark"), page.themed(template, "light")
    assert dark == b'<meta name="color-scheme" content="dark"><style>@media all {b{}}</style>'
    assert light == b'<meta name="color-scheme" content="light"><style>@media not all {b{}}</style>'


def test_a_script_is_let_in_by_its_hash_and_the_sandbox_stays() -> None:
    """A template with a script may run that script and no other; it is still in a sandbox, unless it is live."""
    template = b"<style>a{}</style><script>1</script>"
    digest = "sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s="
    policy = page.policy(template, ["/images/1/public"])
    assert f"script-src '{digest}'; base-uri 'none'; form-action 'none'" in policy
    assert policy.endswith("sandbox allow-scripts")
    assert page.policy(b'<a href="x" download>x</a>', []).endswith("sandbox allow-downloads")
    live = page.policy(template, [], live=True)
    assert "connect-src 'self'; base-uri 'none'; form-action 'self'" in live and "sandbox" not in live


def test_the_cover_is_chosen_or_approved_or_the_best_judged() -> None:
    """Never the newest by itself; one that the page does not show is refused."""
    rows = [row("p", n, **facts) for n, facts in enumerate(COVERS, 1)]

    def cover(approved: frozenset[str] = frozenset(), cover: str | None = None) -> str:
        found = image_pages.cover([Shown(PROJECT, rows, False, approved)], Selection(cover=cover))
        return found.id if found else ""

    assert cover() == "p-2"
    assert cover(frozenset({"p-4", "p-5"})) == "p-5"
    assert cover(frozenset({"p-4"}), cover="p-1") == "p-1"
    assert image_pages.cover([], Selection()) is None
    with pytest.raises(Invalid, match="does not show"):
        cover(cover="p-9")


def test_images_of_one_prompt_stand_together_whoever_finished_first() -> None:
    """By provider, model and variant within a prompt; prompts by their first image; or simply by time."""
    made = [("fox", "b", 1), ("hen", "a", 0), ("fox", "a", 1), ("fox", "b", 0), ("fox", "a", 0), ("hen", "b", 0)]
    rows = [row("p", n, prompt=words, ai_provider=by, variant_index=v) for n, (words, by, v) in enumerate(made)]
    told = {order: [one.id[2:] for one in image_pages.ordered(rows, order)] for order in ("prompt", "oldest", "newest")}
    assert told == {"prompt": list("423015"), "oldest": list("012345"), "newest": list("543210")}


def test_a_missed_requirement_never_reads_as_met() -> None:
    """In the judge's own words, or as what was asked for where those are a statement."""
    assert image_pages.missed(Criterion("Should look like night", False, "is bright (0.58)")) == (
        "Should look like night, but is bright (0.58)"
    )
    assert image_pages.missed(Criterion("It looks night", False, "mean lightness is 0.58")) == (
        "Asked for “It looks night”: mean lightness is 0.58"
    )


@pytest.mark.parametrize("id", CLIENTS)
async def test_guests_see_verdicts_and_costs_only_where_the_owner_says_so(id: str, tmp_path: Path) -> None:
    """By itself a page for clients has no word of a verdict or a price; `showVerdicts` and `showCosts` bring them."""
    async with pages_env(tmp_path) as env:
        await finished_project.seed(env)
        told = {}
        for shows in (False, True):
            options = registry.decode_options(registry.find(id), {"showVerdicts": shows, "showCosts": shows})
            draft = artifacts.draft(generator_id=id, title="x", owner_id="x", options={})
            output = await registry.find(id).generate(env, draft, [await db.get_project(env, "p")], options)
            told[shows] = Outline(output.index.data.decode()).text
    assert not re.search(r"\b(Pass|Fail|Passed|Failed|Measured)\b|Not assessed|built-in judge|\$0", told[False])
    assert re.search(r"\bPass\b", told[True]) and "$0" in told[True]
