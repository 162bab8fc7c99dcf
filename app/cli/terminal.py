"""Terminal output: live bars where the terminal can redraw, plain lines where it cannot.

Texts of the server are printed as plain text, never as markup or control characters.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from app.cli.client import AcceptedJob, Api
from app.cli.progress import Bar, Board, Tone, advance, changed, describe, describe_verdict, name_bar, tone

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


async def watch_job(console: Console, api: Api, accepted: AcceptedJob) -> Board:
    """Show the job's bars until it has ended, and return the last state."""
    bars = [
        Bar(item_id=item.item_id, provider=item.provider, variant_index=item.variant_index, status=item.status)
        for item in accepted.items
    ]
    board = Board(job_id=accepted.job_id, bars=tuple(bars))
    with show_board(console, board) as show:
        async with contextlib.aclosing(api.follow(accepted.session_id, 0)) as envelopes:
            async for envelope in envelopes:
                show(board := advance(board, envelope))
                if board.ended:
                    break
    return board


@contextlib.contextmanager
def show_board(console: Console, board: Board) -> Iterator[Callable[[Board], None]]:
    """Show bars for the board. Yields a function that draws its next state."""
    if not console.is_terminal:
        last = board

        def print_changes(board: Board) -> None:
            nonlocal last
            for bar in changed(last, board):
                verdict = describe_verdict(bar) if bar.ended else ""
                say(console, f"{name_bar(bar):<12}{describe(board, bar)}{f' ({verdict})' if verdict else ''}")
            last = board

        yield print_changes
        return
    with Progress(*_columns(console.width), console=console, refresh_per_second=12) as progress:
        tasks = [progress.add_task("", total=1.0, board=board, bar=bar) for bar in board.bars]

        def draw(board: Board) -> None:
            for task, bar in zip(tasks, board.bars, strict=True):
                progress.update(task, completed=bar.progress, board=board, bar=bar)

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
