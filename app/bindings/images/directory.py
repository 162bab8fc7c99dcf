"""IMAGES: a directory, with delivery images as they were put and the variants that were asked of them; or Cloudflare
Images (`cloudflare.py`)."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from weakref import WeakValueDictionary

import httpx
import msgspec

from app.bindings.files import ABSENT, Files, folder_of
from app.bindings.images import cloudflare
from app.bindings.images.cloudflare import CloudflareImages
from app.settings import SettingError, Settings
from tools.env import Images
from tools.errors import Invalid, NotFound, Unavailable
from tools.media import pixels
from tools.media.sandbox import PLACES, in_child
from tools.media.variants import Format, Variant

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
MASTER = "master"
CUSTOM_VARIANTS = 64
CUSTOM_BYTES = 32 << 20
"""How many free variants of one image are kept, and their bytes in all; the oldest make room and are made again
when somebody asks."""
WAITING = 64
"""Variants in the making at once, those that wait in line included."""
VARIANT_SECONDS = 30.0


@contextlib.asynccontextmanager
async def open_images(settings: Settings) -> AsyncIterator[Images]:
    """The delivery images that `IMAGES` names.

    Fails: SettingError for an address that cannot be used.
    """
    if settings.images.startswith("file:///"):
        async with LocalImages.open(folder_of(settings.images), settings.public_url) as images:
            yield images
    else:
        async with _cloudflare(settings) as hosted:
            yield hosted


@contextlib.asynccontextmanager
async def _cloudflare(settings: Settings) -> AsyncIterator[CloudflareImages]:
    account, account_hash = cloudflare.read_address(settings.images)
    if (token := settings.vendor.get("CLOUDFLARE_API_TOKEN")) is None:
        raise SettingError("CLOUDFLARE_API_TOKEN must be set for IMAGES=cloudflare://…")
    api = settings.vendor.get("CLOUDFLARE_BASE_URL", cloudflare.API).rstrip("/")
    deadlines = httpx.Timeout(cloudflare.CALL_SECONDS, connect=cloudflare.CONNECT_SECONDS)
    async with httpx.AsyncClient(
        base_url=f"{api}/accounts/{account}/images",
        headers={"Authorization": f"Bearer {token}"},
        timeout=deadlines,
        trust_env=False,
        follow_redirects=False,
    ) as http:
        yield CloudflareImages(http, account_hash)


class Rendition(msgspec.Struct, frozen=True):
    """A variant in one format. `etag` is the quoted validator of exactly these bytes."""

    data: bytes
    etag: str


class LocalImages:
    """Each image is a folder: its master, written once, and its variants, each made once and then read."""

    def __init__(self, files: Files, public_url: str) -> None:
        self._files, self._public_url = files, public_url
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        # Half the children stay free for jobs, whatever visitors ask for.
        self._turn = asyncio.Semaphore(max(1, PLACES // 2))
        self._waiting = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, root: Path, public_url: str) -> AsyncIterator["LocalImages"]:
        async with Files.open(root, "images") as files:
            yield cls(files, public_url)

    async def put(self, image_id: str, data: bytes, *, mime: str) -> str:
        with contextlib.suppress(FileExistsError):
            await self._files.create(self._folder(image_id) / MASTER, data)
        return f"{self._public_url}/images/{image_id}/public"

    async def delete(self, image_id: str) -> None:
        await self._files.call(_delete, self._folder(image_id))

    async def ping(self) -> None:
        await self._files.ping()

    async def rendition(self, image_id: str, variant: Variant, encoding: Format) -> Rendition:
        """The variant in that format, made when nobody asked for it before.

        Effect: the variant's file; of free ones the oldest go beyond `CUSTOM_VARIANTS` or `CUSTOM_BYTES`.
        Fails: NotFound · Unavailable (`images_busy`) when `WAITING` variants are in the making.
        """
        folder = self._folder(image_id)
        path = folder / f"{variant.name}.{encoding}"
        with contextlib.suppress(NotFound):
            return await self._read(path)
        async with self._locks.setdefault(path, asyncio.Lock()):
            with contextlib.suppress(NotFound):
                return await self._read(path)
            made = await self._made(folder / MASTER, variant, encoding)
            await self._files.replace(path, made)
            if variant.custom:
                await self._files.call(_make_room, folder, path)
            return await self._files.call(_rendition, made)

    async def _read(self, path: Path) -> Rendition:
        return await self._files.call(_rendition, await self._files.read(path))

    async def _made(self, master: Path, variant: Variant, encoding: Format) -> bytes:
        try:
            await self._files.call(os.stat, master)
        except ABSENT:
            raise NotFound("no such image") from None
        if self._waiting >= WAITING:
            raise Unavailable("too many variants are being made", code="images_busy", retry_after=1.0)
        self._waiting += 1
        try:
            async with self._turn:
                data = await self._files.read(master)
                return await in_child(pixels.variant, data, variant, encoding, seconds=VARIANT_SECONDS)
        finally:
            self._waiting -= 1

    def _folder(self, image_id: str) -> Path:
        if not ID.fullmatch(image_id):
            raise Invalid("not the id of an image", code="bad_image_id", status=400)
        return self._files.root / image_id[:2] / image_id


def _rendition(data: bytes) -> Rendition:
    return Rendition(data, f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def _delete(folder: Path) -> None:
    with contextlib.suppress(*ABSENT):
        # The master first: from then on no variant can be made.
        (folder / MASTER).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _make_room(folder: Path, newest: Path) -> None:
    """Unlink the oldest free variants beyond the bounds, never the newest."""
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
