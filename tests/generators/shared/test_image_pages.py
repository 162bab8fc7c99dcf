"""What generators share: which images are shown, and the text about them."""

import pytest

from generators.shared import image_pages, page
from generators.shared.image_pages import Selection, Shown
from tests.support.samples.page_site import row
from tools.rows import Project

PROJECT = Project("p", "Aurora", None, None, 1, 1)


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
    assert image_pages.cover([*rows, row("p", 3)]) == rows[1]
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
