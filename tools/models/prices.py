"""What a call costs: a quote before it, a charge after it, both from the price that holds on the day.

Money is integer micro-USD, reckoned in fractions of the digits that are written in the price table, so that no call
costs more or less than that by a float's error. A model without a price is `unpriced`: each of its calls counts as
`UNPRICED_USD`, and says so, but is never free.
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
"""Why a charge is what it is: nothing to pay · what the vendor's answer says it used · billed without such an
answer, so the highest quote · no price known."""


class Quote(msgspec.Struct, frozen=True):
    """What one call will cost at least and at most, in micro-USD, by the price `version` (None: unpriced or free)."""

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
"""How many times its highest quote, or the ceiling, a call cannot have cost: such an answer has miscounted."""
UNCACHED: Mapping[Unit, Unit] = {"cached_text_input": "text_input", "cached_image_input": "image_input"}
"""What a cached token without a rate of its own costs: at most as much as any other."""


def price_of(env: Env, provider: str, model: str) -> Price | None:
    """The price in force today (UTC); None for a model that is unpriced."""
    known = prices(env.settings.prices).get((provider, model), [])
    return in_force(known, datetime.datetime.now(datetime.UTC).date())


def in_force(known: Iterable[Price], day: datetime.date) -> Price | None:
    """The latest of the prices that hold on the day already."""
    return max((price for price in known if price.effective <= day), key=lambda price: price.effective, default=None)


def version(provider: str, model: str, price: Price) -> str:
    return f"{provider}/{model}@{price.effective.isoformat()}"


def amount(price: Price, units: Units) -> Fraction | None:
    """Micro-USD of these units, exact; None when one of them has no rate, or a vendor counted what cannot be."""
    total = Fraction(0)
    for unit, count in units.items():
        rate = price.rates.get(unit, price.rates.get(UNCACHED.get(unit, unit)))
        if not 0 <= count < math.inf or (rate is None and count):
            return None
        total += Fraction(str(rate or 0)) * Fraction(str(count)) * (1 if unit in TOKENS else 1_000_000)
    return total


def quote(env: Env, provider: str, model: str, least: Units, most: Units) -> Quote:
    """What a call of so many units at least and at most will cost; rounded outwards."""
    price = price_of(env, provider, model)
    low, high = (amount(price, least), amount(price, most)) if price else (None, None)
    if price is None or low is None or high is None or not most:
        ceiling = env.settings.unpriced_micros
        return Quote(ceiling, ceiling, None, "ceiling")
    return Quote(*rounded(low, high), version(provider, model, price), "estimate")


def rounded(low: Fraction, high: Fraction) -> tuple[int, int]:
    """Whole micro-USD, outwards."""
    return math.floor(low), math.ceil(high)


def total(parts: Sequence[Quote]) -> Quote:
    """Several calls as one quote, labelled by the first; one without a price makes it a `ceiling`."""
    first, *_ = parts
    basis: Basis = "ceiling" if any(part.basis == "ceiling" for part in parts) else first.basis
    if basis == "free" and any(part.high for part in parts):
        basis = "estimate"
    return Quote(sum(part.low for part in parts), sum(part.high for part in parts), first.version, basis)


def charge(env: Env, provider: str, model: str, used: Units, quoted: Quote) -> Charge:
    """What a billed call cost, to the nearest micro-USD, by what its answer says it used; without that, or a price
    for it, or when it tells what cannot be, what was quoted at most."""
    price = price_of(env, provider, model)
    paid = amount(price, used) if price and used else None
    most = INCREDIBLE * max(quoted.high, env.settings.unpriced_micros)
    if price is None or paid is None or paid > most:
        return Charge(quoted.high, quoted.basis, quoted.version)
    return Charge(round(paid), "usage", version(provider, model, price))
