"""What the columns of an unknown file hold: exactly, and in constant memory, for a temporary database sorts its texts.

A column is looked at by its different values, each once, in their order.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from foundation.errors import Code, SourceError
from foundation.reader import COMMAS, Damaged, Dialect, Layout, Reader
from foundation.schema import Column, Format, guess, reader_of
from foundation.store import Connection, scratch, translate_sqlite_errors

WORDS = 20  # different values of a column that are kept
_BATCH = 1_000  # records or different values at a time
_PAIRED = 8  # columns of which pairs are tried as keys
_ZERO = re.compile(r"-?0\d+|-0", re.ASCII)


@dataclass
class TypeFit:
    """How the values of a column fit a type, written in a format, as the validator of a load sees it."""

    kind: type
    format: Format | None = None
    misfits: int = 0  # records whose value does not fit
    samples: list[str] = field(default_factory=list)  # the different values that do not
    min: Any = None
    max: Any = None
    has_fractions: bool = False

    def __post_init__(self) -> None:
        constraints = (self.format,) if self.format else ()
        self._read = reader_of(Column("", "", self.kind, required=True, constraints=constraints))

    @property
    def is_given_up(self) -> bool:
        """Whether so many different values do not fit that nobody would take them for exceptions."""
        return len(self.samples) > WORDS

    def add(self, counts: Sequence[tuple[str, int]]) -> None:
        """Go through some of the values, each with the number of its records, until too many do not fit."""
        if self.is_given_up:
            return
        fitting = []
        for (text, count), value in zip(counts, self._read([text for text, _ in counts]), strict=True):
            if value is not None:
                fitting.append(value)
                continue
            self.misfits += count
            self.samples.append(text)
        if fitting:
            bounds = [*fitting, *(value for value in (self.min, self.max) if value is not None)]
            self.min, self.max = min(bounds), max(bounds)
            self.has_fractions |= self.kind is float and not all(float(value).is_integer() for value in fitting)


@dataclass
class ColumnFacts:
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
    plain: list[TypeFit] = field(default_factory=list)  # the types without a format
    formatted: list[TypeFit] = field(default_factory=list)  # those with one that all values fit

    @property
    def empty(self) -> int:
        """Records without a value."""
        return self.records - self.filled

    def fitting(self) -> TypeFit | None:
        """The first type without a format that all values fit."""
        return next((fit for fit in self.plain if self.filled and not fit.misfits), None)

    def add(self, counts: Sequence[tuple[str, int]]) -> None:
        """Count some of the different values in, each with the number of its records."""
        self.filled += sum(count for _, count in counts)
        self.distinct += len(counts)
        self.words += counts[: WORDS - len(self.words)]
        self.blank += sum(count for text, count in counts if text.isspace())
        self.zeros += sum(count for text, count in counts if _ZERO.fullmatch(text))
        self.longest = max(self.longest, *(len(text) for text, _ in counts))
        self.has_lines = self.has_lines or any("\n" in text for text, _ in counts)


@contextmanager
def scan_columns(path: Path, dialect: Dialect = COMMAS) -> Iterator["ColumnScan"]:
    """Read a file once, into a temporary database; raises SourceError when it is no CSV file with records."""
    with closing(scratch()) as connection, translate_sqlite_errors(path):
        with Reader(path, Layout(dialect=dialect)) as reader:
            scan = ColumnScan(connection, reader)
        if not scan.records:
            raise SourceError(Code.EMPTY_FILE, f"{path}: no record that can be read; nothing can be learned from it")
        yield scan


class ColumnScan:
    """The columns of a file, which can be asked for; `damaged` counts records that cannot be read."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self._connection, self.header, self.records, self.damaged = connection, reader.header, 0, 0
        self.first_damaged: Damaged | None = None
        columns = [f"c{at}" for at in range(len(self.header))]
        self._connection.execute(f"CREATE TABLE file ({', '.join(f'{column} TEXT' for column in columns)})")
        self._connection.execute("BEGIN IMMEDIATE")
        while chunk := reader.chunk(_BATCH):
            self._connection.executemany(f"INSERT INTO file VALUES ({', '.join('?' * len(columns))})", chunk.rows)
            self.records += len(chunk.rows)
            self.damaged += len(chunk.damaged)
            self.first_damaged = self.first_damaged or next(iter(chunk.damaged), None)
        self._connection.execute("COMMIT")

    def column(self, at: int) -> ColumnFacts:
        """Look at all values of the column at this place; at formats only if no plain type fits them."""
        facts = ColumnFacts(at, self.header[at], self.records)
        facts.plain = [TypeFit(kind) for kind in (int, float, datetime, date)]
        self._count(at, facts, *facts.plain)
        formats = dict.fromkeys(form for text in facts.plain[1].samples[:WORDS] for form in guess(text))
        if formats and not facts.fitting():
            kinds = (int, float, date, datetime)
            fits = [TypeFit(kind, form) for kind in kinds for form in formats if form.suits(kind)]
            self._count(at, *fits)
            facts.formatted = [fit for fit in fits if not fit.misfits]
        return facts

    def _count(self, at: int, *counters: ColumnFacts | TypeFit) -> None:
        """Count the different values of a column in, in their order."""
        sql = f"SELECT c{at}, count(*) FROM file WHERE c{at} <> '' GROUP BY 1 ORDER BY 1"
        cursor = self._connection.execute(sql)
        while counts := cursor.fetchmany(_BATCH):
            for counter in counters:
                counter.add(counts)

    def has_unique_times(self, at: int) -> bool:
        """Whether every record has a timestamp of its own in a column: `T` and a space in one are the same."""
        sql = f"SELECT count(DISTINCT replace(c{at}, 'T', ' ')) FROM file WHERE c{at} <> ''"
        return bool(self._row(sql)[0] == self.records)

    def pair(self, columns: Sequence[ColumnFacts]) -> tuple[ColumnFacts, ColumnFacts] | None:
        """The first two of these columns, among few, that are different together in every record."""
        full = [facts for facts in columns if not facts.empty][:_PAIRED]
        for first, second in combinations(full, 2):
            if first.distinct * second.distinct >= self.records:
                twice = f"SELECT 1 FROM file GROUP BY c{first.at}, c{second.at} HAVING count(*) > 1"
                if not self._row(f"SELECT EXISTS ({twice})")[0]:
                    return first, second
        return None

    def missing_from(self, keys: Iterable[Sequence[str]], at: int) -> tuple[int, str]:
        """How many values of a column are none of these keys, and the first of them."""
        self._connection.execute("DROP TABLE IF EXISTS keys")
        self._connection.execute("CREATE TEMP TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.executemany("INSERT OR IGNORE INTO keys VALUES (?)", keys)
        unknown = f"c{at} <> '' AND c{at} NOT IN (SELECT key FROM keys)"
        count, first = self._row(f"SELECT count(*), min(c{at}) FROM file WHERE {unknown}")
        return count, first or ""

    def _row(self, sql: str) -> Any:
        return self._connection.execute(sql).fetchone()
