"""Living things and what they ride: boats, birds, cats, figures, flowers, balloons."""

import math

from adapters.studio.canvas import Canvas, lighter, mixed
from adapters.studio.land import paint_knoll
from adapters.studio.plan import Plan
from adapters.studio.shapes import Outline, blob, disc, lens, placed, ribbon, smooth
from tools.colours import Rgb


def paint_boat(c: Canvas, plan: Plan) -> None:
    """A sailing boat and its broken mirror image."""
    x, y = plan.focus[0], plan.focus[1]
    s = 0.26 * min(plan.scale, 1.6)
    hull = plan.palette.of("boat", "accent")
    sail = plan.palette.of("sail", "paper") if "sail" in plan.palette.bound else mixed(plan.palette["paper"], plan.palette["light"], 0.4)
    if plan.palette.dark:
        sail, hull = mixed(sail, plan.palette["far"], 0.35), mixed(hull, plan.palette["dark"], 0.2)
    shade = mixed(sail, plan.palette["far"], 0.42)
    flip = plan.flip

    def at(points: Outline, upside: float = 1) -> Outline:
        return placed([(px, py * upside) for px, py in points], x, y, s, flip)

    body = [(-0.5, -0.12), (0.56, -0.15), (0.4, 0.04), (-0.36, 0.05)]
    main = smooth([(0.02, -1.08), (0.26, -0.62), (0.44, -0.24), (0.02, -0.21)], steps=5)
    jib = smooth([(-0.02, -0.98), (-0.2, -0.6), (-0.44, -0.2), (-0.02, -0.2)], steps=5)
    for tint, shape in ((hull, body), (shade, main), (sail, jib)):
        pale = mixed(tint, plan.palette["water0"], 0.45)
        c.fill([at([(px * 0.96, -py * 0.62 + 0.09) for px, py in shape])], pale, 0.42, soft=0.004)
    ripples = [lens(x + c.rng.gauss(0, s * 0.3), y + s * c.rng.uniform(0.06, 0.7), s * c.rng.uniform(0.2, 0.5), 0.006) for _ in range(16)]
    c.fill(ripples, mixed(plan.palette["water0"], plan.palette["sky2"], 0.35), 0.6)
    c.fill([at([(0.0, -1.15), (0.02, -1.15), (0.025, -0.1), (-0.005, -0.1)])], plan.palette["dark"])
    c.fill([at(main)], (sail, shade), wet=0.15)
    c.fill([at(jib)], (lighter(sail, 0.03), mixed(sail, shade, 0.5)), wet=0.15)
    c.fill([at(body)], (lighter(hull, 0.04), lighter(hull, -0.14)), wet=0.2)
    c.fill([at([(-0.5, -0.12), (0.56, -0.15), (0.54, -0.12), (-0.48, -0.09)])], lighter(hull, 0.16))
    c.fill([lens(x, y + s * 0.06, s * 1.15, s * 0.05)], plan.palette["paper"], 0.5)


def paint_birds(c: Canvas, plan: Plan) -> None:
    """One bird on a branch close by, or a loose flock under the sky."""
    if plan.wording.subject[:1] == ("bird",):
        _perched(c, plan, plan.palette.of("bird", "accent"))
        return
    paint_flock(c, plan)


def paint_flock(c: Canvas, plan: Plan) -> None:
    """Birds far off, under the open sky."""
    tint = plan.palette.of("bird", "dark")
    flock = []
    x, y = c.wide * (0.3 if plan.lamp[0] > c.wide / 2 else 0.7), plan.horizon * 0.42
    for _ in range(c.rng.randint(6, 10)):
        flock.append(_gull(x + c.rng.gauss(0, 0.13), y + c.rng.gauss(0, 0.07), c.rng.uniform(0.018, 0.042), c.rng.uniform(-0.3, 0.3)))
    c.fill(flock, tint, 0.85)


def _gull(x: float, y: float, size: float, turn: float) -> Outline:
    wings = [(-1, -0.15), (-0.5, -0.42), (0, 0), (0.5, -0.42), (1, -0.15), (0.5, -0.26), (0.05, 0.14), (-0.05, 0.14), (-0.5, -0.26)]
    return placed(wings, x, y, size, turn=turn)


def _perched(c: Canvas, plan: Plan, tint: Rgb) -> None:
    x, y = plan.focus[0], c.high * c.rng.uniform(0.42, 0.6)
    s = 0.34 * min(plan.scale, 1.5) * c.rng.uniform(0.8, 1.2)
    facing = c.rng.random() < 0.5
    wood = mixed(plan.palette["dark"], (84, 58, 42), 0.45)
    rise = -0.25 if plan.flip else 0.25
    spine = smooth([(-0.1, y + s * 0.62 - rise * 0.6), (x, y + s * 0.6), (c.wide * 0.7, y + s * 0.62), (c.wide + 0.1, y + s * 0.5 + rise * 0.5)], steps=10)
    c.fill([ribbon(spine, 0.045, 0.02)], (lighter(wood, 0.12), lighter(wood, -0.05)))
    leaves = []
    for px, py in spine[4:-1:2]:
        a = c.rng.uniform(-2.6, -0.5)
        leaves.append(placed(_leaf_shape(), px, py, c.rng.uniform(0.05, 0.10), turn=a))
    c.fill(leaves, (lighter(plan.palette["mid"], 0.06), plan.palette["near"]))

    def at(points: Outline) -> Outline:
        return placed(points, x, y, s, facing)

    tail = smooth([(0.30, 0.22), (0.86, 0.74), (0.74, 0.86), (0.18, 0.42)], closed=True)
    body = smooth([(-0.43, -0.28), (-0.38, -0.42), (-0.22, -0.51), (-0.03, -0.44), (0.13, -0.22), (0.42, 0.16), (0.36, 0.42), (0.05, 0.56), (-0.24, 0.48), (-0.43, 0.26), (-0.47, 0.02), (-0.42, -0.16)], closed=True)
    wing = smooth([(-0.02, -0.14), (0.24, 0.02), (0.62, 0.5), (0.30, 0.42), (0.02, 0.24)], closed=True)
    belly = smooth([(-0.42, -0.10), (-0.18, 0.0), (-0.04, 0.28), (0.05, 0.53), (-0.22, 0.46), (-0.42, 0.25), (-0.455, 0.04)], closed=True)
    c.fill([at(tail)], (lighter(tint, -0.08), lighter(tint, -0.2)))
    c.fill([at(body)], (lighter(tint, 0.08), lighter(tint, -0.08)), wet=0.2)
    c.fill([at(belly)], mixed(plan.palette["paper"], tint, 0.25), 0.85, soft=0.006)
    c.fill([at(wing)], (lighter(tint, -0.05), lighter(tint, -0.2)), wet=0.25)
    feathers = [at([(0.1 + 0.1 * i, 0.06 + 0.07 * i), (0.44 + 0.05 * i, 0.40 + 0.02 * i), (0.42 + 0.05 * i, 0.42 + 0.02 * i)]) for i in range(3)]
    c.fill(feathers, lighter(tint, 0.12), 0.7)
    c.fill([at([(-0.40, -0.34), (-0.60, -0.25), (-0.40, -0.22)])], plan.palette["light"] if not plan.palette.dark else (240, 190, 90))
    c.fill([at(disc(-0.27, -0.31, 0.045))], plan.palette["dark"])
    c.fill([at(disc(-0.285, -0.325, 0.014))], (255, 255, 255))
    c.fill([at(ribbon([(dx, 0.5), (dx - 0.02, 0.62)], 0.022, 0.018)) for dx in (-0.06, 0.08)], lighter(wood, -0.05))


def _leaf_shape() -> Outline:
    return smooth([(0, 0), (0.35, -0.2), (0.75, -0.16), (1.0, 0.0), (0.75, 0.14), (0.35, 0.17)], closed=True, steps=4)


def paint_cat(c: Canvas, plan: Plan) -> None:
    """A cat from behind, sitting, tail around its feet, looking at the light."""
    x, y = plan.focus[0], max(plan.focus[1], c.high * 0.80)
    s = 0.56 * min(plan.scale, 1.35)
    fur = plan.palette.of("cat", "dark")
    rim = mixed(plan.palette["light"], fur, 0.35)

    def at(points: Outline) -> Outline:
        return placed(points, x, y, s, plan.flip)

    c.fill([disc(x, y, s * 0.42, s * 0.05)], plan.palette["dark"], 0.5, soft=0.015)
    tail = smooth([(0.2, -0.03), (0.42, -0.04), (0.60, -0.12), (0.66, -0.28), (0.58, -0.36)], steps=8)
    body = smooth([(-0.10, -0.62), (-0.20, -0.48), (-0.26, -0.25), (-0.30, -0.06), (-0.22, 0.01), (0.0, 0.02), (0.22, 0.01), (0.30, -0.06), (0.26, -0.25), (0.20, -0.48), (0.10, -0.62)], closed=True)
    head = smooth([(-0.19, -0.76), (-0.17, -0.63), (-0.08, -0.56), (0.08, -0.56), (0.17, -0.63), (0.19, -0.76), (0.11, -0.87), (0.0, -0.89), (-0.11, -0.87)], closed=True)
    ears = [[(-0.19, -0.74), (-0.185, -1.02), (-0.05, -0.87)], [(0.19, -0.74), (0.185, -1.02), (0.05, -0.87)]]
    shift = -0.008 if plan.lamp[0] < x else 0.008
    whole = [at(ribbon(tail, 0.10, 0.055)), at(body), at(head), *(at(ear) for ear in ears)]
    c.fill([[(px + shift, py - 0.007) for px, py in shape] for shape in whole], rim, 0.7, soft=0.003)
    c.fill(whole, (lighter(fur, 0.07), lighter(fur, -0.03)))
    c.fill([at([(-0.155, -0.80), (-0.16, -0.95), (-0.09, -0.87)]), at([(0.155, -0.80), (0.16, -0.95), (0.09, -0.87)])], mixed(fur, plan.palette["accent"], 0.4), 0.7)
    if "cat" in plan.palette.bound:
        stripes = [at(ribbon([(-0.12, -0.5 + 0.11 * i), (0.0, -0.47 + 0.11 * i), (0.12, -0.5 + 0.11 * i)], 0.02, 0.02)) for i in range(4)]
        c.fill(stripes, lighter(fur, -0.12), 0.7)


def paint_dog(c: Canvas, plan: Plan) -> None:
    """A fox or dog, sitting in profile."""
    x, y = plan.focus[0], max(plan.focus[1], c.high * 0.82)
    s = 0.58 * min(plan.scale, 1.35)
    natural = plan.palette["accent"] if plan.wording.colours else mixed((205, 106, 46), plan.palette["accent"], 0.15)
    fur = plan.palette.bound.get("dog", natural)
    if plan.palette.dark:
        fur = mixed(fur, plan.palette["dark"], 0.25)
    white = mixed(plan.palette["paper"], fur, 0.15)

    def at(points: Outline) -> Outline:
        return placed(points, x, y, s, plan.flip)

    c.fill([disc(x, y, s * 0.45, s * 0.05)], plan.palette["dark"], 0.5, soft=0.015)
    tail = smooth([(0.20, -0.04), (0.44, -0.02), (0.62, -0.14), (0.72, -0.34), (0.60, -0.40), (0.44, -0.26), (0.26, -0.18)], closed=True)
    body = smooth([(-0.12, -0.62), (0.06, -0.58), (0.20, -0.38), (0.30, -0.16), (0.26, 0.0), (-0.02, 0.01), (-0.10, 0.01), (-0.17, -0.25), (-0.22, -0.46)], closed=True)
    head = smooth([(-0.50, -0.68), (-0.32, -0.83), (-0.14, -0.90), (0.02, -0.82), (0.05, -0.66), (-0.05, -0.56), (-0.25, -0.57), (-0.44, -0.62)], closed=True)
    c.fill([at(tail)], (lighter(fur, 0.04), lighter(fur, -0.12)), wet=0.2)
    c.fill([at(smooth([(0.72, -0.34), (0.60, -0.40), (0.57, -0.30), (0.66, -0.22)], closed=True))], white)
    c.fill([at([(-0.17, -0.45), (-0.20, 0.01), (-0.11, 0.01), (-0.05, -0.4)])], lighter(fur, -0.16))
    c.fill([at(body)], (lighter(fur, 0.07), lighter(fur, -0.1)), wet=0.2)
    c.fill([at(smooth([(-0.21, -0.52), (-0.06, -0.5), (-0.08, -0.25), (-0.16, -0.12)], closed=True))], white, 0.85, soft=0.008)
    c.fill([at([(-0.12, -0.84), (-0.10, -1.08), (0.02, -0.84)]), at([(-0.02, -0.82), (0.06, -1.02), (0.06, -0.76)])], (fur, lighter(fur, -0.15)))
    c.fill([at(head)], (lighter(fur, 0.08), lighter(fur, -0.06)), wet=0.15)
    c.fill([at(smooth([(-0.49, -0.67), (-0.30, -0.70), (-0.14, -0.62), (-0.25, -0.57), (-0.44, -0.62)], closed=True))], white, 0.9)
    c.fill([at(disc(-0.49, -0.665, 0.028)), at(disc(-0.22, -0.755, 0.02))], plan.palette["dark"])
    c.fill([at([(-0.13, -0.02), (-0.13, -0.3), (-0.08, -0.3), (-0.06, 0.01)])], lighter(fur, -0.1), 0.7)


def paint_pond(c: Canvas, plan: Plan) -> None:
    """Dark water, koi, and lily pads along its edges."""
    palette = plan.palette
    along = 0.5 + 0.45 * c.noise(1.2, 1.2, 4) + 0.2 * (c.x - plan.lamp[0])
    light = mixed(palette["water0"], palette["sky2"], 0.4)
    c.rgb[:] = c.pigment(c.ramp([palette["water1"], palette["water0"], light], along), 1.6)
    paint_fish(c, plan)
    leaf = mixed(palette["mid"], (92, 140, 96), 0.4)
    for _ in range(7):
        shore = c.rng.choice((c.rng.uniform(0, 0.18), c.rng.uniform(0.82, 1.0)))
        x, y, r, a = c.rng.uniform(0, c.wide), shore * c.high, c.rng.uniform(0.05, 0.11), c.rng.uniform(0, math.tau)
        cut = [(x, y), *((x + r * 1.1 * math.cos(b), y + r * 1.1 * math.sin(b)) for b in (a, a + 0.35))]
        c.fill([disc(x, y, r, r * 0.92)], (lighter(leaf, 0.07), lighter(leaf, -0.08)), wet=0.25)
        c.fill([cut], palette["water0"])


def paint_fish(c: Canvas, plan: Plan) -> None:
    """Koi seen from above, turning around each other."""
    tint = plan.palette.of("fish", "accent")
    white = mixed(plan.palette["paper"], plan.palette["water0"], 0.1)
    for i in range(4):
        a = i * math.tau / 4 + c.rng.uniform(-0.3, 0.3) + (0.8 if plan.flip else 0)
        reach = c.rng.uniform(0.2, 0.32)
        x, y = c.wide * 0.5 + (plan.focus[0] - c.wide * 0.5) * 0.6 + reach * math.cos(a) * c.wide, c.high * 0.52 + reach * math.sin(a)
        _koi(c, plan, x, y, 0.23 * plan.scale * c.rng.uniform(0.8, 1.15), a + math.pi / 2, tint, white)


def _koi(c: Canvas, plan: Plan, x: float, y: float, s: float, turn: float, tint: Rgb, white: Rgb) -> None:
    sway = c.rng.choice((-0.14, 0.14))
    spine = [(0.62, 0.0), (0.35, 0.02), (0, sway * 0.5), (-0.4, sway), (-0.62, sway * 0.5)]
    body = smooth([(0.64, 0), (0.42, -0.15), (0.05, -0.19 + sway * 0.4), (-0.42, -0.07 + sway), (-0.58, sway * 0.8), (-0.42, 0.07 + sway), (0.05, 0.19 + sway * 0.4), (0.42, 0.15)], closed=True)
    fins = [[(0.25, -0.14), (0.05, -0.42), (0.02, -0.16)], [(0.25, 0.14), (0.05, 0.42), (0.02, 0.16)], [(-0.54, sway * 0.8), (-0.95, sway - 0.28), (-0.80, sway * 0.4), (-0.95, sway + 0.2)]]

    def at(points: Outline) -> Outline:
        return placed(points, x, y, s, turn=turn)

    c.fill([[(px + 0.03, py + 0.04) for px, py in at(body)]], plan.palette["water1"], 0.6, soft=0.018)
    c.fill([at(fin) for fin in fins], mixed(white, tint, 0.35), 0.6, soft=0.003)
    c.fill([at(body)], (white, mixed(white, plan.palette["water0"], 0.35)), wet=0.2)
    spots = [blob(px + c.rng.uniform(-0.05, 0.05), py + c.rng.uniform(-0.06, 0.06), c.rng.uniform(0.08, 0.18), c.rng.uniform(0.06, 0.12), c.rng) for px, py in spine[1:4]]
    c.fill([at(spot) for spot in spots], tint, 0.92, soft=0.002)
    c.fill([at(disc(0.52, dy, 0.018)) for dy in (-0.07, 0.07)], plan.palette["dark"])


def paint_figure(c: Canvas, plan: Plan) -> None:
    """A small person in a coat, seen from behind, who gives the place its size."""
    if plan.says("mountain", "fog", "sea", "forest", "hill") or not plan.wording.subject[1:]:
        paint_knoll(c, plan)
    x, y = plan.focus
    s = 0.2 * min(plan.scale, 1.5)
    coat = plan.palette.of("clothes", "accent")
    dark = plan.palette["dark"]

    def at(points: Outline) -> Outline:
        return placed(points, x, y, s, plan.flip)

    lean = 0.6 if plan.lamp[0] < x else -0.6
    c.fill([[(x - 0.02, y), (x + 0.02, y), (x + lean * s * 1.2 + 0.02, y + s * 0.45), (x + lean * s * 1.2 - 0.03, y + s * 0.45)]], dark, 0.35, soft=0.006)
    c.fill([at([(-0.11, 0.0), (-0.13, -0.45), (0.0, -0.45), (-0.02, 0.0)]), at([(0.03, 0.02), (0.02, -0.45), (0.13, -0.45), (0.13, 0.02)])], dark)
    coat_shape = smooth([(-0.10, -0.88), (-0.19, -0.8), (-0.24, -0.32), (0.0, -0.28), (0.24, -0.32), (0.19, -0.8), (0.10, -0.88)], closed=True)
    c.fill([at(coat_shape)], (lighter(coat, 0.06), lighter(coat, -0.16)), wet=0.2)
    c.fill([at(disc(0, -1.0, 0.105, 0.12))], mixed(dark, (70, 46, 34), 0.5))
    c.fill([at([(-0.17, -0.94), (0.17, -0.94), (0.10, -0.86), (-0.10, -0.86)])], lighter(coat, 0.1))


def paint_balloons(c: Canvas, plan: Plan) -> None:
    """Hot-air balloons, one near, some far."""
    tint = plan.palette.of("balloon", "accent")
    for i in range(5, -1, -1):
        near = i == 0
        s = (0.34 if near else c.rng.uniform(0.05, 0.12)) * min(plan.scale, 1.3)
        x = plan.focus[0] if near else c.rng.uniform(0.05, 0.95) * c.wide
        y = plan.horizon * (0.55 if near else c.rng.uniform(0.25, 0.85))
        body = tint if near else mixed(c.rng.choice((tint, plan.palette["near"], plan.palette["paper"], plan.palette["mid"])), plan.palette["sky2"], 0.3)
        _balloon(c, plan, x, y, s, body)


def _balloon(c: Canvas, plan: Plan, x: float, y: float, s: float, body: Rgb) -> None:
    gores = 7
    other = mixed(plan.palette["paper"], body, 0.12)
    for i in range(gores):
        a, b = -1 + 2 * i / gores, -1 + 2 * (i + 1) / gores
        left, right = math.sin(a * math.pi / 2), math.sin(b * math.pi / 2)
        rim = [(0.0, -0.55), (0.30, -0.46), (0.44, -0.2), (0.42, 0.02), (0.26, 0.30), (0.09, 0.52)]
        edge_left = smooth([(left * px / 0.44 * 0.44, py) for px, py in rim], steps=5)
        edge_right = smooth([(right * px / 0.44 * 0.44, py) for px, py in rim], steps=5)
        shade = lighter(body if i % 2 == 0 else other, 0.06 - 0.045 * abs(i - (2 if plan.lamp[0] < x else 4)))
        c.fill([placed(edge_left + edge_right[::-1], x, y, s)], (shade, lighter(shade, -0.05)))
    ropes = [placed(ribbon([(dx, 0.5), (dx * 0.7, 0.7)], 0.012, 0.012), x, y, s) for dx in (-0.08, 0.08)]
    c.fill(ropes, plan.palette["dark"], 0.7)
    c.fill([placed([(-0.07, 0.68), (0.07, 0.68), (0.055, 0.8), (-0.055, 0.8)], x, y, s)], (lighter(plan.palette["dark"], 0.22), plan.palette["dark"]))
