"""From the first message to a public page, over HTTP alone; with models, kills and two servers."""

import asyncio
import json
import os
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api_calls import calling, ended, environ, events, new_project, submit
from tests.support.chat_vendors import MODELS, chat_settings
from tests.support.deadlines import LONG
from tests.support.internet import Answer, Wire
from tests.support.servers.picasso import Server, running

HTML = '<h1>{{TITLE}}</h1><p>{{SUBTITLE}}</p><img src="{{IMAGE_HERO}}" alt="">'


async def new_page(client: httpx.AsyncClient, variants: int = 2) -> str:
    """A project with images, a template, and a draft artifact."""
    project = await new_project(client, "Autumn campaign")
    job = await submit(client, project, variants=variants)
    await ended(client, job["jobId"])
    template = (await client.post("/api/templates", json={"name": "card", "html": HTML})).json()["templateR2Key"]
    wanted = {"templateR2Key": template, "title": "A card", "projectIds": [project], "ownerId": "ada"}
    made = await client.post("/api/artifacts", json=wanted)
    assert made.status_code == 201, made.text
    return str(made.json()["artifact_id"])


async def say(client: httpx.AsyncClient, page: str, said: str, session: str = "s", **headers: str) -> dict[str, Any]:
    answer = await client.post(
        f"/api/artifacts/{page}/customize", json={"sessionId": session, "input": said}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_person_without_an_account_finishes_a_page_by_chat(tmp_path: Path) -> None:
    """Four sentences over HTTP finish a page; the stream has tokens, tool calls and the published page, which can then
    be read."""
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        page = await new_page(client)
        hello = await say(client, page, "hello")
        assert hello["missing"] == ["TITLE", "SUBTITLE", "IMAGE_HERO"] and "Autumn campaign" in hello["reply"]
        await say(client, page, "title: Autumn, subtitle: Leaves fall")
        full = await say(client, page, "use the best one as hero")
        assert full["missing"] == [] and full["publicSlug"] is None and "publish" in full["reply"]
        done = await say(client, page, "publish")
        public = await client.get(f"/public/artifact/{done['publicSlug']}")
        assert public.status_code == 200 and "<h1>Autumn</h1>" in public.text
        assert full["configuration"]["IMAGE_HERO"] in public.text and str(public.url) in done["reply"]
        told = [event for event in await events(client) if event["type"] in ("agent", "artifact")]
        kinds = {event["data"].get("kind") for event in told}
        assert kinds >= {"token", "tool_call", "message"} and told[-1]["data"].get("text") == done["reply"]
        said = (await client.get(f"/api/artifacts/{page}/messages", params={"sessionId": "s"})).json()["items"]
        assert [item["role"] for item in said] == ["user", "assistant"] * 4


async def test_a_model_fills_and_publishes_a_page(tmp_path: Path) -> None:
    """An OpenAI-compatible server streams words and tool calls; each call to it is a row that is paid once."""
    async with Wire() as wire:
        chosen = chat_settings(tmp_path / "talk", wire)
        models = {"DEFAULT_MODEL_REASONING": MODELS["openai"], "PRICES": str(chosen.prices)}
        async with running(tmp_path, **environ(**chosen.vendor, **models)) as server, calling(server) as client:
            page = await new_page(client)
            projects = (await client.get(f"/api/artifacts/{page}")).json()["project_ids"]
            choices = [{"key": "TITLE", "value": "Autumn"}, {"key": "SUBTITLE", "value": "Leaves"}]
            script = [
                Answer(calls=[("get_projects_for_artifact", {})]),
                Answer(calls=[("get_images_for_project", {"project_id": projects[0]})]),
                Answer(calls=[("save_configuration", {"choices": [*choices, {"key": "IMAGE_HERO", "value": "1"}]})]),
                Answer(text="The page is filled with image 1 as its hero.", calls=[("render_artifact", {})]),
                Answer(text="I cannot publish before you say so. Shall I publish?"),
            ]
            wire.scripts["openai_chat"].extend(script)
            full = await say(client, page, "Fill it as you like, with the best picture.")
            assert full["missing"] == [] and full["publicSlug"] is None
            assert [call["outcome"] for call in full["toolCalls"]] == ["ok", "ok", "ok", "not_approved"]
            wire.scripts["openai_chat"].extend([Answer(calls=[("render_artifact", {})]), Answer(text="It is public.")])
            done = await say(client, page, "Yes, publish it.")
            public = await client.get(f"/public/artifact/{done['publicSlug']}")
            assert public.status_code == 200 and str(public.url) in done["reply"]
            told = [event["data"] for event in await events(client) if event["type"] == "agent"]
            assert "It is public." in "".join(data["text"] for data in told if data["kind"] == "token")
        calls = [call for call in wire.of("openai_chat") if "tools" in call.body]
        assert len(calls) == 7 and all(call.body["stream"] and len(call.body["tools"]) == 4 for call in calls)
        assert "Fill it as you like" in json.dumps(calls[0].body["messages"])
        rows = ledger(tmp_path)
        assert [row["state"] for row in rows] == ["succeeded"] * 7
        assert [row["cost_micros"] for row in rows] == [round(call.bill * 1e6) for call in calls]
        assert all(row["project_id"] == projects[0] and row["request_id"] for row in rows)


def ledger(home: Path) -> list[dict[str, Any]]:
    """The calls to models that were made for chats."""
    with sqlite3.connect(home / "picasso.db") as db:
        db.row_factory = sqlite3.Row
        sql = "SELECT * FROM model_calls WHERE purpose = 'chat' ORDER BY created_at, subject, number"
        return [dict(row) for row in db.execute(sql)]


@pytest.mark.soak
async def test_a_model_that_cannot_or_does_not_answer_is_told_clearly(tmp_path: Path) -> None:
    """No tools, no quota, a refusal, a connection cut: each gives a plain sentence without upstream text, and the chat
    goes on."""
    async with Wire() as wire:
        chosen = chat_settings(tmp_path / "talk", wire)
        given = {**chosen.vendor, "PRICES": str(chosen.prices)}
        blunt = environ(**given, DEFAULT_MODEL_REASONING=f"{MODELS['openai']}-no-tools")
        async with running(tmp_path, **blunt) as server, calling(server) as client:
            page = await new_page(client)
            told = (await say(client, page, "hello"))["reply"]
            assert "cannot call tools" in told and "DEFAULT_MODEL_REASONING" in told and "unknown" not in told
        able = environ(**given, DEFAULT_MODEL_REASONING=MODELS["openai"])
        async with running(tmp_path, **able) as server, calling(server) as client:
            for fault in ("quota", "refuse", "drop", "truncate", "garbage"):
                wire.scripts["openai_chat"].append(Answer(fault))
                reply = (await say(client, page, "hello", session=fault))["reply"]
                assert reply and not any(
                    word in reply for word in ("pay first", "overloaded", "127.0.0.1", "Traceback")
                )
            wire.scripts["openai_chat"].append(Answer(text="Here I am."))
            assert (await say(client, page, "hello", session="quota"))["reply"] == "Here I am."
        assert all(row["settled_at"] for row in ledger(tmp_path))


async def test_kills_between_and_inside_turns_lose_no_choice(tmp_path: Path, rounds: int) -> None:
    """SIGKILL at random moments of a turn: sent again under its key, each choice is made once, and undone once."""
    dice, turns = random.Random(7), 4 * rounds
    async with running(tmp_path, **environ()) as server, calling(server) as client:
        page = await new_page(client)
        await say(client, page, "title: T0")
        await killed_in(server, client, page, 1, dice)
    for number in range(1, turns + 1):
        async with running(tmp_path, **environ()) as server, calling(server) as client:
            again = await say(client, page, f"title: T{number}", **{"Idempotency-Key": f"k{number}"})
            assert again["configuration"]["TITLE"] == f"T{number}"
            if number < turns:
                await killed_in(server, client, page, number + 1, dice)
                continue
            said = (await client.get(f"/api/artifacts/{page}/messages", params={"sessionId": "s"})).json()["items"]
            asked = [item["text"] for item in said if item["role"] == "user"]
            assert asked == [f"title: T{n}" for n in range(turns + 1)]
            for left in reversed(range(turns)):
                assert (await say(client, page, "undo"))["configuration"] == {"TITLE": f"T{left}"}


async def killed_in(server: Server, client: httpx.AsyncClient, page: str, number: int, dice: random.Random) -> None:
    """Begin turn `number` under its key, and kill the server at some point of it."""
    turn = asyncio.create_task(
        client.post(
            f"/api/artifacts/{page}/customize",
            json={"sessionId": "s", "input": f"title: T{number}"},
            headers={"Idempotency-Key": f"k{number}"},
        )
    )
    await asyncio.wait({turn}, timeout=dice.uniform(0.0, 0.08))
    os.kill(server.process.pid, signal.SIGKILL)
    await asyncio.wait({turn})
    turn.exception()


@pytest.mark.soak
async def test_no_call_to_a_model_is_repeated_after_a_kill(tmp_path: Path) -> None:
    """SIGKILL while the model answers: the call counts, is never made again, and the next turn goes on."""
    async with Wire() as wire:
        chosen = chat_settings(tmp_path / "talk", wire)
        models = {"DEFAULT_MODEL_REASONING": MODELS["openai"], "PRICES": str(chosen.prices)}
        async with running(tmp_path, **environ(**chosen.vendor, **models)) as server, calling(server) as client:
            page = await new_page(client)
            before = len(wire.of("openai_chat"))
            wire.scripts["openai_chat"].append(Answer("hang"))
            turn = asyncio.create_task(
                client.post(f"/api/artifacts/{page}/customize", json={"sessionId": "s", "input": "hello"})
            )
            await wire.received(before + 1, "openai_chat")
            os.kill(server.process.pid, signal.SIGKILL)
            await asyncio.wait({turn})
            turn.exception()
        async with running(tmp_path, **environ(**chosen.vendor, **models)) as server, calling(server) as client:
            wire.scripts["openai_chat"].append(Answer(text="Welcome back."))
            assert (await say(client, page, "are you there?"))["reply"] == "Welcome back."
            said = (await client.get(f"/api/artifacts/{page}/messages", params={"sessionId": "s"})).json()["items"]
            assert [item["role"] for item in said] == ["user", "assistant", "user", "assistant"]
        rows = ledger(tmp_path)
        assert [row["state"] for row in rows] == ["uncertain", "succeeded"] and len(
            wire.of("openai_chat")
        ) == before + 2
        assert rows[0]["cost_micros"] == rows[0]["quote_micros"]


@pytest.mark.soak
async def test_two_servers_and_the_death_of_one_lose_no_choice(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    """Two servers over one PostgreSQL and one Redis make simultaneous turns one after the other. After SIGKILL of a
    server in the middle of a turn, while another server's turn waits: what was chosen stays, is not chosen twice, and
    the waiting turn is answered."""
    async with Wire() as wire:
        chosen = chat_settings(tmp_path / "talk", wire)
        folders = {"BUCKET": f"file://{tmp_path}/bucket", "IMAGES": f"file://{tmp_path}/images", "API_KEY": "k" * 40}
        models = {"DEFAULT_MODEL_REASONING": MODELS["openai"], "PRICES": str(chosen.prices), **chosen.vendor}
        shared = environ(DB=postgres_url, REDIS_URL=redis_url, **folders, **models)
        script = wire.scripts["openai_chat"]
        async with (
            running(tmp_path / "one", **shared) as one,
            running(tmp_path / "two", **shared) as two,
            calling(one) as first,
            calling(two) as second,
        ):
            page = await new_draft(first)
            script.extend(answer for n in range(6) for answer in (titled(f"T{n}"), Answer(text="Done.")))
            turns = [say(client, page, "a title") for client in (first, second) * 3]
            answers = await asyncio.wait_for(asyncio.gather(*turns), LONG)
            assert {answer["configuration"]["TITLE"] for answer in answers} == {f"T{n}" for n in range(6)}
            script.extend([titled("Last"), Answer("hang")])
            cut = asyncio.create_task(say(first, page, "a last one"))
            await wire.received(14, "openai_chat")
            script.append(Answer(text="Here I am."))
            waiting = asyncio.create_task(say(second, page, "and me?"))
            await asyncio.wait({waiting}, timeout=0.3)
            os.kill(one.process.pid, signal.SIGKILL)
            answer = await asyncio.wait_for(waiting, LONG)
            assert "Here I am." in answer["reply"] and answer["configuration"] == {"TITLE": "Last"}
            await asyncio.wait({cut})
            assert isinstance(cut.exception(), httpx.TransportError)
            script.extend([Answer(calls=[("save_configuration", {"undo": True})]), Answer(text="Undone.")])
            before = (await say(second, page, "undo"))["configuration"]["TITLE"]
            assert before != "Last" and before.startswith("T")
            said = (await second.get(f"/api/artifacts/{page}/messages", params={"sessionId": "s"})).json()["items"]
            assert [item["role"] for item in said] == ["user", "assistant"] * 9
            assert [item["text"] for item in said][12::2] == ["a last one", "and me?", "undo"]
        assert len(wire.of("openai_chat")) == 17


def titled(title: str) -> Answer:
    return Answer(calls=[("save_configuration", {"choices": [{"key": "TITLE", "value": title}]})])


async def new_draft(client: httpx.AsyncClient) -> str:
    """A page that has one text to fill and no images."""
    project = await new_project(client, "Words")
    template = (await client.post("/api/templates", json={"name": "t", "html": "<h1>{{TITLE}}</h1>"})).json()
    wanted = {"templateR2Key": template["templateR2Key"], "title": "Words", "projectIds": [project]}
    return str((await client.post("/api/artifacts", json=wanted)).json()["artifact_id"])
