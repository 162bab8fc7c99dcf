"""What the service is and how it is: health, metrics, providers, models, tips, preferences."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody, PathParameter

from app.http.provider_views import ModelFamily, Offer, families, offers
from app.http.schemas import Cursor, Limit, NewTip
from app.lifecycle import Lifecycle
from app.ops.metrics import CONTENT_TYPE, Metrics
from tools import db
from tools.env import Env
from tools.errors import NotFound, PicassoError, TooLarge
from tools.pages import LIMIT, Page

PREFERENCE_BYTES = 64 << 10
OwnerId = Annotated[str, PathParameter(pattern="^[A-Za-z0-9._:-]{1,128}$")]
TipKey = Annotated[str, PathParameter(pattern=r"^[a-z0-9_-]{1,64}\.[a-z0-9._-]{1,128}$")]
PING_SECONDS = 3.0


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Reached(msgspec.Struct, frozen=True):
    """Whether a binding answered, and after how many milliseconds."""

    ok: bool
    ms: float


class Readiness(msgspec.Struct, frozen=True):
    status: Literal["ready", "starting", "draining", "failing"]
    bindings: dict[str, Reached]


@get("/healthz", opt={"access": "open"}, tags=["service"])
async def show_health() -> Health:
    """The process is alive."""
    return Health()


@get(
    "/readyz",
    opt={"access": "open"},
    tags=["service"],
    responses={503: ResponseSpec(Readiness, description="a binding is away, or the process starts or ends")},
)
async def show_readiness(life: NamedDependency[Lifecycle]) -> Response[Readiness]:
    """Whether requests can be served: DB, Redis, BUCKET and the packaged assets, each named. 503 when one is not."""
    env = life.env
    bindings = await reach(env) if env is not None else {}
    if life.draining.is_set():
        status: Literal["ready", "starting", "draining", "failing"] = "draining"
    elif env is None:
        status = "starting"
    else:
        status = "ready" if all(reached.ok for reached in bindings.values()) else "failing"
    return Response(Readiness(status, bindings), status_code=200 if status == "ready" else 503)


async def reach(env: Env) -> dict[str, Reached]:
    """Ask each binding that a request depends on, all at once."""
    asked = {"DB": env.DB.ping(), "Redis": env.PICASSO_QUEUE.depth(), "BUCKET": env.BUCKET.ping(), "assets": _read(env)}
    answers = await asyncio.gather(*(_reach(ping) for ping in asked.values()))
    return dict(zip(asked, answers, strict=True))


async def _read(env: Env) -> None:
    if not any(True for _ in env.ASSETS.names()):
        raise NotFound("no assets are packaged")


async def _reach(ping: Awaitable[object]) -> Reached:
    started = time.monotonic()
    try:
        async with asyncio.timeout(PING_SECONDS):
            await ping
        ok = True
    except (PicassoError, TimeoutError):
        ok = False
    return Reached(ok, round((time.monotonic() - started) * 1000, 2))


@get("/metrics", tags=["service"], include_in_schema=False)
async def show_metrics(env: NamedDependency[Env], metrics: NamedDependency[Metrics]) -> Response[bytes]:
    """Prometheus metrics of this process, the database and the queue."""
    return Response(await metrics.page(env), media_type=CONTENT_TYPE)


@get("/api/providers", opt={"access": "read"}, tags=["service"])
async def list_providers(env: NamedDependency[Env]) -> Page[Offer]:
    """Every provider: whether it is configured, what each of its models can do, and what that costs today."""
    return Page(await offers(env), None)


@get("/api/models", opt={"access": "read"}, tags=["service"])
async def list_models(env: NamedDependency[Env]) -> Page[ModelFamily]:
    """The models that are known of each provider, what they can do and cost today, and which of them are in use."""
    return Page(families(env), None)


@get("/api/knowledge", opt={"access": "read"}, tags=["knowledge"])
async def list_knowledge(env: NamedDependency[Env], limit: Limit = LIMIT, cursor: Cursor = None) -> Page[db.Knowledge]:
    """The tips that refine prompts, by key."""
    return await db.list_knowledge(env, cursor, limit)


@put("/api/knowledge/{key:str}", tags=["knowledge"])
async def put_knowledge(key: TipKey, data: JSONBody[NewTip], env: NamedDependency[Env]) -> db.Knowledge:
    """Set a tip; its key is `{provider}.{slug}`."""
    return await db.put_knowledge(env, key, db.Advice(data.tip, data.kinds))


@get("/api/preferences/{owner_id:str}", tags=["preferences"])
async def show_preferences(owner_id: OwnerId, env: NamedDependency[Env]) -> dict[str, Any]:
    """What is kept for an owner; an owner of whom nothing is kept has an empty object."""
    item = await env.USER_PREFERENCES.aget(("preferences", owner_id), "value")
    return {} if item is None else dict(item.value)


@put("/api/preferences/{owner_id:str}", tags=["preferences"])
async def put_preferences(
    owner_id: OwnerId, data: JSONBody[dict[str, Any]], env: NamedDependency[Env]
) -> dict[str, Any]:
    """Replace what is kept for an owner by this object."""
    if len(msgspec.json.encode(data)) > PREFERENCE_BYTES:
        raise TooLarge("the preferences are too large", detail={"maxBytes": PREFERENCE_BYTES})
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
