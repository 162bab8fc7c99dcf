import pytest

from generators.shared.palette import COLOURS, Colour, colour, palette


@pytest.mark.parametrize(
    ("tag", "hex"),
    [
        ("Deep Teal", COLOURS["teal"]),
        ("cream on navy", COLOURS["navy"]),
        ("#A1B2C3", "#a1b2c3"),
        ("tealish", None),
        ("linen", None),
        ('#a1b2c3" onload="x', None),
    ],
)
def test_a_tag_has_the_colour_of_its_last_colour_word(tag: str, hex: str | None) -> None:
    """Whole words and six-digit codes name a colour; anything else is a tag without a swatch."""
    assert colour(tag) == Colour(tag, hex)


def test_the_palette_is_the_most_frequent_colours_under_their_first_names() -> None:
    """One swatch per colour, the commonest first, at most as many as asked for."""
    tags = ["navy", "linen", "deep teal", "teal", "gold", "teal"]
    assert palette(tags, 2) == [Colour("deep teal", COLOURS["teal"]), Colour("navy", COLOURS["navy"])]
    assert palette(["linen"], 2) == []
