"""The stakeholder PDF, read by an independent reader."""

import io
from pathlib import Path
from typing import Any, cast

import pypdf
from PIL import Image

from tests.support.files.hostile_strings import PAYLOADS
from tests.support.samples.project_with_originals import SHAPES, made, painted, pictures_env
from tools.env import Env
from tools.rows import Criterion

FACTS: tuple[dict[str, Any], ...] = (
    {
        "prompt": "A lighthouse at dusk",
        "judgment": "pass",
        "ai_provider": "openai",
        "ai_model": "m-1",
        "cost_usd": 42_100,
        "ai_notes": ["The lamp is lit."],
        "ai_tags": ["deep teal"],
    },
    {
        "prompt": "Three lemons",
        "judgment": "fail",
        "criteria": [Criterion("three lemons", False, "only two are there")],
    },
    {"prompt": "Ein Café in Zürich — “schön” ไท"},
)
SPENT = """
INSERT INTO model_calls (id, purpose, subject, number, project_id, provider, model, state, billed, cost_micros,
    created_at, settled_at, cost_basis)
VALUES (:id, 'judge', :id, 1, 'p', 'openai', 'm-vision', 'succeeded', 1, 1500000, 5, 6, :basis)
"""


def read(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data), strict=True)


def outline(reader: pypdf.PdfReader) -> dict[str, int]:
    """Every bookmark with the number of its page, from 0."""

    def walk(entries: list[Any]) -> Any:
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry)
            else:
                yield str(entry.title), reader.get_destination_page_number(entry)

    return dict(walk(reader.outline))


def text(reader: pypdf.PdfReader, page: int) -> str:
    return " ".join(reader.pages[page].extract_text().split())


async def reported(env: Env, **options: Any) -> pypdf.PdfReader:
    first, second = [await made(env, "stakeholder-pdf", options) for _ in range(2)]
    assert first == second
    assert (first.index.name, first.index.content_type) == ("index.pdf", "application/pdf")
    return read(first.index.data)


async def test_the_report_has_cover_contents_images_judgement_and_costs(tmp_path: Path) -> None:
    """Bookmarks and contents lead to the pages, each image has its prompt and the judge's measurements, the costs equal
    the ledger's; the same rows give the same bytes."""
    async with pictures_env(tmp_path, 3, FACTS) as env:
        for id, basis in (("a", "usage"), ("b", "estimate")):
            await env.DB.run(SPENT, id=id, basis=basis)
        reader = await reported(env, showVerdicts=True, showCosts=True)
    marks = outline(reader)
    assert [" ".join(mark.split()) for mark in marks] == [
        "At a glance",
        "Aurora",
        "No. 1 A lighthouse at dusk",
        "No. 2 Three lemons",
        "No. 3 Ein Café in Zürich — “schön” ไท",
        "Costs",
    ]
    assert [*marks.values()] == [2, 3, 3, 4, 5, 6] and len(reader.pages) == 7
    assert "Autumn" in text(reader, 0) and "Autumn images" in text(reader, 0)
    links = [annotation.get_object() for annotation in cast(Any, reader.pages[1]["/Annots"])]
    assert len(links) >= 6 and {link["/Subtype"] for link in links} == {"/Link"}
    for words in ("3 images of one project", "Of 2 judged, 1 passed (50 %).", "1 requirement was not met"):
        assert words in text(reader, 2)
    for words in ("A lighthouse at dusk", "openai · m-1", "$0.0421", "The lamp is lit.", "Pass", "deep teal"):
        assert words in text(reader, 3)
    assert "three lemons only two are there" in text(reader, 4)
    assert "openai · m-vision judging 2 $3.00" in text(reader, 6) and "Total: $3.00" in text(reader, 6)
    assert "1 of the calls are priced by an estimate" in text(reader, 6)
    assert "2 different characters of the texts are not in this document's fonts" in text(reader, 6)


async def test_it_carries_its_fonts_and_its_images_and_no_clock(tmp_path: Path) -> None:
    """Every font is embedded; images are JPEGs drawn anew in their own shapes; no date and nothing of the original."""
    async with pictures_env(tmp_path, 3, FACTS) as env:
        whole = await made(env, "stakeholder-pdf", {"costs": False})
    data, reader = whole.index.data, read(whole.index.data)
    for number, page in enumerate((3, 4, 5)):
        (image,) = reader.pages[page].images
        with Image.open(io.BytesIO(image.data)) as opened:
            assert opened.size == SHAPES[number] and opened.format == "JPEG"
            assert not opened.getexif()
        assert painted((170, 60, 50), SHAPES[0])[:512] not in data
    fonts = [
        font.get_object() for page in reader.pages for font in cast(Any, page["/Resources"]).get("/Font", {}).values()
    ]
    assert fonts
    for font in fonts:
        descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile2", "/FontFile3"} & set(descriptor)
    assert reader.metadata is not None and reader.metadata.title == "Autumn"
    assert reader.metadata.creation_date is None and reader.metadata.modification_date is None
    assert b"SECRET" not in data and "Costs" not in outline(reader)
    root: Any = reader.root_object
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en"


async def test_an_empty_project_and_hostile_words_are_no_failure(tmp_path: Path) -> None:
    """An empty report states that it is empty; values of any kind are text, and no page runs or opens anything."""
    async with pictures_env(tmp_path, 0) as env:
        empty = read((await made(env, "stakeholder-pdf", {})).index.data)
        assert "There are no images yet." in text(empty, 2) and not any(page.images for page in empty.pages)
        hostile = await made(env, "stakeholder-pdf", {"intro": " ".join(PAYLOADS)[:1200]}, '#panic("x") $')
        reader = read(hostile.index.data)
        assert '#panic("x") $' in text(reader, 0) and "<script>alert(1)</script>" in text(reader, 0)
        for word in (b"/JavaScript", b"/OpenAction", b"/Launch", b"/EmbeddedFile", b"/URI"):
            assert word not in hostile.index.data
