"""Time pages of a loaded database: the first, the last, the last by OFFSET and a cached one, in turn.

`python pages.py DB [--table orders] [--rounds 50]` prints the table that README.md beside this has.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

import foundation
from foundation.query.query import Query
from foundation.stats.overview import describe

SIZE = 100


def milliseconds(ask: Callable[[], Any], calls: int = 1) -> float:
    """How long one call takes, of some on end."""
    began = time.perf_counter()
    for _ in range(calls):
        ask()
    return 1e3 * (time.perf_counter() - began) / calls


def measure(query: Query, rounds: int) -> str:
    """A row of the table; what is measured is asked for in turn, so that each round gives a ratio."""
    last = query.page(SIZE, number=(query.count() - 1) // SIZE).next
    order = ", ".join(term.sql for term, _ in query._total_order())
    sql = f"SELECT * FROM {query.relation.name} t ORDER BY {order} LIMIT ? OFFSET ?"
    asked = {
        "first": lambda: query.page(SIZE),
        "last": lambda: query.page(SIZE, after=last),
        "offset": lambda: query.database.rows(sql, (SIZE, query.count() - SIZE)).fetchall(),
    }
    found = [{name: milliseconds(ask) for name, ask in asked.items()} for _ in range(rounds + 1)][1:]
    ratios = [times["last"] / times["first"] for times in found]
    low, _, high = quantiles(ratios, n=4)
    first, end, offset = (median(times[name] for times in found) for name in asked)
    return f"{first:.2f} | {end:.2f} | {median(ratios):.2f} ({low:.2f} to {high:.2f}) | {offset:.1f}"


def main() -> None:
    """Print a table of pages, and how long a cached page and the statistics take."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("db")
    options.add_argument("--table", default="orders")
    options.add_argument("--rounds", type=int, default=50)
    given = options.parse_args()
    with foundation.open(given.db, cache=0) as database, foundation.open(given.db) as caching:
        query, cached = database[given.table], caching[given.table]
        indexes = database.sources[given.table].indexes
        print(f"{query.count():,} rows of {given.table}, pages of {SIZE}, {given.rounds} rounds, milliseconds\n")
        print("| sorted by | first | last | last ÷ first | last by OFFSET |\n| --- | ---: | ---: | ---: | ---: |")
        for names in [(), *indexes, *(tuple(f"-{name}" for name in index) for index in indexes)]:
            print(f"| {', '.join(names) or 'the key'} | {measure(query.order_by(*names), given.rounds)} |", flush=True)
        asked = (lambda: query.page(SIZE), lambda: cached.page(SIZE), lambda: describe(database, [given.table]))
        again = [[milliseconds(ask, 20) for ask in asked] for _ in range(given.rounds + 1)][1:]
        page, hit, told = (median(times) for times in zip(*again, strict=True))
        print(f"\na page {page:.3f}, a cached one {hit:.4f} ({page / hit:.0f} times faster), statistics {told:.1f}")


if __name__ == "__main__":
    main()
