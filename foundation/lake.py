"""Read a folder of Parquet back as a database is read: the same queries, run by DuckDB.

Rows and rejects are views over the files that the manifest names; the ledger is made of what it tells of the loads. So
all that asks a database in SQL asks a folder in the same words. What DuckDB says otherwise than SQLite is told here.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cache import Cache
from foundation.delivery import SOURCES
from foundation.errors import FoundationError, StoreError
from foundation.memory import parse_bytes
from foundation.query import Database, Query
from foundation.read import Chunk
from foundation.relation import Relation
from foundation.seek import Term
from foundation.source import Column, Source, in_order
from foundation.store import quote
from foundation.validate import Row

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_TYPES = {"INTEGER": "BIGINT", "REAL": "DOUBLE", "TEXT": "VARCHAR"}
_PLACE = ("record", "line", "last_line", "byte_start", "byte_end", "raw")
# The statements of the ledger in DuckDB's words; views are nothing to refer to.
_DIALECT = {
    r"\) STRICT.*;": ");",
    " ANY ": " VARCHAR ",
    " INTEGER": " BIGINT",
    " REAL": " DOUBLE",
    " REFERENCES _\\w+": "",
}
_SETTINGS = """
    SET default_null_order = 'nulls_first_on_asc_last_on_desc';
    CREATE MACRO total(x) AS CAST(coalesce(sum(x), 0) AS DOUBLE);
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
        try:
            import duckdb
            import fsspec

            from foundation.parts import exists, read_manifest
        except ImportError as error:
            told = "a folder of Parquet is read by DuckDB, which is not here: pip install 'foundation[cluster]'"
            raise FoundationError(f"{path}: {told}") from error
        if not exists(str(path)):
            raise StoreError(f"{path}: no folder of a load; make one with foundation ingest DATA --to {path}")
        self.path = Path(path) if "://" not in str(path) else path  # type: ignore[assignment]  # it is shown only
        self.address = str(path).rstrip("/")
        self.manifest = read_manifest(self.address)
        self.only = only or {}
        self.sources = {s.name: s for s in in_order(sources)}
        self.cache = Cache(parse_bytes(cache) if isinstance(cache, str) else int(cache))
        self._duckdb = duckdb.connect()
        if "://" in self.address:
            self._duckdb.register_filesystem(fsspec.url_to_fs(self.address)[0])
        self._duckdb.execute(_SETTINGS)
        self._make_ledger()
        for source in self.sources.values():
            self._make_view(source)
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
            return _Rows(self._duckdb.cursor().execute(_said(sql), list(parameters)))
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
        from foundation.parts import chunks, parts_of

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

    def _make_ledger(self) -> None:
        """The tables of the ledger, but for the rejects, which are views."""
        script = files("foundation").joinpath("ledger.sql").read_text("utf-8")
        for word, said in _DIALECT.items():
            script = re.sub(word, said, script)
        for statement in script.split(";\n"):
            if not re.search("CREATE (INDEX|TABLE _(rejects|errors) )", statement):
                self._duckdb.execute(statement)
        for run in self.manifest["runs"]:
            told = [
                run["run_id"],
                run["started"],
                run["finished"],
                "complete",
                json.dumps({"data": run["data"]}),
                run["versions"],
            ]
            self._duckdb.execute("INSERT INTO _runs VALUES (?, ?, ?, ?, ?, ?)", told)
        for load in self.manifest["loads"]:
            told = load | {"header": json.dumps(load["header"]), "warnings": json.dumps(load["warnings"])}
            names = [name for name, *_ in self.rows("SELECT name FROM pragma_table_info('_loads')")]
            marks = ", ".join("?" * len(names))
            self._duckdb.execute(f"INSERT INTO _loads VALUES ({marks})", [told[name] for name in names])
        self._make_rejects()

    def _make_rejects(self) -> None:
        told = [
            _REJECTS.format(load["load_id"], _text(load["source"]), _text(load["path"]), self._listed(load["rejects"]))
            for load in self.manifest["loads"]
            if load["rejects"]
        ]
        every = " UNION ALL ".join(told) or _NO_REJECTS
        self._duckdb.execute(
            f"CREATE VIEW _kept AS SELECT row_number() OVER (ORDER BY load_id, record) AS reject_id, * FROM ({every})"
        )
        self._duckdb.execute("CREATE VIEW _rejects AS SELECT * EXCLUDE (errors) FROM _kept")
        self._duckdb.execute(_ERRORS)

    def _make_view(self, source: Source) -> None:
        load = self._load(source.name)
        parts = [part["rows"] for part in load["parts"]]
        if source.name in self.only:
            parts = [parts[self.only[source.name]]]
        columns = ", ".join(quote(c.name) for c in source.columns)
        if parts:
            rows = f"SELECT {columns}, {load['load_id']:d} AS _load, _record FROM {self._listed(parts)}"
        else:
            nothing = ", ".join(f"CAST(NULL AS {_TYPES[c.sql_type]}) AS {quote(c.name)}" for c in source.columns)
            rows = f"SELECT {nothing}, 0 AS _load, 0 AS _record WHERE false"
        self._duckdb.execute(f"CREATE VIEW {quote(source.name)} AS {rows}")

    def _listed(self, names: Sequence[str]) -> str:
        return f"read_parquet([{', '.join(_text(f'{self.address}/{name}') for name in names)}])" if names else ""


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


def _said(sql: str) -> str:
    """SQL as SQLite takes it in DuckDB's words: `IS` between any two values, and `[^` in a pattern of GLOB."""
    sql = re.sub(r"\bIS NOT (?!NULL\b|DISTINCT\b)", "IS DISTINCT FROM ", sql)
    sql = re.sub(r"\bIS (?!NOT\b|NULL\b|DISTINCT\b)", "IS NOT DISTINCT FROM ", sql)
    return re.sub("(?<= GLOB )'[^']*'", lambda pattern: pattern[0].replace("[^", "[!"), sql)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


_REJECTS = f"""
    SELECT {{}} AS load_id, {{}} AS source, {{}} AS path, {", ".join(_PLACE)}, 'open' AS status, key, errors FROM {{}}
"""
_NO_REJECTS = f"""
    SELECT 0 AS load_id, '' AS source, '' AS path, {", ".join(f"NULL AS {name}" for name in _PLACE)}, '' AS status,
    NULL AS key, CAST([] AS STRUCT(stage VARCHAR, code VARCHAR, "column" VARCHAR, value VARCHAR, message VARCHAR)[])
    AS errors WHERE false
"""
_ERRORS = """
    CREATE VIEW _errors AS
    SELECT reject_id, unnest(range(1, len(errors) + 1)) AS number, unnest(errors, recursive := true) FROM _kept
"""
