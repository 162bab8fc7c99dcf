"""The commands that talk to a running server. Each returns an exit code; see `app/cli/commands.py`."""

import argparse
import asyncio
import contextlib
import sys
import time
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console

from app.cli.client import AcceptedJob, Api, ClientError, find_key, local_address
from app.cli.progress import Board
from app.cli.terminal import (
    Row,
    command_name,
    describe_results,
    local_time,
    open_console,
    print_json,
    say,
    show_rows,
    show_table,
    watch_job,
    watch_session,
)
from app.lifecycle import FAILED
from app.settings import process_environment, read_settings
from tools.rows import new_id

LARGEST_FILE = 1 << 30
DAY_MS = 86_400_000


@contextlib.asynccontextmanager
async def _open_api(args: argparse.Namespace) -> AsyncIterator[Api]:
    settings = read_settings(process_environment(args.env))
    async with Api.open(args.server or local_address(settings), args.key or find_key(settings)) as api:
        yield api


async def generate(args: argparse.Namespace) -> int:
    """Submit a job, show its bars until it has ended, and print the results."""
    job = _job(args)
    async with _open_api(args) as api:
        if (project_id := args.project) is None:
            # First, so that a job that is refused leaves no empty project behind.
            await api.check_job(job)
            project_id = (await api.create_project(args.prompt.strip()[:80] or "From the terminal")).id
        return await _run_job(args, api, project_id, job)


async def edit(args: argparse.Namespace) -> int:
    """Submit a job that starts from an image: a file, which is uploaded first, or a version of an image."""
    async with _open_api(args) as api:
        job = _job(args)
        if (data := await asyncio.to_thread(_read_image, args.image, missing_ok=True)) is not None:
            if (project_id := args.project) is None:
                await api.check_job(job)
                project_id = (await api.create_project(args.prompt.strip()[:80] or "From the terminal")).id
            job["startImageUrl"] = (await api.upload(project_id, Path(args.image).name, data)).start_image_url
        else:
            project_id = args.project or await _project_of(api, args.image)
            job["parentProgressionId"], job["startImageUrl"] = args.image, f"progression:{args.image}"
        return await _run_job(args, api, project_id, job)


def _job(args: argparse.Namespace) -> dict[str, Any]:
    named = [name.partition(":") for name in args.provider or ["sketch"]]
    return {
        "prompt": args.prompt,
        "providers": [{"provider": name, "model": model} if colon else name for name, colon, model in named],
        "variants": args.variants,
        "sessionId": f"cli-{new_id()}",
    }


async def _project_of(api: Api, progression_id: str) -> str:
    try:
        return await api.find_progression(progression_id)
    except ClientError as error:
        if error.code != "not_found":
            raise
        raise ClientError(f"{progression_id} is neither a file here nor an image there", code="not_found") from error


async def _run_job(args: argparse.Namespace, api: Api, project_id: str, job: dict[str, Any]) -> int:
    console = open_console(aside=args.json)
    accepted = await api.submit_job(project_id, job)
    say(console, f"job {accepted.job_id} of session {accepted.session_id}", "dim")
    try:
        board = await watch_job(console, api, accepted)
    except asyncio.CancelledError:
        _tell_how_to_go_on(args, accepted)
        raise
    if args.json:
        ids = {"projectId": project_id, "jobId": board.job_id, "sessionId": accepted.session_id}
        print_json({**ids, "status": board.status, "items": board.bars})
    else:
        show_rows(console, f"job {board.status}", _results(board, project_id))
    return 0 if board.status == "complete" else FAILED


def _results(board: Board, project_id: str) -> list[Row]:
    return [*describe_results(board), ("project", project_id, ""), ("job", board.job_id, "")]


def _tell_how_to_go_on(args: argparse.Namespace, accepted: AcceptedJob) -> None:
    """On stderr, which the person sees also when stdout is a file."""
    name, console = command_name(sys.argv[0]), Console(stderr=True, highlight=False, markup=False, emoji=False)
    say(console, f"the job goes on; follow it with `{name} watch {accepted.session_id}{_where(args)}`")
    say(console, f"or end it with `{name} cancel {accepted.job_id}{_where(args)}`")


def _where(args: argparse.Namespace) -> str:
    return (f" --server {args.server}" if args.server else "") + (f" --env {args.env}" if args.env else "")


async def cancel(args: argparse.Namespace) -> int:
    """Cancel a job."""
    async with _open_api(args) as api:
        job = await api.cancel_job(args.job)
    if args.json:
        print_json({"jobId": job.job_id, "status": job.status})
    else:
        print(f"job {job.job_id} is {job.status}")
    return 0


async def upload(args: argparse.Namespace) -> int:
    """Store an image file in a project, for jobs that start from it."""
    data = await asyncio.to_thread(_read_image, args.file)
    assert data is not None
    async with _open_api(args) as api:
        project_id = args.project or (await api.create_project(Path(args.file).stem[:80] or "An upload")).id
        stored = await api.upload(project_id, Path(args.file).name, data)
    if args.json:
        print_json({"projectId": project_id, "startImageUrl": stored.start_image_url})
    else:
        rows = [
            ("project", project_id, ""),
            ("image", f"{stored.start_image_url} ({stored.width}x{stored.height})", ""),
        ]
        show_rows(open_console(), "stored", rows)
    return 0


def _read_image(name: str, *, missing_ok: bool = False) -> bytes | None:
    """The bytes of the file; None where it may be missing and is."""
    path = Path(name)
    if missing_ok and not path.is_file():
        return None
    if path.stat().st_size > LARGEST_FILE:
        raise ClientError(f"{name} is too large for an image", code="image_too_large")
    return path.read_bytes()


async def publish(args: argparse.Namespace) -> int:
    """Make and publish an artifact of a project."""
    async with _open_api(args) as api:
        project_id = args.project or (await api.latest_project()).id
        made = await api.make_artifact(project_id, args.kind, args.title)
    if args.json:
        print_json({"artifactId": made.artifact_id, "projectId": project_id, "url": made.public_url})
    else:
        rows = [(args.kind, made.public_url, "bold"), ("artifact", made.artifact_id, ""), ("project", project_id, "")]
        state = [] if made.version else [("", "still being rendered; the link works once that is done", "dim")]
        show_rows(open_console(), "published", [*rows, *state])
    return 0


async def share(args: argparse.Namespace) -> int:
    """Create a link to an artifact, with its conditions."""
    ends = None if args.days is None else int(time.time() * 1000) + args.days * DAY_MS
    given = {"label": args.label, "password": args.password, "expiresAt": ends, "maxViews": args.views}
    async with _open_api(args) as api:
        link = await api.share(args.artifact, {name: value for name, value in given.items() if value is not None})
    if args.json:
        print_json({"shareId": link.share_id, "url": link.url})
    else:
        print(link.url)
    return 0


async def open_console_link(args: argparse.Namespace) -> int:
    """Print a link that signs a browser in to the console, and open it where there is a screen."""
    async with _open_api(args) as api:
        link = await api.make_console_link()
    if args.json:
        print_json({"url": link.url, "expiresAt": link.expires_at})
        return 0
    print(f"{link.url} (once, until {local_time(link.expires_at)})", flush=True)
    if sys.stdout.isatty() and not args.print:
        await asyncio.to_thread(webbrowser.open, link.url)
    return 0


async def projects(args: argparse.Namespace) -> int:
    """List all projects of a server."""
    async with _open_api(args) as api:
        found = await api.list_projects()
    if args.json:
        print_json(found)
    else:
        rows = [(project.id, local_time(project.updated_at), project.name) for project in found]
        show_table(open_console(), ("id", "changed", "name"), rows)
    return 0


async def watch(args: argparse.Namespace) -> int:
    """Follow a session until interrupted: bars in a terminal, else its events as they come."""
    console = open_console()
    async with _open_api(args) as api:
        last = (await api.session_state(args.session)).seq
        if not last:
            words = f"session {args.session} has no events yet; waiting for the first"
            say(open_console(aside=True) if args.json else console, words, "dim")
        if console.is_terminal and not args.json and args.since is None:
            await watch_session(console, api, args.session)
        # Without a cursor the stream would be live only, and a broken connection would lose the events meanwhile.
        since = last if args.since is None else args.since
        async with contextlib.aclosing(api.follow(args.session, since)) as envelopes:
            async for envelope in envelopes:
                if args.json:
                    print_json(envelope, indent=0)
                else:
                    words = f"{envelope.type:<9} {bytes(envelope.data).decode()}"
                    say(console, f"{envelope.seq:>6}  {local_time(envelope.ts)}  {words}")
    return 0
