"""Living things and what they ride: boats, birds, cats, foxes, koi, small figures, balloons."""

import math

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.figure import Figure, lit
from adapters.sketch.scenes.land import paint_knoll
from adapters.sketch.shapes import Outline, Point, blob, curve, disc, lens, path, placed, ribbon, smooth
from tools.media.colours import Rgb

_HULL = path("-.5 -.12  .56 -.15  .4 .04  -.36 .05")
_GUNWALE = path("-.5 -.12  .56 -.15  .54 -.12  -.48 -.09")
_MAST = path("0 -1.15  .02 -1.15  .025 -.1  -.005 -.1")
_MAINSAIL = smooth(path(".02 -1.08  .26 -.62  .44 -.24  .02 -.21"), steps=5)
_JIB = smooth(path("-.02 -.98  -.2 -.6  -.44 -.2  -.02 -.2"), steps=5)


def paint_boat(c: Canvas, plan: Plan) -> None:
    """A sailing boat and its broken mirror image."""
    palette = plan.palette
    boat = Figure(c, *plan.focus, 0.26 * min(plan.scale, 1.6), plan.flip)
    hull = palette.of("boat", "accent")
    sail = palette.bound.get("sail", mixed(palette["paper"], palette["light"], 0.4))
    if palette.dark:
        sail, hull = mixed(sail, palette["far"], 0.35), mixed(hull, palette["dark"], 0.2)
    shade = mixed(sail, palette["far"], 0.42)
    _reflect(boat, plan, ((hull, _HULL), (shade, _MAINSAIL), (sail, _JIB)))
    boat.part(palette["dark"], _MAST)
    boat.part((sail, shade), _MAINSAIL, wet=0.15)
    boat.part((lighter(sail, 0.03), mixed(sail, shade, 0.5)), _JIB, wet=0.15)
    boat.part(lit(hull, 0.04, -0.14), _HULL, wet=0.2)
    boat.part(lighter(hull, 0.16), _GUNWALE)
    boat.part(palette["paper"], lens(0, 0.06, 1.15, 0.05), opacity=0.5)


def _reflect(boat: Figure, plan: Plan, shapes: tuple[tuple[Rgb, Outline], ...]) -> None:
    c, water = boat.c, plan.palette["water0"]
    for tint, shape in shapes:
        below = [(px * 0.96, -py * 0.62 + 0.09) for px, py in shape]
        boat.part(mixed(tint, water, 0.45), below, opacity=0.42, soft=0.004)
    ripples = [
        lens(c.rng.gauss(0, 0.3), c.rng.uniform(0.06, 0.7), c.rng.uniform(0.2, 0.5), 0.006 / boat.size)
        for _ in range(16)
    ]
    boat.part(mixed(water, plan.palette["sky2"], 0.35), *ripples, opacity=0.6)


def paint_birds(c: Canvas, plan: Plan) -> None:
    """One bird on a branch close by, or a loose flock under the sky."""
    if plan.wording.subject[:1] == ("bird",):
        _paint_perched(c, plan)
    else:
        paint_flock(c, plan)


_WINGS = path("-1 -.15  -.5 -.42  0 0  .5 -.42  1 -.15  .5 -.26  .05 .14  -.05 .14  -.5 -.26")


def paint_flock(c: Canvas, plan: Plan) -> None:
    """Birds far off, under the open sky."""
    x, y = c.wide * (0.3 if plan.lamp[0] > c.wide / 2 else 0.7), plan.horizon * 0.42
    flock = []
    for _ in range(c.rng.randint(6, 10)):
        size, turn = c.rng.uniform(0.018, 0.042), c.rng.uniform(-0.3, 0.3)
        flock.append(placed(_WINGS, x + c.rng.gauss(0, 0.13), y + c.rng.gauss(0, 0.07), size, turn=turn))
    c.fill(flock, plan.palette.of("bird", "dark"), 0.85)


_BIRD = curve(
    "-.43 -.28  -.38 -.42  -.22 -.51  -.03 -.44  .13 -.22  .42 .16  .36 .42  .05 .56  -.24 .48  "
    "-.43 .26  -.47 .02  -.42 -.16"
)
_BIRD_BELLY = curve("-.42 -.10  -.18 0  -.04 .28  .05 .53  -.22 .46  -.42 .25  -.455 .04")
_BIRD_WING = curve("-.02 -.14  .24 .02  .62 .5  .30 .42  .02 .24")
_BIRD_TAIL = curve(".30 .22  .86 .74  .74 .86  .18 .42")
_BEAK = path("-.40 -.34  -.60 -.25  -.40 -.22")
_LEAF = curve("0 0  .35 -.2  .75 -.16  1 0  .75 .14  .35 .17")


def _paint_perched(c: Canvas, plan: Plan) -> None:
    palette = plan.palette
    x, y = plan.focus[0], c.high * c.rng.uniform(0.42, 0.6)
    size = 0.34 * min(plan.scale, 1.5) * c.rng.uniform(0.8, 1.2)
    wood = mixed(palette["dark"], (84, 58, 42), 0.45)
    _paint_twig(c, plan, wood, x, y + size * 0.6)
    bird = Figure(c, x, y, size, c.rng.random() < 0.5)
    tint = palette.of("bird", "accent")
    bird.part(lit(tint, -0.08, -0.2), _BIRD_TAIL)
    bird.part(lit(tint, 0.08, -0.08), _BIRD, wet=0.2)
    bird.part(mixed(palette["paper"], tint, 0.25), _BIRD_BELLY, opacity=0.85, soft=0.006)
    bird.part(lit(tint, -0.05, -0.2), _BIRD_WING, wet=0.25)
    feathers = [
        path(f"{0.1 + d} {0.06 + d}  {0.44 + d / 2} {0.4 + d / 4}  {0.42 + d / 2} {0.42 + d / 4}")
        for d in (0, 0.1, 0.2)
    ]
    bird.part(lighter(tint, 0.12), *feathers, opacity=0.7)
    bird.part((240, 190, 90) if palette.dark else palette["light"], _BEAK)
    bird.part(palette["dark"], disc(-0.27, -0.31, 0.045))
    bird.part((255, 255, 255), disc(-0.285, -0.325, 0.014))
    bird.part(lighter(wood, -0.05), *(ribbon([(dx, 0.5), (dx - 0.02, 0.62)], 0.022, 0.018) for dx in (-0.06, 0.08)))


def _paint_twig(c: Canvas, plan: Plan, wood: Rgb, x: float, y: float) -> None:
    rise = -0.25 if plan.flip else 0.25
    knots = [(-0.1, y - rise * 0.6), (x, y), (c.wide * 0.7, y + 0.007), (c.wide + 0.1, y + rise * 0.5 - 0.03)]
    spine = smooth(knots, steps=10)
    c.fill([ribbon(spine, 0.045, 0.02)], lit(wood, 0.12, -0.05))
    leaves = [
        placed(_LEAF, px, py, c.rng.uniform(0.05, 0.10), turn=c.rng.uniform(-2.6, -0.5)) for px, py in spine[4:-1:2]
    ]
    c.fill(leaves, (lighter(plan.palette["mid"], 0.06), plan.palette["near"]))


_CAT = curve("-.1 -.62  -.2 -.48  -.26 -.25  -.3 -.06  -.22 .01  0 .02  .22 .01  .3 -.06  .26 -.25  .2 -.48  .1 -.62")
_CAT_HEAD = curve("-.19 -.76  -.17 -.63  -.08 -.56  .08 -.56  .17 -.63  .19 -.76  .11 -.87  0 -.89  -.11 -.87")
_CAT_TAIL = ribbon(smooth(path(".2 -.03  .42 -.04  .60 -.12  .66 -.28  .58 -.36"), steps=8), 0.10, 0.055)
_CAT_EARS = (path("-.19 -.74  -.185 -1.02  -.05 -.87"), path(".19 -.74  .185 -1.02  .05 -.87"))
_CAT_EARS_INSIDE = (path("-.155 -.80  -.16 -.95  -.09 -.87"), path(".155 -.80  .16 -.95  .09 -.87"))


def paint_cat(c: Canvas, plan: Plan) -> None:
    """A cat from behind, sitting, tail around its feet, looking at the light."""
    cat = Figure(c, plan.focus[0], max(plan.focus[1], c.high * 0.8), 0.56 * min(plan.scale, 1.35), plan.flip)
    fur = plan.palette.of("cat", "dark")
    cat.part(plan.palette["dark"], disc(0, 0, 0.42, 0.05), opacity=0.5, soft=0.015)
    whole = [cat.at(shape) for shape in (_CAT_TAIL, _CAT, _CAT_HEAD, *_CAT_EARS)]
    side = -0.008 if plan.lamp[0] < cat.x else 0.008
    rim = [[(px + side, py - 0.007) for px, py in shape] for shape in whole]
    c.fill(rim, mixed(plan.palette["light"], fur, 0.35), 0.7, soft=0.003)
    c.fill(whole, lit(fur, 0.07, -0.03))
    cat.part(mixed(fur, plan.palette["accent"], 0.4), *_CAT_EARS_INSIDE, opacity=0.7)
    if "cat" in plan.palette.bound:
        stripes = [ribbon(path(f"-.12 {y}  0 {y + 0.03}  .12 {y}"), 0.02, 0.02) for y in (-0.5, -0.39, -0.28, -0.17)]
        cat.part(lighter(fur, -0.12), *stripes, opacity=0.7)


_FOX = curve("-.12 -.62  .06 -.58  .20 -.38  .30 -.16  .26 0  -.02 .01  -.10 .01  -.17 -.25  -.22 -.46")
_FOX_HEAD = curve("-.50 -.68  -.32 -.83  -.14 -.90  .02 -.82  .05 -.66  -.05 -.56  -.25 -.57  -.44 -.62")
_FOX_TAIL = curve(".20 -.04  .44 -.02  .62 -.14  .72 -.34  .60 -.40  .44 -.26  .26 -.18")
_FOX_TAIL_TIP = curve(".72 -.34  .60 -.40  .57 -.30  .66 -.22")
_FOX_CHEEK = curve("-.49 -.67  -.30 -.70  -.14 -.62  -.25 -.57  -.44 -.62")
_FOX_CHEST = curve("-.21 -.52  -.06 -.5  -.08 -.25  -.16 -.12")
_FOX_LEGS = path("-.17 -.45  -.20 .01  -.11 .01  -.05 -.4"), path("-.13 -.02  -.13 -.3  -.08 -.3  -.06 .01")
_FOX_EARS = path("-.12 -.84  -.10 -1.08  .02 -.84"), path("-.02 -.82  .06 -1.02  .06 -.76")


def paint_dog(c: Canvas, plan: Plan) -> None:
    """A fox or dog, sitting in profile."""
    palette = plan.palette
    fox = Figure(c, plan.focus[0], max(plan.focus[1], c.high * 0.82), 0.58 * min(plan.scale, 1.35), plan.flip)
    natural = palette["accent"] if plan.wording.colours else mixed((205, 106, 46), palette["accent"], 0.15)
    fur = palette.bound.get("dog", natural)
    if palette.dark:
        fur = mixed(fur, palette["dark"], 0.25)
    white = mixed(palette["paper"], fur, 0.15)
    fox.part(palette["dark"], disc(0, 0, 0.45, 0.05), opacity=0.5, soft=0.015)
    fox.part(lit(fur, 0.04, -0.12), _FOX_TAIL, wet=0.2)
    fox.part(white, _FOX_TAIL_TIP)
    fox.part(lighter(fur, -0.16), _FOX_LEGS[0])
    fox.part(lit(fur, 0.07, -0.1), _FOX, wet=0.2)
    fox.part(white, _FOX_CHEST, opacity=0.85, soft=0.008)
    fox.part(lit(fur, 0.0, -0.15), *_FOX_EARS)
    fox.part(lit(fur, 0.08, -0.06), _FOX_HEAD, wet=0.15)
    fox.part(white, _FOX_CHEEK, opacity=0.9)
    fox.part(palette["dark"], disc(-0.49, -0.665, 0.028), disc(-0.22, -0.755, 0.02))
    fox.part(lighter(fur, -0.1), _FOX_LEGS[1], opacity=0.7)


def paint_pond(c: Canvas, plan: Plan) -> None:
    """Dark water, koi turning around each other, and lily pads along the edges."""
    palette = plan.palette
    along = 0.5 + 0.45 * c.noise(1.2, 1.2, 4) + 0.2 * (c.x - plan.lamp[0])
    light = mixed(palette["water0"], palette["sky2"], 0.4)
    c.rgb[:] = c.pigment(c.ramp([palette["water1"], palette["water0"], light], along), 1.6)
    middle = c.wide * 0.5 + (plan.focus[0] - c.wide * 0.5) * 0.6
    for i in range(4):
        a = i * math.tau / 4 + c.rng.uniform(-0.3, 0.3) + (0.8 if plan.flip else 0)
        reach, size = c.rng.uniform(0.2, 0.32), 0.23 * plan.scale * c.rng.uniform(0.8, 1.15)
        x, y = middle + reach * math.cos(a) * c.wide, c.high * 0.52 + reach * math.sin(a)
        _paint_koi(Figure(c, x, y, size, turn=a + math.pi / 2), plan)
    leaf = mixed(palette["mid"], (92, 140, 96), 0.4)
    for _ in range(7):
        shore = c.rng.choice((c.rng.uniform(0, 0.18), c.rng.uniform(0.82, 1.0)))
        x, y, r, a = c.rng.uniform(0, c.wide), shore * c.high, c.rng.uniform(0.05, 0.11), c.rng.uniform(0, math.tau)
        cut = [(x, y), *((x + r * 1.1 * math.cos(b), y + r * 1.1 * math.sin(b)) for b in (a, a + 0.35))]
        c.fill([disc(x, y, r, r * 0.92)], lit(leaf, 0.07, -0.08), wet=0.25)
        c.fill([cut], palette["water0"])


def _paint_koi(koi: Figure, plan: Plan) -> None:
    c, palette = koi.c, plan.palette
    tint, white = palette.of("fish", "accent"), mixed(palette["paper"], palette["water0"], 0.1)
    w = c.rng.choice((-0.14, 0.14))
    side = ((0.42, 0.15, 0.0), (0.05, 0.19, 0.4), (-0.42, 0.07, 1.0))
    body: list[Point] = [(0.64, 0), *((x, -r + w * k) for x, r, k in side), (-0.58, w * 0.8)]
    body += [(x, r + w * k) for x, r, k in reversed(side)]
    tail = [(-0.54, w * 0.8), (-0.95, w - 0.28), (-0.8, w * 0.4), (-0.95, w + 0.2)]
    shape = smooth(body, closed=True)
    c.fill([[(px + 0.03, py + 0.04) for px, py in koi.at(shape)]], palette["water1"], 0.6, soft=0.018)
    fins = path(".25 -.14  .05 -.42  .02 -.16"), path(".25 .14  .05 .42  .02 .16"), tail
    koi.part(mixed(white, tint, 0.35), *fins, opacity=0.6, soft=0.003)
    koi.part((white, mixed(white, palette["water0"], 0.35)), shape, wet=0.2)
    spots = [
        blob(x + c.rng.uniform(-0.05, 0.05), y, c.rng.uniform(0.08, 0.18), c.rng.uniform(0.06, 0.12), c.rng)
        for x, y in ((0.35, 0.02), (0.0, w * 0.5), (-0.4, w))
    ]
    koi.part(tint, *spots, opacity=0.92, soft=0.002)
    koi.part(palette["dark"], disc(0.52, -0.07, 0.018), disc(0.52, 0.07, 0.018))


_COAT = curve("-.10 -.88  -.19 -.8  -.24 -.32  0 -.28  .24 -.32  .19 -.8  .10 -.88")
_LEGS = path("-.11 0  -.13 -.45  0 -.45  -.02 0"), path(".03 .02  .02 -.45  .13 -.45  .13 .02")
_HOOD = path("-.17 -.94  .17 -.94  .10 -.86  -.10 -.86")


def paint_figure(c: Canvas, plan: Plan) -> None:
    """A small person in a coat, seen from behind, who gives the place its size."""
    if plan.says("mountain", "fog", "sea", "forest", "hill") or not plan.wording.subject[1:]:
        paint_knoll(c, plan)
    palette = plan.palette
    walker = Figure(c, *plan.focus, 0.2 * min(plan.scale, 1.5), plan.flip)
    coat, dark = palette.of("clothes", "accent"), palette["dark"]
    lean = 0.7 if plan.lamp[0] < walker.x else -0.7
    shadow = [(-0.1, 0.0), (0.1, 0.0), (lean + 0.1, 0.45), (lean - 0.15, 0.45)]
    c.fill([placed(shadow, walker.x, walker.y, walker.size)], dark, 0.35, soft=0.006)
    walker.part(dark, *_LEGS)
    walker.part(lit(coat, 0.06, -0.16), _COAT, wet=0.2)
    walker.part(mixed(dark, (70, 46, 34), 0.5), disc(0, -1.0, 0.105, 0.12))
    walker.part(lighter(coat, 0.1), _HOOD)


def paint_balloons(c: Canvas, plan: Plan) -> None:
    """Hot-air balloons, one near, some far."""
    palette = plan.palette
    tint = palette.of("balloon", "accent")
    for _ in range(5):
        body = c.rng.choice((tint, palette["near"], palette["paper"], palette["mid"]))
        x, y = c.rng.uniform(0.05, 0.95) * c.wide, plan.horizon * c.rng.uniform(0.25, 0.85)
        size = c.rng.uniform(0.05, 0.12) * min(plan.scale, 1.3)
        _paint_balloon(Figure(c, x, y, size), plan, mixed(body, palette["sky2"], 0.3))
    near = Figure(c, plan.focus[0], plan.horizon * 0.55, 0.34 * min(plan.scale, 1.3))
    _paint_balloon(near, plan, tint)


_ENVELOPE = path("0 -.55  .30 -.46  .44 -.2  .42 .02  .26 .30  .09 .52")
_BASKET = path("-.07 .68  .07 .68  .055 .8  -.055 .8")


def _paint_balloon(balloon: Figure, plan: Plan, body: Rgb) -> None:
    gores, other = 7, mixed(plan.palette["paper"], body, 0.12)
    brightest = 2 if plan.lamp[0] < balloon.x else 4
    for i in range(gores):
        left, right = (math.sin((-1 + 2 * k / gores) * math.pi / 2) for k in (i, i + 1))
        gore = smooth([(left * x, y) for x, y in _ENVELOPE], steps=5)
        gore += smooth([(right * x, y) for x, y in _ENVELOPE], steps=5)[::-1]
        shade = lighter(other if i % 2 else body, 0.06 - 0.045 * abs(i - brightest))
        balloon.part((shade, lighter(shade, -0.05)), gore)
    ropes = [ribbon([(dx, 0.5), (dx * 0.7, 0.7)], 0.012, 0.012) for dx in (-0.08, 0.08)]
    balloon.part(plan.palette["dark"], *ropes, opacity=0.7)
    balloon.part((lighter(plan.palette["dark"], 0.22), plan.palette["dark"]), _BASKET)
