"""Describe a database: its columns, its loads, its checks, its content as digests."""

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable
from typing import Any

from foundation.display import table as html_table
from foundation.errors import visible
from foundation.query import Database
from foundation.source import Source
from foundation.store import quote

# The standard deviation, sd, is that of all rows: the squares are divided by their number.
FIGURES = ("count", "missing", "distinct", "least", "greatest", "mean", "sd")
_FEW = 1_000  # different values at most for the most frequent to say anything
_MOST = 10  # of them are told


class Statistics(dict[str, Any]):
    """What `stats --json` tells, which shows itself in a notebook as one table for each table of the database."""

    def _repr_html_(self) -> str:
        columns = [
            html_table(("column", *FIGURES, "most frequent"), rows_of(one), caption=f"{name}: {one['rows']:,} rows")
            for name, one in self["tables"].items()
        ]
        checks = [(check["source"], check["name"], check["rows"]) for check in self["checks"]]
        return "".join([*columns, html_table(("source", "check", "rows that break it"), checks)])


def describe(database: Database, only: Iterable[str] = ()) -> Statistics:
    """Tables with their columns, checks with the rows that break them, loads in order, all of one state of the data."""
    names = [name for name in database if name in set(only) or not only]
    declared = [source for name, source in database.sources.items() if name in names]
    with database.snapshot():
        return Statistics(
            tables={name: _table(database, name) for name in names},
            checks=[check for source in declared for check in _checks(database, source)],
            loads=[load for load in loads(database) if load["source"] in names],
        )


def rows_of(table: dict[str, Any]) -> list[list[Any]]:
    """A row for each column of a described table: its name, its figures, its most frequent values as text."""
    return [
        [name, *(one.get(figure) for figure in FIGURES), _listed(one["frequent"])]
        for name, one in table["columns"].items()
    ]


def _listed(frequent: list[list[Any]]) -> str:
    return ", ".join(f"{visible(str(value), 30)} {count:,}" for value, count in frequent[:3])


def _table(database: Database, name: str) -> dict[str, Any]:
    (rows,) = database.rows(f"SELECT count(*) FROM {quote(name)}").fetchone()
    return {"rows": rows, "columns": {c: _column(database, name, c) for c in database.tables[name].types}}


def _column(database: Database, table: str, column: str) -> dict[str, Any]:
    """Count, missing, distinct, least, greatest and most frequent values; mean and standard deviation of a number."""
    c, origin, is_number = quote(column), quote(table), database.tables[table].types[column] != "TEXT"
    average = f"avg({c})" if is_number else "NULL"
    sql = f"SELECT count({c}), count(*) - count({c}), count(DISTINCT {c}), min({c}), max({c}), {average} FROM {origin}"
    count, missing, distinct, least, greatest, mean = database.rows(sql).fetchone()
    told = {"count": count, "missing": missing, "distinct": distinct, "least": least, "greatest": greatest}
    if is_number:
        # From the differences to the mean: that of squares and squared mean loses all digits of large numbers.
        (variance,) = database.rows(f"SELECT avg(({c} - ?) * ({c} - ?)) FROM {origin}", (mean, mean)).fetchone()
        told |= {"mean": mean, "sd": None if variance is None else math.sqrt(variance)}
    frequent: list[list[Any]] = []
    if distinct <= _FEW and distinct < count:
        most = f"SELECT {c}, count(*) FROM {origin} WHERE {c} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_MOST}"
        frequent = [list(row) for row in database.rows(most)]
    return told | {"frequent": frequent}


def content(database: Database) -> dict[str, str]:
    """For each table the sha256 of its rows as JSON, in the order of the key, without where they came from."""
    return {name: _content(database, name) for name, table in database.tables.items() if table.key}


def _content(database: Database, name: str) -> str:
    table, digest = database.tables[name], hashlib.sha256()
    columns = ", ".join(map(quote, table.types))
    rows = database.rows(f"SELECT {columns} FROM {quote(name)} ORDER BY {', '.join(map(quote, table.key))}")
    digest.update(json.dumps([*table.types]).encode())
    while some := rows.fetchmany(1_000):
        digest.update(json.dumps(some)[1:-1].encode() + b", ")  # the same bytes whatever their number
    return digest.hexdigest()


def _checks(database: Database, source: Source) -> list[dict[str, Any]]:
    if not source.checks:
        return []
    sums = ", ".join(f"count(*) FILTER (WHERE NOT ({condition}))" for condition in source.checks.values())
    counts = database.rows(f"SELECT {sums} FROM {quote(source.name)}").fetchone()
    return [
        {"source": source.name, "name": name, "rows": count} for name, count in zip(source.checks, counts, strict=True)
    ]


def examples(database: Database, source: str, check: str) -> list[Any]:
    """The least keys of rows that break a check, three at most."""
    declared = database.sources[source]
    key, condition = ", ".join(map(quote, declared.keys)), declared.checks[check]
    wanted = f"SELECT {key} FROM {quote(source)} WHERE NOT ({condition}) ORDER BY {key} LIMIT 3"
    return [row[0] if len(row) == 1 else declared.key_text(row) for row in database.rows(wanted)]


def loads(database: Database, run_id: str | None = None) -> list[dict[str, Any]]:
    """The loads of one run, or of all, oldest first; skipped files are left out unless a run is named."""
    where, values = ("run_id = ?", (run_id,)) if run_id else ("status <> 'skipped'", ())
    cursor = database.rows(f"SELECT * FROM _loads WHERE {where} ORDER BY load_id", values)
    return [load | {"warnings": json.loads(load["warnings"])} for load in _mappings(cursor)]


def load_of(database: Database, run_id: str, source: str) -> dict[str, Any]:
    """What a run has to say of a source: its load, or the one that had loaded the file when it was skipped."""
    load = [load for load in loads(database, run_id) if load["source"] == source and load["kind"] == "file"][-1]
    if load["status"] != "skipped":
        return load
    earlier = [other for other in loads(database) if other["origin"] == load["origin"] and other["kind"] == "file"]
    return earlier[-1]


def files_of(database: Database, run_id: str) -> list[dict[str, Any]]:
    """What a run has to say of each source of which it met a file, in the order of their declaration."""
    met = {load["source"] for load in loads(database, run_id) if load["kind"] == "file"}
    return [load_of(database, run_id, name) for name in database.sources if name in met]


REJECT_COLUMNS = ("source", "path", "record", "line", "stage", "code", "column", "value", "message", "status")


def rejects(
    database: Database,
    *,
    source: str | None = None,
    code: str | None = None,
    run_id: str | None = None,
    limit: int = -1,
) -> Iterable[dict[str, Any]]:
    """One mapping for each error of each reject, in the order they came; all, if *limit* is negative."""
    wanted = {"r.source": source, "e.code": code, "l.run_id": run_id}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given) or "1"
    cursor = database.rows(
        f"""
        SELECT r.source, r.path, record, line, stage, code, "column", value, message, r.status
        FROM _rejects r JOIN _errors e USING (reject_id) JOIN _loads l USING (load_id)
        WHERE {where} ORDER BY reject_id, number LIMIT {limit:d}
        """,
        list(given.values()),
    )
    return (dict(zip(REJECT_COLUMNS, row, strict=True)) for row in cursor)


def reasons(database: Database, *, run_id: str | None = None, source: str | None = None) -> list[dict[str, Any]]:
    """How often each reason stands among the rejects, the most frequent first, with one example of each."""
    wanted = {"run_id": run_id, "r.source": source}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given) or "1"
    cursor = database.rows(
        f"""
        SELECT r.source, stage, code, "column", count(*) AS errors, min(line) AS first_line, value, message
        FROM _rejects r JOIN _errors e USING (reject_id) JOIN _loads l USING (load_id)
        WHERE {where} GROUP BY 1, 2, 3, 4 ORDER BY errors DESC, 1, 2, 3, 4
        """,
        list(given.values()),
    )
    return _mappings(cursor)


def checks_of(database: Database, load_id: int) -> list[dict[str, Any]]:
    """The checks of a load, each with the rows of it that break it."""
    cursor = database.rows(
        "SELECT source, name, value FROM _stats WHERE load_id = ? AND kind = 'check' ORDER BY name", (load_id,)
    )
    return [{"source": source, "name": name, "rows": rows} for source, name, rows in cursor]


def chunks(database: Database, load_id: int) -> list[dict[str, Any]]:
    """The steps of a load in order: records, seconds, resident bytes, and how many records were done then."""
    cursor = database.rows(
        "SELECT record_end, records, bytes, seconds, rss_bytes FROM _chunks WHERE load_id = ? ORDER BY chunk_id",
        (load_id,),
    )
    return _mappings(cursor)


def references(database: Database) -> list[dict[str, Any]]:
    """For each reference how many rows hold it, and how many of its parents nobody refers to."""
    told = []
    for source in database.sources.values():
        for column, parent in source.references.items():
            key = quote(database.tables[parent].key[0])
            child = quote(source.name)
            alone = f"SELECT count(*) FROM {quote(parent)} WHERE {key} NOT IN (SELECT {quote(column)} FROM {child})"
            (rows,) = database.rows(f"SELECT count({quote(column)}) FROM {child}").fetchone()
            (without,) = database.rows(alone).fetchone()
            told.append(
                {"child": source.name, "column": column, "rows": rows, "parent": parent, "parents without": without}
            )
    return told


def attention(database: Database, run_id: str) -> list[str]:
    """What a reader of a run should look at first, in sentences, the gravest first."""
    told = files_of(database, run_id)
    points = [f"{load['source']} is {load['status']}" for load in told if load["status"] in ("refused", "stopped")]
    points += [f"{load['source']}: {visible(w, 400)}" for load in told for w in load["warnings"]]
    why = [reason for reason in reasons(database, run_id=run_id) if reason["stage"] != "file"]
    why.sort(key=lambda reason: reason["stage"] == "relation")  # what waits for a parent is repaired with the parent
    points += [f"{r['source']}: {r['errors']:,} × {r['code']} {r['column'] or ''}".rstrip() for r in why]
    for load in told:
        stored = load["inserted"] + load["updated"] + load["unchanged"]
        for check in checks_of(database, load["load_id"]):
            if check["rows"] > 0.1 * stored:
                share = f"{check['rows'] / stored:.0%} of {stored:,} rows"
                points.append(f"{load['source']}: {share} break the check {check['name']}")
    return points


def _mappings(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [name for name, *_ in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
