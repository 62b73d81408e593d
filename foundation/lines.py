"""The physical lines of a file, and the fields of those about which nothing is odd.

A sound stretch is split as a whole, in about the time that the `csv` module takes with the checks it lacks: it lets
things pass that are odd. Those are left to `foundation.scan`.
"""

import io
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO

from foundation.grammar import COMMAS, Dialect
from foundation.scan import MAX_FIELD, MAX_RECORD

FIELD_END, RECORD_END = "\x1f", "\x1e"  # in place of the separators outside quotes; a text with them is odd
BLOCK = 2**16  # bytes read at a time: their fields stay in the cache of a processor until they are judged


class Lines:
    """The physical lines of a file, read by blocks, with a way back.

    Of a line longer than `MAX_RECORD` not much more than that is read; it is the last one until `drain` is called.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ready: list[bytes] = []
        self._next = 0  # the first of them that was not taken
        self._is_cut = False

    def take(self, count: int) -> list[bytes]:
        """Some of the next lines, at most *count* and not many more bytes than a block; none at the end."""
        if self._next == len(self._ready) and not self._is_cut:
            self._refill()
        lines = self._ready[self._next : self._next + count]
        if sum(map(len, lines)) > BLOCK:
            del lines[1 + bisect_left(list(accumulate(map(len, lines))), BLOCK) :]
        self._next += len(lines)
        return lines

    def one(self) -> bytes:
        """The next line; empty at the end."""
        return b"".join(self.take(1))

    def give_back(self, lines: list[bytes]) -> None:
        """Return lines that were taken last."""
        self._ready[: self._next] = lines
        self._next = 0

    def drain(self) -> Iterator[bytes]:
        """What is left in the file of the line that was cut."""
        while self._is_cut:
            block = self._file.readline(BLOCK)
            self._is_cut = bool(block) and not block.endswith(b"\n")
            yield block

    def _refill(self) -> None:
        block = self._file.read(BLOCK)
        if block and not block.endswith(b"\n"):
            rest = self._file.readline(MAX_RECORD)
            self._is_cut = len(rest) == MAX_RECORD and not rest.endswith(b"\n")
            block += rest
        # BytesIO ends lines at line feeds only, str.splitlines at eleven other characters too
        self._ready, self._next = io.BytesIO(block).readlines(), 0


def split(block: bytes, width: int, dialect: Dialect = COMMAS) -> list[str] | None:
    """The fields of a sound block of records of *width*, a `RECORD_END` behind each; None if anything is odd."""
    if (parts := _parts(block, dialect)) is None:
        return None
    ends = f"{FIELD_END}{RECORD_END}{FIELD_END}"
    joined = '"'.join(parts[::2])
    if "\r" in joined:
        joined = joined.replace("\r\n", "\n")
    outside = joined.replace(dialect.delimiter, FIELD_END).replace("\n", ends).split('"')
    parts[::2] = [outside[0], *(part or '"' for part in outside[1:-1]), outside[-1]][: len(outside)]
    plain = "".join(parts) + ends * (not block.endswith(b"\n"))
    fields = plain.split(FIELD_END)[:-1]
    found = fields[width :: width + 1]
    is_even = plain.count(RECORD_END) == found.count(RECORD_END) == len(found) == len(fields) / (width + 1)
    is_blank = width == 1 and ("" in fields or b'""' in block)  # perhaps a blank line, which is no record
    return fields if is_even and not is_blank else None


def count(block: bytes, width: int, dialect: Dialect = COMMAS) -> int | None:
    """How many records `split` finds in a block, told in a third of the time; None where it gives None."""
    if width == 1:
        return None if (fields := split(block, width, dialect)) is None else len(fields) // 2
    if (parts := _parts(block, dialect)) is None:
        return None
    lines = '"'.join(parts[::2]).removesuffix("\n").split("\n")
    return len(lines) if {line.count(dialect.delimiter) for line in lines} == {width - 1} else None


def _parts(block: bytes, dialect: Dialect) -> list[str] | None:
    """The text of a block cut at its quotes; None if it cannot be sound.

    A sound block has what is outside quotes at every second place, and each of these parts is empty (a doubled
    quote) or begins and ends with a separator. `csv` does not tell: it takes `a"b` for a field.
    """
    if len(block) > MAX_FIELD or b"\0" in block or (b"\r" in block and block.count(b"\r") != block.count(b"\r\n")):
        return None
    try:
        text = block.decode(dialect.encoding)
    except UnicodeDecodeError:
        return None
    parts = text.split('"')
    is_odd = FIELD_END in text or RECORD_END in text or len(parts) % 2 == 0
    return None if is_odd or not _are_separators(parts[::2], dialect.delimiter) else parts


def _are_separators(outside: list[str], delimiter: str) -> bool:
    """Whether each part that stands outside quotes is empty, or has separators where it meets them."""
    ends, begins = f"{delimiter}\n", f"{delimiter}\r\n"
    return all(not part or part[-1] in ends for part in outside[:-1]) and all(
        not part or part[0] in begins for part in outside[1:]
    )
