"""The models that the installation's own image servers list: `GET /models`, read at start and every few minutes."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

import httpx
import msgspec

from adapters.openai.servers import listed_models, own_servers, parse_server
from app.owned_tasks import end_tasks
from app.settings import Settings
from tools.env import ImageServer

log = logging.getLogger("picasso.models")

START_SECONDS = 2.0
"""How long a start waits for the lists at most: a server that is away has none until it is back."""
LIST_SECONDS = 10.0
SOON_SECONDS, LATER_SECONDS = 15.0, 300.0
"""Until the next reading, after one that failed and after one that did not."""


@contextlib.asynccontextmanager
async def read_listings(settings: Settings, http: httpx.AsyncClient) -> AsyncIterator[Mapping[str, tuple[str, ...]]]:
    """What each server lists, by its provider, kept up to date while the block runs; empty of one that has no list.

    Effect: asks each server, now and then, which costs nothing.
    """
    found: dict[str, tuple[str, ...]] = {}
    servers = own_servers(settings, settings.vendor)
    first = {provider: asyncio.Event() for provider in servers}
    tasks = [asyncio.create_task(_keep(http, name, server, found, first[name])) for name, server in servers.items()]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await asyncio.gather(*(event.wait() for event in first.values()))
        yield found
    finally:
        await end_tasks(tasks)


async def _keep(
    http: httpx.AsyncClient, provider: str, server: ImageServer, found: dict[str, tuple[str, ...]], first: asyncio.Event
) -> None:
    while True:
        models = await _read(http, provider, server)
        if models is not None:
            found[provider] = models
        first.set()
        await asyncio.sleep(SOON_SECONDS if models is None else LATER_SECONDS)


async def _read(http: httpx.AsyncClient, provider: str, server: ImageServer) -> tuple[str, ...] | None:
    """The models that the server lists; none of one that has no list, None of one that is away."""
    where = parse_server(server.url, server.key)
    headers = where.headers or ({"authorization": f"Bearer {where.key}"} if where.key else {})
    try:
        async with asyncio.timeout(LIST_SECONDS):
            answer = await http.get(f"{where.url.rstrip('/')}/models", params=where.query, headers=headers)
        if answer.status_code >= 500:
            return None
        models = listed_models(answer.content) if answer.status_code == 200 else ()
    except (httpx.HTTPError, TimeoutError):
        return None
    except msgspec.DecodeError:
        models = ()
    log.info("the image server of %s lists %d models", provider, len(models))
    return models
