"""BUCKET: a directory, whose objects are files, written whole or not at all; or S3 (`s3.py`)."""

import asyncio
import contextlib
import importlib
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.bindings.files import ABSENT, Files, folder_of
from app.settings import SettingError, Settings
from tools.env import Bucket, StoredObject
from tools.errors import Conflict, Invalid

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*")
"""No part of a key opens with a dot, so none leads upwards or hides from a listing."""
MAX_KEY = 512
CHUNK = 64 << 10


@contextlib.asynccontextmanager
async def open_bucket(settings: Settings) -> AsyncIterator[Bucket]:
    """The bucket that `BUCKET` names.

    Fails: SettingError for an address that cannot be used · Unavailable when the bucket does not answer yet.
    """
    async with await _open(settings) as bucket:
        yield bucket


async def _open(settings: Settings) -> contextlib.AbstractAsyncContextManager[Bucket]:
    if settings.bucket.startswith("s3://"):
        # boto3: half a second and 50 MB that a directory does without.
        await asyncio.to_thread(importlib.import_module, "app.bindings.bucket.s3")
        from app.bindings.bucket.s3 import S3

        return S3.open(settings.bucket, settings.s3_keys)
    if not settings.bucket.startswith("file:///"):
        raise SettingError("BUCKET must be file:///PATH or s3://NAME?endpoint=https://…&region=…")
    return Directory.open(folder_of(settings.bucket))


class Directory:
    """Files below one folder. The content type of an object lives in the row that names it."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path) -> AsyncIterator["Directory"]:
        async with Files.open(root, "bucket") as files:
            yield cls(files)

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        try:
            await self._files.replace(self._path(key), data)
        except (*ABSENT, FileExistsError):
            raise _in_the_way() from None

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        path = self._path(key)
        try:
            await self._files.create(path, data)
        except ABSENT:
            raise _in_the_way() from None
        except FileExistsError:
            if not await self._files.call(_holds, path, data):
                raise Conflict("other bytes are already stored under this key", code="write_once") from None

    async def get(self, key: str) -> bytes:
        return await self._files.read(self._path(key))

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        file, chunk = await self._files.open_read(self._path(key), CHUNK)
        with contextlib.closing(file):
            while chunk:
                yield chunk
                # Files are written whole: what is less than was asked for is the end.
                chunk = await self._files.call(file.read, CHUNK) if len(chunk) == CHUNK else b""

    async def head(self, key: str) -> StoredObject | None:
        return await self._files.call(_stored, self._files.root, self._path(key))

    async def delete(self, key: str) -> None:
        with contextlib.suppress(*ABSENT):
            await self._files.call(os.unlink, self._path(key))

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        for stored in await self._files.call(_list, self._files.root, check_prefix(prefix)):
            yield stored

    async def ping(self) -> None:
        await self._files.ping()

    def _path(self, key: str) -> Path:
        return self._files.root / check_key(key)


def check_key(key: str) -> str:
    """The key as it is. Fails: Invalid (`bad_key`)."""
    if len(key) > MAX_KEY or not KEY.fullmatch(key):
        raise Invalid("not a key of BUCKET", code="bad_key", status=400)
    return key


def check_prefix(prefix: str) -> str:
    """The beginning of keys as it is. Fails: Invalid (`bad_key`)."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def _in_the_way() -> Conflict:
    return Conflict("an object's key cannot be the folder of another", code="bad_key")


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file is these bytes; it then counts as written now, so that no sweep takes it for forgotten."""
    if not path.is_file() or path.read_bytes() != data:
        return False
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
    return True


def _stored(root: Path, path: Path) -> StoredObject | None:
    try:
        found = path.stat()
    except ABSENT:
        return None
    if not path.is_file():
        return None
    return StoredObject(path.relative_to(root).as_posix(), found.st_size, found.st_mtime_ns // 1_000_000)


def _list(root: Path, prefix: str) -> list[StoredObject]:
    keys = []
    for folder, _, names in os.walk(root / prefix.rpartition("/")[0]):
        base = Path(folder).relative_to(root).as_posix()
        keys += [name if base == "." else f"{base}/{name}" for name in names]
    found = (_stored(root, root / key) for key in sorted(keys) if key.startswith(prefix) and KEY.fullmatch(key))
    return [stored for stored in found if stored]
