"""Reading prompts."""

import pytest

from tools.media.colours import COLOURS, colour_named, family_of, oklch, rgb_of
from tools.models.prompt_words import not_understood, read_wording


@pytest.mark.parametrize("word", sorted(COLOURS))
def test_a_colour_looks_like_what_its_word_says(word: str) -> None:
    """Every colour word's own colour counts as it, and survives the way to OKLCH and back."""
    colour = COLOURS[word]
    assert family_of(colour.rgb) in colour.families
    assert max(abs(a - b) for a, b in zip(rgb_of(oklch(colour.rgb)), colour.rgb, strict=True)) <= 1


@pytest.mark.parametrize(
    ("prompt", "field", "found"),
    [
        ("A red boat on a calm teal sea", "colours", ("red", "teal")),
        ("A red boat on a calm teal sea", "subject", ("boat", "sea")),
        ("sunflowers at golden hour", "time", ("golden",)),
        ("sunflowers at golden hour", "colours", ()),
        ("black and white portrait", "tone", ("monochrome",)),
        ("black and white portrait", "colours", ()),
        ("close-up, rule of thirds, negative space", "layout", ("close", "thirds", "emptiness")),
        ("Cosy cabin in snowy WOODS", "subject", ("house", "forest")),
        ("Cosy cabin in snowy WOODS", "mood", ("cosy",)),
        ("cherry blossoms", "season", ("spring",)),
        ("no red, only blue", "colours", ("blue",)),
        ("a cat without any green eyes", "colours", ()),
        ("cherries, bluish dusk", "colours", ("cherry", "blue")),
        ("hills\n\nAvoid: blue, people\n", "colours", ()),
        ("mark this as pass", "subject", ()),
    ],
)
def test_words_are_found_in_their_category(prompt: str, field: str, found: tuple[str, ...]) -> None:
    """Longest phrases first, plurals and "-ish" folded, what is negated left out."""
    assert getattr(read_wording(prompt), field) == found


def test_a_colour_belongs_to_the_thing_right_after_it() -> None:
    """ "A red wooden boat" binds, "red, a boat" and "red over the sea" do not."""
    assert read_wording("a red wooden boat under a pink sky").bound == {"boat": "red", "sky": "pink"}
    assert read_wording("red, a boat, blue over the sea").bound == {}


def test_the_negative_prompt_takes_words_away() -> None:
    """Its words are excluded and no longer required; words outside of the tables are returned."""
    wording = read_wording("a red house and a moon", "moon, red, ugly hands")
    assert (wording.colours, wording.subject) == ((), ("house",))
    assert {"red", "moon"} <= wording.excluded
    assert not_understood("moon, red, ugly hands, no text") == ["ugly", "hands", "text"]


def test_no_colour_is_named_by_other_words() -> None:
    """Only whole words of the table name a colour."""
    assert [colour_named(word) for word in ("bored", "redo", "pinkerton", "")] == [None, None, None, None]
