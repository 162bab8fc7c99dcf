import pytest
from PIL import Image, ImageChops

from tests.support.files.images import encoded, exif, quarters, textured
from tests.support.files.small_images import mask, opened
from tools.errors import Invalid
from tools.media.framing import alpha_mask, extend, image_and_mask, shrink, shrink_if_needed
from tools.media.sandbox import run_in_child


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("JPEG", "CMYK")])
async def test_a_picture_is_shrunk_to_its_longer_side(kind: str, mode: str) -> None:
    """Any format becomes a PNG within the limit, with its aspect ratio and transparency."""
    image = opened(await run_in_child(shrink, encoded(textured(300, 200, mode), kind), 150))
    assert (image.format, image.size) == ("PNG", (150, 100))
    assert image.mode == ("RGBA" if mode in ("RGBA", "LA") else "RGB")


async def test_a_small_picture_keeps_every_pixel() -> None:
    """Shrinking never enlarges, and a PNG that fits comes out as it went in."""
    image = textured(96, 64)
    assert ImageChops.difference(opened(await run_in_child(shrink, encoded(image, "PNG"), 96)), image).getbbox() is None


async def test_a_turned_photograph_comes_out_upright() -> None:
    """The orientation is applied, since vendors do not read it."""
    image = opened(await run_in_child(shrink, encoded(quarters(), "JPEG", quality=95, exif=exif(orientation=6)), 4096))
    red, blue = image.getpixel((96, 32)), image.getpixel((32, 32))
    assert red[0] > 150 and blue[2] > 120  # type: ignore[index]


async def test_a_canvas_grows_around_the_picture() -> None:
    """The image is unchanged in the middle, where the mask is opaque; around it both are transparent."""
    start = textured(60, 40)
    canvas, mask = map(opened, await run_in_child(extend, encoded(start, "PNG"), 100, 80))
    box = (20, 20, 80, 60)
    assert (canvas.size, canvas.mode, mask.size, mask.mode) == ((100, 80), "RGBA", (100, 80), "RGBA")
    assert ImageChops.difference(canvas.crop(box).convert("RGB"), start).getbbox() is None
    for image in (canvas, mask):
        assert image.getchannel("A").getbbox() == box
        assert image.crop(box).getchannel("A").getextrema() == (255, 255)


@pytest.mark.parametrize(("inner", "box"), [(None, (0, 10, 100, 70)), ((50, 50), (25, 25, 75, 55))])
async def test_a_picture_too_large_for_its_place_is_scaled_down(
    inner: tuple[int, int] | None, box: tuple[int, ...]
) -> None:
    """The picture keeps its proportions, within the canvas or the box given for it."""
    extended = await run_in_child(extend, encoded(textured(300, 180), "PNG"), 100, 80, inner)
    assert opened(extended.mask).getchannel("A").getbbox() == box


@pytest.mark.parametrize("way", ["transparent", "white"])
async def test_a_mask_is_said_in_alpha(way: str) -> None:
    """In whichever form the caller sent the mask, alpha is 0 exactly where to change, at the requested size."""
    given = mask((60, 40), (10, 5, 30, 25), way)  # type: ignore[arg-type]
    said = opened(await run_in_child(alpha_mask, given, 120, 80))
    alpha = said.getchannel("A")
    assert (said.mode, said.size, sorted(set(alpha.tobytes()))) == ("RGBA", (120, 80), [0, 255])
    assert alpha.point(lambda value: 255 - value).getbbox() == (20, 10, 60, 50)
    assert alpha.getpixel((42, 32)) == 255, "the island in the middle stays"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_plain_picture_is_sent_as_it_came(kind: str) -> None:
    """Formats that every vendor can read are not encoded again."""
    data = encoded(textured(), kind)
    assert await run_in_child(shrink_if_needed, data, 96, 1_000_000) == data


@pytest.mark.parametrize(
    ("data", "longest", "most_bytes"),
    [
        pytest.param(encoded(textured(), "JPEG"), 95, 1_000_000, id="too long"),
        pytest.param(encoded(textured(), "PNG"), 96, 100, id="too heavy"),
        pytest.param(encoded(textured(mode="CMYK"), "JPEG"), 96, 1_000_000, id="other colours"),
        pytest.param(encoded(textured(mode="P"), "PNG"), 96, 1_000_000, id="palette"),
        pytest.param(encoded(textured(), "JPEG", exif=exif(orientation=3)), 96, 1_000_000, id="turned"),
    ],
)
async def test_any_other_picture_becomes_a_plain_png(data: bytes, longest: int, most_bytes: int) -> None:
    """Formats that a vendor may not read are encoded again."""
    image = opened(await run_in_child(shrink_if_needed, data, longest, most_bytes))
    assert (image.format, image.mode) == ("PNG", "RGB") and max(image.size) <= longest


async def test_a_picture_and_its_mask_go_out_in_one_size() -> None:
    """However small the mask and however large the picture, both have the size of what is sent."""
    given = mask((60, 40), (10, 5, 30, 25), "white")
    picture, said = map(opened, await run_in_child(image_and_mask, encoded(textured(300, 200), "JPEG"), given, 120))
    assert (picture.format, picture.size, said.size) == ("PNG", (120, 80), (120, 80))
    assert said.getchannel("A").point(lambda value: 255 - value).getbbox() == (20, 10, 60, 50)


@pytest.mark.parametrize(
    "work", [(shrink, 8), (shrink_if_needed, 8, 8), (extend, 8, 8), (alpha_mask, 8, 8), (image_and_mask, b"", 8)]
)
async def test_what_is_no_image_is_refused(work: tuple[object, ...]) -> None:
    """Bytes that cannot be read raise one kind of error."""
    function, *rest = work
    with pytest.raises(Invalid) as refused:
        await run_in_child(function, b"no image", *rest)  # type: ignore[arg-type]
    assert refused.value.code == "image_rejected"


def test_a_mask_of_the_largest_picture_is_small() -> None:
    """Even a mask of noise stays below the 4 MB that vendors accept."""
    noise = Image.effect_noise((960, 540), 200).point(lambda value: 255 * (value > 127)).resize((3840, 2160))
    assert len(alpha_mask(encoded(noise, "PNG"), 3840, 2160)) < 4_000_000
