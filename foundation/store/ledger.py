"""What the database knows of its own making: runs, loads, chunks with their checkpoints, rejects with their reasons."""

import hashlib
import json
import platform
import re
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any, NamedTuple

from foundation.errors import StoreError
from foundation.reader.reader import Chunk, Damaged, Place, Position
from foundation.reader.recovery import Error
from foundation.schema.source import Source
from foundation.schema.validator import Value
from foundation.store.database import Store, now, quote

EXAMPLES = 3  # rows that break a check, told by their keys


@dataclass
class Load:
    """One file in one run, as `_loads` has it; counts are records and obey the law of conservation."""

    source: str
    path: str
    bytes: int
    fingerprint: str
    run_id: str
    load_id: int = 0
    kind: str = "file"
    origin: int = 0
    header: list[str] = field(default_factory=list)
    sha256: str | None = None
    status: str = "running"
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    started: str = field(default_factory=now)

    def summary(self) -> dict[str, Any]:
        """What `ingest --json` tells of a load."""
        names = ["source", "path", "sha256", "status", "read", "inserted", "updated", "unchanged", "rejected"]
        return {name: getattr(self, name) for name in [*names, "warnings", "seconds", "peak_rss_bytes"]}


def new_run_id() -> str:
    """Names a run by its second, with four random digits against a second one in that second."""
    return f"{datetime.now(UTC):%Y-%m-%d_%H%M%S}_{secrets.token_hex(2)}"


def begin_run(store: Store, run_id: str, options: Mapping[str, Any]) -> None:
    """Enter a run, or open it again: the notebooks of a report share one."""
    try:
        running = versions()
    except OSError as error:
        told = f"{error.filename} cannot be read, {error.strerror}"
        raise StoreError(f"{store.path}: {told}; mend that and run the same command again") from error
    with store.transaction():
        store.execute(
            """
            INSERT INTO _runs (run_id, started, status, options, versions) VALUES (?, ?, 'running', ?, ?)
            ON CONFLICT (run_id) DO UPDATE SET status = 'running', finished = NULL
            """,
            (run_id, now(), json.dumps(options), running),
        )


@cache
def versions() -> str:
    """What runs here, as JSON; reading it from the installed packages takes as long as a small load."""
    found = {name: version(name) for name in ("foundation", "pydantic", "psutil")}
    return json.dumps(found | {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version})


def end_run(store: Store, run_id: str, status: str) -> None:
    """Close a run with its status: complete, refused or stopped."""
    with store.transaction():
        store.execute("UPDATE _runs SET finished = ?, status = ? WHERE run_id = ?", (now(), status, run_id))


def read_load(store: Store, load_id: int) -> Load:
    """The load with this number."""
    return _load(store.execute(f"SELECT {_LOAD_COLUMNS} FROM _loads WHERE load_id = ?", (load_id,)).fetchone())


def last_load(store: Store, source: Source, path: str) -> Load | None:
    """The last load that read this file, or began to."""
    found = store.execute(
        f"""
        SELECT {_LOAD_COLUMNS} FROM _loads
        WHERE source = ? AND path = ? AND kind = 'file' AND status NOT IN ('refused', 'skipped')
        ORDER BY load_id DESC LIMIT 1
        """,
        (source.name, path),
    ).fetchone()
    return _load(found) if found else None


_LOAD_COLUMNS = ", ".join(f.name for f in fields(Load))


def _load(row: tuple[Any, ...]) -> Load:
    values = dict(zip((f.name for f in fields(Load)), row, strict=True))
    return Load(**values | {"header": json.loads(values["header"]), "warnings": json.loads(values["warnings"])})


def save_load(store: Store, load: Load) -> None:
    """Write a load, inside the open transaction; a new one gets its number."""
    values = vars(load) | {"header": json.dumps(load.header), "warnings": json.dumps(load.warnings)}
    if not load.load_id:
        del values["load_id"]
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    # Not the key: setting it, even to itself, makes SQLite look for rows that refer to it.
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "load_id")
    cursor = store.execute(
        f"INSERT INTO _loads ({names}) VALUES ({marks}) ON CONFLICT (load_id) DO UPDATE SET {changes}", values
    )
    if not load.load_id:
        load.load_id = cursor.lastrowid or 0
        load.origin = load.origin or load.load_id
        store.execute("UPDATE _loads SET origin = ? WHERE load_id = ?", (load.origin, load.load_id))


def loads_of_file(store: Store, load: Load) -> set[int]:
    """The loads that stored records of the same version of the same file."""
    return {number for (number,) in store.execute("SELECT load_id FROM _loads WHERE origin = ?", (load.origin,))}


def loads_since(store: Store, load: Load) -> set[int]:
    """The loads that stored records of the same version of the file, or of any version of one that came later."""
    sql = "SELECT load_id FROM _loads WHERE source = ? AND origin >= ?"
    return {number for (number,) in store.execute(sql, (load.source, load.origin))}


def checkpoint(store: Store, load: Load) -> tuple[Position, str] | None:
    """How far this version of the file was read by the load and those before it, and its sha256 up to there."""
    found = store.execute(
        """
        SELECT record_end, line_end, byte_end, digest FROM _chunks JOIN _loads USING (load_id)
        WHERE origin = ? AND kind = 'file' ORDER BY chunk_id DESC LIMIT 1
        """,
        (load.origin,),
    ).fetchone()
    return (Position(*found[:3]), found[3]) if found else None


def is_overtaken(store: Store, load: Load) -> bool:
    """Whether another file of this source was read since the load began: its rows may belong to that one now."""
    found = store.execute(
        "SELECT 1 FROM _loads JOIN _chunks USING (load_id) WHERE source = ? AND origin <> ? AND load_id > ? LIMIT 1",
        (load.source, load.origin, load.load_id),
    ).fetchone()
    return found is not None


def is_settled(store: Store, load: Load, at: Position) -> bool:
    """Whether records that come behind *at* leave those before it as they were judged.

    A last record that is damaged may have been half of one, and a quote that was never closed may be closed there.
    """
    # CROSS and the plus: SQLite would look at all errors of that stage that there ever were.
    found = store.execute(
        """
        SELECT 1 FROM _loads CROSS JOIN _rejects USING (load_id) CROSS JOIN _errors USING (reject_id)
        WHERE origin = ? AND kind = 'file' AND +stage = 'parse' AND (record = ? OR code = 'unclosed_quote') LIMIT 1
        """,
        (load.origin, at.record),
    ).fetchone()
    return found is None


def save_chunk(store: Store, load: Load, chunk: Chunk, *, records: int, seconds: float, rss_bytes: int) -> None:
    """Count a step of *records* and write the checkpoint behind *chunk*, inside the open transaction."""
    store.execute(
        """
        INSERT INTO _chunks (load_id, records, bytes, seconds, rss_bytes, record_end, line_end, byte_end, digest)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            load.load_id,
            records,
            chunk.end.byte - chunk.start.byte,
            seconds,
            rss_bytes,
            *chunk.end,
            chunk.digest,
        ),
    )
    save_load(store, load)


def save_rejects(
    store: Store,
    source: Source,
    load: Load,
    rejected: Iterable[tuple[Damaged, Place | tuple[int | None, ...] | None, bytes | None]],
) -> None:
    """Keep refused records with their place, bytes and reasons, inside the open transaction."""
    (last,) = store.execute("SELECT coalesce(max(reject_id), 0) FROM _rejects").fetchone()
    numbered = list(enumerate(rejected, last + 1))
    store.connection.executemany(
        f"INSERT INTO _rejects VALUES (?, {load.load_id:d}, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)",
        (
            (reject_id, load.source, load.path, *(place or (None,) * 5), raw, plain_key(source, damaged.key))
            for reject_id, (damaged, place, raw) in numbered
        ),
    )
    _add_errors(store, ((reject_id, damaged.errors) for reject_id, (damaged, _, _) in numbered))


def save_errors(store: Store, reject_id: int, errors: list[Error]) -> None:
    """The reasons of a reject, in place of those it had."""
    store.execute("DELETE FROM _errors WHERE reject_id = ?", (reject_id,))
    _add_errors(store, [(reject_id, errors)])


def _add_errors(store: Store, rejects: Iterable[tuple[int, list[Error]]]) -> None:
    store.connection.executemany(
        "INSERT INTO _errors VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((reject_id, at, *error) for reject_id, errors in rejects for at, error in enumerate(errors, 1)),
    )


def set_status(store: Store, reject_ids: Iterable[int], status: str) -> None:
    """Mark rejects, inside the open transaction."""
    store.connection.executemany(
        "UPDATE _rejects SET status = ? WHERE reject_id = ?",
        [(status, reject_id) for reject_id in reject_ids],
    )


def plain_key(source: Source, key: str | None) -> str | None:
    """A key as its children would refer to it: whole numbers without leading zeros."""
    if not key:
        return key
    kinds = _key_kinds(source)
    if len(source.keys) == 1:
        return _plain(key, kinds)
    return source.key_text([_plain(text, kind) for text, kind in zip(json.loads(key), kinds, strict=True)])


@lru_cache(maxsize=64)
def _key_kinds(source: Source) -> Any:
    return source.key_of([column.kind for column in source.columns])


def _plain(text: str, kind: type) -> str:
    if "1" <= text[:1] <= "9":  # as nearly all of them
        return text
    return str(int(text)) if kind is int and re.fullmatch("-?[0-9]{1,19}", text) else text


def waive_superseded(store: Store, load: Load, *, only_files: bool = False) -> None:
    """Close the open rejects of earlier versions of the file: *load* has judged the whole file again.

    With *only_files* those of refused files alone: nothing new is known of the records.
    """
    of_file = (load.source, load.path, load.origin)
    if not store.execute("SELECT 1 FROM _loads WHERE source = ? AND path = ? AND origin <> ?", of_file).fetchone():
        return  # there is no earlier version
    store.execute(
        f"""
        UPDATE _rejects SET status = 'waived' WHERE source = ? AND path = ? AND status = 'open'
        AND load_id NOT IN (SELECT load_id FROM _loads WHERE origin = ?)
        {"AND record IS NULL" if only_files else ""}
        """,
        of_file,
    )


def failed_columns(store: Store, load: Load) -> list[tuple[str, int, str]]:
    """Columns in which nine tenths of the records are refused: name, how many, the least bad value."""
    # CROSS and the plus: as in `is_settled`.
    return store.execute(
        """
        SELECT "column", count(*), min(value) FROM _rejects CROSS JOIN _errors USING (reject_id)
        WHERE load_id = ? AND +stage = 'schema' AND value <> ''
        GROUP BY "column" HAVING count(*) >= 0.9 * ?
        """,
        (load.load_id, load.read),
    ).fetchall()


def undecoded(store: Store, load: Load) -> tuple[int, str]:
    """How many records of a load are no text in its encoding, and the least bad value."""
    found: tuple[int, str] = store.execute(
        """
        SELECT count(DISTINCT reject_id), ifnull(min(value), '') FROM _rejects CROSS JOIN _errors USING (reject_id)
        WHERE load_id = ? AND code IN ('invalid_utf8', 'invalid_encoding')
        """,
        (load.load_id,),
    ).fetchone()
    return found


class Counted(NamedTuple):
    """The rows of a load, and for each check in their order how many of them break it, and keys of some that do."""

    stored: int
    broken: list[int]
    examples: list[list[tuple[Value, ...]]]


def count_rows(connection: sqlite3.Connection, source: Source, load: Load) -> Counted:
    """Count the rows of the load that are in their table."""
    sums = "".join(f", count(*) FILTER (WHERE NOT {check.sqlite})" for check in source.conditions.values())
    sql = f"SELECT count(*){sums} FROM {quote(source.name)} WHERE _load = ?"
    stored, *broken = connection.execute(sql, (load.load_id,)).fetchone()
    examples: list[list[tuple[Value, ...]]] = []
    for check, count in zip(source.conditions.values(), broken, strict=True):
        key, table = ", ".join(map(quote, source.keys)), quote(source.name)
        sql = f"SELECT {key} FROM {table} WHERE _load = ? AND NOT {check.sqlite} LIMIT {min(count, EXAMPLES):d}"
        examples.append(connection.execute(sql, (load.load_id,)).fetchall())
    return Counted(stored, broken, examples)


def save_profile(store: Store, load: Load, packed: bytes) -> None:
    """Keep the profile of a load, in whatever form it is packed."""
    _keep(store, load, "profile", [("", packed)])


def save_counts(store: Store, source: Source, load: Load, counted: Counted) -> None:
    """Keep what `count_rows` has found when every record that was read is either stored or rejected.

    Raises StoreError with the figures when it is not so; that is a mistake in this package, never in a file.
    """
    stored, broken, examples = counted
    (rejected,) = store.execute("SELECT count(*) FROM _rejects WHERE load_id = ?", (load.load_id,)).fetchone()
    (read,) = store.execute(
        "SELECT coalesce(sum(records), 0) FROM _chunks WHERE load_id = ?", (load.load_id,)
    ).fetchone()
    figures = (load.read, load.inserted + load.updated + load.unchanged, load.rejected)
    if figures != (read, stored, rejected) or read != stored + rejected:
        raise StoreError(
            f"{load.path}: records do not add up: {read} read, {stored} stored, {rejected} rejected, counted {figures}"
        )
    _keep(store, load, "check", zip(source.checks, broken, strict=True))
    kept = {
        "checks": checks_digest(source),
        "keys": {n: keys for n, keys in zip(source.checks, examples, strict=True) if keys},
    }
    _keep(store, load, "examples", [("", json.dumps(kept))])


def checks_digest(source: Source) -> str:
    """Sixteen hexadecimal digits that change when a check is declared otherwise."""
    return hashlib.sha256(json.dumps(dict(source.checks)).encode()).hexdigest()[:16]


def _keep(store: Store, load: Load, kind: str, named: Iterable[tuple[str, int | str | bytes]]) -> None:
    """Put values into `_stats`; only numbers, if the database was made before there were others."""
    (allowed,) = store.execute("SELECT type FROM pragma_table_info('_stats') WHERE name = 'value'").fetchone()
    store.connection.executemany(
        "INSERT OR REPLACE INTO _stats VALUES (?, ?, ?, ?, ?)",
        [(load.load_id, load.source, kind, *pair) for pair in named if allowed == "ANY" or isinstance(pair[1], int)],
    )
