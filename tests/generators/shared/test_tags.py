import pytest

from generators.shared.tags import Tag, palette, tag_of
from tools.media.colours import COLOURS


@pytest.mark.parametrize(
    ("name", "hex"),
    [
        ("Deep Teal", COLOURS["teal"].hex),
        ("cream on navy", COLOURS["navy"].hex),
        ("cold ice  blue", COLOURS["ice blue"].hex),
        ("teal carafe", COLOURS["teal"].hex),
        ("warm sand", COLOURS["sand"].hex),
        ("sand dunes", None),
        ("#A1B2C3", "#a1b2c3"),
        ("tealish", None),
        ("linen", None),
        ('#a1b2c3" onload="x', None),
    ],
)
def test_a_tag_has_the_colour_of_its_last_colour_word(name: str, hex: str | None) -> None:
    """Whole words and six-digit codes name a colour, with the meaning that the sketch provider and the judge use; any
    other tag, also an ambiguous word, has no swatch."""
    assert tag_of(name) == Tag(name, hex)


def test_the_palette_is_the_most_frequent_colours_under_their_first_names() -> None:
    """One swatch per colour, the most frequent first, at most as many as requested."""
    tags = ["navy", "linen", "deep teal", "teal", "gold", "teal"]
    assert palette(tags, 2) == [Tag("deep teal", COLOURS["teal"].hex), Tag("navy", COLOURS["navy"].hex)]
    assert palette(["linen"], 2) == []
