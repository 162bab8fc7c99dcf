"""Migrations are applied once, whole and in order, by whichever process comes first; seeds never overwrite."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from app.bindings.database import open_database
from app.bindings.database.postgres import Postgres
from app.bindings.database.sqlite import Sqlite
from app.ops.migrate import Script, apply, migrate, packaged, run_scripts, statements
from app.settings import SettingError
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tools.env import Database
from tools.rows import Count, dump

OLD = [
    Script("0001_a.sql", "CREATE TABLE a (id TEXT PRIMARY KEY);\nCREATE TABLE b (id TEXT PRIMARY KEY); -- two\n"),
    Script("0002_c.sql", "CREATE TABLE c (id TEXT PRIMARY KEY);"),
]
BROKEN = Script(
    "0003_d.sql", "CREATE TABLE d (id TEXT);\nINSERT INTO a (id) VALUES ('x');\nINSERT INTO nowhere VALUES (1);\n"
)


class Applied(msgspec.Struct, frozen=True):
    name: str
    sha256: str
    applied_at: int


@pytest.fixture
async def db(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    opened = (
        Postgres.open(database_url)
        if database_url.startswith("postgresql")
        else Sqlite.open(Path(database_url.removeprefix("sqlite:///")))
    )
    async with opened as db:
        yield db


async def count(db: Database, table: str) -> int:
    found = await db.one(f"SELECT COUNT(*) AS n FROM {table}", Count)
    assert found is not None
    return found.n


async def test_the_packaged_migrations_are_applied_once(db: Database) -> None:
    """The first run names every file of its dialect in order, the second none, and their SHA-256 are recorded."""
    files = packaged("migrations", db.dialect)
    assert [file.name for file in files][:2] == ["0001_init.sql", f"0002_search.{db.dialect}.sql"]
    assert await migrate(db) == [file.name for file in files]
    assert await migrate(db) == []
    recorded = await db.all("SELECT * FROM schema_migrations ORDER BY name", Applied)
    assert [(row.name, row.sha256) for row in recorded] == [
        (file.name, hashlib.sha256(file.text.encode()).hexdigest()) for file in files
    ]


OLD_NOTE = "Not judged, because it cannot be measured: cat, boat."
ABOUT = "Judged by the built-in judge: it measures pixels and does not recognise objects."


class Judged(msgspec.Struct, frozen=True):
    id: str
    ai_notes: str
    coverage: float | None
    text: str


async def test_what_the_built_in_judge_never_judged_is_forgotten(db: Database) -> None:
    """Earlier verdicts of the built-in judge get the coverage 0; what it did not judge is no note and no search hit."""
    files = packaged("migrations", db.dialect)
    later = next(at for at, file in enumerate(files) if file.name.startswith("0012_"))
    await apply(db, files[:later])
    await db.run("INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'P', 1, 1)")
    for id, notes in (("built-in", [ABOUT, "Red is visible: no.", OLD_NOTE]), ("model", ["No cat."])):
        await db.run(
            """
            INSERT INTO image_progressions (id, project_id, prompt, generated_image_url, original_image_r2_key,
                ai_provider, ai_notes, ai_tags, judgment, judge_status, created_at, edge, width, height, sha256)
            VALUES (:id, 'p', 'a red thing', 'u', 'k', 'sketch', :notes, '["red"]', 'pass', 'ok', 1, 'generate', 1, 1,
                :sha256)
            """,
            id=id,
            notes=dump(notes),
            sha256="0" * 64,
        )
        text = "\x1f".join(["a red thing", *(note.lower() for note in notes), "red"])
        more = ("words", "CAST('' AS TSVECTOR)") if db.dialect == "postgresql" else ("number", "NULL")
        await db.run(
            f"INSERT INTO progression_search (progression_id, project_id, created_at, text, {more[0]}) "
            f"VALUES (:id, 'p', 1, :text, {more[1]})",
            id=id,
            text=text.replace("thing", "fox’s “thing”"),
        )
        await db.run("INSERT INTO progression_tags (progression_id, tag) VALUES (:id, 'Red'), (:id, 'red')", id=id)
    await apply(db, files)
    assert await count(db, "progression_tags") == 2
    found = await db.all(
        "SELECT p.id, p.ai_notes, p.coverage, s.text FROM image_progressions AS p "
        "JOIN progression_search AS s ON s.progression_id = p.id ORDER BY p.id",
        Judged,
    )
    assert [(row.id, msgspec.json.decode(row.ai_notes), row.coverage) for row in found] == [
        ("built-in", [ABOUT, "Red is visible: no."], 0.0),
        ("model", ["No cat."], None),
    ]
    assert [row.text.replace("\x1f", "|") for row in found] == [
        'a red fox\'s "thing"||red is visible: no.|red',
        'a red fox\'s "thing"|no cat.|red',
    ]


async def test_a_later_file_is_applied_to_an_older_database(db: Database) -> None:
    """Only what is new is applied."""
    assert await apply(db, OLD[:1]) == ["0001_a.sql"]
    assert await apply(db, OLD) == ["0002_c.sql"]
    assert await count(db, "b") == await count(db, "c") == 0


async def test_an_edited_file_is_refused(db: Database) -> None:
    """A file that changed after it was applied is an error that names it, and nothing new is applied."""
    await apply(db, OLD[:1])
    edited = Script("0001_a.sql", OLD[0].text + "-- harmless?\n")
    with pytest.raises(SettingError, match=r"0001_a\.sql was edited"):
        await apply(db, [edited, OLD[1]])
    assert await apply(db, OLD) == ["0002_c.sql"]


async def test_a_database_of_a_newer_version_is_refused(db: Database) -> None:
    """An applied file that this version does not know is an error that names it."""
    await apply(db, OLD)
    with pytest.raises(SettingError, match=r"newer version: 0002_c\.sql"):
        await apply(db, OLD[:1])


async def test_a_failing_file_leaves_nothing_behind(db: Database) -> None:
    """The failure is loud, the file's tables and rows are gone, and mending the file is enough."""
    await apply(db, OLD)
    with pytest.raises(Exception, match="nowhere"):
        await apply(db, [*OLD, BROKEN])
    assert await count(db, "a") == 0
    assert await apply(db, [*OLD, Script("0003_d.sql", "CREATE TABLE d (id TEXT);")]) == ["0003_d.sql"]


async def test_seeds_fill_only_what_is_absent(db: Database) -> None:
    """Seeding again inserts nothing, restores what was deleted and leaves what an operator changed."""
    await apply(db, OLD)
    seeds = [
        Script("a.sql", "-- tips; two\nINSERT INTO a (id) VALUES ('x;y'), ('z') ON CONFLICT DO NOTHING;\n-- end\n")
    ]
    assert await run_scripts(db, seeds) == 2
    assert await run_scripts(db, seeds) == 0
    await db.run("DELETE FROM a WHERE id = 'z'")
    assert await run_scripts(db, seeds) == 1


OPEN = """
import asyncio, sys
from app.bindings.database.postgres import Postgres
from app.ops.migrate import migrate

async def main():
    async with Postgres.open(sys.argv[1]) as db:
        print("ready", flush=True)
        sys.stdin.readline()
        print(*await migrate(db), flush=True)

asyncio.run(main())
"""


async def test_four_processes_at_once_apply_each_file_once(postgres_url: str) -> None:
    """Started together on one PostgreSQL, each file is applied by exactly one of them and none fails."""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", OPEN, postgres_url, stdin=pipe, stdout=pipe)
        for _ in range(4)
    ]
    async with asyncio.timeout(LONG):
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 4
    applied = [name for out, _ in told for name in out.decode().split()]
    assert sorted(applied) == [file.name for file in packaged("migrations", "postgresql")]


async def test_opening_migrates_and_seeds(database_url: str, tmp_path: Path) -> None:
    """An opened database has the schema and the packaged seeds, however often it was opened."""
    for _ in range(2):
        async with open_database(settings(tmp_path, DB=database_url)) as db:
            assert await migrate(db) == []
            assert await run_scripts(db, packaged("seed", db.dialect)) == 0
            assert await count(db, "projects") == 0


def test_a_script_is_split_where_its_statements_end() -> None:
    """Semicolons in quotes, comments and triggers end nothing."""
    script = """-- one; two
CREATE TABLE a (id TEXT DEFAULT ';'); -- trailing; comment
CREATE TRIGGER t BEFORE UPDATE ON a
BEGIN SELECT RAISE(ABORT, 'no; never'); END;
INSERT INTO a VALUES ('it''s;
here');
"""
    split = list(statements(script))
    assert [part.lstrip("- onetw;\n").split()[:2] for part in split] == [
        ["CREATE", "TABLE"],
        ["CREATE", "TRIGGER"],
        ["INSERT", "INTO"],
    ]
    assert "".join(split) == script
