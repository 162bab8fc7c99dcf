"""Both steps of a purchase, one after the other, for tests that are not about either step alone."""

from typing import Any

from adapters import router
from adapters.provider import ImageOp, OnProgress, ProviderAdapter, ProviderResult, Providers
from tools.env import Env


async def call_adapter(adapter: ProviderAdapter[Any], op: ImageOp, env: Env, on_progress: OnProgress) -> ProviderResult:
    """Prepare the op with the adapter and send it, without the router around it."""
    return await adapter.send(await adapter.prepare(op, env), env, on_progress)


async def call_provider(
    provider: str, op: ImageOp, env: Env, on_progress: OnProgress, known: Providers | None = None
) -> ProviderResult:
    """Prepare the op and send it through the router."""
    request = await router.prepare(provider, op, env, known)
    return await router.send(provider, request, env, on_progress, known)
