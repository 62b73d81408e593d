"""The verbs that load a delivery, and those that change what is loaded."""

import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.cli.options import DB, DELIVERY, DRY_RUN, JSON, LOAD, SOURCES, Option, positive, share, sources_of, verb
from foundation.cli.output import show_json, show_line, show_progress, show_records, show_table
from foundation.errors import FoundationError, extra
from foundation.lake.duckdb import open_database
from foundation.schema import with_parents
from foundation.store import Load, LoadStatus, Run, RunStatus


@verb(
    Option("out", "folder to write into", "OUT", Path),
    Option("--orders", "orders to write (10000)", "N", positive, 10_000),
    Option("--faults", "share of damaged records (0.0)", "SHARE", share, 0.0),
    Option("--seed", "another seed gives other files (0)", "SEED", int, 0),
)
def sample(options: Namespace) -> int:
    """Write eight files like the real ones."""
    from foundation.delivery.sample import write_sample

    faults = write_sample(options.out, orders=options.orders, faults=options.faults, seed=options.seed)
    refused = len({(fault.source, fault.record) for fault in faults})
    show_line(f"{options.out}: eight files, {options.orders:,} orders, {refused:,} records that will be refused")
    return 0


@verb(*DELIVERY)
def check(options: Namespace) -> int:
    """Validate everything, store nothing.

    It is loaded into a database that is thrown away: keys and references can only be validated against stored rows.
    """
    from foundation.stats import reasons

    sources = sources_of(options)
    with tempfile.TemporaryDirectory(prefix="foundation-") as scratch:
        db = Path(scratch) / "check.db"
        run = _load(options, db, only=with_parents(sources, options.source))
        asked = options.source or [source.name for source in sources]
        loads = tuple(load for load in run.loads if load.source in asked)
        _show_run(Run(run.run_id, run.status, loads))
        with open_database(db, sources=sources) as database:
            why = [reason for reason in reasons(database) if reason["source"] in asked]
    show_records(why, title="Why records are refused, with one example each")
    if run.status == RunStatus.STOPPED:
        return 2
    return 1 if any(load.rejected or load.status == LoadStatus.REFUSED for load in loads) else 0


@verb(*LOAD, Option("--workers", "processes; 1: a large file is not read beside (2)", "N", positive), JSON)
def ingest(options: Namespace) -> int:
    """Load a delivery into a database."""
    run = _load_on_cluster(options) if options.to else _load(
        options, options.db, options.source, chunk_size=options.chunk_size, memory_limit=options.memory_limit,
        again=options.again, workers=options.workers or 2,
    )  # fmt: skip
    if options.json:
        loads = [load.summary() for load in run.loads]
        show_json({"run_id": run.run_id, "status": run.status, "loads": loads}, indent=2)
    else:
        _show_run(run)
        if options.to:
            from foundation.lake.manifest import read_manifest, workers_of

            loads_there = read_manifest(str(options.to))["loads"]
            mine = [load for load in loads_there if load["run_id"] == run.run_id]
            show_records(workers_of(str(options.to), mine), title="Workers")
        if any(load.rejected for load in run.loads):
            next_step = f"foundation rejects --db {options.to or options.db}"
            show_line(f"What was refused, where and why: {next_step}", is_error=True)
    read, rejected = (sum(getattr(load, name) for load in run.loads) for name in ("read", "rejected"))
    return _exit_status(run.status, read, rejected, options)


def _load(options: Namespace, db: Path, only: Sequence[str], **more: Any) -> Run:
    """Load with a bar for each file; a signal to end lets the chunk at hand be stored first."""
    from foundation.pipeline import ingest as load_files

    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: received.append(number))
    with show_progress() as progress:
        return load_files(
            options.data, db, sources=sources_of(options), only=only, progress=progress,
            is_stopped=lambda: bool(received), **more,
        )  # fmt: skip


def _load_on_cluster(options: Namespace) -> Run:
    with extra("cluster", "--to is for a cluster"):
        from foundation.lake.load import connect
        from foundation.lake.load import ingest as ingest_on
    workers = _local_workers(options)
    try:
        with connect(options.cluster, workers=workers) as client, show_progress() as progress:
            return ingest_on(
                options.data, options.to, client=client, sources=sources_of(options), only=options.source,
                range_size=options.range_size, again=options.again, progress=progress,
            )  # fmt: skip
    except KeyboardInterrupt as error:
        message = "stopped on request; run the same command again, it goes on where it stopped"
        raise FoundationError(f"{options.to}: {message}") from error


def _local_workers(options: Namespace) -> int:
    """The processes of a cluster on this machine; another one has its own."""
    if options.workers and options.cluster not in ("local", ""):
        options.refuse(f"--workers goes with a local cluster only: {options.cluster} has its own; leave it out")
    return options.workers or 2


def _show_run(run: Run) -> None:
    show_table(run.COLUMNS, run.rows(), title=f"Run {run.run_id}: {run.status}")
    for called, load in zip(run.called, run.loads, strict=True):
        for warning in load.warnings:
            show_line(f"{called}: {warning}", is_error=True)


def _exit_status(status: str, read: int, rejected: int, options: Namespace) -> int:
    if status == RunStatus.STOPPED:
        return 2
    if options.max_rejects and rejected > options.max_rejects(read):
        print(f"foundation: {rejected:,} of {read:,} records were refused, more than --max-rejects", file=sys.stderr)
        return 1
    return 1 if status == RunStatus.REFUSED else 0


@verb(
    *LOAD,
    Option("--workers", "processes of local (2)", "N", positive, only_with="--to"),
    Option("--out", "where reports go (reports)", "DIR", Path, Path("reports")),
    Option("--cell-timeout", "seconds for a cell (3600)", "S", positive, 3_600),
    Option("--notebook-timeout", "for a notebook (86400)", "S", positive, 86_400),
)
def report(options: Namespace) -> int:
    """Load a delivery through the notebooks, and make pages of them."""
    from foundation.report.run import make_report
    from foundation.report.target import ParquetTarget, SQLiteTarget

    local = _local_workers(options)
    target = ParquetTarget(options.to, options.cluster, local) if options.to else SQLiteTarget(options.db)
    made = make_report(
        options.data, target, options.out, sources=sources_of(options), only=options.source,
        parameters={
            "chunk_size": options.chunk_size, "memory_limit": f"{options.memory_limit}", "again": options.again,
            "range_size": f"{options.range_size}" if options.to else "",
            "sources": str(options.sources.absolute()) if options.sources else "",
        },
        limits={"cell_timeout_s": options.cell_timeout, "notebook_timeout_s": options.notebook_timeout},
    )  # fmt: skip
    if made.kept:
        show_line(f"Not run again: {made.why}. --again runs it all the same.", is_error=True)
    print(f"{made.stored:,} of {made.read:,} records stored, {made.rejected:,} refused: {made.status}")
    show_line(f"Open {made.folder / 'index.html'}")
    failed = any(page.failure for page in made.pages)
    return max(_exit_status(made.status, made.read, made.rejected, options), int(failed))


@verb(Option("data", "a folder with corrected <source>.csv of an export", "DATA", Path), DB, SOURCES)
def repair(options: Namespace) -> int:
    """Take corrected exports back."""
    from foundation.pipeline import corrections, revalidate

    sources = sources_of(options)
    corrections.require_folder(options.data, sources)
    with revalidate.rewriting(options.db, sources, "repair") as (store, run_id):
        result = corrections.repair(store, sources, options.data, run_id)
    _show_recovered(result.loads)
    if result.already:
        print(f"{result.already:,} had been taken back before", file=sys.stderr)
    if result.refused:
        show_table(("source", "reject", "why it is refused still"), result.refused, title="Not taken back")
    return 1 if result.refused else 0


@verb(DB, SOURCES, DRY_RUN)
def replay(options: Namespace) -> int:
    """Validate the open rejects again."""
    from foundation.pipeline import revalidate

    sources = sources_of(options)
    with revalidate.rewriting(options.db, sources, "replay") as (store, run_id):
        loads = revalidate.replay(store, sources, run_id, dry_run=options.dry_run)
    _show_recovered(loads, is_dry_run=options.dry_run)
    return 0


@verb(DB, SOURCES, DRY_RUN)
def migrate(options: Namespace) -> int:
    """Carry tables over to sources that are declared otherwise now."""
    from foundation.pipeline import migrate as carry_over

    done = carry_over(options.db, sources_of(options), dry_run=options.dry_run)
    rows = [(table.source, "; ".join(table.changes), table.carried, table.rejected) for table in done.moved]
    show_table(("source", "what is declared otherwise", "carried over", "rejected"), rows, title="Carried over")
    _show_recovered(done.loads, is_dry_run=options.dry_run)
    return 1 if any(table.rejected for table in done.moved) else 0


def _show_recovered(loads: Sequence[Load], *, is_dry_run: bool = False) -> None:
    rows = [(load.source, load.kind, load.inserted, load.updated, load.unchanged) for load in loads]
    show_table(("source", "by", "inserted", "updated", "unchanged"), rows, title="Stored after all")
    if is_dry_run:
        print("A dry run: nothing was changed", file=sys.stderr)
