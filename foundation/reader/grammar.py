"""One record by the strict grammar of RFC 4180: its fields, and the first fault in it.

The `csv` module cannot do this: it accepts a quote inside an unquoted field, and says nothing of lines.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from foundation.errors import Code

MAX_FIELD = 4 * 2**20  # bytes; a larger field is malformed
MAX_RECORD = 16 * 2**20  # bytes; a larger record is malformed, and no more of it is kept
LINE_ENDS = (b"\n", b"\r\n", b"\r")  # the last is half a line end, at the end of a file that is still growing
_LINE_COST = 64  # bytes that a line takes in memory beside its text

FAULTS: dict[str, str] = {
    Code.STRAY_QUOTE: "a quote where none may be; quotes stand around a whole field and are doubled inside it",
    Code.UNCLOSED_QUOTE: "a quoted field does not end; its closing quote is missing",
    Code.BARE_CARRIAGE_RETURN: "a carriage return without a line feed, outside quotes",
    Code.FIELD_TOO_LARGE: f"a field of more than {MAX_FIELD:,} bytes, or a record of more than {MAX_RECORD:,}",
}


class Grammar:
    """What the parts of a record look like, as patterns, where *delimiter* separates its fields."""

    def __init__(self, delimiter: str) -> None:
        self.mark = delimiter.encode()
        mark, quoted = re.escape(self.mark), rb'[^"]*+(?:""[^"]*+)*+'
        field = rb'(?:"(%b)"|([^"%b\r\n]*+))%b' % (quoted, mark, mark)
        self.field = re.compile(field)  # that another one follows
        self.fields = re.compile(rb"(?:%b)*+" % field)
        self.end = re.compile(rb'[%b"\r\n]|\Z' % mark)  # of an unquoted field
        self.after_return = re.compile(rb'[%b"\n]|\r\n|\Z' % mark)
        # A number in the first field, or what is left of one: `8,b`, `"8,b`.
        self.starts_with_number = re.compile(rb'["\0\r\d-]*\d["\0\r\d-]*%b' % mark).match
        # The first lone quote ends a field, which must have begun before: `Street",c`.
        self.closes_quote = re.compile(rb'%b(?<=[^%b])"(?:[%b\r\n]|\Z)' % (quoted, mark, mark)).match
        # The last field is quoted and goes on after the line: `8,"b`.
        self.opens_quote = re.compile(rb'(?:\A|%b)"%b\Z' % (mark, quoted)).search


grammar = cache(Grammar)


class Parsed(NamedTuple):
    """A record by the grammar: how many lines it has, its fields before the first fault, and that fault.

    `width` counts these fields; `fields` holds no more of them than there are columns. In the first `matched` lines,
    in all of them if `is_matched`, quotes match: what looks like a record inside them is most likely a quoted text.
    """

    lines: int
    width: int
    fields: list[bytes]
    fault: str | None
    matched: int
    is_matched: bool
    is_clean: bool  # no fault, and as many fields as columns


class Parser:
    """Parses records of *width* columns in *lines*, which *more* extends on demand (by none: there are no more)."""

    def __init__(self, lines: list[bytes], more: Callable[[], list[bytes]], width: int, delimiter: str) -> None:
        self.lines, self._more, self._width = lines, more, width
        self._grammar = grammar(delimiter)

    def has(self, at: int) -> bool:
        """Whether there is a line *at*, which is at most the next one."""
        if at == len(self.lines):
            self.lines += self._more()
        return at < len(self.lines)

    def parse(self, at: int, *, is_open: bool = False) -> Parsed:
        """The record that begins at line *at*; *is_open*: inside a quoted field."""
        start, width, fields = (0, 0, []) if is_open else self._leading_fields(self.lines[at])
        if start is None:
            return Parsed(1, width, fields, None, 1, is_matched=True, is_clean=width == self._width)
        row, room, fault = at, MAX_RECORD, None
        while True:
            first = row
            value, row, stop, new_fault = self._field(row, start, room, is_open=is_open)
            fault = fault or new_fault
            if stop is None:
                return Parsed(row - at + 1, width, fields, fault, first - at, is_matched=False, is_clean=False)
            room -= sum(len(line) + _LINE_COST for line in self.lines[first:row])
            is_last = self.lines[row][stop : stop + 1] != self._grammar.mark
            if len(value) > MAX_FIELD or (is_last and len(self.lines[row]) > room):
                fault = fault or Code.FIELD_TOO_LARGE
            if fault != Code.BARE_CARRIAGE_RETURN:
                width += 1
                fields += [value] if width <= self._width else []
            if is_last:
                is_clean = not fault and width == self._width
                return Parsed(row - at + 1, width, fields, fault, row - at + 1, is_matched=True, is_clean=is_clean)
            start, is_open = stop + 1, False

    def _leading_fields(self, line: bytes) -> tuple[int | None, int, list[bytes]]:
        """Where the clean fields end that a line begins with, how many they are, and those of them that are wanted.

        None in place of the end: the line is a clean record, as most are.
        """
        record = line.removesuffix(b"\n").removesuffix(b"\r") + self._grammar.mark
        clean = self._grammar.fields.match(record)
        if not clean or len(line) > MAX_FIELD:
            return 0, 0, []
        if b'"' not in clean[0]:
            fields = clean[0].split(self._grammar.mark)[:-1]
        else:
            fields = [plain or quoted.replace(b'""', b'"') for quoted, plain in self._grammar.field.findall(clean[0])]
        return None if clean.end() == len(record) else clean.end(), len(fields), fields[: self._width]

    def _field(self, row: int, start: int, room: int, *, is_open: bool) -> tuple[bytes, int, int | None, str | None]:
        """The value of one field, the line and the byte in it where it stops, and its fault.

        None in place of the byte: its quotes do not match.
        """
        if is_open or self.lines[row].startswith(b'"', start):
            value, row, stop = self._quoted_field(row, start + (not is_open), room)
            if stop is None:
                return value, row, None, Code.UNCLOSED_QUOTE
        else:
            stop = next(self._grammar.end.finditer(self.lines[row], start)).start()
            value = self.lines[row][start:stop]
        line, fault = self.lines[row], None
        if line.startswith(self._grammar.mark, stop):
            return value, row, stop, None
        if line[stop : stop + 1] == b"\r" and line[stop : stop + 2] not in LINE_ENDS:
            fault, stop = Code.BARE_CARRIAGE_RETURN, next(self._grammar.after_return.finditer(line, stop)).start()
        if (
            stop < len(line)
            and line[stop : stop + 2] not in LINE_ENDS
            and not line.startswith(self._grammar.mark, stop)
        ):
            return value, row, None, fault or Code.STRAY_QUOTE
        return value, row, stop, fault

    def _quoted_field(self, row: int, start: int, room: int) -> tuple[bytes, int, int | None]:
        """The value of a field from its first quote on, and the line and the byte after the quote that closes it."""
        parts: list[bytes] = []
        while True:
            line = self.lines[row]
            quote = line.find(b'"', start)
            if quote < 0:
                parts.append(line[start:])
                room -= len(line) + _LINE_COST
                if room < 0 or not self.has(row + 1):
                    return b"", row, None
                row, start = row + 1, 0
            elif line.startswith(b'""', quote):
                parts.append(line[start : quote + 1])
                start = quote + 2
            else:
                parts.append(line[start:quote])
                return b"".join(parts), row, quote + 1
