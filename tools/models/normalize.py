"""What somebody typed, made ready to be read by pattern: one kind of space and apostrophe, and what is quoted.

Both keep reading linear in the length of the text: no pattern meets two spaces in a row, and quotations are found in
one pass.
"""

import re
from collections.abc import Mapping, Sequence

MARKS: Mapping[str, str] = {'"': '"', "“": "”", "„": "“”"}
ALL_MARKS: Mapping[str, str] = {**MARKS, "«": "»", "'": "'"}
"""Opening marks with those that close them. `'` is one only where it is no apostrophe."""
QUOTED = "\ue000"
"""Stands for each character of what is quoted: a character of private use, which no pattern matches."""
Span = tuple[int, int]


def even(text: str) -> str:
    """The text with single spaces, none around line breaks, and straight apostrophes."""
    lines = (" ".join(line.split()) for line in re.sub(r"[’`´]", "'", text).split("\n"))
    return "\n".join(lines).strip()


def quotations(text: str, marks: Mapping[str, str] = MARKS) -> list[Span]:
    """Start and end of each quotation, its marks included; none goes over the end of a line."""
    spans, at = list[Span](), 0
    unclosed: dict[str, int] = {}
    for opening in re.finditer(f"[{''.join(marks)}]", text):
        mark, start = opening[0], opening.start()
        if start < at or start < unclosed.get(mark, 0) or (mark == "'" and text[start - 1 : start].isalnum()):
            continue
        closings = (text.find(closing, start + 1) + 1 for closing in marks[mark])
        end, line = min((found for found in closings if found), default=None), text.find("\n", start)
        if end is None or end > line > 0:
            # Not looked for again on this line: that would take quadratic time.
            unclosed[mark] = line if line > 0 else len(text)
        elif mark != "'" or not text[end : end + 1].isalnum():
            spans.append((start, end))
            at = end
    return spans


def masked(text: str, spans: Sequence[Span], by: str = QUOTED) -> str:
    """The text, of the same length, with each character of these parts replaced."""
    pieces, at = list[str](), 0
    for start, end in spans:
        pieces += [text[at:start], by * (end - start)]
        at = end
    return "".join((*pieces, text[at:]))
