"""Read and judge a file in a second process, while the first one stores what came before.

The worker is a new interpreter and not a fork: a fork would inherit the threads of a notebook's kernel, the database
and its locks. It ends when its pipes do, so it does not outlive the process that started it.
"""

import gc
import marshal
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from foundation.errors import FoundationError
from foundation.read import Chunk, Reader
from foundation.source import Source
from foundation.validate import Verdict, judge

WORTH_IT = 8 * 2**20  # bytes still to be read; for less the start of a process costs more than it brings
_KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "33554432"}  # glibc: not per chunk
_AHEAD = 3  # chunks that are asked for before they are needed
_NOT_ELSEWHERE = (b"__main__", b"foundation_user_sources")  # functions of these modules are known to this process only

Step = tuple[Chunk, Verdict]
Steps = Callable[[int], Step | None]


@contextmanager
def steps(path: Path, source: Source, reader: Reader, *, workers: int) -> Iterator[tuple[Steps, int | None]]:
    """A function that gives the next records of *reader*, as many as it is told, judged; None at the end.

    With two *workers* a second process reads them, whose number comes with the function, if that is worth it.
    """
    given = pickle.dumps((path, source, reader.at, reader.digest), protocol=pickle.HIGHEST_PROTOCOL)
    if workers < 2 or reader.size - reader.at.byte < WORTH_IT or any(name in given for name in _NOT_ELSEWHERE):
        yield lambda size: _step(reader, source, size), None
        return
    code = f"import sys; sys.path[:] = {sys.path!r}; from foundation.ahead import serve; serve()"
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pipesize=2**20, start_new_session=True,
        env=os.environ | _KEEPS_MEMORY,
    ) as worker:  # fmt: skip
        try:
            yield _Asked(path, given, worker.stdin, BufferedReader(worker.stdout, 2**16)), worker.pid  # type: ignore[arg-type,type-var]  # pipes
        finally:
            worker.kill()


def _step(reader: Reader, source: Source, size: int) -> Step | None:
    chunk = reader.chunk(size)
    return (chunk, judge(source, chunk)) if chunk else None


class _Asked:
    """Steps that a worker takes, some of them ahead of their time."""

    def __init__(self, path: Path, given: bytes, to: BinaryIO, back: BinaryIO) -> None:
        self._path, self._to, self._from = path, to, back
        self._waiting = 0
        self._send(given)

    def __call__(self, size: int) -> Step | None:
        for _ in range(_AHEAD - self._waiting):
            self._send(pickle.dumps(size))
        self._waiting = _AHEAD - 1
        try:
            told = pickle.load(self._from)  # noqa: S301  # from our own worker
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error
        if isinstance(told, BaseException):
            raise told
        return (told[0], told[1]._replace(rows=marshal.loads(told[2]))) if told else None  # noqa: S302

    def _send(self, data: bytes) -> None:
        try:
            self._to.write(data)
        except BrokenPipeError as error:
            raise self._ended() from error

    def _ended(self) -> FoundationError:
        return FoundationError(
            f"{self._path}: the process that reads it has ended, perhaps for want of memory; "
            "run the same command again, it goes on where it stopped (--workers 1 does without that process)"
        )


def serve() -> None:
    """Be the worker: what is to be read comes by standard input, then the size of each step."""
    gc.disable()  # nothing here refers to itself
    orders, results = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):  # who asked has gone
        try:
            _serve(orders, results)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # it is raised again where it is waited for
            _answer(results, error)


def _serve(orders: BinaryIO, results: BinaryIO) -> None:
    path, source, at, digest = pickle.load(orders)  # noqa: S301  # from the process that started this one
    with Reader(path, source) as reader:
        if at != reader.at and not reader.resume(at, digest):
            raise FoundationError(f"{path}: it has changed since the load began; run the same command again")
        while True:
            step = _step(reader, source, pickle.load(orders))  # noqa: S301
            if step:
                step[0].rows.clear()  # marshal takes longer over texts that others hold, too
            _answer(results, step and (step[0], step[1]._replace(rows=[]), marshal.dumps(step[1].rows)))


def _answer(results: BinaryIO, told: object) -> None:
    pickle.dump(told, results, protocol=pickle.HIGHEST_PROTOCOL)
    results.flush()
