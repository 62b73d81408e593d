"""Where a page begins and ends: the tokens that lead from page to page, and the rows that a token leads to."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from foundation.errors import QueryError
from foundation.query.conditions import Condition, Order, behind, either, reverse, same_as
from foundation.schema.validator import Row, Value

Fetch = Callable[[Order, Sequence[Condition], int, int], list[Row]]  # order, stretches, how many, how many left out


class Token(NamedTuple):
    """Where a page begins, or with *back* where it ends, in which state of the data."""

    version: int
    query: str  # the digest of what was asked
    back: bool
    start: int  # rows before that place
    total: int
    place: tuple[Value, ...]  # the values of the row there by which it is sorted; none: `start` alone says where
    same: int  # how many rows the same as that one lie before the place, if rows have no key

    def text(self) -> str:
        """The token as it is handed out: opaque, with a checksum."""
        told = json.dumps(self, default=lambda blob: {"hex": blob.hex()}).encode()
        return base64.urlsafe_b64encode(hashlib.sha256(told).digest()[:6] + told).decode().rstrip("=")


def read_token(text: str) -> Token:
    """The token of a text; raises QueryError when it is none, or not as it was handed out."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if hashlib.sha256(raw[6:]).digest()[:6] != raw[:6]:
            raise ValueError
        version, query, back, start, total, place, same = json.loads(
            raw[6:], object_hook=lambda blob: bytes.fromhex(blob["hex"])
        )
    except (binascii.Error, ValueError, TypeError):
        raise QueryError(f"{text!r} is no token of a page; take it from `next` or `previous` of a page") from None
    return Token(version, query, back, start, total, tuple(place), same)


def fits(token: Token, query: str, version: int) -> Token:
    """The token, if it belongs to this query and this state of the data; raises QueryError otherwise."""
    if token.query != query:
        raise QueryError("the token belongs to a query with another table, filter or order; begin without one")
    if token.version != version:
        raise QueryError("the data has changed since the token was made; begin again with the first page")
    return token


def digest(*told: Any) -> str:
    """Twelve hexadecimal digits that name what was asked."""
    return hashlib.sha256(json.dumps(told, default=repr).encode()).hexdigest()[:12]


class Asking(NamedTuple):
    """How a query reads its rows, each with the values it is sorted by in front."""

    fetch: Fetch
    order: Order
    has_key: bool  # no two rows are the same in the order
    is_indexed: bool  # an index begins with the column that sorts first


class Found(NamedTuple):
    """The rows of a page without the values in front, and the tokens before and behind it."""

    rows: tuple[Row, ...]
    start: int
    previous: str | None
    next: str | None


def read_page(asking: Asking, token: Token, size: int) -> Found:
    """The *size* rows behind the token's place, or before it."""
    if token.place and token.back:
        found = asking.fetch(*_stretches(asking, reverse(asking.order), token.place), size + 1, 0)
        rows, more = found[:size][::-1], True
        start = token.start - len(rows)
    elif token.place:
        found = asking.fetch(*_stretches(asking, asking.order, token.place), size + 1, token.same)
        rows, more, start = found[:size], len(found) > size, token.start
    else:
        start = max(token.start - size, 0) if token.back else token.start
        wanted = token.start - start if token.back else size
        found = asking.fetch(asking.order, [], wanted + 1, start)
        rows, more = found[:wanted], len(found) > wanted
    n = len(asking.order)
    if not rows:
        return Found((), start, None, None)
    behind_it = _behind_page(asking, token, rows, start) if more else None
    before_it = token._replace(
        back=True, start=start, place=rows[0][:n] if asking.has_key else (), same=0
    ) if start else None  # fmt: skip
    return Found(
        tuple(row[n:] for row in rows), start,
        before_it and before_it.text(), behind_it and behind_it.text(),
    )  # fmt: skip


def _stretches(asking: Asking, order: Order, place: Sequence[Value]) -> tuple[Order, list[Condition]]:
    """The rows behind a place: stretch by stretch where an index leads to each, else all in one reading."""
    stretches = behind(order, place)
    if asking.has_key:
        return order, stretches if asking.is_indexed else [either(stretches)]
    return order, [either([*stretches, same_as(order, place)])]  # `same` of the last kind are left out again


def _behind_page(asking: Asking, token: Token, rows: Sequence[Row], start: int) -> Token:
    """The place behind the last of *rows*; where it cannot be told among rows that are the same, only its number."""
    n = len(asking.order)
    place, end = rows[-1][:n], start + len(rows)
    if asking.has_key:
        return token._replace(back=False, start=end, place=place, same=0)
    same = sum(row[:n] == place for row in rows)
    if same == len(rows) and start:
        same = token.same + same if token.place == place else 0
    return token._replace(back=False, start=end, place=place if same else (), same=same)
