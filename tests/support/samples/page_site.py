"""A small site for tests: the pages' routes over real parts, rows to make pages from, and a reader of HTML."""

import asyncio
import contextlib
import functools
import io
import socket
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send
from PIL import Image

from app.bindings.assets import open_assets
from app.http.errors import respond
from app.http.middleware import Middleware, paths_of
from app.http.schemas import JsonRequest
from app.http.security import check_access
from app.lifecycle import Lifecycle
from app.ops.traces import Traces
from app.routes.artifacts import artifacts, boards, public, shares, templates
from app.settings import Settings
from tests.support.environment import bare_env, settings
from tools.db import insert_progression
from tools.env import Env, Message
from tools.publishing.templates import publish_templates, whole_template
from tools.rows import Progression

HERE = "http://127.0.0.1:8000"
KEY = "k" * 40
INSERT_PROJECT = """
INSERT INTO projects (id, name, description, created_at, updated_at) VALUES (:id, :name, :description, 1, 1)
"""


class Line:
    """A queue that records what is sent to it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def send_soon(self, message: Message) -> None:
        self.messages.append(message)


class Silent:
    async def wake(self, session_id: str) -> None: ...


def template(kind: str) -> bytes:
    """The packaged template of a generator, as pages are made from it."""
    return whole_template(open_assets(), f"{kind}.html")


async def add_project(env: Env, id: str, name: str = "Aurora", description: str | None = None) -> None:
    await env.DB.run(INSERT_PROJECT, id=id, name=name, description=description)


def row(project_id: str, number: int, **facts: Any) -> Progression:
    """The `number`-th image version of a project: made an hour after the one before, square, and not judged."""
    judged = "ok" if "judgment" in facts else "skipped"
    plain: dict[str, Any] = {
        "id": f"{project_id}-{number}",
        "project_id": project_id,
        "parent_progression_id": None,
        "start_image_url": None,
        "prompt": "a carafe",
        "generated_image_url": f"/images/{project_id}-{number}/public",
        "original_image_r2_key": f"project/{project_id}/jobs/job/orig/sketch-{number}",
        "ai_provider": "sketch",
        "ai_notes": [],
        "ai_tags": [],
        "judgment": None,
        "created_at": 1_790_000_000_000 + number * 3_600_000,
        "job_id": None,
        "item_id": None,
        "edge": "generate",
        "variant_index": 0,
        "ai_model": None,
        "refined_prompt": None,
        "start_image_r2_key": None,
        "judge_status": judged,
        "criteria": [],
        "retry_suggestion": None,
        "phash": None,
        "width": 1024,
        "height": 1024,
        "sha256": "0" * 64,
        "seed": None,
        "adjustments": [],
        "cost_usd": 0,
    }
    return Progression(**{**plain, **facts})


async def add_image(env: Env, project_id: str, number: int, **facts: Any) -> Progression:
    """Store a `row`."""
    image = row(project_id, number, **facts)
    async with env.DB.transaction() as tx:
        await insert_progression(tx, image)
    return image


@get("/images/{image_id:str}/{variant:str}", opt={"access": "open"})
async def paint(image_id: FromPath[str], variant: FromPath[str]) -> Response[bytes]:
    """A delivery image, as far as a page needs one."""
    headers = {"Cross-Origin-Resource-Policy": "cross-origin"}
    return Response(_picture(), media_type="image/png", headers=headers)


def _picture() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(file, "PNG")
    return file.getvalue()


_served: ContextVar[Lifecycle] = ContextVar("served")
"""Whose request is being handled: building an application takes a fifth of a second, so all tests share one."""


class _ServedState(State):
    """What the routes read of an application's state, of the one whose request is being handled."""

    def __getattr__(self, key: str) -> Any:
        if key == "lifecycle":
            return _served.get()
        if key == "settings":
            return _settings_of(_served.get())
        return super().__getattr__(key)


def _settings_of(lifecycle: Lifecycle) -> Settings:
    assert lifecycle.env is not None
    return cast(Settings, lifecycle.env.settings)


async def _provide_env() -> Env:
    env = _served.get().env
    assert env is not None
    return env


async def _provide_settings() -> Settings:
    return _settings_of(_served.get())


async def _provide_lifecycle() -> Lifecycle:
    return _served.get()


@functools.lru_cache(maxsize=4)
def _routes(*more: Any) -> tuple[Litestar, Any]:
    groups = (artifacts, templates, shares, boards, public)
    app = Litestar(
        [*(handler for group in groups for handler in group.handlers), *more, paint],
        guards=[check_access],
        dependencies={
            "env": Provide(_provide_env),
            "settings": Provide(_provide_settings),
            "lifecycle": Provide(_provide_lifecycle),
        },
        exception_handlers={Exception: respond},
        request_class=JsonRequest,
        logging_config=None,
        openapi_config=None,
    )
    app.state = _ServedState()  # the constructor would copy it
    return app, paths_of(app)


def small_app(env: Env, *more: Any, lifecycle: Lifecycle | None = None) -> ASGIApp:
    """The routes of artifacts, templates, shares, boards and pages, and `more`, behind the same middleware as in the
    whole application."""
    own = lifecycle or Lifecycle()
    own.env = env
    app, paths = _routes(*more)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        before = _served.set(own)
        try:
            await app(scope, receive, send)
        finally:
            _served.reset(before)

    return Middleware(serve, cast(Settings, env.settings), paths, Traces())


def client_of(app: ASGIApp, base_url: str = HERE, peer: str = "203.0.113.77") -> httpx.AsyncClient:
    """A client at that address that has the key."""
    transport = httpx.ASGITransport(cast(Any, app), client=(peer, 4711))
    return httpx.AsyncClient(transport=transport, base_url=base_url, headers={"X-Api-Key": KEY})


@contextlib.asynccontextmanager
async def pages_env(
    home: Path, database_url: str = "", environ: dict[str, str] | None = None, **bindings: Any
) -> AsyncIterator[Env]:
    """An `Env` whose templates are published, with a `Line` as its queue unless another is given."""
    chosen = settings(home, API_KEY=KEY, **(environ or {}))
    given = {"ASSETS": open_assets(), "PICASSO_QUEUE": Line(), "PICASSO_DO": Silent(), "settings": chosen, **bindings}
    async with bare_env(home, database_url, **given) as env:
        await publish_templates(env)
        yield env


@contextlib.asynccontextmanager
async def site(home: Path, **more: Any) -> AsyncIterator[tuple[Env, httpx.AsyncClient]]:
    async with pages_env(home, **more) as env, client_of(small_app(env)) as client:
        yield env, client


async def publish(client: httpx.AsyncClient, *projects: str, **wishes: Any) -> dict[str, Any]:
    """Make a lookbook of the projects and return its row."""
    answer = await client.post("/api/artifacts", json={"generatorId": "lookbook", "projectIds": projects, **wishes})
    assert answer.status_code == 201, answer.text
    return cast(dict[str, Any], answer.json())


@contextlib.contextmanager
def free_listener() -> Iterator[tuple[socket.socket, str]]:
    """A listening loopback socket and its address as a URL; connections wait in its backlog until a server accepts
    them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """The application on a real socket."""
    config = uvicorn.Config(cast(Any, app), lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True


class Outline(HTMLParser):
    """The structure of a page: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self._style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        (self.styles if self._style else self.texts).append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags with the names of their attributes; swatches are left out, because any colour word may add one."""
        return [(tag, tuple(attrs)) for tag, attrs in self.elements if tag not in ("svg", "rect")]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]
