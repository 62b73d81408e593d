"""Read and validate a file in a second process, while the first one stores what came before.

The worker is a fresh interpreter. A fork would inherit the threads of a notebook's kernel, the database and its locks;
`multiprocessing.Process` would run a `__main__` again that need not be guarded. The two send each other pickles through
pipes that nobody else can open; the worker ends when these do, so it does not outlive the process that started it.

Until the worker is up, and as long as a file is not worth it, the first process reads by itself. When the worker takes
over, between two batches, it goes on with the same profile: the result is the same, whenever that is. It is ahead by as
many batches as the pipe takes, since storing waits for the disk now and then.
"""

import gc
import marshal
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import NamedTuple

from foundation.errors import FoundationError
from foundation.pipeline.profile import Profile
from foundation.reader import Chunk, Damaged, Position, Reader
from foundation.schema import Source, Verdict, find_source, judge

_PIPE_BYTES = 2**20  # a few batches
# Each process describes every second column: with all of them the worker would be the slower one, by 6 % of a load.
_THEIRS, _OURS = slice(0, None, 2), slice(1, None, 2)
_KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "33554432"}  # glibc: not per batch

Batch = tuple[Chunk, Verdict]  # some records of a file, without their texts, and what they are read as
_Packed = tuple[Chunk, bytes, Sequence[int], list[Damaged]]  # a batch with the columns of its valid rows as bytes


@dataclass(frozen=True)
class Tuning:
    """Thresholds that decide how fast a load is, and never what it gives; tests use the paths of large files for small.

    Sizes are of what is still to be read.
    """

    worker_bytes: int = 8 * 2**20  # for less, to start a worker costs more than it saves
    running_worker_bytes: int = 2**20  # the same for a worker that is there already
    reject_cost: int = 5  # clean records that are read in the time of a rejected one
    worker_wait_s: float = 0  # for a worker that is starting; this process has enough to do meanwhile
    parents_bytes: int = 2**20  # for less SQLite may look for parents
    parents_bytes_per_key: int = 20  # for less, to look for gaps among keys takes longer than it saves
    large_load: int = 20_000  # records; from there on a second connection counts them while indexes are made


STANDARD = Tuning()


class _Start(NamedTuple):
    """Asks the worker to read a file from a position on, so many records at a time; later comes another size, or none.

    It answers with batches, and with the profile after the last one.
    """

    path: Path
    home: str
    name: str
    fingerprint: str
    at: Position
    digest: str
    profile: Profile
    size: int


class Worker:
    """A second process that reads one file after the other, until it is closed; *pid* is its number.

    It is started when a file is worth it, or at once if one of *paths* is going to be.
    """

    def __init__(self, paths: Iterable[Path], tuning: Tuning) -> None:
        self._tuning = tuning
        self._process: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None
        self._is_up = False
        if any(path.is_file() and path.stat().st_size >= tuning.worker_bytes for path in paths):
            self._start()

    def is_worthwhile(self, left: int, rejected: float) -> bool:
        """Whether it is up to read so many bytes, of which about that share is *rejected*; started if they are many."""
        cost = left * (1 + (self._tuning.reject_cost - 1) * rejected)
        if cost < (self._tuning.running_worker_bytes if self._process else self._tuning.worker_bytes):
            return False
        if not self._process:
            self._start()
        if not self._is_up:
            with suppress(EOFError):  # it has ended at once; then this process reads
                self._is_up = self._answers.poll(self._tuning.worker_wait_s) and self._answers.recv()
        return self._is_up

    def _start(self) -> None:
        requests, self._requests = Pipe(duplex=False)
        self._answers, answers = Pipe(duplex=False)
        with suppress(ImportError, AttributeError, OSError):  # where the system allows it
            import fcntl

            fcntl.fcntl(answers.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        code = f"import sys; sys.path[:] = {sys.path!r}; from foundation.pipeline.worker import main; main()"
        ends = [requests.fileno(), answers.fileno()]
        with requests, answers:
            # What a module of sources prints has been printed when the first process imported it.
            self._process = subprocess.Popen(  # noqa: S603  # our own code
                [sys.executable, "-c", code, *map(str, ends)],
                pass_fds=ends, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | _KEEPS_MEMORY,
            )  # fmt: skip
        self.pid = self._process.pid

    def read(self, start: _Start) -> None:
        """Let it read a file."""
        self._path, self._size = start.path, start.size
        self._ask(start)

    def next(self, size: int) -> _Packed | Profile:
        """The next records of the file, soon *size* at a time, and after the last the profile of all."""
        if size != self._size:
            self._size = size
            self._ask(size)
        with self._reports_its_end():
            answer: _Packed | Profile | Exception = self._answers.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self, request: _Start | int) -> None:
        with self._reports_its_end():
            self._requests.send(request)

    @contextmanager
    def _reports_its_end(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise FoundationError(
                f"{self._path}: the process that reads it has ended, perhaps for want of memory; "
                "run the same command again, it goes on where it stopped (--workers 1 does without that process)"
            ) from error

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._requests.close()
            self._answers.close()
            self._process, self.pid, self._is_up = None, None, False


class Batches:
    """The records of *reader*, validated, some at a time: here, or by the *worker* from where that is worthwhile.

    After the last batch *profile* has what the valid rows hold, in the *described* columns.
    """

    def __init__(
        self, path: Path, source: Source, reader: Reader, profile: Profile, worker: Worker | None,
        described: slice = slice(None),
    ) -> None:  # fmt: skip
        self.profile, self._described = profile, described
        self._names = [column.name for column in source.columns]
        self._path, self._source, self._reader = path, source, reader
        self._worker = worker if source.home else None
        self._is_handed_over = self._is_done = False
        self._read = self._rejected = 0

    def next(self, size: int) -> Batch | None:
        """The next *size* records, of a worker perhaps others; None at the end."""
        if not self._worker or not (self._is_handed_over or self._hand_over(self._worker, size)):
            return self._read_here(size)
        answer = self._worker.next(size)
        if isinstance(answer, Profile):
            self.profile, self._is_done = answer.join(self.profile, self._names), True
            return None
        chunk, packed, records, rejected = answer
        columns = marshal.loads(packed)  # noqa: S302  # of our own making
        self.profile.add_columns(columns[_OURS])
        return chunk, Verdict(columns, records, rejected)

    def _hand_over(self, worker: Worker, size: int) -> bool:
        source, reader = self._source, self._reader
        rejected = self._rejected / self._read if self._read else 0
        if worker.is_worthwhile(reader.size - reader.at.byte, rejected):
            declared = source.home, source.name, source.fingerprint
            worker.read(
                _Start(self._path, *declared, reader.at, reader.digest, self.profile.only(self._names[_THEIRS]), size)
            )
            self.profile = self.profile.only(self._names[_OURS])
            self._is_handed_over = True
        return self._is_handed_over

    def _read_here(self, size: int) -> Batch | None:
        chunk = self._reader.chunk(size)
        if not chunk:
            return None
        verdict = judge(self._source, chunk)
        chunk.columns.clear()
        self.profile.add_columns(verdict.columns[self._described])
        self._read += chunk.size
        self._rejected += len(verdict.rejected)
        return chunk, verdict

    def close(self) -> None:
        """End a worker that has not come to the end: it is of no use any more."""
        if self._worker and self._is_handed_over and not self._is_done:
            self._worker.close()


def main() -> None:
    """Be the worker, between the pipes whose numbers are the arguments."""
    gc.disable()  # nothing here refers to itself
    requests, answers = Connection(int(sys.argv[1]), writable=False), Connection(int(sys.argv[2]), readable=False)
    with suppress(EOFError, BrokenPipeError):  # the process that asks has gone
        answers.send(True)
        try:
            while True:
                if isinstance(request := requests.recv(), _Start):  # else a size that has come too late
                    _read_file(request, requests, answers)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # it is raised where the answer is waited for
            message = str(error) if isinstance(error, FoundationError) else repr(error)
            answers.send(error if isinstance(error, OSError) else FoundationError(message))


def _read_file(start: _Start, requests: Connection, answers: Connection) -> None:
    source = find_source(start.home, start.name)
    if not source or source.fingerprint != start.fingerprint:
        raise FoundationError(
            f"{start.home}: {start.name} is declared otherwise by now; start anew to load by that, "
            "or use --workers 1 (workers=1)"
        )
    with Reader(start.path, source.layout) as reader:
        if start.at != reader.at and not reader.resume(start.at, start.digest):
            raise FoundationError(f"{start.path}: it has changed since the load began; run the same command again")
        batches, size = Batches(start.path, source, reader, start.profile, None, _THEIRS), start.size
        while batch := batches.next(size):
            chunk, (columns, records, rejected) = batch
            # For plain values marshal takes half the time of pickle.
            answers.send((chunk, marshal.dumps(columns), records, rejected))
            if requests.poll():
                size = requests.recv()
        answers.send(batches.profile)
