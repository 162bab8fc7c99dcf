"""Brings a database to the schema of this version: plain `.sql` files in order of their names, each applied once.

`0002_search.sqlite.sql` is for SQLite alone, `0001_init.sql` for both. What was applied stands in
`schema_migrations` with its SHA-256. Processes that start at once take turns: SQLite's file is locked by whoever
opened it, PostgreSQL has an advisory lock that ends with its transaction.
"""

import hashlib
import importlib.resources
import re
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from app.settings import SettingError
from tools.env import Database, Statements
from tools.rows import now_ms

LOCK_POSTGRESQL = "SELECT pg_advisory_xact_lock(6920281190247133)"
LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    applied_at BIGINT NOT NULL
)
"""
APPLIED = "SELECT name, sha256 FROM schema_migrations"
RECORD = "INSERT INTO schema_migrations (name, sha256, applied_at) VALUES (:name, :sha256, :applied_at)"


LIST_APPLIED = "SELECT name, applied_at FROM schema_migrations ORDER BY name"


class Migration(msgspec.Struct, frozen=True):
    """A migration file that was applied, and when (UTC milliseconds)."""

    name: str
    applied_at: int


class Script(msgspec.Struct, frozen=True):
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class _Applied(msgspec.Struct, frozen=True):
    name: str
    sha256: str


async def migrate(db: Database) -> list[str]:
    """Apply what is not yet applied and return those names.

    Fails: SettingError when an applied file was edited or is unknown here; a failing file leaves nothing behind.
    """
    return await apply(db, packaged("migrations", db.dialect))


async def list_applied(db: Database) -> list[Migration]:
    """The migrations that the database has, in order of their names."""
    return await db.all(LIST_APPLIED, Migration)


async def seed(db: Database) -> int:
    """Insert the packaged rows that are absent and return how many were."""
    return await sow(db, packaged("seed", db.dialect))


async def sow(db: Database, scripts: Sequence[Script]) -> int:
    async with db.transaction() as tx:
        return sum([await tx.run(one) for script in scripts for one in statements(script.text)])


async def apply(db: Database, scripts: Sequence[Script]) -> list[str]:
    return [script.name for script in scripts if await _apply(db, script, scripts)]


async def _apply(db: Database, script: Script, scripts: Sequence[Script]) -> bool:
    async with db.transaction() as tx:
        if tx.dialect == "postgresql":
            await tx.run(LOCK_POSTGRESQL)
        await tx.run(LEDGER)
        if script.name in await _applied(tx, scripts):
            return False
        for one in [script.text] if tx.dialect == "postgresql" else statements(script.text):
            await tx.run(one)
        await tx.run(RECORD, name=script.name, sha256=script.sha256, applied_at=now_ms())
        return True


async def _applied(tx: Statements, scripts: Sequence[Script]) -> set[str]:
    known = {script.name: script.sha256 for script in scripts}
    applied = await tx.all(APPLIED, _Applied)
    for row in applied:
        if row.name not in known:
            raise SettingError(f"DB was migrated by a newer version: {row.name} is not known here")
        if row.sha256 != known[row.name]:
            raise SettingError(f"DB does not fit: {row.name} was edited after it had been applied")
    return {row.name for row in applied}


def packaged(folder: str, dialect: str) -> list[Script]:
    """The packaged `.sql` files of a folder that are meant for the dialect, in order of their names."""
    files = [file for file in importlib.resources.files(folder).iterdir() if file.name.endswith(".sql")]
    meant = [file for file in files if file.name.split(".")[1:-1] in ([], [dialect])]
    return [Script(file.name, file.read_text("utf-8")) for file in sorted(meant, key=lambda file: file.name)]


def statements(text: str) -> Iterator[str]:
    """The single statements of a script: SQLite runs one at a time. Triggers and quoted semicolons stay whole."""
    gathered = ""
    for line in text.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""
    if re.sub(r"--[^\n]*", "", gathered).strip():
        yield gathered
