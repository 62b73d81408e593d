"""Read a folder of Parquet back as a database is read: the engine is DuckDB, over the tables and views of `views`."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import FoundationError, QueryError, StoreError, extra
from foundation.lake.views import statements
from foundation.query import Database, Engine, Query, Relation, SQLiteEngine, Term
from foundation.reader import Chunk
from foundation.schema import Source, in_order
from foundation.store import quote

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

SETTINGS = """
    SET default_null_order = 'nulls_first_on_asc_last_on_desc';
    CREATE MACRO total(x) AS CAST(coalesce(sum(x), 0) AS DOUBLE);
    CREATE MACRO julianday(x) AS (epoch_ms(TRY_CAST(x AS TIMESTAMP)) + 210866760000000) / 86400000.0e0;
"""


def open_database(path: str | Path, *, sources: Sequence[Source], cache: int | str = "64MB") -> Database:
    """A database file, or a folder of Parquet at a path or an address, opened for reading only.

    *sources* are the tables of a folder, and tell which texts are timestamps; *cache* is that of `Database`.
    """
    is_folder = "://" in str(path) or Path(path).is_dir()
    return Database((DuckDBEngine if is_folder else SQLiteEngine)(path, sources), cache=cache)


class DuckDBEngine(Engine):
    """A folder of Parquet, as it was when it was opened; of the sources in *only* the rows of that part alone."""

    dialect = "duckdb"

    def __init__(self, path: str | Path, sources: Iterable[Source], *, only: Mapping[str, int] | None = None) -> None:
        with extra("cluster", f"{path} is a folder of Parquet, which DuckDB reads"):
            import duckdb
            import fsspec

            from foundation.lake.manifest import exists, read_manifest
        if not exists(str(path)):
            raise StoreError(f"{path}: no folder of a load; make one with foundation ingest DATA --to {path}")
        self.path = Path(path) if "://" not in str(path) else str(path)
        self.address = str(path).rstrip("/")
        self.manifest = read_manifest(self.address)
        self.sources: Mapping[str, Source] = {source.name: source for source in in_order(sources)}
        self._connection = duckdb.connect()
        if "://" in self.address:
            self._connection.register_filesystem(fsspec.url_to_fs(self.address)[0])
        self._connection.execute(SETTINGS)
        for sql, values in statements(self.address, self.manifest, self.sources.values(), only=only or {}):
            self._connection.execute(sql, values)
        tables: dict[str, Relation] = {}
        for name, source in self.sources.items():
            columns = {}
            for column in source.columns:
                kind, sql = column.column_type, f"t.{quote(column.name)}"
                columns[column.name] = Term(column.name, sql, kind.sqlite, column.required, kind.is_time)
            tables[name] = Relation(name, quote(name), columns, (), source.keys, source.references, relations=tables)
        self.tables: Mapping[str, Relation] = tables

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> "_Rows":
        """As `Engine.rows`."""
        import duckdb

        try:
            return _Rows(self._connection.cursor().execute(sql, list(parameters)))
        except duckdb.Error as error:
            raise StoreError(f"{self.path}: {error}; the folder is as it was before") from error

    def version(self) -> int:
        """As `Engine.version`."""
        return int(self.manifest["version"])

    def chunk_of(self, source: Source, path: str, origin: int, record: int) -> Chunk | None:
        """As `Engine.chunk_of`: from the part of the file that has the record."""
        from foundation.lake.manifest import complete_load, parts_of
        from foundation.lake.splits import read_part

        parts = [one.part for one in parts_of(complete_load(self.manifest, source.name))]
        part = parts[bisect_left(parts, record, key=lambda part: part.end.record)]
        found = None
        try:
            for chunk in read_part(path, source, part):  # to its end: only there it is known to be the same
                found = chunk if chunk.start.record < record <= chunk.end.record else found
        except FoundationError:
            return None
        return found

    def problems(self) -> list[str]:
        """Rows that are not there or are there twice, and references to rows that are not there."""
        found = []
        for source in self.sources.values():
            table, keys = quote(source.name), ", ".join(map(quote, source.keys))
            inserted = sum(load["inserted"] for load in self.manifest["loads"] if load["source"] == source.name)
            asked = {  # SELECTs of a number that ought to be 0, and what it is the number of
                f"SELECT abs({inserted:d} - count(*)) FROM {table}": "rows more or fewer are there than were stored",
                f"SELECT count(*) - count(DISTINCT ({keys})) FROM {table}": "rows have a key that is there already",
            }
            for column, parent in source.references.items():
                known = f"SELECT {quote(self.sources[parent].key)} FROM {quote(parent)}"
                lost = f"{quote(column)} IS NOT NULL AND {quote(column)} NOT IN ({known})"
                asked[f"SELECT count(*) FROM {table} WHERE {lost}"] = f"rows refer to {parent} that are not there"
            numbers = ((self.rows(sql).fetchone()[0], problem) for sql, problem in asked.items())
            found += [f"{source.name}: {number:,} {problem}" for number, problem in numbers if number]
        return found

    def workers(self, load_ids: Iterable[int]) -> list[dict[str, Any]]:
        """As `Engine.workers`."""
        from foundation.lake.manifest import workers_of

        wanted = set(load_ids)
        return workers_of(self.address, [load for load in self.manifest["loads"] if load["load_id"] in wanted])

    def dask(self, query: Query) -> "dd.DataFrame":
        """As `Engine.dask`."""
        import dask.dataframe as dd

        from foundation.lake.manifest import complete_load

        if (table := query.relation.name) not in self.tables:
            raise QueryError("a Dask frame has a partition for each file of a table, and a SELECT is none; use frame()")
        parts = len(complete_load(self.manifest, table).get("parts", ()))
        if not parts:
            return dd.from_pandas(query.as_frame([]), npartitions=1)
        # A worker opens the folder itself: the query goes to it without its database.
        asked = table, query.filters, query.columns
        read = partial(_read_part, self.address, tuple(self.sources.values()), asked)
        return dd.from_map(read, range(parts), meta=query.as_frame([]))


def _read_part(address: str, sources: Sequence[Source], asked: tuple[str, Any, Any], at: int) -> "pd.DataFrame":
    """The rows of a query that stand in one of the files of its table."""
    table, filters, columns = asked
    with Database(DuckDBEngine(address, sources, only={table: at}), cache=False) as database:
        return Query(database, database.tables[table], filters, columns=columns).frame()


class _Rows:
    """What DuckDB gives, as what SQLite gives is used."""

    def __init__(self, result: Any) -> None:
        self.description = result.description
        self.fetchone, self.fetchmany, self.fetchall = result.fetchone, result.fetchmany, result.fetchall

    def __iter__(self) -> Iterator[Any]:
        while rows := self.fetchmany(1_000):
            yield from rows
