"""Times and numbers that a file writes in a way of its own: declared for a column, stored in the usual one.

started: Annotated[datetime, Format("%d/%m/%Y %H:%M")]      3/7/2025 8:48 → 2025-07-03 08:48:00
amount: Annotated[float, Format("1.234,56")]                1.876,15 → 1876.15
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

from foundation.errors import SchemaError

_NUMBER = re.compile(r"1([., '’]?)234(?:([.,])56)?")
_DAYS = {frozenset(parts) for parts in ("dmY", "dmy", "dbY", "dby", "dBY", "dBy")}
_HOURS = {frozenset(parts) for parts in ("", "HM", "HMS", "IMp", "IMSp")}
_WRITTEN = re.compile(  # day, month and year in any order, and perhaps a time
    r"(\d{1,4})(?P<sep>[/.-])\d{1,2}(?P=sep)(\d{1,4})(?:(?P<t>[ T])\d{1,2}:\d{2}(?P<s>:\d{2})?(?P<p> ?[AaPp][Mm])?)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Format:
    """How the values of a column are written: by the directives of `strptime`, or as the file would have 1234.56.

    A time needs its day, month and year; without hours it is midnight. Leading zeros may be left out; `%y` means
    1969 to 2068; a thousands separator may be left out of a number, but not stand elsewhere.

    Raises SchemaError for a pattern that is neither.
    """

    pattern: str

    def __post_init__(self) -> None:
        directives = _directives(self.pattern)
        known = {day | hours for day in _DAYS for hours in _HOURS}
        is_time = len(set(directives)) == len(directives) and frozenset(directives) in known
        if not is_time and not _number(self.pattern):
            raise SchemaError(
                f"Format({self.pattern!r}): write a time with day, month and year, as in %d/%m/%Y %H:%M, "
                "or a number as the file would have 1234.56, as in 1.234,56"
            )

    def suits(self, kind: type) -> bool:
        """Whether values of this type can be written so; a date has no hours, a whole number no decimals."""
        if number := _NUMBER.fullmatch(self.pattern):
            return kind is float or (kind is int and not number[2])
        return kind is datetime or (kind is date and frozenset(_directives(self.pattern)) in _DAYS)

    def read(self, text: str, kind: type) -> str:
        """The text in the usual way; raises ValueError when it is not written so."""
        if not (number := _number(self.pattern)):
            moment = datetime.strptime(text, self.pattern)
            return str(moment.date() if kind is date else moment)
        if not (match := number.fullmatch(text)):
            raise ValueError(f"{text!r} is not written like {self.pattern}")
        whole = re.sub(r"[^\d-]", "", match[1])
        return f"{whole}.{match[2]}" if match[2] else whole

    def write(self, text: str) -> str:
        """What `read` makes this text of, as far as the pattern can tell it."""
        if (match := _NUMBER.fullmatch(self.pattern)) and _number(self.pattern):
            return text.replace(".", match[2]) if match[2] else text
        with suppress(ValueError):
            return datetime.fromisoformat(text).strftime(self.pattern)
        return text


def _directives(pattern: str) -> list[str]:
    return re.findall("%(.?)", pattern)


@cache
def _number(pattern: str) -> re.Pattern[str] | None:
    """What matches numbers written like this 1234.56, its whole part and its decimals; None if it is no such one."""
    match = _NUMBER.fullmatch(pattern)
    if not match or (match[1] and match[1] == match[2]):
        return None
    group = "[ \xa0\u202f]" if match[1] == " " else re.escape(match[1])
    grouped = rf"|\d{{1,3}}(?:{group}\d{{3}})+" if group else ""
    decimals = rf"(?:{re.escape(match[2])}(\d+))?" if match[2] else "()"
    return re.compile(rf"(-?(?:\d+{grouped})){decimals}", re.ASCII)


def guess(text: str) -> list[Format]:
    """The formats in which a value like this may be written; the day before the month, where it can be both."""
    if match := _WRITTEN.fullmatch(text):
        sep, first, last = match["sep"], match[1], match[3]
        year = "%Y" if 4 in (len(first), len(last)) else "%y"
        days = [f"{year}{sep}%m{sep}%d"] if len(first) == 4 else [f"%d{sep}%m{sep}{year}", f"%m{sep}%d{sep}{year}"]
        return [Format(day + _hours(match)) for day in days]
    return [Format(pattern) for pattern in _GROUPED if (number := _number(pattern)) and number.fullmatch(text)]


_GROUPED = ("1.234", "1,234", "1 234", "1.234,56", "1,234.56", "1 234,56", "1'234.56")


def _hours(match: re.Match[str]) -> str:
    if not match["t"]:
        return ""
    seconds, half = ":%S" if match["s"] else "", match["p"]
    return match["t"] + (f"%I:%M{seconds}{' ' * half.startswith(' ')}%p" if half else f"%H:%M{seconds}")
