"""Tables carried over to what is declared now: their rows judged again, those that no longer hold kept as rejects.

All is one transaction: whatever ends the process, the database is as it was before, or as it is wanted.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from foundation.errors import StoreError
from foundation.pipeline.profile import Profile, profile_of
from foundation.pipeline.revalidate import replay
from foundation.reader.csv_writer import write_csv
from foundation.reader.reader import Chunk
from foundation.schema.formats import Format
from foundation.schema.source import Column, Source, in_order
from foundation.schema.validator import Value, judge
from foundation.store import counts, ledger, rejects
from foundation.store.database import Store, connect, quote, translate_sqlite_errors
from foundation.store.ledger import Load
from foundation.store.writer import TableWriter

_BATCH = 1_000  # rows held in memory at once


class Moved(NamedTuple):
    """A table that was carried over: how it was declared otherwise, and what became of its rows."""

    source: str
    changes: list[str]
    carried: int
    rejected: int


class Migrated(NamedTuple):
    """The tables that were carried over, and the loads of what was rejected before and holds now."""

    moved: list[Moved]
    loads: list[Load]


def migrate(db: Path, sources: Sequence[Source], *, dry_run: bool = False) -> Migrated:
    """Carry the tables of *db* over to *sources*, and judge the open rejects again; *dry_run* takes it all back.

    A table is carried over when it was made from another declaration, when rows of it were judged by other rules,
    or when rows that it may refer to no longer hold. Memory does not grow with the rows; the file may double.

    Raises StoreError when the database is not there, cannot be written or has rows that came from no record of their
    own, SchemaError when rows of a table that no source declares would lose what they refer to.
    """
    connect(db, read_only=True).close()  # a database that is not there is told, not made
    result = Migrated([], [])
    with Store(db) as store, suppress(_UndoneError), store.rebuilding():
        ledger.begin_run(store, run_id := ledger.new_run_id(), {"verb": "migrate"})
        moves = [move for source in in_order(sources) if (move := _Move(store, source, run_id)).run(result.moved)]
        for source in sources:
            store.build_indexes(source)
        for move in moves:
            move.close()
        result.loads.extend(replay(store, in_order(sources), run_id))
        ledger.end_run(store, run_id, "complete")
        if dry_run:
            raise _UndoneError
    return result


class _UndoneError(Exception):
    """Takes a dry run back."""


@dataclass
class _Move:
    """A table on its way; its rows belong to one load for each version of a file that they came from."""

    store: Store
    source: Source
    run_id: str
    loads: dict[int, Load] = field(default_factory=dict)  # by origin
    profiles: dict[int, Profile] = field(default_factory=dict)  # by load

    def run(self, moved: list[Moved]) -> bool:
        """Carry the table over if that is due after those *moved* before it, and tell of it there."""
        lost = {one.source for one in moved if one.rejected} & set(self.source.references.values())
        changes = self.store.differences(self.source)
        changes += ["its rows were judged by other rules"] if not changes and self._is_judged_otherwise() else []
        changes += [f"rows of {parent} are gone" for parent in sorted(lost)]
        if not changes or not self.store.has(self.source.name):
            self.store.prepare(self.source)
            return False
        self._carry_over()
        carried, rejected = (sum(getattr(load, n) for load in self.loads.values()) for n in ("unchanged", "rejected"))
        moved.append(Moved(self.source.name, changes, carried, rejected))
        return True

    def close(self) -> None:
        """Assert for each load that its rows and rejects add up."""
        for load in self.loads.values():
            ledger.save_chunk(
                self.store, load, Chunk.of_rows([], []), records=load.read, seconds=load.seconds, rss_bytes=0
            )
            with translate_sqlite_errors(self.store.path):
                counted = counts.count_rows(self.store.connection, self.source, load)
            counts.save_counts(self.store, self.source, load, counted)
            counts.save_profile(self.store, load, self.profiles[load.load_id].packed())

    def _is_judged_otherwise(self) -> bool:
        if not self.store.has(self.source.name):
            return False
        table = quote(self.source.name)
        sql = f"SELECT 1 FROM {table} t JOIN _loads l ON l.load_id = t._load WHERE l.fingerprint <> ? LIMIT 1"
        return self.store.execute(sql, (self.source.fingerprint,)).fetchone() is not None

    def _carry_over(self) -> None:
        table, old = quote(self.source.name), quote(f"_old_{self.source.name}")
        self.store.execute(f"ALTER TABLE {table} RENAME TO {old}")
        self.store.prepare(self.source)
        names = self.store.execute("SELECT name FROM pragma_table_info(?)", (f"_old_{self.source.name}",)).fetchall()
        columns = [name for (name,) in names if name not in ("_load", "_record")]
        self._forget_keys(columns)
        for origin, rows in self._batches(columns, old):
            self._judge(self._load(origin, columns), rows, columns)
        (rows_before,) = self.store.execute(f"SELECT count(*) FROM {old}").fetchone()
        judged = sum(load.read for load in self.loads.values())
        if judged != rows_before:  # two rows that came from one record: nobody but a stranger writes such
            raise StoreError(
                f"{self.store.path}: {self.source.name} has {rows_before:,} rows, of which {judged:,} can be told "
                "apart by the record they came from; it was changed by another program, and nothing is carried over"
            )
        self.store.execute(f"DROP TABLE {old}")

    def _batches(self, columns: list[str], old: str) -> Iterator[tuple[int, dict[int, tuple[Value, ...]]]]:
        """Rows of one origin by their records, in the order of the table."""
        listed = ", ".join(f"o.{quote(name)}" for name in columns)
        cursor = self.store.execute(
            f"SELECT {listed}, l.origin, o._record FROM {old} o CROSS JOIN _loads l ON l.load_id = o._load"
        )
        while batch := cursor.fetchmany(_BATCH):
            by_origin: dict[int, dict[int, tuple[Value, ...]]] = {}
            for *values, origin, record in batch:
                by_origin.setdefault(origin, {})[record] = tuple(values)
            yield from by_origin.items()

    def _load(self, origin: int, columns: list[str]) -> Load:
        """The load that what came from a version of a file belongs to from now on."""
        if origin not in self.loads:
            old = ledger.read_load(self.store, origin)
            places = _places(self.source, columns)
            headers = {at: c.header for c, at in zip(self.source.columns, places, strict=True) if at is not None}
            load = Load(
                self.source.name, old.path, old.bytes, self.source.fingerprint, self.run_id, kind="migrate",
                origin=origin, header=[headers.get(at, name) for at, name in enumerate(columns)],
                sha256=old.sha256, status="complete",
            )  # fmt: skip
            ledger.save_load(self.store, load)
            self.loads[origin], self.profiles[load.load_id] = load, profile_of(self.source)
        return self.loads[origin]

    def _judge(self, load: Load, rows: dict[int, tuple[Value, ...]], columns: list[str]) -> None:
        """Store the rows that hold as they are, keep the others with their reasons."""
        places = _places(self.source, columns)
        kinds = [c.kind for c in self.source.columns]
        texts: list[Sequence[str]] = [
            [_text(None if at is None else values[at], kind) for at, kind in zip(places, kinds, strict=True)]
            for values in rows.values()
        ]
        verdict = judge(_plain(self.source), Chunk.of_rows(list(rows), texts))
        all_of_them = {one.load_id for one in self.loads.values()}  # a key that two rows have now is one too many
        result = TableWriter(self.store, self.source, load, all_of_them).write(rows_now := verdict.rows)
        rejected = sorted([*verdict.rejected, *result.rejected])
        rejects.save_rejects(
            self.store, self.source, load,
            ((d, (d.record, None, None, None, None), _raw(self.source, places, rows[d.record])) for d in rejected),
        )  # fmt: skip
        refused = {damaged.record for damaged in result.rejected}
        self.profiles[load.load_id].add([row for row in rows_now if row[-1] not in refused])
        load.read += len(rows)
        load.unchanged += result.inserted
        load.rejected += len(rejected)

    def _forget_keys(self, columns: list[str]) -> None:
        """Take the keys off the rejects when another column is the key now: they are keys no more."""
        sql = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
        before = [name for (name,) in self.store.execute(sql, (f"_old_{self.source.name}",))]
        places = dict(zip((c.name for c in self.source.columns), _places(self.source, columns), strict=True))
        if [None if (at := places[name]) is None else columns[at] for name in self.source.keys] != before:
            self.store.execute("UPDATE _rejects SET key = NULL WHERE source = ?", (self.source.name,))


def _places(source: Source, columns: list[str]) -> list[int | None]:
    """For each column of the source where it stands among those of the old table."""
    named = replace(source, columns=tuple(replace(c, header=c.name) for c in source.columns))
    return named.layout.positions(columns)


def _plain(source: Source) -> Source:
    """The source for values as they are stored: in no format of a file."""
    return replace(source, columns=tuple(_without_format(c) for c in source.columns))


def _without_format(column: Column) -> Column:
    return replace(column, constraints=tuple(c for c in column.constraints if not isinstance(c, Format)))


def _text(value: Value, kind: type) -> str:
    """A stored value as a file has it."""
    if isinstance(value, float) and kind is int and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _raw(source: Source, places: list[int | None], values: tuple[Value, ...]) -> bytes:
    """A row of the old table as a record of a file, to be judged again."""
    formats = {at: c.format for c, at in zip(source.columns, places, strict=True) if c.format}
    texts = [_text(value, str) for value in values]
    fields = [form.write(text) if text and (form := formats.get(at)) else text for at, text in enumerate(texts)]
    file = io.StringIO()
    write_csv(file, fields, (), delimiter=source.dialect.delimiter)
    return file.getvalue().encode(source.dialect.encoding, "backslashreplace")
