import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from app.bindings.images import directory, open_images
from app.bindings.images.directory import LocalImages
from app.settings import SettingError
from tests.support.environment import settings
from tests.support.files.images import encoded, textured
from tools.errors import Invalid, NotFound, Unavailable
from tools.media.variants import Format, parse

MASTER = encoded(textured(300, 200), "WEBP")


@pytest.fixture(scope="module", autouse=True)
async def one_loop() -> AsyncIterator[None]:
    """One event loop, and with it the same children, for the whole module."""
    yield


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalImages]:
    async with LocalImages.open(tmp_path / "images") as opened:
        await opened.put("image-1", MASTER, mime="image/webp")
        yield opened


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "images" / "im" / "image-1").iterdir())


async def test_a_delivery_image_gets_its_path(local: LocalImages) -> None:
    """Putting returns the path that rows keep; putting the id again succeeds and the first image stays."""
    url = await local.put("image-2", MASTER, mime="image/webp")
    assert url == "/images/image-2/public"
    assert await local.put("image-2", b"other", mime="image/webp") == url
    assert (await local.rendition("image-2", parse("thumb"), "webp")).data


async def test_a_variant_is_made_once_and_then_read(local: LocalImages, tmp_path: Path) -> None:
    """However many ask at once, even more than may wait for variants, one makes it and all are answered alike."""
    many = range(directory.WAITING + 20)
    answers = await asyncio.gather(*(local.rendition("image-1", parse("thumb"), "avif") for _ in many))
    assert len({answer.etag for answer in answers}) == 1
    assert files(tmp_path) == ["master", "thumb.avif"]
    written = (tmp_path / "images/im/image-1/thumb.avif").stat().st_mtime_ns
    again = await local.rendition("image-1", parse("thumb"), "avif")
    assert again == answers[0]
    assert (tmp_path / "images/im/image-1/thumb.avif").stat().st_mtime_ns == written


@pytest.mark.parametrize("encoding", ["avif", "webp", "jpeg"])
async def test_a_variant_is_answered_in_its_format(local: LocalImages, encoding: Format) -> None:
    """Named and free variants come in each of the three formats."""
    for text, size in (("public", (300, 200)), ("thumb", (256, 171)), ("w=30,h=30,fit=cover", (30, 30))):
        image = Image.open(io.BytesIO((await local.rendition("image-1", parse(text), encoding)).data))
        assert (image.format, image.size) == (encoding.upper(), size)


async def test_nobody_fills_the_disk_with_sizes(local: LocalImages, tmp_path: Path) -> None:
    """Free variants beyond the limit make the oldest go; named ones stay, and the newest is answered."""
    await local.rendition("image-1", parse("thumb"), "webp")
    folder = tmp_path / "images/im/image-1"
    for at in range(directory.CUSTOM_VARIANTS):
        (folder / f"w={1000 + at},fit=cover.webp").write_bytes(b"old")
        os.utime(folder / f"w={1000 + at},fit=cover.webp", (1000 + at, 1000 + at))
    assert (await local.rendition("image-1", parse("w=7"), "webp")).data
    free = [name for name in files(tmp_path) if "=" in name]
    assert len(free) == directory.CUSTOM_VARIANTS and "w=7,fit=scale-down.webp" in free
    assert "w=1000,fit=cover.webp" not in free and "w=1001,fit=cover.webp" in free
    assert {"master", "thumb.webp"} < set(files(tmp_path))


async def test_nobody_fills_the_disk_with_large_sizes(local: LocalImages, tmp_path: Path) -> None:
    """The bytes of free variants are bounded too."""
    folder = tmp_path / "images/im/image-1"
    for at in range(4):
        with (folder / f"w={1000 + at},fit=pad.webp").open("wb") as file:
            file.truncate(directory.CUSTOM_BYTES // 2 - 1000)
        os.utime(folder / f"w={1000 + at},fit=pad.webp", (at, at))
    await local.rendition("image-1", parse("w=8"), "webp")
    assert [name for name in files(tmp_path) if "=" in name] == [
        "w=1002,fit=pad.webp",
        "w=1003,fit=pad.webp",
        "w=8,fit=scale-down.webp",
    ]


async def test_too_many_variants_at_once_are_refused(local: LocalImages) -> None:
    """Beyond the queue's length a request is refused with a time to retry, and those in the queue are served."""
    wanted = [parse(f"w={1 + at}") for at in range(directory.WAITING + 4)]
    ends = await asyncio.gather(
        *(local.rendition("image-1", variant, "jpeg") for variant in wanted), return_exceptions=True
    )
    refused = [end for end in ends if isinstance(end, BaseException)]
    assert len(refused) == 4
    assert all(isinstance(end, Unavailable) and end.code == "images_busy" for end in refused)


async def test_unknown_images_are_not_found(local: LocalImages, tmp_path: Path) -> None:
    """An id without a master has no variants, and asking for one leaves no trace."""
    with pytest.raises(NotFound):
        await local.rendition("unknown", parse("thumb"), "webp")
    assert not (tmp_path / "images" / "un").exists()


@pytest.mark.parametrize("image_id", ["", ".", "..", "../a", "a/b", "a.b", "a\0", "ä", "a" * 129, ".writing"])
async def test_ids_cannot_leave_the_folder(local: LocalImages, image_id: str) -> None:
    """An id that is not a plain word is Invalid at every door."""
    doors = (
        local.put(image_id, b"", mime="image/webp"),
        local.delete(image_id),
        local.rendition(image_id, parse("thumb"), "webp"),
    )
    for door in doors:
        with pytest.raises(Invalid):
            await door


async def test_a_deleted_image_is_gone_with_its_variants(local: LocalImages, tmp_path: Path) -> None:
    """After a delete nothing of the image is answered, and deleting again is fine."""
    await local.rendition("image-1", parse("thumb"), "webp")
    await local.delete("image-1")
    await local.delete("image-1")
    with pytest.raises(NotFound):
        await local.rendition("image-1", parse("thumb"), "webp")
    assert not (tmp_path / "images/im/image-1").exists()


async def test_settings_choose_the_images(tmp_path: Path) -> None:
    """`file:///` opens a folder; what is no such address is refused by name."""
    async with open_images(settings(tmp_path, PUBLIC_URL="https://picasso.test/")) as opened:
        assert await opened.put("a", MASTER, mime="image/webp") == "/images/a/public"
        await opened.ping()
    with pytest.raises(SettingError, match=r"^IMAGES .*cloudflare"):
        async with open_images(settings(tmp_path, IMAGES="file://host/folder")):
            pass
