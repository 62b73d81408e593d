"""Where a row came from: its file, place and bytes, the run and the declaration that judged it."""

import json
from contextlib import suppress
from typing import Any

from foundation.errors import QueryError, SourceError
from foundation.query.query import Database
from foundation.schema.source import Source
from foundation.store.database import quote


def explain(database: Database, table: str, key: str) -> dict[str, Any]:
    """Tell of the row of *table* with this key, or of the rejects that had it, the bytes of the file included.

    The bytes of a stored row are read from its file again, if that is still what was loaded: else `raw` is None and
    `note` says why. Raises QueryError when no record with this key was ever seen.
    """
    query = database[table]
    values, key = _key(database, table, key)
    row = next(iter(query.where(values).page(1).records()), None)
    rejects = _rejects(database, table, key)
    if row is None and not rejects:
        raise QueryError(f"{table} has no row with {', '.join(values)} {key}, and no record with that key was rejected")
    told: dict[str, Any] = {"table": table, "key": key, "row": row}
    if row is not None:
        told |= _origin(database, table, [row[name] for name in values])
    return told | {"rejects": rejects}


def _key(database: Database, table: str, key: str) -> tuple[dict[str, str], str]:
    """The values of the key columns, and the key as the rejects have it."""
    names = database.tables[table].key
    if len(names) == 1:
        return {names[0]: key}, key
    texts = key.split(",")
    if key.startswith("["):
        with suppress(ValueError):
            texts = list(map(str, json.loads(key)))
    if len(texts) != len(names):
        told = ", ".join(names)
        raise QueryError(f"the key of {table} is {told}: give {len(names)} values with commas, or a JSON array of them")
    return dict(zip(names, texts, strict=True)), json.dumps(texts, ensure_ascii=False, separators=(",", ":"))


def _origin(database: Database, table: str, key: list[Any]) -> dict[str, Any]:
    same = " AND ".join(f"t.{quote(name)} = ?" for name in database.tables[table].key)
    cursor = database.rows(
        f"""
        SELECT l.path, l.sha256, _record AS record, l.load_id, l.kind, l.origin, l.started, l.fingerprint,
               r.run_id, r.versions
        FROM {quote(table)} t JOIN _loads l ON l.load_id = t._load JOIN _runs r USING (run_id) WHERE {same}
        """,
        key,
    )
    told = dict(zip([column for column, *_ in cursor.description], cursor.fetchone(), strict=True))
    return told | _place(database, table, told)


def _place(database: Database, table: str, told: dict[str, Any]) -> dict[str, Any]:
    """The place and bytes of a stored record: kept with a reject it once was, or read from the file again."""
    kept = database.rows(
        """
        SELECT line, last_line, byte_start, byte_end, raw, after FROM _rejects r
        JOIN _loads l USING (load_id) LEFT JOIN _repairs USING (reject_id)
        WHERE r.source = ? AND l.origin = ? AND r.record = ? AND r.status IN ('released', 'repaired')
        """,
        (table, told["origin"], told["record"]),
    ).fetchone()
    names = ("line", "last_line", "byte_start", "byte_end", "raw")
    source = database.sources.get(table)
    if kept:
        note = "corrected: the bytes are those before the correction" if kept[-1] else None
        return dict(zip(names, (*kept[:4], _text(kept[4], source)), strict=True)) | {"note": note}
    nothing = dict.fromkeys(names)
    if source is None:
        return nothing | {"note": "the source is not declared here; name its file with --sources"}
    try:
        chunk = database.engine.chunk_of(source, told["path"], told["origin"], told["record"])
    except SourceError as error:
        return nothing | {"note": str(error)}
    if not chunk:
        return nothing | {"note": "the file is no longer the one that was loaded"}
    place, raw = chunk.locate(told["record"])
    return dict(zip(names, (*place[1:], _text(raw, source)), strict=True)) | {"note": None}


def _rejects(database: Database, table: str, key: str) -> list[dict[str, Any]]:
    cursor = database.rows(
        """
        SELECT reject_id, path, record, line, last_line, byte_start, byte_end, raw, status,
               (SELECT group_concat(code || coalesce(' ' || "column", ''), ', ') FROM _errors e
                WHERE e.reject_id = r.reject_id) AS reasons
        FROM _rejects r WHERE source = ? AND key = ? ORDER BY reject_id
        """,
        (table, key),
    )
    names = [column for column, *_ in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor]
    return [reject | {"raw": _text(reject["raw"], database.sources.get(table))} for reject in found]


def _text(raw: bytes | None, source: Source | None) -> str | None:
    """Bytes of a file as text: what is none in its encoding as escapes."""
    return None if raw is None else raw.decode(source.dialect.encoding if source else "utf-8", "backslashreplace")
