"""Pages of users' templates: nothing runs, nothing comes from elsewhere, the same choices give the same bytes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from app.bindings.assets import open_assets
from generators.shared import template_page
from tests.generators.pages.test_lookbook import project
from tests.support.environment import bare_env
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.files.hostile_templates import PROGRAMS
from tests.support.growth import grows_with_its_input
from tests.support.samples.page_site import Outline, add_image, add_project
from tools.db import Chosen
from tools.env import Env
from tools.errors import Invalid, NotFound, TooLarge
from tools.publishing import artifacts, template_html, templates
from tools.publishing.template_html import Image
from tools.rows import ArtifactRow

URL = "../../images/p-1/public"
ADDRESS = "http://127.0.0.1:8000/images/p-1/public"
HERO = {"IMAGE_HERO": Image(URL, "a boat")}
SAFE = {"href", "src", "style"}


def page(template: str, **values: str) -> Outline:
    return Outline(template_page.render(template_html.read(template), "Title", values, HERO, {URL: URL}).decode())


def body(template: str, **values: str) -> str:
    return template_page.clean(template_html.write(template_html.read(template), values, HERO).body, {URL: URL})


def faults(html: str) -> list[Any]:
    """Elements, attributes and addresses that must not be on a page."""
    found: list[Any] = []
    for tag, attributes in Outline(html).elements:
        found += [] if tag in template_page.TAGS else [tag]
        allowed = template_page.ATTRIBUTES["*"] | template_page.ATTRIBUTES.get(tag, set())
        found += [(tag, name) for name in attributes if name not in allowed and not name.startswith("aria-")]
        for name in ("href", "src"):
            value = attributes.get(name) or ""
            found += [] if value in ("", URL) or template_page.FRAGMENT.fullmatch(value) else [(tag, name, value)]
        found += [] if "url" not in (attributes.get("style") or "").lower() else [(tag, attributes)]
    return found


def test_programs_are_text() -> None:
    """Sixty programs, as values and in a template's own text, are shown unchanged and never evaluated."""
    assert len(PROGRAMS) >= 45
    for program in PROGRAMS:
        shown = page("<h1 title='{{TITLE}}'>{{TITLE}}</h1>", TITLE=program)
        assert shown.all("h1") == [{"title": program}] and program in shown.text
        template = f"<p>{program}</p>"
        values = dict.fromkeys(template_html.read(template).placeholders, "VALUE")
        assert ("49" in page(template, **values).text) == ("49" in Outline(template).text)
        assert faults(body(template, **values)) == []


PLACES = {
    "title": "<title>{{X}}</title>",
    "text": "<p>{{X}}</p>",
    "alt": '<img src="{{IMAGE_HERO}}" alt="{{X}}">',
    "unquoted": "<p title={{X}}>x</p>",
    "href": "<a href='{{X}}'>x</a>",
    "src": '<img src="{{X}}">',
    "class": "<p class='{{X}}'>x</p>",
    "style": "<p style='color:{{X}}'>x</p>",
    "sheet": "<style>p{color:{{X}}}</style><p>x</p>",
}


@pytest.mark.parametrize("place", PLACES)
def test_no_payload_leaves_its_place(place: str) -> None:
    """Seventy payloads in nine places: the page has the elements that the template has, and no other."""
    wanted = page(PLACES[place], X="x").skeleton
    for payload in PAYLOADS:
        shown = page(PLACES[place], X=payload)
        assert [tag for tag, _ in shown.skeleton] == [tag for tag, _ in wanted]
        assert faults(body(PLACES[place], X=payload)) == []
        if place in ("text", "title"):
            assert " ".join(payload.split()) in " ".join(shown.text.split())
        if place in ("alt", "unquoted", "class"):
            assert payload in {value for _, attributes in shown.elements for value in attributes.values()}


def test_payloads_as_templates_are_cleaned() -> None:
    """Seventy payloads that are the template themselves, alone and within others' markup."""
    for payload in PAYLOADS:
        for template in (payload, f"<div title='{payload}'>{payload}</div>", f"<p>a{payload}<style>{payload}</style>"):
            values = dict.fromkeys(template_html.read(template).placeholders, "x")
            assert faults(body(template, **values)) == []
            (style,) = page(template, **values).styles
            assert "evil" not in style and "@import" not in style


FRAGMENTS = st.sampled_from(
    [
        *PAYLOADS,
        *PLACES.values(),
        *(
            "<div {{X}}>",
            "<{{X}}>",
            "</{{X}}>",
            "<a {{X}}='1'>",
            "<svg>",
            "<math>",
            "<table>",
            "<td>",
            "<select>",
            "<p>",
        ),
        *(
            "<b>",
            "</b>",
            "</div>",
            "<!--",
            "-->",
            "<style>",
            "</style>",
            "<a href=#",
            "<img src=",
            "'",
            '"',
            ">",
            "&lt;",
        ),
    ]
)
VALUES = st.one_of(st.text(max_size=30), st.sampled_from([*PAYLOADS, *PROGRAMS]))


@given(pieces=st.lists(FRAGMENTS, max_size=6), value=VALUES)
@effort(max_examples=500, deadline=None)
def test_cleaning_is_the_last_step(pieces: list[str], value: str) -> None:
    """For any template and value: nothing that must not be there, and cleaning it again changes nothing."""
    template = template_html.read("".join(pieces))
    values = dict.fromkeys(set(template.placeholders) - set(HERO), value)
    cleaned = template_page.clean(template_html.write(template, values, HERO).body, {URL: URL})
    assert faults(cleaned) == []
    assert template_page.clean(cleaned, {URL: URL}) == cleaned


def test_the_order_of_the_steps_matters() -> None:
    """What is written and not cleaned yet has faults; what is cleaned before it is written lacks its image."""
    template = "<p onclick='{{X}}'><a href='{{X}}'>x</a><img src='{{IMAGE_HERO}}'>"
    written = template_html.write(template_html.read(template), {"X": "javascript:alert(1)"}, HERO).body
    assert faults(written) != [] and faults(template_page.clean(written, {URL: URL})) == []
    assert URL in template_page.clean(written, {URL: URL}) and URL not in body(
        template_page.clean(template, {URL: URL})
    )


def test_own_style_and_structure_stay() -> None:
    """Styles, classes, ids, tables, details and fragments are a template's own; so are its title and language."""
    template = (
        "<html lang=pt-BR><head><title>{{TITLE}} now</title><style>.a{color:{{INK}}}@page{size:A4}</style></head>"
        "<body><main id=top class=a style='margin:1rem;background:url(x)'><a href='#top'>up</a>"
        "<table><tr><td colspan=2>x</table><details open><summary>s</summary></details></main></body></html>"
    )
    shown = page(template, TITLE="Autumn", INK="#123456")
    assert shown.all("html") == [{"lang": "pt-BR"}] and "Autumn now" in shown.text
    assert shown.styles == [f"{template_page.STYLE}.a{{color:#123456}}@page{{size:A4}}"]
    assert shown.all("main") == [{"id": "top", "class": "a", "style": "margin:1rem"}]
    assert shown.all("a") == [{"href": "#top"}] and shown.all("td") == [{"colspan": "2"}] and shown.all("summary")
    assert page("<p>x").all("html") == [{"lang": "en"}] and "Title" in page("<p>x").text


def test_rendering_is_bounded() -> None:
    """5,000 placeholders, the deepest nesting, the longest values: work that grows with their length, or refused."""

    def render(template: str, value: str) -> bytes:
        read = template_html.read(template)
        return template_page.render(read, "t", dict.fromkeys(read.placeholders, value), {}, {})

    many = "".join(f"<b>{{{{P{n:03}}}}}</b>" for n in range(4000))
    for template, value in [("{{P}}" * 7000, "<" * 30), (many, "x" * 200), (("<i>" * 100 + "</i>" * 100) * 90, "")]:
        assert grows_with_its_input(lambda text, value=value: render(text, value), template)  # type: ignore[misc]
    with pytest.raises(TooLarge):
        page("{{P}}", P="x" * (1 << 20))
    for styled in ("<style>" + "a{b:{{P}}}" * 100, "<i style='b:{{P}}'>x</i>" * 100):
        with pytest.raises(TooLarge, match="style"):
            page(styled, P="b " * 2000)


async def draft(env: Env, html: str, *projects: str) -> ArtifactRow:
    """An artifact of a template, with these projects."""
    template = await templates.upload(env, "mine", html)
    new = artifacts.draft(generator_id=None, title="Autumn", owner_id="ada", options={})
    new = msgspec.structs.replace(new, template_r2_key=template.r2_key)
    await artifacts.create(env, new, projects)
    return new


FOREIGN = (
    "q-1",
    "p-1",
    "progression:p-1",
    "http://127.0.0.1:8000/images/q-1/public",
    "http://127.0.0.1:8000/images/p-1/thumb",
    "http://127.0.0.1:8000/images/p-1/public?x",
    "http://127.0.0.1:8000/images/p-1/public#x",
    "http://127.0.0.1:8000/images/p-1/public ",
    "http://127.0.0.1:8000/images/p-9/public",
    "HTTP://127.0.0.1:8000/images/p-1/public",
    "http://127.0.0.1:8000//images/p-1/public",
    "http://127.0.0.1:8000/images/../images/p-1/public",
    "https://127.0.0.1:8000/images/p-1/public",
    "http://user@127.0.0.1:8000/images/p-1/public",
    "http://127.0.0.1:8000@evil.test/images/p-1/public",
    "http://127.0.0.1:8000.evil.test/images/p-1/public",
    "//127.0.0.1:8000/images/p-1/public",
    "//evil.test/x.png",
    "http://evil.test/x.png",
    "https://evil.test/images/p-1/public",
    "data:image/png;base64,iVBORw0KGgo=",
    "data:text/html,<script>alert(1)</script>",
    "blob:http://127.0.0.1:8000/x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "project/p/jobs/job/orig/sketch-1",
    "{{IMAGE_HERO}}",
    "",
    "%",
    "' OR 1=1 --",
)


async def test_images_are_those_of_the_artifacts_projects(tmp_path: Path) -> None:
    """Thirty other ids, hosts and schemes are refused with the placeholder's name; the project's own image is shown."""
    async with bare_env(tmp_path) as env:
        for id in ("p", "q"):
            await add_project(env, id)
            await add_image(env, id, 1, prompt="a boat")
        new = await draft(env, "<img src='{{IMAGE_HERO}}'>", "p")
        for url in FOREIGN:
            with pytest.raises(Invalid) as caught:
                await template_page.fill(env, new, [project("p")], {"IMAGE_HERO": Chosen(url)})
            assert (caught.value.code, caught.value.detail) == ("foreign_image", {"placeholder": "IMAGE_HERO"})
        output = await template_page.fill(env, new, [project("p")], {"IMAGE_HERO": Chosen(ADDRESS)})
        assert Outline(output.index.data.decode()).all("img") == [{"src": URL, "alt": "a boat"}]
        assert output.progression_ids == ("p-1",)
        assert "img-src 'self'; style-src 'unsafe-inline'; " in str(output.policy)


async def test_images_that_a_template_names_are_the_projects_own_too(tmp_path: Path) -> None:
    """In the template, in a word placeholder or in a link, another address than one of its images is left out."""
    async with bare_env(tmp_path) as env:
        for id in ("p", "q"):
            await add_project(env, id)
            await add_image(env, id, 1)
        stated = "".join(f"<img src='{url}'>" for url in FOREIGN if "'" not in url and "{" not in url)
        worded = "<img src='{{WORD}}'><a href='{{WORD}}'>x</a><img srcset='{{WORD}} 1x'>"
        new = await draft(env, f"{stated}<img src='{ADDRESS}'>{worded}", "p")
        for word in ("http://127.0.0.1:8000/images/q-1/public", "http://evil.test/x", "javascript:alert(1)"):
            output = await template_page.fill(env, new, [project("p")], {"WORD": Chosen(word)})
            shown = Outline(output.index.data.decode())
            assert [image["src"] for image in shown.all("img") if "src" in image] == [URL]
            assert shown.all("a") == [{}] and not any("srcset" in attributes for _, attributes in shown.elements)


async def test_what_is_not_filled_is_named(tmp_path: Path) -> None:
    """Every placeholder without a value is named, in the order of the template; surplus values are ignored."""
    async with bare_env(tmp_path) as env:
        await add_project(env, "p")
        new = await draft(env, "{{B}}{{A}}{{IMAGE_1}}", "p")
        with pytest.raises(Invalid) as caught:
            await template_page.fill(env, new, [project("p")], {"A": Chosen(""), "C": Chosen("x")})
        assert (caught.value.code, caught.value.detail) == ("unfilled", {"missing": ["B", "IMAGE_1"]})
        gone = msgspec.structs.replace(new, template_r2_key=f"templates/mine/{'0' * 64}.html")
        with pytest.raises(NotFound):
            await template_page.fill(env, gone, [project("p")], {})


async def test_the_same_choices_give_the_same_bytes(tmp_path: Path, rounds: int) -> None:
    """Every packaged example, rendered again and on another machine's database: byte-equal, policy too."""
    packaged = open_assets()
    names = [name for name in packaged.names() if name.startswith("examples/")]
    made: dict[str, set[tuple[bytes, str | None]]] = {name: set() for name in names}
    for machine in ("a", "b"):
        async with bare_env(tmp_path / machine) as env:
            await add_project(env, "p")
            await add_image(env, "p", 1, prompt="a boat")
            for name in names:
                html = packaged.read(name).decode()
                new = await draft(env, html, "p")
                choices = {
                    key: Chosen(ADDRESS if template_html.is_image(key) else f"{key} <&>")
                    for key in templates.placeholders(html)
                }
                for _ in range(3 * rounds):
                    output = await template_page.fill(env, new, [project("p")], choices)
                    made[name].add((output.index.data, output.policy))
    assert len(names) >= 3 and [len(versions) for versions in made.values()] == [1] * len(names)
