"""Some routes on a real server in this process, with our errors as plain JSON."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import httpx
import uvicorn
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from tests.support.deadlines import LONG
from tools.env import Env
from tools.errors import Invalid, NotFound, PicassoError, TooLarge, Unavailable
from tools.fetch import tls_context

STATUS = {NotFound: 404, TooLarge: 413, Unavailable: 503}


def _refuse(request: Request[None, None, State], error: PicassoError) -> Response[dict[str, str]]:
    status = error.status if isinstance(error, Invalid) else STATUS[type(error)]
    return Response({"code": error.code, "message": error.message}, status_code=status)


@contextlib.asynccontextmanager
async def served(handlers: Sequence[ControllerRouterHandler], env: Env) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes, served on a free port of 127.0.0.1."""
    app = Litestar(
        handlers,
        dependencies={"env": Provide(lambda: env, sync_to_thread=False)},
        exception_handlers={PicassoError: _refuse},
        request_max_body_size=1 << 30,
        openapi_config=None,
        logging_config=None,
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        async with asyncio.timeout(LONG):
            while not server.started:
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=LONG, verify=tls_context()
        ) as client:
            yield client
        server.should_exit = True
