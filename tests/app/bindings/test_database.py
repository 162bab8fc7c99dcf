"""The promises of DB, for SQLite and PostgreSQL alike; then those of only one of them."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from app.bindings.database import open_database
from app.bindings.database.postgres import POOL_SIZE, Postgres, numbered
from app.bindings.database.sqlite import Sqlite, only_reads
from app.bindings.files import folder_of
from app.settings import SettingError
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.servers.postgres import Server
from tools.env import Database, Statements
from tools.errors import Unavailable, Violation
from tools.rows import Count

PUT = "INSERT INTO notes (id, n, word) VALUES (:id, :n, :word)"
COUNT = "SELECT COUNT(*) AS n FROM notes"
COUNT_TWINS = "SELECT COUNT(*) AS n FROM twins"
SLOW = {
    "sqlite": "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT MAX(n) AS n FROM c",
    "postgresql": "SELECT CAST(COUNT(pg_sleep(60)) AS BIGINT) AS n",
}


class Note(msgspec.Struct, frozen=True):
    id: str
    n: int | None
    word: str | None
    parts: list[str] | None = None


@pytest.fixture
async def db(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(settings(tmp_path, DB=database_url)) as db:
        await make_tables(db)
        yield db


async def make_tables(db: Database) -> None:
    await db.run("CREATE TABLE notes (id TEXT PRIMARY KEY, n BIGINT CHECK (n >= 0), word TEXT NOT NULL, parts TEXT)")
    await db.run("CREATE TABLE twins (id TEXT PRIMARY KEY REFERENCES notes (id))")


async def count(db: Statements, sql: str = COUNT) -> int:
    found = await db.one(sql, Count)
    assert found is not None
    return found.n


async def put_both(tx: Statements, name: str) -> None:
    await tx.run(PUT, id=name, n=1, word="w")
    await tx.run("INSERT INTO twins (id) VALUES (:id)", id=name)


async def test_what_is_written_is_read_back(db: Database) -> None:
    """Text of any script, whole numbers of 64 bits, NULL and JSON columns come back as they went in."""
    word = "Straße 日本語 🎨 %_\"'\\ \u0301"
    await db.run(
        "INSERT INTO notes (id, n, word, parts) VALUES (:id, :n, :word, :parts)",
        id="a",
        n=2**63 - 1,
        word=word,
        parts='["x", "é"]',
    )
    await db.run(PUT, id="b", n=None, word="")
    rows = await db.all("SELECT * FROM notes ORDER BY id", Note)
    assert rows == [Note("a", 2**63 - 1, word, ["x", "é"]), Note("b", None, "", None)]
    assert await db.one("SELECT * FROM notes WHERE id = :id", Note, id="c") is None


async def test_run_tells_how_many_rows_it_changed(db: Database) -> None:
    """The number is the same on both databases, also for statements that change nothing."""
    await db.many(PUT, [{"id": str(i), "n": i, "word": "w"} for i in range(5)])
    await db.many(PUT, [])
    assert await db.run("UPDATE notes SET word = 'v' WHERE n < 3") == 3
    assert await db.run(PUT + " ON CONFLICT (id) DO NOTHING", id="0", n=9, word="w") == 0
    assert await db.run(PUT + " ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING id", id="0", n=9, word="w") == 1
    assert await db.run("DELETE FROM notes WHERE n > :n", n=2) == 3
    assert await db.run("SELECT 1") == 0
    assert await db.run("CREATE TABLE another (id TEXT)") == 0


async def test_a_transaction_is_all_or_nothing(db: Database) -> None:
    """An error inside leaves nothing behind and comes out as itself, even one that looks like a dead socket."""
    for error in (OSError("a file"), TimeoutError("a fetch"), KeyError("a bug")):
        with pytest.raises(type(error)) as raised:
            async with db.transaction() as tx:
                await put_both(tx, "a")
                raise error
        assert raised.value is error
    assert await count(db) == 0
    async with db.transaction() as tx:
        await put_both(tx, "a")
        assert await count(tx) == 1
    assert await count(db) == await count(db, COUNT_TWINS) == 1


async def test_reading_does_not_wait_for_a_transaction(db: Database) -> None:
    """While a transaction is open, another task reads at once, and only what is committed."""
    async with db.transaction() as tx:
        await tx.run(PUT, id="a", n=1, word="w")
        assert await asyncio.wait_for(asyncio.create_task(count(db)), 1) == 0
    assert await count(db) == 1


async def test_using_the_database_inside_a_transaction_is_refused_at_once(db: Database) -> None:
    """A statement that would wait for its own transaction is an error, and the transaction is rolled back."""
    uses = (
        lambda: count(db),
        lambda: db.run(PUT, id="b", n=1, word="w"),
        lambda: db.many(PUT, [{"id": "b", "n": 1, "word": "w"}]),
    )
    for use in uses:
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with db.transaction() as tx:
                await tx.run(PUT, id="a", n=1, word="w")
                await use()
    assert await count(db) == 0
    await db.run(PUT, id="a", n=1, word="w")


REFUSED = {
    "INSERT INTO notes (id, n, word) VALUES ('a', 1, 'w')": "unique",
    "INSERT INTO twins (id) VALUES ('z')": "foreign_key",
    "DELETE FROM notes": "foreign_key",
    "INSERT INTO notes (id, n, word) VALUES ('b', -1, 'w')": "check",
    "INSERT INTO notes (id, n) VALUES ('b', 1)": "not_null",
    "UPDATE events SET ts = 2": "check",
}


async def test_a_refused_row_is_the_same_error_on_both(db: Database) -> None:
    """Keys, checks and triggers answer Violation with the same kind, inside and outside a transaction."""
    async with db.transaction() as tx:
        await put_both(tx, "a")
        await tx.run("INSERT INTO sessions (id, seq) VALUES ('s', 1)")
        await tx.run("INSERT INTO events (session_id, seq, ts, type, data) VALUES ('s', 1, 1, 'queued', '{}')")
    for sql, kind in REFUSED.items():
        with pytest.raises(Violation) as alone:
            await db.run(sql)
        with pytest.raises(Violation) as inside:
            async with db.transaction() as tx:
                await tx.run(PUT, id="c", n=1, word="w")
                await tx.run(sql)
        assert (alone.value.kind, inside.value.kind) == (kind, kind), sql
    assert await count(db) == 1


async def test_a_transaction_with_a_failed_statement_cannot_be_committed(db: Database) -> None:
    """A caller who catches the error inside the block gets another at the commit, and nothing is stored."""
    for goes_on in (True, False):
        with pytest.raises(RuntimeError, match="has failed"):
            async with db.transaction() as tx:
                await tx.run(PUT, id="a", n=1, word="w")
                with pytest.raises(Violation):
                    await tx.run(PUT, id="a", n=1, word="w")
                if goes_on:
                    await tx.run(PUT, id="b", n=1, word="w")
    assert await count(db) == 0


async def test_a_failed_batch_keeps_nothing(db: Database) -> None:
    """`many` is all or nothing."""
    with pytest.raises(Violation):
        await db.many(PUT, [{"id": "a", "n": 1, "word": "w"}, {"id": "b", "n": -1, "word": "w"}])
    assert await count(db) == 0


async def test_a_bug_is_not_called_an_outage(db: Database) -> None:
    """A statement that can never work is not Unavailable, which would be tried again."""
    with pytest.raises(Exception, match="nowhere") as raised:
        await db.run("SELECT * FROM nowhere")
    assert not isinstance(raised.value, Unavailable)


async def test_tasks_cancelled_anywhere_leave_no_half_transaction(db: Database, rounds: int) -> None:
    """Cancelled once or twice, at any await, transactions are whole or absent and the connection still works."""
    chance = random.Random(7)

    async def write(i: int) -> None:
        async with db.transaction() as tx:
            await put_both(tx, f"{i}-a")
            await put_both(tx, f"{i}-b")

    done = 0
    for i in range(120 * rounds):
        task = asyncio.create_task(write(i))
        for _ in range(chance.choice([1, 1, 2])):
            await wait_turns(chance.randint(0, 14))
            task.cancel()
        done += (await asyncio.gather(task, return_exceptions=True))[0] is None
        if chance.random() < 0.2:
            await asyncio.wait_for(write(-i - 1), LONG)
            done += 1
    assert await count(db) == await count(db, COUNT_TWINS)
    halves = "SELECT 1 FROM notes GROUP BY substr(id, 1, length(id) - 2) HAVING COUNT(*) <> 2"
    assert await count(db, f"SELECT COUNT(*) AS n FROM ({halves}) AS h") == 0
    assert await count(db) >= 2 * done > 0


async def wait_turns(turns: int) -> None:
    """Let the loop turn, now and then long enough for a statement to be under way."""
    for _ in range(turns):
        await asyncio.sleep(0.0002 if turns % 3 else 0)


async def test_no_update_is_lost(db: Database, rounds: int) -> None:
    """600 transactions of 8 tasks, with 4 readers beside them: every one counts and none fails."""
    await db.run(PUT, id="sum", n=0, word="w")
    waits: list[float] = []
    finished = asyncio.Event()

    async def write(who: int) -> None:
        for i in range(75 * rounds):
            started = time.monotonic()
            async with db.transaction() as tx:
                await tx.run("UPDATE notes SET n = n + 1 WHERE id = 'sum'")
                await tx.run(PUT, id=f"{who}-{i}", n=None, word="w")
            waits.append(time.monotonic() - started)

    async def read() -> None:
        while not finished.is_set():
            summed = await db.one("SELECT n FROM notes WHERE id = 'sum'", Count)
            assert summed is not None
            assert await count(db) >= summed.n + 1

    async with asyncio.TaskGroup() as readers:
        for _ in range(4):
            readers.create_task(read())
        async with asyncio.TaskGroup() as writers:
            for who in range(8):
                writers.create_task(write(who))
        finished.set()
    summed = await db.one("SELECT n FROM notes WHERE id = 'sum'", Count)
    assert summed == Count(600 * rounds)
    assert await count(db) == 600 * rounds + 1
    assert statistics.median(waits) < 1


async def test_a_statement_has_a_deadline(database_url: str, tmp_path: Path) -> None:
    """A statement over its time answers Unavailable, and the connection is good again afterwards."""
    url = database_url
    path = Path(url.removeprefix("sqlite:///"))
    opened = Postgres.open(url, 0.3) if url.startswith("postgresql") else Sqlite.open(path, 0.3)
    async with opened as db:
        await make_tables(db)
        with pytest.raises(Unavailable):
            await db.one(SLOW[db.dialect], Count)
        with pytest.raises(Unavailable):
            async with db.transaction() as tx:
                await tx.run(PUT, id="a", n=1, word="w")
                await tx.one(SLOW[tx.dialect], Count)
        assert await count(db) == 0
        await db.ping()


async def test_a_cancelled_statement_is_given_up(db: Database) -> None:
    """Cancelling the caller also stops the statement: the connection is free for the next statement at once."""
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await db.one(SLOW[db.dialect], Count)
        with pytest.raises(TimeoutError):
            async with db.transaction() as tx, asyncio.timeout(0.1):
                await tx.one(SLOW[tx.dialect], Count)
    async with asyncio.timeout(LONG):
        await db.run(PUT, id="a", n=1, word="w")
        assert await count(db) == 1


async def test_a_database_that_is_all_taken_says_so_soon(database_url: str, tmp_path: Path) -> None:
    """With every connection in use, the next caller gets `database_busy` soon; afterwards it works again."""
    url = database_url
    held = POOL_SIZE if url.startswith("postgresql") else 1
    opened = Postgres.open(url) if url.startswith("postgresql") else Sqlite.open(tmp_path / "busy.db", 0.5)
    release, holding = asyncio.Event(), asyncio.Semaphore(0)

    async def hold(db: Database) -> None:
        async with db.transaction():
            holding.release()
            await release.wait()

    async with opened as db, asyncio.TaskGroup() as holders:
        for _ in range(held):
            holders.create_task(hold(db))
        for _ in range(held):
            await holding.acquire()
        with pytest.raises(Unavailable) as raised:
            await db.run("CREATE TABLE late (id TEXT)")
        assert raised.value.code == "database_busy"
        release.set()
        await db.ping()


# SQLite


async def test_a_second_process_on_one_file_is_refused(tmp_path: Path) -> None:
    """The second process gets one line that names the setting to change; when the first has ended the file is free."""
    mine = settings(tmp_path)
    async with open_database(mine):
        with pytest.raises(SettingError, match=r"DB .*set DB=postgresql://"):
            async with open_database(mine):
                pass
        second = subprocess.run([sys.executable, "-c", OPEN, mine.db], capture_output=True, text=True, timeout=LONG)
        assert second.returncode == 78
        assert len(second.stderr.splitlines()) == 1 and f"in use by process {os.getpid()};" in second.stderr
        assert "set DB=postgresql://" in second.stderr
    async with open_database(mine) as db:
        await db.ping()


OPEN = """
import asyncio, sys
from pathlib import Path
from app.bindings.database import open_database
from app.settings import SettingError, read_settings

async def main():
    async with open_database(read_settings({"DB": sys.argv[1]})) as db:
        await db.run("CREATE TABLE IF NOT EXISTS acked (n BIGINT PRIMARY KEY, pair BIGINT NOT NULL)")
        await db.run("CREATE TABLE IF NOT EXISTS twins (n BIGINT PRIMARY KEY)")
        start = int(sys.argv[2])
        for n in range(start, start + 1_000_000):
            async with db.transaction() as tx:
                await tx.run("INSERT INTO acked (n, pair) VALUES (:n, :n)", n=n)
                await tx.run("INSERT INTO twins (n) VALUES (:n)", n=n)
            print(n, flush=True)

try:
    asyncio.run(main())
except SettingError as error:
    print(error, file=sys.stderr)
    sys.exit(78)
"""


async def test_acknowledged_rows_survive_kill_9(tmp_path: Path, rounds: int) -> None:
    """The writer is killed in mid work, again and again: no acknowledged row is lost and no pair is torn."""
    mine, chance, acked = settings(tmp_path), random.Random(5), 0
    for _ in range(3 * rounds):
        acked = await asyncio.to_thread(write_and_kill, mine.db, acked + 1_000, chance.randint(20, 400))
    with sqlite3.connect(tmp_path / "picasso.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    async with open_database(mine) as db:
        assert await count(db, f"SELECT COUNT(*) AS n FROM acked WHERE n = {acked}") == 1
        assert await count(db, "SELECT COUNT(*) AS n FROM acked") == await count(db, COUNT_TWINS)


def write_and_kill(url: str, start: int, after: int) -> int:
    """Let a writer acknowledge `after` rows from `start`, kill it, check what it acknowledged; returns the last
    number."""
    args = [sys.executable, "-c", OPEN, url, str(start)]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        seen = [int(writer.stdout.readline()) for _ in range(after)]
        writer.kill()
        seen += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        kept = {n for (n,) in connection.execute("SELECT n FROM acked WHERE n >= ?", (start,))}
    assert kept >= set(seen)
    return seen[-1]


async def test_a_full_disk_rolls_back_and_recovers(tmp_path: Path) -> None:
    """Without room the whole transaction is refused as `database_full`; with room again, work goes on."""
    async with Sqlite.open(tmp_path / "small.db") as db:
        await make_tables(db)
        await db.run("PRAGMA max_page_count = 12")
        for _ in range(3):
            with pytest.raises(Unavailable) as raised:
                async with db.transaction() as tx:
                    for i in range(100):
                        await tx.run(PUT, id=str(i), n=1, word="w" * 2_000)
            assert raised.value.code == "database_full"
            assert await count(db) == 0
        await db.run("PRAGMA max_page_count = 10000")
        await db.many(PUT, [{"id": str(i), "n": 1, "word": "w" * 2_000} for i in range(100)])
        assert await count(db) == 100


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///a.db?mode=ro", "sqlite://host/a.db"])
async def test_an_address_that_is_no_file_is_refused(tmp_path: Path, url: str) -> None:
    """What SQLite would silently take for something else is refused by the name of the setting."""
    with pytest.raises(SettingError, match=r"^DB must be sqlite:///PATH"):
        async with open_database(settings(tmp_path, DB=url)):
            pass


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Foreign bytes stay as they are, and so does a path that cannot be a folder, or is one."""
    (tmp_path / "photo.png").write_bytes(b"\x89PNG" * 500)
    (tmp_path / "folder").mkdir()
    for name in ("photo.png", "photo.png/picasso.db", "folder"):
        with pytest.raises(SettingError, match=r"^DB cannot be opened"):
            async with Sqlite.open(tmp_path / name):
                pass
    assert (tmp_path / "photo.png").read_bytes() == b"\x89PNG" * 500


async def test_a_damaged_table_is_unavailable_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What reads or writes a table with a broken page is Unavailable, with SQLite's reason in the log; the database
    opens, also when the packaged tips are what is broken."""
    mine = settings(tmp_path)
    async with open_database(mine):
        pass
    file = tmp_path / "picasso.db"
    with contextlib.closing(sqlite3.connect(file)) as raw:
        [size] = raw.execute("PRAGMA page_size").fetchone()
        roots = raw.execute(
            "SELECT rootpage FROM sqlite_master WHERE name IN ('projects', 'knowledge_base')"
        ).fetchall()
    with file.open("r+b") as bytes_of_file:
        for (root,) in roots:
            bytes_of_file.seek((root - 1) * size)
            bytes_of_file.write(b"\xff" * size)
    async with open_database(mine) as db:
        for statement in ("SELECT COUNT(name) AS n FROM projects", "SELECT COUNT(value) AS n FROM knowledge_base"):
            with pytest.raises(Unavailable) as raised:
                await count(db, statement)
            assert raised.value.code == "database_damaged"
        with pytest.raises(Unavailable):
            await db.run("INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'p', 1, 1)")
        assert await count(db, "SELECT COUNT(*) AS n FROM jobs") == 0
    assert "database disk image is malformed" in caplog.text


@pytest.mark.parametrize("name", ["c#1", "50% off", "%41", "what?mode=ro", "a b", "a\nb", "q'\"x", "日"])
async def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The database and the folders of images are in it, and in no other."""
    home = tmp_path / name
    mine = settings(home)
    async with open_database(mine):
        assert (home / "picasso.db").is_file()
    assert (folder_of(mine.bucket), folder_of(mine.images)) == (home / "bucket", home / "images")
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_only_one_connection_writes_or_checkpoints(tmp_path: Path) -> None:
    """A write that took the reader's way is refused; the log stays small while a reader reads."""
    assert only_reads("SELECT 1") and only_reads(" WITH x AS (SELECT 1) SELECT * FROM x")
    assert not any(
        map(only_reads, ("INSERT INTO a", "WITH x AS (SELECT 1) INSERT INTO a", "PRAGMA x", "UPDATE a SET b = 1"))
    )
    async with Sqlite.open(tmp_path / "a.db") as db:
        await make_tables(db)
        assert await db.one("SELECT query_only AS n FROM pragma_query_only", Count) == Count(1)
        for i in range(40):
            await db.many(PUT, [{"id": f"{i}-{k}", "n": 1, "word": "w" * 1_000} for k in range(200)])
            assert await count(db) == 200 * (i + 1)
        assert (tmp_path / "a.db-wal").stat().st_size < 8 << 20


# PostgreSQL


async def test_postgresql_without_fsync_is_refused(postgres_server: Server, postgres_url: str, tmp_path: Path) -> None:
    """A server that may lose acknowledged rows is refused in one line that names the cause."""
    await postgres_server.administer("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    try:
        await until_setting(postgres_server, "off")
        with pytest.raises(SettingError, match=r"^DB .*fsync=off"):
            async with open_database(settings(tmp_path, DB=postgres_url)):
                pass
    finally:
        await postgres_server.administer("ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")
        await until_setting(postgres_server, "on")


async def until_setting(server: Server, fsync: str) -> None:
    """Wait until the server's processes have read their settings again."""
    async with asyncio.timeout(LONG):
        while await server.ask("SHOW fsync") != fsync:
            await asyncio.sleep(0.02)


async def test_a_postgresql_that_is_away_is_unavailable(postgres_server: Server, tmp_path: Path) -> None:
    """Not up, a wrong password or no such database may mend themselves: Unavailable, to be tried again."""
    await postgres_server.administer("CREATE ROLE lodger LOGIN PASSWORD 'right'")
    away = (
        "postgresql://127.0.0.1:1/picasso",
        f"postgresql://postgres@/picasso?host={tmp_path}",
        postgres_server.url("no_such_database"),
        postgres_server.url("postgres", user="lodger:wrong"),
    )
    for url in away:
        with pytest.raises(Unavailable) as raised:
            async with open_database(settings(tmp_path, DB=url)):
                pass
        assert raised.value.code == "database_unavailable"
    async with Postgres.open(postgres_server.url("postgres", user="lodger:right")) as db:
        await db.ping()


async def test_an_address_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A broken address is a setting to mend, and its password is not repeated."""
    with pytest.raises(SettingError, match=r"^DB is not an address") as raised:
        async with open_database(settings(tmp_path, DB="postgresql://me:secret@host:port/picasso")):
            pass
    assert "secret" not in str(raised.value)


async def test_postgresql_without_its_driver_says_what_to_install() -> None:
    """Without the extra `postgres`, the line names it."""
    script = "import sys; sys.modules['asyncpg'] = None\n" + OPEN
    args = [sys.executable, "-c", script, "postgresql://127.0.0.1:1/picasso", "0"]
    told = subprocess.run(args, capture_output=True, text=True, timeout=LONG)
    assert told.returncode == 78
    assert told.stderr.strip() == "DB needs the extra `postgres`: pip install 'picasso-backend[postgres]'"


async def test_a_connection_cut_in_a_transaction_is_unavailable(postgres_server: Server, postgres_url: str) -> None:
    """The cut transaction leaves nothing, and the next one gets a new connection."""
    async with Postgres.open(postgres_url) as db:
        await make_tables(db)
        for _ in range(3):
            with pytest.raises(Unavailable):
                async with db.transaction() as tx:
                    await tx.run(PUT, id="a", n=1, word="w")
                    await postgres_server.administer(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
                    )
                    await tx.run(PUT, id="b", n=1, word="w")
            assert await count(db) == 0


async def test_one_of_two_deadlocked_transactions_goes_on(postgres_url: str) -> None:
    """PostgreSQL ends one of them: that one is Unavailable, so that `@step` does it again."""
    async with Postgres.open(postgres_url) as db:
        await make_tables(db)
        await db.many(PUT, [{"id": name, "n": 0, "word": "w"} for name in "ab"])
        both = asyncio.Barrier(2)

        async def cross(names: str) -> None:
            async with db.transaction() as tx:
                await tx.run("UPDATE notes SET n = n + 1 WHERE id = :id", id=names[0])
                await both.wait()
                await tx.run("UPDATE notes SET n = n + 1 WHERE id = :id", id=names[1])

        ends = await asyncio.gather(cross("ab"), cross("ba"), return_exceptions=True)
        assert [type(end) for end in ends if end] == [Unavailable]
        assert await count(db, "SELECT CAST(SUM(n) AS BIGINT) AS n FROM notes") == 2


async def test_acknowledged_rows_survive_kill_9_of_postgresql(postgres_server: Server, postgres_url: str) -> None:
    """The server is killed under 4 writers; restarted, it has every acknowledged row and the same pool works."""
    async with Postgres.open(postgres_url) as db:
        await make_tables(db)
        acked: list[str] = []

        async def write(who: int) -> None:
            for i in range(100_000):
                async with db.transaction() as tx:
                    await put_both(tx, f"{who}-{i}")
                acked.append(f"{who}-{i}")

        writers = [asyncio.create_task(write(who)) for who in range(4)]
        async with asyncio.timeout(LONG):
            while len(acked) < 300:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(postgres_server.stop, signal.SIGKILL)
        ends = await asyncio.gather(*writers, return_exceptions=True)
        assert [type(end) for end in ends] == [Unavailable] * 4
        await asyncio.to_thread(postgres_server.start)
        kept = {note.id for note in await db.all("SELECT * FROM notes", Note)}
        assert kept >= set(acked)
        assert len(kept) == await count(db, COUNT_TWINS)


def test_named_parameters_become_numbers() -> None:
    """A name used twice is one number; casts and colons inside words stay."""
    assert numbered("a = :x AND b = CAST(:y AS TEXT) OR c = :x") == (
        "a = $1 AND b = CAST($2 AS TEXT) OR c = $1",
        ("x", "y"),
    )
    assert numbered("a::text = 'upload:x'") == ("a::text = 'upload:x'", ())


async def patient(db: Database) -> int:
    while True:
        with contextlib.suppress(Unavailable):
            return await db.run("UPDATE notes SET n = 3 WHERE id = :id", id="a")


async def test_a_statement_frozen_between_its_parts_keeps_no_lock(postgres_url: str) -> None:
    """A client that stops after Parse and before Bind is neither idle nor at work for the server: what it had locked
    is free again all the same, before others give up."""
    async with Postgres.open(postgres_url, seconds=3.0) as db:
        await make_tables(db)
        await db.run(PUT, id="a", n=1, word="w")
        with pytest.raises(Unavailable):
            async with db.transaction() as tx:
                await tx.run("UPDATE notes SET n = 2 WHERE id = :id", id="a")
                await tx._connection.prepare("SELECT COUNT(*) FROM notes")  # type: ignore[attr-defined]
                rival = asyncio.create_task(patient(db))
                async with asyncio.timeout(LONG):
                    assert await rival == 1
                await tx.run("UPDATE notes SET n = 4 WHERE id = :id", id="a")
        assert await db.all("SELECT * FROM notes", Note) == [Note("a", 3, "w")]
