"""Storyboard, moodboard, compare deck, slideshow, recipe cards, judge report: what is on each, in which order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from generators import registry
from generators.pages import compare_deck, judge_report, lookbook, moodboard, prompt_recipe_card, slideshow, storyboard
from generators.shared.image_pages import Shown
from tests.support.samples import finished_project
from tests.support.samples.page_site import Outline, add_image, add_project, pages_env, row, template
from tools import db
from tools.env import Env
from tools.media.swatches import Swatch
from tools.publishing import artifacts
from tools.rows import Criterion, JobRequest, Progression, Project


def shown(*rows: Progression) -> list[Shown]:
    return [Shown(Project("p", "Aurora", None, None, 1, 1), list(rows), False)]


def words(outline: Outline) -> str:
    return " ".join(outline.text.split())


async def make(env: Env, id: str, *project_ids: str, **options: object) -> artifacts.Output:
    draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="default", options=options)
    generator: Any = registry.find(id)
    projects = [await db.get_project(env, project) for project in project_ids or ("p",)]
    return await generator.generate(env, draft, projects, registry.decode_options(generator, options))  # type: ignore[no-any-return]


def board(rows: Sequence[Progression], **options: Any) -> Outline:
    wishes = storyboard.StoryboardOptions(**options)
    return Outline(storyboard.write(template("storyboard"), "Autumn", shown(*rows), wishes).decode())


def test_frames_stand_in_order_six_to_a_sheet() -> None:
    """Fourteen images are three sheets; numbers and times run through, and a caption given takes the prompt's place."""
    outline = board([row("p", n, prompt=f"scene {n}") for n in range(14)], seconds=5, captions=["", "She turns."])
    assert [frames["start"] for frames in outline.all("ol")] == ["1", "7", "13"]
    assert len(outline.all("img")) == 14
    text = words(outline)
    assert "14 frames3 sheetsRuns 1:10" in text
    assert text.index("scene 0") < text.index("She turns.") < text.index("scene 2") < text.index("scene 13")
    assert "scene 1 " not in text
    assert "0:05 – 0:10" in text and "1:05 – 1:10" in text


@pytest.mark.parametrize(
    ("sizes", "frame"),
    [([(1600, 900)] * 2 + [(1024, 1024)], "16x9"), ([(1000, 1500)], "2x3"), ([(4000, 500)], "16x9"), ([], "16x9")],
)
def test_the_frame_has_the_shape_of_most_images(sizes: list[tuple[int, int]], frame: str) -> None:
    """The frame has that shape unless another is requested."""
    rows = [row("p", n, width=width, height=height) for n, (width, height) in enumerate(sizes)]
    assert board(rows).all("main")[0]["class"] == f"f-{frame}"
    assert board(rows, frame="4x3").all("main")[0]["class"] == "f-4x3"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00"), (65, "1:05"), (3725, "1:02:05")])
def test_a_clock_reads_as_people_write_it(seconds: int, words: str) -> None:
    """Minutes and seconds, with hours from the first one on."""
    assert storyboard.clock(seconds) == words


async def test_the_palette_is_in_the_pixels(tmp_path: Path) -> None:
    """The colours of the board are those of the originals in BUCKET, whatever the tags are; an original that is missing
    or damaged leaves its image on the board."""
    async with pages_env(tmp_path) as env:
        rows = await finished_project.seed(env)
        await env.BUCKET.delete(rows[0].original_image_r2_key)
        await env.BUCKET.put(rows[-1].original_image_r2_key, b"no image", content_type="image/png")
        output = await make(env, "moodboard")
        outline = Outline(output.index.data.decode())
        assert len(outline.all("img")) == len(rows)
        assert "#000080" in outline.text and "#ffa500" in outline.text
        assert "deep teal" not in outline.text and "linen" in outline.text
        strips = [svg for svg in outline.all("svg") if (svg.get("aria-label") or "").startswith("Colours: ")]
        assert len(strips) == len(rows) - 2


async def test_a_moodboard_holds_the_newest_of_the_chosen(tmp_path: Path) -> None:
    """`most` of them in the order of the selection, and the page states how many there were."""
    async with pages_env(tmp_path) as env:
        await finished_project.seed(env)
        output = await make(env, "moodboard", most=3)
        assert {*output.progression_ids} == {"p-8", "p-9", "p-10"}
        assert "3 of 11 images, the newest." in Outline(output.index.data.decode()).text
        picked = await make(env, "moodboard", progressionIds=["p-10", "p-2", "p-9"], most=2)
        assert picked.progression_ids == ("p-10", "p-9")


def test_words_on_a_board_name_neither_colour_nor_shape() -> None:
    """Colour and shape, which the picture shows anyway, are not in its caption."""
    rows = [row("p", n, ai_tags=["portrait", "deep teal", "calm", "square"]) for n in range(3)]
    assert moodboard.common_words(rows) == ["calm"]


def test_a_note_on_all_images_is_told_once() -> None:
    """A note on all images is in the closing line; a note on some stays with them, and a single image keeps all of its
    notes."""
    rows = [row("p", n, judgment="pass", ai_notes=["By rule.", f"Light {n}."]) for n in range(3)]
    for write, name, wishes in (
        (lookbook.write, "lookbook", lookbook.LookbookOptions(show_verdicts=True)),
        (judge_report.write, "judge-report", judge_report.JudgeReportOptions()),
        (compare_deck.write, "compare-deck", compare_deck.CompareDeckOptions()),
    ):
        made: Any = write
        text = words(Outline(made(template(name), "Autumn", shown(*rows, row("p", 9)), wishes).decode()))
        assert text.count("By rule.") == 1 and "Noted on each that has notes: \u2068By rule.\u2069" in text
        assert all(text.count(f"Light {n}.") == 1 for n in range(3))
        alone = words(Outline(made(template(name), "Autumn", shown(rows[0]), wishes).decode()))
        assert alone.count("By rule.") == 1 and "Noted on" not in alone


def test_stripes_fill_the_width() -> None:
    """The stripes under an image begin where the one before ends, and end at a hundred."""
    bands = moodboard.bands([Swatch((1, 1, 1), 0.4), Swatch((2, 2, 2), 0.2), Swatch((3, 3, 3), 0.2)])
    assert [(band.at, band.width) for band in bands] == [(0, 50), (50, 25), (75, 25)]
    assert moodboard.bands([]) == []


def test_a_prompt_is_one_slide_with_the_best_of_each_maker() -> None:
    """Case and spaces of a prompt do not count; of a model's images one that passed is shown, else the newest."""
    rows = [
        row("p", 1, prompt="A fox", judgment="pass"),
        row("p", 2, prompt="a  FOX", judgment="fail"),
        row("p", 3, prompt="A fox", ai_provider="openai", judgment="fail"),
        row("p", 4, prompt="A fox", ai_provider="openai"),
        row("p", 5, prompt="A hen"),
    ]
    fox, hen = compare_deck.slides(shown(*rows), compare_deck.CompareDeckOptions())
    assert [(entry.letter, entry.label, entry.others) for entry in fox.contenders] == [
        ("A", "openai", 1),
        ("B", "sketch", 1),
    ]
    assert [entry.picture.url for entry in fox.contenders] == [f"../../images/p-{n}/public" for n in (4, 1)]
    assert (fox.slider, hen.slider, hen.contenders[0].label) == (True, False, "sketch")


def test_variants_of_one_maker_are_compared_with_each_other() -> None:
    """Six at most; the page states how many are left out."""
    rows = [row("p", n) for n in range(8)]
    (slide,) = compare_deck.slides(shown(*rows), compare_deck.CompareDeckOptions())
    assert [entry.label for entry in slide.contenders] == [f"sketch · {n}" for n in range(1, 7)]
    page = compare_deck.write(template("compare-deck"), "x", shown(*rows), compare_deck.CompareDeckOptions())
    assert "2 more are not shown." in page.decode()


def test_the_slider_can_be_left_out() -> None:
    """Then no two images lie over each other."""
    rows = [row("p", 1), row("p", 2)]
    for slider, images in ((True, 6), (False, 2)):
        wishes = compare_deck.CompareDeckOptions(slider=slider)
        page = compare_deck.write(template("compare-deck"), "x", shown(*rows), wishes).decode()
        assert len(Outline(page).all("img")) == images


def test_slides_go_forth_and_back_without_a_script() -> None:
    """A title, the images and an end, joined by links; captions given come before prompts, which can be left out."""
    rows = [row("p", n, prompt=f"scene {n}") for n in (1, 2)]
    wishes = slideshow.SlideshowOptions(captions=["Morning"], prompts=False)
    outline = Outline(slideshow.write(template("slideshow"), "Autumn", shown(*rows), wishes).decode())
    assert [section["id"] for section in outline.all("section")] == ["slide-0", "slide-1", "slide-2", "slide-3"]
    assert [link["href"] for link in outline.all("a")] == [f"#slide-{n}" for n in (1, 0, 2, 1, 3, 2, 0)]
    assert "Morning" in outline.text and "scene" not in outline.text


async def test_a_card_has_all_it_takes_to_make_the_image_again(tmp_path: Path) -> None:
    """Prompt, the prompt that was sent, tips of its own provider, exclusions, model, seed, size and cost, and
    adjustments; costs can be left out."""
    async with pages_env(tmp_path) as env:
        await finished_project.seed(env)
        text = words(Outline((await make(env, "prompt-recipe-card", progressionIds=["p-3"])).index.data.decode()))
        for told in (
            finished_project.PROMPTS[1],
            f"{finished_project.PROMPTS[1]}. Light first.",
            "Name the light before the lens, gemini likes it.",
            "Negative prompt no text",
            "the seed is not used by this model",
            "Providergemini",
            "Modelgemini-image",
            "Seednone",
            "Size1536 × 1024",
            "Variant1 of 1",
            "Cost$0.039",
        ):
            assert told in text
        assert "openai" not in text
        bare = words(Outline((await make(env, "prompt-recipe-card", costs=False)).index.data.decode()))
        assert "Cost" not in bare and "Seed40" in bare


@pytest.mark.parametrize(
    ("provider", "index", "told"),
    [("openai", 0, "1 of 2"), ("sketch", 3, "4 of 4"), ("gemini", 1, "2")],
    ids=["one model", "two models of one provider", "one that stepped in"],
)
def test_a_variant_is_one_of_all_that_its_provider_makes(provider: str, index: int, told: str) -> None:
    """The number runs over the provider within the job, so two models of one provider share it."""
    asked = [{"provider": "openai"}, {"provider": "sketch"}, {"provider": "sketch", "model": "sketch-1"}]
    request = JobRequest(prompt="a carafe", providers=asked, session_id="s", variants=2)
    assert prompt_recipe_card.variant(row("p", 1, ai_provider=provider, variant_index=index), request) == told


async def test_an_image_that_no_job_made_has_a_card(tmp_path: Path) -> None:
    """The card has what the row records, and a link to the card of the parent image."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        await add_image(env, "p", 1, seed=7)
        await add_image(env, "p", 2, parent_progression_id="p-1", edge="rollback")
        outline = Outline((await make(env, "prompt-recipe-card")).index.data.decode())
        assert "Back to No. 1" in words(outline)
        assert "#card-1" in {link["href"] for link in outline.all("a")}


def report(*rows: Progression, **options: Any) -> Outline:
    wishes = judge_report.JudgeReportOptions(**options)
    return Outline(judge_report.write(template("judge-report"), "Autumn", shown(*rows), wishes).decode())


def test_failures_come_first_with_their_evidence() -> None:
    """Failed, then not judged, then passed; of each what was not met before what was, with evidence and advice."""
    criteria = [Criterion("a fox is there", True, "in the middle"), Criterion("soft light", False, "hard shadows")]
    text = words(
        report(
            row("p", 1, judgment="pass", prompt="one"),
            row("p", 2, judgment="fail", prompt="two", criteria=criteria, retry_suggestion="soften it"),
            row("p", 3, judge_status="error", prompt="three"),
        )
    )
    order = [
        "50 %",
        "Missed most often",
        "Failed 1",
        "No. 2",
        "Asked for “soft light”: hard shadows",
        "a fox is therein the middle",
    ]
    order += ["For the next try: soften it", "Not assessed 1", "Not assessed: the judge did not answer."]
    order += ["Passed 1", "No. 1"]
    places = [text.find(told) for told in order]
    assert -1 not in places and places == sorted(places)


def test_what_passed_can_be_told_in_brief() -> None:
    """Small pictures with number and maker, no criteria."""
    met = [Criterion("a fox is there", True, "in the middle")]
    outline = report(row("p", 1, judgment="pass", criteria=met), passes="brief")
    assert outline.all("article") == [] and len(outline.all("img")) == 1
    assert "in the middle" not in outline.text


def test_rates_and_requirements_are_counted() -> None:
    """Per maker passed of judged; requirements by how often they were missed."""
    unmet = [Criterion("soft light", False, "")]
    rows = [row("p", n, judgment="fail", criteria=unmet) for n in (1, 2)]
    rows += [row("p", 3, judgment="fail", criteria=[Criterion("no text", False, "")]), row("p", 4, judgment="pass")]
    assert [(tally.name, tally.count, tally.most) for tally in judge_report.missed(rows)] == [
        ("soft light", 2, 2),
        ("no text", 1, 2),
    ]
    assert "1 of 4 · 25 %" in words(report(*rows))
