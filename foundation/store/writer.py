"""Rows into their table; the last two stages of validation, relation and key, need what is stored.

Rows are inserted as they are. Only where SQLite refuses one are parents looked up, those of some rows from there on at
once, and orphans rejected; then keys, of that row and of more and more rows after it as long as those are refused, too.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from operator import length_hint

from foundation.errors import Code, Stage
from foundation.reader import Damaged, Error
from foundation.schema import Column, Row, Source, Value, without
from foundation.store.database import Store, quote
from foundation.store.ledger import Load
from foundation.store.references import Parents, key_of

# Rows whose parents are looked up together: what is read for it is in SQLite's cache when they are stored.
_LOOKED_UP_TOGETHER = 200

_ORPHANS: dict[str, str] = {
    Code.ORPHAN: "no record of {} has this key",
    Code.PARENT_REJECTED: "the record of {} with this key was rejected",
}
_Missing = dict[str, dict[Value, str]]


def orphan_error(code: str, column: str, value: str, parent: str) -> Error:
    """Why a record without a parent is rejected; the parent may have been rejected itself."""
    return Error(Stage.RELATION, code, column, value, _ORPHANS[code].format(parent))


def duplicate_key_error(source: Source, key: str | None, record: int) -> Error:
    """Why a record is rejected whose key *record* of the same file has."""
    return Error(Stage.KEY, Code.DUPLICATE_KEY, source.key, key, f"record {record} of this file has this key already")


@dataclass
class WriteResult:
    """What became of rows; those that are rejected in the order of the file."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[Damaged] = field(default_factory=list)


class TableWriter:
    """Writes the rows of a load, inside the open transaction.

    A row whose parent is not stored is rejected. So is one whose key this load or a load of *same_file* has stored:
    the first record of a file wins. A row of another load with this key is updated. Where *parents* are given SQLite
    does not look for them.
    """

    def __init__(
        self, store: Store, source: Source, load: Load, same_file: Set[int], parents: Parents | None = None
    ) -> None:
        self._store, self._source, self._load_id, self._parents = store, source, load.load_id, parents
        self._same_file = same_file | {load.load_id}
        self._references = [(column, source.position(column), parent) for column, parent in source.references.items()]
        # A record may be the parent of those after it: then nothing is known before the rows are stored.
        self._own_references = [column for column, _, parent in self._references if parent == source.name]
        self._looks_ahead = bool(self._references) and not (self._own_references or store.is_rebuilding)
        self._insert_sql = _insert_sql(source, load.load_id)
        self._update_sql = _update_sql(source, load.load_id)
        self._select_sql = _select_sql(source)  # columns, record and load of rows with the given keys

    def write(self, rows: list[Row]) -> WriteResult:
        """Store *rows*, each with the number of its record as last value, as far as they are not rejected."""
        result = WriteResult()
        # While tables are made anew SQLite refuses no orphan.
        windows = [rows] if self._store.is_rebuilding else self._insert_until_refused(rows, result)
        for window in windows:
            self._write_row_by_row(window, result)
        result.rejected.sort()
        return result

    def _insert_until_refused(self, rows: list[Row], result: WriteResult) -> Iterator[list[Row]]:
        """Insert all rows but windows around keys that are stored already, and reject the orphans.

        A window is one row, and twice as many each time that the row after it is refused, too.
        """
        checked, size = 0, 1  # the first so many of the rows are no orphans
        if self._parents:
            rows = self._reject_orphans(rows, result)
            checked = len(rows)
        while rows:
            inserted = self._insert_all(rows)
            result.inserted += inserted
            rows, checked, size = rows[inserted:], checked - inserted, 1 if inserted else 2 * size
            if rows and self._looks_ahead and checked <= 0:
                first = self._reject_orphans(rows[:_LOOKED_UP_TOGETHER], result)
                rows, checked = [*first, *rows[_LOOKED_UP_TOGETHER:]], len(first)
            elif rows:
                window = rows[: min(size, checked) if self._looks_ahead else size]
                yield window
                rows, checked = rows[len(window) :], checked - len(window)

    def _insert_all(self, rows: list[Row]) -> int:
        """Insert rows until SQLite refuses one, and tell how many were stored."""
        left = iter(rows)
        try:
            self._store.connection.executemany(self._insert_sql, left)
        except sqlite3.IntegrityError:
            return len(rows) - length_hint(left) - 1
        return len(rows)

    def _reject_orphans(self, rows: list[Row], result: WriteResult) -> list[Row]:
        """Those rows whose parents are stored; the others are rejected."""
        missing = self._missing_parents(rows)
        orphans: set[int] = set()
        for column, position, _ in self._references:
            if values := missing.get(column):
                orphans.update(index for index, row in enumerate(rows) if row[position] in values)
        for index in orphans:
            self._reject(rows[index], self._orphan_errors(rows[index], missing), result)
        return without(sorted(orphans), rows) if orphans else rows

    def _write_row_by_row(self, rows: list[Row], result: WriteResult) -> None:
        """Insert, update or reject each row by what is stored under its key."""
        missing = {} if self._looks_ahead else self._missing_parents(rows)
        keys = json.dumps([self._source.key_of(row) for row in rows])
        stored = {self._source.key_of(row): row for row in self._store.execute(self._select_sql, (keys,))}
        new, changed, unchanged = list[Row](), list[Row](), list[Row]()
        for row in rows:
            key = self._source.key_of(row)
            there = stored.get(key)
            errors = self._orphan_errors(row, missing)
            if not errors and there and there[-1] in self._same_file:
                errors = [duplicate_key_error(self._source, self._source.key_text(key), int(there[-2] or 0))]
            if errors:
                self._reject(row, errors, result)
                continue
            (new if not there else unchanged if there[:-2] == row[:-1] else changed).append(row)
            stored[key] = (*row, self._load_id)
            for column in self._own_references:
                missing.get(column, {}).pop(key, None)
        self._store.connection.executemany(self._insert_sql, new)
        self._store.connection.executemany(self._update_sql, [*changed, *unchanged])
        result.inserted += len(new)
        result.updated += len(changed)
        result.unchanged += len(unchanged)

    def _reject(self, row: Row, errors: list[Error], result: WriteResult) -> None:
        result.rejected.append(Damaged(int(row[-1] or 0), errors, self._source.key_text(self._source.key_of(row))))

    def _missing_parents(self, rows: list[Row]) -> _Missing:
        """For each reference the values that no parent has, each with its code."""
        missing: _Missing = {}
        for column, position, parent in self._references:
            values: Collection[Value] = [row[position] for row in rows if row[position] != ""]
            if self._parents:
                values = self._parents.doubtful(column, values)
            if values:
                sql = f"""
                    SELECT value, CASE WHEN EXISTS (
                        SELECT 1 FROM _rejects WHERE status = 'open' AND source = ? AND key = CAST(value AS TEXT)
                    ) THEN 'parent_rejected' ELSE 'orphan' END
                    FROM json_each(?)
                    WHERE value NOT IN (SELECT {key_of(self._store, parent)} FROM {quote(parent)})
                """
                missing[column] = dict(self._store.execute(sql, (parent, json.dumps(list(set(values))))))
        return missing

    def _orphan_errors(self, row: Row, missing: _Missing) -> list[Error]:
        """What is wrong with the references of a row; it may refer to itself."""
        return [
            orphan_error(code, column, str(row[position]), parent)
            for column, position, parent in self._references
            if (code := missing.get(column, {}).get(row[position]))
            and not (parent == self._source.name and row[position] == self._source.key_of(row))
        ]


def _insert_sql(source: Source, load_id: int) -> str:
    names = ", ".join(map(quote, [*(c.name for c in source.columns), "_record", "_load"]))
    marks = ", ".join(_bound(column, "?") for column in source.columns)
    return f"INSERT INTO {quote(source.name)} ({names}) VALUES ({marks}, ?, {load_id:d})"


def _update_sql(source: Source, load_id: int) -> str:
    # Not the key: setting it, even to itself, makes SQLite look for rows that refer to it.
    columns = [(at, column) for at, column in enumerate(source.columns, 1) if column.name not in source.keys]
    changes = "".join(f"{quote(column.name)} = {_bound(column, f'?{at}')}, " for at, column in columns)
    key = " AND ".join(f"{quote(name)} = ?{source.position(name) + 1}" for name in source.keys)
    record = f'"_record" = ?{len(source.columns) + 1}, "_load" = {load_id:d}'
    return f"UPDATE {quote(source.name)} SET {changes}{record} WHERE {key}"


def _bound(column: Column, mark: str) -> str:
    # A missing value is bound as the empty text that it is: the sqlite3 module looks for an adapter for each None,
    # which takes several times as long as to bind a text.
    return mark if column.required else f"nullif({mark}, '')"


def _select_sql(source: Source) -> str:
    names = ", ".join(quote(c.name) if c.required else f"ifnull({quote(c.name)}, '')" for c in source.columns)
    given = ", ".join(f"value ->> {at}" for at in range(len(source.keys))) if len(source.keys) > 1 else "value"
    return f"""
        SELECT {names}, "_record", "_load" FROM {quote(source.name)}
        WHERE ({", ".join(map(quote, source.keys))}) IN (SELECT {given} FROM json_each(?))
    """
