"""The built-in provider `sketch`: what each kind of operation guarantees about its pixels."""

import io
import itertools
import time
from pathlib import Path
from typing import Literal

import imagehash
import msgspec
import pytest
from PIL import Image, ImageChops, ImageStat

from adapters.provider import ImageOp
from adapters.sketch.brush import sign
from adapters.sketch.images import adapter, ticks
from adapters.sketch.order import Work, paint
from tests.support.environment import bare_env, settings
from tests.support.files.small_images import as_input, mask, opened, painted, plain, png
from tests.support.image_calls import call_adapter
from tools.errors import Invalid
from tools.media.masks import area_to_change
from tools.models.builtin_judge import measure
from tools.rows import Kind

PROMPTS = (
    "a calm sea at sunset",
    "snowy mountains",
    "a pine forest in fog",
    "city skyline at night",
    "a red boat on a teal sea",
    "a bouquet of flowers",
    "a robin",
    "portrait of a woman",
    "a cup of coffee",
    "a white cat on a white background",
    "a symmetrical minimal moon",
    "words that name nothing known",
)


class Progress:
    """Records progress reports and their times."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.previews: list[bytes] = []
        self.moments: list[float] = []

    async def __call__(
        self, fraction: float, stage: Literal["generate"] = "generate", preview_bytes: bytes | None = None
    ) -> None:
        self.fractions.append(fraction)
        self.moments.append(time.monotonic())
        if preview_bytes is not None:
            self.previews.append(preview_bytes)


def difference(a: Image.Image, b: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(a.convert("RGB"), b.convert("RGB"))).mean) / 3


async def test_the_same_op_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Prompt, seed and size decide every byte, in the image child as here."""
    op = ImageOp(kind="generate", prompt="a lighthouse at dusk", size="160x128", seed=7)
    async with bare_env(tmp_path) as env:
        there = (await call_adapter(adapter, op, env, Progress())).data
    assert there == painted("a lighthouse at dusk", 7, (160, 128)) == painted("a lighthouse at dusk", 7, (160, 128))
    assert there != painted("a lighthouse at dusk", 8, (160, 128))


def test_variants_and_prompts_differ_to_the_eye() -> None:
    """Variants of a prompt, and pictures of different prompts, lie more than 4 of 64 bits of pHash apart."""
    hashes = {p: [imagehash.phash(opened(painted(p, seed, (192, 192)))) for seed in range(3)] for p in PROMPTS}
    close = [p for p, variants in hashes.items() for a, b in itertools.combinations(variants, 2) if a - b <= 4]
    assert len(close) <= 1, close
    assert all(a - b > 4 for a, b in itertools.combinations([variants[0] for variants in hashes.values()], 2))


@pytest.mark.parametrize("size", [(64, 64), (64, 700), (1000, 80), (513, 257), (2048, 1024)], ids=str)
async def test_a_picture_has_the_size_asked_for(size: tuple[int, int]) -> None:
    """Any size from 64 to 2048 is drawn as requested, and is a PNG that names its maker."""
    image = opened(painted("a moonlit desert", 3, size))
    assert (image.size, image.format) == (size, "PNG")
    assert image.info["Software"] == "picasso sketch-1"


async def test_progress_is_spread_over_the_time_a_sketch_takes(tmp_path: Path) -> None:
    """SKETCH_SECONDS is the least it takes; fractions rise and previews are small JPEGs."""
    progress = Progress()
    async with bare_env(tmp_path, settings=settings(tmp_path, SKETCH_SECONDS="0.6")) as env:
        op = ImageOp(kind="generate", prompt="a cat", size="64x64", seed=1)
        await call_adapter(adapter, op, env, Progress())
        began = time.monotonic()
        result = await call_adapter(adapter, op, env, progress)
        took = time.monotonic() - began
    assert took >= 0.6
    assert progress.fractions == sorted(set(progress.fractions)) and len(progress.fractions) >= 4
    assert progress.fractions[0] == pytest.approx(0.2) and progress.fractions[-1] < 1
    assert progress.moments[-1] - began >= 0.6 * progress.fractions[-1]
    assert len(progress.previews) >= 2
    for preview in progress.previews:
        assert len(preview) <= 64 << 10 and opened(preview).format == "JPEG"
    assert result.mime == "image/png" and "built-in painter" in result.provider_meta["label"]


@pytest.mark.parametrize("seconds", [0.0, 0.5, 9.0, 60.0, 600.0])
def test_a_sketch_is_never_silent_for_five_seconds(seconds: float) -> None:
    """However long it takes, it reports progress at short intervals from the first to the end."""
    fractions = [0.0, *ticks(seconds), 1.0]
    assert len(fractions) >= 6
    assert all((b - a) * seconds <= 5 for a, b in itertools.pairwise(fractions))


@pytest.mark.parametrize("prompt", ["make it night", "pastel pink", "snow", "add a hot air balloon", "sepia"])
def test_edit_changes_the_start_but_keeps_its_layout(prompt: str) -> None:
    """An edit has the start's size, is clearly different, and light and dark are still in the same areas."""
    start = painted("a red boat on a teal sea", 4)
    edited = opened(painted(prompt, 2, kind="edit", start=start))
    assert edited.size == (192, 128)
    assert difference(edited, opened(start)) > 6
    assert imagehash.phash(edited) - imagehash.phash(opened(start)) < 30


@pytest.mark.parametrize("way", ["transparent", "white"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_inpaint_leaves_every_protected_pixel_as_it_was(way: Literal["transparent", "white"], mode: str) -> None:
    """Only the masked region is drawn anew; every other pixel keeps its exact value, alpha included."""
    start = opened(painted("mountains at dawn", 4, (200, 140))).convert(mode)
    if mode == "RGBA":
        start.putalpha(Image.linear_gradient("L").resize(start.size))
    box = (40, 30, 130, 100)
    opening = mask(start.size, box, way)
    result = opened(painted("a yellow sun", 5, start.size, "inpaint", start=png(start), mask=opening))
    assert (result.size, result.mode) == (start.size, mode)
    changed = ImageChops.difference(result.convert("RGB"), start.convert("RGB"))
    assert sum(ImageStat.Stat(changed.crop(box)).mean) > 20
    protected = ImageChops.invert(area_to_change(opened(opening)))
    for before, after in zip(start.split(), result.split(), strict=True):
        assert ImageStat.Stat(ImageChops.difference(before, after), protected).extrema == [(0, 0)]


def test_inpaint_with_nothing_opened_gives_the_start_back() -> None:
    """A mask that opens nothing changes nothing."""
    start = painted("a house", 4)
    result = painted("x", 1, (192, 128), "inpaint", start=start, mask=mask((192, 128), (0, 0, 0, 0), "white"))
    assert opened(result).tobytes() == opened(start).tobytes()


def test_outpaint_extends_the_canvas_around_the_exact_start() -> None:
    """The start is unchanged in the middle of a larger image, and the margin is painted."""
    start = opened(painted("a village in the hills", 4))
    result = opened(painted("a village in the hills", 4, (320, 256), "outpaint", start=png(start)))
    assert result.size == (320, 256)
    left, top = (320 - 192) // 2, (256 - 128) // 2
    assert result.crop((left, top, left + 192, top + 128)).tobytes() == start.tobytes()
    margin = result.crop((0, 0, 320, top))
    assert ImageStat.Stat(margin.convert("L")).stddev[0] > 2


def test_variations_are_like_the_start_but_none_is_another_again() -> None:
    """Variations share the start's colours, and neither it nor each other's pHash."""
    start = opened(painted("autumn forest", 4))
    variants = [opened(painted("", seed, kind="variation", start=png(start))) for seed in range(3)]
    hashes = [imagehash.phash(image) for image in (start, *variants)]
    assert all(a - b > 4 for a, b in itertools.combinations(hashes, 2))
    mean = ImageStat.Stat(start).mean
    for variant in variants:
        assert sum(abs(a - b) for a, b in zip(mean, ImageStat.Stat(variant).mean, strict=True)) / 3 < 45


def test_upscale_doubles_and_stays_true() -> None:
    """Twice the size, and the same picture when scaled back."""
    start = opened(painted("a fox", 4))
    result = opened(painted("", 1, (384, 256), "upscale", start=png(start)))
    assert result.size == (384, 256)
    assert difference(result.resize(start.size, Image.Resampling.BOX), start) < 6


def op(kind: Kind, **fields: object) -> ImageOp:
    return ImageOp(kind=kind, prompt="a hill", seed=1, **fields)  # type: ignore[arg-type]


SMALL = as_input(plain((90, 120, 60), (100, 60)))
LARGE = as_input(plain((90, 120, 60), (3000, 1500)))


REDUCED = "the start image of 3000x1500 was reduced to 2048x1024"
CAPPED = "upscaled to 4096x2048, the largest this provider makes"
WORDS = "of the negative prompt these words are not understood: text"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        pytest.param(op("generate"), [], id="nothing to say"),
        pytest.param(op("generate", size="4000x32"), ["size 4000x32 became 2048x64"], id="size out of range"),
        pytest.param(op("generate", references=(SMALL,)), ["reference images are not used"], id="references"),
        pytest.param(op("generate", quality="high"), ["quality is not used"], id="quality"),
        pytest.param(op("generate", negative_prompt="red, text"), [WORDS], id="negative"),
        pytest.param(op("generate", negative_prompt="red, no cats"), [], id="negative understood"),
        pytest.param(op("edit", start_image=SMALL), [], id="small start"),
        pytest.param(op("edit", start_image=LARGE), [REDUCED], id="large start"),
        pytest.param(op("inpaint", start_image=SMALL, size="9x9"), ["size 9x9 became 100x60"], id="inpaint's size"),
        pytest.param(op("upscale", start_image=LARGE), [CAPPED], id="upscale capped"),
        pytest.param(op("upscale"), [], id="start not yet known"),
        pytest.param(op("outpaint", start_image=SMALL, size="80x200"), ["size 80x200 became 100x200"], id="outpaint"),
        pytest.param(op("edit", start_image=SMALL, mask=SMALL), ["the mask is not used by edit"], id="mask unused"),
    ],
)
def test_what_is_changed_about_a_request_is_told_beforehand(asked: ImageOp, told: list[str]) -> None:
    """`adjustments` names each deviation, before anything is painted."""
    assert adapter.adjustments(asked) == told


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        pytest.param(op("edit"), "start_image_missing", id="edit without a start"),
        pytest.param(op("inpaint", start_image=SMALL), "mask_missing", id="inpaint without a mask"),
        pytest.param(op("inpaint", start_image=SMALL, mask=LARGE), "mask_size", id="mask of another shape"),
        pytest.param(op("generate", size="big"), "bad_size", id="size that is no size"),
    ],
)
async def test_an_op_that_cannot_be_painted_is_refused(tmp_path: Path, broken: ImageOp, code: str) -> None:
    """A missing or unsuitable image is Invalid, with a code."""
    async with bare_env(tmp_path) as env:
        with pytest.raises(Invalid) as refused:
            await call_adapter(adapter, broken, env, Progress())
    assert refused.value.code == code


def blue_share(image: Image.Image) -> float:
    return measure(image.convert("RGB")).families.get("blue", 0.0)


def test_the_negative_prompt_takes_colours_away() -> None:
    """What the negative prompt names is not in the palette."""
    work = Work(kind="generate", prompt="a calm sea by day", negative=None, size=(128, 128), seed=2)
    without = msgspec.structs.replace(work, negative="blue")
    assert blue_share(opened(paint(work).data)) > 0.3
    assert blue_share(opened(paint(without).data)) < 0.05


def test_the_mark_is_small_and_stays_in_its_corner() -> None:
    """The signature touches nothing but the lower right corner."""
    image = Image.new("RGB", (400, 300), (120, 120, 120))
    sign(image)
    box = ImageChops.difference(image, Image.new("RGB", (400, 300), (120, 120, 120))).getbbox()
    assert box is not None
    assert box[0] > 340 and box[1] > 280 and box[2] <= 400 and box[3] <= 300


def test_every_kind_is_served_and_listed() -> None:
    """Capabilities and `supports` agree."""
    kinds = [capability.kind for capability in adapter.capabilities()]
    assert kinds == ["generate", "edit", "inpaint", "outpaint", "variation", "upscale"]
    assert all(adapter.supports(kind, "sketch-1") and not adapter.supports(kind, "sketch-2") for kind in kinds)


def test_a_turned_photograph_is_worked_on_upright() -> None:
    """EXIF orientation is applied before anything else."""
    image = opened(painted("a tree", 1)).convert("RGB")
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, "JPEG", exif=exif)
    result = opened(painted("", 1, (256, 384), "upscale", start=file.getvalue()))
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert difference(result.resize(upright.size, Image.Resampling.BOX), upright) < 8
