"""Pictures of things close by: flowers, a cup, a jug with fruit."""

import math

import numpy as np

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.figure import Figure, lit
from adapters.sketch.shapes import Point, blob, curve, disc, path, placed, ribbon, smooth
from tools.media.colours import Rgb


def paint_backdrop(c: Canvas, plan: Plan) -> None:
    """A wall with light falling across it."""
    palette = plan.palette
    along = 0.35 + 0.5 * (c.y / c.high) + 0.35 * ((c.x - plan.lamp[0]) / c.wide) ** 2 + 0.22 * c.noise(1.4, 1.4, 4)
    c.rgb[:] = c.pigment(c.ramp([palette["sky2"], palette["sky1"], palette["sky0"]], along), 1.5)
    c.glow(plan.lamp[0], c.high * 0.3, 0.55, palette["light"], 0.4)


def paint_flowers(c: Canvas, plan: Plan) -> None:
    """A bunch of blooms with leaves, or one alone."""
    paint_backdrop(c, plan)
    lone = plan.says("minimal", "emptiness", "close")
    middle = c.wide / 2 + (plan.focus[0] - c.wide / 2) * (0.9 if lone else 0.35)
    size = 0.2 * plan.scale * (1.25 if plan.says("close") else 1.0)
    heads = [(middle, c.high * c.rng.uniform(0.38, 0.46), size)]
    count = 0 if lone else c.rng.randint(4, 6)
    for i in range(count):
        a = math.pi * (0.12 + 0.76 * (i + 0.5) / count) + c.rng.uniform(-0.12, 0.12)
        reach = c.rng.uniform(0.24, 0.36) * plan.scale
        x, y = middle + reach * math.cos(a) * 1.15, c.high * 0.47 - reach * math.sin(a) + 0.1
        heads.append((x, y, size * c.rng.uniform(0.55, 0.85)))
    root = (middle + c.rng.uniform(-0.1, 0.1), c.high + 0.1)
    for head in heads:
        _paint_stem(c, plan, head, root)
    tint = plan.palette.of("flower", "accent")
    for x, y, across in heads[1:] + heads[:1]:
        _paint_bloom(c, plan, x, y, across, lighter(tint, c.rng.uniform(-0.05, 0.05)))


_LEAF = curve("0 0  .3 -.16  .7 -.14  1 .05  .65 .12  .28 .10")


def _paint_stem(c: Canvas, plan: Plan, head: tuple[float, float, float], root: Point) -> None:
    x, y, size = head
    green = mixed(plan.palette["near"], (84, 124, 78), 0.45)
    bend = ((x + root[0]) / 2 + c.rng.uniform(-0.04, 0.04), (y + root[1]) / 2)
    stem = smooth([(x, y), bend, root], steps=9)
    c.fill([ribbon(stem, 0.010, 0.016)], lit(green))
    for px, py in stem[5:16:5]:
        flip, turn = c.rng.random() < 0.5, c.rng.uniform(-0.7, 0.15)
        leaf = placed(_LEAF, px, py, size * c.rng.uniform(0.7, 1.15), flip, turn)
        c.fill([leaf], lit(green, 0.08), 0.94, wet=0.2)


def _paint_bloom(c: Canvas, plan: Plan, x: float, y: float, size: float, tint: Rgb) -> None:
    """Rings of petals, each a stroke from the heart outwards."""
    rings = c.rng.choice(((1.0, 0.66), (1.0, 0.72, 0.44), (1.0,)))
    petals, squash, start = c.rng.randint(7, 12), c.rng.uniform(0.78, 0.98), c.rng.uniform(0, 6)
    w = 0.34 * 9 / petals
    knots = path(f".05 0  .4 {-w * 0.8}  .82 {-w}  1 {-w / 4}  .97 {w * 0.3}  .8 {w}  .4 {w * 0.8}")
    petal = smooth(knots, closed=True, steps=4)
    for ring, share in enumerate(rings):
        shade = lighter(tint, 0.05 * ring - 0.02)
        for i in range(petals):
            a = start + ring * 0.3 + math.tau * i / petals + c.rng.uniform(-0.07, 0.07)
            r, lift = size * share * c.rng.uniform(0.88, 1.08), 0.07 * math.cos(a + 2.2)
            shape, vein = (placed(part, 0, 0, r, turn=a) for part in (petal, _VEIN))
            c.fill(
                [[(x + px, y + py * squash) for px, py in shape]], lit(shade, lift + 0.05, lift - 0.07), 0.96, wet=0.3
            )
            c.fill([[(x + px, y + py * squash) for px, py in vein]], lighter(shade, lift - 0.12), 0.4)
    heart = mixed(plan.palette["light"], (214, 150, 48), 0.7)
    c.fill([disc(x, y, size * 0.17, size * 0.16 * squash)], lit(heart, 0.06, -0.16))
    spots = ((c.rng.uniform(0, math.tau), size * 0.14 * c.rng.random() ** 0.5) for _ in range(30))
    seeds = [disc(x + r * math.cos(t), y + r * math.sin(t), 0.004, steps=6) for t, r in spots]
    c.fill(seeds, lighter(heart, -0.25), 0.8)


_VEIN = ribbon(path(".15 0  .5 0  .8 0"), 0.03, 0.005)


def paint_table(c: Canvas, plan: Plan) -> float:
    """A wall, a tall window's light on it, and a table; gives the height of the table's edge."""
    paint_backdrop(c, plan)
    lean = 0.032 if plan.flip else -0.032
    x0 = c.wide * (0.08 if plan.lamp[0] < c.wide / 2 else 0.56)
    pane = [(0.0, 0.0), (0.145, -0.02), (0.145 + lean, 0.125), (lean, 0.145)]
    panes = [placed(pane, x0 + 0.17 * i + lean * j, c.high * 0.06 + 0.16 * j, 1) for i in range(2) for j in range(3)]
    c.fill(panes, mixed(plan.palette["light"], plan.palette["sky2"], 0.2), 0.5, soft=0.010)
    edge = c.high * c.rng.uniform(0.62, 0.7)
    wood = mixed(plan.palette["near"], (158, 104, 66), 0.4 if plan.wording.colours else 0.75)
    line = np.full(c.width, edge, np.float32) + plan.tilt * (c.x[0] - c.wide / 2)
    grain = 0.5 + 0.2 * c.noise(1.2, 46) + 0.14 * c.blotch - 0.4 * (c.y - edge)
    c.wash(c.below(line), c.pigment(c.ramp([lighter(wood, -0.12), wood, lighter(wood, 0.1)], grain), 1.2))
    c.wash(c.below(line) - c.below(line + 0.008), lighter(wood, 0.18), 0.8)
    return edge


_BOWL = smooth(path("-.44 -.64  -.43 -.40  -.34 -.12  -.20 0  .20 0  .34 -.12  .43 -.40  .44 -.64"), steps=6)
_HANDLE = ribbon(smooth(path(".36 -.50  .62 -.52  .66 -.30  .50 -.16  .32 -.14"), steps=8), 0.09, 0.07)
_GLEAM = curve("-.36 -.56  -.34 -.34  -.26 -.16  -.22 -.18  -.28 -.36  -.29 -.56")


def paint_cup(c: Canvas, plan: Plan) -> None:
    """A steaming cup on its saucer by the window."""
    edge = paint_table(c, plan)
    x, palette = plan.focus[0], plan.palette
    away = 1 if plan.lamp[0] < x else -1
    cup = Figure(c, x, min(edge + 0.16, c.high - 0.08), 0.36 * min(plan.scale, 1.4), flip=away < 0)
    glaze = palette.of("cup", "accent")
    white = mixed(palette["paper"], glaze, 0.12)
    c.light = (-0.9 * away, -0.25)
    cup.part(palette["dark"], disc(0.35, 0.05, 0.85, 0.13), opacity=0.45, soft=0.018)
    cup.part(lit(white, 0, -0.14), disc(0, 0, 0.72, 0.15), wet=0.2)
    cup.part(lighter(white, -0.12), disc(0, -0.015, 0.46, 0.085), opacity=0.8)
    cup.part(lit(glaze, 0, -0.14), _HANDLE, wet=0.15)
    cup.part(lit(glaze, 0.09, -0.16), _BOWL, wet=0.2)
    cup.part((255, 255, 255), _GLEAM, opacity=0.28, soft=0.008)
    cup.part(lit(glaze, 0.14, 0.02), disc(0, -0.64, 0.44, 0.115))
    cup.part(((108, 66, 38), (64, 36, 22)), disc(0, -0.625, 0.395, 0.092))
    cup.part((190, 140, 96), disc(-0.1, -0.64, 0.16, 0.025), opacity=0.55, soft=0.004)
    for sx in (-0.16, 0.0, 0.16):
        wisp = smooth([(sx + c.rng.gauss(0, 0.1) * t, -0.7 - 0.26 * t) for t in range(6)], steps=6)
        cup.part((255, 250, 240), ribbon(wisp, 0.075, 0.015), opacity=0.5, soft=0.010)


_JUG = smooth(
    path("-.13 -.86  -.10 -.66  -.24 -.42  -.26 -.18  -.16 0  .16 0  .26 -.18  .24 -.42  .10 -.66  .14 -.84"), steps=6
)
_JUG_HANDLE = ribbon(smooth(path(".12 -.72  .36 -.68  .38 -.44  .22 -.34"), steps=7), 0.05, 0.05)


def paint_fruit(c: Canvas, plan: Plan) -> None:
    """A jug and fruit on a table."""
    edge = paint_table(c, plan)
    away = 1 if plan.lamp[0] < plan.focus[0] else -1
    size = 0.5 * min(plan.scale, 1.25)
    jug = Figure(c, plan.focus[0] + away * 0.12, min(edge + 0.13, c.high - 0.1), size, flip=away < 0)
    clay = mixed(plan.palette["paper"], plan.palette["sky0"], 0.45)
    jug.part(plan.palette["dark"], disc(0.3, 0.02, 0.42, 0.07), opacity=0.45, soft=0.016)
    jug.part(lit(clay, 0, -0.15), _JUG_HANDLE)
    jug.part(lit(clay, 0.08, -0.18), _JUG, wet=0.2)
    jug.part(lighter(clay, -0.3), disc(0, -0.85, 0.135, 0.03))
    fruit = plan.palette.of("fruit", "accent")
    tints = fruit, mixed(fruit, (226, 178, 60), 0.55), mixed(fruit, (150, 170, 74), 0.6), lighter(fruit, -0.08)
    for tint, (dx, dy) in zip(tints, ((-0.52, 0.05), (-0.28, 0.1), (0.06, 0.12), (-0.7, 0.12)), strict=True):
        x, y = jug.at([(dx, dy)])[0]
        apple = Figure(c, x, y, size * c.rng.uniform(0.135, 0.17), flip=away < 0)
        apple.part(plan.palette["dark"], disc(0.6, 0.05, 1.1, 0.28), opacity=0.42, soft=0.010)
        apple.part(lit(tint, 0.08, -0.18), blob(0, -0.8, 1, 0.95, c.rng, 0.04, 9), wet=0.25)
        apple.part((255, 252, 240), disc(-0.35, -1.15, 0.22, 0.16), opacity=0.5, soft=0.007)
        apple.part((70, 50, 34), ribbon([(0, -1.65), (0.1, -1.95)], 0.1, 0.05))
