"""Load one file: from its start, from the checkpoint of a load that was cut off, or from where it ended before."""

import time
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from foundation.errors import FoundationError, SourceError
from foundation.memory import Memory
from foundation.pipeline.profile import Profile, complete, profile_of
from foundation.pipeline.revalidate import write_valid
from foundation.pipeline.worker import Batch, Batches, Tuning, Worker
from foundation.reader import Damaged, Position, Reader
from foundation.schema import Source, diagnose, left_out_warnings
from foundation.store import (
    Connection,
    Load,
    LoadStatus,
    Progress,
    Store,
    TableWriter,
    counts,
    known_parents,
    ledger,
    rejects,
    translate_sqlite_errors,
)

_SMALLEST_CHUNK = 50  # records; below that a chunk saves no memory worth having


@dataclass(frozen=True)
class Job:
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


def load_file(job: Job, source: Source, path: Path) -> Load:
    """Load a file as far as it was not loaded yet, and say what came of it.

    Raises FoundationError when it cannot be read on.
    """
    try:
        with Reader(path, source.layout) as reader:
            load = _begin(job, source, path, reader)
            if load.status == LoadStatus.RUNNING:
                _FileLoad(job, source, path, reader, load).run()
            return load
    except SourceError as refusal:
        return _refuse(job, source, path, refusal)
    except BrokenPipeError:  # whoever looks at the progress has gone
        raise
    except OSError as error:
        remedy = "look at its disk, then run the same command again, it goes on where it stopped"
        raise FoundationError(f"{path}: {error.strerror}; {remedy}") from error


def _refuse(job: Job, source: Source, path: Path, refusal: SourceError) -> Load:
    """Enter a file that is refused as a load of nothing, with one reject that has no record."""
    load = Load(source.name, str(path), 0, source.fingerprint, job.run_id)
    load.status, load.warnings = LoadStatus.REFUSED, [str(refusal)]
    reject = Damaged(0, [rejects.file_error(refusal)], None)
    with job.store.transaction():
        ledger.save_load(job.store, load)
        rejects.waive_superseded(job.store, load, only_files=True)
        rejects.save_rejects(job.store, source, load, [(reject, None, None)])
    return load


def _begin(job: Job, source: Source, path: Path, reader: Reader) -> Load:
    """Decide what there is to do: nothing, resume a load that was cut off, read what was appended, or read all."""
    load = Load(source.name, str(path), reader.size, source.fingerprint, job.run_id)
    load.header, load.warnings = reader.header, [*reader.warnings, *left_out_warnings(path)]
    last = ledger.last_load(job.store, source, str(path))
    if last and not job.again and last.fingerprint == source.fingerprint:
        at, digest = ledger.checkpoint(job.store, last) or (reader.at, reader.digest)
        start = at if last.bytes == reader.size else _end_of_settled(job.store, reader, last, at)
        if start and reader.resume(start, digest):
            load = _resume(job.store, load, last, reader)
    with job.store.transaction():
        ledger.save_load(job.store, load)
        rejects.waive_superseded(job.store, load, only_files=True)
    return load


def _end_of_settled(store: Store, reader: Reader, last: Load, at: Position) -> Position | None:
    """Where a file that has grown can be read on; None when what came may belong to a record before *at*."""
    before, after = reader.around(at.byte)
    if not ledger.is_settled(store, last, at):
        return None
    if before == b"\n" or not after:
        return at
    # The line end that was lacking has come: it is read as a blank line, so the last line is counted there.
    has_ended = after[:1] == b"\n" or (after == b"\r\n" and before != b"\r")
    return at._replace(line=at.line - 1) if has_ended else None


def _resume(store: Store, load: Load, last: Load, reader: Reader) -> Load:
    """The load of what comes after the checkpoint: the *last* one if it was cut off, else one of the rest, if any."""
    if last.status != LoadStatus.COMPLETE and not ledger.is_overtaken(store, last):
        last = replace(last, header=load.header, warnings=load.warnings)
        return replace(last, run_id=load.run_id, status=LoadStatus.RUNNING, bytes=load.bytes)
    load.origin = last.origin
    if last.status == LoadStatus.COMPLETE and reader.at.byte == reader.size:
        load.status, load.sha256 = LoadStatus.SKIPPED, reader.digest
    return load


class _FileLoad:
    """The load of a file that has records to read."""

    def __init__(self, job: Job, source: Source, path: Path, reader: Reader, load: Load) -> None:
        self._job, self._store, self._source, self._path, self._reader = job, job.store, source, path, reader
        self._load = load
        self._start = reader.at.record
        self._bytes, self._digest = reader.at.byte, reader.digest  # as far as records are stored
        self._refused = profile_of(source)  # valid rows that their table refused: the profile of the file has them
        self._began = time.perf_counter()

    def run(self) -> None:
        """Store all batches, and complete the load unless it was stopped."""
        load, profile = self._load, profile_of(self._source)
        same_file = ledger.loads_of_file(self._store, load)
        left, tuning = self._reader.size - self._reader.at.byte, self._job.tuning
        limits = {"min_size": tuning.parents_bytes, "bytes_per_key": tuning.parents_bytes_per_key}
        parents_known = known_parents(self._store, self._source, left, **limits)
        given = Batches(self._path, self._source, self._reader, profile, self._job.worker)
        with parents_known as parents, closing(given) as batches:
            writer = TableWriter(self._store, self._source, load, same_file, parents)
            if reason := self._store_batches(batches, writer):
                load.status = LoadStatus.STOPPED
                load.warnings.append(f"{reason}; run the same command again, it goes on behind record {load.read:,}")
                with self._store.transaction():
                    ledger.save_load(self._store, load)
                return
        batches.profile.subtract(self._refused)
        load.bytes = self._bytes
        self._finish(batches.profile)

    def _store_batches(self, batches: Batches, writer: TableWriter) -> str | None:
        """Store batch after batch, each in one transaction; why that was stopped before the end of the file."""
        job, size = self._job, self._job.chunk_size
        memory = Memory(limit=job.memory_limit)
        while batch := batches.next(size):
            with self._store.transaction():
                self._store_batch(batch, writer, memory)
            self._began = time.perf_counter()
            job.progress(self._load, self._bytes, self._reader.size)
            if job.is_stopped():
                return "stopped on request"
            if memory.is_tight():
                if memory.is_spent() and size <= _SMALLEST_CHUNK:
                    return f"{memory.now:,} bytes of memory are in use, the limit is {job.memory_limit:,}"
                size = max(size // 2, min(size, _SMALLEST_CHUNK))
        return None

    def _store_batch(self, batch: Batch, writer: TableWriter, memory: Memory) -> None:
        """Store the rows and the rejects of a batch, and the checkpoint after it, inside the open transaction."""
        chunk, verdict = batch
        load, worker = self._load, self._job.worker
        rows, refused, rejected = write_valid(writer, load, verdict)
        located = ((reject, *chunk.locate(reject.record)) for reject in rejected)
        rejects.save_rejects(self._store, self._source, load, located)
        self._refused.add([rows[bisect_left(rows, reject.record, key=itemgetter(-1))] for reject in refused])
        load.read += chunk.size
        load.rejected += len(rejected)
        seconds = time.perf_counter() - self._began
        load.seconds += seconds
        if worker and worker.pid:
            memory.include(worker.pid)
        rss = memory.sample()
        load.peak_rss_bytes = max(load.peak_rss_bytes, memory.peak)
        ledger.save_chunk(self._store, load, chunk, records=chunk.size, seconds=seconds, rss_bytes=rss)
        self._bytes, self._digest = chunk.end.byte, chunk.digest

    def _finish(self, profile: Profile) -> None:
        """Prove that nothing is lost, and say what is wrong with the file as a whole."""
        store, load, began = self._store, self._load, time.perf_counter()
        counted = self._build_indexes_and_count(profile)
        with store.transaction():
            load.warnings += diagnose(*rejects.failed_columns(store, load), load.read, self._source.dialect.encoding)
            load.status, load.sha256 = LoadStatus.COMPLETE, self._digest
            rejects.waive_superseded(store, load)
            counts.save_counts(store, self._source, load, counted, profile.packed())
            load.seconds += time.perf_counter() - began
            ledger.save_load(store, load)

    def _build_indexes_and_count(self, profile: Profile) -> counts.Counted:
        """A large load is counted by a second connection while the indexes are made."""
        if self._load.read < self._job.tuning.large_load:
            self._store.build_indexes(self._source)
            return self._count(self._store.connection, profile)
        with ThreadPoolExecutor(1) as pool:
            counting = pool.submit(self._count_meanwhile, profile)
            self._store.build_indexes(self._source, is_large=True)
            return counting.result()

    def _count_meanwhile(self, profile: Profile) -> counts.Counted:
        with closing(self._store.reader()) as connection:
            return self._count(connection, profile)

    def _count(self, connection: Connection, profile: Profile) -> counts.Counted:
        """Count the rows of the load, and complete the profile from them."""
        with translate_sqlite_errors(self._store.path):
            complete(profile, connection, self._source, self._load, self._start)
            return counts.count_rows(connection, self._source, self._load)
