"""The composition: where things are placed, chosen at random within what the words ask for."""

import random

import msgspec

from adapters.sketch.palette import Palette, hour_of
from tools.models.prompt_words import Wording


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A composition in canvas units (the short side is 1; y runs down)."""

    wording: Wording
    palette: Palette
    hour: str
    horizon: float
    lamp: tuple[float, float]
    """The position of sun or moon, visible or not."""
    focus: tuple[float, float]
    """The main thing: its x, and y of its foot."""
    scale: float
    """How large things are: 1 is normal, more is closer."""
    flip: bool
    tilt: float
    """Slope of the ground, in units of height per unit of width."""

    def says(self, *words: str) -> bool:
        """Whether the prompt contains any of these words."""
        return not frozenset(self.wording.words).isdisjoint(words)


def make_plan(wording: Wording, palette: Palette, wide: float, high: float, rng: random.Random) -> Plan:
    """A composition for a canvas of `wide` × `high` units."""
    horizon = high * _horizon(wording, rng)
    flip = rng.random() < 0.5
    if {"symmetrical", "centred"} & {*wording.layout}:
        side = 0.5
    elif "thirds" in wording.layout:
        side = 1 / 3
    else:
        side = rng.uniform(0.2, 0.3) if "emptiness" in wording.layout else rng.uniform(0.28, 0.44)
    focus_x = wide * (1 - side if flip else side)
    away = rng.uniform(0.24, 0.42) * (1 if side < 0.5 else -1)
    lamp_side = 0.5 if "symmetrical" in wording.layout else min(max(side + away, 0.12), 0.88)
    hour = hour_of(wording)
    low = hour in ("sunset", "dawn", "golden")
    lamp_y = horizon * (rng.uniform(0.72, 0.93) if low else rng.uniform(0.22, 0.55))
    scale = 0.85 if "minimal" in wording.mood else 1.0
    for word, factor in (("close", 1.5), ("wide", 0.68), ("emptiness", 0.7)):
        scale *= factor if word in wording.layout else 1.0
    return Plan(
        wording=wording,
        palette=palette,
        hour=hour,
        horizon=horizon,
        lamp=(wide * (1 - lamp_side if flip else lamp_side), lamp_y),
        focus=(focus_x, horizon + (high - horizon) * rng.uniform(0.3, 0.5)),
        scale=scale * rng.uniform(0.9, 1.15),
        flip=flip,
        tilt=rng.uniform(0.06, 0.14) * (1 if flip else -1) if "diagonal" in wording.layout else 0.0,
    )


def _horizon(wording: Wording, rng: random.Random) -> float:
    if "low" in wording.layout or "emptiness" in wording.layout or "minimal" in wording.mood:
        return rng.uniform(0.68, 0.78)
    if "high" in wording.layout:
        return rng.uniform(0.26, 0.36)
    if "symmetrical" in wording.layout:
        return rng.uniform(0.5, 0.62)
    if wording.subject[:1] in (("mountain",), ("city",), ("lighthouse",), ("balloon",)):
        return rng.uniform(0.6, 0.74)
    return rng.choice((rng.uniform(0.42, 0.5), rng.uniform(0.56, 0.68)))
