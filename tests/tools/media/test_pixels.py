import io
import math
import os
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import imagehash
import pytest
from PIL import Image

from tests.support.files.hostile_images import BAD, GOOD, SCRIPT, UNLISTED, UNREADABLE
from tests.support.files.images import (
    PATCHES,
    SRGB,
    WIDE,
    animated,
    encoded,
    exif,
    lab,
    matrix_profile,
    png,
    quarters,
    textured,
)
from tests.support.processes import sandbox_work
from tools.errors import Invalid
from tools.media import pixels
from tools.media.sandbox import CHILDREN, MEMORY_BYTES, run_in_child
from tools.media.variants import FITS, Format, parse


@pytest.fixture(scope="module", autouse=True)
async def one_loop() -> AsyncIterator[None]:
    """One event loop, and with it the same children, for the whole module."""
    yield


async def verdict(data: bytes) -> str:
    """The media type, or the message of the refusal."""
    try:
        return (await run_in_child(pixels.inspect, data)).mime
    except Invalid as error:
        assert error.code == "image_rejected"
        return error.message


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_file_is_known_and_delivered(name: str) -> None:
    """Every listed file has its expected result; accepted ones can be delivered, hashed and converted to variants."""
    make, mime = GOOD[name]
    data = make()
    facts = await run_in_child(pixels.inspect, data)
    assert facts.mime == mime and facts.size == len(data)
    shown = Image.open(io.BytesIO(await run_in_child(pixels.delivery, data)))
    assert (shown.format, shown.size) == ("WEBP", (min(facts.width, 4096), shown.height))
    assert re.fullmatch("[0-9a-f]{16}", await run_in_child(pixels.phash, data))
    assert await run_in_child(pixels.variant, data, parse("w=16,h=16,fit=cover"), "jpeg")


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_file_is_refused_by_name(name: str) -> None:
    """What is not an image, is damaged or passes a limit is refused, and the limit is named."""
    make, reason = BAD[name]
    assert reason in await verdict(make())


@pytest.mark.parametrize("name", UNLISTED)
async def test_only_listed_formats_are_opened(name: str) -> None:
    """A good file of a format that is not listed is not even opened."""
    assert UNREADABLE in await verdict(UNLISTED[name]())


@pytest.mark.parametrize("name", [name for name in {**GOOD, **BAD} if "flood" in name or "megapixels" in name])
async def test_a_pixel_flood_is_refused_before_it_is_decoded(name: str) -> None:
    """A decompression bomb takes no more time than a small image, and no memory."""
    data, small = {**GOOD, **BAD}[name][0](), encoded(textured(640, 480), "PNG")
    usual = min([(await run_in_child(sandbox_work.cost, small))[0] for _ in range(5)])
    seconds, grown = min([await run_in_child(sandbox_work.cost, data) for _ in range(3)])
    assert seconds <= max(usual, 0.02)
    assert grown <= 10 << 20


@pytest.mark.parametrize(("kind", "frames"), [("PNG", 1000), ("WEBP", 500)])
async def test_of_a_long_animation_the_first_frame_alone_is_decoded(kind: str, frames: int) -> None:
    """An animation takes no more time than a small picture."""
    data, small = animated(kind, frames), encoded(textured(640, 480), "PNG")
    usual = min([(await run_in_child(sandbox_work.cost, small))[0] for _ in range(5)])
    assert min([(await run_in_child(sandbox_work.cost, data))[0] for _ in range(3)]) <= max(usual, 0.1)


async def test_hostile_bytes_do_not_end_this_process(rounds: int) -> None:
    """Flipped and spliced files are accepted or refused, nothing else, and the process stays."""
    pid, chance = os.getpid(), random.Random(20261121)
    seeds = [make() for make, _ in GOOD.values()]
    for at in range(1000 * rounds):
        data = mutated(chance, seeds)
        said = await verdict(data)
        assert said.startswith(("image/", "the image ")), (at, said)
        if said.startswith("image/"):
            await run_in_child(pixels.delivery, data)
    assert os.getpid() == pid


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """One of the files with bits flipped, a part cut out, or the rest of another behind its beginning."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2 if len(data) > 64:
                del data[at : at + chance.randrange(1, 16)]
            case _:
                other = chance.choice(seeds)
                data[at : at + 16] = other[at : at + 16]
    if chance.random() < 0.1:
        data = data[: len(data) // 2] + bytearray(chance.choice(seeds))[len(data) // 2 :]
    return bytes(data) or b"\0"


@pytest.mark.parametrize("name", [name for name in GOOD if "then" in name or "script" in name or "two" in name])
async def test_what_is_derived_holds_nothing_but_the_picture(name: str) -> None:
    """Scripts, archives and second files inside an image are not in the delivery image."""
    data = GOOD[name][0]()
    encodings: tuple[Format, ...] = ("avif", "webp", "jpeg")
    derived = [await run_in_child(pixels.delivery, data)]
    derived += [await run_in_child(pixels.variant, data, parse("public"), encoding) for encoding in encodings]
    for output in derived:
        assert not re.search(rb"<script|alert\(|PK\x03\x04|<html", output)
    assert derived[0][-8:] != data[-8:]


TELLING = {
    "png": lambda: encoded(textured(), "PNG", exif=exif(gps=True), icc_profile=matrix_profile(WIDE, 2.2)),
    "jpeg": lambda: encoded(
        textured(), "JPEG", exif=exif(orientation=3, gps=True), icc_profile=matrix_profile(WIDE, 2.2), comment="Maker"
    ),
    "webp": lambda: encoded(
        textured(), "WEBP", exif=exif(gps=True), icc_profile=matrix_profile(WIDE, 2.2), xmp=b"<x:xmpmeta Maker/>"
    ),
    "png-text": lambda: GOOD["png-text"][0](),
    "png-xmp": lambda: GOOD["png-xmp"][0](),
    "jpeg-comment": lambda: GOOD["jpeg-comment"][0](),
}


@pytest.mark.parametrize("make", TELLING.values(), ids=TELLING)
async def test_metadata_does_not_travel(make: Callable[[], bytes]) -> None:
    """Place, maker, comments and profiles are in no delivery image and no variant."""
    outputs = [await run_in_child(pixels.delivery, make())]
    outputs += [await run_in_child(pixels.variant, make(), parse("thumb"), encoding) for encoding in ("webp", "jpeg")]
    for output in outputs:
        image = Image.open(io.BytesIO(output))
        assert not dict(image.getexif()) and not image.getexif().get_ifd(0x8825)
        assert not {"icc_profile", "exif", "xmp", "comment"} & image.info.keys()
        assert not re.search(rb"Maker|Exif|ICCP|XMP|acsp|xmpmeta", output)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_the_orientation_is_applied(turn: int, kind: str) -> None:
    """For every EXIF orientation, the delivery image is upright, and so is the size in the facts."""
    wide = quarters().resize((160, 96))
    inverse = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[turn]
    # The transposes of Pillow that undo the orientation, so that applying it gives `wide` again.
    held = wide if inverse is None else wide.transpose(Image.Transpose(inverse))
    data = encoded(held, kind, exif=exif(orientation=turn), **({} if kind == "PNG" else {"quality": 95}))
    facts = await run_in_child(pixels.inspect, data)
    assert (facts.width, facts.height) == (160, 96)
    shown = Image.open(io.BytesIO(await run_in_child(pixels.delivery, data)))
    assert shown.size == (160, 96)
    for at, colour in enumerate(PATCHES):
        assert math.dist(pixel(shown, 40 + at % 2 * 80, 24 + at // 2 * 48), colour) < 12


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("WEBP", "RGBA")],
)
async def test_colours_are_the_same_after_their_profile_is_gone(kind: str, mode: str) -> None:
    """A wide-gamut image looks the same in sRGB, within ΔE 2."""
    exactly: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = exactly.get(kind, {})
    data = encoded(quarters(mode=mode), kind, icc_profile=matrix_profile(WIDE, 2.2), **options)
    shown = Image.open(io.BytesIO(await run_in_child(pixels.delivery, data)))
    for at, colour in enumerate(PATCHES):
        seen = pixel(shown, 32 + at % 2 * 64, 32 + at // 2 * 64)[:3]
        assert math.dist(lab(seen, SRGB, None), lab(colour, WIDE, 2.2)) <= 2


async def test_an_image_without_a_profile_keeps_its_colours() -> None:
    """An image without a profile is taken for sRGB."""
    shown = Image.open(io.BytesIO(await run_in_child(pixels.delivery, encoded(quarters(), "PNG"))))
    for at, colour in enumerate(PATCHES):
        seen = pixel(shown, 32 + at % 2 * 64, 32 + at // 2 * 64)
        assert math.dist(lab(seen, SRGB, None), lab(colour, SRGB, None)) <= 2


async def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """A 16-bit grey of two fifths is converted to two fifths."""
    grey = Image.new("I;16", (64, 64), 65535 * 2 // 5)
    shown = Image.open(io.BytesIO(await run_in_child(pixels.delivery, encoded(grey, "PNG"))))
    assert all(abs(level - 102) <= 2 for level in pixel(shown, 32, 32))


async def test_transparency_is_kept_where_the_format_has_it() -> None:
    """Alpha survives delivery, as does a palette's transparent colour; a JPEG is laid on white."""
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (32, 0, 64, 64))
    drawn = Image.new("P", (64, 64), 0)
    drawn.putpalette([255, 0, 0, 0, 0, 255])
    drawn.paste(1, (32, 0, 64, 64))
    for data in (encoded(clear, "PNG"), encoded(drawn, "PNG", transparency=0)):
        shown = Image.open(io.BytesIO(await run_in_child(pixels.delivery, data)))
        assert shown.mode == "RGBA"
        assert pixel(shown, 8, 8)[3] == 0 and pixel(shown, 56, 8)[3] == 255
        flat = Image.open(io.BytesIO(await run_in_child(pixels.variant, data, parse("public"), "jpeg")))
        assert min(pixel(flat, 8, 8)) > 250 and pixel(flat, 56, 8)[2] > 240


async def test_a_delivery_image_stays_within_its_bounds() -> None:
    """However large and noisy, a delivery image is at most 4096 pixels long and 10 MB."""
    noise = Image.frombytes("RGBA", (2400, 2400), random.Random(1).randbytes(4 * 2400 * 2400))
    data = await run_in_child(pixels.delivery, encoded(noise, "PNG", compress_level=1), seconds=90)
    assert len(data) <= pixels.DELIVERY_BYTES
    long = await run_in_child(pixels.delivery, encoded(Image.new("RGB", (9000, 30)), "PNG"))
    assert Image.open(io.BytesIO(long)).size == (4096, 14)


async def test_the_hash_is_the_librarys_and_tells_pictures_apart() -> None:
    """16 hex digits, equal to imagehash's; a recompressed picture is near, another one far."""
    picture = Image.effect_mandelbrot((320, 240), (-2, -1.5, 1, 1.5), 60)
    other = picture.rotate(90, expand=True)
    found = await run_in_child(pixels.phash, encoded(picture, "PNG"))
    assert found == str(imagehash.phash(picture))
    near = await run_in_child(pixels.phash, encoded(picture, "JPEG", quality=40))
    far = await run_in_child(pixels.phash, encoded(other, "PNG"))
    assert distance(found, near) <= 4 < 12 < distance(found, far)


def distance(one: str, two: str) -> int:
    return (int(one, 16) ^ int(two, 16)).bit_count()


@pytest.mark.parametrize("encoding", ["avif", "webp", "jpeg"])
@pytest.mark.parametrize("fit", FITS)
async def test_a_variant_has_the_size_and_format_asked_for(fit: str, encoding: Format) -> None:
    """Every fit in every format, on an image with alpha."""
    master = encoded(textured(120, 60, "RGBA"), "WEBP")
    image = Image.open(io.BytesIO(await run_in_child(pixels.variant, master, parse(f"w=40,h=40,fit={fit}"), encoding)))
    assert image.format == encoding.upper()
    assert image.size == {"scale-down": (40, 20), "contain": (40, 20)}.get(fit, (40, 40))
    if fit == "pad":
        assert min(pixel(image.convert("RGB"), 20, 2)) > 245


async def test_many_of_the_largest_images_fit_in_line(rounds: int) -> None:
    """More large images than child processes are all processed, with a bounded number of children."""
    largest = encoded(Image.new("RGB", (6320, 6320), (9, 99, 199)), "JPEG")
    seen: list[tuple[int, int]] = []

    async def one() -> None:
        seen.append(await run_in_child(sandbox_work.peak, largest))

    async with anyio.create_task_group() as group:
        for _ in range(6 * rounds):
            group.start_soon(one)
    assert len(seen) == 6 * rounds
    assert len({pid for pid, _ in seen}) <= CHILDREN
    assert max(peak for _, peak in seen) < MEMORY_BYTES + (200 << 20)


@pytest.mark.soak
async def test_the_largest_webp_fits_into_the_childs_memory() -> None:
    """40 megapixels of WebP with alpha, the costliest of the allowed, are inspected and delivered."""
    largest = encoded(Image.new("RGBA", (6320, 6320), (9, 99, 199, 128)), "WEBP", method=0, quality=10)
    assert (await run_in_child(pixels.inspect, largest)).width == 6320
    assert Image.open(io.BytesIO(await run_in_child(pixels.delivery, largest, seconds=60))).size == (4096, 4096)


def test_the_corpus_is_large_enough() -> None:
    """At least 60 files with a known result, some with hostile content."""
    assert len(GOOD) + len(BAD) >= 80
    assert any(SCRIPT in make() for make, _ in GOOD.values())
    assert Path(pixels.__file__).exists() and png(1, 1, rows=b"\0\0\0\0")
