"""One record at a time, with care: tell sound records from damaged ones, and where a damaged one ends.

`csv` cannot do this: it says nothing of a quote inside an unquoted field, and after a stray quote it swallows the
lines that follow. Here the lines of a record are kept, and reading goes on at the next line that holds, that is,
at which a record with the right number of fields begins.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

MAX_FIELD = 4 * 2**20  # bytes; a larger field is damage
MAX_RECORD = 16 * 2**20  # bytes; how far a quote may stay open, and the most that is kept of one record

_DAMAGE = {
    "stray_quote": "a quote where none may be; quotes stand around a whole field and are doubled inside it",
    "unclosed_quote": "a quoted field does not end; its closing quote is missing",
    "bare_carriage_return": "a carriage return without a line feed, outside quotes",
    "field_too_large": f"a field of more than {MAX_FIELD:,} bytes",
}
_KEPT = 1_000  # characters or bytes of a bad value shown beside its message; the record itself is kept whole
_SPECIAL = re.compile(rb'[,"\r\n]')


class Error(NamedTuple):
    """One reason why a record is refused."""

    stage: str
    code: str
    column: str | None
    value: str | None
    message: str


class Span(NamedTuple):
    """One record: the lines from `first` to before `stop`, its fields, and what is wrong with it.

    Of a damaged record the fields are those before the damage, with U+FFFD for what is no UTF-8.
    """

    first: int
    stop: int
    fields: list[str]
    errors: list[Error]


class _Scanned(NamedTuple):
    """What the grammar says of the record that begins at a line; `width` counts its fields, `fields` holds no more than there are columns."""

    lines: int
    width: int
    fields: list[bytes]
    damage: str | None


class Scanner:
    """Reads records from *lines*, which *more* extends by one when a record needs it (empty: there is none)."""

    def __init__(self, lines: list[bytes], more: Callable[[], bytes], columns: list[str]) -> None:
        self.lines = lines
        self.used = 0  # lines that belong to the records returned, and blank ones between them
        self._more = more
        self._columns = columns

    def spans(self, limit: int) -> list[Span]:
        """At most *limit* records that begin in the lines given; blank lines are no records."""
        found: list[Span] = []
        end = len(self.lines)
        while self.used < end and len(found) < limit:
            if self.lines[self.used].strip(b"\r\n"):
                found.append(self._span(self.used))
                self.used = found[-1].stop
            else:
                self.used += 1
        return found

    def scan(self, at: int) -> _Scanned:
        """The record that begins at line *at*, by the strict grammar."""
        body = self.lines[at].removesuffix(b"\n").removesuffix(b"\r")
        if b'"' in body or b"\r" in body or len(body) > MAX_FIELD:
            return self._scan_fields(at)
        count = body.count(b",") + 1
        return _Scanned(1, count, body.split(b",", len(self._columns))[: len(self._columns)], None)

    def _scan_fields(self, at: int) -> _Scanned:
        fields: list[bytes] = []
        row, start, count, large = at, 0, 0, False
        while True:
            if self.lines[row][start : start + 1] == b'"':
                value, row, start = self._quoted(row, start + 1)
                if start < 0:
                    code = "field_too_large" if len(self.lines[at]) > MAX_FIELD else "unclosed_quote"
                    return _Scanned(row - at + 1, count, fields, code)
            else:
                found = _SPECIAL.search(self.lines[row], start)
                stop = found.start() if found else len(self.lines[row])
                value, start = self.lines[row][start:stop], stop
            count += 1
            large |= len(value) > MAX_FIELD
            if count <= len(self._columns):
                fields.append(value)
            rest = self.lines[row][start : start + 2]
            if not rest or rest[:1] == b"\n" or rest == b"\r\n":
                return _Scanned(row - at + 1, count, fields, "field_too_large" if large else None)
            if rest[:1] != b",":
                code = "bare_carriage_return" if rest[:1] == b"\r" else "stray_quote"
                return _Scanned(row - at + 1, count, fields, code)
            start += 1

    def _quoted(self, row: int, start: int) -> tuple[bytes, int, int]:
        """A quoted field from behind its quote: its value, and where it ends; -1 when it does not."""
        parts: list[bytes] = []
        size = 0
        while True:
            line = self.lines[row]
            stop = line.find(b'"', start)
            if stop < 0:
                parts.append(line[start:])
                size += len(line)
                if size > MAX_RECORD or not self._has(row + 1):
                    return b"", row, -1
                row, start = row + 1, 0
            elif line[stop + 1 : stop + 2] == b'"':
                parts.append(line[start : stop + 1])
                start = stop + 2
            else:
                parts.append(line[start:stop])
                return b"".join(parts), row, stop + 1

    def _span(self, at: int) -> Span:
        scanned = self.scan(at)
        if scanned.width == len(self._columns) and scanned.damage is None:
            fields, errors = _decode(self._columns, scanned.fields)
            return Span(at, at + scanned.lines, fields, errors)
        lines, damage = self._cut(at, scanned)
        before = [field[:_KEPT].decode(errors="replace") for field in scanned.fields]
        if damage:
            return Span(at, at + lines, before, [Error("parse", damage, None, None, _DAMAGE[damage])])
        code = "too_few_fields" if scanned.width < len(self._columns) else "too_many_fields"
        message = f"{scanned.width:,} fields where the header has {len(self._columns)}"
        return Span(at, at + lines, before, [Error("parse", code, None, None, message)])

    def _cut(self, at: int, scanned: _Scanned) -> tuple[int, str | None]:
        """How many lines a record that does not hold takes with it, and its damage; None: a wrong field count."""
        wanted = len(self._columns)
        if scanned.damage == "field_too_large" and scanned.width == wanted:
            return scanned.lines, scanned.damage
        if scanned.damage is None and scanned.lines == 1:
            return (2, "stray_quote") if self._is_torn(at, scanned.width) else (1, None)
        if scanned.damage is None and not any(map(self._holds, range(at + 1, at + scanned.lines))):
            return scanned.lines, None
        # The quotes cannot be trusted any more. The separators of a line can: the record takes lines until it has
        # as many as the header, or until the next line holds.
        separators, lines = self.lines[at].count(b","), 1
        while separators < wanted - 1 and self._has(at + lines) and not self._holds(at + lines):
            separators += self.lines[at + lines].count(b",")
            lines += 1
        seen_inside = scanned.damage is not None and scanned.lines <= lines
        return lines, scanned.damage if seen_inside else "unclosed_quote"

    def _is_torn(self, at: int, count: int) -> bool:
        """Whether the rest of a short line is the next one: a field of two lines that lost its first quote."""
        if count >= len(self._columns) or not self._has(at + 1):
            return False
        return count + self.lines[at + 1].count(b",") == len(self._columns) and self.scan(at + 1).damage is not None

    def _holds(self, at: int) -> bool:
        scanned = self.scan(at)
        return scanned.damage is None and scanned.width == len(self._columns)

    def _has(self, at: int) -> bool:
        if at == len(self.lines) and (line := self._more()):
            self.lines.append(line)
        return at < len(self.lines)


def scan_header(line: bytes, more: Callable[[], bytes]) -> tuple[list[bytes], list[bytes]]:
    """The names in a header that begins with *line*, and its lines; no names when it is damaged."""
    scanner = Scanner([line], more, [""] * 10_000)
    scanned = scanner._scan_fields(0)
    return scanner.lines, [] if scanned.damage else scanned.fields


def _decode(columns: list[str], raw_fields: list[bytes]) -> tuple[list[str], list[Error]]:
    fields: list[str] = []
    errors: list[Error] = []
    for column, raw in zip(columns, raw_fields, strict=True):
        try:
            fields.append(raw.decode())
        except UnicodeDecodeError as error:
            fields.append(raw.decode(errors="replace"))
            message = f"byte {error.start + 1} of the field is not UTF-8: {error.reason}"
            errors.append(Error("decode", "invalid_utf8", column, _shown(raw), message))
        if b"\0" in raw:
            errors.append(Error("decode", "nul_byte", column, _shown(raw), "a NUL byte in the field"))
    return fields, errors


def _shown(raw: bytes) -> str:
    return raw[:_KEPT].decode(errors="backslashreplace").replace("\0", "\\x00")
