"""The layout of a lineage: steps from left to right by descent, divided into drawings that fit a page.

A step is the versions that one prompt made from one parent version: they are listed in one box, and each may have
further steps in the next column. Steps beyond the last column or the height continue in a drawing of their own.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import msgspec

from tools.rows import Progression

COLUMNS = 4
WIDTH, BETWEEN = 232, 96
"""Pixels: the width of a box, and of the gap to the next column, where the edges are drawn."""
HEAD, ROW, FOOT, GAP = 92, 62, 8, 22
"""Pixels of height: a box's text, one version, the box's lower edge, and the gap between two boxes."""
TALLEST = 820
MOST_ROWS = 8


class Step(msgspec.Struct, frozen=True, eq=False):
    """One box of the drawing; number `part` of `parts` when the versions need several boxes."""

    parent: Progression | None
    versions: list[Progression]
    part: int
    parts: int
    after: list["Step"]

    @property
    def first(self) -> Progression:
        return self.versions[0]

    @property
    def height(self) -> int:
        return HEAD + ROW * len(self.versions) + FOOT


class Placed(msgspec.Struct, frozen=True):
    """A box; x and y are its upper left corner."""

    step: Step
    x: int
    y: int


class Line(msgspec.Struct, frozen=True):
    """An edge from a version's row to the box of a step made from it."""

    kind: str
    start: tuple[int, int]
    end: tuple[int, int]


class Drawing(msgspec.Struct, frozen=True):
    """`continued` are the versions in it whose steps are in a later drawing."""

    boxes: list[Placed]
    lines: list[Line]
    continued: frozenset[str]
    width: int
    height: int


def steps(rows: Sequence[Progression]) -> list[Step]:
    """The steps without a parent among the rows, oldest first, each with its descendants."""
    known = {row.id: row for row in rows}
    made: defaultdict[tuple[str | None, str, str], list[Progression]] = defaultdict(list)
    for row in rows:
        parent = row.parent_progression_id if row.parent_progression_id in known else None
        made[parent, row.job_id or row.id, row.edge].append(row)
    found = [step for (parent, _, _), versions in made.items() for step in _parts(known.get(parent or ""), versions)]
    of = {row.id: step for step in found for row in step.versions}
    for step in found:
        if step.parent:
            of[step.parent.id].after.append(step)
    for step in found:
        order = {row.id: place for place, row in enumerate(step.versions)}
        step.after.sort(key=lambda after: order[after.parent.id] if after.parent else 0)
    return [step for step in found if step.parent is None]


def _parts(parent: Progression | None, versions: list[Progression]) -> list[Step]:
    cut = [versions[at : at + MOST_ROWS] for at in range(0, len(versions), MOST_ROWS)]
    return [Step(parent, few, part, len(cut), []) for part, few in enumerate(cut, 1)]


def drawings(roots: Sequence[Step]) -> list[Drawing]:
    """First the steps with descendants, tree by tree, then those without, side by side."""
    found, waiting = list[Drawing](), deque(step for step in roots if step.after)
    while waiting:
        sheet = _Sheet()
        sheet.place(waiting.popleft(), 0, 0)
        found.append(sheet.drawing())
        waiting.extendleft(reversed(sheet.left))
    return [*found, *_side_by_side([step for step in roots if not step.after])]


class _Sheet:
    """A drawing in the making; `left` are the steps that did not fit."""

    def __init__(self) -> None:
        self.boxes, self.lines, self.left = list[Placed](), list[Line](), list[Step]()

    def place(self, step: Step, column: int, y: int) -> int:
        """Place the step, and its descendants to its right; returns the lower end of all."""
        x = column * (WIDTH + BETWEEN)
        self.boxes.append(Placed(step, x, y))
        lowest = cursor = y
        for after in step.after:
            if column + 1 == COLUMNS or (cursor > y and cursor + after.height > TALLEST):
                self.left.append(after)
                continue
            self.lines.append(_line(step, after, x, y, cursor))
            lowest = self.place(after, column + 1, cursor)
            cursor = lowest + GAP
        return max(y + step.height, lowest)

    def drawing(self) -> Drawing:
        """The finished drawing, as large as its boxes need."""
        return Drawing(
            self.boxes,
            self.lines,
            frozenset(step.parent.id for step in self.left if step.parent),
            max(box.x for box in self.boxes) + WIDTH,
            max(box.y + box.step.height for box in self.boxes),
        )


def _line(step: Step, after: Step, x: int, y: int, down: int) -> Line:
    row = next(place for place, version in enumerate(step.versions) if after.parent and version.id == after.parent.id)
    return Line(
        after.first.edge,
        (x + WIDTH, y + HEAD + ROW * row + ROW // 2),
        (x + WIDTH + BETWEEN, down + HEAD // 2),
    )


def _side_by_side(alone: Iterable[Step]) -> list[Drawing]:
    """Place each box in the shortest column so far; begin a new drawing when none has room."""
    sheets, ends = list[_Sheet](), [TALLEST] * COLUMNS
    for step in alone:
        if min(ends) + step.height > TALLEST:
            sheets.append(_Sheet())
            ends = [0] * COLUMNS
        column = ends.index(min(ends))
        sheets[-1].boxes.append(Placed(step, column * (WIDTH + GAP), ends[column]))
        ends[column] += step.height + GAP
    return [sheet.drawing() for sheet in sheets]
