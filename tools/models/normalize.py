"""What somebody typed, made ready to be read by pattern: one kind of space and apostrophe, and what is quoted.

A pattern over even text never meets two spaces in a row, and what is quoted is found in one pass: both keep reading
linear in the length of the text, whoever wrote it.
"""

import re
from collections.abc import Mapping, Sequence

MARKS: Mapping[str, str] = {'"': '"', "“": "”", "„": "“”"}
ALL_MARKS: Mapping[str, str] = {**MARKS, "«": "»", "'": "'"}
"""Opening marks with those that close them. `'` is one only where it is no apostrophe."""
_JOINT = re.compile(r", ?(?:and )?(?:then )?| (?:and then|and|then) ")
QUOTED = "\ue000"
"""Stands for each character of what is quoted: in nobody's alphabet, and no mark of any pattern."""
Span = tuple[int, int]


def even(text: str) -> str:
    """The text with single spaces, none around line breaks, and straight apostrophes."""
    lines = (" ".join(line.split()) for line in re.sub(r"[’`´]", "'", text).split("\n"))
    return "\n".join(lines).strip()


def quotations(text: str, marks: Mapping[str, str] = MARKS) -> list[Span]:
    """Where something stands in quotation marks, these included; never over the end of a line."""
    spans, at = list[Span](), 0
    unclosed: dict[str, int] = {}
    for opening in re.finditer(f"[{''.join(marks)}]", text):
        mark, start = opening[0], opening.start()
        if start < at or start < unclosed.get(mark, 0) or (mark == "'" and text[start - 1 : start].isalnum()):
            continue
        end, line = _closing(text, start + 1, marks[mark]), text.find("\n", start)
        if end is None or end > line > 0:
            unclosed[mark] = line if line > 0 else len(text)
        elif mark != "'" or not text[end : end + 1].isalnum():
            spans.append((start, end))
            at = end
    return spans


def _closing(text: str, start: int, marks: str) -> int | None:
    """Behind the first of these marks."""
    return min((at + 1 for mark in marks if (at := text.find(mark, start)) >= 0), default=None)


def masked(text: str, spans: Sequence[Span], by: str = QUOTED) -> str:
    """The text, as long as it was, with each character of these parts replaced."""
    pieces, at = list[str](), 0
    for start, end in spans:
        pieces += [text[at:start], by * (end - start)]
        at = end
    return "".join((*pieces, text[at:]))


def is_quoted(text: str) -> bool:
    """Whether all of it stands in one pair of quotation marks."""
    return quotations(text) == [(0, len(text))]


def pieces_of(sentence: str) -> list[str]:
    """What stands between commas, “and” and “then” outside of quotation marks."""
    pieces, at = list[str](), 0
    for joint in _JOINT.finditer(masked(sentence, quotations(sentence))):
        pieces.append(sentence[at : joint.start()].strip())
        at = joint.end()
    return [*pieces, sentence[at:].strip()]
