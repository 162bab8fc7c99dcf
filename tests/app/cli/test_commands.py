"""The commands as a person types them: real processes, a real server."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.__main__ import main
from app.cli.progress import Bar, Board
from app.cli.terminal import describe_results
from tests.support.deadlines import LONG
from tests.support.servers import forked
from tests.support.servers.picasso import Server, running
from tests.support.servers.valkey import Valkey

ROOT = Path(__file__).parents[3]
NO_JOBS = ("app", "serve", "--no-jobs")


def environment(home: Path, **environ: str) -> dict[str, str]:
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**plain, "PYTHONPATH": str(ROOT), "PICASSO_HOME": str(home), "SKETCH_SECONDS": "0", **environ}


async def picasso(home: Path, *args: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        process = forked.start(("app", *args), environment(home, **environ), out, err)
        try:
            code = await asyncio.wait_for(process.wait(), LONG)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return code, out.read_text(), err.read_text()


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running(tmp_path_factory.mktemp("home")) as server:
        yield server


async def ask(server: Server, *args: str) -> tuple[int, Any, str]:
    """A client command with `--json` against the server; its stdout decoded."""
    code, out, err = await picasso(server.home, *args, "--server", server.url, "--json")
    return code, json.loads(out) if out else None, err


@pytest.mark.parametrize(
    "args", [["serve", "--port", "0"], ["migrate"], ["seed"], ["dead-letters"], ["demo"], ["projects"]], ids=" ".join
)
@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_home_that_cannot_be_used_is_one_line(
    tmp_path: Path, args: list[str], home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 78 and a sentence that names the setting and the place, from every command that needs the home."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PICASSO_HOME", str(tmp_path / home))
    assert main(args) == 78
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(tmp_path / home) in line and "Errno" not in line
    assert line.startswith(("picasso: PICASSO_HOME cannot", "picasso: DB cannot be opened at"))


async def test_a_port_that_is_taken_by_ours_is_told(server: Server, tmp_path: Path) -> None:
    """The line says whether the server that has the port is the one of this data directory or another picasso."""
    for home, words in ((server.home, "the picasso of this data directory"), (tmp_path, "another picasso")):
        code, _, err = await picasso(home, "serve", "--port", str(server.port))
        assert code == 1 and err.count("\n") == 1
        assert f"cannot listen on 127.0.0.1 port {server.port}" in err and words in err


def test_what_the_judge_said_of_all_is_said_once() -> None:
    """Each image's own notes stand beside it; those that all share stand once at the end."""
    bars = (
        Bar(
            item_id="a",
            provider="sketch",
            variant_index=0,
            status="complete",
            judgment="pass",
            notes=["measured", "no boat seen"],
        ),
        Bar(
            item_id="b",
            provider="sketch",
            variant_index=1,
            status="complete",
            judgment="fail",
            notes=["measured", "too dark"],
        ),
    )
    rows = describe_results(Board(job_id="j", bars=bars))
    assert [text for _, text, _ in rows] == ["complete · pass · no boat seen", "complete · fail · too dark", "measured"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["serve", "--env", "staging"], "invalid choice: 'staging'"),
        (["serve", "--workers", "0"], "at least 1"),
        (["generate"], "PROMPT"),
        (["generate", "x", "--variants", "many"], "not a whole number"),
        (["watch", "s", "--since", "-1"], "--since"),
    ],
    ids=["nothing", "unknown", "no such stage", "no workers", "no prompt", "no number", "a negative cursor"],
)
def test_what_is_not_understood_is_one_line(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a line that names the argument and the way to the help."""
    with pytest.raises(SystemExit) as ended:
        main(args)
    line = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in line and "--help" in line and line.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "environ", "words"),
    [
        (["serve", "--port", "eighty"], {}, "PORT must be a whole number"),
        (["serve", "--host", "0.0.0.0"], {}, "API_KEY must be set"),
        (["serve", "--workers", "2"], {}, "--workers above 1 needs DB=postgresql://"),
        (["worker"], {"DB": "mysql://x"}, "DB must be an address"),
        (["migrate", "--env", "preview"], {"PREVIEW_MAX_BODY": "big"}, "MAX_BODY must be"),
        (["demo"], {"API_KEY": "short"}, "API_KEY must have at least 32"),
        (["projects"], {"VIEW_IP": "some"}, "VIEW_IP must be one of"),
    ],
)
async def test_a_setting_that_cannot_be_used_ends_with_78(
    args: list[str], environ: dict[str, str], words: str, tmp_path: Path
) -> None:
    """Every command refuses the same way: the name of the setting, one line, exit code 78."""
    code, out, err = await picasso(tmp_path, *args, **environ)
    assert (code, out) == (78, "")
    assert err.startswith(f"picasso: {words}") and err.count("\n") == 1


async def test_a_client_without_a_server_says_how_to_start_one(tmp_path: Path) -> None:
    """Exit code 1 and the command that helps."""
    code, out, err = await picasso(tmp_path, "projects", "--server", "http://127.0.0.1:9")
    assert (code, out) == (1, "")
    assert "picasso serve" in err and err.count("\n") == 1


async def test_migrate_and_seed_say_what_they_did(tmp_path: Path) -> None:
    """The first run applies, the second finds everything there; preview has a database of its own."""
    code, out, _ = await picasso(tmp_path, "migrate")
    assert code == 0 and {line.split()[1] for line in out.splitlines()} == {"applied"}
    code, again, _ = await picasso(tmp_path, "migrate")
    assert code == 0 and "applied" not in again and len(again.splitlines()) == len(out.splitlines())
    code, tips, _ = await picasso(tmp_path, "seed", "--env", "preview")
    assert code == 0 and int(tips.split()[0]) > 0
    assert (tmp_path / "preview" / "picasso.db").exists()


async def test_generate_makes_images_and_says_where(server: Server) -> None:
    """A job from the terminal ends like one over HTTP, and the project it made is listed."""
    code, made, err = await ask(server, "generate", "a red boat", "--provider", "sketch", "--variants", "2")
    assert (code, err, made["status"]) == (0, "", "complete")
    assert [item["variantIndex"] for item in made["items"]] == [0, 1]
    assert made["items"][0]["generatedImageUrl"].startswith(server.url)
    code, projects, _ = await ask(server, "projects")
    assert code == 0 and [project["name"] for project in projects if project["id"] == made["projectId"]] == [
        "a red boat"
    ]


async def test_generate_shows_its_way_where_it_cannot_redraw(server: Server) -> None:
    """Without a terminal there are plain lines: no colour, no cursor movement, every image's address."""
    code, out, err = await picasso(server.home, "generate", "a blue boat", "--server", server.url)
    assert (code, err) == (0, "")
    assert "sketch 0    painting" in out and f"{server.url}/images/" in out and "\x1b" not in out


async def test_a_refused_job_is_told_in_the_servers_words(server: Server) -> None:
    """An unknown provider is one line and exit code 1; a wrong key explains how to give the right one."""
    code, out, err = await ask(server, "generate", "x", "--provider", "rembrandt")
    assert (code, out) == (1, None) and "rembrandt" in err and err.count("\n") == 1
    code, out, err = await ask(server, "generate", "x", "--key", "w" * 32)
    assert (code, out) == (1, None) and "--key or API_KEY" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_watch_tells_events_until_it_is_stopped(server: Server, number: signal.Signals, code: int) -> None:
    """A replay with --since comes in order, one JSON object per line; Ctrl-C ends it with 130, also a process that a
    shell began in its background, where SIGINT is ignored."""
    _, made, _ = await ask(server, "generate", "a green boat")
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "watch", made["sessionId"], "--since", "1", "--server", server.url, "--json",
        env=environment(server.home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert watch.stdout is not None
    seen = [json.loads(await asyncio.wait_for(watch.stdout.readline(), LONG)) for _ in range(3)]
    watch.send_signal(number)
    _, err = await asyncio.wait_for(watch.communicate(), LONG)
    assert [event["seq"] for event in seen] == [2, 3, 4]
    assert (watch.returncode, err) == (code, b"picasso: stopped\n")


async def test_dead_letters_are_listed_beside_a_running_server(server: Server) -> None:
    """The queue can be looked into while it works; without trouble it is empty."""
    code, out, err = await picasso(server.home, "dead-letters", "--json")
    assert (code, err, json.loads(out)) == (0, "", [])


async def test_dead_letters_are_redriven_beside_a_running_server(server: Server) -> None:
    """`dead --redrive` reports how many messages went back; without failures there are none."""
    assert await picasso(server.home, "dead", "--redrive", "--json") == (0, '{"redriven":0}\n', "")
    assert (await picasso(server.home, "dead-letters", "--redrive"))[1] == "0 dead letters are back in the queue\n"


async def test_a_second_server_on_the_data_directory_is_refused(server: Server) -> None:
    """Only one process may use a SQLite file; the second one names the setting to change."""
    for command in ("migrate", "worker"):
        code, _, err = await picasso(server.home, command)
        assert code == 78 and "DB=postgresql://" in err


async def test_a_worker_runs_what_a_server_leaves_to_it(tmp_path: Path, postgres_url: str, own_valkey: Valkey) -> None:
    """`serve --no-jobs` accepts jobs, `worker` on the same PostgreSQL and Redis runs them; SIGTERM drains it to exit
    code 0."""
    shared = {"DB": postgres_url, "REDIS_URL": own_valkey.url}
    async with running(tmp_path, command=NO_JOBS, DB=postgres_url, REDIS_URL=own_valkey.url) as server:
        with (tmp_path / "worker.log").open("wb") as log:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "app", "worker", env=environment(tmp_path, **shared), stderr=log
            )
        try:
            code, made, err = await ask(server, "generate", "a white boat")
            assert (code, err, made["status"]) == (0, "", "complete")
        finally:
            worker.terminate()
        assert await asyncio.wait_for(worker.wait(), LONG) == 0
