"""The service itself: health, metrics, providers, models, tips, preferences."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody, PathParameter, QueryParameter

from app.http.rules import pattern
from app.http.schemas import CLEAN, Cursor, Limit, NewTip
from app.lifecycle import Lifecycle
from app.ops.disk import check_disks
from app.ops.metrics import CONTENT_TYPE, Metrics
from app.routes.provider_views import ModelFamily, ProviderView, model_families, provider_views
from app.settings import Settings
from tools import db
from tools.env import Assets, Env
from tools.errors import NotFound, PicassoError, TooLarge
from tools.pages import LIMIT, Page

PREFERENCE_BYTES = 64 << 10
OwnerId = Annotated[str, PathParameter(pattern="^[A-Za-z0-9._:-]{1,128}$")]
TIP_KEY = pattern(
    r"^[a-z0-9_-]{1,64}\.[a-z0-9._-]{1,128}$", "of the form provider.slug, in small letters, digits and . _ -"
)
TipKey = Annotated[str, PathParameter(pattern=TIP_KEY)]
OfProvider = Annotated[
    str | None, QueryParameter(name="provider", max_length=64, pattern=CLEAN, description="only tips for this provider")
]
PING_SECONDS = 3.0


class Health(msgspec.Struct, frozen=True):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class BindingHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a binding responded, after how many milliseconds, and why not."""

    ok: bool
    ms: float
    reason: str | None = None


class Readiness(msgspec.Struct, frozen=True):
    """Whether the process can serve requests, and the health of each binding."""

    status: Literal["ready", "starting", "draining", "failing"]
    bindings: dict[str, BindingHealth]


@get("/healthz", opt={"access": "open"}, tags=["service"])
async def show_health() -> Health:
    """The process is alive."""
    return Health()


@get(
    "/readyz",
    opt={"access": "open"},
    tags=["service"],
    responses={503: ResponseSpec(Readiness, description="a binding does not respond, or the process starts or ends")},
)
async def show_readiness(
    lifecycle: NamedDependency[Lifecycle], settings: NamedDependency[Settings]
) -> Response[Readiness]:
    """Whether requests can be served, with the health of DB, Redis, BUCKET, the packaged assets and the disk; 503 when
    not, with the reason."""
    env = lifecycle.env
    bindings = await check_health(env, settings)
    if lifecycle.draining.is_set():
        status: Literal["ready", "starting", "draining", "failing"] = "draining"
    elif env is None:
        status = "starting"
    else:
        status = "ready" if all(binding.ok for binding in bindings.values()) else "failing"
    return Response(Readiness(status, bindings), status_code=200 if status == "ready" else 503)


async def check_health(env: Env | None, settings: Settings) -> dict[str, BindingHealth]:
    """Ask every binding that requests depend on, all at once; each has PING_SECONDS to respond. Before they are open
    only the disk is asked, which may be what they wait for."""

    async def check(ping: Awaitable[object]) -> BindingHealth:
        started, reason = time.monotonic(), None
        try:
            async with asyncio.timeout(PING_SECONDS):
                await ping
        except PicassoError as error:
            reason = error.message
        except TimeoutError:
            reason = f"no answer within {PING_SECONDS:.0f} s"
        return BindingHealth(reason is None, round((time.monotonic() - started) * 1000, 2), reason)

    async def list_assets(assets: Assets) -> None:
        if not any(True for _ in assets.names()):
            raise NotFound("no assets are packaged")

    pings: dict[str, Awaitable[object]] = {}
    if env is not None:
        pings = {"DB": env.DB.ping(), "Redis": env.PICASSO_QUEUE.depth(), "BUCKET": env.BUCKET.ping()}
        pings["assets"] = list_assets(env.ASSETS)
    pings["disk"] = asyncio.to_thread(check_disks, settings)
    found = await asyncio.gather(*map(check, pings.values()))
    return dict(zip(pings, found, strict=True))


@get("/metrics", tags=["service"], include_in_schema=False)
async def show_metrics(
    env: NamedDependency[Env], metrics: NamedDependency[Metrics], settings: NamedDependency[Settings]
) -> Response[bytes]:
    """Prometheus metrics of this process, the database, the queue and the disks."""
    return Response(await metrics.page(env, settings), media_type=CONTENT_TYPE)


@get("/api/providers", opt={"access": "read"}, tags=["service"])
async def list_providers(env: NamedDependency[Env]) -> Page[ProviderView]:
    """Every image provider: whether it is configured, what its models can do, and what that costs today."""
    return Page(await provider_views(env), None)


@get("/api/models", opt={"access": "read"}, tags=["service"])
async def list_models(env: NamedDependency[Env]) -> Page[ModelFamily]:
    """The known models of each provider, what they can do and cost today, and which of them are in use."""
    return Page(model_families(env), None)


@get("/api/knowledge", opt={"access": "read"}, tags=["knowledge"])
async def list_knowledge(
    env: NamedDependency[Env], provider: OfProvider = None, limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[db.Knowledge]:
    """The tips that are used to refine prompts, ordered by key."""
    return await db.list_knowledge(env, cursor, limit, provider)


@put("/api/knowledge/{key:str}", tags=["knowledge"])
async def put_knowledge(key: TipKey, data: JSONBody[NewTip], env: NamedDependency[Env]) -> db.Knowledge:
    """Set a tip; its key is `{provider}.{slug}`."""
    return await db.put_knowledge(env, key, db.TipValue(data.tip, data.kinds))


@get("/api/preferences/{owner_id:str}", tags=["preferences"])
async def show_preferences(owner_id: OwnerId, env: NamedDependency[Env]) -> dict[str, Any]:
    """The preferences stored for an owner; an empty object when there are none."""
    item = await env.USER_PREFERENCES.aget(("preferences", owner_id), "value")
    return {} if item is None else dict(item.value)


@put("/api/preferences/{owner_id:str}", tags=["preferences"])
async def put_preferences(
    owner_id: OwnerId, data: JSONBody[dict[str, Any]], env: NamedDependency[Env]
) -> dict[str, Any]:
    """Replace the preferences stored for an owner."""
    if len(msgspec.json.encode(data)) > PREFERENCE_BYTES:
        raise TooLarge(
            f"at most {PREFERENCE_BYTES:,} bytes are stored for an owner", detail={"maxBytes": PREFERENCE_BYTES}
        )
    await env.USER_PREFERENCES.aput(("preferences", owner_id), "value", data)
    return data


handlers = [
    show_health,
    show_readiness,
    show_metrics,
    list_providers,
    list_models,
    list_knowledge,
    put_knowledge,
    show_preferences,
    put_preferences,
]
