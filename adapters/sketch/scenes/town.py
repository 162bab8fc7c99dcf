"""What people build: skylines, villages, houses, lighthouses, bridges."""

import math

import numpy as np

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.figure import Figure, lit
from adapters.sketch.scenes.trees import paint_tree
from adapters.sketch.shapes import Outline, Point, blob, disc, path, rect, ribbon, smooth
from tools.media.colours import Rgb


def paint_city(c: Canvas, plan: Plan, foot: float) -> None:
    """Three rows of towers; by night their windows are lit."""
    palette = plan.palette
    glowing = palette.dark or plan.hour in ("dusk", "sunset")
    for depth, tall in ((0.0, 0.34), (0.5, 0.27), (1.0, 0.15)):
        air = mixed(palette["far"], palette["sky2"], 0.4 - 0.3 * depth)
        row = _Row(c, plan, foot + 0.03 * depth, tall * min(plan.scale, 1.3), depth)
        row.paint(mixed(air, palette["dark"], 0.15 + 0.62 * depth), glowing)
        veil = np.exp(-(((c.y - foot) / 0.07) ** 2)) * np.clip(0.8 + 0.4 * c.blotch, 0, 1)
        c.wash(veil * (0.42 * (1 - depth)), palette["sky2"])
    if glowing:
        c.glow(plan.focus[0], foot, 0.4, palette["accent"], 0.16)


class _Row:
    """One row of towers, tallest about the plan's focus; `depth` 0 is far, 1 near."""

    def __init__(self, c: Canvas, plan: Plan, foot: float, tall: float, depth: float) -> None:
        self.c, self.plan, self.foot, self.depth = c, plan, foot, depth
        self.faces: list[Outline] = [rect(0, foot, c.wide, 0.5)]
        self.sides: list[Outline] = []
        self.windows: list[Outline] = []
        x = -0.03
        while x < c.wide + 0.03:
            width = c.rng.uniform(0.035, 0.085) * (1 + 0.35 * depth)
            middle = math.exp(-(((x - plan.focus[0]) / 0.28) ** 2))
            self._build(x, width, tall * (c.rng.uniform(0.35, 0.75) + 0.5 * middle * c.rng.uniform(0.6, 1.1)))
            x += width + (c.rng.uniform(0.0, 0.03) if c.rng.random() < 0.6 else -width * 0.2)

    def _build(self, x: float, width: float, height: float) -> None:
        top, shade = self.foot - height, width * self.c.rng.uniform(0.25, 0.45)
        light_right = self.plan.lamp[0] > self.c.wide / 2
        self.faces += [rect(x, top, width, height + 0.02), *_roof(self.c, x, top, width)]
        self.sides.append(rect(x if light_right else x + width - shade, top, shade, height + 0.02))
        step, size = 0.0135 + 0.003 * self.depth, 0.0052 + 0.0015 * self.depth
        self.windows += [
            rect(x + 0.008 + i * step, top + 0.012 + j * step * 1.25, size, size * 1.35)
            for i in range(max(1, int((width - 0.012) / step)))
            for j in range(int(height / (step * 1.25)) - 1)
            if self.c.rng.random() < 0.42
        ]

    def paint(self, body: Rgb, glowing: bool) -> None:
        """Paint all towers of the row in this colour, with lit windows if `glowing`."""
        c, palette = self.c, self.plan.palette
        c.fill(self.faces, lit(body, 0.045, -0.03))
        c.fill(self.sides, lighter(body, -0.07), 0.55)
        tint = palette["accent"] if glowing else lighter(body, 0.12)
        c.fill(self.windows, mixed(tint, palette["light"], 0.35), (0.35 + 0.5 * self.depth) if glowing else 0.4)
        if self.plan.says("neon"):
            c.fill(self.windows[::2], tint, 0.5, soft=0.009)
            c.fill(self.windows[::3], palette["water0"], 0.9)
            c.fill(self.windows[::3], palette["water0"], 0.6, soft=0.008)


def _roof(c: Canvas, x: float, top: float, width: float) -> list[Outline]:
    kind, middle = c.rng.random(), x + width / 2
    if kind < 0.22:
        return [ribbon([(middle, top), (middle, top - c.rng.uniform(0.03, 0.09))], 0.006, 0.001)]
    if kind < 0.4:
        steps = ((0.6, 0.02), (0.28, 0.04))
        return [rect(middle - width * share / 2, top - rise, width * share, rise) for share, rise in steps]
    if kind < 0.52:
        return [[(x, top), (middle, top - width * 0.7), (x + width, top)]]
    return [disc(middle, top, width / 2, width * 0.35)] if kind < 0.62 else []


_STEEPLE = path("-.017 .03  -.017 -.13  .017 -.13  .017 .03")
_SPIRE = path("-.021 -.128  0 -.235  .021 -.128")


def paint_village(c: Canvas, plan: Plan) -> None:
    """A cluster of gabled houses around a steeple."""
    foot, palette = plan.horizon + 0.1, plan.palette
    church = Figure(c, plan.focus[0] + c.rng.uniform(-0.06, 0.06), foot, 1)
    stone, roof = mixed(palette["paper"], palette["far"], 0.25), palette.of("roof", "accent")
    church.part(lit(stone, 0, -0.2), _STEEPLE)
    church.part(lit(roof, 0, -0.18), _SPIRE)
    places = [(foot + 0.12 * c.rng.random() ** 1.3, plan.focus[0] + c.rng.gauss(0, 0.17)) for _ in range(11)]
    for y, x in sorted(places):
        tint = lighter(mixed(roof, palette["near"], c.rng.uniform(0, 0.45)), c.rng.uniform(-0.05, 0.05))
        size = (0.052 + 0.25 * (y - foot)) * c.rng.uniform(0.85, 1.15)
        _paint_cottage(Figure(c, x, y, size), plan, tint)


def _paint_cottage(cottage: Figure, plan: Plan, roof: Rgb) -> None:
    palette, rng = plan.palette, cottage.c.rng
    wall = lighter(mixed(palette["paper"], palette["sky2"], rng.uniform(0.05, 0.35)), -0.02)
    if palette.dark:
        wall = mixed(wall, palette["far"], 0.6)
    cottage.part(lit(wall, 0, -0.16), rect(-0.5, -0.55, 1, 0.56))
    cottage.part(lit(roof, 0.04, -0.1), path("-.6 -.52  -.4 -1  .4 -1  .6 -.52"))
    panes = [rect(x, -0.4, 0.13, 0.17) for x in (-0.32, 0.0, 0.24) if rng.random() < 0.8]
    cottage.part(palette["light" if palette.dark else "dark"], *panes, opacity=0.9)


_FRONT = path("-.62 .02  -.1 .03  -.1 -.5  -.36 -.88  -.62 -.5")
_SIDE = path("-.1 0  .75 -.02  .75 -.48  -.1 -.5")
_ROOF = path("-.36 -.93  .52 -.9  .83 -.45  -.06 -.47")
_GABLE = path("-.36 -.94  -.70 -.46  -.64 -.44  -.36 -.84  -.08 -.44  -.03 -.47")
_CHIMNEY = path(".34 -.75  .46 -.75  .46 -1.06  .34 -1.06")
_DOOR = path("-.44 .02  -.27 .025  -.27 -.32  -.44 -.32")
_PANES = (*(rect(x, -0.32, 0.14, 0.18) for x in (0.08, 0.32, 0.54)), rect(-0.42, -0.62, 0.12, 0.14))
_SNOW = [(-0.36, -0.95), (0.52, -0.92), *smooth(path(".76 -.56  .6 -.62  .42 -.54  .22 -.62  .05 -.54  -.13 -.58"))]
_SNOW_ON_CHIMNEY = path(".32 -1.06  .48 -1.06  .48 -1.10  .32 -1.10")


def paint_house(c: Canvas, plan: Plan) -> None:
    """A house with smoke from its chimney and a tree beside it; windows lit when it is dark or cosy."""
    palette = plan.palette
    house = Figure(c, *plan.focus, 0.33 * min(plan.scale, 1.5), flip=plan.lamp[0] > c.wide / 2)
    wall, roof = _house_tints(plan)
    paint_tree(c, plan, house.at([(-1.05, 0)])[0][0], house.y - 0.01, house.size * 1.05)
    house.part(lighter(palette["near"], -0.12), disc(0, 0.03, 0.95, 0.08), opacity=0.6, soft=0.012)
    house.part(lighter(roof, -0.12), _CHIMNEY)
    _paint_smoke(c, plan, house.at([(0.4, -1.08)])[0], house.size)
    house.part(lit(wall, -0.02, -0.14), _SIDE)
    house.part(lit(wall, 0.06, 0), _FRONT, wet=0.2)
    house.part(lit(roof, 0.05, -0.07), _ROOF, wet=0.25)
    house.part(lighter(roof, -0.12), _GABLE)
    house.part(mixed(roof, palette["dark"], 0.5), _DOOR)
    _paint_windows(house, plan, mixed(roof, palette["dark"], 0.45))
    if plan.says("winter") or "snow" in plan.wording.weather:
        snow = mixed((250, 252, 255), (120, 150, 196), 0.3 if palette.dark else 0.1)
        house.part(lit(snow, 0, -0.06), _SNOW, opacity=0.97, wet=0.12)
        house.part(snow, _SNOW_ON_CHIMNEY)


def _house_tints(plan: Plan) -> tuple[Rgb, Rgb]:
    """Wall and roof."""
    palette = plan.palette
    wall = palette.bound.get("house", mixed(palette["paper"], palette["sky2"], 0.25))
    if palette.dark:
        wall = mixed(wall, palette["near"], 0.45)
    roof = palette.of("roof", "accent")
    if "house" in palette.bound and "roof" not in palette.bound:
        roof = mixed(palette["dark"], wall, 0.3)
    return wall, mixed(roof, palette["dark"], 0.5) if palette.dark else roof


def _paint_windows(house: Figure, plan: Plan, frame: Rgb) -> None:
    palette = plan.palette
    glowing = palette.dark or plan.says("cosy", "dusk", "sunset", "snow", "rain", "storm", "eerie")
    glass = mixed(palette["light"], (250, 168, 60), 0.85) if glowing else lighter(palette["sky0"], -0.16)
    boxes = [(pane[0], pane[2]) for pane in _PANES]
    house.part(frame, *(rect(a - 0.02, b - 0.02, c - a + 0.04, d - b + 0.04) for (a, b), (c, d) in boxes))
    house.part(glass, *_PANES)
    uprights = [rect((a + c) / 2 - 0.008, b, 0.016, d - b) for (a, b), (c, d) in boxes]
    bars = [rect(a, (b + d) / 2 - 0.008, c - a, 0.016) for (a, b), (c, d) in boxes]
    house.part(frame, *uprights, *bars, opacity=0.8)
    if palette.dark:
        for x, y in house.at([corner for corner, _ in boxes]):
            house.c.glow(x, y, house.size * 0.22, (255, 186, 96), 0.35)


def _paint_smoke(c: Canvas, plan: Plan, start: Point, size: float) -> None:
    x, y = start
    drift = 0.45 if plan.flip else -0.45
    tint = mixed(plan.palette["sky2"], plan.palette["paper"], 0.6)
    for t in np.linspace(0, 1, 7).tolist():
        wide, high = size * (0.05 + 0.10 * t), size * (0.04 + 0.07 * t)
        puff = blob(x + drift * size * t * t, y - size * 0.8 * t, wide, high, c.rng)
        c.fill([puff], tint, 0.5 - 0.35 * t, soft=0.006 + 0.008 * t)


_TOWER = path("-.075 0  -.048 -.86  .048 -.86  .075 0")
_BANDS = path("-.0725 -.08  -.067 -.26  .067 -.26  .0725 -.08"), path("-.061 -.44  -.0555 -.62  .0555 -.62  .061 -.44")
_GALLERY = path("-.075 -.86  -.075 -.885  .075 -.885  .075 -.86")
_LANTERN = path("-.036 -.885  -.036 -.97  .036 -.97  .036 -.885")
_CUPOLA = path("-.05 -.97  0 -1.05  .05 -.97")


def paint_lighthouse(c: Canvas, plan: Plan) -> None:
    """A banded tower on rocks, its lamp lit; in the dark with a beam."""
    palette, foot = plan.palette, plan.horizon + 0.075
    tower = Figure(c, plan.focus[0], foot, min(0.52 * plan.scale, (foot - 0.07) / 1.05))
    band = palette.of("lighthouse", "accent")
    white, dark = mixed(palette["paper"], palette["far"], 0.1), mixed(palette["dark"], band, 0.2)
    if palette.dark or plan.hour in ("storm", "sunset", "grey"):
        x, y = tower.at([(0, -0.93)])[0]
        reach = c.wide * (1 if plan.flip else -1)
        c.fill(
            [[(x, y), (x + reach, y - 0.1), (x + reach, y + 0.14)]],
            mixed(palette["light"], (255, 236, 180), 0.5),
            0.42,
            0.012,
        )
    tower.part(lit(white, 0, -0.2), _TOWER, wet=0.45)
    tower.part(lit(band, 0.04, -0.16), *_BANDS, wet=0.35)
    tower.part(dark, _GALLERY, _CUPOLA)
    tower.part(mixed(palette["light"], (255, 214, 120), 0.5), _LANTERN)
    c.glow(tower.x, foot - 0.93 * tower.size, 0.10, (255, 226, 150), 0.7 if palette.dark else 0.3)
    rock = mixed(palette["dark"], palette["far"], 0.25)
    c.fill([blob(tower.x, foot + 0.045, 0.2, 0.045, c.rng, 0.2, 11)], lit(rock, 0.08, -0.06))
    for _ in range(13):
        size = c.rng.uniform(0.022, 0.06)
        x, y = tower.x + c.rng.gauss(0, 0.1), foot + 0.045 - 0.02 * c.rng.random()
        c.fill([blob(x, y, size, size / 2, c.rng, 0.3, 6)], lit(rock, 0.22, -0.04), 0.9, wet=0.3)


def paint_bridge(c: Canvas, plan: Plan) -> None:
    """Stone arches across the picture."""
    level, thick = plan.horizon + 0.015, 0.045
    natural = mixed((176, 152, 126), plan.palette["near"], 0.55 if plan.palette.dark else 0.2)
    stone = plan.palette.bound.get("bridge", natural)
    count = c.rng.choice((3, 4, 5))
    span = c.wide / count
    c.fill([rect(-0.02, level - thick, c.wide + 0.04, thick + 0.03)], lit(stone, 0.05, -0.08))
    c.fill([_pier(i * span, level, span) for i in range(count + 1)], lit(stone, 0.03, -0.12), wet=0.15)
    c.fill([rect(-0.02, level - thick - 0.012, c.wide + 0.04, 0.014)], lighter(stone, 0.1))


def _pier(x: float, level: float, span: float) -> Outline:
    """A pier with half an arch on either side, from the deck down into the water."""
    quarter = [(0.4 * span * math.cos(a), level + 0.2 - 0.17 * math.sin(a)) for a in np.linspace(0, math.pi / 2, 9)]
    left = [(x - span / 2 + dx, y) for dx, y in quarter]
    right = [(x + span / 2 - dx, y) for dx, y in quarter[::-1]]
    foot = [(x + span * 0.1, level + 0.33), (x - span * 0.1, level + 0.33)]
    return [*left, (x - span / 2, level), (x + span / 2, level), *right, *foot]
