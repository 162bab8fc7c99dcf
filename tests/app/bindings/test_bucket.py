import asyncio
import fcntl
import os
import random
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from app.bindings.bucket import open_bucket
from app.bindings.bucket.directory import Directory
from app.bindings.files import WRITING
from app.settings import SettingError
from tests.support.deadlines import LONG
from tests.support.environment import settings
from tests.support.servers.s3 import open_s3
from tools.env import Bucket
from tools.errors import Conflict, Invalid, NotFound, Unavailable

KEY = "project/p1/jobs/j1/orig/sketch-0"


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    async with Directory.open(tmp_path / "bucket") as opened:
        yield opened


@pytest.fixture(params=["directory", "rclone", "moto"])
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bucket]:
    """The same promises on each implementation."""
    if request.param == "directory":
        async with Directory.open(tmp_path / "bucket") as opened:
            yield opened
    else:
        async with open_s3(request.getfixturevalue(request.param)) as s3:
            yield s3


strict = pytest.mark.parametrize("bucket", ["directory", "moto"], indirect=True)
"""Not on rclone, which ignores `If-None-Match` and cannot tell writers of the same moment apart."""


async def put(bucket: Bucket, key: str, data: bytes) -> None:
    await bucket.put(key, data, content_type="image/png")


async def once(bucket: Bucket, key: str, data: bytes) -> None:
    await bucket.put_once(key, data, content_type="image/png")


async def keys(bucket: Bucket, prefix: str) -> list[str]:
    return [stored.key async for stored in bucket.list(prefix)]


async def test_what_was_put_comes_back(bucket: Bucket) -> None:
    """Get, stream and head agree on the bytes; a second put replaces them."""
    data = random.Random(1).randbytes(200_000)
    await put(bucket, KEY, b"first")
    await put(bucket, KEY, data)
    assert await bucket.get(KEY) == data
    chunks = [chunk async for chunk in bucket.stream(KEY)]
    assert b"".join(chunks) == data and max(map(len, chunks)) <= 64 << 10
    stored = await bucket.head(KEY)
    assert stored is not None and (stored.key, stored.size) == (KEY, len(data))


async def test_an_original_is_written_once(bucket: Bucket) -> None:
    """Other bytes under a write-once key are refused and the first stay; the same bytes are success."""
    await once(bucket, KEY, b"first")
    await once(bucket, KEY, b"first")
    with pytest.raises(Conflict) as caught:
        await once(bucket, KEY, b"other")
    assert caught.value.code == "write_once"
    assert await bucket.get(KEY) == b"first"


@strict
async def test_of_many_writers_at_once_one_wins(bucket: Bucket) -> None:
    """Writers race for one key: exactly one set of bytes is stored, and every other writer gets an error."""
    for at in range(50):
        bodies = [bytes([writer]) * 4096 for writer in range(4)]
        ends = await asyncio.gather(*(once(bucket, f"k/{at}", body) for body in bodies), return_exceptions=True)
        kept = await bucket.get(f"k/{at}")
        assert [end is None for end in ends] == [body == kept for body in bodies]
        assert all(isinstance(end, Conflict) for end in ends if end is not None)


async def test_a_repeated_write_counts_as_new(directory: Directory, tmp_path: Path) -> None:
    """Bytes put again are as young as just written, so that no sweep takes them for forgotten."""
    await once(directory, KEY, b"first")
    os.utime(tmp_path / "bucket" / KEY, (1, 1))
    await once(directory, KEY, b"first")
    stored = await directory.head(KEY)
    assert stored is not None and stored.modified > 1_700_000_000_000


async def test_what_is_not_there_is_not_found(bucket: Bucket) -> None:
    """Absent keys, folders and keys below an object are NotFound, and deleting them is fine."""
    await put(bucket, "a/b", b"x")
    for key in ("a", "b", "a/b/c", "z/z/z"):
        with pytest.raises(NotFound):
            await bucket.get(key)
        with pytest.raises(NotFound):
            _ = [chunk async for chunk in bucket.stream(key)]
        assert await bucket.head(key) is None
        if key != "a":
            await bucket.delete(key)
    await bucket.delete("a/b")
    assert await bucket.head("a/b") is None


async def test_an_object_cannot_be_the_folder_of_another(directory: Directory) -> None:
    """A key below an object, or above one, is a Conflict and harms neither."""
    await put(directory, "a/b", b"x")
    for key in ("a/b/c", "a"):
        with pytest.raises(Conflict):
            await put(directory, key, b"y")
        with pytest.raises(Conflict):
            await once(directory, key, b"y")
    assert await directory.get("a/b") == b"x"


@pytest.mark.parametrize(
    "key",
    (
        *("", "/", "/a", "a/", "a//b", "..", "a/../b", "../a", ".", "./a", "a/.", ".writing/x", "a/.hidden", "a\\b"),
        *("a b", "ä", "a\0b", "a\nb", "%2e%2e", "a" * 256, "a/" * 300 + "a", "a?b", "~", "a:b", "C:\\a", "a\n"),
    ),
)
async def test_keys_cannot_leave_the_folder(directory: Directory, key: str) -> None:
    """A key that could lead elsewhere, or hide, is Invalid at every door."""
    doors = (
        *(directory.get(key), directory.head(key), directory.delete(key)),
        *(put(directory, key, b""), once(directory, key, b"")),
    )
    for door in doors:
        with pytest.raises(Invalid) as caught:
            await door
        assert caught.value.code == "bad_key"


async def test_a_listing_is_in_key_order_and_by_prefix(bucket: Bucket) -> None:
    """A prefix may end anywhere in a key; nothing else is listed, least of all files being written."""
    names = ["a/b", "a/c/d", "a-b", "ab", "b/a"]
    for name in random.Random(3).sample(names, len(names)):
        await put(bucket, name, b"x")
    assert await keys(bucket, "") == sorted(names)
    assert await keys(bucket, "a/") == ["a/b", "a/c/d"]
    assert await keys(bucket, "a/c") == ["a/c/d"]
    assert await keys(bucket, "a") == ["a-b", "a/b", "a/c/d", "ab"]
    assert await keys(bucket, "nothing/") == []
    with pytest.raises(Invalid):
        await keys(bucket, "../")


WRITER = """
import asyncio, sys
from pathlib import Path
from app.bindings.bucket.directory import Directory
async def main():
    async with Directory.open(Path(sys.argv[1])) as bucket:
        for at in range(10**6):
            await bucket.put_once(f"k/{at}", bytes([at % 256]) * 300_000, content_type="image/png")
            print(at, flush=True)
asyncio.run(main())
"""


async def test_a_killed_writer_leaves_whole_objects_and_nothing_else(tmp_path: Path) -> None:
    """After kill -9 every acknowledged object is whole, and what was half written is swept at the next start."""
    root = tmp_path / "bucket"
    process = await anyio.open_process([sys.executable, "-c", WRITER, str(root)], stderr=None)
    assert process.stdout is not None
    acknowledged = b""
    with anyio.fail_after(LONG):
        while acknowledged.count(b"\n") < 20:
            acknowledged += await process.stdout.receive()
    process.send_signal(signal.SIGKILL)
    await process.aclose()
    (root / WRITING / "left").write_bytes(b"half")
    async with Directory.open(root) as bucket:
        assert list((root / WRITING).iterdir()) == []
        stored = await keys(bucket, "k/")
        assert len(stored) >= 20
        for key in stored:
            assert await bucket.get(key) == bytes([int(key[2:]) % 256]) * 300_000


async def test_what_a_living_writer_is_at_is_not_swept(tmp_path: Path) -> None:
    """Another process that opens the same folder leaves a write in progress alone."""
    async with Directory.open(tmp_path):
        with (tmp_path / WRITING / "busy").open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            async with Directory.open(tmp_path):
                assert (tmp_path / WRITING / "busy").exists()


FULL = """
import asyncio, resource, sys
from pathlib import Path
from app.bindings.bucket.directory import Directory
from tools.errors import Unavailable
async def main():
    async with Directory.open(Path(sys.argv[1])) as bucket:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        for put in (bucket.put, bucket.put_once):
            try:
                await put("a/b", bytes(2 << 20), content_type="image/png")
            except Unavailable as error:
                print(error.code)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(await bucket.head("a/b"), list(Path(sys.argv[1], ".writing").iterdir()))
        await bucket.put("a/b", bytes(2 << 20), content_type="image/png")
        print((await bucket.head("a/b")).size)
asyncio.run(main())
"""


async def test_a_full_disk_is_unavailable_and_heals(tmp_path: Path) -> None:
    """No half object, no leftover, one clear error code, and the next write works when there is room."""
    ended = await anyio.run_process([sys.executable, "-c", FULL, str(tmp_path)], stderr=None)
    assert ended.stdout.decode().split("\n") == ["bucket_full", "bucket_full", "None []", str(2 << 20), ""]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


async def test_a_folder_that_went_away_is_unavailable(tmp_path: Path) -> None:
    """A missing volume is reported by ping and by every write, and nothing is written in its place."""
    async with Directory.open(tmp_path / "bucket") as bucket:
        await bucket.ping()
        (tmp_path / "bucket").rename(tmp_path / "moved")
        with pytest.raises(Unavailable) as caught:
            await bucket.ping()
        assert caught.value.code == "bucket_unavailable" and str(tmp_path) not in caught.value.message
        with pytest.raises(Unavailable):
            await put(bucket, KEY, b"x")
        assert not (tmp_path / "bucket").exists()


async def test_settings_choose_the_bucket(tmp_path: Path) -> None:
    """`file:///` opens a folder, also one whose name needs quoting; what is no such address is refused by name."""
    async with open_bucket(settings(tmp_path, BUCKET=f"file://{tmp_path}/with%20space")) as bucket:
        await bucket.put("a", b"x", content_type="text/plain")
    assert (tmp_path / "with space" / "a").read_bytes() == b"x"
    with pytest.raises(SettingError, match=r"^BUCKET "):
        async with open_bucket(settings(tmp_path, BUCKET="file://host/folder")):
            pass
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=rf"^BUCKET cannot be used at {tmp_path}/file/bucket: Not a directory$"):
        async with open_bucket(settings(tmp_path, BUCKET=f"file://{tmp_path}/file/bucket")):
            pass
