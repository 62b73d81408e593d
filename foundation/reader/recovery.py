"""Records one at a time where the grammar is broken: which are malformed, and where a malformed one ends.

A malformed record costs only itself: reading goes on at the next line at which a clean record begins, or that looks
as if another malformed one began there.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from foundation.errors import Code, Stage
from foundation.reader.dialect import COMMAS, Dialect
from foundation.reader.grammar import FAULTS, LINE_ENDS, MAX_FIELD, MAX_RECORD, Parsed, Parser, grammar

SHOWN = 1_000  # characters or bytes of a bad value that are kept beside its message; the record itself is kept whole
TAIL_LINES = 8  # how far a field may go on that has lost its first quote
_MALFORMED_LINES = 64  # how far a record may go on whose quotes do not match


class Error(NamedTuple):
    """One reason why a record is refused."""

    stage: str
    code: str
    column: str | None
    value: str | None
    message: str


class ParsedRecord(NamedTuple):
    """One record: the lines from `first` to before `stop`, its fields, and what is wrong with it.

    Of a malformed record the fields are those before the fault, with U+FFFD for bytes that cannot be decoded.
    """

    first: int
    stop: int
    fields: list[str]
    errors: list[Error]


class Scanner:
    """Reads records from *lines*, which *more* extends when a record needs it (by none: there are no more).

    *is_numbered*: the first column holds whole numbers, which helps to see where malformed records begin.
    """

    def __init__(
        self,
        lines: list[bytes],
        more: Callable[[], list[bytes]],
        columns: list[str],
        dialect: Dialect = COMMAS,
        *,
        is_numbered: bool = False,
    ) -> None:
        self.lines = lines
        self.used = 0  # lines that belong to the records returned, and blank ones between them
        self._parser = Parser(lines, more, len(columns), dialect.delimiter)
        self._columns, self._encoding, self._is_numbered = columns, dialect.encoding, is_numbered
        self._grammar = grammar(dialect.delimiter)
        self._unquoted = 0  # there is no quote before this line, from where a tail was looked for last

    def records(self, limit: int, *, within: int = sys.maxsize) -> list[ParsedRecord]:
        """At most *limit* records that begin in the lines given, or the first of them; blank lines are no records."""
        records: list[ParsedRecord] = []
        end = min(within, len(self.lines))
        while self.used < end and len(records) < limit:
            if self.lines[self.used] in LINE_ENDS:
                self.used += 1
            else:
                records.append(self._record(self.used))
                self.used = records[-1].stop
        return records

    def is_clean_record(self, at: int) -> bool:
        """Whether a record that the grammar allows begins at line *at*."""
        return self._parser.parse(at).is_clean

    def stray_tail(self, at: int, width: int) -> int | None:
        """Where the tail ends, from line *at*, of a text that the record of *width* fields before it has lost.

        None if there is none. A text of several lines that has lost its first quote, or got one more at the end of a
        line, makes a short record or even a clean one: `1,Ann,12 High`. Its tail gives it away, `Street",x`: no record
        begins there, and the first quote closes a field.
        """
        row = self._first_quote(at)
        if row is None or not self._grammar.closes_quote(self.lines[row]):
            return None
        if any(self._looks_like_start(line, width - 1) for line in range(at, row + 1)):
            return None
        tail = self._parser.parse(at, is_open=True)
        return at + tail.lines if not tail.fault and self._is_complete(width, tail, at) else None

    def _first_quote(self, at: int) -> int | None:
        """The first line from *at* on that has a quote, if it is near."""
        for row in range(max(at, self._unquoted), at + TAIL_LINES):
            if not self._parser.has(row) or len(self.lines[row]) > MAX_FIELD:
                return None
            if b'"' in self.lines[row]:
                return row
            self._unquoted = row + 1
        return None

    def _is_complete(self, width: int, tail: Parsed, at: int) -> bool:
        """Whether a record of *width* fields and its *tail*, which share a field, make one with all columns.

        More separators than that can be commas of the text, unless there is another record here.
        """
        extra = width + tail.width - 1 - len(self._columns)
        is_number = self._grammar.starts_with_number(self.lines[at])
        may_be_record = is_number if self._is_numbered else width == len(self._columns)
        return extra == 0 or (extra > 0 and not may_be_record and tail.width < len(self._columns))

    def _record(self, at: int) -> ParsedRecord:
        parsed = self._parser.parse(at)
        stop, fault = self._extent(at, parsed)
        if fault is None and parsed.is_clean:
            return ParsedRecord(at, stop, *decode(self._columns, parsed.fields, self._encoding))
        if fault:
            code, message = fault, FAULTS[fault]
        else:
            code = Code.TOO_FEW_FIELDS if parsed.width < len(self._columns) else Code.TOO_MANY_FIELDS
            message = f"{parsed.width:,} fields where the header has {len(self._columns)}"
        before = [field[:SHOWN].decode(self._encoding, "replace") for field in parsed.fields]
        return ParsedRecord(at, stop, before, [Error(Stage.PARSE, code, None, None, message)])

    def _extent(self, at: int, parsed: Parsed) -> tuple[int, str | None]:
        """Where a record ends and its fault; None: at most the number of its fields is wrong."""
        end = at + parsed.lines
        if not parsed.is_matched:
            stop = self._next_start(at, at + _MALFORMED_LINES, parsed.matched)
            if parsed.fault == Code.UNCLOSED_QUOTE and len(self.lines[at]) > MAX_FIELD:
                return stop, Code.FIELD_TOO_LARGE
            return stop, parsed.fault if end <= stop else Code.UNCLOSED_QUOTE
        if not parsed.is_clean and (stop := self._next_start(at, end, parsed.matched)) < end:
            return stop, Code.UNCLOSED_QUOTE
        tail = self.stray_tail(end, parsed.width)
        return (end, parsed.fault) if tail is None else (tail, Code.STRAY_QUOTE)

    def _next_start(self, at: int, end: int, matched: int) -> int:
        """The line after the malformed record at line *at*: where the next one begins, at the latest *end*.

        Within the first *matched* lines only a clean one does.
        """
        separators, size, row = 0, 0, at + 1
        while True:
            separators += self.lines[row - 1].count(self._grammar.mark)
            size += len(self.lines[row - 1])
            if row == end or size > MAX_RECORD or not self._parser.has(row):
                break
            if self.is_clean_record(row) if row <= at + matched else self._looks_like_start(row, separators):
                break
            row += 1
        while self.lines[row - 1] in LINE_ENDS:
            row -= 1
        return row

    def _looks_like_start(self, at: int, separators: int) -> bool:
        """Whether a record begins at line *at*, after a malformed one with so many separators.

        A clean record does. Of others that might, lines that could as well be a text of the record before are left
        to it. The examples of the rules below are of three columns.
        """
        line, wanted = self.lines[at], len(self._columns) - 1
        if line in LINE_ENDS:
            return False
        return (wanted > 0 and self._resembles_start(line, separators >= wanted)) or self.is_clean_record(at)

    def _resembles_start(self, line: bytes, is_complete: bool) -> bool:
        """The same for a malformed record; *is_complete*: the one before has all its separators."""
        if not is_complete and self._grammar.closes_quote(line):
            return False
        has_all_separators = line.count(self._grammar.mark) >= len(self._columns) - 1  # or more: `8,b,c,d`
        if self._is_numbered:
            is_likely = is_complete or has_all_separators or self._grammar.opens_quote(line)
            return bool(is_likely and self._grammar.starts_with_number(line))
        return has_all_separators or bool(is_complete and self._grammar.opens_quote(line))


def decode(columns: list[str], raw_fields: list[bytes], encoding: str) -> tuple[list[str], list[Error]]:
    """The fields as text, with an error for each that has bytes of no text."""
    with suppress(UnicodeDecodeError):  # all at once: as a rule there is no error
        if len(fields := b"\0".join(raw_fields).decode(encoding).split("\0")) == len(raw_fields):
            return fields, []
    fields = [raw.decode(encoding, "replace") for raw in raw_fields]
    errors: list[Error] = []
    for column, raw, text in zip(columns, raw_fields, fields, strict=True):
        if "\ufffd" not in text and "\0" not in text:
            continue
        value = raw[:SHOWN].decode(encoding, "backslashreplace").replace("\0", "\\x00")
        try:
            raw.decode(encoding)
        except UnicodeDecodeError as error:
            code = Code.INVALID_UTF8 if encoding == "utf-8" else Code.INVALID_ENCODING
            message = f"byte {error.start + 1} of the field is not {encoding.upper()}: {error.reason}"
            errors.append(Error(Stage.DECODE, code, column, value, message))
        if "\0" in text:
            errors.append(Error(Stage.DECODE, Code.NUL_BYTE, column, value, "a NUL byte in the field"))
    return fields, errors
