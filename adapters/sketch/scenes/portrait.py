"""Portraits: head and shoulders in planes of light and shade, eyes closed."""

from adapters.sketch.canvas import Canvas, lighter, mixed
from adapters.sketch.composition import Plan
from adapters.sketch.figure import Figure, lit
from adapters.sketch.scenes.still_life import paint_backdrop
from adapters.sketch.shapes import Outline, blob, curve, disc, path, ribbon, smooth
from tools.media.colours import Rgb

_SKINS: tuple[Rgb, ...] = ((236, 196, 168), (214, 160, 126), (168, 114, 84), (124, 80, 60), (242, 210, 190))
_HAIRS: tuple[Rgb, ...] = ((66, 40, 28), (30, 26, 28), (138, 78, 38), (84, 72, 70))


class Sitter(Figure):
    """Who is painted, in the colours of their skin and hair."""

    def __init__(self, c: Canvas, plan: Plan) -> None:
        x = c.wide / 2 + (plan.focus[0] - c.wide / 2) * c.rng.uniform(0.3, 0.75)
        y = c.high * c.rng.uniform(0.4, 0.5)
        size = 0.5 * min(plan.scale, 1.2) * c.rng.uniform(0.86, 1.12)
        super().__init__(c, x, y, size, flip=plan.lamp[0] >= c.wide / 2)
        palette = plan.palette
        self.skin = mixed(c.rng.choice(_SKINS), palette["sky2"], 0.1)
        self.shade = mixed(lighter(self.skin, -0.15), palette["sky0"], 0.22)
        natural = mixed(palette["dark"], c.rng.choice(_HAIRS), 0.55)
        self.hair = mixed(palette.bound["hair"], (110, 56, 30), 0.3) if "hair" in palette.bound else natural
        self.coat = palette.of("clothes", "accent")


def paint_portrait(c: Canvas, plan: Plan) -> None:
    """A head and shoulders before a wall with patches of colour."""
    paint_backdrop(c, plan)
    for _ in range(3):
        x, y = plan.focus[0] + c.rng.uniform(-0.3, 0.3), c.high * c.rng.uniform(0.15, 0.6)
        patch = blob(x, y, c.rng.uniform(0.2, 0.42), c.rng.uniform(0.2, 0.4), c.rng, 0.2)
        c.fill([patch], plan.palette[c.rng.choice(("accent", "far", "light"))], 0.3, soft=0.012, wet=0.5)
    sitter = Sitter(c, plan)
    behind, front = c.rng.choice(_MEN if "man" in plan.wording.subject else _WOMEN)
    sitter.part(lit(sitter.hair, 0.05, -0.06), *behind)
    _paint_shoulders(sitter)
    _paint_face(sitter)
    sitter.part(lit(sitter.hair, 0.1, -0.02), *front, wet=0.12)
    if front != _CROPPED:
        sitter.part(lighter(sitter.hair, 0.15), *_STRANDS, opacity=0.4, soft=0.002)
    if front == _BEARDED:
        sitter.part(mixed((176, 82, 76), sitter.shade, 0.4), _LIPS_IN_BEARD)


def _line(width: float, text: str) -> Outline:
    return ribbon(smooth(path(text)), width * 1.2, width * 0.5)


_NECK = curve("-.15 .2  -.145 .55  -.3 .70  0 .92  .3 .70  .145 .55  .15 .2")
_UNDER_CHIN = curve("-.15 .36  0 .50  .15 .36  .15 .30  -.15 .30")
_COAT = curve("-.17 .62  -.50 .76  -.78 .95  -.92 1.6  .92 1.6  .78 .95  .50 .76  .17 .62  0 .82")
_COLLAR = _line(0.03, "-.17 .63  -.10 .76  0 .83  .10 .76  .17 .63")
_SEAMS = _line(0.012, "-.46 .86  -.42 1.1  -.44 1.5"), _line(0.012, ".46 .86  .42 1.1  .44 1.5")


def _paint_shoulders(p: Sitter) -> None:
    p.part((mixed(p.skin, p.shade, 0.35), p.shade), _NECK)
    p.part(p.shade, _UNDER_CHIN, opacity=0.7, soft=0.01)
    p.part(lit(p.coat, 0.06, -0.16), _COAT, wet=0.2)
    p.part(lighter(p.coat, 0.12), _COLLAR, opacity=0.9)
    p.part(lighter(p.coat, -0.2), *_SEAMS, opacity=0.6)


_EARS = curve("-.26 -.06  -.335 -.09  -.335 .06  -.25 .10"), curve(".26 -.06  .335 -.09  .335 .06  .25 .10")
_FACE = curve("-.29 -.22  -.30 .02  -.235 .25  -.09 .41  .07 .41  .22 .25  .29 .02  .28 -.22  0 -.52")
_SHADED = curve(".06 -.42  .12 -.12  .17 .08  .11 .22  .02 .40  .07 .41  .22 .25  .29 .02  .28 -.22")
_CHEEK = curve("-.23 .10  -.13 .06  -.09 .15  -.17 .20")
_NOSE = curve("0 -.08  .045 .04  .065 .13  0 .155  .02 .03")
_UPPER_LIP = curve("-.095 .25  -.03 .225  0 .235  .03 .225  .095 .25  0 .262")
_LOWER_LIP = curve("-.085 .255  0 .262  .085 .255  0 .305")
_BROWS = _line(0.022, "-.22 -.115  -.135 -.14  -.055 -.125"), _line(0.022, ".055 -.125  .135 -.14  .22 -.115")
_LIDS = curve("-.205 -.03  -.135 -.075  -.065 -.03  -.135 -.005"), curve(".065 -.03  .135 -.075  .205 -.03  .135 -.005")
_LASHES = _line(0.014, "-.21 -.028  -.135 .002  -.06 -.028"), _line(0.014, ".06 -.028  .135 .002  .21 -.028")


def _paint_face(p: Sitter) -> None:
    p.part(p.skin, _EARS[0])
    p.part(p.shade, _EARS[1])
    p.part(lit(p.skin, 0.03, -0.015), _FACE, wet=0.12)
    p.part(p.shade, _SHADED, opacity=0.62, soft=0.014)
    p.part((214, 110, 96), _CHEEK, opacity=0.22, soft=0.016)
    p.part(p.shade, _NOSE, opacity=0.7, soft=0.004)
    lips = mixed((184, 72, 72), p.shade, 0.3)
    p.part(lighter(lips, -0.05), _UPPER_LIP)
    p.part(lips, _LOWER_LIP)
    dark = mixed(p.hair, p.shade, 0.12)
    p.part(dark, *_BROWS, opacity=0.9)
    p.part(mixed(p.skin, p.shade, 0.45), *_LIDS, opacity=0.8, soft=0.002)
    p.part(dark, *_LASHES)


def _mirrored(outline: Outline) -> tuple[Outline, Outline]:
    return outline, [(-x, y) for x, y in outline]


_FRINGE = curve(
    "-.315 .02  -.36 -.24  -.26 -.52  .02 -.64  .27 -.54  .365 -.26  .32 .04  .285 -.14  .20 -.30  "
    "-.04 -.44  -.16 -.34  -.26 -.20"
)
_STRANDS = (
    _line(0.018, "-.06 -.60  -.22 -.46  -.31 -.2"),
    _line(0.018, "-.01 -.55  -.15 -.41  -.27 -.15"),
    _line(0.018, ".02 -.60  .2 -.48  .315 -.2"),
    _line(0.018, ".07 -.60  .25 -.48  .325 -.2"),
)
_MANE = curve("-.33 -.5  -.45 -.1  -.5 .38  -.44 .8  -.2 .92  .2 .92  .46 .78  .5 .36  .45 -.12  .33 -.5  0 -.66")
_LOCKS = _mirrored(curve("-.31 -.1  -.41 .2  -.42 .62  -.30 .80  -.33 .4  -.29 .1"))
_BOB_BEHIND = curve("-.34 -.5  -.45 -.1  -.45 .3  -.26 .4  .26 .4  .45 .3  .45 -.1  .34 -.5  0 -.66")
_BOB_SIDES = _mirrored(curve("-.32 -.1  -.41 .1  -.42 .32  -.28 .36  -.30 .12"))
_CAP = curve(
    "-.315 -.02  -.345 -.26  -.25 -.52  0 -.62  .25 -.53  .345 -.26  .315 -.02  .28 -.2  .17 -.36  "
    "-.02 -.40  -.2 -.33  -.28 -.2"
)
_BEARD = curve("-.3 0  -.3 .22  -.2 .46  0 .56  .2 .46  .3 .22  .3 0  .25 .12  .15 .19  0 .185  -.15 .19  -.25 .12")
_LIPS_IN_BEARD = curve("-.075 .262  0 .25  .075 .262  0 .295")

_CROPPED: tuple[Outline, ...] = (_CAP,)
_BEARDED: tuple[Outline, ...] = (_CAP, _BEARD)
_WOMEN: tuple[tuple[tuple[Outline, ...], tuple[Outline, ...]], ...] = (
    ((_MANE,), (_FRINGE, *_LOCKS)),
    ((_BOB_BEHIND,), (_FRINGE, *_BOB_SIDES)),
    ((disc(0.06, -0.70, 0.19, 0.16),), (_FRINGE,)),
)
"""Ways to wear hair: what lies behind the head, what lies before it."""
_MEN: tuple[tuple[tuple[Outline, ...], tuple[Outline, ...]], ...] = (((), _CROPPED), ((), _BEARDED))
