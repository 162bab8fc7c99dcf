"""Real parts for tests: a migrated SQLite, a directory bucket, and an `Env` made of whatever a test hands in."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from app.bindings.bucket import Directory
from app.bindings.database import Sqlite
from app.settings import Settings, read_settings
from tools.env import Env


def settings(home: Path, **environ: str) -> Settings:
    """The settings of a test: data below `home`, everything else as given or by default."""
    return read_settings({"PICASSO_HOME": str(home), "SKETCH_SECONDS": "0", **environ})


@contextlib.asynccontextmanager
async def bare_env(home: Path, **bindings: Any) -> AsyncIterator[Env]:
    """An `Env` with a fresh SQLite (0001 applied) and a directory bucket; bindings not given are None."""
    async with Sqlite.open(home / "picasso.db") as db, Directory.open(home / "bucket") as bucket:
        for statement in Path("migrations/0001_init.sql").read_text().split(";\n"):
            if statement.strip():
                await db.run(statement)
        given: dict[str, Any] = {
            "DB": db,
            "BUCKET": bucket,
            "DEFAULT_MODEL_REASONING": "builtin",
            "DEFAULT_MODEL_VISION": "builtin",
            "settings": settings(home),
            **bindings,
        }
        yield Env(**{field.name: given.get(field.name, cast(Any, None)) for field in dataclasses.fields(Env)})
