"""DB on a SQLite file: two connections, each on a thread of its own, and a lock that keeps other processes out."""

import asyncio
import contextlib
import fcntl
import functools
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from app.bindings.database.failures import (
    CALL_SECONDS,
    TransactionOwners,
    database_busy,
    database_damaged,
    database_full,
    database_unavailable,
    refuse_after_failure,
)
from app.bindings.files import FULL
from app.settings import SettingError
from tools.env import Row, Statements, Value
from tools.errors import PicassoError, Violation
from tools.rows import load

T = TypeVar("T")
CONNECTION_SECONDS = 5.0
"""How long a caller waits for one of the two connections."""
PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
    "cache_size=-16000",
    "temp_store=MEMORY",
)
WRITER_PRAGMAS = ("wal_autocheckpoint=1000",)
READER_PRAGMAS = ("wal_autocheckpoint=0", "query_only=ON")
VIOLATIONS: dict[str, Literal["unique", "foreign_key", "check", "not_null"]] = {
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_ROWID": "unique",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign_key",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_CONSTRAINT_TRIGGER": "check",
    "SQLITE_CONSTRAINT_NOTNULL": "not_null",
}
DAMAGED = re.compile("SQLITE_(CORRUPT|NOTADB)")
UNUSABLE = re.compile("SQLITE_(CANTOPEN|READONLY|CORRUPT|NOTADB|AUTH|PERM)")
"""What no waiting mends when a file is opened."""
UNAVAILABLE = re.compile("SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY|PROTOCOL|INTERRUPT|NOMEM)")


class Sqlite:
    """A writer and a reader, each one connection on one thread: WAL, foreign keys on, one process only.

    Reads outside transactions go to the reader, so they do not wait behind a transaction. The reader cannot write
    and never checkpoints: SQLite before 3.51.3 can corrupt a WAL that two connections write or checkpoint.
    """

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, writer: "_Connection", reader: "_Connection") -> None:
        self._writer, self._reader, self._owners = writer, reader, TransactionOwners()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path, seconds: float = CALL_SECONDS) -> AsyncIterator["Sqlite"]:
        """The database in the file, which is made when it is missing; a statement has `seconds`.

        Fails: SettingError when the file cannot be used or another process uses it.
        """
        writer, reader = _Connection("writer", seconds), _Connection("reader", seconds)
        file = _File(path, writer, reader)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(writer.thread, file.open)
            yield cls(writer, reader)
        finally:
            await asyncio.shield(loop.run_in_executor(writer.thread, file.close))

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        """The first row, or None."""
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        """Every row."""
        async with self._statements(self._reader if only_reads(sql) else self._writer) as statements:
            return await statements.all(sql, row, **params)

    async def run(self, sql: str, **params: Value) -> int:
        """The number of rows that the statement changed."""
        async with self._statements(self._writer) as statements:
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
        async with self._statements(self._writer, in_transaction=True) as statements:
            try:
                with self._owners.inside():
                    yield statements
                await statements.commit()
            except BaseException:
                await self._writer.rollback()
                raise

    async def ping(self) -> None:
        """Fails: Unavailable when the file cannot be read."""
        async with self._statements(self._reader) as statements:
            await statements.run("SELECT 1")

    @contextlib.asynccontextmanager
    async def _statements(
        self, connection: "_Connection", *, in_transaction: bool = False
    ) -> AsyncIterator["_SqliteStatements"]:
        self._owners.refuse_nested()
        try:
            async with asyncio.timeout(min(CONNECTION_SECONDS, connection.seconds)):
                await connection.lock.acquire()
        except TimeoutError:
            raise database_busy() from None
        try:
            yield _SqliteStatements(connection, begin=in_transaction)
        finally:
            connection.lock.release()


class _Connection:
    """A connection on its one thread. Calls run in the order in which they were made, also those of cancelled tasks."""

    raw: sqlite3.Connection

    def __init__(self, name: str, seconds: float) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{name}")
        self.lock = asyncio.Lock()
        self.seconds = seconds

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work on the thread; interrupt it when its time is over or the caller is cancelled."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(self.seconds, self.raw.interrupt)
        try:
            return await loop.run_in_executor(self.thread, work, self.raw)
        except asyncio.CancelledError:
            self.raw.interrupt()
            raise
        except sqlite3.Error as error:
            if (known := _translate(error)) is None:
                raise
            raise known from error
        finally:
            alarm.cancel()

    async def rollback(self) -> None:
        """Undo the open transaction.

        It is queued on the thread before this first awaits and is never taken back, so the next caller's work comes
        after it even when this caller is cancelled.
        """

        def undo() -> None:
            # On a full disk SQLite has rolled back by itself; on a broken one the next BEGIN raises.
            with contextlib.suppress(sqlite3.Error):
                self.raw.rollback()

        await asyncio.shield(asyncio.wrap_future(self.thread.submit(undo)))


class _SqliteStatements:
    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, connection: _Connection, *, begin: bool) -> None:
        self._connection, self._failed = connection, False
        self._begin = begin
        """BEGIN goes to the thread together with the first statement: the way there costs more than either."""

    async def one(self, sql: str, row: type[Row], **params: Value) -> Row | None:
        return next(iter(await self.all(sql, row, **params)), None)

    async def all(self, sql: str, row: type[Row], **params: Value) -> list[Row]:
        return await self._call(
            lambda connection: [load(row, columns) for columns in connection.execute(sql, params).fetchall()]
        )

    async def run(self, sql: str, **params: Value) -> int:
        def execute(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(sql, params)
            cursor.fetchall()
            return max(cursor.rowcount, 0)

        return await self._call(execute)

    async def many(self, sql: str, rows: Sequence[Mapping[str, Value]]) -> None:
        def execute(connection: sqlite3.Connection) -> None:
            connection.executemany(sql, rows)

        await self._call(execute)

    async def commit(self) -> None:
        def execute(connection: sqlite3.Connection) -> None:
            connection.execute("COMMIT")

        if not self._begin:
            await self._call(execute)

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        refuse_after_failure(self._failed)
        begin, self._begin = self._begin, False

        def call(connection: sqlite3.Connection) -> T:
            if begin:
                connection.execute("BEGIN IMMEDIATE")
            return work(connection)

        try:
            return await self._connection.call(call)
        except BaseException:
            self._failed = True
            raise


class _File:
    """A SQLite file of this process alone: its lock, held as long as the file is open, and its two connections."""

    def __init__(self, path: Path, writer: _Connection, reader: _Connection) -> None:
        self._path, self._writer, self._reader = path, writer, reader
        self._opened = contextlib.ExitStack()

    def open(self) -> None:
        if self._path.is_dir():
            raise SettingError(f"DB cannot be opened at {self._path}: it is a directory")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._opened.enter_context(self._path.with_name(f"{self._path.name}.lock").open("a+"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            for connection, pragmas in ((self._writer, WRITER_PRAGMAS), (self._reader, READER_PRAGMAS)):
                raw = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=512)
                connection.raw = self._opened.enter_context(contextlib.closing(raw))
                raw.row_factory = sqlite3.Row
                for pragma in (*PRAGMAS, *pragmas):
                    raw.execute(f"PRAGMA {pragma}")
        except BlockingIOError:
            lock.seek(0)
            owner = f"process {pid}" if (pid := lock.read().strip()).isdigit() else "another process"
            raise SettingError(
                f"DB is a SQLite file in use by {owner}; set DB=postgresql://… (and REDIS_URL) to run several"
            ) from None
        except OSError as error:
            if error.errno in FULL:
                raise database_full() from error
            raise SettingError(f"DB cannot be opened at {self._path}: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            if not UNUSABLE.match(error_name(error)) and (known := _translate(error)):
                raise known from error
            raise SettingError(f"DB cannot be opened at {self._path}: {error}") from error

    def close(self) -> None:
        """Close the reader first, so that the last checkpoint is the writer's; release the lock last."""
        self._reader.thread.shutdown()
        self._opened.close()
        self._writer.thread.shutdown(wait=False)


@functools.cache
def only_reads(sql: str) -> bool:
    """Whether the statement may go to the connection that cannot write; False in doubt."""
    return bool(re.match(r"\s*(SELECT|WITH)\b", sql)) and not re.search(r"\b(INSERT|UPDATE|DELETE)\b", sql)


def error_name(error: sqlite3.Error) -> str:
    """SQLite's name for the error; empty for a complaint of the driver's own, such as a missing parameter: a bug."""
    return str(getattr(error, "sqlite_errorname", ""))


def _translate(error: sqlite3.Error) -> PicassoError | None:
    """Our error for SQLite's; None for a bug."""
    name = error_name(error)
    if kind := VIOLATIONS.get(name):
        return Violation(kind)
    if name == "SQLITE_FULL":
        return database_full()
    if DAMAGED.match(name):
        return database_damaged(error)
    return database_unavailable() if UNAVAILABLE.match(name) else None
