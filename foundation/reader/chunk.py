"""What the reader hands out: chunks of records that know where in the file they stand."""

import io
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple, Self

from foundation.reader.grammar import MAX_RECORD
from foundation.reader.recovery import Error


class Position(NamedTuple):
    """A boundary between records: how many records, lines and bytes of the file lie before it."""

    record: int
    line: int
    byte: int

    def after(self, records: int, block: bytes) -> "Position":
        """The boundary that follows when so many records in this block of whole lines have been read."""
        lines = block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
        return Position(self.record + records, self.line + lines, self.byte + len(block))


class Place(NamedTuple):
    """Where a record stands: numbers count from 1, the header being line 1; bytes from 0, the end excluded."""

    record: int
    line: int
    last_line: int
    byte_start: int
    byte_end: int


class Damaged(NamedTuple):
    """A record that is rejected, and why; *key* is the text of its key where that can be read."""

    record: int
    errors: list[Error]
    key: str | None


@dataclass(slots=True)
class Piece:
    """A segment of the file: consecutive records with their bytes, as they were read.

    `spans` are the first line of each record, from 0 in the segment, and the one after its last. Of clean lines they
    are found only when somebody asks.
    """

    start: Position
    end: Position
    block: bytes
    columns: Sequence[Sequence[str]] = ()
    records: Sequence[int] = ()
    damaged: Sequence[Damaged] = ()
    spans: Sequence[tuple[int, int]] | None = None
    offsets: list[int] | None = None

    def locate(self, record: int) -> tuple[Place, bytes]:
        """Where a record stands, and its bytes with the line end."""
        index = record - self.start.record - 1
        if self.spans is None and self.end.record - self.start.record < self.end.line - self.start.line:
            self.spans = list(pairwise(record_lines(self.block)))
        if self.offsets is None:
            self.offsets = line_offsets(self.block)
        first, stop = self.spans[index] if self.spans else (index, index + 1)
        start, end = self.offsets[first], self.offsets[stop]
        # The last record ends with its segment: the rest of a line too long to be kept belongs to it.
        byte_end = self.end.byte if end == len(self.block) else self.start.byte + end
        place = Place(record, self.start.line + first + 1, self.start.line + stop, self.start.byte + start, byte_end)
        return place, self.block[start:end][:MAX_RECORD]


@dataclass(slots=True)
class Chunk:
    """Consecutive records: `columns[i][j]` is the field of record number `records[j]` in the wanted column i."""

    start: Position
    end: Position
    columns: list[list[str]] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    digest: str = ""  # sha256 of the file up to `end`
    pieces: list[Piece] = field(default_factory=list)

    @classmethod
    def of_rows(cls, records: list[int], rows: Iterable[Sequence[str]]) -> Self:
        """Rows that are not read from a file; there is nothing to locate."""
        nowhere = Position(0, 0, 0)
        return cls(nowhere, nowhere, [list(column) for column in zip(*rows, strict=True)], records)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The fields record by record."""
        return list(zip(*self.columns, strict=True))

    @property
    def size(self) -> int:
        """Records, malformed ones included."""
        return self.end.record - self.start.record

    def append(self, piece: Piece) -> None:
        """Add the records that come next; their fields are the chunk's from now on."""
        if piece.records:
            for column, more in zip(self.columns, piece.columns, strict=True):
                column += more
        self.records += piece.records
        self.damaged += piece.damaged
        self.pieces.append(piece)
        self.end, piece.columns = piece.end, ()

    def locate(self, record: int) -> tuple[Place, bytes]:
        """Where a record stands, and its bytes with the line end: at most `MAX_RECORD` are kept."""
        return self.pieces[bisect_left(self.pieces, record, key=lambda piece: piece.end.record)].locate(record)


def line_offsets(block: bytes) -> list[int]:
    """Where each line of a block begins, and its end."""
    return list(accumulate(map(len, io.BytesIO(block)), initial=0))


def record_lines(block: bytes) -> list[int]:
    """On which lines of a clean block, from 0, records begin, and the end: where the quotes before them are even."""
    quotes = accumulate((line.count(b'"') for line in io.BytesIO(block)), initial=0)
    return [line for line, before in enumerate(quotes) if before % 2 == 0]
