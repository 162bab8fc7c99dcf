"""DB: SQLite on threads of its own, or PostgreSQL through asyncpg. One SQL text serves both.

`:named` parameters are SQLite's own; for PostgreSQL they become `$1 …` once per statement. Both answer the same
errors: Unavailable (`database_busy`, `database_full`, `database_unavailable`) and Violation; what is left is a bug.
Unavailable from a cut COMMIT or a lost connection means that the outcome is unknown, so what is written through here
is written so that writing it again is harmless.
"""

import asyncio
import contextlib
import fcntl
import functools
import operator
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from app.ops.migrate import migrate, seed
from app.settings import SettingError, Settings
from tools.env import Database, Row, Statements, Value
from tools.errors import PicassoError, Unavailable, Violation
from tools.rows import load

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
CALL_SECONDS = 15.0
MIGRATION_SECONDS = 3600.0
TURN_SECONDS = 5.0
POOL_SECONDS = 1.0
IDLE_MS = 2000
"""A process that is frozen inside a transaction loses it, and with it the rows that it had locked."""
TRANSACTION_SHARE = 0.6
"""After this share of a statement's time a transaction is ended whole, from PostgreSQL 17 on. Its sender may have
frozen between the parts of a statement, which the server takes for work, not for idleness. Before 17 there is no
remedy: the locks last until the connection ends."""
POOL_SIZE = 16


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of `settings.db`, migrated and seeded; its scheme picks the implementation.

    Fails: SettingError when it must not be used (in use, unsafe, foreign) · Unavailable when it does not answer yet.
    """
    async with _open(settings.db, MIGRATION_SECONDS) as db:
        await migrate(db)
        await seed(db)
    async with _open(settings.db, CALL_SECONDS) as db:
        yield db


def _open(url: str, seconds: float) -> contextlib.AbstractAsyncContextManager[Database]:
    if url.startswith("postgresql://"):
        return Postgres.open(url, seconds)
    path = url.removeprefix("sqlite:///")
    if path in (url, "", ":memory:") or "?" in path:
        raise SettingError("DB must be sqlite:///PATH, a file and no parameters, or postgresql://…")
    return Sqlite.open(Path(path), seconds)


class _Nesting:
    """Which tasks hold a transaction. Any other statement of such a task would wait for the task itself."""

    def __init__(self) -> None:
        self._holders: set[asyncio.Task[Any] | None] = set()

    def refuse(self) -> None:
        if asyncio.current_task() in self._holders:
            raise RuntimeError("env.DB was used inside a transaction of the same task: use the transaction itself")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        holder = asyncio.current_task()
        self._holders.add(holder)
        try:
            yield
        finally:
            self._holders.discard(holder)


class Sqlite:
    """A writer and a reader, each one connection on one thread: WAL, foreign keys on, one process only.

    Reads outside transactions go to the reader, so they do not wait behind a transaction. The reader cannot write
    and never checkpoints: SQLite before 3.51.3 can corrupt a WAL that two connections write or checkpoint.
    """

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, writer: "_Connection", reader: "_Connection") -> None:
        self._writer, self._reader, self._nesting = writer, reader, _Nesting()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path, seconds: float = CALL_SECONDS) -> AsyncIterator["Sqlite"]:
        """Fails: SettingError when the file cannot be used or another process uses it."""
        writer, reader = _Connection("writer", seconds), _Connection("reader", seconds)
        file = _File(path, writer, reader)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(writer.thread, file.open)
            yield cls(writer, reader)
        finally:
            await asyncio.shield(loop.run_in_executor(writer.thread, file.close))

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        async with self._turn(self._reader if only_reads(sql) else self._writer) as statements:
            return await statements.all(sql, row, **params)

    async def run(self, sql: str, **params: Value) -> int:
        async with self._turn(self._writer) as statements:
            return await statements.run(sql, **params)

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        async with self.transaction() as tx:
            await tx.many(sql, rows)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Statements]:
        async with self._turn(self._writer) as statements:
            try:
                statements.opens_with(_begin)
                with self._nesting.held():
                    yield statements
                await statements.commit()
            except BaseException:
                await self._writer.rollback()
                raise

    async def ping(self) -> None:
        async with self._turn(self._reader) as statements:
            await statements.run("SELECT 1")

    @contextlib.asynccontextmanager
    async def _turn(self, connection: "_Connection") -> AsyncIterator["_SqliteStatements"]:
        self._nesting.refuse()
        try:
            async with asyncio.timeout(min(TURN_SECONDS, connection.seconds)):
                await connection.turn.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            yield _SqliteStatements(connection)
        finally:
            connection.turn.release()


class _Connection:
    """A connection on its one thread. Work is done in the order it was asked for, even if who asked was cancelled."""

    raw: sqlite3.Connection

    def __init__(self, name: str, seconds: float) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{name}")
        self.turn = asyncio.Lock()
        self.seconds = seconds

    async def call(self, act: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(self.seconds, self.raw.interrupt)
        try:
            return await loop.run_in_executor(self.thread, functools.partial(act, self.raw, *args))
        except asyncio.CancelledError:
            self.raw.interrupt()
            raise
        except sqlite3.Error as error:
            if (told := _of_sqlite(error)) is None:
                raise
            raise told from error
        finally:
            alarm.cancel()

    async def rollback(self) -> None:
        """Queued before this awaits and never taken back: whoever comes next comes after it, cancelled or not."""
        await asyncio.shield(asyncio.wrap_future(self.thread.submit(_rollback, self.raw)))


class _SqliteStatements:
    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, connection: _Connection) -> None:
        self._connection, self._failed = connection, False
        self._opening: Callable[[sqlite3.Connection], None] | None = None

    def opens_with(self, act: Callable[[sqlite3.Connection], None]) -> None:
        """Do this before the first statement, on the same way to the thread, which costs more than either."""
        self._opening = act

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        return await self._call(_all, sql, row, params)

    async def run(self, sql: str, **params: Value) -> int:
        return await self._call(_run, sql, params)

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        await self._call(_many, sql, rows)

    async def commit(self) -> None:
        if self._opening is None:
            await self._call(_commit)

    async def _call(self, act: Callable[..., T], *args: Any) -> T:
        _refuse_failed(self._failed)
        try:
            if (opening := self._opening) is not None:
                self._opening = None
                return await self._connection.call(_after, opening, act, *args)
            return await self._connection.call(act, *args)
        except BaseException:
            self._failed = True
            raise


class _File:
    """A SQLite file of this process alone: its lock, held for life, and its two connections."""

    def __init__(self, path: Path, writer: _Connection, reader: _Connection) -> None:
        self._path, self._writer, self._reader = path, writer, reader
        self._open = contextlib.ExitStack()

    def open(self) -> None:
        if self._path.is_dir():
            raise SettingError(f"DB cannot be opened at {self._path}: it is a directory")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._open.enter_context(self._path.with_name(f"{self._path.name}.lock").open("ab"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for connection, last in ((self._writer, WRITER), (self._reader, READER)):
                connection.raw = self._open.enter_context(contextlib.closing(_connect(self._path, last)))
        except BlockingIOError:
            raise SettingError(
                "DB is a SQLite file in use by another process; set DB=postgresql://… (and REDIS_URL) to run several"
            ) from None
        except (OSError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.Error) and (told := _of_sqlite(error)):
                raise told from error
            raise SettingError(f"DB cannot be opened at {self._path}: {error}") from error

    def close(self) -> None:
        """The reader ends first, so that the last checkpoint is the writer's; the lock goes last."""
        self._reader.thread.shutdown()
        self._open.close()
        self._writer.thread.shutdown(wait=False)


PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
    "cache_size=-16000",
    "temp_store=MEMORY",
)
WRITER = ("wal_autocheckpoint=1000",)
READER = ("wal_autocheckpoint=0", "query_only=ON")


def _connect(path: Path, last: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.row_factory = sqlite3.Row
    for pragma in (*PRAGMAS, *last):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@functools.cache
def only_reads(sql: str) -> bool:
    """Whether the statement may go to the connection that cannot write; in doubt, not."""
    return bool(re.match(r"\s*(SELECT|WITH)\b", sql)) and not re.search(r"\b(INSERT|UPDATE|DELETE)\b", sql)


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _after(
    connection: sqlite3.Connection, first: Callable[[sqlite3.Connection], None], act: Callable[..., T], *args: Any
) -> T:
    first(connection)
    return act(connection, *args)


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _rollback(connection: sqlite3.Connection) -> None:
    # A full disk has rolled back by itself; on a broken one the next BEGIN tells.
    with contextlib.suppress(sqlite3.Error):
        connection.rollback()


def _all(connection: sqlite3.Connection, sql: str, row: type[Row], params: Mapping[str, Value]) -> list[Row]:
    return [load(row, columns) for columns in connection.execute(sql, params).fetchall()]


def _run(connection: sqlite3.Connection, sql: str, params: Mapping[str, Value]) -> int:
    cursor = connection.execute(sql, params)
    cursor.fetchall()
    return max(cursor.rowcount, 0)


def _many(connection: sqlite3.Connection, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
    connection.executemany(sql, rows)


SQLITE_KINDS: dict[str, Literal["unique", "foreign_key", "check", "not_null"]] = {
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_ROWID": "unique",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign_key",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_CONSTRAINT_TRIGGER": "check",
    "SQLITE_CONSTRAINT_NOTNULL": "not_null",
}
SQLITE_AWAY = re.compile("SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY|PROTOCOL|INTERRUPT|NOMEM)")


def _of_sqlite(error: sqlite3.Error) -> PicassoError | None:
    # The driver's own complaints, such as a missing parameter, carry no name: those are bugs.
    name = str(getattr(error, "sqlite_errorname", ""))
    if kind := SQLITE_KINDS.get(name):
        return Violation(kind)
    if name == "SQLITE_FULL":
        return _full()
    return _away() if SQLITE_AWAY.match(name) else None


def _busy() -> Unavailable:
    return Unavailable("the database is busy", code="database_busy", retry_after=1.0)


def _full() -> Unavailable:
    return Unavailable("the database has no room left", code="database_full")


def _away() -> Unavailable:
    return Unavailable("the database did not answer", code="database_unavailable")


def _refuse_failed(failed: bool) -> None:
    # PostgreSQL would answer the COMMIT of a failed transaction with a quiet ROLLBACK.
    if failed:
        raise RuntimeError("a statement of this transaction has failed: let its error leave the block")


class Postgres:
    """An asyncpg pool; waiting for a connection and every statement have a deadline."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool, self._nesting = pool, _Nesting()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, seconds: float = CALL_SECONDS) -> AsyncIterator["Postgres"]:
        """Fails: SettingError when it must not be used · Unavailable when it is not up or refuses the password."""
        pool = await _create_pool(url, seconds)
        try:
            db = cls(pool)
            _refuse_unsafe(await db.one(SERVER_POSTGRESQL, _Server))
            yield db
        finally:
            try:
                await asyncio.wait_for(pool.close(), CALL_SECONDS)
            except TimeoutError:
                pool.terminate()

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

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
        async with self._statements() as statements:
            try:
                await statements.run("BEGIN")
                with self._nesting.held():
                    yield statements
                await statements.run("COMMIT")
            except BaseException:
                with contextlib.suppress(Unavailable):
                    await statements.rollback()
                raise

    async def ping(self) -> None:
        await self.run("SELECT 1")

    @contextlib.asynccontextmanager
    async def _statements(self) -> AsyncIterator["_PostgresStatements"]:
        self._nesting.refuse()
        connection = await _answered(_busy, self._pool.acquire, timeout=POOL_SECONDS)
        try:
            yield _PostgresStatements(connection)
        finally:
            # What was committed is committed; a connection that cannot be cleaned is dropped by the pool.
            with contextlib.suppress(Unavailable):
                await _answered(_away, self._pool.release, connection, timeout=CALL_SECONDS)


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
        await _answered(_away, self._connection.execute, "ROLLBACK")

    async def _call(self, verb: Literal["fetch", "execute", "executemany"], *args: Any) -> Any:
        _refuse_failed(self._failed)
        try:
            return await _answered(_away, operator.attrgetter(verb)(self._connection), *args)
        except BaseException:
            self._failed = True
            raise


AFFECTED = re.compile(r"(?:INSERT \d+|UPDATE|DELETE) (\d+)")
SERVER_POSTGRESQL = """
SELECT current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding,
    CAST(current_setting('server_version_num') AS BIGINT) AS version
"""


class _Server(msgspec.Struct, frozen=True):
    fsync: str
    encoding: str
    version: int


def _refuse_unsafe(server: _Server | None) -> None:
    if server is None or server.fsync != "on":
        raise SettingError("DB is a PostgreSQL with fsync=off, which can lose what was paid for; turn it on")
    if server.version < 140000 or server.encoding != "UTF8":
        raise SettingError("DB must be PostgreSQL 14 or later with the encoding UTF8")


async def _create_pool(url: str, seconds: float) -> "asyncpg.Pool[Any]":
    try:
        import asyncpg
    except ImportError:
        raise SettingError("DB needs the extra `postgres`: pip install 'picasso-backend[postgres]'") from None
    create = functools.partial(
        asyncpg.create_pool,
        min_size=1,
        max_size=POOL_SIZE,
        init=functools.partial(_bound_transactions, seconds * TRANSACTION_SHARE),
        reset=_keep,
        server_settings={"idle_in_transaction_session_timeout": str(IDLE_MS)},
    )
    try:
        return await _answered(_away, create, url, command_timeout=seconds, timeout=CALL_SECONDS)
    except asyncpg.PostgresError as error:
        if error.sqlstate.startswith(("28", "3D")):
            raise _away() from error
        raise
    except ValueError:
        raise SettingError("DB is not an address that PostgreSQL's driver understands") from None


async def _bound_transactions(seconds: float, connection: Any) -> None:
    if connection.get_server_version() >= (17,):
        await connection.execute(f"SET transaction_timeout = {int(seconds * 1000)}")


async def _keep(connection: Any) -> None:
    """Nothing is ever set in a session, so the round trip that would reset it is saved; open blocks are still ended."""


POSTGRES_KINDS: dict[str, Literal["unique", "foreign_key", "check", "not_null"]] = {
    "23505": "unique",
    "23503": "foreign_key",
    "23514": "check",
    "23502": "not_null",
}
POSTGRES_AWAY = ("08", "25006", "40", "53", "55P03", "57", "58")
"""No connection, read-only, rolled back for another, no resources, locked, shutting down, I/O error."""


async def _answered(late: Callable[[], Unavailable], act: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
    import asyncpg

    try:
        return await act(*args, **kwargs)
    except TimeoutError as error:
        raise late() from error
    except asyncpg.PostgresError as error:
        if (told := _of_postgres(error.sqlstate)) is None:
            raise
        raise told from error
    except ValueError:
        raise  # a value or an address that the driver cannot encode, which is also an InterfaceError
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _away() from error


def _of_postgres(state: str) -> PicassoError | None:
    if kind := POSTGRES_KINDS.get(state):
        return Violation(kind)
    if state == "53100":
        return _full()
    return _away() if state.startswith(POSTGRES_AWAY) else None


@functools.cache
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with `$1 …` for its `:named` parameters, and the names in that order."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if (name := match[1]) not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return re.sub(r"(?<![:\w]):([a-z_][a-z0-9_]*)", number, sql), tuple(names)
