"""Colours as they are found in pixels."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support.environment import bare_env
from tests.support.files.images import encoded
from tools.errors import NotFound
from tools.media import swatches
from tools.media.swatches import Swatch


def striped(*colours: tuple[str, int], mode: str = "RGB") -> bytes:
    """An image of upright stripes: a colour and how many of 100 columns it has."""
    image, at = Image.new("RGBA", (100, 60)), 0
    for colour, width in colours:
        image.paste(colour, (at, 0, at + width, 60))
        at += width
    return encoded(image.convert(mode), "PNG")


def test_the_colours_are_those_of_the_image_with_their_shares() -> None:
    """Three stripes are three colours; the strong one comes before the larger grey one."""
    found = swatches.dominant(striped(("#7f7f7f", 50), ("#d62a2a", 40), ("#1a2a5e", 10)))
    assert [swatch.hex for swatch in found] == ["#d62a2a", "#7f7f7f", "#1a2a5e"]
    assert [swatch.share for swatch in found] == pytest.approx([0.4, 0.5, 0.1], abs=0.03)


def test_colours_that_look_alike_are_one() -> None:
    """Neighbours are joined under the larger one; what is hardly there is left out."""
    one, *more = swatches.merged(
        [Swatch((30, 90, 200), 0.6), Swatch((34, 96, 204), 0.39), Swatch((250, 0, 0), 0.01)], 6
    )
    assert more == []
    assert (one.rgb, round(one.share, 2)) == ((30, 90, 200), 0.99)


def test_what_shows_through_is_white() -> None:
    """A transparent image has the colours it has on paper."""
    assert [swatch.hex for swatch in swatches.dominant(striped(("#00000000", 100), mode="RGBA"))] == ["#ffffff"]


@pytest.mark.parametrize(
    ("rgb", "word"),
    [((214, 42, 42), "red"), ((20, 120, 120), "teal"), ((250, 250, 250), "white"), ((240, 140, 30), "orange")],
)
def test_a_colour_has_the_word_that_fits_it(rgb: tuple[int, int, int], word: str) -> None:
    """The names are the common ones, which the sketch provider uses too."""
    fitting = {
        "red": {"red", "vermilion", "scarlet"},
        "white": {"white", "pearl", "snow white"},
        "orange": {"orange", "tangerine"},
    }
    assert swatches.word_for(rgb) in fitting.get(word, {word})


async def test_the_original_in_the_bucket_is_measured(tmp_path: Path) -> None:
    """In the image child, from the bytes under the key; a key without bytes is NotFound."""
    async with bare_env(tmp_path) as env:
        await env.BUCKET.put("project/p/orig", striped(("#d62a2a", 100)), content_type="image/png")
        assert await swatches.measure(env, "project/p/orig") == [Swatch((214, 42, 42), 1.0)]
        with pytest.raises(NotFound):
            await swatches.measure(env, "project/p/other")
