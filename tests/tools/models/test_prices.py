"""Quotes and charges: exact, dated, and never free without a price."""

import dataclasses
import datetime
import json
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any, cast, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import environment
from tools.env import Env
from tools.models import prices
from tools.models.catalog import TOKENS, Price, Unit, Units, catalog

TODAY = datetime.datetime.now(datetime.UTC).date()
DAY = datetime.timedelta(days=1)
CENTS_50 = 500_000
UNITS: tuple[Unit, ...] = get_args(Unit)

RATES = st.dictionaries(
    st.sampled_from(UNITS), st.decimals(0, 10_000, places=6).map(float), min_size=1, max_size=len(UNITS)
)
COUNTS = st.integers(0, 200_000) | st.decimals(0, 1000, places=3).map(float)


def price(rates: Mapping[Unit, float], effective: datetime.date = TODAY) -> Price:
    return Price(effective=effective, checked=TODAY, source="a test", rates=dict(rates))


def by_hand(rates: Mapping[Unit, float], units: Units) -> Decimal:
    """Micro-USD, in decimals: of tokens, the rate is per million."""
    with localcontext() as context:
        context.prec = 60
        return sum(
            (Decimal(str(rates[unit])) * Decimal(str(count)) * (1 if unit in TOKENS else 10**6))
            for unit, count in units.items()
        ) + Decimal(0)


def env(home: Path, *local: tuple[str, str, list[Price]], **environ: str) -> Env:
    """An Env of which only the settings are there, with these prices in a PRICES file."""
    if local:
        path = home / "prices.toml"
        path.write_text("\n".join(written(*model) for model in local))
        environ["PRICES"] = str(path)
    given: dict[str, Any] = {field.name: cast(Any, None) for field in dataclasses.fields(Env)}
    return Env(**{**given, "settings": environment.settings(home, **environ)})


def written(provider: str, model: str, of_it: list[Price]) -> str:
    """One model of a PRICES file, as a person writes it."""
    lines = [f"[[model]]\nprovider = {json.dumps(provider)}\nid = {json.dumps(model)}"]
    for one in of_it:
        rates = ", ".join(f"{unit} = {rate!r}" for unit, rate in one.rates.items())
        lines.append(f"[[model.price]]\neffective = {one.effective}\nchecked = {one.checked}\nsource = 'a test'")
        lines.append(f"rates = {{ {rates} }}")
    return "\n".join(lines)


def test_a_worked_example(tmp_path: Path) -> None:
    """gpt-image-2, medium, 1024x1024, 20 words: 1,756 image tokens at $30 and 30 of text at $5 a million."""
    least: Units = {"text_input": 30, "image_output": 1756}
    quoted = prices.quote(env(tmp_path), "openai", "gpt-image-2", least, {**least, "text_input": 31})
    assert quoted == prices.Quote(52_830, 52_835, "openai/gpt-image-2@2026-04-21", "estimate")
    used: Units = {"text_input": 31, "cached_text_input": 0, "image_output": 1756, "image_input": 0}
    charged = prices.charge(env(tmp_path), "openai", "gpt-image-2", used, quoted)
    assert charged == prices.Charge(52_835, "usage", "openai/gpt-image-2@2026-04-21")


def test_what_an_answer_of_workers_ai_counts(tmp_path: Path) -> None:
    """flux-1-schnell, 1024x1024, 4 steps: 172.8 neurons as its answers report, of which a thousand cost $0.011."""
    model, units = "@cf/black-forest-labs/flux-1-schnell", cast(Units, {"tile": 4, "tile_step": 16})
    quoted = prices.quote(env(tmp_path), "workers", model, units, units)
    assert (quoted.low, quoted.high) == (1900, 1901)
    for used in (units, cast(Units, {"neuron": 172.8})):
        charged = prices.charge(env(tmp_path), "workers", model, used, quoted)
        assert (charged.micros, charged.basis) == (1901, "usage")


@given(RATES, st.data())
def test_amounts_are_exact(rates: dict[Unit, float], data: st.DataObject) -> None:
    """An amount is what the same sum gives in decimals: no float's error adds up."""
    units = data.draw(st.dictionaries(st.sampled_from(sorted(rates)), COUNTS))
    found = prices.amount(price(rates), units)
    assert found is not None
    assert found == by_hand(rates, units)


@given(RATES, st.data())
@settings(deadline=None)
def test_quotes_are_rounded_outwards_and_charges_to_the_nearest(rates: dict[Unit, float], data: st.DataObject) -> None:
    """What a call costs is within its quote, in whole micro-USD, and is charged to half a micro-USD."""
    most = data.draw(st.dictionaries(st.sampled_from(sorted(rates)), COUNTS, min_size=1))
    least = {unit: data.draw(st.sampled_from([0, count])) for unit, count in most.items()}
    low, high = by_hand(rates, least), by_hand(rates, most)
    found, upper = prices.amount(price(rates), least), prices.amount(price(rates), most)
    assert found is not None and upper is not None
    quoted = prices.rounded(found, upper)
    assert quoted == (int(low.to_integral_value(ROUND_FLOOR)), int(high.to_integral_value(ROUND_CEILING)))
    assert quoted[0] <= low <= high <= quoted[1]
    assert abs(round(upper) - high) <= Decimal("0.5") and round(upper) == high.to_integral_value(ROUND_HALF_EVEN)


def test_nothing_is_cheap_by_a_float(tmp_path: Path) -> None:
    """Three units at $0.10, which floats make 0.30000000000000004, are 300,000 and not one more."""
    of_ten_cents = env(tmp_path, ("toy", "m", [price({"image": 0.1})]))
    assert prices.quote(of_ten_cents, "toy", "m", {"image": 3}, {"image": 3}) == prices.Quote(
        300_000, 300_000, f"toy/m@{TODAY}", "estimate"
    )


@given(st.lists(st.integers(-400, 400), unique=True, max_size=8))
def test_the_latest_price_that_holds_already_counts(offsets: list[int]) -> None:
    """On any day it is the last one that took effect: from its very day on, and none before the first."""
    known = [price({"image": 1.0}, TODAY + offset * DAY) for offset in offsets]
    found = prices.in_force(known, TODAY)
    held = [offset for offset in offsets if offset <= 0]
    assert (found and found.effective) == (TODAY + max(held) * DAY if held else None)


def test_a_future_price_does_not_count_yet(tmp_path: Path) -> None:
    """Announced prices are in the table; calls cost what is valid today, and a model without such a price is
    unpriced."""
    dated = [price({"image": float(n)}, TODAY + offset * DAY) for n, offset in ((1, -9), (2, 0), (4, 1))]
    local = env(tmp_path, ("toy", "risen", dated), ("toy", "announced", dated[2:]))
    assert prices.quote(local, "toy", "risen", {}, {"image": 1}).high == 2_000_000
    assert prices.quote(local, "toy", "announced", {}, {"image": 1}).basis == "ceiling"
    assert prices.price_of(local, "toy", "announced") is None


def test_an_unpriced_call_counts_as_the_ceiling(tmp_path: Path) -> None:
    """Without a price, or a rate for one of the units, a call counts as UNPRICED_USD, is marked so, and is never
    free."""
    local = env(tmp_path, ("toy", "m", [price({"image": 0.01})]), UNPRICED_USD="0.50")
    ceiling = prices.Quote(CENTS_50, CENTS_50, None, "ceiling")
    one: Units = {"image": 1}
    assert prices.quote(local, "toy", "other", one, one) == ceiling
    assert prices.quote(local, "toy", "m", one, {"image": 1, "step": 4}) == ceiling
    assert prices.quote(local, "toy", "m", {"image": 1, "step": 4}, one) == ceiling
    assert prices.quote(local, "toy", "m", {}, {}) == ceiling
    assert prices.charge(local, "toy", "other", one, ceiling) == prices.Charge(CENTS_50, "ceiling", None)
    dear = env(tmp_path, UNPRICED_USD="3.25")
    assert prices.quote(dear, "toy", "other", one, one).high == 3_250_000


def test_a_unit_of_which_there_is_none_needs_no_rate(tmp_path: Path) -> None:
    """Vendors list what they did not count as 0: that is not a missing price."""
    local = env(tmp_path, ("toy", "m", [price({"image": 0.01})]))
    assert prices.quote(local, "toy", "m", {"step": 0}, {"image": 1, "text_output": 0}).high == 10_000


def test_without_an_answer_the_highest_quote_is_charged(tmp_path: Path) -> None:
    """A billed call that reports no usage, or an impossible one, costs its highest quote."""
    local = env(tmp_path, ("toy", "m", [price({"image": 0.01, "text_input": 2.0})]))
    quoted = prices.quote(local, "toy", "m", {"image": 1}, {"image": 1, "text_input": 500})
    highest = prices.Charge(11_000, "estimate", quoted.version)
    nonsense: list[Units] = [{}, {"step": 1}, {"image": -1}, {"image": float("nan")}, {"image": float("inf")}]
    assert [prices.charge(local, "toy", "m", used, quoted) for used in nonsense] == [highest] * len(nonsense)
    incredible: list[Units] = [{"image": 10**18}, {"image": 1e300}, {"text_input": 10**9}]
    assert [prices.charge(local, "toy", "m", used, quoted) for used in incredible] == [highest] * len(incredible)
    assert prices.charge(local, "toy", "m", {"image": 2}, quoted).micros == 20_000
    assert prices.charge(local, "sketch", "any", {}, prices.FREE) == prices.Charge(0, "free", None)


def test_cached_tokens_cost_no_more_than_others(tmp_path: Path) -> None:
    """Without a rate for cached tokens they cost the full rate; with one, that rate."""
    local = env(
        tmp_path,
        ("toy", "plain", [price({"text_input": 2.0})]),
        ("toy", "cheap", [price({"text_input": 2.0, "cached_text_input": 0.5})]),
    )
    units: Units = {"text_input": 100, "cached_text_input": 1000}
    assert prices.quote(local, "toy", "plain", units, units).high == 2200
    assert prices.quote(local, "toy", "cheap", units, units).high == 700


def test_a_prices_file_stands_in_for_the_packaged_prices(tmp_path: Path) -> None:
    """PRICES replaces all prices of the models it names, and leaves the others alone."""
    first = catalog().image[0]
    local = env(tmp_path, (first.provider, first.id, [price({"image": 7.0})]))
    assert prices.quote(local, first.provider, first.id, {}, {"image": 1}).high == 7_000_000
    assert prices.quote(local, first.provider, first.id, {}, {"image_output": 1}).basis == "ceiling"
    assert prices.price_of(local, "gemini", "gemini-3.1-flash-image") == prices.price_of(
        env(tmp_path), "gemini", "gemini-3.1-flash-image"
    )
