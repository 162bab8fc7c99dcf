"""Normalizing typed text for pattern matching."""

import pytest

from tests.support.growth import grows_with_its_input
from tools.models.normalize import ALL_MARKS, even, masked, quotations


def test_spaces_and_apostrophes_are_of_one_kind() -> None:
    """Runs of spaces are one, lines keep apart, and every apostrophe is the straight one."""
    assert even("  don’t \t do \n\n  it`s  ") == "don't do\n\nit's"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('set it to "a, b" now', ['"a, b"']),
        ("“one” and „zwei“ and „drei”", ["“one”", "„zwei“", "„drei”"]),
        ("it's what 'publish it' means, isn't it", ["'publish it'"]),
        ('"never closed', []),
        ('"not over\na line"', []),
        ("«deux» “a “b” c”", ["«deux»", "“a “b”"]),
    ],
)
def test_quotations_are_found(text: str, found: list[str]) -> None:
    """In pairs, within a line, and no apostrophe opens one."""
    spans = quotations(text, ALL_MARKS)
    assert [text[start:end] for start, end in spans] == found
    assert len(masked(text, spans)) == len(text)


def test_unclosed_marks_cost_nothing() -> None:
    """Tens of thousands of them take work that grows with their number."""
    for mark in ALL_MARKS:
        assert grows_with_its_input(lambda text: quotations(text, ALL_MARKS), mark * 40_000 + "\n" + mark)
        assert grows_with_its_input(lambda text: quotations(text, ALL_MARKS), f"{mark}a" * 20_000)
