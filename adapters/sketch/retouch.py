"""Pictures made from a picture: edit, inpaint, outpaint, variation, upscale."""

import random
import re

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from adapters.sketch.brush import brush_over, finish, sign
from adapters.sketch.canvas import Canvas, Field, grey_of, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.order import Work
from adapters.sketch.picture import graded, number_of, planned, underpaint
from adapters.sketch.scenes import life, sky, trees
from tools.media.masks import area_to_change
from tools.models.prompt_words import Wording

_ADDING = re.compile(r"\b(add|put|place|insert|include|with)\b", re.IGNORECASE)


def edit(work: Work, wording: Wording, start: Image.Image) -> Image.Image:
    """The same composition, painted over in the colours, light and weather of the words."""
    c, plan = _canvas_and_plan(work, wording, ImageOps.fit(_opaque(start), work.size, Image.Resampling.LANCZOS))
    asked = bool(wording.colours or wording.time or wording.tone or wording.mood or wording.season or wording.weather)
    _recolour(c, plan, 0.62 if asked else 0.3)
    c.glow(*plan.lamp, 0.6, plan.palette["light"], 0.3)
    if plan.hour == "night" and "night" in wording.time:
        sky.paint_stars(c, plan)
    if "moon" in wording.subject or "sun" in wording.subject:
        sky.paint_lamp(c, plan)
    if _ADDING.search(work.prompt):
        _add_things(c, plan)
    if "fog" in wording.weather:
        sky.paint_fog(c, plan)
    sky.paint_weather(c, plan)
    brush_over(c, 1.2, 0.1)
    return _finished(graded(c, wording), work, wording)


def variation(work: Work, wording: Wording, start: Image.Image) -> Image.Image:
    """An image like the start: from a slightly different view, in other light and with other brush strokes."""
    rng = random.Random(number_of(work.prompt, work.seed))
    seen = _seen_from_aside(ImageOps.fit(_opaque(start), work.size, Image.Resampling.LANCZOS), rng)
    c, plan = _canvas_and_plan(work, wording, seen)
    if wording.words:
        _recolour(c, plan, 0.25)
    c.rgb *= np.array([1 + rng.uniform(-0.07, 0.07) for _ in range(3)], np.float32)
    x, y = rng.uniform(0.1, 0.9) * c.wide, rng.uniform(0.1, 0.9) * c.high
    c.glow(x, y, 0.45, mixed(plan.palette["light"], (255, 255, 255), 0.4), 0.42)
    shadow = np.exp(-((c.x - (c.wide - x)) ** 2 + (c.y - (c.high - y)) ** 2) / 0.3)
    c.wash(np.asarray(shadow, np.float32), mixed(plan.palette["dark"], (40, 40, 60), 0.5), 0.34)
    brush_over(c, 1.5, rng.uniform(-0.6, 0.6))
    return _finished(graded(c, wording), work, wording)


def inpaint(work: Work, wording: Wording, start: Image.Image, mask: Image.Image) -> Image.Image:
    """The start with the masked area painted anew; all other pixels are unchanged."""
    area = area_to_change(mask if mask.size == start.size else mask.resize(start.size, Image.Resampling.NEAREST))
    box = area.getbbox()
    if box is None:
        return start.copy()
    size = max(64, box[2] - box[0]), max(64, box[3] - box[1])
    fresh = finish(underpaint(wording, work.prompt, size, work.seed), size, wording, work.seed)
    fresh = fresh.crop((0, 0, box[2] - box[0], box[3] - box[1])).convert(start.mode)
    sign(fresh)
    inside = area.crop(box)
    soft = inside.filter(ImageFilter.GaussianBlur(max(1.0, min(size) * 0.02)))
    blend = np.asarray(soft, np.float32)
    blend = np.where(np.asarray(inside) > 0, np.clip(blend * 2 - 128, 64, 255), 0).astype(np.uint8)
    out = start.copy()
    out.paste(fresh, box[:2], Image.fromarray(blend))
    return out


def outpaint(work: Work, wording: Wording, start: Image.Image) -> Image.Image:
    """A larger image with the unchanged start in its middle."""
    width, height = work.size
    left, top = (width - start.width) // 2, (height - start.height) // 2
    right, bottom = width - start.width - left, height - start.height - top
    pads = ((top, bottom), (left, right), (0, 0))
    around = Image.fromarray(np.pad(np.asarray(_opaque(start)), pads, mode="symmetric"))
    c = _canvas(work, around)
    far = _pixels(underpaint(wording, work.prompt, work.size, work.seed), c)
    scale = c.width / width
    gap_x = np.maximum(np.maximum(left * scale - np.arange(c.width), np.arange(c.width) - (width - right) * scale), 0)
    gap_y = np.maximum(
        np.maximum(top * scale - np.arange(c.height), np.arange(c.height) - (height - bottom) * scale), 0
    )
    distance = np.hypot(gap_x[None, :], gap_y[:, None]).astype(np.float32)
    share = np.clip(distance / max(1.0, 0.8 * max(left, right, top, bottom) * scale) * 1.1 + 0.1 * c.blotch, 0, 1)
    c.rgb += (far - c.rgb) * (share**1.2)[..., None]
    brush_over(c, 1.3, 0.1)
    out = finish(c.image(), work.size, wording, work.seed).convert(start.mode)
    if right > 60 or bottom > 40:
        sign(out)
    out.paste(start, (left, top))
    return out


def upscale(work: Work, start: Image.Image) -> Image.Image:
    """The start enlarged to the size of the work and sharpened."""
    if work.size == start.size:
        return start.copy()
    return start.resize(work.size, Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(1.8, 70, 2))


def _canvas_and_plan(work: Work, wording: Wording, image: Image.Image) -> tuple[Canvas, Plan]:
    c = _canvas(work, image)
    return c, planned(c, wording, random.Random(number_of(work.prompt, work.seed)))


def _canvas(work: Work, image: Image.Image) -> Canvas:
    c = Canvas.sized(image.size, number_of(work.prompt, work.seed))
    c.rgb[:] = _pixels(image, c)
    return c


def _pixels(image: Image.Image, c: Canvas) -> Field:
    small = image.resize((c.width, c.height), Image.Resampling.LANCZOS, reducing_gap=3)
    return np.asarray(small, np.float32) / 255


def _recolour(c: Canvas, plan: Plan, share: float) -> None:
    """Move every tone towards the palette's colour of that lightness."""
    roles = ("dark", "near", "mid", "sky0", "sky1", "sky2", "paper")
    ladder = sorted((plan.palette[role] for role in roles), key=sum)
    grey = grey_of(c.rgb)
    low, high = np.percentile(grey[::5, ::5], (1, 99))
    tone = np.clip((grey - low) / max(float(high - low), 0.15), 0, 1).astype(np.float32)
    c.rgb += (c.pigment(c.ramp(ladder, tone)) - c.rgb) * share


def _add_things(c: Canvas, plan: Plan) -> None:
    for word, paint in (
        ("balloon", life.paint_balloons),
        ("boat", life.paint_boat),
        ("cat", life.paint_cat),
        ("dog", life.paint_dog),
    ):
        if word in plan.wording.subject:
            paint(c, plan)
    if "bird" in plan.wording.subject:
        life.paint_flock(c, plan)
    if "person" in plan.wording.subject:
        life.paint_figure(c, plan)
    if "tree" in plan.wording.subject:
        trees.paint_tree(c, plan, plan.focus[0], min(plan.focus[1] + 0.1, c.high * 0.95), 0.5)


def _seen_from_aside(image: Image.Image, rng: random.Random) -> Image.Image:
    """The image mirrored or not, a little closer, turned and shifted."""
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    zoom, turn = rng.uniform(1.12, 1.3), rng.uniform(-4, 4)
    width, height = image.size
    turned = image.rotate(turn, Image.Resampling.BICUBIC, expand=False)
    w, h = width / zoom, height / zoom
    margin = abs(turn) / 90
    x = rng.uniform(margin, 1 - margin) * (width - w)
    y = rng.uniform(margin, 1 - margin) * (height - h)
    return turned.resize(image.size, Image.Resampling.LANCZOS, box=(x, y, x + w, y + h))


def _finished(painted: Image.Image, work: Work, wording: Wording) -> Image.Image:
    image = finish(painted, work.size, wording, work.seed)
    sign(image)
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """Three channels; transparency becomes white paper."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    paper = Image.new("RGB", image.size, (255, 255, 255))
    paper.paste(image, mask=image.getchannel("A"))
    return paper
