"""Tables as CSV (RFC 4180, UTF-8 without a mark, lines end with CRLF) that a spreadsheet opens as nothing but data.

A text that a spreadsheet could take for a formula gets an apostrophe before it, and so does one that opens with an
apostrophe: whoever reads the file takes one apostrophe away from each cell that opens with one, and has the text.
"""

import csv
import io
from collections.abc import Iterable, Sequence

CONTENT_TYPE = "text/csv; charset=utf-8; header=present"
GUARDED = tuple("=+-@\t\r\n'＝＋－＠")
"""What no cell opens with as it is: the signs of formulas, the wide ones too, and what is trimmed before them."""

Cell = str | int | float | None


def write(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """The table; None is an empty cell, and numbers are written as they are."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)
    return file.getvalue().encode()


def _guarded(cell: Cell) -> Cell:
    if not isinstance(cell, str):
        return cell
    return f"'{cell}" if cell.lstrip(" \u00a0").startswith(GUARDED) else cell
