"""Rejects that can be stored after all: children whose parents have arrived."""

import time
from collections.abc import Iterator, Sequence
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
from foundation.put import key_of, put
from foundation.read import Chunk, Position, reread
from foundation.source import Source
from foundation.store import Store, quote
from foundation.validate import judge

_BATCH = 1_000  # rejects held in memory at once


class _Kept(NamedTuple):
    """A rejected record that is to be judged again."""

    reject_id: int
    record: int
    raw: bytes


def release(store: Store, sources: Sequence[Source], run_id: str) -> list[Load]:
    """Store the records that waited for parents which are there now; parents before their children.

    Those that still wait are told anew why: a parent may have come and been rejected, or have left its file.
    """
    loads: list[Load] = []
    for source in sources:
        if source.references:
            _waive_overtaken(store, source)
            while stored := _readmit(store, source, run_id):  # again: a record may have waited for one of these
                loads += stored
    return loads


def _waive_overtaken(store: Store, source: Source) -> None:
    """Close the waiting records whose key a later version of a file has stored: they would undo its changes."""
    # The + keeps SQLite from looking for the errors of a reject among all errors of that stage.
    with store.transaction():
        store.execute(
            f"""
            UPDATE _rejects SET status = 'waived' WHERE source = ? AND status = 'open'
            AND EXISTS (SELECT 1 FROM _errors e WHERE e.reject_id = _rejects.reject_id AND +stage = 'relation')
            AND EXISTS (
                SELECT 1 FROM {quote(source.name)} s JOIN _loads l ON l.load_id = s._load
                WHERE s.{quote(source.key)} = _rejects.key AND l.origin > _rejects.load_id
            )
            """,
            (source.name,),
        )


def _readmit(store: Store, source: Source, run_id: str) -> list[Load]:
    """Take the versions of files in their order: what a later one holds of a record is newer."""
    origins = store.execute(
        """
        SELECT DISTINCT origin FROM _rejects r JOIN _loads USING (load_id)
        WHERE r.source = ? AND r.status = 'open' ORDER BY origin
        """,
        (source.name,),
    ).fetchall()
    loads = (_readmit_version(store, source, read_load(store, origin), run_id) for (origin,) in origins)
    return [load for load in loads if load.read]


def _readmit_version(store: Store, source: Source, old: Load, run_id: str) -> Load:
    load = Load(
        source.name, old.path, old.bytes, source.fingerprint, run_id,
        kind="release", origin=old.origin, header=old.header, sha256=old.sha256, status="complete",
    )  # fmt: skip
    began = time.perf_counter()
    with store.transaction():
        save_load(store, load)
        for batch in _batches(store, source, old.origin):
            _judge_again(store, source, batch, load)
        if load.read:
            load.seconds = time.perf_counter() - began
            nowhere = Chunk(Position(0, 0, 0), Position(0, 0, 0))
            save_chunk(store, load, nowhere, records=load.read, seconds=load.seconds, rss_bytes=0)
            count_checks(store, source, load)
            require_conservation(store, source, load)
        else:
            store.execute("DELETE FROM _loads WHERE load_id = ?", (load.load_id,))
    return load


def _judge_again(store: Store, source: Source, kept: list[_Kept], load: Load) -> None:
    verdict = judge(source, reread(((reject.record, reject.raw) for reject in kept), load.header, source))
    result = put(store, source, verdict, load=load.load_id, same_file=loads_of_file(store, load))
    refused = {damaged.record: damaged.errors for damaged in (*verdict.rejected, *result.rejected)}
    for reject in kept:
        if reject.record in refused:
            save_errors(store, reject.reject_id, refused[reject.record])
    stored = [reject.reject_id for reject in kept if reject.record not in refused]
    set_status(store, stored, "released")
    load.read += len(stored)
    load.inserted += result.inserted
    load.updated += result.updated
    load.unchanged += result.unchanged


def _batches(store: Store, source: Source, origin: int) -> Iterator[list[_Kept]]:
    """The open rejects of a version of a file with a reference of which something else is true by now, in order."""
    code_now = " ".join(
        f"""
        WHEN '{column}' THEN CASE
            WHEN EXISTS (SELECT 1 FROM {quote(parent)} WHERE {key_of(store, parent)} = e.value) THEN 'stored'
            WHEN EXISTS (SELECT 1 FROM _rejects WHERE status = 'open' AND source = '{parent}' AND key = e.value)
            THEN 'parent_rejected' ELSE 'orphan' END
        """
        for column, parent in source.references.items()
    )
    sql = f"""
        SELECT reject_id, record, raw FROM _rejects r
        WHERE load_id IN (SELECT load_id FROM _loads WHERE origin = ?)
        AND status = 'open' AND reject_id > ? AND EXISTS (
            SELECT 1 FROM _errors e
            WHERE e.reject_id = r.reject_id AND +stage = 'relation' AND code <> CASE e."column" {code_now} END
        )
        ORDER BY reject_id LIMIT {_BATCH:d}
    """
    last = 0
    while batch := [_Kept(*row) for row in store.execute(sql, (origin, last))]:
        last = batch[-1].reject_id
        yield batch
