"""Conditions as SQL: what `where` means, and the rows after a row in an order.

They are written so that every engine understands them; SQLite's `IS` between two values is one of its own.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from foundation.errors import QueryError
from foundation.schema import Value

_MOST = 10_000  # values of one `in`; SQLite binds at least three times as many


class Term(NamedTuple):
    """A column as a query knows it: its name there, the SQL for it, INTEGER, REAL, TEXT or nothing known."""

    name: str
    sql: str
    kind: str
    required: bool
    is_time: bool = False


class Condition(NamedTuple):
    """SQL and what is bound to its question marks."""

    sql: str
    values: tuple[Value, ...]


Order = Sequence[tuple[Term, bool]]  # columns, each with whether it descends


def condition(term: Term, word: str, value: Any) -> Condition:
    """What `column__word=value` asks for; an empty *word* asks for equality.

    Raises QueryError for a value that the column cannot hold or the word cannot use.
    """
    if word in ("in", "between"):
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise QueryError(f"{term.name}__{word} takes a list of values, got {value!r}")
        return _LISTS[word](term, [coerce(term, item) for item in value])
    if word in ("contains", "startswith") and not (isinstance(value, str) and term.kind in ("TEXT", "")):
        raise QueryError(f"{term.name}__{word} looks for a text in a column of text, got {value!r} and {term.kind}")
    coerced = coerce(term, value)
    if coerced is None and word not in ("", "not"):
        raise QueryError(f"{term.name}__{word} takes a value; None, a missing value, is neither more nor less")
    return _WORDS[word](term, coerced)


def _starting(term: Term, text: Value) -> Condition:
    """As a range, which an index can be entered with: SQLite compares texts by their code points."""
    begin = str(text)
    last = begin.rstrip("\U0010ffff")
    if not last:  # nothing is greater than what begins so
        return Condition(f"{term.sql} >= ?", (begin,))
    following = ord(last[-1]) + 1
    end = last[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)
    return Condition(f"({term.sql} >= ? AND {term.sql} < ?)", (begin, end))


def _among(term: Term, values: list[Value]) -> Condition:
    if len(values) > _MOST:
        raise QueryError(f"{term.name}__in takes at most {_MOST:,} values, got {len(values):,}; use db.sql and a join")
    given = tuple(value for value in values if value is not None)
    missing = f" OR {term.sql} IS NULL" if len(given) < len(values) else ""
    return Condition(f"({term.sql} IN ({', '.join('?' * len(given))}){missing})", given)


def _between(term: Term, values: list[Value]) -> Condition:
    if len(values) != 2 or None in values:
        raise QueryError(f"{term.name}__between takes the least and the greatest value, got {values!r}")
    return Condition(f"{term.sql} BETWEEN ? AND ?", tuple(values))


def _comparing(sign: str) -> Callable[[Term, Value], Condition]:
    return lambda term, value: Condition(f"{term.sql} {sign} ?", (value,))


def _equal(term: Term, value: Value) -> Condition:
    return Condition(f"{term.sql} IS NULL", ()) if value is None else Condition(f"{term.sql} = ?", (value,))


def _unequal(term: Term, value: Value) -> Condition:
    if value is None:
        return Condition(f"{term.sql} IS NOT NULL", ())
    return Condition(f"({term.sql} <> ? OR {term.sql} IS NULL)", (value,))


_LISTS: dict[str, Callable[[Term, list[Value]], Condition]] = {"in": _among, "between": _between}
_WORDS: dict[str, Callable[[Term, Value], Condition]] = {
    "": _equal,
    "not": _unequal,
    "gt": _comparing(">"),
    "gte": _comparing(">="),
    "lt": _comparing("<"),
    "lte": _comparing("<="),
    "startswith": _starting,
    "contains": lambda term, value: Condition(f"instr({term.sql}, ?) > 0", (value,)),
}
WORDS = (*filter(None, _WORDS), *_LISTS)
_KINDS = {"INTEGER": "whole numbers", "REAL": "numbers", "TEXT": "text", "": "numbers or text"}


def coerce(term: Term, value: Any) -> Value:
    """*value* as the column holds it: times as text, and a text that reads as a number as that number.

    Raises QueryError for one that the column cannot hold.
    """
    if isinstance(value, date):
        value = value.isoformat(" ", "seconds") if isinstance(value, datetime) else value.isoformat()
    if value is None:
        return None
    try:
        coerced = _held(term.kind, value)
    except (TypeError, ValueError):
        raise QueryError(f"{term.name} holds {_KINDS[term.kind]}, got {value!r}") from None
    if isinstance(coerced, float) and math.isnan(coerced):
        raise QueryError(f"{term.name}: nan is no value; None finds missing ones")
    if isinstance(coerced, int) and not -(2**63) <= coerced < 2**63:
        raise QueryError(f"{term.name}: {coerced} is beyond 64 bits, no column holds it")
    if isinstance(coerced, str) and any("\ud800" <= c <= "\udfff" for c in coerced):
        raise QueryError(f"{term.name}: {coerced!r} has half a character, no column holds it")
    return coerced


def _held(kind: str, value: Any) -> Value:
    """*value* as a column of this kind holds it; raises TypeError or ValueError for what it cannot hold."""
    if kind == "INTEGER" and not isinstance(value, bool):
        return int(value) if isinstance(value, str) else operator.index(value)
    if kind == "REAL" and not isinstance(value, bool | bytes):
        return float(value)
    if isinstance(value, str) or (not kind and isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise TypeError


def after(order: Order, place: Sequence[Value], *, place_too: bool = False) -> list[Condition]:
    """The rows after *place* in this order, as ranges that follow each other, each one range of an index.

    For the order `a, -b` they are `a = ? AND b < ?`, then, if b may be missing, `a = ? AND b IS NULL`, then `a > ?`.
    A missing value comes before all others, as SQLite sorts. With *place_too* the rows at *place* themselves are last.
    """
    same = [_equal(term, value) for (term, _), value in zip(order, place, strict=True)]
    steps = reversed(range(len(order)))
    ranges = [all_of([*same[:i], beyond]) for i in steps for beyond in _beyond(*order[i], place[i])]
    return [*ranges, all_of(same)] if place_too else ranges


def _beyond(term: Term, down: bool, value: Value) -> Iterator[Condition]:
    if value is None:
        if not down:
            yield _unequal(term, None)
        return
    yield _comparing("<" if down else ">")(term, value)
    if down and not term.required:
        yield _equal(term, None)


def any_of(conditions: Sequence[Condition]) -> Condition:
    """The rows that meet any of the conditions."""
    sql = " OR ".join(f"({condition.sql})" for condition in conditions) or "0"
    return Condition(f"({sql})", tuple(value for condition in conditions for value in condition.values))


def all_of(conditions: Sequence[Condition]) -> Condition:
    """The rows that meet all of the conditions."""
    sql = " AND ".join(condition.sql for condition in conditions) or "1"
    return Condition(sql, tuple(value for condition in conditions for value in condition.values))
