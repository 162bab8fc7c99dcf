"""Users' templates, parsed and rendered: every placeholder's context known, every value escaped for it, in bounded
time."""

import html

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from tests.support.growth import grows_with_its_input
from tests.support.samples.page_site import Outline
from tools.errors import Invalid, TooLarge
from tools.publishing import template_html
from tools.publishing.template_html import Image, read, write
from tools.publishing.templates import placeholders

HERO = {"IMAGE_HERO": Image("http://here/images/a/public", 'a "boat"')}


def body(template: str, **values: str) -> str:
    return write(read(template), values, HERO).body


def test_placeholders_are_found_in_their_order_wherever_they_stand() -> None:
    """Title, style, attributes, text, twice or with space within the braces; not in comments, scripts or tag names."""
    found = placeholders(
        "<title>{{TITLE}}</title><style>a{color:{{COLOUR_1}}}</style><p class='{{ KIND }}'>{{TEXT}} {{TITLE}}</p>"
        "<img src={{IMAGE_HERO}}><!-- {{COMMENT}} --><script>{{SCRIPT}}</script><svg>{{SVG}}</svg><{{TAG}} {{NAME}}>"
        "{{lower}} {{1ST}} {{A-B}} {{}} {{ A B }} {{É}} {{" + "A" * 65 + "}}"
    )
    assert found == ["TITLE", "COLOUR_1", "KIND", "TEXT", "IMAGE_HERO", "TAG", "NAME"]


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{{X}}", "&lt;&quot;&#x27;&gt;&amp; {{X}}"),
        ("<p title={{X}}>", '<p title="&lt;&quot;&#x27;&gt;&amp; {{X}}"></p>'),
        ("<p title='a {{X}}'>", '<p title="a &lt;&quot;&#x27;&gt;&amp; {{X}}"></p>'),
        ("<a href={{X}}>", '<a href="&lt;&quot;&#x27;&gt;&amp; {{X}}"></a>'),
        ("<a href='/q?a={{X}}&b=c'>", '<a href="/q?a=%3C%22%27%3E%26%20%7B%7BX%7D%7D&amp;b=c"></a>'),
        ("<i style='color:{{X}}'>", '<i style="color:\\3c \\22 \\27 \\3e \\26 \\20 \\7b \\7b X\\7d \\7d "></i>'),
        ("<img src={{IMAGE_HERO}}>", '<img src="http://here/images/a/public" alt="a &quot;boat&quot;">'),
        ("<img alt=b src={{IMAGE_HERO}}>", '<img alt="b" src="http://here/images/a/public">'),
        ("<p>{{IMAGE_HERO}}", '<p><img src="http://here/images/a/public" alt="a &quot;boat&quot;"></p>'),
        ("&lt;b&gt; &amp;amp; &#123;&#123;X}}", "&lt;b&gt; &amp;amp; {{X}}"),
    ],
)
def test_a_value_is_escaped_for_its_place(template: str, written: str) -> None:
    """Text, attribute in any quotes, address and style each have their own escaping; a value is no template."""
    assert body(template, X="<\"'>& {{X}}") == written


@pytest.mark.parametrize("value", ["#1a2B3c", "rgb(0 0 0 / 50%)", "hsla(120, 50%, 50%, 0.5)", "1.5rem", "dark red"])
def test_colours_and_sizes_stand_in_css_as_they_are(value: str) -> None:
    """What a person would write for a colour works."""
    assert template_html.css_value(value) == value


@pytest.mark.parametrize(
    "value", ["red;}body{x:y", "url(x)", "expression(1)", "</style>", "a\\b", '"', "/*", "@import"]
)
def test_nothing_else_gets_out_of_its_declaration(value: str) -> None:
    """Each sign that means something to CSS is escaped."""
    assert not set(template_html.css_value(value)) & set(";{}()<>\"'@/:")


@pytest.mark.parametrize(
    ("loose", "balanced"),
    [
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        ("<ul><li>a<li>b</ul>c", "<ul><li>a</li><li>b</li></ul>c"),
        ("<dl><dt>a<dd>b<dt>c</dl>", "<dl><dt>a</dt><dd>b</dd><dt>c</dt></dl>"),
        ("<p>a<div>b</p>c</div>", "<p>a</p><div>bc</div>"),
        ("<b><i>a</b>b</i>c", "<b><i>a</i></b>bc"),
        ("<h1>a<h2>b", "<h1>a</h1><h2>b</h2>"),
        ("<table><tr><td>a<td>b<tr><th>c</table>d", "<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>d"),
        ("<div><table><tr><td></div>a</table></div>", "<div><table><tr><td>a</td></tr></table></div>"),
        ("<ul><li><ul><li>a</ul><li>b</ul>", "<ul><li><ul><li>a</li></ul></li><li>b</li></ul>"),
        ("<td>a</td></p></div>b<br></br>", "ab<br>"),
        ("<!DOCTYPE html><html lang=de><head></head><body>a</body></html>", "a"),
        ("a<!-- <b> -->b<!-->c", "ab"),
        ("<textarea><b></textarea><p>a", "<p>a</p>"),
        ("a < b <3 <", "a &lt; b &lt;3 &lt;"),
        ("<IMG ALT='x' alt=y>", '<img alt="x">'),
    ],
)
def test_loose_markup_is_balanced_as_browsers_read_it(loose: str, balanced: str) -> None:
    """What is left open is closed where a browser closes it."""
    assert body(loose) == balanced


def test_title_style_and_language_are_kept_aside() -> None:
    """They belong into the frame of a page, not into its body."""
    template = read("<html lang='de'><title>A &amp; {{X}}</title><style>a{b:c}</style><style>d{e:f}</style><p>g")
    written = write(template, {"X": "<b>"}, {})
    assert (template.lang, written.title, written.body) == ("de", "A & <b>", "<p>g</p>")
    assert written.style == "a{b:c}\nd{e:f}\n"


def deep(n: int, tag: str = "div") -> str:
    return f"<{tag}>" * n + f"</{tag}>" * n


BOUNDS = {
    "64 KiB of text": "x" * (64 << 10),
    "5,000 placeholders": "".join(f"{{{{P{n:04}}}}}" for n in range(5000)),
    "one placeholder 7,000 times": "{{P}}" * 7000,
    "a hundred deep, again and again": deep(100) * 59,
    "misnested": "<b a><p></b>" * 5000,
    "paragraphs": "<p>" * 20_000,
    "ends of nothing": "<i>" * 99 + "</u>" * 16_000,
    "quotes left open": "<a x='" * 10_000,
    "spaces": "<a b" + " " * 65_000,
    "comments left open": "<!--" * 16_000,
    "tags left open": "<a " * 21_000,
    "styles left open": "<style>" * 9_000,
    "drawings": "<svg><g></svg>" * 4_600,
    "braces": "{{" * 32_000,
    "signs": "<" * 65_000,
}


@pytest.mark.parametrize("template", BOUNDS.values(), ids=BOUNDS)
def test_reading_and_writing_are_bounded(template: str) -> None:
    """Whatever fits into 64 KiB is parsed and rendered in work that grows with its length."""
    assert len(template) <= template_html.TEMPLATE_BYTES

    def read_and_write(text: str) -> None:
        read_again = read(text)
        write(read_again, dict.fromkeys(read_again.placeholders, "<x>"), {})

    assert grows_with_its_input(read_and_write, template)


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    """One byte over the cap, a character of two bytes over it, the 101st level; and left open counts as deep."""
    for template in ("x" * ((64 << 10) + 1), "é" * ((32 << 10) + 1), "x" * (1 << 20)):
        with pytest.raises(TooLarge):
            read(template)
    for tag in ("div", "b", "ul", "x-y"):
        read(deep(100, tag))
        for template in (deep(101, tag), f"<{tag}>" * 101):
            with pytest.raises(Invalid) as caught:
                read(template)
            assert caught.value.code == "template_nesting"


def test_a_page_does_not_grow_beyond_its_cap() -> None:
    """A long value in thousands of places is refused before it is written."""
    template = read("{{P}}" * 7000)
    with pytest.raises(TooLarge):
        write(template, {"P": "x" * 9_999}, {})
    with pytest.raises(TooLarge):
        template_html.check_value("P", "x" * 10_001)
    template_html.check_value("P", "x" * 10_000)


PLACES = st.sampled_from(
    ["{{V}}", "<p>{{V}}</p>", "<p title={{V}}>x</p>", "<p title='a{{V}}'>x</p>", '<i class="{{V}}b">x</i>']
)


@given(template=PLACES, value=st.text(max_size=40))
@effort(max_examples=300, deadline=None)
def test_a_value_comes_out_as_it_went_in(template: str, value: str) -> None:
    """An HTML parser finds exactly the value, in one place, and no element or attribute more than without it."""
    plain, filled = Outline(body(template, V="v")), Outline(body(template, V=value))
    assert plain.skeleton == filled.skeleton
    before = [plain.text, *(v for _, attributes in plain.elements for v in attributes.values())]
    after = [filled.text, *(v for _, attributes in filled.elements for v in attributes.values())]
    assert after == [(text or "").replace("v", value) if text else text for text in before] or "\r" in value
    assert html.unescape(html.escape(value)) == value
