"""CSV bytes → chunks of raw records that know their record number, physical lines and byte range.

A *record* is what the CSV grammar (RFC 4180) says, a *line* ends with a line feed. Sound stretches are split as a
whole by `foundation.lines`, whatever the size of a chunk; a few lines with anything odd in them are read again, record
by record, by `foundation.scan`, so that a damaged record costs only itself. Fields are kept column by column, as they
are judged.
"""

import hashlib
import io
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from foundation.errors import SourceError, visible
from foundation.reader.compression import open_file
from foundation.reader.dialect import SEPARATORS
from foundation.reader.layout import Layout
from foundation.reader.recovery import MAX_FIELD, MAX_RECORD, TORN_LINES, Error, Scanner, scan_header
from foundation.reader.splitter import BLOCK, Lines, count, split

CHUNK_BYTES = 8 * 2**20  # a chunk ends early when it holds more
_SHORTEST, _LONGEST = 2**12, 3 * 2**13  # bytes split as a whole behind something odd; then more, up to a block
_SKIPPED = 2**12  # records read at a time where they cannot be skipped
_NEAR = 64  # lines: where a quote may close that is left open, and how many are read with care before others are split
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"PK\x03\x04": "a zip archive, perhaps a spreadsheet (.xlsx); export it as CSV",
    b"\x1f\x8b": "compressed with gzip; let its name end with .gz, or unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; let its name end with .zst, or unpack it",
    b"\xff\xfe": "UTF-16 text; export it as UTF-8",
    b"\xfe\xff": "UTF-16 text; export it as UTF-8",
}


class Position(NamedTuple):
    """A border between records: how many records, lines and bytes of the file lie before it."""

    record: int
    line: int
    byte: int


class Place(NamedTuple):
    """Where a record stands: numbers count from 1, the header being line 1; bytes from 0, the end excluded."""

    record: int
    line: int
    last_line: int
    byte_start: int
    byte_end: int


class Damaged(NamedTuple):
    """A record that is refused, and why; *key* is the text of its key where that can be read."""

    record: int
    errors: list[Error]
    key: str | None


@dataclass(slots=True)
class Chunk:
    """Consecutive records: `columns[i][j]` is the field of record number `records[j]` in the wanted column i."""

    start: Position
    end: Position
    columns: list[list[str]] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    digest: str = ""  # sha256 of the file up to `end`
    pieces: list["Piece"] = field(default_factory=list)
    _last: int = field(default=0, init=False, compare=False)  # the piece where one was located: the next is often there

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
        """Records, damaged ones included."""
        return self.end.record - self.start.record

    def locate(self, record: int) -> tuple[Place, bytes]:
        """Where a record stands, and its bytes with the line end: at most `MAX_RECORD` are kept."""
        piece = self.pieces[self._last]
        if not piece.start.record < record <= piece.end.record:
            self._last = bisect_left(self.pieces, record, key=lambda piece: piece.end.record)
            piece = self.pieces[self._last]
        return piece.locate(record)


class Reader:
    """A CSV file of a given layout, read chunk by chunk, from its start or from a checkpoint.

    Raises SourceError when it cannot be such a file: not there, no text, empty, columns missing or doubled.
    `warnings` names columns that are not wanted; they are left out. `at` is how
    far it has read. Of a packed file all is about what is in it: places, `size`, sha256.
    A *file* that is open already is read as it is, and closed, in place of that at *path*.
    """

    def __init__(self, path: Path | str, layout: Layout, *, file: BinaryIO | None = None) -> None:
        self._layout, self._dialect = layout, layout.dialect
        self.warnings: list[str] = []
        self._file: BinaryIO
        if file:
            self._file, self.size = file, file.seek(0, io.SEEK_END)
            file.seek(0)
        else:
            self._file, self.size = open_file(Path(path), layout.max_unpacked)
        try:
            self._require_encoding(path)
            self._lines = Lines(self._file)
            self._sha = hashlib.sha256()
            self._stretch, self._careful, self._odd = BLOCK, 1, 0
            self._sound: _Sound | None = None
            self.at = Position(0, 0, 0)
            self.header = self._read_header(path)
            self._order = self._match(path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def digest(self) -> str:
        """Sha256 of what was read so far; after the last chunk, of the whole file."""
        return self._sha.hexdigest()

    def around(self, byte: int) -> tuple[bytes, bytes]:
        """The byte before a place in the file, and at most two behind it."""
        back = self._file.tell()
        self._file.seek(byte - 1)
        found = self._file.read(1), self._file.read(2)
        self._file.seek(back)
        return found

    def resume(self, at: Position, digest: str) -> bool:
        """Go on behind *at* if the file has this sha256 up to there; else stay and return False."""
        sha, left = hashlib.sha256(), at.byte
        self._file.seek(0)
        while left and (block := self._file.read(min(left, BLOCK))):
            sha.update(block)
            left -= len(block)
        same = not left and sha.hexdigest() == digest
        if same:
            self._sha, self.at = sha, at
        self._look_at(self.at)
        return same

    def go_to(self, at: Position) -> None:
        """Go on behind *at*, which must be a border between records; `digest` is that of the bytes from there on."""
        self._sha = hashlib.sha256()
        self._look_at(at)

    def go_near(self, byte: int) -> None:
        """Go to the first line from *byte* on at which a sound record seems to begin, with numbers counted from there.

        It may stand inside a quoted text: whether it is a border tells only who has read up to there.
        """
        at = self._behind_line(byte - 1)
        while at < self.size:
            self.go_to(Position(0, 0, at))
            if self._scanner([self._lines.one()]).holds(0):
                break
            at = self._behind_line(at)
        self.go_to(Position(0, 0, at))

    def _behind_line(self, byte: int) -> int:
        """Where the line ends in which *byte* stands."""
        self._look_at(Position(0, 0, byte))
        return byte + len(self._lines.one()) + sum(map(len, self._lines.drain()))

    def _look_at(self, at: Position) -> None:
        self._file.seek(at.byte)
        self._lines, self._sound, self._odd, self.at = Lines(self._file), None, 0, at

    def skip(self, stop: int) -> Position:
        """Go on to the first border between records that is not before byte *stop*, in a third of the time of reading.

        At the end of the file that is its size. `digest` goes on with the bytes that are skipped.
        """
        while self.at.byte < stop:
            block, parts = self._closed(BLOCK)
            if not block:
                break
            end = self.at.byte + len(block)
            records = count(block, len(self.header), self._dialect, parts) if end <= stop else None
            if records is None or self._is_torn():
                self._look_at(self.at)
                while self.chunk(_SKIPPED, stop=min(end, stop)):
                    pass
                self._look_at(self.at)
            else:
                self._sha.update(block)
                self.at = Position(self.at.record + records, self.at.line + _count_lines(block), end)
        return self.at

    def chunk(self, size: int, *, stop: int = sys.maxsize) -> Chunk | None:
        """The next *size* records, fewer at the end of the file or beyond `CHUNK_BYTES`; None at the end.

        Of those that begin at or behind byte *stop* none is read.
        """
        if size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {size}")
        chunk = Chunk(self.at, self.at, [[] for _ in self._order])
        while chunk.size < size and self.at.byte < min(chunk.start.byte + CHUNK_BYTES, stop):
            piece = self._next(size - chunk.size, stop)
            if not piece:
                break
            self._sha.update(piece.block)
            self.at = chunk.end = piece.end = self._skip_rest(piece)
            if piece.records:
                for column, more in zip(chunk.columns, piece.columns, strict=True):
                    column += more
            chunk.records += piece.records
            chunk.damaged += piece.damaged
            chunk.pieces.append(piece)
            piece.columns = []  # they are the chunk's now
        chunk.digest = self.digest
        return chunk if chunk.end.byte > chunk.start.byte else None

    def _next(self, limit: int, stop: int) -> "Piece | None":
        """The next records, at most *limit*, that begin before byte *stop*; None at the end."""
        while not self._sound or not self._sound.left:
            if self._odd:
                return self._read_carefully(limit, stop)
            self._sound = self._read_sound()
            if not self._sound and not self._odd:
                return None
        return self._sound.take(limit, stop, self._order)

    def _closed(self, size: int) -> tuple[bytes, list[bytes]]:
        """The next lines, of about *size* bytes, and their parts between quotes; none at the end.

        Where they leave a quote open the lines up to the one that closes it belong to them, if that is near.
        """
        block = self._lines.some(size)
        parts = block.split(b'"') if len(block) <= MAX_FIELD else [block]  # more is read with care anyway
        if len(parts) % 2 == 0:
            ahead = self._lines.take(_NEAR)
            end = next((at for at, line in enumerate(ahead, 1) if line.count(b'"') % 2), len(ahead))
            self._lines.give_back(b"".join(ahead[end:]))
            more = b"".join(ahead[:end])
            block += more
            parts += (parts.pop() + more).split(b'"')
        return block, parts

    def _read_sound(self) -> "_Sound | None":
        """The sound records that come next; what is odd behind them is to be read with care. None if there are none."""
        width = len(self.header)
        block, parts = self._closed(self._stretch)
        if not block:
            return None
        fields, is_whole = split(block, width, self._dialect, parts)
        sound = block if is_whole else self._cut(block, fields)
        while fields and self._is_torn():
            del fields[-width - 1 :]
            sound, is_whole = self._cut(sound, fields), False
        if is_whole:
            self._stretch, self._careful = min(self._stretch + _SHORTEST, BLOCK), 1
        else:
            self._stretch = min(max(len(sound) * 4, _SHORTEST), _LONGEST)
            self._careful = 1 if self._stretch > _SHORTEST else min(self._careful * 2, _NEAR)
            self._odd = self._careful
        return _Sound(self.at, sound, fields, width, _count_lines(sound)) if fields else None

    def _cut(self, block: bytes, fields: list[str]) -> bytes:
        """The lines of a block in which these fields of whole records stand; the others are given back."""
        lines = len(fields) // (len(self.header) + 1) + "".join(fields).count("\n")
        sound = b"".join(islice(io.BytesIO(block), lines))
        self._lines.give_back(block[len(sound) :])
        return sound

    def _is_torn(self) -> bool:
        """Whether the rest of the last record stands in the next lines, torn off."""
        scanner = self._scanner(self._lines.take(TORN_LINES))
        is_torn = scanner.torn(0, len(self.header)) > 0
        self._lines.give_back(b"".join(scanner.lines))
        return is_torn

    def _scanner(self, lines: list[bytes]) -> Scanner:
        return Scanner(
            lines, partial(self._lines.take, _NEAR), self.header, self._dialect, is_numbered=self._is_numbered
        )

    def _read_carefully(self, limit: int, stop: int) -> "Piece | None":
        """The records that begin in the next lines, those that are `_odd`; None at the end."""
        within, self._odd = self._odd, 0
        scanner = self._scanner(self._lines.take(within + TORN_LINES))
        if stop < sys.maxsize:
            begins = list(accumulate(map(len, scanner.lines[:within]), initial=self.at.byte))
            within = min(within, bisect_left(begins, stop))
        spans = scanner.spans(limit, within=within)
        self._lines.give_back(b"".join(scanner.lines[scanner.used :]))
        if not scanner.used:
            return None
        used = scanner.lines[: scanner.used]
        start = self.at
        end = Position(start.record + len(spans), start.line + len(used), start.byte + sum(map(len, used)))
        numbered = list(enumerate(spans, start.record + 1))
        sound = [s.fields for s in spans if not s.errors]
        return Piece(
            start,
            end,
            b"".join(used),
            columns=[[fields[i] for fields in sound] for i in self._order] if sound else (),
            records=[number for number, s in numbered if not s.errors],
            damaged=[
                Damaged(number, s.errors, self._layout.key_of(s.fields, self._order))
                for number, s in numbered
                if s.errors
            ],
            spans=[(s.first, s.stop) for s in spans],
        )

    def _skip_rest(self, piece: "Piece") -> Position:
        """Where the piece ends, behind the rest of a line too long to be kept."""
        at = piece.end
        if not piece.block.endswith(b"\n"):
            for block in self._lines.drain():
                self._sha.update(block)
                at = at._replace(byte=at.byte + len(block))
        return at

    def _require_encoding(self, path: Path | str) -> None:
        if self._dialect.encoding != "utf-8":
            told = self._dialect.suspect(self._file.read(BLOCK))
            if told:
                raise SourceError("not_text", f"{path}: the text is {told}")
            self._file.seek(0)

    def _read_header(self, path: Path | str) -> list[str]:
        blank: list[bytes] = []
        while (line := self._lines.one()) and not line.removeprefix(_BOM).strip(b"\r\n"):
            blank.append(line)
        if not line:
            raise SourceError("empty_file", f"{path}: the file is empty; its first line should name the columns")
        for magic, what in _FOREIGN.items():
            if line.startswith(magic):
                raise SourceError("not_text", f"{path}: no CSV text but {what}")
        lines, header, damage = scan_header(line.removeprefix(_BOM), partial(self._lines.take, 1), self._dialect)
        if damage:
            hint = self._other_separator(line.decode(errors="replace")) or self._other_encoding(line)
            raise SourceError("not_text", f"{path}: its first line cannot be read as column names: {damage}{hint}")
        lines = [*blank, line, *lines[1:]]
        self._sha.update(b"".join(lines))
        self.at = Position(0, len(lines), sum(map(len, lines)))
        return header

    def _match(self, path: Path | str) -> list[int]:
        """For each wanted column where it stands in the file."""
        wanted = list(self._layout.headers) or self.header
        if missing := [name for name in wanted if name not in self.header]:
            raise SourceError("missing_column", self._missing(path, missing, wanted))
        if doubled := [name for name in dict.fromkeys(wanted) if self.header.count(name) > 1]:
            message = f"{path}: the header has {_listed(doubled)} more than once; keep one of them"
            raise SourceError("duplicate_column", message)
        if unknown := [name for name in self.header if name not in wanted]:
            self.warnings.append(f"unknown columns are left out: {_listed(unknown)}")
        if not self._layout.headers and (hint := self._other_separator(wanted[0]) if len(wanted) == 1 else ""):
            raise SourceError("not_text", f"{path}: its first line names a single column{hint}")
        self._is_numbered = self.header[0] in self._layout.integers
        return [self.header.index(name) for name in wanted]

    def _other_encoding(self, header: bytes) -> str:
        try:
            header.decode(self._dialect.encoding)
        except UnicodeDecodeError:
            way = (
                "declare its encoding, such as encoding='cp1252'"
                if self._layout.headers
                else "draft it with --encoding"
            )
            return f"; export the file as UTF-8, or {way}"
        return ""

    def _missing(self, path: Path | str, missing: list[str], wanted: list[str]) -> str:
        hint = self._other_separator(self.header[0]) if len(self.header) == 1 else ""
        return (
            f"{path}: the header lacks {_listed(missing)}{hint}; "
            f"it has {_listed(self.header)}, where {_listed(wanted)} are wanted"
        )

    def _other_separator(self, header: str) -> str:
        own = self._dialect.delimiter
        other = None if own in header else next((mark for mark in SEPARATORS if mark in header), None)
        if not other:
            return ""
        way = f"declare delimiter={other!r}" if self._layout.headers else f"draft it with --delimiter {other!r}"
        told = f"; the fields seem to be separated by {other!r}, export the file with"
        return f"{told} {'commas' if own == ',' else repr(own)}, or {way}"


def reread(raws: Iterable[tuple[int, bytes, list[str]]], layout: Layout) -> Chunk:
    """Records that were kept with their numbers and headers, read again; there is nothing to locate in such a chunk.

    A column that the layout has gained since is empty.
    """
    rows: list[list[str]] = []
    records: list[int] = []
    damaged: list[Damaged] = []
    for record, raw, header in raws:
        order = layout.positions(header)
        span = Scanner(io.BytesIO(raw).readlines(), list, header, layout.dialect).spans(1)[0]
        if span.errors:
            damaged.append(Damaged(record, span.errors, layout.key_of(span.fields, order)))
        else:
            rows.append(["" if at is None else span.fields[at] for at in order])
            records.append(record)
    return replace(Chunk.of_rows(records, rows), damaged=damaged)


@dataclass(slots=True)
class Piece:
    """Records of a stretch of lines; for a clean stretch the spans are found only when somebody asks."""

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
        before = record - self.start.record - 1
        if self.spans is None and self.end.record - self.start.record < self.end.line - self.start.line:
            self.spans = list(pairwise(_begins(self.block)))
        if self.offsets is None:
            self.offsets = list(accumulate(map(len, io.BytesIO(self.block)), initial=0))
        first, stop = self.spans[before] if self.spans else (before, before + 1)
        start, end = self.offsets[first], self.offsets[stop]
        # The last record ends with its piece: the rest of a line too long to be kept belongs to it.
        byte_end = self.end.byte if end == len(self.block) else self.start.byte + end
        place = Place(record, self.start.line + first + 1, self.start.line + stop, self.start.byte + start, byte_end)
        return place, self.block[start:end][:MAX_RECORD]


class _Sound:
    """A sound stretch of lines, of which records are taken until none is `left`."""

    def __init__(self, start: Position, block: bytes, fields: list[str], width: int, lines: int) -> None:
        self._at, self._block, self._fields, self._width = start, block, fields, width
        self._byte = 0
        self.left = len(fields) // (width + 1)
        self._lines = lines

    def take(self, limit: int, stop: int, order: Sequence[int]) -> Piece:
        """The next records, at most *limit*, that begin before byte *stop*, with their columns in this order."""
        step, start = self._width + 1, self._at
        count = min(limit, self.left)
        if stop < start.byte + len(self._block) - self._byte:
            count = min(count, self._before(stop - start.byte))
        fields, block, lines = self._fields, self._block[self._byte :], self._lines
        self._fields = fields[count * step :]
        if count < self.left:
            del fields[count * step :]
            lines = count if lines == self.left else count + "".join(fields).count("\n")
            block = b"".join(islice(io.BytesIO(block), lines))
        self._at = end = Position(start.record + count, start.line + lines, start.byte + len(block))
        self._byte += len(block)
        self.left, self._lines = self.left - count, self._lines - lines
        columns = [fields[i::step] for i in order]
        return Piece(
            start,
            end,
            block,
            columns,
            range(start.record + 1, end.record + 1),
        )

    def _before(self, byte: int) -> int:
        """How many records begin before this byte of what is left."""
        left = self._block[self._byte :]
        offsets = list(accumulate(map(len, io.BytesIO(left)), initial=0))
        return bisect_left([offsets[line] for line in _begins(left)[:-1]], byte)


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n") and bool(block))


def _begins(block: bytes) -> list[int]:
    """On which lines, from 0, the records of a sound block begin, and the one behind: quotes before them are even."""
    quotes = accumulate((line.count(b'"') for line in io.BytesIO(block)), initial=0)
    return [line for line, before in enumerate(quotes) if before % 2 == 0]


def _listed(names: list[str]) -> str:
    shown = ", ".join(visible(name, 40) for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
