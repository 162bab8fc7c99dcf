"""Tables as CSV (RFC 4180, UTF-8 without byte order mark, lines end with CRLF) that spreadsheets open as plain data.

A text that a spreadsheet could take for a formula gets an apostrophe before it, and so does a text that begins with an
apostrophe. A program that reads the file removes one apostrophe from each cell that begins with one.
"""

import csv
import io
from collections.abc import Iterable, Sequence

CONTENT_TYPE = "text/csv; charset=utf-8; header=present"
GUARDED = tuple("=+-@\t\r\n'＝＋－＠")
"""Characters that get an apostrophe before them: signs of formulas, their full-width forms, and white space that is
trimmed before them."""

Cell = str | int | float | None


def write(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """The table; None is an empty cell, and numbers are written as they are."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(header)

    def guarded(cell: Cell) -> Cell:
        is_formula = isinstance(cell, str) and cell.lstrip(" \u00a0").startswith(GUARDED)
        return f"'{cell}" if is_formula else cell

    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return file.getvalue().encode()
