"""What is said of a table: its columns in figures, and the checks that its rows break."""

import math
from dataclasses import dataclass
from typing import Any, Self

from foundation.errors import visible
from foundation.pipeline import MOST, Figures
from foundation.query import Database
from foundation.store import quote

_TOP = 10  # most frequent values of a column
_FIGURES = ("count", "missing", "distinct", "least", "greatest", "mean", "sd")


@dataclass(frozen=True)
class ColumnSummary:
    """A column in figures; `distinct` is None if there are too many values to know, `top` are the most frequent."""

    count: int
    nulls: int
    distinct: int | None
    min: Any
    max: Any
    moments: tuple[float | None, ...] | None  # mean and standard deviation, of numbers
    top: list[list[Any]]
    is_approximate: bool = False

    @classmethod
    def from_rows(cls, database: Database, table: str, column: str, kind: str) -> Self:
        """Read the column, of the type *kind* in SQL."""
        c, t, total = quote(column), quote(table), "NULL" if kind == "TEXT" else f"total({quote(column)})"
        sql = f"SELECT count({c}), count(*) - count({c}), count(DISTINCT {c}), min({c}), max({c}), {total} FROM {t}"
        count, nulls, distinct, low, high, total = database.rows(sql).fetchone()
        moments, top = None, []
        if kind != "TEXT":
            mean = total / count if count else 0
            (squares,) = database.rows(f"SELECT total(({c} - ?1) * ({c} - ?1)) FROM {t}", (mean,)).fetchone()
            moments = _moments(count, total, squares)
        if distinct <= MOST and distinct < count:
            sql = f"SELECT {c}, count(*) FROM {t} WHERE {c} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_TOP:d}"
            top = [list(pair) for pair in database.rows(sql)]
        return cls(count, nulls, distinct, low, high, moments, top)

    @classmethod
    def from_figures(cls, figures: Figures, kind: str, *, share: float, is_exact: bool) -> Self:
        """What loads have kept of the column, its counts times *share*."""
        count, nulls = round(figures.count * share), round(figures.missing * share)
        distinct, is_estimate = figures.distinct()
        low, high, total, squares = figures.summary()
        moments = None if kind == "TEXT" else _moments(figures.count, total, squares)
        top = [[value, round(n * share)] for value, n in (figures.values or {}).items()]
        top = sorted(top, key=lambda pair: (-pair[1], pair[0])) if distinct is not None and distinct < count else []
        return cls(count, nulls, distinct, low, high, moments, top[:_TOP], is_estimate or not is_exact)

    def as_dict(self) -> dict[str, Any]:
        """As `stats --json` has it."""
        values = (self.count, self.nulls, self.distinct, self.min, self.max, *(self.moments or ()))
        figures = dict(zip(_FIGURES, values, strict=False))
        return figures | {"frequent": self.top} | _mark(self.is_approximate)


@dataclass(frozen=True)
class TableSummary:
    """A table: how many rows, and its columns; if *is_approximate*, all of its figures are."""

    rows: int
    columns: dict[str, ColumnSummary]
    is_approximate: bool = False

    HEADER = ("column", *_FIGURES, "most frequent")

    def as_rows(self) -> list[list[Any]]:
        """A row for each column: its name, its figures, its most frequent values as text."""
        rows = []
        for name, column in self.columns.items():
            figures = column.as_dict() | {"distinct": "many" if column.distinct is None else column.distinct}
            marks = dict.fromkeys(_FIGURES, self.is_approximate) | {"distinct": column.is_approximate}
            shown = [_shown(figures.get(key), is_approximate=mark) for key, mark in marks.items()]
            top = ", ".join(f"{visible(str(value), 30)} {count:,}" for value, count in column.top[:3])
            rows.append([name, *shown, top])
        return rows

    def as_dict(self) -> dict[str, Any]:
        """As `stats --json` has it."""
        columns = {name: column.as_dict() for name, column in self.columns.items()}
        return {"rows": self.rows, "columns": columns} | _mark(self.is_approximate)


@dataclass(frozen=True)
class CheckResult:
    """A check: how many rows break it, and the least keys of some of them as text."""

    source: str
    name: str
    rows: int
    examples: list[str]
    is_approximate: bool = False

    HEADER = ("source", "check", "rows that break it", "such as")

    def as_row(self) -> list[Any]:
        """What a person sees of it."""
        rows = _shown(self.rows, is_approximate=self.is_approximate)
        return [self.source, self.name, rows, ", ".join(self.examples)]

    def as_dict(self) -> dict[str, Any]:
        """As `stats --json` has it."""
        return {"source": self.source, "name": self.name, "rows": self.rows} | _mark(self.is_approximate)


def _moments(count: int, total: float, squares: float) -> tuple[float | None, ...]:
    """Mean and standard deviation of all rows, the *squares* of the distances divided by their number."""
    moments = (total / count, math.sqrt(squares / count)) if count else (math.nan, math.nan)
    return tuple(number if math.isfinite(number) else None for number in moments)


def _mark(is_approximate: bool) -> dict[str, Any]:
    return {"approximate": True} if is_approximate else {}


def _shown(figure: Any, *, is_approximate: bool) -> Any:
    """A figure, or when it is not exact a text that says so."""
    if not is_approximate or not isinstance(figure, int | float):
        return figure
    return f"~{figure:,.2f}" if isinstance(figure, float) else f"~{figure:,}"
