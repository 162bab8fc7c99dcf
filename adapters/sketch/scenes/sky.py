"""Skies: gradient and glow, sun, moon and stars, clouds, aurora, and the weather that falls in front of all."""

import math

import numpy as np

from adapters.sketch.canvas import Canvas, lighter, mixed, shifted
from adapters.sketch.composition import Plan
from adapters.sketch.shapes import Outline, disc, lens, ribbon
from tools.media.colours import COLOURS, Rgb


def paint_sky(c: Canvas, plan: Plan) -> None:
    """The whole sky, with stars, aurora, sun or moon, clouds, rainbow and lightning as the words ask."""
    palette, horizon = plan.palette, max(plan.horizon, 0.2)
    along = c.y / (horizon * 1.04) + 0.07 * c.blotch + 0.04 * (c.x / c.wide - plan.lamp[0] / c.wide)
    c.rgb[:] = c.pigment(c.ramp([palette["sky0"], palette["sky1"], palette["sky2"]], along), 0.5)
    x, y = plan.lamp
    strength = {"night": 0.35, "storm": 0.25, "grey": 0.3, "day": 0.4}.get(plan.hour, 0.6)
    warm = palette["light"]
    c.glow(x, y, 0.55, mixed(palette["sky2"], warm, 0.5), strength)
    c.glow(x, y, 0.2, warm, strength * 0.8)
    if plan.hour == "night" or plan.says("star", "space"):
        paint_stars(c, plan)
    if plan.says("aurora"):
        paint_aurora(c, plan)
    lit = plan.hour in ("dawn", "golden", "sunset", "night", "dusk") and not plan.says("aurora")
    if plan.says("moon", "sun") or (lit and not plan.says("rain", "storm", "fog", "cloud", "stormy")):
        paint_lamp(c, plan)
    paint_clouds(c, plan)
    if plan.says("rainbow"):
        paint_rainbow(c, plan)
    if plan.says("storm"):
        paint_lightning(c, plan)


def paint_lamp(c: Canvas, plan: Plan) -> None:
    """The sun, or by night the moon: full or crescent."""
    x, y = plan.lamp
    big = 1.5 if plan.wording.subject[:1] in (("moon",), ("sun",)) else 1.0
    radius = c.rng.uniform(0.055, 0.085) * big * (plan.scale**0.5)
    night = "moon" in plan.wording.subject or (plan.hour in ("night", "dusk") and "sun" not in plan.wording.subject)
    light = plan.palette.of("moon" if night else "sun", "light")
    c.glow(x, y, radius * 2.6, light, 0.45)
    if night and plan.flip and big == 1.0 and not plan.says("eerie"):
        c.fill([_crescent(x, y, radius)], light)
        return
    c.fill([disc(x, y, radius)], (lighter(light, 0.03), mixed(light, plan.palette["sky2"], 0.18)))
    if night:
        for _ in range(9):
            a, r = c.rng.uniform(0, math.tau), radius * math.sqrt(c.rng.random()) * 0.75
            size = radius * c.rng.uniform(0.08, 0.26)
            c.fill(
                [disc(x + r * math.cos(a), y + r * math.sin(a), size, size * 0.85)],
                lighter(light, -0.09),
                0.5,
                size * 0.12,
            )


def _crescent(x: float, y: float, r: float) -> Outline:
    outer = [(x + r * math.cos(a), y + r * math.sin(a)) for a in (-2.0 + 4.0 * i / 30 for i in range(31))]
    inner = [
        (x - 0.55 * r + 1.05 * r * math.cos(a) * 0.98, y + 0.93 * r * math.sin(a))
        for a in (1.34 - 2.68 * i / 24 for i in range(25))
    ]
    return outer + inner


def paint_stars(c: Canvas, plan: Plan) -> None:
    """Stars above the horizon, and the Milky Way if the sky is the subject."""
    floor = plan.horizon if not plan.says("space") else c.high
    light = mixed(plan.palette["light"], (255, 255, 255), 0.4)
    if plan.says("star", "space"):
        _milky_way(c, plan)
    count = int((220 if plan.says("star", "space") else 90) * c.wide * floor)
    small: list[Outline] = []
    large: list[Outline] = []
    for _ in range(count):
        x, y, size = c.rng.uniform(0, c.wide), floor * c.rng.random() ** 1.2, c.rng.random() ** 6
        (large if size > 0.5 else small).append(disc(x, y, 0.0011 + 0.0024 * size, steps=7))
        if size > 0.8:
            reach = 0.010 + 0.012 * size
            large += [
                ribbon([(x - reach, y), (x, y), (x + reach, y)], 0.0003, 0.0003),
                disc(x, y, 0.0009, reach, steps=8),
            ]
    c.fill(small, light, 0.75)
    c.fill(large, light, 0.95)


def _milky_way(c: Canvas, plan: Plan) -> None:
    slope = (0.7 if plan.flip else -0.7) + c.rng.uniform(-0.2, 0.2)
    middle = c.high * 0.4 + slope * (c.x - c.wide / 2) + 0.09 * c.noise(2, 2, 3)
    band = np.exp(-(((c.y - middle) / 0.16) ** 2))
    cloud = np.clip(0.55 + 0.5 * c.noise(5, 5, 4), 0, 1)
    c.wash(band * cloud, c.ramp([plan.palette["sky2"], plan.palette["light"]], band * cloud * 0.8), 0.5)
    c.wash(np.clip(c.noise(3, 3, 4) - 0.25, 0, 1) * band, plan.palette["accent"], 0.28)


def paint_aurora(c: Canvas, plan: Plan) -> None:
    """Three curtains of northern lights."""
    greens: list[Rgb] = [(80, 240, 170), (70, 190, 230), (190, 110, 230)]
    for i in range(3):
        foot = plan.horizon * (0.55 + 0.13 * i) + 0.12 * c.noise(1.6, 0.01, 3)[:1]
        rays = 0.55 + 0.45 * c.noise(26, 0.3, 2)
        rise = (foot - c.y) / (0.42 * plan.horizon)
        veil = np.where(rise > 0, np.exp(-rise * 2.3), np.exp(rise * 14)) * np.clip(rays, 0.1, 1.2)
        tint = c.ramp([greens[0], greens[1], greens[2]], np.clip(rise * 0.9 + 0.1 * i, 0, 1))
        c.rgb += tint * (veil * 0.62)[..., None] * (1.05 - c.rgb)


def paint_clouds(c: Canvas, plan: Plan) -> None:
    """Heaped clouds by day, long banks at other hours and in a storm."""
    if plan.says("clear") or (plan.hour == "night" and not plan.says("cloud", "storm", "rain")):
        return
    heavy = 1.0 if plan.says("storm", "stormy") else 0.6 if plan.says("rain", "cloud", "fog", "dramatic") else 0.0
    if plan.hour == "day" and heavy < 1:
        _cumulus(c, plan, cover=0.1 + 0.4 * heavy)
    else:
        _stratus(c, plan, cover=heavy)


def _cumulus(c: Canvas, plan: Plan, cover: float) -> None:
    """Heaped clouds, lit from the lamp's side, flatter underneath."""
    bumps = c.noise(1.7, 3.2, 5) + 0.25 * np.sin(c.y * (9 + 3 * c.rng.random()))
    height = 1 - np.clip(c.y / plan.horizon, 0, 1)
    density = np.clip((bumps - 0.42 + cover) * 3.2, 0, 1) * np.clip(height * 5, 0, 1)
    step = max(2, int(0.018 * c.unit))
    side = step if plan.lamp[0] > c.wide / 2 else -step
    shade = np.clip(0.5 + 1.1 * (shifted(bumps, -step, -side) - bumps), 0, 1)
    white = mixed(plan.palette["paper"], plan.palette["light"], 0.5)
    shadow = mixed(plan.palette["sky1"], plan.palette["far"], 0.35)
    c.wash(density, c.ramp([white, mixed(white, shadow, 0.45), shadow], shade), 0.92)


def _stratus(c: Canvas, plan: Plan, cover: float) -> None:
    """Long banks; low sun sets their underside alight."""
    bands = c.noise(1.1, 6.5, 4) + 0.4 * cover
    mask = np.clip((bands - 0.28) * 2.6, 0, 1) * np.clip((plan.horizon * 1.02 - c.y) * 9, 0, 1)
    step = max(2, int(0.014 * c.unit))
    under = np.clip(0.5 + 1.6 * (shifted(bands, step, 0) - bands), 0, 1)
    near = np.exp(-(((c.x - plan.lamp[0]) ** 2 + 2.2 * (c.y - plan.lamp[1]) ** 2) / 0.35))
    lit = mixed(plan.palette["sky2"], plan.palette["light"], 0.45)
    body = (
        mixed(plan.palette["sky0"], plan.palette["far"], 0.5) if cover < 0.9 else lighter(plan.palette["sky0"], -0.05)
    )
    glow = np.clip(under * (0.3 + 0.9 * near) + 0.25 * near, 0, 1)
    c.wash(mask, c.ramp([body, mixed(body, lit, 0.55), lit], glow), 0.62 + 0.25 * cover)


def paint_rainbow(c: Canvas, plan: Plan) -> None:
    """A rainbow above the horizon."""
    centre = (c.wide * (0.35 if plan.flip else 0.65), plan.horizon + 0.1)
    radius = np.sqrt((c.x - centre[0]) ** 2 + (c.y - centre[1]) ** 2)
    place = (radius - (0.52 * c.high)) / 0.085
    names = ("violet", "blue", "green", "yellow", "orange", "red")
    mask = np.clip(1 - np.abs(place * 2 - 1), 0, 1) ** 0.5 * (c.y < plan.horizon)
    c.wash(mask * np.clip(0.8 + 0.4 * c.blotch, 0.2, 1), c.ramp([COLOURS[n].rgb for n in names], place), 0.5)


def paint_lightning(c: Canvas, plan: Plan) -> None:
    """A forked flash from the top to the horizon."""
    x, y = plan.lamp[0], 0.0
    spine = [(x, y)]
    while y < plan.horizon:
        x, y = x + c.rng.uniform(-0.045, 0.045), y + c.rng.uniform(0.02, 0.06)
        spine.append((x, y))
    fork = spine[len(spine) // 2]
    arm = [fork, (fork[0] + 0.06, fork[1] + 0.05), (fork[0] + 0.08, fork[1] + 0.13), (fork[0] + 0.13, fork[1] + 0.17)]
    light = mixed(plan.palette["light"], (255, 255, 255), 0.5)
    bolt = [ribbon(spine, 0.010, 0.003), ribbon(arm, 0.005, 0.001)]
    c.fill(bolt, light, 0.6, soft=0.02)
    c.fill(bolt, light)


def paint_fog(c: Canvas, plan: Plan) -> None:
    """Banks of fog in the distance and in the hollows; what stands near is left clear."""
    for depth, amount in ((-0.02, 0.75), (0.12, 0.6), (0.34, 0.35)):
        level = plan.horizon + depth
        veil = np.exp(-(((c.y - level + 0.05 * c.noise(1.2, 3, 2)) / (0.08 + 0.10 * abs(depth))) ** 2))
        c.wash(
            veil * np.clip(0.85 + 0.4 * c.blotch, 0, 1),
            mixed(plan.palette["sky2"], plan.palette["paper"], 0.25),
            amount,
        )


def paint_weather(c: Canvas, plan: Plan) -> None:
    """Rain or snow in front of everything."""
    if plan.says("rain") or ("storm" in plan.wording.weather and "snow" not in plan.wording.weather):
        lean = 0.25 if plan.flip else -0.25
        thin: list[Outline] = []
        thick: list[Outline] = []
        for _ in range(int(420 * c.wide * c.high)):
            x, y, size = c.rng.uniform(-0.1, c.wide + 0.1), c.rng.uniform(-0.1, c.high), c.rng.random()
            drop = ribbon(
                [(x, y), (x + lean * (0.03 + 0.05 * size), y + 0.03 + 0.05 * size)], 0.0008, 0.0012 + 0.0008 * size
            )
            (thick if size > 0.75 else thin).append(drop)
        pale = mixed(plan.palette["sky2"], (255, 255, 255), 0.45)
        c.fill(thin, pale, 0.34)
        c.fill(thick, pale, 0.5)
    if plan.says("snow"):
        far: list[Outline] = []
        near: list[Outline] = []
        for _ in range(int(380 * c.wide * c.high)):
            x, y, size = c.rng.uniform(0, c.wide), c.rng.uniform(0, c.high), c.rng.random() ** 4
            (near if size > 0.4 else far).append(disc(x, y, 0.0018 + 0.006 * size, steps=10))
        c.fill(far, (255, 255, 255), 0.75)
        c.fill(near, (255, 255, 255), 0.8, soft=0.0022)


def paint_glitter(c: Canvas, plan: Plan, top: float) -> None:
    """The path of light on water under sun or moon."""
    x = plan.lamp[0]
    dabs = []
    for _ in range(230):
        depth = c.rng.random() ** 1.7
        y = top + 0.004 + (c.high - top) * depth
        spread = 0.025 + 0.16 * depth
        size = (0.012 + 0.075 * depth) * c.rng.uniform(0.5, 1.4)
        dabs.append(lens(x + c.rng.gauss(0, spread), y, size, 0.10 * size + 0.0015))
    c.fill(dabs, mixed(plan.palette["light"], plan.palette["sky2"], 0.2), 0.72)
