"""The command line: `foundation VERB …`, the same as `python -m foundation VERB …`.

Tables for people go to standard output, progress and messages to standard error. Exit status: 0 done; 1 done, but
something was refused; 2 could not be done.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foundation.cli.options import parse
from foundation.cli.output import show_json, show_line, show_progress, show_rows, show_table
from foundation.delivery.sources import SOURCES
from foundation.errors import FoundationError, extra
from foundation.lake.database import open_database
from foundation.pipeline.load import Run, ingest
from foundation.query.query import Database
from foundation.reader.csv_writer import write_csv
from foundation.schema.source import Source, load_sources, with_parents
from foundation.stats.columns import FIGURES, rows_of
from foundation.stats.overview import REJECT_COLUMNS, describe, reasons, rejects
from foundation.store.ledger import Load

_COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _VERBS[options.verb](options)
    except FoundationError as error:
        show_line(f"foundation: {error}", is_error=True)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _sources(options: argparse.Namespace) -> Sequence[Source]:
    return load_sources(options.sources) if options.sources else SOURCES


def _sample(options: argparse.Namespace) -> int:
    from foundation.delivery.sample import write_sample

    faults = write_sample(options.out, orders=options.orders, faults=options.faults, seed=options.seed)
    refused = len({(fault.source, fault.record) for fault in faults})
    show_line(f"{options.out}: eight files, {options.orders:,} orders, {refused:,} records that will be refused")
    return 0


def _ingest(options: argparse.Namespace) -> int:
    run = _load_on_cluster(options) if options.to else _load(
        options, options.db, options.source,
        chunk_size=options.chunk_size, memory_limit=options.memory_limit, again=options.again,
        workers=options.workers,
    )  # fmt: skip
    if options.json:
        told = {"run_id": run.run_id, "status": run.status, "loads": [load.summary() for load in run.loads]}
        show_json(told, indent=2)
    else:
        _show_run(run)
        if options.to:
            _show_workers(str(options.to), run)
        if any(load.rejected for load in run.loads):
            show_line(
                f"What was refused, where and why: foundation rejects --db {options.to or options.db}", is_error=True
            )
    read, rejected = (sum(getattr(load, name) for load in run.loads) for name in ("read", "rejected"))
    return _exit_status(run.status, read, rejected, options)


def _load(options: argparse.Namespace, db: Path, only: Sequence[str], **more: Any) -> Run:
    """Load with a bar for each file; a signal to end lets the chunk at hand be stored first."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: asked.append(received))
    with show_progress() as progress:
        return ingest(
            options.data, db, sources=_sources(options), only=only, progress=progress,
            is_stopped=lambda: bool(asked), **more,
        )  # fmt: skip


def _load_on_cluster(options: argparse.Namespace) -> Run:
    with extra("cluster", "--to is for a cluster"):
        from foundation.lake.load import connect
        from foundation.lake.load import ingest as ingest_on
    try:
        with connect(options.cluster, workers=options.workers) as client, show_progress() as progress:
            return ingest_on(
                options.data, options.to, client=client, sources=_sources(options), only=options.source,
                range_size=options.range_size, again=options.again, progress=progress,
            )  # fmt: skip
    except KeyboardInterrupt as error:
        told = "stopped on request; run the same command again, it goes on where it stopped"
        raise FoundationError(f"{options.to}: {told}") from error


def _show_workers(out: str, run: Run) -> None:
    from foundation.lake.partitions import read_manifest, workers_of

    if workers := workers_of(out, [load for load in read_manifest(out)["loads"] if load["run_id"] == run.run_id]):
        show_table(list(workers[0]), [list(one.values()) for one in workers], title="Workers")


def _show_run(run: Run) -> None:
    rows = [
        (called, load.status, *(getattr(load, name) for name in _COUNTS), load.seconds, load.peak_rss_bytes / 1e6)
        for called, load in zip(run.called, run.loads, strict=True)
    ]
    show_table(("source", "status", *_COUNTS, "seconds", "peak MB"), rows, title=f"Run {run.run_id}: {run.status}")
    for called, load in zip(run.called, run.loads, strict=True):
        for warning in load.warnings:
            show_line(f"{called}: {warning}", is_error=True)


def _exit_status(status: str, read: int, rejected: int, options: argparse.Namespace) -> int:
    if status == "stopped":
        return 2
    if options.max_rejects and rejected > options.max_rejects(read):
        print(f"foundation: {rejected:,} of {read:,} records were refused, more than --max-rejects", file=sys.stderr)
        return 1
    return 1 if status == "refused" else 0


def _check(options: argparse.Namespace) -> int:
    """Load into a database that is thrown away: keys and references can only be judged against stored rows."""
    sources = _sources(options)
    with tempfile.TemporaryDirectory(prefix="foundation-") as scratch:
        db = Path(scratch) / "check.db"
        run = _load(options, db, only=with_parents(sources, options.source))
        wanted = [load for load in run.loads if not options.source or load.source in options.source]
        _show_run(Run(run.run_id, run.status, tuple(wanted)))
        with Database(db, sources=sources) as database:
            found = [r for r in reasons(database) if not options.source or r["source"] in options.source]
        if found:
            show_table(
                list(found[0]),
                [list(r.values()) for r in found],
                title="Why records are refused, with one example each",
            )
    if run.status == "stopped":
        return 2
    return 1 if any(load.rejected or load.status == "refused" for load in wanted) else 0


def _report(options: argparse.Namespace) -> int:
    from foundation.report.run import make_report

    report = make_report(
        options.data, options.to or options.db, options.out, sources=_sources(options), only=options.source,
        parameters={
            "chunk_size": options.chunk_size, "memory_limit": f"{options.memory_limit}", "again": options.again,
            "range_size": f"{options.range_size}" if options.to else "",
            "sources": str(options.sources.absolute()) if options.sources else "",
        },
        cluster=options.cluster, workers=options.workers,
        limits={"cell_timeout_s": options.cell_timeout, "notebook_timeout_s": options.notebook_timeout},
    )  # fmt: skip
    if report.kept:
        show_line(f"Not run again: {report.why}. --again runs it all the same.", is_error=True)
    print(f"{report.stored:,} of {report.read:,} records stored, {report.rejected:,} refused: {report.status}")
    show_line(f"Open {report.folder / 'index.html'}")
    failed = any(page.failure for page in report.pages)
    return max(_exit_status(report.status, report.read, report.rejected, options), int(failed))


def _verify(options: argparse.Namespace) -> int:
    from foundation.report.provenance.reproduce import verify

    found = verify(options.run, options.data)
    if options.json:
        told = {"run_id": options.run.resolve().name, "status": "different" if found else "identical"}
        show_json(told | {"differences": [difference._asdict() for difference in found]}, indent=2)
    elif found:
        show_table(("what", "where", "then", "now"), found, title=f"{options.run} is not as it was")
    else:
        show_line(f"{options.run}: identical, in content, values, cells and pages")
    return 1 if found else 0


def _doctor(options: argparse.Namespace) -> int:
    from foundation.cli.doctor import examine

    found = examine()
    if options.json:
        show_json([finding._asdict() for finding in found], indent=2)
    else:
        show_table(("what", "wanted", "found", "is it well"), [(*f[:3], "yes" if f.is_well else "NO") for f in found])
    return 0 if all(finding.is_well for finding in found) else 1


def _stats(options: argparse.Namespace) -> int:
    with open_database(options.db, sources=_sources(options)) as database:
        for name in options.source:
            database[name]  # an unknown table is told here
        told = describe(database, options.source, exact=options.exact)
    if options.json:
        show_json(told, indent=2)
        return 0
    for name, table in told["tables"].items():
        show_table(("column", *FIGURES, "most frequent"), rows_of(table), title=f"{name}: {table['rows']:,} rows")
    show_table(("source", "check", "rows that break it", "such as"), told.checks(), title="Checks")
    loads = [(load["load_id"], load["source"], load["status"], *(load[n] for n in _COUNTS)) for load in told["loads"]]
    show_table(("load", "source", "status", *_COUNTS), loads, title="Loads")
    drift = [(change["load_id"], change["source"], change["told"]) for change in told["drift"]]
    if drift:
        show_table(("load", "source", "what has changed from the load before"), drift, title="Drift")
    return 0


def _page(options: argparse.Namespace) -> int:
    with open_database(options.db, sources=_sources(options)) as database:
        query = database[options.table]
        for condition in options.where:
            column, equals, value = condition.partition("=")
            if not equals:
                raise FoundationError(f"--where {condition}: write it as COL=VALUE")
            is_list = column.endswith(("__in", "__between"))
            query = query.where({column: value.split(",") if is_list else value or None})
        query = query.order_by(*options.order_by)
        if options.columns:
            query = query.select(*options.columns.split(","))
        page = query.page(options.size, after=options.after, number=options.page)
    if options.format == "json":
        show_json({"rows": page.records(), "next": page.next, "previous": page.previous, "total": page.total})
    elif options.format == "csv":
        write_csv(sys.stdout, page.columns, page.rows)
    else:
        show_rows(page.columns, page.rows, title=f"{options.table}: {page.told()}")
        for name, token in (("previous", page.previous), ("next", page.next)):
            if token:
                print(f"The {name} page: --after {token}", file=sys.stderr)
    return 0


def _repair(options: argparse.Namespace) -> int:
    from foundation.pipeline import corrections
    from foundation.pipeline import revalidate as repair

    sources = _sources(options)
    corrections.require_folder(options.data, sources)
    with repair.rewriting(options.db, sources, options.verb) as (store, run_id):
        result = corrections.repair(store, sources, options.data, run_id)
    _show_loads(result.loads)
    if result.already:
        print(f"{result.already:,} had been taken back before", file=sys.stderr)
    if result.refused:
        show_table(("source", "reject", "why it is refused still"), result.refused, title="Not taken back")
    return 1 if result.refused else 0


def _replay(options: argparse.Namespace) -> int:
    from foundation.pipeline import revalidate as repair

    sources = _sources(options)
    with repair.rewriting(options.db, sources, options.verb) as (store, run_id):
        loads = repair.replay(store, sources, run_id, dry_run=options.dry_run)
    _show_loads(loads)
    if options.dry_run:
        print("A dry run: nothing was changed", file=sys.stderr)
    return 0


def _migrate(options: argparse.Namespace) -> int:
    from foundation.pipeline.migrate import migrate

    done = migrate(options.db, _sources(options), dry_run=options.dry_run)
    rows = [(one.source, "; ".join(one.changes), one.carried, one.rejected) for one in done.moved]
    show_table(("source", "what is declared otherwise", "carried over", "rejected"), rows, title="Carried over")
    _show_loads(done.loads)
    if options.dry_run:
        print("A dry run: nothing was changed", file=sys.stderr)
    return 1 if any(one.rejected for one in done.moved) else 0


def _show_loads(loads: Sequence[Load]) -> None:
    rows = [(load.source, load.kind, load.inserted, load.updated, load.unchanged) for load in loads]
    show_table(("source", "by", "inserted", "updated", "unchanged"), rows, title="Stored after all")


def _export(options: argparse.Namespace) -> int:
    from foundation.query.export import export

    with open_database(options.db, sources=_sources(options)) as database:
        files = export(database, options.out, form=options.format, only=options.source)
    rows = [(file.source.name, str(file.path), file.rows, file.bytes) for file in files]
    show_table(("source", "file", "rows", "bytes"), rows, title=f"Described in {options.out / 'datapackage.json'}")
    return 0


def _draft(options: argparse.Namespace) -> int:
    from foundation.infer.inference import draft
    from foundation.reader.dialect import Dialect

    delimiter = options.delimiter.replace("\\t", "\t")
    drafted = draft(options.file, _sources(options), Dialect(delimiter, options.encoding))
    print(drafted.text, end="")
    told = "Keep it in a file (… > my_sources.py) and settle its doubts. Then: "
    show_line(f"{told}foundation check {options.file.parent} --sources my_sources.py", is_error=True)
    return 0 if drafted.is_whole else 1


def _explain(options: argparse.Namespace) -> int:
    from foundation.query.lineage import explain

    with open_database(options.db, sources=_sources(options)) as database:
        told = explain(database, options.table, options.key)
    if options.json:
        show_json(told, indent=2)
        return 0
    rows = [(name, value) for name, value in told.items() if name not in ("row", "rejects", "table", "key")]
    if told["row"] is not None:
        show_table(("column", "value"), list(told["row"].items()), title=f"{options.table} {options.key}")
        show_table(("what", "value"), [(name, value) for name, value in rows if value is not None], title="Where from")
    for reject in told["rejects"]:
        show_table(("what", "value"), list(reject.items()), title="A record with this key that was rejected")
    return 0


def _rejects(options: argparse.Namespace) -> int:
    with open_database(options.db, sources=_sources(options)) as database:
        if options.export:
            from foundation.pipeline.corrections import export_rejects

            paths = export_rejects(database, options.export, source=options.source, code=options.code)
            show_line("\n".join(map(str, paths)) or "No rejects are open.")
            return 0
        found = rejects(database, source=options.source, code=options.code)
        if options.format == "jsonl":
            for reject in found:
                show_json(reject)
        elif options.format == "csv":
            write_csv(sys.stdout, REJECT_COLUMNS, (list(reject.values()) for reject in found))
        else:
            columns = [name for name in REJECT_COLUMNS if name != "path"]
            show_table(columns, [[reject[name] for name in columns] for reject in found])
    return 0


_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "sample": _sample,
    "check": _check,
    "ingest": _ingest,
    "report": _report,
    "verify": _verify,
    "doctor": _doctor,
    "stats": _stats,
    "page": _page,
    "rejects": _rejects,
    "repair": _repair,
    "replay": _replay,
    "migrate": _migrate,
    "explain": _explain,
    "export": _export,
    "draft": _draft,
}
