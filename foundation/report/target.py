"""What a run loads into: a database file, or a folder of Parquet on a cluster that all its notebooks share.

The two have the same methods; `address` is how every notebook finds them, wherever it runs.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from foundation.errors import extra
from foundation.lake.duckdb import open_database
from foundation.schema import Source
from foundation.stats import loads
from foundation.store import LoadStatus, RunStatus, Store, end_run, versions

_WHY = "--to is for a cluster"


class SQLiteTarget:
    """A database file, made if need be."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path).absolute()
        self.address, self.versions = str(self._path), {"sqlite": json.loads(versions())["sqlite"]}

    def prepare(self, data: Path, sources: Sequence[Source], only: Sequence[str]) -> int:
        """How many loads it has seen; raises what would keep all notebooks from loading."""
        with Store(self._path) as store:
            return int(store.execute("SELECT count(*) FROM _loads").fetchone()[0])

    def loading(self) -> AbstractContextManager[object]:
        """Around all notebooks: what they share."""
        return nullcontext()

    def is_stopped(self, run_id: str) -> bool:
        """Whether a load of the run was stopped, for want of memory."""
        with open_database(self._path, sources=()) as database:
            return any(load["status"] == LoadStatus.STOPPED for load in loads(database, run_id))

    def finish(self, run_id: str, status: str) -> None:
        """Record what became of the run."""
        with Store(self._path) as store:
            end_run(store, run_id, RunStatus(status))


class ParquetTarget:
    """A folder of Parquet; a cluster loads into it: that at an address, or a `local` one of so many workers."""

    def __init__(self, address: Path | str, cluster: str = "local", workers: int | None = None) -> None:
        self.address = str(address) if "://" in str(address) else str(Path(address).absolute())
        self.versions: dict[str, str] = {}  # of packages only, which are recorded anyway
        self._cluster, self._workers = cluster, workers

    def prepare(self, data: Path, sources: Sequence[Source], only: Sequence[str]) -> int:
        """How many loads it has seen; raises what would keep all notebooks from loading."""
        with extra("cluster", _WHY):
            from foundation.lake.load import prepare
        return prepare(str(data.absolute()), self.address, sources=sources, only=only)

    def loading(self) -> AbstractContextManager[object]:
        """Around all notebooks: the cluster, which they find by themselves so that no page has its address."""
        with extra("cluster", _WHY):
            from foundation.lake.client import shared
        return shared(self._cluster, workers=self._workers)

    def is_stopped(self, run_id: str) -> bool:
        """Never: only loads into a database have a budget of memory."""
        return False

    def finish(self, run_id: str, status: str) -> None:
        """Nothing: a folder knows only what was loaded."""


Target = SQLiteTarget | ParquetTarget
