"""`picasso demo`: runs one real job and a lookbook on a server of its own, and checks that every link responds."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import msgspec
from rich.console import Console

from app.cli.client import Api, ClientError, find_key, local_address
from app.cli.progress import Bar, Board
from app.cli.terminal import (
    Row,
    command_name,
    describe_results,
    open_console,
    print_json,
    show_rows,
    waiting,
    watch_job,
)
from app.lifecycle import FAILED, REFUSED
from app.settings import SettingError, Settings, process_environment, read_settings
from tools.rows import JobStatus, new_id

PROMPT = "a small red boat on a calm turquoise lake, snowy mountains behind, morning light"
VARIANTS = 4
IMPORTED_FROM = str(Path(__file__).resolve().parents[2])
"""The folder with our packages, so that the server runs the same code from any directory."""
START_SECONDS = 60.0
DISK_CHECK_SECONDS = 2.0
NEEDED_BYTES = 64 << 20
"""What a new server and the demo's images take on the disk, amply."""
STOP_SECONDS = 40.0


class Server(msgspec.Struct, frozen=True):
    """A running server. `pid` and `log`, its log file, are set when the demo started it."""

    address: str
    key: str | None
    pid: int | None = None
    log: Path | None = None


class Outcome(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What the demo made. `…Answer(s)` are the HTTP statuses that a visitor without a key gets; `ok`: all is well."""

    ok: bool
    server: str
    project_id: str
    project_name: str
    job_id: str
    session_id: str
    status: JobStatus
    items: tuple[Bar, ...]
    image_answers: list[int]
    lookbook_url: str
    lookbook_answer: int
    console_url: str | None
    """Signs in to the console, once; None where the server ends with the demo."""


async def run_demo(stage: str | None, *, keep: bool, as_json: bool) -> int:
    """Run the demo and return the exit code: 0 only if every image and the lookbook could be fetched."""
    console = open_console(aside=as_json)
    settings = read_settings(process_environment(stage))
    async with _open_server(console, settings, stage, keep) as server:
        outcome = await _make_images(console, server, keep or server.pid is None)
        if as_json:
            print_json(outcome)
        else:
            show_rows(console, "Picasso", _result_rows(settings, server, outcome, stage, keep))
    return 0 if outcome.ok else FAILED


async def _make_images(console: Console, server: Server, stays: bool) -> Outcome:
    async with Api.open(server.address, server.key) as api:
        project = await api.create_project(
            f"Demo {datetime.now().astimezone():%Y-%m-%d %H:%M}", "Made by `picasso demo`."
        )
        job = {"prompt": PROMPT, "providers": ["sketch"], "variants": VARIANTS, "sessionId": f"demo-{new_id()}"}
        accepted = await api.submit_job(project.id, job)
        # Jobs wait for a full disk to have room again; whoever tries the demo should not have to wait with them.
        full: ClientError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                guard = group.create_task(_fail_without_room(api))
                board = await watch_job(console, api, accepted)
                guard.cancel()
        except* ClientError as errors:
            full = next(error for error in errors.exceptions if isinstance(error, ClientError))
        if full is not None:
            raise full
        with waiting(console, "making the lookbook"):
            made = await api.make_artifact(project.id, "lookbook")
        lookbook = f"{server.address}/public/lookbook/{made.public_slug}"
        images = [await api.fetch_status(bar.generated_image_url) for bar in board.bars if bar.generated_image_url]
        answer = await api.fetch_status(lookbook)
        link = (await api.make_console_link()).url if stays else None
    return Outcome(
        ok=is_whole(board, images, answer),
        server=server.address,
        project_id=project.id,
        project_name=project.name,
        job_id=board.job_id,
        session_id=accepted.session_id,
        status=board.status,
        items=board.bars,
        image_answers=images,
        lookbook_url=lookbook,
        lookbook_answer=answer,
        console_url=link,
    )


async def _fail_without_room(api: Api) -> NoReturn:
    """Fails: ClientError once the server's disk takes nothing at two checks in a row."""
    problems: list[str | None] = []
    while True:
        await asyncio.sleep(DISK_CHECK_SECONDS)
        problems = [*problems[-1:], await api.disk_problem()]
        if len(problems) == 2 and all(problems):
            raise ClientError(f"the demo cannot go on: {problems[1]}", code="disk_full")


def check_room(home: Path, needed: int = NEEDED_BYTES) -> None:
    """Fails: ClientError when the disk of `home` has less than `needed` bytes free."""
    near = next(each for each in (home, *home.parents) if each.is_dir())
    if (free := shutil.disk_usage(near).free) < needed:
        words = f"the disk of PICASSO_HOME at {home} has {free >> 20} MB free, and the demo needs {needed >> 20}"
        raise ClientError(words, code="disk_full")


def is_whole(board: Board, images: list[int], lookbook: int) -> bool:
    """Whether the job ended well and every link gave 200."""
    ended_well = all(bar.status in ("complete", "duplicate") for bar in board.bars)
    return board.status == "complete" and ended_well and bool(images) and {*images, lookbook} == {200}


@contextlib.asynccontextmanager
async def _open_server(console: Console, settings: Settings, stage: str | None, keep: bool) -> AsyncIterator[Server]:
    """The server that already uses the data directory, or a new one that ends with the block unless kept."""
    if (running := await _find_running(settings)) is not None:
        yield running
        return
    port = _free_port(settings.port)
    environ = process_environment(
        stage, HOST="127.0.0.1", PORT=str(port), PUBLIC_URL=f"http://127.0.0.1:{port}", PYTHONPATH=IMPORTED_FROM
    )
    log = settings.home / "demo.log"
    try:
        check_room(settings.home)
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    except OSError as error:
        raise SettingError(f"PICASSO_HOME cannot be written at {settings.home}: {error.strerror}") from error
    try:
        # stdout is dropped because the key is printed there. A kept server must outlive this terminal; any other one
        # shares its signals.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "app", "serve",
            env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=descriptor,
            start_new_session=keep,
        )  # fmt: skip
    finally:
        os.close(descriptor)
    kept = False
    try:
        with waiting(console, f"starting a server on port {port}"):
            server = await _wait_until_ready(process, read_settings(environ), log)
        yield server
        kept = keep
    finally:
        if not kept and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _find_running(settings: Settings) -> Server | None:
    """A server at our address that accepts our key, which only a server on this data directory can know."""
    address, key = local_address(settings), find_key(settings)
    if key is None:
        return None
    try:
        async with Api.open(address, key) as api:
            await api.session_state("picasso-demo")
    except ClientError:
        return None
    return Server(address, key)


def _free_port(wanted: int) -> int:
    """`wanted` if it is free, so that links stay valid under a later `picasso serve` on it; else any free port."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ClientError("no port is free on 127.0.0.1", code="no_port")


async def _wait_until_ready(process: asyncio.subprocess.Process, settings: Settings, log: Path) -> Server:
    address = local_address(settings)
    async with Api.open(address, None) as api:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (await api.is_ready() and process.returncode is None):
                    if process.returncode is not None:
                        raise startup_error(process.returncode, log)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            words = f"the server was not ready in {START_SECONDS:.0f} s ({_last_words(log)}): see {log}"
            raise ClientError(words, code="late") from None
    return Server(address, find_key(settings), process.pid, log)


class _LogLine(msgspec.Struct):
    msg: str
    route: str | None = None


def _last_words(log: Path) -> str:
    """The last message of a server's log; empty without one. Requests are left out: our own, whether it is ready, may
    come last."""
    for text in reversed(log.read_text(errors="replace").splitlines()):
        try:
            line = msgspec.json.decode(text, type=_LogLine)
        except msgspec.MsgspecError:
            return text.removeprefix("picasso: ")
        if line.route is None:
            return line.msg
    return ""


def startup_error(returncode: int, log: Path) -> Exception:
    """The error for a server that ended while starting: the last message of its log."""
    last = _last_words(log) or f"exit code {returncode}"
    if returncode == REFUSED:
        return SettingError(last.removeprefix("refused to start: "))
    return ClientError(f"the server ended with {last!r}: see {log}", code="server_ended")


def _result_rows(settings: Settings, server: Server, outcome: Outcome, stage: str | None, keep: bool) -> list[Row]:
    name = command_name(sys.argv[0])
    rows: list[Row] = [("project", f"{outcome.project_name} · {outcome.project_id}", "bold"), ("", "", "")]
    rows += describe_results(Board(job_id=outcome.job_id, bars=outcome.items, status=outcome.status))
    rows += [("", "", ""), ("lookbook", outcome.lookbook_url, "bold"), ("", "", "")]
    if not outcome.ok:
        rows += [
            ("incomplete", f"{outcome.image_answers} for the images, {outcome.lookbook_answer} for the lookbook", "red")
        ]
    if server.pid is None:
        state = f"yours, at {server.address}, is still running"
    elif keep:
        state = f"still running at {server.address}; end it with `kill {server.pid}`"
    else:
        port = server.address.rpartition(":")[2]
        flags = [f"--env {stage}"] if stage else []
        flags += [f"--port {port}"] if int(port) != settings.port else []
        state = f"has ended; `{' '.join([f'{name} serve', *flags])}` shows these links again"
    rows.append(("server", state, ""))
    rows += [("console", f"{outcome.console_url} (once)", "")] if outcome.console_url else []
    if settings.api_key is None:
        rows += [("key", f"in {settings.home / 'api_key'}", "")]
    return [*rows, ("next", f'{name} generate "your words" --variants 4   (with a server running)', "")]
