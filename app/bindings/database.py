"""DB: SQLite on one thread of its own, or PostgreSQL through asyncpg. One SQL text serves both.

`:named` parameters are SQLite's own; for PostgreSQL they become `$1 …` once per statement.
"""

import asyncio
import contextlib
import functools
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tools.env import Row, Statements, Value
from tools.errors import Unavailable
from tools.rows import load

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
CALL_SECONDS = 15.0


class Sqlite:
    """One connection on one dedicated thread: WAL, foreign keys on, every write opened with BEGIN IMMEDIATE.

    Serves one process only (SQLite before 3.51.3 can corrupt a WAL that several connections checkpoint).
    """

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection, self._thread = connection, thread
        self._turn = asyncio.Lock()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Sqlite"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        connection = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
        try:
            yield cls(connection, thread)
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)
            thread.shutdown()

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        async with self._turn:
            return await self._call(_all, sql, row, params)

    async def run(self, sql: str, **params: Value) -> int:
        async with self._turn:
            return await self._call(_run, sql, params)

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        async with self.transaction() as tx:
            await tx.many(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        async with self._turn:
            try:
                await self._call(_begin)
                yield _SqliteTransaction(self._call)
                await self._call(sqlite3.Connection.commit)
            except BaseException:
                # A cancelled caller must not leave the one connection inside a transaction.
                await asyncio.shield(self._call(sqlite3.Connection.rollback))
                raise

    async def ping(self) -> None:
        await self.run("SELECT 1")

    async def _call(self, act: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, functools.partial(act, self._connection, *args))
        except sqlite3.OperationalError as error:
            raise Unavailable("the database did not take the statement", code="database_unavailable") from error


class _SqliteTransaction:
    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        return list(await self._call(_all, sql, row, params))

    async def run(self, sql: str, **params: Value) -> int:
        return int(await self._call(_run, sql, params))

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        await self._call(sqlite3.Connection.executemany, sql, rows)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.row_factory = sqlite3.Row
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=5000",
        "journal_size_limit=67108864",
        "cache_size=-16000",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _all(connection: sqlite3.Connection, sql: str, row: type[Row], params: Mapping[str, Value]) -> list[Row]:
    return [load(row, columns) for columns in connection.execute(sql, params).fetchall()]


def _run(connection: sqlite3.Connection, sql: str, params: Mapping[str, Value]) -> int:
    return connection.execute(sql, params).rowcount


class Postgres:
    """An asyncpg pool; acquiring and every statement have a deadline."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Postgres"]:
        import asyncpg

        pool = await asyncpg.create_pool(
            url, min_size=1, max_size=16, command_timeout=CALL_SECONDS, timeout=CALL_SECONDS
        )
        try:
            yield cls(pool)
        finally:
            await pool.close()

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        async with self._statements() as statements:
            return await statements.one(sql, row, **params)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        async with self._statements() as statements:
            return await statements.all(sql, row, **params)

    async def run(self, sql: str, **params: Value) -> int:
        async with self._statements() as statements:
            return await statements.run(sql, **params)

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        async with self.transaction() as tx:
            await tx.many(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        async with self._statements() as statements, statements.connection.transaction():
            yield statements

    async def ping(self) -> None:
        await self.run("SELECT 1")

    @contextlib.asynccontextmanager
    async def _statements(self) -> AsyncIterator["_PostgresStatements"]:
        import asyncpg

        try:
            async with self._pool.acquire(timeout=CALL_SECONDS) as connection:
                yield _PostgresStatements(connection)
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.DeadlockDetectedError,
            asyncpg.CannotConnectNowError,
            asyncpg.AdminShutdownError,
        ) as error:
            raise Unavailable("the database did not answer", code="database_unavailable") from error


class _PostgresStatements:
    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        text, names = numbered(sql)
        return [load(row, columns) for columns in await self.connection.fetch(text, *(params[name] for name in names))]

    async def run(self, sql: str, **params: Value) -> int:
        text, names = numbered(sql)
        tag = await self.connection.execute(text, *(params[name] for name in names))
        return int(tag.rpartition(" ")[2]) if tag.rpartition(" ")[2].isdigit() else 0

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        text, names = numbered(sql)
        await self.connection.executemany(text, [[row[name] for name in names] for row in rows])


@functools.cache
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with `$1 …` for its `:named` parameters, and the names in that order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if (name := match[1]) not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return re.sub(r"(?<![:\w]):([a-z_][a-z0-9_]*)", number, sql), tuple(names)
