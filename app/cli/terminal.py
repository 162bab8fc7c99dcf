"""Terminal output: live bars where the terminal can redraw, plain lines where it cannot.

Texts of the server are printed as plain text, never as markup or control characters.
"""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from app.cli.client import AcceptedJob, Api
from app.cli.progress import (
    Bar,
    Board,
    Tone,
    advance,
    changed,
    describe,
    describe_verdict,
    name_bar,
    read_event,
    tone,
)

BAR_WIDTH = 24
Row = tuple[str, str, str]
"""Name, text and style of one line of results."""
STYLES: dict[Tone, str] = {"waiting": "dim", "busy": "cyan", "good": "green", "bad": "red", "aside": "yellow"}


def open_console(*, aside: bool = False) -> Console:
    """A console on stdout. `aside`, for commands with data on stdout, uses stderr, and is silent without a terminal."""
    return Console(
        stderr=aside,
        quiet=aside and not sys.stderr.isatty(),
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def clean(text: str) -> str:
    """The text as one line of printable characters, without escape sequences and changes of writing direction."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line."""
    console.print(Text(clean(text), style=style), soft_wrap=True)


@contextlib.contextmanager
def waiting(console: Console, text: str) -> Iterator[None]:
    """Show what is being waited for while the block runs."""
    if not console.is_terminal:
        say(console, f"{text} …" if _is_wide(console) else f"{text} ...")
        yield
        return
    with console.status(Text(text), spinner="dots" if _is_wide(console) else "line"):
        yield


def print_json(value: object, *, indent: int = 2) -> None:
    """Print JSON as UTF-8, whatever the terminal's encoding; `indent=0` keeps it on one line."""
    encoded = msgspec.json.encode(value)
    sys.stdout.buffer.write(msgspec.json.format(encoded, indent=indent) + b"\n" if indent else encoded + b"\n")
    sys.stdout.buffer.flush()


def command_name(invoked: str) -> str:
    """What to type to run this program again, as the person did it (`sys.argv[0]`)."""
    if Path(invoked).name != "picasso":
        return "python -m app"
    return "picasso" if shutil.which("picasso") == invoked else invoked


def describe_results(board: Board) -> list[Row]:
    """One row an image: how it ended, with the judge's notes on it, then its URL; notes that all images share come
    once, in a last row."""
    judged = [bar for bar in board.bars if bar.notes]
    common = [note for note in (judged[0].notes if judged else []) if all(note in bar.notes for bar in judged)]
    rows: list[Row] = []
    for bar in board.bars:
        own = [note for note in bar.notes if note not in common]
        ending = " · ".join(filter(None, (describe(board, bar), describe_verdict(bar), *own)))
        rows += [(name_bar(bar), ending, STYLES[tone(bar)])]
        rows += [("", bar.generated_image_url, "")] if bar.generated_image_url else []
    return [*rows, ("judge", " ".join(common), "dim")] if common else rows


def local_time(ms: int) -> str:
    """A time in UTC milliseconds as a person here reads it."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


async def watch_job(console: Console, api: Api, accepted: AcceptedJob) -> Board:
    """Show the job's bars until it has ended, and return the last state."""
    bars = [
        Bar(item_id=item.item_id, provider=item.provider, variant_index=item.variant_index, status=item.status)
        for item in accepted.items
    ]
    board = Board(job_id=accepted.job_id, bars=tuple(bars))
    with show_boards(console) as show:
        show(board)
        async with contextlib.aclosing(api.follow(accepted.session_id, 0)) as envelopes:
            async for envelope in envelopes:
                show(board := advance(board, envelope))
                if board.ended:
                    break
    return board


async def watch_session(console: Console, api: Api, session_id: str) -> None:
    """Show the bars of all jobs of the session, from its first event on, without end."""
    boards: dict[str, Board] = {}
    with show_boards(console) as show:
        async with contextlib.aclosing(api.follow(session_id, 0)) as envelopes:
            async for envelope in envelopes:
                event = read_event(envelope)
                if event is None or event.job_id is None:
                    continue
                if (board := boards.get(event.job_id)) is None:
                    job = await api.find_job(event.job_id)
                    bars = [
                        Bar(item_id=item.item_id, provider=item.provider, variant_index=item.variant_index)
                        for item in job.items
                    ]
                    board = Board(job_id=job.job_id, bars=tuple(bars))
                boards[event.job_id] = board = advance(board, envelope)
                show(board)


@contextlib.contextmanager
def show_boards(console: Console) -> Iterator[Callable[[Board], None]]:
    """Show bars. Yields a function that draws a board, or its next state; bars of several boards are below each
    other."""
    if not console.is_terminal:
        last: dict[str, Board] = {}

        def print_changes(board: Board) -> None:
            for bar in changed(last.get(board.job_id, board), board):
                verdict = describe_verdict(bar) if bar.ended else ""
                say(console, f"{name_bar(bar):<12}{describe(board, bar)}{f' ({verdict})' if verdict else ''}")
            last[board.job_id] = board

        yield print_changes
        return
    with Progress(*_columns(console.width), console=console, refresh_per_second=12) as progress:
        tasks: dict[str, TaskID] = {}

        def draw(board: Board) -> None:
            for bar in board.bars:
                if bar.item_id not in tasks:
                    tasks[bar.item_id] = progress.add_task("", total=1.0, board=board, bar=bar)
                progress.update(tasks[bar.item_id], completed=bar.progress, board=board, bar=bar)

        yield draw


def show_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Results: as a grid between rules on a terminal, else as lines."""
    if not console.is_terminal:
        for name, text, _ in rows:
            say(console, f"{name:<12}{text}" if name else text)
        return
    grid = Table.grid(Column(style="dim", no_wrap=True), Column(overflow="fold"), padding=(0, 2))
    for name, text, style in rows:
        grid.add_row(Text(clean(name)), Text(clean(text), style=style))
    # Rules instead of a box: a URL must stay on one line to be clicked or copied.
    console.rule(Text(title, style="bold"), align="left", style="cyan")
    console.print(grid)
    console.rule(style="cyan")


def show_table(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; without a terminal its cells are separated by tabs, one row per line and no heading."""
    if not console.is_terminal:
        for row in rows:
            say(console, "\t".join(clean(cell) for cell in row))
        return
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print(table)


class _Words(ProgressColumn):
    """A column whose text is a function of the board and the bar."""

    def __init__(self, words: Callable[[Board, Bar], str], column: Column, *, toned: bool = True) -> None:
        super().__init__(column)
        self._words, self._toned = words, toned

    def render(self, task: Task) -> Text:
        bar: Bar = task.fields["bar"]
        return Text(clean(self._words(task.fields["board"], bar)), style=STYLES[tone(bar)] if self._toned else "bold")


class _Line(ProgressColumn):
    """The bar itself, in the colour of its state."""

    def render(self, task: Task) -> ProgressBar:
        style = STYLES[tone(task.fields["bar"])]
        return ProgressBar(
            total=1.0, completed=task.completed, width=BAR_WIDTH, complete_style=style, finished_style=style
        )


def _columns(width: int) -> list[ProgressColumn]:
    room = max(width - BAR_WIDTH - 32, 8)
    columns: list[ProgressColumn] = [
        _Words(lambda _, bar: name_bar(bar), Column(no_wrap=True), toned=False),
        _Line(),
        _Words(lambda _, bar: f"{bar.progress:4.0%}", Column(no_wrap=True, justify="right")),
        _Words(describe, Column(no_wrap=True, overflow="ellipsis", min_width=min(room, 22), max_width=room)),
        _Words(lambda _, bar: describe_verdict(bar), Column(no_wrap=True)),
    ]
    return columns if width >= 60 else [columns[0], *columns[2:]]


def _is_wide(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
