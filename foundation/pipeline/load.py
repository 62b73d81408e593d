"""Load a delivery: each file read, validated and stored, parents first; it can be stopped, and resumed later."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from foundation.errors import Code, SchemaError, SourceError
from foundation.memory import gc_frozen
from foundation.pipeline.file_load import Job, load_file
from foundation.pipeline.revalidate import release
from foundation.pipeline.worker import STANDARD, Tuning, Worker
from foundation.schema import Source, in_order, paths_of
from foundation.store import Load, LoadStatus, Progress, Run, Store, ledger, run_status


def ingest(
    data: str | Path,
    db: str | Path,
    *,
    sources: Sequence[Source],
    only: Iterable[str] = (),
    chunk_size: int = 1_000,
    memory_limit: int = 500_000_000,
    again: bool = False,
    workers: int = 2,
    wait_s: float = 10,
    run_id: str | None = None,
    progress: Progress = lambda load, done, size: None,
    is_stopped: Callable[[], bool] = lambda: False,
    tuning: Tuning = STANDARD,
) -> Run:
    """Load files as `foundation.ingest` does, which explains the parameters; *tuning* changes nothing but the speed."""
    for name, number in {"chunk_size": chunk_size, "workers": workers}.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    sources, folder = in_order(sources), Path(data)
    chosen = choose(sources, only, folder)
    paths = [path for source in chosen if source.home for path in paths_of(source, folder)]
    options = {"data": str(data), "only": [source.name for source in chosen], "chunk_size": chunk_size}
    run_id = run_id or ledger.new_run_id()
    with (
        closing(Worker(paths, tuning)) if workers > 1 else nullcontext() as worker,
        Store(Path(db), wait_s=wait_s) as store,
    ):
        job = Job(store, run_id, chunk_size, memory_limit, again, worker, progress, is_stopped, tuning)
        return _run(job, options, sources, chosen, folder.absolute())


def _run(job: Job, options: Mapping[str, Any], sources: Sequence[Source], chosen: Sequence[Source], data: Path) -> Run:
    store, run_id = job.store, job.run_id
    for source in sources:
        store.prepare(source)
    ledger.begin_run(store, run_id, options)
    loads = _load_files(job, chosen, data)
    statuses = {load.status for load in loads}
    if LoadStatus.STOPPED not in statuses:
        loads += release(store, sources, run_id)
    for source in sources:
        store.build_indexes(source)
    ledger.end_run(store, run_id, status := run_status(statuses))
    return Run(run_id, status, tuple(loads))


def _load_files(job: Job, chosen: Sequence[Source], data: Path) -> list[Load]:
    """Load file after file, until one is stopped."""
    loads: list[Load] = []
    with gc_frozen():
        for source in chosen:
            for path in paths_of(source, data):
                loads.append(load_file(job, source, path))
                if loads[-1].status == LoadStatus.STOPPED:
                    return loads
    return loads


def choose(sources: Sequence[Source], only: Iterable[str], data: Path | None) -> list[Source]:
    """Those of *sources* that *only* names, all if it names none, when *data* has any of their files.

    Without *data* nobody looks. Raises SchemaError for an unknown name, SourceError for a folder without the files.
    """
    names, known = set(only), [s.name for s in sources]
    if unknown := sorted(names - set(known)):
        raise SchemaError(f"no source {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [s for s in sources if not names or s.name in names]
    wanted = ", ".join(s.pattern for s in chosen)
    if data and not data.is_dir():
        what = "is a file; name the folder it is in" if data.exists() else "no such folder"
        raise SourceError(Code.NOT_FOUND, f"{data}: {what}; wanted is a folder with {wanted}")
    if data and not any(path.exists() for s in chosen for path in paths_of(s, data)):
        there = sorted(p.name for p in data.iterdir())
        shown = ", ".join(there[:8]) + (" …" if len(there) > 8 else "")
        raise SourceError(Code.NOT_FOUND, f"{data}: none of {wanted} is there, but {shown or 'nothing at all'}")
    return chosen
