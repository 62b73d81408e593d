"""One record at a time, with care: tell sound records from damaged ones, and where a damaged one ends.

`csv` cannot do this: it says nothing of a quote inside an unquoted field, and after a stray quote it swallows the
lines that follow. Here the lines of a record are kept, and reading goes on at the next line that holds, that is,
at which a record with the right number of fields begins, or that looks as if a damaged one began there.
"""

from collections.abc import Callable
from typing import NamedTuple

from foundation.reader.dialect import COMMAS, Dialect, grammar, sound_line

MAX_FIELD = 4 * 2**20  # bytes; a larger field is damage
MAX_RECORD = 16 * 2**20  # bytes; a larger record is damage, and no more of it is kept

_DAMAGE = {
    "stray_quote": "a quote where none may be; quotes stand around a whole field and are doubled inside it",
    "unclosed_quote": "a quoted field does not end; its closing quote is missing",
    "bare_carriage_return": "a carriage return without a line feed, outside quotes",
    "field_too_large": f"a field of more than {MAX_FIELD:,} bytes, or a record of more than {MAX_RECORD:,}",
}
SHOWN = 1_000  # characters or bytes of a bad value that are kept beside its message; the record itself is kept whole
_LINE_ENDS = (b"\n", b"\r\n", b"\r")  # the last is half a line end, at the end of a file that is still growing
_ENDS = (b"", *_LINE_ENDS)
TORN_LINES = 8  # how far a field may go on that has lost its first quote
_DAMAGED_LINES = 64  # how far a record may go on that does not hold
_LINE_COST = 64  # bytes that a line takes in memory beside its text


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
    """What the grammar says of the record that begins at a line: its lines, its fields, the first damage.

    `width` counts the fields before the damage; `fields` holds no more of them than there are columns. Within the
    first `sure` lines a record can begin only if it is sound: so far the quotes hold.
    """

    lines: int
    width: int
    fields: list[bytes]
    damage: str | None
    sure: int = 0
    holds: bool = True  # whether all its quotes do


class Scanner:
    """Reads records from *lines*, which *more* extends when a record needs it (by none: there are no more).

    *is_numbered* tells that the first column holds whole numbers: it helps to see where damaged records begin.
    """

    def __init__(
        self, lines: list[bytes], more: Callable[[], list[bytes]], columns: list[str], dialect: Dialect = COMMAS,
        *, is_numbered: bool = False,
    ) -> None:  # fmt: skip
        self.lines = lines
        self.used = 0  # lines that belong to the records returned, and blank ones between them
        self._more = more
        self._columns = columns
        self._is_numbered = is_numbered
        self._quiet = 0  # the lines before this one, back to where a rest was looked for last, hold no quote
        self._encoding = dialect.encoding
        self._is = grammar(dialect.delimiter)
        self._sound = sound_line(dialect.delimiter, len(columns))

    def spans(self, limit: int, *, within: int | None = None) -> list[Span]:
        """At most *limit* records that begin in the lines given, or the first of them; blank lines are no records."""
        found: list[Span] = []
        end = len(self.lines) if within is None else min(within, len(self.lines))
        while self.used < end and len(found) < limit:
            if _is_blank(self.lines[self.used]):
                self.used += 1
            else:
                found.append(self._span(self.used))
                self.used = found[-1].stop
        return found

    def torn(self, at: int, width: int) -> int:
        """Where the rest ends, from line *at*, that a record of *width* fields has left behind; *at* if there is none.

        A text of several lines that has lost its first quote, or got one more at the end of a line, makes a short
        record or even a sound one. Its rest tells: no record begins there, and the first quote closes a field.
        """
        for row in range(max(at, self._quiet), at + TORN_LINES):
            if (row >= len(self.lines) and not self._has(row)) or len(line := self.lines[row]) > MAX_FIELD:
                break
            if b'"' not in line:
                self._quiet = row + 1
                continue
            if not self._is.closes.match(line) or any(self._begins(r, width - 1) for r in range(at, row + 1)):
                break
            rest = self.scan_fields(at, is_open=True)
            # Commas of the text count as separators now, unless there is another record here.
            commas = width + rest.width - len(self._columns) - 1
            is_doubtful = self._is.number.match(self.lines[at]) if self._is_numbered else width == len(self._columns)
            fits = commas == 0 or (commas > 0 and not is_doubtful and rest.width < len(self._columns))
            return at + rest.lines if fits and not rest.damage else at
        return at

    def scan_fields(self, at: int, *, is_open: bool = False) -> _Scanned:
        """The record that begins at line *at*, by the strict grammar; *is_open*: inside a quoted field."""
        start, width, fields = self._first_fields(b"" if is_open else self.lines[at])
        row, room, damage = at, MAX_RECORD, None
        while True:
            before = row
            value, row, stop = self._field(row, start, room, is_open=is_open)
            passed = self.lines[before:row]
            room -= sum(map(len, passed)) + _LINE_COST * len(passed)
            if stop < 0:
                return _Scanned(row - at + 1, width, fields, damage or "unclosed_quote", before - at, holds=False)
            rest = self.lines[row][stop : stop + 2]
            if rest[:1] == b"\r" and rest not in _LINE_ENDS:
                damage = damage or "bare_carriage_return"
                stop = self._is.behind_return.search(self.lines[row], stop).start()  # type: ignore[union-attr]  # \Z is there
                rest = self.lines[row][stop : stop + 2]
            is_last = rest in _ENDS
            if not is_last and rest[:1] != self._is.mark:
                return _Scanned(row - at + 1, width, fields, damage or "stray_quote", before - at, holds=False)
            if len(value) > MAX_FIELD or (is_last and len(self.lines[row]) > room):
                damage = damage or "field_too_large"
            width += damage != "bare_carriage_return"
            if width <= len(self._columns) and damage != "bare_carriage_return":
                fields.append(value)
            if is_last:
                return _Scanned(row - at + 1, width, fields, damage, row - at + 1)
            start, is_open = stop + 1, False

    def _first_fields(self, line: bytes) -> tuple[int, int, list[bytes]]:
        """Where the sound fields end that a line begins with, how many they are, and those of them that are wanted."""
        found = self._is.sound_fields.match(line)
        if not found or len(line) > MAX_FIELD:
            return 0, 0, []
        fields = [quoted.replace(b'""', b'"') or plain for quoted, plain in self._is.sound_field.findall(found[0])]
        return found.end(), len(fields), fields[: len(self._columns)]

    def _field(self, row: int, start: int, room: int, *, is_open: bool) -> tuple[bytes, int, int]:
        """The value of one field, and the line and the place in it where it stops; place -1 when it does not."""
        if not is_open and self.lines[row][start : start + 1] != b'"':
            found = self._is.special.search(self.lines[row], start)
            stop = found.start() if found else len(self.lines[row])
            return self.lines[row][start:stop], row, stop
        parts: list[bytes] = []
        start += not is_open
        while True:
            line = self.lines[row]
            stop = line.find(b'"', start)
            if stop < 0:
                parts.append(line[start:])
                room -= len(line) + _LINE_COST
                if room < 0 or not self._has(row + 1):
                    return b"", row, -1
                row, start = row + 1, 0
            elif line[stop + 1 : stop + 2] == b'"':
                parts.append(line[start : stop + 1])
                start = stop + 2
            else:
                parts.append(line[start:stop])
                return b"".join(parts), row, stop + 1

    def _scan(self, at: int) -> _Scanned:
        body = self.lines[at].removesuffix(b"\n").removesuffix(b"\r")
        if b'"' in body or b"\r" in body or len(body) > MAX_FIELD:
            return self.scan_fields(at)
        wanted = len(self._columns)
        return _Scanned(1, body.count(self._is.mark) + 1, body.split(self._is.mark, wanted)[:wanted], None)

    def _span(self, at: int) -> Span:
        if (fields := self._plain_fields(self.lines[at])) and self.torn(at + 1, len(fields)) == at + 1:
            return Span(at, at + 1, fields, [])
        scanned = self._scan(at)
        stop, damage = self._extent(at, scanned)
        if damage is None and scanned.width == len(self._columns):
            fields, errors = _decode(self._columns, scanned.fields, self._encoding)
            return Span(at, stop, fields, errors)
        before = [field[:SHOWN].decode(self._encoding, "replace") for field in scanned.fields]
        if damage:
            return Span(at, stop, before, [Error("parse", damage, None, None, _DAMAGE[damage])])
        code = "too_few_fields" if scanned.width < len(self._columns) else "too_many_fields"
        message = f"{scanned.width:,} fields where the header has {len(self._columns)}"
        return Span(at, stop, before, [Error("parse", code, None, None, message)])

    def _plain_fields(self, line: bytes) -> list[str] | None:
        """The fields of a line that is a whole sound record; None of any other, to save time where most lines are."""
        if not self._sound.fullmatch(line) or len(line) > MAX_FIELD or b"\0" in line:
            return None
        try:
            text, mark = line.decode(self._encoding), self._is.mark.decode()
        except UnicodeDecodeError:
            return None
        if '"' not in text:
            return text.rstrip("\r\n").split(mark)
        return [
            quoted.replace('""', '"') or plain for quoted, plain in self._is.field.findall(text.rstrip("\r\n") + mark)
        ]

    def _extent(self, at: int, scanned: _Scanned) -> tuple[int, str | None]:
        """Where a record ends and its damage; None: at most the number of its fields is wrong."""
        end = at + scanned.lines
        if scanned.holds:
            is_sound = scanned.damage is None and scanned.width == len(self._columns)
            stop = end if is_sound else self._next(at, end, scanned.sure)
            if stop < end:
                return stop, "unclosed_quote"
            stop = self.torn(end, scanned.width)
            return stop, "stray_quote" if stop > end else scanned.damage
        stop = self._next(at, at + _DAMAGED_LINES, scanned.sure)
        if scanned.damage == "unclosed_quote" and len(self.lines[at]) > MAX_FIELD:
            return stop, "field_too_large"
        return stop, scanned.damage if end <= stop else "unclosed_quote"

    def _next(self, at: int, end: int, sure: int) -> int:
        """The line behind the damaged record at line *at*: where the next one begins, at the latest *end*.

        Within the first *sure* lines only a sound one does.
        """
        separators, size, row = 0, 0, at + 1
        while True:
            separators += self.lines[row - 1].count(self._is.mark)
            size += len(self.lines[row - 1])
            if row == end or size > MAX_RECORD or not self._has(row):
                break
            if self.holds(row) if row <= at + sure else self._begins(row, separators):
                break
            row += 1
        while _is_blank(self.lines[row - 1]):
            row -= 1
        return row

    def _begins(self, at: int, separators: int) -> bool:
        """Whether a record begins at line *at*, behind a damaged one with so many separators.

        A sound record may. For a damaged one speak a number in the first field, as many separators as there must
        be, and a quoted field that goes on behind the line; against it, while the record before lacks separators,
        a quote that closes a field. Lines that could as well be a text of the record before are left to it.
        """
        line, wanted = self.lines[at], len(self._columns) - 1
        if _is_blank(line):
            return False
        is_full, is_wide, closes = (
            separators >= wanted,
            line.count(self._is.mark) >= wanted,
            bool(self._is.closes.match(line)),
        )
        if self._is_numbered:
            seems = bool(self._is.number.match(line)) and (is_full or is_wide or bool(self._is.goes_on.search(line)))
        else:
            seems = is_wide or (is_full and bool(self._is.goes_on.search(line)))
        return (bool(wanted) and seems and (is_full or not closes)) or self.holds(at)

    def holds(self, at: int) -> bool:
        """Whether a sound record begins at line *at*."""
        if self._sound.fullmatch(self.lines[at]) and len(self.lines[at]) <= MAX_FIELD:
            return True
        scanned = self._scan(at)
        return scanned.damage is None and scanned.width == len(self._columns)

    def _has(self, at: int) -> bool:
        if at == len(self.lines):
            self.lines += self._more()
        return at < len(self.lines)


def _is_blank(line: bytes) -> bool:
    return line in _LINE_ENDS


def scan_header(
    line: bytes, more: Callable[[], list[bytes]], dialect: Dialect = COMMAS
) -> tuple[list[bytes], list[str], str]:
    """The lines of a header that begins with *line*, its names, and what is wrong with it, in words."""
    scanner = Scanner([line], more, [""] * 10_000, dialect)
    scanned = scanner.scan_fields(0)
    names, errors = _decode([""] * len(scanned.fields), scanned.fields, dialect.encoding)
    damage = _DAMAGE[scanned.damage] if scanned.damage else "".join(e.message for e in errors[:1])
    return scanner.lines, names, damage


def _decode(columns: list[str], raw_fields: list[bytes], encoding: str) -> tuple[list[str], list[Error]]:
    fields = [raw.decode(encoding, "replace") for raw in raw_fields]
    errors: list[Error] = []
    for at, text in enumerate(fields):
        if "\ufffd" in text:
            try:
                raw_fields[at].decode(encoding)
            except UnicodeDecodeError as error:
                code = "invalid_utf8" if encoding == "utf-8" else "invalid_encoding"
                message = f"byte {error.start + 1} of the field is not {encoding.upper()}: {error.reason}"
                errors.append(Error("decode", code, columns[at], _shown(raw_fields[at], encoding), message))
        if "\0" in text:
            value = _shown(raw_fields[at], encoding)
            errors.append(Error("decode", "nul_byte", columns[at], value, "a NUL byte in the field"))
    return fields, errors


def _shown(raw: bytes, encoding: str) -> str:
    return raw[:SHOWN].decode(encoding, "backslashreplace").replace("\0", "\\x00")
