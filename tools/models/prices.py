"""The cost of a call: a quote before it and a charge after it, both by the price that is in force on the day.

Money is integer micro-USD, computed with fractions from the decimal digits of the price table, so that no floating
point error changes a cost. A model without a price is never free: each call counts as `UNPRICED_USD`, with the basis
`ceiling`.
"""

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from tools.env import Env
from tools.models.catalog import TOKENS, Price, Unit, Units, prices

Basis = Literal["free", "usage", "estimate", "ceiling"]
"""How a charge was determined: `free` nothing to pay · `usage` by the usage that the vendor reported · `estimate`
billed without reported usage, hence the highest quote · `ceiling` no known price."""


class Quote(msgspec.Struct, frozen=True):
    """What one call will cost at least and at most, in micro-USD, by the price `version` (None: no price, or free)."""

    low: int
    high: int
    version: str | None
    basis: Basis


class Charge(msgspec.Struct, frozen=True):
    """What one call cost, in micro-USD."""

    micros: int
    basis: Basis
    version: str | None


FREE = Quote(0, 0, None, "free")
INCREDIBLE = 100
"""A reported usage that costs more than this many times the highest quote, or the ceiling, is taken for an error."""
UNCACHED: Mapping[Unit, Unit] = {"cached_text_input": "text_input", "cached_image_input": "image_input"}
"""The unit whose rate is used for a cached token without a rate of its own: it costs at most as much."""


def price_of(env: Env, provider: str, model: str) -> Price | None:
    """The price in force today (UTC); None for a model without a price."""
    known = prices(env.settings.prices).get((provider, model), [])
    return in_force(known, datetime.datetime.now(datetime.UTC).date())


def in_force(known: Iterable[Price], day: datetime.date) -> Price | None:
    """The latest price that is effective on the day; None when there is none yet."""
    return max((price for price in known if price.effective <= day), key=lambda price: price.effective, default=None)


def version(provider: str, model: str, price: Price) -> str:
    """The name of a price in the ledger: `provider/model@YYYY-MM-DD`."""
    return f"{provider}/{model}@{price.effective.isoformat()}"


def amount(price: Price, units: Units) -> Fraction | None:
    """The exact cost of these units in micro-USD; None when one has no rate, or a count is negative or not finite."""
    total = Fraction(0)
    for unit, count in units.items():
        rate = price.rates.get(unit, price.rates.get(UNCACHED.get(unit, unit)))
        if not 0 <= count < math.inf or (rate is None and count):
            return None
        total += Fraction(str(rate or 0)) * Fraction(str(count)) * (1 if unit in TOKENS else 1_000_000)
    return total


def quote(env: Env, provider: str, model: str, least: Units, most: Units) -> Quote:
    """The quote for a call that uses from `least` to `most` units; rounded outwards."""
    price = price_of(env, provider, model)
    low, high = (amount(price, least), amount(price, most)) if price else (None, None)
    if price is None or low is None or high is None or not most:
        ceiling = env.settings.unpriced_micros
        return Quote(ceiling, ceiling, None, "ceiling")
    return Quote(*rounded(low, high), version(provider, model, price), "estimate")


def rounded(low: Fraction, high: Fraction) -> tuple[int, int]:
    """Both amounts in whole micro-USD: the lower rounded down, the higher up."""
    return math.floor(low), math.ceil(high)


def total(parts: Sequence[Quote]) -> Quote:
    """The sum of several quotes, with the price version of the first; one without a price makes it a `ceiling`."""
    first, *_ = parts
    basis: Basis = "ceiling" if any(part.basis == "ceiling" for part in parts) else first.basis
    if basis == "free" and any(part.high for part in parts):
        basis = "estimate"
    return Quote(sum(part.low for part in parts), sum(part.high for part in parts), first.version, basis)


def charge(env: Env, provider: str, model: str, used: Units, quoted: Quote) -> Charge:
    """What a billed call cost by the usage that its answer reports, to the nearest micro-USD.

    Without a report or a price, or when the report is not plausible, it is the highest quote.
    """
    price = price_of(env, provider, model)
    paid = amount(price, used) if price and used else None
    most = INCREDIBLE * max(quoted.high, env.settings.unpriced_micros)
    if price is None or paid is None or paid > most:
        return Charge(quoted.high, quoted.basis, quoted.version)
    return Charge(round(paid), "usage", version(provider, model, price))
