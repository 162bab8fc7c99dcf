"""The lineage map: every version once, every edge from the right row to the right box, nothing too wide or too tall."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from generators import registry
from generators.pages import prompt_lineage_map
from generators.pages.prompt_lineage_map import Section
from generators.shared import lineage_layout
from generators.shared.lineage_layout import BETWEEN, COLUMNS, TALLEST, WIDTH, Drawing, Step
from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.counted_project import add_studio, step_back
from tests.support.samples.page_site import HERE, Outline, add_image, add_project, pages_env, row, template
from tools import db
from tools.env import Env
from tools.errors import Invalid
from tools.publishing import artifacts
from tools.rows import Progression, Project

TEMPLATE = template("prompt-lineage-map")


async def make(env: Env, *projects: str, **options: object) -> artifacts.Output:
    decoded = registry.decode_options(prompt_lineage_map.generator, options)
    draft = artifacts.draft(generator_id="prompt-lineage-map", title="Autumn", owner_id="default", options=options)
    return await prompt_lineage_map.generator.generate(
        env, draft, [await db.get_project(env, id) for id in projects], decoded
    )


def data_of(output: artifacts.Output) -> Any:
    (file,) = output.beside
    assert (file.name, file.content_type) == ("lineage.json", "application/json")
    return json.loads(file.data)


def family(parents: Sequence[int | None], together: int = 1) -> list[Progression]:
    """Versions 0, 1, 2 … made from those numbers; `together` of them in a row are of one job where they share one."""
    return [
        row("p", n, parent_progression_id=None if parent is None else f"p-{parent}", job_id=f"job-{n // together}")
        for n, parent in enumerate(parents)
    ]


def placed(drawn: Sequence[Drawing]) -> list[str]:
    return [version.id for drawing in drawn for box in drawing.boxes for version in box.step.versions]


def overlap(drawing: Drawing) -> bool:
    boxes = [(box.x, box.y, box.x + WIDTH, box.y + box.step.height) for box in drawing.boxes]
    return any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for place, a in enumerate(boxes)
        for b in boxes[:place]
    )


@effort(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=120), st.integers(1, 20), st.booleans())
def test_every_version_stands_once_and_no_box_covers_another(numbers: list[int], together: int, chained: bool) -> None:
    """For any lineage, each drawing is at most four columns wide and about a page tall, and each edge that is drawn or
    marked as continued below is one of the graph."""
    parents: list[int | None] = [
        None if n == 0 or number % 5 == 0 else n - 1 if chained else number % n for n, number in enumerate(numbers)
    ]
    rows = family(parents, together)
    drawn = lineage_layout.drawings(lineage_layout.steps(rows))
    assert sorted(placed(drawn)) == sorted(row.id for row in rows)
    assert not any(overlap(drawing) for drawing in drawn)
    assert max(drawing.width for drawing in drawn) <= COLUMNS * WIDTH + (COLUMNS - 1) * BETWEEN
    biggest = max(box.step.height for drawing in drawn for box in drawing.boxes)
    assert max(drawing.height for drawing in drawn) <= TALLEST + biggest
    for drawing in drawn:
        inside = {version.id for box in drawing.boxes for version in box.step.versions}
        roots = sum(box.step.parent is None or box.step.parent.id not in inside for box in drawing.boxes)
        assert len(drawing.lines) == len(drawing.boxes) - roots
        assert drawing.continued <= inside
    begun = {drawing.boxes[0].step.parent.id for drawing in drawn if drawing.boxes[0].step.parent}
    assert begun == {id for drawing in drawn for id in drawing.continued}


def test_edges_run_from_the_row_of_a_version_to_the_box_made_from_it() -> None:
    """A step stands one column to the right; its line starts at the row of its parent, not at its neighbour's."""
    rows = family([None, None, None, 1], together=3)
    (drawing,) = lineage_layout.drawings(lineage_layout.steps(rows))
    first, second = drawing.boxes
    assert (second.x, second.y) == (WIDTH + BETWEEN, 0)
    (line,) = drawing.lines
    assert line.start == (WIDTH, lineage_layout.HEAD + lineage_layout.ROW + lineage_layout.ROW // 2)
    assert line.end == (WIDTH + BETWEEN, lineage_layout.HEAD // 2)
    assert len(first.step.versions) == 3


def test_what_came_of_a_step_pushes_the_next_step_down() -> None:
    """A step with three steps after it takes their height: its neighbour, and what came of that, stand below all."""
    rows = family([None, 0, 0, 1, 1, 1, 2])
    (drawing,) = lineage_layout.drawings(lineage_layout.steps(rows))
    tops = {box.step.first.id: box.y for box in drawing.boxes}
    pitch = lineage_layout.HEAD + lineage_layout.ROW + lineage_layout.FOOT + lineage_layout.GAP
    assert [tops[f"p-{n}"] for n in (3, 4, 5)] == [0, pitch, 2 * pitch]
    assert tops["p-2"] == tops["p-6"] == 3 * pitch
    assert not overlap(drawing)


def test_a_long_chain_goes_on_in_the_next_drawing() -> None:
    """Sixty versions one from the other are fifteen drawings of four, in order."""
    drawn = lineage_layout.drawings(lineage_layout.steps(family([None, *range(59)])))
    assert [len(drawing.boxes) for drawing in drawn] == [4] * 15
    assert placed(drawn) == [f"p-{n}" for n in range(60)]
    assert drawn[0].continued == {"p-3"}


def test_a_box_holds_eight_versions() -> None:
    """Twenty variants of one prompt are three boxes that state it; only versions with children have outgoing edges."""
    steps = lineage_layout.steps(family([None] * 20 + [17], together=20))
    assert [(step.part, step.parts, len(step.versions)) for step in steps] == [(1, 3, 8), (2, 3, 8), (3, 3, 4)]

    def names(step: Step) -> list[str]:
        return [version.id for after in step.after for version in after.versions]

    assert [names(step) for step in steps] == [[], [], ["p-20"]]


async def test_the_map_and_its_data_tell_the_same(tmp_path: Path) -> None:
    """Nodes, edges with their kinds and origins are those of the rows, in JSON and on the page; the addresses of
    start images stay out of both."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        await step_back(env)
        await add_image(env, "p", 7, edge="edit", start_image_url="https://user:pass@inner.example/x?token=hush")
        await add_image(env, "p", 8, edge="variation", start_image_url=f"upload:{'a' * 64}")
        output = await make(env, "p")
        data = data_of(output)
        assert [(edge["from"], edge["to"], edge["kind"]) for edge in data["edges"]] == [
            ("image-boat-openai-0", "image-lamp-gemini-0", "edit"),
            ("image-boat-openai-0", "back", "rollback"),
        ]
        assert [node["number"] for node in data["nodes"]] == list(range(1, 9))
        assert [node["startedFrom"] for node in data["nodes"]] == [None] * 6 + ["web", "upload"]
        assert {node["provider"] for node in data["nodes"]} == {"openai", "sketch", "workers"}
        html = output.index.data.decode()
        outline = Outline(html)
        assert "Edit from a fetched image" in outline.text and "Variation from an uploaded image" in outline.text
        assert not any(secret in html or secret in json.dumps(data) for secret in ("hush", "inner.example", "aaaa"))
        kinds = re.findall(r'<path class="edge e-(\w+)"', html)
        assert sorted(kinds) == ["edit", "rollback"]
        shown = [str(link["href"]) for link in outline.all("a") if "/images/" in str(link["href"])]
        assert sorted(node["imageUrl"] for node in data["nodes"]) == sorted(shown)


async def test_thumbnails_are_small_delivery_images_with_words(tmp_path: Path) -> None:
    """Our own delivery is asked for its `thumb`, another for the row's URL; every image has its prompt and its size,
    and is loaded lazily."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        await add_image(env, "p", 1, prompt="a red boat")
        await add_image(env, "p", 2, generated_image_url="https://images.example/h/2/public")
        output = await make(env, "p")
        images = Outline(output.index.data.decode()).all("img")
        assert [image["src"] for image in images] == [
            "../../images/p-1/thumb",
            "https://images.example/h/2/public",
        ]
        assert images[0]["alt"] == "a red boat"
        assert all(image["loading"] == "lazy" and image["width"] == image["height"] == "52" for image in images)
        assert output.policy is not None and "https://images.example" in output.policy


async def test_a_link_leads_to_every_version_that_is_named(tmp_path: Path) -> None:
    """Each `No.` with a link has a place, each place is there once, and "more below" leads to a drawing."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        for n in range(24):
            await add_image(env, "p", n, parent_progression_id=f"p-{n // 2}" if n else None, edge="edit")
        outline = Outline((await make(env, "p")).index.data.decode())
        ids = [str(found["id"]) for _, found in outline.elements if "id" in found]
        assert len(ids) == len(set(ids))
        links = {str(link["href"]) for link in outline.all("a") if str(link["href"]).startswith("#")}
        assert {link.removeprefix("#") for link in links} <= set(ids)
        assert any(link.startswith("#after-") for link in links)


async def test_one_image_can_be_asked_about(tmp_path: Path) -> None:
    """Its ancestors and all that was made of it, and nothing of their other descendants; a foreign image is refused."""
    async with pages_env(tmp_path) as env:
        for id in ("p", "q"):
            await add_project(env, id)
        for n, parent in enumerate([None, 0, 0, 1, 1, 3]):
            await add_image(env, "p", n, parent_progression_id=None if parent is None else f"p-{parent}", edge="edit")
        await add_image(env, "q", 9)
        assert set((await make(env, "p", "q", progressionId="p-3")).progression_ids) == {"p-0", "p-1", "p-3", "p-5"}
        with pytest.raises(Invalid, match="q-9"):
            await make(env, "p", progressionId="q-9")


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(1, 71))
def test_a_payload_is_text_wherever_it_stands(payload: str) -> None:
    """Title, project, prompt, provider and model: the page has the tags and attributes of a harmless one."""

    def page(text: str) -> Outline:
        rows = [
            row("p", 1, prompt=text, ai_provider=text, ai_model=text),
            row("p", 2, prompt=text, parent_progression_id="p-1", edge="edit", start_image_url=text),
        ]
        section = Section(Project("p", text, text, None, 1, 1), rows, True)
        return Outline(prompt_lineage_map.write(TEMPLATE, text, [section], f"{HERE}/x").decode())

    outline = page(payload)
    assert outline.skeleton == page("".join(c if c.isspace() else "x" for c in payload)).skeleton
    assert payload in outline.text
    assert not outline.all("script") and not any("style" in found for _, found in outline.elements)
