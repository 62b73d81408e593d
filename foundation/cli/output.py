"""What a person sees in a terminal: tables on standard output, progress on standard error."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from foundation.display import cell, plain
from foundation.errors import visible
from foundation.store.ledger import Load

_PIPE_WIDTH = 240  # columns, when there is no terminal to ask
_WIDEST = 40  # characters of a value in a row of data


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table: numbers to the right, every other value made visible."""
    console = _console()
    if title:
        console.print(Text(visible(title), style="bold"))  # not the table's own: that is wrapped to the table's width
    table = Table(box=box.SIMPLE_HEAD)
    cells = [list(row) for row in rows]
    for i, name in enumerate(columns):
        values = [row[i] for row in cells if row[i] is not None]
        is_number = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(visible(name), justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell(value)) for value in row))
    console.print(table)


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str) -> None:
    """Print rows of data, a line each: long values are cut, and what does not fit is named instead."""
    table = [list(row) for row in rows]
    cells = [[plain(value, _WIDEST) for value in row] for row in table]
    widths = [max(map(len, [name, *(row[i] for row in cells)])) for i, name in enumerate(columns)]
    cells = [
        [told.rjust(wide) if isinstance(value, int | float) else told for value, told, wide in zip(*three, strict=True)]
        for three in zip(table, cells, [widths] * len(table), strict=True)
    ]
    fitting = max(1, sum(wide <= _console().width for wide in accumulate(width + 3 for width in widths)))
    show_table(columns[:fitting], [row[:fitting] for row in cells], title=title)
    if fitting < len(columns):
        show_line(f"Not shown, for want of room: {', '.join(columns[fitting:])} (--columns chooses)", is_error=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def show_line(text: str, *, is_error: bool = False) -> None:
    """Print a message, which may name files and values of files; its own line ends stay."""
    told = "\n".join(visible(line, 10_000) for line in text.split("\n"))
    print(told, file=sys.stderr if is_error else sys.stdout)


def show_json(value: Any, *, indent: int | None = None) -> None:
    """Print a JSON document in which characters that show nothing are escapes, and all others themselves."""
    told = json.dumps(value, indent=indent, ensure_ascii=False)
    if not told.isprintable():
        told = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in told)
    print(told)


@contextmanager
def show_progress() -> Iterator[Any]:
    """Gives a function for `ingest(progress=)` that draws bars with rate and time left; silent if not in a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda load, done, size: None
        return
    shown = (
        TextColumn("{task.description:<17}"),
        BarColumn(),
        TextColumn("{task.fields[records]:>12,} records {task.fields[rate]:>9,}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*shown, console=console) as bars:
        tasks: dict[str, Any] = {}

        def draw(load: Load, done: int, size: int) -> None:
            if load.source not in tasks:
                tasks[load.source] = bars.add_task(load.source, total=size, records=0, rate=0)
            rate = int(load.read / load.seconds) if load.seconds else 0
            bars.update(tasks[load.source], completed=done, total=size, records=load.read, rate=rate)

        yield draw
