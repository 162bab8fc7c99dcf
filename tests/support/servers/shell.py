"""The HTTP shell alone, for tests of what runs before every route: a real SQLite and directory bucket, the minimum of
everything else, and a few routes of the tests' own."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator

from litestar import get, post
from litestar.params import JSONBody

from app.bindings.images import open_images
from app.http.schemas import Body, Name
from app.http.server import listen, serve_app, settle
from app.main import create_app
from app.settings import SettingError, Settings, read_settings
from tests.support.environment import bare_env
from tools.env import Env
from tools.errors import Unavailable

SHELL = ("tests.support.servers.shell",)
"""For `running(command=SHELL)`."""


class NoAssets:
    def names(self) -> list[str]:
        return ["error.html"]


@contextlib.asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Env]:
    """Open the minimal bindings. Fails: Unavailable while a file `away` is in the data directory · SettingError for a
    file `refused`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    if (settings.home / "away").exists():
        raise Unavailable("the database did not answer", code="database_unavailable")
    if (settings.home / "refused").exists():
        raise SettingError("DB is a database that must not be used")
    for stale in settings.home.glob("picasso.db*"):
        stale.unlink()
    async with open_images(settings) as images:
        parts = {"ASSETS": NoAssets(), "IMAGES": images, "settings": settings}
        async with bare_env(settings.home, **parts) as env:
            yield env


class Note(Body, frozen=True):
    text: Name


@post("/api/notes", status_code=200, include_in_schema=False)
async def keep_note(data: JSONBody[Note]) -> Note:
    return data


@post("/api/deaf", status_code=200, include_in_schema=False)
async def ignore_body() -> dict[str, str]:
    return {"heard": "nothing"}


@get("/api/large", opt={"access": "open"}, include_in_schema=False)
async def send_much() -> bytes:
    return b"x" * (8 << 20)


def main() -> int:
    settings = read_settings(os.environ)
    listener = listen(settings.host, settings.port)
    settings = settle(settings, listener.getsockname()[1])
    app = create_app(settings, jobs=False, bindings=open_parts, more_handlers=[keep_note, ignore_body, send_much])
    return serve_app(app, settings, listener)


if __name__ == "__main__":
    sys.exit(main())
