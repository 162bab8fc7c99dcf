"""Trees: one of its own, and those that stand in rows and groves."""

import math
from typing import NamedTuple

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.figure import lit
from adapters.sketch.shapes import Outline, Point, blob, disc, path, placed, ribbon, smooth
from tools.media.colours import Rgb


def paint_lone_tree(c: Canvas, plan: Plan) -> None:
    """The tree that is the main thing; a house brings its own."""
    if "house" not in plan.wording.subject:
        paint_tree(c, plan, plan.focus[0], plan.focus[1] + 0.1, min(0.54 * plan.scale, 0.72 * plan.focus[1]))


def paint_tree(c: Canvas, plan: Plan, x: float, y: float, tall: float) -> None:
    """A broad tree: branching wood, then its crown dabbed on from shade to light; bare in winter."""
    wood, towards = mixed(plan.palette["dark"], (84, 58, 42), 0.5), 1 if plan.lamp[0] > x else -1
    trunk = _Limb((x, y - tall * 0.02), -math.pi / 2 + c.rng.uniform(-0.07, 0.07), tall * 0.33, tall * 0.085)
    limbs, tips = _grown(c, trunk)
    c.fill([disc(x - 0.3 * towards * tall, y + 0.006, tall * 0.42, tall * 0.045)], plan.palette["dark"], 0.32, 0.014)
    c.fill([*limbs, placed(_ROOTS, x, y, tall * 0.043)], lit(wood, 0.08, -0.04))
    if plan.says("winter", "eerie") or "snow" in plan.wording.weather:
        return
    body = _crown_tint(plan)
    for share, lift, size in ((1.0, -0.10, 0.12), (1.0, -0.02, 0.085), (0.8, 0.06, 0.06), (0.55, 0.13, 0.04)):
        shift = math.copysign(0.02, -lift) * tall
        dabs = []
        for tx, ty in (tip for tip in tips * 2 if c.rng.random() < share):
            dx, dy, r = c.rng.gauss(0, 0.075) * tall, c.rng.gauss(0, 0.06) * tall, size * tall * c.rng.uniform(0.6, 1.2)
            dabs.append(blob(tx + dx - shift * towards, ty + dy + shift, r, r * 0.8, c.rng, 0.25, 7))
        c.fill(dabs, lighter(body, lift), 0.88)


_ROOTS = smooth(path("-2.4 .5  -.95 -1.2  -.8 -4  .8 -4  .95 -1.2  2.4 .5"))


class _Limb(NamedTuple):
    start: Point
    angle: float
    length: float
    width: float


def _grown(c: Canvas, limb: _Limb, left: int = 5) -> tuple[list[Outline], list[Point]]:
    """A limb with all that grows from it: outlines of the wood, and the points where leaves sit."""
    (x, y), angle, length, width = limb
    end = (x + math.cos(angle) * length, y + math.sin(angle) * length)
    bend = ((x + end[0]) / 2 + c.rng.gauss(0, length * 0.06), (y + end[1]) / 2)
    wood = [ribbon(smooth([(x, y), bend, end], steps=4), width, width * 0.62)]
    tips = [end] if left <= 2 else []
    if left == 0:
        return wood, tips
    for spread in (-0.42, 0.44) if c.rng.random() < 0.75 else (-0.6, 0.05, 0.6):
        turn = spread * c.rng.uniform(0.6, 1.3)
        bough = _Limb(end, angle + turn, length * c.rng.uniform(0.66, 0.82), width * 0.62)
        more_wood, more_tips = _grown(c, bough, left - 1)
        wood, tips = wood + more_wood, tips + more_tips
    return wood, tips


def _crown_tint(plan: Plan) -> Rgb:
    for part in ("leaves", "tree"):
        if part in plan.palette.bound:
            return plan.palette.bound[part]
    if plan.wording.colours and "tree" in plan.wording.subject:
        return plan.palette["accent"]
    hues: dict[str, Rgb] = {"autumn": (206, 104, 42), "spring": (238, 168, 186), "summer": (86, 142, 78)}
    season = next((s for s in plan.wording.season if s in hues), None)
    if season:
        return mixed(hues[season], plan.palette["near"], 0.45 if plan.palette.dark else 0.08)
    return mixed(plan.palette["near"], (92, 138, 84), 0.3)


def conifer(c: Canvas, x: float, base: float, tall: float) -> Outline:
    """The outline of a conifer that stands at (x, base)."""
    tiers, half = c.rng.randint(5, 8), tall * c.rng.uniform(0.15, 0.22)
    left: Outline = []
    right: Outline = []
    for i in range(tiers):
        y = base - tall * (1 - i / tiers)
        reach = half * ((i + 1) / tiers) * c.rng.uniform(0.85, 1.1)
        drop = tall / tiers
        left += [(x - reach * 0.35, y + drop * 0.25), (x - reach, y + drop * 1.02)]
        right += [(x + reach * 0.35, y + drop * 0.25), (x + reach, y + drop * 1.02)]
    return [(x, base - tall * 1.04), *right, *left[::-1]]


def paint_leafy(c: Canvas, plan: Plan, x: float, base: float, tall: float, body: Rgb) -> None:
    """A round-headed tree: trunk, crown in shade, lighter leaves towards the lamp."""
    tint, side = _leaf(c, plan, body), 1 if plan.lamp[0] > x else -1
    trunk = ribbon([(x, base + 0.01), (x + tall * 0.02, base - tall * 0.6)], tall * 0.06, tall * 0.03)
    c.fill([trunk], mixed(body, plan.palette["dark"], 0.6))
    for lift, count, size, reach in ((-0.07, 6, 0.19, 0.17), (0.02, 7, 0.12, 0.15), (0.10, 8, 0.065, 0.13)):
        puffs = []
        for _ in range(count):
            dx, dy = c.rng.uniform(-reach, reach) * 1.25, c.rng.uniform(-reach, reach)
            shift = max(0.0, lift) * 0.7
            r = size * tall * c.rng.uniform(0.75, 1.2)
            puffs.append(blob(x + tall * (dx + side * shift), base - tall * (0.72 - dy + shift), r, r * 0.85, c.rng))
        c.fill(puffs, lighter(tint, lift), 0.9)


def _leaf(c: Canvas, plan: Plan, body: Rgb) -> Rgb:
    """A colour for one tree's leaves: every tree its own, all of one season."""
    if "leaves" in plan.palette.bound or "forest" in plan.palette.bound:
        return mixed(body, plan.palette.of("leaves", "mid"), 0.6)
    hues: dict[str, tuple[Rgb, ...]] = {
        "autumn": ((196, 92, 36), (222, 150, 48), (168, 58, 40), (150, 104, 52)),
        "spring": ((160, 196, 104), (226, 168, 184), (132, 178, 98), (236, 206, 204)),
        "summer": ((74, 130, 70), (102, 148, 74), (58, 112, 78)),
    }
    if plan.wording.colours:
        return lighter(body, c.rng.uniform(-0.04, 0.06))
    season = next((s for s in plan.wording.season if s in hues), "summer")
    return mixed(body, c.rng.choice(hues[season]), 0.72)


def paint_grove(c: Canvas, plan: Plan, bare: bool) -> None:
    """Trees about an open middle, thicker towards the sides; `bare` keeps them on the far shore."""
    leafy = plan.says("autumn", "spring", "leaves")
    places = []
    for _ in range(int(64 * c.wide)):
        x, depth = c.rng.uniform(-0.03, c.wide + 0.03), c.rng.random() ** (3.0 if bare else 1.5)
        middle = min(abs(x - plan.focus[0]), abs(x - (plan.lamp[0] * 0.5 + c.wide * 0.25)))
        if middle > 0.10 + 0.30 * depth or depth < 0.12:
            places.append((plan.horizon + 0.02 + (c.high - plan.horizon) * (0.06 if bare else 0.8) * depth, x, depth))
    for y, x, depth in sorted(places):
        tall = (0.10 + 0.30 * depth) * c.rng.uniform(0.75, 1.2)
        air = mixed(plan.palette["mid"], plan.palette["sky2"], 0.3 * (1 - depth))
        body = mixed(air, plan.palette["dark"], 0.2 + 0.5 * depth)
        if leafy:
            paint_leafy(c, plan, x, y, tall, body)
        else:
            c.fill([conifer(c, x, y, tall * 1.15)], lit(body, 0.06, -0.05))


def paint_firs(c: Canvas, plan: Plan) -> None:
    """A dark edge of conifers in a lower corner, to stand behind."""
    side = 0.0 if plan.flip else c.wide
    firs = []
    for _ in range(15):
        x = side + abs(c.rng.gauss(0, 0.24)) * c.wide * (1 if plan.flip else -1)
        tall = (0.34 - 0.42 * abs(x - side) / c.wide) * c.rng.uniform(0.6, 1.1) + 0.05
        firs.append(conifer(c, x, c.high * c.rng.uniform(0.99, 1.04), tall))
    c.fill(firs, lit(mixed(plan.palette["dark"], plan.palette["near"], 0.3), 0.05, -0.03))
