"""Columns whose texts are all told to fit at a look, in a fraction of the time that it takes to judge each.

What a shortcut gives is what pydantic would have given, or None: then pydantic is asked. It is for the texts that sound
files are full of; whatever is rare or odd is none of its business.
"""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from foundation.schema.source import Column

_LONGEST_NUMBER = 15  # characters: a float holds so many digits as they stand
# Later ones read it as the next day's midnight (CPython, pull request 105856).
_HAS_HOUR_24 = sys.version_info >= (3, 13)
Shortcut = Callable[[Sequence[str]], Sequence[Any] | None]


def shortcut(column: Column, judge: Callable[[Sequence[str]], Sequence[Any]]) -> Shortcut | None:
    """A shortcut, if there is one, for texts of *column*, at least one, and none empty if it is optional.

    *judge* is what pydantic makes of such texts, and raises ValueError for a misfit.
    """
    is_range = all(map(_is_bound, column.constraints))
    if column.vocabulary and not column.constraints:
        words = frozenset(column.vocabulary)
        return lambda texts: texts if words.issuperset(texts) else None
    if column.kind is str and not column.constraints:
        return _texts if column.required else lambda texts: texts
    if column.kind is datetime and not column.constraints:
        return _timestamps
    if column.kind in (int, float) and is_range:
        plain = _whole_numbers if column.kind is int else _decimals
        return lambda texts: _within(plain(texts), judge)
    return None


def _is_bound(constraint: object) -> bool:
    """Whether all values between two that meet the constraint meet it, too."""
    names = {field.name for field in fields(constraint)} if is_dataclass(constraint) else set()
    return bool(names) and names <= {"gt", "ge", "lt", "le"}


def _timestamps(texts: Sequence[str]) -> Sequence[str] | None:
    """These as they are if all look like `2025-01-30 08:15:00`, for which `fromisoformat` knows the calendar."""
    joined, count = "\n".join(texts), len(texts)
    dashes, colons, ends = "-" * count, ":" * count, "\n" * (count - 1)
    if not (
        (len(joined), joined.count("\n"), joined[19::20]) == (20 * count - 1, count - 1, ends)
        and (joined[4::20], joined[7::20], joined[10::20]) == (dashes, dashes, " " * count)
        and (joined[13::20], joined[16::20]) == (colons, colons)
    ):
        return None
    try:
        deque(map(datetime.fromisoformat, texts), 0)
    except ValueError:
        return None
    return None if _HAS_HOUR_24 and " 24:" in joined else texts


def _texts(texts: Sequence[str]) -> Sequence[str] | None:
    return texts if all(texts) and not any(map(str.isspace, texts)) else None


def _whole_numbers(texts: Sequence[str]) -> list[int] | None:
    digits = "".join(texts)
    if not (digits.isascii() and digits.isdecimal()):
        return None
    try:
        return list(map(int, texts))
    except ValueError:  # empty, or longer than Python reads
        return None


def _decimals(texts: Sequence[str]) -> list[float] | None:
    joined, digits = f",{','.join(texts)},", "".join(texts).replace(".", "")
    if not (digits.isascii() and digits.isdecimal()) or ",." in joined or ".," in joined:
        return None
    if max(map(len, texts)) > _LONGEST_NUMBER:
        return None
    try:
        return list(map(float, texts))
    except ValueError:  # empty, two points, a comma
        return None


def _within(values: list[Any] | None, judge: Callable[[Sequence[str]], Sequence[Any]]) -> list[Any] | None:
    """The values if the least and the greatest are within the bounds, which *judge* knows: then so are all."""
    if not values:
        return values
    try:
        judge([repr(min(values)), repr(max(values))])
    except ValueError:
        return None
    return values
