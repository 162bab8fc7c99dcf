"""The terminal's client against a scripted server on a real socket."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from app.cli.client import Api, ClientError, read_sse

EVENT = 'id: {n}\ndata: {{"sessionId":"s","type":"progress","ts":1,"seq":{n},"data":{{"message":"{text}"}}}}\n\n'
CAUGHT_UP = 'event: caught-up\ndata: {"sessionId":"s","type":"caught-up","data":{"upTo":1}}\n\n'
STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Script:
    """Answers each connection with the next text and closes it; records the requests."""

    def __init__(self, *answers: str) -> None:
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1]))
        self.requests: list[str] = []
        self.address = ""

    @contextlib.asynccontextmanager
    async def playing(self) -> AsyncIterator["Script"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line[15:] for line in head.lower().splitlines() if line.startswith("content-length:")), "0")
        await reader.readexactly(int(length))
        self.requests.append(head)
        writer.write(next(self._answers).encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def header(self, name: str) -> list[str]:
        lines = [line for request in self.requests for line in request.splitlines()]
        return [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name.lower()}:")]


@contextlib.asynccontextmanager
async def talking(*answers: str, key: str | None = None) -> AsyncIterator[tuple[Api, Script]]:
    async with Script(*answers).playing() as script, Api.open(script.address, key) as api:
        yield api, script


def event(n: int, text: str = "") -> str:
    return EVENT.format(n=n, text=text)


def refusal(status: int, code: str, message: str) -> str:
    body = f'{{"error":{{"code":"{code}","message":"{message}","detail":null,"correlationId":"c"}}}}'
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"


async def take(api: Api, since: int, count: int) -> list[int]:
    seen: list[int] = []
    async with contextlib.aclosing(api.follow("s", since)) as envelopes:
        async for envelope in envelopes:
            seen.append(envelope.seq)
            if len(seen) == count:
                break
    return seen


async def test_a_cut_stream_is_taken_up_where_it_was() -> None:
    """After a cut within an event nothing is lost: the next connection sends Last-Event-ID."""
    half = event(4)[: len(event(4)) // 2]
    scripts = (STREAM + event(2) + CAUGHT_UP + event(3) + half, STREAM + event(4) + event(5))
    async with talking(*scripts, key="k" * 32) as (api, script):
        assert await take(api, 1, 4) == [2, 3, 4, 5]
    assert script.header("Last-Event-ID") == ["1", "3"]
    assert script.header("X-Api-Key") == ["k" * 32] * 2


async def test_a_server_that_is_not_ready_is_asked_again() -> None:
    """503 in the middle of a restart is waited out."""
    async with talking(refusal(503, "unavailable", "not now"), STREAM + event(1)) as (api, _script):
        assert await take(api, 0, 1) == [1]


async def test_an_expired_cursor_is_said_not_guessed() -> None:
    """A gap ends the stream in the server's own words."""
    async with talking(refusal(410, "cursor_expired", "this cursor is no longer valid")) as (api, _script):
        with pytest.raises(ClientError, match="no longer valid") as caught:
            await take(api, 7, 1)
    assert caught.value.code == "cursor_expired"


async def test_a_lost_answer_never_makes_a_second_job() -> None:
    """The job is submitted again under the same Idempotency-Key."""
    accepted = '{"jobId":"j","projectId":"p","sessionId":"s","status":"queued","stream":"/x","items":[]}'
    answer = f"HTTP/1.1 202 Accepted\r\nContent-Length: {len(accepted)}\r\nConnection: close\r\n\r\n{accepted}"
    async with talking("", answer) as (api, script):
        assert (await api.submit_job("p", {"prompt": "x"})).job_id == "j"
    keys = script.header("Idempotency-Key")
    assert len(keys) == 2 and keys[0] == keys[1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(401, "unauthorized", "a key is needed"), "a key is needed: give it with --key or API_KEY"),
        (refusal(404, "not_found", "no such project"), "no such project"),
        ("HTTP/1.1 404 X\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<html", "not a picasso server"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
            "is not a picasso server",
        ),
        ("", "was incomplete"),
    ],
    ids=["no key", "unknown", "another server's page", "another server's JSON", "cut"],
)
async def test_what_goes_wrong_is_one_clear_line(answer: str, words: str) -> None:
    """A person reads what happened and what to do, without a traceback."""
    async with talking(answer) as (api, _script):
        with pytest.raises(ClientError, match=words) as caught:
            await api.list_projects()
    assert "\n" not in str(caught.value)


async def test_no_server_is_said_with_the_way_to_start_one() -> None:
    """The first thing a new user meets names the command that helps."""
    async with Script("").playing() as script:
        pass
    async with Api.open(script.address, None) as api:
        with pytest.raises(ClientError, match="start one with `picasso serve`"):
            await api.list_projects()
        assert not await api.is_ready()


async def test_any_text_may_stand_in_an_event() -> None:
    """Only LF and CRLF end a line; separators that Python would split at stay in the text, however the bytes arrive."""
    text = 'data: "a\u2028b\x0bc\x85d"\r\n\r\n: comment\ndata:1\ndata: 2\n\nid: 5\n\n'.encode()

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    for size in (1, 3, len(text)):
        assert [data async for data in read_sse(chunks(size))] == ['"a\u2028b\x0bc\x85d"'.encode(), b"1\n2"]


async def test_an_endless_line_is_refused() -> None:
    """A server that never ends its line cannot fill the memory."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"data: " + b"x" * (1 << 20)

    with pytest.raises(ClientError, match="too long"):
        async for _ in read_sse(endless()):
            pass
