"""The physical lines of a file, and the fields of clean blocks of them.

A clean block is split in one pass, about as fast as `csv` with the checks that `csv` does not make. Anything
suspicious is left to `recovery`.
"""

import io
import re
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import BinaryIO

from foundation.reader.dialect import COMMAS, Dialect
from foundation.reader.grammar import MAX_FIELD, MAX_RECORD

FIELD_END, RECORD_END = "\x1f", "\x1e"  # in place of the separators outside quotes; a block with them is not clean
_FIELD_END, _RECORD_END = FIELD_END.encode(), RECORD_END.encode()
_ENDS = _FIELD_END + _RECORD_END + _FIELD_END
BLOCK = 2**16  # bytes read at a time: their fields stay in the cache of a processor until they are validated
_BARE_RETURN = re.compile(rb"\r(?!\n)")


class Lines:
    """The physical lines of a file, read by blocks, with a way back.

    Of a line longer than `MAX_RECORD` not much more than that is read; it is the last one until `drain` is called.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._window = io.BytesIO()  # ends lines at line feeds only, str.splitlines at eleven other characters too
        self._size = 0
        self._is_cut = False

    def block(self, size: int = BLOCK) -> bytes:
        """The next lines, of about *size* bytes or fewer; none at the end."""
        self._refill()
        block = self._window.read(size) + self._window.readline()
        self._release()
        return block

    def take(self, count: int) -> list[bytes]:
        """Some of the next lines, at most *count*; none at the end."""
        self._refill()
        lines = list(islice(self._window, count))
        self._release()
        return lines

    def line(self) -> bytes:
        """The next line; empty at the end."""
        return b"".join(self.take(1))

    def give_back(self, taken: bytes) -> None:
        """Return what was taken last."""
        if self._window.tell() >= len(taken):
            self._window.seek(-len(taken), io.SEEK_CUR)
        else:
            self._window = io.BytesIO(taken + self._window.read())
            self._size = len(self._window.getbuffer())

    def drain(self) -> Iterator[bytes]:
        """What is left in the file of the line that was cut."""
        while self._is_cut:
            block = self._file.readline(BLOCK)
            self._is_cut = bool(block) and not block.endswith(b"\n")
            yield block

    def _release(self) -> None:
        """Keep nothing that was taken: it may be as large as the largest record."""
        if self._window.tell() == self._size:
            self._window, self._size = io.BytesIO(), 0

    def _refill(self) -> None:
        if self._is_cut or self._window.tell() < self._size:
            return
        block = self._file.read(BLOCK)
        if block and not block.endswith(b"\n"):
            rest = self._file.readline(MAX_RECORD)
            self._is_cut = len(rest) == MAX_RECORD and not rest.endswith(b"\n")
            block += rest
        self._window, self._size = io.BytesIO(block), len(block)


def split(
    block: bytes, width: int, dialect: Dialect = COMMAS, parts: list[bytes] | None = None
) -> tuple[list[str], bool]:
    """The fields of the clean records of *width* that a block begins with, a `RECORD_END` after each.

    The flag says whether that is the whole block. *parts* is the block as it is split at its quotes, where that was
    done before; the list is used up.
    """
    mark = dialect.delimiter.encode()
    parts, is_whole = _clean_parts(block, mark, parts)
    # What is outside quotes is marked at once, as bytes: nearly all of it is ASCII, and a single other character would
    # double the memory of a text. An empty part between two quotes is a doubled quote inside a field.
    outer = b'"'.join(parts[::2])
    if b"\r" in outer:
        outer = outer.replace(b"\r\n", b"\n")
    outside = outer.replace(mark, _FIELD_END).replace(b"\n", _ENDS).split(b'"')
    if not all(outside[1:-1]):
        outside[1:-1] = [part or b'"' for part in outside[1:-1]]
    parts[::2] = outside[: len(parts) // 2 + 1]
    joined = b"".join(parts) + _ENDS * (is_whole and not block.endswith(b"\n"))
    try:
        text = joined.decode(dialect.encoding)
    except UnicodeDecodeError as error:
        lines = joined[: error.start].rpartition(_ENDS)
        text, is_whole = b"".join(lines[:2]).decode(dialect.encoding), False
    fields = text.split(FIELD_END)
    fields.pop()
    if width == 1 and ("" in fields or b'""' in block):  # perhaps a blank line, which is no record
        return [], False
    ends = fields[width :: width + 1]
    if len(fields) == len(ends) * (width + 1) and ends.count(RECORD_END) == len(ends) == text.count(RECORD_END):
        return fields, is_whole
    end = 0
    while fields.index(RECORD_END, end) == end + width:
        end += width + 1
    return fields[:end], False


def _clean_parts(block: bytes, mark: bytes, parts: list[bytes] | None) -> tuple[list[bytes], bool]:
    """A block cut at its quotes, up to the last line before what no clean record holds; and whether that is all of it.

    A clean block has what is outside quotes at every second place, and each of these parts is empty (a doubled
    quote) or begins and ends with a separator. `csv` does not look: it takes `a"b` for a field.
    """
    end = _clean_bytes(block)
    is_whole = end == len(block)
    if not parts or not is_whole:
        parts = block[:end].split(b'"')
    if len(parts) % 2 == 0:
        parts.pop()
        is_whole = False
    if (stray := _stray_part(parts, mark)) is not None:
        del parts[stray:]
        is_whole = False
    if not is_whole:
        while len(parts) > 1 and b"\n" not in parts[-1]:
            del parts[-2:]
        parts[-1] = parts[-1][: parts[-1].rfind(b"\n") + 1]
    return parts, is_whole


def _clean_bytes(block: bytes) -> int:
    """How many bytes stand before the first that no clean record holds."""
    if len(block) > MAX_FIELD:
        return 0
    ends = [block.index(byte) for byte in (b"\0", _FIELD_END, _RECORD_END) if byte in block]
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        ends.append(next(_BARE_RETURN.finditer(block)).start())
    return min(ends, default=len(block))


def _stray_part(parts: list[bytes], mark: bytes) -> int | None:
    """Which of these parts, the first inside quotes, begins or ends with a quote that meets no separator."""
    ends, begins = mark + b"\n", mark + b"\r\n"
    last = set(map(itemgetter(-1), filter(None, parts[:-1:2])))
    first = set(map(itemgetter(0), filter(None, parts[2::2])))
    if last.issubset(ends) and first.issubset(begins):  # as nearly always: no loop in Python
        return None
    return next(
        at
        for at in range(1, len(parts), 2)
        if (parts[at - 1] and parts[at - 1][-1] not in ends) or (parts[at + 1] and parts[at + 1][0] not in begins)
    )
