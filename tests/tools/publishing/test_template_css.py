"""What stays of a user's style sheet, and what of it never does."""

import re

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from tests.support.growth import grows_with_its_input
from tools.publishing import template_html
from tools.publishing.template_css import clean_declarations, clean_sheet, colours_of, is_colour

KEPT = (
    "a{color:red}",
    "h1,h2 > .x:hover::after{content:\"→ 'x'\";margin:0 auto !important}",
    ":root{--ink:#16130f;--gap:calc(1rem + 2vw)}",
    'p{font:400 1rem/1.5 "Helvetica Neue",Arial,sans-serif;color:var(--ink,#000)}',
    'a[href^="#"]{text-decoration:none}',
    "li:nth-child(2n+1):not(.x){background:linear-gradient(90deg,#fff 0%,rgb(0 0 0/50%))}",
    "@media (min-width: 44rem) and (prefers-color-scheme: dark){a{color:red}b{color:blue}}",
    "@media (width <= 600px){a{color:red}}",
    "@supports (display: grid){a{display:grid}}",
    "@page{size:A4 landscape;margin:12mm}",
    "@keyframes turn{from{transform:rotate(0deg)}50%{opacity:.5}to{transform:rotate(1turn)}}",
    ".grid{grid-template-columns:repeat(3,minmax(0,1fr))}",
)

DROPPED = (
    "@import 'http://evil.test/a.css';",
    "@import url(http://evil.test/a.css);",
    "@charset 'utf-7';",
    "@namespace url(http://www.w3.org/1999/xhtml);",
    "@font-face{font-family:x;src:url(http://evil.test/f.woff)}",
    "@document url(http://evil.test){a{color:red}}",
    "a{background:url(http://evil.test/1)}",
    "a{background:url( 'http://evil.test/2' )}",
    'a{background:URL("//evil.test/3")}',
    "a{background:u\\72l(http://evil.test/4)}",
    "a{background:\\75\\72\\6c(http://evil.test/5)}",
    "a{background:u/**/rl(http://evil.test/6)}",
    "a{background:image-set('http://evil.test/7' 1x)}",
    "a{background:-webkit-image-set(url(http://evil.test/8) 1x)}",
    "a{background:image('http://evil.test/9')}",
    "a{background:cross-fade(url(http://evil.test/10),red)}",
    "a{background:element(#x)}",
    "a{background:src('http://evil.test/11')}",
    "a{background:attr(title url)}",
    "a{--x:url(http://evil.test/12);background:var(--x)}",
    "a{width:expression(alert(13))}",
    "a{behavior:url(http://evil.test/14)}",
    "a{-moz-binding:url(http://evil.test/15)}",
    "a{list-style:url(data:image/svg+xml,<svg/>)}",
    "a{cursor:url(http://evil.test/16),auto}",
    "a{content:url(http://evil.test/17)}",
    "a{filter:url(http://evil.test/18#x)}",
    "a{mask:url(#x)}",
    "a{clip-path:url(http://evil.test/19)}",
    "a{border-image:url(http://evil.test/20) 1}",
    "a{shape-outside:url(http://evil.test/21)}",
    "a{offset-path:url(http://evil.test/22)}",
    "a{color:red;background:url(http://evil.test/23",
    "a{background:url('http://evil.test/24\n')}",
    "a{background:url\n(http://evil.test/25)}",
    "@media url(http://evil.test/26){a{color:red}}",
    "@supports (background:url(http://evil.test/27)){a{color:red}}",
    "a[title=url(http://evil.test/28)]{color:red}",
    "a{b{background:url(http://evil.test/29)}}",
    "</style><script>alert(30)</script><style>",
    "a{content:'</style><script>alert(31)</script>'}",
    "<!-- a{background:url(http://evil.test/32)} -->",
    "a{color:red}}}}@import 'http://evil.test/33';",
    "a{color:red;@import 'http://evil.test/34';}",
    "/*a{}*/@\\69mport 'http://evil.test/35';",
    'a{background:"url(http://evil.test/36)" url(http://evil.test/36)}',
    'a{x:"\\"}b{background:url(http://evil.test/37)}',
    "a{background:url(http://evil.test/38);background:url(\\68ttp://evil.test/38)}",
    "@layer x;@import 'http://evil.test/39' layer(x);",
    "a{background:paint(x)}",
)


@pytest.mark.parametrize("css", KEPT)
def test_ordinary_style_stays_as_it_is(css: str) -> None:
    """Colours, grids, gradients, media, keyframes, variables, strings: nothing of it is lost."""
    assert clean_sheet(css) == css


@pytest.mark.parametrize("css", DROPPED)
def test_whatever_loads_or_runs_is_left_out(css: str) -> None:
    """No address, import, foreign function or end of the style element survives; what stands beside it does."""
    cleaned = clean_sheet(f"{css}")
    outside = re.sub(r"\"[^\"]*\"|'[^']*'", "", cleaned).lower()
    assert not re.search(r"url|import|evil|expression|behavior|binding|src|image|element|paint|attr|<", outside)
    assert "<" not in cleaned and "\\" not in outside


def test_a_bad_declaration_takes_only_itself_along() -> None:
    """Its neighbours stay."""
    css = "a{color:red;background:url(x);margin:0}@import 'x';b{c:d}@font-face{src:url(x)}e{f:g}"
    assert clean_sheet(css) == "a{color:red;margin:0}b{c:d}e{f:g}"
    assert clean_declarations("color:red; background:url(x) ; margin:0;") == "color:red;margin:0"
    assert clean_declarations("a{color:red}") == clean_declarations("color") == clean_declarations(":red") == ""


@pytest.mark.parametrize("quotes", ['"' + '\\"' * 30_000, "\"\\'" * 20_000, "a{b:'" + "\\'" * 30_000 + "}"])
def test_quotes_that_are_never_closed_cost_no_more_than_others(quotes: str) -> None:
    """A sheet or attribute of 60,000 signs of unclosed strings is read in work that grows with it, and nothing of it
    stays."""
    assert clean_sheet(quotes) == clean_declarations(quotes) == ""
    assert grows_with_its_input(clean_sheet, quotes) and grows_with_its_input(clean_declarations, quotes)


@pytest.mark.parametrize("part", ["a{b:(", "[", "a{b:min(", "@media x{", "a{b:c;", "/*", "url(", "}", "u+", "\\"])
def test_what_is_never_closed_costs_no_more_than_its_length(part: str) -> None:
    """30,000 signs of blocks, functions, comments or addresses that nothing closes, however deep, are read in work that
    grows with them."""
    hostile = part * (30_000 // len(part))
    assert clean_sheet(hostile) in ("", "a{b:c}") or set(clean_sheet(hostile)) <= set("@media x{}")
    assert grows_with_its_input(clean_sheet, hostile) and grows_with_its_input(clean_declarations, hostile)


def test_a_number_longer_than_python_reads_is_no_failure() -> None:
    """Five thousand digits mean no size; the rest of the sheet stays."""
    assert clean_sheet("a{width:" + "1" * 5000 + "px;color:red}") == "a{width:0px;color:red}"


def test_strings_are_written_in_double_quotes() -> None:
    """Whatever quotes a string had, it gets double ones, and a character that could end it or the element is
    escaped."""
    assert clean_sheet("a{content:'x \"y\" <'}") == 'a{content:"x \\22 y\\22  \\3c "}'


def test_an_unclosed_string_ends_with_its_line() -> None:
    """As in browsers: what follows on the next line stands, the declaration with the string does not."""
    assert clean_sheet("a{color:red;content:'x;margin:0}\n;top:0}b{c:d}") == "a{color:red;top:0}b{c:d}"


PIECES = st.lists(
    st.sampled_from(
        [*DROPPED, *KEPT, "a{", "}", ";", ":", "(", ")", '"', "'", "/*", "*/", "\\", "@media x{", "url(", "x"]
    ),
    max_size=8,
)


@given(pieces=PIECES, noise=st.text(max_size=12))
@effort(max_examples=300, deadline=None)
def test_cleaning_twice_changes_nothing_more(pieces: list[str], noise: str) -> None:
    """Cleaning any input is idempotent, and leaves no address and no way out of the element."""
    cleaned = clean_sheet(noise.join(pieces))
    assert clean_sheet(cleaned) == cleaned
    assert "<" not in cleaned.replace("<=", "")
    assert not re.search(r"url\(|@import", re.sub(r"\"[^\"]*\"|'[^']*'", "", cleaned), re.IGNORECASE)


def test_a_placeholder_for_a_colour_is_known_and_takes_only_one() -> None:
    """By its name or by the property that it is the value of; in a sheet and in an attribute, not in plain text."""
    template = template_html.read(
        "<style>:root{--accent: {{ONE}};--gap:{{GAP}}} a{color:{{TWO}};border:1px solid {{LINE_COLOUR}};width:{{WIDE}}}"
        "</style><p style='background-color: {{THREE}}; margin:{{GAP}}'>{{WORDS}} {{COLOUR_NAME}}</p>"
        "<style>b{--my-color:{{FOUR}}}</style>"
    )
    assert colours_of(template) == {"TWO", "LINE_COLOUR", "THREE", "FOUR"}
    for value, is_one in (
        ("navy", True), ("#1e3a5f", True), ("rgb(30 58 95 / 50%)", True), ("hsl(120, 50%, 50%)", True),
        ("deep teal", False), ("the colour of my cat", False), ("#12", False), ("red; width: 1px", False),
    ):  # fmt: skip
        assert is_colour(value) == is_one, value
