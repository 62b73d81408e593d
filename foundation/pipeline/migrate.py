"""Tables carried over to what is declared now: their rows are validated again, those not valid kept as rejects.

All is one transaction: whatever ends the process, the database is as it was before, or as it is wanted.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from foundation.errors import StoreError
from foundation.pipeline.revalidate import Revalidation, open_existing, replay, rolled_back
from foundation.reader import Chunk, write_csv
from foundation.schema import Column, Format, Source, Value, in_order, judge
from foundation.store import Load, LoadKind, RunStatus, Store, ledger, quote, rejects

_BATCH = 1_000  # rows held in memory at once


class Moved(NamedTuple):
    """A table that was carried over: how it was declared otherwise, and what became of its rows."""

    source: str
    changes: list[str]
    carried: int
    rejected: int


class Migrated(NamedTuple):
    """The tables that were carried over, and the loads of what was rejected before and is valid now."""

    moved: list[Moved]
    loads: list[Load]


def migrate(db: Path, sources: Sequence[Source], *, dry_run: bool = False) -> Migrated:
    """Carry the tables of *db* over to *sources*, and validate the open rejects again; *dry_run* takes it all back.

    A table is carried over when it was made from another declaration, when rows of it were validated by other rules,
    or when rows that it may refer to are gone. Memory does not grow with the rows; the file may double.

    Raises StoreError when the database is not there, cannot be written or has rows that came from no record of their
    own, SchemaError when rows of a table that no source declares would lose what they refer to.
    """
    sources = in_order(sources)
    result = Migrated([], [])
    with open_existing(db) as store, rolled_back(store.rebuilding()) if dry_run else store.rebuilding():
        ledger.begin_run(store, run_id := ledger.new_run_id(), {"verb": "migrate"})
        carried = [_carry_over(store, source, run_id, result.moved) for source in sources]
        for source in sources:
            store.build_indexes(source)
        for version in chain.from_iterable(carried):
            version.load.unchanged, version.load.inserted = version.load.inserted, 0  # the rows were there before
            version.finish()
        result.loads.extend(replay(store, sources, run_id))
        ledger.end_run(store, run_id, RunStatus.COMPLETE)
    return result


def _carry_over(store: Store, source: Source, run_id: str, moved: list[Moved]) -> list[Revalidation]:
    """Carry a table over if that is due after those *moved* before it, and add it to them; its loads, unfinished."""
    changes = _changes(store, source, moved) if store.has(source.name) else []
    if not changes:
        store.prepare(source)
        return []
    loads = _Table(store, source, run_id).carry_over()
    carried, rejected = (sum(getattr(one.load, name) for one in loads) for name in ("inserted", "rejected"))
    moved.append(Moved(source.name, changes, carried, rejected))
    return loads


def _changes(store: Store, source: Source, moved: list[Moved]) -> list[str]:
    """Why a table is to be carried over, in words; nothing if it is not."""
    changes = store.differences(source)
    if not changes:
        table = quote(source.name)
        sql = f"SELECT 1 FROM {table} t JOIN _loads l ON l.load_id = t._load WHERE l.fingerprint <> ?"
        if store.exists(sql, (source.fingerprint,)):
            changes = ["its rows were judged by other rules"]
    lost = {table.source for table in moved if table.rejected} & set(source.references.values())
    return changes + [f"rows of {parent} are gone" for parent in sorted(lost)]


class _Table:
    """A table on its way; its rows belong to one load for each version of a file that they came from."""

    def __init__(self, store: Store, source: Source, run_id: str) -> None:
        self._store, self._source, self._run_id = store, source, run_id
        self._unformatted = replace(source, columns=tuple(map(_without_format, source.columns)))  # as it is stored
        self._loads: dict[int, Revalidation] = {}  # by origin
        self._old = f"_old_{source.name}"
        self._columns: list[str] = []  # of the old table
        self._positions: list[int | None] = []  # for each column of the source where it stands among these

    def carry_over(self) -> list[Revalidation]:
        table, old = quote(self._source.name), quote(self._old)
        self._store.execute(f"ALTER TABLE {table} RENAME TO {old}")
        self._store.prepare(self._source)
        self._match_columns()
        for origin, rows in self._batches():
            self._validate(self._load_of(origin), rows)
        self._require_all_rows()
        self._store.execute(f"DROP TABLE {old}")
        return list(self._loads.values())

    def _match_columns(self) -> None:
        listed = self._store.execute("SELECT name, pk FROM pragma_table_info(?)", (self._old,)).fetchall()
        self._columns = [name for name, _ in listed if name not in ("_load", "_record")]
        named = replace(self._source, columns=tuple(replace(c, header=c.name) for c in self._source.columns))
        self._positions = named.layout.positions(self._columns)
        positions = dict(zip((c.name for c in self._source.columns), self._positions, strict=True))
        key = [None if (index := positions[name]) is None else self._columns[index] for name in self._source.keys]
        if key != [name for name, number in sorted(listed, key=itemgetter(1)) if number]:
            # Another column was the key: what rejects have of it is no key any more.
            self._store.execute("UPDATE _rejects SET key = NULL WHERE source = ?", (self._source.name,))

    def _batches(self) -> Iterator[tuple[int, dict[int, tuple[Value, ...]]]]:
        """Rows of one origin by their records, in the order of the table."""
        columns = ", ".join(f"o.{quote(name)}" for name in self._columns)
        both = f"{quote(self._old)} o CROSS JOIN _loads l ON l.load_id = o._load"
        cursor = self._store.execute(f"SELECT {columns}, l.origin, o._record FROM {both}")
        while batch := cursor.fetchmany(_BATCH):
            by_origin: dict[int, dict[int, tuple[Value, ...]]] = {}
            for *values, origin, record in batch:
                by_origin.setdefault(origin, {})[record] = tuple(values)
            yield from by_origin.items()

    def _load_of(self, origin: int) -> Revalidation:
        """What came from a version of a file belongs to this load from now on."""
        if origin not in self._loads:
            headers = dict(zip(self._positions, (c.header for c in self._source.columns), strict=True))
            self._loads[origin] = Revalidation(
                self._store, self._source, ledger.read_load(self._store, origin), self._run_id, LoadKind.MIGRATE,
                header=[headers.get(index, name) for index, name in enumerate(self._columns)],
            )  # fmt: skip
        return self._loads[origin]

    def _validate(self, version: Revalidation, rows: dict[int, tuple[Value, ...]]) -> None:
        """Store the rows that are valid, keep the others with their reasons."""
        places = list(zip(self._positions, self._source.columns, strict=True))
        texts = [
            ["" if index is None else _text(values[index], column.kind) for index, column in places]
            for values in rows.values()
        ]
        validated = judge(self._unformatted, Chunk.of_rows(list(rows), texts))
        # A key that two rows have now is one too many, whatever file they are from.
        rejected = version.write(validated, {one.load.load_id for one in self._loads.values()})
        kept = ((r, (r.record, None, None, None, None), self._raw(rows[r.record])) for r in rejected)
        rejects.save_rejects(self._store, self._source, version.load, kept)
        version.load.read += len(rows)
        version.load.rejected += len(rejected)

    def _raw(self, values: tuple[Value, ...]) -> bytes:
        """A row of the old table as a record of a file, to be validated again."""
        formats = {index: c.format for c, index in zip(self._source.columns, self._positions, strict=True)}
        fields = [_text(value, str) for value in values]
        for index, text in enumerate(fields):
            if text and (form := formats.get(index)):
                fields[index] = form.write(text)
        file, dialect = io.StringIO(), self._source.dialect
        write_csv(file, fields, (), delimiter=dialect.delimiter)
        return file.getvalue().encode(dialect.encoding, "backslashreplace")

    def _require_all_rows(self) -> None:
        (before,) = self._store.execute(f"SELECT count(*) FROM {quote(self._old)}").fetchone()
        read = sum(version.load.read for version in self._loads.values())
        if read != before:  # two rows that came from one record: only another program writes such
            raise StoreError(
                f"{self._store.path}: {self._source.name} has {before:,} rows, of which {read:,} can be told "
                "apart by the record they came from; it was changed by another program, and nothing is carried over"
            )


def _without_format(column: Column) -> Column:
    return replace(column, constraints=tuple(c for c in column.constraints if not isinstance(c, Format)))


def _text(value: Value, kind: type) -> str:
    """A stored value as a file has it."""
    if isinstance(value, float) and kind is int and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
