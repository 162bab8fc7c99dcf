"""CSV as any reader and any spreadsheet should find it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generators.shared import tables


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"])
def test_no_text_is_a_formula(sign: str) -> None:
    """A cell that a spreadsheet would work out opens with an apostrophe, also behind spaces."""
    for text in (f"{sign}HYPERLINK(1)", f" {sign}1+1"):
        assert read(tables.write(["a", "b"], [[text, 1]])) == [["a", "b"], [f"'{text}", "1"]]


def test_numbers_and_gaps_stay_what_they_are() -> None:
    """Numbers are not text, and what is not there is an empty cell."""
    assert tables.write(["a", "b", "c"], [[-3, 0.5, None], ["a-b", "1=1", 'ü,"\n']]) == (
        'a,b,c\r\n-3,0.5,\r\na-b,1=1,"ü,""\n"\r\n'.encode()
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=4))
def test_whatever_was_written_is_read_back(cells: list[str]) -> None:
    """Take away one apostrophe where a cell opens with one: the texts are there again, in one row of as many cells."""
    (back,) = read(tables.write(["x"] * len(cells), [cells]))[1:]
    assert [cell.removeprefix("'") for cell in back] == cells
    assert not any(cell.startswith(tables.GUARDED[:6]) for cell in back)
