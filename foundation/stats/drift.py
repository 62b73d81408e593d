"""What has changed from the load before of the same source: rows, missing values, vocabulary, ranges."""

import math
from collections.abc import Iterator
from typing import Any

from foundation.errors import visible
from foundation.pipeline import Figures, Profile
from foundation.query import Database
from foundation.schema import Column, Source

ROWS = 0.1  # share by which there are more or fewer
MISSING = 0.05  # change of the share of missing values, if it is more than chance would bring, too
VOCABULARY = 50  # different values, each ten times on average: new ones are listed
BEYOND = 0.1  # share of the range of before by which a value lies outside


def drift(database: Database, run_id: str) -> list[dict[str, Any]]:
    """How the loads of a run differ from those before them; `column` is None where it is about the rows.

    A load is compared with all that was stored of the last complete file of its source, before it began; only what
    exceeds the bounds of this module counts. A load of what was added to a file has no rows to compare.
    """
    loads = database.rows(
        """
        SELECT load_id, source, origin, before FROM (
            SELECT load_id, source, run_id, origin, lag(origin) OVER (PARTITION BY source ORDER BY load_id) AS before
            FROM _loads WHERE kind = 'file' AND status = 'complete'
        ) WHERE run_id = ? ORDER BY load_id
        """,
        (run_id,),
    ).fetchall()
    changes = []
    for load_id, source, origin, before in loads:
        then = _profile(database, "origin = ? AND load_id < ?", before, load_id)
        now = _profile(database, "load_id = ?", load_id)
        if source in database.sources and then.rows and now.rows:
            of_load = _changes(database.sources[source], then, now, is_more=before == origin)
            changes += [{"source": source, "load_id": load_id, **change} for change in of_load]
    return changes


def _profile(database: Database, condition: str, *values: Any) -> Profile:
    sql = f"SELECT value FROM _stats JOIN _loads l USING (load_id) WHERE _stats.kind = 'profile' AND {condition}"
    profile = Profile()
    for (packed,) in database.rows(sql, values):
        profile.merge(Profile.unpacked(packed))
    return profile


def _changes(source: Source, then: Profile, now: Profile, *, is_more: bool) -> Iterator[dict[str, Any]]:
    if not is_more and abs(now.rows - then.rows) > ROWS * then.rows:
        message = f"{now.rows:,} rows, {then.rows:,} before"
        yield {"column": None, "what": "rows", "before": then.rows, "now": now.rows, "told": message}
    for column in source.columns:
        if (name := column.name) in then.columns.keys() & now.columns.keys() - {*source.keys, *source.references}:
            for what, before, after, message in _changes_of(column, then.columns[name], now.columns[name]):
                yield {"column": name, "what": what, "before": before, "now": after, "told": f"{name}: {message}"}


def _changes_of(column: Column, then: Figures, now: Figures) -> Iterator[tuple[str, Any, Any, str]]:
    before, after = then.missing / then.rows, now.missing / now.rows
    share = (then.missing + now.missing) / (then.rows + now.rows)
    error = math.sqrt(share * (1 - share) * (1 / then.rows + 1 / now.rows))
    if abs(after - before) > max(MISSING, 3 * error):
        yield "missing", before, after, f"{after:.0%} are missing, {before:.0%} before"
    if column.kind is str and then.values and len(then.values) <= min(VOCABULARY, then.count / 10):
        if now.values is None:
            yield "vocabulary", len(then.values), now.distinct()[0], "many new values"
        elif new := sorted(now.values.keys() - then.values.keys()):
            message = f"{len(new):,} new values: {', '.join(visible(value, 40) for value in new[:5])}"
            yield "vocabulary", len(then.values), len(now.values), message
    if column.kind is not str and then.count and now.count:
        (low, high, *_), (new_low, new_high, *_) = then.summary(), now.summary()
        kind: Any = column.kind
        read = kind.fromisoformat if column.column_type.is_time else kind
        range_then = read(high) - read(low)
        if max(read(low) - read(new_low), read(new_high) - read(high)) > BEYOND * range_then:
            message = f"from {new_low} to {new_high}, before from {low} to {high}"
            yield "range", [low, high], [new_low, new_high], message
