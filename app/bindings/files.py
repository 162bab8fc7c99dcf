"""Files below one folder, for bindings that live on a disk: written whole or not at all, from threads, in time."""

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
from urllib.parse import unquote, urlsplit

from app.settings import SettingError
from tools.errors import NotFound, Unavailable

T = TypeVar("T")

CALL_SECONDS = 60.0
"""For one write, read or listing on a slow disk."""
THREADS = 4
WRITING = ".writing"
"""Where files are written before they get their names; a binding's own names never open with a dot."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Files:
    """One folder and the threads that work on it. `name` is the binding's, for codes such as `bucket_full`."""

    def __init__(self, root: Path, name: str, threads: ThreadPoolExecutor) -> None:
        self.root, self._name, self._threads = root, name, threads

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path, name: str) -> AsyncIterator["Files"]:
        """Make the folder and sweep what killed writers left; what a living writer is at stays.

        Fails: SettingError when there can be no folder that is written to · Unavailable while the disk is full.
        """
        with ThreadPoolExecutor(THREADS, thread_name_prefix=name) as threads:
            files = cls(root, name, threads)
            await files.call(_prepare, root, name)
            yield files

    async def replace(self, path: Path, data: bytes) -> None:
        """Write the file, or put it in place of the one that is there."""
        await self.call(_write, self.root, path, data, os.replace)

    async def create(self, path: Path, data: bytes) -> None:
        """Write the file; FileExistsError when there is one."""
        await self.call(_write, self.root, path, data, _link)

    async def read(self, path: Path) -> bytes:
        try:
            return await self.call(path.read_bytes)
        except ABSENT:
            raise NotFound("no such object") from None

    async def open_read(self, path: Path, size: int) -> tuple[BinaryIO, bytes]:
        """The file and its first `size` bytes; fewer when it ends there, and then it is closed already."""
        try:
            return await self.call(_open, path, size)
        except ABSENT:
            raise NotFound("no such object") from None

    async def ping(self) -> None:
        """Fails: Unavailable when the folder is gone or must not be written."""
        await self.call(_check, self.root)

    async def call(self, act: Callable[..., T], *args: object) -> T:
        """Run on one of the threads. What is absent or in the way is told as the OSError it is.

        Fails: Unavailable, `…_full` when no byte more fits, else `…_unavailable`.
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
    """The folder that `file:///…` names."""
    return Path(unquote(urlsplit(address).path))


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
            # A writer holds the lock as long as it lives.
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
                raise OSError(errno.EAGAIN, "another process is opening the folder and took this file for a leftover")
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
    # A new name survives a power cut only when its folder has been written too.
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
