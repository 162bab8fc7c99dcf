"""`create_app`: the one composition root. What runs where is decided here and nowhere else."""

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler, LifeSpanReceive, LifeSpanSend, Receive, Scope, Send

from app.bindings import open_env
from app.http.errors import respond
from app.http.middleware import FORM_SLACK, Guard, note_error
from app.http.openapi import openapi_config
from app.http.schemas import JsonRequest
from app.http.security import check_access, reads_image
from app.lifecycle import Bindings, Lifecycle
from app.ops.metrics import Metrics
from app.ops.traces import Traces
from app.routes import handlers
from app.settings import Settings
from tools.env import Env
from tools.errors import Unavailable


class Application(Litestar):
    """Litestar behind the guard, and the life of its process."""

    life: Lifecycle
    guard: Guard

    async def __call__(self, scope: Scope | Any, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
        else:
            await self.guard(scope, receive, send)  # type: ignore[arg-type]

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    jobs: bool = True,
    bindings: Bindings = open_env,
    more_handlers: Sequence[ControllerRouterHandler] = (),
) -> Application:
    """The whole HTTP application. With `jobs` its process also runs jobs; `bindings` opens what it works on."""
    life, metrics, traces = Lifecycle(), Metrics(), Traces()
    app = Application(
        [*handlers, *more_handlers],
        debug=False,
        guards=[check_access],
        dependencies=_dependencies(settings, life, metrics),
        exception_handlers={Exception: respond},
        after_exception=[_note],
        lifespan=[_lifespan(settings, bindings, jobs, life, metrics, traces)],
        logging_config=None,
        openapi_config=openapi_config(),
        request_class=JsonRequest,
        request_max_body_size=max(settings.max_body, settings.max_image + FORM_SLACK),
        state=State({"settings": settings}),
    )
    app.life = life
    app.guard = Guard(app.route, settings, image_paths(app), traces)
    return app


def _dependencies(settings: Settings, life: Lifecycle, metrics: Metrics) -> dict[str, Provide]:
    """What a handler may ask for by name."""

    async def provide_env(settings: NamedDependency[Settings]) -> Env:
        # Settings are asked for only to come first: what does not need each other is resolved in a task group, which
        # takes longer than many a handler.
        if life.env is None:
            raise Unavailable("the server is starting and not ready yet", code="not_ready")
        return life.env

    async def provide_settings() -> Settings:
        return settings

    async def provide_life() -> Lifecycle:
        return life

    async def provide_metrics() -> Metrics:
        return metrics

    return {
        "env": Provide(provide_env),
        "settings": Provide(provide_settings),
        "life": Provide(provide_life),
        "metrics": Provide(provide_metrics),
    }


async def _note(error: Exception, scope: Scope) -> None:
    note_error(error, scope)


def _lifespan(
    settings: Settings, bindings: Bindings, jobs: bool, life: Lifecycle, metrics: Metrics, traces: Traces
) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        with metrics.watching():
            async with traces.sending(settings):
                life.begin(settings, bindings, jobs)
                try:
                    yield
                finally:
                    await life.close()

    return lifespan


def image_paths(app: Litestar) -> list[re.Pattern[str]]:
    """The paths where a body may have the size of an image."""
    return [
        re.compile("".join(rf"/{part}" if isinstance(part, str) else "/[^/]+" for part in route.path_components))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        if any(reads_image(handler) for handler in route.route_handlers)
    ]
