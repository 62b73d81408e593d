"""Conditions and places as SQL: what `where` means, and the rows behind a row in an order."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from foundation.errors import QueryError
from foundation.schema.validator import Value

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
        return _LISTS[word](term, [fitting(term, one) for one in value])
    if word in ("contains", "startswith") and not (isinstance(value, str) and term.kind in ("TEXT", "")):
        raise QueryError(f"{term.name}__{word} looks for a text in a column of text, got {value!r} and {term.kind}")
    fits = fitting(term, value)
    if fits is None and word not in ("", "not"):
        raise QueryError(f"{term.name}__{word} takes a value; None, a missing value, is neither more nor less")
    return _WORDS[word](term, fits)


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


_LISTS: dict[str, Callable[[Term, list[Value]], Condition]] = {"in": _among, "between": _between}
_WORDS: dict[str, Callable[[Term, Value], Condition]] = {
    "": _comparing("IS"),
    "not": _comparing("IS NOT"),
    "gt": _comparing(">"),
    "gte": _comparing(">="),
    "lt": _comparing("<"),
    "lte": _comparing("<="),
    "startswith": _starting,
    "contains": lambda term, value: Condition(f"instr({term.sql}, ?) > 0", (value,)),
}
WORDS = (*filter(None, _WORDS), *_LISTS)


def fitting(term: Term, value: Any) -> Value:
    """*value* as the column holds it: times as text, and a text that reads as a number as that number.

    Raises QueryError for one that the column cannot hold.
    """
    if isinstance(value, date):
        value = value.isoformat(" ", "seconds") if isinstance(value, datetime) else value.isoformat()
    if value is None:
        return None
    try:
        found = _FITTING[term.kind](value)
    except (TypeError, ValueError):
        raise QueryError(f"{term.name} holds {_HELD[term.kind]}, got {value!r}") from None
    if isinstance(found, float) and math.isnan(found):
        raise QueryError(f"{term.name}: nan is no value; None finds missing ones")
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        raise QueryError(f"{term.name}: {found} is beyond 64 bits, no column holds it")
    if isinstance(found, str) and any("\ud800" <= c <= "\udfff" for c in found):
        raise QueryError(f"{term.name}: {found!r} has half a character, no column holds it")
    return found


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value) if isinstance(value, str) else operator.index(value)


def _real(value: Any) -> float:
    if isinstance(value, bool | bytes):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _any(value: Any) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return value


_FITTING: dict[str, Callable[[Any], Value]] = {"INTEGER": _integer, "REAL": _real, "TEXT": _text, "": _any}
_HELD = {"INTEGER": "whole numbers", "REAL": "numbers", "TEXT": "text", "": "numbers or text"}


def reverse(order: Order) -> Order:
    """The same order from its end."""
    return [(term, not down) for term, down in order]


def order_sql(order: Order) -> str:
    """What stands behind ORDER BY."""
    return ", ".join(f"{term.sql}{' DESC' if down else ''}" for term, down in order)


def behind(order: Order, place: Sequence[Value]) -> list[Condition]:
    """The rows behind *place* in this order, as stretches that follow each other, each one range of an index.

    For the order `a, -b` they are `a IS ? AND b < ?`, then, if b may be missing, `a IS ? AND b IS NULL`, then `a > ?`.
    A missing value comes before all others, as SQLite sorts.
    """
    stretches = []
    for i in reversed(range(len(order))):
        same = [f"{term.sql} {'=' if term.required else 'IS'} ?" for term, _ in order[:i]]
        for sql, values in _after(*order[i], place[i]):
            stretches.append(Condition(" AND ".join([*same, sql]), (*place[:i], *values)))
    return stretches


def _after(term: Term, down: bool, value: Value) -> Iterator[Condition]:
    if value is None:
        if not down:
            yield Condition(f"{term.sql} IS NOT NULL", ())
        return
    yield Condition(f"{term.sql} {'<' if down else '>'} ?", (value,))
    if down and not term.required:
        yield Condition(f"{term.sql} IS NULL", ())


def either(conditions: Sequence[Condition]) -> Condition:
    """The rows that meet any of the conditions."""
    sql = " OR ".join(f"({one.sql})" for one in conditions) or "0"
    return Condition(f"({sql})", tuple(value for one in conditions for value in one.values))


def both(conditions: Sequence[Condition]) -> Condition:
    """The rows that meet all of the conditions."""
    sql = " AND ".join(one.sql for one in conditions) or "1"
    return Condition(sql, tuple(value for one in conditions for value in one.values))


def same_as(order: Order, place: Sequence[Value]) -> Condition:
    """The rows that stand at *place* themselves."""
    return Condition(" AND ".join(f"{term.sql} IS ?" for term, _ in order), tuple(place))
