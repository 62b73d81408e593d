"""What a person sees in a terminal: tables on standard output, progress on standard error."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from foundation.errors import visible
from foundation.ledger import Load

_NAME_WIDTH = 24  # characters of a first column that are not broken
_VALUE_WIDTH = 24
_PIPE_WIDTH = 240  # columns, when there is no terminal to ask


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table: numbers to the right, every other value made visible."""
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    shown = Text(visible(title), style="bold") if title else None
    table = Table(title=shown, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    cells = [list(row) for row in rows]
    for i, name in enumerate(columns):
        values = [row[i] for row in cells if row[i] is not None]
        is_number = bool(values) and all(isinstance(value, int | float) for value in values)
        narrowest = None if i else min(max((len(str(value)) for value in values), default=0), _NAME_WIDTH)
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(visible(name), justify=justify, overflow="fold", min_width=narrowest)
    for row in cells:
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print(table)


def show_described(told: Mapping[str, Any]) -> None:
    """Print the tables and the checks of `stats`: a column is a line, where the terminal is wide enough."""
    for name, table in told["tables"].items():
        rows = [
            (column, _whole(figures["missing"], table), _whole(figures["distinct"], figures), _content(figures))
            for column, figures in table["columns"].items()
        ]
        show_table(("column", "missing", "distinct", "values"), rows, title=f"{name}: {table['rows']:,} rows")
    checks = [
        (c["source"], c["name"], _whole(c["rows"], c), ", ".join(map(str, c["examples"]))) for c in told["checks"]
    ]
    show_table(("source", "check", "broken by", "such as"), checks, title="Checks: how many rows break them")


class _About(int):
    """A count that is approximate."""


def _whole(number: int | None, told: Mapping[str, Any]) -> int | str:
    if number is None:
        return "many"
    return _About(number) if told["approximate"] else number


def _content(figures: Mapping[str, Any]) -> str:
    """What stands in a column, in a line: the most frequent values, or the range."""
    if "frequent" in figures and "mean" not in figures:
        listed = ", ".join(f"{visible(value, _VALUE_WIDTH)} {count:,}" for value, count in figures["frequent"][:5])
        return listed + (", …" if figures["distinct"] > 5 else "")
    least, greatest = (visible(_cell(figures[name]), _VALUE_WIDTH) for name in ("least", "greatest"))
    content = f"{least} … {greatest}" if figures["count"] else "–"
    if figures.get("sd") is not None:
        content += f", mean {_cell(figures['mean'])} ± {_cell(figures['sd'])}"
    return content


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"~{value:,}" if isinstance(value, _About) else f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else visible(str(value))


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
