"""Read a folder of Parquet back as a database is read: the same queries, run by DuckDB.

All that asks a database in SQL asks a folder in the same words, of the tables and views that `views` makes.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.delivery.sources import SOURCES
from foundation.errors import FoundationError, StoreError, extra
from foundation.lake.views import said, statements
from foundation.memory import parse_bytes
from foundation.query.cache import Cache
from foundation.query.conditions import Term
from foundation.query.query import Database, Query
from foundation.query.relation import Relation
from foundation.reader.reader import Chunk
from foundation.schema.source import Column, Source, in_order
from foundation.schema.validator import Row
from foundation.store.database import quote

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_SETTINGS = """
    SET default_null_order = 'nulls_first_on_asc_last_on_desc';
    CREATE MACRO total(x) AS CAST(coalesce(sum(x), 0) AS DOUBLE);
    CREATE MACRO julianday(x) AS julian(CAST(x AS TIMESTAMP));
"""


def open_database(path: str | Path, *, sources: Sequence[Source] = SOURCES, cache: int | str = "64MB") -> Database:
    """A database file, or a folder of Parquet at a path or an address, opened for reading only.

    `db["orders"]` is a lazy query, `list(db)` names the tables. *sources* tell which texts are timestamps, for frames,
    and are the tables of a folder. *cache* bounds, in bytes or as "64MB", what is kept of pages, frames and counts
    until the data changes; False keeps nothing.
    """
    is_folder = "://" in str(path) or Path(path).is_dir()
    return (Lake if is_folder else Database)(path, sources=sources, cache=cache)


class Lake(Database):
    """A folder of Parquet opened for reading only, as it was at that time; made by `foundation.open`."""

    def __init__(
        self,
        path: str | Path,
        *,
        sources: Sequence[Source] = SOURCES,
        cache: int | str = "64MB",
        only: Mapping[str, int] | None = None,
    ) -> None:
        with extra("cluster", f"{path} is a folder of Parquet, which DuckDB reads"):
            import duckdb
            import fsspec

            from foundation.lake.partitions import exists, read_manifest
        if not exists(str(path)):
            raise StoreError(f"{path}: no folder of a load; make one with foundation ingest DATA --to {path}")
        self.path = Path(path) if "://" not in str(path) else path  # type: ignore[assignment]  # it is shown only
        self.address = str(path).rstrip("/")
        self.manifest = read_manifest(self.address)
        self.sources = {s.name: s for s in in_order(sources)}
        self.cache = Cache(parse_bytes(cache) if isinstance(cache, str) else int(cache))
        self._duckdb = duckdb.connect()
        if "://" in self.address:
            self._duckdb.register_filesystem(fsspec.url_to_fs(self.address)[0])
        self._duckdb.execute(_SETTINGS)
        for sql, values in statements(self.address, self.manifest, self.sources.values(), only=only or {}):
            self._duckdb.execute(sql, values)
        self.tables = _relations(self.sources)

    def __getitem__(self, table: str) -> "LakeQuery":
        found = super().__getitem__(table)
        return LakeQuery(self, found.relation)

    def close(self) -> None:
        """Let go of the files and of what is cached."""
        self._duckdb.close()
        self.cache.clear()

    @property
    def version(self) -> int:
        """A number that grows with every change of the data."""
        return int(self.manifest["version"])

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The rows of any SELECT; values are bound to its question marks."""
        import duckdb

        try:
            return _Rows(self._duckdb.cursor().execute(said(sql), list(parameters)))
        except duckdb.Error as error:
            raise StoreError(f"{self.path}: {error}; the folder is as it was before") from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read is of the state in which the folder was opened."""
        yield

    def seen(self) -> int:
        """A number that stays the same: what others do is seen by who opens the folder anew."""
        return 0

    def chunks(self, sql: str, values: Sequence[Any], size: int) -> Iterator[list[Row]]:
        """The rows of a SELECT, some at a time."""
        found = self.rows(sql, values)
        while rows := found.fetchmany(size):
            yield rows

    def chunk_of(self, source: Source, record: int) -> Chunk | None:
        """The records around one that is stored, read from the file again; None when it is no longer the same."""
        from foundation.lake.partitions import chunks, parts_of

        load = self._load(source.name)
        parts = [one.part for one in parts_of(load)]
        part = parts[bisect_left(parts, record, key=lambda part: part.end.record)]
        found = None
        try:
            for chunk in chunks(load["path"], source, part):  # to its end: only there it is known to be the same
                found = chunk if chunk.start.record < record <= chunk.end.record else found
        except FoundationError:
            return None
        return found

    def _load(self, source: str) -> dict[str, Any]:
        """The complete load of a source, or one without parts."""
        loads = self.manifest["loads"]
        return next((one for one in loads if (one["source"], one["status"]) == (source, "complete")), {"parts": []})

    def problems(self) -> list[str]:
        """What does not hold together, in sentences: rows that are not there or twice, references to none."""
        found = [
            f"{source.name}: {number:,} {told}"
            for source in self.sources.values()
            for sql, told in self._questions(source)
            if (number := self.rows(sql).fetchone()[0])
        ]
        return found

    def _questions(self, source: Source) -> Iterator[tuple[str, str]]:
        """SELECTs of a number that ought to be 0, and what it is the number of."""
        table, keys, counted = quote(source.name), ", ".join(map(quote, source.keys)), self[source.name].count()
        yield f"SELECT abs({counted:d} - count(*)) FROM {table}", "rows more or fewer are there than were stored"
        yield f"SELECT count(*) - count(DISTINCT ({keys})) FROM {table}", "rows have a key that is there already"
        for column, parent in source.references.items():
            known = f"SELECT {quote(self.sources[parent].key)} FROM {quote(parent)}"
            lost = (
                f"SELECT count(*) FROM {table} WHERE {quote(column)} IS NOT NULL AND {quote(column)} NOT IN ({known})"
            )
            yield lost, f"rows refer to {parent} that are not there"

    def workers(self, load_ids: Iterable[int]) -> list[dict[str, Any]]:
        """What each worker of the cluster did for these loads."""
        from foundation.lake.partitions import workers_of

        wanted = set(load_ids)
        return workers_of(self.address, [load for load in self.manifest["loads"] if load["load_id"] in wanted])


class LakeQuery(Query):
    """Rows of a folder that are wanted."""

    def dask(self) -> "dd.DataFrame":
        """The rows as a Dask frame with a partition for each file; the order is that of the files."""
        import dask.dataframe as dd

        lake: Any = self.database
        parts = len(lake._load(self.relation.name)["parts"])
        if not parts:
            return dd.from_pandas(self.as_frame([]), npartitions=1)
        asked = replace(self, database=None, order=())  # type: ignore[arg-type]  # a worker opens its own
        read = partial(_part, lake.address, tuple(lake.sources.values()), asked)
        return dd.from_map(read, range(parts), meta=self.as_frame([]))


def _part(address: str, sources: Sequence[Source], asked: LakeQuery, at: int) -> "pd.DataFrame":
    """The rows of a query that stand in one of the files of its table."""
    with Lake(address, sources=sources, cache=False, only={asked.relation.name: at}) as lake:
        return replace(asked, database=lake).frame()


class _Rows:
    """What DuckDB gives, as what SQLite gives is used."""

    def __init__(self, found: Any) -> None:
        self.description = found.description
        self.fetchone, self.fetchmany, self.fetchall = found.fetchone, found.fetchmany, found.fetchall

    def __iter__(self) -> Iterator[Row]:
        while rows := self.fetchmany(1_000):
            yield from rows


def _relations(sources: Mapping[str, Source]) -> dict[str, Relation]:
    found: dict[str, Relation] = {}
    for source in sources.values():
        columns = {c.name: _term(c) for c in source.columns}
        found[source.name] = Relation(
            source.name, quote(source.name), columns, key=source.keys, references=source.references, relations=found
        )
    return found


def _term(column: Column) -> Term:
    is_time = column.kind in (datetime, date)
    return Term(column.name, f"t.{quote(column.name)}", column.sql_type, column.required, is_time)
