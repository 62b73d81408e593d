"""What the columns of an unknown file hold: exactly, and in constant memory, for a temporary database sorts its texts.

SQLite keeps that in a file without a name, which goes with the connection. A column is looked at by its different
values, each once, in their order.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from foundation.errors import SourceError
from foundation.reader.dialect import COMMAS, Dialect
from foundation.reader.layout import Layout
from foundation.reader.reader import Damaged, Reader
from foundation.schema.formats import Format, guess
from foundation.schema.source import Column
from foundation.schema.validator import reader_of
from foundation.store.database import scratch, translate_sqlite_errors

WORDS = 20  # different values of a column that are kept
_BATCH = 1_000  # records or different values at a time
_MISFITS = 1_000  # different values that do not fit a type, behind which it is not considered any more
_PAIRED = 8  # columns of which pairs are tried as keys
_KINDS = (int, float, datetime, date)


@dataclass
class Reading:
    """How the values of a column fare as values of a type, written in a format."""

    kind: type
    format: Format | None = None
    misfits: int = 0  # records
    samples: list[str] = field(default_factory=list)  # different values that do not fit, the first in order
    least: Any = None
    greatest: Any = None
    unlike: int = 0  # different values that do not fit
    has_fractions: bool = False

    def __post_init__(self) -> None:
        constraints = (self.format,) if self.format else ()
        self._read = reader_of(Column("", "", self.kind, required=True, constraints=constraints))

    def judge(self, found: Sequence[tuple[str, int]]) -> None:
        """Go through some of the values, each with the number of its records."""
        if self.unlike > _MISFITS:
            return
        judged = self._read([text for text, _ in found])
        fitting = [value for value in judged if value is not None]
        if len(fitting) < len(found):
            others = [pair for pair, value in zip(found, judged, strict=True) if value is None]
            self.unlike += len(others)
            self.misfits += sum(count for _, count in others)
            self.samples += [text for text, _ in others[: WORDS - len(self.samples)]]
        if fitting:
            self.has_fractions |= self.kind is float and not all(float(value).is_integer() for value in fitting)
            self.least = min([*fitting, *([] if self.least is None else [self.least])])
            self.greatest = max([*fitting, *([] if self.greatest is None else [self.greatest])])


@dataclass
class Facts:
    """What a column holds; counts are of records unless they say otherwise."""

    at: int
    header: str
    records: int
    filled: int = 0
    blank: int = 0  # nothing but white space
    distinct: int = 0  # different values, empty ones aside
    zeros: int = 0  # digits of which the first is a needless 0
    longest: int = 0  # characters
    has_lines: bool = False
    words: list[tuple[str, int]] = field(default_factory=list)  # the first WORDS values in order, with their counts
    plain: list[Reading] = field(default_factory=list)
    formatted: list[Reading] = field(default_factory=list)  # only those that fit

    @property
    def empty(self) -> int:
        """Records without a value."""
        return self.records - self.filled

    @property
    def is_unique(self) -> bool:
        """Whether every record has a value of its own."""
        return self.records == self.distinct

    def fitting(self) -> Reading | None:
        """The first type without a format that all values fit."""
        return next((r for r in self.plain if self.filled and not r.misfits), None)


_ZERO = re.compile(r"-?0\d+|-0", re.ASCII)


class Survey:
    """A file, read once, of which one can ask; `damaged` counts records that cannot be read, with the first of them.

    Raises SourceError when it is no CSV file with records.
    """

    def __init__(self, path: Path, dialect: Dialect = COMMAS) -> None:
        self._path, self.records, self.damaged = path, 0, 0
        self.first_damaged: Damaged | None = None
        self._connection = scratch()
        try:
            with Reader(path, Layout(dialect=dialect)) as reader, translate_sqlite_errors(path):
                self.header = reader.header
                self._fill(reader)
            if not self.records:
                raise SourceError("empty_file", f"{path}: no record that can be read; nothing can be learned from it")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the temporary database."""
        self._connection.close()

    def _fill(self, reader: Reader) -> None:
        width = len(self.header)
        self._connection.execute(f"CREATE TABLE file ({', '.join(f'c{at} TEXT' for at in range(width))})")
        self._connection.execute("BEGIN IMMEDIATE")
        insert = f"INSERT INTO file VALUES ({', '.join('?' * width)})"
        while chunk := reader.chunk(_BATCH):
            self._connection.executemany(insert, chunk.rows)
            self.records += len(chunk.rows)
            self.damaged += len(chunk.damaged)
            self.first_damaged = self.first_damaged or next(iter(chunk.damaged), None)
        self._connection.execute("COMMIT")

    def column(self, at: int) -> Facts:
        """Look at all values of the column at this place."""
        facts = Facts(at, self.header[at], self.records, plain=[Reading(kind) for kind in _KINDS])
        for found in self._values(at):
            _count(facts, found)
            for reading in facts.plain:
                reading.judge(found)
        decimals = facts.plain[1]
        guessed = dict.fromkeys(form for text in decimals.samples for form in guess(text))
        if guessed and not facts.fitting():
            readings = [
                Reading(kind, form) for kind in (int, float, date, datetime) for form in guessed if form.suits(kind)
            ]
            for found in self._values(at):
                for reading in readings:
                    reading.judge(found)
            facts.formatted = [reading for reading in readings if not reading.misfits]
        return facts

    def _values(self, at: int) -> Iterable[list[tuple[str, int]]]:
        with translate_sqlite_errors(self._path):
            cursor = self._connection.execute(
                f"SELECT c{at}, count(*) FROM file WHERE c{at} <> '' GROUP BY 1 ORDER BY 1"
            )
            while found := cursor.fetchmany(_BATCH):
                yield found

    def moments(self, at: int) -> int:
        """How many different values a column of timestamps has: `T` and a space in one are the same."""
        with translate_sqlite_errors(self._path):
            sql = f"SELECT count(DISTINCT replace(c{at}, 'T', ' ')) FROM file WHERE c{at} <> ''"
            return int(self._connection.execute(sql).fetchone()[0])

    def pair(self, columns: Sequence[Facts]) -> tuple[Facts, Facts] | None:
        """The first two of these columns, among few, that are different together in every record."""
        full = [facts for facts in columns if not facts.empty][:_PAIRED]
        for one, other in combinations(full, 2):
            if one.distinct * other.distinct >= self.records:
                sql = f"SELECT 1 FROM file GROUP BY c{one.at}, c{other.at} HAVING count(*) > 1 LIMIT 1"
                with translate_sqlite_errors(self._path):
                    if not self._connection.execute(sql).fetchone():
                        return one, other
        return None

    def strangers(self, at: int, keys: Iterable[Sequence[str]]) -> tuple[int, str]:
        """How many values of a column are none of these keys, and the first of them."""
        with translate_sqlite_errors(self._path):
            self._connection.execute("CREATE TEMP TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID")
            self._connection.executemany("INSERT OR IGNORE INTO keys VALUES (?)", keys)
            sql = f"SELECT count(*), min(c{at}) FROM file WHERE c{at} <> '' AND c{at} NOT IN (SELECT key FROM keys)"
            count, first = self._connection.execute(sql).fetchone()
            self._connection.execute("DROP TABLE keys")
        return count, first or ""


def _count(facts: Facts, found: Sequence[tuple[str, int]]) -> None:
    facts.filled += sum(count for _, count in found)
    facts.distinct += len(found)
    facts.words += found[: WORDS - len(facts.words)]
    for text, count in found:
        facts.longest = max(facts.longest, len(text))
        if text.isspace():
            facts.blank += count
        elif text[0] in "-0" and _ZERO.fullmatch(text):
            facts.zeros += count
        facts.has_lines = facts.has_lines or "\n" in text
