"""Read a database back: lazy queries that become pages, streams, frames or a count.

Pages seek by key, not by OFFSET: the last page of a million rows costs what the first one does. The order is made
total by the table's key, and NULLs stand first when ascending, last when descending, as SQLite sorts them.
"""

import base64
import binascii
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from foundation.delivery import SOURCES
from foundation.errors import QueryError
from foundation.source import Source
from foundation.store import connect, quote, told
from foundation.validate import Value

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"INTEGER": "Int64", "REAL": "Float64", "TEXT": "string"}


class Page(NamedTuple):
    """Some rows of a query, in its order; `next` is the token of the page after it, None on the last one."""

    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    next: str | None
    total: int

    def records(self) -> list[dict[str, Value]]:
        """The rows as mappings from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class _Table(NamedTuple):
    """What the schema says of a table."""

    types: dict[str, str]
    required: set[str]
    key: str


class Database:
    """A database opened for reading only; `db["orders"]` is a lazy query, `list(db)` names the tables.

    *sources* tell which texts are timestamps, for frames.
    """

    def __init__(self, path: str | Path, *, sources: Sequence[Source] = SOURCES) -> None:
        self.path = Path(path)
        self.connection = connect(self.path, read_only=True)
        self.sources = {s.name: s for s in sources}
        names = self.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_*' ORDER BY rowid")
        self.tables = {name: self._describe(name) for (name,) in names}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __getitem__(self, table: str) -> "Query":
        if table not in self.tables:
            raise QueryError(f"no table {table!r}; there are {', '.join(self.tables)}")
        return Query(self, table)

    @property
    def version(self) -> int:
        """A number that grows with every change of the data."""
        return int(self.rows("SELECT coalesce(max(chunk_id), 0) FROM _chunks").fetchone()[0])

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """The rows of any SELECT; values are bound to its question marks."""
        with told(self.path):
            return self.connection.execute(sql, parameters)

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """What is read inside shows one state of the data, whatever is loaded meanwhile."""
        self.rows("SAVEPOINT one_state")
        try:
            yield
        finally:
            self.rows("RELEASE one_state")

    def _describe(self, table: str) -> _Table:
        columns = [
            row for row in self.rows("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?)", (table,))
            if not row[0].startswith("_")
        ]  # fmt: skip
        key = next(name for name, _, _, is_key in columns if is_key)
        required = {name for name, _, notnull, is_key in columns if notnull or is_key}
        return _Table({name: kind for name, kind, _, _ in columns}, required, key)


@dataclass(frozen=True)
class Query:
    """Rows of a table that are wanted; nothing is read until a page, a stream, a frame or a count is."""

    database: Database
    table: str
    filters: tuple[tuple[str, Value], ...] = ()
    order: tuple[tuple[str, bool], ...] = ()  # column, descending
    columns: tuple[str, ...] = ()

    def where(self, **equals: Value) -> "Query":
        """Rows in which each column has its value; None finds missing values."""
        checked = tuple((self._known(name), self._fitting(name, value)) for name, value in equals.items())
        return replace(self, filters=self.filters + checked)

    def order_by(self, *names: str) -> "Query":
        """Rows in the order of these columns, those with a minus before their name descending."""
        order = tuple((self._known(name.removeprefix("-")), name.startswith("-")) for name in names)
        return replace(self, order=order)

    def select(self, *names: str) -> "Query":
        """Only these columns, in this order."""
        return replace(self, columns=tuple(map(self._known, names)))

    def count(self) -> int:
        """How many rows there are; of a whole table the ledger knows, so that asking takes no time at any size."""
        if not self.filters:
            counted = "SELECT coalesce(sum(inserted), 0) FROM _loads WHERE source = ?"
            return int(self.database.rows(counted, (self.table,)).fetchone()[0])
        where, values = self._conditions()
        return int(self.database.rows(f"SELECT count(*) FROM {quote(self.table)}{where}", values).fetchone()[0])

    def page(self, size: int = 100, *, after: str | None = None, number: int | None = None) -> Page:
        """A page of *size* rows: the first, the one behind the token *after*, or page *number* counted from 1.

        Raises QueryError when the token belongs to another query or the data has changed since it was made.
        """
        if size < 1 or (number is not None and number < 1):
            raise QueryError(f"the size and the number of a page must be at least 1, got {size} and {number}")
        place, total = self._place(after) if after else (None, self.count())
        where, values = self._conditions(place)
        shown = self._shown()
        order = self._total_order()
        listed = ", ".join(quote(name) for name in (*shown, *(name for name, _ in order)))
        sorting = ", ".join(f"{quote(name)}{' DESC' if down else ''}" for name, down in order)
        offset = f" OFFSET {(number - 1) * size:d}" if number else ""
        sql = f"SELECT {listed} FROM {quote(self.table)}{where} ORDER BY {sorting} LIMIT {size + 1:d}{offset}"
        found = self.database.rows(sql, values).fetchall()
        token = self._token(found[size - 1][len(shown) :], total) if len(found) > size else None
        return Page(shown, [row[: len(shown)] for row in found[:size]], token, total)

    def stream(self, chunk_size: int = 1_000) -> Iterator[list[dict[str, Value]]]:
        """All rows, *chunk_size* at a time; one chunk is held."""
        where, values = self._conditions()
        sorting = ", ".join(f"{quote(name)}{' DESC' if down else ''}" for name, down in self._total_order())
        listed = ", ".join(map(quote, self._shown()))
        cursor = self.database.rows(f"SELECT {listed} FROM {quote(self.table)}{where} ORDER BY {sorting}", values)
        while rows := cursor.fetchmany(chunk_size):
            yield [dict(zip(self._shown(), row, strict=True)) for row in rows]

    def frame(self) -> "pd.DataFrame":
        """All rows as a pandas frame, with nullable types and timestamps as such."""
        import pandas as pd

        records = [record for chunk in self.stream() for record in chunk]
        frame = pd.DataFrame(records, columns=list(self._shown()))
        source = self.database.sources.get(self.table)
        kinds = {c.name: c.kind for c in source.columns} if source else {}
        for name in frame.columns:
            if kinds.get(name) in (datetime, date):
                frame[name] = pd.to_datetime(frame[name], format="ISO8601")
            else:
                frame = frame.astype({name: _DTYPES[self._schema.types[name]]})
        return frame

    @property
    def _schema(self) -> _Table:
        return self.database.tables[self.table]

    def _shown(self) -> tuple[str, ...]:
        return self.columns or tuple(self._schema.types)

    def _known(self, name: str) -> str:
        if name not in self._schema.types:
            raise QueryError(f"{self.table} has no column {name!r}; it has {', '.join(self._schema.types)}")
        return name

    def _fitting(self, name: str, value: Value) -> Value:
        kind = self._schema.types[name]
        if value is None or kind == "TEXT":
            return value if value is None else str(value)
        try:
            return int(value) if kind == "INTEGER" else float(value)
        except ValueError:
            raise QueryError(f"{self.table}.{name} holds numbers ({kind}), got {value!r}") from None

    def _total_order(self) -> tuple[tuple[str, bool], ...]:
        """The order asked for, made total by the key."""
        key = self._schema.key
        return self.order if key in dict(self.order) else (*self.order, (key, False))

    def _conditions(self, place: Sequence[Value] | None = None) -> tuple[str, list[Value]]:
        """The WHERE clause, for the rows behind *place* if one is given, and what to bind to it."""
        parts = [f"{quote(name)} IS ?" for name, _ in self.filters]
        values = [value for _, value in self.filters]
        if place is not None:
            sql, bound = _behind(self._total_order(), place, self._schema.required)
            parts.append(sql)
            values += bound
        return (" WHERE " + " AND ".join(parts) if parts else ""), values

    def _name(self) -> str:
        """What a token must belong to."""
        told = json.dumps([self.table, self.filters, self._total_order()])
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def _token(self, place: Sequence[Value], total: int) -> str:
        told = json.dumps([self.database.version, self._name(), list(place), total])
        return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")

    def _place(self, token: str) -> tuple[list[Value], int]:
        """Where the page before has ended, and how many rows there are: to count them again would take longer."""
        try:
            told = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, name, place, total = told
            place, total = list(place), int(total)
        except (binascii.Error, ValueError, TypeError):
            raise QueryError(f"{token!r} is no token of a page; take it from `next` of the page before") from None
        if name != self._name() or len(place) != len(self._total_order()):
            raise QueryError("the token belongs to a query with another table, filter or order; begin without one")
        if version != self.database.version:
            raise QueryError("the data has changed since the token was made; begin again with the first page")
        return place, total


def _behind(order: Sequence[tuple[str, bool]], place: Sequence[Value], required: set[str]) -> tuple[str, list[Value]]:
    """SQL for the rows that come after *place*, and what to bind to it.

    For the order `a, -b, key` it is `a > ? OR (a IS ? AND b < ?) OR (a IS ? AND b IS ? AND key > ?)`.
    """
    options, values = [], []
    for i, (name, down) in enumerate(order):
        same = [f"{quote(before)} IS ?" for before, _ in order[:i]]
        options.append("(" + " AND ".join([*same, _after(name, down, place[i])]) + ")")
        values += [*place[:i], *([] if place[i] is None else [place[i]])]
    sql = "(" + " OR ".join(options) + ")"
    first, down = order[0]
    if place[0] is not None and (first in required or not down):
        # The same said once more of the first column alone, as a range that an index can be entered with.
        return f"{quote(first)} {'<=' if down else '>='} ? AND {sql}", [place[0], *values]
    return sql, values


def _after(name: str, down: bool, value: Value) -> str:
    """SQL for a column to come after a value, NULLs being least."""
    if value is None:
        return "0" if down else f"{quote(name)} IS NOT NULL"
    return f"({quote(name)} < ? OR {quote(name)} IS NULL)" if down else f"{quote(name)} > ?"
