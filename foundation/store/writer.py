"""Rows into their table: the last two stages of judgement, relation and key, need what is stored.

Rows are put as they are. Only when SQLite refuses one are the parents of some rows behind it looked up, at once, and
those without taken out; and where it refuses one for its key, the keys of that row, and of more and more rows behind
it as long as those are refused, too.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass, field
from functools import lru_cache
from operator import length_hint
from typing import Any

from foundation.reader.reader import Damaged
from foundation.reader.recovery import Error
from foundation.schema.source import Column, Source
from foundation.schema.validator import Row, Value, without
from foundation.store.database import Store, quote
from foundation.store.references import Parents, key_of

_AT_ONCE = (
    200  # rows whose parents are looked up together: what is read for it is in SQLite's cache when they are stored
)
Missing = dict[str, dict[Value, str]]  # for each reference the values that lead nowhere, each with its code


@dataclass
class Put:
    """What became of the rows of a chunk."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[Damaged] = field(default_factory=list)


def put(
    store: Store, source: Source, rows: list[Row], *, load: int, same_file: set[int], parents: Parents | None = None
) -> Put:
    """Store *rows* as part of *load*, inside the open transaction.

    A row whose parent is not stored is rejected. So is one whose key a load of *same_file* has stored: the first
    record of a file wins. A row of another load with this key is updated. Where *parents* are given SQLite does not
    look for them.
    """
    result, at, count, known = Put(), 0, 1, 0  # the rows before `known` have their parents
    if store.is_rebuilding:
        _put_carefully(store, source, rows, {}, load, same_file, result)
        return result
    has_parents = bool(source.references) and not _own_references(source)
    if parents:
        rows = _with_parents(store, source, rows, result, parents)
        known = len(rows)
    while at < len(rows):
        refused = at + _insert(store, source, rows[at:], load)
        result.inserted += refused - at
        count = 2 * count if refused == at else 1
        at = refused
        if refused == len(rows):
            break
        if has_parents and refused >= known:
            sound = _with_parents(store, source, rows[at : at + _AT_ONCE], result)
            rows = [*rows[:at], *sound, *rows[at + _AT_ONCE :]]
            known = at + len(sound)
            continue
        at = min(at + count, known) if has_parents else at + count
        missing: Missing = {column: {} for column in source.references} if has_parents else {}
        _put_carefully(store, source, rows[refused:at], missing, load, same_file, result)
    result.rejected.sort()
    return result


def _insert(store: Store, source: Source, rows: list[Row], load: int) -> int:
    """Store rows until one is refused, and tell how many were stored."""
    left = iter(rows)
    try:
        store.connection.executemany(_insert_sql(source, load), left)
    except sqlite3.IntegrityError:
        return len(rows) - length_hint(left) - 1
    return len(rows)


@lru_cache(maxsize=64)
def _insert_sql(source: Source, load: int) -> str:
    names = ", ".join(map(quote, [*(c.name for c in source.columns), "_record", "_load"]))
    # A missing value is bound as the empty text that it is: the sqlite3 module looks for an adapter for each None,
    # which takes several times as long as to bind a text.
    marks = ", ".join(_bound(column, "?") for column in source.columns)
    return f"INSERT INTO {quote(source.name)} ({names}) VALUES ({marks}, ?, {load:d})"


def _with_parents(
    store: Store, source: Source, rows: list[Row], result: Put, parents: Parents | None = None
) -> list[Row]:
    """Those rows whose parents are stored; the others are rejected."""
    missing = _missing_parents(store, source, rows, parents)
    if not any(missing.values()):
        return rows
    orphans: set[int] = set()
    for column, values in missing.items():
        at = source.position(column)
        orphans |= {place for place, row in enumerate(rows) if row[at] in values} if values else set()
    for row in (rows[place] for place in orphans):
        errors = _orphaned(source, row, missing)
        result.rejected.append(Damaged(_record(row), errors, source.key_text(source.key_of(row))))
    return without(sorted(orphans), rows)


def _bound(column: Column, mark: str) -> str:
    return mark if column.required else f"nullif({mark}, '')"


def _put_carefully(
    store: Store, source: Source, rows: list[Row], missing: Missing, load: int, same_file: set[int], result: Put
) -> None:
    """Store rows of which each is looked up by its key, and by its parents unless it is known which are *missing*."""
    missing = missing or _missing_parents(store, source, rows)
    stored = _stored(store, source, map(source.key_of, rows))
    new: list[Row] = []
    changed: list[Row] = []
    unchanged: list[Row] = []
    for row in rows:
        key = source.key_of(row)
        there = stored.get(key)
        errors = _orphaned(source, row, missing)
        if not errors and there and there[-1] in (load, *same_file):
            message = f"record {there[-2]} of this file has this key already"
            errors = [Error("key", "duplicate_key", source.key, source.key_text(key), message)]
        if errors:
            result.rejected.append(Damaged(_record(row), errors, source.key_text(key)))
            continue
        (new if not there else unchanged if there[:-2] == row[:-1] else changed).append(row)
        stored[key] = (*row, load)
        for column in _own_references(source):
            missing[column].pop(key, None)
    store.connection.executemany(_insert_sql(source, load), new)
    store.connection.executemany(_update_sql(source, load), [*changed, *unchanged])
    result.inserted += len(new)
    result.updated += len(changed)
    result.unchanged += len(unchanged)


def _record(row: Row) -> int:
    return int(row[-1] or 0)


def _update_sql(source: Source, load: int) -> str:
    # Not the key: setting it, even to itself, makes SQLite look for rows that refer to it.
    columns = [(at, column) for at, column in enumerate(source.columns, 1) if column.name not in source.keys]
    changes = "".join(f"{quote(column.name)} = {_bound(column, f'?{at}')}, " for at, column in columns)
    key = " AND ".join(f"{quote(name)} = ?{source.position(name) + 1}" for name in source.keys)
    record = f'"_record" = ?{len(source.columns) + 1}, "_load" = {load:d}'
    return f"UPDATE {quote(source.name)} SET {changes}{record} WHERE {key}"


def _stored(store: Store, source: Source, keys: Iterable[Any]) -> dict[Any, Row]:
    """The rows with these keys that are in the table: their columns, record and load."""
    names = ", ".join(quote(c.name) if c.required else f"ifnull({quote(c.name)}, '')" for c in source.columns)
    key, several = ", ".join(map(quote, source.keys)), len(source.keys) > 1
    given = ", ".join(f"value ->> {at}" for at in range(len(source.keys))) if several else "value"
    found = store.execute(
        f"""
        SELECT {names}, "_record", "_load" FROM {quote(source.name)}
        WHERE ({key}) IN (SELECT {given} FROM json_each(?))
        """,
        (json.dumps(list(keys)),),
    )
    return {source.key_of(row): row for row in found}


def _missing_parents(store: Store, source: Source, rows: list[Row], parents: Parents | None = None) -> Missing:
    """For each reference the values that lead nowhere, each with its code."""
    missing: Missing = {}
    for column, parent in source.references.items():
        at = source.position(column)
        values: Collection[Value] = [row[at] for row in rows if row[at] != ""]
        if parents:
            values = parents.doubtful(column, values)
        missing[column] = dict(_missing(store, parent, set(values))) if values else {}
    return missing


def _orphaned(source: Source, row: Row, missing: Missing) -> list[Error]:
    """What is wrong with the references of a row; it may refer to itself."""
    errors = []
    for column, parent in source.references.items():
        value = row[source.position(column)]
        is_itself = parent == source.name and value == source.key_of(row)
        if not is_itself and (code := missing[column].get(value)):
            errors.append(Error("relation", code, column, str(value), MISSING[code].format(parent)))
    return errors


def _own_references(source: Source) -> list[str]:
    """The columns that refer to records of the same source: a record may be the parent of those behind it."""
    return [column for column, parent in source.references.items() if parent == source.name]


MISSING = {
    "orphan": "no record of {} has this key",
    "parent_rejected": "the record of {} with this key was rejected",
}


def _missing(store: Store, parent: str, values: Set[Value]) -> Iterator[tuple[Value, str]]:
    """Those of *values* that are no key of *parent*, each with its code."""
    return store.execute(
        f"""
        SELECT value, CASE WHEN EXISTS (
            SELECT 1 FROM _rejects
            WHERE status = 'open' AND source = ? AND key = CAST(value AS TEXT)
        ) THEN 'parent_rejected' ELSE 'orphan' END
        FROM json_each(?)
        WHERE value NOT IN (SELECT {key_of(store, parent)} FROM {quote(parent)})
        """,
        (parent, json.dumps(list(values))),
    )
