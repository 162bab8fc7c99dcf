"""DB on PostgreSQL, through asyncpg (the extra `postgres`). `:named` parameters become `$1 …`, once per statement."""

import asyncio
import contextlib
import functools
import operator
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from app.bindings.database.failures import (
    CALL_SECONDS,
    TransactionOwners,
    database_busy,
    database_damaged,
    database_full,
    database_unavailable,
    refuse_after_failure,
)
from app.settings import SettingError
from tools.env import Row, Statements, Value
from tools.errors import PicassoError, Unavailable, Violation
from tools.rows import load

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
POOL_SIZE = 16
POOL_SECONDS = 1.0
"""How long a caller waits for a connection."""
IDLE_MS = 2000
"""A process that is frozen inside a transaction loses it, and with it the rows that it had locked."""
TRANSACTION_SHARE = 0.6
"""After this share of a statement's time a transaction is ended whole, from PostgreSQL 17 on. Its sender may have
frozen between the parts of a statement, which the server takes for work, not for idleness. Before 17 there is no
remedy: the locks last until the connection ends."""
AFFECTED = re.compile(r"(?:INSERT \d+|UPDATE|DELETE) (\d+)")
VIOLATIONS: dict[str, Literal["unique", "foreign_key", "check", "not_null"]] = {
    "23505": "unique",
    "23503": "foreign_key",
    "23514": "check",
    "23502": "not_null",
}
UNAVAILABLE = ("08", "25006", "40", "53", "55P03", "57", "58")
"""No connection, read-only, rolled back for another, no resources, locked, shutting down, I/O error."""
DAMAGED = ("XX001", "XX002")
"""A table or an index that cannot be read."""
SERVER_POSTGRESQL = """
SELECT current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding,
    CAST(current_setting('server_version_num') AS BIGINT) AS version
"""


class _Server(msgspec.Struct, frozen=True):
    fsync: str
    encoding: str
    version: int


class Postgres:
    """An asyncpg pool; waiting for a connection and every statement have a deadline."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool, self._owners = pool, TransactionOwners()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, seconds: float = CALL_SECONDS) -> AsyncIterator["Postgres"]:
        """The database at the address; a statement has `seconds`.

        Fails: SettingError when it must not be used · Unavailable when it is not up or refuses the password.
        """
        pool = await _create_pool(url, seconds)
        try:
            db = cls(pool)
            server = await db.one(SERVER_POSTGRESQL, _Server)
            if server is None or server.fsync != "on":
                raise SettingError("DB is a PostgreSQL with fsync=off, which can lose what was paid for; turn it on")
            if server.version < 140000 or server.encoding != "UTF8":
                raise SettingError("DB must be PostgreSQL 14 or later with the encoding UTF8")
            yield db
        finally:
            try:
                await asyncio.wait_for(pool.close(), CALL_SECONDS)
            except TimeoutError:
                pool.terminate()

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        """The first row, or None."""
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        """Every row."""
        async with self._statements() as statements:
            return await statements.all(sql, row, **params)

    async def run(self, sql: str, **params: Value) -> int:
        """The number of rows that the statement changed."""
        async with self._statements() as statements:
            return await statements.run(sql, **params)

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Run the statement once per row, all in one transaction."""
        async with self.transaction() as tx:
            await tx.many(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        """Commit when the block ends, roll back when it raises.

        Fails: RuntimeError for the use of the database itself inside the block.
        """
        async with self._statements() as statements:
            try:
                await statements.run("BEGIN")
                with self._owners.inside():
                    yield statements
                await statements.run("COMMIT")
            except BaseException:
                with contextlib.suppress(Unavailable):
                    await statements.rollback()
                raise

    async def ping(self) -> None:
        """Fails: Unavailable when the server does not answer."""
        await self.run("SELECT 1")

    @contextlib.asynccontextmanager
    async def _statements(self) -> AsyncIterator["_PostgresStatements"]:
        self._owners.refuse_nested()
        connection = await _translated(database_busy, self._pool.acquire, timeout=POOL_SECONDS)
        try:
            yield _PostgresStatements(connection)
        finally:
            # What was committed is committed; a connection that cannot be cleaned is dropped by the pool.
            with contextlib.suppress(Unavailable):
                await _translated(database_unavailable, self._pool.release, connection, timeout=CALL_SECONDS)


class _PostgresStatements:
    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection, self._failed = connection, False

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        text, names = numbered(sql)
        return [load(row, record) for record in await self._call("fetch", text, *(params[name] for name in names))]

    async def run(self, sql: str, **params: Value) -> int:
        text, names = numbered(sql)
        tag = await self._call("execute", text, *(params[name] for name in names))
        return int(found[1]) if (found := AFFECTED.fullmatch(tag)) else 0

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        text, names = numbered(sql)
        await self._call("executemany", text, [[row[name] for name in names] for row in rows])

    async def rollback(self) -> None:
        await _translated(database_unavailable, self._connection.execute, "ROLLBACK")

    async def _call(self, verb: Literal["fetch", "execute", "executemany"], *args: Any) -> Any:
        refuse_after_failure(self._failed)
        try:
            return await _translated(database_unavailable, operator.attrgetter(verb)(self._connection), *args)
        except BaseException:
            self._failed = True
            raise


async def _create_pool(url: str, seconds: float) -> "asyncpg.Pool[Any]":
    """Fails: SettingError for an address or an installation that cannot be used · Unavailable."""
    try:
        import asyncpg
    except ImportError:
        raise SettingError("DB needs the extra `postgres`: pip install 'picasso-backend[postgres]'") from None

    async def limit_transactions(connection: Any) -> None:
        if connection.get_server_version() >= (17,):
            await connection.execute(f"SET transaction_timeout = {int(seconds * TRANSACTION_SHARE * 1000)}")

    async def keep_session(connection: Any) -> None:
        """No session setting is ever changed, so the round trip that would reset them is saved; asyncpg still ends
        open transactions."""

    create = functools.partial(
        asyncpg.create_pool,
        min_size=1,
        max_size=POOL_SIZE,
        init=limit_transactions,
        reset=keep_session,
        server_settings={"idle_in_transaction_session_timeout": str(IDLE_MS)},
    )
    try:
        return await _translated(database_unavailable, create, url, command_timeout=seconds, timeout=CALL_SECONDS)
    except asyncpg.PostgresError as error:
        # A wrong password, or a database that does not exist: an operator may be mending it.
        if error.sqlstate.startswith(("28", "3D")):
            raise database_unavailable() from error
        raise
    except ValueError:
        raise SettingError("DB is not an address that PostgreSQL's driver understands") from None


async def _translated(
    timed_out: Callable[[], Unavailable], act: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
) -> T:
    """The result of the call, with asyncpg's errors as ours; `timed_out` makes the error for a missed deadline."""
    import asyncpg

    try:
        return await act(*args, **kwargs)
    except TimeoutError as error:
        raise timed_out() from error
    except asyncpg.PostgresError as error:
        known: PicassoError
        if kind := VIOLATIONS.get(error.sqlstate):
            known = Violation(kind)
        elif error.sqlstate == "53100":
            known = database_full()
        elif error.sqlstate in DAMAGED:
            known = database_damaged(error)
        elif error.sqlstate.startswith(UNAVAILABLE):
            known = database_unavailable()
        else:
            raise
        raise known from error
    except ValueError:
        raise  # a value or an address that the driver cannot encode, which is also an InterfaceError
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise database_unavailable() from error


@functools.cache
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with `$1 …` for its `:named` parameters, and the names in that order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if (name := match[1]) not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return re.sub(r"(?<![:\w]):([a-z_][a-z0-9_]*)", number, sql), tuple(names)
