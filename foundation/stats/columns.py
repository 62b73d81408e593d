"""Columns in figures, and checks with the rows that break them.

Small tables are read. Of a large one nothing is: its loads have kept what they stored, and their figures are added up.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from foundation.pipeline import Profile
from foundation.query import Database
from foundation.schema import Source
from foundation.stats.summary import CheckResult, ColumnSummary, TableSummary
from foundation.store import EXAMPLES, checks_digest, quote


class _Kept(NamedTuple):
    """What the last loads of a table have kept; if *is_exact*, its rows are those, each once, and no others."""

    profile: Profile
    loads: list[int]
    is_exact: bool


def describe_tables(
    database: Database, names: Iterable[str], *, exact: bool, large: int
) -> tuple[dict[str, TableSummary], list[CheckResult]]:
    """Tables, and the checks of their sources; those of more than *large* rows are only read if *exact*."""
    tables, checks = {}, []
    for name in names:
        rows, source = database[name].count(), database.sources.get(name)
        kept = _kept(database, name, rows) if rows > large and not exact else None
        columns = {}
        for column, kind in database.tables[name].types.items():
            if kept:
                figures, share = kept.profile.columns[column], rows / kept.profile.rows
                columns[column] = ColumnSummary.from_figures(figures, kind, share=share, is_exact=kept.is_exact)
            else:
                columns[column] = ColumnSummary.from_rows(database, name, column, kind)
        tables[name] = TableSummary(rows, columns, is_approximate=bool(kept and not kept.is_exact))
        if source and source.checks:
            checks += (kept and _kept_checks(database, source, kept)) or _read_checks(database, source)
    return tables, checks


def _kept(database: Database, table: str, rows: int) -> _Kept | None:
    """What is known of a table of so many *rows*, from its last loads back; None if it is less than half of them.

    Loads of one version of a file never store the same key. One of another version that has updated rows, or found
    them unchanged, may have done so to rows that an earlier load counts, too.
    """
    loads_of_table = database.rows(
        """
        SELECT l.load_id, origin, l.kind <> 'migrate' AND updated + unchanged > 0, s.value FROM _loads l
        LEFT JOIN _stats s ON s.load_id = l.load_id AND s.kind = 'profile'
        WHERE l.source = ? AND inserted + updated + unchanged > 0 ORDER BY l.load_id DESC
        """,
        (table,),
    )
    profile, loads, is_exact, rewriting = Profile(), [], True, None
    for load_id, origin, has_rewritten, packed in loads_of_table:
        is_exact = is_exact and rewriting in (None, origin)
        rewriting = origin if has_rewritten else rewriting
        loads.append(load_id)
        profile.merge(Profile.unpacked(packed) if packed else Profile())
        if profile.rows >= rows:
            break
    return _Kept(profile, loads, is_exact and profile.rows == rows) if 2 * profile.rows >= rows else None


def _read_checks(database: Database, source: Source) -> list[CheckResult]:
    conditions = [condition.sql(database.engine.dialect) for condition in source.conditions.values()]
    sums = ", ".join(f"count(*) FILTER (WHERE NOT {condition})" for condition in conditions)
    counts = database.rows(f"SELECT {sums} FROM {quote(source.name)}").fetchone()
    return [
        CheckResult(source.name, name, count, _breaking(database, source, name) if count else [])
        for name, count in zip(source.checks, counts, strict=True)
    ]


def _kept_checks(database: Database, source: Source, kept: _Kept) -> list[CheckResult] | None:
    """The checks as they were when the rows came; None when they were others then."""
    stats = database.rows(
        """
        SELECT kind, name, value FROM _stats
        WHERE load_id IN (SELECT value FROM json_each(?)) AND kind IN ('check', 'examples') ORDER BY load_id
        """,
        (json.dumps(kept.loads),),
    ).fetchall()
    examples = [json.loads(value) for kind, _, value in stats if kind == "examples"]
    if len(examples) < len(kept.loads) or any(load["checks"] != checks_digest(source) for load in examples):
        return None
    counts = Counter[str]()
    for kind, name, value in stats:
        counts[name] += value if kind == "check" else 0
    checks = []
    for name in source.checks:
        keys = _breaking(database, source, name, [key for load in examples for key in load["keys"].get(name, ())])
        is_approximate = not kept.is_exact or _has_moved(database, source, name, min(kept.loads))
        checks.append(CheckResult(source.name, name, counts[name], keys, is_approximate))
    return checks


def _breaking(database: Database, source: Source, check: str, among: Iterable[Any] | None = None) -> list[str]:
    """The least keys, as text, of rows that break a check; of those *among* these lists of values, if given."""
    key, where, values = ", ".join(map(quote, source.keys)), "1", []
    if among is not None:
        items = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(len(source.keys)))
        where, values = f"({key}) IN (SELECT {items} FROM json_each(?))", [json.dumps(among)]
    condition = f"{where} AND NOT {source.conditions[check].sql(database.engine.dialect)}"
    sql = f"SELECT {key} FROM {quote(source.name)} WHERE {condition} ORDER BY {key} LIMIT {EXAMPLES:d}"
    return [str(row[0]) if len(row) == 1 else source.key_text(row) for row in database.rows(sql, values)]


def _has_moved(database: Database, source: Source, check: str, load_id: int) -> bool:
    """Whether a check looks at another table to which something came since that load began."""
    words = set(re.findall(r"\w+", source.checks[check])) - {source.name}
    sql = "SELECT DISTINCT source FROM _loads WHERE load_id > ? AND inserted + updated > 0"
    return any(moved in words for (moved,) in database.rows(sql, (load_id,)))
