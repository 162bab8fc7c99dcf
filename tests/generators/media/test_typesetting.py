"""What is set in type: a person's words stay words, and what the fonts lack is counted."""

import pytest

from generators.media import typesetting
from tests.support.files.hostile_strings import PAYLOADS
from tools.errors import Invalid

WRITE = b'#for words in json("data.json") { page(width: 900pt, height: 200pt, words) }'
PROGRAMS = (
    '#panic("run")',
    '#read("/etc/passwd")',
    '#image("main.typ")',
    '#import "@preview/cetz:0.3.0"',
    '#eval("1/0")',
    "#include sys.inputs.x",
    "$ sum_(i=0)^n $",
    "= Heading <label> @label",
    "\\u{0}",
    '"); #panic("',
    "#set page(width: 1pt)",
    "#while true {}",
    "/* // `raw` ```typ #panic()```",
)


def test_a_persons_words_are_never_the_engines_source() -> None:
    """Programs of the engine's own language, and the pages' payloads, are set as they stand: all pages are there,
    each with its own words."""
    texts = [*PROGRAMS, *PAYLOADS]
    pages = typesetting.labels(WRITE, texts)
    assert len(pages) == len(texts)
    assert len({*pages}) == len({" ".join(text.split()) for text in texts})


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("Häuser, žluťoučký, Ελληνικά, Кириллица, עברית, العربية, ქართული, हिन्दी — “…” → ✓", 0),
        ("漢字 汉字 かな カナ 한국어", 0),
        ("ไท", 2),
        ("ไ 漢 ไ 한 😀", 2),
        ("", 0),
    ],
    ids=["known scripts", "Chinese, Japanese, Korean", "two", "each once", "nothing"],
)
def test_what_the_fonts_lack_is_counted(text: str, lacking: int) -> None:
    """Different characters without a glyph are counted; those of a supported script have one."""
    assert typesetting.unshown(text) == lacking


def test_a_word_that_no_line_holds_may_be_broken() -> None:
    """Nothing of it is lost, and ordinary words stay as they are."""
    address = "https://example.test/" + "a" * 90
    broken = typesetting.breakable(f"see {address} here")
    assert broken.replace("\u200b", "") == f"see {address} here"
    assert max(map(len, broken.replace("\u200b", " ").split())) <= 40
    assert typesetting.breakable("a lighthouse at dusk") == "a lighthouse at dusk"


def test_what_is_not_installed_is_named() -> None:
    """The error names the extra to install."""
    typesetting.check_installed(("typst",))
    with pytest.raises(Invalid, match=r"\[media\]"):
        typesetting.check_installed(("typst", "no_such_module"))
