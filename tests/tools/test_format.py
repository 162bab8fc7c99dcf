"""Money and shares as people read them."""

import pytest

from tools.format import dollars, percent, to_micros, to_usd


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "$0.00"), (40_000, "$0.04"), (1_500_000, "$1.50"), (33_750, "$0.03375"), (1, "$0.000001"), (None, "–")],
)
def test_dollars_have_two_decimal_places_and_as_many_more_as_they_need(micros: int | None, text: str) -> None:
    """No digit of an amount is rounded away."""
    assert dollars(micros) == text


@pytest.mark.parametrize(
    ("share", "places", "text"), [(0.5, 0, "50 %"), (1.0, 1, "100.0 %"), (0.123, 1, "12.3 %"), (None, 0, "–")]
)
def test_a_share_is_a_percentage_with_the_places_asked_for(share: float | None, places: int, text: str) -> None:
    """A missing share is a dash, never 0 %."""
    assert percent(share, places) == text


def test_dollars_and_micros_convert_both_ways() -> None:
    """An amount of the API is the amount in the database."""
    assert [to_micros(to_usd(micros)) for micros in (0, 1, 33_750, 10**12)] == [0, 1, 33_750, 10**12]
    assert to_usd(None) is None
