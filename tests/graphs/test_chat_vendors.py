"""A chat about a page with each vendor's model: its wire format, its thoughts, its ways to fail."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.chat_vendors import MODELS, VENDORS, chat_settings
from tests.support.internet import Answer, Wire
from tests.support.samples.chat_page import SMALL, chatting, page, say, session_events, url_of
from tools import db
from tools.env import Env
from tools.ledger.model_calls import ModelCall

each_family = pytest.mark.parametrize("family", MODELS)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire() as wire:
        yield wire


def vendors(home: Path, wire: Wire, model: str) -> dict[str, Any]:
    """The environment in which that model, played on the wire, is the one that chats."""
    chosen = chat_settings(home / "talk", wire)
    return {**chosen.vendor, "PRICES": str(chosen.prices), "DEFAULT_MODEL_REASONING": model, "VENDOR_SECONDS": "20"}


async def ledger(env: Env) -> list[ModelCall]:
    return await env.DB.all("SELECT * FROM model_calls WHERE purpose = 'chat' ORDER BY created_at, number", ModelCall)


@each_family
async def test_a_turn_with_tools_passes_over_each_vendor(
    tmp_path: Path, redis_client: Redis, wire: Wire, family: str
) -> None:
    """Calls in pieces, several at once, also beside words; thoughts go back signed; each call is paid once."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, MODELS[family])) as env:
        await page(env, "c", SMALL)
        chosen = {"choices": [{"key": "TITLE", "value": "Autumn – “früh” 🍂"}, {"key": "IMAGE_HERO", "value": "2"}]}
        wire.scripts[VENDORS[family]].extend(
            [
                Answer(calls=[("get_projects_for_artifact", {}), ("get_images_for_project", {"project_id": "p"})]),
                Answer(
                    text="I take the fog.", calls=[("save_configuration", chosen), ("get_projects_for_artifact", {})]
                ),
                Answer(text="The page is filled."),
                Answer(calls=[("render_artifact", {})]),
                Answer(text="It is public."),
            ]
        )
        full = await say(env, "Fill it as you like", artifact="c")
        assert full["configuration"] == {"TITLE": "Autumn – “früh” 🍂", "IMAGE_HERO": url_of(env, 2)}
        assert [call["outcome"] for call in full["toolCalls"]] == ["ok"] * 4 and "filled" in full["reply"]
        done = await say(env, "Publish it", artifact="c")
        assert done["publicSlug"] and "It is public." in done["reply"]
        tokens = "".join(event["text"] for event in await session_events(env) if event.get("kind") == "token")
        assert tokens == "I take the fog.The page is filled.It is public."
        rows = await ledger(env)
        assert [row.state for row in rows] == ["succeeded"] * 5
        assert [row.cost_micros for row in rows] == [round(call.bill * 1e6) for call in wire.of(VENDORS[family])]


async def test_a_turn_with_tools_passes_over_openais_responses(tmp_path: Path, redis_client: Redis, wire: Wire) -> None:
    """The API that OpenAI wants for its newer models: items in pieces, and each call comes back with its output."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, MODELS["openai"])) as env:
        model: Any = env.AI.chat_model(MODELS["openai"])
        model.use_responses_api = True
        chosen = {"choices": [{"key": "TITLE", "value": "Autumn – “früh” 🍂"}]}
        wire.scripts["openai_responses"].extend(
            [
                Answer(calls=[("get_projects_for_artifact", {}), ("get_images_for_project", {"project_id": "p"})]),
                Answer(text="I set it.", calls=[("save_configuration", chosen)]),
                Answer(text="The title is set."),
                Answer(text="You are welcome."),
            ]
        )
        answer = await say(env, "Set a title")
        assert answer["configuration"] == {"TITLE": "Autumn – “früh” 🍂"} and "is set" in answer["reply"]
        assert [call["outcome"] for call in answer["toolCalls"]] == ["ok"] * 3
        assert (await say(env, "thanks"))["reply"] == "You are welcome."
        rows = await ledger(env)
        assert [(row.state, row.cost_micros) for row in rows] == [
            ("succeeded", round(call.bill * 1e6)) for call in wire.of("openai_responses")
        ]


@each_family
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("error", status=400), "did not take this conversation"),
        (Answer("rate"), "the rate limit"),
        (Answer("quota"), "quota"),
        (Answer("error"), "did not answer"),
        (Answer("drop"), ""),
        (Answer("truncate", text="Once upon a time " * 40), "I could not go on"),
        (Answer("empty", text="", status=401), "did not accept our key"),
        (Answer("empty", text=""), ""),
        (Answer("refuse"), "would not answer"),
    ],
    ids=["400", "rate", "quota", "5xx", "drop", "truncated", "key", "empty", "refused"],
)
async def test_what_goes_wrong_is_a_plain_sentence(
    tmp_path: Path, redis_client: Redis, wire: Wire, family: str, answer: Answer, said: str
) -> None:
    """Each vendor's refusal, limit, outage and cut ends the turn with a sentence of ours, and the chat goes on."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, MODELS[family])) as env:
        wire.scripts[VENDORS[family]].extend([answer, answer])
        reply = (await say(env, "hello"))["reply"]
        print(family, answer.fault, "→", reply)
        assert said in reply and reply
        assert not any(word in reply for word in ("127.0.0.1", "Traceback", "pay first", "overloaded", "Error"))
        wire.scripts[VENDORS[family]].clear()
        wire.scripts[VENDORS[family]].append(Answer(text="Here I am."))
        assert (await say(env, "again"))["reply"] == "Here I am."


@each_family
async def test_a_model_without_tools_is_told_clearly(
    tmp_path: Path, redis_client: Redis, wire: Wire, family: str
) -> None:
    """With a model that cannot call tools, the reply names what is missing and which setting to change."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, f"{MODELS[family]}-no-tools")) as env:
        reply = (await say(env, "hello"))["reply"]
        assert "cannot call tools" in reply and "DEFAULT_MODEL_REASONING" in reply


async def test_a_server_that_does_not_count_streams_is_asked_without(
    tmp_path: Path, redis_client: Redis, wire: Wire
) -> None:
    """After a 400 for `stream_options` the call is repeated once without them, and so are later ones; such a call is
    charged its quote."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, f"{MODELS['openai']}-plain")) as env:
        wire.scripts["openai_chat"].extend([Answer(), Answer(text="Hello."), Answer(text="And again.")])
        assert (await say(env, "hello"))["reply"] == "Hello."
        assert (await say(env, "hello"))["reply"] == "And again."
        assert ["stream_options" in call.body for call in wire.of("openai_chat")] == [True, False, False]
        assert [row.state for row in await ledger(env)] == ["succeeded"] * 2


@pytest.mark.parametrize("family", [family for family in MODELS if family != "gemini"])
async def test_half_a_call_is_not_made(tmp_path: Path, redis_client: Redis, wire: Wire, family: str) -> None:
    """Cut by the limit of its length, a call's arguments are never completed by us: no half text is saved.

    Gemini's calls come whole.
    """
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, MODELS[family])) as env:
        half = '{"choices": [{"key": "TITLE", "value": "Once upon a ti'
        wire.scripts[VENDORS[family]].extend(
            [Answer(calls=[("save_configuration", half)], finish="length"), Answer(text="That was too long.")]
        )
        answer = await say(env, "tell a long story")
        assert answer["configuration"] == {} and answer["toolCalls"][0]["outcome"] == "invalid_arguments"


async def test_arguments_that_cannot_be_read_are_told_to_the_model(
    tmp_path: Path, redis_client: Redis, wire: Wire
) -> None:
    """Broken JSON and calls without ids neither end the turn nor lose a call beside them."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, f"{MODELS['openai']}-untagged")) as env:
        good = {"choices": [{"key": "TITLE", "value": "Autumn"}]}
        calls: list[tuple[str, Any]] = [("save_configuration", '{"choices": [{"key'), ("save_configuration", good)]
        wire.scripts["openai_chat"].extend([Answer(calls=calls), Answer(text="One of the two.")])
        answer = await say(env, "title: Autumn")
        assert sorted(call["outcome"] for call in answer["toolCalls"]) == ["invalid_arguments", "ok"]
        sent = wire.of("openai_chat")[-1].body["messages"]
        asked = [call["id"] for message in sent for call in message.get("tool_calls", [])]
        assert asked == [message["tool_call_id"] for message in sent if message["role"] == "tool"]
        assert len({*asked}) == 2 and all(asked) and json.dumps(sent)


@each_family
async def test_a_spent_budget_ends_the_chat_before_the_call(
    tmp_path: Path, redis_client: Redis, wire: Wire, family: str
) -> None:
    """No byte reaches the vendor; the reply states that the budget is used up, and the built-in model still works."""
    async with chatting(tmp_path, redis_client, **vendors(tmp_path, wire, MODELS[family])) as env:
        await env.DB.run("UPDATE projects SET budget_micros = 0 WHERE id = 'p'")
        reply = (await say(env, "hello"))["reply"]
        assert "budget" in reply and not wire.of(VENDORS[family]) and await ledger(env) == []
        assert await db.get_config(env, "a") == {}
