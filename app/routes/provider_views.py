"""Providers and models with what they can do and cost today: `GET /api/providers` and `GET /api/models`."""

import datetime
from typing import Literal

import msgspec

from adapters import discovery
from adapters.openai.servers import PROVIDER, models_of
from adapters.provider import Capability
from app.bindings.ai.vendors import CHAT_NEEDS
from tools.env import Circuit, Env
from tools.errors import Unavailable
from tools.models import catalog
from tools.models.prices import price_of, version
from tools.rows import Kind

NEEDS = {"builtin": (), **CHAT_NEEDS}
"""The providers of chat and vision models, and the variables that each needs."""
Use = Literal["reasoning", "vision"]


class PriceInForce(msgspec.Struct, frozen=True, rename="camel"):
    """USD per unit; for tokens, per million. `priceVersion` is stored with each call in the ledger."""

    rates: dict[catalog.Unit, float]
    effective: datetime.date
    checked: datetime.date
    source: str
    note: str
    price_version: str


class PricedCapability(Capability, frozen=True, kw_only=True):
    """`price` is null for free providers, and for models without a known price, whose calls count as UNPRICED_USD."""

    price: PriceInForce | None


class ProviderView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A provider of images. `missing` lists the variables to set before it can be used. `lanes` is the health of its
    latest calls by model and kind, for those used within a day; null when that is unknown at the moment."""

    id: str
    configured: bool
    needs: list[str]
    missing: list[str]
    free: bool
    capabilities: list[PricedCapability]
    lanes: list[Circuit] | None


class ImageModelCard(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An image model. `default`: used where no model is named; `retires` is the day its vendor turns it off,
    `successor` the model that the vendor recommends instead of a deprecated one."""

    id: str
    default: bool
    kinds: list[Kind]
    sizes: list[str]
    any_size: catalog.AnySize | None
    qualities: list[str]
    references: int
    seed: bool
    negative_prompt: bool
    retires: datetime.date | None
    successor: str | None
    checked: datetime.date
    source: str
    price: PriceInForce | None


class ChatModelCard(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A chat model. `uses` lists which of DEFAULT_MODEL_REASONING and DEFAULT_MODEL_VISION name it."""

    id: str
    uses: list[Use]
    vision: bool
    tools: bool
    retires: datetime.date | None
    successor: str | None
    checked: datetime.date
    source: str
    price: PriceInForce | None


class ModelFamily(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The known models of one provider, the default image model first. In a setting a model is `provider:model`;
    `reasoning` and `vision` are the models of this provider that the settings name, listed here or not."""

    provider: str
    configured: bool
    needs: list[str]
    reasoning: str | None
    vision: str | None
    image: list[ImageModelCard]
    chat: list[ChatModelCard]


async def provider_views(env: Env) -> list[ProviderView]:
    """All providers of images, configured or not, by name, with prices and the health of their latest calls."""
    try:
        circuits = await env.PICASSO_WORKFLOW.circuits()
    except Unavailable:
        circuits = None
    views = []
    for info in discovery.describe(env):
        capabilities = [
            PricedCapability(**msgspec.structs.asdict(each), price=price_in_force(env, info.id, each.model))
            for each in info.capabilities
        ]
        lanes = None if circuits is None else circuits.get(info.id, [])
        views.append(ProviderView(**{**msgspec.structs.asdict(info), "capabilities": capabilities, "lanes": lanes}))
    return views


def price_in_force(env: Env, provider: str, model: str) -> PriceInForce | None:
    """The price of a model today; None without a known one."""
    price = price_of(env, provider, model)
    if price is None:
        return None
    label = version(provider, model, price)
    return PriceInForce(price.rates, price.effective, price.checked, price.source, price.note, label)


def _image_models(env: Env, provider: str) -> list[catalog.ImageModel]:
    """The models of a provider, its default first: those that only the settings or a server name, then those of the
    catalogue."""
    known = catalog.image_models(provider)
    asked = models_of(provider, env) if provider in (PROVIDER, *env.settings.image_servers) else []
    ours = [model for model in asked if model not in known]
    return list({model.id: model for model in [*asked[:1], *ours, *known]}.values())


def model_families(env: Env) -> list[ModelFamily]:
    """The known models of each provider, and whether the provider is configured."""
    chosen: dict[Use, str] = {"reasoning": env.DEFAULT_MODEL_REASONING, "vision": env.DEFAULT_MODEL_VISION}
    families = []
    for provider, needs in {**NEEDS, **dict.fromkeys(env.settings.image_servers, ())}.items():
        used = {use: name for use, name in chosen.items() if name.partition(":")[0] == provider}
        images = [
            ImageModelCard(
                id=model.id,
                default=number == 0,
                kinds=model.kinds,
                sizes=model.sizes,
                any_size=model.any_size,
                qualities=model.qualities,
                references=model.references,
                seed=model.seed,
                negative_prompt=model.negative_prompt,
                retires=model.retires,
                successor=model.successor,
                checked=model.checked,
                source=model.source,
                price=price_in_force(env, model.provider, model.id),
            )
            for number, model in enumerate(_image_models(env, provider))
        ]
        chats = [
            ChatModelCard(
                id=model.id,
                uses=[use for use, name in chosen.items() if name == f"{model.provider}:{model.id}"],
                vision=model.vision,
                tools=model.tools,
                retires=model.retires,
                successor=model.successor,
                checked=model.checked,
                source=model.source,
                price=price_in_force(env, model.provider, model.id),
            )
            for model in catalog.chat_models(provider)
        ]
        families.append(
            ModelFamily(
                provider=provider,
                configured=set(needs) <= set(env.AI.keys),
                needs=list(needs),
                reasoning=used.get("reasoning"),
                vision=used.get("vision"),
                image=images,
                chat=chats,
            )
        )
    return families
