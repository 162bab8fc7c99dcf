"""Pictures of one thing close by: flowers, cups, fruit, portraits. And pictures of nothing: abstracts, space."""

import math

import numpy as np

from adapters.studio.canvas import Canvas, lighter, mixed
from adapters.studio.plan import Plan
from adapters.studio.shapes import Outline, Point, blob, disc, placed, rect, ribbon, smooth
from tools.colours import Rgb


def paint_backdrop(c: Canvas, plan: Plan) -> None:
    """A wall with light falling across it."""
    palette = plan.palette
    along = 0.35 + 0.5 * (c.y / c.high) + 0.35 * ((c.x - plan.lamp[0]) / c.wide) ** 2 + 0.22 * c.noise(1.4, 1.4, 4)
    c.rgb[:] = c.pigment(c.ramp([palette["sky2"], palette["sky1"], palette["sky0"]], along), 1.5)
    c.glow(plan.lamp[0], c.high * 0.3, 0.55, palette["light"], 0.4)


def paint_flowers(c: Canvas, plan: Plan) -> None:
    """A bunch of blooms with leaves, each petal a stroke from its heart outwards."""
    paint_backdrop(c, plan)
    big = 0.2 * plan.scale * (1.25 if plan.says("close") else 1.0)
    tint, green = plan.palette.of("flower", "accent"), mixed(plan.palette["near"], (84, 124, 78), 0.45)
    lone = plan.says("minimal", "emptiness", "close")
    count = 1 if lone else c.rng.randint(5, 7)
    middle = c.wide / 2 + (plan.focus[0] - c.wide / 2) * (0.9 if lone else 0.35)
    root = (middle + c.rng.uniform(-0.1, 0.1), c.high + 0.1)
    heads = [(middle, c.high * c.rng.uniform(0.38, 0.46), big)]
    for i in range(count - 1):
        a = math.pi * (0.12 + 0.76 * (i + 0.5) / max(count - 1, 1)) + c.rng.uniform(-0.12, 0.12)
        reach = c.rng.uniform(0.24, 0.36) * plan.scale
        heads.append((middle + reach * math.cos(a) * 1.15, c.high * 0.47 - reach * math.sin(a) + 0.1, big * c.rng.uniform(0.55, 0.85)))
    for x, y, size in heads:
        bend = ((x + root[0]) / 2 + c.rng.uniform(-0.04, 0.04), (y + root[1]) / 2)
        stem = smooth([(x, y), bend, root], steps=9)
        c.fill([ribbon(stem, 0.010, 0.016)], (lighter(green, 0.05), lighter(green, -0.1)))
        for px, py in stem[5:16:5]:
            side = c.rng.choice((-1, 1))
            leaf = smooth([(0, 0), (0.3, -0.16), (0.7, -0.14), (1, 0.05), (0.65, 0.12), (0.28, 0.10)], closed=True)
            c.fill([placed(leaf, px, py, size * c.rng.uniform(0.7, 1.15), flip=side < 0, turn=c.rng.uniform(-0.7, 0.15))], (lighter(green, 0.08), lighter(green, -0.1)), 0.94, wet=0.2)
    for x, y, size in heads[1:] + heads[:1]:
        _bloom(c, plan, x, y, size, lighter(tint, c.rng.uniform(-0.05, 0.05)))


def _bloom(c: Canvas, plan: Plan, x: float, y: float, size: float, tint: Rgb) -> None:
    rings = c.rng.choice(((1.0, 0.66), (1.0, 0.72, 0.44), (1.0,)))
    petals, squash = c.rng.randint(7, 12), c.rng.uniform(0.78, 0.98)
    start = c.rng.uniform(0, 6)
    for ring, share in enumerate(rings):
        shade = lighter(tint, 0.05 * ring - 0.02)
        for i in range(petals):
            a = start + ring * 0.3 + math.tau * i / petals + c.rng.uniform(-0.07, 0.07)
            r, w = size * share * c.rng.uniform(0.88, 1.08), 0.34 * 9 / petals
            petal = smooth([(0.05, 0), (0.4, -w * 0.8), (0.82, -w), (1.0, -w * 0.25), (0.97, w * 0.3), (0.8, w), (0.4, w * 0.8)], closed=True, steps=4)
            shape = [(x + px, y + py * squash) for px, py in placed(petal, 0, 0, r, turn=a)]
            lift = 0.07 * math.cos(a + 2.2)
            c.fill([shape], (lighter(shade, lift + 0.05), lighter(shade, lift - 0.07)), 0.96, wet=0.3)
            vein = [(x + r * t * math.cos(a), y + r * t * math.sin(a) * squash) for t in (0.15, 0.5, 0.8)]
            c.fill([ribbon(vein, 0.006, 0.001)], lighter(shade, lift - 0.12), 0.4)
    heart = mixed(plan.palette["light"], (214, 150, 48), 0.7)
    c.fill([disc(x, y, size * 0.17, size * 0.16 * squash)], (lighter(heart, 0.06), lighter(heart, -0.16)))
    seeds = [disc(x + size * 0.15 * r * math.cos(t), y + size * 0.13 * r * math.sin(t), 0.004, steps=6) for t, r in ((c.rng.uniform(0, 6.3), c.rng.random() ** 0.5) for _ in range(30))]
    c.fill(seeds, lighter(heart, -0.25), 0.8)


def paint_table(c: Canvas, plan: Plan) -> float:
    """A wall, a tall window's light on it, and a table; gives the height of the table's edge."""
    paint_backdrop(c, plan)
    lean = 0.16 if plan.flip else -0.16
    x0 = c.wide * (0.08 if plan.lamp[0] < c.wide / 2 else 0.56)
    panes = []
    for i in range(2):
        for j in range(3):
            px, py = x0 + 0.17 * i + lean * 0.2 * j, c.high * 0.06 + 0.16 * j
            panes.append([(px, py), (px + 0.145, py - 0.02), (px + 0.145 + lean * 0.2, py + 0.125), (px + lean * 0.2, py + 0.145)])
    c.fill(panes, mixed(plan.palette["light"], plan.palette["sky2"], 0.2), 0.5, soft=0.010)
    edge = c.high * c.rng.uniform(0.62, 0.7)
    wood = mixed(plan.palette["near"], (158, 104, 66), 0.4 if plan.wording.colours else 0.75)
    line = np.full(c.width, edge, np.float32) + np.float32(plan.tilt) * (c.x[0] - np.float32(c.wide / 2))
    grain = 0.5 + 0.2 * c.noise(1.2, 46) + 0.14 * c.blotch - 0.4 * (c.y - np.float32(edge))
    c.wash(c.below(line), c.pigment(c.ramp([lighter(wood, -0.12), wood, lighter(wood, 0.1)], grain), 1.2))
    c.wash(c.below(line) - c.below(line + np.float32(0.008)), lighter(wood, 0.18), 0.8)
    return edge


def paint_cup(c: Canvas, plan: Plan) -> None:
    """A steaming cup on its saucer by the window."""
    edge = paint_table(c, plan)
    x, y = plan.focus[0], min(edge + 0.16, c.high - 0.08)
    s = 0.36 * min(plan.scale, 1.4)
    glaze = plan.palette.of("cup", "accent")
    white = mixed(plan.palette["paper"], glaze, 0.12)
    away = 1 if plan.lamp[0] < x else -1

    def at(points: Outline) -> Outline:
        return placed(points, x, y, s, flip=away < 0)

    c.fill([disc(x + away * s * 0.35, y + s * 0.05, s * 0.85, s * 0.13)], plan.palette["dark"], 0.45, soft=0.018)
    c.fill([disc(x, y, s * 0.72, s * 0.15)], (white, lighter(white, -0.14)), wet=0.2)
    c.fill([disc(x, y - s * 0.015, s * 0.46, s * 0.085)], lighter(white, -0.12), 0.8)
    handle = smooth([(0.36, -0.50), (0.62, -0.52), (0.66, -0.30), (0.50, -0.16), (0.32, -0.14)], steps=8)
    c.fill([at(ribbon(handle, 0.09, 0.07))], (glaze, lighter(glaze, -0.14)), wet=0.15)
    body = smooth([(-0.44, -0.64), (-0.43, -0.40), (-0.34, -0.12), (-0.20, 0.0), (0.20, 0.0), (0.34, -0.12), (0.43, -0.40), (0.44, -0.64)], steps=6)
    c.light, kept = ((-0.9 * away, -0.2), c.light)
    c.fill([at(body)], (lighter(glaze, 0.09), lighter(glaze, -0.16)), wet=0.2)
    c.light = kept
    c.fill([at(smooth([(-0.36, -0.56), (-0.34, -0.34), (-0.26, -0.16), (-0.22, -0.18), (-0.28, -0.36), (-0.29, -0.56)], closed=True))], (255, 255, 255), 0.28, soft=0.008)
    c.fill([disc(x, y - s * 0.64, s * 0.44, s * 0.115)], (lighter(glaze, 0.14), lighter(glaze, 0.02)))
    c.fill([disc(x, y - s * 0.625, s * 0.395, s * 0.092)], ((108, 66, 38), (64, 36, 22)))
    c.fill([disc(x - away * s * 0.1, y - s * 0.64, s * 0.16, s * 0.025)], (190, 140, 96), 0.55, soft=0.004)
    for i in range(3):
        sx = x + s * (-0.16 + 0.16 * i)
        wisp = smooth([(sx + c.rng.gauss(0, 0.1) * s * t, y - s * (0.7 + 0.26 * t)) for t in range(6)], steps=6)
        c.fill([ribbon(wisp, s * 0.075, s * 0.015)], (255, 250, 240), 0.5, soft=0.010)


def paint_fruit(c: Canvas, plan: Plan) -> None:
    """A jug and fruit on a table."""
    edge = paint_table(c, plan)
    x, y, s = plan.focus[0], min(edge + 0.13, c.high - 0.1), 0.5 * min(plan.scale, 1.25)
    away = 1 if plan.lamp[0] < x else -1
    clay = mixed(plan.palette["paper"], plan.palette["sky0"], 0.45)
    jug = smooth([(-0.13, -0.86), (-0.10, -0.66), (-0.24, -0.42), (-0.26, -0.18), (-0.16, 0.0), (0.16, 0.0), (0.26, -0.18), (0.24, -0.42), (0.10, -0.66), (0.14, -0.84)], steps=6)
    jx = x + away * 0.12
    c.fill([disc(jx + away * s * 0.3, y + 0.01, s * 0.42, s * 0.07)], plan.palette["dark"], 0.45, soft=0.016)
    c.fill([placed(ribbon(smooth([(0.12, -0.72), (0.36, -0.68), (0.38, -0.44), (0.22, -0.34)], steps=7), 0.05, 0.05), jx, y, s, flip=away < 0)], (clay, lighter(clay, -0.15)))
    c.fill([placed(jug, jx, y, s, flip=away < 0)], (lighter(clay, 0.08), lighter(clay, -0.18)), wet=0.2)
    c.fill([disc(jx, y - s * 0.85, s * 0.135, s * 0.03)], lighter(clay, -0.3))
    fruit = plan.palette.of("fruit", "accent")
    tints = [fruit, mixed(fruit, (226, 178, 60), 0.55), mixed(fruit, (150, 170, 74), 0.6), lighter(fruit, -0.08)]
    for i, (dx, dy) in enumerate(((-0.44, 0.05), (-0.2, 0.1), (0.14, 0.12), (-0.62, 0.12))):
        r = s * c.rng.uniform(0.135, 0.17)
        fx, fy, tint = jx + away * s * dx - away * 0.04, y + s * dy, tints[i]
        c.fill([disc(fx + away * r * 0.6, fy + r * 0.05, r * 1.1, r * 0.28)], plan.palette["dark"], 0.42, soft=0.010)
        c.fill([blob(fx, fy - r * 0.8, r, r * 0.95, c.rng, 0.04, 9)], (lighter(tint, 0.08), lighter(tint, -0.18)), wet=0.25)
        c.fill([disc(fx - away * r * 0.35, fy - r * 1.15, r * 0.22, r * 0.16)], (255, 252, 240), 0.5, soft=0.007)
        c.fill([ribbon([(fx, fy - r * 1.65), (fx + 0.008, fy - r * 1.95)], 0.008, 0.004)], (70, 50, 34))


def paint_portrait(c: Canvas, plan: Plan) -> None:
    """A head and shoulders in planes of light and shade, eyes closed."""
    paint_backdrop(c, plan)
    for _ in range(3):
        halo = blob(plan.focus[0] + c.rng.uniform(-0.3, 0.3), c.high * c.rng.uniform(0.15, 0.6), c.rng.uniform(0.2, 0.42), c.rng.uniform(0.2, 0.4), c.rng, 0.2)
        c.fill([halo], c.rng.choice((plan.palette["accent"], plan.palette["far"], plan.palette["light"])), 0.3, soft=0.012, wet=0.5)
    x, y = c.wide / 2 + (plan.focus[0] - c.wide / 2) * c.rng.uniform(0.3, 0.75), c.high * c.rng.uniform(0.4, 0.5)
    s = 0.5 * min(plan.scale, 1.2) * c.rng.uniform(0.86, 1.12)
    skin = mixed(c.rng.choice(((236, 196, 168), (214, 160, 126), (168, 114, 84), (124, 80, 60), (242, 210, 190))), plan.palette["sky2"], 0.1)
    hair = mixed(plan.palette["dark"], c.rng.choice(((66, 40, 28), (30, 26, 28), (138, 78, 38), (84, 72, 70))), 0.55)
    hair = plan.palette.bound.get("hair", hair)
    sitter = _Sitter(c, plan, x, y, s, skin, hair, 1 if plan.lamp[0] < c.wide / 2 else -1)
    style = c.rng.choice((_cropped, _bearded) if "man" in plan.wording.subject else (_long_hair, _bob, _bun))
    style(sitter, True)
    _shoulders(sitter, plan.palette.of("clothes", "accent"))
    _face(sitter)
    style(sitter, False)


class _Sitter:
    """Who is painted: the canvas, the place, and colours of skin and hair; `at` puts a shape on the head."""

    def __init__(self, c: Canvas, plan: Plan, x: float, y: float, s: float, skin: Rgb, hair: Rgb, away: int) -> None:
        self.c, self.skin, self.hair = c, skin, hair
        self.shade = mixed(lighter(skin, -0.15), plan.palette["sky0"], 0.22)
        self._place = x, y, s, away < 0

    def at(self, *points: Point) -> Outline:
        x, y, s, flip = self._place
        return placed(points, x, y, s, flip)

    def curve(self, *knots: Point, closed: bool = True) -> Outline:
        return self.at(*smooth(knots, closed=closed))

    def line(self, width: float, *knots: Point) -> Outline:
        return self.at(*ribbon(smooth(knots), width * 1.2, width * 0.5))


def _shoulders(p: _Sitter, coat: Rgb) -> None:
    p.c.fill([p.curve((-0.15, 0.2), (-0.145, 0.55), (-0.3, 0.70), (0.0, 0.92), (0.3, 0.70), (0.145, 0.55), (0.15, 0.2))], (mixed(p.skin, p.shade, 0.35), p.shade))
    p.c.fill([p.curve((-0.15, 0.36), (0.0, 0.50), (0.15, 0.36), (0.15, 0.30), (-0.15, 0.30))], p.shade, 0.7, soft=0.01)
    shape = p.curve((-0.17, 0.62), (-0.50, 0.76), (-0.78, 0.95), (-0.92, 1.6), (0.92, 1.6), (0.78, 0.95), (0.50, 0.76), (0.17, 0.62), (0.0, 0.82))
    p.c.fill([shape], (lighter(coat, 0.06), lighter(coat, -0.16)), wet=0.2)
    p.c.fill([p.line(0.03, (-0.17, 0.63), (-0.10, 0.76), (0.0, 0.83), (0.10, 0.76), (0.17, 0.63))], lighter(coat, 0.12), 0.9)
    p.c.fill([p.line(0.012, (-0.46, 0.86), (-0.42, 1.1), (-0.44, 1.5)), p.line(0.012, (0.46, 0.86), (0.42, 1.1), (0.44, 1.5))], lighter(coat, -0.2), 0.6)


def _face(p: _Sitter) -> None:
    c, skin, shade = p.c, p.skin, p.shade
    dark = mixed(p.hair, shade, 0.12)
    c.fill([p.curve((0.26, -0.06), (0.335, -0.09), (0.335, 0.06), (0.25, 0.10))], shade)
    c.fill([p.curve((-0.26, -0.06), (-0.335, -0.09), (-0.335, 0.06), (-0.25, 0.10))], skin)
    outline = p.curve((-0.29, -0.22), (-0.30, 0.02), (-0.235, 0.25), (-0.09, 0.41), (0.07, 0.41), (0.22, 0.25), (0.29, 0.02), (0.28, -0.22), (0.0, -0.52))
    c.fill([outline], (lighter(skin, 0.03), lighter(skin, -0.015)), wet=0.12)
    c.fill([p.curve((0.06, -0.42), (0.12, -0.12), (0.17, 0.08), (0.11, 0.22), (0.02, 0.40), (0.07, 0.41), (0.22, 0.25), (0.29, 0.02), (0.28, -0.22))], shade, 0.62, soft=0.014)
    c.fill([p.curve((-0.23, 0.10), (-0.13, 0.06), (-0.09, 0.15), (-0.17, 0.20))], (214, 110, 96), 0.22, soft=0.016)
    c.fill([p.line(0.022, (-0.22, -0.115), (-0.135, -0.14), (-0.055, -0.125)), p.line(0.022, (0.055, -0.125), (0.135, -0.14), (0.22, -0.115))], dark, 0.9)
    for side in (-1, 1):
        c.fill([p.curve((0.135 * side - 0.07, -0.03), (0.135 * side, -0.075), (0.135 * side + 0.07, -0.03), (0.135 * side, -0.005))], mixed(skin, shade, 0.45), 0.8, soft=0.002)
        c.fill([p.line(0.014, (0.135 * side - 0.075, -0.028), (0.135 * side, 0.002), (0.135 * side + 0.075, -0.028))], dark)
    c.fill([p.curve((0.0, -0.08), (0.045, 0.04), (0.065, 0.13), (0.0, 0.155), (0.02, 0.03))], shade, 0.7, soft=0.004)
    lips = mixed((184, 72, 72), shade, 0.3)
    c.fill([p.curve((-0.095, 0.25), (-0.03, 0.225), (0.0, 0.235), (0.03, 0.225), (0.095, 0.25), (0.0, 0.262))], lighter(lips, -0.05))
    c.fill([p.curve((-0.085, 0.255), (0.0, 0.262), (0.085, 0.255), (0.0, 0.305))], lips)


def _fringe(p: _Sitter) -> None:
    cap = p.curve((-0.315, 0.02), (-0.36, -0.24), (-0.26, -0.52), (0.02, -0.64), (0.27, -0.54), (0.365, -0.26), (0.32, 0.04), (0.285, -0.14), (0.20, -0.30), (-0.04, -0.44), (-0.16, -0.34), (-0.26, -0.20))
    p.c.fill([cap], (lighter(p.hair, 0.10), lighter(p.hair, -0.02)), wet=0.12)
    sweep = [p.line(0.018, (-0.06 + d, -0.60 + d), (-0.22 + d * 1.4, -0.46 + d), (-0.31 + d * 0.8, -0.2 + d)) for d in (0.0, 0.05)]
    sweep += [p.line(0.018, (0.02 + d, -0.60 + d), (0.2 + d, -0.48 + d), (0.315 + d * 0.2, -0.2 + d)) for d in (0.0, 0.05)]
    p.c.fill(sweep, lighter(p.hair, 0.15), 0.4, soft=0.002)


def _long_hair(p: _Sitter, behind: bool) -> None:
    if behind:
        mane = p.curve((-0.33, -0.5), (-0.45, -0.1), (-0.50, 0.38), (-0.44, 0.80), (-0.20, 0.92), (0.2, 0.92), (0.46, 0.78), (0.50, 0.36), (0.45, -0.12), (0.33, -0.5), (0.0, -0.66))
        p.c.fill([mane], (lighter(p.hair, 0.05), lighter(p.hair, -0.06)))
        return
    _fringe(p)
    locks = [p.curve((-0.31, -0.1), (-0.41, 0.2), (-0.42, 0.62), (-0.30, 0.80), (-0.33, 0.4), (-0.29, 0.1)), p.curve((0.31, -0.1), (0.41, 0.2), (0.42, 0.62), (0.30, 0.80), (0.33, 0.4), (0.29, 0.1))]
    p.c.fill(locks, (lighter(p.hair, 0.08), lighter(p.hair, -0.02)), wet=0.1)


def _bob(p: _Sitter, behind: bool) -> None:
    if behind:
        p.c.fill([p.curve((-0.34, -0.5), (-0.45, -0.1), (-0.45, 0.30), (-0.26, 0.40), (0.26, 0.40), (0.45, 0.30), (0.45, -0.1), (0.34, -0.5), (0.0, -0.66))], lighter(p.hair, -0.03))
        return
    _fringe(p)
    sides = [p.curve((-0.32, -0.1), (-0.41, 0.1), (-0.42, 0.32), (-0.28, 0.36), (-0.30, 0.12)), p.curve((0.32, -0.1), (0.41, 0.1), (0.42, 0.32), (0.28, 0.36), (0.30, 0.12))]
    p.c.fill(sides, (lighter(p.hair, 0.08), lighter(p.hair, -0.02)), wet=0.1)


def _bun(p: _Sitter, behind: bool) -> None:
    if behind:
        p.c.fill([p.at(*disc(0.06, -0.70, 0.19, 0.16))], (lighter(p.hair, 0.09), lighter(p.hair, -0.05)), wet=0.15)
        return
    _fringe(p)


def _cropped(p: _Sitter, behind: bool) -> None:
    if behind:
        return
    cap = p.curve((-0.315, -0.02), (-0.345, -0.26), (-0.25, -0.52), (0.0, -0.62), (0.25, -0.53), (0.345, -0.26), (0.315, -0.02), (0.28, -0.2), (0.17, -0.36), (-0.02, -0.40), (-0.2, -0.33), (-0.28, -0.2))
    p.c.fill([cap], (lighter(p.hair, 0.12), lighter(p.hair, -0.02)), wet=0.12)


def _bearded(p: _Sitter, behind: bool) -> None:
    _cropped(p, behind)
    if behind:
        return
    beard = p.curve((-0.305, 0.0), (-0.30, 0.22), (-0.20, 0.46), (0.0, 0.56), (0.20, 0.46), (0.30, 0.22), (0.305, 0.0), (0.25, 0.12), (0.15, 0.19), (0.0, 0.185), (-0.15, 0.19), (-0.25, 0.12))
    p.c.fill([beard], (lighter(p.hair, 0.08), lighter(p.hair, -0.03)), 0.95, wet=0.1)
    p.c.fill([p.curve((-0.075, 0.262), (0.0, 0.25), (0.075, 0.262), (0.0, 0.295))], mixed((176, 82, 76), p.shade, 0.4))


def paint_planet(c: Canvas, plan: Plan) -> None:
    """A ringed planet and its moons."""
    x, y = plan.focus[0], c.high * c.rng.uniform(0.42, 0.58)
    r, turn = c.rng.uniform(0.2, 0.27) * min(plan.scale, 1.4), (0.35 if plan.flip else -0.35)
    body, band = plan.palette["accent"], plan.palette["far"]
    ring = mixed(plan.palette["paper"], body, 0.3)
    orbits = [(1.9, 0.020), (1.72, 0.03), (1.5, 0.016)]
    for front in (False, True):
        if front:
            c.glow(x, y, r * 1.5, body, 0.35)
            c.fill([disc(x, y, r, steps=64)], (lighter(body, 0.04), lighter(body, -0.52)))
            _bands(c, x, y, r, turn, body, band)
        a0, a1 = (0, math.pi) if front else (math.pi, math.tau)
        for share, width in orbits:
            arc = [(x + r * share * math.cos(a) * math.cos(turn) - r * share * 0.26 * math.sin(a) * math.sin(turn), y + r * share * math.cos(a) * math.sin(turn) + r * share * 0.26 * math.sin(a) * math.cos(turn)) for a in np.linspace(a0, a1, 40)]
            c.fill([ribbon(arc, width * r * 4, width * r * 4)], ring, 0.75)
    for _ in range(2):
        mx, my, mr = c.rng.uniform(0.1, 0.9) * c.wide, c.rng.uniform(0.08, 0.92) * c.high, c.rng.uniform(0.02, 0.05)
        if math.hypot(mx - x, my - y) > r * 2.1:
            c.fill([disc(mx, my, mr)], (plan.palette["light"], mixed(plan.palette["light"], plan.palette["dark"], 0.7)))


def _bands(c: Canvas, x: float, y: float, r: float, turn: float, body: Rgb, band: Rgb) -> None:
    inside = np.clip((np.float32(r) - np.hypot(c.x - np.float32(x), c.y - np.float32(y))) * c.unit, 0, 1)
    across = (c.y - np.float32(y)) * np.float32(math.cos(turn)) - (c.x - np.float32(x)) * np.float32(math.sin(turn))
    waves = np.clip(0.5 * np.sin(across * np.float32(30 / r / 4) + 1.8 * c.noise(2.5, 4, 3)) + 0.2, 0, 1)
    c.wash(inside * waves, mixed(body, band, 0.6), 0.5)


def paint_abstract(c: Canvas, plan: Plan) -> None:
    """Large cut forms in a few colours, balanced around an empty place."""
    palette = plan.palette
    ground = c.rng.choice((palette["paper"], palette["sky2"], mixed(palette["sky1"], palette["paper"], 0.35)))
    along = 0.5 + 0.3 * c.noise(1.2, 1.2, 3)
    c.rgb[:] = c.pigment(c.ramp([lighter(ground, -0.05), ground], along), 1.6)
    tints = [palette[role] for role in ("sky1", "near", "accent", "mid", "dark", "sky0", "light", "water0")]
    order = tints[:3] + c.rng.sample(tints[3:], 5)
    family = c.rng.choice((_arches, _stones, _orbits, _strata))
    family(c, plan, order)


def _stones(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Rounded forms laid over each other, some cut by a line."""
    spots = [(0.32, 0.36, 0.34), (0.70, 0.58, 0.36), (0.30, 0.80, 0.24), (0.72, 0.20, 0.19), (0.52, 0.5, 0.13)]
    for i, (px, py, r) in enumerate(spots if not plan.says("minimal", "emptiness") else spots[:2]):
        x = (1 - px if plan.flip else px) * c.wide + c.rng.gauss(0, 0.06)
        shape = blob(x, py * c.high + c.rng.gauss(0, 0.06), r * c.rng.uniform(0.8, 1.15) * plan.scale, r * c.rng.uniform(0.75, 1.1) * plan.scale, c.rng, 0.17, 8)
        tint = tints[i % len(tints)]
        c.fill([shape], (lighter(tint, 0.05), lighter(tint, -0.06)), 0.94, wet=0.25)
    _lines(c, plan, tints)


def _arches(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Nested arches and a disc above them."""
    x = plan.focus[0]
    c.fill([disc(c.wide - x, c.high * 0.24, 0.15 * plan.scale)], (lighter(tints[2], 0.04), lighter(tints[2], -0.06)), wet=0.2)
    outer = c.rng.uniform(0.36, 0.46) * plan.scale
    for i in range(4):
        r, w = outer * (1 - 0.23 * i), 0
        top = c.high * 0.46 + outer * 0.18 * i
        arch = [(x + r * math.cos(a), top - r * math.sin(a)) for a in np.linspace(0, math.pi, 30)]
        tint = tints[i + 1 if i < 2 else i + 2]
        c.fill([[*arch, (x - r, c.high + 0.1 + w), (x + r, c.high + 0.1)]], (lighter(tint, 0.05), lighter(tint, -0.05)), wet=0.2)
    hill = smooth([(-0.1, c.high * 0.86), (c.wide * 0.3, c.high * 0.78), (c.wide * 0.7, c.high * 0.9), (c.wide + 0.1, c.high * 0.8)], steps=8)
    c.fill([[*hill, (c.wide + 0.1, c.high + 0.1), (-0.1, c.high + 0.1)]], (tints[0], lighter(tints[0], -0.08)), wet=0.2)


def _orbits(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Discs, halves and bars along a slant."""
    x, y = plan.focus[0], c.high * 0.45
    big = c.rng.uniform(0.26, 0.34) * plan.scale
    c.fill([rect(-0.05, c.high * 0.62, c.wide + 0.1, c.high * 0.14)], (tints[1], lighter(tints[1], -0.05)), 0.95, wet=0.2)
    c.fill([disc(x, y, big)], (lighter(tints[0], 0.05), lighter(tints[0], -0.07)), wet=0.2)
    half = [(x + big * 0.98 * math.cos(a), y + big * 0.98 * math.sin(a)) for a in np.linspace(-0.9, 2.24, 30)]
    c.fill([half], tints[4], 0.9, wet=0.15)
    side = -1 if x > c.wide / 2 else 1
    for i, r in enumerate((0.13, 0.075, 0.045)):
        a = 0.5 + 0.8 * i + c.rng.uniform(-0.2, 0.2)
        c.fill([disc(x + side * (big + 0.16 + 0.07 * i) * math.cos(a * 0.6), y - (big + 0.06) * math.sin(a) + 0.14, r * plan.scale)], tints[(i + 2) % len(tints)], wet=0.2)
    _lines(c, plan, tints)


def _strata(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Torn bands, one over another, under a disc."""
    c.fill([disc(plan.lamp[0], c.high * 0.26, 0.14 * plan.scale)], (lighter(tints[2], 0.05), lighter(tints[2], -0.05)), wet=0.25)
    slope = c.rng.uniform(-0.35, 0.35) or 0.2
    for i in range(6):
        base = c.high * (0.34 + 0.125 * i)
        line = np.float32(base) + np.float32(slope) * (c.x[0] - np.float32(c.wide / 2)) + np.float32(0.09) * c.noise(0.8, 0.01, 2)[0]
        tint = tints[(i * 3 + 1) % len(tints)]
        drop = np.clip((c.y - line[None, :]) / np.float32(0.22), 0, 1)
        c.wash(c.below(line - np.float32(0.006)), lighter(plan.palette["paper"], 0), 0.7)
        c.wash(c.below(line), c.pigment(c.ramp([lighter(tint, 0.06), tint, lighter(tint, -0.06)], drop + 0.15 * c.blotch), 1.4))


def _lines(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    start = c.rng.uniform(0.1, 0.4) * c.wide
    for i in range(c.rng.randint(2, 4)):
        x = start + 0.045 * i
        knots = [(x + c.rng.uniform(-0.02, 0.02) + 0.3 * t * (1 if plan.flip else -0.2), c.high * (-0.02 + 0.27 * t)) for t in range(5)]
        c.fill([ribbon(smooth(knots, steps=8), 0.007, 0.004)], tints[4], 0.8)
