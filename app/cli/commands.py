"""The commands. Each returns an exit code; an error is one line on stderr."""

import argparse
import asyncio
import io
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import calls
from app.cli.client import ClientError
from app.cli.terminal import clean, open_console, print_json, say, show_rows, show_table
from app.lifecycle import FAILED, REFUSED, raise_descriptor_limit
from app.settings import SettingError, Settings, process_environment, read_settings
from app.signals import Interruption, StopRequests, stop_signals
from tools.errors import PicassoError
from tools.rows import now_ms

if TYPE_CHECKING:
    from app.ops.backup import Manifest

END_SECONDS = 5
"""Until a command that was told to stop, and has not, is ended by force."""
ENDINGS = {"demo": 60, "backup": 60, "restore": 60}
"""The same for commands whose end takes longer: of the demo's server, which drains, or of a large file's copy."""


def run(args: argparse.Namespace, interruption: Interruption) -> int:
    """Run the command and return its exit code."""

    async def run_command() -> int:
        task = asyncio.current_task()
        assert task is not None
        with interruption.cancelling(task, within=ENDINGS.get(args.command, END_SECONDS)):
            return await COMMANDS[args.command](args)

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        if args.command == "serve":
            return serve(args)
        return asyncio.run(run_command())
    except SettingError as error:
        return _fail(str(error), REFUSED)
    except PicassoError as error:
        return _fail(error.message, FAILED)
    except BrokenPipeError:
        # The reader of our output (`… | head`) has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ClientError as error:
        return _fail(str(error), FAILED)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror}{where}" if error.strerror else str(error), FAILED)


def _fail(message: str, code: int) -> int:
    print(f"picasso: {clean(message)}", file=sys.stderr)
    return code


def _settings(args: argparse.Namespace) -> Settings:
    return read_settings(process_environment(args.env))


def serve(args: argparse.Namespace) -> int:
    """Serve HTTP until a signal; the server runs its own event loops."""
    from app.http import server

    settings = read_settings(process_environment(args.env, HOST=args.host, PORT=args.port))
    return server.serve(settings, workers=args.workers, jobs=not args.no_jobs)


async def worker(args: argparse.Namespace) -> int:
    """Run jobs until a signal; then begin no new ones and give running ones DRAIN_SECONDS to reach a safe point."""
    from app.bindings import open_env
    from app.http.server import DRAIN_SECONDS
    from app.lifecycle import Lifecycle
    from app.ops.logs import logging_to
    from app.ops.traces import Traces

    settings = _settings(args)
    raise_descriptor_limit()
    lifecycle, loop, requests = Lifecycle(), asyncio.get_running_loop(), StopRequests()

    def drain(number: int) -> None:
        requests.count(number)
        lifecycle.draining.set()
        loop.call_later(0 if requests.is_forced else DRAIN_SECONDS, lifecycle.abandon)

    for number in stop_signals():
        loop.add_signal_handler(number, drain, number)
    with logging_to(sys.stderr, settings.secrets):
        async with Traces().sending(settings):
            lifecycle.begin(settings, open_env, True)
            while not lifecycle.drained and lifecycle.exit_code is None:  # noqa: ASYNC110 - both are properties
                await asyncio.sleep(0.05)
            await lifecycle.close()
    return lifecycle.exit_code or 0


async def migrate(args: argparse.Namespace) -> int:
    """Opening the database applies the migrations; say which of them were applied just now."""
    from app.bindings.database import open_database
    from app.ops.migrate import list_applied

    started = now_ms()
    async with open_database(_settings(args)) as database:
        for migration in await list_applied(database):
            print(f"{migration.name}  {'applied' if migration.applied_at >= started else 'already there'}")
    return 0


async def seed(args: argparse.Namespace) -> int:
    """Opening the database adds the tips that are missing; say how many there are now."""
    from app.bindings.database import open_database
    from tools.db import count_tips

    async with open_database(_settings(args)) as database:
        count = await count_tips(database)
    print(f"{count} tips in the knowledge base; existing ones were not changed")
    return 0


async def relink(args: argparse.Namespace) -> int:
    """Put the delivery images of all rows into IMAGES, and say how many there are."""
    from app.bindings import open_env
    from tools.images import deliver_again

    console = open_console(aside=True)
    async with open_env(_settings(args)) as env:
        count, lost = await deliver_again(env, lambda so_far: say(console, f"{so_far} images so far"))
    print(f"{count} images are delivered by IMAGES now")
    if lost:
        print(f"{len(lost)} have no original any more, so they have no picture: {', '.join(lost[:20])}")
    return FAILED if lost else 0


async def dead_letters(args: argparse.Namespace) -> int:
    """List the messages that the queue gave up, or put all of them back."""
    from app.bindings.queue import open_queue
    from app.bindings.redis.connection import open_redis
    from app.ops.logs import logging_to

    settings = _settings(args)
    if args.redrive:
        with logging_to(sys.stderr, settings.secrets):
            async with open_redis(settings) as server:
                moved = await open_queue(server.client).redrive()
        if args.json:
            print_json({"redriven": moved}, indent=0)
        else:
            print(f"{moved} dead letters are back in the queue")
        return 0
    async with open_redis(settings) as server:
        dead = await open_queue(server.client).dead(args.limit)
    if args.json:
        print_json(dead)
    else:
        show_table(
            open_console(),
            ("id", "tries", "reason", "message"),
            [(letter.id, str(letter.tries), letter.reason, letter.body) for letter in dead],
        )
    return 0


async def backup(args: argparse.Namespace) -> int:
    """Copy the installation into a folder, while it runs."""
    from app.ops.backup import back_up, elsewhere

    settings = _settings(args)
    manifest = await _unless_stopped(back_up, settings, args.folder)
    _show_parts(args, manifest, f"backed up to {args.folder}")
    for name, how in elsewhere(settings).items():
        say(open_console(aside=args.json), f"{name} is not part of it: {how}", "yellow")
    return 0


async def restore(args: argparse.Namespace) -> int:
    """Put a backup into an empty data directory."""
    from app.ops.backup import restore

    settings = _settings(args)
    manifest = await _unless_stopped(restore, settings, args.folder)
    _show_parts(args, manifest, f"restored to {settings.home}")
    return 0


async def _unless_stopped(
    work: "Callable[[Settings, Path, threading.Event], Manifest]", settings: Settings, folder: str
) -> "Manifest":
    """Run it on a thread; a cancellation waits for the file in hand, and for what was begun to be taken back."""
    stop = threading.Event()
    running = asyncio.get_running_loop().run_in_executor(None, lambda: work(settings, Path(folder).absolute(), stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({running})
        raise


def _show_parts(args: argparse.Namespace, manifest: "Manifest", title: str) -> None:
    if args.json:
        print_json(manifest)
        return
    parts = manifest.parts.items()
    rows = [(name, f"{part.files:,} files, {part.bytes / 1e6:,.1f} MB", "") for name, part in parts]
    show_rows(open_console(), title, rows)


async def demo(args: argparse.Namespace) -> int:
    """Run one real job from start to end and show the results."""
    from app.cli.demo import run_demo

    return await run_demo(args.env, keep=args.keep, as_json=args.json)


COMMANDS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, int]]] = {
    "worker": worker,
    "migrate": migrate,
    "seed": seed,
    "relink": relink,
    "dead-letters": dead_letters,
    "dead": dead_letters,
    "backup": backup,
    "restore": restore,
    "demo": demo,
    "generate": calls.generate,
    "edit": calls.edit,
    "upload": calls.upload,
    "cancel": calls.cancel,
    "watch": calls.watch,
    "projects": calls.projects,
    "publish": calls.publish,
    "share": calls.share,
    "open": calls.open_console_link,
}
