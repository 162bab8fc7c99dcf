"""IMAGES as a directory: delivery images as they were put, and the variants that somebody asked for."""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec

from app.bindings.files import ABSENT, Files
from app.bindings.images import check_image_id
from tools.errors import NotFound, Unavailable
from tools.media import pixels
from tools.media.sandbox import CHILDREN, run_in_child
from tools.media.variants import Format, Variant
from tools.publishing.addresses import image_path

MASTER = "master"
CUSTOM_VARIANTS = 64
CUSTOM_BYTES = 32 << 20
"""How many custom variants (`w=…,h=…,fit=…`) of one image are kept, and their bytes in all; the oldest are deleted
and made again when somebody asks."""
WAITING = 64
"""Variants in the making at once, including those that wait for a child process."""
VARIANT_SECONDS = 30.0


class Rendition(msgspec.Struct, frozen=True):
    """A variant in one format. `etag` is the quoted validator of exactly these bytes."""

    data: bytes
    etag: str


class LocalImages:
    """Each image is a folder: its master, written once, and its variants, each made once and then read."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        # Half the child processes stay free for jobs, whatever visitors ask for.
        self._children = asyncio.Semaphore(max(1, CHILDREN // 2))
        self._waiting = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path) -> AsyncIterator["LocalImages"]:
        """Fails: SettingError when the folder cannot be used · Unavailable while the disk is full."""
        async with Files.open(root, "images") as files:
            yield cls(files)

    async def put(self, image_id: str, data: bytes, *, mime: str) -> str:
        """Store the image, unless the id has one, and return its path."""
        with contextlib.suppress(FileExistsError):
            await self._files.create(self._folder(image_id) / MASTER, data)
        return image_path(image_id)

    async def delete(self, image_id: str) -> None:
        """Remove the image and its variants, if there are any."""
        folder = self._folder(image_id)

        def remove() -> None:
            with contextlib.suppress(*ABSENT):
                # The master first: from then on no variant can be made.
                (folder / MASTER).unlink()
            shutil.rmtree(folder, ignore_errors=True)

        await self._files.call(remove)

    async def ping(self) -> None:
        """Fails: Unavailable when the folder is gone or cannot be written."""
        await self._files.ping()

    async def rendition(self, image_id: str, variant: Variant, encoding: Format) -> Rendition:
        """The variant in that format, made when nobody asked for it before.

        Effect: the variant's file; the oldest custom ones beyond `CUSTOM_VARIANTS` or `CUSTOM_BYTES` are deleted.
        Fails: NotFound · Unavailable (`images_busy`) when `WAITING` variants are in the making.
        """
        folder = self._folder(image_id)
        path = folder / f"{variant.name}.{encoding}"
        with contextlib.suppress(NotFound):
            return await self._rendition(await self._files.read(path))
        async with self._locks.setdefault(path, asyncio.Lock()):
            with contextlib.suppress(NotFound):
                return await self._rendition(await self._files.read(path))
            made = await self._make(folder / MASTER, variant, encoding)
            await self._files.replace(path, made)
            if variant.custom:
                await self._files.call(_make_room, folder, path)
            return await self._rendition(made)

    async def _rendition(self, data: bytes) -> Rendition:
        digest = await self._files.call(hashlib.sha256, data)
        return Rendition(data, f'"{digest.hexdigest()[:32]}"')

    async def _make(self, master: Path, variant: Variant, encoding: Format) -> bytes:
        try:
            await self._files.call(os.stat, master)
        except ABSENT:
            raise NotFound("no such image") from None
        if self._waiting >= WAITING:
            raise Unavailable("too many variants are being made", code="images_busy", retry_after=1.0)
        self._waiting += 1
        try:
            async with self._children:
                data = await self._files.read(master)
                return await run_in_child(pixels.variant, data, variant, encoding, seconds=VARIANT_SECONDS)
        finally:
            self._waiting -= 1

    def _folder(self, image_id: str) -> Path:
        return self._files.root / check_image_id(image_id)[:2] / image_id


def _make_room(folder: Path, newest: Path) -> None:
    """Delete the oldest custom variants beyond the bounds, never the newest."""
    aged: list[tuple[int, int, Path]] = []
    for path in folder.glob("*=*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            aged.append((found.st_mtime_ns, found.st_size, path))
    count = size = 0
    for _, bytes_, path in sorted(aged, key=lambda known: (known[2] == newest, known[0]), reverse=True):
        count, size = count + 1, size + bytes_
        if count > CUSTOM_VARIANTS or (size > CUSTOM_BYTES and path != newest):
            path.unlink(missing_ok=True)
