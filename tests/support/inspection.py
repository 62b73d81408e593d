"""What a database holds after a load, as plain values that can be compared."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import foundation
from tests.support.deliveries import SOUND


def query(db: Path, sql: str, *values: object) -> list[Any]:
    """Rows of any SQL; of a single column its values."""
    with closing(sqlite3.connect(f"{db.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return _fetch(connection, sql, *values)


def _fetch(connection: sqlite3.Connection, sql: str, *values: object) -> list[Any]:
    rows = connection.execute(sql, values).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def content(db: Path) -> dict[str, list[Any]]:
    """What is in the source tables, without `_load` and `_record`, in the order of the keys."""
    tables = query(db, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        source: query(db, f"SELECT {', '.join(columns)} FROM {source} ORDER BY 1")
        for source, columns in SOUND.items()
        if source in tables
    }


def keys(db: Path, source: str) -> list[int]:
    return [row[0] for row in content(db)[source]]


def open_rejects(db: Path) -> list[Any]:
    """Every open reject: its place, its bytes, its key, and all its reasons as JSON."""
    return query(
        db,
        """
        SELECT source, record, line, last_line, byte_start, byte_end, raw, key, (
            SELECT json_group_array(json_array(stage, code, "column", value, message)) FROM (
                SELECT * FROM _errors e WHERE e.reject_id = r.reject_id ORDER BY number
            )
        ) FROM _rejects r WHERE status = 'open' ORDER BY source, record
        """,
    )


def snapshot(place: Path | str) -> tuple[dict[str, list[Any]], list[Any]]:
    """What must not depend on how it came about: the content and the open rejects of a database or a lake."""
    if isinstance(place, Path) and not place.is_dir():
        return content(place), open_rejects(place)
    with foundation.open(place) as lake:
        tables = {
            name: lake.rows(f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1").fetchall()
            for name, columns in SOUND.items()
        }
        return tables, _rejects(lake)


def _rejects(lake: foundation.Database) -> list[Any]:
    """What `open_rejects` gives of a database: all rejects of a lake are open."""
    errors: dict[int, list[Any]] = {}
    reasons = 'SELECT reject_id, stage, code, "column", value, message FROM _errors ORDER BY reject_id, number'
    for reject, *error in lake.rows(reasons).fetchall():
        errors.setdefault(reject, []).append(error)
    places = "SELECT source, record, line, last_line, byte_start, byte_end, raw, key, reject_id FROM _rejects"
    return [
        (*place, json.dumps(errors[reject], separators=(",", ":"), ensure_ascii=False))
        for *place, reject in lake.rows(f"{places} ORDER BY source, record").fetchall()
    ]


def reasons(db: Path, source: str, status: str = "open") -> list[tuple[int, str, str, str]]:
    """Record, stage, code and column of every error of a source."""
    return query(
        db,
        """
        SELECT record, stage, code, "column" FROM _rejects JOIN _errors USING (reject_id)
        WHERE source = ? AND status = ? ORDER BY record, number
        """,
        source,
        status,
    )


def counts(load: Any) -> tuple[int, int, int, int, int]:
    """What the law of conservation is about: read, inserted, updated, unchanged, rejected."""
    return load.read, load.inserted, load.updated, load.unchanged, load.rejected


def counted(db: Path) -> list[Any]:
    """Source, kind, status and counts of all loads that did something."""
    return query(
        db,
        """
        SELECT source, kind, status, read, inserted, updated, unchanged, rejected FROM _loads
        WHERE status <> 'skipped' ORDER BY load_id
        """,
    )


def state(db: Path) -> dict[str, list[Any]]:
    """All that must not depend on a crash and another try: content, rejects, counts, checks, tables and indexes.

    It is opened for writing: what a process that was killed has left must be recovered first.
    """
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(db)) as connection:
        for table in _fetch(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_*'"):
            columns = _fetch(connection, f"SELECT name FROM pragma_table_info('{table}') WHERE name <> '_load'")
            found[table] = _fetch(connection, f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1")
        return found | {name: _fetch(connection, sql) for name, sql in _STATE.items()}


# A file that is refused is refused by each load anew: only the last time counts.
_STATE = {
    "rejects": """
        SELECT source, path, record, line, last_line, byte_start, byte_end, raw, key, status, (
            SELECT json_group_array(json_array(number, stage, code, "column", value, message)) FROM (
                SELECT * FROM _errors e WHERE e.reject_id = r.reject_id ORDER BY number
            )
        ) FROM _rejects r WHERE record IS NOT NULL OR status = 'open' ORDER BY source, path, reject_id
        """,
    "loads": """
        SELECT source, path, kind, status, sha256, bytes, read, inserted, updated, unchanged, rejected FROM _loads l
        WHERE status <> 'skipped' AND NOT (
            status = 'refused'
            AND load_id < (SELECT max(load_id) FROM _loads m WHERE m.source = l.source AND m.kind = 'file')
        ) ORDER BY source, kind, load_id
        """,
    "checks": "SELECT source, name, value FROM _stats WHERE kind = 'check' ORDER BY source, load_id, name",
    "schema": "SELECT type, name, sql FROM sqlite_schema ORDER BY name",
    "run": "SELECT status, finished IS NOT NULL FROM _runs ORDER BY rowid DESC LIMIT 1",
}


def differences(found: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> Iterator[str]:
    """Where two states differ, with some rows that only one of them has."""
    for name in sorted(found.keys() | wanted.keys()):
        ours, theirs = found.get(name, []), wanted.get(name, [])
        if ours != theirs:
            more, less = list(set(ours) - set(theirs))[:2], list(set(theirs) - set(ours))[:2]
            yield f"{name}: {len(ours)} rows and not {len(theirs)}; too much: {more}; lacking: {less}"


def wounds(db: Path, *, newer_than: int = 0) -> Iterator[str]:
    """What is damaged or half done in a database on which a load has ended in any way."""
    if not db.exists():
        return
    with closing(sqlite3.connect(db)) as connection:
        if (checked := _fetch(connection, "PRAGMA integrity_check")) != ["ok"]:
            yield f"damaged: {checked}"
        if broken := _fetch(connection, "PRAGMA foreign_key_check"):
            yield f"rows without their parents: {broken}"
        tables = set(_fetch(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'"))
        if tables and not tables >= {"_runs", "_loads", "_chunks", "_rejects", "_errors", "_stats"}:
            yield f"the ledger is half made: {tables}"
        elif tables:
            yield from half_done(connection, newer_than=newer_than)


def half_done(connection: sqlite3.Connection, *, newer_than: int = 0) -> list[str]:
    """The loads whose counts are not those of their chunks, their rows and their rejects, all seen at one moment."""
    connection.execute("BEGIN")
    found = []
    loads = connection.execute(
        """
        SELECT load_id, source, read, inserted + updated + unchanged, rejected,
            (SELECT coalesce(sum(records), 0) FROM _chunks c WHERE c.load_id = l.load_id),
            (SELECT count(*) FROM _rejects r WHERE r.load_id = l.load_id)
        FROM _loads l WHERE load_id > ? AND status NOT IN ('skipped', 'refused')
        """,
        (newer_than,),
    ).fetchall()
    for load, source, read, stored, rejected, records, rejects in loads:
        (rows,) = _fetch(connection, f"SELECT count(*) FROM {source} WHERE _load = {load}")
        if (read, stored, rejected) != (records, rows, rejects) or read != stored + rejected:
            found.append(f"half done: {source}: {(read, stored, rejected)} counted, {(records, rows, rejects)} there")
    connection.execute("COMMIT")
    return found
