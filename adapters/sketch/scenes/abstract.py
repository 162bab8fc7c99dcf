"""Abstract forms and planets."""

import math

import numpy as np

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.shapes import blob, disc, rect, ribbon, smooth
from tools.media.colours import Rgb


def paint_abstract(c: Canvas, plan: Plan) -> None:
    """Large cut forms in a few colours, balanced around an empty place."""
    palette = plan.palette
    tinted = palette["sky1"], mixed(palette["sky1"], palette["paper"], 0.35)
    ground = c.rng.choice((*tinted, palette["sky2"]) if plan.wording.colours else (palette["paper"], *tinted))
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
        shape = blob(
            x,
            py * c.high + c.rng.gauss(0, 0.06),
            r * c.rng.uniform(0.8, 1.15) * plan.scale,
            r * c.rng.uniform(0.75, 1.1) * plan.scale,
            c.rng,
            0.17,
            8,
        )
        tint = tints[i % len(tints)]
        c.fill([shape], (lighter(tint, 0.05), lighter(tint, -0.06)), 0.94, wet=0.25)
    _lines(c, plan, tints)


def _arches(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Nested arches and a disc above them."""
    x = plan.focus[0]
    c.fill(
        [disc(c.wide - x, c.high * 0.24, 0.15 * plan.scale)],
        (lighter(tints[2], 0.04), lighter(tints[2], -0.06)),
        wet=0.2,
    )
    outer = c.rng.uniform(0.36, 0.46) * plan.scale
    for i in range(4):
        r, w = outer * (1 - 0.23 * i), 0
        top = c.high * 0.46 + outer * 0.18 * i
        arch = [(x + r * math.cos(a), top - r * math.sin(a)) for a in np.linspace(0, math.pi, 30)]
        tint = tints[i + 1 if i < 2 else i + 2]
        c.fill(
            [[*arch, (x - r, c.high + 0.1 + w), (x + r, c.high + 0.1)]],
            (lighter(tint, 0.05), lighter(tint, -0.05)),
            wet=0.2,
        )
    hill = smooth(
        [
            (-0.1, c.high * 0.86),
            (c.wide * 0.3, c.high * 0.78),
            (c.wide * 0.7, c.high * 0.9),
            (c.wide + 0.1, c.high * 0.8),
        ],
        steps=8,
    )
    c.fill([[*hill, (c.wide + 0.1, c.high + 0.1), (-0.1, c.high + 0.1)]], (tints[0], lighter(tints[0], -0.08)), wet=0.2)


def _orbits(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Discs, halves and bars along a slant."""
    x, y = plan.focus[0], c.high * 0.45
    big = c.rng.uniform(0.26, 0.34) * plan.scale
    c.fill(
        [rect(-0.05, c.high * 0.62, c.wide + 0.1, c.high * 0.14)], (tints[1], lighter(tints[1], -0.05)), 0.95, wet=0.2
    )
    c.fill([disc(x, y, big)], (lighter(tints[0], 0.05), lighter(tints[0], -0.07)), wet=0.2)
    half = [(x + big * 0.98 * math.cos(a), y + big * 0.98 * math.sin(a)) for a in np.linspace(-0.9, 2.24, 30)]
    c.fill([half], tints[4], 0.9, wet=0.15)
    side = -1 if x > c.wide / 2 else 1
    for i, r in enumerate((0.13, 0.075, 0.045)):
        a = 0.5 + 0.8 * i + c.rng.uniform(-0.2, 0.2)
        c.fill(
            [
                disc(
                    x + side * (big + 0.16 + 0.07 * i) * math.cos(a * 0.6),
                    y - (big + 0.06) * math.sin(a) + 0.14,
                    r * plan.scale,
                )
            ],
            tints[(i + 2) % len(tints)],
            wet=0.2,
        )
    _lines(c, plan, tints)


def _strata(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    """Torn bands, one over another, under a disc."""
    c.fill(
        [disc(plan.lamp[0], c.high * 0.26, 0.14 * plan.scale)],
        (lighter(tints[2], 0.05), lighter(tints[2], -0.05)),
        wet=0.25,
    )
    slope = c.rng.uniform(-0.35, 0.35) or 0.2
    for i in range(6):
        base = c.high * (0.34 + 0.125 * i)
        line = base + slope * (c.x[0] - (c.wide / 2)) + 0.09 * c.noise(0.8, 0.01, 2)[0]
        tint = tints[(i * 3 + 1) % len(tints)]
        drop = np.clip((c.y - line[None, :]) / 0.22, 0, 1)
        c.wash(c.below(line - 0.006), plan.palette["paper"], 0.7)
        c.wash(
            c.below(line),
            c.pigment(c.ramp([lighter(tint, 0.06), tint, lighter(tint, -0.06)], drop + 0.15 * c.blotch), 1.4),
        )


def _lines(c: Canvas, plan: Plan, tints: list[Rgb]) -> None:
    start = c.rng.uniform(0.1, 0.4) * c.wide
    for i in range(c.rng.randint(2, 4)):
        x = start + 0.045 * i
        knots = [
            (x + c.rng.uniform(-0.02, 0.02) + 0.3 * t * (1 if plan.flip else -0.2), c.high * (-0.02 + 0.27 * t))
            for t in range(5)
        ]
        c.fill([ribbon(smooth(knots, steps=8), 0.007, 0.004)], tints[4], 0.8)


def paint_planet(c: Canvas, plan: Plan) -> None:
    """A ringed planet and its moons."""
    x, y = plan.focus[0], c.high * c.rng.uniform(0.42, 0.58)
    r, turn = c.rng.uniform(0.2, 0.27) * min(plan.scale, 1.4), (0.35 if plan.flip else -0.35)
    body, band = plan.palette["accent"], plan.palette["far"]
    ring = mixed(plan.palette["paper"], body, 0.3)
    orbits = ((1.9, 0.020), (1.72, 0.03), (1.5, 0.016))
    for front in (False, True):
        if front:
            c.glow(x, y, r * 1.5, body, 0.35)
            c.fill([disc(x, y, r, steps=64)], (lighter(body, 0.04), lighter(body, -0.52)))
            inside = np.clip((r - np.hypot(c.x - x, c.y - y)) * c.unit, 0, 1)
            across = (c.y - y) * math.cos(turn) - (c.x - x) * math.sin(turn)
            waves = np.clip(0.5 * np.sin(across * (30 / r / 4) + 1.8 * c.noise(2.5, 4, 3)) + 0.2, 0, 1)
            c.wash(inside * waves, mixed(body, band, 0.6), 0.5)
        a0, a1 = (0, math.pi) if front else (math.pi, math.tau)
        for share, width in orbits:
            arc = [
                (
                    x + r * share * math.cos(a) * math.cos(turn) - r * share * 0.26 * math.sin(a) * math.sin(turn),
                    y + r * share * math.cos(a) * math.sin(turn) + r * share * 0.26 * math.sin(a) * math.cos(turn),
                )
                for a in np.linspace(a0, a1, 40)
            ]
            c.fill([ribbon(arc, width * r * 4, width * r * 4)], ring, 0.75)
    for _ in range(2):
        mx, my, mr = c.rng.uniform(0.1, 0.9) * c.wide, c.rng.uniform(0.08, 0.92) * c.high, c.rng.uniform(0.02, 0.05)
        if math.hypot(mx - x, my - y) > r * 2.1:
            c.fill([disc(mx, my, mr)], (plan.palette["light"], mixed(plan.palette["light"], plan.palette["dark"], 0.7)))
