"""What a job's request comes to: its items by provider and model, what each may cost, and who may step in for whom."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from adapters.discovery import missing, providers
from adapters.provider import Capability, ImageOp, ImageOpKind, InputImage, ProviderAdapter, Providers
from tools.env import Env
from tools.errors import Invalid
from tools.ledger.submissions import ItemPlan
from tools.media.sizes import read_size
from tools.models import catalog, chat_and_vision, prices
from tools.models.prices import FREE, Quote
from tools.rows import JobMetadata, JobRequest, ProviderModel

GUIDANCE_CHARS = 1500
"""What refining adds to a person's words at most."""
UNSEEN = InputImage(b"", "image/png", 1024, 1024)
"""Stands for an image that is not fetched yet, where images are only counted."""
SEEDS = 1 << 30
"""Seeds are drawn below this, so that every vendor's 32-bit integer holds them and their variants."""


class Plan(msgspec.Struct, frozen=True):
    """A request's items, what each may cost (in the same order), and which providers step in for others."""

    items: list[ItemPlan]
    quotes: list[Quote]
    metadata: JobMetadata


def plan(env: Env, request: JobRequest, known: Providers | None = None) -> Plan:
    """Items, reservations and fallbacks of a request, before anything is stored or spent.

    An item reserves as much as the dearest of those who may paint it, for only one of them is ever paid for it. Beside
    its image it pays for a judge, and the first item of each provider for the refinement of that provider's prompt;
    those of the fallbacks are paid by the very first item.
    Fails: Invalid (422) as `plan_items`, and for a fallback that could not take the request over whole.
    """
    known = providers(env) if known is None else known
    items, others = plan_items(env, request, known), fallbacks(env, request, known)
    judged = chat_and_vision.quote(env, "judge", request.prompt)
    refined = chat_and_vision.quote(env, "refine", request.prompt)
    quotes, met = [], set[str]()
    for item in items:
        image, *instead = [
            quote(env, known[each.provider], expected_op(request, each))
            for each in (ProviderModel(item.provider, item.model), *others)
        ]
        image = msgspec.structs.replace(image, high=max(q.high for q in (image, *instead)))
        new = {item.provider, *(other.provider for other in others)} - met
        met |= new
        quotes.append(prices.total([image, judged, *[refined] * len(new)]))
    reserved = [msgspec.structs.replace(item, reserved_micros=q.high) for item, q in zip(items, quotes, strict=True)]
    return Plan(reserved, quotes, JobMetadata(fallback=others))


def plan_items(env: Env, request: JobRequest, known: Providers | None = None) -> list[ItemPlan]:
    """`variants` items for each entry of `providers`, numbered over the provider, with seeds that count up.

    Without a seed one is drawn here, once, for the models that take one; the items keep it.
    Fails: Invalid (422) naming what is allowed: unknown or unconfigured provider, kind or model it does not
    serve, images that the kind needs, and under `strict` every adjustment.
    """
    known = providers(env) if known is None else known
    if request.kind != "generate" and request.start_image_url is None:
        detail = {"field": "startImageUrl"}
        raise Invalid(f"{request.kind} needs startImageUrl", code="start_image_missing", detail=detail)
    if request.kind == "inpaint" and request.mask_image_url is None:
        raise Invalid("inpaint needs maskImageUrl", code="mask_missing", detail={"field": "maskImageUrl"})
    if request.size is not None:
        read_size(request.size)
    base = random.randrange(SEEDS) if request.seed is None else request.seed
    numbered: dict[str, int] = {}
    items: list[ItemPlan] = []
    for entry in request.providers:
        adapter, capability = _chosen(env, known, request.kind, entry)
        for _ in range(request.variants):
            index = numbered.get(adapter.id, 0)
            numbered[adapter.id] = index + 1
            seed = base + index if request.seed is not None or capability.seed else None
            items.append(ItemPlan(adapter.id, capability.model, index, seed))
    if request.strict:
        ops = [(item.provider, build_op(request, item.model, item.seed, request.prompt)) for item in items]
        check_strict(known, ops)
    return items


def fallbacks(env: Env, request: JobRequest, known: Providers) -> list[ProviderModel]:
    """Who paints, in turn, when the provider that was asked for cannot be had.

    Fails: Invalid (422) for one that cannot take over all inputs, or under `strict` would change anything.
    """
    found: list[ProviderModel] = []
    for entry in request.fallback:
        adapter, capability = _chosen(env, known, request.kind, entry)
        room = capability.max_references
        if len(request.reference_image_urls) > room:
            raise Invalid(
                f"the fallback {adapter.id!r} takes at most {room} reference images for {request.kind}",
                code="fallback_loses_inputs",
                detail={"provider": adapter.id, "maxReferences": room},
            )
        found.append(ProviderModel(adapter.id, capability.model))
    if request.strict:
        ops = [(each.provider, build_op(request, each.model, request.seed, request.prompt)) for each in found]
        check_strict(known, ops)
    return found


def _chosen(
    env: Env, known: Providers, kind: ImageOpKind, entry: Mapping[str, str]
) -> tuple[ProviderAdapter[Any], Capability]:
    """The adapter of an entry of `providers` or `fallback`, and what the model that it will use can do."""
    name, model = entry["provider"], entry.get("model")
    if name not in known:
        raise Invalid(
            f"there is no provider {name!r}; there are: {', '.join(sorted(known))}",
            code="unknown_provider",
            detail={"provider": name, "allowed": sorted(known)},
        )
    adapter = known[name]
    if unset := missing(adapter, env):
        raise not_configured(name, unset)
    served = [capability for capability in adapter.capabilities() if capability.kind == kind]
    if adapter.supports(kind, model):
        return adapter, next(capability for capability in served if model in (None, capability.model))
    if model is not None and adapter.supports(kind):
        models = list(dict.fromkeys(capability.model for capability in served))
        raise Invalid(
            f"the provider {name!r} has no model {model!r} for {kind}; it has: {', '.join(models)}",
            code="unsupported_model",
            detail={"provider": name, "model": model, "allowed": models},
        )
    able = sorted(other for other, each in known.items() if each.supports(kind))
    raise Invalid(
        f"the provider {name!r} cannot {kind}; these can: {', '.join(able) or 'none'}",
        code="unsupported_kind",
        detail={"provider": name, "kind": kind, "allowed": able},
    )


def not_configured(provider: str, unset: Sequence[str]) -> Invalid:
    """The error of a provider that lacks these variables."""
    return Invalid(
        f"the provider {provider!r} is not configured: set {' and '.join(unset)}",
        code="provider_not_configured",
        detail={"provider": provider, "missing": list(unset)},
    )


def check_strict(known: Providers, ops: Sequence[tuple[str, ImageOp]]) -> None:
    """Refuse ops that their provider would change.

    Fails: Invalid (422, `adjustments_needed`) listing each change by provider.
    """
    changes: dict[str, list[str]] = {}
    for provider, op in ops:
        if notes := known[provider].adjustments(op):
            changes[provider] = list(dict.fromkeys([*changes.get(provider, []), *notes]))
    if changes:
        listed = "; ".join(f"{provider}: {', '.join(notes)}" for provider, notes in changes.items())
        raise Invalid(
            f"strict was asked, but the request would be changed ({listed})",
            code="adjustments_needed",
            detail={"adjustments": changes},
        )


def expected_op(request: JobRequest, model: ProviderModel) -> ImageOp:
    """The op as far as money is concerned, before anything is fetched: as many images and, at most, as many words."""
    words = f"{request.prompt}\n\n{request.negative_prompt or ''}"
    room = catalog.prompt_limit(model.provider, model.model)
    guided = words.ljust(len(words) + GUIDANCE_CHARS, "x")[:room] if room is None or len(words) <= room else words
    return build_op(
        request,
        model.model,
        request.seed,
        guided,
        start=UNSEEN if request.start_image_url else None,
        mask=UNSEEN if request.mask_image_url else None,
        references=[UNSEEN for _ in request.reference_image_urls],
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


def quote(env: Env, adapter: ProviderAdapter[Any], op: ImageOp) -> Quote:
    """What one call to the provider may cost."""
    return FREE if adapter.free else prices.quote(env, adapter.id, str(op.model), *adapter.meter(op))
