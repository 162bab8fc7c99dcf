"""The lookbook: what is on the page, in which order, and that nothing on it is anything but text."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from generators import registry
from generators.pages import lookbook
from generators.pages.lookbook import LookbookOptions
from generators.shared import image_pages, page
from generators.shared.image_pages import Shown
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.page_site import Outline, add_image, add_project, pages_env, row, template
from tools import db
from tools.env import Env
from tools.errors import Invalid, NotFound
from tools.publishing import artifacts
from tools.rows import Progression, Project

TEMPLATE = template("lookbook")


def project(name: str = "Aurora", description: str | None = None) -> Project:
    return Project("p", name, description, None, 1, 1)


def written(rows: Sequence[Progression], title: str = "Autumn", **options: str) -> Outline:
    shown = [Shown(project(), list(rows), False)]
    chosen = LookbookOptions(show_verdicts=True, **options)  # type: ignore[arg-type]
    return Outline(lookbook.write(TEMPLATE, title, shown, chosen).decode())


def test_a_measured_image_is_not_shown_as_passed() -> None:
    """A judge that cannot see the subject makes no “Pass”, neither on the image nor in the counts."""
    shown = written([row("p", 1, judgment="pass", coverage=0.0, prompt="an astronaut riding a horse")])
    assert "Measured" in shown.text and "Pass" not in shown.text


def page_of(text: str) -> str:
    """A page with the text in every place where a text can stand."""
    image = row("p", 1, prompt=text, ai_notes=[text], ai_tags=[text], ai_provider=text, ai_model=text)
    shown = [Shown(project(text, text), [image], False), Shown(project(text, text), [], False)]
    return lookbook.write(TEMPLATE, text, shown, LookbookOptions(intro=text, show_verdicts=True)).decode()


def model_of(text: str) -> Outline:
    """The page of a harmless text of the same length and the same gaps."""
    return Outline(page_of("".join(c if c.isspace() else "x" for c in text)))


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(1, 71))
def test_a_payload_is_text_wherever_it_stands(payload: str) -> None:
    """Title, intro, project name and description, prompt, notes, tags, provider and model: the page has the tags
    and attributes of a harmless one, and the payload is there to be read."""
    outline = Outline(page_of(payload))
    assert outline.skeleton == model_of(payload).skeleton
    assert outline.text.count(payload) == 14
    assert {image["alt"] for image in outline.all("img")} == {" ".join(payload.split())}
    links = {link["href"] for link in outline.all("a")} | {image["src"] for image in outline.all("img")}
    assert links == {"#plates", "../../images/p-1/public"}


@effort(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=600).filter(str.strip))
def test_no_text_changes_the_shape_of_the_page(text: str) -> None:
    """For any text in every place at once: the same tags and attributes, and the text is read back as it was."""
    outline = Outline(page_of(text))
    assert outline.skeleton == model_of(text).skeleton
    assert text in outline.text


def test_the_policy_lets_in_the_pages_own_style_and_pictures_and_nothing_else() -> None:
    """The hash is that of the one `<style>` on the page; there is no script and no style attribute."""
    outline = written([row("p", 1), row("p", 2, generated_image_url="https://images.example/a/b/public")])
    policy = page.policy(TEMPLATE, ["/images/1/public", "https://images.example/a/b/public"])
    (style,) = outline.styles
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src 'self' https://images.example; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    )
    assert outline.all("script") == []
    assert not any("style" in attributes for _, attributes in outline.elements)


@pytest.mark.parametrize(
    ("images", "sources"),
    [([], "'self'"), (["http://[::1]:8000/images/1/public"], "'self'"), (["https://x; script-src *"], "'self'")],
    ids=["no images", "an IPv6 host", "no host at all"],
)
def test_what_is_no_plain_origin_does_not_enter_the_policy(images: list[str], sources: str) -> None:
    """Without images, and where a policy cannot name their host, the page's own remains: the icon comes from there."""
    assert f"; img-src {sources};" in page.policy(TEMPLATE, images)


def test_a_missing_name_is_an_error() -> None:
    """A template that uses an undefined name fails instead of showing nothing."""
    with pytest.raises(Exception, match="title"):
        page.render(b"<title>{{ title }}</title>", {})


def test_our_own_delivery_is_offered_in_widths_and_a_foreign_one_as_it_is() -> None:
    """`srcset` names only widths below that of `public`, which is at most 2048 pixels long."""
    own = page.picture("/images/7/public", 4096, 2048, "x")
    assert (own.width, own.height) == (2048, 1024)
    assert own.srcset == ", ".join(
        [f"../../images/7/w={width} {width}w" for width in (480, 960, 1440)] + ["../../images/7/public 2048w"]
    )
    assert page.picture("/images/7/public", 400, 400, "x").srcset == "../../images/7/public 400w"
    for foreign in (
        "https://imagedelivery.example/h/7/public",
        "https://evil.test/images/7/public",
        "/images/7",
    ):
        assert page.picture(foreign, 4096, 2048, "x") == page.Picture(foreign, foreign, "", 4096, 2048, "x")


def test_every_picture_has_its_size_its_words_and_waits_its_turn() -> None:
    """Width and height keep the page still, the prompt is the alternative text, and all but the cover load lazily."""
    cover, *plates = written([row("p", n, prompt=f"carafe {n}") for n in range(1, 4)]).all("img")
    assert [plate["alt"] for plate in plates] == ["carafe 1", "carafe 2", "carafe 3"]
    assert all(plate["width"] == plate["height"] == "1024" and plate["loading"] == "lazy" for plate in plates)
    assert cover["fetchpriority"] == "high" and "loading" not in cover


def test_the_cover_counts_and_shows_the_newest_that_passed() -> None:
    """Counts by verdict, days in words, a palette from the tags that name colours."""
    outline = written(
        [
            row("p", 1, judgment="pass", ai_tags=["deep teal", "linen"]),
            row("p", 2, judgment="pass", ai_tags=["teal"]),
            row("p", 73, judgment="fail"),
            row("p", 4),
        ]
    )
    words = " ".join(outline.text.split())
    assert "Images4 Passed2 Failed1 Not assessed1 21 – 24 September 2026" in words
    assert outline.all("img")[0]["src"] == "../../images/p-1/public"
    assert next(svg["aria-label"] for svg in outline.all("svg") if "aria-label" in svg) == "Colours: deep teal"
    assert [words.count(verdict) for verdict in ("No. 1 Pass", "No. 3 Fail", "No. 4 Not assessed")] == [1, 1, 1]


def test_a_step_names_the_image_it_came_from() -> None:
    """An edge to an image on the page is a link to it; one to an image that is not shown is text only."""
    outline = written(
        [
            row("p", 1),
            row("p", 2, parent_progression_id="p-1", edge="edit"),
            row("p", 3, parent_progression_id="p-1", edge="rollback"),
            row("p", 4, parent_progression_id="elsewhere", edge="retry"),
        ]
    )
    words = " ".join(outline.text.split())
    assert "No. 2 Edit of No. 1 Not assessed" in words
    assert "No. 3 Back to No. 1 Not assessed" in words
    assert "No. 4 New try Not assessed" in words
    assert [link["href"] for link in outline.all("a") if link["href"] == "#image-1"] == ["#image-1", "#image-1"]


def test_a_long_prompt_is_folded_and_loses_nothing() -> None:
    """The rest of it opens without script, and both parts together are the prompt."""
    prompt = "soft light over linen " * 60
    outline = written([row("p", 1, prompt=prompt.strip())])
    assert len(outline.all("details")) == 1
    assert "".join(image_pages.cut(prompt, 360)) == prompt
    assert image_pages.cut("x" * 1000, 360) == ("x" * 360, "x" * 640)
    assert written([row("p", 1, prompt="short")]).all("details") == []


def test_images_of_one_shape_stand_in_a_grid_and_others_in_rows() -> None:
    """Every figure bears the class of its ratio, so that rows of mixed shapes have one height."""
    even = written([row("p", n) for n in range(3)])
    mixed = written([row("p", 1), row("p", 2, width=1536), row("p", 3, width=1024, height=1792)])
    assert even.all("ol")[0]["class"] == "plates even"
    assert mixed.all("ol")[0]["class"] == "plates mixed"
    assert [plate["class"] for plate in mixed.all("li") if "id" in plate] == [
        "plate r-1x1",
        "plate r-3x2",
        "plate r-9x16",
    ]


async def make(env: Env, *ids: str, **options: object) -> artifacts.Output:
    decoded = registry.decode_options(lookbook.generator, options)
    draft = artifacts.draft(generator_id="lookbook", title="Autumn", owner_id="default", options=options)
    return await lookbook.generator.generate(env, draft, [await db.get_project(env, id) for id in ids], decoded)


async def test_the_options_choose_the_images(tmp_path: Path) -> None:
    """All from the oldest; those that passed; or exactly those named, in that order."""
    async with pages_env(tmp_path) as env:
        for id in ("p", "q"):
            await add_project(env, id)
        for number in range(4):
            await add_image(env, "p", number, judgment="pass" if number % 2 else "fail")
        await add_image(env, "q", 9)
        assert (await make(env, "q", "p")).progression_ids == ("q-9", "p-0", "p-1", "p-2", "p-3")
        assert (await make(env, "p", only="passed")).progression_ids == ("p-1", "p-3")
        assert (await make(env, "p", progressionIds=["p-3", "p-0", "p-3"])).progression_ids == ("p-3", "p-0")
        with pytest.raises(Invalid, match="q-9"):
            await make(env, "p", progressionIds=["p-3", "q-9"])
        with pytest.raises(NotFound):
            await make(env, "p", progressionIds=["nowhere"])


async def test_the_page_is_made_from_the_template_in_the_bucket(tmp_path: Path) -> None:
    """The template is loaded by the hash of its bytes, and the output names that key."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        output = await make(env, "p")
        assert output.template == f"templates/lookbook/{hashlib.sha256(TEMPLATE).hexdigest()}.html"
        await env.BUCKET.delete(output.template)
        with pytest.raises(NotFound):
            await make(env, "p")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "This project has no images yet."),
        ({"only": "passed"}, "No image of this project has passed yet."),
    ],
)
async def test_an_empty_page_says_why_it_is_empty(options: dict[str, object], words: str, tmp_path: Path) -> None:
    """A page without images is a page, with a sentence instead of them and no cover picture."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        output = await make(env, "p", **options)
        outline = Outline(output.index.data.decode())
        assert words in outline.text
        assert outline.all("img") == []
        assert output.policy is not None and "img-src 'self'" in output.policy
