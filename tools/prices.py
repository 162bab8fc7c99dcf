"""What a call costs: a quote before it, a charge after it, both from the price that holds on the day.

Money is integer micro-USD. A model without a price is `unpriced`: each of its calls counts as `UNPRICED_USD`,
and says so, but is never free.
"""

import datetime
import math
from typing import Literal

import msgspec

from tools.catalog import TOKENS, Price, Units, prices
from tools.env import Env

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


def price_of(env: Env, provider: str, model: str) -> Price | None:
    """The price in force today, the latest when several are."""
    today = datetime.datetime.now(datetime.UTC).date()
    held = [price for price in prices(env.settings.prices).get((provider, model), []) if price.effective <= today]
    return max(held, key=lambda price: price.effective, default=None)


def version(provider: str, model: str, price: Price) -> str:
    return f"{provider}/{model}@{price.effective.isoformat()}"


def amount(price: Price, units: Units) -> float | None:
    """Micro-USD of these units, not rounded; None when one of them has no rate."""
    if any(count and unit not in price.rates for unit, count in units.items()):
        return None
    return sum(price.rates[unit] * count * (1 if unit in TOKENS else 1e6) for unit, count in units.items() if count)


def quote(env: Env, provider: str, model: str, least: Units, most: Units) -> Quote:
    """What a call of so many units at least and at most will cost; rounded outwards."""
    price = price_of(env, provider, model)
    low, high = (amount(price, least), amount(price, most)) if price else (None, None)
    if price is None or low is None or high is None or not most:
        ceiling = env.settings.unpriced_micros
        return Quote(ceiling, ceiling, None, "ceiling")
    return Quote(math.floor(round(low, 6)), math.ceil(round(high, 6)), version(provider, model, price), "estimate")


def charge(env: Env, provider: str, model: str, used: Units, quoted: Quote) -> Charge:
    """What a billed call cost by what its answer says it used; without that, what was quoted at most."""
    price = price_of(env, provider, model)
    paid = amount(price, used) if price and used else None
    if price is None or paid is None:
        return Charge(quoted.high, quoted.basis, quoted.version)
    return Charge(round(paid), "usage", version(provider, model, price))
