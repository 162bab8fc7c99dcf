"""`create_app`: the one composition root, which puts bindings, routes, middleware and the job worker together."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.types import ControllerRouterHandler, LifeSpanReceive, LifeSpanSend, Receive, Scope, Send

from app.bindings import open_env
from app.http.errors import respond
from app.http.middleware import FORM_SLACK, Middleware, note_error, paths_of
from app.http.openapi import openapi_config
from app.http.schemas import JsonRequest
from app.http.security import check_access
from app.lifecycle import Bindings, Lifecycle
from app.ops.metrics import Metrics
from app.ops.traces import Traces
from app.routes import handlers
from app.settings import Settings
from tools.env import Env
from tools.errors import Unavailable


class Application(Litestar):
    """Litestar behind `Middleware`, with the lifecycle of its process."""

    lifecycle: Lifecycle
    outermost: Middleware

    async def __call__(self, scope: Scope | Any, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
        else:
            await self.outermost(scope, receive, send)  # type: ignore[arg-type]

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that has passed the middleware."""
        await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    jobs: bool = True,
    bindings: Bindings = open_env,
    more_handlers: Sequence[ControllerRouterHandler] = (),
) -> Application:
    """The whole HTTP application. With `jobs` its process also runs jobs; `bindings` opens the `Env` it works on."""
    lifecycle, metrics, traces = Lifecycle(), Metrics(), Traces()

    async def provide_env(settings: NamedDependency[Settings]) -> Env:
        # `settings` is a parameter only to be resolved first: Litestar resolves independent dependencies in a task
        # group, which takes longer than many handlers.
        if lifecycle.env is None:
            raise Unavailable("the server is starting and not ready yet", code="not_ready")
        return lifecycle.env

    async def provide_settings() -> Settings:
        return settings

    async def provide_lifecycle() -> Lifecycle:
        return lifecycle

    async def provide_metrics() -> Metrics:
        return metrics

    async def keep_websocket_error(error: Exception, scope: Scope) -> None:
        note_error(error, scope)

    @contextlib.asynccontextmanager
    async def run_lifecycle(_: Litestar) -> AsyncIterator[None]:
        with metrics.watching():
            async with traces.sending(settings):
                lifecycle.begin(settings, bindings, jobs)
                try:
                    yield
                finally:
                    await lifecycle.close()

    app = Application(
        [*handlers, *more_handlers],
        debug=False,
        guards=[check_access],
        dependencies={
            "env": Provide(provide_env),
            "settings": Provide(provide_settings),
            "lifecycle": Provide(provide_lifecycle),
            "metrics": Provide(provide_metrics),
        },
        exception_handlers={Exception: respond},
        after_exception=[keep_websocket_error],
        lifespan=[run_lifecycle],
        logging_config=None,
        openapi_config=openapi_config(),
        request_class=JsonRequest,
        request_max_body_size=max(settings.max_body, settings.max_image + FORM_SLACK),
        state=State({"settings": settings, "lifecycle": lifecycle}),
    )
    app.lifecycle = lifecycle
    app.outermost = Middleware(app.route, settings, paths_of(app), traces)
    return app
