"""The fault proxy injects the faults it promises: a fault without effect would prove nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.deadlines import LONG
from tests.support.servers.fault_proxy import FaultProxy, Faults

ANSWER = bytes(range(256)) * 256


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that answers each line with 64 KiB."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.readline():
                writer.write(ANSWER)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def ask(port: int, seconds: float = LONG) -> bytes | str:
    """The answer to one line: bytes up to the whole answer, or the name of the failure."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(seconds):
            writer.write(b"?\n")
            answer = b""
            while len(answer) < len(ANSWER) and (part := await reader.read(65536)):
                answer += part
            return answer
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("faults", "seen"),
    [
        pytest.param(Faults(), ANSWER, id="none"),
        pytest.param(Faults(refuse=True), "ConnectionResetError", id="refuse"),
        pytest.param(Faults(hold=True), "TimeoutError", id="hold"),
        pytest.param(Faults(latency=0.05, jitter=0.01), ANSWER, id="latency"),
        pytest.param(Faults(rate=10_000_000), ANSWER, id="rate"),
        pytest.param(Faults(slice=1000), ANSWER, id="slice"),
        pytest.param(Faults(reset_after=1000), "ConnectionResetError", id="reset"),
        pytest.param(Faults(cut_after=1000), ANSWER[:1000], id="cut"),
        pytest.param(Faults(drop_replies=True), "TimeoutError", id="drop-replies"),
    ],
)
async def test_each_fault_is_seen_by_the_client(echo: int, faults: Faults, seen: bytes | str) -> None:
    """A client behind the proxy sees exactly the fault that was switched on."""
    async with FaultProxy("127.0.0.1", echo) as proxy:
        proxy.be(faults)
        assert await ask(proxy.port, 0.3 if seen == "TimeoutError" else 5.0) == seen


async def test_a_flipped_bit_is_one_bit(echo: int) -> None:
    """`flip` changes one bit and not the number of bytes."""
    async with FaultProxy("127.0.0.1", echo) as proxy:
        proxy.be(Faults(flip=1.0))
        answer = await ask(proxy.port)
        assert isinstance(answer, bytes)
        assert len(answer) == len(ANSWER) and answer != ANSWER


async def test_what_was_held_passes_later(echo: int) -> None:
    """A connection survives being paused, and its bytes pass afterwards without loss."""
    async with FaultProxy("127.0.0.1", echo) as proxy:
        proxy.be(Faults(hold=True))
        asked = asyncio.create_task(ask(proxy.port))
        while not proxy.seen:
            await asyncio.sleep(0.01)
        proxy.be(Faults())
        assert await asked == ANSWER
