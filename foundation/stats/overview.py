"""Describe a database: its tables, its loads and what they refused, its content as digests, what needs attention."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from foundation.display import table as html_table
from foundation.errors import Stage, visible
from foundation.query import Database, mappings
from foundation.stats.columns import describe_tables
from foundation.stats.drift import drift
from foundation.stats.summary import CheckResult, TableSummary
from foundation.store import COUNTS, LoadKind, LoadStatus, quote

LARGE = 100_000  # rows; smaller tables are read when somebody asks
_REASONS = 6  # of those that need attention, the others are added up
_BROKEN = 0.1  # share of rows that break a check; more need attention


class Statistics(dict[str, Any]):
    """What `stats --json` prints; in a notebook and in a terminal it is shown as tables."""

    def __init__(
        self, tables: dict[str, TableSummary], checks: list[CheckResult], **more: list[dict[str, Any]]
    ) -> None:
        self.tables, self.checks = tables, checks
        summaries = {name: table.as_dict() for name, table in tables.items()}
        super().__init__(tables=summaries, checks=[check.as_dict() for check in checks], **more)

    def shown(self) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[Any]]]]:
        """Title, columns and rows of each table that shows it."""
        for name, table in self.tables.items():
            yield f"{name}: {table.rows:,} rows", table.HEADER, table.as_rows()
        yield "Checks", CheckResult.HEADER, [check.as_row() for check in self.checks]
        columns = ("load_id", "source", "status", *COUNTS)
        yield "Loads", ("load", *columns[1:]), [[load[name] for name in columns] for load in self["loads"]]
        if drift := [[change["load_id"], change["source"], change["told"]] for change in self["drift"]]:
            yield "Drift", ("load", "source", "what has changed from the load before"), drift

    def _repr_html_(self) -> str:
        return "".join(html_table(columns, rows, caption=title) for title, columns, rows in self.shown())


def describe(database: Database, only: Iterable[str] = (), *, exact: bool = False, large: int = LARGE) -> Statistics:
    """Tables with their columns, checks with the rows that break them, loads in order, all of one state of the data.

    A column has `count`, `missing`, `distinct`, `least`, `greatest`, of numbers `mean` and `sd`, that of all rows, and
    `frequent`: its ten most frequent values with their counts, when it has at most 1,000 different ones. A table of
    more than *large* rows is described by what its loads have kept, unless *exact*; what is not exact then is marked by
    `approximate`: the estimated `distinct` of a column (None if there are many), or all of a table or check when
    later files have changed rows. `drift` is that of the last run that loaded a file.
    """
    names = [name for name in database if name in set(only) or not only]
    with database.snapshot():
        tables, checks = describe_tables(database, names, exact=exact, large=large)
        rows = [load for load in loads(database) if load["source"] in names]
        sql = "SELECT run_id FROM _loads WHERE kind = 'file' AND status = 'complete' ORDER BY load_id DESC LIMIT 1"
        (last_run,) = database.rows(sql).fetchone() or ("",)
        changes = [change for change in drift(database, last_run) if change["source"] in names]
    return Statistics(tables, checks, loads=rows, drift=changes)


def content(database: Database) -> dict[str, str]:
    """For each table the sha256 of its rows as JSON, in the order of the key, without where they came from."""
    digests = {}
    for name, table in database.tables.items():
        if table.key:
            columns, key = (", ".join(map(quote, names)) for names in (table.types, table.key))
            rows = database.rows(f"SELECT {columns} FROM {quote(name)} ORDER BY {key}")
            digest = hashlib.sha256(json.dumps([*table.types]).encode())
            while chunk := rows.fetchmany(1_000):
                digest.update(json.dumps(chunk)[1:-1].encode() + b", ")  # the same bytes whatever their number
            digests[name] = digest.hexdigest()
    return digests


def loads(database: Database, run_id: str | None = None) -> list[dict[str, Any]]:
    """The loads of one run, or of all, oldest first; skipped files are left out unless a run is named."""
    where, values = ("run_id = ?", (run_id,)) if run_id else ("status <> 'skipped'", ())
    rows = _mappings(database, f"SELECT * FROM _loads WHERE {where} ORDER BY load_id", values)
    return [load | {"warnings": json.loads(load["warnings"])} for load in rows]


def files_of(database: Database, run_id: str, source: str | None = None) -> list[dict[str, Any]]:
    """What a run has to say of each file (of *source*): its load, or the one that had loaded it when it was skipped.

    The sources come in the order of their declaration. `called` is the source, with the name of the file if the run
    met several of it.
    """
    met = [load for load in loads(database, run_id) if load["kind"] == LoadKind.FILE]
    last = {load["origin"]: load for load in loads(database) if load["kind"] == LoadKind.FILE}
    files, numbers = [], Counter(load["source"] for load in met)
    for load in (last[load["origin"]] if load["status"] == LoadStatus.SKIPPED else load for load in met):
        name = f", {visible(Path(load['path']).name, 80)}" if numbers[load["source"]] > 1 else ""
        files.append(load | {"called": load["source"] + name})
    return [load for name in database.sources for load in files if load["source"] == name and source in (None, name)]


REJECT_COLUMNS = ("source", "path", "record", "line", "stage", "code", "column", "value", "message", "status")


def rejects(
    database: Database,
    *,
    source: str | None = None,
    code: str | None = None,
    load_ids: Iterable[int] | None = None,
    limit: int = -1,
) -> Iterable[dict[str, Any]]:
    """One mapping for each error of each reject, in the order they came; all, if *limit* is negative."""
    where, values = _among({"r.source": source, "e.code": code}, load_ids)
    cursor = database.rows(
        f"""
        SELECT r.source, r.path, record, line, stage, code, "column", value, message, r.status
        FROM _rejects r JOIN _errors e USING (reject_id) JOIN _loads l USING (load_id)
        WHERE {where} ORDER BY reject_id, number {f"LIMIT {limit:d}" if limit >= 0 else ""}
        """,
        values,
    )
    return (dict(zip(REJECT_COLUMNS, row, strict=True)) for row in cursor)


def reasons(
    database: Database, *, run_id: str | None = None, source: str | None = None, load_ids: Iterable[int] | None = None
) -> list[dict[str, Any]]:
    """How often each reason stands among the rejects, the most frequent first, with one example of each."""
    where, values = _among({"run_id": run_id, "r.source": source}, load_ids)
    return _mappings(
        database,
        f"""
        SELECT source, stage, code, "column", errors, line AS first_line, value, message FROM (
            SELECT r.source, stage, code, "column", line, value, message,
                   count(*) OVER alike AS errors, row_number() OVER (alike ORDER BY line, reject_id) AS nth
            FROM _rejects r JOIN _errors e USING (reject_id) JOIN _loads l USING (load_id)
            WHERE {where} WINDOW alike AS (PARTITION BY r.source, stage, code, "column")
        ) WHERE nth = 1 ORDER BY errors DESC, 1, 2, 3, 4
        """,
        values,
    )


def _among(wanted: dict[str, str | None], load_ids: Iterable[int] | None) -> tuple[str, list[str]]:
    """The condition that all wanted values are those of a reject, and it is of one of the loads if any are given."""
    given = {f"{name} = ?": value for name, value in wanted.items() if value is not None}
    if load_ids is not None:
        given["load_id IN (SELECT value FROM json_each(?))"] = json.dumps(list(load_ids))
    return " AND ".join(given) or "1", list(given.values())


def checks_of(database: Database, load_id: int) -> list[dict[str, Any]]:
    """The checks of a load, each with the rows of it that break it."""
    sql = """SELECT source, name, value AS "rows" FROM _stats WHERE load_id = ? AND kind = 'check' ORDER BY name"""
    return _mappings(database, sql, (load_id,))


def chunks(database: Database, load_id: int) -> list[dict[str, Any]]:
    """The steps of a load in order: records, seconds, resident bytes, and how many records were done then."""
    sql = "SELECT record_end, records, bytes, seconds, rss_bytes FROM _chunks WHERE load_id = ? ORDER BY chunk_id"
    return _mappings(database, sql, (load_id,))


def references(database: Database) -> list[dict[str, Any]]:
    """For each reference how many rows hold it, and how many of its parents nobody refers to."""
    counts = []
    for source in database.sources.values():
        for column, parent in source.references.items():
            child, name, key = quote(source.name), quote(column), quote(database.tables[parent].key[0])
            alone = f"SELECT count(*) FROM {quote(parent)} WHERE {key} NOT IN (SELECT {name} FROM {child})"
            rows, without = database.rows(f"SELECT count({name}), ({alone}) FROM {child}").fetchone()
            count = {"child": source.name, "column": column, "rows": rows, "parent": parent}
            counts.append(count | {"parents without": without})
    return counts


def attention(database: Database, run_id: str) -> list[str]:
    """What a reader of a run should look at first, in sentences, the gravest first."""
    files = files_of(database, run_id)
    failed = (LoadStatus.REFUSED, LoadStatus.STOPPED)
    points = [f"{load['called']} is {load['status']}" for load in files if load["status"] in failed]
    points += [f"{load['called']}: {visible(warning, 400)}" for load in files for warning in load["warnings"]]
    why = [reason for reason in reasons(database, run_id=run_id) if reason["stage"] != Stage.FILE]
    why.sort(key=lambda reason: reason["stage"] == Stage.RELATION)  # it is repaired with the parent
    points += [_sentence(reason) for reason in why[:_REASONS]]
    if rest := why[_REASONS:]:
        points.append(f"{len(rest):,} more reasons why records were refused, {sum(r['errors'] for r in rest):,} errors")
    points += [f"{change['source']}: {change['told']}" for change in drift(database, run_id)]
    points += [
        f"{check['source']}: {check['share']:.0%} of {check['of']:,} rows break the check {check['name']}"
        for check in broken_checks(database, files)
        if check["share"] > _BROKEN
    ]
    return points


def _sentence(reason: dict[str, Any]) -> str:
    what = f"{reason['source']}: {reason['errors']:,} × {reason['code']} {reason['column'] or ''}".rstrip()
    line = f" in line {reason['first_line']:,}" if reason["first_line"] else ""
    return f"{what}, first{line}: {visible(reason['value'] or reason['message'], 60)}"


def broken_checks(database: Database, files: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks that rows of these loads break, the greatest share first, each with keys of some of the rows."""
    broken = []
    for load in files:
        number, stored = load["load_id"], load["inserted"] + load["updated"] + load["unchanged"]
        row = database.rows("SELECT value FROM _stats WHERE load_id = ? AND kind = 'examples'", (number,)).fetchone()
        examples = json.loads(row[0])["keys"] if row else {}
        for check in checks_of(database, number):
            if check["rows"]:
                share = {"source": load["called"], "of": stored, "share": check["rows"] / stored}
                keys = [", ".join(map(str, key)) for key in examples.get(check["name"], [])[:3]]
                broken.append(check | share | {"keys": keys})
    return sorted(broken, key=lambda check: -check["share"])


def _mappings(database: Database, sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    return list(mappings(database.rows(sql, values)))
