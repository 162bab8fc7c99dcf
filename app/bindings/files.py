"""Files below one folder, for bindings on a disk: atomic writes, on threads, with a deadline for every call."""

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

from app.settings import SettingError, unquoted
from tools.errors import NotFound, Unavailable

T = TypeVar("T")

CALL_SECONDS = 60.0
"""The deadline of one write, read or listing, for a slow disk."""
THREADS = 4
WRITING = ".writing"
"""The folder of unfinished files; a binding's own names never begin with a dot."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Files:
    """One folder and the threads that access it. `name` is the binding's, for codes such as `bucket_full`."""

    def __init__(self, root: Path, name: str, threads: ThreadPoolExecutor) -> None:
        self.root, self._name, self._threads = root, name, threads

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path, name: str) -> AsyncIterator["Files"]:
        """Create the folder and delete unfinished files of killed writers; files of running writers stay.

        Fails: SettingError when the folder cannot be created or written · Unavailable while the disk is full.
        """
        with ThreadPoolExecutor(THREADS, thread_name_prefix=name) as threads:
            files = cls(root, name, threads)
            await files.call(_prepare, root, name)
            yield files

    async def replace(self, path: Path, data: bytes) -> None:
        """Write the file atomically, replacing an existing one."""
        await self.call(_write, self.root, path, data, os.replace)

    async def create(self, path: Path, data: bytes) -> None:
        """Write the file atomically. Fails: FileExistsError when it exists."""
        await self.call(_write, self.root, path, data, _link)

    async def read(self, path: Path) -> bytes:
        """The file's bytes. Fails: NotFound · Unavailable."""
        try:
            return await self.call(path.read_bytes)
        except ABSENT:
            raise NotFound("no such object") from None

    async def open_read(self, path: Path, size: int) -> tuple[BinaryIO, bytes]:
        """The open file and its first `size` bytes; a shorter file is closed already. Fails: NotFound · Unavailable."""
        try:
            return await self.call(_open, path, size)
        except ABSENT:
            raise NotFound("no such object") from None

    async def ping(self) -> None:
        """Check that the folder is usable. Fails: Unavailable when it is gone or not writable."""
        await self.call(_check, self.root)

    async def call(self, act: Callable[..., T], *args: object) -> T:
        """Run `act` on one of the threads. A missing or already existing file is raised as the original OSError.

        Fails: Unavailable, `…_full` when the disk is full, else `…_unavailable`.
        """
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, act, *args)
        except (*ABSENT, FileExistsError):
            raise
        except OSError as error:
            full = error.errno in FULL
            raise Unavailable(
                f"the {self._name} is full" if full else f"the {self._name} did not take the request",
                code=f"{self._name}_full" if full else f"{self._name}_unavailable",
            ) from error


def folder_of(address: str) -> Path:
    """The folder that `file:///…` names, percent-encoded."""
    return unquoted(address.removeprefix("file://"))


def _prepare(root: Path, name: str) -> None:
    try:
        (root / WRITING).mkdir(parents=True, exist_ok=True)
        _check(root)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise SettingError(f"{name.upper()} cannot be used at {root}: {error.strerror}") from error
    for left in (root / WRITING).iterdir():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), left.open("rb") as file:
            # A running writer has the file locked; the kernel releases the lock when it dies.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _write(root: Path, path: Path, data: bytes, place: Callable[[Path, Path], None]) -> None:
    _check(root)
    _make_folder(path.parent)
    temporary = root / WRITING / secrets.token_hex(16)
    try:
        with temporary.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                raise OSError(errno.EAGAIN, "another process opened the folder and deleted this file as a leftover")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            place(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    os.link(temporary, path)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    # A new name survives a power failure only when its folder has been synced too.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(path: Path, size: int) -> tuple[BinaryIO, bytes]:
    with contextlib.ExitStack() as closing:
        file = closing.enter_context(path.open("rb"))
        if len(first := file.read(size)) == size:
            closing.pop_all()
    return file, first


def _check(root: Path) -> None:
    if not os.access(root / WRITING, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "the folder cannot be written")
