"""Read and validate a file in a second process, while the first one stores what came before.

The worker is a fresh interpreter. A fork would inherit the threads of a notebook's kernel, the database and its locks;
`multiprocessing.Process` would run a `__main__` again that need not be guarded. The two send each other pickles through
pipes that nobody else can open; the worker ends when these do, so it does not outlive the process that started it.

Until the worker is up, and as long as a file is not worth it, the first process reads by itself. When the worker takes
over, between two batches, it goes on with the same profile: the result is the same, whenever that is.
"""

import fcntl
import gc
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple, Self

from foundation.errors import FoundationError
from foundation.pipeline.profile import Profile, profile_of
from foundation.pipeline.tuning import Tuning
from foundation.reader.reader import Chunk, Position, Reader
from foundation.schema.record import load_sources
from foundation.schema.source import Source
from foundation.schema.validator import Verdict, judge

WORTH_IT = Tuning.worker_bytes
_AHEAD = 8  # batches that are asked for before they are needed: storing waits for the disk now and then
_PIPE_BYTES = 2**20  # some batches
_KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "33554432"}  # glibc: not per batch

Batch = tuple[Chunk, Verdict]  # some records of a file, without their texts, and what they are read as


class _Start(NamedTuple):
    """Asks the worker to read a file from a position on; then come the sizes of batches, then 0 for the profile."""

    path: Path
    home: str
    name: str
    fingerprint: str
    at: Position
    digest: str
    profile: Profile


class Worker:
    """A second process that reads one file after the other; use it in a `with`.

    It is started when a file is worth it, or at once if one of *paths* is going to be.
    """

    def __init__(self, paths: Iterable[Path], tuning: Tuning) -> None:
        self._tuning = tuning
        self._process: subprocess.Popen[bytes] | None = None
        self._is_up = False
        if any(path.is_file() and path.stat().st_size >= tuning.worker_bytes for path in paths):
            self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int | None:
        """Its number, if it was started."""
        return self._process.pid if self._process else None

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
        with suppress(AttributeError, OSError):  # where the system allows it
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

    def send(self, request: object) -> None:
        """Ask it for something; raises OSError when it has ended."""
        self._requests.send(request)

    def receive(self) -> Any:
        """Its next answer; raises EOFError or OSError when it has ended."""
        return self._answers.recv()

    def end(self) -> None:
        """End it, whatever it does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._requests.close()
            self._answers.close()
            self._process, self._is_up = None, False


class Batches:
    """The records of *reader*, validated, some at a time: here, or by the *worker* from where that is worthwhile."""

    def __init__(self, path: Path, source: Source, reader: Reader, worker: Worker | None) -> None:
        self._path, self._source, self._reader = path, source, reader
        self._worker = worker if source.home else None
        self._local = _LocalBatches(source, reader, profile_of(source))
        self._remote: _RemoteBatches | None = None

    def next(self, size: int) -> Batch | None:
        """The next *size* records; None at the end."""
        if self._worker and not self._remote and self._is_worthwhile(self._worker):
            self._remote = _RemoteBatches(self._worker, self._start())
        return (self._remote or self._local).next(size)

    def _is_worthwhile(self, worker: Worker) -> bool:
        rejected = self._local.rejected / self._local.read if self._local.read else 0
        return worker.is_worthwhile(self._reader.size - self._reader.at.byte, rejected)

    def _start(self) -> _Start:
        source, reader = self._source, self._reader
        return _Start(
            self._path, source.home, source.name, source.fingerprint, reader.at, reader.digest, self._local.profile
        )

    def take_profile(self) -> Profile:
        """What the valid rows hold; there are no batches after it."""
        return self._remote.take_profile() if self._remote else self._local.profile

    def close(self) -> None:
        """End the worker if it was asked for more than was wanted: it is of no use any more."""
        if self._worker and self._remote and not self._remote.is_done:
            self._worker.end()


class _LocalBatches:
    """Batches that this process reads; it goes on with a *profile*."""

    def __init__(self, source: Source, reader: Reader, profile: Profile) -> None:
        self._source, self._reader, self.profile = source, reader, profile
        self.read = self.rejected = 0

    def next(self, size: int) -> Batch | None:
        chunk = self._reader.chunk(size)
        if not chunk:
            return None
        verdict = judge(self._source, chunk)
        chunk.columns.clear()
        self.profile.add_columns(verdict.columns)
        self.read += chunk.size
        self.rejected += len(verdict.rejected)
        return chunk, verdict


class _RemoteBatches:
    """Batches that a worker reads, some of them before they are needed."""

    def __init__(self, worker: Worker, start: _Start) -> None:
        self._worker, self._path = worker, start.path
        self._waiting = 0
        self.is_done = False
        self._send(start)

    def next(self, size: int) -> Batch | None:
        while self._waiting < _AHEAD:
            self._send(size)
            self._waiting += 1
        self._waiting -= 1
        batch: Batch | None = self._receive()
        return batch

    def take_profile(self) -> Profile:
        self._send(0)
        for _ in range(self._waiting):  # batches that were asked for and are not wanted
            self._receive()
        profile: Profile = self._receive()
        self.is_done = True
        return profile

    def _send(self, request: object) -> None:
        with self._ended():
            self._worker.send(request)

    def _receive(self) -> Any:
        with self._ended():
            answer = self._worker.receive()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def _ended(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise FoundationError(
                f"{self._path}: the process that reads it has ended, perhaps for want of memory; "
                "run the same command again, it goes on where it stopped (--workers 1 does without that process)"
            ) from error


def main() -> None:
    """Be the worker, between the pipes whose numbers are the arguments."""
    gc.disable()  # nothing here refers to itself
    requests, answers = Connection(int(sys.argv[1]), writable=False), Connection(int(sys.argv[2]), readable=False)
    with suppress(EOFError, BrokenPipeError):  # the process that asks has gone
        answers.send(True)
        try:
            while True:
                _read_file(requests.recv(), requests, answers)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # it is raised where the answer is waited for
            told = str(error) if isinstance(error, FoundationError) else repr(error)
            answers.send(error if isinstance(error, OSError) else FoundationError(told))


def _read_file(start: _Start, requests: Connection, answers: Connection) -> None:
    source = _find_source(start.home, start.name)
    if not source or source.fingerprint != start.fingerprint:
        raise FoundationError(
            f"{start.home}: {start.name} is declared otherwise by now; start anew to load by that, "
            "or use --workers 1 (workers=1)"
        )
    with Reader(start.path, source.layout) as reader:
        if start.at != reader.at and not reader.resume(start.at, start.digest):
            raise FoundationError(f"{start.path}: it has changed since the load began; run the same command again")
        batches = _LocalBatches(source, reader, start.profile)
        while size := requests.recv():
            answers.send(batches.next(size))
        answers.send(batches.profile)


def _find_source(home: str, name: str) -> Source | None:
    """The source that is declared in a file, or in a module under a name, if it is still there."""
    if home.endswith(".py"):
        return next((source for source in load_sources(Path(home)) if source.name == name), None)
    module, _, declared = home.partition(":")
    with suppress(ImportError, AttributeError):
        source: Source = getattr(importlib.import_module(module), declared).__source__
        return source
    return None
