"""Where a page begins and ends: the tokens that lead from page to page, and the rows that a token leads to."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from foundation.errors import QueryError
from foundation.query.conditions import Condition, Order, after, any_of
from foundation.schema import Row, Value

Fetch = Callable[[Order, Sequence[Condition], int, int], list[Row]]  # order, ranges, how many, how many left out


class Token(NamedTuple):
    """Where a page begins, or with *back* where it ends, in which state of the data."""

    version: int
    query: str  # the digest of what was asked
    back: bool
    start: int  # rows before that place
    total: int
    place: tuple[Value, ...] = ()  # the values by which the row there is sorted; none: `start` alone says where
    same: int = 0  # how many rows the same as that one lie before the place, if rows have no key

    def text(self) -> str:
        """The token as it is handed out: opaque, with a checksum."""
        raw = json.dumps(self, default=lambda blob: {"hex": blob.hex()}).encode()
        return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()[:6] + raw).decode().rstrip("=")


def read_token(text: str, query: str, version: int) -> Token:
    """The token of a text.

    Raises QueryError when it is none, not as it was handed out, or of another query or state of the data.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if hashlib.sha256(raw[6:]).digest()[:6] != raw[:6]:
            raise ValueError
        token = Token._make(json.loads(raw[6:], object_hook=lambda blob: bytes.fromhex(blob["hex"])))
        token = token._replace(place=tuple(token.place))
    except (binascii.Error, ValueError, TypeError):
        raise QueryError(f"{text!r} is no token of a page; take it from `next` or `previous` of a page") from None
    if token.query != query:
        raise QueryError("the token belongs to a query with another table, filter or order; begin without one")
    if token.version != version:
        raise QueryError("the data has changed since the token was made; begin again with the first page")
    return token


def digest(*parts: Any) -> str:
    """Twelve hexadecimal digits that name what was asked."""
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:12]


class PageQuery(NamedTuple):
    """How a query reads its rows, each with the values it is sorted by in front."""

    fetch: Fetch
    order: Order
    has_key: bool  # no two rows are the same in the order
    is_indexed: bool  # an index begins with the column that sorts first


def read_page(query: PageQuery, token: Token, size: int) -> tuple[tuple[Row, ...], int, str | None, str | None]:
    """The *size* rows after the token's place, or before it, with what is before them and the tokens of both sides.

    The rows come without the values in front; then how many rows are before them, `previous` and `next` of the page.
    """
    wanted = min(size, token.start) if token.back else size
    start = token.start - wanted if token.back else token.start
    if token.place:
        order = [(term, down != token.back) for term, down in query.order]
        rows = query.fetch(order, _ranges(query, order, token.place), wanted + 1, token.same)
    else:
        rows = query.fetch(query.order, [], wanted + 1, start)
    has_next = token.back or len(rows) > wanted
    rows = rows[:wanted][::-1] if token.back and token.place else rows[:wanted]
    if not rows:
        return (), start, None, None
    n = len(query.order)
    first = rows[0][:n] if query.has_key else ()
    last, same = _place_after(query, token, rows, start)
    previous = token._replace(back=True, start=start, place=first, same=0)
    following = token._replace(back=False, start=start + len(rows), place=last, same=same)
    tokens = previous.text() if start else None, following.text() if has_next else None
    return tuple(row[n:] for row in rows), start, *tokens


def _ranges(query: PageQuery, order: Order, place: Sequence[Value]) -> Sequence[Condition]:
    """The rows after a place: range by range where an index leads to each, else all in one reading.

    Of rows without a key those at the place, too: `Token.same` of them are left out.
    """
    ranges = after(order, place, place_too=not query.has_key)
    return ranges if query.is_indexed else [any_of(ranges)]


def _place_after(query: PageQuery, token: Token, rows: Sequence[Row], start: int) -> tuple[tuple[Value, ...], int]:
    """The place after the last of *rows*, and how many rows there are the same; none where that cannot be known."""
    place: tuple[Value, ...] = rows[-1][: len(query.order)]
    if query.has_key:
        return place, 0
    same = sum(row[: len(place)] == place for row in rows)
    if same < len(rows) or not start:
        return place, same
    return (place, token.same + same) if token.place == place else ((), 0)
