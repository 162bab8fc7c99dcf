"""Back up an installation while it runs, and restore it: what is on this machine, in one folder.

Order makes the copy whole without a pause. Redis comes first: it only wakes and nudges, so it may be older than the
database. Then the database, as SQLite's backup API copies it: one moment. The files come last: each was stored before
the row that names it, and none is changed later.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec

from app.bindings.files import WRITING, folder_of
from app.settings import Settings, unquoted
from tools.errors import PicassoError
from tools.rows import now_ms

MANIFEST, DATABASE, KEY, VALKEY = "backup.json", "picasso.db", "api_key", "valkey"
AOF = "appendonlydir"
FORMAT = 1
BUSY_SECONDS = 30.0
"""How long the copy of the database waits for a lock."""
MOST_REWRITES = 10
"""How often Redis may rewrite its file while we copy it."""


class Part(msgspec.Struct, frozen=True):
    """What a backup holds of one part: how many files and bytes."""

    files: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What stands in a backup's `backup.json`. `elsewhere` are the settings whose data is on other machines."""

    format: int
    created_at: int
    version: str
    parts: dict[str, Part]
    elsewhere: list[str]


class BackupError(PicassoError):
    """A backup or a restore that cannot be done."""

    code = "no_backup"


def elsewhere(settings: Settings) -> dict[str, str]:
    """The parts of the installation that are not on this machine, by setting, with what backs them up."""
    found = {
        "DB": None if settings.db.startswith("sqlite:") else "pg_dump, before this command",
        "BUCKET": None if settings.bucket.startswith("file:") else "your storage's own versions or copies",
        "IMAGES": None if settings.images.startswith("file:") else "Cloudflare keeps them",
        "REDIS_URL": None if settings.redis_url is None else "its own append-only file",
        "API_KEY": None if settings.api_key is None else "the environment has it: keep that, too",
    }
    return {name: how for name, how in found.items() if how is not None}


def back_up(settings: Settings, target: Path, stop: threading.Event) -> Manifest:
    """Copy the installation into the folder `target`, which must not be there yet, or be empty. Blocks.

    Effect: the folder, whole or not at all: it is written beside its place and renamed at the end.
    Fails: BackupError · OSError · InterruptedError once `stop` is set.
    """
    database = _database(settings)
    if database is not None and not database.is_file():
        raise BackupError(f"there is no installation at {settings.home}: {database.name} is missing")
    _refuse_full(target)
    work = target.with_name(f".{target.name}.backup")
    with _beside(work):
        parts: dict[str, Part] = {}
        if settings.redis_url is None and (settings.home / VALKEY / AOF).is_dir():
            # It takes no folder that others may read.
            (work / VALKEY).mkdir(mode=0o700)
            _copy_aof(settings.home / VALKEY / AOF, work / VALKEY / AOF, stop)
            parts[VALKEY] = _measure(work / VALKEY)
        if database is not None:
            _copy_database(database, work / DATABASE)
            parts[DATABASE] = Part(1, (work / DATABASE).stat().st_size)
        for name, folder in _folders(settings).items():
            if folder.is_dir():
                _copy_tree(folder, work / name, stop)
            parts[name] = _measure(work / name)
        if settings.api_key is None and (settings.home / KEY).is_file():
            _copy_file(settings.home / KEY, work / KEY)
            parts[KEY] = Part(1, (work / KEY).stat().st_size)
        manifest = Manifest(FORMAT, now_ms(), version("picasso-backend"), parts, list(elsewhere(settings)))
        _write(work / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        _place(work, target)
    return manifest


def restore(settings: Settings, source: Path, stop: threading.Event) -> Manifest:
    """Put a backup into the data directory, and into the folders that DB, BUCKET and IMAGES name. Blocks.

    Effect: the installation; the database is put in its place last, so that a restore that was cut off can be
    repeated.
    Fails: BackupError when there is an installation already, or the backup is not whole · OSError · InterruptedError.
    """
    manifest = _read(source)
    database, home = _database(settings), settings.home
    places = {name: folder for name, folder in _folders(settings).items() if name in manifest.parts}
    if VALKEY in manifest.parts and settings.redis_url is None:
        places[VALKEY] = home / VALKEY
    if KEY in manifest.parts and settings.api_key is None:
        places[KEY] = home / KEY
    if DATABASE in manifest.parts and database is not None:
        places[DATABASE] = database
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    began = home / ".restoring"
    if not began.exists():
        for name, place in places.items():
            if _holds(place):
                raise BackupError(f"there is an installation already: {name} at {place} is not empty")
    elif database is not None and database.exists():
        raise BackupError(f"there is an installation already: {DATABASE} at {database}")
    _write(began, b"")
    for name, place in places.items():
        work = place.with_name(f".{place.name}.restore")
        with _beside(work, make=False):
            if (source / name).is_dir():
                _copy_tree(source / name, work, stop)
            elif name == DATABASE:
                _copy_database(source / name, work)
            else:
                _copy_file(source / name, work)
            if place.is_dir():
                # Ours, of a restore that was cut off, or empty.
                shutil.rmtree(place)
            _place(work, place)
    began.unlink()
    return manifest


def _read(source: Path) -> Manifest:
    """The backup's manifest. Fails: BackupError when the folder is no whole backup."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(f"{source} is no backup: it has no {MANIFEST}") from None
    except msgspec.MsgspecError as error:
        raise BackupError(f"{source} is no backup: its {MANIFEST} cannot be read") from error
    if manifest.format != FORMAT:
        raise BackupError(f"{source} was made by picasso {manifest.version}, whose backups this version cannot read")
    for name, part in manifest.parts.items():
        if (found := _measure(source / name)) != part:
            words = f"{found.files} of {part.files} files, {found.bytes} of {part.bytes} bytes"
            raise BackupError(f"{source} is not whole: {name} has {words}")
    return manifest


def _database(settings: Settings) -> Path | None:
    return unquoted(settings.db.removeprefix("sqlite:///")) if settings.db.startswith("sqlite:") else None


def _folders(settings: Settings) -> dict[str, Path]:
    named = {"bucket": settings.bucket, "images": settings.images}
    return {name: folder_of(address) for name, address in named.items() if address.startswith("file:")}


def _refuse_full(target: Path) -> None:
    if _holds(target):
        raise BackupError(f"{target} is there already; name a folder that is not")


def _holds(place: Path) -> bool:
    return place.exists() and (not place.is_dir() or any(place.iterdir()))


@contextlib.contextmanager
def _beside(work: Path, *, make: bool = True) -> Iterator[None]:
    """A place to write in, gone afterwards, and what a killed process left there gone before."""

    def clear() -> None:
        if work.is_dir():
            shutil.rmtree(work)
        work.unlink(missing_ok=True)

    clear()
    work.parent.mkdir(parents=True, exist_ok=True)
    if make:
        work.mkdir(mode=0o700)
    try:
        yield
    finally:
        clear()


def _place(work: Path, target: Path) -> None:
    """Rename what is complete into its place, and have the disk keep the name."""
    if not work.exists():
        work.mkdir()
    work.replace(target)
    _sync(target.parent)


def _copy_database(path: Path, target: Path) -> None:
    """One moment of the database, whoever writes to it. Fails: BackupError when it cannot be read or is damaged."""
    target.unlink(missing_ok=True)
    try:
        with (
            # A reader neither writes nor checkpoints, so a server may use the file meanwhile.
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise OSError(errno.ENOSPC, "there is no room left", str(target)) from error
        raise BackupError(f"the database at {path} cannot be copied: {error}") from error
    if verdict != "ok":
        raise BackupError(f"the database at {path} is damaged: {verdict}")
    _sync(target)


def _copy_aof(folder: Path, target: Path, stop: threading.Event) -> None:
    """The files that Redis replays at its start. It goes on writing: a last command that was cut off is left out."""
    for _ in range(MOST_REWRITES):
        manifest = _listing(folder)
        shutil.rmtree(target, ignore_errors=True)
        _copy_tree(folder, target, stop)
        if _listing(folder) == manifest:
            return
    raise BackupError("Redis rewrites its file again and again; try once more")


def _listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.manifest"))}


def _copy_tree(folder: Path, target: Path, stop: threading.Event) -> None:
    """Every file of the folder but those that are being written."""
    target.mkdir(exist_ok=True)
    shutil.copymode(folder, target)
    for path in sorted(folder.iterdir()):
        if stop.is_set():
            raise InterruptedError(errno.EINTR, "stopped")
        if path.name == WRITING:
            continue
        # A server that sweeps meanwhile removes what no row names.
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir():
                _copy_tree(path, target / path.name, stop)
            else:
                _copy_file(path, target / path.name)
    _sync(target)


def _copy_file(path: Path, target: Path) -> None:
    shutil.copy2(path, target)
    _sync(target)


def _measure(place: Path) -> Part:
    if not place.is_dir():
        return Part(1, place.stat().st_size) if place.exists() else Part(0, 0)
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    return Part(len(sizes), sum(sizes))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
