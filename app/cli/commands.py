"""The commands. Each ends in an exit code; what goes wrong is one line on stderr."""

import argparse
import asyncio
import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from app.cli.client import Api, ClientError, find_key, local_address
from app.cli.progress import Board, describe, describe_verdict, name_bar, tone
from app.cli.terminal import STYLES, Row, clean, open_console, say, show_rows, show_table, watch_job
from app.settings import SettingError, Settings, process_environment, read_settings
from tools.errors import PicassoError
from tools.events import Envelope
from tools.rows import Count, new_id, now_ms

R = TypeVar("R", bound=msgspec.Struct)
MIGRATIONS = "SELECT name, applied_at FROM schema_migrations ORDER BY name"
TIPS = "SELECT COUNT(*) AS n FROM knowledge_base"
FAILED, REFUSED, INTERRUPTED, TERMINATED = 1, 78, 130, 143


class Migration(msgspec.Struct, frozen=True):
    name: str
    applied_at: int


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return COMMANDS[args.command](args)
    except SettingError as error:
        return _fail(str(error), REFUSED)
    except PicassoError as error:
        return _fail(error.message, FAILED)
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ClientError, OSError) as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return _fail("stopped", INTERRUPTED)
    except asyncio.CancelledError:
        return _fail("stopped", TERMINATED)


def print_json(value: object, *, indent: int = 2) -> None:
    """JSON as UTF-8, whatever the terminal speaks; `indent=0` keeps it on one line."""
    encoded = msgspec.json.encode(value)
    sys.stdout.buffer.write(msgspec.json.format(encoded, indent=indent) + b"\n" if indent else encoded + b"\n")
    sys.stdout.buffer.flush()


def command_name(invoked: str) -> str:
    """What to type to run this program again, as the person did it (`sys.argv[0]`)."""
    if Path(invoked).name != "picasso":
        return "python -m app"
    return "picasso" if shutil.which("picasso") == invoked else invoked


def describe_results(board: Board) -> list[Row]:
    """How each image ended, with the judge's notes on it alone, and where it is; then what was noted on all of them."""
    judged = [bar for bar in board.bars if bar.notes]
    common = [note for note in (judged[0].notes if judged else []) if all(note in bar.notes for bar in judged)]
    rows: list[Row] = []
    for bar in board.bars:
        own = [note for note in bar.notes if note not in common]
        ending = " · ".join(filter(None, (describe(board, bar), describe_verdict(bar), *own)))
        rows += [(name_bar(bar), ending, STYLES[tone(bar)])]
        rows += [("", bar.generated_image_url, "")] if bar.generated_image_url else []
    return [*rows, ("judge", " ".join(common), "dim")] if common else rows


def _fail(message: str, code: int) -> int:
    print(f"picasso: {clean(message)}", file=sys.stderr)
    return code


def _finish(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end. SIGTERM cancels, as Ctrl-C does, so that whatever was started is ended too."""

    async def supervised() -> int:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    return asyncio.run(supervised())


def _settings(args: argparse.Namespace) -> Settings:
    return read_settings(process_environment(args.env))


def _serve(args: argparse.Namespace) -> int:
    from app.http.server import serve

    settings = read_settings(process_environment(args.env, HOST=args.host, PORT=args.port))
    return serve(settings, workers=args.workers, jobs=not args.no_jobs)


def _worker(args: argparse.Namespace) -> int:
    return _finish(_work(_settings(args)))


async def _work(settings: Settings) -> int:
    """Run jobs until a signal; then begin no new one and give those that run DRAIN_SECONDS to reach a safe point."""
    from app.bindings import open_env
    from app.http.server import DRAIN_SECONDS
    from app.lifecycle import Lifecycle
    from app.ops.logs import logging_to
    from app.ops.traces import Traces

    life, loop = Lifecycle(), asyncio.get_running_loop()

    def drain() -> None:
        life.draining.set()
        loop.call_later(DRAIN_SECONDS, life.abandon)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)
    with logging_to(sys.stderr, settings.secrets):
        async with Traces().sending(settings):
            life.begin(settings, open_env, True)
            while not life.drained and life.exit_code is None:  # noqa: ASYNC110 - Life tells it in properties
                await asyncio.sleep(0.05)
            await life.close()
    return life.exit_code or 0


def _migrate(args: argparse.Namespace) -> int:
    return _finish(_list_migrations(_settings(args)))


async def _list_migrations(settings: Settings) -> int:
    started = now_ms()
    for migration in await _read_database(settings, MIGRATIONS, Migration):
        print(f"{migration.name}  {'applied' if migration.applied_at >= started else 'was there'}")
    return 0


def _seed(args: argparse.Namespace) -> int:
    return _finish(_count_tips(_settings(args)))


async def _count_tips(settings: Settings) -> int:
    counted = await _read_database(settings, TIPS, Count)
    print(f"{counted[0].n} tips in the knowledge base; those that were there before are as they were")
    return 0


async def _read_database(settings: Settings, sql: str, row: type[R]) -> list[R]:
    """Open the database, which migrates and seeds it, and read."""
    from app.bindings.database.sqlite import open_database

    async with open_database(settings) as db:
        return await db.all(sql, row)


def _dead_letters(args: argparse.Namespace) -> int:
    if args.redrive:
        return _finish(_redrive(_settings(args), args.json))
    return _finish(_list_dead(_settings(args), args.limit, args.json))


async def _redrive(settings: Settings, as_json: bool) -> int:
    from app.bindings.queue import open_queue
    from app.bindings.redis.connection import open_redis
    from app.ops.logs import logging_to

    with logging_to(sys.stderr, settings.secrets):
        async with open_redis(settings) as server:
            moved = await open_queue(server.client).redrive()
    if as_json:
        print_json({"redriven": moved}, indent=0)
    else:
        print(f"{moved} dead letters are back in the queue")
    return 0


async def _list_dead(settings: Settings, limit: int, as_json: bool) -> int:
    from app.bindings.queue import open_queue
    from app.bindings.redis.connection import open_redis

    async with open_redis(settings) as server:
        dead = await open_queue(server.client).dead(limit)
    if as_json:
        print_json(dead)
    else:
        show_table(
            open_console(),
            ("id", "tries", "reason", "message"),
            [(letter.id, str(letter.tries), letter.reason, letter.body) for letter in dead],
        )
    return 0


def _demo(args: argparse.Namespace) -> int:
    from app.cli.demo import run_demo

    return _finish(run_demo(args.env, keep=args.keep, as_json=args.json))


@contextlib.asynccontextmanager
async def _open_api(args: argparse.Namespace) -> AsyncIterator[Api]:
    settings = _settings(args)
    async with Api.open(args.server or local_address(settings), args.key or find_key(settings)) as api:
        yield api


def _generate(args: argparse.Namespace) -> int:
    return _finish(_make_images(args))


async def _make_images(args: argparse.Namespace) -> int:
    console = open_console(aside=args.json)
    async with _open_api(args) as api:
        project_id = args.project or (await api.create_project(args.prompt.strip()[:80] or "From the terminal")).id
        job = {
            "prompt": args.prompt,
            "providers": [_provider(name) for name in args.provider or ["sketch"]],
            "variants": args.variants,
            "sessionId": f"cli-{new_id()}",
        }
        accepted = await api.submit_job(project_id, job)
        board = await watch_job(console, api, accepted)
    if args.json:
        ids = {"projectId": project_id, "jobId": board.job_id, "sessionId": accepted.session_id}
        print_json({**ids, "status": board.status, "items": board.bars})
    else:
        show_rows(console, f"job {board.status}", [*describe_results(board), ("project", project_id, "")])
    return 0 if board.status == "complete" else FAILED


def _provider(name: str) -> str | dict[str, str]:
    provider, colon, model = name.partition(":")
    return {"provider": provider, "model": model} if colon else provider


def _projects(args: argparse.Namespace) -> int:
    return _finish(_list_projects(args))


async def _list_projects(args: argparse.Namespace) -> int:
    async with _open_api(args) as api:
        projects = await api.list_projects()
    if args.json:
        print_json(projects)
    else:
        rows = [(project.id, _moment(project.updated_at), project.name) for project in projects]
        show_table(open_console(), ("id", "changed", "name"), rows)
    return 0


def _watch(args: argparse.Namespace) -> int:
    return _finish(_follow(args))


async def _follow(args: argparse.Namespace) -> int:
    console = open_console()
    async with _open_api(args) as api:
        # Without a cursor the stream would be live only, and a cut would lose what was said meanwhile.
        since = (await api.session_state(args.session)).seq if args.since is None else args.since
        async for envelope in api.follow(args.session, since):
            if args.json:
                print_json(envelope, indent=0)
            else:
                say(console, _tell(envelope))
    return 0


def _tell(envelope: Envelope) -> str:
    return f"{envelope.seq:>6}  {_moment(envelope.ts)}  {envelope.type:<9} {bytes(envelope.data).decode()}"


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "worker": _worker,
    "migrate": _migrate,
    "seed": _seed,
    "dead-letters": _dead_letters,
    "dead": _dead_letters,
    "demo": _demo,
    "generate": _generate,
    "projects": _projects,
    "watch": _watch,
}
