"""Load recurring CSV exports into a database you can trust, read them back, and report on them in notebooks."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from foundation.delivery.sources import SOURCES
from foundation.errors import FoundationError, QueryError, ReportError, SchemaError, SourceError, StoreError
from foundation.lake import duckdb as _lake
from foundation.query import Database, Page, Query
from foundation.schema import Format, Record, Source, load_sources, with_parents
from foundation.store import Load, Progress, Run

__all__ = [
    "SOURCES", "Database", "Format", "FoundationError", "Load", "Page", "Query", "QueryError", "Record", "ReportError",
    "Run", "SchemaError", "Source", "SourceError", "StoreError", "ingest", "load_sources", "open", "with_parents",
]  # fmt: skip


def ingest(
    data: str | Path,
    db: str | Path,
    *,
    sources: Sequence[Source] = SOURCES,
    only: Iterable[str] = (),
    chunk_size: int = 1_000,
    memory_limit: int = 500_000_000,
    again: bool = False,
    workers: int = 2,
    wait_s: float = 10,
    run_id: str | None = None,
    progress: Progress = lambda load, done, size: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Run:
    """Load the files in the folder *data*, `<source>.csv` or those declared, into *db*, which is made if need be.

    *only* names the sources to load, all by default; *chunk_size* is in records, *memory_limit* in bytes. A file
    that was loaded and has not changed is skipped unless *again*; one whose load was cut off goes on where it
    stopped. With two *workers* a second process reads and validates what is worth it. While another process
    writes to *db*, at most *wait_s* seconds are waited. *progress* is called, *is_stopped* asked, after every chunk.

    Raises SourceError when *data* is no folder with any of the files, StoreError when *db* cannot be written,
    SchemaError when its tables were made from other declarations, FoundationError when a file cannot be read on.
    """
    from foundation.pipeline import load  # what only reads does without

    return load.ingest(
        data, db, sources=sources, only=only, chunk_size=chunk_size, memory_limit=memory_limit, again=again,
        workers=workers, wait_s=wait_s, run_id=run_id, progress=progress, is_stopped=is_stopped,
    )  # fmt: skip


def open(path: str | Path, *, sources: Sequence[Source] = SOURCES, cache: int | str = "64MB") -> Database:
    """A database file, or a folder of Parquet at a path or an address, opened for reading only.

    `db["orders"]` is a lazy query, `list(db)` names the tables. *sources* tell which texts are timestamps, for frames,
    and are the tables of a folder. *cache* bounds, in bytes or as "64MB", what is kept of pages, frames and counts
    until the data changes; False keeps nothing.
    """
    return _lake.open_database(path, sources=sources, cache=cache)
