"""Opening Redis: what is refused at the start, what is waited for, what is only warned about."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.bindings.redis.connection import CONNECTIONS, answering, open_client, open_redis
from app.settings import SettingError, Settings
from tests.support.deadlines import LONG, until
from tests.support.environment import settings
from tests.support.servers.valkey import Valkey, ask
from tools.errors import Unavailable


async def test_an_evicting_server_is_refused(own_valkey: Valkey, tmp_path: Path) -> None:
    """A server that would drop streams under memory pressure does not start the application."""
    assert ask(own_valkey.socket, "CONFIG SET maxmemory-policy allkeys-lru") == "+OK"
    with pytest.raises(SettingError, match=r"^REDIS_URL .*evicts.*noeviction$"):
        async with open_redis(settings(tmp_path, REDIS_URL=own_valkey.url)):
            pass


async def test_without_append_only_file_there_is_one_warning(
    own_valkey: Valkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server without persistence is used, with one line of warning."""
    assert ask(own_valkey.socket, "CONFIG SET appendonly no") == "+OK"
    async with open_redis(settings(tmp_path, REDIS_URL=own_valkey.url)) as redis:
        assert await redis.client.ping()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "append-only file is off" in line


async def test_where_config_is_forbidden_info_decides(
    own_valkey: Valkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hosted servers forbid CONFIG: one warning, and an evicting one is refused all the same."""
    assert ask(own_valkey.socket, "ACL SETUSER guest on >secret ~* &* +@all -config") == "+OK"
    chosen = settings(tmp_path, REDIS_URL=f"unix://guest:secret@{own_valkey.socket}")
    async with open_redis(chosen) as redis:
        assert await redis.client.ping()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "CONFIG is forbidden" in line
    assert ask(own_valkey.socket, "CONFIG SET maxmemory-policy volatile-lru") == "+OK"
    with pytest.raises(SettingError, match="volatile-lru"):
        async with open_redis(chosen):
            pass


async def test_what_may_come_right_can_be_waited_for(own_valkey: Valkey, redis_url: str, tmp_path: Path) -> None:
    """No server, or a password that is not right yet, is Unavailable and reveals no secret; the same address opens as
    soon as there is a server."""
    absent = settings(tmp_path, REDIS_URL=own_valkey.url)
    locked = settings(tmp_path, REDIS_URL=redis_url.replace("unix://", "unix://guest:hunter2@"))
    own_valkey.kill()

    async def refused(chosen: Settings) -> str:
        with pytest.raises(Unavailable) as caught:
            async with open_redis(chosen):
                pass
        return caught.value.message

    assert "hunter2" not in "".join(await asyncio.gather(refused(absent), refused(locked)))
    own_valkey.start()
    async with open_redis(absent) as redis:
        assert await redis.client.ping()


@asynccontextmanager
async def ancient_redis() -> AsyncIterator[int]:
    """A socket that speaks as much Redis 5 as is needed to be recognised; returns its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b"# Server\r\nredis_version:5.0.14\r\n"
        while words := await reader.readline():
            command = b""
            for _ in range(int(words[1:])):
                size = int((await reader.readline())[1:])
                command += (await reader.readexactly(size + 2))[:-2] + b" "
            writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if command == b"INFO " else b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_an_old_server_is_refused(tmp_path: Path) -> None:
    """The error names the version that the application needs."""
    async with ancient_redis() as port:
        with pytest.raises(SettingError, match=r"^REDIS_URL leads to Redis 5\.0\.14: it must be 6\.2 or newer$"):
            async with open_redis(settings(tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}/0")):
                pass


async def test_an_address_that_makes_no_sense_names_the_setting(tmp_path: Path) -> None:
    """The line names REDIS_URL and does not repeat what may be a password."""
    with pytest.raises(SettingError, match=r"^REDIS_URL ") as caught:
        async with open_redis(settings(tmp_path, REDIS_URL="redis://:hunter2@host:port/0")):
            pass
    assert "hunter2" not in str(caught.value)


async def test_a_data_directory_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    """The line names PICASSO_HOME."""
    (tmp_path / "valkey").mkdir(mode=0o777)
    (tmp_path / "valkey").chmod(0o777)
    with pytest.raises(SettingError, match=r"^PICASSO_HOME .* mode 0700$"):
        async with open_redis(settings(tmp_path)):
            pass


async def test_the_embedded_server_serves_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without REDIS_URL there is a server with an append-only file, private to this user, and nothing to warn about."""
    async with open_redis(settings(tmp_path / "a b")) as redis:
        assert await redis.client.set("key", "value")
        assert await redis.client.config_get("appendonly") == {"appendonly": "yes"}
        assert await redis.client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        path = Path(redis.url.removeprefix("unix://"))
        assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0
    await until(lambda: not path.exists())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_more_calls_than_connections_wait_their_turn(redis_url: str) -> None:
    """The pool is bounded, and a burst queues instead of failing."""
    async with open_client(redis_url) as client:
        await asyncio.gather(*(client.incr("n") for _ in range(4 * CONNECTIONS)))
        assert await client.get("n") == b"%d" % (4 * CONNECTIONS)
        assert int((await client.info("clients"))["connected_clients"]) <= CONNECTIONS


async def test_calls_given_up_leave_no_connection_behind(own_valkey: Valkey) -> None:
    """Hundreds of calls to a hanging server are cancelled; afterwards the whole pool is there again."""
    async with open_client(own_valkey.url) as client:
        own_valkey.pause()
        for _ in range(3):
            with pytest.raises(Unavailable), answering():
                async with asyncio.timeout(0.05):
                    await asyncio.gather(*(client.incr("n") for _ in range(2 * CONNECTIONS)))
        own_valkey.resume()
        await asyncio.gather(*(client.ping() for _ in range(2 * CONNECTIONS)))


async def test_a_task_that_calls_redis_can_always_be_stopped(redis_client: Redis) -> None:
    """A cancellation is not lost, whichever step of a call it meets."""

    async def work() -> None:
        while True:
            await redis_client.incr("n")

    for n in range(200):
        task = asyncio.create_task(work())
        for _ in range(n % 20):
            await asyncio.sleep(0)
        task.cancel()
        _, unstoppable = await asyncio.wait({task}, timeout=LONG)
        assert not unstoppable
