"""A site with boards for tests: a real database, Redis and actor, and the routes that boards need."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import httpx
from litestar.types import ASGIApp

from app.bindings.actor import open_actor
from app.bindings.redis.connection import open_client
from app.bindings.redis.token_bucket import TokenBuckets
from app.settings import Settings
from tests.support.samples.page_site import add_image, add_project, pages_env
from tools.env import Database, Env

IMAGES = ("p-0", "p-1", "p-2")


def _as_it_is(db: Database) -> Database:
    return db


@contextlib.asynccontextmanager
async def boards_env(
    home: Path,
    redis_url: str,
    environ: dict[str, str] | None = None,
    watched: Callable[[Database], Database] = _as_it_is,
) -> AsyncIterator[Env]:
    """An `Env` with a real actor and real rate limits, and a project `p` of three images.

    The actor reads from the database that `watched` returns.
    """
    async with (
        pages_env(home, environ=environ) as pages,
        open_client(redis_url) as client,
        open_actor(cast(Settings, pages.settings), watched(pages.DB), client) as actor,
    ):
        env = dataclasses.replace(pages, PICASSO_DO=actor, PICASSO_WORKFLOW=cast(Any, TokenBuckets(client)))
        await add_images(env)
        yield env


async def add_images(env: Env) -> None:
    await add_project(env, "p", "Aurora", "Autumn")
    for number in range(3):
        await add_image(env, "p", number, sha256=f"{number}" * 64)


class Board:
    """A published board: its owner's client, and guests with a separate cookie jar each."""

    def __init__(self, app: ASGIApp, owner: httpx.AsyncClient, made: dict[str, Any]) -> None:
        self.app, self.owner = app, owner
        self.id, self.slug = made["artifact_id"], made["public_slug"]
        self.path = f"/public/artifact/{self.slug}"

    async def set(self, **wishes: Any) -> httpx.Response:
        return await self.owner.post(f"/api/artifacts/{self.id}/board", json=wishes)

    async def inspect(self) -> dict[str, Any]:
        return cast(dict[str, Any], (await self.owner.get(f"/api/artifacts/{self.id}/board")).json())

    def guest(self, peer: str = "203.0.113.5") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(cast(Any, self.app), client=(peer, 4711))
        return httpx.AsyncClient(transport=transport, base_url=self.owner.base_url.join(self.path))


async def publish_board(owner: httpx.AsyncClient, app: ASGIApp, kind: str, **wishes: Any) -> Board:
    answer = await owner.post("/api/artifacts", json={"generatorId": kind, "projectIds": ["p"], **wishes})
    assert answer.status_code == 201, answer.text
    return Board(app, owner, answer.json())
