"""Water: open sea, still lakes that mirror what is above, rivers that lead the eye."""

import numpy as np
from PIL import Image

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.scenes.sky import paint_glitter
from adapters.sketch.shapes import Outline, lens, smooth


def paint_sea(c: Canvas, plan: Plan) -> None:
    """The open sea up to the horizon: breakers in a storm, else small waves and glitter."""
    top = plan.horizon
    depth = np.clip((c.y - top) / max(c.high - top, 0.05), 0, 1)
    far = mixed(plan.palette["water0"], plan.palette["sky2"], 0.3)
    swell = 0.05 * c.noise(1.5, 16, 3) * (0.4 + depth)
    mask = np.clip((c.y - top) * c.unit + 0.5, 0, 1) * np.ones_like(c.x)
    c.wash(mask, c.pigment(c.ramp([far, plan.palette["water0"], plan.palette["water1"]], depth + swell)))
    if plan.says("storm", "stormy", "wind"):
        _breakers(c, plan)
    else:
        _dabs(c, plan, top, mirror=False)
    if not plan.says("storm", "stormy", "rain", "fog"):
        paint_glitter(c, plan, top)
    band = np.exp(-(((c.y - plan.horizon) / 0.006) ** 2)) * np.ones_like(c.x)
    c.wash(band, mixed(plan.palette["sky2"], plan.palette["light"], 0.4), 0.45)


def _dabs(c: Canvas, plan: Plan, top: float, mirror: bool) -> None:
    """Short flat strokes, larger as they come nearer, in the light and the dark of the water."""
    bright = mixed(plan.palette["sky2"], plan.palette["water0"], 0.3)
    deep = lighter(plan.palette["water1"], -0.03)
    for tint, count, opacity in ((deep, 300, 0.35), (bright, 260, 0.42)):
        dabs: list[Outline] = []
        for _ in range(int(count * c.wide * (0.35 if mirror else 1))):
            depth = c.rng.random() ** 1.35
            size = (0.02 + 0.13 * depth) * c.rng.uniform(0.5, 1.5)
            dabs.append(
                lens(c.rng.uniform(-0.05, c.wide), top + 0.006 + (c.high - top) * depth, size, 0.012 * depth + 0.0018)
            )
        c.fill(dabs, tint, opacity)


def _breakers(c: Canvas, plan: Plan) -> None:
    """Waves that lean over, dark in the face and white along the crest."""
    foam = mixed(plan.palette["paper"], plan.palette["water0"], 0.12)
    for i in range(6):
        depth = (i + 1) / 6
        base = plan.horizon + (c.high - plan.horizon) * depth**1.4 * 0.95
        tall, length = 0.02 + 0.11 * depth, 0.16 + 0.5 * depth
        phase = (c.x[0] + c.rng.uniform(0, 3)) / length + 0.25 * c.noise(2, 0.01)[0]
        lean = phase - 0.09 * np.sin(2 * np.pi * phase)
        crest = (0.5 + 0.5 * np.sin(2 * np.pi * lean)) ** 1.7
        line = base - tall * (crest * (0.75 + 0.4 * c.noise(1.5, 0.01)[0]))
        drop = np.clip((c.y - line[None, :]) / (tall * 1.6), 0, 1)
        body = mixed(plan.palette["water0"], plan.palette["water1"], 0.25 + 0.6 * depth)
        face = c.ramp([lighter(body, 0.14), body, lighter(body, -0.08)], drop + 0.22 * c.noise(4, 22, 2))
        c.wash(c.below(line), c.pigment(face, 1.4))
        lace = np.exp(-drop * 9) * np.clip(crest[None, :] * 1.6 - 0.45 + 0.5 * c.noise(30, 30, 2), 0, 1)
        c.wash(lace * c.below(line), foam, 0.95)
        spray = np.clip(c.noise(60, 60) - 0.9, 0, 1) * np.exp(-np.abs(c.y - line[None, :]) / 0.03) * 2
        c.wash(spray * crest[None, :] * depth, foam, 0.8)


def paint_lake(c: Canvas, plan: Plan, top: float, shore: bool = True) -> None:
    """A mirror from `top` down: what is above, upside down, darker and drawn out by small waves."""
    row = int(np.clip(top * c.unit, 4, c.height - 4))
    above = Image.fromarray((np.clip(c.rgb[:row], 0, 1) * 255).astype(np.uint8))
    rows = c.height - row
    flipped = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((c.width, max(rows, int(row * 0.9))))
    mirrored = np.asarray(flipped.crop((0, 0, c.width, rows)), np.float32) / 255
    depth = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    ripple = (c.noise(3, 40, 2)[row:] * (2 + 9 * depth) * c.unit / 640).astype(np.int32)
    columns = np.clip(np.arange(c.width)[None, :] + ripple, 0, c.width - 1)
    mirrored = mirrored[np.arange(rows)[:, None], columns]
    water = c.ramp([plan.palette["water0"], plan.palette["water1"]], depth * np.ones_like(c.x))
    c.rgb[row:] = mirrored * 0.9 + (water - mirrored * 0.9) * (0.22 + 0.4 * depth)[..., None]
    _dabs(c, plan, top, mirror=True)
    if shore:
        edge = np.exp(-(((c.y - top) / 0.004) ** 2)) * np.clip(0.6 + c.noise(6, 1, 2), 0, 1)
        c.wash(edge, plan.palette["paper"], 0.5)


def paint_river(c: Canvas, plan: Plan, top: float) -> None:
    """A bright band winding from the horizon into the foreground."""
    x, side = plan.lamp[0] * 0.5 + c.wide * 0.25, 1 if plan.flip else -1
    bends = [
        side * (0.02 + 0.24 * i / 6) * turn * c.rng.uniform(0.5, 1.25)
        for i, turn in enumerate((1, 0.8, -0.8, -0.6, 0.7, 0.6, -0.2))
    ]
    knots_left, knots_right = [], []
    for i in range(7):
        depth = i / 6
        y = top + (c.high - top) * depth**1.25 * 1.04
        bend = bends[i]
        half = 0.004 + 0.15 * depth**1.7
        knots_left.append((x + bend - half, y))
        knots_right.append((x + bend + half, y))
    band = smooth(knots_left, steps=10) + smooth(knots_right, steps=10)[::-1]
    bank = [(px, py + 0.006) for px, py in band]
    c.fill([bank], lighter(plan.palette["near"], -0.1), 0.6, soft=0.006)
    blue = mixed(plan.palette["water1"], plan.palette["sky0"], 0.5)
    c.fill([band], (mixed(blue, plan.palette["sky2"], 0.5), mixed(blue, plan.palette["sky1"], 0.3)))
    streaks = []
    for _ in range(46):
        depth = c.rng.random()
        y = top + (c.high - top) * depth**1.25
        bend = float(np.interp(depth, np.arange(7) / 6, bends))
        streaks.append(
            lens(x + bend + c.rng.uniform(-0.09, 0.09) * depth, y, 0.01 + 0.09 * depth, 0.002 + 0.005 * depth)
        )
    c.fill(streaks, mixed(plan.palette["light"], plan.palette["sky2"], 0.4), 0.55)


def paint_beach(c: Canvas, plan: Plan) -> None:
    """A strip of sand across a lower corner, and the last thin wave on it."""
    slope = 0.24 if plan.flip else -0.24
    line = (c.high * 0.87) + slope * (c.x[0] - (c.wide / 2)) + 0.025 * c.noise(1.2, 0.01)[0]
    for rise, tint, opacity in ((0.035, plan.palette["paper"], 0.75), (0.012, plan.palette["water0"], 0.5)):
        c.wash(c.below(line - rise), tint, opacity)
    sand = mixed((226, 200, 158), plan.palette["sky2"], 0.35)
    drop = np.clip((c.y - line[None, :]) / 0.25, 0, 1)
    c.wash(c.below(line), c.pigment(c.ramp([lighter(sand, -0.12), sand, lighter(sand, 0.03)], drop * 3), 1.4))
