"""BUCKET on S3 when the server, the network, or our key fails. What it promises without failures is tested in
`test_bucket.py`, for all implementations alike."""

import asyncio
import gc
import hashlib
import logging
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from app.bindings.bucket import open_bucket
from app.bindings.bucket.s3 import DEADLINES, PART, S3, Deadlines, _connect, read_address
from app.settings import SettingError
from tests.support.deadlines import LONG, until
from tests.support.environment import settings
from tests.support.servers.fault_proxy import FaultProxy, Faults
from tests.support.servers.s3 import KEYS, Counter, S3Server, new_bucket, open_s3, refusal
from tools.env import StoredObject
from tools.errors import Conflict, Invalid, NotFound, PicassoError, Unavailable

KEY = "project/p1/jobs/j1/orig/openai-0"
PICTURE = random.Random(1).randbytes(200_000)
QUICK: dict[str, Any] = {"connect": 0.3, "read": 0.3, "call": 1.5}


@pytest.fixture(scope="module")
def shared(rclone: S3Server) -> str:
    return new_bucket(rclone)


@pytest.fixture
def name(rclone: S3Server, shared: str) -> str:
    """The one bucket of this module, emptied: a client takes its time to be made."""
    for left in (rclone.folder / shared).iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return shared


@pytest.fixture(scope="module")
async def all_counted(rclone: S3Server, shared: str) -> AsyncIterator[tuple[S3, Counter]]:
    async with Counter(rclone.port) as counter, open_s3(rclone, shared, counter.url) as bucket:
        yield bucket, counter


@pytest.fixture
def counter(all_counted: tuple[S3, Counter]) -> Counter:
    """Counts the requests of `watched`, from none."""
    _, counter = all_counted
    counter.script.clear()
    counter.requests.clear()
    return counter


@pytest.fixture
def watched(all_counted: tuple[S3, Counter], name: str, counter: Counter) -> S3:
    return all_counted[0]


@pytest.fixture(scope="module")
async def bad_line(rclone: S3Server, shared: str) -> AsyncIterator[tuple[S3, FaultProxy]]:
    async with (
        FaultProxy("127.0.0.1", rclone.port) as proxy,
        open_s3(rclone, shared, f"http://127.0.0.1:{proxy.port}", **QUICK) as bucket,
    ):
        yield bucket, proxy


@pytest.fixture
def proxy(bad_line: tuple[S3, FaultProxy]) -> FaultProxy:
    _, proxy = bad_line
    proxy.be(Faults())
    proxy.reset_all()
    return proxy


@pytest.fixture
def far(bad_line: tuple[S3, FaultProxy], proxy: FaultProxy, name: str) -> S3:
    """The bucket behind a bad line, with short deadlines."""
    return bad_line[0]


async def put(bucket: S3, key: str = KEY, data: bytes = PICTURE) -> None:
    await bucket.put(key, data, content_type="image/png")


async def once(bucket: S3, key: str = KEY, data: bytes = PICTURE) -> None:
    await bucket.put_once(key, data, content_type="image/png")


async def streamed(bucket: S3, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in bucket.stream(key)])


async def listed(bucket: S3) -> list[StoredObject]:
    return [stored async for stored in bucket.list("")]


CALLS: dict[str, Callable[[S3], Coroutine[Any, Any, Any]]] = {
    "get": lambda bucket: bucket.get(KEY),
    "stream": streamed,
    "head": lambda bucket: bucket.head(KEY),
    "list": listed,
    "put": put,
    "put_once": once,
}


def stored_files(server: S3Server, name: str) -> list[bytes]:
    return [path.read_bytes() for path in (server.folder / name).rglob("*") if path.is_file()]


leaky = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""boto3 leaves an answer whose head it cannot read to the garbage collection, which closes it."""


def damage(file: Path, data: bytes) -> None:
    """As a bad disk would: not a new version of the object, which rclone would take its time for."""
    written = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))


async def ends_of(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Their answers, and the types of their errors."""
    ends = await asyncio.gather(*calls, return_exceptions=True)
    return [type(end) if isinstance(end, BaseException) else end for end in ends]


@leaky
async def test_a_flipped_bit_is_noticed(far: S3, proxy: FaultProxy, rounds: int) -> None:
    """However answers are garbled, the caller gets exactly the stored bytes or an error."""
    data = PICTURE[:20_000]
    await put(far, data=data)
    proxy.be(Faults(flip=0.6))
    ends = set[Any]()
    for _ in range(rounds * 6):
        ends |= set(await ends_of(*(read(far) for _ in range(5) for read in (CALLS["get"], streamed))))
    assert ends == {data, Unavailable}
    gc.collect()


@leaky
async def test_garbled_answers_are_trouble_and_nothing_else(far: S3, proxy: FaultProxy, rounds: int) -> None:
    """Whatever bit of whatever answer flips, a call succeeds or ends with an error of ours."""
    await put(far, data=b"small")
    proxy.be(Faults(flip=1.0))
    for _ in range(rounds * 3):
        ends = await ends_of(*(call(far) for call in CALLS.values()), far.ping())
        assert all(issubclass(end, PicassoError) for end in ends if isinstance(end, type)), ends
    gc.collect()


async def test_an_answer_that_is_cut_off_is_never_an_object(far: S3, proxy: FaultProxy) -> None:
    """A partial read is repeated; when it stays partial there is no object."""
    await put(far)
    proxy.be(Faults(cut_after=100_000))
    for read in (CALLS["get"], streamed):
        with pytest.raises(Unavailable):
            await read(far)
    reading = asyncio.create_task(far.get(KEY))
    seen = proxy.seen
    await until(lambda: proxy.seen > seen)
    proxy.be(Faults())
    assert await reading == PICTURE


async def test_a_server_that_hangs_is_given_up(far: S3, proxy: FaultProxy) -> None:
    """Behind a dead network each call ends within its deadline, and the next works when the network does."""
    await put(far)
    proxy.be(Faults(hold=True))
    async with asyncio.timeout(LONG):
        ends = await asyncio.gather(*(call(far) for call in CALLS.values()), return_exceptions=True)
    assert [end.code for end in ends if isinstance(end, Unavailable)] == ["bucket_unavailable"] * len(CALLS)
    proxy.reset_all()
    proxy.be(Faults())
    for call in CALLS.values():
        await call(far)


async def test_hundreds_of_hanging_calls_all_end(far: S3, proxy: FaultProxy) -> None:
    """More calls than threads: those in line end in time too, and nothing is left behind."""
    await put(far)
    proxy.be(Faults(hold=True))
    async with asyncio.timeout(LONG):
        ends = await asyncio.gather(*(far.get(KEY) for _ in range(200)), return_exceptions=True)
    assert {type(end) for end in ends} == {Unavailable}
    proxy.reset_all()
    proxy.be(Faults())
    assert await far.get(KEY) == PICTURE


async def test_a_server_that_refuses_connections_is_unavailable(far: S3, proxy: FaultProxy) -> None:
    """Without a connection every call is Unavailable, and soon."""
    proxy.be(Faults(refuse=True))
    proxy.reset_all()
    ends = await asyncio.gather(*(call(far) for call in CALLS.values()), return_exceptions=True)
    assert [type(end) for end in ends] == [Unavailable] * len(CALLS)


async def lose_an_answer(proxy: FaultProxy, writing: Coroutine[Any, Any, None]) -> None:
    """Let the first answer get lost, and the one to the repeat through."""
    proxy.reset_all()
    proxy.be(Faults(drop_replies=True))
    task, seen = asyncio.create_task(writing), proxy.seen
    await until(lambda: proxy.seen == seen + 2)
    proxy.be(Faults())
    await task


async def test_an_answer_that_was_lost_is_no_second_object(
    far: S3, proxy: FaultProxy, rclone: S3Server, name: str, rounds: int
) -> None:
    """A write whose answers are lost is repeated under the same key: one object, and success."""
    for at in range(rounds * 3):
        data = PICTURE + bytes([at])
        await lose_an_answer(proxy, far.put(f"k/{at}", data, content_type="image/png"))
        await once(far, f"k/{at}", data)
    assert sorted(stored_files(rclone, name)) == sorted(PICTURE + bytes([at]) for at in range(rounds * 3))


async def test_a_write_once_whose_answer_was_lost_knows_its_own_bytes(moto: S3Server) -> None:
    """The repeat of a conditional write meets what the first one stored, and takes it for its own."""
    async with FaultProxy("127.0.0.1", moto.port) as proxy:
        name = new_bucket(moto)
        url = f"http://127.0.0.1:{proxy.port}"
        async with open_s3(moto, name, url, **QUICK) as far, open_s3(moto, name) as near:
            for at in range(3):
                with pytest.raises(Conflict):
                    await lose_an_answer(proxy, far._put(f"k/{at}", PICTURE, "image/png", IfNoneMatch="*"))
                await once(far, f"k/{at}")
                with pytest.raises(Conflict) as caught:
                    await once(far, f"k/{at}", b"other")
                assert caught.value.code == "write_once" and await near.get(f"k/{at}") == PICTURE


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (200, "InternalError"), (400, "RequestTimeout")]
)
async def test_trouble_that_passes_is_not_noticed(watched: S3, counter: Counter, status: int, code: str) -> None:
    """A request that the server could not take now is made again, also when the error comes as 200."""
    await put(watched)
    expected = [None if name.startswith("put") else await call(watched) for name, call in CALLS.items()]
    for call, answer in zip(CALLS.values(), expected, strict=True):
        counter.script.append(refusal(status, code))
        assert await call(watched) == answer
        assert not counter.script


async def test_trouble_that_stays_is_told_after_a_few_tries(watched: S3, counter: Counter) -> None:
    """At most three requests for one call, then Unavailable with the server's own words for the log."""
    counter.script.extend(refusal(503, "SlowDown") for _ in range(9))
    with pytest.raises(Unavailable) as caught:
        await watched.get(KEY)
    assert len(counter.requests) == 3
    told = caught.value
    assert (told.code, told.provider_code, told.provider_status) == ("bucket_unavailable", "SlowDown", 503)


@pytest.mark.parametrize(
    ("status", "provider_code", "code"),
    [
        (403, "InvalidAccessKeyId", "bucket_refused"),
        (403, "SignatureDoesNotMatch", "bucket_refused"),
        (400, "ExpiredToken", "bucket_refused"),
        (403, "RequestTimeTooSkewed", "bucket_clock"),
        (404, "NoSuchBucket", "bucket_missing"),
        (507, "InsufficientStorage", "bucket_full"),
        (400, "AuthorizationHeaderMalformed", "bucket_rejected"),
        (501, "NotImplemented", "bucket_rejected"),
    ],
)
async def test_what_an_operator_must_mend_is_said_once(
    watched: S3, counter: Counter, caplog: pytest.LogCaptureFixture, status: int, provider_code: str, code: str
) -> None:
    """A rotated key, a wrong clock, a bucket that is gone: no second request, one log line naming the cause."""
    await put(watched)
    counter.requests.clear()
    counter.script.extend(refusal(status, provider_code) for _ in range(3))
    with caplog.at_level(logging.ERROR, "picasso.bucket"):
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await watched.get(KEY)
    assert (caught.value.code, caught.value.provider_code, len(counter.requests)) == (code, provider_code, 3)
    assert [provider_code in record.getMessage() for record in caplog.records] == [True]
    assert await watched.get(KEY) == PICTURE


async def test_a_wrong_key_or_bucket_is_told_when_it_is_opened(rclone: S3Server) -> None:
    """Opening fails at once: the cause is in the one line that a start logs."""
    for name, keys, code in (
        ("nowhere", KEYS, "bucket_missing"),
        (new_bucket(rclone), {**KEYS, "AWS_SECRET_ACCESS_KEY": "another"}, "bucket_refused"),
        (new_bucket(rclone), {**KEYS, "AWS_ACCESS_KEY_ID": "AKIANOBODY0000000001"}, "bucket_refused"),
    ):
        with pytest.raises(Unavailable) as caught:
            async with S3.open(rclone.address(name), keys):
                pass
        assert caught.value.code == code and keys["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    (
        *("s3://", "s3://a", "s3://name/path", "s3://KEY:SECRET@name", "s3://name?region", "s3://name?regoin=auto"),
        *(
            "s3://name?endpoint=name.example",
            "s3://name?endpoint=ftp://a",
            "s3://name?endpoint=https://k:s@example.test",
        ),
        *("s3://name?endpoint=https://", "s3://../x", "s3://[name", "s3://name?endpoint=http://[::1"),
    ),
)
async def test_an_address_that_says_too_little_or_too_much_is_refused(tmp_path: Path, address: str) -> None:
    """One line that opens with the setting and repeats nothing of it, since a key may stand there by mistake."""
    with pytest.raises(SettingError, match=r"^BUCKET must be ") as caught:
        async with open_bucket(settings(tmp_path, BUCKET=address, **KEYS)):
            pass
    assert "SECRET" not in str(caught.value)


async def test_half_a_pair_of_keys_is_refused(tmp_path: Path, rclone: S3Server) -> None:
    """One of the two names missing is a slip, not a wish to look elsewhere."""
    half = {"AWS_ACCESS_KEY_ID": "AKIANOBODY0000000001"}
    with pytest.raises(SettingError, match=r"^AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "):
        async with open_bucket(settings(tmp_path, BUCKET=rclone.address("name"), **half)):
            pass


async def test_settings_choose_the_bucket_and_its_keys(tmp_path: Path, rclone: S3Server, name: str) -> None:
    """The keys come by boto3's own names, for preview too, and are secrets to the log."""
    preview = {f"PREVIEW_{key}": value for key, value in KEYS.items()}
    chosen = settings(tmp_path, PICASSO_ENV="preview", BUCKET=rclone.address(name), **preview)
    async with open_bucket(chosen) as bucket:
        await bucket.put(KEY, b"x", content_type="text/plain")
    assert stored_files(rclone, name) == [b"x"]
    assert set(KEYS.values()) <= chosen.secrets


async def test_keys_of_objects_are_checked_at_every_door(watched: S3, counter: Counter) -> None:
    """What is no key of ours is Invalid before any request."""
    for key in ("", "/a", "a//b", "../a", "a/../b", "a b", "ä", "a\n", "a/" * 300 + "a", "a?b", ".hidden"):
        doors = (watched.get(key), watched.head(key), watched.delete(key), put(watched, key), once(watched, key))
        for door in (*doors, streamed(watched, key)):
            with pytest.raises(Invalid) as caught:
                await door
            assert caught.value.code == "bad_key"
    with pytest.raises(Invalid):
        _ = [stored async for stored in watched.list("../")]
    assert counter.requests == []


async def test_a_large_object_is_streamed_in_parts(watched: S3, rclone: S3Server, counter: Counter, name: str) -> None:
    """Parts of a megabyte, chunks of at most 64 KiB, and the whole is what was put."""
    data = random.Random(2).randbytes(2 * PART + 12_345)
    await put(watched, data=data)
    counter.requests.clear()
    chunks = [chunk async for chunk in watched.stream(KEY)]
    assert b"".join(chunks) == data and max(map(len, chunks)) <= 64 << 10
    assert len(counter.requests) == 3
    damaged = bytearray(data)
    damaged[PART + 7] ^= 1
    damage(rclone.folder / name / KEY, bytes(damaged))
    passed = b""
    with pytest.raises(Unavailable):
        async for chunk in watched.stream(KEY):
            passed += chunk
    assert len(passed) == 2 * PART, "the end of a damaged object was handed on"


async def test_exact_parts_and_empty_objects_are_streamed(watched: S3) -> None:
    """No range beyond the end is requested, and an empty object is streamed as one."""
    for size in (0, 1, PART, 2 * PART):
        data = random.Random(size).randbytes(size)
        await put(watched, data=data)
        assert await streamed(watched) == data == await watched.get(KEY)


async def test_damage_at_rest_is_noticed(watched: S3, rclone: S3Server, name: str) -> None:
    """Bytes that changed in the server's storage are not returned."""
    await put(watched)
    damage(rclone.folder / name / KEY, b"x" + PICTURE[1:])
    for read in (CALLS["get"], streamed):
        with pytest.raises(Unavailable) as caught:
            await read(watched)
        assert caught.value.code == "bucket_damaged"


async def test_damage_at_rest_is_mended_by_the_same_bytes(watched: S3, rclone: S3Server, name: str) -> None:
    """Who still has the bytes that belong there puts them right; other bytes are not let in."""
    await once(watched)
    damage(rclone.folder / name / KEY, b"x" + PICTURE[1:])
    with pytest.raises(Unavailable):
        await once(watched, data=b"other")
    await once(watched)
    assert await watched.get(KEY) == PICTURE


async def test_objects_that_others_put_are_readable(watched: S3, rclone: S3Server, name: str) -> None:
    """A bucket that was filled from a directory, by a tool without our digests, can be read as it is."""
    (rclone.folder / name / "a").mkdir()
    (rclone.folder / name / "a" / "b").write_bytes(PICTURE)
    assert await watched.get("a/b") == await streamed(watched, "a/b") == PICTURE
    await once(watched, "a/b")
    with pytest.raises(Conflict):
        await once(watched, "a/b", b"other")


async def test_a_repeated_write_counts_as_new(watched: S3, rclone: S3Server, name: str) -> None:
    """Bytes put again are as young as just written, so that no sweep takes them for forgotten."""
    await once(watched)
    os.utime(rclone.folder / name / KEY, (1, 1))
    async with asyncio.timeout(LONG):
        while (found := await watched.head(KEY)) is None or found.modified != 1000:
            await asyncio.sleep(0.01)
    await once(watched)
    found = await watched.head(KEY)
    assert found is not None and found.modified > 1_700_000_000_000


async def test_long_listings_come_page_by_page(watched: S3, rclone: S3Server, counter: Counter, name: str) -> None:
    """Beyond a thousand objects the next page is requested; the order is kept across pages; foreign names are left
    out."""
    folder = rclone.folder / name / "k"
    folder.mkdir()
    for at in range(1005):
        (folder / f"{at:04}").write_bytes(b"")
    (folder / "not ours").write_bytes(b"")
    counter.script.append(b"")
    assert [stored.key for stored in await listed(watched)] == [f"k/{at:04}" for at in range(1005)]
    assert len(counter.requests) == 3


async def test_many_pings_are_one_request(watched: S3, counter: Counter) -> None:
    """`/readyz` is public: frequent pings cost no more requests, and an outage is still reported."""
    await asyncio.gather(*(watched.ping() for _ in range(50)))
    assert [first.split()[0] for first, _ in counter.requests] == ["HEAD"]


async def test_a_bucket_that_is_gone_is_not_ready(rclone: S3Server) -> None:
    """Ping names a missing bucket."""
    name = new_bucket(rclone)
    async with open_s3(rclone, name) as bucket:
        (rclone.folder / name).rmdir()
        with pytest.raises(Unavailable) as caught:
            await bucket.ping()
    assert caught.value.code == "bucket_missing"


async def test_a_restarted_server_is_found_again(own_rclone: S3Server) -> None:
    """After kill -9 and a new start, calls work without intervention, and everything that was confirmed as stored is
    there."""
    async with open_s3(own_rclone, **QUICK) as bucket:
        for at in range(3):
            await once(bucket, f"k/{at}")
            own_rclone.kill()
            with pytest.raises(Unavailable):
                await bucket.ping()
            with pytest.raises(Unavailable):
                await bucket.get(f"k/{at}")
            own_rclone.start()
            assert await bucket.get(f"k/{at}") == PICTURE


async def test_a_vanished_caller_leaves_nothing_behind(far: S3, proxy: FaultProxy) -> None:
    """A call that is cancelled in the middle of an answer harms no other."""
    await put(far)
    proxy.be(Faults(rate=200_000, slice=4096))
    for _ in range(5):
        reading = asyncio.create_task(far.get(KEY))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    proxy.be(Faults())
    assert await far.get(KEY) == PICTURE


async def test_requests_are_such_that_r2_takes_them(watched: S3, counter: Counter) -> None:
    """No waiting for `100-continue`, path style, and the bytes' SHA-256 in the signature."""
    await put(watched)
    ((first, headers),) = counter.requests
    assert first.startswith(f"PUT /{watched._name}/{KEY} ")
    assert "expect" not in headers and "x-amz-trailer" not in headers
    assert headers["x-amz-content-sha256"] == hashlib.sha256(PICTURE).hexdigest()


async def test_over_tls_no_trailer_is_sent_either() -> None:
    """boto3's default over https is a checksum trailer, which R2 refuses; a plain test server never shows it."""
    client = _connect(read_address("s3://name?endpoint=https://example.test"), KEYS, DEADLINES)
    sent: list[dict[str, bytes]] = []

    def catch(request: Any, **_: object) -> None:
        sent.append(dict(request.headers))
        raise OSError("nothing leaves this test")

    client.meta.events.register("before-send.s3.PutObject", catch)
    with pytest.raises(OSError, match="nothing leaves"):
        client.put_object(Bucket="name", Key=KEY, Body=PICTURE)
    client.close()
    (headers,) = ({name.lower(): value for name, value in each.items()} for each in sent)
    assert not {"x-amz-trailer", "content-encoding", "transfer-encoding", "expect"} & headers.keys()
    assert b"/auto/s3/" in headers["authorization"]
    assert headers["x-amz-content-sha256"].decode() == hashlib.sha256(PICTURE).hexdigest()


async def test_absence_is_told_as_such(watched: S3, counter: Counter) -> None:
    """A missing object is requested once."""
    with pytest.raises(NotFound):
        await watched.get(KEY)
    assert await watched.head(KEY) is None and len(counter.requests) == 2


def test_deadlines_fit_into_a_step() -> None:
    """One read ends before the sixty seconds of the step that waits for it."""
    assert Deadlines().call < 60 / 2
