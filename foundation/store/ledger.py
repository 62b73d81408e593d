"""What the database knows of its own making: runs, their loads, and the chunks of these with their checkpoints."""

import json
import platform
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from foundation.display import table
from foundation.errors import StoreError, visible
from foundation.reader import Chunk, Position
from foundation.schema import Source
from foundation.store.database import Store, now
from foundation.store.status import LoadKind, LoadStatus, RunStatus

COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")  # of a load; the first is the sum of the others


@dataclass
class Load:
    """One file in one run, as `_loads` has it; counts are records and obey the law of conservation."""

    source: str
    path: str
    bytes: int
    fingerprint: str
    run_id: str
    load_id: int = 0
    kind: LoadKind = LoadKind.FILE
    origin: int = 0
    header: list[str] = field(default_factory=list)
    sha256: str | None = None
    status: LoadStatus = LoadStatus.RUNNING
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
        """What `ingest --json` has of a load."""
        names = ("source", "path", "sha256", "status", *COUNTS, "warnings", "seconds", "peak_rss_bytes")
        return {name: getattr(self, name) for name in names}


Progress = Callable[[Load, int, int], None]  # the load, bytes done, bytes in all


@dataclass(frozen=True)
class Run:
    """What came of loading a delivery; `status` is complete, refused (a file was) or stopped."""

    run_id: str
    status: str
    loads: tuple[Load, ...]

    COLUMNS = ("source", "status", *COUNTS, "seconds", "peak MB")

    @property
    def called(self) -> list[str]:
        """For each load its source, with the name of the file where a source has several."""
        files = Counter(load.source for load in self.loads if load.kind == LoadKind.FILE)
        return [
            f"{load.source}, {visible(Path(load.path).name, 80)}"
            if load.kind == LoadKind.FILE and files[load.source] > 1
            else load.source
            for load in self.loads
        ]

    def rows(self) -> list[list[Any]]:
        """A row for each load, of the COLUMNS that are shown of it."""
        return [
            [called, *(getattr(load, name) for name in self.COLUMNS[1:-1]), load.peak_rss_bytes / 1e6]
            for called, load in zip(self.called, self.loads, strict=True)
        ]

    def _repr_html_(self) -> str:
        return table(self.COLUMNS, self.rows(), caption=f"Run {self.run_id}: {self.status}")


def new_run_id() -> str:
    """Names a run by its second, with four random digits against a second one in that second."""
    return f"{datetime.now(UTC):%Y-%m-%d_%H%M%S}_{secrets.token_hex(2)}"


def begin_run(store: Store, run_id: str, options: Mapping[str, Any]) -> None:
    """Enter a run, or open it again: the notebooks of a report share one."""
    try:
        running = versions()
    except OSError as error:
        problem = f"{error.filename} cannot be read, {error.strerror}"
        raise StoreError(f"{store.path}: {problem}; mend that and run the same command again") from error
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
    packages = {name: version(name) for name in ("foundation", "pydantic", "psutil")}
    return json.dumps(packages | {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version})


def end_run(store: Store, run_id: str, status: RunStatus) -> None:
    """Close a run with its status."""
    with store.transaction():
        store.execute("UPDATE _runs SET finished = ?, status = ? WHERE run_id = ?", (now(), status, run_id))


def read_load(store: Store, load_id: int) -> Load:
    """The load with this number."""
    return next(_loads(store, "load_id = ?", load_id))


def last_load(store: Store, source: Source, path: str) -> Load | None:
    """The last load that read this file, or began to."""
    read = "source = ? AND path = ? AND kind = 'file' AND status NOT IN ('refused', 'skipped')"
    return next(_loads(store, f"{read} ORDER BY load_id DESC LIMIT 1", source.name, path), None)


def _loads(store: Store, condition: str, *parameters: Any) -> Iterator[Load]:
    names = [f.name for f in fields(Load)]
    for row in store.execute(f"SELECT {', '.join(names)} FROM _loads WHERE {condition}", parameters):
        values = dict(zip(names, row, strict=True))
        words = {"kind": LoadKind(values["kind"]), "status": LoadStatus(values["status"])}
        yield Load(**values | words | {name: json.loads(values[name]) for name in ("header", "warnings")})


def save_load(store: Store, load: Load) -> None:
    """Write a load, inside the open transaction; a new one gets its number."""
    texts = {"header": json.dumps(load.header), "warnings": json.dumps(load.warnings)}
    values = vars(load) | texts | {"load_id": load.load_id or None}
    names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
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


class Checkpoint(NamedTuple):
    """How far a version of a file was read, and the sha256 of it up to there."""

    at: Position
    digest: str


def checkpoint(store: Store, load: Load) -> Checkpoint | None:
    """The last checkpoint of the load and those before it that read the same version of the file."""
    return find_checkpoint(store.execute, load.origin, "ORDER BY chunk_id DESC")


def find_checkpoint(
    execute: Callable[[str, Sequence[Any]], Any], origin: int, which: str, *values: int
) -> Checkpoint | None:
    """The first checkpoint of a version of a file, as *execute* finds it; *which* ends the SQL and takes the values."""
    row = execute(
        f"""
        SELECT record_end, line_end, byte_end, digest FROM _chunks JOIN _loads USING (load_id)
        WHERE origin = ? AND kind = 'file' {which} LIMIT 1
        """,
        (origin, *values),
    ).fetchone()
    return Checkpoint(Position(*row[:3]), row[3]) if row else None


def is_overtaken(store: Store, load: Load) -> bool:
    """Whether another file of this source was read since the load began: its rows may belong to that one now."""
    return store.exists(
        "SELECT 1 FROM _loads JOIN _chunks USING (load_id) WHERE source = ? AND origin <> ? AND load_id > ?",
        (load.source, load.origin, load.load_id),
    )


def is_settled(store: Store, load: Load, at: Position) -> bool:
    """Whether appending to the file at *at* cannot change how the records before it were parsed.

    A last record that is malformed may have been half of one, and a quote that was never closed may be closed there.
    """
    # CROSS and the plus: SQLite would look at all errors of that stage that there ever were.
    return not store.exists(
        """
        SELECT 1 FROM _loads CROSS JOIN _rejects USING (load_id) CROSS JOIN _errors USING (reject_id)
        WHERE origin = ? AND kind = 'file' AND +stage = 'parse' AND (record = ? OR code = 'unclosed_quote')
        """,
        (load.origin, at.record),
    )


def save_chunk(store: Store, load: Load, chunk: Chunk, *, records: int, seconds: float, rss_bytes: int) -> None:
    """Count a step of *records* and write the checkpoint at the end of *chunk*, inside the open transaction."""
    values = load.load_id, records, chunk.end.byte - chunk.start.byte, seconds, rss_bytes, *chunk.end, chunk.digest
    store.execute("INSERT INTO _chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    save_load(store, load)
