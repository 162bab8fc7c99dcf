"""Bar charts as numbers that a template draws: lengths in percent of the width, so that text keeps its size on any."""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

ROW, FOOT = 48, 26
"""Pixels of height: one bar with the words above it, and the scale below all bars."""
NAME_SHOWN = 30
STEPS = (1, 2, 2.5, 5, 10)

Tone = Literal["solid", "hollow"]


class Part(msgspec.Struct, frozen=True):
    """A segment of a bar, in percent of the width."""

    x: float
    width: float
    tone: Tone


class Bar(msgspec.Struct, frozen=True):
    """`y` is where its row begins, in pixels; `reach` are the two ends of a whisker, in percent."""

    y: int
    name: str
    value: str
    parts: list[Part]
    reach: tuple[float, float] | None


class Tick(msgspec.Struct, frozen=True):
    """A mark on the scale, in percent of the width."""

    x: float
    label: str
    anchor: Literal["start", "middle", "end"]


class Chart(msgspec.Struct, frozen=True):
    """`reading` explains how to read it; `spoken` is its content as text for screen readers."""

    id: str
    title: str
    reading: str
    spoken: str
    bars: list[Bar]
    ticks: list[Tick]
    height: int
    legend: list[tuple[Tone, str]]


class Entry(msgspec.Struct, frozen=True):
    """The content of one bar: adjacent segments in the unit of the scale, and the ends of a whisker."""

    name: str
    value: str
    stretches: list[tuple[float, Tone]]
    reach: tuple[float, float] | None = None


def draw(
    id: str,
    title: str,
    reading: str,
    entries: Sequence[Entry],
    scale: Sequence[tuple[float, str]],
    legend: Sequence[tuple[Tone, str]] = (),
) -> Chart:
    """The chart on a scale that begins with zero and whose last tick is the full width."""
    full = scale[-1][0]
    anchors: dict[float, Literal["start", "middle", "end"]] = {full: "end", 0: "start"}
    return Chart(
        id=id,
        title=title,
        reading=reading,
        spoken=". ".join(f"{entry.name}: {entry.value}" for entry in entries) + ".",
        bars=[_bar(entry, row * ROW, full) for row, entry in enumerate(entries)],
        ticks=[Tick(_percent(at, full), label, anchors.get(at, "middle")) for at, label in scale],
        height=len(entries) * ROW + FOOT,
        legend=list(legend),
    )


def _bar(entry: Entry, y: int, full: float) -> Bar:
    parts, x = list[Part](), 0.0
    for length, tone in entry.stretches:
        if length > 0:
            parts.append(Part(_percent(x, full), _percent(length, full), tone))
        x += length
    reach = (_percent(entry.reach[0], full), _percent(entry.reach[1], full)) if entry.reach else None
    return Bar(y, shortened(entry.name), entry.value, parts, reach)


def _percent(length: float, full: float) -> float:
    return round(length / full * 100, 2)


def shortened(name: str) -> str:
    """The name with an ellipsis when it is too long for its bar."""
    return name if len(name) <= NAME_SHOWN else f"{name[: NAME_SHOWN - 1]}…"


def top(most: float) -> float:
    """The nearest round number at or above `most`, as the end of a scale; 1 when there is nothing to show."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in STEPS if step * power >= most * (1 - 1e-9))
