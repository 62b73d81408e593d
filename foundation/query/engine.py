"""What runs the SQL of a `Database`: the protocol of an engine, and SQLite for a database file.

The engine of a folder of Parquet is `foundation.lake.duckdb`. Each takes SQL as it stands: who builds SQL writes what
both understand.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foundation.errors import QueryError
from foundation.query.relation import Relation, tables
from foundation.reader import Chunk, Reader
from foundation.schema import Dialect, Row, Source
from foundation.store import connect, find_checkpoint, translate_sqlite_errors

if TYPE_CHECKING:
    from foundation.query.query import Query


class Rows(Protocol):
    """The rows that a SELECT gives, read as far as somebody asks."""

    @property
    def description(self) -> Any:
        """For each column a tuple that begins with its name."""

    def fetchone(self) -> Any:
        """The next row, None behind the last."""

    def fetchmany(self, size: int) -> list[Any]:
        """At most so many rows more."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


def mappings(rows: Rows) -> Iterator[dict[str, Any]]:
    """Rows as mappings from column to value."""
    names = [name for name, *_ in rows.description]
    return (dict(zip(names, row, strict=True)) for row in rows)


class Engine(Protocol):
    """Runs SELECTs over tables that it only reads, and knows where their rows came from.

    What is defined here is what an engine does whose data stay as they were when they were opened.
    """

    path: Path | str  # an address is a text
    dialect: Dialect  # in whose words declared checks are asked
    sources: Mapping[str, Source]
    tables: Mapping[str, Relation]

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """The rows of a SELECT; values are bound to its question marks. Raises StoreError."""

    def chunks(self, sql: str, values: Sequence[Any], size: int) -> Iterator[list[Row]]:
        """The rows of a SELECT, *size* at a time, all of one state of the data."""
        result = self.rows(sql, values)
        while rows := result.fetchmany(size):
            yield rows

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read inside is of one state of the data, streams that are read to their end there included."""
        return nullcontext()

    def version(self) -> int:
        """A number that grows with every change of the data."""

    def data_version(self) -> int:
        """A number that is another one once somebody has changed the data; asking takes no time."""
        return 0

    def problems(self) -> list[str]:
        """What does not hold together, in sentences."""

    def workers(self, load_ids: Iterable[int]) -> list[dict[str, Any]]:
        """What each worker of a cluster did for these loads."""
        return []

    def chunk_of(self, source: Source, path: str, origin: int, record: int) -> Chunk | None:
        """The records around one that is stored, read from its file again; None when that is no longer the same.

        *origin* is the load that began with this version of the file. Raises SourceError.
        """

    def dask(self, query: "Query") -> Any:
        """The rows of a query as a Dask frame, a partition for each file of the table. Raises QueryError."""
        raise QueryError(f"{self.path}: a Dask frame has a partition for each file of a folder of Parquet; use frame()")

    def close(self) -> None:
        """Let go of the files."""


class SQLiteEngine(Engine):
    """A database file, opened for reading only."""

    dialect = "sqlite"

    def __init__(self, path: str | Path, sources: Iterable[Source] = ()) -> None:
        self.path = Path(path)
        self.connection = connect(self.path, read_only=True)
        self._watch = self.connection.cursor()  # one for all: a cached page takes no longer than asking for the state
        self.sources: Mapping[str, Source] = {source.name: source for source in sources}
        self.tables: Mapping[str, Relation] = tables(self.rows, self.sources)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """As `Engine.rows`."""
        with translate_sqlite_errors(self.path):
            return self.connection.execute(sql, parameters)

    def chunks(self, sql: str, values: Sequence[Any], size: int) -> Iterator[list[Row]]:
        """As `Engine.chunks`: from a connection of their own, inside `snapshot` from that one."""
        own = self.connection
        shared = nullcontext(own) if own.in_transaction else closing(connect(self.path, read_only=True))
        with shared as connection, translate_sqlite_errors(self.path):
            cursor = connection.execute(sql, values)
            while rows := cursor.fetchmany(size):
                yield rows

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """As `Engine.snapshot`; one may be inside another."""
        if self.connection.in_transaction:
            yield
            return
        self.rows("BEGIN DEFERRED")
        try:
            yield
        finally:
            self.connection.rollback()

    def version(self) -> int:
        """As `Engine.version`."""
        return int(self.rows("SELECT coalesce(max(chunk_id), 0) FROM _chunks").fetchone()[0])

    def data_version(self) -> int:
        """As `Engine.data_version`."""
        # sqlite.org/pragma.html#pragma_data_version: this connection itself only reads.
        return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    def problems(self) -> list[str]:
        """The file, as SQLite checks it, and references to rows that are not there."""
        damage = [f"the file: {found}" for (found,) in self.rows("PRAGMA integrity_check") if found != "ok"]
        lost = Counter((child, parent) for child, _, parent, _ in self.rows("PRAGMA foreign_key_check"))
        return damage + [
            f"{child}: {n:,} rows refer to {parent} that are not there" for (child, parent), n in lost.items()
        ]

    def chunk_of(self, source: Source, path: str, origin: int, record: int) -> Chunk | None:
        """As `Engine.chunk_of`: read on from the checkpoint before the record, if the one behind it still holds."""
        with Reader(Path(path), source.layout) as reader:
            header = (reader.at, reader.digest)
            sides = "AND record_end < ? ORDER BY record_end DESC", "AND record_end >= ?"
            start, end = (find_checkpoint(self.rows, origin, side, record) for side in sides)
            if not (end and reader.resume(*end) and reader.resume(*(start or header))):
                return None
            while chunk := reader.chunk(record - reader.at.record):
                if chunk.end.record >= record:
                    break
        return chunk
