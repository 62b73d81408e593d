"""Where a row came from: its file, place and bytes, the run and the declaration that validated it."""

import json
from contextlib import suppress
from typing import Any

from foundation.errors import QueryError, SourceError
from foundation.query.engine import mappings
from foundation.query.query import Database
from foundation.reader import key_text
from foundation.schema import Source
from foundation.store import quote


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
    texts = key.split(",") if len(names) > 1 else [key]
    if len(names) > 1 and key.startswith("["):
        with suppress(ValueError):
            texts = list(map(str, json.loads(key)))
    if len(texts) != len(names):
        told = ", ".join(names)
        raise QueryError(f"the key of {table} is {told}: give {len(names)} values with commas, or a JSON array of them")
    return dict(zip(names, texts, strict=True)), key_text(texts)


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
    (origin,) = mappings(cursor)
    return origin | _location(database, table, origin)


def _location(database: Database, table: str, origin: dict[str, Any]) -> dict[str, Any]:
    """Where a stored record is and its bytes: kept with a reject that it once was, or read from the file again."""
    source = database.sources.get(table)
    kept = database.rows(
        """
        SELECT line, last_line, byte_start, byte_end, raw, after FROM _rejects r
        JOIN _loads l USING (load_id) LEFT JOIN _repairs USING (reject_id)
        WHERE r.source = ? AND l.origin = ? AND r.record = ? AND r.status IN ('released', 'repaired')
        """,
        (table, origin["origin"], origin["record"]),
    )
    for reject in mappings(kept):
        is_corrected = reject.pop("after")
        note = "corrected: the bytes are those before the correction" if is_corrected else None
        return reject | {"raw": _text(reject["raw"], source), "note": note}
    nothing = dict.fromkeys(("line", "last_line", "byte_start", "byte_end", "raw"))
    if source is None:
        return nothing | {"note": "the source is not declared here; name its file with --sources"}
    try:
        chunk = database.engine.chunk_of(source, origin["path"], origin["origin"], origin["record"])
    except SourceError as error:
        return nothing | {"note": str(error)}
    if not chunk:
        return nothing | {"note": "the file is no longer the one that was loaded"}
    place, raw = chunk.locate(origin["record"])
    return dict(zip(nothing, (*place[1:], _text(raw, source)), strict=True)) | {"note": None}


def _rejects(database: Database, table: str, key: str) -> list[dict[str, Any]]:
    rejects = database.rows(
        """
        SELECT reject_id, path, record, line, last_line, byte_start, byte_end, raw, status,
               (SELECT group_concat(code || coalesce(' ' || "column", ''), ', ') FROM _errors e
                WHERE e.reject_id = r.reject_id) AS reasons
        FROM _rejects r WHERE source = ? AND key = ? ORDER BY reject_id
        """,
        (table, key),
    )
    return [reject | {"raw": _text(reject["raw"], database.sources.get(table))} for reject in mappings(rejects)]


def _text(raw: bytes | None, source: Source | None) -> str | None:
    """Bytes of a file as text: what is none in its encoding as escapes."""
    return None if raw is None else raw.decode(source.dialect.encoding if source else "utf-8", "backslashreplace")
