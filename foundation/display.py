"""How values and tables look in a notebook: plain HTML in which every value is text."""

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from foundation.errors import visible


def cell(value: Any) -> str:
    """A value as people read it: numbers with commas, NULL as a dash, characters that show nothing as escapes."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return visible(str(value), 300)
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def plain(value: Any, limit: int = 300) -> str:
    """A value of a row on one line, cut to *limit* characters; numbers without commas: they may be keys."""
    return "–" if value is None else visible(str(value), limit)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "", told: Callable[[Any], str] = cell
) -> str:
    """An HTML table with a header for each column; *told* writes the values, numbers are aligned right."""
    head = "".join(f'<th scope="col">{html.escape(visible(name))}</th>' for name in columns)
    title = f'<caption style="text-align: left">{html.escape(visible(caption))}</caption>' if caption else ""
    body = "".join(f"<tr>{''.join(_td(value, told(value)) for value in row)}</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _td(value: Any, text: str) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f'<td style="text-align: {"right" if is_number else "left"}">{html.escape(text)}</td>'
