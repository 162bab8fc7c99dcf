"""From names in a request to adapters: which exist, which can, who paints what; and the one door to a vendor's call."""

import asyncio
import functools
import importlib
import logging
import pkgutil
from importlib.metadata import entry_points
from types import MappingProxyType

import msgspec

import adapters
from adapters.provider import Capability, ImageOp, OnProgress, ProviderAdapter, ProviderResult, Providers
from tools.env import Env
from tools.errors import Invalid, PicassoError, Uncertain, VendorFailed
from tools.jobs import Place
from tools.rows import JobRequest, Kind
from tools.step import step

log = logging.getLogger("picasso.router")
GUESTS = "picasso.adapters"


class Description(msgspec.Struct, frozen=True, rename="camel"):
    """A provider as `GET /api/providers` shows it. `needs` names the variables that configure it."""

    id: str
    configured: bool
    needs: list[str]
    free: bool
    capabilities: list[Capability]


@functools.cache
def providers() -> Providers:
    """Every provider by its id: the modules of this folder with an `adapter`, and guests by entry point."""
    built_in = (importlib.import_module(f"adapters.{found.name}") for found in pkgutil.iter_modules(adapters.__path__))
    found = [module.adapter for module in built_in if "adapter" in vars(module)]
    found += [guest.load().adapter for guest in entry_points(group=GUESTS)]
    return MappingProxyType({adapter.id: adapter for adapter in sorted(found, key=lambda adapter: str(adapter.id))})


def configured(adapter: ProviderAdapter, env: Env) -> bool:
    """Whether every variable that the provider needs is set."""
    return set(adapter.needs) <= set(env.AI.keys)


def describe(env: Env) -> list[Description]:
    """All providers, by id."""
    return [
        Description(adapter.id, configured(adapter, env), list(adapter.needs), adapter.free, adapter.capabilities())
        for adapter in providers().values()
    ]


def spread(env: Env, request: JobRequest, seed: int) -> list[Place]:
    """The job's items in request order: provider × variant. A provider's variants count on over its models, and
    variant i is painted from `seed` + i.

    Fails: Invalid (422) for a provider that is unknown, not configured or cannot do this kind, naming those that are
    or can; with `strict`, for every deviation that an adapter would make.
    """
    places: list[Place] = []
    for wanted in request.providers:
        adapter = _find(env, wanted["provider"])
        model = _model(env, adapter, wanted.get("model"), request.kind)
        if request.strict:
            _refuse_adjustments(adapter, request, model)
        first = sum(place.provider == adapter.id for place in places)
        places += [Place(adapter.id, model, i, seed + i) for i in range(first, first + request.variants)]
    return places


def _find(env: Env, provider: str) -> ProviderAdapter:
    known = providers()
    if provider not in known:
        raise Invalid(
            f"there is no provider {provider!r}; there are {', '.join(known)}",
            code="unknown_provider",
            detail={"field": "providers", "known": list(known)},
        )
    missing = [name for name in known[provider].needs if name not in env.AI.keys]
    if missing:
        raise Invalid(
            f"{provider} is not configured: set {', '.join(missing)}",
            code="provider_not_configured",
            detail={"field": "providers", "provider": provider, "missing": missing},
        )
    return known[provider]


def _model(env: Env, adapter: ProviderAdapter, model: str | None, kind: Kind) -> str:
    able = [capability.model for capability in adapter.capabilities() if capability.kind == kind]
    if model is None and able:
        return able[0]
    models = list(dict.fromkeys(capability.model for capability in adapter.capabilities()))
    if model is not None and model not in models:
        raise Invalid(
            f"{adapter.id} has no model {model!r}; it has {', '.join(models)}",
            code="unknown_model",
            detail={"field": "providers", "provider": adapter.id, "models": models},
        )
    if model in able:
        return str(model)
    can = [other.id for other in providers().values() if configured(other, env) and other.supports(kind)]
    raise Invalid(
        f"{adapter.id} cannot do {kind}; {', '.join(can) or 'no configured provider'} can",
        code="unsupported_kind",
        detail={"field": "kind", "provider": adapter.id, "able": can},
    )


def _refuse_adjustments(adapter: ProviderAdapter, request: JobRequest, model: str) -> None:
    op = ImageOp(
        kind=request.kind,
        prompt=request.prompt,
        model=model,
        size=request.size,
        quality=request.quality,
        seed=request.seed,
        negative_prompt=request.negative_prompt,
    )
    if changes := adapter.adjustments(op):
        raise Invalid(
            f"{adapter.id} would not do exactly this: {'; '.join(changes)}",
            code="not_exact",
            detail={"field": "strict", "provider": adapter.id, "adjustments": changes},
        )


@step("router.run", retry=False)
async def run(adapter: ProviderAdapter, op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
    """The one call to a vendor, with VENDOR_SECONDS as its deadline. Never repeated here: the ledger decides.

    Fails: what the contract of adapters lists; Uncertain also at the deadline and when an adapter breaks.
    """
    try:
        async with asyncio.timeout(env.settings.vendor_seconds):
            result = await adapter.run(op, env, on_progress)
    except TimeoutError as error:
        raise Uncertain("the provider did not answer in time", provider_code="deadline") from error
    except PicassoError:
        raise
    except Exception as error:  # a guest's code may raise anything, and whether its call left is not known
        log.exception("the adapter %s failed", adapter.id)
        raise Uncertain("the adapter failed", provider_code="adapter_failed") from error
    if not result.data:
        raise VendorFailed("the provider answered without an image", failure="empty", request_id=result.request_id)
    return result
