"""What has changed from the load before of the same source: rows, missing values, vocabulary, ranges."""

import math
from collections.abc import Iterator
from typing import Any

from foundation.errors import visible
from foundation.pipeline.profile import Figures, Profile
from foundation.query.query import Database
from foundation.schema.source import Column

ROWS = 0.1  # share by which there are more or fewer
MISSING = 0.05  # change of the share of missing values, if it is more than chance would bring, too
VOCABULARY = 50  # different values, each ten times on average: new ones are told
BEYOND = 0.1  # share of the range of before by which a value lies outside


def drift(database: Database, run_id: str) -> list[dict[str, Any]]:
    """How the loads of a run differ from those before them; `column` is None where it is about the rows.

    A load is compared with all that was stored of the last complete file of its source, before it began. What is
    told lies outside the bounds of this module. A load of what was added to a file has no rows to compare.
    """
    loads = database.rows(
        "SELECT load_id, source, origin FROM _loads WHERE run_id = ? AND kind = 'file' AND status = 'complete'",
        (run_id,),
    ).fetchall()
    told = []
    for load_id, source, origin in loads:
        last = database.rows(
            """
            SELECT origin FROM _loads
            WHERE source = ? AND kind = 'file' AND status = 'complete' AND load_id < ? ORDER BY load_id DESC LIMIT 1
            """,
            (source, load_id),
        ).fetchone()
        before = last[0] if last else None
        then = _profile(database, "origin = ? AND load_id < ?", before, load_id)
        now = _profile(database, "load_id = ?", load_id)
        if source in database.sources and then.rows and now.rows:
            found = _changes(database, source, then, now, is_more=before == origin)
            told += [{"source": source, "load_id": load_id, **change} for change in found]
    return told


def _profile(database: Database, condition: str, *values: Any) -> Profile:
    sql = f"SELECT value FROM _stats JOIN _loads l USING (load_id) WHERE _stats.kind = 'profile' AND {condition}"
    profile = Profile()
    for (packed,) in database.rows(sql, values):
        profile.merge(Profile.unpacked(packed))
    return profile


def _changes(database: Database, name: str, then: Profile, now: Profile, *, is_more: bool) -> Iterator[dict[str, Any]]:
    source = database.sources[name]
    if not is_more and abs(now.rows - then.rows) > ROWS * then.rows:
        told = f"{now.rows:,} rows, {then.rows:,} before"
        yield {"column": None, "what": "rows", "before": then.rows, "now": now.rows, "told": told}
    for column in source.columns:
        if column.name in then.columns.keys() & now.columns.keys() - {*source.keys, *source.references}:
            figures = then.columns[column.name], now.columns[column.name]
            for what, before, after, told in _of_column(column, *figures):
                told = f"{column.name}: {told}"
                yield {"column": column.name, "what": what, "before": before, "now": after, "told": told}


def _of_column(column: Column, then: Figures, now: Figures) -> Iterator[tuple[str, Any, Any, str]]:
    before, after = then.missing / then.rows, now.missing / now.rows
    share = (then.missing + now.missing) / (then.rows + now.rows)
    error = math.sqrt(share * (1 - share) * (1 / then.rows + 1 / now.rows))
    if abs(after - before) > max(MISSING, 3 * error):
        yield "missing", before, after, f"{after:.0%} are missing, {before:.0%} before"
    if column.kind is str and then.values and len(then.values) <= min(VOCABULARY, then.count / 10):
        if now.values is None:
            yield "vocabulary", len(then.values), now.distinct()[0], "many new values"
        elif new := sorted(now.values.keys() - then.values.keys()):
            listed = ", ".join(visible(value, 40) for value in new[:5])
            yield "vocabulary", len(then.values), len(now.values), f"{len(new):,} new values: {listed}"
    if column.kind is not str and then.count and now.count:
        yield from _beyond(column, then.summary()[:2], now.summary()[:2])


def _beyond(column: Column, then: tuple[Any, Any], now: tuple[Any, Any]) -> Iterator[tuple[str, Any, Any, str]]:
    kind: Any = column.kind
    read = kind.fromisoformat if column.column_type.is_time else kind
    (low, high), (least, greatest) = map(read, then), map(read, now)
    if max(low - least, greatest - high) > BEYOND * (high - low):
        told = "from {} to {}, before from {} to {}".format(*now, *then)
        yield "range", list(then), list(now), told
