"""What models there are, what each can do and what it costs: dated data, read from `models.toml`."""

import datetime
import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

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
"""What vendors count: images, tiles of 512x512 pixels, diffusion steps, megapixels; the last six are tokens."""
TOKENS: frozenset[str] = frozenset(
    {"text_input", "cached_text_input", "image_input", "cached_image_input", "text_output", "image_output"}
)
"""Units whose rate stands for a million of them, as vendors write it."""
Units = Mapping[Unit, float]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """USD per unit (per million for tokens) from `effective` on; read at `source` on the day `checked`."""

    effective: datetime.date
    checked: datetime.date
    source: str
    rates: dict[Unit, float]
    note: str = ""


class AnySize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes beside the listed ones: both sides a multiple of `multiple` between `shortest` and `longest` pixels."""

    multiple: int = 1
    shortest: int
    longest: int
    most_pixels: int | None = None
    widest_ratio: float | None = None
    """The longer side over the shorter one, at most."""


class ImageModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that makes images. `sizes` and `qualities` open with what is used when none is asked for."""

    provider: str
    id: str
    kinds: list[Kind]
    sizes: list[str]
    any_size: AnySize | None = None
    qualities: list[str] = []
    references: int = 0
    """Reference images it takes beside the start image."""
    seed: bool = False
    negative_prompt: bool = False
    prompt_chars: int | None = None
    """The longest prompt in characters, where the vendor names one."""
    output_tokens: dict[str, dict[str, int]] = {}
    """Tokens of one image by quality (or `any`) and size, where the vendor publishes them."""
    wire: dict[str, Any] = {}
    """Facts of the wire format that only the provider's adapter reads."""
    retires: datetime.date | None = None
    checked: datetime.date
    source: str
    price: list[Price] = []


class ChatModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that reads and writes text; `vision` when it is also shown images."""

    provider: str
    id: str
    vision: bool = False
    tools: bool = True
    retires: datetime.date | None = None
    checked: datetime.date
    source: str
    price: list[Price] = []


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: list[ImageModel] = []
    chat: list[ChatModel] = []


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of one model in a PRICES file; they stand in for all that are packaged."""

    provider: str
    id: str
    price: list[Price]


class Overrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: list[Override] = []


@functools.cache
def catalog() -> Catalog:
    """The packaged data. Fails: ValueError when the file is not what it should be."""
    text = importlib.resources.files("adapters").joinpath("models.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Catalog)


def image_models(provider: str) -> list[ImageModel]:
    """The provider's models, its default one first."""
    return [model for model in catalog().image if model.provider == provider]


@functools.cache
def overrides(path: Path) -> Overrides:
    """The prices of a PRICES file. Fails: ValueError naming what is wrong with it."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Overrides)


@functools.cache
def prices(path: Path | None) -> Mapping[tuple[str, str], list[Price]]:
    """All prices by provider and model: the packaged ones, and in their place those of a PRICES file."""
    known = catalog()
    images = {(model.provider, model.id): model.price for model in known.image}
    chats = {(model.provider, model.id): model.price for model in known.chat}
    local = {(model.provider, model.id): model.price for model in (overrides(path).model if path else [])}
    return images | chats | local
