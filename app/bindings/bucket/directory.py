"""BUCKET as a directory: each object is a file, written atomically."""

import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.bindings.bucket import CHUNK
from app.bindings.bucket.keys import KEY, check_key, check_prefix
from app.bindings.files import ABSENT, Files
from tools.env import StoredObject
from tools.errors import Conflict


class Directory:
    """Files below one folder. An object's content type is not stored here but in the row that names it."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path) -> AsyncIterator["Directory"]:
        """Open the folder `root`. Fails: SettingError when it cannot be used · Unavailable while the disk is full."""
        async with Files.open(root, "bucket") as files:
            yield cls(files)

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store the object, replacing an existing one. Fails: Invalid · Conflict (`bad_key`) · Unavailable."""
        try:
            await self._files.replace(self._path(key), data)
        except (*ABSENT, FileExistsError):
            raise _key_is_folder() from None

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store the object unless the key is in use; the same bytes again succeed and renew the object's time.

        Fails: Conflict (`write_once`) when the key has other bytes · Invalid · Conflict (`bad_key`) · Unavailable.
        """
        path = self._path(key)

        def has_same_bytes() -> bool:
            if not path.is_file() or path.read_bytes() != data:
                return False
            # Renew the time, so that no sweep takes the object for abandoned.
            os.utime(path, ns=(time.time_ns(), time.time_ns()))
            return True

        try:
            await self._files.create(path, data)
        except ABSENT:
            raise _key_is_folder() from None
        except FileExistsError:
            if not await self._files.call(has_same_bytes):
                raise Conflict("other bytes are already stored under this key", code="write_once") from None

    async def get(self, key: str) -> bytes:
        """The object's bytes. Fails: NotFound · Unavailable."""
        return await self._files.read(self._path(key))

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes in pieces of 64 KiB. Fails: NotFound · Unavailable."""
        file, chunk = await self._files.open_read(self._path(key), CHUNK)
        with contextlib.closing(file):
            while chunk:
                yield chunk
                # Files are written atomically, so a short read is the end.
                chunk = await self._files.call(file.read, CHUNK) if len(chunk) == CHUNK else b""

    async def head(self, key: str) -> StoredObject | None:
        """The object's size and time, or None."""
        return await self._files.call(_stored, self._files.root, self._path(key))

    async def delete(self, key: str) -> None:
        """Remove the object, if there is one."""
        with contextlib.suppress(*ABSENT):
            await self._files.call(os.unlink, self._path(key))

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects whose keys begin with `prefix`, ordered by key. Fails: Invalid · Unavailable."""
        root, prefix = self._files.root, check_prefix(prefix)

        def walk() -> list[StoredObject]:
            keys = []
            for folder, _, names in os.walk(root / prefix.rpartition("/")[0]):
                base = Path(folder).relative_to(root).as_posix()
                keys += [name if base == "." else f"{base}/{name}" for name in names]
            found = (_stored(root, root / key) for key in sorted(keys) if key.startswith(prefix) and KEY.fullmatch(key))
            return [stored for stored in found if stored]

        for stored in await self._files.call(walk):
            yield stored

    async def ping(self) -> None:
        """Check that the folder is usable. Fails: Unavailable when it is gone or cannot be written."""
        await self._files.ping()

    def _path(self, key: str) -> Path:
        return self._files.root / check_key(key)


def _key_is_folder() -> Conflict:
    return Conflict("an object's key cannot be the folder of another", code="bad_key")


def _stored(root: Path, path: Path) -> StoredObject | None:
    try:
        found = path.stat()
    except ABSENT:
        return None
    if not path.is_file():
        return None
    return StoredObject(path.relative_to(root).as_posix(), found.st_size, found.st_mtime_ns // 1_000_000)
