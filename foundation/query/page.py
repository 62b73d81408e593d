"""One page of a query, as people and notebooks see it."""

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from foundation.display import plain, table
from foundation.schema import Row, Value

if TYPE_CHECKING:
    import pandas as pd

    from foundation.query.query import Query


@dataclass(frozen=True)
class Page:
    """Some rows of a query, in its order.

    `next` and `previous` are the tokens of the pages after and before it, None where there is none; `start` is the
    number of rows before it, `total` that of all rows of the query.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    start: int
    previous: str | None
    next: str | None
    total: int
    query: "Query" = field(repr=False)
    size: int = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> list[dict[str, Value]]:
        """The rows as mappings from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def frame(self) -> "pd.DataFrame":
        """The rows as a pandas frame."""
        return self.query.as_frame(self.rows)

    def forward(self) -> "Page | None":
        """The page after this one, None after the last; in a notebook `page = page.forward()`."""
        return self.query.page(self.size, after=self.next) if self.next else None

    def back(self) -> "Page | None":
        """The page before this one, None before the first."""
        return self.query.page(self.size, after=self.previous) if self.previous else None

    def told(self) -> str:
        """Which rows these are, in words."""
        shown = f"rows {self.start + 1:,} to {self.start + len(self):,}" if self.rows else "no rows"
        return f"{shown} of {self.total:,}"

    def _repr_html_(self) -> str:
        ways = [("page.back()", self.previous), ("page.forward()", self.next)]
        more = " · ".join(f"<code>{html.escape(way)}</code>" for way, token in ways if token)
        return table(self.columns, self.rows, caption=self.told(), told=plain) + (f"<p>{more}</p>" if more else "")
