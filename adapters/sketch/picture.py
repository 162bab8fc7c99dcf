"""A whole picture: what the words name, painted from far to near."""

import hashlib
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from adapters.sketch.brush import brush_over, finish, sign
from adapters.sketch.canvas import Canvas, Field, grey_of
from adapters.sketch.composition import Plan, make_plan
from adapters.sketch.palette import another, mix_palette, unwanted_families
from adapters.sketch.scenes import abstract, land, life, portrait, sky, still_life, town, trees, water
from tools.models.prompt_words import Wording

_BOLDNESS = {"oil": 2.0, "watercolour": 0.8}
_CLEARING = ("river", "hill", "house", "village", "mountain", "person", "dog", "cat")
"""Subjects that need space: with one of them, a forest is a grove around it."""


def paint_picture(wording: Wording, prompt: str, size: tuple[int, int], seed: int) -> Image.Image:
    """The picture for these words; equal prompt, size and seed give an equal picture."""
    image = finish(underpaint(wording, prompt, size, seed), size, wording, seed)
    sign(image)
    return image


def underpaint(wording: Wording, prompt: str, size: tuple[int, int], seed: int) -> Image.Image:
    """The picture without paper, grain and mark, in the size of the canvas."""
    number = number_of(prompt, seed)
    c = Canvas.sized(size, number)
    plan = planned(c, wording, random.Random(number))
    paint_subject(c, plan)
    sky.paint_weather(c, plan)
    if "flat" not in wording.medium:
        bold = next((_BOLDNESS[m] for m in wording.medium if m in _BOLDNESS), 1.1)
        brush_over(c, bold, plan.tilt + (0.12 if plan.flip else -0.12))
    return graded(c, wording)


def planned(c: Canvas, wording: Wording, rng: random.Random) -> Plan:
    """Choose palette and composition for this canvas, and set the direction of its light."""
    plan = make_plan(wording, mix_palette(wording, rng), c.wide, c.high, rng)
    c.light = ((plan.lamp[0] - c.wide / 2) * 1.2 or 0.3, -0.7)
    return plan


def number_of(prompt: str, seed: int) -> int:
    """A number from prompt and seed; neighbouring seeds give unrelated numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()[:8], "big")


def paint_subject(c: Canvas, plan: Plan) -> None:
    """Paint the scene of the first subject that fits."""
    says, subjects = plan.says, plan.wording.subject
    alone = "person" not in subjects
    outdoors = {*subjects} - {"abstract"} or plan.wording.time or plan.wording.weather or "sky" in plan.wording.part
    if says("portrait", "man") and alone:
        portrait.paint_portrait(c, plan)
    elif says("cup") and alone:
        still_life.paint_cup(c, plan)
    elif says("fruit") and alone:
        still_life.paint_fruit(c, plan)
    elif "flower" in subjects and not says("hill", "forest", "mountain", "tree", "house"):
        still_life.paint_flowers(c, plan)
    elif "space" in subjects:
        sky.paint_sky(c, plan)
        abstract.paint_planet(c, plan)
    elif says("fish") and not says("boat"):
        life.paint_pond(c, plan)
    elif outdoors:
        paint_place(c, plan)
    else:
        abstract.paint_abstract(c, plan)


def paint_place(c: Canvas, plan: Plan) -> None:
    """Paint sky, distance, ground or water, and the things on it."""
    says = plan.says
    sky.paint_sky(c, plan)
    wet = says("sea", "boat", "lighthouse", "lake") and not says("desert")
    if says("mountain"):
        land.paint_mountains(c, plan)
    if says("city"):
        town.paint_city(c, plan, plan.horizon + 0.01)
    if says("forest") and not says(*_CLEARING):
        land.paint_forest(c, plan, deep=not wet)
    _paint_ground(c, plan, wet)
    if says("lake", "sea", "city") and not says("boat", "forest") and says("house", "tree", "cat", "dog"):
        land.paint_bank(c, plan)
    if says("fog"):
        sky.paint_fog(c, plan)
    if says("forest") and says(*_CLEARING):
        trees.paint_grove(c, plan, bare=wet)
    dry = not says(
        "sea", "boat", "lake", "desert", "city", "lighthouse", "bridge", "minimal", "emptiness", "river", "snow"
    )
    grass = dry and says("hill", "flower", "spring", "summer", "cat", "dog", "house", "tree")
    for word, paint in _THINGS:
        if word in plan.wording.subject or (word == "grass" and grass):
            paint(c, plan)


_THINGS: tuple[tuple[str, Callable[[Canvas, Plan], None]], ...] = (
    ("bridge", town.paint_bridge),
    ("lighthouse", town.paint_lighthouse),
    ("village", town.paint_village),
    ("balloon", life.paint_balloons),
    ("house", town.paint_house),
    ("tree", trees.paint_lone_tree),
    ("boat", life.paint_boat),
    ("bird", life.paint_birds),
    ("grass", land.paint_grass),
    ("cat", life.paint_cat),
    ("dog", life.paint_dog),
    ("person", life.paint_figure),
)
"""Painted in this order, each over the ones before."""


def _paint_ground(c: Canvas, plan: Plan, wet: bool) -> None:
    says = plan.says
    if _mirrors(c, plan, wet):
        if not says("mountain", "forest", "city", "village"):
            land.paint_shore(c, plan)
        water.paint_lake(c, plan, plan.horizon + (0.05 if says("forest") else 0.02), shore=not says("city"))
    elif wet:
        water.paint_sea(c, plan)
        if not says("boat", "lighthouse", "storm", "mountain", "bird", "fog", "minimal") and c.rng.random() < 0.45:
            water.paint_beach(c, plan)
    elif says("desert"):
        land.paint_dunes(c, plan)
    elif not says("forest") or says(*_CLEARING):
        land.paint_hills(c, plan, layers=3 if says("minimal") else 4)
        if says("river"):
            water.paint_river(c, plan, plan.horizon + 0.02)
        elif says("mountain") and not says("minimal", "person", "forest"):
            trees.paint_firs(c, plan)


def _mirrors(c: Canvas, plan: Plan, wet: bool) -> bool:
    """Whether the ground is still water: where it is named, under a skyline, and under every second mountain."""
    says = plan.says
    if says("lake", "bridge", "city") or (says("boat") and says("mountain", "forest", "village")):
        return not says("desert")
    bare = (
        says("mountain") and not wet and not says("house", "village", "river", "hill", "tree", "person", "dog", "cat")
    )
    return bare and not says("desert", "forest") and c.rng.random() < 0.45


def graded(c: Canvas, wording: Wording) -> Image.Image:
    """Apply what concerns the whole picture (monochrome, sepia, contrast, softness, ink); return it as an image."""
    tone = wording.tone
    grey = grey_of(c.rgb)[..., None]
    if "sepia" in tone or "monochrome" in tone:
        low, high = np.percentile(grey[::7, ::7], (1.5, 98.5))
        grey = np.clip((grey - low) / max(float(high - low), 0.2), 0, 1).astype(np.float32)
    if "contrast" in tone:
        c.rgb += (c.rgb - 0.5) * 0.28
    if "soft" in tone:
        c.rgb += (0.56 - c.rgb) * 0.16
    if "muted" in tone:
        c.rgb += (grey - c.rgb) * 0.3
    if "vibrant" in tone:
        c.rgb += (c.rgb - grey) * 0.18
    if "ink" in wording.medium:
        _draw_in_ink(c, grey[..., 0], 0.55 if wording.colours else 0.12)
    if "sepia" in tone:
        c.rgb[:] = c.ramp([(38, 26, 18), (122, 90, 60), (206, 176, 134), (246, 234, 210)], grey[..., 0])
    elif "monochrome" in tone:
        c.rgb[:] = c.ramp([(12, 12, 14), (128, 127, 126), (250, 249, 246)], grey[..., 0])
    unwanted = unwanted_families(wording)
    if not unwanted:
        return c.image()

    def replaced(r: float, g: float, b: float) -> tuple[float, ...]:
        """A mixture that happens to be in an unwanted family becomes another colour."""
        rgb = another((round(r * 255), round(g * 255), round(b * 255)), unwanted)
        return tuple(channel / 255 for channel in rgb)

    return c.image().filter(ImageFilter.Color3DLUT.generate(17, replaced))


def _draw_in_ink(c: Canvas, grey: Field, colour: float) -> None:
    """Contours and thin washes on paper; `colour` is how much of the paint's own stays."""
    levels = Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8))
    blurred = np.asarray(levels.filter(ImageFilter.GaussianBlur(2.5)), np.float32) / 255
    lines = np.clip((blurred - grey) * 9 - 0.08, 0, 1)
    tone = np.clip(grey * 0.9 + 0.2, 0, 1)
    wash = c.ramp([(34, 32, 40), (150, 148, 150), (232, 228, 218), (250, 247, 238)], tone)
    c.rgb[:] = (wash + (c.rgb - wash) * colour) * (1 - 0.85 * lines[..., None])
