"""Rejects judged again: children whose parents have arrived, records that a changed rule lets pass."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from foundation.pipeline.profile import Profile, profile_of
from foundation.reader.reader import Chunk, reread
from foundation.reader.recovery import Error
from foundation.schema.source import Source
from foundation.schema.validator import judge
from foundation.store.counts import count_rows, save_counts, save_profile
from foundation.store.database import Store, connect, quote
from foundation.store.ledger import Load, begin_run, end_run, loads_since, new_run_id, read_load, save_chunk, save_load
from foundation.store.references import key_of
from foundation.store.rejects import save_errors, set_status
from foundation.store.writer import TableWriter

_BATCH = 1_000  # rejects held in memory at once


class _Kept(NamedTuple):
    """A rejected record that is to be judged again."""

    reject_id: int
    record: int
    raw: bytes
    header: str


@contextmanager
def rewriting(db: Path, sources: Sequence[Source], verb: str) -> Iterator[tuple[Store, str]]:
    """An existing database with all its tables and a run in it, for what reads no files.

    Raises StoreError when the database is not there or cannot be written.
    """
    connect(db, read_only=True).close()  # a database that is not there is told, not made
    with Store(db) as store:
        for source in sources:
            store.prepare(source)
        begin_run(store, run_id := new_run_id(), {"verb": verb})
        yield store, run_id
        for source in sources:
            store.build_indexes(source)
        end_run(store, run_id, "complete")


def release(store: Store, sources: Sequence[Source], run_id: str) -> list[Load]:
    """Store the records that waited for parents which are there now; parents before their children.

    Those that still wait are told anew why: a parent may have come and been rejected, or have left its file.
    """
    loads: list[Load] = []
    for source in sources:
        if source.references:
            while stored := _readmit(store, source, run_id, _moved(store, source)):  # one may have waited for another
                loads += stored
    return loads


def replay(store: Store, sources: Sequence[Source], run_id: str, *, dry_run: bool = False) -> list[Load]:
    """Judge all open rejects again, by what is declared and stored now; with *dry_run* nothing is changed."""
    loads: list[Load] = []
    with suppress(_UndoneError), store.transaction() if dry_run else nullcontext():
        for source in sources:
            loads += _readmit(store, source, run_id, "1")
        loads += release(store, sources, run_id)
        if dry_run:
            raise _UndoneError
    return loads


class _UndoneError(Exception):
    """Takes a dry run back."""


def _readmit(store: Store, source: Source, run_id: str, condition: str) -> list[Load]:
    """Take the versions of files in their order: what a later one holds of a record is newer."""
    # Most loads move nothing, and an index has all that this asks of the rejects; what follows reads them.
    meets = f"SELECT 1 FROM _rejects r WHERE source = ? AND status = 'open' AND {condition} LIMIT 1"
    if not store.execute(meets, (source.name,)).fetchone():
        return []
    _waive_overtaken(store, source, condition)
    origins = store.execute(
        """
        SELECT DISTINCT origin FROM _rejects r JOIN _loads USING (load_id)
        WHERE r.source = ? AND r.status = 'open' AND record IS NOT NULL ORDER BY origin
        """,
        (source.name,),
    ).fetchall()
    loads = (_readmit_version(store, source, read_load(store, origin), run_id, condition) for (origin,) in origins)
    return [load for load in loads if load.read]


def _waive_overtaken(store: Store, source: Source, condition: str) -> None:
    """Close the records that meet a condition and whose key a later version of a file has stored: that is newer."""
    told = ["r.key"] if len(source.keys) == 1 else [f"r.key ->> {at}" for at in range(len(source.keys))]
    same = " AND ".join(f"s.{quote(name)} = {text}" for name, text in zip(source.keys, told, strict=True))
    with store.transaction():
        store.execute(
            f"""
            UPDATE _rejects AS r SET status = 'waived' WHERE source = ?1 AND status = 'open'
            AND load_id < (SELECT max(origin) FROM _loads WHERE source = ?1) AND {condition}
            AND EXISTS (
                SELECT 1 FROM {quote(source.name)} s JOIN _loads l ON l.load_id = s._load
                WHERE {same} AND l.origin > r.load_id
            )
            """,
            (source.name,),
        )


def _readmit_version(store: Store, source: Source, old: Load, run_id: str, condition: str) -> Load:
    with again(store, source, old, run_id, kind="replay" if condition == "1" else "release") as (load, profile):
        for kept in _batches(store, old.origin, condition):
            chunk = reread(((reject.record, reject.raw, json.loads(reject.header)) for reject in kept), source.layout)
            ids = {reject.record: reject.reject_id for reject in kept}
            for record, errors in judge_again(store, source, chunk, load, profile, ids, status="released").items():
                save_errors(store, ids[record], errors)
    return load


@contextmanager
def again(store: Store, source: Source, old: Load, run_id: str, *, kind: str) -> Iterator[tuple[Load, Profile]]:
    """One transaction, load and profile for records of *old* that are judged again; no load if none was stored."""
    load = Load(
        source.name, old.path, old.bytes, source.fingerprint, run_id,
        kind=kind, origin=old.origin, header=old.header, sha256=old.sha256, status="complete",
    )  # fmt: skip
    began, profile = time.perf_counter(), profile_of(source)
    with store.transaction():
        save_load(store, load)
        yield load, profile
        if load.read:
            load.seconds = time.perf_counter() - began
            save_chunk(store, load, Chunk.of_rows([], []), records=load.read, seconds=load.seconds, rss_bytes=0)
            save_counts(store, source, load, count_rows(store.connection, source, load))
            save_profile(store, load, profile.packed())
        else:
            store.execute("DELETE FROM _loads WHERE load_id = ?", (load.load_id,))


def judge_again(
    store: Store, source: Source, chunk: Chunk, load: Load, profile: Profile, ids: Mapping[int, int], *, status: str
) -> dict[int, list[Error]]:
    """Store what holds of *chunk*, whose rejects *ids* names by record, and mark it; what does not, with reasons."""
    verdict = judge(source, chunk)
    rows = verdict.rows
    # What a later file holds of a record is newer than what is judged again.
    result = TableWriter(store, source, load, loads_since(store, load)).write(rows)
    refused = {damaged.record: damaged.errors for damaged in (*verdict.rejected, *result.rejected)}
    profile.add([row for row in rows if row[-1] not in refused])
    stored = [reject_id for record, reject_id in ids.items() if record not in refused]
    set_status(store, stored, status)
    load.read += len(stored)
    load.inserted += result.inserted
    load.updated += result.updated
    load.unchanged += result.unchanged
    return refused


def _moved(store: Store, source: Source) -> str:
    """SQL for a reject with a reference of which something else is true by now."""
    # The + keeps SQLite from looking for the errors of a reject among all errors of that stage.
    code_now = " ".join(
        f"""
        WHEN '{column}' THEN CASE
            WHEN EXISTS (SELECT 1 FROM {quote(parent)} WHERE {key_of(store, parent)} = e.value) THEN 'stored'
            WHEN EXISTS (SELECT 1 FROM _rejects WHERE status = 'open' AND source = '{parent}' AND key = e.value)
            THEN 'parent_rejected' ELSE 'orphan' END
        """
        for column, parent in source.references.items()
    )
    return f"""
        EXISTS (
            SELECT 1 FROM _errors e
            WHERE e.reject_id = r.reject_id AND +stage = 'relation' AND code <> CASE e."column" {code_now} END
        )
    """


def _batches(store: Store, origin: int, condition: str) -> Iterator[list[_Kept]]:
    """The open rejects of a version of a file that meet a condition, in the order they came."""
    sql = f"""
        SELECT reject_id, record, raw, header FROM _rejects r JOIN _loads USING (load_id)
        WHERE load_id IN (SELECT load_id FROM _loads WHERE origin = ?) AND record IS NOT NULL
        AND r.status = 'open' AND reject_id > ? AND {condition}
        ORDER BY reject_id LIMIT {_BATCH:d}
    """
    last = 0
    while batch := [_Kept(*row) for row in store.execute(sql, (origin, last))]:
        last = batch[-1].reject_id
        yield batch
