"""Which providers there are, who of them paints what, and the one door through which they are called."""

import asyncio
import functools
import importlib
import importlib.metadata
import logging
import pkgutil
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import msgspec

import adapters
from adapters.provider import (
    Capability,
    ImageOp,
    ImageOpKind,
    InputImage,
    OnProgress,
    ProviderAdapter,
    ProviderResult,
    Providers,
)
from tools.env import Env
from tools.errors import Invalid, PicassoError, Unavailable, Uncertain, VendorError, VendorFailed
from tools.ledger.submissions import ItemPlan
from tools.media.sizes import read_size
from tools.models import catalog, chat_and_vision, prices
from tools.models.prices import FREE, Quote
from tools.rows import JobMetadata, JobRequest, ProviderModel
from tools.step import step

log = logging.getLogger("picasso.router")

GROUP = "picasso.adapters"
"""Entry points of this group name modules of other packages that hold an `adapter`."""
GUIDANCE_CHARS = 1500
"""What refining adds to a person's words at most."""
UNSEEN = InputImage(b"", "image/png", 1024, 1024)
"""Stands for an image that is not fetched yet, where they are only counted."""
PREPARE_SECONDS = 240.0
"""For a request to be prepared on a busy machine, a place among the image children included."""
SEEDS = 1 << 30
"""Seeds are drawn below this, so that every vendor's 32-bit integer holds them and their variants."""


class ProviderInfo(msgspec.Struct, frozen=True, rename="camel"):
    """What `GET /api/providers` says of one: `missing` are the variables to set before it can be used."""

    id: str
    configured: bool
    needs: list[str]
    missing: list[str]
    free: bool
    capabilities: list[Capability]


@functools.cache
def providers() -> Providers:
    """Every provider by its id: the modules of this folder, then those of other packages."""
    return MappingProxyType(discover())


def discover() -> dict[str, ProviderAdapter[Any]]:
    """Look for modules with an `adapter`, here and behind the entry points.

    Fails: ValueError when two of them have one id.
    """
    here = [importlib.import_module(found.name) for found in pkgutil.walk_packages(adapters.__path__, "adapters.")]
    guests = [entry.load() for entry in importlib.metadata.entry_points(group=GROUP)]
    known: dict[str, ProviderAdapter[Any]] = {}
    for module in [*(m for m in here if "adapter" in vars(m)), *guests]:
        adapter = _adapter_of(module)
        if adapter.id in known:
            raise ValueError(f"two image providers are called {adapter.id!r}; the second is in {module.__name__}")
        known[adapter.id] = adapter
    return known


def _adapter_of(module: ModuleType) -> ProviderAdapter[Any]:
    adapter: ProviderAdapter[Any] = module.adapter
    return adapter


def missing(adapter: ProviderAdapter[Any], env: Env) -> list[str]:
    """The variables that must be set before the provider can be used."""
    return [name for name in adapter.needs if name not in env.AI.keys]


def configured(adapter: ProviderAdapter[Any], env: Env) -> bool:
    return not missing(adapter, env)


def describe(env: Env) -> list[ProviderInfo]:
    """All providers, configured or not, by name."""
    return [
        ProviderInfo(
            id=adapter.id,
            configured=configured(adapter, env),
            needs=list(adapter.needs),
            missing=missing(adapter, env),
            free=adapter.free,
            capabilities=adapter.capabilities(),
        )
        for _, adapter in sorted(providers().items())
    ]


def spread(env: Env, request: JobRequest, known: Providers | None = None) -> list[ItemPlan]:
    """Who paints what: `variants` items per entry of `providers`, numbered over the provider, seeded one after another.

    Without a seed one is drawn here, once, for the models that take one; the items keep it.
    Fails: Invalid (422) naming what is allowed: unknown or unconfigured provider, kind or model it does not
    serve, images that the kind needs, and under `strict` every adjustment.
    """
    known = providers() if known is None else known
    _check_images(request)
    if request.size is not None:
        read_size(request.size)
    base = random.randrange(SEEDS) if request.seed is None else request.seed
    numbered: dict[str, int] = {}
    places: list[ItemPlan] = []
    for entry in request.providers:
        adapter, model = _chosen(env, known, request.kind, entry)
        for _ in range(request.variants):
            index = numbered.get(adapter.id, 0)
            numbered[adapter.id] = index + 1
            seed = base + index if request.seed is not None or takes_seed(adapter, request.kind, model) else None
            places.append(ItemPlan(adapter.id, model, index, seed))
    if request.strict:
        ops = [(place.provider, build_op(request, place.model, place.seed, request.prompt)) for place in places]
        check_strict(known, ops)
    return places


class Plan(msgspec.Struct, frozen=True):
    """What a request comes to: its items, what each may cost (in step with them), and who steps in for whom."""

    places: list[ItemPlan]
    quotes: list[Quote]
    metadata: JobMetadata


def plan(env: Env, request: JobRequest, known: Providers | None = None) -> Plan:
    """Items, reservations and fallback of a request, before anything is stored or spent.

    An item may cost as much as the dearest of those who may paint it: only one of them is ever paid for it.
    Fails: Invalid (422) as `spread`, and for a fallback that could not take the request over whole.
    """
    known = providers() if known is None else known
    places, others = spread(env, request, known), stand_ins(env, request, known)
    quotes = _with_models(env, request, places, others, [_most(env, known, request, p, others) for p in places])
    held = [msgspec.structs.replace(p, reserved_micros=q.high) for p, q in zip(places, quotes, strict=True)]
    return Plan(held, quotes, JobMetadata(fallback=others))


def takes_seed(adapter: ProviderAdapter[Any], kind: ImageOpKind, model: str) -> bool:
    """Whether the same seed gives the same picture there."""
    return any(c.seed for c in adapter.capabilities() if c.kind == kind and c.model == model)


def _with_models(
    env: Env, request: JobRequest, places: Sequence[ItemPlan], others: Sequence[ProviderModel], images: Sequence[Quote]
) -> list[Quote]:
    """The quotes with what models cost: a judge per image, and with the first image of each provider the refinement
    of its prompt, that of the stand-ins with the very first."""
    judged, refined = (
        chat_and_vision.quote(env, "judge", request.prompt),
        chat_and_vision.quote(env, "refine", request.prompt),
    )
    quotes, met = [], set[str]()
    for place, image in zip(places, images, strict=True):
        new = {place.provider, *(painter.provider for painter in others)} - met
        met |= new
        quotes.append(prices.total([image, judged, *[refined] * len(new)]))
    return quotes


def _most(env: Env, known: Providers, request: JobRequest, place: ItemPlan, others: Sequence[ProviderModel]) -> Quote:
    own, *instead = [
        quote(env, known[painter.provider], expected_op(request, painter))
        for painter in (ProviderModel(place.provider, place.model), *others)
    ]
    return msgspec.structs.replace(own, high=max(q.high for q in (own, *instead)))


def expected_op(request: JobRequest, painter: ProviderModel) -> ImageOp:
    """The op as far as money is concerned, before anything is fetched: as many images and, at most, as many words."""
    words = f"{request.prompt}\n\n{request.negative_prompt or ''}"
    room = catalog.prompt_room(painter.provider, painter.model)
    guided = words.ljust(len(words) + GUIDANCE_CHARS, "x")[:room] if room is None or len(words) <= room else words
    return build_op(
        request,
        painter.model,
        request.seed,
        guided,
        start=UNSEEN if request.start_image_url else None,
        mask=UNSEEN if request.mask_image_url else None,
        references=[UNSEEN for _ in request.reference_image_urls],
    )


def quote(env: Env, adapter: ProviderAdapter[Any], op: ImageOp) -> Quote:
    """What one call to the provider may cost."""
    return FREE if adapter.free else prices.quote(env, adapter.id, str(op.model), *adapter.meter(op))


def stand_ins(env: Env, request: JobRequest, known: Providers) -> list[ProviderModel]:
    """Who paints, in turn, when the asked provider is away.

    Fails: Invalid (422) for one that cannot take over all inputs, or under `strict` would change anything.
    """
    found: list[ProviderModel] = []
    for entry in request.fallback:
        adapter, model = _chosen(env, known, request.kind, entry)
        room = next(c.max_references for c in adapter.capabilities() if c.kind == request.kind and c.model == model)
        if len(request.reference_image_urls) > room:
            raise Invalid(
                f"the fallback {adapter.id!r} takes at most {room} reference images for {request.kind}",
                code="fallback_loses_inputs",
                detail={"provider": adapter.id, "maxReferences": room},
            )
        found.append(ProviderModel(adapter.id, model))
    if request.strict:
        ops = [(painter.provider, build_op(request, painter.model, request.seed, request.prompt)) for painter in found]
        check_strict(known, ops)
    return found


def _chosen(
    env: Env, known: Providers, kind: ImageOpKind, entry: Mapping[str, str]
) -> tuple[ProviderAdapter[Any], str]:
    """The adapter of one entry of `providers`, and the model that will be used."""
    name, model = entry["provider"], entry.get("model")
    if name not in known:
        allowed = sorted(known)
        raise Invalid(
            f"there is no provider {name!r}; there are: {', '.join(allowed)}",
            code="unknown_provider",
            detail={"provider": name, "allowed": allowed},
        )
    adapter = known[name]
    if unset := missing(adapter, env):
        raise _not_configured(name, unset)
    if not adapter.supports(kind, model):
        raise _unsupported(known, kind, name, model)
    return adapter, model or next(c.model for c in adapter.capabilities() if c.kind == kind)


def _not_configured(name: str, unset: list[str]) -> Invalid:
    return Invalid(
        f"the provider {name!r} is not configured: set {' and '.join(unset)}",
        code="provider_not_configured",
        detail={"provider": name, "missing": unset},
    )


def _unsupported(known: Providers, kind: ImageOpKind, name: str, model: str | None) -> Invalid:
    if model is not None and known[name].supports(kind):
        models = list(dict.fromkeys(c.model for c in known[name].capabilities() if c.kind == kind))
        return Invalid(
            f"the provider {name!r} has no model {model!r} for {kind}; it has: {', '.join(models)}",
            code="unsupported_model",
            detail={"provider": name, "model": model, "allowed": models},
        )
    able = sorted(other for other, adapter in known.items() if adapter.supports(kind))
    return Invalid(
        f"the provider {name!r} cannot {kind}; these can: {', '.join(able) or 'none'}",
        code="unsupported_kind",
        detail={"provider": name, "kind": kind, "allowed": able},
    )


def _check_images(request: JobRequest) -> None:
    if request.kind != "generate" and request.start_image_url is None:
        detail = {"field": "startImageUrl"}
        raise Invalid(f"{request.kind} needs startImageUrl", code="start_image_missing", detail=detail)
    if request.kind == "inpaint" and request.mask_image_url is None:
        raise Invalid("inpaint needs maskImageUrl", code="mask_missing", detail={"field": "maskImageUrl"})


def check_strict(known: Providers, ops: Sequence[tuple[str, ImageOp]]) -> None:
    """Refuse ops that their provider would change.

    Fails: Invalid (422, `adjustments_needed`) listing each change by provider.
    """
    changes: dict[str, list[str]] = {}
    for provider, op in ops:
        if notes := known[provider].adjustments(op):
            changes[provider] = list(dict.fromkeys([*changes.get(provider, []), *notes]))
    if changes:
        said = "; ".join(f"{provider}: {', '.join(notes)}" for provider, notes in changes.items())
        raise Invalid(
            f"strict was asked, but the request would be changed ({said})",
            code="adjustments_needed",
            detail={"adjustments": changes},
        )


def build_op(
    request: JobRequest,
    model: str,
    seed: int | None,
    prompt: str,
    start: InputImage | None = None,
    mask: InputImage | None = None,
    references: Sequence[InputImage] = (),
) -> ImageOp:
    """The one image that an item of this job asks for; `prompt` is the refined one."""
    return ImageOp(
        kind=request.kind,
        prompt=prompt,
        model=model,
        start_image=start,
        references=tuple(references),
        mask=mask,
        size=request.size,
        quality=request.quality,
        seed=seed,
        negative_prompt=request.negative_prompt,
    )


@step("router.prepare", retry=False)
async def prepare(
    provider: str, op: ImageOp, env: Env, known: Providers | None = None, *, seconds: float = PREPARE_SECONDS
) -> Any:
    """The request for `send`, made without the vendor and within `seconds`.

    Effect: none; it costs nothing and says nothing about the vendor.
    Fails: Invalid when the op cannot be served, or the provider's key is gone since the job was accepted · Unavailable
    when it could not be prepared: past the deadline, no image child, or the adapter broke.
    """
    adapter = (providers() if known is None else known)[provider]
    if unset := missing(adapter, env):
        raise _not_configured(provider, unset)
    try:
        async with asyncio.timeout(seconds):
            return await adapter.prepare(op, env)
    except PicassoError:
        raise
    except TimeoutError as error:
        raise Unavailable("the request could not be prepared in time", code="prepare_deadline") from error
    except Exception as error:
        # Adapters may be other people's code: whatever else they raise must end this one item and nothing more.
        log.exception("the adapter of %s failed to prepare a request", provider)
        raise Unavailable("the adapter failed", code="adapter_failed") from error


@step("router.send", retry=False)
async def send(
    provider: str, request: Any, env: Env, on_progress: OnProgress, known: Providers | None = None
) -> ProviderResult:
    """Make the one call to a provider, with what `prepare` returned and under the deadline `VENDOR_SECONDS`.

    Effect: may cost money; it is made once, and only the ledger may decide to make it again.
    Fails: what `ProviderAdapter.send` says; Uncertain also past the deadline and when the adapter broke;
    VendorFailed when no bytes came.
    """
    adapter = (providers() if known is None else known)[provider]
    try:
        async with asyncio.timeout(env.settings.vendor_seconds):
            result = await adapter.send(request, env, on_progress)
    except VendorError:
        raise
    except TimeoutError as error:
        raise Uncertain("the provider did not answer in time", code="deadline") from error
    except Exception as error:
        # Whatever else an adapter raises came after it may have spent money: nobody can say that nothing was bought.
        log.exception("the adapter of %s failed", provider)
        raise Uncertain("the adapter failed", code="adapter_failed") from error
    if not result.data:
        raise VendorFailed("the provider answered without an image", failure="empty")
    return result
