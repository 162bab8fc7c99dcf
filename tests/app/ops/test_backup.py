"""Backups: one moment of a database that is being written, whole folders, and refusals that harm nothing."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.bindings.database import open_database
from app.ops.backup import BackupError, back_up, elsewhere, restore
from app.settings import Settings
from tests.support.environment import settings
from tools.db import count_tips

KEY = "k" * 40


def fill(home: Path) -> Settings:
    """A data directory with a key and a few stored objects; its database is opened by the test."""
    for name in ("bucket/project/p/original", "bucket/.writing/half", "images/79/picture"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    (home / "api_key").write_text(KEY)
    return settings(home)


def names(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


async def test_a_backup_is_one_moment_of_a_database_in_use(tmp_path: Path) -> None:
    """While transactions write two tips each, the copy has both of every pair; files and key come with it, and a
    restore gives the same installation."""
    chosen, written = fill(tmp_path / "home"), asyncio.Event()

    async with open_database(chosen) as database:

        async def write() -> None:
            for number in range(10_000):
                async with database.transaction() as tx:
                    for half in ("a", "b"):
                        key = f"pair.{number}.{half}"
                        await tx.run("INSERT INTO knowledge_base (key, value) VALUES (:key, '{}')", key=key)
                written.set()

        async with asyncio.TaskGroup() as group:
            writing = group.create_task(write())
            await written.wait()
            made = await asyncio.to_thread(back_up, chosen, tmp_path / "copy", threading.Event())
            writing.cancel()
    assert {name: part.files for name, part in made.parts.items()} == {
        "picasso.db": 1, "bucket": 1, "images": 1, "api_key": 1,
    }  # fmt: skip
    other = settings(tmp_path / "other")
    await asyncio.to_thread(restore, other, tmp_path / "copy", threading.Event())
    assert names(other.home) == ["api_key", "bucket/project/p/original", "images/79/picture", "picasso.db"]
    with contextlib.closing(sqlite3.connect(other.home / "picasso.db")) as copy:
        pairs = copy.execute(
            "SELECT count(*) FROM knowledge_base WHERE key LIKE 'pair.%' GROUP BY substr(key, 1, length(key) - 2)"
        )
        assert {count for (count,) in pairs} == {2}
    async with open_database(other) as database:
        assert await count_tips(database) > 2


async def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    """No backup over another, none of nothing, no restore of half a backup or into an installation."""
    chosen, go = fill(tmp_path / "home"), threading.Event()
    with pytest.raises(BackupError, match=r"picasso\.db is missing"):
        back_up(chosen, tmp_path / "copy", go)
    async with open_database(chosen):
        pass
    back_up(chosen, tmp_path / "copy", go)
    back_up(chosen, tmp_path / "half", go)
    (tmp_path / "half" / "bucket" / "project" / "p" / "original").unlink()
    before = names(tmp_path)
    refusals: list[tuple[str, Callable[[], object], str]] = [
        ("a backup that is there", lambda: back_up(chosen, tmp_path / "copy", go), "is there already"),
        ("no backup", lambda: restore(settings(tmp_path / "new"), tmp_path / "home", go), r"has no backup\.json"),
        (
            "half a backup",
            lambda: restore(settings(tmp_path / "new"), tmp_path / "half", go),
            "bucket has 0 of 1 files",
        ),
        ("an installation", lambda: restore(chosen, tmp_path / "copy", go), "an installation already"),
    ]
    for name, act, told in refusals:
        with pytest.raises(BackupError, match=told):
            act()
        assert names(tmp_path) == before, name


async def test_what_was_cut_off_leaves_nothing_half(tmp_path: Path) -> None:
    """An interrupted backup leaves no folder; an interrupted restore no database, and it can be repeated."""
    chosen, cut = fill(tmp_path / "home"), threading.Event()
    async with open_database(chosen):
        pass
    cut.set()
    with pytest.raises(InterruptedError):
        back_up(chosen, tmp_path / "copy", cut)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    back_up(chosen, tmp_path / "copy", threading.Event())
    with pytest.raises(InterruptedError):
        restore(settings(tmp_path / "new"), tmp_path / "copy", cut)
    assert not (tmp_path / "new" / "picasso.db").exists()
    restore(settings(tmp_path / "new"), tmp_path / "copy", threading.Event())
    assert {*names(tmp_path / "new")} == {*names(tmp_path / "copy")} - {"backup.json"}


def test_what_is_elsewhere_is_named(tmp_path: Path) -> None:
    """Whoever keeps parts on other machines is told which, and what backs each up."""
    remote = {"DB": "postgresql://x/y", "BUCKET": "s3://b", "REDIS_URL": "redis://r", "API_KEY": KEY}
    assert elsewhere(settings(tmp_path)) == {}
    assert [*elsewhere(settings(tmp_path, **remote))] == ["DB", "BUCKET", "REDIS_URL", "API_KEY"]
