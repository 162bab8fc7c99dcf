import pytest
from PIL import Image

from tests.support.files.small_images import mask, opened
from tools.errors import Invalid
from tools.media.masks import area_to_change
from tools.media.sizes import read_size, same_shape


@pytest.mark.parametrize("way", ["transparent", "white"])
def test_transparent_or_white_is_where_a_picture_changes(way: str) -> None:
    """Masks by transparency and by lightness open the same area."""
    area = area_to_change(opened(mask((60, 40), (10, 5, 30, 25), way)))  # type: ignore[arg-type]
    assert (area.size, area.getbbox()) == ((60, 40), (10, 5, 30, 25))


def test_transparency_speaks_before_light() -> None:
    """The image itself with a transparent area is a mask of that area, however bright the rest."""
    image = Image.new("RGBA", (20, 20), (255, 255, 255, 255))
    image.paste((0, 0, 0, 0), (5, 5, 9, 9))
    assert area_to_change(image).getbbox() == (5, 5, 9, 9)


@pytest.mark.parametrize(
    "size", ["", "1024", "x", "10x", "-5x5", "1e3x5", "10X10", "10x10x10", "0x5", "٣x٣", "9" * 30 + "x1"]
)
def test_what_is_no_size_is_refused(size: str) -> None:
    """A size is two whole numbers of pixels."""
    with pytest.raises(Invalid, match="WIDTHxHEIGHT"):
        read_size(size)


def test_shapes_are_compared_with_a_little_room() -> None:
    """One per cent is rounding, more is another shape."""
    assert read_size("640x480") == (640, 480)
    assert same_shape((640, 480), (1280, 960)) and same_shape((1000, 1000), (1005, 1000))
    assert not same_shape((640, 480), (480, 640))
