"""Migrates a database to the schema of this version: plain `.sql` files in order of their names, each applied once.

`0002_search.sqlite.sql` is for SQLite only, `0001_init.sql` for both. Applied files are recorded in
`schema_migrations` with their SHA-256. Processes that start at the same time take turns: the process that opens a
SQLite file has it locked, and on PostgreSQL each migration holds an advisory lock for its transaction.
"""

import hashlib
import importlib.resources
import re
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from app.settings import SettingError
from tools.env import Database
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
    """A packaged `.sql` file."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class _Applied(msgspec.Struct, frozen=True):
    name: str
    sha256: str


async def migrate(db: Database) -> list[str]:
    """Apply the packaged migrations that are missing, and return their names.

    Fails: SettingError when an applied file was edited or is unknown here; a failing file changes nothing.
    """
    return await apply(db, packaged("migrations", db.dialect))


async def list_applied(db: Database) -> list[Migration]:
    """The migrations that the database has, in order of their names."""
    return await db.all(LIST_APPLIED, Migration)


async def seed(db: Database) -> int:
    """Insert the packaged rows that are missing, and return their number."""
    return await run_scripts(db, packaged("seed", db.dialect))


async def run_scripts(db: Database, scripts: Sequence[Script]) -> int:
    """Run the scripts in one transaction, and return how many rows they changed."""
    async with db.transaction() as tx:
        return sum([await tx.run(one) for script in scripts for one in statements(script.text)])


async def apply(db: Database, scripts: Sequence[Script]) -> list[str]:
    """Apply the scripts that are missing, each in its transaction, and return their names. Fails: as `migrate`."""
    known = {script.name: script.sha256 for script in scripts}
    applied: list[str] = []
    for script in scripts:
        async with db.transaction() as tx:
            if tx.dialect == "postgresql":
                await tx.run(LOCK_POSTGRESQL)
            await tx.run(LEDGER)
            before = await tx.all(APPLIED, _Applied)
            for row in before:
                if row.name not in known:
                    raise SettingError(f"DB was migrated by a newer version: {row.name} is not known here")
                if row.sha256 != known[row.name]:
                    raise SettingError(f"DB does not fit: {row.name} was edited after it had been applied")
            if script.name in {row.name for row in before}:
                continue
            for one in [script.text] if tx.dialect == "postgresql" else statements(script.text):
                await tx.run(one)
            await tx.run(RECORD, name=script.name, sha256=script.sha256, applied_at=now_ms())
            applied.append(script.name)
    return applied


def packaged(folder: str, dialect: str) -> list[Script]:
    """The packaged `.sql` files of a folder that are for this dialect, in order of their names."""
    files = [file for file in importlib.resources.files(folder).iterdir() if file.name.endswith(".sql")]
    meant = [file for file in files if file.name.split(".")[1:-1] in ([], [dialect])]
    return [Script(file.name, file.read_text("utf-8")) for file in sorted(meant, key=lambda file: file.name)]


def statements(text: str) -> Iterator[str]:
    """The statements of a script one by one, as SQLite runs them; triggers and quoted semicolons are not split."""
    gathered = ""
    for line in text.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""
    if re.sub(r"--[^\n]*", "", gathered).strip():
        yield gathered
