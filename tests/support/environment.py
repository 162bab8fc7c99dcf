"""Real parts for tests: a migrated SQLite, a directory bucket, and an `Env` of the bindings that a test passes."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from app.bindings.bucket.directory import Directory
from app.bindings.database import open_database
from app.settings import Settings, read_settings
from tools.env import Env

VENDORS_THEMSELVES = {"OPENAI_STREAM": "true", "VENDOR_5XX": "retry"}
"""The false Internet plays the vendors' own hosts, not proxies in front of them."""


class EmptyQueue:
    """A queue in which nothing waits."""

    async def depth(self) -> int:
        return 0

    async def dead_depth(self) -> int:
        return 0

    async def drain(self) -> None: ...


def settings(home: Path, **environ: str) -> Settings:
    """The settings of a test: data below `home`, the given values, defaults for everything else."""
    return read_settings({"PICASSO_HOME": str(home), "SKETCH_SECONDS": "0", **VENDORS_THEMSELVES, **environ})


@contextlib.asynccontextmanager
async def bare_env(home: Path, database_url: str = "", /, **bindings: Any) -> AsyncIterator[Env]:
    """An `Env` with a fresh migrated database (SQLite unless an address is given) and a directory bucket.

    The queue is empty; other bindings that are not given are None.
    """
    chosen = bindings.get("settings") or settings(home, **({"DB": database_url} if database_url else {}))
    async with open_database(chosen) as db, Directory.open(home / "bucket") as bucket:
        given: dict[str, Any] = {
            "DB": db,
            "BUCKET": bucket,
            "PICASSO_QUEUE": EmptyQueue(),
            "DEFAULT_MODEL_REASONING": "builtin",
            "DEFAULT_MODEL_VISION": "builtin",
            "settings": chosen,
            **bindings,
        }
        yield Env(**{field.name: given.get(field.name, cast(Any, None)) for field in dataclasses.fields(Env)})
