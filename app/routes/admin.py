"""What the service is and how it is: health, metrics, providers, generators, models, tips, preferences."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from app.lifespan import Life
from app.metrics import CONTENT_TYPE, Metrics
from tools.env import Env
from tools.errors import NotFound, PicassoError

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
async def show_readiness(life: NamedDependency[Life]) -> Response[Readiness]:
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


handlers = [show_health, show_readiness, show_metrics]
