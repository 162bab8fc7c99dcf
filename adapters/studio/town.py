"""What people build: skylines, villages, houses, lighthouses, bridges."""

import math

import numpy as np

from adapters.studio.canvas import Canvas, lighter, mixed
from adapters.studio.plan import Plan
from adapters.studio.shapes import Outline, blob, disc, placed, rect, ribbon, smooth
from tools.colours import Rgb


def paint_city(c: Canvas, plan: Plan, foot: float) -> None:
    """Three rows of towers; by night their windows are lit."""
    lit = plan.palette.dark or plan.hour in ("dusk", "sunset")
    for i in range(3):
        depth = i / 2
        body = mixed(mixed(plan.palette["far"], plan.palette["sky2"], 0.4 - 0.3 * depth), plan.palette["dark"], 0.15 + 0.62 * depth)
        _row_of_towers(c, plan, foot + 0.015 * i, (0.34, 0.27, 0.15)[i] * min(plan.scale, 1.3), body, depth, lit)
        veil = np.exp(-(((c.y - np.float32(foot)) / np.float32(0.07)) ** 2)) * np.clip(0.8 + 0.4 * c.blotch, 0, 1)
        c.wash(veil * np.float32(0.42 * (1 - depth)), plan.palette["sky2"])
    if lit:
        c.glow(plan.focus[0], foot, 0.4, plan.palette["accent"], 0.16)


def _row_of_towers(c: Canvas, plan: Plan, foot: float, tall: float, body: Rgb, depth: float, lit: bool) -> None:
    faces: list[Outline] = []
    sides: list[Outline] = []
    windows: list[Outline] = []
    x, light_right = -0.03, plan.lamp[0] > c.wide / 2
    while x < c.wide + 0.03:
        width = c.rng.uniform(0.035, 0.085) * (1 + 0.35 * depth)
        near_focus = math.exp(-(((x - plan.focus[0]) / 0.28) ** 2))
        height = tall * (c.rng.uniform(0.35, 0.75) + 0.5 * near_focus * c.rng.uniform(0.6, 1.1))
        top = foot - height
        faces.append(rect(x, top, width, height + 0.02))
        faces += _roof(c, x, top, width)
        shade = width * c.rng.uniform(0.25, 0.45)
        sides.append(rect(x if light_right else x + width - shade, top, shade, height + 0.02))
        windows += _windows(c, x, top, width, height, depth)
        x += width + (c.rng.uniform(0.0, 0.03) if c.rng.random() < 0.6 else -width * 0.2)
    c.fill([*faces, [(0, foot), (c.wide, foot), (c.wide, foot + 0.5), (0, foot + 0.5)]], (lighter(body, 0.045), lighter(body, -0.03)))
    c.fill(sides, lighter(body, -0.07), 0.55)
    tint = plan.palette["accent"] if lit else lighter(body, 0.12)
    if plan.says("neon"):
        c.fill(windows[::3], plan.palette["water0"], 0.9)
        c.fill(windows[::3], plan.palette["water0"], 0.6, soft=0.008)
        windows = [w for i, w in enumerate(windows) if i % 3]
        c.fill(windows[::2], tint, 0.7, soft=0.009)
    c.fill(windows, mixed(tint, plan.palette["light"], 0.35), (0.35 + 0.5 * depth) if lit else 0.4)


def _roof(c: Canvas, x: float, top: float, width: float) -> list[Outline]:
    kind = c.rng.random()
    if kind < 0.22:
        return [ribbon([(x + width / 2, top), (x + width / 2, top - c.rng.uniform(0.03, 0.09))], 0.006, 0.001)]
    if kind < 0.4:
        return [rect(x + width * 0.2, top - 0.02, width * 0.6, 0.025), rect(x + width * 0.36, top - 0.04, width * 0.28, 0.03)]
    if kind < 0.52:
        return [[(x, top), (x + width / 2, top - width * 0.7), (x + width, top)]]
    if kind < 0.62:
        return [disc(x + width / 2, top, width / 2, width * 0.35)]
    return []


def _windows(c: Canvas, x: float, top: float, width: float, height: float, depth: float) -> list[Outline]:
    step, size = 0.0135 + 0.003 * depth, 0.0052 + 0.0015 * depth
    columns = max(1, int((width - 0.012) / step))
    return [
        rect(x + 0.008 + i * step, top + 0.012 + j * step * 1.25, size, size * 1.35)
        for i in range(columns)
        for j in range(int(height / (step * 1.25)) - 1)
        if c.rng.random() < 0.42
    ]


def paint_village(c: Canvas, plan: Plan, foot: float) -> None:
    """A cluster of gabled houses around a steeple."""
    places = [(plan.focus[0] + c.rng.gauss(0, 0.17), foot + 0.12 * c.rng.random() ** 1.3) for _ in range(11)]
    spire = plan.focus[0] + c.rng.uniform(-0.06, 0.06)
    stone = mixed(plan.palette["paper"], plan.palette["far"], 0.25)
    c.fill([rect(spire - 0.017, foot - 0.13, 0.034, 0.16)], (stone, lighter(stone, -0.2)))
    roof = plan.palette.of("roof", "accent")
    c.fill([[(spire - 0.021, foot - 0.128), (spire, foot - 0.235), (spire + 0.021, foot - 0.128)]], (roof, lighter(roof, -0.18)))
    for x, y in sorted(places, key=lambda place: place[1]):
        size = (0.052 + 0.25 * (y - foot)) * c.rng.uniform(0.85, 1.15)
        _cottage(c, plan, x, y, size, lighter(mixed(roof, plan.palette["near"], c.rng.uniform(0, 0.45)), c.rng.uniform(-0.05, 0.05)))


def _cottage(c: Canvas, plan: Plan, x: float, y: float, size: float, roof: Rgb) -> None:
    wall = lighter(mixed(plan.palette["paper"], plan.palette["sky2"], c.rng.uniform(0.05, 0.35)), -0.02)
    if plan.palette.dark:
        wall = mixed(wall, plan.palette["far"], 0.6)
    c.fill([rect(x - size / 2, y - size * 0.55, size, size * 0.56)], (wall, lighter(wall, -0.16)))
    c.fill([[(x - size * 0.6, y - size * 0.52), (x - size * 0.4, y - size), (x + size * 0.4, y - size), (x + size * 0.6, y - size * 0.52)]], (lighter(roof, 0.04), lighter(roof, -0.1)))
    glass = plan.palette["light"] if plan.palette.dark else plan.palette["dark"]
    panes = [rect(x + dx * size, y - size * 0.4, size * 0.13, size * 0.17) for dx in (-0.32, 0.0, 0.24) if c.rng.random() < 0.8]
    c.fill(panes, glass, 0.9)


def paint_house(c: Canvas, plan: Plan) -> None:
    """A house with a lit door and windows, smoke from its chimney, a tree beside it, standing in its own light."""
    x, y = plan.focus
    s = 0.33 * min(plan.scale, 1.5)
    turn = -1 if plan.lamp[0] > c.wide / 2 else 1
    default = mixed(plan.palette["paper"], plan.palette["sky2"], 0.25)
    wall = plan.palette.bound["house"] if "house" in plan.palette.bound else default
    if plan.palette.dark:
        wall = mixed(wall, plan.palette["near"], 0.45)
    roof = plan.palette.of("roof", "accent")
    if "house" in plan.palette.bound and "roof" not in plan.palette.bound:
        roof = mixed(plan.palette["dark"], wall, 0.3)
    if plan.palette.dark:
        roof = mixed(roof, plan.palette["dark"], 0.5)

    def at(*points: tuple[float, float]) -> Outline:
        return placed(points, x, y, s, flip=turn < 0)

    paint_tree(c, plan, x - turn * s * 1.05, y - 0.01, s * 1.05)
    c.fill([disc(x, y + 0.01, s * 0.95, s * 0.08)], lighter(plan.palette["near"], -0.12), 0.6, soft=0.012)
    c.fill([at((0.34, -0.75), (0.46, -0.75), (0.46, -1.06), (0.34, -1.06))], lighter(roof, -0.12))
    _smoke(c, plan, at((0.4, -1.08))[0], s)
    c.fill([at((-0.1, 0), (0.75, -0.02), (0.75, -0.48), (-0.1, -0.5))], (lighter(wall, -0.02), lighter(wall, -0.14)))
    c.fill([at((-0.62, 0.02), (-0.1, 0.03), (-0.1, -0.5), (-0.36, -0.88), (-0.62, -0.5))], (lighter(wall, 0.06), wall), wet=0.2)
    c.fill([at((-0.36, -0.93), (0.52, -0.9), (0.83, -0.45), (-0.06, -0.47))], (lighter(roof, 0.05), lighter(roof, -0.07)), wet=0.25)
    c.fill([at((-0.36, -0.94), (-0.70, -0.46), (-0.64, -0.44), (-0.36, -0.84), (-0.08, -0.44), (-0.03, -0.47))], lighter(roof, -0.12))
    glowing = plan.palette.dark or plan.says("cosy", "dusk", "sunset", "snow", "rain", "storm", "eerie")
    glass = mixed(plan.palette["light"], (250, 168, 60), 0.85) if glowing else lighter(plan.palette["sky0"], -0.16)
    panes = [at((0.08 + d, -0.32), (0.22 + d, -0.32), (0.22 + d, -0.14), (0.08 + d, -0.14)) for d in (0, 0.24, 0.46)]
    loft = [at((-0.42, -0.62), (-0.3, -0.62), (-0.3, -0.48), (-0.42, -0.48))]
    frames = [placed_box(pane, 0.012) for pane in (*panes, *loft)]
    c.fill(frames, mixed(roof, plan.palette["dark"], 0.45))
    c.fill([*panes, *loft], glass)
    c.fill([at((-0.44, 0.02), (-0.27, 0.025), (-0.27, -0.32), (-0.44, -0.32))], mixed(roof, plan.palette["dark"], 0.5))
    bars = [bar for pane in panes for bar in _bars(pane)]
    c.fill(bars, mixed(roof, plan.palette["dark"], 0.45), 0.8)
    if plan.says("winter") or "snow" in plan.wording.weather:
        snow = mixed((250, 252, 255), (120, 150, 196), 0.3 if plan.palette.dark else 0.1)
        drifts = smooth([(0.76, -0.56), (0.60, -0.62), (0.42, -0.54), (0.22, -0.62), (0.05, -0.54), (-0.13, -0.58)])
        c.fill([at((-0.36, -0.95), (0.52, -0.92), *drifts)], (snow, lighter(snow, -0.06)), 0.97, wet=0.12)
        c.fill([at((0.32, -1.06), (0.48, -1.06), (0.48, -1.10), (0.32, -1.10))], snow)
    if plan.palette.dark:
        for pane in (*panes, *loft):
            c.glow(pane[0][0], pane[0][1], s * 0.22, (255, 186, 96), 0.35)


def placed_box(pane: Outline, margin: float) -> Outline:
    """The pane's bounding box with a margin around it."""
    xs, ys = [p[0] for p in pane], [p[1] for p in pane]
    return rect(min(xs) - margin / 2, min(ys) - margin / 2, max(xs) - min(xs) + margin, max(ys) - min(ys) + margin)


def _bars(pane: Outline) -> list[Outline]:
    xs, ys = [p[0] for p in pane], [p[1] for p in pane]
    mx, my = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    return [ribbon([(mx, min(ys)), (mx, max(ys))], 0.005, 0.005), ribbon([(min(xs), my), (max(xs), my)], 0.005, 0.005)]


def _smoke(c: Canvas, plan: Plan, start: tuple[float, float], s: float) -> None:
    x, y = start
    drift = 0.5 if plan.flip else -0.5
    for i in range(7):
        t = i / 6
        puff = blob(x + drift * s * t * t * 0.9, y - s * 0.8 * t, s * (0.05 + 0.10 * t), s * (0.04 + 0.07 * t), c.rng)
        c.fill([puff], mixed(plan.palette["sky2"], plan.palette["paper"], 0.6), 0.5 - 0.35 * t, soft=0.006 + 0.008 * t)


def paint_lone_tree(c: Canvas, plan: Plan) -> None:
    if "house" not in plan.wording.subject:
        paint_tree(c, plan, plan.focus[0], plan.focus[1] + 0.1, min(0.54 * plan.scale, 0.72 * plan.focus[1]))


def paint_tree(c: Canvas, plan: Plan, x: float, y: float, tall: float) -> None:
    """A broad tree: branching wood, then its crown dabbed on from shade to light; bare in winter."""
    wood = mixed(plan.palette["dark"], (84, 58, 42), 0.5)
    limbs: list[Outline] = []
    tips: list[tuple[float, float]] = []
    _branch(c, limbs, tips, x, y - tall * 0.02, -math.pi / 2 + c.rng.uniform(-0.07, 0.07), tall * 0.33, tall * 0.085, 5)
    w = tall * 0.043
    limbs.append(smooth([(x - w * 2.4, y + w * 0.5), (x - w * 0.95, y - w * 1.2), (x - w * 0.8, y - w * 4), (x + w * 0.8, y - w * 4), (x + w * 0.95, y - w * 1.2), (x + w * 2.4, y + w * 0.5)]))
    c.fill([disc(x + (0.3 if plan.lamp[0] < x else -0.3) * tall, y + 0.006, tall * 0.42, tall * 0.045)], plan.palette["dark"], 0.32, soft=0.014)
    c.fill(limbs, (lighter(wood, 0.08), lighter(wood, -0.04)))
    if plan.says("winter", "eerie") or "snow" in plan.wording.weather:
        return
    body = _crown_tint(plan)
    for share, lift, size, count in ((1.0, -0.10, 0.12, 2), (1.0, -0.02, 0.085, 2), (0.8, 0.06, 0.06, 2), (0.55, 0.13, 0.04, 2)):
        dabs = []
        for tx, ty in tips:
            for _ in range(count):
                if c.rng.random() < share:
                    dx, dy = c.rng.gauss(0, 0.075) * tall, c.rng.gauss(0, 0.06) * tall
                    shift = -0.02 * tall if lift > 0 else 0.02 * tall
                    r = size * tall * c.rng.uniform(0.6, 1.2)
                    dabs.append(blob(tx + dx + shift * (1 if plan.lamp[0] < x else -1), ty + dy + shift, r, r * 0.8, c.rng, 0.25, 7))
        c.fill(dabs, lighter(body, lift), 0.88)


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


def _branch(c: Canvas, limbs: list[Outline], tips: list[tuple[float, float]], x: float, y: float, angle: float, length: float, width: float, left: int) -> None:
    ex, ey = x + math.cos(angle) * length, y + math.sin(angle) * length
    bend = (x + ex) / 2 + c.rng.gauss(0, length * 0.06), (y + ey) / 2
    limbs.append(ribbon(smooth([(x, y), bend, (ex, ey)], steps=4), width, width * 0.62))
    if left == 0:
        tips.append((ex, ey))
        return
    if left <= 2:
        tips.append((ex, ey))
    for spread in (-0.42, 0.44) if c.rng.random() < 0.75 else (-0.6, 0.05, 0.6):
        turn = spread * c.rng.uniform(0.6, 1.3)
        _branch(c, limbs, tips, ex, ey, angle + turn, length * c.rng.uniform(0.66, 0.82), width * 0.62, left - 1)


def paint_lighthouse(c: Canvas, plan: Plan) -> None:
    """A banded tower on rocks, its lamp lit; by night with a beam."""
    x, foot = plan.focus[0], plan.horizon + 0.075
    s = min(0.52 * plan.scale, (foot - 0.07) / 1.05)
    band = plan.palette.of("lighthouse", "accent")
    white = mixed(plan.palette["paper"], plan.palette["far"], 0.14 if plan.palette.dark else 0.05)
    top = foot - s
    if plan.palette.dark or plan.hour in ("storm", "sunset", "grey"):
        reach = c.wide * (1 if plan.flip else -1)
        beam = [(x, top + 0.02 * s), (x + reach, top - 0.12), (x + reach, top + 0.13)]
        c.fill([beam], mixed(plan.palette["light"], (255, 236, 180), 0.5), 0.42, soft=0.012)
    c.fill([placed([(-0.075, 0), (-0.048, -0.86), (0.048, -0.86), (0.075, 0)], x, foot, s)], (white, lighter(white, -0.2)), wet=0.45)
    for a, b in ((0.08, 0.26), (0.44, 0.62)):
        wa, wb = 0.075 - 0.0314 * a, 0.075 - 0.0314 * b
        c.fill([placed([(-wa, -a), (-wb, -b), (wb, -b), (wa, -a)], x, foot, s)], (lighter(band, 0.04), lighter(band, -0.16)), wet=0.35)
    dark = mixed(plan.palette["dark"], band, 0.2)
    c.fill([placed([(-0.075, -0.86), (-0.075, -0.885), (0.075, -0.885), (0.075, -0.86)], x, foot, s)], dark)
    c.fill([placed([(-0.036, -0.885), (-0.036, -0.97), (0.036, -0.97), (0.036, -0.885)], x, foot, s)], mixed(plan.palette["light"], (255, 214, 120), 0.5))
    c.fill([placed([(-0.05, -0.97), (0, -1.05), (0.05, -0.97)], x, foot, s)], dark)
    c.glow(x, foot - 0.93 * s, 0.10, (255, 226, 150), 0.7 if plan.palette.dark else 0.3)
    rock = mixed(plan.palette["dark"], plan.palette["far"], 0.25)
    c.fill([blob(x, foot + 0.045, 0.2, 0.045, c.rng, 0.2, 11)], (lighter(rock, 0.08), lighter(rock, -0.06)))
    for _ in range(13):
        rx, size = x + c.rng.gauss(0, 0.1), c.rng.uniform(0.022, 0.06)
        c.fill([blob(rx, foot + 0.045 - 0.02 * c.rng.random(), size, size * 0.5, c.rng, 0.3, 6)], (lighter(rock, 0.22), lighter(rock, -0.04)), 0.9, wet=0.3)


def paint_bridge(c: Canvas, plan: Plan) -> None:
    """Stone arches across the picture."""
    level, thick = plan.horizon + 0.015, 0.045
    stone = plan.palette.of("bridge", "near")
    if "bridge" not in plan.palette.bound:
        stone = mixed((176, 152, 126), plan.palette["near"], 0.55 if plan.palette.dark else 0.2)
    count, piers = c.rng.choice((3, 4, 5)), []
    width = c.wide / count
    arch_top: list[Outline] = []
    for i in range(count):
        middle = (i + 0.5) * width
        arch_top.append(disc(middle, level + 0.2, width * 0.40, 0.17))
    c.fill([rect(-0.02, level - thick, c.wide + 0.04, thick + 0.03)], (lighter(stone, 0.05), lighter(stone, -0.08)))
    for i in range(count + 1):
        x = i * width
        side = [(x, level + 0.32)]
        left = [(x - width * 0.5 + width * 0.4 * math.cos(a), level + 0.2 - 0.17 * math.sin(a)) for a in np.linspace(0, math.pi / 2, 9)]
        right = [(x + width * 0.5 - width * 0.4 * math.cos(a), level + 0.2 - 0.17 * math.sin(a)) for a in np.linspace(math.pi / 2, 0, 9)]
        foot = [(x + width * 0.1, level + 0.33), (x - width * 0.1, level + 0.33)]
        piers.append([*left, (x - width * 0.5, level), (x + width * 0.5, level), *right, *foot] if side else foot)
    c.fill(piers, (lighter(stone, 0.03), lighter(stone, -0.12)), wet=0.15)
    c.fill([rect(-0.02, level - thick - 0.012, c.wide + 0.04, 0.014)], lighter(stone, 0.1))
