"""Numbers as people read them: dollars and shares. Money is counted in micro-USD (millionths of a US dollar)."""

from typing import overload

NONE = "–"
"""Shown where there is no number."""


def dollars(micros: int | None) -> str:
    """Micro-USD as `$0.04`: at least two decimal places, and as many more as the amount needs."""
    if micros is None:
        return NONE
    whole, places = f"{micros / 1e6:.6f}".split(".")
    return f"${whole}.{places.rstrip('0'):0<2}"


def percent(share: float | None, places: int = 0) -> str:
    """A share of 1 as `83 %`, with this many decimal places."""
    return NONE if share is None else f"{100 * share:.{places}f} %"


@overload
def to_usd(micros: int) -> float: ...
@overload
def to_usd(micros: int | None) -> float | None: ...
def to_usd(micros: int | None) -> float | None:
    """Micro-USD as US dollars, the unit of the API's `…Usd` fields."""
    return None if micros is None else micros / 1e6


def to_micros(usd: float) -> int:
    """US dollars as micro-USD, rounded to the nearest."""
    return round(usd * 1e6)
