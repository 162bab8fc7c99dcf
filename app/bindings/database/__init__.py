"""DB: a SQLite file or a PostgreSQL server; the scheme of the address picks which. One SQL text serves both."""

import contextlib
import logging
from collections.abc import AsyncIterator

from app.bindings.database.failures import CALL_SECONDS
from app.ops.migrate import migrate, seed
from app.settings import SettingError, Settings, unquoted
from tools.env import Database
from tools.errors import Unavailable

log = logging.getLogger("picasso.database")

MIGRATION_SECONDS = 3600.0
"""For each statement of a migration, which may rewrite a large table."""


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of `settings.db`, migrated and seeded.

    Effect: pending migrations and the seed are applied.
    Fails: SettingError when it must not be used (in use, unsafe, not ours) · Unavailable when it does not answer yet.
    """
    async with _connect(settings.db, MIGRATION_SECONDS) as db:
        await migrate(db)
        # Tips that cannot be added keep nothing from running without them.
        try:
            await seed(db)
        except Unavailable as error:
            log.warning("the packaged tips were not added: %s", error.message)
    async with _connect(settings.db, CALL_SECONDS) as db:
        yield db


def _connect(url: str, seconds: float) -> contextlib.AbstractAsyncContextManager[Database]:
    if url.startswith("postgresql://"):
        from app.bindings.database.postgres import Postgres

        return Postgres.open(url, seconds)
    path = url.removeprefix("sqlite:///")
    if path in (url, "", ":memory:") or "?" in path:
        raise SettingError("DB must be sqlite:///PATH, a file and no parameters (write ? as %3F), or postgresql://…")
    from app.bindings.database.sqlite import Sqlite

    return Sqlite.open(unquoted(path), seconds)
