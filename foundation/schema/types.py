"""The types that a column can have, one row each: what it is called wherever its values go, and how a file writes it.

A time is stored as text: SQLite has no type for it, and text like `2025-01-30 08:15:00` sorts as the times do. Types of
libraries are named and not imported: pandas, PyArrow and DuckDB take their names.
"""

from datetime import date, datetime
from typing import NamedTuple

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"


class ColumnType(NamedTuple):
    """One type. Its values are stored as `sqlite`, `duckdb`, `arrow` and `pandas` say, and exported as `exported`."""

    python: type
    sqlite: str  # in a STRICT table
    duckdb: str
    arrow: str
    pandas: str
    exported: str  # of Arrow
    table_schema: str  # of a Data Package
    plural: str
    pattern: str  # of its text in a file, if not any will do

    @property
    def is_number(self) -> bool:
        """Whether its values are stored as numbers."""
        return self.python in (int, float)

    @property
    def is_time(self) -> bool:
        """Whether its values are points in time, stored as text."""
        return self.python in (datetime, date)


_TEXT = ("TEXT", "VARCHAR", "string", "string")
COLUMN_TYPES = {
    row.python: row
    for row in (
        ColumnType(int, "INTEGER", "BIGINT", "int64", "Int64", "int64", "integer", "whole numbers", "-?[0-9]+"),
        ColumnType(float, "REAL", "DOUBLE", "float64", "Float64", "float64", "number", "decimal numbers",
                   r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?"),
        ColumnType(str, *_TEXT, "string", "string", "texts", ""),
        ColumnType(datetime, *_TEXT, "timestamp[ms]", "datetime", "timestamps", f"{DATE} {TIME}"),
        ColumnType(date, *_TEXT, "date32", "date", "dates", DATE),
    )
}  # fmt: skip
STORED_TYPES = {row.sqlite: row for row in COLUMN_TYPES.values() if not row.is_time}
