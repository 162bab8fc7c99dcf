"""BUCKET on S3: R2, AWS and other servers of the protocol, through boto3 on threads of its own.

Each object carries the SHA-256 of its bytes, which is checked on every read: a truncated or corrupted answer, or an
error in place of an object, is requested again and never returned. All calls are idempotent, so those without an
answer are repeated, with a bound on tries and time.
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
"""Bytes per second: the slowest upload for which a write's deadline is extended."""
TRIES = 3
BACKOFF_SECONDS = 0.1
PART = 1 << 20
"""Bytes of a streamed object per request, so that a slow reader occupies no connection."""
PING_SECONDS = 1.0
"""How long a successful `ping` is reused: the health route is public, and each request costs money."""
DIGEST = "sha256"
EMPTY = hashlib.sha256(b"").hexdigest()
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
REPEATABLE = frozenset({"bucket_unavailable", "bucket_damaged"})
REFUSED = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "Unauthorized"}
)
PASSING = frozenset({"400", "BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "XAmzContentSHA256Mismatch"})
"""Codes of a 4xx answer after which a repeat may succeed. An answer to HEAD has only the code `400`."""
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
GARBLED = (ResponseParserError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
FAILURES = (BotoCoreError, ClientError, OSError, *GARBLED)
"""What boto3 raises without an answer, or while it parses a garbled one."""


class Deadlines(msgspec.Struct, frozen=True):
    """Seconds for a connection, for any next byte of an answer, and for one read, write or page of a listing with all
    its repeats."""

    connect: float = 3.0
    read: float = 6.0
    call: float = 25.0


DEADLINES = Deadlines()


class Address(msgspec.Struct, frozen=True):
    """The parts of `s3://name?endpoint=…&region=…`."""

    name: str
    endpoint: str | None = None
    region: str | None = None


class Found(msgspec.Struct, frozen=True):
    """The bytes of a whole object, or a part of one of `size` bytes; `digest` is the whole object's, if known."""

    data: bytes
    etag: str
    size: int
    digest: str | None


def read_address(address: str) -> Address:
    """Parse the value of BUCKET. Fails: SettingError."""
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
    """A bucket. Concurrent writers of one key are serialised by the server, which must honour `If-None-Match`; on a
    server that ignores it (rclone) only simultaneous writers can overwrite each other."""

    def __init__(self, client: Any, name: str, threads: ThreadPoolExecutor, seconds: float) -> None:
        self._client, self._name, self._threads, self._seconds = client, name, threads, seconds
        self._pinging, self._answered = asyncio.Lock(), float("-inf")
        self._logged_code: str | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: str, keys: Mapping[str, str], deadlines: Deadlines = DEADLINES) -> AsyncIterator["S3"]:
        """Connect and check access. `keys` by boto3's names; without any, boto3 uses its profiles or instance roles.

        Fails: SettingError for an address or keys that cannot be used · Unavailable with the reason when the bucket
        does not exist, refuses the keys or does not answer.
        """
        where = read_address(address)
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bucket")
        try:
            client = await asyncio.get_running_loop().run_in_executor(threads, _connect, where, keys, deadlines)
            try:
                bucket = cls(client, where.name, threads, deadlines.call)
                # Not HeadBucket, whose answer has no body and so no reason of a refusal.
                await bucket._ask(client.list_objects_v2, MaxKeys=1)
                yield bucket
            finally:
                client.close()
        finally:
            # Threads that wait for a dead server end by their own deadlines and are not awaited.
            threads.shutdown(wait=False, cancel_futures=True)

    async def put(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store the object, replacing an existing one. Fails: Invalid · Unavailable."""
        await self._put(key, data, content_type)

    async def put_once(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store the object unless the key is in use; the same bytes again succeed and renew the object's time.

        Fails: Conflict (`write_once`) when the key has other bytes · Invalid · Unavailable.
        """
        for _ in range(TRIES):
            # Read first, for servers that ignore the condition. Equal bytes are written again, which renews their time.
            try:
                found = await self._find(key)
            except Unavailable as error:
                if error.code != "bucket_damaged" or not await self._was_written(key, data):
                    raise
                return await self._put(key, data, content_type)
            if found is not None and found.data != data:
                raise Conflict("other bytes are already stored under this key", code="write_once")
            condition = {"IfMatch": found.etag} if found else {"IfNoneMatch": "*"}
            with contextlib.suppress(Conflict):
                return await self._put(key, data, content_type, **condition)
        raise Unavailable("other writers keep changing this object", code="bucket_contended")

    async def get(self, key: str) -> bytes:
        """The object's bytes, checked against its digest. Fails: NotFound · Unavailable."""
        if (found := await self._find(key)) is None:
            raise NotFound("no such object")
        return found.data

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object's bytes in chunks of 64 KiB. Fails: NotFound · Unavailable, also at the end."""
        part = await self._part(key, 0)
        digest, read, expected, etag = hashlib.sha256(part.data), len(part.data), part.digest, part.etag
        while read < part.size:
            for chunk in _chunks(part.data):
                yield chunk
            part = await self._part(key, read, IfMatch=etag)
            read += len(part.data)
            digest.update(part.data)
        # The last part is returned only after the digest of the whole object has been checked.
        if expected not in (None, digest.hexdigest()):
            raise _damaged()
        for chunk in _chunks(part.data):
            yield chunk

    async def head(self, key: str) -> StoredObject | None:
        """The object's size and time, or None. Fails: Invalid · Unavailable."""
        try:
            return await self._ask(_head, self._client, Key=check_key(key))
        except NotFound:
            return None

    async def delete(self, key: str) -> None:
        """Remove the object, if there is one. Fails: Invalid · Unavailable."""
        with contextlib.suppress(NotFound):
            await self._ask(self._client.delete_object, Key=check_key(key))

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """The objects whose keys begin with `prefix`, in the server's order. Fails: Invalid · Unavailable."""
        at: dict[str, str] | None = {}
        while at is not None:
            page, at = await self._ask(_page, self._client, Prefix=check_prefix(prefix), **at)
            for stored in page:
                yield stored

    async def ping(self) -> None:
        """Check that the bucket answers; a success is reused for `PING_SECONDS`. Fails: Unavailable."""
        async with self._pinging:
            if time.monotonic() - self._answered < PING_SECONDS:
                return
            try:
                await self._ask(self._client.head_bucket)
            except NotFound:
                raise self._logged(_missing()) from None
            self._answered = time.monotonic()

    async def _put(self, key: str, data: bytes, content_type: str, **condition: str) -> None:
        """Fails: Conflict when the condition does not hold."""
        request = {"Key": check_key(key), "ContentType": content_type, **condition}
        await self._tried(lambda: self._call(_write, self._client, data, **request), len(data) / SLOWEST)

    async def _find(self, key: str) -> Found | None:
        """The whole object, checked against its digest; None when there is none."""
        try:
            return await self._ask(_read_whole, self._client, Key=check_key(key))
        except NotFound:
            return None

    async def _was_written(self, key: str, data: bytes) -> bool:
        """Whether the object was written with these bytes, even if it is damaged now."""
        answer = await self._ask(self._client.head_object, Key=check_key(key))
        return _digest(answer) == hashlib.sha256(data).hexdigest()

    async def _part(self, key: str, start: int, **condition: str) -> Found:
        span = f"bytes={start}-{start + PART - 1}"
        try:
            return await self._ask(_read_part, self._client, start, Key=check_key(key), Range=span, **condition)
        except Conflict:
            raise Unavailable("the object was replaced while it was read", code="bucket_changed") from None

    async def _ask(self, operation: Callable[..., T], *args: object, **request: object) -> T:
        return await self._tried(lambda: self._call(operation, *args, **request))

    async def _tried(self, call: Callable[[], Awaitable[T]], more_seconds: float = 0.0) -> T:
        """Repeat a call without an answer. Fails: Unavailable, after `TRIES` or at the deadline."""
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
            raise self._logged(_translated(error)) from error
        self._logged_code = None
        return answer

    def _logged(self, error: PicassoError) -> PicassoError:
        """Return the error; log one that the operator must fix, once until the code changes."""
        if isinstance(error, Unavailable) and error.code not in REPEATABLE and error.code != self._logged_code:
            self._logged_code = error.code
            log.error("BUCKET: %s (%s)", error.message, error.provider_code or error.code)
        return error


def _connect(where: Address, keys: Mapping[str, str], deadlines: Deadlines) -> Any:
    """The boto3 client. Fails: SettingError."""
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
        # R2 refuses the checksum trailers that are the default. The signature covers the SHA-256 of the body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if where.endpoint else "auto"},
    )


def _head(client: Any, **request: object) -> StoredObject:
    answer = client.head_object(**request)
    return StoredObject(str(request["Key"]), answer["ContentLength"], _ms(answer["LastModified"]))


def _page(client: Any, **request: object) -> tuple[list[StoredObject], dict[str, str] | None]:
    """One page of a listing, and the request fields of the next page; None after the last."""
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
        # An error sent with status 200 looks like an object's bytes, but has no ETag.
        raise _Damaged
    # A garbled header can hide those after it; only a second answer without a digest proves that there is none.
    digest = _digest(answer) or _digest(client.head_object(Bucket=request["Bucket"], Key=request["Key"]))
    return Found(data, etag, _size(answer.get("ContentRange"), data), digest)


def _digest(answer: dict[str, Any]) -> str | None:
    """The SHA-256 that the writer stored with the object; None when another tool wrote it."""
    return next((str(value) for name, value in answer["Metadata"].items() if name.lower() == DIGEST), None)


def _size(span: str | None, data: bytes) -> int:
    """Bytes of the whole object, from a Content-Range such as `bytes 0-99/1234`."""
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
        return Unavailable("there are no credentials for the bucket", code="bucket_refused", failure="invalid")
    if not isinstance(error, ClientError):
        return Unavailable("the bucket did not answer", code="bucket_unavailable")
    return _answered(str(error.response["Error"]["Code"]), int(error.response["ResponseMetadata"]["HTTPStatusCode"]))


def _answered(code: str, status: int) -> PicassoError:
    """Translate an error answer of the server."""
    vendor: dict[str, Any] = {"provider_code": code, "provider_status": status}
    if code == "NoSuchBucket":
        return _missing()
    if status == 404:
        return NotFound("no such object")
    if status == 412 or code == "ConditionalRequestConflict":
        return Conflict("the object is not as it was expected to be", code="bucket_changed")
    if code in SKEWED:
        return Unavailable(
            "the clock of this machine is wrong, so the bucket refuses it", code="bucket_clock", **vendor
        )
    if status in (401, 403) or code in REFUSED:
        return Unavailable("the bucket does not accept our key", code="bucket_refused", failure="invalid", **vendor)
    if status == 507:
        return Unavailable("the bucket is full", code="bucket_full", **vendor)
    if code == "NotImplemented" or (400 <= status < 500 and status not in (408, 416, 429) and code not in PASSING):
        return Unavailable("the bucket rejects our requests; the log says why", code="bucket_rejected", **vendor)
    return Unavailable("the bucket did not take the request", code="bucket_unavailable", **vendor)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _chunks(data: bytes) -> list[bytes]:
    return [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
