"""Byte ranges of a file → parts of whole records, found side by side, and exactly.

Where a record begins cannot be seen from its surroundings: a line may stand inside a quoted text, and where a damaged
record ends, what follows it decides. So every range is begun where a sound record *seems* to begin, and is gone through
up to the first border behind its end. Then the ranges are taken in order: one is right if it began where the one
before has ended; one that began elsewhere is gone through again from there. What is left is what reading the file
from its start would have met, whatever the ranges.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from foundation.errors import Code, FoundationError, SourceError
from foundation.reader import Chunk, Position, Reader
from foundation.schema import Source

CHUNK_SIZE = 20_000  # records that are held at a time, and rows of a row group


class Part(NamedTuple):
    """Whole records of a file: the borders before and behind them, and the sha256 of their bytes."""

    start: Position
    end: Position
    digest: str


def open_reader(address: str, source: Source) -> Reader:
    """The file at a path or at any address of fsspec, as `Reader` reads it, which raises SourceError as there."""
    files, path = fsspec.url_to_fs(address)
    if isinstance(files, LocalFileSystem):
        return Reader(Path(path), source.layout)
    try:
        return Reader(address, source.layout, file=files.open(path, "rb"))
    except FileNotFoundError as error:
        raise SourceError(Code.NOT_FOUND, f"{address}: no such file") from error


def find(source: Source, address: str, byte: int, stop: int, *, is_border: bool) -> Part:
    """The records that begin from *byte* on and before *stop*, with numbers counted from there.

    Unless *byte* is known to be a border, they begin where one seems to be.
    """
    with open_reader(address, source) as reader:
        if is_border:
            reader.go_to(Position(0, 0, byte))
        else:
            reader.go_near(byte)
        start = reader.at
        return Part(start, reader.skip(stop), reader.digest)


def read_part(address: str, source: Source, part: Part) -> Iterator[Chunk]:
    """The records of a part, a chunk at a time; raises FoundationError when the file is no longer what it was."""
    with open_reader(address, source) as reader:
        reader.go_to(part.start)
        while chunk := reader.chunk(CHUNK_SIZE, stop=part.end.byte):
            yield chunk
        if (reader.at, reader.digest) != (part.end, part.digest):
            raise FoundationError(f"{address}: it has changed since the load began; run the same command again")


def settle(
    at: Position, found: Sequence[Part], stops: Sequence[int], again: Callable[[int, int], Part]
) -> Iterator[Part]:
    """The parts of a file from its first record, *at*, on, of what was *found* in ranges with these ends.

    *again* goes through a range anew, from the border before its first record to its end.
    """
    for part, stop in zip(found, stops, strict=True):
        if at.byte >= stop:  # one record goes on behind the whole range
            continue
        right = part if part.start.byte == at.byte else again(at.byte, stop)
        end = Position(at.record + right.end.record, at.line + right.end.line, right.end.byte)
        yield Part(at, end, right.digest)
        at = end
