"""The packaged models and prices, and the file with which a deployment corrects them."""

import asyncio
import datetime
import importlib.resources
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discovery import adapters_found
from app.bindings import open_env
from app.settings import SettingError
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.servers.picasso import start
from tools.media.sizes import read_size
from tools.models import catalog
from tools.models.catalog import ChatModel, ImageModel
from tools.models.prices import in_force

TODAY = datetime.datetime.now(datetime.UTC).date()
KNOWN = catalog.catalog()
each_model = pytest.mark.parametrize("model", [*KNOWN.image, *KNOWN.chat], ids=lambda model: str(model.id))
each_image_model = pytest.mark.parametrize("model", KNOWN.image, ids=lambda model: str(model.id))
PAID = sorted(name for name, adapter in adapters_found().found.items() if not adapter.free)

GRID = ImageModel(
    provider="toy",
    id="grid",
    kinds=["generate"],
    sizes=["1024x1024"],
    output_grid={"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
    checked=TODAY,
    source="a test",
)
TABLE = msgspec.structs.replace(GRID, output_grid={}, output_tokens={"any": {"1024x1024": 1120}})

PRICE = """
[[model.price]]
effective = 2026-01-01
checked = 2026-01-01
source = "the contract"
rates = { image = 0.03 }
"""
MODEL = '[[model]]\nprovider = "openai"\nid = "gpt-image-2"\n'


def test_the_data_lies_in_the_package() -> None:
    """It is read as a resource, so it is there wherever the package is, and the wheel takes the whole folder."""
    assert importlib.resources.files("seed").joinpath("models.toml").is_file()
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'only-include = ["app", "graphs", "tools", "adapters",' in project
    assert 'exclude = ["templates/gallery"]' in project


@pytest.mark.parametrize("provider", sorted({model.provider for model in KNOWN.image} | set(PAID)))
def test_every_default_model_has_a_price(provider: str) -> None:
    """The default model of each provider has a price in force and has not been retired."""
    default = catalog.image_models(provider)[0]
    assert in_force(default.price, TODAY) is not None
    assert default.retires is None or default.retires > TODAY


@each_model
def test_every_price_names_its_source(model: ImageModel | ChatModel) -> None:
    """Every price and model names its source and the day it was checked."""
    assert model.source and model.checked <= TODAY
    assert all(price.source and price.checked <= TODAY for price in model.price)


@each_image_model
def test_a_table_of_tokens_comes_with_a_rate(model: ImageModel) -> None:
    """Where an image's tokens are known, so is their price, and the table has the model's own qualities."""
    price = in_force(model.price, TODAY)
    if model.output_tokens or model.output_grid:
        assert price is not None and "image_output" in price.rates
    assert {*model.output_tokens, *model.output_grid} <= {*model.qualities, "any"}


@each_image_model
def test_the_grid_and_the_table_agree(model: ImageModel) -> None:
    """The formula for any size gives the vendor's own numbers at the sizes that the vendor names."""
    without = msgspec.structs.replace(model, output_tokens={})
    for quality in model.output_grid:
        for size, tokens in model.output_tokens.get(quality, {}).items():
            assert catalog.output_tokens(without, quality, size) == tokens


def test_tokens_of_other_sizes_follow_from_the_grid() -> None:
    """The count matches OpenAI's calculator at 2048x1152; without grid and table nothing is made up."""
    found = [catalog.output_tokens(GRID, quality, "2048x1152") for quality in GRID.output_grid]
    assert found == [157, 367, 1413, 2511, 5650]
    assert (
        catalog.output_tokens(GRID, "best", "2048x1152") is None and catalog.output_tokens(GRID, None, "16x16") is None
    )
    assert [catalog.output_tokens(TABLE, None, size) for size in ("1024x1024", "1000x1000")] == [1120, None]


@given(st.integers(1, 240), st.integers(1, 240), st.sampled_from(list(GRID.output_grid)))
def test_tokens_are_the_same_lying_and_standing(width: int, height: int, quality: str) -> None:
    """Turning an image by a quarter changes nothing, and the best one takes at least as many tokens."""
    lying = catalog.output_tokens(GRID, quality, f"{width * 16}x{height * 16}")
    assert lying == catalog.output_tokens(GRID, quality, f"{height * 16}x{width * 16}")
    best = catalog.output_tokens(GRID, "max", f"{width * 16}x{height * 16}")
    assert lying is not None and best is not None and lying <= best


@each_image_model
def test_sizes_are_sizes(model: ImageModel) -> None:
    """Every listed size can be parsed, and obeys the model's own limits for other sizes."""
    free = model.any_size
    for size in model.sizes:
        sides = read_size(size)
        assert free is None or all(free.shortest <= side <= free.longest for side in sides)


BAD = [
    pytest.param("[[model]\n", "Expected", id="no TOML"),
    pytest.param(b"\xff\xfe", "utf-8", id="no text"),
    pytest.param('[[models]]\nid = "x"', "unknown field `models`", id="a word of its own"),
    pytest.param('[[model]]\nprovider = "openai"\n', "missing required field `id`", id="no id"),
    pytest.param(MODEL, "missing required field `price`", id="no price"),
    pytest.param(MODEL + "price = []", "length >= 1", id="an empty list of prices"),
    pytest.param(MODEL + PRICE.replace("image = 0.03", ""), "length >= 1", id="no rate"),
    pytest.param(MODEL + PRICE.replace("image", "images"), "images", id="no such unit"),
    pytest.param(MODEL + PRICE.replace("0.03", '"0.03"'), "Expected `float`", id="a rate in quotes"),
    pytest.param(MODEL + PRICE.replace("0.03", "-0.03"), ">= 0", id="a rate below zero"),
    pytest.param(MODEL + PRICE.replace("0.03", "nan"), ">= 0", id="a rate that is no number"),
    pytest.param(MODEL + PRICE.replace("2026-01-01", '"soon"'), "Invalid RFC3339", id="no date"),
    pytest.param(MODEL + PRICE.replace("source =", "sauce ="), "sauce", id="a misspelt field"),
    pytest.param(MODEL + PRICE + PRICE, "same effective day", id="two prices on one day"),
    pytest.param(MODEL + PRICE + MODEL + PRICE, "openai:gpt-image-2 is there more than once", id="a model twice"),
]


@pytest.mark.parametrize(("text", "why"), BAD)
async def test_a_bad_prices_file_ends_the_start(tmp_path: Path, text: str | bytes, why: str) -> None:
    """The start, not the first paid call, reports that PRICES has no prices: on one line, with the reason."""
    path = tmp_path / "prices.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingError) as refused:
        async with open_env(settings(tmp_path, PRICES=str(path))):
            pass
    message = str(refused.value)
    assert message.startswith("PRICES cannot be used: ") and why in message and "\n" not in message


async def test_the_process_ends_with_that_line(tmp_path: Path) -> None:
    """`picasso serve` with such a file ends with exit code 78 and names PRICES."""
    (tmp_path / "prices.toml").write_text(MODEL)
    process = await start(tmp_path, PRICES=str(tmp_path / "prices.toml"))
    assert await asyncio.wait_for(process.wait(), LONG) == 78
    assert "refused to start: PRICES cannot be used" in (tmp_path / "serve.log").read_text()


def test_a_good_prices_file_is_read(tmp_path: Path) -> None:
    """The form that README shows: models, each with its prices."""
    path = tmp_path / "prices.toml"
    path.write_text(MODEL + PRICE)
    (of_it,) = catalog.prices(path)[("openai", "gpt-image-2")]
    assert (of_it.effective, of_it.rates) == (datetime.date(2026, 1, 1), {"image": 0.03})
    assert catalog.prices(path).keys() == catalog.prices(None).keys()


def test_a_prices_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    file = tmp_path / "prices.toml"
    file.write_text(MODEL + PRICE, encoding="utf-8-sig")
    assert file.read_bytes()[:3] == b"\xef\xbb\xbf"
    assert catalog.overrides(file).model


@pytest.mark.parametrize("name", ["PROVIDER_WIDTH", "PRICES"])
async def test_a_setting_for_a_provider_that_there_is_not_stops_the_start(tmp_path: Path, name: str) -> None:
    """A misspelled name is refused, and the error names it and the known ones."""
    path = tmp_path / "prices.toml"
    path.write_text(MODEL.replace("openai", "opnai") + PRICE)
    value = {"PRICES": str(path), "PROVIDER_WIDTH": "4,opnai=8"}[name]
    with pytest.raises(SettingError, match=rf"^{name} names opnai, but the providers are gemini, openai, sketch"):
        async with open_env(settings(tmp_path, **{name: value})):
            raise AssertionError("opened")
