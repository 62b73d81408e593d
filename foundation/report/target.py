"""What a run loads into: a database file, or a folder of Parquet on a cluster that all its notebooks share.

It is a folder when the notebooks are given a `range_size`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from foundation.errors import ReportError, extra
from foundation.lake.duckdb import open_database
from foundation.schema.source import Source
from foundation.stats.overview import loads
from foundation.store.database import Store
from foundation.store.ledger import end_run

_WHY = "--to is for a cluster"


def on_disk(data: Path | str) -> Path:
    """The folder of the delivery; raises ReportError for an address: a report stands on the digests of its files."""
    if "://" in str(data):
        told = "a report reads its delivery from a folder; name one, or load with foundation ingest --to"
        raise ReportError(f"{data}: {told}")
    return Path(data)


def address_of(db: Path | str) -> str:
    """What is loaded into as every notebook finds it, wherever it runs."""
    return str(db) if "://" in str(db) else str(Path(db).absolute())


def look(given: Mapping[str, Any], sources: Sequence[Source], only: Sequence[str]) -> tuple[int, str]:
    """How many loads it has seen, and the version of SQLite, if that keeps the rows.

    What would keep all notebooks from loading is told here, by an error.
    """
    if given.get("range_size"):
        with extra("cluster", _WHY):
            from foundation.lake.load import prepare
        return prepare(given["data"], given["db"], sources=sources, only=only), ""
    with Store(Path(given["db"])) as store:
        loads_before, sqlite = store.execute("SELECT count(*), sqlite_version() FROM _loads").fetchone()
        return loads_before, sqlite


def loading(given: Mapping[str, Any], cluster: str, workers: int | None) -> AbstractContextManager[object]:
    """Around all notebooks: the cluster that they load on, found by themselves so that no page tells its address."""
    if not given.get("range_size"):
        return nullcontext()
    with extra("cluster", _WHY):
        from foundation.lake.client import shared
    return shared(cluster, workers=workers)


def is_stopped(given: Mapping[str, Any], run_id: str) -> bool:
    """Whether a load of the run ran out of memory, which only those into a database are stopped for."""
    if given.get("range_size"):
        return False
    with open_database(given["db"], sources=()) as database:
        return any(load["status"] == "stopped" for load in loads(database, run_id))


def end(given: Mapping[str, Any], run_id: str, status: str) -> None:
    """Enter what became of a run; a folder knows only what was loaded."""
    if not given.get("range_size"):
        with Store(Path(given["db"])) as store:
            end_run(store, run_id, status)
