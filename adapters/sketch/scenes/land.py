"""Land in layers, far to near: mountains, hills, dunes, forests."""

import numpy as np

from adapters.sketch.canvas import Canvas, Field, as_float, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.figure import lit
from adapters.sketch.scenes.trees import conifer, paint_leafy
from adapters.sketch.shapes import Outline, blob, rect, ribbon, smooth
from tools.media.colours import Rgb


def paint_mountains(c: Canvas, plan: Plan) -> None:
    """Three ranges; light falls over their facets from the lamp's side, snow lies where it is high or cold."""
    main = plan.wording.subject[:1] == ("mountain",)
    tall = min(plan.horizon * c.rng.uniform(0.66, 0.84), 0.5) * min(plan.scale, 1.15) * (1.0 if main else 0.78)
    snow = 0.3 if plan.says("winter", "snow") else 0.62 if c.rng.random() < 0.75 else 2.0
    far, near = plan.palette["far"], plan.palette["mid"]
    for i in range(3):
        depth = i / 2
        rise = tall * (1.0, 0.78, 0.4)[i] * c.rng.uniform(0.85, 1.15)
        foot = plan.horizon + 0.035 * i
        line = foot - rise * _peaks(c, 2.1 + 1.3 * i, plan, i)
        body = mixed(mixed(far, plan.palette["sky2"], 0.38), near, depth)
        _range(c, plan, line, foot, body, rise, snow + 0.25 * i)


def _peaks(c: Canvas, count: float, plan: Plan, layer: int) -> Field:
    """A jagged skyline 0..1, one value per column."""
    x = c.x[0]
    line = np.zeros_like(x)
    summits = [c.rng.uniform(0, c.wide) for _ in range(max(2, round(count * c.wide)))]
    if layer == 0:
        summits[0] = plan.focus[0]
    for i, summit in enumerate(summits):
        height = 1.0 if i == 0 else c.rng.uniform(0.45, 0.85)
        width = c.rng.uniform(0.28, 0.5) * (1.25 if i == 0 else 1)
        reach = np.abs(x - summit) / width
        line = np.maximum(line, height * np.clip(1 - reach, 0, 1) ** 1.15)
    rough = c.noise(7, 0.01)[0] * 0.055 + c.noise(19, 0.01)[0] * 0.03 + c.noise(60, 0.01)[0] * 0.011
    return np.asarray(line + rough * (0.35 + line) + 0.06)


def _range(c: Canvas, plan: Plan, line: Field, foot: float, body: Rgb, rise: float, snow: float) -> None:
    """One range: rock in light and shade, snow where it is high (from the share `snow` of its rise up), mist below."""
    palette, drop = plan.palette, c.y - line[None, :]
    light = _facets(c, line, plan.lamp[0] > c.wide / 2)
    sunlit = mixed(lighter(body, 0.09), palette["light"], 0.16)
    tint = c.ramp([lighter(body, -0.075), body, sunlit], light)
    if snow < 1.2:
        ragged = 0.1 * rise * c.noise(20, 9, 3)
        cap = np.clip(((1 - snow) * rise * 0.62 - drop + ragged) * 40, 0, 1)
        cap *= np.clip((foot - rise * snow * 0.55 - c.y) * 14 + 0.1, 0, 1)
        blue = lighter(mixed(body, palette["sky0"], 0.45), 0.02)
        white = [blue, mixed(blue, palette["paper"], 0.3), palette["paper"]]
        tint = tint + (c.ramp(white, light * 1.6 - 0.3) - tint) * (cap * 0.92)[..., None]
    mist = np.clip(drop / (rise + 0.08) * 1.25 - 0.42, 0, 1)[..., None] * 0.62
    c.wash(c.below(line), c.pigment(tint + (as_float(palette["sky2"]) - tint) * mist))


def _facets(c: Canvas, line: Field, light_right: bool) -> Field:
    """0 in shade, 1 in light: slopes carry their brightness down the fall line, broken up like rock."""
    smooth = np.convolve(np.pad(line, 6, mode="edge"), np.ones(13) / 13, mode="valid").astype(np.float32)
    slope = np.gradient(smooth) * c.unit * (1 if light_right else -1)
    fall = c.y - line[None, :]
    ribs = c.noise(22, 9, 2)
    wander = fall * (0.2 + 0.22 * c.noise(5, 4, 2)) + 0.016 * ribs
    columns = np.clip((c.x + wander) * c.unit, 0, c.width - 1).astype(np.int32)
    rock = 0.30 * ribs + 0.16 * c.noise(46, 16)
    steep = np.clip(slope[columns] * 0.9, -0.42, 0.42)
    return np.asarray(np.clip(0.5 + steep + rock * np.clip(0.5 + fall * 3, 0, 1), 0, 1))


def paint_hills(c: Canvas, plan: Plan, top: float | None = None, layers: int = 4) -> None:
    """Rolling ground from the horizon to the foreground, with furrows and bushes."""
    top = plan.horizon if top is None else top
    far, near = mixed(plan.palette["far"], plan.palette["sky2"], 0.25), plan.palette["near"]
    middle = plan.palette["mid"]
    for i in range(layers):
        depth = i / max(layers - 1, 1)
        base = top - 0.03 + (c.high - top) * 0.86 * depth**1.35
        swell = (0.03 + 0.05 * depth) * c.rng.uniform(0.7, 1.3)
        line = base + swell * c.noise(0.9 + 0.3 * (1 - depth), 0.01)[0]
        line += plan.tilt * (c.x[0] - (c.wide / 2))
        body = mixed(far, middle, depth * 2) if depth < 0.5 else mixed(middle, near, depth * 2 - 1)
        if depth < 0.8:
            _bushes(c, line, lighter(body, -0.07), depth)
        _slope(c, plan, line, body, 0.13 + 0.2 * depth)


def _slope(c: Canvas, plan: Plan, line: Field, body: Rgb, reach: float) -> None:
    """One hill: light on its brow, furrows running over it, patches of another crop."""
    drop = np.clip((c.y - line[None, :]) / reach, 0, 1)
    lean = c.rng.uniform(-1.6, 1.6)
    rows = np.sin((c.x + lean * drop**0.6 * reach) * c.rng.uniform(60, 110) / (0.4 + drop))
    patches = np.clip(c.noise(1.6, 3.2, 2) * 3 - 0.6, 0, 1)
    side = (plan.lamp[0] - c.x) * (-0.3)
    furrows = (0.05 + 0.09 * patches) * rows * (1 - drop)
    tone = 0.68 - 0.55 * drop - np.abs(side) * 0.35 + furrows + 0.14 * c.blotch
    sunlit = mixed(lighter(body, 0.1), plan.palette["light"], 0.14)
    tint = c.ramp([lighter(body, -0.085), body, sunlit], tone)
    crop = c.ramp([mixed(body, plan.palette["accent"], 0.14), mixed(sunlit, plan.palette["light"], 0.2)], tone)
    c.wash(c.below(line), c.pigment(tint + (crop - tint) * (patches * 0.5)[..., None], 1.3))


def _bushes(c: Canvas, line: Field, tint: Rgb, depth: float) -> None:
    """Clumps of trees on the brow of a hill, here and there a row of poplars."""
    outlines: list[Outline] = []
    x = c.rng.uniform(0, 0.2)
    while x < c.wide:
        wide, high, seat = (0.5, 2.0, 1.6) if c.rng.random() < 0.25 else (1.0, 0.9, 0.5)
        for _ in range(c.rng.randint(2, 7)):
            size = (0.007 + 0.024 * depth) * c.rng.uniform(0.6, 1.6)
            y = _height(c, line, x) - size * seat
            outlines.append(blob(x, y, size * wide, size * high, c.rng, 0.2, 8))
            x += size * c.rng.uniform(0.7, 1.7)
        x += c.rng.uniform(0.06, 0.4)
    c.fill(outlines, lit(tint, 0.05, -0.04), 0.95, wet=0.15)


def paint_shore(c: Canvas, plan: Plan) -> None:
    """Low wooded land on the far side of a water."""
    for i, (rise, share) in enumerate(((0.10, 0.3), (0.03, 0.75))):
        line = (plan.horizon - rise) + (0.05 - 0.03 * i) * c.noise(1.1 + i, 0.01, 2)[0]
        body = mixed(mixed(plan.palette["far"], plan.palette["sky2"], 0.2), plan.palette["near"], share)
        _bushes(c, line, body, 0.15 + 0.2 * i)
        _slope(c, plan, line, body, 0.2)


def paint_bank(c: Canvas, plan: Plan) -> None:
    """The near shore of a water, for things to stand on."""
    x, y = plan.focus
    away = np.clip(np.abs(c.x[0] - x) - 0.42, 0, 2)
    line = y - 0.025 + 0.16 * away + 0.012 * c.noise(2, 0.01, 2)[0]
    body = mixed(plan.palette["near"], plan.palette["mid"], 0.35)
    _slope(c, plan, line, body, 0.4)


def paint_knoll(c: Canvas, plan: Plan) -> None:
    """A rise of dark rock in the foreground, with its top where the main thing stands."""
    x, y = plan.focus
    tint = mixed(plan.palette["dark"], plan.palette["near"], 0.25)
    for spread, lift, opacity in ((0.9, 0.0, 1.0), (0.5, 0.05, 0.45)):
        slope = ((-0.5 * spread, 0.2), (-0.14, 0.035), (-0.05, 0), (0.06, 0.004), (0.17, 0.05), (0.4 * spread, 0.16))
        feet = (x - spread, c.high + 0.1), (x + spread, c.high + 0.1)
        top = smooth([feet[0], *((x + dx, y + dy) for dx, dy in slope), feet[1]], steps=5)
        rough = [(px, py + c.rng.gauss(0, 0.012) if px != x else py) for px, py in top]
        c.fill([rough], lit(tint, 0.08 + lift, lift - 0.04), opacity)


def paint_dunes(c: Canvas, plan: Plan) -> None:
    """Sand in long curves: a lit side, a side in shade and a knife-sharp crest between them."""
    far, near = mixed(plan.palette["far"], plan.palette["sky2"], 0.35), plan.palette["near"]
    light = mixed(plan.palette["mid"], plan.palette["light"], 0.45)
    for i in range(5):
        depth = i / 4
        base = plan.horizon + 0.01 + (c.high - plan.horizon) * 0.78 * depth**1.3
        _dune(c, plan, base, mixed(far, near, 0.25 + depth * 0.6), mixed(far, light, 0.35 + 0.65 * depth), depth)


def _dune(c: Canvas, plan: Plan, base: float, shade: Rgb, light: Rgb, depth: float) -> None:
    x = c.x[0]
    away = -1 if plan.lamp[0] > c.wide / 2 else 1
    line = base + (0.02 + 0.03 * depth) * c.noise(0.7, 0.01)[0]
    peaks = [
        (c.rng.uniform(0.05, 0.95) * c.wide, 0.03 + 0.11 * depth * c.rng.uniform(0.7, 1.3), 0.16 + 0.3 * depth)
        for _ in range(2)
    ]
    for at, tall, reach in peaks:
        line -= tall * np.exp(-((np.abs(x - at) / reach) ** 1.35))
    drop = c.y - line[None, :]
    ripples = np.sin(drop * (230 / (0.5 + 1.6 * depth)) + 9 * c.blotch + 6 * c.noise(2, 2)) * 0.10 * depth
    tone = np.clip(0.85 - drop * 1.6 + ripples + 0.12 * c.blotch, 0, 1)
    c.wash(c.below(line), c.pigment(c.ramp([mixed(light, shade, 0.45), light, lighter(light, 0.05)], tone), 0.8))
    for at, tall, reach in peaks:
        c.fill([_lee(c, line, at, away * reach, tall * 1.4 + 0.16 + 0.3 * depth)], lit(shade, 0, -0.05), 0.9, 0.0015)


def _lee(c: Canvas, line: Field, at: float, reach: float, foot: float) -> Outline:
    """The side of a dune away from the light: along its crest, and back over an S-shaped edge."""
    crest = [(at + reach * t, _height(c, line, at + reach * t)) for t in np.linspace(0, 2.6, 24).tolist()]
    top = crest[0][1]
    edge = [(0.0, 0.0), (0.14, 0.2), (0.04, 0.48), (0.4, 0.78), (1.4, 0.86)]
    knots = [(at + reach * dx, top + foot * dy) for dx, dy in edge]
    return crest + smooth([*knots, (crest[-1][0], crest[-1][1] + 0.012)], steps=7)[::-1]


def _height(c: Canvas, line: Field, x: float) -> float:
    return float(line[int(np.clip(x * c.unit, 0, c.width - 1))])


def paint_forest(c: Canvas, plan: Plan, deep: bool) -> None:
    """Tree lines in mist, far to near; `deep` fills the picture with them, else they stand along the horizon."""
    palette = plan.palette
    for i in range(5 if deep else 2):
        depth = (i + 1) / (5 if deep else 2)
        if deep:
            foot, height = (
                plan.horizon + 0.02 + (c.high - plan.horizon - 0.02) * 0.92 * depth**1.6,
                0.10 + 0.36 * depth**1.3,
            )
            body = mixed(mixed(palette["far"], palette["sky2"], 0.45), palette["dark"], 0.25 + 0.7 * depth)
        else:
            foot, height = plan.horizon + 0.05 + 0.05 * depth, 0.09 + 0.05 * depth
            body = mixed(palette["mid"], palette["near"], depth)
        _tree_line(c, plan, foot, height * min(plan.scale, 1.4), body, gap=deep and depth > 0.55)
        veil = np.exp(-(((c.y - foot) / (0.05 + 0.05 * depth)) ** 2)) * (1 - 0.75 * depth)
        c.wash(veil * np.clip(0.8 + 0.5 * c.blotch, 0, 1), palette["sky2"], 0.75 if deep else 0.35)
    if deep:
        _shafts(c, plan)


def _tree_line(c: Canvas, plan: Plan, foot: float, height: float, body: Rgb, gap: bool) -> None:
    """One row of conifers or, in a leafy season, of round crowns; `gap` leaves the view to the lamp open."""
    leafy = plan.says("autumn", "spring", "leaves") or (plan.says("summer") and plan.flip)
    c.fill([rect(0, foot, c.wide, 0.6)], lighter(body, -0.02), 0.96, soft=0.004)
    conifers: list[Outline] = []
    x = -0.05
    while x < c.wide + 0.05:
        open_view = min(1.0, 0.35 + abs(x - plan.lamp[0]) * 1.8) if gap else 1.0
        tall, base = height * c.rng.uniform(0.6, 1.15) * open_view, foot + c.rng.uniform(-0.01, 0.015)
        if leafy:
            paint_leafy(c, plan, x, base, tall, body)
        else:
            conifers.append(conifer(c, x, base, tall))
        x += tall * c.rng.uniform(0.16, 0.42)
    c.fill(conifers, lit(body, 0.05, -0.05))


def _shafts(c: Canvas, plan: Plan) -> None:
    """Beams of light between the trees."""
    if plan.hour in ("night", "storm") or plan.says("rain"):
        return
    x, y = plan.lamp
    angle = np.arctan2(c.x - x, c.y - (y - 0.35))
    beams = np.clip(np.sin(angle * 26 + c.rng.uniform(0, 6)) + 0.6 * np.sin(angle * 47), 0, 2) * 0.5
    reach = np.exp(-np.hypot(c.x - x, c.y - y) * 1.9) * (c.y > y)
    light = as_float(plan.palette["light"]) * (beams * reach * 0.4)[..., None]
    c.rgb += np.clip(1 - c.rgb, 0, 1) * light


def paint_grass(c: Canvas, plan: Plan) -> None:
    """Blades, and flowers among them, along the lower edge."""
    body = plan.palette["near"]
    for tint, count, tall in ((lighter(body, -0.06), 240, 0.10), (lighter(body, 0.05), 170, 0.075)):
        blades = []
        for _ in range(int(count * c.wide)):
            x, reach = c.rng.uniform(0, c.wide), tall * c.rng.uniform(0.4, 1.1)
            lean = c.rng.gauss(0.2 if plan.flip else -0.2, 0.25) * reach
            spine = [(x, c.high + 0.01), (x + lean * 0.3, c.high - reach * 0.5), (x + lean, c.high - reach)]
            blades.append(ribbon(spine, 0.007, 0.0006))
        c.fill(blades, tint, 0.85)
    if plan.says("flower", "spring", "summer"):
        bloom = plan.palette.of("flower", "accent")
        for tint in (bloom, lighter(bloom, 0.1), plan.palette["paper"]):
            dots = [
                blob(c.rng.uniform(0, c.wide), c.high - 0.16 * c.rng.random() ** 1.5, s, s * 0.8, c.rng, 0.3, 6)
                for s in (c.rng.uniform(0.004, 0.013) for _ in range(int(42 * c.wide)))
            ]
            c.fill(dots, tint, 0.9)
