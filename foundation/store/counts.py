"""What a load left behind, counted from the database: the proof that nothing is lost, and rows that break checks."""

import hashlib
import json
import sqlite3
from typing import NamedTuple

from foundation.errors import StoreError
from foundation.schema import Source, Value
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


def save_counts(store: Store, source: Source, load: Load, counted: Counted, profile: bytes) -> None:
    """Keep what `count_rows` has found, and the profile in the form that whoever reads it knows.

    Raises StoreError unless every record that was read is stored or rejected.
    """
    read, rejected = store.execute(
        """
        SELECT (SELECT coalesce(sum(records), 0) FROM _chunks WHERE load_id = ?1),
            (SELECT count(*) FROM _rejects WHERE load_id = ?1)
        """,
        (load.load_id,),
    ).fetchone()
    require_conserved(load, read=read, stored=counted.stored, rejected=rejected)
    keys = {name: keys for name, keys in zip(source.checks, counted.examples, strict=True) if keys}
    stats = [
        *(("check", name, count) for name, count in zip(source.checks, counted.broken, strict=True)),
        ("examples", "", json.dumps({"checks": checks_digest(source), "keys": keys})),
        ("profile", "", profile),
    ]
    sql = f"INSERT OR REPLACE INTO _stats VALUES ({load.load_id:d}, ?, ?, ?, ?)"
    store.connection.executemany(sql, [(load.source, *stat) for stat in stats])


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
