"""Load a delivery: read, judge and store each file, parents first, so that it can be stopped and goes on."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from foundation.display import table
from foundation.errors import FoundationError, SchemaError, SourceError, visible
from foundation.memory import Memory, gc_frozen
from foundation.pipeline.profile import Profile, profile_of
from foundation.pipeline.revalidate import release
from foundation.pipeline.tuning import STANDARD, Tuning
from foundation.pipeline.worker import Batch, Batches, Worker
from foundation.reader.reader import Damaged, Position, Reader
from foundation.schema.diagnosis import diagnose
from foundation.schema.files import left_out_warnings, paths_of
from foundation.schema.source import Source, in_order
from foundation.schema.validator import Row
from foundation.store import counts, ledger, rejects
from foundation.store.database import Connection, Store, quote, translate_sqlite_errors
from foundation.store.ledger import Load
from foundation.store.references import known_parents
from foundation.store.writer import TableWriter

SMALLEST_CHUNK = 50  # records; below that a chunk saves no memory worth having
Progress = Callable[[Load, int, int], None]  # the load, bytes done, bytes in all


@dataclass(frozen=True)
class Run:
    """What came of loading a delivery; `status` is complete, refused (a file was) or stopped."""

    run_id: str
    status: str
    loads: tuple[Load, ...]

    COLUMNS = ("source", "status", *ledger.COUNTS, "seconds", "peak MB")

    @property
    def called(self) -> list[str]:
        """For each load its source, with the name of the file where a source has several."""
        files = Counter(load.source for load in self.loads if load.kind == "file")
        return [
            f"{load.source}, {visible(Path(load.path).name, 80)}"
            if load.kind == "file" and files[load.source] > 1
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


@dataclass(frozen=True)
class _Job:
    """What stays the same for all files of a run."""

    store: Store
    run_id: str
    chunk_size: int
    memory_limit: int
    again: bool
    worker: Worker | None
    progress: Progress
    is_stopped: Callable[[], bool]
    tuning: Tuning


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
    sources = in_order(sources)
    chosen = choose(sources, only, Path(data))
    paths = [path for source in chosen if source.home for path in paths_of(source, Path(data))]
    with Worker(paths, tuning) if workers > 1 else nullcontext() as worker, Store(Path(db), wait_s=wait_s) as store:
        for source in sources:
            store.prepare(source)
        run_id = run_id or ledger.new_run_id()
        ledger.begin_run(store, run_id, {"data": str(data), "only": [s.name for s in chosen], "chunk_size": chunk_size})
        job = _Job(store, run_id, chunk_size, memory_limit, again, worker, progress, is_stopped, tuning)
        loads = _load_files(job, chosen, Path(data).absolute())
        if not any(load.status == "stopped" for load in loads):
            loads += release(store, sources, run_id)
        for source in sources:
            store.build_indexes(source)
        status = next((s for s in ("stopped", "refused") if any(s == load.status for load in loads)), "complete")
        ledger.end_run(store, run_id, status)
    return Run(run_id, status, tuple(loads))


def choose(sources: Sequence[Source], only: Iterable[str], data: Path | None) -> list[Source]:
    """Those of *sources* that *only* names, all if it names none, when *data* has any of their files.

    Without *data* nobody looks. Raises SchemaError for an unknown name, SourceError for a folder without the files.
    """
    names, known = set(only), [s.name for s in sources]
    if unknown := sorted(names - set(known)):
        raise SchemaError(f"no source {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [s for s in sources if not names or s.name in names]
    if data:
        _require_delivery(data, chosen)
    return chosen


def _require_delivery(data: Path, chosen: list[Source]) -> None:
    wanted = ", ".join(s.pattern for s in chosen)
    if not data.is_dir():
        what = "is a file; name the folder it is in" if data.exists() else "no such folder"
        raise SourceError("not_found", f"{data}: {what}; wanted is a folder with {wanted}")
    if not any(path.exists() for s in chosen for path in paths_of(s, data)):
        there = sorted(p.name for p in data.iterdir())
        shown = ", ".join(there[:8]) + (" …" if len(there) > 8 else "")
        raise SourceError("not_found", f"{data}: none of {wanted} is there, but {shown or 'nothing at all'}")


@gc_frozen()
def _load_files(job: _Job, chosen: list[Source], data: Path) -> list[Load]:
    loads: list[Load] = []
    for source in chosen:
        for path in paths_of(source, data):
            loads.append(_load_file(job, source, path))
            if loads[-1].status == "stopped":
                return loads
    return loads


def _load_file(job: _Job, source: Source, path: Path) -> Load:
    try:
        with Reader(path, source.layout) as reader:
            load = _begin(job, source, path, reader)
            if load.status == "running":
                before = reader.at.record
                load.bytes, digest, profile = _load_chunks(job, source, path, reader, load)
                if profile:
                    _finish(job.store, source, load, digest, profile, before, job.tuning.large_load)
            return load
    except SourceError as refusal:
        return _refuse(job, source, path, refusal)
    except BrokenPipeError:  # who looks at the progress has gone
        raise
    except OSError as error:
        remedy = "look at its disk, then run the same command again, it goes on where it stopped"
        raise FoundationError(f"{path}: {error.strerror}; {remedy}") from error


def _refuse(job: _Job, source: Source, path: Path, refusal: SourceError) -> Load:
    """Enter a file that is refused as a load of nothing, with one reject that has no record."""
    load = Load(source.name, str(path), 0, source.fingerprint, job.run_id, status="refused", warnings=[str(refusal)])
    why = rejects.file_error(refusal)
    with job.store.transaction():
        ledger.save_load(job.store, load)
        rejects.waive_superseded(job.store, load, only_files=True)
        rejects.save_rejects(job.store, source, load, [(Damaged(0, [why], None), None, None)])
    return load


def _begin(job: _Job, source: Source, path: Path, reader: Reader) -> Load:
    """Decide what there is to do: nothing, go on with a load that was cut off, read on, or read all."""
    load = Load(source.name, str(path), reader.size, source.fingerprint, job.run_id)
    load.header, load.warnings = reader.header, list(reader.warnings)
    load.warnings += left_out_warnings(path)
    last = ledger.last_load(job.store, source, str(path))
    if last and not job.again and last.fingerprint == source.fingerprint:
        at, digest = ledger.checkpoint(job.store, last) or (reader.at, reader.digest)
        border = at if last.bytes == reader.size else _border(job.store, reader, last, at)
        if border and reader.resume(border, digest):
            load = _go_on(job.store, load, last, reader)
    with job.store.transaction():
        ledger.save_load(job.store, load)
        rejects.waive_superseded(job.store, load, only_files=True)
    return load


def _border(store: Store, reader: Reader, last: Load, at: Position) -> Position | None:
    """Where the file, whose size has changed, can be read on; None when a record before *at* may go on behind it."""
    before, behind = reader.around(at.byte)
    if not ledger.is_settled(store, last, at):
        return None
    if before == b"\n" or not behind:
        return at
    # The line end that was lacking has come: it is read as a blank line, so the last line is counted there.
    has_ended = behind[:1] == b"\n" or (behind == b"\r\n" and before != b"\r")
    return at._replace(line=at.line - 1) if has_ended else None


def _go_on(store: Store, load: Load, last: Load, reader: Reader) -> Load:
    """What goes on behind the checkpoint: the *last* load if it was cut off, else a load of the rest, if any."""
    if last.status != "complete" and not ledger.is_overtaken(store, last):
        last = replace(last, header=load.header, warnings=load.warnings)
        return replace(last, run_id=load.run_id, status="running", bytes=load.bytes)
    load.origin = last.origin
    if last.status == "complete" and reader.at.byte == reader.size:
        load.status, load.sha256 = "skipped", reader.digest
    return load


def _load_chunks(job: _Job, source: Source, path: Path, reader: Reader, load: Load) -> tuple[int, str, Profile | None]:
    """Store chunk after chunk, each in one transaction, until the file, the memory or the patience ends.

    Returns how many bytes were read, the sha256 of them, and if it was the file that ended the profile of the rows.
    """
    same_file, refused = ledger.loads_of_file(job.store, load), profile_of(source)
    size, began, end = job.chunk_size, time.perf_counter(), (reader.at.byte, reader.digest)
    left = reader.size - reader.at.byte
    with (
        known_parents(job.store, source, left) as parents,
        closing(Batches(path, source, reader, job.worker)) as judged,
    ):
        memory, writer = Memory(limit=job.memory_limit), TableWriter(job.store, source, load, same_file, parents)
        while step := judged.next(size):
            chunk = step[0]
            with job.store.transaction():
                refused.add(_store(job.store, source, step, load, writer))
                seconds = time.perf_counter() - began
                load.seconds += seconds
                if job.worker and job.worker.pid:
                    memory.include(job.worker.pid)
                rss = memory.sample()
                load.peak_rss_bytes = max(load.peak_rss_bytes, memory.peak)
                ledger.save_chunk(job.store, load, chunk, records=chunk.size, seconds=seconds, rss_bytes=rss)
            began, end = time.perf_counter(), (chunk.end.byte, chunk.digest)
            job.progress(load, chunk.end.byte, reader.size)
            if job.is_stopped():
                _stop(job, load, "stopped on request")
                break
            if memory.is_tight():
                if memory.is_spent() and size <= SMALLEST_CHUNK:
                    _stop(job, load, f"{rss:,} bytes of memory are in use, the limit is {job.memory_limit:,}")
                    break
                size = max(size // 2, min(size, SMALLEST_CHUNK))
        profile = judged.take_profile() if load.status == "running" else None
    if profile:
        profile.take_out(refused)
    return *end, profile


def _store(store: Store, source: Source, step: Batch, load: Load, writer: TableWriter) -> list[Row]:
    """Put rows into their table, rejects beside it, and count both, inside the open transaction.

    Returns the rows that were refused there.
    """
    chunk, verdict = step
    rows = verdict.rows
    result = writer.write(rows)
    rejected = sorted([*verdict.rejected, *result.rejected])
    rejects.save_rejects(store, source, load, ((damaged, *chunk.locate(damaged.record)) for damaged in rejected))
    load.read += chunk.size
    load.inserted += result.inserted
    load.updated += result.updated
    load.unchanged += result.unchanged
    load.rejected += len(rejected)
    return [rows[bisect_left(rows, damaged.record, key=itemgetter(-1))] for damaged in result.rejected]


def _stop(job: _Job, load: Load, why: str) -> None:
    load.status = "stopped"
    load.warnings.append(f"{why}; run the same command again, it goes on behind record {load.read:,}")
    with job.store.transaction():
        ledger.save_load(job.store, load)


def _finish(store: Store, source: Source, load: Load, digest: str, profile: Profile, before: int, large: int) -> None:
    began = time.perf_counter()
    counted = _count_rows(store, source, load, profile, before, large)
    with store.transaction():
        failed, undecoded = rejects.failed_columns(store, load), rejects.undecoded(store, load)
        load.warnings += diagnose(failed, undecoded, load.read, source.dialect.encoding)
        load.status, load.sha256 = "complete", digest
        rejects.waive_superseded(store, load)
        counts.save_counts(store, source, load, counted)
        counts.save_profile(store, load, profile.packed())
        load.seconds += time.perf_counter() - began
        ledger.save_load(store, load)


def _count_rows(store: Store, source: Source, load: Load, profile: Profile, before: int, large: int) -> counts.Counted:
    """Build the indexes, complete the profile and count the rows, as the ledger says; of a large load side by side."""

    def count(opened: AbstractContextManager[Any]) -> counts.Counted:
        with translate_sqlite_errors(store.path), opened as connection:
            _complete_profile(connection, source, load, profile, before)
            return counts.count_rows(connection, source, load)

    if load.read < large:
        store.build_indexes(source)
        return count(nullcontext(store.connection))
    with ThreadPoolExecutor(1) as aside:
        counting = aside.submit(lambda: count(closing(store.reader())))
        store.build_indexes(source, is_large=True)
        return counting.result()


def _complete_profile(connection: Connection, source: Source, load: Load, profile: Profile, before: int) -> None:
    """Read from the table what the profile lacks.

    That are the rows up to record *before* if the load was cut off there, and extremes that may be of rejected rows.
    """
    of_load = f"FROM {quote(source.name)} WHERE _load = {load.load_id:d}"
    if before and profile.rows != load.inserted + load.updated + load.unchanged:
        names = ", ".join(f"ifnull({quote(column.name)}, '')" for column in source.columns)
        cursor = connection.execute(f"SELECT {names} {of_load} AND _record <= ?", (before,))
        while rows := cursor.fetchmany(1_000):
            profile.add(rows)
    for name, figures in profile.columns.items():
        if figures.is_doubtful:
            sql = f"SELECT min({quote(name)}), max({quote(name)}) {of_load}"
            figures.least, figures.greatest = connection.execute(sql).fetchone()
