"""BUCKET: a directory. Objects are files, written whole or not at all."""

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from tools.env import Stored
from tools.errors import Conflict, Invalid, NotFound, Unavailable

T = TypeVar("T")
KEY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
CHUNK = 64 << 10


class Directory:
    """Files below one folder. The content type of an object lives in the row that names it."""

    def __init__(self, root: Path, threads: ThreadPoolExecutor) -> None:
        self._root, self._threads = root, threads

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path) -> AsyncIterator["Directory"]:
        with ThreadPoolExecutor(4, thread_name_prefix="bucket") as threads:
            await asyncio.get_running_loop().run_in_executor(threads, _make, root)
            yield cls(root, threads)

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        await self._call(_write, self._path(key), data, os.replace)

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        path = self._path(key)
        try:
            await self._call(_write, path, data, _link)
        except FileExistsError:
            if await self._call(path.read_bytes) != data:
                raise Conflict("other bytes are already stored under this key", code="write_once") from None

    async def get(self, key: str) -> bytes:
        try:
            return await self._call(self._path(key).read_bytes)
        except FileNotFoundError:
            raise NotFound("no such object") from None

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        try:
            file = await self._call(_open, self._path(key))
        except FileNotFoundError:
            raise NotFound("no such object") from None
        try:
            while chunk := await self._call(file.read, CHUNK):
                yield chunk
        finally:
            file.close()

    async def head(self, key: str) -> Stored | None:
        return await self._call(_stored, key, self._path(key))

    async def delete(self, key: str) -> None:
        await self._call(self._path(key).unlink, True)

    async def list(self, prefix: str) -> AsyncIterator[Stored]:
        for stored in await self._call(_list, self._root, prefix):
            yield stored

    async def ping(self) -> None:
        await self._call(self._root.stat)

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key) or ".." in key.split("/") or len(key) > 512:
            raise Invalid("not a key of BUCKET", code="bad_key", status=400)
        return self._root / key

    async def _call(self, act: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, act, *args)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise Unavailable("the bucket did not take the request", code="bucket_unavailable") from error


def _make(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _write(path: Path, data: bytes, place: Callable[[Path, Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    os.link(temporary, path)


def _stored(key: str, path: Path) -> Stored | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return Stored(key, found.st_size, found.st_mtime_ns // 1_000_000)


def _list(root: Path, prefix: str) -> list[Stored]:
    keys = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    found = (_stored(key, root / key) for key in sorted(keys) if key.startswith(prefix))
    return [stored for stored in found if stored]
