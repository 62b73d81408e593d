"""What a load left behind, counted from the database: the proof that nothing is lost, and rows that break checks."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from foundation.errors import StoreError
from foundation.schema.source import Source
from foundation.schema.validator import Value
from foundation.store.database import Store, quote
from foundation.store.ledger import Load

EXAMPLES = 3  # rows that break a check, shown by their keys


class Counted(NamedTuple):
    """The rows of a load, and for each check in their order how many of them break it, and keys of some that do."""

    stored: int
    broken: list[int]
    examples: list[list[tuple[Value, ...]]]


def count_rows(connection: sqlite3.Connection, source: Source, load: Load) -> Counted:
    """Count the rows of the load that are in their table."""
    table, key = quote(source.name), ", ".join(map(quote, source.keys))
    sums = "".join(f", count(*) FILTER (WHERE NOT {check.sqlite})" for check in source.conditions.values())
    sql = f"SELECT count(*){sums} FROM {table} WHERE _load = ?"
    stored, *broken = connection.execute(sql, (load.load_id,)).fetchone()
    examples: list[list[tuple[Value, ...]]] = []
    for check, count in zip(source.conditions.values(), broken, strict=True):
        sql = f"SELECT {key} FROM {table} WHERE _load = ? AND NOT {check.sqlite} LIMIT {min(count, EXAMPLES):d}"
        examples.append(connection.execute(sql, (load.load_id,)).fetchall())
    return Counted(stored, broken, examples)


def save_counts(store: Store, source: Source, load: Load, counted: Counted) -> None:
    """Keep what `count_rows` has found; raises StoreError unless every record that was read is stored or rejected."""
    stored, broken, examples = counted
    (rejected,) = store.execute("SELECT count(*) FROM _rejects WHERE load_id = ?", (load.load_id,)).fetchone()
    (read,) = store.execute(
        "SELECT coalesce(sum(records), 0) FROM _chunks WHERE load_id = ?", (load.load_id,)
    ).fetchone()
    require_conserved(load, read=read, stored=stored, rejected=rejected)
    _save(store, load, "check", zip(source.checks, broken, strict=True))
    keys = {name: keys for name, keys in zip(source.checks, examples, strict=True) if keys}
    _save(store, load, "examples", [("", json.dumps({"checks": checks_digest(source), "keys": keys}))])


def require_conserved(load: Load, *, read: int, stored: int, rejected: int) -> None:
    """Assert that records which were counted add up, and that the load has counted as many.

    Raises StoreError with the figures when it is not so; that is a mistake in this package, never in a file.
    """
    figures = (load.read, load.inserted + load.updated + load.unchanged, load.rejected)
    if figures != (read, stored, rejected) or read != stored + rejected:
        raise StoreError(
            f"{load.path}: records do not add up: {read} read, {stored} stored, {rejected} rejected, counted {figures}"
        )


def checks_digest(source: Source) -> str:
    """Sixteen hexadecimal digits that change when a check is declared otherwise."""
    return hashlib.sha256(json.dumps(dict(source.checks)).encode()).hexdigest()[:16]


def save_profile(store: Store, load: Load, packed: bytes) -> None:
    """Keep the profile of a load, in the form that whoever reads it knows."""
    _save(store, load, "profile", [("", packed)])


def _save(store: Store, load: Load, kind: str, named: Iterable[tuple[str, int | str | bytes]]) -> None:
    """Put values into `_stats`; only numbers, if the database was made before there were others."""
    (allowed,) = store.execute("SELECT type FROM pragma_table_info('_stats') WHERE name = 'value'").fetchone()
    store.connection.executemany(
        "INSERT OR REPLACE INTO _stats VALUES (?, ?, ?, ?, ?)",
        [(load.load_id, load.source, kind, *pair) for pair in named if allowed == "ANY" or isinstance(pair[1], int)],
    )
