"""Rejects validated again: children whose parents have arrived, records that a changed rule lets pass."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from foundation.pipeline.profile import profile_of
from foundation.reader import Chunk, Damaged, Error, reread
from foundation.schema import Row, Source, Verdict, judge
from foundation.store import (
    Load,
    LoadKind,
    LoadStatus,
    RejectStatus,
    RunStatus,
    Store,
    TableWriter,
    connect,
    counts,
    key_of,
    ledger,
    quote,
    rejects,
)

_BATCH = 1_000  # rejects held in memory at once
_ALL = "1"  # SQL that each reject meets


@contextmanager
def rewriting(db: Path, sources: Sequence[Source], verb: str) -> Iterator[tuple[Store, str]]:
    """An existing database with all its tables and a run in it, for what reads no files.

    Raises StoreError when the database is not there or cannot be written.
    """
    with open_existing(db) as store:
        for source in sources:
            store.prepare(source)
        ledger.begin_run(store, run_id := ledger.new_run_id(), {"verb": verb})
        yield store, run_id
        for source in sources:
            store.build_indexes(source)
        ledger.end_run(store, run_id, RunStatus.COMPLETE)


def open_existing(db: Path) -> Store:
    """The database, open for writing; raises StoreError when it is not there, in place of making it."""
    connect(db, read_only=True).close()
    return Store(db)


@contextmanager
def rolled_back(transaction: AbstractContextManager[None]) -> Iterator[None]:
    """A dry run: a transaction of which nothing stays."""
    with suppress(_DryRunError), transaction:
        yield
        raise _DryRunError


class _DryRunError(Exception):
    """Rolls a dry run back."""


def release(store: Store, sources: Sequence[Source], run_id: str) -> list[Load]:
    """Store the records that waited for parents which are there now; parents before their children.

    The reasons of those still waiting are updated: a parent may have come and been rejected, or have left its file.
    """
    loads: list[Load] = []
    for source in sources:
        if source.references:
            condition = _has_changed_reference(store, source)
            # One that is stored may be the parent of another that waits.
            while stored := _revalidate_open(store, source, run_id, LoadKind.RELEASE, condition):
                loads += stored
    return loads


def replay(store: Store, sources: Sequence[Source], run_id: str, *, dry_run: bool = False) -> list[Load]:
    """Validate all open rejects again, by what is declared and stored now; with *dry_run* nothing is changed."""
    loads: list[Load] = []
    with rolled_back(store.transaction()) if dry_run else nullcontext():
        for source in sources:
            loads += _revalidate_open(store, source, run_id, LoadKind.REPLAY, _ALL)
        loads += release(store, sources, run_id)
    return loads


def _has_changed_reference(store: Store, source: Source) -> str:
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


def _revalidate_open(store: Store, source: Source, run_id: str, kind: LoadKind, condition: str) -> list[Load]:
    """Validate the open rejects that meet a condition again, and give the loads of those that are stored now.

    The versions of files come in their order: what a later one holds of a record is newer.
    """
    # Most loads change nothing for rejects, and an index has all that this asks of them; what follows reads them.
    is_open = f"source = ? AND status = 'open' AND {condition}"
    if not store.exists(f"SELECT 1 FROM _rejects r WHERE {is_open}", (source.name,)):
        return []
    _waive_overtaken(store, source, condition)
    origins = store.execute(
        """
        SELECT DISTINCT origin FROM _rejects r JOIN _loads USING (load_id)
        WHERE r.source = ? AND r.status = 'open' AND record IS NOT NULL ORDER BY origin
        """,
        (source.name,),
    ).fetchall()
    loads: list[Load] = []
    for (origin,) in origins:
        with revalidation(store, source, origin, run_id, kind) as version:
            for chunk, ids in _batches(store, source, origin, condition):
                for record, errors in version.recover(chunk, ids, RejectStatus.RELEASED).items():
                    rejects.save_errors(store, ids[record], errors)
        loads.append(version.load)
    return [load for load in loads if load.read]


def _waive_overtaken(store: Store, source: Source, condition: str) -> None:
    """Close the records that meet a condition and whose key a later version of a file has stored: that is newer."""
    texts = ["r.key"] if len(source.keys) == 1 else [f"r.key ->> {index}" for index in range(len(source.keys))]
    same_key = " AND ".join(f"s.{quote(name)} = {text}" for name, text in zip(source.keys, texts, strict=True))
    with store.transaction():
        store.execute(
            f"""
            UPDATE _rejects AS r SET status = 'waived' WHERE source = ?1 AND status = 'open'
            AND load_id < (SELECT max(origin) FROM _loads WHERE source = ?1) AND {condition}
            AND EXISTS (
                SELECT 1 FROM {quote(source.name)} s JOIN _loads l ON l.load_id = s._load
                WHERE {same_key} AND l.origin > r.load_id
            )
            """,
            (source.name,),
        )


def _batches(store: Store, source: Source, origin: int, condition: str) -> Iterator[tuple[Chunk, dict[int, int]]]:
    """The open rejects of a version of a file that meet a condition, in the order they came, with their numbers."""
    sql = f"""
        SELECT reject_id, record, raw, header FROM _rejects r JOIN _loads USING (load_id)
        WHERE load_id IN (SELECT load_id FROM _loads WHERE origin = ?) AND record IS NOT NULL
        AND r.status = 'open' AND reject_id > ? AND {condition}
        ORDER BY reject_id LIMIT {_BATCH:d}
    """
    last = 0
    while batch := store.execute(sql, (origin, last)).fetchall():
        last = batch[-1][0]
        chunk = reread(((record, raw, json.loads(header)) for _, record, raw, header in batch), source.layout)
        yield chunk, {record: reject_id for reject_id, record, *_ in batch}


class Revalidation:
    """A load of records that an *old* one has read, stored or rejected; all inside the open transaction."""

    def __init__(
        self, store: Store, source: Source, old: Load, run_id: str, kind: LoadKind, header: list[str] | None = None
    ) -> None:
        self._store, self._source = store, source
        self._profile = profile_of(source)
        self.load = Load(
            source.name, old.path, old.bytes, source.fingerprint, run_id, kind=kind, origin=old.origin,
            header=header or old.header, sha256=old.sha256, status=LoadStatus.COMPLETE,
        )  # fmt: skip
        ledger.save_load(store, self.load)

    def recover(self, chunk: Chunk, ids: Mapping[int, int], status: RejectStatus) -> dict[int, list[Error]]:
        """Store the valid records of *chunk*, and give their rejects, which *ids* names by record, that status.

        Returns the reasons of the others.
        """
        # What a later file holds of a record is newer than what is validated again.
        rejected = self.write(judge(self._source, chunk), ledger.loads_since(self._store, self.load))
        reasons = {reject.record: reject.errors for reject in rejected}
        stored = [reject_id for record, reject_id in ids.items() if record not in reasons]
        rejects.set_status(self._store, stored, status)
        self.load.read += len(stored)
        return reasons

    def write(self, verdict: Verdict, same_file: Set[int]) -> list[Damaged]:
        """Write the valid rows, and return the records that are rejected, by their validation or by the table."""
        writer = TableWriter(self._store, self._source, self.load, same_file)
        rows, refused, rejected = write_valid(writer, self.load, verdict)
        orphans_and_doubles = {reject.record for reject in refused}
        self._profile.add([row for row in rows if row[-1] not in orphans_and_doubles])
        return rejected

    def finish(self) -> None:
        """Keep what the load holds; raises StoreError unless its rows and rejects add up."""
        load = self.load
        nothing = Chunk.of_rows([], [])
        ledger.save_chunk(self._store, load, nothing, records=load.read, seconds=load.seconds, rss_bytes=0)
        counted = counts.count_rows(self._store.connection, self._source, load)
        counts.save_counts(self._store, self._source, load, counted, self._profile.packed())


@contextmanager
def revalidation(store: Store, source: Source, origin: int, run_id: str, kind: LoadKind) -> Iterator[Revalidation]:
    """Rejects of a version of a file, validated again in one transaction; no load stays if none of them is valid."""
    began = time.perf_counter()
    with store.transaction():
        version = Revalidation(store, source, ledger.read_load(store, origin), run_id, kind)
        yield version
        if version.load.read:
            version.load.seconds = time.perf_counter() - began
            version.finish()
        else:
            store.execute("DELETE FROM _loads WHERE load_id = ?", (version.load.load_id,))


def write_valid(writer: TableWriter, load: Load, verdict: Verdict) -> tuple[list[Row], list[Damaged], list[Damaged]]:
    """Write the valid rows, and count in *load* what becomes of them.

    Returns the rows, those records of them that their table refused, and all records that are rejected, in order.
    """
    rows = verdict.rows
    result = writer.write(rows)
    load.inserted += result.inserted
    load.updated += result.updated
    load.unchanged += result.unchanged
    return rows, result.rejected, sorted([*verdict.rejected, *result.rejected])
