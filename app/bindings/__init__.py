"""`open_env`: the settings' addresses become an `Env`; what was opened last is closed first."""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator

from app.settings import SettingError, Settings
from tools.env import Env
from tools.models.catalog import overrides
from tools.publishing.templates import publish_templates

log = logging.getLogger("picasso.bindings")

HEAVY = ("app.bindings.checkpointer", "app.bindings.store", "app.bindings.workflow", "app.bindings.ai.registry")
"""They import LangChain, LangGraph and docket: seconds, in which the loop must go on answering."""


@contextlib.asynccontextmanager
async def open_env(settings: Settings) -> AsyncIterator[Env]:
    """Every binding, open for as long as the block runs.

    Fails: Unavailable when one does not answer yet · SettingError when one must not be used as it is set up.
    """
    await asyncio.to_thread(_check_prices, settings)
    await asyncio.to_thread(_check_providers, settings)
    for module in HEAVY:
        await asyncio.to_thread(importlib.import_module, module)
    from app.bindings.actor import open_actor
    from app.bindings.ai.registry import open_ai
    from app.bindings.assets import open_assets
    from app.bindings.bucket import open_bucket
    from app.bindings.checkpointer import open_checkpointer
    from app.bindings.database import open_database
    from app.bindings.images import open_images
    from app.bindings.queue import open_queue
    from app.bindings.redis.connection import open_redis
    from app.bindings.store import open_store
    from app.bindings.workflow import open_workflow

    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        db = await enter(open_database(settings))
        server = await enter(open_redis(settings))
        queue = open_queue(server.client)
        stack.push_async_callback(queue.close)
        env = Env(
            DB=db,
            BUCKET=await enter(open_bucket(settings)),
            IMAGES=await enter(open_images(settings)),
            AI=await enter(open_ai(settings)),
            PICASSO_DO=await enter(open_actor(settings, db, server.client)),
            AGENTIC_MEMORIES=open_checkpointer(settings, server.client),
            USER_PREFERENCES=open_store(server.client),
            PICASSO_QUEUE=queue,
            PICASSO_WORKFLOW=await enter(open_workflow(settings, server)),
            ASSETS=open_assets(),
            DEFAULT_MODEL_REASONING=settings.default_model_reasoning,
            DEFAULT_MODEL_VISION=settings.default_model_vision,
            settings=settings,
        )
        await publish_templates(env)
        yield env


def _check_prices(settings: Settings) -> None:
    """Fails: SettingError when PRICES does not hold prices; otherwise its first reader would be a job."""
    try:
        if settings.prices is not None:
            overrides(settings.prices)
    except (ValueError, OSError) as error:
        raise SettingError(f"PRICES cannot be used: {error}") from error


def _check_providers(settings: Settings) -> None:
    """Effect: one warning for each provider of another package that is left out.

    Fails: SettingError when a setting names a provider that does not exist: it would have no effect anywhere.
    """
    from adapters.discovery import adapters_found

    for reason in adapters_found().unusable:
        log.warning("%s", reason)

    known = sorted({*adapters_found().found, *settings.image_servers})
    priced = {model.provider for model in overrides(settings.prices).model} if settings.prices else set()
    for name, spoken in (("PROVIDER_WIDTH", settings.provider_width.keys() - {"*"}), ("PRICES", priced)):
        if unknown := sorted(spoken - {*known}):
            raise SettingError(f"{name} names {', '.join(unknown)}, but the providers are {', '.join(known)}")
