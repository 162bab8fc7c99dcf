"""The commands that talk to a server: what each does to a real one, and what a person reads when it goes wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.__main__ import make_parser
from app.cli.client import ClientError
from app.cli.commands import COMMANDS
from tests.app.cli.test_client import STREAM, Script
from tests.support.deadlines import LONG
from tests.support.files.small_images import gradient
from tests.support.servers.picasso import Server, running


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("home")) as server:
        yield server


async def run(address: str, key: str, *words: str) -> int:
    args = make_parser().parse_args([*words, "--server", address, "--key", key])
    async with asyncio.timeout(LONG):
        return await COMMANDS[args.command](args)


async def test_every_command_does_its_work(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a first image to the page that a client sees, without leaving the terminal; a file and an image of the
    project can both be edited."""

    async def ask(*words: str) -> Any:
        assert await run(server.url, server.key, *words, "--json") == 0, words
        return json.loads(capsys.readouterr().out)

    (tmp_path / "sketch.png").write_bytes(gradient((200, 40, 30), (20, 60, 160)))
    made = await ask("generate", "a red boat", "--variants", "2")
    again = await ask("edit", made["items"][0]["progressionId"], "a blue boat")
    assert again["projectId"] == made["projectId"] and again["status"] == "complete"
    assert (await ask("edit", str(tmp_path / "sketch.png"), "as a boat"))["status"] == "complete"
    assert (await ask("upload", str(tmp_path / "sketch.png")))["startImageUrl"].startswith("upload:")
    page = await ask("publish", "lookbook", "--project", made["projectId"], "--title", "Boats")
    link = await ask("share", page["artifactId"], "--label", "Ann", "--days", "2", "--views", "9")
    assert (await ask("cancel", made["jobId"]))["status"] == "complete"
    async with server.client() as visitor:
        for url in (page["url"], link["url"]):
            assert "Boats" in (await visitor.get(url)).raise_for_status().text
    assert (await ask("open"))["url"].startswith(f"{server.url}/#sign-in=")


async def test_a_refused_job_leaves_no_project_and_names_the_field(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is out of bounds is told as a person would; nothing was made."""

    async def projects() -> str:
        await run(server.url, server.key, "projects", "--json")
        return capsys.readouterr().out

    before = await projects()
    for words, told in (
        (("generate", "x", "--variants", "9"), "variants: at most 8 "),
        (("generate", "x", "--provider", "rembrandt"), "there is no provider 'rembrandt'"),
        (("edit", "no-such-image", "x"), "neither a file here nor an image there"),
    ):
        with pytest.raises(ClientError, match=told):
            await run(server.url, server.key, *words)
    assert await projects() == before


async def test_an_interrupted_job_goes_on_and_says_how_to_follow_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while the bars are shown ends the command, not the job: its last words are the two commands for it."""
    accepted = {"jobId": "j1", "projectId": "p", "sessionId": "s1", "status": "queued", "items": []}
    body = json.dumps(accepted)
    answer = f"HTTP/1.1 202 X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    async with Script(answer, STREAM).playing() as script:
        command = asyncio.create_task(run(script.address, "k" * 32, "generate", "x", "--project", "p"))
        async with asyncio.timeout(LONG):
            while len(script.requests) < 2:
                await asyncio.sleep(0.01)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        said = capsys.readouterr()
        assert "job j1 of session s1" in said.out
        assert (
            f"watch s1 --server {script.address}`" in said.err and f"cancel j1 --server {script.address}`" in said.err
        )


async def test_a_session_without_events_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`watch` of a name that nothing happened under says so, instead of waiting in silence."""
    body = '{"sessionId":"s","seq":0}'
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    async with Script(answer, STREAM).playing() as script:
        command = asyncio.create_task(run(script.address, "k" * 32, "watch", "s"))
        async with asyncio.timeout(LONG):
            while len(script.requests) < 2:
                await asyncio.sleep(0.01)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
    assert "session s has no events yet" in capsys.readouterr().out
