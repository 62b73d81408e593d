"""Read and judge a file in a second process, while the first one stores what came before.

The worker is a new interpreter and not a fork: a fork would inherit the threads of a notebook's kernel, the database
and its locks. It ends when its pipes do, so it does not outlive the process that started it. What they tell each other
is JSON, the bytes of the file as they are, and what was read and refused as plain values, in half the time of JSON.

Until the worker is up, and as long as a file does not seem worth it, the first process reads by itself. When the worker
takes over, between two chunks, it goes on with the same profile: what comes of it is the same, whenever that is.
"""

import base64
import gc
import importlib
import json
import marshal
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from io import BufferedReader
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any, BinaryIO, Self

from foundation.errors import FoundationError
from foundation.pipeline.profile import Figures, Kind, Profile
from foundation.reader.reader import Chunk, Damaged, Piece, Position, Reader
from foundation.reader.recovery import Error
from foundation.schema.source import Column, Source, load_sources
from foundation.schema.validator import Verdict, judge

WORTH_IT = 8 * 2**20  # bytes still to be read; for less the start of a process costs more than it brings
_WORTH_ASKING = 2**20  # bytes for which a process that is there is asked
_REFUSED = 5  # sound records that are read in the time of a refused one
_PATIENCE_S = 0  # how long a process that is starting is waited for: there is enough to do
_UP = b"!"  # the first that a worker tells
_THEIRS, _OURS = slice(0, None, 2), slice(1, None, 2)  # columns: each process takes the profile of every second one
_AHEAD = 8  # chunks that are asked for before they are needed: storing waits for the disk now and then
_KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "33554432"}  # glibc: not per chunk

Step = tuple[Chunk, Verdict]


class Worker:
    """A second process that reads one file after the other; use it in a `with`.

    It is started when a file is worth it, or at once if one of *paths* is going to be.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_up = False
        if any(path.is_file() and path.stat().st_size >= WORTH_IT for path in paths):
            self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int | None:
        """Its number, if it was started."""
        return self._process.pid if self._process else None

    def takes(self, size: float) -> bool:
        """Whether it is there to read so many bytes; it is started if they are worth it."""
        if size < (_WORTH_ASKING if self._process else WORTH_IT):
            return False
        if not self._is_up:
            _, output = self.start()
            with DefaultSelector() as telling:  # takes any number of open files
                telling.register(output, EVENT_READ)
                self._is_up = bool(telling.select(_PATIENCE_S)) and output.read(1) == _UP
        return self._is_up

    def start(self) -> tuple[BinaryIO, BinaryIO]:
        """Start it unless it is there; its input and output."""
        if not self._process:
            code = f"import sys; sys.path[:] = {sys.path!r}; from foundation.pipeline.worker import serve; serve()"
            self._process = subprocess.Popen(  # noqa: S603  # our own code
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pipesize=2**20, start_new_session=True,
                env=os.environ | _KEEPS_MEMORY,
            )  # fmt: skip
            self._output = BufferedReader(self._process.stdout, 2**16)  # type: ignore[type-var]  # a pipe
        return self._process.stdin, self._output  # type: ignore[return-value]  # a pipe

    def end(self) -> None:
        """End it, whatever it does."""
        if self._process:
            self._process.kill()
            with self._process:
                self._process, self._is_up = None, False


@contextmanager
def steps(path: Path, source: Source, reader: Reader, worker: Worker | None) -> Iterator["Steps"]:
    """The records of *reader*, judged, by the *worker* from where that is worth it."""
    taken = Steps(path, source, reader, worker if source.home else None)
    try:
        yield taken
    finally:
        taken.end()


class Steps:
    """The records of a file, some at a time, judged here or by a worker."""

    def __init__(self, path: Path, source: Source, reader: Reader, worker: Worker | None) -> None:
        self._path, self._source, self._reader, self._worker = path, source, reader, worker
        self._here = _Here(source, reader, profile_of(source))
        self._asked: _Asked | None = None

    def next(self, size: int) -> Step | None:
        """The next *size* records; None at the end."""
        if self._worker and not self._asked and self._worker.takes(self._here.cost):
            self._asked = _Asked(self._path, self._source, self._reader, self._here.profile(), *self._worker.start())
        return (self._asked or self._here).next(size)

    def profile(self) -> Profile:
        """What the rows that fit hold; there are no steps after it."""
        return (self._asked or self._here).profile()

    def end(self) -> None:
        """The worker is of no use any more if it was asked for more than was wanted."""
        if self._worker and self._asked and not self._asked.is_done:
            self._worker.end()


class _Here:
    """Steps that this process takes; it goes on with a *profile* of some columns, of all by default."""

    def __init__(self, source: Source, reader: Reader, profile: Profile, share: slice = slice(None)) -> None:
        self._source, self._reader, self._profile, self._share = source, reader, profile, share
        self._read = self._refused = 0

    @property
    def cost(self) -> float:
        """The bytes still to be read, and more if they are as faulty as those before: in sound bytes of equal cost."""
        faulty = self._refused / self._read if self._read else 0
        return (self._reader.size - self._reader.at.byte) * (1 + (_REFUSED - 1) * faulty)

    def next(self, size: int) -> Step | None:
        chunk = self._reader.chunk(size)
        if not chunk:
            return None
        verdict = judge(self._source, chunk)
        self._profile.add_columns(verdict.columns[self._share])
        self._read += chunk.size
        self._refused += len(verdict.rejected)
        return chunk, verdict

    def profile(self) -> Profile:
        return self._profile


def profile_of(source: Source) -> Profile:
    """A profile of rows of *source*, none as yet."""
    return Profile({c.name: Figures(_kind(source, c), is_optional=not c.required) for c in source.columns})


def _kind(source: Source, column: Column) -> Kind:
    if source.keys == (column.name,):
        return "key"
    return "measured" if column.kind in (float, date, datetime) else "named"


class _Asked:
    """Steps that a worker takes, some of them ahead of their time."""

    def __init__(
        self, path: Path, source: Source, reader: Reader, profile: Profile, to: BinaryIO, back: BinaryIO
    ) -> None:
        self._path, self._to, self._from = path, to, back
        self._names = [column.name for column in source.columns]
        self._profile = profile.only(self._names[_OURS])
        self._waiting = 0
        self.is_done = False
        theirs = base64.b64encode(profile.only(self._names[_THEIRS]).packed()).decode()
        given = {"path": str(path), "at": reader.at, "digest": reader.digest, "profile": theirs}
        self._send(given | {"home": source.home, "name": source.name, "fingerprint": source.fingerprint})

    def next(self, size: int) -> Step | None:
        while self._waiting < _AHEAD:
            self._send(size)
            self._waiting += 1
        self._waiting -= 1
        told = self._answer()
        step = self._unpacked(told) if told else None
        if step:
            self._profile.add_columns(step[1].columns[_OURS])
        return step

    def profile(self) -> Profile:
        self._send(0)
        for _ in range(self._waiting):  # steps that were asked for and are not wanted
            if told := self._answer():
                self._unpacked(told)
        theirs = Profile.unpacked(self._receive(self._answer()["profile"]))
        self.is_done = True
        return theirs.beside(self._profile, self._names)

    def _answer(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._receive(int.from_bytes(self._receive(8))))
        if error := told.get("error"):
            number, message = error
            raise OSError(number, message) if number else FoundationError(message)
        return told

    def _unpacked(self, told: dict[str, Any]) -> Step:
        chunk = Chunk(Position(*told["start"]), Position(*told["end"]), digest=told["digest"])
        for start, end, spans, size in told["pieces"]:
            chunk.pieces.append(Piece(Position(*start), Position(*end), self._receive(size), spans=spans))
        *columns, records, refused = marshal.loads(self._receive(told["values"]))  # noqa: S302  # of our own making
        rejected = [Damaged(record, [Error(*error) for error in errors], key) for record, errors, key in refused]
        return chunk, Verdict(columns, records, rejected)

    def _send(self, order: object) -> None:
        try:
            self._to.write(json.dumps(order).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._ended() from error

    def _receive(self, size: int) -> bytes:
        data = self._from.read(size)
        if len(data) < size:
            raise self._ended()
        return data

    def _ended(self) -> FoundationError:
        return FoundationError(
            f"{self._path}: the process that reads it has ended, perhaps for want of memory; "
            "run the same command again, it goes on where it stopped (--workers 1 does without that process)"
        )


def serve() -> None:
    """Be the worker: what is to be read comes by standard input, then the size of each step."""
    gc.disable()  # nothing here refers to itself
    results = sys.stdout.buffer
    with suppress(BrokenPipeError):  # who asked has gone
        try:
            results.write(_UP)
            results.flush()
            _serve(sys.stdin.buffer, results)
        except BrokenPipeError:
            raise
        except Exception as error:  # it is raised again where it is waited for
            number = error.errno if isinstance(error, OSError) else None
            message = str(error) if isinstance(error, FoundationError) else repr(error)
            _answer(results, {"error": [number, os.strerror(number) if number else message]})


def _serve(orders: BinaryIO, results: BinaryIO) -> None:
    while line := orders.readline():
        given = json.loads(line)
        path, at = Path(given["path"]), Position(*given["at"])
        source = _source(given["home"], given["name"])
        if not source or source.fingerprint != given["fingerprint"]:
            raise FoundationError(
                f"{given['home']}: {given['name']} is declared otherwise by now; start anew to load by that, "
                "or use --workers 1 (workers=1)"
            )
        with Reader(path, source.layout) as reader:
            if at != reader.at and not reader.resume(at, given["digest"]):
                raise FoundationError(f"{path}: it has changed since the load began; run the same command again")
            profile = Profile.unpacked(base64.b64decode(given["profile"]))
            steps = _Here(source, reader, profile, _THEIRS)
            while order := json.loads(orders.readline() or "0"):
                _answer(results, *_packed(steps.next(order)))
            packed = steps.profile().packed()
            _answer(results, {"profile": len(packed)}, packed)


def _source(home: str, name: str) -> Source | None:
    """The declared source that is at home in a file, or in a module under a name, if it is still there."""
    if home.endswith(".py"):
        return next((source for source in load_sources(Path(home)) if source.name == name), None)
    module, _, declared = home.partition(":")
    with suppress(ImportError, AttributeError):
        source: Source = getattr(importlib.import_module(module), declared).__source__
        return source
    return None


def _packed(step: Step | None) -> tuple[Any, ...]:
    if not step:
        return ({},)
    chunk, verdict = step
    chunk.columns.clear()  # marshal takes longer over texts that others hold, too
    refused = [(record, list(map(tuple, errors)), key) for record, errors, key in verdict.rejected]
    values = marshal.dumps([*verdict.columns, list(verdict.records), refused])
    told = {
        "start": chunk.start, "end": chunk.end, "digest": chunk.digest,
        "pieces": [(p.start, p.end, p.spans, len(p.block)) for p in chunk.pieces], "values": len(values),
    }  # fmt: skip
    return told, *(piece.block for piece in chunk.pieces), values


def _answer(results: BinaryIO, told: dict[str, Any], *blocks: bytes) -> None:
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    results.writelines((len(data).to_bytes(8), data, *blocks))
    results.flush()
