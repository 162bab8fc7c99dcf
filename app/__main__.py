"""The command line. Imports little, because child processes that work on images import this file, too."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"picasso: {message}; see `{self.prog} --help`\n")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"picasso {version('picasso-backend')}, Python {sys.version.partition(' ')[0]}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong arguments, 78 unusable setting, 130 and 143
    interrupted."""
    from app.signals import Interruption

    interruption = Interruption()
    with interruption.handled():
        args = make_parser().parse_args(argv)
        from app.cli.commands import run

        return run(args, interruption)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands and their options."""
    parser = _Parser(prog="picasso", description="Make images with several AI vendors at once, judged and versioned.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _Parser(add_help=False)
    shared.add_argument(
        "--env",
        choices=("production", "preview"),
        help="preview overlays the PREVIEW_… variables",
    )
    _add_processes(commands, shared)
    _add_clients(commands, shared)
    return parser


def _add_processes(commands: "argparse._SubParsersAction[_Parser]", shared: _Parser) -> None:
    serve = commands.add_parser("serve", parents=[shared], help="serve the API and run jobs")
    serve.add_argument("--host", help="address to listen on (HOST)")
    serve.add_argument("--port", help="port to listen on (PORT)")
    serve.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="server processes; more than 1 need PostgreSQL"
    )
    serve.add_argument("--no-jobs", action="store_true", help="run no jobs here; `picasso worker` does")
    commands.add_parser("worker", parents=[shared], help="only run jobs, next to a server or on another machine")
    commands.add_parser("migrate", parents=[shared], help="apply the database migrations that are missing")
    commands.add_parser("seed", parents=[shared], help="add the packaged prompting tips that are missing")
    commands.add_parser("relink", parents=[shared], help="put every delivery image into another IMAGES, before its use")
    dead = commands.add_parser(
        "dead-letters", aliases=["dead"], parents=[shared], help="list queue messages that failed too often"
    )
    dead.add_argument("--redrive", action="store_true", help="put all of them back into the queue")
    dead.add_argument("--limit", type=_count, default=50, metavar="N")
    dead.add_argument("--json", action="store_true", help="print JSON")

    backup = commands.add_parser("backup", parents=[shared], help="copy the installation into a folder, while it runs")
    backup.add_argument("folder", metavar="DIR", help="a folder that is not there yet")
    restore = commands.add_parser("restore", parents=[shared], help="put a backup into an empty data directory")
    restore.add_argument("folder", metavar="DIR", help="the folder of the backup")
    for command in (backup, restore):
        command.add_argument("--json", action="store_true", help="print JSON")


def _add_clients(commands: "argparse._SubParsersAction[_Parser]", shared: _Parser) -> None:
    demo = commands.add_parser("demo", parents=[shared], help="run a real job from start to end and show the results")
    demo.add_argument("--keep", action="store_true", help="leave the server running afterwards")
    demo.add_argument("--json", action="store_true", help="print JSON at the end")
    client = _Parser(add_help=False, parents=[shared])
    client.add_argument("--server", metavar="URL", help="URL of a running server (default: this machine, PORT)")
    client.add_argument("--key", help="its API key (default: API_KEY, or the one in the data directory)")
    client.add_argument("--json", action="store_true", help="print JSON")
    generate = commands.add_parser("generate", parents=[client], help="make images and follow their progress")
    generate.add_argument("prompt", metavar="PROMPT")
    edit = commands.add_parser("edit", parents=[client], help="make images from an image")
    edit.add_argument("image", metavar="IMAGE", help="a file, or the id of an image version")
    edit.add_argument("prompt", metavar="PROMPT")
    for making in (generate, edit):
        making.add_argument(
            "--provider", action="append", metavar="NAME[:MODEL]", help="image provider (default: sketch); repeatable"
        )
        making.add_argument("--variants", type=_count, default=1, metavar="N", help="images per provider, 1 to 8")
        making.add_argument("--project", metavar="ID", help="the project of the images (default: a new one)")
    upload = commands.add_parser("upload", parents=[client], help="store an image file in a project")
    upload.add_argument("file", metavar="FILE")
    upload.add_argument("--project", metavar="ID", help="the project (default: a new one)")
    cancel = commands.add_parser("cancel", parents=[client], help="cancel a job")
    cancel.add_argument("job", metavar="JOB")
    watch = commands.add_parser("watch", parents=[client], help="follow a session: bars in a terminal, else events")
    watch.add_argument("session", metavar="SESSION")
    watch.add_argument("--since", type=_number, metavar="N", help="its events after N (default: only new events)")
    commands.add_parser("projects", parents=[client], help="list the projects")
    publish = commands.add_parser("publish", parents=[client], help="make and publish an artifact of a project")
    publish.add_argument("kind", metavar="KIND", help="such as lookbook, moodboard, review-board or stakeholder-pdf")
    publish.add_argument("--project", metavar="ID", help="the project (default: the one last changed)")
    publish.add_argument("--title", metavar="TITLE")
    share = commands.add_parser("share", parents=[client], help="create another link to an artifact")
    share.add_argument("artifact", metavar="ARTIFACT")
    share.add_argument("--label", metavar="TEXT", help="for you: whom the link is for")
    share.add_argument("--password", metavar="TEXT")
    share.add_argument("--days", type=_count, metavar="N", help="the link ends after so many days")
    share.add_argument("--views", type=_count, metavar="N", help="the link ends after so many views")
    page = commands.add_parser("open", parents=[client], help="open the console: a link that signs in, once")
    page.add_argument("--print", action="store_true", help="only print the link")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"not a whole number: {text!r}")
    return int(text)


def _count(text: str) -> int:
    if (number := _number(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return number


if __name__ == "__main__":
    sys.exit(main())
