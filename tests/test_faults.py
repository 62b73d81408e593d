"""The corpus of faults: what is damaged is refused with its reason and its place, everything else is stored."""

import os
from collections.abc import Iterator
from pathlib import Path

from conftest import query
from faults import File, Truth

from foundation import SOURCES

SEEDS = range(int(os.environ.get("FOUNDATION_SOAK_SEEDS", 40)) if os.environ.get("FOUNDATION_SOAK") else 1)
GROUPS = {  # what is damaged in one load: what must be there before
    ("clients", "drivers", "warehouses"): (),
    ("orders",): ("clients",),
    ("fleet_logs", "warehouse_logs", "feedback"): ("clients", "drivers", "warehouses", "orders"),
}
Clean = dict[str, list[dict[str, str]]]

# Scoring


def misses(db: Path, source: str, file: File) -> list[str]:
    """Everything in which the table and the rejects of a source differ from the truth, in words."""
    columns = ", ".join(column.name for column in next(s for s in SOURCES if s.name == source).columns)
    stored: dict[int, list[tuple]] = {}
    for record, *row in query(db, f"SELECT _record, {columns} FROM {source}"):
        stored.setdefault(record, []).append(tuple(row))
    refused: dict[int, list[tuple]] = {}
    for reject, record, *place in query(
        db,
        """
        SELECT reject_id, record, line, last_line, byte_start, byte_end, raw FROM _rejects
        WHERE source = ? AND status = 'open' AND path LIKE '%/faulty/%'
        """,
        source,
    ):
        reasons = query(db, "SELECT coalesce(\"column\", ''), code FROM _errors WHERE reject_id = ?", reject)
        refused.setdefault(record, []).append((*place, sorted(reasons)))
    found = [
        f"{source} record {t.record}, {t.kind}, {t.place}: {miss}"
        for t in file.truths
        for miss in compare(t, stored.pop(t.record, []), refused.pop(t.record, []), file)
    ]
    return found + [f"{source} record {record}: doubled" for record in (*stored, *refused)]


def compare(truth: Truth, stored, refused, file: File) -> Iterator[str]:
    raw = file.data[truth.start : truth.end]
    if len(stored) + len(refused) > 1:
        yield f"doubled: {stored} {refused}"
    elif not stored and not refused:
        yield f"lost: {raw!r}"
    elif truth.reasons and stored:
        yield f"wrongly stored: {raw!r} as {stored[0]}, not {truth.reasons}"
    elif truth.row and refused:
        yield f"wrongly refused: {raw!r} for {refused[0][-1]}"
    elif stored and stored[0] != truth.row:
        yield f"changed: {stored[0]}, not {truth.row}"
    elif refused:
        *place, kept, reasons = refused[0]
        if tuple(place) != truth[1:5] or kept != raw:
            yield f"wrongly located: {kept[:2000]!r} at {place}, not {raw[:2000]!r} at {truth[1:5]}"
        if reasons != truth.reasons:
            yield f"wrong code: {reasons}, not {truth.reasons} for {raw[:2000]!r}"
