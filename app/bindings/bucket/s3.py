"""BUCKET on S3: R2, AWS and whatever else speaks the protocol, through boto3 on threads of its own.

Each object carries the SHA-256 of its bytes, which is compared when they are read: what was cut off or flipped on the
way, or is an error in an object's place, is asked for again and never handed on. All calls may be repeated, so those
that were not answered are, a few times and for a bounded while.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.handlers import add_expect_header
from botocore.parsers import ResponseParserError

from app.bindings.bucket import CHUNK
from app.bindings.bucket.keys import KEY, check_key, check_prefix
from app.settings import SettingError
from tools.env import StoredObject
from tools.errors import Conflict, NotFound, PicassoError, Unavailable

T = TypeVar("T")
log = logging.getLogger("picasso.bucket")

THREADS = 32
SLOWEST = 512 << 10
"""A write may last one second longer per so many bytes."""
TRIES = 3
BACKOFF_SECONDS = 0.1
PART = 1 << 20
"""So much of a streamed object is asked for at once, so that a slow reader holds no connection."""
PING_SECONDS = 1.0
"""How long an answer counts: the door to `ping` is open to everybody, and each call costs."""
DIGEST = "sha256"
EMPTY = hashlib.sha256(b"").hexdigest()
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
REPEATABLE = frozenset({"bucket_unavailable", "bucket_damaged"})
REFUSED = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "Unauthorized"}
)
PASSING = frozenset({"400", "BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "XAmzContentSHA256Mismatch"})
"""What is said of a request under a status that blames it, though the next may go well. HEAD says only `400`."""
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
GARBLED = (ResponseParserError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
FAILURES = (BotoCoreError, ClientError, OSError, *GARBLED)
"""What boto3 raises when an answer does not come, or stumbles over when a part of it is garbled."""


class Deadlines(msgspec.Struct, frozen=True):
    """Seconds for a connection, for any next byte of an answer, and for one read, write or page of a listing with all
    its repeats."""

    connect: float = 3.0
    read: float = 6.0
    call: float = 25.0


DEADLINES = Deadlines()


class Address(msgspec.Struct, frozen=True):
    """What `s3://name?endpoint=…&region=…` says."""

    name: str
    endpoint: str | None = None
    region: str | None = None


class Found(msgspec.Struct, frozen=True):
    """Bytes of an object, from one answer: the whole or a part of `size`. `digest` is that of the whole, where told."""

    data: bytes
    etag: str
    size: int
    digest: str | None


def read_address(address: str) -> Address:
    """Fails: SettingError."""
    try:
        parts = urlsplit(address)
        given = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        endpoint = urlsplit(given.get("endpoint", "https://aws"))
        is_fine = endpoint.scheme in ("http", "https") and endpoint.hostname and not endpoint.username
        if is_fine and NAME.fullmatch(parts.netloc) and not parts.path and given.keys() <= {"endpoint", "region"}:
            return Address(parts.netloc, given.get("endpoint"), given.get("region"))
    except ValueError:
        pass
    raise SettingError("BUCKET must be s3://NAME?endpoint=https://…&region=…, without a path, without keys")


class S3:
    """A bucket. Writers that race for one key are told apart by the server, which must honour `If-None-Match`: of one
    that ignores it (rclone does) only writers at the very same moment can overwrite each other."""

    def __init__(self, client: Any, name: str, threads: ThreadPoolExecutor, seconds: float) -> None:
        self._client, self._name, self._threads, self._seconds = client, name, threads, seconds
        self._pinging, self._answered = asyncio.Lock(), float("-inf")
        self._told: str | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: str, keys: Mapping[str, str], deadlines: Deadlines = DEADLINES) -> AsyncIterator["S3"]:
        """`keys` by boto3's own names; without any, boto3 looks where it always does (profiles, instance roles).

        Fails: SettingError for an address or keys that cannot be used · Unavailable, saying why, when the bucket is
        not there, refuses the keys or does not answer.
        """
        where = read_address(address)
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bucket")
        try:
            client = await asyncio.get_running_loop().run_in_executor(threads, _connect, where, keys, deadlines)
            try:
                bucket = cls(client, where.name, threads, deadlines.call)
                # Not HeadBucket, whose answer has no room for the reason of a refusal.
                await bucket._ask(client.list_objects_v2, MaxKeys=1)
                yield bucket
            finally:
                client.close()
        finally:
            # Threads that wait for a dead server end by their own deadlines; nobody waits for them.
            threads.shutdown(wait=False, cancel_futures=True)

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        await self._put(key, data, content_type)

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        for _ in range(TRIES):
            # Asked first, for servers that ignore the condition. Equal bytes are written again, and so count as new.
            try:
                found = await self._find(key)
            except Unavailable as error:
                if error.code != "bucket_damaged" or not await self._was(key, data):
                    raise
                return await self._put(key, data, content_type)
            if found is not None and found.data != data:
                raise Conflict("other bytes are already stored under this key", code="write_once")
            condition = {"IfMatch": found.etag} if found else {"IfNoneMatch": "*"}
            with contextlib.suppress(Conflict):
                return await self._put(key, data, content_type, **condition)
        raise Unavailable("others keep writing this object", code="bucket_contended")

    async def get(self, key: str) -> bytes:
        if (found := await self._find(key)) is None:
            raise NotFound("no such object")
        return found.data

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        part = await self._part(key, 0)
        digest, read, expected, etag = hashlib.sha256(part.data), len(part.data), part.digest, part.etag
        while read < part.size:
            for chunk in _chunks(part.data):
                yield chunk
            part = await self._part(key, read, IfMatch=etag)
            read += len(part.data)
            digest.update(part.data)
        # The last part is held back until the whole is known to be what was stored.
        if expected not in (None, digest.hexdigest()):
            raise _damaged()
        for chunk in _chunks(part.data):
            yield chunk

    async def head(self, key: str) -> StoredObject | None:
        try:
            return await self._ask(_head, self._client, Key=check_key(key))
        except NotFound:
            return None

    async def delete(self, key: str) -> None:
        with contextlib.suppress(NotFound):
            await self._ask(self._client.delete_object, Key=check_key(key))

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        at: dict[str, str] | None = {}
        while at is not None:
            page, at = await self._ask(_page, self._client, Prefix=check_prefix(prefix), **at)
            for stored in page:
                yield stored

    async def ping(self) -> None:
        async with self._pinging:
            if time.monotonic() - self._answered < PING_SECONDS:
                return
            try:
                await self._ask(self._client.head_bucket)
            except NotFound:
                raise self._noted(_missing()) from None
            self._answered = time.monotonic()

    async def _put(self, key: str, data: bytes, content_type: str, **condition: str) -> None:
        """Fails: Conflict when the condition does not hold."""
        request = {"Key": check_key(key), "ContentType": content_type, **condition}
        await self._tried(lambda: self._call(_write, self._client, data, **request), len(data) / SLOWEST)

    async def _find(self, key: str) -> Found | None:
        """The whole object, found to be intact."""
        try:
            return await self._ask(_read_whole, self._client, Key=check_key(key))
        except NotFound:
            return None

    async def _was(self, key: str, data: bytes) -> bool:
        """Whether these bytes are what was once written there, whatever became of them."""
        told = await self._ask(self._client.head_object, Key=check_key(key))
        return _digest(told) == hashlib.sha256(data).hexdigest()

    async def _part(self, key: str, start: int, **condition: str) -> Found:
        span = f"bytes={start}-{start + PART - 1}"
        try:
            return await self._ask(_read_part, self._client, start, Key=check_key(key), Range=span, **condition)
        except Conflict:
            raise Unavailable("the object was replaced while it was read", code="bucket_changed") from None

    async def _ask(self, operation: Callable[..., T], *args: object, **request: object) -> T:
        return await self._tried(lambda: self._call(operation, *args, **request))

    async def _tried(self, call: Callable[[], Awaitable[T]], more_seconds: float = 0.0) -> T:
        """Repeat what was not answered. Fails: Unavailable, after `TRIES` or when the time is over."""
        try:
            async with asyncio.timeout(self._seconds + more_seconds):
                for tries in range(TRIES - 1):
                    try:
                        return await call()
                    except Unavailable as error:
                        if error.code not in REPEATABLE:
                            raise
                        await asyncio.sleep(BACKOFF_SECONDS * 4**tries * random.uniform(0.8, 1.2))
                return await call()
        except TimeoutError:
            raise Unavailable("the bucket did not answer in time", code="bucket_unavailable") from None

    async def _call(self, operation: Callable[..., T], *args: object, **request: object) -> T:
        """One request, on a thread."""
        try:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: operation(*args, Bucket=self._name, **request)
            )
        except FAILURES as error:
            raise self._noted(_translated(error)) from error
        self._told = None
        return answer

    def _noted(self, error: PicassoError) -> PicassoError:
        """The same; what an operator must mend is logged, once until it changes."""
        if isinstance(error, Unavailable) and error.code not in REPEATABLE and error.code != self._told:
            self._told = error.code
            log.error("BUCKET: %s (%s)", error.message, error.provider_code or error.code)
        return error


def _connect(where: Address, keys: Mapping[str, str], deadlines: Deadlines) -> Any:
    """The client. Fails: SettingError."""
    if keys and not keys.keys() >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
        raise SettingError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set both, or neither")
    with _configuring():
        session = Session(
            keys.get("AWS_ACCESS_KEY_ID"), keys.get("AWS_SECRET_ACCESS_KEY"), keys.get("AWS_SESSION_TOKEN")
        )
        region, known = where.region or ("auto" if where.endpoint else session.region_name), session.get_credentials()
    if region is None:
        raise SettingError("BUCKET must name its region, as in s3://NAME?region=eu-central-1, or an endpoint")
    if known is None:
        raise SettingError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set for this BUCKET")
    with _configuring():
        client: Any = session.client(
            "s3", region_name=region, endpoint_url=where.endpoint, config=_config(where, deadlines)
        )
    # R2 does not answer `Expect: 100-continue`, and boto3 would wait a second for it with each write.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


@contextlib.contextmanager
def _configuring() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ValueError) as error:
        raise SettingError("BUCKET cannot be used with what boto3 finds in its own settings and profiles") from error


def _config(where: Address, deadlines: Deadlines) -> Config:
    return Config(
        signature_version="s3v4",
        connect_timeout=deadlines.connect,
        read_timeout=deadlines.read,
        max_pool_connections=THREADS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        proxies={},
        # R2 refuses the checksum trailers that are the default. The signature holds the SHA-256 of what is written.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if where.endpoint else "auto"},
    )


def _head(client: Any, **request: object) -> StoredObject:
    told = client.head_object(**request)
    return StoredObject(str(request["Key"]), told["ContentLength"], _ms(told["LastModified"]))


def _page(client: Any, **request: object) -> tuple[list[StoredObject], dict[str, str] | None]:
    """Some objects, and how to ask for the next."""
    page = client.list_objects_v2(**request)
    found = [
        StoredObject(entry["Key"], entry["Size"], _ms(entry["LastModified"])) for entry in page.get("Contents", [])
    ]
    ours = [stored for stored in found if KEY.fullmatch(stored.key)]
    return ours, {"ContinuationToken": page["NextContinuationToken"]} if page["IsTruncated"] else None


def _write(client: Any, data: bytes, **request: object) -> None:
    client.put_object(Body=data, Metadata={DIGEST: hashlib.sha256(data).hexdigest()}, **request)


def _read_whole(client: Any, **request: object) -> Found:
    found = _read(client, **request)
    if found.digest not in (None, hashlib.sha256(found.data).hexdigest()):
        raise _Damaged
    return found


def _read_part(client: Any, start: int, **request: object) -> Found:
    try:
        found = _read(client, **request)
    except ClientError as error:
        if start or error.response["Error"]["Code"] != "InvalidRange":
            raise
        return Found(b"", "", 0, EMPTY)
    if not found.data or (found.size > start + len(found.data) and len(found.data) != PART):
        raise _Damaged
    return found


def _read(client: Any, **request: object) -> Found:
    answer = client.get_object(**request)
    with contextlib.closing(answer["Body"]) as body:
        data = body.read()
    if not (etag := answer.get("ETag")):
        # An error that came as 200 looks like an object's bytes, but has no tag.
        raise _Damaged
    # A garbled header can take those after it along; only a second answer without a digest means that it has none.
    digest = _digest(answer) or _digest(client.head_object(Bucket=request["Bucket"], Key=request["Key"]))
    return Found(data, etag, _size(answer.get("ContentRange"), data), digest)


def _digest(answer: dict[str, Any]) -> str | None:
    """What the writer told of the whole object; None where another tool wrote it."""
    return next((str(value) for name, value in answer["Metadata"].items() if name.lower() == DIGEST), None)


def _size(span: str | None, data: bytes) -> int:
    """Of the whole object, from `bytes 0-99/1234`."""
    return int(span.rpartition("/")[2]) if span else len(data)


class _Damaged(ValueError):
    """An answer that cannot be what was stored."""


def _damaged() -> Unavailable:
    return Unavailable("the bucket answered with damaged bytes", code="bucket_damaged")


def _missing() -> Unavailable:
    return Unavailable("the bucket does not exist", code="bucket_missing", provider_code="NoSuchBucket")


def _translated(error: Exception) -> PicassoError:
    if isinstance(error, _Damaged):
        return _damaged()
    if isinstance(error, NoCredentialsError):
        return Unavailable("there is no key for the bucket", code="bucket_refused", failure="invalid")
    if not isinstance(error, ClientError):
        return Unavailable("the bucket did not answer", code="bucket_unavailable")
    return _answered(str(error.response["Error"]["Code"]), int(error.response["ResponseMetadata"]["HTTPStatusCode"]))


def _answered(code: str, status: int) -> PicassoError:
    """What an error that the server told means to us."""
    told: dict[str, Any] = {"provider_code": code, "provider_status": status}
    if code == "NoSuchBucket":
        return _missing()
    if status == 404:
        return NotFound("no such object")
    if status == 412 or code == "ConditionalRequestConflict":
        return Conflict("the object is not as it was expected to be", code="bucket_changed")
    if code in SKEWED:
        return Unavailable("the clock of this machine is wrong, so the bucket refuses it", code="bucket_clock", **told)
    if status in (401, 403) or code in REFUSED:
        return Unavailable("the bucket does not accept our key", code="bucket_refused", failure="invalid", **told)
    if status == 507:
        return Unavailable("the bucket is full", code="bucket_full", **told)
    if code == "NotImplemented" or (400 <= status < 500 and status not in (408, 416, 429) and code not in PASSING):
        return Unavailable("the bucket rejects our requests; the log says why", code="bucket_rejected", **told)
    return Unavailable("the bucket did not take the request", code="bucket_unavailable", **told)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _chunks(data: bytes) -> list[bytes]:
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
