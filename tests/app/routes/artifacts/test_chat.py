"""The chat's routes: access, session names, and answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.main import Application
from app.settings import Settings
from tests.support.asgi_client import Answer, call, running_app
from tests.support.environment import settings
from tests.support.samples.chat_page import chatting, url_of
from tests.support.samples.page_site import KEY
from tools.env import Env

HEADERS = {"x-api-key": KEY, "content-type": "application/json"}
CHAT = "/api/artifacts/a/customize"


@pytest.fixture
async def served(tmp_path: Path, redis_client: Redis) -> AsyncIterator[tuple[Application, Env]]:
    """The whole application over the parts of a chat."""
    opened: list[Env] = []

    @contextlib.asynccontextmanager
    async def bindings(chosen: Settings) -> AsyncIterator[Env]:
        async with chatting(tmp_path, redis_client) as env:
            opened.append(env)
            yield env

    async with running_app(settings(tmp_path, API_KEY=KEY), bindings=bindings) as app:
        yield app, opened[0]


async def say(app: Application, said: Any, session: Any = "s", path: str = CHAT, **headers: str) -> Answer:
    body = json.dumps({"sessionId": session, "input": said}).encode()
    return await call(app, "POST", path, {**HEADERS, **headers}, body)


async def read(app: Application, session: str = "s", path: str = "/api/artifacts/a/messages") -> Answer:
    return await call(app, "GET", f"{path}?sessionId={session}", {"x-api-key": KEY})


async def test_a_turn_is_answered_and_read_again(served: tuple[Application, Env]) -> None:
    """The reply has what is missing, chosen and called; the messages have both sides in order."""
    app, env = served
    first = await say(app, "use image 2 as hero and title: Autumn")
    assert first.status == 200
    answer = first.json()
    assert list(answer) == ["reply", "missing", "configuration", "publicSlug", "toolCalls"]
    assert answer["configuration"] == {"TITLE": "Autumn", "IMAGE_HERO": url_of(env, 2)}
    assert answer["missing"] == ["SUBTITLE", "IMAGE_2", "THEME"] and answer["publicSlug"] is None
    assert [call["name"] for call in answer["toolCalls"]][-1] == "save_configuration"
    items = (await read(app)).json()["items"]
    assert [item["role"] for item in items] == ["user", "assistant"]
    assert items[1]["text"] == answer["reply"] and items[0]["at"] <= items[1]["at"]
    assert (await read(app, "nobody")).json() == {"items": []}


async def test_a_form_fills_what_a_chat_fills(served: tuple[Application, Env]) -> None:
    """Values of a form are saved together or not at all, an image by its address; the chat takes them back at once."""
    app, env = served

    async def fill(**values: str) -> Answer:
        body = json.dumps({"sessionId": "s", "values": values}).encode()
        return await call(app, "PATCH", "/api/artifacts/a/configuration", HEADERS, body)

    filled = await fill(TITLE=" Autumn: a start; and \u201cmore\u201d\nlines ", IMAGE_HERO=url_of(env, 2), THEME="dark")
    assert filled.status == 200 and filled.json() == {
        "missing": ["SUBTITLE", "IMAGE_2"],
        "configuration": {
            "TITLE": "Autumn: a start; and \u201cmore\u201d\nlines",
            "IMAGE_HERO": url_of(env, 2),
            "THEME": "dark",
        },
    }
    refused = await fill(SUBTITLE="kept out", IMAGE_2="https://evil.example/x.png", NOTHING="a")
    assert refused.status == 422
    assert [each["field"] for each in refused.json()["error"]["detail"]["errors"]] == [
        "values.IMAGE_2",
        "values.NOTHING",
    ]
    assert (await fill(THEME="")).json()["missing"] == ["SUBTITLE", "IMAGE_2", "THEME"]
    assert (await say(app, "undo")).json()["configuration"]["THEME"] == "dark"
    assert (await say(app, "undo")).json()["configuration"] == {}
    assert (await fill()).status == 400
    assert (await call(app, "PATCH", "/api/artifacts/a/configuration", {}, b"{}")).status == 401


async def test_a_button_publishes(served: tuple[Application, Env]) -> None:
    """`approve` without words publishes what is filled; unfilled it does not, and without either it is 422."""
    app, _ = served

    async def press(**body: Any) -> Answer:
        return await call(app, "POST", CHAT, HEADERS, json.dumps({"sessionId": "s", **body}).encode())

    early = (await press(approve=True)).json()
    assert early["publicSlug"] is None and "still needs" in early["reply"]
    await say(app, "pick for me\ntheme: dark")
    pressed = (await press(approve=True)).json()
    assert pressed["publicSlug"] and pressed["publicSlug"] in pressed["reply"]
    refused = await press()
    assert (refused.status, refused.json()["error"]["code"]) == (422, "invalid_request")


async def test_both_need_the_key(served: tuple[Application, Env]) -> None:
    """Neither a word nor a reading without it, right or wrong artifact alike."""
    app, _ = served
    for path in (CHAT, "/api/artifacts/nobody/customize"):
        assert (await say(app, "hello", path=path, **{"x-api-key": "wrong"})).status == 401
    assert (await call(app, "GET", "/api/artifacts/a/messages?sessionId=s")).status == 401


async def test_what_is_not_there_is_404(served: tuple[Application, Env]) -> None:
    """An artifact that does not exist has no chat."""
    app, _ = served
    assert (await say(app, "hello", path="/api/artifacts/nobody/customize")).status == 404
    assert (await read(app, path="/api/artifacts/nobody/messages")).status == 404


CONFUSED: list[Any] = [
    None, True, 7, 1.5, [], ["s"], [["s"]], {}, {"$ne": ""}, {"$gt": ""}, {"s": "s"}, "", " ", "s t", "s\nt", "s/t",
    "../s", "s\u0000", "s\u200b", "ſ", "ｓ", "s%2e", "s*", "s?", "s{a}", "s,t", "s;t", "s'--", 's"', "s\\", "ß", "日本",
    "\u202es", "s" * 129,
    "s" * 4096, "memory:{x}", "a b", "s#", "s&t", "<s>", "$(s)", "`s`", "s|t", "~s", "+s", "@s", "s=1", "%73",
]  # fmt: skip
OTHERS = ["S", "s.", "s:", "s-", "s_", "s0", "S:s", "a:s", "artifact:a:s", ":s", "b:s", "a", "job:s"]


async def test_memory_is_private(served: tuple[Application, Env]) -> None:
    """Sixty session ids that are guessed, folded or of the wrong type: refused, or another empty conversation."""
    app, _ = served
    assert len(CONFUSED) + len(OTHERS) >= 60
    await say(app, "title: a private word")
    for session in CONFUSED:
        assert (await say(app, "what is the title", session)).status == 400, session
        if isinstance(session, str) and session.isascii() and session.isprintable() and session.strip():
            quoted = "".join(f"%{byte:02x}" for byte in session.encode())
            assert (await read(app, quoted)).status in (400, 414), session
    for session in OTHERS:
        assert (await read(app, session)).json() == {"items": []}, session
    for path in ("/api/artifacts/b/messages",):
        assert (await read(app, path=path)).json() == {"items": []}
    assert (await call(app, "GET", "/api/artifacts/a/messages", {"x-api-key": KEY})).status == 400
    assert (
        await call(app, "GET", "/api/artifacts/a/messages?sessionId=x&sessionId=s", {"x-api-key": KEY})
    ).status == 400


async def test_words_are_bounded(served: tuple[Application, Env]) -> None:
    """Empty, too long, with control characters or with other fields: 400 naming the field, and no message is stored."""
    app, _ = served
    for said in ("", "   ", "x" * 4001, "a\u0000b", None, ["hello"], 7):
        answer = await say(app, said)
        assert (answer.status, answer.json()["error"]["detail"]["errors"][0]["field"]) == (400, "input"), said
    body = json.dumps({"sessionId": "s", "input": "hello", "ownerId": "x"}).encode()
    assert (await call(app, "POST", CHAT, HEADERS, body)).status == 400
    assert (await read(app)).json() == {"items": []}


async def test_the_same_key_is_the_same_turn(served: tuple[Application, Env]) -> None:
    """Sent again, also at once: one turn and one answer; other words under it are 409."""
    app, _ = served
    again = await asyncio.gather(*(say(app, "title: Once", **{"idempotency-key": "k"}) for _ in range(5)))
    assert {answer.status for answer in again} == {200} and len({answer.body for answer in again}) == 1
    assert len((await read(app)).json()["items"]) == 2
    other = await say(app, "title: Twice", **{"idempotency-key": "k"})
    assert (other.status, other.json()["error"]["code"]) == (409, "idempotency_mismatch")


async def test_turns_at_once_are_answered_one_after_the_other(served: tuple[Application, Env]) -> None:
    """Twelve at once over HTTP: each is in the conversation, whole and in pairs."""
    app, _ = served
    answers = await asyncio.gather(*(say(app, f"title: T{n}") for n in range(12)))
    assert {answer.status for answer in answers} == {200}
    items = (await read(app)).json()["items"]
    assert [item["role"] for item in items] == ["user", "assistant"] * 12
    asked = [item["text"].removeprefix("title: ") for item in items[::2]]
    assert all(f"“{said}”" in item["text"] for said, item in zip(asked, items[1::2], strict=True))


ODD_KEYS = ["", " ", '""', "k" * 256, '"' + "k" * 256 + '"', "a b", 'a"b', "k\u00e4", "k,l", "[1]", "k;l=1", "\t"]


async def test_odd_keys_are_refused_before_anything_is_said(served: tuple[Application, Env]) -> None:
    """No token, too long, or twice: 400; in another session or on another page a key names another turn."""
    app, _ = served
    for key in ODD_KEYS:
        answer = await say(app, "title: Odd", **{"idempotency-key": key})
        assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_idempotency_key"), key
    twice = [*HEADERS.items(), ("idempotency-key", "a"), ("idempotency-key", "b")]
    body = json.dumps({"sessionId": "s", "input": "title: Odd"}).encode()
    assert (await call(app, "POST", CHAT, twice, body)).status == 400
    assert (await read(app)).json() == {"items": []}
    for session, page in (("s", "a"), ("t", "a"), ("s", "b")):
        path = f"/api/artifacts/{page}/customize"
        answer = await say(app, f"title: {session}{page}", session, path, **{"idempotency-key": '"../:s/t"'})
        assert answer.json()["configuration"]["TITLE"] == f"{session}{page}"
