"""Read a database back: lazy queries that become pages, streams, frames or a count.

Pages seek by key, not by OFFSET: along the key or an index the last page of a million rows costs what the first one
does. The order is made total by the table's key, in the direction of the last column; NULLs stand first when
ascending, last when descending, as SQLite sorts them. Rows of a SELECT have no key: with `order_by` all their columns
make the order total, without it they keep the order of the SELECT, and pages count their way.

A page, a stream and a frame each see one state of the data. A page behind a token sees the state in which the first
page was read; when it is there no longer, because somebody has loaded, the token is refused in words. So nobody who
pages through meets a row twice or misses one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Self

from foundation.display import table as html_table
from foundation.errors import QueryError, StoreError
from foundation.query.cache import Cache
from foundation.query.conditions import Condition, Order, Term, all_of
from foundation.query.engine import Engine, Rows
from foundation.query.page import Page
from foundation.query.pagination import PageQuery, Token, digest, read_page, read_token
from foundation.query.relation import Relation, selected
from foundation.schema import STORED_TYPES, Row, Value

if TYPE_CHECKING:
    import pandas as pd


class Database:
    """A database file or a folder of Parquet, opened for reading only by `foundation.open`.

    `db["orders"]` is a lazy query, `list(db)` names the tables. The *engine* runs the SQL: SQLite for a file, DuckDB
    for a folder. *cache* bounds, in bytes or as "64MB", what is kept of pages, frames and counts until the data
    changes; False keeps nothing.
    """

    def __init__(self, engine: Engine, *, cache: int | str = "64MB") -> None:
        self.engine = engine
        self.path, self.sources, self.tables = engine.path, engine.sources, engine.tables
        from foundation.memory import parse_bytes  # psutil takes its time: `import foundation` does without

        self.cache = Cache(parse_bytes(cache) if isinstance(cache, str) else int(cache))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files and of what is cached."""
        self.engine.close()
        self.cache.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __getitem__(self, table: str) -> "Query":
        if table not in self.tables:
            raise QueryError(f"no table {table!r}; there are {', '.join(self.tables)}")
        return Query(self, self.tables[table])

    def sql(self, select: str, values: Sequence[Any] = ()) -> "Query":
        """The rows of any SELECT as a lazy query; *values* are bound to its question marks.

        It goes to the engine as it stands: SQLite runs it for a database file, DuckDB for a folder of Parquet. Raises
        QueryError when that does not take it.
        """
        try:
            return Query(self, selected(self.rows, select, values))
        except StoreError as error:
            raise QueryError(f"this SELECT cannot be run: {error.__cause__}") from error

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.tables)

    def __repr__(self) -> str:
        return f"<Database {self.path}: {', '.join(f'{name} {self[name].count():,}' for name in self)}>"

    def _repr_html_(self) -> str:
        rows = [
            (name, self[name].count(), len(one.columns), ", ".join(one.key), ", ".join(one.references.values()))
            for name, one in self.tables.items()
        ]
        return html_table(("table", "rows", "columns", "key", "refers to"), rows, caption=str(self.path))

    @property
    def version(self) -> int:
        """A number that grows with every change of the data."""
        return self.engine.version()

    def problems(self) -> list[str]:
        """What does not hold together, in sentences: the file, rows that are not there, references to none."""
        return self.engine.problems()

    def workers(self, load_ids: Iterable[int]) -> list[dict[str, Any]]:
        """What each worker of a cluster did for these loads: nothing for a file, where one process stores all."""
        return self.engine.workers(load_ids)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """The rows of any SELECT; values are bound to its question marks."""
        return self.engine.rows(sql, parameters)

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read inside is of one state of the data, streams that are read to their end there included."""
        return self.engine.snapshot()


@dataclass(frozen=True)
class Query:
    """Rows that are wanted; nothing is read until a page, a stream, a frame, a count or the rows themselves are."""

    database: Database
    relation: Relation
    filters: tuple[tuple[Term, Condition], ...] = ()
    order: tuple[tuple[str, bool], ...] = ()  # column, descending
    columns: tuple[str, ...] = ()

    def where(self, conditions: Mapping[str, Any] | None = None, /, **more: Any) -> "Query":
        """Rows that meet all conditions: `column=value`, None for a missing one, or `column__word=value`.

        The words: `not` (missing values are others too), `gt`, `gte`, `lt`, `lte`, `between` (both ends included),
        `in`, `startswith`, `contains`; texts are compared character for character. A column of the row that a
        reference leads to is `{"client_id.client_name": value}`.
        """
        added = [self.relation.condition(name, value) for name, value in {**(conditions or {}), **more}.items()]
        return replace(self, filters=(*self.filters, *added))

    def order_by(self, *names: str) -> "Query":
        """Rows in the order of these columns, those with a minus before their name descending."""
        order = tuple((name.removeprefix("-"), name.startswith("-")) for name in names)
        for name, _ in order:
            self.relation.term(name)
        return replace(self, order=order)

    def select(self, *names: str) -> "Query":
        """Only these columns, in this order; `client_id.city` is a column of the row that `client_id` refers to."""
        for name in names:
            self.relation.term(name)
        return replace(self, columns=names)

    def __getitem__(self, names: str | tuple[str, ...]) -> "Query":
        return self.select(*((names,) if isinstance(names, str) else names))

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.relation.columns)

    def count(self) -> int:
        """How many rows there are; of a whole table the ledger knows, so that asking takes no time at any size."""
        return int(self._cached(self._count, lambda _: 100))

    def _count(self) -> int:
        table = self.relation.name
        if not self.filters and table in self.database.sources and self.relation.key:
            sql, values = "SELECT coalesce(sum(inserted), 0) FROM _loads WHERE source = ?", (table,)
        else:
            where = self._where()
            used = [term for term, _ in self.filters]
            sql = f"SELECT count(*) FROM {self.relation.from_sql(used)} WHERE {where.sql}"
            values = (*self.relation.values, *where.values)
        return int(self.database.rows(sql, values).fetchone()[0])

    def page(self, size: int = 100, *, after: str | None = None, number: int | None = None) -> Page:
        """A page of *size* rows: the first, the one that a token leads to, or page *number* counted from 1.

        The token is `next` or `previous` of a page. Raises QueryError when it belongs to another query or the data
        has changed since it was made.
        """
        if size < 1 or (number is not None and number < 1):
            raise QueryError(f"the size and the number of a page must be at least 1, got {size} and {number}")
        if after is not None and number is not None:
            raise QueryError("a page has a token or a number, not both")
        page: Page = self._cached(self._page, _bytes_of, size, after, number)
        return page

    def stream(self, chunk_size: int = 1_000) -> Iterator[list[dict[str, Value]]]:
        """All rows, *chunk_size* at a time, as mappings; one chunk is held.

        The stream has a connection of its own and sees the state of the data in which it began. A loader goes on
        meanwhile. What is not read to its end is let go of by `close()`, or when nobody holds it.
        """
        if chunk_size < 1:
            raise QueryError(f"the size of a chunk must be at least 1, got {chunk_size}")
        names = self._shown()
        return ([dict(zip(names, row, strict=True)) for row in rows] for rows in self._chunks(chunk_size))

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return (record for chunk in self.stream() for record in chunk)

    def frame(self) -> "pd.DataFrame":
        """All rows as a pandas frame, with nullable types and timestamps as such; it is the caller's own."""
        frame: pd.DataFrame = self._cached(self._frame, lambda frame: int(frame.memory_usage(deep=True).sum()))
        return frame.copy() if self.database.cache.limit else frame

    def dask(self) -> Any:
        """The rows of a folder of Parquet as a Dask frame with a partition for each file, in the order of the files.

        Raises QueryError for a database file, and for a SELECT.
        """
        return self.database.engine.dask(self)

    def _frame(self) -> "pd.DataFrame":
        return self.as_frame([row for rows in self._chunks(10_000) for row in rows])

    def as_frame(self, rows: Sequence[Row]) -> "pd.DataFrame":
        """Rows of this query as a pandas frame."""
        import pandas as pd

        columns = zip(*rows, strict=True) if rows else [()] * len(self._shown())
        return pd.DataFrame({
            term.name: pd.to_datetime(pd.Series(values, dtype="string"), format="ISO8601") if term.is_time
            else pd.Series(values, dtype=STORED_TYPES[term.kind].pandas) if term.kind
            else pd.Series(values, dtype=object).convert_dtypes()
            for term, values in zip(self._terms(), columns, strict=True)
        })  # fmt: skip

    def __repr__(self) -> str:
        order = ", ".join(f"-{name}" if down else name for name, down in self.order)
        parts = [self._where().sql] if self.filters else []
        parts += [f"by {order}"] if order else []
        return f"<Query of {self.relation.name}{': ' if parts else ''}{', '.join(parts)}>"

    def _repr_html_(self) -> str:
        return self.page(10)._repr_html_()

    def _cached(self, read: Callable[..., Any], size: Callable[[Any], int], *arguments: Any) -> Any:
        database = self.database
        key = (self._name, self.columns, read.__name__, arguments, database.engine.data_version())
        return database.cache.get(key, partial(read, *arguments), size)

    @cached_property
    def _name(self) -> str:
        """What a token must belong to."""
        return digest(self.relation.origin, self.relation.values, [c for _, c in self.filters], self.order)

    def _shown(self) -> tuple[str, ...]:
        return self.columns or tuple(self.relation.columns)

    def _terms(self) -> list[Term]:
        return [self.relation.term(name) for name in self._shown()]

    def _total_order(self) -> Order:
        """The order asked for, made total by the key or, where rows have none, by all columns; empty for none."""
        if not self.order and not self.relation.key:
            return []
        given = dict(self.order)
        last = self.order[-1][1] if self.order else False
        more = [(name, last) for name in self.relation.key or self.relation.columns if name not in given]
        return [(self.relation.term(name), down) for name, down in (*given.items(), *more)]

    def _where(self, *more: Condition) -> Condition:
        return all_of([*(condition for _, condition in self.filters), *more])

    def _select(
        self, order: Order, shown: Sequence[Term], where: Condition, index: str | None = None
    ) -> tuple[str, tuple[Any, ...]]:
        """A SELECT of these columns in this order, and what is bound to it."""
        used = [*shown, *(term for term, _ in order), *(term for term, _ in self.filters)]
        source = self.relation.from_sql(used, index=index)
        sql = f"SELECT {', '.join(term.sql for term in shown)} FROM {source} WHERE {where.sql}"
        if order:
            sql += " ORDER BY " + ", ".join(f"{term.sql}{' DESC' if down else ''}" for term, down in order)
        return sql, (*self.relation.values, *where.values)

    def _chunks(self, size: int) -> Iterator[list[Row]]:
        return self.database.engine.chunks(*self._select(self._total_order(), self._terms(), self._where()), size)

    def _page(self, size: int, after: str | None, number: int | None) -> Page:
        with self.database.snapshot():
            version = self.database.version
            if after is not None:
                token = read_token(after, self._name, version)
            else:
                token = Token(version, self._name, False, ((number or 1) - 1) * size, self._count())
            rows = read_page(self._page_query(size, token.total), token, size)
        return Page(self._shown(), *rows, token.total, self, size)

    def _page_query(self, size: int, total: int) -> PageQuery:
        order, relation = self._total_order(), self.relation
        index = relation.index_for([term.name for term, _ in order])
        # SQLite finds all rows that are wanted and sorts them. Where they are many, it is quicker to go along the
        # index that sorts and leave out the others: size * rows / total of them are met until a page is full.
        along = index is not None and bool(self.filters) and total**2 > size * replace(self, filters=()).count()
        fetch = partial(self._fetch, index if along else None)
        return PageQuery(fetch, order, bool(relation.key), index is not None)

    def _fetch(
        self, index: str | None, order: Order, ranges: Sequence[Condition], limit: int, offset: int
    ) -> list[Row]:
        """At most *limit* rows of the ranges one after the other, the values that sort them in front."""
        shown = [*(term for term, _ in order), *self._terms()]
        rows: list[Row] = []
        for condition in ranges or [all_of([])]:
            sql, values = self._select(order, shown, self._where(condition), index)
            rows += self.database.rows(f"{sql} LIMIT ? OFFSET ?", (*values, limit - len(rows), offset)).fetchall()
            if len(rows) >= limit:
                break
        return rows


def _bytes_of(page: Page) -> int:
    """About how many bytes a page takes."""
    return 1_000 + sum(100 + sum(map(getsizeof, row)) for row in page.rows)
