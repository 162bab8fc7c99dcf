"""What can be had and what it costs today: the answers of `GET /api/providers` and `GET /api/models`."""

import datetime
from typing import Literal

import msgspec

from adapters import router
from adapters.provider import Capability
from tools.env import Circuit, Env
from tools.errors import Unavailable
from tools.models import catalog
from tools.models.prices import price_of, version
from tools.rows import Kind

NEEDS = {
    "builtin": (),
    "openai": ("OPENAI_API_KEY",),
    "gemini": ("GEMINI_API_KEY",),
    "workers": ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"),
}
"""Who serves chat and vision models, and the variables that each needs."""
Use = Literal["reasoning", "vision"]


class PriceInForce(msgspec.Struct, frozen=True, rename="camel"):
    """USD per unit, of tokens per million. `priceVersion` is what the ledger keeps with each call."""

    rates: dict[catalog.Unit, float]
    effective: datetime.date
    checked: datetime.date
    source: str
    note: str
    price_version: str


class PricedCapability(Capability, frozen=True, kw_only=True):
    """A `price` of null means: free, where the provider is; else unpriced, so that a call counts as UNPRICED_USD."""

    price: PriceInForce | None


class Offer(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A provider of images: `missing` are the variables to set before it can be used. `lanes` say how its latest calls
    fared by model and kind; those that nobody used of late are not listed, and null means that nobody can tell now."""

    id: str
    configured: bool
    needs: list[str]
    missing: list[str]
    free: bool
    capabilities: list[PricedCapability]
    lanes: list[Circuit] | None


class ImageModelCard(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`default` when it is used where no model is named; `retires` is the day its vendor turns it off."""

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
    checked: datetime.date
    source: str
    price: PriceInForce | None


class ChatModelCard(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`uses` says which of DEFAULT_MODEL_REASONING and DEFAULT_MODEL_VISION name it."""

    id: str
    uses: list[Use]
    vision: bool
    tools: bool
    retires: datetime.date | None
    checked: datetime.date
    source: str
    price: PriceInForce | None


class ModelFamily(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The known models of one provider, the default image model first. As a setting a model is `provider:model`;
    `reasoning` and `vision` are those of this provider that are in use, known or not."""

    provider: str
    configured: bool
    needs: list[str]
    reasoning: str | None
    vision: str | None
    image: list[ImageModelCard]
    chat: list[ChatModelCard]


async def offers(env: Env) -> list[Offer]:
    """All providers of images, configured or not, by name, with what holds for each of their models today."""
    try:
        lanes = await env.PICASSO_WORKFLOW.circuits()
    except Unavailable:
        lanes = None
    return [_offer(env, info, None if lanes is None else lanes.get(info.id, [])) for info in router.describe(env)]


def _offer(env: Env, info: router.ProviderInfo, lanes: list[Circuit] | None) -> Offer:
    capabilities = [_priced(env, info.id, capability) for capability in info.capabilities]
    return Offer(**{**msgspec.structs.asdict(info), "capabilities": capabilities, "lanes": lanes})


def _priced(env: Env, provider: str, capability: Capability) -> PricedCapability:
    price = price_in_force(env, provider, capability.model)
    return PricedCapability(**msgspec.structs.asdict(capability), price=price)


def price_in_force(env: Env, provider: str, model: str) -> PriceInForce | None:
    price = price_of(env, provider, model)
    if price is None:
        return None
    label = version(provider, model, price)
    return PriceInForce(price.rates, price.effective, price.checked, price.source, price.note, label)


def families(env: Env) -> list[ModelFamily]:
    """The models that are known of each provider, and whether it is configured."""
    return [_family(env, provider) for provider in NEEDS]


def _family(env: Env, provider: str) -> ModelFamily:
    chosen = (env.DEFAULT_MODEL_REASONING, env.DEFAULT_MODEL_VISION)
    reasoning, vision = (name if name.partition(":")[0] == provider else None for name in chosen)
    needs = NEEDS[provider]
    return ModelFamily(
        provider=provider,
        configured=set(needs) <= set(env.AI.keys),
        needs=list(needs),
        reasoning=reasoning,
        vision=vision,
        image=[_image_card(env, model, i == 0) for i, model in enumerate(catalog.image_models(provider))],
        chat=[_chat_card(env, model) for model in catalog.chat_models(provider)],
    )


def _image_card(env: Env, model: catalog.ImageModel, default: bool) -> ImageModelCard:
    return ImageModelCard(
        id=model.id,
        default=default,
        kinds=model.kinds,
        sizes=model.sizes,
        any_size=model.any_size,
        qualities=model.qualities,
        references=model.references,
        seed=model.seed,
        negative_prompt=model.negative_prompt,
        retires=model.retires,
        checked=model.checked,
        source=model.source,
        price=price_in_force(env, model.provider, model.id),
    )


def _chat_card(env: Env, model: catalog.ChatModel) -> ChatModelCard:
    chosen: dict[Use, str] = {"reasoning": env.DEFAULT_MODEL_REASONING, "vision": env.DEFAULT_MODEL_VISION}
    return ChatModelCard(
        id=model.id,
        uses=[use for use, name in chosen.items() if name == f"{model.provider}:{model.id}"],
        vision=model.vision,
        tools=model.tools,
        retires=model.retires,
        checked=model.checked,
        source=model.source,
        price=price_in_force(env, model.provider, model.id),
    )
