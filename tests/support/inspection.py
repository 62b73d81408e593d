"""What a database holds after a load, as plain values that can be compared."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.deliveries import SOUND


def query(db: Path, sql: str, *values: object) -> list[Any]:
    """Rows of any SQL; of a single column its values."""
    with closing(sqlite3.connect(f"{db.absolute().as_uri()}?mode=ro", uri=True)) as connection:
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


def snapshot(db: Path) -> tuple[dict[str, list[Any]], list[Any]]:
    """What must not depend on how it came about: the content, and the open rejects."""
    return content(db), open_rejects(db)


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
