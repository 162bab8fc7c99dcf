"""Outlines in canvas units (the short side is 1): lists of points, ready to be filled."""

import math
import random
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
Outline = list[Point]


def path(text: str) -> Outline:
    """Points written "x y  x y …"."""
    numbers = [float(word) for word in text.split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def curve(text: str) -> Outline:
    """A closed curve through the points of `path`."""
    return smooth(path(text), closed=True)


def disc(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0, steps: int = 40) -> Outline:
    """An ellipse, turned by `turn` radians."""
    ry = rx if ry is None else ry
    cos, sin = math.cos(turn), math.sin(turn)
    around = [(rx * math.cos(a), ry * math.sin(a)) for a in (2 * math.pi * i / steps for i in range(steps))]
    return [(x + px * cos - py * sin, y + px * sin + py * cos) for px, py in around]


def rect(x: float, y: float, width: float, height: float) -> Outline:
    """A rectangle by its upper left corner."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def blob(x: float, y: float, rx: float, ry: float, rng: random.Random, rough: float = 0.18, lobes: int = 9) -> Outline:
    """A rounded irregular shape."""
    knots = [
        (x + rx * r * math.cos(a), y + ry * r * math.sin(a))
        for i in range(lobes)
        for a, r in [(2 * math.pi * (i + rng.uniform(-0.2, 0.2)) / lobes, 1 + rng.uniform(-rough, rough))]
    ]
    return smooth(knots, closed=True)


def smooth(knots: Sequence[Point], closed: bool = False, steps: int = 6) -> Outline:
    """A Catmull-Rom curve through the knots."""
    n = len(knots)
    out: Outline = []
    for i in range(n if closed else n - 1):
        p0, p1, p2, p3 = (knots[(i + k) % n] if closed else knots[min(max(i + k, 0), n - 1)] for k in (-1, 0, 1, 2))
        out += [
            (_spline(p0[0], p1[0], p2[0], p3[0], s / steps), _spline(p0[1], p1[1], p2[1], p3[1], s / steps))
            for s in range(steps)
        ]
    return out if closed else [*out, knots[-1]]


def ribbon(spine: Sequence[Point], start: float, end: float) -> Outline:
    """A stroke along the spine whose width runs from `start` to `end`."""
    left: Outline = []
    right: Outline = []
    last = len(spine) - 1
    for i, (x, y) in enumerate(spine):
        ax, ay = spine[max(i - 1, 0)]
        bx, by = spine[min(i + 1, last)]
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = -(by - ay) / length, (bx - ax) / length
        half = (start + (end - start) * i / max(last, 1)) / 2
        left.append((x + nx * half, y + ny * half))
        right.append((x - nx * half, y - ny * half))
    return left + right[::-1]


def lens(x: float, y: float, width: float, height: float) -> Outline:
    """A flat pointed dab, as a brush leaves it on water."""
    half = [(-0.5, 0.0), (-0.25, -0.42), (0.05, -0.5), (0.3, -0.3), (0.5, 0.0), (0.2, 0.4), (-0.1, 0.5), (-0.35, 0.25)]
    return [(x + px * width, y + py * height) for px, py in half]


def placed(points: Iterable[Point], x: float, y: float, scale: float, flip: bool = False, turn: float = 0.0) -> Outline:
    """A shape drawn around the origin, scaled, turned, mirrored if `flip`, and moved to (x, y)."""
    cos, sin, sign = math.cos(turn), math.sin(turn), -1 if flip else 1
    return [(x + sign * scale * (px * cos - py * sin), y + scale * (px * sin + py * cos)) for px, py in points]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
