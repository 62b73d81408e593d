"""CSV bytes → chunks of raw records that know their record number, physical lines and byte range.

A *record* is what the CSV grammar (RFC 4180) says, a *line* ends with a line feed. Clean blocks are split in one pass
by `splitter`, whatever the size of a chunk; a few lines with anything suspicious in them are read again, record by
record, by `recovery`, so that a malformed record costs only itself. Fields are kept column by column, as they are
validated.
"""

import hashlib
import io
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import BinaryIO

from foundation.reader.chunk import Chunk, Damaged, Piece, Place, Position, line_offsets, record_lines
from foundation.reader.compression import open_file
from foundation.reader.dialect import Layout
from foundation.reader.grammar import MAX_FIELD
from foundation.reader.header import listed, read_header, require_encoding
from foundation.reader.recovery import TAIL_LINES, Scanner
from foundation.reader.splitter import BLOCK, Lines, split

__all__ = ["Chunk", "Damaged", "Piece", "Place", "Position", "Reader", "reread"]

CHUNK_BYTES = 8 * 2**20  # a chunk ends early when it holds more
_SHORTEST, _LONGEST = 2**12, 3 * 2**13  # bytes of a block after something suspicious
_NEAR = 64  # lines: where a quote may close that is left open, and most that are read record by record at a time


class Reader(AbstractContextManager["Reader"]):
    """A CSV file of a given layout, read chunk by chunk, from its start or from a checkpoint.

    Raises SourceError when it cannot be such a file: not there, no text, empty, columns missing or doubled.
    `warnings` names columns that are not wanted; they are left out. `at` is how far it has read. Of a packed file all
    is about what is in it: places, `size`, sha256. A *file* that is open already is read as it is, and closed, in
    place of that at *path*.
    """

    def __init__(self, path: Path | str, layout: Layout, *, file: BinaryIO | None = None) -> None:
        self._layout, self._dialect = layout, layout.dialect
        self._file: BinaryIO
        if file:
            self._file, self.size = file, file.seek(0, io.SEEK_END)
            file.seek(0)
        else:
            self._file, self.size = open_file(Path(path), layout.max_unpacked)
        try:
            require_encoding(self._file, path, layout)
            self._lines = Lines(self._file)
            self.header, self._positions, lines, unknown = read_header(self._lines, path, layout)
        except BaseException:
            self._file.close()
            raise
        self.warnings = [f"unknown columns are left out: {listed(unknown)}"] if unknown else []
        self.at = Position(0, 0, 0).after(0, lines)
        self._sha = hashlib.sha256(lines)
        self._block_size, self._recovery_lines = BLOCK, 1
        self._clean: _CleanBlock | None = None
        self._suspicious = 0  # lines after the clean block that are to be read record by record

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def digest(self) -> str:
        """Sha256 of what was read so far; after the last chunk, of the whole file."""
        return self._sha.hexdigest()

    def around(self, byte: int) -> tuple[bytes, bytes]:
        """The byte before an offset in the file, and at most two after it."""
        back = self._file.tell()
        self._file.seek(byte - 1)
        before, after = self._file.read(1), self._file.read(2)
        self._file.seek(back)
        return before, after

    def resume(self, at: Position, digest: str) -> bool:
        """Read on from *at* if the file has this sha256 up to there; else stay and return False."""
        sha, left = hashlib.sha256(), at.byte
        self._file.seek(0)
        while left and (block := self._file.read(min(left, BLOCK))):
            sha.update(block)
            left -= len(block)
        is_same = not left and sha.hexdigest() == digest
        if is_same:
            self._sha, self.at = sha, at
        self._seek(self.at)
        return is_same

    def go_to(self, at: Position) -> None:
        """Read on from *at*, which must be a boundary between records; `digest` is that of the bytes from there on."""
        self._sha = hashlib.sha256()
        self._seek(at)

    def go_near(self, byte: int) -> None:
        """Go to the first line from *byte* on at which a clean record seems to begin, with numbers counted from there.

        It may stand inside a quoted text: only a sequential reader can tell whether it is a record boundary.
        """
        at = self._next_line(byte - 1)
        while at < self.size:
            self.go_to(Position(0, 0, at))
            if self._scanner([self._lines.line()]).is_clean_record(0):
                break
            at = self._next_line(at)
        self.go_to(Position(0, 0, at))

    def _next_line(self, byte: int) -> int:
        """Where the line ends in which *byte* stands."""
        self._seek(Position(0, 0, byte))
        return byte + len(self._lines.line()) + sum(map(len, self._lines.drain()))

    def _seek(self, at: Position) -> None:
        self._file.seek(at.byte)
        self._lines, self._clean, self._suspicious, self.at = Lines(self._file), None, 0, at

    def skip(self, stop: int) -> Position:
        """Go on to the first boundary between records that is not before byte *stop*, faster than by reading.

        At the end of the file that is its size. `digest` goes on with the bytes that are skipped.
        """
        while self.at.byte < stop and (piece := self._next(sys.maxsize, stop, ())):
            self._advance(piece)
        return self.at

    def chunk(self, size: int, *, stop: int = sys.maxsize) -> Chunk | None:
        """The next *size* records, fewer at the end of the file or beyond `CHUNK_BYTES`; None at the end.

        Of those that begin at or after byte *stop* none is read.
        """
        if size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {size}")
        chunk = Chunk(self.at, self.at, [[] for _ in self._positions])
        while chunk.size < size and self.at.byte < min(chunk.start.byte + CHUNK_BYTES, stop):
            piece = self._next(size - chunk.size, stop, self._positions)
            if not piece:
                break
            self._advance(piece)
            chunk.append(piece)
        chunk.digest = self.digest
        return chunk if chunk.end.byte > chunk.start.byte else None

    def _next(self, limit: int, stop: int, positions: Sequence[int]) -> Piece | None:
        """The columns at these positions of at most *limit* records that begin before byte *stop*; None at the end."""
        while not self._clean or not self._clean.left:
            if self._suspicious:
                return self._recover(limit, stop, positions)
            self._clean = self._read_clean()
            if not self._clean and not self._suspicious:
                return None
        return self._clean.take(limit, stop, positions)

    def _read_clean(self) -> "_CleanBlock | None":
        """The clean records that come next, None if there are none; what follows may be `_suspicious`."""
        width = len(self.header)
        block, parts = self._read_block(self._block_size)
        if not block:
            return None
        fields, is_whole = split(block, width, self._dialect, parts)
        clean = block if is_whole else self._cut(block, fields)
        while fields and self._has_stray_tail():
            del fields[-width - 1 :]
            clean, is_whole = self._cut(clean, fields), False
        self._suspicious = self._adapt_pace(len(clean), is_whole=is_whole)
        return _CleanBlock(self.at, clean, fields, width) if fields else None

    def _adapt_pace(self, clean: int, *, is_whole: bool) -> int:
        """After a block of which so many bytes were *clean*: how many lines are to be read record by record next.

        Blocks grow while all is clean, and shrink where recovery is needed.
        """
        if is_whole:
            self._block_size, self._recovery_lines = min(self._block_size + _SHORTEST, BLOCK), 1
            return 0
        self._block_size = min(max(clean * 4, _SHORTEST), _LONGEST)
        self._recovery_lines = 1 if self._block_size > _SHORTEST else min(self._recovery_lines * 2, _NEAR)
        return self._recovery_lines

    def _read_block(self, size: int) -> tuple[bytes, list[bytes]]:
        """The next lines, of about *size* bytes, and their parts between quotes; none at the end.

        Where they leave a quote open the lines up to the one that closes it belong to them, if that is near.
        """
        block = self._lines.block(size)
        parts = block.split(b'"') if len(block) <= MAX_FIELD else [block]  # larger ones are left to recovery anyway
        if len(parts) % 2 == 0:
            ahead = self._lines.take(_NEAR)
            end = next((at for at, line in enumerate(ahead, 1) if line.count(b'"') % 2), len(ahead))
            self._lines.give_back(b"".join(ahead[end:]))
            more = b"".join(ahead[:end])
            block += more
            parts += (parts.pop() + more).split(b'"')
        return block, parts

    def _cut(self, block: bytes, fields: list[str]) -> bytes:
        """The lines of a block in which these fields of whole records stand; the others are given back."""
        lines = len(fields) // (len(self.header) + 1) + "".join(fields).count("\n")
        clean = b"".join(islice(io.BytesIO(block), lines))
        self._lines.give_back(block[len(clean) :])
        return clean

    def _has_stray_tail(self) -> bool:
        """Whether the next lines are the torn off rest of the last record."""
        scanner = self._scanner(self._lines.take(TAIL_LINES))
        tail = scanner.stray_tail(0, len(self.header))
        self._lines.give_back(b"".join(scanner.lines))
        return tail is not None

    def _scanner(self, lines: list[bytes]) -> Scanner:
        is_numbered = self.header[0] in self._layout.integers
        return Scanner(lines, partial(self._lines.take, _NEAR), self.header, self._dialect, is_numbered=is_numbered)

    def _recover(self, limit: int, stop: int, positions: Sequence[int]) -> Piece | None:
        """The records that begin in the `_suspicious` lines, one by one; None at the end."""
        within, self._suspicious = self._suspicious, 0
        scanner = self._scanner(self._lines.take(within + TAIL_LINES))
        begins = list(accumulate(map(len, scanner.lines[: within - 1]), initial=self.at.byte))
        records = scanner.records(limit, within=bisect_left(begins, stop))
        self._lines.give_back(b"".join(scanner.lines[scanner.used :]))
        if not scanner.used:
            return None
        block = b"".join(scanner.lines[: scanner.used])
        numbered = list(enumerate(records, self.at.record + 1))
        return Piece(
            self.at,
            self.at.after(len(records), block),
            block,
            columns=[[record.fields[at] for record in records if not record.errors] for at in positions],
            records=[number for number, record in numbered if not record.errors],
            damaged=[
                Damaged(number, record.errors, self._layout.key_of(record.fields, self._positions))
                for number, record in numbered
                if record.errors
            ],
            spans=[(record.first, record.stop) for record in records],
        )

    def _advance(self, piece: Piece) -> None:
        """Go on to the end of the piece, which is after the rest of a line too long to be kept."""
        self._sha.update(piece.block)
        if not piece.block.endswith(b"\n"):
            for block in self._lines.drain():
                self._sha.update(block)
                piece.end = piece.end._replace(byte=piece.end.byte + len(block))
        self.at = piece.end


def reread(raws: Iterable[tuple[int, bytes, list[str]]], layout: Layout) -> Chunk:
    """Records that were kept with their numbers and headers, read again; there is nothing to locate in such a chunk.

    A column that the layout has gained since is empty.
    """
    rows: list[list[str]] = []
    records: list[int] = []
    damaged: list[Damaged] = []
    for number, raw, header in raws:
        positions = layout.positions(header)
        record = Scanner(io.BytesIO(raw).readlines(), list, header, layout.dialect).records(1)[0]
        if record.errors:
            damaged.append(Damaged(number, record.errors, layout.key_of(record.fields, positions)))
        else:
            rows.append(["" if at is None else record.fields[at] for at in positions])
            records.append(number)
    return replace(Chunk.of_rows(records, rows), damaged=damaged)


class _CleanBlock:
    """Lines of clean records only, from which records are taken until none is `left`."""

    def __init__(self, start: Position, block: bytes, fields: list[str], width: int) -> None:
        self._at, self._block, self._fields, self._step = start, block, fields, width + 1
        self._first = 0  # field of the next record
        self.left = len(fields) // self._step

    def take(self, limit: int, stop: int, positions: Sequence[int]) -> Piece:
        """The next records, at most *limit*, that begin before byte *stop*, with the columns at these positions."""
        start, block, first = self._at, self._block, self._first
        count = min(limit, self.left)
        if stop < start.byte + len(block):
            offsets = line_offsets(block)
            count = min(count, bisect_left([offsets[line] for line in record_lines(block)[:-1]], stop - start.byte))
        self._first += count * self._step
        if count < self.left:
            lines = count + "".join(self._fields[first : self._first]).count("\n")
            block = b"".join(islice(io.BytesIO(block), lines))
        self._at, self._block, self.left = start.after(count, block), self._block[len(block) :], self.left - count
        columns = [self._fields[first + at : self._first : self._step] for at in positions]
        return Piece(start, self._at, block, columns, range(start.record + 1, self._at.record + 1))
