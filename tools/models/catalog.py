"""Known models, what each can do and its prices over time: data read from `models.toml`."""

import datetime
import functools
import importlib.resources
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tools.media.sizes import read_size
from tools.rows import Kind

Unit = Literal[
    "image",
    "step",
    "tile",
    "tile_step",
    "input_tile",
    "input_tile_step",
    "first_megapixel",
    "next_megapixel",
    "input_megapixel",
    "neuron",
    "text_input",
    "cached_text_input",
    "image_input",
    "cached_image_input",
    "text_output",
    "image_output",
]
"""What vendors charge for: images, tiles of 512x512 pixels, diffusion steps, megapixels, Cloudflare's neurons; the last
six are tokens."""
TOKENS: frozenset[str] = frozenset(
    {"text_input", "cached_text_input", "image_input", "cached_image_input", "text_output", "image_output"}
)
"""Units whose rate is for a million of them, as vendors state it."""
Units = Mapping[Unit, float]
Rate = Annotated[float, msgspec.Meta(ge=0, le=10_000)]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """USD per unit (per million for tokens) since `effective`; read at `source` on the day `checked`."""

    effective: datetime.date
    checked: datetime.date
    source: str
    rates: Annotated[dict[Unit, Rate], msgspec.Meta(min_length=1)]
    note: str = ""


class AnySize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes besides the listed ones: both sides a multiple of `multiple`, from `shortest` to `longest` pixels."""

    multiple: int = 1
    shortest: int
    longest: int
    fewest_pixels: int | None = None
    most_pixels: int | None = None
    widest_ratio: float | None = None
    """The longer side over the shorter one, at most."""


class ImageModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that makes images. The first of `sizes` and of `qualities` is the default."""

    provider: str
    id: str
    kinds: list[Kind]
    sizes: list[str]
    any_size: AnySize | None = None
    qualities: list[str] = []
    references: int = 0
    """How many reference images it takes besides the start image."""
    seed: bool = False
    negative_prompt: bool = False
    prompt_chars: int | None = None
    """The longest prompt in characters, if the vendor states one."""
    output_tokens: dict[str, dict[str, int]] = {}
    """Tokens of one image by quality (or `any`) and size, if the vendor publishes them."""
    output_grid: dict[str, int] = {}
    """Patches along an image's longer side by quality, if its tokens follow from them; see `output_tokens`."""
    wire: dict[str, Any] = {}
    """Facts of the wire format that only the provider's adapter reads."""
    retires: datetime.date | None = None
    """The day from which its vendor does not serve it any more."""
    successor: str | None = None
    """The model that its vendor recommends instead, once it is deprecated."""
    checked: datetime.date
    source: str
    price: list[Price] = []


class ChatModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model for text; with `vision` it also reads images."""

    provider: str
    id: str
    vision: bool = False
    tools: bool = True
    retires: datetime.date | None = None
    successor: str | None = None
    checked: datetime.date
    source: str
    price: list[Price] = []


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `models.toml`."""

    image: list[ImageModel] = []
    chat: list[ChatModel] = []


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of one model in a PRICES file; they replace all packaged prices of that model."""

    provider: str
    id: str
    price: Annotated[list[Price], msgspec.Meta(min_length=1)]


class Overrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a PRICES file."""

    model: list[Override] = []


@functools.cache
def catalog() -> Catalog:
    """The packaged data, read once.

    Fails: ValueError when the file is not valid.
    """
    text = importlib.resources.files("seed").joinpath("models.toml").read_text(encoding="utf-8")
    found = msgspec.convert(tomllib.loads(text), Catalog)
    _check_prices(found.image)
    _check_prices(found.chat)
    return found


def image_models(provider: str) -> list[ImageModel]:
    """All of the provider's image models in the catalogue, retired ones too, the default one first."""
    return [model for model in catalog().image if model.provider == provider]


def offered(provider: str) -> list[ImageModel]:
    """The provider's image models that are not retired yet, the default one first."""
    today = datetime.datetime.now(datetime.UTC).date()
    return [model for model in image_models(provider) if model.retires is None or today < model.retires]


def chat_models(provider: str) -> list[ChatModel]:
    """The provider's chat models in the catalog; others can be used too, without a known price."""
    return [model for model in catalog().chat if model.provider == provider]


def output_tokens(model: ImageModel, quality: str | None, size: str) -> int | None:
    """Output tokens of one image of WIDTHxHEIGHT: from the vendor's table, else by its grid; None if it has neither.

    An image has as many patches along its longer side as its quality says and proportionally many along the shorter
    one. A patch is half a token, and a quarter of one more for every million pixels of the image.
    """
    table = model.output_tokens.get(quality or "any") or model.output_tokens.get("any", {})
    if size in table:
        return table[size]
    if quality not in model.output_grid:
        return None
    width, height = read_size(size)
    patches, longer, shorter = model.output_grid[quality], max(width, height), min(width, height)
    across = (2 * patches * shorter + longer) // (2 * longer)
    return -(-patches * across * (2_000_000 + width * height) // 4_000_000)


def prompt_limit(provider: str, model: str) -> int | None:
    """The longest prompt of the model in characters; None when no limit is known."""
    return next((known.prompt_chars for known in image_models(provider) if known.id == model), None)


@functools.cache
def overrides(path: Path) -> Overrides:
    """The prices of a PRICES file, read once.

    Fails: ValueError naming what is wrong with it · OSError.
    """
    found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8-sig")), Overrides)
    _check_prices(found.model)
    return found


def _check_prices(models: Sequence[ImageModel | ChatModel | Override]) -> None:
    """Fails: ValueError when a model is listed twice, or two of its prices have one effective day."""
    for name, count in Counter((model.provider, model.id) for model in models).items():
        if count > 1:
            raise ValueError(f"{name[0]}:{name[1]} is there more than once")
    for model in models:
        days = [price.effective for price in model.price]
        if len(set(days)) < len(days):
            raise ValueError(f"two prices of {model.provider}:{model.id} have the same effective day")


@functools.cache
def prices(path: Path | None) -> Mapping[tuple[str, str], list[Price]]:
    """All prices by provider and model; those of a PRICES file replace the packaged ones.

    Fails: ValueError · OSError.
    """
    known = catalog()
    images = {(model.provider, model.id): model.price for model in known.image}
    chats = {(model.provider, model.id): model.price for model in known.chat}
    local = {(model.provider, model.id): model.price for model in (overrides(path).model if path else [])}
    return images | chats | local
