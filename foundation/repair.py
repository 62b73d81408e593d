"""Rejects that can be stored after all: children whose parents have arrived."""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from foundation.ledger import (
    Load,
    count_checks,
    loads_of_file,
    read_load,
    require_conservation,
    save_chunk,
    save_errors,
    save_load,
    set_status,
)
from foundation.put import put
from foundation.read import reread
from foundation.source import Source
from foundation.store import Store, quote
from foundation.validate import judge

_BATCH = 1_000  # rejects held in memory at once


class _Kept(NamedTuple):
    """A rejected record that is to be judged again."""

    reject_id: int
    load_id: int
    record: int
    raw: bytes


def release(store: Store, sources: Sequence[Source], run_id: str) -> list[Load]:
    """Store the records that waited for parents which are there now; parents before their children."""
    loads: list[Load] = []
    for source in sources:
        if source.references:
            loads += _readmit(store, source, run_id)
    return loads


def _readmit(store: Store, source: Source, run_id: str) -> list[Load]:
    loads: dict[int, Load] = {}  # by the origin of the rejects: one for each version of a file
    for batch in _batches(store, source):
        for load_id, kept in groupby(batch, key=lambda reject: reject.load_id):
            old = read_load(store, load_id)
            if old.origin not in loads:
                loads[old.origin] = Load(
                    source.name, old.path, old.bytes, source.fingerprint, run_id,
                    kind="release", origin=old.origin, header=old.header, sha256=old.sha256,
                )  # fmt: skip
            _judge_again(store, source, list(kept), old, loads[old.origin])
    stored = [load for load in loads.values() if load.read]
    for load in stored:
        with store.transaction():
            load.status = "complete"
            count_checks(store, source, load)
            require_conservation(store, source, load)
            save_load(store, load)
    return stored


def _judge_again(store: Store, source: Source, kept: list[_Kept], old: Load, load: Load) -> None:
    began = time.perf_counter()
    chunk = reread(((reject.record, reject.raw) for reject in kept), old.header, source)
    verdict = judge(source, chunk)
    with store.transaction():
        is_new = not load.load_id
        save_load(store, load)
        result = put(store, source, verdict, load=load.load_id, same_file=loads_of_file(store, old))
        refused = {damaged.record: damaged for damaged in (*verdict.rejected, *result.rejected)}
        for reject in kept:
            if reject.record in refused:
                save_errors(store, reject.reject_id, refused[reject.record].errors)
        stored = [reject.reject_id for reject in kept if reject.record not in refused]
        set_status(store, stored, "released")
        load.read += len(stored)
        load.inserted += result.inserted
        load.updated += result.updated
        load.unchanged += result.unchanged
        if stored:
            load.seconds += time.perf_counter() - began
            save_chunk(store, load, chunk, records=len(stored), seconds=load.seconds, rss_bytes=0)
        elif is_new:
            store.execute("DELETE FROM _loads WHERE load_id = ?", (load.load_id,))
            load.load_id = 0


def _batches(store: Store, source: Source) -> Iterator[list[_Kept]]:
    """The open rejects of which every error names a parent that is stored by now, in the order they came."""
    arrived = " ".join(
        f"WHEN '{column}' THEN EXISTS (SELECT 1 FROM {quote(parent)} WHERE {_key_of(store, parent)} = e.value)"
        for column, parent in source.references.items()
    )
    sql = f"""
        SELECT reject_id, load_id, record, raw FROM _rejects r
        WHERE source = ? AND status = 'open' AND reject_id > ?
        AND reject_id IN (SELECT reject_id FROM _errors WHERE stage = 'relation')
        AND NOT EXISTS (
            SELECT 1 FROM _errors e
            WHERE e.reject_id = r.reject_id AND NOT (e.stage = 'relation' AND CASE e."column" {arrived} END)
        )
        ORDER BY reject_id LIMIT {_BATCH:d}
    """
    last = 0
    while batch := [_Kept(*row) for row in store.execute(sql, (source.name, last))]:
        last = batch[-1].reject_id
        yield batch


def _key_of(store: Store, table: str) -> str:
    """The quoted name of the key column of a table."""
    (key,) = store.execute("SELECT name FROM pragma_table_info(?) WHERE pk = 1", (table,)).fetchone()
    return quote(key)
