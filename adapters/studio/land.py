"""Land in layers, far to near: mountains, hills, dunes, forests."""

import numpy as np

from adapters.studio.canvas import Canvas, Field, lighter, mixed
from adapters.studio.plan import Plan
from adapters.studio.shapes import Outline, blob, ribbon, smooth
from tools.colours import Rgb


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
        reach = np.abs(x - np.float32(summit)) / np.float32(width)
        line = np.maximum(line, np.float32(height) * np.clip(1 - reach, 0, 1) ** np.float32(1.15))
    rough = c.noise(7, 0.01)[0] * 0.055 + c.noise(19, 0.01)[0] * 0.03 + c.noise(60, 0.01)[0] * 0.011
    return line + rough * (0.35 + line) + 0.06


def _range(c: Canvas, plan: Plan, line: Field, foot: float, body: Rgb, rise: float, snow: float) -> None:
    mask = c.below(line)
    depth = np.clip((c.y - line[None, :]) / np.float32(rise + 0.08), 0, 1)
    lit = _facets(c, line, plan.lamp[0] > c.wide / 2)
    light = mixed(lighter(body, 0.09), plan.palette["light"], 0.16)
    tint = c.ramp([lighter(body, -0.075), body, light], lit)
    if snow < 1.2:
        cap = np.clip(((1 - snow) * rise * 0.62 - (c.y - line[None, :]) + 0.05 * rise * c.noise(20, 9, 3) * 2) * 40, 0, 1)
        cap *= np.clip((foot - rise * np.float32(snow * 0.55) - c.y) * 14 + 0.1, 0, 1)
        blue = lighter(mixed(body, plan.palette["sky0"], 0.45), 0.02)
        white = c.ramp([blue, mixed(blue, plan.palette["paper"], 0.3), plan.palette["paper"]], np.clip(lit * 1.6 - 0.3, 0, 1))
        tint = tint + (white - tint) * (cap * 0.92)[..., None]
    mist = np.clip(depth * 1.25 - 0.42, 0, 1)[..., None] * 0.62
    tint = tint + (c.ramp([plan.palette["sky2"]] * 2, depth) - tint) * mist
    c.wash(mask, c.pigment(tint))


def _facets(c: Canvas, line: Field, light_right: bool) -> Field:
    """0 in shade, 1 in light: slopes carry their brightness down the fall line, broken up like rock."""
    smooth = np.convolve(np.pad(line, 6, mode="edge"), np.ones(13) / 13, mode="valid").astype(np.float32)
    slope = np.gradient(smooth) * c.unit * (1 if light_right else -1)
    fall = c.y - line[None, :]
    ribs = c.noise(22, 9, 2)
    wander = fall * (np.float32(0.2) + 0.22 * c.noise(5, 4, 2)) + np.float32(0.016) * ribs
    columns = np.clip((c.x + wander) * c.unit, 0, c.width - 1).astype(np.int32)
    rock = 0.30 * ribs + 0.16 * c.noise(46, 16)
    return np.clip(0.5 + np.clip(slope[columns] * 0.9, -0.42, 0.42) + rock * np.clip(0.5 + fall * 3, 0, 1), 0, 1)


def paint_hills(c: Canvas, plan: Plan, top: float | None = None, layers: int = 4) -> None:
    """Rolling ground from the horizon to the foreground, with furrows and bushes."""
    top = plan.horizon if top is None else top
    far, near = mixed(plan.palette["far"], plan.palette["sky2"], 0.25), plan.palette["near"]
    middle = plan.palette["mid"]
    for i in range(layers):
        depth = i / max(layers - 1, 1)
        base = top - 0.03 + (c.high - top) * 0.86 * depth**1.35
        swell = (0.03 + 0.05 * depth) * c.rng.uniform(0.7, 1.3)
        line = np.float32(base) + np.float32(swell) * c.noise(0.9 + 0.3 * (1 - depth), 0.01)[0]
        line += np.float32(plan.tilt) * (c.x[0] - np.float32(c.wide / 2))
        body = mixed(far, middle, depth * 2) if depth < 0.5 else mixed(middle, near, depth * 2 - 1)
        if depth < 0.8:
            _bushes(c, line, lighter(body, -0.07), depth)
        _slope(c, plan, line, body, 0.13 + 0.2 * depth)


def _slope(c: Canvas, plan: Plan, line: Field, body: Rgb, reach: float) -> None:
    """One hill: light on its brow, furrows running over it, patches of another crop."""
    drop = np.clip((c.y - line[None, :]) / np.float32(reach), 0, 1)
    lean = np.float32(c.rng.uniform(-1.6, 1.6))
    rows = np.sin((c.x + lean * drop**0.6 * np.float32(reach)) * np.float32(c.rng.uniform(60, 110)) / (0.4 + drop))
    patches = np.clip(c.noise(1.6, 3.2, 2) * 3 - 0.6, 0, 1)
    side = (plan.lamp[0] - c.x) * np.float32(-0.3)
    tone = np.clip(0.68 - 0.55 * drop - np.abs(side) * 0.35 + (0.05 + 0.09 * patches) * rows * (1 - drop) + 0.14 * c.blotch, 0, 1)
    sunlit = mixed(lighter(body, 0.1), plan.palette["light"], 0.14)
    tint = c.ramp([lighter(body, -0.085), body, sunlit], tone)
    crop = c.ramp([mixed(body, plan.palette["accent"], 0.14), mixed(sunlit, plan.palette["light"], 0.2)], tone)
    c.wash(c.below(line), c.pigment(tint + (crop - tint) * (patches * np.float32(0.5))[..., None], 1.3))


def _bushes(c: Canvas, line: Field, tint: Rgb, depth: float) -> None:
    """Clumps of trees on the brow of a hill, here and there a row of poplars."""
    outlines: list[Outline] = []
    x = c.rng.uniform(0, 0.2)
    while x < c.wide:
        tall = c.rng.random() < 0.25
        for _ in range(c.rng.randint(2, 7)):
            size = (0.007 + 0.024 * depth) * c.rng.uniform(0.6, 1.6)
            foot = _height(c, line, x)
            outlines.append(blob(x, foot - size * (1.6 if tall else 0.5), size * (0.5 if tall else 1), size * (2.0 if tall else 0.9), c.rng, 0.2, 8))
            x += size * c.rng.uniform(0.7, 1.7)
        x += c.rng.uniform(0.06, 0.4)
    c.fill(outlines, (lighter(tint, 0.05), lighter(tint, -0.04)), 0.95, wet=0.15)


def paint_shore(c: Canvas, plan: Plan) -> None:
    """Low wooded land on the far side of a water."""
    for i, (rise, share) in enumerate(((0.10, 0.3), (0.03, 0.75))):
        line = np.float32(plan.horizon - rise) + np.float32(0.05 - 0.03 * i) * c.noise(1.1 + i, 0.01, 2)[0]
        body = mixed(mixed(plan.palette["far"], plan.palette["sky2"], 0.2), plan.palette["near"], share)
        _bushes(c, line, body, 0.15 + 0.2 * i)
        _slope(c, plan, line, body, 0.2)


def paint_grove(c: Canvas, plan: Plan, bare: bool) -> None:
    """Trees standing about in the open, thicker towards the sides, leaving the middle free; `bare` keeps to the far shore."""
    leafy = plan.says("autumn", "spring", "leaves")
    places = []
    for _ in range(int(64 * c.wide)):
        x, depth = c.rng.uniform(-0.03, c.wide + 0.03), c.rng.random() ** (3.0 if bare else 1.5)
        middle = min(abs(x - plan.focus[0]), abs(x - (plan.lamp[0] * 0.5 + c.wide * 0.25)))
        if middle > 0.10 + 0.30 * depth or depth < 0.12:
            places.append((plan.horizon + 0.02 + (c.high - plan.horizon) * (0.06 if bare else 0.8) * depth, x, depth))
    for y, x, depth in sorted(places):
        tall = (0.10 + 0.30 * depth) * c.rng.uniform(0.75, 1.2)
        body = mixed(mixed(plan.palette["mid"], plan.palette["sky2"], 0.3 * (1 - depth)), plan.palette["dark"], 0.2 + 0.5 * depth)
        if leafy:
            _leafy(c, plan, x, y, tall, body)
        else:
            c.fill([_conifer(c, x, y, tall * 1.15)], (lighter(body, 0.06), lighter(body, -0.05)))


def paint_firs(c: Canvas, plan: Plan) -> None:
    """A dark edge of conifers in a lower corner, to stand behind."""
    side = 0.0 if plan.flip else c.wide
    firs = []
    for _ in range(15):
        x = side + abs(c.rng.gauss(0, 0.24)) * c.wide * (1 if plan.flip else -1)
        away = abs(x - side) / c.wide
        firs.append(_conifer(c, x, c.high * (0.99 + 0.05 * c.rng.random()), (0.34 - 0.42 * away) * c.rng.uniform(0.6, 1.1) + 0.05))
    tint = mixed(plan.palette["dark"], plan.palette["near"], 0.3)
    c.fill(firs, (lighter(tint, 0.05), lighter(tint, -0.03)))


def paint_knoll(c: Canvas, plan: Plan) -> None:
    """A rise of dark rock in the foreground, with its top where the main thing stands."""
    x, y = plan.focus
    tint = mixed(plan.palette["dark"], plan.palette["near"], 0.25)
    for spread, lift in ((0.9, 0.0), (0.5, 0.05)):
        top = [(x - spread, c.high + 0.1), (x - spread * 0.5, y + 0.2), (x - 0.14, y + 0.035), (x - 0.05, y), (x + 0.06, y + 0.004), (x + 0.17, y + 0.05), (x + spread * 0.4, y + 0.16), (x + spread, c.high + 0.1)]
        c.fill([[(px, py + 0.012 * c.rng.gauss(0, 1) * (px != x)) for px, py in smooth(top, steps=5)]], (lighter(tint, 0.08 + lift), lighter(tint, lift - 0.04)), 1.0 if not lift else 0.45)


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
    line = np.float32(base) + np.float32(0.02 + 0.03 * depth) * c.noise(0.7, 0.01)[0]
    peaks = [(c.rng.uniform(0.05, 0.95) * c.wide, 0.03 + 0.11 * depth * c.rng.uniform(0.7, 1.3), 0.16 + 0.3 * depth) for _ in range(2)]
    for at, tall, reach in peaks:
        line -= np.float32(tall) * np.exp(-((np.abs(x - np.float32(at)) / np.float32(reach)) ** np.float32(1.35)))
    drop = c.y - line[None, :]
    ripples = np.sin(drop * np.float32(230 / (0.5 + 1.6 * depth)) + 9 * c.blotch + 6 * c.noise(2, 2)) * 0.10 * depth
    tone = np.clip(0.85 - drop * 1.6 + ripples + 0.12 * c.blotch, 0, 1)
    c.wash(c.below(line), c.pigment(c.ramp([mixed(light, shade, 0.45), light, lighter(light, 0.05)], tone), 0.8))
    for at, tall, reach in peaks:
        column = int(np.clip(at * c.unit, 0, c.width - 1))
        top, foot = float(line[column]), tall * 1.4 + 0.16 + 0.3 * depth
        crest = [(at + away * reach * t, _height(c, line, at + away * reach * t)) for t in np.linspace(0, 2.6, 24)]
        curve = smooth([(at, top), (at + away * reach * 0.14, top + foot * 0.2), (at + away * reach * 0.04, top + foot * 0.48), (at + away * reach * 0.4, top + foot * 0.78), (at + away * reach * 1.4, top + foot * 0.86), (at + away * reach * 2.6, crest[-1][1] + 0.012)], steps=7)
        c.fill([crest + curve[::-1]], (shade, lighter(shade, -0.05)), 0.9, soft=0.0015)


def _height(c: Canvas, line: Field, x: float) -> float:
    return float(line[int(np.clip(x * c.unit, 0, c.width - 1))])


def paint_forest(c: Canvas, plan: Plan, deep: bool) -> None:
    """Tree lines in mist, far to near; `deep` fills the picture with them and frames it with trunks."""
    layers = 5 if deep else 2
    top = plan.horizon + (0.02 if deep else 0.05)
    for i in range(layers):
        depth = (i + 1) / layers
        foot = top + (c.high - top) * (0.92 * depth**1.6 if deep else 0.12 * depth)
        height = (0.10 + 0.36 * depth**1.3 if deep else 0.09 + 0.05 * depth) * min(plan.scale, 1.4)
        body = mixed(mixed(plan.palette["far"], plan.palette["sky2"], 0.45), plan.palette["dark"], 0.25 + 0.7 * depth if deep else depth * 0.6)
        if not deep:
            body = mixed(plan.palette["mid"], plan.palette["near"], depth)
        _tree_line(c, plan, foot, height, body, gap=deep and depth > 0.55)
        veil = np.exp(-(((c.y - np.float32(foot)) / np.float32(0.05 + 0.05 * depth)) ** 2)) * (1 - 0.75 * depth)
        c.wash(veil * np.clip(0.8 + 0.5 * c.blotch, 0, 1), plan.palette["sky2"], 0.75 if deep else 0.35)
    if deep:
        _shafts(c, plan)


def _tree_line(c: Canvas, plan: Plan, foot: float, height: float, body: Rgb, gap: bool) -> None:
    """One row of conifers or, in a leafy season, of round crowns; `gap` leaves the view to the lamp open."""
    leafy = plan.says("autumn", "spring", "leaves") or (plan.says("summer") and plan.flip)
    outlines: list[Outline] = []
    x = -0.05
    while x < c.wide + 0.05:
        away = abs(x - plan.lamp[0])
        tall = height * c.rng.uniform(0.6, 1.15) * (min(1.0, 0.35 + away * 1.8) if gap else 1.0)
        base = foot + c.rng.uniform(-0.01, 0.015)
        if leafy:
            _leafy(c, plan, x, base, tall, body)
        else:
            outlines.append(_conifer(c, x, base, tall))
        x += tall * c.rng.uniform(0.16, 0.42)
    c.fill([[(0, foot), (c.wide, foot), (c.wide, foot + 0.6), (0, foot + 0.6)]], lighter(body, -0.02), 0.96, soft=0.004)
    if not leafy:
        c.fill(outlines, (lighter(body, 0.05), lighter(body, -0.05)))


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


def _conifer(c: Canvas, x: float, base: float, tall: float) -> Outline:
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


def _leafy(c: Canvas, plan: Plan, x: float, base: float, tall: float, body: Rgb) -> None:
    """A round-headed tree: trunk, crown in shade, lighter leaves towards the lamp."""
    tint, side = _leaf(c, plan, body), 1 if plan.lamp[0] > x else -1
    c.fill([ribbon([(x, base + 0.01), (x + tall * 0.02, base - tall * 0.6)], tall * 0.06, tall * 0.03)], mixed(body, plan.palette["dark"], 0.6))
    for lift, count, size, reach in ((-0.07, 6, 0.19, 0.17), (0.02, 7, 0.12, 0.15), (0.10, 8, 0.065, 0.13)):
        puffs = []
        for _ in range(count):
            dx, dy = c.rng.uniform(-reach, reach) * 1.25, c.rng.uniform(-reach, reach)
            shift = max(0.0, lift) * 0.7
            r = size * tall * c.rng.uniform(0.75, 1.2)
            puffs.append(blob(x + tall * (dx + side * shift), base - tall * (0.72 - dy + shift), r, r * 0.85, c.rng))
        c.fill(puffs, lighter(tint, lift), 0.9)


def _shafts(c: Canvas, plan: Plan) -> None:
    """Beams of light between the trees."""
    if plan.hour in ("night", "storm") or plan.says("rain"):
        return
    x, y = plan.lamp
    angle = np.arctan2(c.x - np.float32(x), c.y - np.float32(y - 0.35))
    beams = np.clip(np.sin(angle * 26 + c.rng.uniform(0, 6)) + 0.6 * np.sin(angle * 47), 0, 2) * 0.5
    reach = np.exp(-np.hypot(c.x - np.float32(x), c.y - np.float32(y)) * 1.9) * (c.y > y)
    c.rgb += (np.clip(1 - c.rgb, 0, 1)) * (beams * reach * np.float32(0.4))[..., None] * np.array(plan.palette["light"], np.float32) / 255


def paint_grass(c: Canvas, plan: Plan) -> None:
    """Blades, and flowers among them, along the lower edge."""
    body = plan.palette["near"]
    for tint, count, tall in ((lighter(body, -0.06), 240, 0.10), (lighter(body, 0.05), 170, 0.075)):
        blades = []
        for _ in range(int(count * c.wide)):
            x, reach = c.rng.uniform(0, c.wide), tall * c.rng.uniform(0.4, 1.1)
            lean = c.rng.gauss(0.2 if plan.flip else -0.2, 0.25) * reach
            blades.append(ribbon([(x, c.high + 0.01), (x + lean * 0.3, c.high - reach * 0.5), (x + lean, c.high - reach)], 0.007, 0.0006))
        c.fill(blades, tint, 0.85)
    if plan.says("flower", "spring", "summer"):
        for tint in (plan.palette.of("flower", "accent"), lighter(plan.palette.of("flower", "accent"), 0.1), plan.palette["paper"]):
            dots = [
                blob(c.rng.uniform(0, c.wide), c.high - 0.16 * c.rng.random() ** 1.5, s, s * 0.8, c.rng, 0.3, 6)
                for s in (c.rng.uniform(0.004, 0.013) for _ in range(int(42 * c.wide)))
            ]
            c.fill(dots, tint, 0.9)
