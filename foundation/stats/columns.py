"""Columns in figures, and checks with the rows that break them.

Small tables are read. Of a large one nothing is: its loads have kept what they stored, and their figures are added up.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from foundation.errors import visible
from foundation.pipeline.profile import MOST, Figures, Profile
from foundation.query.query import Database
from foundation.schema.source import Source
from foundation.store.counts import EXAMPLES, checks_digest
from foundation.store.database import quote

# The standard deviation, sd, is that of all rows: the squares are divided by their number.
FIGURES = ("count", "missing", "distinct", "least", "greatest", "mean", "sd")
LARGE = 100_000  # rows; smaller tables are read when somebody asks
FREQUENT = 10  # values of a column that are told


class _Known(NamedTuple):
    """What the last loads of a table have kept; if *is_exact*, its rows are those, each once, and no others."""

    profile: Profile
    loads: list[int]
    is_exact: bool


Examples = dict[tuple[str, str], list[str]]


def describe_tables(
    database: Database, names: Iterable[str], *, exact: bool
) -> tuple[dict[str, Any], list[dict[str, Any]], Examples]:
    """Tables with their columns, checks with the rows that break them, keys of such rows; if *exact*, from the rows."""
    tables, checks, examples = {}, [], Examples()
    for name in names:
        rows, source = database[name].count(), database.sources.get(name)
        known = _known(database, name, rows) if rows > LARGE and not exact else None
        tables[name] = _kept_table(database, name, known, rows) if known else _table(database, name)
        if source and source.checks:
            checks += (known and _kept_checks(database, source, known, examples)) or _checks(database, source, examples)
    return tables, checks, examples


def rows_of(table: dict[str, Any]) -> list[list[Any]]:
    """A row for each column of a described table: its name, its figures, its most frequent values as text."""
    rows = []
    for name, one in table["columns"].items():
        shown = {figure: told(one.get(figure), table) for figure in FIGURES}
        shown["distinct"] = "many" if one["distinct"] is None else told(one["distinct"], one)
        rows.append([name, *shown.values(), _listed(one)])
    return rows


def told(figure: Any, of: dict[str, Any]) -> Any:
    """A figure, or when it is not exact a text that says so."""
    if "approximate" not in of or not isinstance(figure, int | float):
        return figure
    return f"~{figure:,.2f}" if isinstance(figure, float) else f"~{figure:,}"


def _listed(column: dict[str, Any]) -> str:
    return ", ".join(f"{visible(str(value), 30)} {count:,}" for value, count in column["frequent"][:3])


def _known(database: Database, table: str, rows: int) -> _Known | None:
    """What is known of a table of so many *rows*, from its last loads back; None if it is less than half of them.

    Loads of one version of a file never store the same key. One of another version that has updated rows, or found
    them unchanged, may have done so to rows that an earlier load counts, too.
    """
    found = database.rows(
        """
        SELECT l.load_id, origin, l.kind <> 'migrate' AND updated + unchanged > 0, s.value FROM _loads l
        LEFT JOIN _stats s ON s.load_id = l.load_id AND s.kind = 'profile'
        WHERE l.source = ? AND inserted + updated + unchanged > 0 ORDER BY l.load_id DESC
        """,
        (table,),
    )
    profile, loads, is_exact, rewriting = Profile(), [], True, None
    for load_id, origin, rewritten, packed in found:
        is_exact = is_exact and rewriting in (None, origin)
        rewriting = origin if rewritten else rewriting
        loads.append(load_id)
        profile.merge(Profile.unpacked(packed) if packed else Profile())
        if profile.rows >= rows:
            break
    return _Known(profile, loads, is_exact and profile.rows == rows) if 2 * profile.rows >= rows else None


def _kept_table(database: Database, name: str, known: _Known, rows: int) -> dict[str, Any]:
    columns = {}
    for column, kind in database.tables[name].types.items():
        figures = known.profile.columns[column]
        columns[column] = _kept_column(figures, is_number=kind != "TEXT", share=rows / known.profile.rows)
        columns[column] |= _mark(not known.is_exact)
    return {"rows": rows, "columns": columns} | _mark(not known.is_exact)


def _mark(is_approximate: bool) -> dict[str, Any]:
    return {"approximate": True} if is_approximate else {}


def _kept_column(figures: Figures, *, is_number: bool, share: float) -> dict[str, Any]:
    """The figures of a column, its counts times *share*."""
    distinct, is_estimate = figures.distinct()
    least, greatest, total, squares = figures.summary()
    frequent = [[value, round(n * share)] for value, n in (figures.values or {}).items()]
    return _told(
        round(figures.count * share), round(figures.missing * share), distinct, least, greatest,
        (total, squares, figures.count) if is_number else None,
        sorted(frequent, key=lambda pair: (-pair[1], pair[0]))[:FREQUENT], is_estimate=is_estimate,
    )  # fmt: skip


def _told(
    count: int, missing: int, distinct: int | None, least: Any, greatest: Any,
    moments: tuple[float, float, int] | None, frequent: list[Any], *, is_estimate: bool,
) -> dict[str, Any]:  # fmt: skip
    told: dict[str, Any] = {"count": count, "missing": missing, "distinct": distinct}
    told |= {"least": least, "greatest": greatest}
    if moments:
        total, squares, number = moments
        told["mean"] = _finite(total / number) if number else None
        told["sd"] = _finite(math.sqrt(squares / number)) if number else None
    says_something = distinct is not None and distinct < count
    return told | {"frequent": frequent if says_something else []} | _mark(is_estimate)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _table(database: Database, name: str) -> dict[str, Any]:
    (rows,) = database.rows(f"SELECT count(*) FROM {quote(name)}").fetchone()
    columns = {column: _column(database, name, column) for column in database.tables[name].types}
    return {"rows": rows, "columns": columns}


def _column(database: Database, table: str, column: str) -> dict[str, Any]:
    c, t, is_number = quote(column), quote(table), database.tables[table].types[column] != "TEXT"
    total = f"total({c})" if is_number else "NULL"
    sql = f"SELECT count({c}), count(*) - count({c}), count(DISTINCT {c}), min({c}), max({c}), {total} FROM {t}"
    count, missing, distinct, least, greatest, total = database.rows(sql).fetchone()
    moments, frequent = None, []
    if is_number:
        mean = total / count if count else 0
        (squares,) = database.rows(f"SELECT total(({c} - ?1) * ({c} - ?1)) FROM {t}", (mean,)).fetchone()
        moments = total, squares, count
    if distinct <= MOST and distinct < count:
        sql = f"SELECT {c}, count(*) FROM {t} WHERE {c} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {FREQUENT:d}"
        frequent = [list(pair) for pair in database.rows(sql)]
    return _told(count, missing, distinct, least, greatest, moments, frequent, is_estimate=False)


def _checks(database: Database, source: Source, examples: Examples) -> list[dict[str, Any]]:
    dialect = database.engine.dialect
    sums = ", ".join(f"count(*) FILTER (WHERE NOT {check.sql(dialect)})" for check in source.conditions.values())
    counts = database.rows(f"SELECT {sums} FROM {quote(source.name)}").fetchone()
    for name, count in zip(source.checks, counts, strict=True):
        examples[source.name, name] = _breaking(database, source, name) if count else []
    return [_check(source, name, count) for name, count in zip(source.checks, counts, strict=True)]


def _check(source: Source, name: str, rows: int, *, is_approximate: bool = False) -> dict[str, Any]:
    return {"source": source.name, "name": name, "rows": rows} | _mark(is_approximate)


def _breaking(database: Database, source: Source, check: str, among: Iterable[Any] | None = None) -> list[str]:
    """The least keys, as text, of rows that break a check; of those *among* these lists of values, if given."""
    key, where, values = ", ".join(map(quote, source.keys)), "1", []
    if among is not None:
        items = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(source.keys)))
        where, values = f"({key}) IN (SELECT {items} FROM json_each(?))", [json.dumps(among)]
    condition = f"{where} AND NOT {source.conditions[check].sql(database.engine.dialect)}"
    sql = f"SELECT {key} FROM {quote(source.name)} WHERE {condition} ORDER BY {key} LIMIT {EXAMPLES:d}"
    return [str(row[0]) if len(row) == 1 else source.key_text(row) for row in database.rows(sql, values)]


def _kept_checks(database: Database, source: Source, known: _Known, examples: Examples) -> list[dict[str, Any]] | None:
    """The checks as they were when the rows came; None when they were others then."""
    found = database.rows(
        """
        SELECT kind, name, value FROM _stats
        WHERE load_id IN (SELECT value FROM json_each(?)) AND kind IN ('check', 'examples') ORDER BY load_id
        """,
        (json.dumps(known.loads),),
    ).fetchall()
    told = [json.loads(value) for kind, _, value in found if kind == "examples"]
    if len(told) < len(known.loads) or any(load["checks"] != checks_digest(source) for load in told):
        return None
    keys = {name: [key for load in told for key in load["keys"].get(name, ())] for name in source.checks}
    counts = Counter[str]()
    for kind, name, value in found:
        counts[name] += value if kind == "check" else 0
    for name in source.checks:
        examples[source.name, name] = _breaking(database, source, name, keys[name])
    return [
        _check(
            source, name, counts[name],
            is_approximate=not known.is_exact or _has_moved(database, source, name, min(known.loads)),
        )
        for name in source.checks
    ]  # fmt: skip


def _has_moved(database: Database, source: Source, check: str, load_id: int) -> bool:
    """Whether a check looks at another table to which something came since that load began."""
    words = set(re.findall(r"\w+", source.checks[check])) - {source.name}
    sql = "SELECT DISTINCT source FROM _loads WHERE load_id > ? AND inserted + updated > 0"
    return any(moved in words for (moved,) in database.rows(sql, (load_id,)))
