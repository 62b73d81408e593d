"""What a person sees in a terminal: tables on standard output, progress on standard error.

Rich is imported where it is used: `--help` and `--json` need none of it.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import Any

from foundation.display import cell, plain
from foundation.errors import visible
from foundation.store import Load

_PIPE = (240, 24)  # columns and lines, when there is neither a terminal to ask nor COLUMNS
_LONGEST = 40  # characters of a value in a row of data


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", text: Callable[[Any], str] = cell
) -> None:
    """Print a table: numbers to the right, every value made visible by *text*."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=_width())
    if title:
        console.print(Text(visible(title), style="bold"))  # not the table's own: that is wrapped to the table's width
    table = Table(box=box.SIMPLE_HEAD)
    rows = list(rows)
    for i, name in enumerate(columns):
        values = [row[i] for row in rows if row[i] is not None]
        is_number = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(visible(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(text(value)) for value in row))
    console.print(table)


def show_records(records: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Print a table of mappings that have the same keys, if there are any."""
    if records:
        show_table(list(records[0]), [list(record.values()) for record in records], title=title)


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str) -> None:
    """Print rows of data, a line each: long values are cut, and what does not fit is named instead."""
    text = partial(plain, limit=_LONGEST)
    widths = (3 + max(len(text(row[i])) for row in (columns, *rows)) for i in range(len(columns)))
    fitting = max(1, sum(end <= _width() for end in accumulate(widths)))
    show_table(columns[:fitting], [row[:fitting] for row in rows], title=title, text=text)
    if fitting < len(columns):
        show_line(f"Not shown, for want of room: {', '.join(columns[fitting:])} (--columns chooses)", is_error=True)


def _width() -> int:
    return shutil.get_terminal_size(_PIPE).columns


def show_line(text: str, *, is_error: bool = False) -> None:
    """Print a message, which may name files and values of files; its own line ends stay."""
    shown = "\n".join(visible(line, 10_000) for line in text.split("\n"))
    print(shown, file=sys.stderr if is_error else sys.stdout)


def show_json(value: Any, *, indent: int | None = None) -> None:
    """Print a JSON document in which characters that show nothing are escapes, and all others themselves."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    print(text)


@contextmanager
def show_progress() -> Iterator[Any]:
    """Gives a function for `ingest(progress=)` that draws bars with rate and time left; silent if not in a terminal."""
    if not sys.stderr.isatty():
        yield lambda load, done, size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    speed = "{task.fields[records]:>12,} records {task.fields[rate]:>9,}/s"
    columns = ("{task.description:<17}", BarColumn(), speed, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def draw(load: Load, done: int, size: int) -> None:
            if load.source not in tasks:
                tasks[load.source] = bars.add_task(load.source, total=size, records=0, rate=0)
            rate = int(load.read / load.seconds) if load.seconds else 0
            bars.update(tasks[load.source], completed=done, total=size, records=load.read, rate=rate)

        yield draw
