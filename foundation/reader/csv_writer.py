"""CSV that a spreadsheet may open: what it would run, or take for a number or a date, gets an apostrophe before it."""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import IO, Any

# What a spreadsheet runs when it stands first in a cell (OWASP, CSV injection); a signed number is none of it.
_FORMULA = re.compile(r"[=@\t\r\n\0]|[+-](?![0-9.]+$)")
# What it may rewrite when it saves: `007`, `+91…`, `2025-01-30`, text with white space around it.
_REWRITTEN = re.compile(r"'*[=@+\-\t\r\n\0 0-9]")


def write_csv(
    file: IO[str],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    is_guarded: bool = True,
    delimiter: str = ",",
) -> None:
    """Write rows in which nothing is run as a formula; if not *is_guarded*, as they are, for programs."""
    # Lines end as RFC 4180 has it; with \n the writer would not quote a bare \r.
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(columns)
    if is_guarded:
        rows = ([f"'{v}" if isinstance(v, str) and _FORMULA.match(v) else v for v in row] for row in rows)
    writer.writerows(rows)


def guard(text: str) -> str:
    """A text as it comes back unchanged from a spreadsheet, by `unguard`."""
    return f"'{text}" if _REWRITTEN.match(text) else text


def unguard(text: str) -> str:
    """Take one apostrophe of `guard` off again."""
    return text[1:] if text.startswith("'") and _REWRITTEN.match(text) else text
